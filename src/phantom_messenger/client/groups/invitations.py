"""Invitations to groups. What those of strangers say can be seen before anything of theirs is let in."""

from phantom_messenger.client.groups import doubts, words
from phantom_messenger.client.groups.chain import Chain, Standing
from phantom_messenger.client.groups.contents import GroupChange
from phantom_messenger.client.groups.doubts import Rival
from phantom_messenger.client.groups.records import GroupRecord
from phantom_messenger.client.groups.store import INVITED, MEMBER, Group, raw_of, written
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


def elsewhere(group: Group, sender: str, said: GroupChange, own: bytes) -> Rival | None:
    """Somebody who invites to another group of the same id than somebody else has before; None if that is known.

    Args:
        group: the one to which this user is invited, or was.
        sender: who invites now.
        said: what they have sent, which was no change of that group.
        own: this user's raw id.
    """
    chain = read(said, sender, own)
    if chain is None or group.record.inviter in {"", sender}:
        return None
    standing, rival = (
        group.chain.compare(chain.state.revision, chain.head),
        Rival(sender, change=chain.steps[-1].change),
    )
    is_rival = standing in {Standing.FORK, Standing.UNKNOWN} or raw_of(sender) not in group.state.admins
    is_same = standing in {Standing.SAME, Standing.OLDER}
    return None if is_same or not is_rival or doubts.is_old(group, rival) else rival


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
    timer = f"; texts expire after {words.lasting(invitation.timer)}" if invitation.timer else ""
    return f"invites you to {words.title(invitation.name)} ({members}{knows}{timer})"
