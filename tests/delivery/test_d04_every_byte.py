"""A connection is cut after any byte of a dialogue, and all of it still happens exactly once."""

import asyncio
import random
import re
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from client_faults import acknowledge_early
from cut_dialogue import LATE, PATIENCE, Dialogue, Network, Person, network
from cutting_proxy import End

from phantom_messenger.client import acks, batching, reconnecting, records
from phantom_messenger.client.link import Link
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.records import OutboxRecord
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.status import WarningEvent
from phantom_messenger.client.vault import Vault
from support.amounts import LONG, TIMES, amount

SEED = 4
FRIENDS_STRIDE = max(16 // TIMES, 1) if LONG else 800
STRANGERS_STRIDE = max(16 // TIMES, 1) if LONG else 2_400
"""Bytes from one cut to the next: a first contact takes long."""

CONTROLS_STRIDE = min(FRIENDS_STRIDE, 80)
"""A control ends with the first cut that shows the fault, and too few cuts may show none."""

AROUND = amount(0, 16)
"""So many bytes before and behind the end of a step between friends have a cut each: there a frame begins or ends."""

CONTACTS = 100
"""Whom one Bob gets to know, before there is another one: each makes his address book longer."""

GATHER_MS = 20
"""For receipts: still long enough that what is received and read at once is one message."""

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system; the folder in it has a random name
RUN_SECONDS = amount(250, 3_600 * TIMES)

pytestmark = pytest.mark.usefixtures("few_prekeys")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is one: not syncs but cuts are what is tested here."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as made:
        yield Path(made)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of the SDK, so that a cut costs milliseconds."""
    monkeypatch.setattr(reconnecting, "FIRST_BACKOFF", 0.0)
    monkeypatch.setattr(acks, "PING_MS", 0)
    monkeypatch.setattr(batching, "GATHER_STEPS", ((0, GATHER_MS),))


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, RUN_SECONDS))


def offsets(marks: list[int], name: str, stride: int, around: int = 0) -> list[int]:
    """The ends of all steps of a dialogue with the bytes around them, and some bytes within the steps."""
    start = random.Random(f"{SEED} {name}").randrange(stride)  # noqa: S311 - the same in every run
    ends = {place for mark in marks for place in range(mark - around, mark + around + 1)}
    return sorted(place for place in {*range(start, marks[-1], stride), *ends} if 0 <= place < marks[-1])


def victim_of(dialogue: Dialogue, name: str) -> Person:
    return dialogue.alice if name == "alice" else dialogue.bob


# --- the promise ------------------------------------------------------------------


async def talk_of_friends(folder: Path, name: str) -> None:
    """Cut somebody's connection at these bytes of a round between friends, by turns in four ways."""
    async with network(folder) as net, net.person("alice") as alice, net.person("bob") as bob:
        dialogue = Dialogue(net, alice, bob)
        await dialogue.make_contacts(alice, bob)
        await dialogue.make_contacts(bob, alice)
        victim = victim_of(dialogue, name)
        await dialogue.survey(victim)  # the first round carries a handshake
        places = offsets(await dialogue.survey(victim), name, FRIENDS_STRIDE, AROUND)
        for count, place in enumerate(places):
            await dialogue.round(victim, place, list(End)[count % 2], live=count // 2 % 2 == 0)
        assert dialogue.cuts > 0.9 * len(places)


async def talk_of_strangers(folder: Path, name: str) -> None:
    """As above in a first round: with a key exchange, both of whose sides begin a session."""
    async with network(folder) as net, net.person("bob") as bob:
        places = offsets(await first_round(net, bob, name, LATE, 0), name, STRANGERS_STRIDE)
    cuts = 0
    for begin in range(0, len(places), CONTACTS):
        async with network(folder) as net, net.person(f"bob {begin}") as bob:
            for count, place in enumerate(places[begin : begin + CONTACTS], begin + 1):
                cuts += not await first_round(net, bob, name, place, count)
    assert cuts > 0.7 * len(places)  # how many bytes it takes depends on who is faster


async def first_round(net: Network, bob: Person, name: str, after: int, count: int) -> list[int]:
    """One round of somebody new; what had passed over the victim's connection by each step, [] if it was cut."""
    async with net.person(f"alice {count}") as alice:
        dialogue = Dialogue(net, alice, bob)
        await dialogue.make_contacts(bob, alice)  # else she would never hear that it was read
        victim = victim_of(dialogue, name)
        await dialogue.round(victim, after, list(End)[count % 2], live=count // 2 % 2 == 0)
        return [] if dialogue.cuts else victim.proxy.marks


@pytest.mark.parametrize("victim", ["alice", "bob"])
def test_cut_after_any_byte_loses_and_doubles_nothing(folder: Path, victim: str) -> None:
    run(talk_of_friends(folder, victim))


@pytest.mark.parametrize("victim", ["alice", "bob"])
def test_cut_after_any_byte_of_a_first_contact_loses_and_doubles_nothing(folder: Path, victim: str) -> None:
    run(talk_of_strangers(folder, victim))


# --- controls: the same, with a protection off ------------------------------------


async def all_rounds(dialogue: Dialogue, victim: Person, places: Iterable[int]) -> None:
    for place in places:
        await dialogue.round(victim, place, End.FIN, live=True)


async def red(folder: Path, name: str, complaint: str) -> None:
    """A round without a cut goes well; among those with one, one does not."""
    async with network(folder) as net, net.person("alice") as alice, net.person("bob") as bob:
        dialogue = Dialogue(net, alice, bob)
        await dialogue.make_contacts(alice, bob)
        await dialogue.make_contacts(bob, alice)
        victim = victim_of(dialogue, name)
        await dialogue.survey(victim)  # the first round carries a handshake
        places = offsets(await dialogue.survey(victim), name, CONTROLS_STRIDE)
        net.patience = PATIENCE / 20
        with pytest.raises(AssertionError, match=re.compile(complaint, re.DOTALL)):
            await all_rounds(dialogue, victim, places)


def test_inbox_that_forgets_what_it_has_seen_is_caught(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has = Vault.has
    monkeypatch.setattr(Vault, "has", lambda vault, kind, name: kind != records.SEEN and has(vault, kind, name))
    run(red(folder, "bob", "bob hears .*cannot be decrypted|alice hears .*could not read"))


def test_message_that_is_acknowledged_before_it_is_stored_is_caught(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledge_early(monkeypatch)
    run(red(folder, "bob", "Bob has got"))


def test_outbox_that_forgets_at_sending_is_caught(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Sending._send_entry

    def forgetful(this: Sending, link: Link, entry: OutboxRecord, now: Moment) -> list[WarningEvent]:
        found = send(this, link, entry, now)
        outbox = this._stores.outbox
        flying = outbox._in_flight.get(entry.peer)
        if entry.text is not None and flying is not None and flying.message_id == entry.message_id:
            outbox._queue.remove(entry.message_id)
            with this._stores.vault.transaction() as tx:
                tx.delete(records.OUTBOX, entry.message_id)
        return found

    monkeypatch.setattr(Sending, "_send_entry", forgetful)
    run(red(folder, "alice", "Bob has got"))
