"""What the vault holds, as typed records. Each kind's name and value stand together here."""

from enum import IntEnum
from typing import Final, Self

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

IDENTITY: Final = "identity"
CONTACT: Final = "contact"
SESSIONS: Final = "sessions"
SESSION: Final = "session"
SKIPPED: Final = "skipped"
PREKEY: Final = "prekey"
LAST_PREKEY_ID: Final = "last-prekey-id"
OUTBOX: Final = "outbox"
SENT: Final = "sent"
INBOX: Final = "inbox"
RECEIVED: Final = "received"
NEWER: Final = "newer"
KNOWN_KINDS: Final = "known-kinds"
SEEN: Final = "seen"
HANDSHAKE: Final = "handshake"
CLOCK_OFFSET: Final = "clock-offset"
CLOCK: Final = "steady"
ACK: Final = "ack"
UNREADABLE: Final = "unreadable"
RECEIPT: Final = "receipt"
RECOVERY: Final = "healed"
UNANSWERED: Final = "unanswered"
BLOCK: Final = "block"
SETTINGS: Final = "settings"
REQUEST: Final = "request"
PAGE: Final = "page"
INBOX_PAGE: Final = "inbox-page"
INDEXED: Final = "all-indexed"
INDEXED_WITHOUT_INBOX: Final = "indexed"
IN_ORDER: Final = "in-order"
OLD_KEYS: Final = "old-keys"
MANY: Final = "many"
COPIES: Final = "copies"
GROUP: Final = "group"
GROUP_COUNTS: Final = "group-counts"
GROUP_STEP: Final = "group-step"
GROUP_TOLD: Final = "group-told"
GROUP_HELD: Final = "group-held"
GROUP_EARLY: Final = "group-early"
GROUP_LINK: Final = "group-link"
GROUP_JOIN: Final = "group-join"
GROUP_PAST: Final = "group-past"
GROUP_PAST_PAGE: Final = "group-past-page"
DEVICES: Final = "devices"
PERSON: Final = "person"
DEVICE: Final = "device"
SYNC: Final = "sync"


class Record(msgspec.Struct, frozen=True):
    """A value of the vault; it does not print what it holds."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class IdentityRecord(Record, frozen=True, kw_only=True):
    """The one record ``IDENTITY``/''. ``seed`` has 32 bytes; ``server`` is the relay's URL, '' if none yet."""

    seed: bytes
    server: str


ASK_OLDER_AGAIN_MS: Final = 86_400_000
"""How long until a user with whom suite 1 is in use is asked again for dated prekeys: each time costs one of them."""


class Strength(IntEnum):
    """How safe a session is."""

    CLASSICAL = 0
    """Of suite 1, without a post-quantum secret."""
    SUITE_1 = 1
    SUITE_2 = 2


