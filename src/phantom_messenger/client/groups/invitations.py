"""Invitations to groups. What those of strangers say can be seen before anything of theirs is let in."""

from phantom_messenger.client.content import time_of
from phantom_messenger.client.groups import words
from phantom_messenger.client.groups.chain import Chain
from phantom_messenger.client.groups.change import RefusedChange, picture_after
from phantom_messenger.client.groups.change import read as read_change
from phantom_messenger.client.groups.contents import GroupChange
from phantom_messenger.client.groups.records import GroupJoinRecord, GroupRecord
from phantom_messenger.client.groups.store import INVITED, MEMBER, Group, written
from phantom_messenger.client.groups.views import GroupInvitation
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.stores import Stores
from phantom_messenger.crypto.errors import InvalidMessage


def of_stranger(stores: Stores, stranger: str, own: bytes, now: Moment) -> list[GroupInvitation]:
    """To which groups a stranger invites, each once, as it was told last.

    Args:
        stores: of the profile.
        stranger: their user id.
        own: this user's raw id.
        now: this moment.
    """
    found: dict[str, GroupInvitation] = {}
    for said in stores.requests.about_groups(stranger, now.persistent):
        invitation = _read(stores, stranger, own, said) if isinstance(said, GroupChange) else None
        if invitation is not None:
            found[invitation.group] = invitation
    return list(found.values())


def are_of_others(stores: Stores, stranger: str, own: bytes, now: Moment) -> bool:
    """Whether a stranger says something about groups, and invites to none; as ``of_stranger``."""
    is_about_groups = bool(stores.requests.about_groups(stranger, now.persistent))
    return is_about_groups and not of_stranger(stores, stranger, own, now)


def read(said: GroupChange, sender: str, own: bytes) -> Chain | None:
    """The group that somebody tells of who invites this user; None if they do not.

    A change that adds others reaches one who has just left, too, and invites nobody to come back.

    Args:
        said: what they have sent.
        sender: their user id.
        own: this user's raw id.
    """
    try:
        chain = Chain.joined(said.state, said.base, said.change)
    except InvalidMessage:
        return None
    change = chain.steps[-1].change
    is_for_us = chain.state.group == said.group and change.adds(own) and written(change.author) == sender
    return chain if is_for_us and not chain.state.is_closed else None


def fault(said: GroupChange, sender: str, own: bytes) -> str:
    """Why an invitation cannot be used; '' if nothing speaks against it, or if it is none.

    Arguments as of ``read``.
    """
    try:
        change = read_change(said.change)
    except RefusedChange:
        return words.FORGED
    if change.group != said.group:
        return words.ELSEWHERE
    if change.ops is None:  # it adds somebody, or there would be no state
        return words.NEWER if said.state else ""
    if not change.adds(own):
        return ""
    if written(change.author) != sender:
        return words.BY_ANOTHER
    try:
        Chain.joined(said.state, said.base, said.change)
    except InvalidMessage:
        return words.FORGED
    return ""


def written_at(said: GroupChange, now: Moment) -> int:
    """When an invitation was written, as its sender says, and not later than now; now, if that is not known."""
    return min(said.sent_at or time_of(now.wall), time_of(now.wall))


def begun(chain: Chain, number: int, before: Group | None, join: GroupJoinRecord | None, at: int) -> GroupRecord:
    """A group to which somebody invites.

    Args:
        chain: as they tell of it.
        number: names the kind of its texts.
        before: what is known of it; None if nothing.
        join: that this user has opened a link of theirs; None if not.
        at: when it was written, see ``written_at``.
    """
    inviter, then = written(chain.steps[-1].change.author), admins_then(before)
    is_wanted = join is not None and (not then or inviter in then)  # a link leads to no group of before
    return GroupRecord(
        group=chain.state.group,
        number=number,
        relation=MEMBER if is_wanted else INVITED,
        fresh=not is_wanted and (before is None or before.record.fresh),
        state=b"",
        digest=b"",
        inviter=inviter,
        ordered=chain.state.revision,
        picture=picture_after(b"", chain.steps[-1].change),
        own_name="" if join is None else join.name,
        admins_then=[] if is_wanted else then,
        invited_at=at,
    )


def admins_then(before: Group | None) -> list[str]:
    """Who were admins when this user was last a member of a group to which somebody invites; none if never.

    Args:
        before: what is known of it, and may be what somebody has told since who invited before.
    """
    if before is None or before.record.fresh:
        return []
    return before.record.admins_then or [written(person) for person in before.state.admins]


def was_no_admin(record: GroupRecord) -> bool:
    """Whether this user is invited back by somebody who was no admin when they were a member."""
    return record.relation == INVITED and bool(record.admins_then) and record.inviter not in record.admins_then


def accepted(group: Group, own_name: str) -> Group:
    """The group once this user is a member, and calls themselves so."""
    return group.with_record(own_name=own_name, relation=MEMBER, fresh=False, admins_then=[])


def _read(stores: Stores, stranger: str, own: bytes, said: GroupChange) -> GroupInvitation | None:
    """None if it is none: what would be refused once its sender is let in is not shown before."""
    chain = read(said, stranger, own)
    if chain is None or stores.book.has(written(said.group)):
        return None
    state = chain.state
    people = [stores.book.contact(written(person)) for person in state.members if person != own]
    return GroupInvitation(
        group=written(state.group),
        name=state.name,
        inviter=stores.book.contact(stranger),
        members=len(state.members),
        admins=len(state.admins),
        known=tuple(contact for contact in people if contact.name),
        timer=state.timer,
    )


def told(invitation: GroupInvitation) -> str:
    """An invitation in a sentence."""
    members = f"{invitation.members:,} {'member' if invitation.members == 1 else 'members'}, you included"
    known = words.listed([contact.label for contact in invitation.known])
    knows = f"; you know {known}" if known else "; none of them is a contact of yours"
    timer = f"; messages expire after {words.lasting(invitation.timer)}" if invitation.timer else ""
    return f"invites you to {words.title(invitation.name)} ({members}{knows}{timer})"
