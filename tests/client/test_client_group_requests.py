"""What somebody has said in a group before they were known to be in it waits as a request, and no longer than that."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from client_samples import Device, Town, pass_time, settle
from device_samples import link
from group_people import names, said, write
from test_client_group_names import strangers

from phantom_messenger.client.conversations import Conversations, Opened
from phantom_messenger.client.looks import Looks
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.crypto.errors import UndecryptableMessage
from phantom_messenger.wire import frames
from support.people import Frame, canonical
from support.simulated import MINUTE, SECOND


@pytest.fixture(autouse=True)
def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that may be looked into of strangers in this hour was."""
    monkeypatch.setattr(Looks, "take", lambda *_: False)


def keep_back(device: Device, *senders: Device) -> list[Frame]:
    """The relay keeps back what these write to a device; it is put here."""
    late: list[Frame] = []
    ids = {sender.id for sender in senders}

    def hold(frame: Frame) -> list[Frame]:
        is_held = frame["type"] == "MESSAGE" and frame["payload"]["senderId"] in ids
        late.extend([frame] if is_held else [])
        return [] if is_held else [frame]

    device.tamper = hold
    return late


def let_come(device: Device, late: list[Frame]) -> None:
    device.tamper = None
    for frame in late:
        device.messenger.receive(canonical(frame).decode())
    device.hear()


def never_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that waits is looked at for the sake of a group."""

    def nothing(*_: Any) -> Iterator[Any]:
        return iter(())

    monkeypatch.setattr(Receiving, "_open_about_groups", nothing)


def requests(device: Device) -> list[str]:
    return device.messenger._stores.requests.senders()


def grown(town: Town) -> tuple[Device, Device, Device, Device]:
    """Alice has added Dan to the group of her, Bob and Carol, and Bob has not heard of it; Dan has written to it."""
    alice, bob, carol = strangers(town)
    bob.messenger._stores.book.asks = True
    dan = town.device("dan").login()
    alice.messenger.contacts.add("dan", dan.id)
    dan.messenger.contacts.add("alice", alice.id)
    keep_back(bob, alice)
    alice.messenger.groups.add("Tea", [dan.id])
    settle(alice, bob, carol, dan)
    dan.messenger.groups.accept("Tea")
    write(dan, "I am Dan")
    pass_time(2 * SECOND, alice, bob, carol, dan)
    assert (requests(bob), said(bob)) == ([dan.id], [])
    assert dan.id not in names(bob)
    return alice, bob, carol, dan


@pytest.mark.parametrize("is_looked_at", [True, False], ids=["looked at", "control: not looked at"])
def test_text_of_a_new_device_is_read_once_the_list_says_whose_it_is(
    town: Town, monkeypatch: pytest.MonkeyPatch, is_looked_at: bool
) -> None:
    alice, bob, carol = strangers(town)
    bob.messenger._stores.book.asks = True
    assert not bob.messenger.contacts.is_known(carol.id)
    tablet = town.device("tablet", strangers="ask").login()
    keep_back(bob, carol)
    link(carol, tablet, alice, bob)
    pass_time(5 * SECOND, alice, bob, carol, tablet)
    write(tablet, "from a tablet")
    pass_time(5 * SECOND, alice, bob, carol, tablet)
    assert (requests(bob), said(bob)) == ([tablet.id], [])
    if not is_looked_at:
        never_looked_at(monkeypatch)
    known = carol.messenger._stores.devices.known(carol.id)
    assert known is not None
    with_prekeys = b64encode(known.newest.encoded).decode()
    for _ in bob.messenger._receiving._list_came(with_prekeys, bob.messenger._now()):
        pass
    assert bob.messenger._stores.devices.person_of(tablet.id) == carol.id
    assert ("from a tablet" in said(bob), requests(bob)) == (is_looked_at, [] if is_looked_at else [tablet.id])


@pytest.mark.parametrize("is_looked_at", [True, False], ids=["looked at", "control: not looked at"])
def test_text_of_a_new_member_is_read_once_somebody_has_told_the_changes(
    town: Town, monkeypatch: pytest.MonkeyPatch, is_looked_at: bool
) -> None:
    alice, bob, carol, dan = grown(town)
    if not is_looked_at:
        never_looked_at(monkeypatch)
    bob.tamper = None
    write(alice, "welcome, Dan")
    pass_time(10 * SECOND, alice, bob, carol, dan)
    assert dan.id in names(bob)
    assert ("I am Dan" in said(bob), requests(bob)) == (is_looked_at, [] if is_looked_at else [dan.id])


@pytest.mark.parametrize("is_looked_at", [True, False], ids=["looked at", "control: not looked at"])
def test_text_of_a_new_member_is_read_on_a_linked_device_once_the_first_one_tells_of_them(
    town: Town, monkeypatch: pytest.MonkeyPatch, is_looked_at: bool
) -> None:
    alice, bob, carol = strangers(town)
    laptop, dan = town.device("laptop", strangers="ask").login(), town.device("dan").login()
    link(bob, laptop, alice, carol)
    pass_time(5 * SECOND, alice, bob, carol, laptop)
    alice.messenger.contacts.add("dan", dan.id)
    dan.messenger.contacts.add("alice", alice.id)
    late = keep_back(laptop, alice, bob)
    alice.messenger.groups.add("Tea", [dan.id])
    settle(alice, bob, carol, dan, laptop)
    dan.messenger.groups.accept("Tea")
    pass_time(5 * SECOND, alice, bob, carol, dan, laptop)
    told = [frame for frame in late if frame["payload"]["senderId"] == bob.id]
    write(bob, "by which Dan hears of the laptop")
    pass_time(5 * SECOND, alice, bob, carol, dan, laptop)
    write(dan, "I am Dan")
    pass_time(2 * SECOND, alice, bob, carol, dan, laptop)
    assert dan.id in requests(laptop)
    assert (said(laptop), dan.id in names(laptop)) == ([], False)
    if not is_looked_at:
        never_looked_at(monkeypatch)
    let_come(laptop, told)
    assert dan.id in names(laptop)
    assert ("I am Dan" in said(laptop), dan.id in requests(laptop)) == (is_looked_at, not is_looked_at)


@pytest.mark.parametrize("is_noted", [True, False], ids=["noted", "control: only let go"])
def test_what_cannot_be_read_of_a_new_member_is_asked_for_once_they_are_known_to_be_one(
    town: Town, monkeypatch: pytest.MonkeyPatch, is_noted: bool
) -> None:
    alice, bob, carol, dan = grown(town)
    opening, stores = Conversations.open, bob.messenger._stores

    def failing(conversations: Conversations, tx: Any, frame: frames.RoutedMessage, *others: Any) -> Opened:
        if conversations is stores.conversations and stores.requests.has(frame):
            raise UndecryptableMessage("the prekeys that it names are gone")
        return opening(conversations, tx, frame, *others)

    monkeypatch.setattr(Conversations, "open", failing)
    if not is_noted:
        monkeypatch.setattr(Receiving, "_note_unreadable", lambda *_: False)
    bob.cut()
    pass_time(11 * MINUTE, alice, carol, dan, step=10 * SECOND)  # until then the relay takes it for a double
    bob.tamper = None
    bob.login()
    pass_time(MINUTE, alice, bob, carol, dan)
    assert requests(bob) == []
    assert ("I am Dan" in said(bob)) is is_noted
    assert ("waiting" in bob.troubles()) is is_noted
