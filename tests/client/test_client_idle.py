"""A client to which nothing happens leaves the disk alone."""

import pytest
from client_samples import Device, Town, pass_time, settle

from phantom_messenger.client.expiry import KEEP_MS
from phantom_messenger.client.housekeeping import INTERVAL_MS
from phantom_messenger.client.vault import Vault
from support.simulated import MINUTE

ROUNDS = 60


def state_of(device: Device) -> list[tuple[int, int]]:
    files = [device.vault.path, device.vault.path.with_name(f"{device.vault.path.name}-wal")]
    return [(file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.exists()]


def rounds_that_wrote(device: Device) -> int:
    """Of so many rounds of housekeeping, those after which a file of the profile is another one."""
    count = 0
    for _ in range(ROUNDS):
        before = state_of(device)
        pass_time(INTERVAL_MS, device)
        count += state_of(device) != before
    return count


def at_rest(town: Town) -> Device:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "hello")
    settle(alice, bob)
    bob.read_all()
    pass_time(2 * MINUTE, alice, bob)
    return alice


def test_profile_to_which_nothing_happens_is_not_written(town: Town) -> None:
    at_most = ROUNDS * INTERVAL_MS // KEEP_MS + 1
    assert rounds_that_wrote(at_rest(town)) <= at_most, "the clock is kept now and then"


def test_control_transaction_that_always_writes_is_seen(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, delete = at_rest(town), Vault._delete_where

    def always(self: Vault, condition: str, *values: object) -> None:
        self._begin_to_write()
        delete(self, condition, *values)

    monkeypatch.setattr(Vault, "_delete_where", always)
    assert rounds_that_wrote(alice) >= ROUNDS - 1
