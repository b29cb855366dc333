"""What must be so, during a run and at its end.

The checker knows what people wrote and hears what the store committed, what the relay wrote, what
devices heard and what they handed out. It finds faults; it never steers.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import apsw
import pytest
from simulation_network import Setting, Wire

from phantom_messenger.client import records
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.outbox import _RANK, Outbox
from phantom_messenger.client.receipts import Receipts
from phantom_messenger.client.records import ReceivedRecord, SentRecord, SessionsRecord
from phantom_messenger.client.recovery import Recovery
from phantom_messenger.client.status import DeliveryEvent, DeliveryState, Event, MessageEvent, WarningEvent
from phantom_messenger.client.vault import Vault
from phantom_messenger.engines.sqlite import SQLiteStore, tables
from phantom_messenger.engines.sqlite.mailboxes import ExpiredItem, Removed, SQLiteMailboxes
from phantom_messenger.relay.commands import KEEP_REMOVED_MS, AppendRefusal
from phantom_messenger.relay.records import Item, ItemKind, NewItem
from support.simulated import SECOND

ERASED_MS: Final = 26 * SECOND
"""How long a text may stay on disk after its time: programs of the simulation look every few seconds while they have a
connection, and one may take 10 s to open, and 15 s to log in."""

JOB_MS: Final = 150 * SECOND
"""Longer than a job can wait for a slow disk."""

EXPLAINED: Final = {"unknown-user", "prekeys", "backlog", "storage", "clock", "paused"}
"""Troubles that faults, clocks that are set and full mailboxes make, and nothing else does."""

_SEQ: Final = re.compile(rb'"seq":(\d+)[,}]')
_STAMP: Final = re.compile(rb'"timestamp":(\d+),"type":"MESSAGE"')
_MESSAGE_ID: Final = re.compile(rb'"messageId":"([^"]+)"')


class Violation(AssertionError):
    """A run has shown a fault."""


class Change(NamedTuple):
    """Something that a job did to a mailbox."""

    what: str
    recipient: str
    sender: str
    name: str
    stamp: int = 0


class WatchedMailboxes(SQLiteMailboxes):
    """Mailboxes that tell the checker what was committed."""

    def __init__(self, checker: "Checker", *arguments: Any) -> None:
        super().__init__(*arguments)
        self._checker = checker
        self._arguments = arguments
        self._changes: list[Change] = []
        self._marks: list[tuple[int, int]] = [(0, 0)]
        self._yielded: list[Change] = []

    def renewed(self) -> "WatchedMailboxes":
        """As another process finds it: what is on disk, and nothing that was remembered."""
        return WatchedMailboxes(self._checker, *self._arguments)

    def append(
        self, recipient: str, item: NewItem, *, known: bool, now: int, replace: bool = True
    ) -> Item | AppendRefusal:
        self._yielded = []
        outcome = super().append(recipient, item, known=known, now=now, replace=replace)
        if outcome is not AppendRefusal.FULL:
            self._changes += self._yielded
        if item.kind is ItemKind.MESSAGE and isinstance(outcome, Item):
            stamp = _STAMP.search(item.tail)
            assert stamp is not None
            self._changes.append(Change("kept", recipient, item.sender, item.name, int(stamp[1])))
        elif item.kind is ItemKind.RECEIPT and outcome is AppendRefusal.FULL:
            self._changes.append(Change("receipt dropped", recipient, item.sender, item.name))
        elif isinstance(outcome, AppendRefusal) and item.kind is ItemKind.MESSAGE:
            self._changes.append(Change(outcome.name.lower(), recipient, item.sender, item.name))
        return outcome

    def _make_way(self, entry: int) -> None:
        rows: Any = self._connection.execute(
            "SELECT user_id, sender, name FROM items JOIN accounts ON account = recipient WHERE entry = ? AND kind = ?",
            (entry, ItemKind.MESSAGE),
        )
        self._yielded += [Change("gave way", *row) for row in rows]
        super()._make_way(entry)

    def acknowledge(self, recipient: str, sender: str, name: str, now: int) -> Removed:
        removed = super().acknowledge(recipient, sender, name, now)
        self._changes.append(Change("taken" if removed else "told", recipient, sender, name))
        return removed

    def expire(self, now: int, limit: int, *, before: int | None = None) -> list[ExpiredItem]:
        gone = super().expire(now, limit, before=before)
        self._changes += [
            Change("expired", one.recipient, one.sender, one.name) for one in gone if one.kind is ItemKind.MESSAGE
        ]
        return gone

    def savepoint(self) -> int:
        self._marks.append((len(self._changes), super().savepoint()))
        return len(self._marks) - 1

    def rolled_back(self, savepoint: int) -> None:
        changes, deleted = self._marks[savepoint]
        del self._changes[changes:]
        super().rolled_back(deleted)

    def committed(self) -> None:
        changes, self._changes = self._changes, []
        del self._marks[1:]
        super().committed()
        self._checker.committed(changes)


def watched_store(checker: "Checker") -> SQLiteStore:
    """A store in memory, with watched mailboxes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "SQLiteMailboxes", partial(WatchedMailboxes, checker))
        return SQLiteStore(None)


