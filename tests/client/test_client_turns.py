"""How long a client holds up the event loop of its program: what it does in one turn is bounded."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from client_samples import Town, fast_folder, pass_time

from phantom_messenger.client import messenger, records
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.prekey_store import KEM_MADE_AT_ONCE, MADE_AT_ONCE
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import primitives
from support.amounts import LONG
from support.simulated import SECOND, World

MOST_MS: Final = 20
"""The longest turn; judged in the long form alone."""

MOST_KEMS: Final = KEM_MADE_AT_ONCE + 1
"""KEM keys that one turn makes, 0.4 ms each, with the last-resort one."""

MOST_PUTS: Final = 2 * MADE_AT_ONCE + 10
"""Records that one turn stores: two for each prekey, and what housekeeping stores."""


@pytest.fixture
def town(world: World, tmp_path: Path) -> Iterator[Town]:
    with fast_folder(tmp_path) as folder:
        made = Town(world, folder)
        yield made
        made.close()


class Turn(NamedTuple):
    """KEM keys made, records stored, and milliseconds of the processor."""

    kems: int
    puts: int
    milliseconds: float


def watched(monkeypatch: pytest.MonkeyPatch) -> list[Turn]:
    """The turns of all messengers from now on, but for those that read their vault only."""
    turns: list[Turn] = []
    counts = {"kem_public": 0, "_put": 0}

    def count(owner: Any, name: str) -> None:
        genuine = getattr(owner, name)

        def counting(*arguments: Any) -> Any:
            counts[name] += 1
            return genuine(*arguments)

        monkeypatch.setattr(owner, name, counting)

    def take_turns(name: str) -> None:
        genuine = getattr(Messenger, name)

        def turn(*arguments: Any) -> None:
            before, begun = dict(counts), time.thread_time()
            genuine(*arguments)
            kems, puts = (counts[key] - before[key] for key in counts)
            turns.append(Turn(kems, puts, 1_000 * (time.thread_time() - begun)))

        monkeypatch.setattr(Messenger, name, turn)

    count(primitives, "kem_public")
    count(Vault, "_put")
    take_turns("receive")
    take_turns("tick")
    return turns


def first_login(town: Town, monkeypatch: pytest.MonkeyPatch) -> list[Turn]:
    """The turns of a new client until the relay has its prekeys."""
    alice = town.device("alice")
    turns = watched(monkeypatch)
    alice.login()
    pass_time(SECOND, alice, step=SECOND // 100)
    assert alice.messenger.prekeys_confirmed
    assert sum(turn.kems for turn in turns) >= 26
    return turns


def test_first_prekeys_are_made_some_in_each_turn(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messenger, "PUBLISH_MS", 0)  # as if the time for it were over after each step
    turns = first_login(town, monkeypatch)
    # Which of them the relay has is stored at once when it says so: that is cheap, for nothing is made.
    making = [turn for turn in turns if turn.puts != 127]
    assert max(turn.kems for turn in turns) <= MOST_KEMS
    assert max(turn.puts for turn in making) <= MOST_PUTS
    if LONG:
        assert max(turn.milliseconds for turn in turns) <= MOST_MS


def test_control_with_time_enough_all_are_made_in_one_turn(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = first_login(town, monkeypatch)
    assert max(turn.kems for turn in turns) >= 26
    assert max(turn.puts for turn in turns) >= 2 * 127


def test_next_step_of_a_publication_is_due_at_once(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messenger, "PUBLISH_MS", 0)
    alice = town.device("alice").login()
    assert not alice.messenger.prekeys_confirmed
    assert alice.messenger.next_tick() == 10
    pass_time(SECOND, alice, step=SECOND // 100)
    assert alice.messenger.next_tick() > 10


def test_publication_that_a_lost_connection_has_cut_is_made_on_the_next_one(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger, "PUBLISH_MS", 0)
    alice = town.device("alice").login()
    alice.messenger.tick()
    alice.cut()
    pass_time(SECOND, alice, step=SECOND // 100)
    alice.login()
    pass_time(SECOND, alice, step=SECOND // 100)
    assert alice.messenger.prekeys_confirmed
    (frame,) = alice.frames_sent("PREKEY_PUBLISH")
    ids = [key["id"] for key in frame["payload"]["oneTimePreKeys"]]
    assert (len(ids), ids) == (100, sorted(set(ids)))


def test_prekeys_that_are_lost_are_replaced_in_the_turn_in_which_that_is_known(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = town.device("alice").login()
    alice.cut()
    with alice.vault.transaction() as tx:  # as in a profile that was restored from a backup
        tx.delete_some(records.PREKEY, 1_000)
        tx.delete(records.LAST_PREKEY_ID, "")
    monkeypatch.setattr(messenger, "PUBLISH_MS", 0)
    alice.sent.clear()
    alice.login()
    assert alice.messenger.prekeys_confirmed
    (frame,) = alice.frames_sent("PREKEY_PUBLISH")
    assert frame["payload"]["replace"] is True
