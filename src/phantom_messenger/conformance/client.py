"""A user of the run on one connection: frames out, and what must come back."""

import asyncio
import os
import time
from collections.abc import Collection, Mapping
from typing import Any, Final

from phantom_messenger.conformance import wire
from phantom_messenger.conformance.shapes import REASONS
from phantom_messenger.conformance.socket import Closed, Socket
from phantom_messenger.conformance.verdict import Failure
from phantom_messenger.conformance.wire import Frame, Identity, base64_text

QUIET_SECONDS: Final = 0.2
"""How long a relay has for what it must not send; then it is asked for a PONG, before which that would have come."""

ANY: Final = object()
"""Stands for a member that must be there, whatever its value."""

_ANSWERS: Final = frozenset({"ERROR", "AUTH_FAILURE", "AUTH_SUCCESS"})
"""Frames that come instead of others, and never beside them."""


def difference(frame: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Where a frame is not as expected: '' if it has all of ``expected``; None there means that it is absent."""
    for name, value in expected.items():
        found = frame.get(name)
        if value is ANY:
            if name not in frame:
                return f"{name} is missing"
        elif isinstance(value, Mapping) and isinstance(found, Mapping):
            if inner := difference(found, value):
                return f"{name}.{inner}"
        elif found != value or type(found) is not type(value):
            return f"{name} is {_brief(found)} and not {_brief(value)}"
    return ""


def _brief(value: Any) -> str:
    return "absent" if value is None else wire.show({"": value})[4:-1]


class Client:
    """One connection of a user, from CONNECTION_ACK on.

    Args:
        identity: whose it is.
        socket: a WebSocket.
        hello: the relay's CONNECTION_ACK.

    Attributes:
        features: those that AUTH_SUCCESS named.
    """

    def __init__(self, identity: Identity, socket: Socket, hello: Frame) -> None:
        self.identity = identity
        self.socket = socket
        self.hello = hello
        self.features: list[str] = []
        self.patience = socket.target.patience
        self._has_asked_in = False
        self._ahead_ms: int = hello["payload"]["serverTime"] - time.time_ns() // 1_000_000
        self._count = 0

    @property
    def id(self) -> str:
        """The user's id."""
        return self.identity.id

    @property
    def is_in(self) -> bool:
        """Whether it is logged in."""
        return self.socket.has_logged_in and not self.socket.is_left and self.socket.closed is None

    @property
    def binding(self) -> Frame:
        """The members that make a frame valid on this connection alone."""
        return {"challenge": self.hello["payload"]["challenge"], "audience": self.socket.target.audience}

    def now(self) -> int:
        """Milliseconds by the relay's clock."""
        return time.time_ns() // 1_000_000 + self._ahead_ms

    def new_id(self) -> str:
        """An ``id`` for a frame whose answer is to name it."""
        self._count += 1
        return str(self._count)

    # --- sending ------------------------------------------------------------------

    def make(self, kind: str, payload: Frame | None = None, **members: Any) -> Frame:
        """A frame, signed if its type is; ``members`` add to the envelope or replace parts of it."""
        frame: Frame = {"type": kind, "timestamp": self.now()}
        if payload is not None:
            frame["payload"] = payload
        frame |= members
        return self.identity.signed(frame) if kind in wire.SIGNED and "signature" not in members else frame

    async def send(self, kind: str, payload: Frame | None = None, **members: Any) -> Frame:
        """Make a frame and send it."""
        frame = self.make(kind, payload, **members)
        await self.send_frame(frame)
        return frame

    async def send_frame(self, frame: Frame) -> None:
        """Send a frame as it is."""
        self._has_asked_in |= frame.get("type") == "AUTH"
        await self.socket.send_text(wire.canonical(frame))

    def claim(self, **members: Any) -> Frame:
        """The payload of an AUTH; ``members`` add to it or replace parts of it."""
        return {
            "userId": self.id,
            "publicKey": self.identity.public_text,
            **self.binding,
            "features": ["ack"],
            **members,
        }

    def message(self, to: str, **members: Any) -> Frame:
        """The payload of a MESSAGE to a user id."""
        return {
            "recipientId": to,
            "conversationId": "c1",
            "messageId": wire.new_uuid(),
            "encrypted": base64_text(os.urandom(24)),
            **members,
        }

    async def write(self, to: "Client | str", **members: Any) -> Frame:
        """Send a MESSAGE, and take its ``accepted``; returns the frame."""
        recipient = to if isinstance(to, str) else to.id
        frame = await self.send("MESSAGE", self.message(recipient, **members), id=self.new_id())
        await self.accepted(frame)
        return frame

    async def accepted(self, frame: Frame) -> Frame:
        """Take the relay's ``accepted`` for a MESSAGE."""
        name = {"messageId": frame["payload"]["messageId"], "recipientId": frame["payload"]["recipientId"]}
        return await self.expect("MESSAGE_ACK", {**name, "status": "accepted"}, id=frame.get("id"), seq=None)

    async def acknowledge(self, frame: Frame, status: str = "delivered") -> None:
        """Confirm an item of the mailbox."""
        payload = frame["payload"]
        if frame["type"] == "MESSAGE":
            name = {"messageId": payload["messageId"], "senderId": payload["senderId"]}
        else:
            name = {"seq": frame["seq"]}
        await self.send("MESSAGE_ACK", {**name, "status": status})

    def init(self, target: str, **members: Any) -> Frame:
        """The payload of a KEY_EXCHANGE_INIT."""
        key = {"identityKey": self.identity.public_text, "ephemeralKey": base64_text(wire.new_x25519())}
        return {"targetId": target, **key, **members}

    def response(self, target: str, **members: Any) -> Frame:
        """The payload of a KEY_EXCHANGE_RESPONSE of one's own."""
        prekey = self.identity.signed_prekey(1)
        return {
            "targetId": target,
            "identityKey": self.identity.public_text,
            "signedPreKey": prekey["key"],
            "preKeySignature": prekey["signature"],
            **members,
        }

    def publication(self, *one_time: int, kem: Collection[int] = (), last_resort: int = 0, **members: Any) -> Frame:
        """The payload of a PREKEY_PUBLISH with new keys of these ids; the signed prekey's is 1."""
        found = {
            **self.binding,
            "signedPreKey": self.identity.signed_prekey(1),
            "oneTimePreKeys": [{"id": number, "key": base64_text(wire.new_x25519())} for number in one_time],
            "kemPreKeys": [self.identity.kem_prekey(number) for number in kem],
        }
        if last_resort:
            found["lastResortKemPreKey"] = self.identity.kem_prekey(last_resort)
        return {**found, **members}

    async def publish(self, payload: Frame) -> Frame:
        """Send a PREKEY_PUBLISH; returns the PREKEY_STATUS that answers it."""
        name = self.new_id()
        await self.send("PREKEY_PUBLISH", payload, id=name)
        while (status := await self.take("PREKEY_STATUS")).get("id") != name:
            pass  # a warning that few were left
        return status

    async def settle(self) -> None:
        """Wait until a login that was sent is answered: as long as it is not, it can still make an account."""
        if not self._has_asked_in:
            return
        until = asyncio.get_running_loop().time() + self.patience
        while not self.socket.has_logged_in and self.socket.closed is None:
            if not await self.socket.news(until):
                return

    # --- what must come -----------------------------------------------------------

    async def take(self, kind: str) -> Frame:
        """The next frame of this type.

        Raises:
            Failure: an error comes instead, or the end, or nothing.
        """
        return await self.socket.first(kind, kind, unwelcome=_ANSWERS - {kind})

    async def next(self) -> Frame:
        """The next frame, whatever its type.

        Raises:
            Failure: the end comes instead, or nothing.
        """
        return await self.socket.first("a frame")

    async def expect(self, kind: str, payload: Mapping[str, Any] | None = None, **members: Any) -> Frame:
        """The next frame of this type, which must have these members; None: it must not have it.

        Raises:
            Failure: it has not, or it does not come.
        """
        frame = await self.take(kind)
        expected: dict[str, Any] = dict(members)
        if payload is not None:
            expected["payload"] = payload
        if found := difference(frame, expected):
            raise Failure(f"{found} in {wire.show(frame)}")
        return frame

    async def refused(self, *reasons: str, field: str = "", **members: Any) -> Frame:
        """The ERROR with one of these reasons, and this ``details.field`` if one is named.

        Raises:
            Failure: something else comes, or nothing.
        """
        wanted = " or ".join(f"ERROR {REASONS[reason][0]} {reason}" for reason in reasons)
        found = await self.socket.first(wanted, "ERROR")
        details = found["payload"]["details"]
        if details["reason"] not in reasons or (field and details.get("field") != field):
            raise Failure(f"{wanted}{' of ' + field if field else ''} is expected, and this comes: {wire.show(found)}")
        if problem := difference(found, members):
            raise Failure(f"{problem} in {wire.show(found)}")
        return found

    async def login_refused(self, *reasons: str, closes: int = 4001, **members: Any) -> Frame:
        """The AUTH_FAILURE with one of these reasons, then the close."""
        frame = await self.take("AUTH_FAILURE")
        if frame["payload"]["details"]["reason"] not in reasons:
            raise Failure(f"AUTH_FAILURE with {' or '.join(reasons)} is expected, and this comes: {wire.show(frame)}")
        if problem := difference(frame, members):
            raise Failure(f"{problem} in {wire.show(frame)}")
        await self.closes(closes)
        return frame

    async def closes(self, *codes: int | None) -> Closed:
        """How the relay ends the connection: with one of these codes; None: without one.

        Raises:
            Failure: with another one, or not at all.
        """
        until = asyncio.get_running_loop().time() + self.patience
        wanted = " or ".join(str(Closed(code)) for code in codes)
        while self.socket.closed is None:
            if not await self.socket.news(until):
                raise Failure(f"{wanted} is expected, and does not come within {self.patience:g} s")
        self.socket.check()
        if self.socket.closed.code not in codes:
            raise Failure(f"{wanted} is expected, and this comes: {self.socket.closed}")
        return self.socket.closed

    async def ping(self) -> None:
        """Ask for a PONG: everything sent before is stored or refused then."""
        name = self.new_id()
        await self.send("PING", id=name)
        await self.expect("PONG", id=name)

    async def hears_nothing(self, *kinds: str, seconds: float = QUIET_SECONDS) -> None:
        """Nothing of these types has come, and nothing comes; of any type, if none is named.

        Raises:
            Failure: something does.
        """
        await asyncio.sleep(seconds)
        await self.ping()
        for frame in self.socket.pending:
            if not kinds or frame["type"] in kinds:
                raise Failure(f"nothing is expected, and this comes: {wire.show(frame)}")

    def forget(self) -> None:
        """Do not look at what has arrived until now."""
        self.socket.pending.clear()

    async def leave(self) -> None:
        """Close the connection."""
        await self.socket.leave()