@dataclass(slots=True)
class Sent:
    """Something that the relay was given for somebody, and whether it has it. Times are true ones, in milliseconds.

    ``left_in``: the life of the relay in which it left the mailbox.
    """

    number: str
    sender: str
    recipient: str
    is_stored: bool = field(default=False, kw_only=True)
    was_stored: bool = field(default=False, kw_only=True)
    left_at: int = field(default=0, kw_only=True)
    left_in: int = field(default=0, kw_only=True)
    gave_way: bool = field(default=False, kw_only=True)


@dataclass(slots=True)
class Text(Sent):
    """A text that somebody wrote, and what became of it.

    ``stamp``: when it was sent, as its sender says; ``stored_stamp``: in the copy that the relay
    has, which may be a later one. ``handed_in``: the life of the program that was
    given it last. ``is_told_expired``: the relay has the news of it for the sender. ``received_at``: in true time,
    when its recipient had it; None before.
    """

    place: int
    body: str
    burn: bool
    expires_in: int | None
    stamp: int = 0
    stored_stamp: int = 0
    arrived_at: dict[int, int] = field(default_factory=dict)
    has_expired: bool = False
    is_told_expired: bool = False
    received_at: int | None = None
    handed_in: int | None = None
    done: bool = False
    read: bool = False

    @property
    def on_device(self) -> bool:
        return self.received_at is not None

    def late(self, now: int) -> int:
        """How long ago its time at its recipient was over, whatever clocks were set; negative before."""
        return -1 if self.received_at is None or self.expires_in is None else now - self.received_at - self.expires_in

    @property
    def when_read(self) -> DeliveryState:
        return DeliveryState.BURNED if self.burn else DeliveryState.READ

    @property
    def most(self) -> DeliveryState:
        """How far its sender may know it to have come: the recipient knows better than the relay."""
        if self.read:
            return self.when_read
        if self.on_device:
            return DeliveryState.DELIVERED
        if self.has_expired:
            return DeliveryState.EXPIRED
        return DeliveryState.ACCEPTED if self.was_stored else DeliveryState.QUEUED

    def least(self, *, is_known: bool) -> DeliveryState:
        """How far its sender must know it to have come, in the end.

        Args:
            is_known: whether the sender is somebody whom the recipient has added or written to.
        """
        if is_known and (self.read or self.on_device):
            return self.when_read if self.read else DeliveryState.DELIVERED
        return DeliveryState.EXPIRED if self.is_told_expired else DeliveryState.ACCEPTED


def _filled(found: Mapping[Any, Any]) -> dict[Any, Any]:
    """Without what is empty."""
    return {name: inner for name, inner in found.items() if inner}


def _texts(outbox: Outbox) -> list[tuple[str, list[str]]]:
    """The texts that wait, in their order, by whom they are for."""
    found: dict[str, list[str]] = {}
    for entry in outbox._queue.in_order():
        if entry.text is not None:
            found.setdefault(entry.peer, []).append(entry.message_id)
    return sorted(found.items())


