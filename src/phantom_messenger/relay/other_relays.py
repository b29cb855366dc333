"""What relays that work on one store tell each other: hints, of which any may get lost."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import msgspec

from phantom_messenger.relay.ports import RelayLink
from phantom_messenger.wire.frames import PresenceStatus

MAX_NOTICE: Final = 7_900
"""Bytes of a text of notices: PostgreSQL carries 8,000 at most."""

_USERS_AT_ONCE: Final = 64
"""Of one notice, so that it stays well below ``MAX_NOTICE``."""


class Wake(msgspec.Struct, frozen=True, tag="wake"):
    """Something was stored for these users."""

    users: list[str]


class Pass(msgspec.Struct, frozen=True, tag="pass"):
    """A frame for whoever of these users is connected."""

    users: list[str]
    text: str
    of: str = ""
    """Whose presence the frame is a notice of; '' if it is none, or comes from an older version."""
    status: PresenceStatus = PresenceStatus.TYPING


class Login(msgspec.Struct, frozen=True, tag="login"):
    """A user has logged in: a session of an older connection has been replaced."""

    user: str
    connected_at: int
    """Persistent milliseconds."""
    is_visible: bool
    """Whether the user shows that they are there."""


class NewContacts(msgspec.Struct, frozen=True, tag="contacts"):
    """Two users have become contacts: each learns whether the other is connected."""

    one: str
    other: str


class Allow(msgspec.Struct, frozen=True, tag="allow"):
    """A user lets another one send them more than the rate: whoever has the sender's session counts it."""

    recipient: str
    sender: str
    left: int
    expires_in: int
    """Milliseconds."""


Notice = Wake | Pass | Login | NewContacts | Allow
_OF_OLD: Final = (Wake, Pass, Login, NewContacts)
"""What relays of all versions know. Those of before ALLOWANCE drop a text with anything else in it: that goes apart."""

_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_notice: Final = msgspec.json.Decoder(Notice)


class OtherRelays:
    """Gathers the notices of a turn of the event loop, and sends them together.

    Args:
        link: the way there; None if the store is this relay's own.
        schedule: runs an action in the next turn.
    """

    def __init__(self, link: RelayLink | None, schedule: Callable[[Callable[[], None]], object]) -> None:
        self.is_alone = link is None
        """Whether the store is this relay's own."""
        self._link = link
        self._schedule = schedule
        self._wakes: dict[str, None] = {}
        self._notices: list[Notice] = []

    def wake(self, user: str) -> None:
        """Something was stored for a user who is not connected here."""
        if self._link is not None:
            self._schedule_flush()
            self._wakes[user] = None

    def pass_on(
        self, users: list[str], text: bytes, of: str = "", status: PresenceStatus = PresenceStatus.TYPING
    ) -> None:
        """A frame is for users who are not connected here, and may be elsewhere; for the last two see ``Pass``."""
        for part in _parts(users):
            self.tell(Pass(part, text.decode(), of, status))

    def tell(self, notice: Notice) -> None:
        """Tell all other relays."""
        if self._link is not None:
            self._schedule_flush()
            self._notices.append(notice)

    def _schedule_flush(self) -> None:
        if not self._wakes and not self._notices:
            self._schedule(self._flush)

    def _flush(self) -> None:
        notices: list[Notice] = [*self._notices, *map(Wake, _parts(list(self._wakes)))]
        self._wakes, self._notices = {}, []
        assert self._link is not None  # noqa: S101 - otherwise there is nothing to be sent
        text, is_of_old = b"", True
        for notice in notices:
            encoded = msgspec.json.encode(notice)
            if text and (is_of_old != isinstance(notice, _OF_OLD) or len(text) + len(encoded) + 2 > MAX_NOTICE):
                self._link(f"[{text.decode()}]")
                text = b""
            text += b"," * bool(text) + encoded
            is_of_old = isinstance(notice, _OF_OLD)
        if text:
            self._link(f"[{text.decode()}]")


def read(text: str) -> list[Notice]:
    """The notices in a text of another relay; without those of another version, which is no fault."""
    found: list[Notice] = []
    with suppress(msgspec.MsgspecError):
        for notice in _list.decode(text):
            with suppress(msgspec.MsgspecError):
                found.append(_notice.decode(notice))
    return found


def _parts(users: list[str]) -> Iterable[list[str]]:
    return (users[first : first + _USERS_AT_ONCE] for first in range(0, len(users), _USERS_AT_ONCE))
