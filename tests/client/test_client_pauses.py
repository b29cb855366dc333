"""What a relay asks a client to wait for, what the client tells of it, and what another relay is told anew."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client_samples import Device, Town, pass_time, settle

from phantom_messenger.client import pacing
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.notices import PauseNotices
from phantom_messenger.client.pacing import Pacing, asked
from phantom_messenger.client.status import WarningEvent
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire.limits import RateClass
from support.people import Frame
from support.simulated import MINUTE, SECOND, World

FOR_EVER = 2**53 - 1


def refusing(
    kind: str, device: Device, *, code: int = 1003, reason: str = "rate", retry_after: int = FOR_EVER
) -> Callable[[], None]:
    """A relay that refuses the next frame of a type that the device sends, and names a time; calling it ends that."""
    payload = {"code": code, "message": "x", "retryAfter": retry_after, "details": {"reason": reason}}
    refused: list[str] = []

    def tamper(frame: Frame) -> list[Frame]:
        mine = [sent["id"] for sent in device.sent if sent["type"] == kind]
        if frame.get("id") in mine:
            refused.append(frame["type"])
            return [{"type": "ERROR", "payload": payload, "timestamp": 1, "id": frame["id"]}]
        return [frame]

    device.tamper = tamper

    def end() -> None:
        assert refused
        device.tamper = None

    return end


# --- no relay silences a client for ever ------------------------------------------


def sends(alice: Device, bob: Device) -> Callable[[], bool]:
    alice.send(bob, "hello")
    return lambda: alice.messenger.waiting == 0


def begins(alice: Device, bob: Device) -> Callable[[], bool]:
    alice.messenger.contacts.add("bob", bob.id)
    return lambda: alice.messenger.contacts.of(bob.id).key is not None


def blocks(alice: Device, bob: Device) -> Callable[[], bool]:
    alice.messenger.block(bob.id)
    return lambda: alice.messenger.unconfirmed == 0


CASES = {"MESSAGE": sends, "KEY_EXCHANGE_INIT": begins, "BLOCK": blocks}


def silenced(town: Town, kind: str, reason: str = "rate") -> tuple[Device, Callable[[], bool]]:
    """Alice, to whom the relay has said to send nothing of a kind for ever; and whether she does."""
    alice, bob = town.devices("alice", "bob") if kind == "KEY_EXCHANGE_INIT" else town.friends("alice", "bob")
    end = refusing(kind, alice, reason=reason)
    is_done = CASES[kind](alice, bob)
    settle(alice, bob)
    end()
    assert not is_done()
    return alice, is_done


@pytest.mark.parametrize("reason", ["rate", "overload", "backlog", "of later"])
@pytest.mark.parametrize("kind", CASES)
def test_wait_without_end_ends_after_ten_minutes(town: Town, kind: str, reason: str) -> None:
    alice, is_done = silenced(town, kind, reason)
    pass_time(9 * MINUTE, alice, step=15 * SECOND)
    assert not is_done()
    pass_time(2 * MINUTE, alice, step=5 * SECOND)
    assert is_done()


@pytest.mark.parametrize("kind", CASES)
def test_client_that_takes_the_relays_word_is_silent(town: Town, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(pacing, "LONGEST_ASKED_MS", FOR_EVER)
    monkeypatch.setattr(asked, "__kwdefaults__", {"longest": FOR_EVER})
    alice, is_done = silenced(town, kind)
    pass_time(11 * MINUTE, alice, step=15 * SECOND)
    assert not is_done()


@pytest.mark.parametrize("is_told", [True, False], ids=["", "control"])
@pytest.mark.parametrize("retry_after", [FOR_EVER, 2_900, 0])
@pytest.mark.parametrize("refusal", [
    ("KEY_EXCHANGE_INIT", 1003, "rate"), ("KEY_EXCHANGE_INIT", 1007, "internal"), ("KEY_EXCHANGE_INIT", 1001, "clock"),
    ("MESSAGE", 1003, "rate"), ("MESSAGE", 1001, "clock"),
])  # fmt: skip
def test_user_hears_of_a_relay_that_takes_nothing_in_one_wait_or_in_many(
    town: Town, refusal: tuple[str, int, str], retry_after: int, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, code, reason = refusal
    if not is_told:
        monkeypatch.setattr(PauseNotices, "_warn", lambda *_: [])
    alice, bob = town.friends("alice", "bob") if kind == "MESSAGE" else town.devices("alice", "bob")
    refusing(kind, alice, code=code, reason=reason, retry_after=retry_after)
    alice.send(bob, "hello")
    pass_time(2 * MINUTE, alice, step=3 * SECOND)
    assert alice.messenger.waiting == 1
    assert ("paused" in alice.troubles()) is is_told
    assert len(alice.troubles()) <= 3


@pytest.mark.parametrize("reason", ["rate", "overload", "backlog"])
@pytest.mark.parametrize("kind", CASES)
def test_what_was_asked_holds_on_its_connection(town: Town, kind: str, reason: str) -> None:
    alice, is_done = silenced(town, kind, reason)
    alice.cut()
    alice.login()
    settle(alice)
    assert is_done()


# --- what is told -----------------------------------------------------------------


def test_texts_that_wait_for_the_limit_are_told_once_with_their_time(make_world: Any, tmp_path: Path) -> None:
    town = Town(make_world(), tmp_path)
    alice, bob = town.devices("alice", "bob")
    alice.send(bob, *(str(number) for number in range(70)))
    settle(alice, bob)
    (warning,) = [event for event in alice.heard(WarningEvent) if event.code == "paused"]
    assert warning.peer is None
    assert warning.message.endswith("messages wait; the relay accepts the next one in 61 seconds")
    pass_time(30 * SECOND, alice, bob)
    assert alice.troubles().count("paused") == 1
    pass_time(2 * MINUTE, alice, bob)
    assert alice.messenger.waiting == 0
    town.close()


def test_text_to_somebody_who_deleted_the_account_is_not_told_as_too_early(town: Town) -> None:
    alice, bob, carol = town.device("alice").login(), town.device("bob").login(), town.device("carol")
    alice.send(bob, "hello")
    settle(alice, bob)
    assert bob.messenger.delete_account()
    settle(bob)
    alice.send(bob, "are you there?")
    alice.send(carol, "and you?")
    settle(alice)
    told = {event.peer.user_id: event.message for event in alice.heard(WarningEvent) if event.peer is not None}
    assert "any more: the account was deleted" in told[bob.id]
    assert "yet; messages wait until they have connected once" in told[carol.id]


# --- another relay ----------------------------------------------------------------


def moved(town: Town, world: World) -> tuple[Device, Device]:
    """Alice and Bob, friends at a relay that is now another one, which knows neither."""
    alice, bob = town.friends("alice", "bob")
    for device in (alice, bob):
        device.messenger.set_server("wss://first.example/ws")
        device.messenger.set_server("wss://second.example/ws")
        device.cut()
        device.world = world
        device.kill()  # its clock is that of the world
    for device in (alice, bob):
        device.login()
    settle(alice, bob)
    pass_time(3 * MINUTE, alice, bob)
    return alice, bob


def delivered(alice: Device, bob: Device) -> bool:
    """Whether the relay knows Alice as one to whom Bob has written: who is a stranger hears ``accepted`` alone."""
    alice.received.clear()
    alice.messenger.ask_presence(bob.id)
    settle(alice, bob)
    return any(frame["type"] == "PRESENCE" and frame["payload"]["status"] == "online" for frame in alice.received)


def test_new_relay_learns_of_contacts(town: Town, make_world: Any) -> None:
    alice, bob = moved(town, make_world())
    assert delivered(alice, bob)
    assert delivered(bob, alice)
    assert alice.messenger._stores.book.to_introduce() == bob.messenger._stores.book.to_introduce() == []


def test_new_relay_does_not_learn_of_contacts_that_count_as_greeted(
    town: Town, make_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr("phantom_messenger.client.address_book.AddressBook.moved", lambda *_: None)
    alice, bob = moved(town, make_world())
    assert not delivered(alice, bob)


def test_new_relay_is_told_who_is_kept_away(town: Town, make_world: Any) -> None:
    world = make_world()
    alice, bob = town.friends("alice", "bob")
    alice.messenger.block(bob.id)
    settle(alice, bob)
    assert alice.messenger._stores.book.blocked() == [bob.id]
    alice.messenger.set_server("wss://first.example/ws")
    alice.messenger.set_server("wss://second.example/ws")
    alice.cut()
    alice.world = world
    alice.sent.clear()
    alice.login()
    assert [frame["payload"] for frame in alice.frames_sent("BLOCK")] == [{"userId": bob.id, "blocked": True}]


def test_pauses_of_one_relay_do_not_hold_at_another(town: Town) -> None:
    alice, is_done = silenced(town, "MESSAGE")
    alice.messenger.set_server("wss://first.example/ws")
    alice.messenger.set_server("wss://second.example/ws")
    assert not alice.messenger.is_online
    alice.cut()
    alice.login()
    settle(alice)
    assert is_done()


def test_windows_outlive_a_connection_and_pauses_do_not() -> None:
    paced = Pacing()
    assert [paced.acquire(RateClass.MESSAGE, 2, 0) for _ in range(3)] == [True, True, False]
    paced.pause(RateClass.PREKEY, MINUTE)
    paced.pause_peer("backlog", MINUTE)
    paced.unknown_peer("absent", 0)
    paced.disconnected()
    assert not paced.may_send(RateClass.MESSAGE, 1)
    assert paced.may_send(RateClass.PREKEY, 1)
    assert paced.may_reach("backlog", 1)
    assert not paced.may_reach("absent", 1)


# --- work that does not grow ------------------------------------------------------


class Counted:
    """How many records were decrypted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        genuine = Vault._read

        def read(vault: Vault, *arguments: Any) -> Any:
            self.count += 1
            return genuine(vault, *arguments)

        monkeypatch.setattr(Vault, "_read", read)

    def during(self, act: Callable[[], object]) -> int:
        before = self.count
        act()
        return self.count - before


