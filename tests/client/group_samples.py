"""People and changes for tests of groups."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups.chain import Chain, Judged, Verdict
from phantom_messenger.client.groups.change import Add, Change, Op
from phantom_messenger.client.groups.state import GroupState
from phantom_messenger.crypto.keys import OwnIdentity

GROUP: Final = bytes(range(32))
NOW: Final = 1_770_000_000_000


def someone(name: str) -> OwnIdentity:
    """Somebody, the same for each name."""
    return OwnIdentity(hashlib.sha256(name.encode()).digest())


def id_of(person: OwnIdentity) -> bytes:
    """Their raw user id."""
    return person.peer.user_id


def added(person: OwnIdentity, role: str = "member") -> Add:
    """The op that adds them."""
    return Add(person=id_of(person), role=role)


def following(chain: Chain, author: OwnIdentity, ops: Sequence[Op], **given: Any) -> Change:
    """A change that follows a chain, or is as ``given`` says."""
    fields = {
        "group": chain.state.group,
        "revision": chain.state.revision + 1,
        "previous": chain.head,
        "at": NOW,
    }
    return changes.write(author, ops=ops, **{**fields, **given})


def begun(author: OwnIdentity, *ops: Op, group: bytes = GROUP) -> Chain:
    """A group that somebody has created."""
    chain = Chain(GroupState(group=group))
    return applied(chain, following(chain, author, [added(author, "admin"), *ops]))


def applied(chain: Chain, change: Change) -> Chain:
    """The chain after a change that must apply."""
    judged: Judged = chain.judge(change.encoded)
    assert judged.verdict is Verdict.APPLIED, (judged.verdict, judged.code)
    return judged.chain
