"""Groups in an exported file: what they are, and what was said in them, but for texts that expire."""

from typing import Final

import msgspec
from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups.past import GroupPast
from phantom_messenger.client.groups.records import (
    GroupCountsRecord,
    GroupInboxRecord,
    GroupRecord,
    GroupStepRecord,
    GroupTextRecord,
    group_inbox,
    group_texts,
)
from phantom_messenger.client.groups.store import RELATIONS, written
from phantom_messenger.client.records import Seen
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Transaction, Vault

_STATES: Final = frozenset(map(int, DeliveryState))


class GroupCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A group as it is in a file; ``steps`` and ``texts`` oldest first, ``unread`` those not yet handled."""

    record: GroupRecord
    counts: GroupCountsRecord = GroupCountsRecord()
    steps: list[GroupStepRecord] = []
    texts: list[GroupTextRecord] = []
    unread: list[GroupInboxRecord] = []

    def __repr__(self) -> str:
        return "GroupCopy(...)"

    @property
    def is_usable(self) -> bool:
        """Whether the words in it are those that this program knows."""
        return self.record.relation in RELATIONS and all(text.state in _STATES for text in self.texts)


def gather(opened: Vault) -> list[GroupCopy]:
    """All groups of a profile."""
    return [_copied(opened, record) for _, record in opened.all(records.GROUP, GroupRecord)]


def _copied(opened: Vault, record: GroupRecord) -> GroupCopy:
    group = written(record.group)
    found = (opened.find(records.GROUP_STEP, f"{group} {one}", GroupStepRecord) for one in record.steps)
    steps = [step for step in found if step is not None]
    before = list(GroupPast(opened).of(group))[::-1]
    since = [text for _, text in opened.all(group_texts(record.number), GroupTextRecord)]
    texts = [_kept(text) for text in (*before, *since)]
    unread = [marker for _, marker in opened.all(group_inbox(record.number), GroupInboxRecord)]
    there = {(text.sender, text.message_id) for text in texts if text.text is not None}
    return GroupCopy(
        record=record,
        counts=opened.find(records.GROUP_COUNTS, group, GroupCountsRecord) or GroupCountsRecord(),
        steps=steps,
        texts=texts,
        unread=[one for one in unread if (one.sender, one.message_id) in there],
    )


def _kept(text: GroupTextRecord) -> GroupTextRecord:
    """A file cannot forget: of a text that expires only that there was one."""
    is_fleeting = text.expires_at is not None or text.expires_in is not None
    return replace(text, text=None, expires_at=None) if is_fleeting else text


def put(tx: Transaction, copies: list[GroupCopy]) -> None:
    """Store what a file has."""
    for copy in copies:
        group = written(copy.record.group)
        tx.put(records.GROUP, group, copy.record)
        tx.put(records.GROUP_COUNTS, group, copy.counts)
        for step in copy.steps:
            tx.put(records.GROUP_STEP, f"{group} {changes.read_own(step.change).revision}", step)
        for text in copy.texts:
            tx.put(group_texts(copy.record.number), records.key(text.sender, text.message_id), text)
            if text.sender:  # it may be sent again
                tx.put(records.SEEN, records.key(text.sender, text.message_id), Seen(text.kept_at))
        for one in copy.unread:
            tx.put(group_inbox(copy.record.number), f"{group} {records.key(one.sender, one.message_id)}", one)