def test_contact_is_found_without_reading_the_address_book(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    (alice,) = town.devices("alice")
    contacts = alice.messenger.contacts
    people = [town.device(f"person {number}") for number in range(30)]
    for person in people:
        contacts.add(person.name, person.id)
    counted = Counted(monkeypatch)
    assert counted.during(lambda: contacts.find("person 29")) <= 2
    assert counted.during(lambda: contacts.find(people[3].id)) <= 2
    assert counted.during(lambda: contacts.add("renamed", people[4].id)) <= 12
    assert contacts.find("renamed").user_id == people[4].id
    with pytest.raises(Exception, match="no contact 'person 4'"):
        contacts.find("person 4")
    everything = len(contacts.everybody())
    assert counted.during(lambda: AddressBook(alice.vault)) >= everything  # the control: nothing is known yet


def test_next_text_is_found_without_reading_the_inbox(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, *(str(number) for number in range(40)))
    settle(alice, bob)
    assert len(bob.waiting()) == 40
    counted = Counted(monkeypatch)
    position = 0
    for _ in range(40):
        found = bob.messenger.next_received(position)
        assert found is not None
        assert counted.during(functools.partial(bob.messenger.next_received, position)) <= 2
        position, record = found
        bob.messenger.handled(record.sender, record.message_id)


def test_what_is_to_be_told_is_not_read_at_each_step(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, *(str(number) for number in range(30)))
    settle(alice, bob)
    bob.cut()
    bob.read_all()
    assert bob.messenger.pending_receipts >= 30
    counted = Counted(monkeypatch)
    assert counted.during(lambda: bob.messenger.pending_receipts) <= 2
    bob.kill()
    assert bob.messenger.pending_receipts >= 30
    bob.login()
    pass_time(5 * SECOND, alice, bob)
    assert len(bob.messenger._stores.acks) == 0
