"""What goes: texts that burn or expire on both sides, and what nobody may find in the files."""

import base64

import pytest
from client_samples import DAY, Device, Town, all_sessions, found_in_files, pass_time, settle

from phantom_messenger.client import records
from phantom_messenger.client.records import IdentityRecord, PreKeyRecord, ReceivedRecord
from phantom_messenger.client.status import DeliveryState
from support.people import canonical
from support.simulated import MINUTE, SECOND

HOUR = 3_600_000


def received_text(device: Device, sender: Device, number: str) -> str | None:
    """What is left of a received text."""
    record = device.vault.get(records.RECEIVED, records.key(sender.id, number), ReceivedRecord)
    assert record is not None
    return record.text


def stays(number: str, text: str, alice: Device, bob: Device) -> None:
    assert alice.own_text(number) == received_text(bob, alice, number) == text


def is_gone(number: str, alice: Device, bob: Device) -> None:
    assert alice.own_text(number) is None
    assert received_text(bob, alice, number) is None


# --- burning ----------------------------------------------------------------------


def test_burning_erases_the_text_on_both_sides(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "burn me", burn=True)
    settle(alice, bob)
    (record,) = bob.waiting()
    assert record.burn
    stays(number, "burn me", alice, bob)
    bob.messenger.mark_read(alice.id, number)
    assert received_text(bob, alice, number) is None
    pass_time(SECOND, alice, bob)
    is_gone(number, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.BURNED
    assert bob.waiting() == []


def test_text_that_does_not_burn_stays_when_it_was_read(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "keep me")
    settle(alice, bob)
    bob.read_all()
    pass_time(SECOND, alice, bob)
    stays(number, "keep me", alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.READ


def test_burning_text_that_was_only_seen_burns_when_it_is_read_after_all(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "burn me", burn=True)
    settle(alice, bob)
    bob.messenger.handled(alice.id, number)
    bob.kill()
    stays(number, "burn me", alice, bob)
    bob.login()
    bob.messenger.mark_read(alice.id, number)
    pass_time(SECOND, alice, bob)
    is_gone(number, alice, bob)


@pytest.mark.parametrize("dies", [False, True])
def test_burning_while_offline_erases_the_text_on_both_sides_later(town: Town, dies: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "burn me", burn=True)
    settle(alice, bob)
    bob.cut()
    bob.read_all()
    assert received_text(bob, alice, number) is None
    assert alice.own_text(number) == "burn me"
    if dies:
        bob.kill()
    bob.login()
    pass_time(SECOND, alice, bob)
    is_gone(number, alice, bob)


def test_burned_text_does_not_come_back_with_a_repeated_message(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "burn me", burn=True)
    settle(alice, bob)
    (frame,) = [frame for frame in bob.received if frame["type"] == "MESSAGE"]
    bob.read_all()
    pass_time(SECOND, alice, bob)
    is_gone(number, alice, bob)
    bob.down.append(canonical(frame))
    bob.step_down()
    pass_time(SECOND, alice, bob)
    assert bob.waiting() == []
    is_gone(number, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.BURNED


# --- expiry -----------------------------------------------------------------------


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("lifetime", [10 * SECOND, MINUTE, HOUR])
def test_expiry_erases_the_text_on_both_sides(town: Town, read: bool, lifetime: int) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "for a while", expires_in=lifetime)
    settle(alice, bob)
    if read:
        bob.read_all()
        settle(alice, bob)
    pass_time(lifetime - SECOND, alice, bob, step=max(SECOND, lifetime // 200))
    stays(number, "for a while", alice, bob)
    pass_time(7 * SECOND, alice, bob)
    is_gone(number, alice, bob)
    assert bob.waiting() == []


def test_expiry_that_came_while_the_programs_were_off_erases_at_their_start(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "for a while", expires_in=HOUR)
    settle(alice, bob)
    for device in (alice, bob):
        device.kill()
    town.world.clock.advance(HOUR)
    for device in (alice, bob):
        device.messenger.tick()
    assert bob.messenger.next_received(0) is None, "it is hidden, and erased when the relay's clock is known"
    for device in (alice, bob):
        device.login()
    pass_time(6 * SECOND, alice, bob)
    is_gone(number, alice, bob)
    assert bob.waiting() == []


def test_expired_text_is_not_handed_out_even_if_it_was_waiting(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "for a while", expires_in=MINUTE)
    alice.send(bob, "for ever")
    settle(alice, bob)
    pass_time(MINUTE + 6 * SECOND, alice, bob)
    assert bob.read_all() == ["for ever"]


def test_text_that_expires_before_its_recipient_comes_is_told_expired(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.cut()
    (number,) = alice.send(bob, "too late", expires_in=MINUTE)
    settle(alice)
    pass_time(MINUTE + 2 * SECOND, alice)
    assert alice.messenger.state_of(number) is DeliveryState.EXPIRED
    assert alice.own_text(number) is None
    bob.login()
    assert bob.waiting() == []


def test_lifetime_begins_when_the_relay_has_the_text(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.cut()
    (number,) = alice.send(bob, "for a while", expires_in=MINUTE)
    pass_time(10 * MINUTE, bob, step=20 * SECOND)
    alice.messenger.tick()
    assert alice.own_text(number) == "for a while"
    alice.login()
    settle(alice, bob)
    pass_time(50 * SECOND, alice, bob)
    stays(number, "for a while", alice, bob)
    pass_time(16 * SECOND, alice, bob)
    is_gone(number, alice, bob)


@pytest.mark.parametrize("when", ["online", "offline", "connecting", "started again"])
def test_wrong_clock_of_the_recipient_expires_nothing_early(town: Town, when: str) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.kill()
    bob.wall_error = 365 * DAY
    bob.login()
    (number,) = alice.send(bob, "for a day", expires_in=DAY)
    settle(alice, bob)
    if when == "started again":
        bob.kill()
    elif when != "online":
        bob.cut()
    if when == "connecting":
        bob.connect()
    for _ in range(3):
        town.world.clock.advance(6 * SECOND)
        bob.messenger.tick()
    stays(number, "for a day", alice, bob)
    assert [record.text for record in bob.waiting()] == ["for a day"]


# --- at rest ----------------------------------------------------------------------


def secrets(device: Device) -> list[bytes]:
    """Every key that a device has, and all that names people or messages."""
    identity = device.vault.get(records.IDENTITY, "", IdentityRecord)
    assert identity is not None
    found = [identity.seed]
    found += [record.private[:32] for _, record in device.vault.all(records.PREKEY, PreKeyRecord)]
    for state in all_sessions(device.vault):
        ratchet = state.ratchet
        found += [
            state.id,
            state.peer.public,
            ratchet.rk,
            ratchet.dhs.private,
            *(passed.mk for passed in ratchet.mkskipped.values()),
        ]
        found += [key for key in (ratchet.cks, ratchet.ckr, ratchet.dhr) if key is not None]
    return found


@pytest.mark.usefixtures("shipped_prekeys")
@pytest.mark.parametrize("closed", [False, True])
def test_no_file_shows_a_text_a_name_an_id_or_a_key(town: Town, closed: bool) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.messenger.set_server("wss://very-private-relay.example/ws")
    alice.messenger.contacts.add("Bobby Tables", bob.id)
    numbers = alice.send(bob, "a text to Bob", "another text", expires_in=DAY)
    settle(alice, bob)
    bob.read_all()
    bob.send(alice, "a text of Bob", burn=True)
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}
    alice.cut()
    numbers += alice.send(bob, "a queued text")
    keys = secrets(alice)
    assert len(keys) > 130
    named = [text.encode() for text in ("a text to Bob", "another text", "a queued text", "a text of Bob", *numbers)]
    named += [b"Bobby Tables", b"very-private-relay", alice.id.encode(), bob.id.encode()]
    raw = [base64.b64decode(device.id) for device in (alice, bob)] + keys
    folder = alice.folder
    if closed:
        alice.close()
    needles = [*named, *raw]
    needles += [form for key in raw for form in (key.hex().encode(), base64.b64encode(key))]
    assert found_in_files(folder, *needles) == []
    # The control: the records are in these files, and what is not sealed is found.
    assert {name for name, _ in found_in_files(folder, b"prekey")} >= {"alice.vault" if closed else "alice.vault-wal"}


def test_erased_text_is_in_no_record(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "burn me", burn=True)
    settle(alice, bob)
    bob.read_all()
    pass_time(SECOND, alice, bob)
    for device in (alice, bob):
        kinds = [row[0] for row in device.vault._connection.execute("SELECT DISTINCT kind FROM records")]
        assert len(kinds) > 5
        for kind in kinds:
            for _, record in device.vault.all(kind, object):
                assert "burn me" not in repr(record), (device.name, kind)
