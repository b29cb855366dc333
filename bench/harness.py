"""The relay without sockets: a harness that shows what a message costs inside it, step by step.

One thread runs everything, so that it can be counted and timed: the loop is a queue, and the
store's thread a call. Everything else is what ``phantom serve`` runs.
"""

import base64
import json
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

from phantom_messenger.clock import SystemClock
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.loadgen import wire
from phantom_messenger.relay import signatures
from phantom_messenger.relay.commands import AnyCommand
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.ports import Verification
from phantom_messenger.relay.relay import Relay
from phantom_messenger.relay.session import Session

BODY: Final = base64.b64encode(bytes(range(256)) * 3).decode()
"""1,024 characters."""

HOST: Final = "127.0.0.1"


class Socket:
    """A ``relay.ports.Connection`` that takes everything at once, and counts it."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def write(self, messages: Sequence[bytes]) -> None:
        """Take them."""
        self.taken += messages

    def close(self, code: int, reason: str, *, wait_for_close: bool = True) -> None:  # noqa: ARG002 - the port's
        """Nobody is closed here."""
        raise RuntimeError(f"the relay has closed a connection: {code} {reason}")

    def abort(self) -> None:
        """Nobody is cut here."""
        raise RuntimeError("the relay has cut a connection")

    def buffered(self) -> int:
        """Nothing waits."""
        return 0

    bytes_acked = buffered


class RelayHarness:
    """A relay with its store, and pairs of users who are logged in and contacts.

    Args:
        pairs: how many.
        acks: whether all confirm what they receive.
        verify: checks signatures.
    """

    def __init__(self, pairs: int, *, acks: bool = False, verify: Verification = signatures.verify) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="phantom-bench-")
        self.store = SQLiteStore(Path(self._folder.name) / "data")
        self._queue: deque[Callable[[], None]] = deque()
        self.relay = Relay(
            config=Config(limits=False, public_names=(HOST,)),
            clock=SystemClock(None),
            randomness=os.urandom,
            schedule=self._queue.append,
            verify=verify,
            writer=self._write,
        )
        self._acks = acks
        users = [wire.VirtualUser() for _ in range(2 * pairs)]
        self._sides: list[tuple[wire.VirtualUser, Session, Socket]] = []
        self._sides = [(user, *self._login(user)) for user in users]
        for (sender, from_sender, _), (recipient, from_recipient, _) in self.pairs:
            for session, one, other in ((from_sender, sender, recipient), (from_recipient, recipient, sender)):
                self.feed([(session, text) for text in self.messages_of(one, other, 1)])
        self.clear()

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store and remove it."""
        self.store.close()
        self._folder.cleanup()

    @property
    def pairs(self) -> list[tuple[Any, Any]]:
        """Person, session and socket of each sender and its recipient."""
        return list(zip(self._sides[::2], self._sides[1::2], strict=True))

    def messages(self, count: int) -> list[tuple[Session, bytes]]:
        """So many signed messages of 1 KB in all, of the senders in turn, each with the session it comes from."""
        pairs = self.pairs
        return [
            (sender[1], text)
            for number in range(count)
            for sender, recipient in [pairs[number % len(pairs)]]
            for text in self.messages_of(sender[0], recipient[0], 1)
        ]

    @staticmethod
    def messages_of(sender: wire.VirtualUser, recipient: wire.VirtualUser, count: int) -> list[bytes]:
        """Signed messages, as they come out of their frames."""
        at = time.time_ns() // 1_000_000
        found = []
        for _ in range(count):
            _, framed = sender.message(recipient.id, BODY, at)
            found.append(_unmasked(framed))
        return found

    def feed(self, texts: Sequence[tuple[Session, bytes]]) -> None:
        """Have these come in one turn, and run until nothing is left to do."""
        for session, text in texts:
            self.relay.receive(session, text)
        self.run()

    def run(self) -> None:
        """Run until nothing is left to do; users with acks confirm what has arrived."""
        self.turns()
        while self._acks and self._confirm():
            self.turns()

    def turns(self) -> None:
        """Run until nothing is left to do; nobody confirms anything."""
        while self._queue:
            self._queue.popleft()()

    def clear(self) -> None:
        """Forget what the sockets have taken."""
        for _, _, socket in self._sides:
            socket.taken.clear()

    def taken(self, kind: bytes) -> int:
        """How many frames whose text ends so the sockets have taken."""
        return sum(text.endswith(kind) for _, _, socket in self._sides for text in socket.taken)

    def _write(self, commands: Sequence[AnyCommand], done: Callable[[list[Any]], None]) -> None:
        results = self.store.run(commands)
        self._queue.append(lambda: done(results))

    def _login(self, user: wire.VirtualUser) -> tuple[Session, Socket]:
        socket = Socket()
        session = self.relay.connect(socket, address=HOST, host=HOST)
        self.run()
        hello = json.loads(socket.taken.pop())
        self.feed([(session, user.auth(hello, HOST, ["ack"] if self._acks else []))])
        if b"AUTH_SUCCESS" not in b"".join(socket.taken):
            raise RuntimeError("no login")
        socket.taken.clear()
        return session, socket

    def _confirm(self) -> bool:
        found = False
        for _, session, socket in self._sides:
            for text in socket.taken:
                if text.endswith(b'"type":"MESSAGE"}'):
                    answer = wire.message_ack(wire.text_field(text, b"messageId"), wire.text_field(text, b"senderId"))
                elif text.endswith(b'"type":"MESSAGE_ACK"}') and wire.seq_of(text):
                    answer = wire.item_ack(wire.seq_of(text))
                else:
                    continue
                found = True
                self.relay.receive(session, _unmasked(answer))
            socket.taken.clear()
        return found


def _unmasked(framed: bytes) -> bytes:
    size = framed[1] & 127
    start = 2 + (0 if size < 126 else 2 if size == 126 else 8)  # noqa: PLR2004 - RFC 6455 section 5.2
    mask, body = framed[start : start + 4], framed[start + 4 :]
    key = (mask * (len(body) // 4 + 1))[: len(body)]
    return (int.from_bytes(body, "big") ^ int.from_bytes(key, "big")).to_bytes(len(body), "big")
