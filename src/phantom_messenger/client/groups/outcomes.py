"""What a group is by what has arrived of it."""

from typing import Final

from msgspec.structs import replace

from phantom_messenger.client.groups import doubts
from phantom_messenger.client.groups.chain import Chain, Standing
from phantom_messenger.client.groups.change import Add, picture_after
from phantom_messenger.client.groups.state import Role
from phantom_messenger.client.groups.store import CLOSED, INVITED, MEMBER, REMOVED, Group, raw_of, written

MAY_BE_A_DEVICE: Final = frozenset({Standing.AHEAD, Standing.SAME})
"""Who names this and is no member may have been added since, or be a device of which nothing is known yet."""


def applied(group: Group, chain: Chain, own: str) -> Group:
    """A group after one more change.

    Args:
        group: before it.
        chain: after it.
        own: this user's id.
    """
    change, record, state = chain.steps[-1].change, group.record, chain.state
    absent = {written(op.person) for op in change.ops or () if isinstance(op, Add)} | set(record.absent)
    is_admin = state.members.get(raw_of(own)) is Role.ADMIN
    relation, inviter = record.relation, record.inviter
    if raw_of(own) not in state.members:
        relation = REMOVED
    elif state.is_closed:
        relation = CLOSED
    elif relation == REMOVED:  # removed and added again before either was read
        relation, inviter = INVITED, written(change.author)
        chain = chain.without_steps_before(1)
    return Group(
        replace(
            doubts.after_change(record, state),
            relation=relation,
            inviter=inviter,
            ordered=max(record.ordered, state.revision),
            absent=sorted(one for one in absent if raw_of(one) in state.members and one != own),
            wishes=record.wishes if is_admin and relation == MEMBER else [],
            asked=record.asked if is_admin and relation == MEMBER else [],
            leaving=[one for one in record.leaving if raw_of(one) in state.members],
            picture=picture_after(record.picture, change),
        ),
        chain,
    )


def is_over(group: Group | None, change: bytes) -> bool:
    """Whether a change has led to a group that is closed: who is added by it is not invited to another one."""
    if group is None or group.record.relation != CLOSED:
        return False
    return any(step.change.encoded == change for step in group.chain.steps)
