"""What people are told about groups, in sentences."""

from collections.abc import Callable
from typing import Final

from phantom_messenger.client.groups.change import (
    Add,
    Change,
    Close,
    Op,
    Remove,
    SetName,
    SetPicture,
    SetRights,
    SetRole,
    SetTimer,
)
from phantom_messenger.client.groups.records import GroupRecord
from phantom_messenger.client.groups.store import written
from phantom_messenger.client.names import command_word
from phantom_messenger.client.sanitize import one_line

FORGED: Final = "it is forged or damaged"
ELSEWHERE: Final = "it is of another group"
NEWER: Final = "it is of a newer version, so update this program"
BY_ANOTHER: Final = "it is somebody else's"

_BREAKS_RULES: Final = "it breaks the rules"
_WHY: Final = {
    **dict.fromkeys(("size", "form", "key", "signature"), FORGED),
    "group": ELSEWHERE,
    **dict.fromkeys(("author", "ops", "bounds"), _BREAKS_RULES),
}
"""Why a change cannot be used, by its code. No client that keeps to the protocol sends such a one; of the other codes
some can come of two histories, which are told by themselves."""

_SECOND_MS = 1_000
_UNITS = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (_SECOND_MS, "second"))


def unusable(code: str) -> str:
    """Why a change that is skipped for that cannot be used; '' if nobody is to be told."""
    return _WHY.get(code, "")


def title(name: str) -> str:
    """How a group is called."""
    return f"'{one_line(name)}'" if name else "a group without a name"


def done(change: Change, label: Callable[[bytes], str], before: GroupRecord, *, by_link: bool = False) -> str:
    """What a change does.

    Args:
        change: of a version that is known.
        label: how a person is called.
        before: the group before it. Of members who have said that they leave nobody has to hear that they were removed;
            and of one who had not accepted it is not everybody's to know whether they have declined.
        by_link: whom it adds has opened a link of this user's: it is they who have acted.
    """
    if by_link:
        return "".join(f"{label(op.person)} joins by your link" for op in change.ops or () if isinstance(op, Add))
    gone = [op.person for op in change.ops or () if isinstance(op, Remove)]
    names, who = listed([label(person) for person in gone]), label(change.author)
    if gone and len(gone) == len(change.ops or ()):
        people = {written(person) for person in gone}
        if people <= set(before.leaving):
            return f"{names} {'is no longer a member' if len(gone) == 1 else 'are no longer members'}"
        if who != "you" and people <= set(before.absent):
            return f"{names} {'is' if len(gone) == 1 else 'are'} no longer invited"
    own = "yourself" if who == "you" else "themselves"
    said = [_done(op, lambda one: own if one == change.author else label(one)) for op in change.ops or ()]
    return f"{who} {'have' if who == 'you' else 'has'} {listed(said)}"


def _done(op: Op, label: Callable[[bytes], str]) -> str:
    match op:
        case Add():
            return f"added {label(op.person)}{' as an admin' if op.role == 'admin' else ''}"
        case Remove():
            return f"removed {label(op.person)}"
        case SetRole():
            return f"made {label(op.person)} {'an admin' if op.role == 'admin' else 'a member'}"
        case SetName():
            return f"renamed the group to {title(op.text)}"
        case SetTimer():
            return f"made messages expire after {lasting(op.ms)}" if op.ms else "turned off expiring messages"
        case SetRights():
            who = {"member": "all members", "admin": "only admins"}
            return f"allowed {who[op.write]} to write and {who[op.invite]} to invite"
        case SetPicture():
            return "given the group another picture" if op.data else "taken the group's picture away"
        case Close():
            return "closed the group"


def lasting(milliseconds: int) -> str:
    """A time in the largest unit that fits it."""
    size, unit = next((one for one in _UNITS if milliseconds % one[0] == 0), (1, "millisecond"))
    count = milliseconds // size
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def listed(said: list[str]) -> str:
    """Several things in a row; '' if there are none."""
    return f"{', '.join(said[:-1])} and {said[-1]}" if said[1:] else "".join(said)


def over(group: str, relation: str) -> str:
    """Why nothing can be done any more in a group of which one was a member."""
    return f"{group} is closed" if relation == "closed" else f"you are no longer a member of {group}"


def undecided(name: str, group: str) -> str:
    """Nothing can be done in a group to which this user is only invited."""
    return f"accept the invitation to {title(name)} first: 'phantom groups accept {command_word(name, group)}'"


def invites(who: str, group: str, *, was_no_admin: bool) -> str:
    """Somebody invites; ``was_no_admin``: to a group in which this user was, and they were no admin then."""
    if not was_no_admin:
        return f"{who} invites you to {group}"
    return (
        f"{who} invites you to {group}, in which you were before; {who} was no admin of it then, so compare the digits"
        " with somebody else before you write there"
    )


def invites_elsewhere(who: str, group: str, first: str) -> str:
    """Somebody invites to another group of the same id than ``first`` has before."""
    return (
        f"{who} invites you to {group}, too, but with other members or other changes than {first} has shown you;"
        f" ask both of them who is right: to see the group of {who}, leave this one, or decline it"
    )


def forked(who: str, group: str) -> str:
    """Somebody has another group under the same name."""
    return (
        f"{who} knows another history of {group} than you: its members may not be who you think, so nothing is sent"
        f" to it now; compare the digits of 'phantom groups members' with {who} and the others"
    )


def newer(who: str, group: str) -> str:
    """Somebody has changed a group with a later version of this program."""
    return (
        f"{who} has changed {group} with a newer version of this program, so nothing is sent to it now; update this"
        " program to write to it again, or run 'phantom groups go-on' to write to those whom 'phantom groups members'"
        " shows"
    )


def waiting(who: str, group: str, *, is_own: bool) -> str:
    """A change waits for one that the relay has and this device has not; else one that removes who has left."""
    if who == "you":  # before the profile was restored
        return f"you have changed {group} in a way that is not known here any more; the other members are asked for it"
    before, follows = (" before you", "yours follows it") if is_own else ("", "whoever has left is removed")
    return (
        f"{who} changed {group}{before}, says the relay, and their change has not arrived here; {follows}"
        " once it comes, when their program is online"
    )


def missing(count: int, who: str, group: str) -> str:
    """Texts of a member have not come."""
    messages, verb = ("message", "is") if count == 1 else ("messages", "are")
    return f"{count:,} {messages} of {who} to {group} {verb} missing"
