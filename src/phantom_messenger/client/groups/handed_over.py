"""What goes over to a new device of what was said in groups: what the first one tells, and what the new one keeps."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from phantom_messenger.client.content import LAST_TIME_MS
from phantom_messenger.client.devices.kinds import SyncGroup
from phantom_messenger.client.devices.records import GroupTexts
from phantom_messenger.client.groups import naming
from phantom_messenger.client.groups.chain import Chain
from phantom_messenger.client.groups.records import GroupRecord, GroupTextRecord, group_texts
from phantom_messenger.client.groups.state import GroupState
from phantom_messenger.client.groups.store import INVITED, Group, GroupStore
from phantom_messenger.client.ids import is_user_id
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Transaction
from phantom_messenger.crypto.errors import InvalidMessage

_BESIDES: Final = 64
"""Bytes that an id and what is around it need at most."""

# --- the first device -------------------------------------------------------------


def kinds(store: GroupStore) -> dict[str, Group]:
    """The groups that show what was said in them, by the kinds of their texts."""
    shown = [group for group in store.all() if group.record.relation != INVITED]
    return {group_texts(group.record.number): group for group in shown}


def told(record: GroupTextRecord) -> GroupTextRecord | None:
    """A text as another own device gets it; None if it does not."""
    stays = record.text is not None and record.expires_at is None and record.expires_in is None
    return record if stays else None


def size_of_names(group: Group, writer: str, names: set[tuple[str, str]]) -> int:
    """How much larger a chunk is, at most, by what a text needs besides itself; ``names`` are those in it so far."""
    size = 0
    for one in ("", writer):
        if (group.id, one) not in names:
            names.add((group.id, one))
            size += _BESIDES + len(group.record.names.get(one, "").encode())
    return size


def packed(found: list[tuple[Group, GroupTextRecord]]) -> dict[str, GroupTexts]:
    """Texts as a chunk holds them."""
    groups: dict[str, GroupTexts] = {}
    for group, text in found:
        into = groups.setdefault(group.id, GroupTexts())
        into.texts.append(text)
        if says := group.record.names.get(text.sender):
            into.names[text.sender] = says
    return groups


# --- the new device ---------------------------------------------------------------


def take(store: GroupStore, tx: Transaction, groups: Mapping[str, GroupTexts], own: str) -> int:
    """Keep texts that are older than all that were handed over before; how many were not there yet.

    They are kept of a group that is not known here yet, too, and show once it is.
    """
    count = 0
    for name, said in groups.items():
        if not is_user_id(name) or store.past.is_erased(name):
            continue
        group = store.get(name)
        texts = [one for one in said.texts if _is_usable(one) and not (group and store.has_text(group, one))]
        if texts:
            others = {} if group is not None else {one: says for one, says in said.names.items() if one != own}
            store.past.put(tx, name, [_before(text) for text in texts], others)
            count += len(texts)
        if group is not None and (named := naming.handed_over(group, said.names, own)) is not group:
            store.put(tx, named)
    return count


def chain_of(said: SyncGroup) -> Chain | None:
    """A group as the first device knows it; None if it is none."""
    try:
        chain = Chain(GroupState.decode(said.state), said.digest)
    except InvalidMessage:
        return None
    return chain if chain.state.group == said.group else None


def _is_usable(text: GroupTextRecord) -> bool:
    """Whether it can be shown: its writer has an id as groups name people, and its times are some."""
    is_of_time = all(0 <= at <= LAST_TIME_MS for at in (text.sent_at, text.kept_at))
    return is_of_time and (not text.sender or is_user_id(text.sender))


def _before(text: GroupTextRecord) -> GroupTextRecord:
    """An own one is sent by another device, if it still waits there."""
    return text if text.sender else replace(text, state=max(text.state, int(DeliveryState.ACCEPTED)))


def with_names(store: GroupStore, group: Group) -> Group:
    """A group that is known only now, with what those call themselves who have written in it before."""
    return naming.handed_over(group, store.past.names(group.id), "")


def no_longer_in(store: GroupStore, tx: Transaction, group: Group | None, chain: Chain, said: SyncGroup) -> None:
    """On a linked device: the first one says that its user is in a group no more; one that is not known here shows."""
    if group is not None:
        if group.is_live:
            store.put(tx, group.with_record(relation=said.relation))
        return
    record = GroupRecord(
        group=said.group,
        number=store.new_number(),
        relation=said.relation,
        state=b"",
        digest=b"",
        ordered=chain.state.revision,
        own_name=naming.shown(said.name),
    )
    store.put(tx, with_names(store, Group(record, chain)))
