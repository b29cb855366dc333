"""One connection: its state, its misbehaviour, and how far its mailbox was pushed.

No input or output: times are arguments.
"""

from dataclasses import dataclass, field
from typing import Final

from phantom_messenger.rate_window import Window
from phantom_messenger.relay.commands import Actor
from phantom_messenger.relay.outbox import Outbox
from phantom_messenger.relay.ports import Connection
from phantom_messenger.relay.records import ItemKind
from phantom_messenger.relay.reference import ReferenceMode
from phantom_messenger.relay.rules import State
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import CloseCode, ErrorCode, Reason, RequestError
from phantom_messenger.wire.limits import MAX_EARLY_BYTES, MAX_STRIKES, MAX_TRANSPORT_BYTES


@dataclass(slots=True)
class MailboxCursor:
    """How far the mailbox was sent on this connection.

    While it has ``caught_up``, new items are pushed as they arrive. Otherwise they stay in the store
    and are read page by page (``fetching`` while one is on its way): see ``mailbox_push``.
    """

    last_pushed: int = 0
    caught_up: bool = False
    fetching: bool = False
    is_outdated: bool = False
    """Something may have been stored by another relay after what is being fetched was read."""


Written = tuple[ItemKind, int, str, str]
"""Kind, seq, sender and name of an item that was written to a socket, until the client has taken it."""

_COUNTED: Final = {ErrorCode.INVALID_MESSAGE, ErrorCode.MESSAGE_TOO_LARGE}
_NOBODYS_FAULT: Final = {Reason.CLOCK, Reason.ORDER}
"""A clock is wrong, or somebody else was first: rates are enough."""
_COUNTED_TOO: Final = {Reason.ALREADY_AUTHENTICATED}
"""No rate limit counts it: it is rejected by its type alone."""


@dataclass(slots=True)
class Strikes:
    """Misbehaviour in the last minute, by kind."""

    refused: Window = field(default_factory=lambda: Window(MAX_STRIKES - 1))
    malformed: Window = field(default_factory=lambda: Window(MAX_STRIKES - 1))
    forged: Window = field(default_factory=lambda: Window(MAX_STRIKES - 1))

    def count(self, refused: RequestError, now: int) -> CloseCode | None:
        """Count a refusal; the code to close with if it was one too many."""
        if refused.reason is Reason.RATE:
            window, code = self.refused, CloseCode.RATE_LIMITED
        elif refused.reason is Reason.SIGNATURE:
            window, code = self.forged, CloseCode.INVALID_MESSAGE
        elif refused.reason in _COUNTED_TOO or (refused.code in _COUNTED and refused.reason not in _NOBODYS_FAULT):
            window, code = self.malformed, CloseCode.INVALID_MESSAGE
        else:
            return None
        return code if window.acquire(now) else None


class Session:
    """The state of one connection.

    Args:
        connection: where its messages go.
        connection_id: names it towards the client; random.
        address: whom connection and login limits count.
        mark: stands for the address beside what it has stored as a stranger.
        host: the name in its handshake, if the relay takes that for its own.
        challenge: 32 random bytes in base64, to be signed by the login and by what serves on this connection alone.
        now: monotonic milliseconds.
    """

    __slots__ = (
        "acks",
        "actor",
        "address",
        "challenge",
        "connected_at",
        "connection",
        "connection_id",
        "cursor",
        "heard_at",
        "host",
        "is_behind",
        "mark",
        "opened_at",
        "order",
        "outbox",
        "presence",
        "public_key",
        "reference",
        "shown",
        "state",
        "strikes",
        "takes_allowances",
        "takes_dates",
        "takes_devices",
        "takes_many",
        "unconfirmed",
        "user_id",
    )

    def __init__(
        self,
        connection: Connection,
        *,
        connection_id: str,
        address: str,
        mark: int = 0,
        host: str,
        challenge: str,
        now: int,
    ) -> None:
        self.connection = connection
        self.connection_id = connection_id
        self.address = address
        self.host = host
        self.mark = mark
        self.challenge = challenge
        self.state = State.CONNECTED
        self.user_id = ""
        self.public_key = b""
        self.actor = Actor("", "")
        """On whose behalf commands are run."""
        self.acks = False
        self.takes_dates = False
        """Whether its client knows dated prekeys; others would not read a frame that has them."""
        self.takes_devices = False
        """Likewise lists of devices."""
        self.takes_many = False
        """Whether it may send what the feature ``many`` is needed for."""
        self.takes_allowances = False
        """Whether it may allow others messages beside the rate, and others it."""
        self.is_behind = False
        """Whether what it sends waits for a message to many of its own, which is verified in slices."""
        self.reference: ReferenceMode | None = None
        """Only where reference clients may log in, and after the login only if it has no signature."""
        self.presence = frames.PresenceStatus.ONLINE
        self.shown: dict[str, frames.PresenceStatus] = {}
        """Contacts who are there as far as this client was told; kept only if other relays work on the store."""
        self.outbox = Outbox(connection, now)
        self.cursor = MailboxCursor()
        self.strikes: Strikes | None = None
        """None until there is something to count: most clients never misbehave."""
        self.unconfirmed: list[Written] = []
        self.opened_at = now
        self.connected_at = 0
        """The same in persistent milliseconds: at which relay the user is is decided by it."""
        self.order = 0
        """Which connection of the relay it is; a later one has a higher number."""
        self.heard_at = now

    def strike(self, refused: RequestError, now: int) -> CloseCode | None:
        """Count a refusal; the code to close with if it was one too many."""
        if self.strikes is None:
            self.strikes = Strikes()
        return self.strikes.count(refused, now)

    def has(self, feature: frames.Feature) -> bool:
        """Whether it may send what this feature is needed for."""
        return self.takes_many if feature is frames.Feature.MANY else self.takes_allowances

    @property
    def looks_absent(self) -> bool:
        """Whether nobody may learn that it is there."""
        return self.presence is frames.PresenceStatus.OFFLINE

    @property
    def most_bytes(self) -> int:
        """How large a WebSocket message of this client may be now."""
        return MAX_TRANSPORT_BYTES if self.state is State.OPEN else MAX_EARLY_BYTES
