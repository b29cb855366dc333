"""A score as plain text, and as JSON."""

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from phantom_messenger.conformance.verdict import Outcome, Result, Score

_WIDTH: Final = 100
_INDENT: Final = "    "


def text(score: Score) -> str:
    """What failed, with the sentence that says what holds; then the groups, and the sum."""
    failed = [result for result in score.results if result.outcome is Outcome.FAILED]
    return "\n".join([*(line for result in failed for line in _failure(result)), *_groups(score), summary(score)])


def _failure(result: Result) -> Iterator[str]:
    case = result.case
    yield f"FAILED {case.full_name}"
    yield from _wrapped(result.why)
    yield from _wrapped(f'protocol/phantom.md, {case.section}: "{case.rule}"')
    if case.reference:
        yield from _wrapped(f"API reference, {case.reference}")
    yield ""


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False)


def _groups(score: Score) -> Iterator[str]:
    passed = Counter(result.case.group for result in score.results if result.outcome is Outcome.PASSED)
    judged = Counter(result.case.group for result in score.results if result.outcome is not Outcome.NOT_JUDGED)
    for group, count in judged.items():
        yield f"{group:<16}{passed[group]:>4} of {count}"


def summary(score: Score) -> str:
    """How many passed, and why others were not judged, in one sentence."""
    passed, not_judged = score.count(Outcome.PASSED), score.count(Outcome.NOT_JUDGED)
    if score.trouble:
        return f"0 of {len(score.results)} passed: {score.trouble}"
    told = f"{passed} of {passed + score.count(Outcome.FAILED)} passed"
    if not not_judged:
        return told
    reasons = Counter(result.why for result in score.results if result.outcome is Outcome.NOT_JUDGED)
    return f"{told}; not judged: " + ", ".join(f"{count} ({why})" for why, count in reasons.items())


def to_json(url: str, score: Score, seconds: float) -> dict[str, Any]:
    """What ``--json`` prints."""
    found: dict[str, Any] = {
        "type": "conformance",
        "url": url,
        "passed": score.count(Outcome.PASSED),
        "failed": score.count(Outcome.FAILED),
        "notJudged": score.count(Outcome.NOT_JUDGED),
        "seconds": round(seconds, 1),
        "accountsLeft": score.accounts_left,
        "cases": [result.to_json() for result in score.results],
    }
    return found | {"trouble": score.trouble} if score.trouble else found