class ContactRecord(Record, frozen=True, kw_only=True):
    """``CONTACT``/user id. ``key`` is b'' until seen.

    ``greeted``: introduced; the relay has seen us write to them, so it knows that we know them.
    ``offered``: another key that came under a claimed id, b'' if none: see ``Trust.CHANGED``.
    ``classical``: the session in use has no post-quantum secret. ``post_quantum``: one had (see ``had_kem``).
    ``allows_classical``: the user has said that messages may go without one, until there is one again.
    ``blocked``: what they send is dropped unread. ``moved``: another relay was chosen since they were introduced.
    ``accepted``: the user has written to them, or let them in, though without a name.
    ``suite``: the greatest that they were seen with; 0 if their key was first seen by a version that knew only one.
    ``newest``: the greatest date of their prekeys that was accepted, in milliseconds since 1970.
    ``allows_older``: the user has said that messages may go in suite 1, until they are seen with suite 2.
    ``asked_at``: when they were last asked for dated prekeys while suite 1 was in use, in persistent time.
    ``device_of``: of a device that is on a list, the person (user id) it belongs to: what is known of people is known
    of them, and here stands what is known of the device's key and sessions alone.
    """

    user_id: str
    name: str = ""
    key: bytes = b""
    trust: str = "unverified"
    greeted: bool = False
    offered: bytes = b""
    classical: bool = False
    offered_classical: bool = False
    post_quantum: bool = False
    allows_classical: bool = False
    blocked: bool = False
    moved: bool = False
    accepted: bool = False
    suite: int = 0
    newest: int = 0
    allows_older: bool = False
    asked_at: int | None = None
    device_of: str | UnsetType = UNSET

    @property
    def floor(self) -> Strength:
        """The least strength of a session that something may be sent in."""
        if self.allows_classical:
            return Strength.CLASSICAL
        if self.allows_older or (self.key and not self.suite):
            return Strength.SUITE_1
        return Strength.SUITE_2

    def had(self, strength: Strength) -> bool:
        """Whether this user's program was seen to do better than that."""
        return self.suite > Strength.SUITE_1 or (strength is Strength.CLASSICAL and self.had_kem)

    def seen_with(self, strength: Strength, *, key: bytes, classical: bool) -> Self:
        """The record after this user was seen with a key and such a session; ``classical``: of the one in use."""
        has_kem, is_new = strength > Strength.CLASSICAL, strength is Strength.SUITE_2
        suite = 2 if is_new else self.suite if self.key else 1
        return replace(
            self,
            key=key,
            classical=classical,
            post_quantum=self.had_kem or has_kem,
            allows_classical=self.allows_classical and not has_kem,
            allows_older=(self.allows_older or self.allows_classical) and not is_new,
            suite=suite,
        )

    def may_learn(self, now: int) -> bool:
        """Whether to ask this user, with whom suite 1 is in use, for dated prekeys now; ``now`` in persistent time."""
        is_older = bool(self.key) and self.floor < Strength.SUITE_2
        return is_older and (self.asked_at is None or abs(now - self.asked_at) >= ASK_OLDER_AGAIN_MS)

    @property
    def is_to_be_introduced(self) -> bool:
        """Whether the relay does not yet know that we know them."""
        return not self.blocked and ((self.is_known and not self.greeted) or self.moved)

    @property
    def is_known(self) -> bool:
        """Whether the user has added them, written to them or let them in; else they are a stranger."""
        return bool(self.name or self.greeted or self.accepted)

    @property
    def had_kem(self) -> bool:
        """Whether this user ever had a post-quantum key; of records of version 0.1.0, whether they had one last."""
        return self.post_quantum or (bool(self.key) and not self.classical)


class SessionsRecord(Record, frozen=True, kw_only=True):
    """``SESSIONS``/user id: the ids of the sessions, the one in use first.

    ``since``: when it was first seen that a session is not in use any more, 0 if it is.
    ``sessions``: serialised ones, as version 0.1.0 kept them.
    """

    sessions: list[bytes] = []
    ids: list[bytes] = []
    since: list[int] = []


class SessionRecord(Record, frozen=True, kw_only=True):
    """``SESSION``/'<user id> <session id in base64>': a serialised session, without its skipped keys.

    ``skipped``: whether it may have some; of what an earlier version has stored, that is not known.
    """

    peer: str
    id: bytes
    state: bytes
    skipped: bool = True


class SkippedRecord(Record, frozen=True, kw_only=True):
    """``SKIPPED``/as ``SESSION``: skipped keys in the order in which they were passed over; see ``client.sessions``."""

    chains: list[bytes]
    keys: bytes


class PreKeyRecord(Record, frozen=True, kw_only=True):
    """``PREKEY``/'<sort>:<id>', where sort is signed, one-time, kem or last-resort.

    ``private``: 32 bytes, or the 64-byte KEM seed. ``retired_at``: when a newer one took its place.
    ``dated``: of signed and last-resort ones, the date under which the relay has them, 0 if it has none.
    """

    sort: str
    id: int
    private: bytes
    made_at: int
    published: bool = False
    retired_at: int | None = None
    dated: int = 0


class OutboxRecord(Record, frozen=True, kw_only=True):
    """``OUTBOX``/message id: what the relay has not accepted. ``sealed`` is b'' until encrypted.

    ``text`` is None for a receipt, whose content is gathered from ``RECEIPT`` when it is encrypted.
    ``again``: its recipient could not read it, or never got it. ``key``: of whom it was encrypted for.
    """

    message_id: str
    peer: str
    text: str | None
    burn: bool
    expires_in: int | None
    made_at: int
    sealed: bytes = b""
    again: bool = False
    key: bytes = b""


class SentRecord(Record, frozen=True, kw_only=True):
    """``SENT``/message id: a message of one's own and how far it has come. ``text`` None when it is gone.

    ``resends``: how often it was sent again because its recipient had lost it. ``key``: of whom it was encrypted for.
    """

    message_id: str
    peer: str
    text: str | None
    made_at: int
    burn: bool
    state: int
    expires_in: int | None = None
    expires_at: int | None = None
    resends: int = 0
    key: bytes = b""


