"""Texts to groups are kept: those of others, of which their senders are told, and those of one's other devices."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.content import time_of
from phantom_messenger.client.devices.early import Early, Sort
from phantom_messenger.client.devices.kinds import ReadText
from phantom_messenger.client.groups import naming, words
from phantom_messenger.client.groups.contents import GroupHello, GroupLeave, GroupText
from phantom_messenger.client.groups.records import (
    GroupEarlyRecord,
    GroupHeldRecord,
    GroupTextRecord,
    GroupToldRecord,
    SenderCount,
)
from phantom_messenger.client.groups.speaking import MAX_TOLD
from phantom_messenger.client.groups.store import INVITED, MAX_MISSING, MEMBER, Group, written
from phantom_messenger.client.groups.views import contact_of
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.records import SyncRecord
from phantom_messenger.client.status import DeliveryState, Event, GroupMessageEvent, WarningEvent, WrittenEvent
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.wire import frames

MAX_FORMER: Final = 50
"""Devices that are no member's any more, and whose texts are still counted, of one group."""


MAX_TOLD_AGAIN: Final = 1_000


class Texts:
    """Keeps them.

    Args:
        stores: of the profile.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._store = stores.groups
        self._early = Early(stores.vault)
        self._told_again: dict[tuple[str, str], None] = {}
        """Texts of which their senders were told once more, each once until this program ends."""

    def keep(  # noqa: PLR0917 - a text, and where it goes
        self,
        tx: Transaction,
        group: Group,
        held: GroupHeldRecord,
        said: GroupText,
        now: Moment,
        events: list[Event],
    ) -> None:
        """Keep a member's text, and hand it out; what the application is to hear is put behind ``events``."""
        sender = self._stores.devices.person_of(held.sender)
        message_id, expires_in = held.message_id, held.expires_in
        if self._store.text(group, sender, message_id) is not None:
            return  # another device of theirs has said it, and nobody can say it otherwise
        if group.record.relation == INVITED and not self._keep_early(tx, group, sender, held):
            self._pass_over(tx, group, held.sender, said.n)
            return
        is_past = self._store.past.has(group.id, sender, message_id)
        expires_at = None if expires_in is None else held.at + expires_in
        record = GroupTextRecord(
            message_id=message_id,
            sender=sender,
            text=said.body,
            sent_at=said.sent_at,
            kept_at=time_of(now.wall),
            expires_at=expires_at,
            read=self._was_read(tx, group.id, sender, message_id),
        )
        if not is_past:  # else it was handed over already, and all that is missing is its number
            self._store.put_text(tx, group, record)
        self._store.note_kept(tx, held.sender, message_id, now.persistent)
        is_news = not is_past and not record.read
        if is_news:
            self._store.hand_out(tx, group, sender, message_id)
        if len(group.state.members) <= MAX_TOLD:
            told = GroupToldRecord(group=group.id, sender=sender, message_id=message_id, status="delivered")
            self._store.tell(tx, told)
        gone = self._count(tx, group, held.sender, said.n)
        if group.record.relation != MEMBER:
            return
        peer = naming.member_of(group, sender, self._stores.book)
        if gone:
            message = words.missing(gone, peer.label, words.title(group.state.name))
            events.append(WarningEvent(peer=peer, code="missing", message=message))
        if is_news:
            event = GroupMessageEvent(message_id=message_id, group=group.id, name=group.state.name, peer=peer)
            events.append(event)

    def _was_read(self, tx: Transaction, group: str, sender: str, message_id: str) -> bool:
        """Whether a text that has just come was read on another own device before."""
        if self._stores.devices.own is None:
            return False
        return self._early.take(tx, Sort.READ, f"{group} {sender}", message_id) is not None

    def mark_read(self, group: str, sender: str, message_id: str, *, tells: bool) -> None:
        """The user has read a text. Idempotent.

        Args:
            group: its id.
            sender: who has written it.
            message_id: of the text.
            tells: whether its sender may learn of it.
        """
        found = self._store.get(group)
        record = None if found is None else self._store.text(found, sender, message_id)
        if found is None or record is None or record.read:
            return
        with self._stores.vault.transaction() as tx:
            self._put_read(tx, found, record)
            if tells and found.record.relation == MEMBER:
                self._store.tell(tx, _read(group, sender, message_id))
            if self._stores.devices.own_others():
                news = SyncRecord(message_id=message_id, sender=sender, group=group)
                tx.put(records.SYNC, news.name, news)

    def _put_read(self, tx: Transaction, group: Group, record: GroupTextRecord) -> None:
        self._store.put_text(tx, group, replace(record, read=True))
        self._store.handled(tx, group.id, record.sender, record.message_id)

    def read_elsewhere(self, tx: Transaction, said: Sequence[ReadText], device: str, now: Moment) -> None:
        """Another own device has read texts, and tells their senders."""
        for one in said:
            sender = written(one.sender)
            if sender != self._stores.devices.person:
                self._read_elsewhere(tx, (written(one.group), sender, one.id), device, now)

    def _read_elsewhere(self, tx: Transaction, text: tuple[str, str, str], device: str, now: Moment) -> None:
        group, sender, message_id = text
        found = self._store.get(group)
        record = None if found is None else self._store.text(found, sender, message_id)
        if found is None or record is None:
            news = (DeliveryState.READ, now.persistent)
            self._early.note(tx, Sort.READ, f"{group} {sender}", message_id, news)
        elif not record.read:
            self._put_read(tx, found, record)
        elif self._stores.devices.is_before(device):
            # Read on both before either had heard of the other: the first of them tells, and no other one.
            self._store.withdraw(tx, _read(group, sender, message_id))

    def _keep_early(self, tx: Transaction, group: Group, sender: str, held: GroupHeldRecord) -> bool:
        size = len(held.content)
        record = GroupEarlyRecord(group=group.id, sender=sender, message_id=held.message_id, size=size)
        return self._store.keep_early(tx, record)

    def came_again(self, payload: frames.RoutedMessagePayload) -> None:
        """A text that is here already has come again: its sender may not know that, and is told once more."""
        group = self._store.any_of_conversation(payload.conversation_id)
        if group is None or group.record.relation != MEMBER or len(group.state.members) > MAX_TOLD:
            return
        sender, message_id = self._stores.devices.person_of(payload.sender_id), payload.message_id
        name = (sender, message_id)
        is_past = self._store.past.has(group.id, sender, message_id)
        if name in self._told_again or not (is_past or self._store.text(group, sender, message_id)):
            return
        if any((one.sender, one.message_id) == name for one in self._store.told().get(group.id, [])):
            return  # what is to be told says as much, or that it was read
        self._told_again[name] = None
        if len(self._told_again) > MAX_TOLD_AGAIN:
            del self._told_again[next(iter(self._told_again))]
        with self._stores.vault.transaction() as tx:
            told = GroupToldRecord(group=group.id, sender=sender, message_id=message_id, status="delivered")
            self._store.tell(tx, told)

    def keep_own(  # noqa: PLR0917 - as above
        self, tx: Transaction, group: Group, held: GroupHeldRecord, text: str, now: Moment, events: list[Event]
    ) -> None:
        """A text that was written on another own device; what the application is to hear is put behind ``events``."""
        expires_at = None if held.expires_in is None else held.at + held.expires_in
        record = GroupTextRecord(
            message_id=held.message_id,
            sender="",
            text=text,
            sent_at=held.sent_at,
            kept_at=time_of(now.wall),
            expires_at=expires_at,
            expires_in=held.expires_in,
            state=int(DeliveryState.ACCEPTED),
        )
        self._store.note_kept(tx, held.sender, held.message_id, now.persistent)
        is_past = self._store.past.has(group.id, "", held.message_id)
        if not is_past and self._store.text(group, "", held.message_id) is None:
            self._store.put_text(tx, group, record)
            peer = contact_of(group.id, group.state.name)
            events.append(WrittenEvent(message_id=held.message_id, peer=peer, group=group.id))

    def _count(self, tx: Transaction, group: Group, sender: str, n: int) -> int:
        """Note the number of a device's text; how many before it have not come, as far as that is news."""
        counts = self._store.counts(group.id)
        known, others = counts.others.get(sender), counts.others
        if known is None:
            after, gone, others = SenderCount(n), 0, self._still_counted(group, others)
        elif n > known.last:
            gone = n - known.last - 1
            first = max(known.last + 1, n - MAX_MISSING)
            after = SenderCount(n, [*known.missing, *range(first, n)][-MAX_MISSING:])
        else:
            after, gone = SenderCount(known.last, [one for one in known.missing if one != n]), 0
        self._store.put_counts(tx, group.id, replace(counts, others={**others, sender: after}))
        return gone

    def _pass_over(self, tx: Transaction, group: Group, sender: str, n: int) -> None:
        """A device's text is not kept: the next one that is has it missing, be it the first of theirs."""
        counts = self._store.counts(group.id)
        if sender not in counts.others:
            others = {**self._still_counted(group, counts.others), sender: SenderCount(n - 1)}
            self._store.put_counts(tx, group.id, replace(counts, others=others))

    def _still_counted(self, group: Group, others: dict[str, SenderCount]) -> dict[str, SenderCount]:
        """All devices of members, and a few of those that are members' no more, who may come back."""
        people = set(group.people)
        former = [one for one in others if self._stores.devices.person_of(one) not in people]
        forgotten = set(former[:-MAX_FORMER])
        return {one: count for one, count in others.items() if one not in forgotten}


def _read(group: str, sender: str, message_id: str) -> GroupToldRecord:
    """What a sender is told of a text that was read."""
    return GroupToldRecord(group=group, sender=sender, message_id=message_id, status="read")


def held(payload: frames.RoutedMessagePayload, said: GroupText, now: Moment) -> GroupHeldRecord:
    """A text as it is kept if it comes too early."""
    return GroupHeldRecord(
        group=written(said.group),
        at=now.persistent,
        sender=payload.sender_id,
        message_id=payload.message_id,
        content=said.body.encode(),
        sent_at=said.sent_at,
        revision=said.revision,
        head=said.head,
        n=said.n,
        name=said.name,
        expires_in=payload.options.expires_in,
    )


def held_word(payload: frames.RoutedMessagePayload, said: GroupHello | GroupLeave, now: Moment) -> GroupHeldRecord:
    """A greeting, or a goodbye, as it is kept if it comes before its sender is a member."""
    record = GroupHeldRecord(
        group=written(said.group),
        at=now.persistent,
        sender=payload.sender_id,
        message_id=payload.message_id,
        kind="leave",
    )
    if isinstance(said, GroupLeave):
        return record
    return replace(record, revision=said.revision, head=said.head, name=said.name, kind="hello")
