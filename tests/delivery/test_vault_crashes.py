"""A program dies at any write of its vault: the vault opens, and nothing is lost or comes twice."""

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest
from client_faults import acknowledge_early
from client_samples import KEY, Device, Town, settle
from vault_disk import Fate, Plan, VaultDisk
from vault_story import Mortal, Outcome, check, undisturbed

from phantom_messenger import Client
from phantom_messenger.client import records
from phantom_messenger.client.errors import VaultError
from phantom_messenger.client.records import IntValue
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Secret, Transaction, Vault
from support.amounts import LONG, TIMES, seeds
from support.simulated import World

SEED = 7
POINTS = 1
"""Operations at which one program dies, in the short form."""

pytestmark = pytest.mark.usefixtures("few_prekeys")

DEATHS = [(victim, fate) for victim in ("alice", "bob") for fate in Fate]


def plans(fate: Fate, operations: int, name: str) -> list[Plan]:
    """Some operations over all of the story; in the long form all fates together come to each operation."""
    if LONG:
        stride = max(len(Fate) // TIMES, 1)
        start = list(Fate).index(fate) % stride
    else:
        stride = operations // POINTS
        start = random.Random(f"{SEED} {name} {fate}").randrange(stride)  # noqa: S311 - the same in every run
    return [Plan(at, fate) for at in range(start, operations, stride)]


@pytest.fixture
def town(world: World, tmp_path: Path) -> Iterator[Town]:
    made = Town(world, tmp_path)
    yield made
    made.close()


# --- the promise ------------------------------------------------------------------


@cache
def without_a_death(victim: str) -> tuple[dict[str, Outcome], int]:
    """As ``undisturbed``, for all fates."""
    return undisturbed(victim)


@pytest.mark.parametrize(("victim", "fate"), DEATHS)
def test_death_at_any_write_loses_and_doubles_nothing(victim: str, fate: Fate) -> None:
    outcome, operations = without_a_death(victim)
    assert operations > 500
    for plan in plans(fate, operations, victim):
        check(victim, plan, outcome)


@pytest.mark.parametrize(("victim", "fate"), DEATHS)
def test_another_death_soon_after_loses_and_doubles_nothing(victim: str, fate: Fate) -> None:
    outcome, operations = without_a_death(victim)
    chance = random.Random(f"{SEED} {victim} {fate}")  # noqa: S311 - the same in every run
    deaths = 0
    for _ in range(seeds(2, 60)):
        plan = Plan(chance.randrange(operations), fate, again=int(chance.expovariate(1 / 20)))
        deaths += check(victim, plan, outcome)
    assert fate is Fate.FULL or deaths > seeds(2, 60)


# --- a disk that is full for a moment ---------------------------------------------


@contextmanager
def full_at(operation: int | None = None) -> Iterator[VaultDisk]:
    """What is opened in the block is on a disk that is full at this operation."""
    disk = VaultDisk(None if operation is None else Plan(operation, Fate.FULL))
    try:
        with disk.mounted():
            yield disk
    finally:
        disk.unregister()


def fills_up(disk: VaultDisk) -> None:
    """From now on the disk is full for one operation."""
    disk.plan = Plan(disk.operations, Fate.FULL)


def test_disk_that_is_full_at_scrubbing_is_a_thing_of_the_vault(tmp_path: Path) -> None:
    with full_at() as disk, closing(Vault(tmp_path / "a.vault", KEY)) as vault:
        with vault.transaction() as tx:
            tx.put(records.CLOCK_OFFSET, "", IntValue(1))
        fills_up(disk)
        with suppress(VaultError):
            vault.scrub()


def test_vault_that_was_closed_on_a_full_disk_can_be_opened_again(tmp_path: Path) -> None:
    with full_at() as disk:
        vault = Vault(tmp_path / "a.vault", KEY)
        fills_up(disk)
        try:
            with suppress(VaultError):
                vault.close()
            Vault(tmp_path / "a.vault", KEY).close()
        finally:
            vault.close()


def test_profile_that_found_the_disk_full_can_be_opened_in_the_same_program(tmp_path: Path) -> None:
    for operation in range(100):
        with full_at(operation) as disk:
            with suppress(VaultError):
                Client.open("me", home=tmp_path / str(operation), passphrase="correct horse").close()
                if disk.operations <= operation:
                    return
            Client.open("me", home=tmp_path / str(operation), passphrase="correct horse").close()


def take_all(device: Device) -> None:
    """Let all that is on its way to a device arrive."""
    while device.step_down():
        pass


def test_acceptance_that_found_the_disk_full_is_heard_of_after_all(town: Town, tmp_path: Path) -> None:
    """Of a stranger, of whom nothing further is ever heard."""
    bob = town.device("bob").login()
    with full_at() as disk:
        alice = Mortal(town.world, tmp_path / "alice", "alice", disk).login()
        alice.send(bob, "one")
        settle(alice, bob)
        (number,) = alice.send(bob, "two")
        alice.fetch()
        alice.step_up()
        alice.fetch()
        fills_up(disk)
        with pytest.raises(VaultError):
            take_all(alice)
        alice.cut()
        alice.login()
        settle(alice, bob)
        state = alice.messenger.state_of(number)
        alice.close()
    assert state is DeliveryState.ACCEPTED


# --- controls: the same, with a protection off ------------------------------------


def red(victim: str, fate: Fate) -> None:
    """Without a death the story goes as ever; with one, somewhere, it does not."""
    outcome, operations = undisturbed(victim)
    assert not any(person.waiting + person.pending_receipts + person.unread for person in outcome.values())
    assert not any(person.troubles or any(person.left_over.values()) for person in outcome.values())
    places = random.Random(SEED).sample(range(operations), 150)  # noqa: S311 - the same in every run
    with pytest.raises(AssertionError, match=r"(alice|bob)'s |encrypted (again|with one key)"):
        check_all(victim, [Plan(place, fate) for place in places], outcome)


def check_all(victim: str, plans: list[Plan], outcome: dict[str, Outcome]) -> None:
    for plan in plans:
        check(victim, plan, outcome)


def test_transaction_that_commits_after_each_record_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def loose(vault: Vault) -> Iterator[Transaction]:
        vault._wrote = True
        tx = Transaction(vault)
        yield tx
        tx.committed()

    monkeypatch.setattr(Vault, "transaction", loose)
    red("bob", Fate.KILLED)


def test_message_that_is_acknowledged_before_it_is_stored_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    acknowledge_early(monkeypatch)
    red("bob", Fate.KILLED)


def test_vault_that_does_not_sync_each_transaction_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    unlock = Vault._unlock

    def hasty(vault: Vault, secret: Secret) -> None:
        unlock(vault, secret)
        vault._connection.pragma("synchronous", "normal")

    monkeypatch.setattr(Vault, "_unlock", hasty)
    red("bob", Fate.POWER)