class OrderRecord(Record, frozen=True, kw_only=True):
    """The next revision of something that several users change: see ``wire.frames.OrderPart``; ``name`` is 32 bytes."""

    name: bytes
    revision: int
    writers: list[str]


class ManyRecord(Record, frozen=True, kw_only=True):
    """``MANY``/message id: a message to many, kept so that it can be sent again to each of them.

    ``content``: content 2, without padding. ``key``: 32 bytes, of the one body that it is encrypted in. ``group``: the
    relay is told so. ``purpose``: which part of the client sends it. ``order``: what it brings the next revision of.
    ``answered``: its recipients say that they have it; whoever does not, and has answered a later one, has lost it.
    """

    message_id: str
    conversation_id: str
    content: bytes
    key: bytes
    group: bool = False
    purpose: str = ""
    order: OrderRecord | None = None
    burn: bool = False
    expires_in: int | None = None
    answered: bool | UnsetType = UNSET


class CopyRecord(Record, frozen=True, array_like=True):
    """What becomes of a message to many for one of them.

    ``state``: a ``DeliveryState``. ``waits``: it is to be sent, for the first time or again. ``head``: encrypted for
    them, b'' until it is and once it has left. ``key``: of whom it was encrypted for. ``resends``: as of a message.
    """

    peer: str
    state: int = 0
    waits: bool = True
    head: bytes = b""
    key: bytes = b""
    resends: int = 0


class CopiesRecord(Record, frozen=True, kw_only=True):
    """``COPIES``/message id: the copies of a ``MANY``, which goes with them.

    ``at``: when the relay accepted a copy last, or when the message was written, in persistent time. ``ordered``: the
    relay has stored its revision. ``expires_at``: when it is erased because its time is over, in persistent time.
    ``answered``: as in ``MANY``.
    """

    message_id: str
    copies: list[CopyRecord]
    at: int
    ordered: bool = False
    expires_at: int | None = None
    answered: bool | UnsetType = UNSET


class ReceivedRecord(Record, frozen=True, kw_only=True):
    """``RECEIVED``/'<sender> <message id>': a message of somebody. ``text`` None when it is gone.

    ``quiet``: it was read, and its sender is not to be told so. ``newer``: the content of a message that this version
    does not know, as it came; ``text`` is None then. ``device``: which device of its sender wrote it, if not the first.
    """

    message_id: str
    sender: str
    text: str | None
    sent_at: int
    received_at: int
    burn: bool
    expires_at: int | None
    read: bool = False
    quiet: bool = False
    newer: bytes | UnsetType = UNSET
    device: str | UnsetType = UNSET

    @property
    def is_there(self) -> bool:
        """Whether there is something of it that could be shown, now or by a newer version."""
        return self.text is not None or self.newer is not UNSET

    def erased(self) -> Self:
        """What is left of it when it is gone."""
        return replace(self, text=None, newer=UNSET)


class NewerRecord(Record, frozen=True, kw_only=True):
    """``NEWER``/'<sender> <message id>': a received message that was newer than this version; it may be gone."""

    message_id: str
    sender: str


class KnownKindsRecord(Record, frozen=True, kw_only=True):
    """``KNOWN_KINDS``/'': what the version could read that has tried to read what is ``NEWER`` last."""

    kinds: list[str]


class InboxRecord(Record, frozen=True, kw_only=True):
    """``INBOX``/'<sender> <message id>': a received message that the application has not handled yet."""

    message_id: str
    sender: str


class AckRecord(Record, frozen=True, kw_only=True):
    """``ACK``/'<sender> <message id>': read or burned, still to be reported to the relay."""

    message_id: str
    sender: str
    status: str


class ReceiptRecord(Record, frozen=True, kw_only=True):
    """``RECEIPT``/'<sender> <message id>': a receipt for its sender, end to end encrypted.

    ``status``: delivered, read, burned or undecryptable. ``at``: since when, in milliseconds.
    ``carrier``: id of the batch (message) that it is in, '' if none yet.
    """

    message_id: str
    sender: str
    status: str
    at: int
    carrier: str = ""


class UnreadableRecord(Record, frozen=True, kw_only=True):
    """``UNREADABLE``/'<sender> <message id>': a message that could not be decrypted.

    ``at``: since when. ``curable``: recoverable; sending it again would help. ``asked_at``: when it was last asked for.
    """

    message_id: str
    sender: str
    at: int
    curable: bool = False
    asked_at: int | None = None
    times: int = 0


