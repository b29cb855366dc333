"""A client that somebody wrote from the protocol reference alone, over real sockets.

It imports nothing of the project.
"""

import json
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from support.people import Frame, Person, canonical

PATIENCE = 60.0
"""Seconds until a frame that must come is missed."""


class ReferenceClient:
    """One connection; the first frame, CONNECTION_ACK, is read by the constructor.

    Args:
        url: of the relay.
        person: who will log in; somebody new if left out.
        tls: what to trust, for wss.
        greeted: False if the relay is expected to close at once.
        headers: more of the handshake.
        queue: how many frames are read before somebody receives them; None for all.
    """

    def __init__(
        self,
        url: str,
        person: Person | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        greeted: bool = True,
        headers: dict[str, str] | None = None,
        queue: int | None = None,
    ) -> None:
        self.person = person or Person()
        self.audience = urlsplit(url).netloc
        self._open = ExitStack()
        self._connection = self._open.enter_context(
            connect(
                url,
                ssl=tls,
                compression=None,
                proxy=None,
                additional_headers=headers,
                ping_interval=None,
                close_timeout=2,
                max_queue=queue,
            )
        )
        try:
            self.acknowledgement: Frame = self.expect("CONNECTION_ACK") if greeted else {}
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- login --------------------------------------------------------------------

    def login(self, features: Sequence[str] | None = None) -> Self:
        """Log in with a signature; fails if the relay refuses."""
        self.send(self.person.auth(self.acknowledgement, self.audience, features=features))
        self.expect("AUTH_SUCCESS")
        return self

    def login_unsigned(self) -> Self:
        """Log in exactly as the reference's example does."""
        self.person.bind(self.acknowledgement, self.audience)
        self.send(self.person.unsigned_auth())
        self.expect("AUTH_SUCCESS")
        return self

    # --- frames -------------------------------------------------------------------

    def send(self, frame: Frame, *, sign: bool = False) -> None:
        self.send_text(canonical(self.person.signed(frame) if sign else frame).decode())

    def send_text(self, text: str) -> None:
        self._connection.send(text)

    def send_binary(self, data: bytes) -> None:
        self._connection.send(data)

    def receive(self, timeout: float = PATIENCE) -> Frame:
        """The next frame.

        Raises:
            TimeoutError: there was none in time.
            ConnectionClosed: nor will there be any.
        """
        text = self._connection.recv(timeout=timeout)
        assert isinstance(text, str), "the relay never sends binary messages"
        found = json.loads(text)
        assert isinstance(found, dict)
        return found

    def expect(self, kind: str, timeout: float = PATIENCE) -> Frame:
        """The next frame, which is of this type."""
        frame = self.receive(timeout)
        assert frame["type"] == kind, frame
        return frame

    def until(self, kind: str, timeout: float = PATIENCE) -> Frame:
        """The next frame of this type, past others."""
        while True:
            frame = self.receive(timeout)
            if frame["type"] == kind:
                return frame

    def ask(self, frame: Frame, *, sign: bool = False) -> Frame:
        """Send a frame and return what comes next."""
        self.send(frame, sign=sign)
        return self.receive()

    def told(self, message: Frame, status: str) -> None:
        """Wait until the relay says this of a message that was sent; confirm what it says."""
        wanted = message["payload"]["messageId"], status
        found = None
        while found != wanted:
            frame = self.until("MESSAGE_ACK")
            found = members(frame, "messageId", "status")
            if "seq" in frame:
                self.send(self.person.confirm(frame["seq"]))

    def settle(self) -> list[Frame]:
        """Everything that comes before the answer to a PING sent now."""
        self.send(self.person.ping(id="settle"))
        found: list[Frame] = []
        while (frame := self.receive()).get("id") != "settle":
            found.append(frame)
        return found

    # --- the end ------------------------------------------------------------------

    def closed(self, timeout: float = PATIENCE) -> tuple[int, list[Frame]]:
        """Wait for the relay to close; the code, and what it sent before."""
        found: list[Frame] = []
        try:
            while True:
                found.append(self.receive(timeout))
        except ConnectionClosed as end:
            if end.rcvd is None:
                raise AssertionError(f"closed without a close frame after {found}") from None
            return end.rcvd.code, found

    def close(self) -> None:
        self._open.close()

    def cut(self) -> None:
        """Drop the connection without a word, as a lost network does."""
        self._connection.socket.shutdown(socket.SHUT_RDWR)
        self.close()


Connect = Callable[..., ReferenceClient]
"""``connect(relay, person)``: the fixture that closes what it opened."""


def members(frame: Frame, *names: str) -> Any:
    """The values of these members of a payload."""
    return tuple(frame["payload"].get(name) for name in names)
