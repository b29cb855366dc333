"""What lies beyond one primary, as a model: accounts spread over several databases. Some seconds.

Nothing of it is built, and nothing is measured here: figures that were are parameters, and what follows from them is
arithmetic and a simulation. It is a function of its seed.

A message and its receipt are four rows that come and go: it is accepted and settled at its recipient's database, and
its receipt waits and is confirmed at its sender's. If these are two databases, no transaction spans them, so settling
leaves a note that the receipt is owed. A forwarder stores the receipt with the sender's database, and then removes the
note. If it fails in between, it stores the receipt again: under the same name, which is what makes that harmless.
"""

import argparse
import heapq
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate
from typing import Final, NamedTuple

SEED: Final = 1
MESSAGES: Final = 20_000
MAX_BATCH: Final = 512


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What one message takes. Processor time in microseconds, of all cores together."""

    accept_us: float = 44.0
    """At the primary, with all rules; seen with prototypes of these statements, in batches: 40 to 48."""
    settle_us: float = 39.0
    """Message out, receipt in. A whole life took 91 to 115; how the rest of it divides is an estimate."""
    confirm_us: float = 20.0
    """One row out; an estimate, as the following two."""
    store_us: float = 20.0
    """A receipt from elsewhere in."""
    contact_us: float = 20.0
    """That two users have become contacts, noted at the other database too."""
    standbys_us: float = 32.0
    """Of a whole life, at both standbys together; seen with prototypes."""
    relay_us: float = 125.0
    """At a relay, signature included; 151 with the store in its own process (docs/performance.md), less the store."""
    log_bytes: float = 4_100.0
    """Of write-ahead log for a whole life; 4,000 to 4,300 seen."""
    commit_ms: float = 1.8
    """Until a lone transaction is committed, a standby included: 1.6 to 2.0 seen."""

    @property
    def life_us(self) -> float:
        """At the primary, if both ends are there."""
        return self.accept_us + self.settle_us + self.confirm_us


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A primary's."""

    cores: int = 8
    busy: float = 0.7
    """The share of its processor that an operator plans with."""
    log_mb_per_second: float = 200.0
    """What its disk, and the network to the standbys, take."""


class Graph(Enum):
    """Who writes to whom, and where they are."""

    RANDOM = "anybody to anybody"
    SCATTERED = "groups, accounts placed by hash"
    PLACED = "groups, each in one place"