class RequestRecord(Record, frozen=True, kw_only=True):
    """``REQUEST``/'<sender> <message id>': a message of a stranger.

    ``frame``: as the relay delivered it, b'' once it was looked at and is a ``RECEIVED``. ``size``: its bytes.
    ``at``: when it came, and ``due``: when it expires, in persistent time; ``since``: when it came, to be shown.
    """

    message_id: str
    sender: str
    at: int
    due: int
    since: int
    size: int
    frame: bytes


class UnansweredRecord(Record, frozen=True, kw_only=True):
    """``UNANSWERED``/message id: a message that the relay has accepted and its recipient not yet answered."""

    message_id: str
    peer: str


class SettingsRecord(Record, frozen=True, kw_only=True):
    """``SETTINGS``/'': what others may learn, see ``client.settings``."""

    read_receipts: bool = True
    typing: bool = True
    presence: bool = True


class BlockRecord(Record, frozen=True, kw_only=True):
    """``BLOCK``/user id: block commands for this user that the relay has not confirmed, first to last."""

    user_id: str
    steps: list[bool]


class RecoveryRecord(Record, frozen=True, kw_only=True):
    """``RECOVERY``/user id: when new sessions were begun because something could not be read, in milliseconds."""

    at: list[int]


class PageRecord(Record, frozen=True, kw_only=True):
    """``PAGE``/user id: the newest page of a conversation, which is not full yet; '<user id> <number>': an older one.

    ``messages``: ids in the order in which they came, each behind ``s`` if it was sent, ``r`` if received.
    """

    number: int
    messages: list[str]


class InboxPageRecord(Record, frozen=True, kw_only=True):
    """``INBOX_PAGE``/user id: the newest page of a sender's unhandled messages; '<user id> <number>': an older one.

    ``oldest``: number of the oldest page that there is. ``messages``: ids in the order in which they came; those that
    were handled since are not in ``INBOX`` any more.
    """

    oldest: int
    number: int
    messages: list[str]


class IntValue(Record, frozen=True):
    """``INDEXED``/'': up to which position messages are entered in pages.

    ``INDEXED_WITHOUT_INBOX``/'': the same, of a version that made no pages of the inbox; the index is made anew.

    ``IN_ORDER``/'': what was said before it was put here may have come from a file, which has sent and received texts
    apart; its value says nothing.

    ``OLD_KEYS``/'': the position of the contact whose old keys were looked for last.

    ``LAST_PREKEY_ID``/'': the highest id given to a prekey.

    ``CLOCK_OFFSET``/'': of version 0.1.0, how far the relay's clock was ahead of the local one, in milliseconds.
    """

    value: int


class ClockRecord(Record, frozen=True, kw_only=True):
    """``CLOCK``/'': a moment on all clocks of the device, see ``clock.ClockSnapshot``. All times are milliseconds."""

    boot: str
    since_boot: int
    wall: int
    steady: int


class DevicesRecord(Record, frozen=True, kw_only=True):
    """``DEVICES``/user id of a person: the newest device list that was taken up of them, and its usable devices."""

    person: str
    encoded: bytes
    usable: list[str]


class PersonRecord(Record, frozen=True, kw_only=True):
    """``PERSON``/'': that there is more than one device, or was.

    ``person``: user id of the first device. ``published``: hash of the list that the relay has. ``is_restored``: the
    profile came from a backup, and its person has signed no list since.
    """

    person: str
    published: bytes = b""
    is_restored: bool = False


class DeviceRecord(Record, frozen=True, kw_only=True):
    """``DEVICE``/user id of an own device: what it is called, '' if that is not known here.

    ``silent``: for how many milliseconds this device was connected since something came from that one; of this device
    itself, since it wrote to the first one.
    """

    user_id: str
    name: str = ""
    silent: int = 0


class SyncRecord(Record, frozen=True, kw_only=True):
    """``SYNC``/its ``name``: a message was read here, and the other own devices do not know it.

    ``group``: to which it is a text, '' if it is a message to this user alone.
    """

    message_id: str
    sender: str
    group: str = ""

    @property
    def name(self) -> str:
        """Under which it stands: message ids are their senders', who may give one twice."""
        name = key(self.sender, self.message_id)
        return f"{self.group} {name}" if self.group else name


class Seen(msgspec.Struct, frozen=True):
    """``SEEN`` and ``HANDSHAKE``: that it is there is all it says; ``at`` in ms."""

    at: int


def key(sender: str, message_id: str) -> str:
    """The name of records about a received message."""
    return f"{sender} {message_id}"
