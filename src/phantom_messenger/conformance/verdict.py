"""A case, what became of it, and the score of a run."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from phantom_messenger.conformance.stage import Stage


class Failure(Exception):
    """The relay did not do what the rule says; the message says what it did."""


class NotJudgedError(Exception):
    """This relay, or this run, cannot be judged by this case; the message says why."""


class UnreachableError(Exception):
    """There is no relay that could be judged; the message says why."""


class Outcome(StrEnum):
    """What became of a case."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_JUDGED = "not judged"


LONG_SECONDS: Final = 30

Play = Callable[["Stage"], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that a relay must do.

    Attributes:
        group: what it belongs to.
        name: what is the case at a relay that conforms, in words joined by hyphens.
        section: the heading in protocol/phantom.md under which the rule stands.
        rule: the words of that section, as they stand there.
        play: plays it; raises ``Failure``.
        reference: the heading of the API reference that says so too; '' if it is silent.
        lasts: the seconds for which it has to wait, whatever the relay does.
        is_alone: needs all connections, or all logins, of its address.
    """

    group: str
    name: str
    section: str
    rule: str
    play: Play
    reference: str = ""
    lasts: int = 0
    is_alone: bool = False

    @property
    def is_long(self) -> bool:
        """Whether it is played only if that is asked for."""
        return self.lasts >= LONG_SECONDS

    @property
    def full_name(self) -> str:
        """Group and name."""
        return f"{self.group}/{self.name}"


@dataclass(frozen=True, slots=True)
class Result:
    """A case, its outcome, and why, if it did not pass."""

    case: Case
    outcome: Outcome
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        case = self.case
        found: dict[str, Any] = {
            "group": case.group,
            "name": case.name,
            "outcome": self.outcome.value,
            "section": case.section,
            "rule": case.rule,
        }
        if case.reference:
            found["reference"] = case.reference
        if self.why:
            found["why"] = self.why
        return found


@dataclass(frozen=True, slots=True)
class Score:
    """The results of a run.

    Attributes:
        results: in the order of the cases.
        accounts_left: accounts of the run that are still at the relay.
        trouble: why there was nothing to judge; '' if there was.
    """

    results: Sequence[Result]
    accounts_left: int = 0
    trouble: str = ""

    def count(self, outcome: Outcome) -> int:
        """How many cases ended so."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def is_passed(self) -> bool:
        """Whether the relay does all that was judged, and something was."""
        passed = self.count(Outcome.PASSED)
        return not self.trouble and passed > 0 and not self.count(Outcome.FAILED)


@dataclass(slots=True)
class Group:
    """Cases about one part of the protocol.

    Attributes:
        name: of the group.
        section: of its cases, unless they name another one.
        reference: likewise.
    """

    name: str
    section: str
    reference: str = ""
    cases: list[Case] = field(default_factory=list)

    def case(
        self,
        rule: str,
        *,
        section: str = "",
        reference: str | None = None,
        lasts: int = 0,
        is_alone: bool = False,
    ) -> Callable[[Play], Play]:
        """Make a case of a function, which is named after what holds."""

        def register(play: Play) -> Play:
            name = getattr(play, "__name__", "").replace("_", "-")
            self.add(name, rule, play, section=section, reference=reference, lasts=lasts, is_alone=is_alone)
            return play

        return register

    def add(
        self,
        name: str,
        rule: str,
        play: Play,
        *,
        section: str = "",
        reference: str | None = None,
        lasts: int = 0,
        is_alone: bool = False,
    ) -> None:
        """Add a case; ``reference`` None: that of the group."""
        self.cases.append(
            Case(
                group=self.name,
                name=name,
                section=section or self.section,
                rule=rule,
                play=play,
                reference=self.reference if reference is None else reference,
                lasts=lasts,
                is_alone=is_alone,
            )
        )