@dataclass(frozen=True, kw_only=True)
class Society:
    """Users and their habits."""

    users: int = 8_000
    group: int = 50
    inside: float = 0.8
    """Of messages, those that stay in the group."""
    new_contact: float = 0.02
    """Of messages, those that are the first between two users."""

    def messages(self, graph: Graph, shards: int, count: int, chance: random.Random) -> Iterator["Message"]:
        """So many, with the databases of their ends. Some users write much, most little."""
        weights = list(accumulate(1 / (1 + rank) ** 0.5 for rank in range(self.users)))
        names = chance.sample(range(self.users), self.users)  # who writes much is not all in one group
        places = [chance.randrange(shards) for _ in names]
        if graph is Graph.PLACED:
            places = [user // self.group % shards for user in range(self.users)]
        for sender in chance.choices(names, cum_weights=weights, k=count):
            if graph is Graph.RANDOM or chance.random() >= self.inside:
                recipient = chance.randrange(self.users)
            else:
                recipient = sender // self.group * self.group + chance.randrange(self.group)
            yield Message(places[sender], places[recipient], is_first=chance.random() < self.new_contact)


class Message(NamedTuple):
    """From one database to another, or within one."""

    sender: int
    recipient: int
    is_first: bool

    @property
    def crosses(self) -> bool:
        """Whether two databases have to do with it."""
        return self.sender != self.recipient


class Step(Enum):
    """A part of a message's life that is one transaction."""

    CONTACT = "contacts are noted at the sender's database"
    ACCEPT = "the message waits at the recipient's; accepted"
    SETTLE = "it is gone, and the receipt waits, or is owed"
    STORE = "the owed receipt waits at the sender's"
    FORGET = "the note that it was owed is gone"
    CONFIRM = "the receipt is gone"


def steps(message: Message) -> list[Step]:
    """What one message takes, in order."""
    if not message.crosses:
        return [Step.ACCEPT, Step.SETTLE, Step.CONFIRM]
    first = [Step.CONTACT] if message.is_first else []
    return [*first, Step.ACCEPT, Step.SETTLE, Step.STORE, Step.FORGET, Step.CONFIRM]


def work(step: Step, costs: Costs) -> float:
    """At the primary, microseconds."""
    return {
        Step.CONTACT: costs.contact_us,
        Step.ACCEPT: costs.accept_us,
        Step.SETTLE: costs.settle_us,
        Step.STORE: costs.store_us,
        Step.FORGET: costs.confirm_us,
        Step.CONFIRM: costs.confirm_us,
    }[step]


def place(step: Step, message: Message) -> int:
    """The database of a step."""
    return message.sender if step in {Step.CONTACT, Step.STORE, Step.CONFIRM} else message.recipient


class Load(NamedTuple):
    """What messages do to the databases."""

    crossing: float
    """The share of messages."""
    us: float
    """Of primaries for a message, on average."""
    most: float
    """The share of the work that falls on the busiest database."""
    served: float
    """The share of messages that do not notice if one database, any, is away."""


def load(messages: Sequence[Message], shards: int, costs: Costs) -> Load:
    """Counted, message by message."""
    spent: Counter[int] = Counter()
    touched: Counter[int] = Counter()
    for message in messages:
        touched.update({message.sender, message.recipient})
        for step in steps(message):
            spent[place(step, message)] += round(work(step, costs) * 1_000)
    whole = sum(spent.values())
    return Load(
        crossing=sum(message.crosses for message in messages) / len(messages),
        us=whole / 1_000 / len(messages),
        most=max(spent.values()) / whole,
        served=1 - touched.total() / len(messages) / shards,
    )


def most_per_second(found: Load, costs: Costs, machine: Machine) -> float:
    """Messages a second at which the busiest database has no more to give, processor or log."""
    us = found.us * found.most
    log = costs.log_bytes * us / costs.life_us  # rows take processor and log alike
    return min(machine.cores * machine.busy * 1e6 / us, machine.log_mb_per_second * 1e6 / log)


@dataclass
class Database:
    """Takes what waits as one transaction, as relays do; the next one begins when it is committed."""

    waiting: list[tuple[int, int]] = field(default_factory=list)
    """Messages, and which of their steps."""
    is_busy: bool = False


class Outcome(NamedTuple):
    """What became of all messages."""

    accepted_ms: list[float]
    """Each, from when it was sent."""
    told_ms: list[float]
    """Until its sender's receipt waits; of those whose does."""
    stored_again: int
    """Receipts, after the forwarder failed."""
    lost: int


class Simulation:
    """Databases under an even load.

    Args:
        messages: in the order in which they are sent.
        shards: how many databases.
        per_second: how many messages, on average.
        crashes: the share of forwarded receipts after whose first half the forwarder fails, and begins again.
        forgets_first: it removes the note before the receipt is stored, which is wrong: a control.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        shards: int,
        per_second: float,
        *,
        costs: Costs,
        machine: Machine,
        crashes: float = 0.01,
        forgets_first: bool = False,
        seed: int = SEED,
    ) -> None:
        self._messages = messages
        self._databases = [Database() for _ in range(shards)]
        self._costs, self._machine = costs, machine
        self._crashes, self._forgets_first = crashes, forgets_first
        self._chance = random.Random(seed)  # noqa: S311 - a model
        self._plans = [self._plan(message) for message in messages]
        self._sent = list(accumulate(self._chance.expovariate(per_second / 1_000) for _ in messages))
        self._events: list[tuple[float, int, int, list[tuple[int, int]]]] = []
        """When, a number that tells events of one moment apart, the database, and what is committed there."""
        self._count = 0
        self._accepted: dict[int, float] = {}
        self._told: dict[int, float] = {}
        self._stored_again = 0

    def _plan(self, message: Message) -> list[Step]:
        plan = steps(message)
        if not message.crosses:
            return plan
        at = plan.index(Step.STORE)
        fails = self._chance.random() < self._crashes
        if self._forgets_first:
            return [*plan[:at], Step.FORGET] if fails else [*plan[:at], Step.FORGET, Step.STORE, Step.CONFIRM]
        return [*plan[:at], Step.STORE, *plan[at:]] if fails else plan

    def run(self) -> Outcome:
        """Until nothing waits."""
        for number, at in enumerate(self._sent):
            self._push(at, -1, [(number, 0)])
        while self._events:
            now, _, where, done = heapq.heappop(self._events)
            if where >= 0:
                self._databases[where].is_busy = False
                self._begin(where, now)
            for number, index in done:
                self._go_on(number, index, now, is_done=where >= 0)
        told = [self._told[number] - self._sent[number] for number in self._told]
        accepted = [self._accepted[number] - self._sent[number] for number in self._accepted]
        return Outcome(accepted, told, self._stored_again, len(self._messages) - len(told))

    def _push(self, at: float, where: int, what: list[tuple[int, int]]) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, where, what))

    def _go_on(self, number: int, index: int, now: float, *, is_done: bool) -> None:
        """A step is committed, or the first one is to be taken; on to the next."""
        plan, message = self._plans[number], self._messages[number]
        if is_done:
            if plan[index] is Step.ACCEPT:
                self._accepted[number] = now
            if plan[index] is Step.STORE or (plan[index] is Step.SETTLE and not message.crosses):
                self._stored_again += number in self._told
                self._told.setdefault(number, now)
            index += 1
        if index < len(plan):
            where = place(plan[index], message)
            self._databases[where].waiting.append((number, index))
            self._begin(where, now)

    def _begin(self, where: int, now: float) -> None:
        database = self._databases[where]
        if database.is_busy or not database.waiting:
            return
        database.is_busy = True
        batch, database.waiting = database.waiting[:MAX_BATCH], database.waiting[MAX_BATCH:]
        us = sum(work(self._plans[number][index], self._costs) for number, index in batch)
        self._push(now + self._costs.commit_ms + us / self._machine.cores / 1_000, where, batch)


def share(values: Sequence[float], part: float) -> float:
    """The value that this part of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def row(graph: Graph, shards: int, *, count: int = MESSAGES, seed: int = SEED) -> list[str]:
    """One line of the table."""
    costs, machine = Costs(), Machine()
    chance = random.Random(seed)  # noqa: S311 - a model
    messages = list(Society().messages(graph, shards, count, chance))
    found = load(messages, shards, costs)
    most = most_per_second(found, costs, machine)
    one = most_per_second(Load(0, costs.life_us, 1, 0), costs, machine)
    half = Simulation(messages, shards, most / 2, costs=costs, machine=machine, seed=seed).run()
    cores = (found.us * (1 + costs.standbys_us / costs.life_us) + costs.relay_us) / 1_000
    return [
        f"{shards}",
        graph.value if shards > 1 else "",
        f"{found.crossing:.0%}",
        f"{found.us:.0f}",
        f"{most:,.0f}",
        f"{most / one:.2f}",
        f"{cores:.2f}",
        *(f"{share(half.accepted_ms, part):.1f}" for part in (0.5, 0.99)),
        *(f"{share(half.told_ms, part):.1f}" for part in (0.5, 0.99)),
        f"{found.served:.0%}",
    ]


HEAD: Final = (
    *("databases", "who writes to whom", "crossing", "us each", "msg/s at most", "times", "cores per 1,000/s"),
    *("accepted p50", "p99 ms", "receipt p50", "p99 ms", "served with one away"),
)


def table(*, count: int = MESSAGES, seed: int = SEED) -> str:
    """All lines, in Markdown."""
    found = [row(Graph.RANDOM, 1, count=count, seed=seed)]
    found += [row(graph, shards, count=count, seed=seed) for shards in (2, 4, 8) for graph in Graph]
    head, *rows = (f"| {' | '.join(cells)} |" for cells in [HEAD, *found])
    return "\n".join([head, "|---" * len(HEAD) + "|", *rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"in each line ({MESSAGES:,})")
    options = parser.parse_args()
    print(table(count=options.messages, seed=options.seed))
