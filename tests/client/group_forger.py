"""Somebody who makes up a group that has another one's id."""

from client_samples import Device
from group_people import tell
from msgspec.structs import replace

from phantom_messenger.client.groups.change import Add, Op, Remove
from phantom_messenger.client.groups.change import write as write_change
from phantom_messenger.client.groups.contents import GroupChange
from phantom_messenger.client.groups.state import GroupState, Role, head_of
from phantom_messenger.client.groups.store import raw_of


class Forger:
    """Signs the changes of a group of their own making that has another one's id."""

    def __init__(self, mal: Device, group: bytes, *others: Device, revision: int = 40) -> None:
        self._mal, self._base = mal, bytes(range(32))
        members = {raw_of(mal.id): Role.ADMIN, **{raw_of(other.id): Role.MEMBER for other in others}}
        self._state = GroupState(group=group, revision=revision, name="Tea", members=dict(sorted(members.items())))

    def say(self, to: Device, op: Op) -> None:
        before, base = self._state, self._base
        change = write_change(
            self._mal.messenger._identity,
            group=before.group,
            revision=before.revision + 1,
            previous=head_of(base, before),
            at=1,
            ops=[op],
        )
        self._state, self._base = before.after(change), change.digest
        said = GroupChange(group=before.group, change=change.encoded)
        if isinstance(op, Add):
            said = replace(said, state=before.encode(), base=base)
        tell(self._mal, [to], said)

    def invite(self, to: Device) -> None:
        self.say(to, Add(person=raw_of(to.id), role="member"))

    def take_back(self, to: Device) -> None:
        self.say(to, Remove(person=raw_of(to.id)))
