"""Two histories of a group: who has named the other one, and of what the user is told once and not again.

A fork stops what is sent to the group, and so does a change of a later version, which nobody here can follow. Whoever
can show one can do so again and again: with the same change, with others from a time when they were an admin, in turn
with others, or with those of many whom they have made up as admins. See protocol/groups.md, "Chain".
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups.chain import Judged, Verdict
from phantom_messenger.client.groups.change import Change
from phantom_messenger.client.groups.records import GroupRecord
from phantom_messenger.client.groups.state import GroupState
from phantom_messenger.client.groups.store import FORKED, NEWER, Group, raw_of, written

MAX_SHOWN: Final = 16
"""Authors who are no admins any more of whom a rival change is shown, one of each; besides those who are admins."""

_ID_BYTES: Final = 32


class Rival(NamedTuple):
    """Who is said to know another history.

    ``who``: their user id, '' for the relay. ``head``: what they have named, b'' if that is not known. ``change``: what
    shows it, if that is a change.
    """

    who: str
    head: bytes = b""
    change: Change | None = None


THE_RELAY: Final = Rival("")


def shown_by(group: Group, sender: str, encoded: bytes, head: bytes = b"") -> Rival:
    """Who is said to have another history, of a change that shows it: a member who sends it, or who has signed it.

    Not anybody who sends it: of one whom the user has gone on in spite of, nothing is asked again, and others could
    come without end.
    """
    change = changes.read_own(encoded)
    return Rival(sender if raw_of(sender) in group.state.members else written(change.author), head, change)


def shown_by_answer(group: Group, sender: str, encoded: Sequence[bytes], found: Sequence[Judged]) -> Rival | None:
    """Who has another history, of a member's answer that does not go on from what is known here.

    Whoever knows the changes behind ours answers with these; whoever was removed and added again since, with the one
    that adds them, for they know none from before that.

    Args:
        group: once the changes were taken up.
        sender: user id of whoever answers, by their first device.
        encoded: the changes.
        found: what has come of each.
    """
    person = raw_of(sender)
    for one, judged in zip(encoded, found, strict=True) if person in group.state.members else ():
        if judged.verdict is Verdict.BEHIND or judged.code == "previous":
            change = changes.read_own(one)
            return None if change.adds(person) else Rival(sender, change.previous)
        if judged.verdict not in {Verdict.APPLIED, Verdict.KNOWN, Verdict.STALE}:
            return None
    return None


def is_old(group: Group, rival: Rival) -> bool:
    """Whether the user was told of this fork before, or of so much of the kind that it says nothing new.

    Until the next change nothing is asked again of whom the user has gone on in spite of. Nor, after it, because of a
    change that was shown before; nor because of any of an author of whom one was shown, who is no admin any more: each
    says what the group may have been at their time, and whoever lives in that is noticed by the heads that they name.
    Nor because of any further such author once there were sixteen: who is an admin for a minute can make up hundreds.
    """
    record, change = group.record, rival.change
    if rival.who and (rival.who == record.rival or rival.who in record.rivals):
        return True
    if change is None:
        return False
    if change.author in group.state.admins:
        return _entry(change) in record.shown
    gone = _authors_gone(group, record.shown)
    return len(gone) >= MAX_SHOWN or change.author in gone


def doubted(group: Group, rival: Rival, doubt: str = FORKED) -> Group:
    """The group once the user is told of that fork, or of that change of a later version."""
    record, who = group.record, rival.who
    is_member = bool(who) and raw_of(who) in group.state.members
    return group.with_record(
        doubt=doubt,
        rival=who,
        rival_head=rival.head,
        rivals=[*record.rivals, who] if is_member else record.rivals,  # no more than members: a change empties it
        shown=record.shown if rival.change is None else _with(group, rival.change),
    )


def after_change(record: GroupRecord, state: GroupState) -> GroupRecord:
    """The record once a change was applied that follows our head.

    What a fork has stopped stays so while who was shown is a member. Or an admin who has divided a group could end it
    with one more change in each part, of their own or of somebody whom they have made an admin. A change of a later
    version has left the head that this one follows: now it is a fork, in which no other program would help.

    ``state``: after the change.
    """
    stays = record.doubt in {FORKED, NEWER} and record.rival != "" and raw_of(record.rival) in state.members
    return replace(
        record,
        doubt=FORKED if stays else "",
        rival=record.rival if stays else "",
        rival_head=record.rival_head if stays else b"",
        rivals=[record.rival] if stays else [],
    )


def _entry(change: Change) -> bytes:
    return change.author + change.digest


def _authors_gone(group: Group, shown: Sequence[bytes]) -> list[bytes]:
    """Who has signed what was shown, and is no admin."""
    return [one[:_ID_BYTES] for one in shown if one[:_ID_BYTES] not in group.state.admins]


def _with(group: Group, change: Change) -> list[bytes]:
    """What was shown, and this: the last one of each admin, and of others no more than count as many."""
    shown = [*(one for one in group.record.shown if one[:_ID_BYTES] != change.author), _entry(change)]
    gone = _authors_gone(group, shown)[-MAX_SHOWN:]
    return [one for one in shown if one[:_ID_BYTES] in gone or one[:_ID_BYTES] in group.state.admins]
