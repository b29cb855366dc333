"""Which changes are everybody's: judges what arrives against what was taken up before.

See protocol/groups.md, "Chain". The first valid change for a place is final. A change that all refuse is skipped, one
that divides the group is reported, and neither moves anything.
"""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple, Self

from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups.change import NONE, Change, RefusedChange, Remove
from phantom_messenger.client.groups.state import GroupState, head_of


class Step(NamedTuple):
    """A change that was taken up, and the state before it, with the digest of the change that led to that."""

    change: Change
    before: GroupState
    base: bytes

    @property
    def previous(self) -> bytes:
        """The head that it follows: what its author has signed, for it would not have been taken up otherwise.

        It is not made of the state again: a thousand states have to be hashed for a change that follows none of them.
        """
        return self.change.previous


class Verdict(Enum):
    """What comes of a change."""

    APPLIED = "applied"
    KNOWN = "known"
    SKIPPED = "skipped"
    """Nobody takes it up; ``Judged.code`` says why."""
    STALE = "stale"
    """It is older than what is remembered."""
    BEHIND = "behind"
    """Changes before it are missing: ask for them."""
    FORK = "fork"
    """An admin has signed another history than the one that is known here."""
    NEWER = "newer"
    """An admin has made a change of a later version: what the group is now cannot be known."""


class Judged(NamedTuple):
    """A verdict; ``chain``: afterwards. ``code``: why a change is skipped, else ''.

    ``rival``: of a fork, the other head, or b'' if it cannot be known.
    """

    verdict: Verdict
    chain: "Chain"
    code: str = ""
    rival: bytes = b""


class Standing(Enum):
    """How the head that somebody names stands to one's own."""

    SAME = "same"
    OLDER = "older"
    """They have not seen all changes yet."""
    AHEAD = "ahead"
    """There are changes which are not known here."""
    FORK = "fork"
    UNKNOWN = "unknown"
    """It is older than what is remembered."""


class Chain(NamedTuple):
    """A group as far as it is known: its state, the digest of the change that led to it, and the steps before."""

    state: GroupState
    digest: bytes = NONE
    steps: tuple[Step, ...] = ()

    @classmethod
    def joined(cls, state: bytes, base: bytes, encoded: bytes) -> Self:
        """The group as an invitation tells of it.

        Args:
            state: before the change that adds us; empty if that is the first.
            base: digest of the change that led to that state.
            encoded: the change that adds us.

        Raises:
            RefusedChange: the change is not valid, or follows another head.
            InvalidMessage: the state is not valid.
        """
        change = changes.read(encoded)
        before = GroupState.decode(state) if state else GroupState(group=change.group)
        start = cls(before, base if state else NONE)
        if change.previous != start.head:
            raise RefusedChange("previous")
        return start._with(change, before.after(change))

    @property
    def head(self) -> bytes:
        """What messages name, and people compare."""
        return head_of(self.digest, self.state)

    def _with(self, change: Change, after: GroupState) -> Self:
        return type(self)(after, change.digest, (*self.steps, Step(change, self.state, self.digest)))

    def without_steps_before(self, count: int) -> Self:
        """The same with at most so many steps, the newest."""
        return self._replace(steps=self.steps[len(self.steps) - count :] if len(self.steps) > count else self.steps)

    def judge(self, encoded: bytes) -> Judged:
        """What comes of a change that has arrived."""
        try:
            change = changes.read(encoded)
        except RefusedChange as refused:
            return Judged(Verdict.SKIPPED, self, refused.code)
        if change.group != self.state.group:
            return Judged(Verdict.SKIPPED, self, "group")
        return self._judge_past(change) if change.revision <= self.state.revision else self._judge_next(change)

    def _judge_past(self, change: Change) -> Judged:
        """A change in whose place, or beyond it, there is one already."""
        if not self.steps or change.revision <= self.steps[0].before.revision:
            return Judged(Verdict.STALE, self)
        left = self._step_from(change.previous)
        if left is None:
            return Judged(Verdict.SKIPPED, self, "previous")
        if left.change.encoded == change.encoded:
            return Judged(Verdict.KNOWN, self)
        return self._rival(left.before, change)

    def _step_from(self, head: bytes) -> Step | None:
        """The step that was taken from a head; None if none was."""
        return next((step for step in self.steps if step.previous == head), None)

    def _rival(self, before: GroupState, change: Change) -> Judged:
        """It would have been taken up, had it come first; so somebody else may have done so."""
        try:
            rival = head_of(change.digest, before.after(change))
        except RefusedChange as refused:
            if refused.code != "newer":
                return Judged(Verdict.SKIPPED, self, refused.code)
            rival = b""
        return Judged(Verdict.FORK, self, rival=rival)

    def _judge_next(self, change: Change) -> Judged:
        if change.previous != self.head:
            return self._judge_elsewhere(change)
        try:
            after = self.state.after(change)
        except RefusedChange as refused:
            is_newer = refused.code == "newer"
            return Judged(Verdict.NEWER if is_newer else Verdict.SKIPPED, self, "" if is_newer else refused.code)
        return Judged(Verdict.APPLIED, self._with(change, after))

    def _judge_elsewhere(self, change: Change) -> Judged:
        """A change that follows another head than ours."""
        if self.state.is_closed:
            return Judged(Verdict.SKIPPED, self, "closed")
        left = self._step_from(change.previous)
        if left is not None:  # with whatever revision: an admin who divides a group may leave numbers out
            return self._rival(left.before, change)
        if change.revision > self.state.revision + 1:
            return Judged(Verdict.BEHIND, self)
        if change.author not in self.state.admins:
            return Judged(Verdict.SKIPPED, self, "previous")
        return Judged(Verdict.FORK, self, rival=change.previous)

    def compare(self, revision: int, head: bytes) -> Standing:
        """How what a message names stands to this chain."""
        if revision == self.state.revision:
            return Standing.SAME if head == self.head else Standing.FORK
        if revision > self.state.revision:
            return Standing.AHEAD
        for step in self.steps:
            if step.before.revision == revision:
                return Standing.OLDER if step.previous == head else Standing.FORK
        return Standing.FORK if self.steps and revision > self.steps[0].before.revision else Standing.UNKNOWN

    def since(self, revision: int, *, most: int, until: int = changes.MAX_REVISION) -> list[bytes]:
        """Changes behind a revision, oldest first, as many as fit into so many bytes; none behind ``until``."""
        found: list[bytes] = []
        for step in self.steps:
            if not revision < step.change.revision <= until:
                continue
            most -= len(step.change.encoded)
            if most < 0:
                break
            found.append(step.change.encoded)
        return found

    def removal_of(self, person: bytes, since: int) -> int | None:
        """The first revision behind another one whose change has removed a person; None if there is none."""
        for step in self.steps:
            ops = step.change.ops or ()
            if step.change.revision > since and any(isinstance(op, Remove) and op.person == person for op in ops):
                return step.change.revision
        return None

    def last_removal_of(self, person: bytes) -> int | None:
        """The last revision whose change has removed a person; None if none is kept."""
        for step in reversed(self.steps):
            if any(isinstance(op, Remove) and op.person == person for op in step.change.ops or ()):
                return step.change.revision
        return None

    def judge_all(self, encoded: Iterable[bytes]) -> "Judged":
        """What comes of several changes in a row: the last verdict that is neither known nor stale."""
        judged = Judged(Verdict.KNOWN, self)
        for one in encoded:
            found = judged.chain.judge(one)
            if found.verdict in {Verdict.KNOWN, Verdict.STALE}:
                continue
            judged = found
        return judged
