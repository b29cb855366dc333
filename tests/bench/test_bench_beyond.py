"""The model of several primaries: a function of its seed, and true to its own arithmetic."""

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from beyond import (
    HEAD,
    MESSAGES,
    Costs,
    Graph,
    Load,
    Machine,
    Message,
    Simulation,
    Society,
    Step,
    load,
    most_per_second,
    place,
    row,
    steps,
    table,
    work,
)

from support.amounts import LONG, amount

ROOT = Path(__file__).parents[2]
COSTS, MACHINE = Costs(), Machine()


def drawn(graph: Graph, shards: int, count: int = 4_000) -> list[Message]:
    return list(Society().messages(graph, shards, count, random.Random(7)))  # noqa: S311 - a model


def simulation(
    messages: list[Message], shards: int, *, crashes: float = 0.01, forgets_first: bool = False
) -> Simulation:
    return Simulation(
        messages, shards, 20_000, costs=COSTS, machine=MACHINE, crashes=crashes, forgets_first=forgets_first
    )


@pytest.mark.parametrize("graph", Graph)
def test_same_seed_gives_the_same_line_and_another_one_does_not(graph: Graph) -> None:
    assert row(graph, 4, count=500) == row(graph, 4, count=500)
    assert row(graph, 4, count=500) != row(graph, 4, count=500, seed=2)


def test_program_prints_the_table() -> None:
    count = amount(60, MESSAGES)
    done = subprocess.run(
        [sys.executable, "bench/beyond.py", "--messages", str(count)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 2 + 1 + 3 * len(Graph)
    assert done.stdout.strip() == table(count=count)


def is_documented(cells: Sequence[str]) -> bool:
    return f"| {' | '.join(cells)} |\n" in (ROOT / "docs" / "cluster.md").read_text()


LINES = [(Graph.RANDOM, 1), *((graph, shards) for shards in (2, 4, 8) for graph in Graph)]


@pytest.mark.parametrize(("graph", "shards"), LINES if LONG else LINES[::4])
def test_documentation_shows_the_table(graph: Graph, shards: int) -> None:
    """The control is what another seed gives."""
    assert is_documented(HEAD)
    assert is_documented(row(graph, shards))
    assert not is_documented(row(graph, shards, count=500, seed=2))


@pytest.mark.parametrize("graph", Graph)
def test_one_database_is_the_closed_formula(graph: Graph) -> None:
    found = load(drawn(graph, 1), 1, COSTS)
    assert found == Load(crossing=0, us=COSTS.life_us, most=1, served=0)
    by_processor = MACHINE.cores * MACHINE.busy * 1e6 / COSTS.life_us
    by_log = MACHINE.log_mb_per_second * 1e6 / COSTS.log_bytes
    assert most_per_second(found, COSTS, MACHINE) == pytest.approx(min(by_processor, by_log))


@pytest.mark.parametrize("shards", [2, 4, 8])
def test_as_many_messages_cross_as_chance_says(shards: int) -> None:
    blind = 1 - 1 / shards
    assert load(drawn(Graph.RANDOM, shards), shards, COSTS).crossing == pytest.approx(blind, abs=0.03)
    inside = Society().inside
    placed = load(drawn(Graph.PLACED, shards), shards, COSTS).crossing
    assert placed == pytest.approx((1 - inside) * blind, abs=0.03)


@pytest.mark.parametrize("shards", [2, 4, 8])
@pytest.mark.parametrize("graph", Graph)
def test_several_databases_carry_more_than_one_and_less_than_their_number(graph: Graph, shards: int) -> None:
    one = most_per_second(load(drawn(graph, 1), 1, COSTS), COSTS, MACHINE)
    several = most_per_second(load(drawn(graph, shards), shards, COSTS), COSTS, MACHINE)
    assert one < several < shards * one


def test_what_crosses_is_one_row_more_in_and_one_more_out() -> None:
    here, there = Message(0, 0, is_first=False), Message(0, 1, is_first=False)
    extra = sum(work(step, COSTS) for step in steps(there)) - sum(work(step, COSTS) for step in steps(here))
    assert extra == COSTS.store_us + COSTS.confirm_us
    assert {step: place(step, there) for step in steps(there)} == {
        Step.ACCEPT: 1,
        Step.SETTLE: 1,
        Step.STORE: 0,
        Step.FORGET: 1,
        Step.CONFIRM: 0,
    }


def test_everything_is_accepted_and_told_and_takes_its_time() -> None:
    messages = drawn(Graph.RANDOM, 4)
    found = simulation(messages, 4).run()
    assert len(found.accepted_ms) == len(found.told_ms) == len(messages)
    assert found.lost == 0
    assert min(found.accepted_ms) >= COSTS.commit_ms
    assert min(found.told_ms) >= 2 * COSTS.commit_ms


def test_forwarder_that_fails_tells_twice_and_loses_nothing() -> None:
    messages = drawn(Graph.RANDOM, 2)
    assert simulation(messages, 2, crashes=0.0).run().stored_again == 0
    failing = simulation(messages, 2, crashes=0.1).run()
    assert failing.stored_again > 0
    assert failing.lost == 0


def test_forwarder_that_forgets_first_loses_receipts() -> None:
    """The control."""
    assert simulation(drawn(Graph.RANDOM, 2), 2, crashes=0.1, forgets_first=True).run().lost > 0
