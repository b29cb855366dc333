"""Invitations of strangers: what they say can be seen before anything of theirs is let in."""

from phantom_messenger.client.groups import words
from phantom_messenger.client.groups.chain import Chain
from phantom_messenger.client.groups.contents import GroupChange
from phantom_messenger.client.groups.store import written
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


def _read(stores: Stores, stranger: str, own: bytes, said: GroupChange) -> GroupInvitation | None:
    """None if it is none: what would be refused once its sender is let in is not shown before."""
    try:
        chain = Chain.joined(said.state, said.base, said.change)
    except InvalidMessage:
        return None
    state = chain.state
    is_theirs = written(chain.steps[-1].change.author) == stranger and not stores.book.has(written(state.group))
    is_for_us = state.group == said.group and chain.steps[-1].change.adds(own)
    if not is_for_us or state.is_closed or not is_theirs:
        return None
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
