"""Somebody who is blocked or removed has several devices: none of them sees or reaches anybody."""

import base64
from collections.abc import Sequence

import pytest
from client_samples import Device, Town, pass_time
from device_samples import two_and_two

from phantom_messenger.client.blocking import MAX_FORGOTTEN
from phantom_messenger.wire.frames import PresenceStatus


def watched(device: Device) -> list[str]:
    """What the relay has told a device of others' presence."""
    return [frame["payload"]["status"] for frame in device.received if frame["type"] == "PRESENCE"]


def seen_by(watcher: Device, who: Device, everybody: Sequence[Device]) -> list[str]:
    """What somebody's device sees of somebody who is there and turns away."""
    who.messenger.tell_presence(PresenceStatus.ONLINE)
    pass_time(10_000, *everybody)
    watcher.received.clear()
    who.messenger.tell_presence(PresenceStatus.IDLE)
    pass_time(5_000, *everybody)
    return watched(watcher)


@pytest.mark.parametrize("blocked", [True, False], ids=["blocked", "control: a contact"])
def test_no_device_of_somebody_who_is_blocked_sees_anything(town: Town, blocked: bool) -> None:
    everybody = alice, _, bob, tablet = two_and_two(town)
    if blocked:
        alice.messenger.block(bob.id)
    assert [seen_by(one, alice, everybody) for one in (bob, tablet)] == [[] if blocked else ["idle"]] * 2


def test_all_devices_of_somebody_are_unblocked(town: Town) -> None:
    everybody = alice, _, bob, tablet = two_and_two(town)
    for do in (alice.messenger.block, alice.messenger.unblock):
        do(bob.id)
        pass_time(5_000, *everybody)
    tablet.send(alice, "hello again")
    pass_time(5_000, *everybody)
    assert "hello again" in alice.read_all()


def test_who_was_blocked_and_forgotten_and_is_unblocked_can_write_from_all_devices(town: Town) -> None:
    everybody = alice, _, bob, tablet = two_and_two(town)
    alice.messenger.block(bob.id)
    pass_time(5_000, *everybody)
    alice.messenger.remove(bob.id, history=False)
    pass_time(5_000, *everybody)
    alice.messenger.unblock(bob.id)
    pass_time(5_000, *everybody)
    alice.messenger.contacts.add("bob", bob.id)
    pass_time(5_000, *everybody)
    for one in (bob, tablet):
        one.send(alice, f"from {one.name}")
    pass_time(60_000, *everybody)
    assert sorted(alice.read_all()) == ["from bob", "from tablet"]


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "control: a device"])
def test_device_that_was_removed_sees_nobody(town: Town, removed: bool) -> None:
    everybody = alice, _, bob, tablet = two_and_two(town)
    tablet.tamper = lambda frame: [] if removed and frame["type"] == "MESSAGE" else [frame]  # it does not erase itself
    if removed:
        bob.messenger.desk.remove(tablet.id)
    assert seen_by(tablet, alice, everybody) == ([] if removed else ["idle"])
    assert seen_by(tablet, bob, everybody) == ([] if removed else ["idle"])


def test_somebody_who_links_and_removes_without_end_keeps_no_block_of_the_user_waiting(town: Town) -> None:
    alice, bob, eve = town.friends("alice", "bob", "eve")
    alice.cut()
    blocking = alice.messenger._blocking
    for number in range(MAX_FORGOTTEN + 50):
        device = base64.b64encode(number.to_bytes(32)).decode()
        with alice.vault.transaction() as tx:
            blocking.forget_device(tx, device)
    assert len(blocking) == MAX_FORGOTTEN
    alice.messenger.block(eve.id)
    alice.sent.clear()
    alice.login()
    pass_time(2_000, alice, bob, eve)
    assert alice.frames_sent("BLOCK")[0]["payload"] == {"userId": eve.id, "blocked": True}
