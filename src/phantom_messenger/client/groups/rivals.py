"""Invitations to another group of the same id than the one that is known.

Anybody who knows an id can be the first to invite to a group of it. So who else does so is told, and what they invite
to is kept: it is shown once the user is no member of the first one, or it is closed.
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from phantom_messenger.client.groups import invitations
from phantom_messenger.client.groups.chain import Standing
from phantom_messenger.client.groups.contents import GroupChange
from phantom_messenger.client.groups.holding import KEPT
from phantom_messenger.client.groups.records import GroupHeldRecord
from phantom_messenger.client.groups.store import INVITED, Group, GroupStore, raw_of, written
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.vault import Transaction

MAX_INVITERS: Final = 4
"""Of how many who invite to another group of the same id a user is told."""


def elsewhere(group: Group, sender: str, said: GroupChange, own: bytes) -> bool:
    """Whether somebody invites to another group of the same id than somebody else has before, and it is not known yet.

    Args:
        group: the one to which this user is invited, or was.
        sender: who invites now.
        said: what they have sent, which was no change of that group.
        own: this user's raw id.
    """
    chain, record = invitations.read(said, sender, own), group.record
    if chain is None or record.inviter in {"", sender} or sender in record.inviters:
        return False
    standing = group.chain.compare(chain.state.revision, chain.head)
    # A member's may be an old one that comes late, or follow what has not come yet; ``invited_at`` is what was said.
    is_later, members = 0 < record.invited_at < said.sent_at, chain.state.members
    # Whoever has accepted asks for what lies between; whoever has not hears of what is ahead in no other way.
    is_judged = standing is Standing.UNKNOWN or (standing is Standing.AHEAD and record.relation == INVITED)
    is_gone = is_judged and raw_of(record.inviter) not in members
    is_doubtful = is_gone or (standing is Standing.UNKNOWN and is_later)
    is_rival = standing is Standing.FORK or is_doubtful or raw_of(sender) not in group.state.members
    is_same = standing in {Standing.SAME, Standing.OLDER}
    return is_rival and not is_same and len(record.inviters) < MAX_INVITERS


def heard(
    tx: Transaction, store: GroupStore, group: Group, sender: str, said: GroupChange, *, own: bytes, now: Moment
) -> bool:
    """Keep what somebody invites to, the last of theirs, if it is another group; whether that is to be told.

    Arguments as of ``elsewhere``.
    """
    is_news = elsewhere(group, sender, said, own)
    if is_news or (sender in group.record.inviters and invitations.read(said, sender, own) is not None):
        held = store.held(group.id)
        before = [one for one in held if one.kind == KEPT and one.sender == sender]
        for one in before:
            store.drop(tx, one)
        if not any(one.change == said.change and one.state for one in held if one not in before):
            store.hold(tx, _kept(group, sender, said, now))
    return is_news


def _kept(group: Group, sender: str, said: GroupChange, now: Moment) -> GroupHeldRecord:
    change, state, base = said.change, said.state, said.base
    about = GroupHeldRecord(group=group.id, at=now.persistent, sender=sender, change=change, state=state, base=base)
    return replace(about, sent_at=said.sent_at, kind=KEPT)


def said_in(one: GroupHeldRecord) -> GroupChange:
    """The invitation that is kept."""
    return GroupChange(group=raw_of(one.group), change=one.change, state=one.state, base=one.base, sent_at=one.sent_at)


def told_of_leaving(group: Group, own: str, held: Iterable[GroupHeldRecord]) -> list[str]:
    """Who hears that this user leaves a group, or declines: but for those whose invitation to the other one is kept.

    They would take it for their own group. Others, too, if they are in both; but who else is in a group that somebody
    invites to is theirs to say, and nobody is to keep it from others that one has left.

    Args:
        group: as it is known.
        own: this user's id.
        held: what is kept for it.
    """
    admins = [written(person) for person in group.state.admins if written(person) != own]
    if not admins:
        return []
    people = admins if group.record.relation == INVITED else [one for one in group.people if one != own]
    inviters = {one.sender for one in held if one.kind == KEPT}
    return [one for one in people if one not in inviters]
