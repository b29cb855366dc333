"""Receipts that are lost on the way, or whose programs die, reach their senders all the same."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from client_samples import Device, Town, pass_time, settle
from receipt_samples import pending_receipts, receipt_batches, repeat

from phantom_messenger.client import records
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Transaction
from support.simulated import HOUR, MINUTE, SECOND


def forget_sessions(device: Device) -> None:
    """The program ends, and its sessions are gone when it starts again."""
    device.kill()
    with device.vault.transaction():
        device.vault._connection.execute("DELETE FROM records WHERE kind = ?", (records.SESSIONS,))


def receipt_is_lost_with_a_session(town: Town) -> tuple[Device, Device, list[str]]:
    """Alice has lost the session in which Bob told her that he has read her texts."""
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "one", "two")
    settle(alice, bob)
    bob.read_all()
    forget_sessions(alice)
    pass_time(3 * SECOND, bob)
    assert len(receipt_batches(bob)) == 1
    assert len(pending_receipts(bob)) == 2, "kept until the relay says that it was delivered"
    alice.login()
    return alice, bob, numbers


def test_receipt_that_is_lost_with_a_session_is_told_again(town: Town) -> None:
    alice, bob, numbers = receipt_is_lost_with_a_session(town)
    settle(alice, bob)
    assert alice.troubles() == ["waiting"]
    pass_time(5 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}
    assert pending_receipts(bob) == []
    assert bob.troubles() == []
    assert alice.troubles() == ["waiting"]


def test_receipt_that_could_not_be_read_does_not_wait_at_the_relay_for_ever(town: Town) -> None:
    alice, bob, numbers = receipt_is_lost_with_a_session(town)
    pass_time(2 * HOUR, alice, bob, step=MINUTE)
    assert alice.states(numbers) == {DeliveryState.READ}
    alice.cut()
    alice.received.clear()
    alice.login()
    assert [frame for frame in alice.received if frame["type"] == "MESSAGE"] == []


def test_receipt_that_was_accepted_and_whose_relay_lost_it_is_told_again_when_its_text_comes_again(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    settle(alice, bob)
    bob.read_all()
    alice.tamper = lambda frame: [] if frame["type"] == "MESSAGE" else [frame]
    pass_time(SECOND, alice, bob)
    assert len(receipt_batches(bob)) == 1
    alice.tamper = None
    (frame,) = [frame for frame in bob.received if frame["type"] == "MESSAGE"]
    repeat(bob, frame)
    pass_time(SECOND, alice, bob)
    assert len(receipt_batches(bob)) == 2
    assert alice.messenger.state_of(number) is DeliveryState.READ
    assert bob.waiting() == []


class Died(BaseException):
    """The program is killed."""


def die_after(monkeypatch: pytest.MonkeyPatch, device: Device, count: int) -> None:
    """Let a program die as soon as it has so many more transactions on disk."""
    vault, usual, done = device.vault, device.vault.transaction, 0

    @contextmanager
    def transaction() -> Iterator[Transaction]:
        nonlocal done
        with usual() as tx:
            yield tx
        done += 1
        if done == count:
            raise Died

    monkeypatch.setattr(vault, "transaction", transaction)


def talk(alice: Device, bob: Device) -> None:
    """All of her texts come, are read, and she hears of it."""
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    bob.read_all()
    pass_time(5 * SECOND, alice, bob)


@pytest.mark.parametrize("who", ["sender", "recipient"])
def test_program_may_die_after_each_of_its_transactions(town: Town, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    count = 0
    while True:
        count += 1
        alice, bob = town.friends(f"alice {count}", f"bob {count}")
        victim = alice if who == "sender" else bob
        (kept,), (burned,) = alice.send(bob, "keep me"), alice.send(bob, "burn me", burn=True)
        die_after(monkeypatch, victim, count)
        try:
            talk(alice, bob)
            died = False
        except Died:
            died = True
            victim.kill()
            victim.login()
            talk(alice, bob)
            if not alice.is_connected or not bob.is_connected:
                raise
        assert alice.messenger.state_of(kept) is DeliveryState.READ, count
        assert alice.messenger.state_of(burned) is DeliveryState.BURNED, count
        assert alice.own_text(burned) is None
        assert bob.waiting() == []
        assert alice.messenger.waiting == bob.messenger.pending_receipts == 0, count
        assert pending_receipts(bob) == []
        assert alice.troubles() == bob.troubles() == []
        for device in (alice, bob):
            device.cut()
        if not died:
            break
    assert count > 5


@pytest.mark.parametrize("who", ["sender", "recipient", "both"])
def test_programs_may_die_between_any_two_frames_of_a_receipt(town: Town, who: str) -> None:
    point = 0
    while True:
        alice, bob = town.friends(f"alice {point}", f"bob {point}")
        numbers = alice.send(bob, "one", "two")
        settle(alice, bob)
        bob.read_all()
        town.world.clock.advance(SECOND)
        bob.messenger.tick()
        moved = 0
        for _ in range(100):
            for device in (alice, bob):
                device.fetch()
                moved += moved < point and device.step_up()
                moved += moved < point and device.step_down()
        for device in {"sender": [alice], "recipient": [bob], "both": [alice, bob]}[who]:
            device.kill()
            device.login()
        settle(alice, bob)
        pass_time(5 * SECOND, alice, bob)
        assert alice.states(numbers) == {DeliveryState.READ}, point
        assert pending_receipts(bob) == [], point
        assert bob.messenger.pending_receipts == 0, point
        assert alice.troubles() == bob.troubles() == []
        if moved < point:
            break
        point += 1
        for device in (alice, bob):
            device.cut()
    assert point > 8
