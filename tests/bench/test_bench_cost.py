"""What a message costs inside the relay, counted and not timed, so that a slip is seen on every machine.

Counted are instructions of the interpreter, calls into C (``support.costs``) and steps of
SQLite's virtual machine. Signatures are taken as valid: their cost is that of a C library.
"""

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields
from functools import partial
from itertools import cycle
from typing import Any

import apsw
import pytest
from harness import RelayHarness

from phantom_messenger.wire import codec
from support.costs import c_calls, instructions, undisturbed

PAIRS = 8
MESSAGES = 64
TOLERANCE = 0.10


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one message, from its frame to what is left when all is confirmed."""

    instructions: float
    c_calls: float
    sql_steps: float

    def __str__(self) -> str:
        return f"Cost(instructions={self.instructions:.0f}, c_calls={self.c_calls:.0f}, sql_steps={self.sql_steps:.0f})"


RECORDED = {
    "plain": Cost(instructions=3101, c_calls=120, sql_steps=193),
    "acks": Cost(instructions=5057, c_calls=221, sql_steps=193),
}
"""Of clients without acks, and with them; what is cheaper by a tenth is to be recorded, too."""


@pytest.fixture(params=["plain", "acks"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def harness(kind: str) -> Iterator[RelayHarness]:
    with RelayHarness(PAIRS, acks=kind == "acks", verify=lambda batch: [True] * len(batch)) as found:
        for _ in range(2):  # caches and statements are warm
            found.feed(found.messages(MESSAGES))
            found.clear()
        yield found


def sql_steps(harness: RelayHarness, run: Callable[[], object]) -> int:
    """Steps of SQLite's virtual machine."""
    count = 0

    def each(event: dict[str, Any]) -> None:
        nonlocal count
        count += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

    connection = harness.store.tables.mailboxes._connection
    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, each)
    try:
        run()
    finally:
        connection.trace_v2(0, None)
    return count


def cost(harness: RelayHarness) -> Cost:
    """What a message costs now."""
    counts = []
    for counter in (instructions, c_calls, lambda run: sql_steps(harness, run)):
        feed = partial(harness.feed, harness.messages(MESSAGES))
        counts.append(undisturbed(counter, feed) / MESSAGES)
        harness.clear()
    return Cost(*counts)


def off(seen: Cost, recorded: Cost) -> dict[str, float]:
    """What differs from the record by more than is tolerated, as a ratio."""
    ratios = {
        field.name: one / other
        for field, one, other in zip(fields(Cost), astuple(seen), astuple(recorded), strict=True)
    }
    return {name: ratio for name, ratio in ratios.items() if abs(ratio - 1) > TOLERANCE}


def test_everything_that_was_counted_has_happened(harness: RelayHarness, kind: str) -> None:
    harness.feed(harness.messages(MESSAGES))
    if kind == "plain":  # those with acks forget what they have confirmed
        assert harness.taken(b'"type":"MESSAGE"}') == MESSAGES
        assert harness.taken(b'"type":"MESSAGE_ACK"}') == 2 * MESSAGES  # accepted, delivered
    [count] = harness.store.run_jobs(
        [lambda _: harness.store.tables.mailboxes._connection.execute("SELECT count(*) FROM items").get]
    )
    assert count == 0, "all is confirmed"


def test_message_costs_what_it_did(harness: RelayHarness, kind: str) -> None:
    seen = cost(harness)
    assert off(seen, RECORDED[kind]) == {}, f"{kind} is {seen} now: repair it, or record it in this file and say why"


@pytest.mark.parametrize("what", ["text parsed twice", "clock asked again", "row looked for first"])
def test_control_more_work_is_seen(
    harness: RelayHarness, kind: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    match what:
        case "text parsed twice":
            decode = codec.decode_client
            monkeypatch.setattr(codec, "decode_client", lambda *given: (decode(*given), decode(*given))[1])
        case "clock asked again":
            monotonic = harness.relay._clock.monotonic_ms
            monkeypatch.setattr(harness.relay._clock, "monotonic_ms", lambda: max(monotonic() for _ in range(30)))
        case _:
            found = cycle([False, True])
            monkeypatch.setattr(harness.store.tables.mailboxes._quota, "take", lambda _: next(found))
    assert off(cost(harness), RECORDED[kind])