class Owner(Protocol):
    """A device, as far as the end of a run is checked."""

    id: str
    life: int
    is_running: bool
    vault: Vault
    messenger: Messenger


class ExtraBook(Protocol):
    """What else is checked of a run: see ``simulation_group_checks`` and ``simulation_devices``."""

    def watch(self, messenger: Messenger) -> None: ...

    def committed(self, change: Change) -> bool: ...

    def relay_wrote(self, frame: bytes) -> bool: ...

    def heard(self, user: str, event: Event) -> bool: ...

    def compare(self, user: str, messenger: Messenger, vault: Vault) -> None: ...

    def unsettled(self, owners: list[Owner]) -> list[str]: ...


class Checker:
    """The book of a run; people are known by their user ids, called by their names.

    Args:
        setting: the run's.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.texts: dict[str, Text] = {}
        self.names: dict[str, str] = {}
        self.faults: list[str] = []
        self.checks_answers = True
        """Whether ``accepted`` before the commit is a fault by itself."""
        self.relay_lives = 0
        self.refusals = 0
        """How often the relay could not store something."""
        self.leapt_at = -JOB_MS
        self.persistent_slack = 0
        """How far the relay's persistent time may be ahead: see ``RelayPart.start``."""
        self._pairs: dict[tuple[str, str], list[Text]] = defaultdict(list)
        self._handed: dict[tuple[str, str], int] = defaultdict(lambda: -1)
        self._items: dict[tuple[str, int], bytes] = {}
        self._contacts: set[tuple[str, str]] = set()
        self._receipts: dict[str, Sent] = {}
        """Messages that carry receipts, by their ids: what they say is seen by what senders know."""
        self._added: set[tuple[str, str]] = set()
        self.old: set[str] = set()
        """Whose program knew suite 1 alone when the run began."""
        self._in_suite_2: set[tuple[str, str]] = set()
        """Who has encrypted in suite 2, and for whom."""
        self.extra: ExtraBook | None = None
        """What else there is to check: of a group, or of persons with several devices."""

    def wrong(self, what: str) -> None:
        """A fault was found."""
        self._setting.note(f"! {what}")
        self.faults.append(what)

    def rest(self) -> None:
        """Raise what was found: not earlier, for the parts catch what is raised inside them."""
        if self.faults:
            raise Violation(self.faults[0])

    def called(self, text: Text) -> str:
        """A text, for people."""
        return f"text {text.place} of {self.names[text.sender]} to {self.names[text.recipient]}"

    # --- what people do -------------------------------------------------------------

    def wrote(self, number: str, sender: str, recipient: str, body: str, *, burn: bool, expires_in: int | None) -> None:
        """A text is in the outbox."""
        pair = self._pairs[sender, recipient]
        text = Text(number, sender, recipient, len(pair), body, burn, expires_in)
        pair.append(text)
        self.texts[number] = text
        self._setting.note(f"{self.called(text)} is written, burn {burn}, expires in {expires_in}")

    def added(self, user: str, other: str) -> None:
        """Somebody is in the address book of a user, or may be: the disk can be full."""
        self._added.add((user, other))

    def _knows(self, user: str, other: str) -> bool:
        """Whether a user has added somebody or written to them, and so lets them know what became of their texts."""
        return (user, other) in self._added or bool(self._pairs.get((user, other)))

    def handed_out(self, user: str, record: ReceivedRecord, life: int) -> None:
        """A device has given a text to its application."""
        text = self.texts.get(record.message_id)
        if text is None or (text.sender, text.recipient, text.body) != (record.sender, user, record.text):
            self.wrong(f"{self.names[user]} was handed a text that nobody wrote: {record.message_id}")
            return
        about = self.called(text)
        self._setting.note(f"{about} is handed out")
        if text.done or text.handed_in == life:
            self.wrong(f"{about} was handed out twice")
        if text.late(self._setting.now) >= 0:
            self.wrong(f"{about} was handed out {text.late(self._setting.now)} ms after its time")
        pair = text.sender, text.recipient
        if text.handed_in is None and text.place <= self._handed[pair]:
            self.wrong(f"{about} was handed out behind a later one")
        self._handed[pair] = max(self._handed[pair], text.place)
        text.handed_in = life

    def handled(self, number: str, *, read: bool) -> None:
        """The application is done with a text."""
        text = self.texts[number]
        text.done = True
        text.read = text.read or read
        self._setting.note(f"{self.called(text)} is {'read' if read else 'handled'}")

    def sealed(self, user: str, peer: str, suite: int) -> None:
        """Something was encrypted."""
        about = f"{self.names[user]} encrypts for {self.names[peer]} in suite {suite}"
        if suite == 2:
            if not {user, peer}.isdisjoint(self.old) and (user, peer) not in self._in_suite_2:
                self._setting.happened("suite 2 after an upgrade")
            self._in_suite_2.add((user, peer))
        elif {user, peer}.isdisjoint(self.old):
            self.wrong(f"{about}, and both know suite 2")
        elif (user, peer) in self._in_suite_2:
            self.wrong(f"{about} after suite 2")
        else:
            self._setting.happened("suite 1 with an old program")

    # --- what the store does --------------------------------------------------------

    def are_contacts(self, one: str, other: str) -> bool:
        """Whether both have written to each other, as the relay has it on disk."""
        return (one, other) in self._contacts and (other, one) in self._contacts

    def met(self, connection: apsw.Connection) -> None:
        """Look who has written to whom."""
        if len(self._contacts) == len(self.names) * (len(self.names) - 1):
            return
        rows: Any = connection.execute(
            "SELECT DISTINCT one.user_id, other.user_id FROM written"
            " JOIN accounts AS one ON one.account = sender JOIN accounts AS other ON other.account = recipient"
        )
        self._contacts.update(rows)

    def committed(self, changes: list[Change]) -> None:
        """The store has committed this."""
        extra = self.extra
        for change in changes if extra is None else [one for one in changes if not extra.committed(one)]:
            text = self.texts.get(change.name)
            found = self._receipt(change) if text is None else text
            about = f"a receipt of {self.names[change.sender]}" if text is None else self.called(text)
            self._setting.note(f"store: {about} {change.what}")
            if change.what == "receipt dropped":
                if text is not None:
                    text.is_told_expired = False
                self._setting.happened("news from the relay for which there was no room")
            elif (found.sender, found.recipient) != (change.sender, change.recipient):
                self.wrong(f"{about} is in the wrong mailbox")
            elif change.what == "kept":
                self.kept(found, about)
                if text is not None:
                    self._stamped(text, change.stamp)
            elif change.what == "gave way":
                found.is_stored, found.gave_way = False, True
                self._setting.happened("stranger's message that gave way")
                if (change.recipient, change.sender) in self._contacts:
                    self.wrong(f"{about} gave way, and its sender is no stranger")
            elif change.what in {"taken", "expired"}:
                found.is_stored, found.left_at, found.left_in = False, self._setting.now, self.relay_lives
                if text is not None:
                    self._left(text, about, expired=change.what == "expired")
                elif change.what == "expired":
                    self.wrong(f"{about} has expired")
            elif change.what == "duplicate" and not found.was_stored:
                self.wrong(f"{about} is called a duplicate, and was never stored")
            elif change.what == "full":
                self._setting.happened("mailbox full" if text is not None else "mailbox full for a receipt")

    def _receipt(self, change: Change) -> Sent:
        """A message that is not a text: one that carries receipts, to somebody who may have them."""
        if change.what == "receipt dropped":  # what the relay tells of one names its sender as the recipient
            return self._receipts[change.name]
        # Who is in a group with somebody may learn what became of their texts.
        may_tell = self.extra is not None or self._knows(change.sender, change.recipient)
        if change.name not in self._receipts and not may_tell:
            names = self.names[change.sender], self.names[change.recipient]
            self.wrong(f"{names[0]} has told {names[1]} what became of a text, and does not know them")
        return self._receipts.setdefault(change.name, Sent(change.name, change.sender, change.recipient))

    def kept(self, found: Sent, about: str) -> None:
        """A mailbox has got something, which may be there once."""
        # A job lives in the time in which it was begun, which a leap or a slow disk puts into the past.
        is_sure = (
            self._setting.now - found.left_at < KEEP_REMOVED_MS - JOB_MS and found.left_at - self.leapt_at > JOB_MS
        )
        is_remembered = found.left_in == self.relay_lives and is_sure
        if found.is_stored or (found.was_stored and is_remembered):
            self.wrong(f"{about} was stored twice")
        found.is_stored = found.was_stored = True

    @staticmethod
    def _stamped(text: Text, stamp: int) -> None:
        text.stored_stamp = stamp
        if not text.on_device:
            text.stamp = stamp

    def _left(self, text: Text, about: str, *, expired: bool) -> None:
        now = self._setting.now
        if expired:
            lived = now - text.arrived_at.get(text.stored_stamp, now) + self.persistent_slack
            if text.expires_in is None or lived < text.expires_in:
                self.wrong(f"{about} has expired after {lived} of {text.expires_in} ms")
            text.has_expired = True
            self._setting.happened("expired, and its recipient had it" if text.on_device else "expired before it came")
        elif not text.on_device:
            self.wrong(f"{about} was acknowledged by somebody who does not have it")
        text.is_told_expired = expired and self.are_contacts(text.sender, text.recipient)

    # --- what goes over the network -------------------------------------------------

    def arrived(self, frame: bytes) -> None:
        """A MESSAGE has come to the relay."""
        name, stamp = _MESSAGE_ID.search(frame), _STAMP.search(frame)
        assert name is not None
        assert stamp is not None
        text = self.texts.get(name[1].decode())
        if text is None:
            receipt = self._receipts.get(name[1].decode())
            was_stored = receipt is not None and receipt.was_stored
            self._setting.counts["receipt sent again that was stored already" if was_stored else "receipt sent"] += 1
            return
        if text.was_stored:
            self._setting.happened("text sent again that was stored already")
        text.arrived_at.setdefault(int(stamp[1]), self._setting.now)

    def relay_wrote(self, wire: Wire, user: str, frame: bytes) -> None:
        """The relay has written a frame to a connection of a user."""
        if self.extra is not None and self.extra.relay_wrote(frame):
            pass
        elif b'"accepted"' in frame and self.checks_answers:
            name = _MESSAGE_ID.search(frame)
            number = "" if name is None else name[1].decode()
            found = self.texts.get(number) or self._receipts.get(number)
            if found is None or not found.was_stored:
                what = "receipt" if number not in self.texts else "text"
                self.wrong(f"the relay told {self.names.get(user, user)} 'accepted' before the {what} was stored")
        if b'"reason":"storage"' in frame:
            self.refusals += 1
            self._setting.counts["refused for want of room"] += 1
        elif b'"reason":"clock"' in frame:
            self._setting.happened("refused for its time")
        numbered = _SEQ.search(frame)
        if numbered is None:
            return
        seq = int(numbered[1])
        if seq <= wire.last_seq:
            self.wrong(f"the relay sent seq {seq} behind {wire.last_seq} to {self.names.get(user, user)}")
        wire.last_seq = seq
        before = self._items.setdefault((user, seq), frame)
        if before is not frame:
            self._setting.counts["item of a mailbox sent again"] += 1
            if before != frame:
                self.wrong(f"seq {seq} of {self.names.get(user, user)} stands for two things")

    def heard(self, user: str, event: Event) -> None:
        """A device has told its application something."""
        if self.extra is not None and self.extra.heard(user, event):
            return
        match event:
            case MessageEvent():
                text = self.texts[event.message_id]
                if text.on_device:
                    self.wrong(f"{self.called(text)} was announced twice")
                text.received_at = self._setting.now
            case DeliveryEvent():
                text = self.texts[event.message_id]
                if _RANK[event.state] > _RANK[text.most] and self.checks_answers:
                    self.wrong(f"{self.called(text)} is told as {event.state}, and is {text.most}")
            case WarningEvent():
                self._setting.happened(f"trouble: {event.code}")
                # What was written before the upgrade, by somebody whom the old program has never seen.
                is_from_before = event.code == "older" and user in self.old
                if event.code not in EXPLAINED and not is_from_before:
                    self.wrong(f"{self.names[user]} has trouble: {event.code}: {event.message}")
            case _:
                pass

    def compare(self, user: str, messenger: Messenger, vault: Vault) -> None:
        """What a program remembers must be what is on its disk, whatever could not be stored."""
        outbox = Outbox(vault)
        receipts = Receipts(vault, outbox)
        recovery, known = Recovery(vault), messenger._stores.receipts
        for what, remembered, kept in (
            ("waits", messenger._stores.outbox._queue._entries, outbox._queue._entries),
            ("waits, in this order", _texts(messenger._stores.outbox), _texts(outbox)),
            (
                "is unanswered",
                _filled(messenger._stores.outbox._unanswered.waiting),
                _filled(outbox._unanswered.waiting),
            ),
            ("is to be told", known._known, receipts._known),
            (
                "is to be told in no message yet",
                _filled(known._waiting),
                _filled(receipts._waiting),
            ),
            ("is told in which message", _filled(known._batches), _filled(receipts._batches)),
            ("is unreadable", _filled(messenger._stores.recovery._unreadable), _filled(recovery._unreadable)),
        ):
            if remembered != kept:
                self.wrong(f"{self.names[user]} remembers other than is on disk what {what}")
        if self.extra is not None:
            self.extra.compare(user, messenger, vault)

    # --- the end --------------------------------------------------------------------

    def unsettled(self, owners: list[Owner], connection: apsw.Connection) -> list[str]:
        """What is still under way, in words."""
        found = [
            f"{self.names[owner.id]} {what}"
            for owner in owners
            for is_so, what in (
                (not owner.messenger.is_online, "is offline"),
                (owner.messenger.waiting, "has texts that wait"),
                (owner.is_running and owner.messenger.pending_receipts, "has to tell what was read"),
            )
            if is_so
        ]
        items: Any = connection.execute("SELECT kind, count(*) FROM items GROUP BY kind")
        if self.extra is not None:
            found += self.extra.unsettled(owners)
        return found + [f"{count} items of kind {kind} are in mailboxes" for kind, count in items]

    def finish(self, owners: list[Owner]) -> None:
        """Check what became of every text, after all are online and nothing is under way."""
        for owner in owners:
            self.compare(owner.id, owner.messenger, owner.vault)
            rivals = [found for _, found in owner.vault.all(records.SESSIONS, SessionsRecord) if len(found.ids) > 1]
            self._setting.counts["more than one session with a peer"] += len(rivals)
        vaults = {owner.id: owner.vault for owner in owners}
        lives = {owner.id: owner.life for owner in owners}
        for text in self.texts.values():
            about = self.called(text)
            if not text.done and text.handed_in != lives[text.recipient]:
                self._check_lost(text, about)
            sent = vaults[text.sender].get(records.SENT, text.number, SentRecord)
            assert sent is not None
            least = text.least(is_known=self._knows(text.recipient, text.sender))
            state = DeliveryState(sent.state)
            if not _RANK[least] <= _RANK[state] <= _RANK[text.most]:
                self.wrong(f"{about} is {state} in the end, not {least} to {text.most}")
            if sent.state in {DeliveryState.BURNED, DeliveryState.EXPIRED} and sent.text is not None:
                self.wrong(f"{about} is still with its sender")
            got = vaults[text.recipient].get(records.RECEIVED, records.key(text.sender, text.number), ReceivedRecord)
            if got is not None and got.text is not None and text.read and text.burn:
                self.wrong(f"{about} is still with its recipient, and was burned")
            late = text.late(self._setting.now)
            if got is not None and got.text is not None and late > ERASED_MS:
                self.wrong(f"{about} is still with its recipient, {late} ms after its time")
        self.rest()

    def _check_lost(self, text: Text, about: str) -> None:
        if text.gave_way:
            return
        if text.expires_in is None:
            self.wrong(f"{about} is lost")
        elif text.on_device and text.late(self._setting.now) < 0:
            self.wrong(f"{about} is lost, {-text.late(self._setting.now)} ms before its time")
        elif not text.on_device and not text.has_expired:
            self.wrong(f"{about} is lost")
