"""Faults that the simulation once found, each as small as it gets."""

from pathlib import Path

import pytest
from client_samples import DAY, Device, Town, fast_folder, pass_time, settle

from phantom_messenger.client.errors import VaultError
from phantom_messenger.client.recovery import MAX_RESENDS
from phantom_messenger.client.status import DeliveryState
from support.simulated import HOUR, MINUTE, SECOND, MakeWorld


def read_only(device: Device, *, on: bool) -> None:
    """Its disk is full, or has room again."""
    device.vault._connection.pragma("query_only", value=on)


def full_before_sending(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk has room for one more transaction."""
    send_pending = device.messenger.send_pending

    def fill() -> None:
        read_only(device, on=True)
        send_pending()

    monkeypatch.setattr(device.messenger, "send_pending", fill)


def test_text_that_is_kept_but_could_not_leave_at_once_leaves_later(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = town.friends("alice", "bob")
    full_before_sending(alice, monkeypatch)
    alice.send(bob, "hello")  # it is kept, and so this is no failure
    monkeypatch.undo()
    read_only(alice, on=False)
    pass_time(10 * SECOND, alice, bob)
    assert bob.read_all() == ["hello"]


def test_text_whose_acceptance_could_not_be_stored_is_sent_again(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")  # who are no contacts: no later news repairs it
    (number,) = alice.send(bob, "hello")
    alice.fetch()
    while alice.up or not alice.frames_sent("MESSAGE"):  # the key exchange, then the text
        alice.step_up()
        if not alice.frames_sent("MESSAGE"):
            alice.step_down()
        alice.fetch()
    read_only(alice, on=True)
    with pytest.raises(VaultError):
        settle(alice)
    read_only(alice, on=False)
    alice.cut()
    alice.login()
    settle(alice)
    assert alice.messenger.state_of(number) is DeliveryState.ACCEPTED


def test_local_clock_that_is_set_while_offline_loses_no_text(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "hello", expires_in=6 * HOUR)
    settle(alice, bob)
    bob.cut()
    bob.wall_error += DAY
    bob.login()
    assert bob.read_all() == ["hello"]


def test_login_whose_time_was_wrong_is_tried_again(town: Town) -> None:
    alice = town.device("alice")
    alice.connect()
    alice.step_down()  # CONNECTION_ACK
    alice.fetch()
    town.world.clock.wall += HOUR
    settle(alice)
    assert alice.may_reconnect


def test_login_that_came_too_late_is_tried_again(town: Town) -> None:
    alice = town.device("alice")
    alice.connect()
    alice.step_down()
    alice.fetch()
    town.world.clock.advance(31 * SECOND)  # the relay's machine sleeps, and hears it before its own timer
    alice.step_up()
    settle(alice)
    assert alice.may_reconnect


def test_late_login_on_an_old_connection_does_not_end_the_program(town: Town) -> None:
    alice = town.device("alice")
    alice.connect()
    alice.step_down()
    alice.fetch()
    (late,) = alice.up
    old = alice._session
    alice._end(None, "the network is gone, and the relay does not hear of it")
    alice.login()
    town.world.relay.receive(old, late.encode())
    town.world.run()
    settle(alice)
    assert alice.may_reconnect


def refused_once(device: Device, kind: str) -> None:
    """The relay's disk is full when a frame of this type comes, and at no other time."""
    device.fetch()
    while not any(f'"type":"{kind}"' in text for text in device.up[:1]):
        assert device.step_up() | device.step_down()
        device.fetch()
    device.world.writer.full = True
    device.step_up()
    device.world.writer.full = False


def test_question_for_prekeys_that_was_refused_is_asked_again(town: Town) -> None:
    alice = town.device("alice")
    alice.connect()
    refused_once(alice, "PREKEY_STATUS")
    pass_time(5 * MINUTE, alice, step=5 * SECOND)
    assert alice.messenger.prekeys_confirmed


def test_prekeys_whose_time_was_wrong_are_published_again(town: Town) -> None:
    alice = town.device("alice")
    alice.connect()
    alice.fetch()
    while not any('"type":"PREKEY_PUBLISH"' in text for text in alice.up):
        assert alice.step_up() | alice.step_down()
        alice.fetch()
    town.world.clock.wall += HOUR
    pass_time(5 * MINUTE, alice, step=5 * SECOND)
    assert alice.messenger.prekeys_confirmed


def test_delivery_whose_acknowledgement_was_refused_is_told_later(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    settle(alice)
    bob.fetch()
    while bob.step_down():
        bob.fetch()
    town.world.writer.full = True
    settle(bob)
    town.world.writer.full = False
    pass_time(5 * MINUTE, alice, bob, step=5 * SECOND)
    assert alice.messenger.state_of(number) is DeliveryState.DELIVERED


def test_reading_is_not_forgotten_for_a_second_copy(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    alice.fetch()
    alice.step_up()
    alice.cut()  # the acceptance is lost
    settle(bob)
    bob.read_all()
    settle(bob)  # 'read' waits for her
    pass_time(11 * MINUTE, bob, step=20 * SECOND)
    alice.connect()
    keep_receipts(alice)  # she is cut before the receipt is there, and her second copy is not
    alice.fetch()
    while alice.up:
        alice.step_up()
    settle(bob)
    alice.cut()
    alice.login()
    settle(alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.READ


def keep_receipts(device: Device) -> None:
    """Log in and send, but hear nothing of what waits."""
    device.tamper = lambda frame: [frame] if frame["type"] in {"CONNECTION_ACK", "AUTH_SUCCESS"} else []
    for _ in range(10):
        device.step_down()
        device.fetch()
        device.step_up()
    device.tamper = None


def test_program_that_waits_for_its_first_login_does_not_wake_all_the_time(town: Town) -> None:
    alice = town.device("alice")
    alice.connect()
    alice.messenger.tick()
    assert alice.messenger.next_tick() >= SECOND


def test_prekeys_are_published_after_a_minute_of_refusals(make_world: MakeWorld, tmp_path: Path) -> None:
    """By a relay that limits rates: the question must not take the place that the publication needs."""
    world = make_world()
    with fast_folder(tmp_path) as folder:
        town = Town(world, folder)
        alice = town.device("alice")
        alice.connect()
        for _ in range(3):  # the login is stored, then the disk is full
            alice.fetch()
            alice.step_up()
            alice.step_down()
        world.writer.full = True
        pass_time(MINUTE, alice, reconnect=True)
        world.writer.full = False
        pass_time(10 * MINUTE, alice, reconnect=True)
        assert alice.messenger.prekeys_confirmed
        town.close()


# --- what is counted is what was stored -------------------------------------------


def test_acknowledging_again_is_not_put_off_if_it_could_not_be_stored(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    settle(alice, bob)
    pass_time(5 * SECOND, alice, bob)
    receiving, receipts = bob.messenger._receiving, bob.messenger._stores.receipts
    assert receipts.senders() == []
    read_only(bob, on=True)
    with pytest.raises(VaultError):
        receiving._acknowledge_again(alice.id, number, bob.messenger._clock.now())
    read_only(bob, on=False)
    receiving._acknowledge_again(alice.id, number, bob.messenger._clock.now())
    assert receipts.senders() == [alice.id]


def test_batch_that_could_not_be_put_back_does_not_count_as_sent_again(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    vault, receipts = bob.vault, bob.messenger._stores.receipts
    with vault.transaction() as tx:
        receipts.put(tx, alice.id, "a text", "delivered", 0)
    with vault.transaction() as tx:
        receipts.assign(tx, alice.id, "a batch")

    def resend(*, fails: bool) -> bool:
        with vault.transaction() as tx:
            may = receipts.may_resend(tx, alice.id, "a batch")
            if fails:
                raise LookupError
        return may

    for _ in range(MAX_RESENDS):
        with pytest.raises(LookupError):
            resend(fails=True)
    assert [resend(fails=False) for _ in range(MAX_RESENDS + 1)] == [True] * MAX_RESENDS + [False]
