"""What was erased is in no file of a vault, not even sealed: whoever has the passphrase could open it."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_samples import KEY, Device, Town, fast_folder, pass_time, settle
from erasure_watch import Leftover, Watch

from phantom_messenger.client.vault import Vault
from phantom_messenger.sqlite.scrub import Scrubber
from support.amounts import seeds
from support.simulated import SECOND, World

VAULTS = [0, 9, 15, *range(16, seeds(17, 500))]
LIVES = range(seeds(1, 30))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as found:
        yield found


def come_and_go(vault: Vault, watch: Watch, seed: int) -> None:
    """Records that are put, changed and removed in a random order."""
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    biggest = chance.choice([200, 800, 2_000])
    names: list[str] = []
    for number in range(300):
        with vault.transaction() as tx:
            match chance.choices(["put", "session", "erase", "delete"], [5, 1, 2, 2])[0]:
                case "session":
                    tx.put("session", "s", bytes(chance.randint(100, 3_000)))
                case "erase" if names:
                    tx.put("text", chance.choice(names), None)
                case "delete" if names:
                    tx.delete("text", names.pop(chance.randrange(len(names))))
                case _:
                    names.append(str(number))
                    tx.put("text", names[-1], bytes(chance.randint(20, biggest)))
        if number % 10 == 9:
            watch.look()


def left_in_vaults(folder: Path, *, scrubs: bool = True, overwrites: bool = True) -> dict[object, list[Leftover]]:
    """What is left in vaults, by the seed of what was done to them."""
    found: dict[object, list[Leftover]] = {}
    for seed in VAULTS if scrubs and overwrites else VAULTS[:1]:
        vault = Vault(folder / f"{seed}.vault", KEY)
        if not overwrites:
            vault._connection.pragma("secure_delete", "off")
        watch = Watch(vault)
        come_and_go(vault, watch, seed)
        if scrubs:
            vault.scrub()
        if left := watch.leftovers():
            found[seed] = left
        vault.destroy()
    return found


def test_no_file_holds_anything_of_an_erased_record(folder: Path) -> None:
    assert left_in_vaults(folder) == {}


def test_without_erasing_stale_copies_of_cells_are_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: secure_delete alone does not reach what SQLite leaves when it rebalances a b-tree."""
    monkeypatch.setattr(Scrubber, "_scrub", lambda *_: False)
    found = left_in_vaults(folder)
    assert found
    assert all(one.is_stale for left in found.values() for one in left)


@pytest.mark.parametrize("off", ["scrubbing", "overwriting"])
def test_search_finds_what_is_there(folder: Path, off: str) -> None:
    """The control."""
    found = left_in_vaults(folder, scrubs=off != "scrubbing", overwrites=off != "overwriting")
    assert list(found) == VAULTS[:1]


# --- the messenger on it ----------------------------------------------------------


def live(town: Town, seed: int) -> dict[str, Watch]:
    """Burning, expiring and staying texts between two devices; the watches over their vaults."""
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    devices: list[Device] = town.friends(f"alice {seed}", f"bob {seed}")
    watches = {device.name: Watch(device.vault) for device in devices}
    for number in range(60):
        sender, recipient = chance.sample(devices, 2)
        text = f"{number} " + "x" * chance.choice([0, 10, 300, 2_000])
        match chance.choice(["burns", "expires", "stays"]):
            case "burns":
                sender.send(recipient, text, burn=True)
            case "expires":
                sender.send(recipient, text, expires_in=chance.randint(1, 20) * SECOND)
            case _:
                sender.send(recipient, text)
        for _ in range(3):
            settle(*devices)
            for watch in watches.values():
                watch.look()
            chance.choice(devices).read_all()
        pass_time(SECOND, *devices)
    for device in devices:
        device.read_all()
    pass_time(30 * SECOND, *devices)
    return watches


def test_burned_and_expired_texts_are_gone_from_the_files(world: World, folder: Path) -> None:
    found: dict[object, list[Leftover]] = {}
    for seed in LIVES:
        town = Town(world, folder)
        found |= {name: left for name, watch in live(town, seed).items() if (left := watch.leftovers())}
        town.close()
    assert found == {}
