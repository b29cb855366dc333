"""People can say no: blocked users and removed contacts, on a simulated relay."""

from collections.abc import Callable

import pytest
from client_samples import Device, Town, pass_time, settle

from phantom_messenger.client import records
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.errors import UnknownContact, UsageError
from phantom_messenger.client.records import BlockRecord, ContactRecord
from phantom_messenger.client.status import DeliveryState, MessageEvent, PresenceEvent
from support.people import Frame
from support.simulated import MINUTE, SECOND


def open_blocks(device: Device) -> list[BlockRecord]:
    return [record for _, record in device.vault.all(records.BLOCK, BlockRecord)]


def blocks_sent(device: Device) -> list[tuple[str, bool]]:
    return [(one["payload"]["userId"], one["payload"]["blocked"]) for one in device.frames_sent("BLOCK")]


# --- blocking ---------------------------------------------------------------------


def test_blocked_user_is_kept_away_and_not_told(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger.block(alice.id)
    settle(alice, bob)
    assert blocks_sent(bob) == [(alice.id, True)]
    assert open_blocks(bob) == []
    (number,) = alice.send(bob, "let me in")
    pass_time(5 * SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.ACCEPTED
    assert bob.waiting() == []
    assert number not in [frame["payload"].get("messageId") for frame in bob.received]
    assert [event.status for event in alice.heard(PresenceEvent)] == ["offline"]


@pytest.mark.parametrize("protected", [True, False], ids=["blocked", "control: the device does not look"])
def test_what_a_relay_delivers_all_the_same_is_dropped_unread(
    town: Town, protected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = town.friends("alice", "bob")

    def deaf(frame: Frame) -> list[Frame]:
        """A relay that says it is so, and does not obey."""
        return [] if frame["type"] == "BLOCK" else [frame]

    bob.tamper = deaf
    bob.messenger.block(alice.id)
    bob.up.clear()
    bob.messenger.drain()  # the relay never gets it
    if not protected:
        monkeypatch.setattr(AddressBook, "is_blocked", lambda *_: False)
    bob.events.clear()
    (number,) = alice.send(bob, "let me in")
    pass_time(3 * SECOND, alice, bob)
    assert (bob.heard(MessageEvent) == []) is protected
    assert [record.text for record in bob.waiting()] == ([] if protected else ["let me in"])
    acked = [one["payload"].get("messageId") for one in bob.frames_sent("MESSAGE_ACK")]
    assert number in acked  # the mailbox is not filled
    assert alice.messenger.state_of(number) is DeliveryState.ACCEPTED  # and nothing tells of it


def test_block_is_repeated_until_the_relay_has_confirmed_it(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.cut()
    bob.messenger.block(alice.id)
    assert [record.steps for record in open_blocks(bob)] == [[True]]
    bob.kill()  # the program dies before it could say so
    bob.tamper = lambda frame: [] if frame["type"] == "BLOCK" else [frame]
    bob.login()
    assert blocks_sent(bob) == [(alice.id, True)]
    assert len(open_blocks(bob)) == 1  # the answer was lost
    bob.cut()
    bob.tamper = None
    bob.login()
    settle(alice, bob)
    assert blocks_sent(bob) == [(alice.id, True)] * 2
    assert open_blocks(bob) == []


def test_answer_to_nothing_that_was_asked_confirms_nothing(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")

    def other(frame: Frame) -> list[Frame]:
        if frame["type"] != "BLOCK":
            return [frame]
        return [{**frame, "payload": {**frame["payload"], "blocked": False}}]

    bob.tamper = other
    bob.messenger.block(alice.id)
    settle(alice, bob)
    assert len(open_blocks(bob)) == 1


def test_what_waited_for_a_blocked_user_is_not_sent(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.cut()
    (number,) = bob.send(alice, "said too much")
    bob.messenger.block(alice.id)
    assert bob.messenger.waiting_for(alice.id) == 0
    assert bob.messenger.state_of(number) is DeliveryState.FAILED
    with pytest.raises(UsageError, match="unblock them first with 'phantom contacts unblock alice'"):
        bob.send(alice, "more")
    bob.login()
    pass_time(5 * SECOND, alice, bob)
    assert [one.text for one in alice.waiting()] == []


def test_texts_that_nobody_has_looked_at_are_not_handed_out(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "unseen")
    settle(alice, bob)
    assert len(bob.waiting()) == 1
    bob.messenger.block(alice.id)
    pass_time(5 * SECOND, alice, bob)
    assert bob.waiting() == []
    assert bob.messenger.pending_receipts == bob.messenger.unconfirmed == 0


def test_unblocked_contact_is_a_friend_again(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger.block(alice.id)
    settle(alice, bob)
    bob.messenger.unblock(alice.id)
    pass_time(2 * SECOND, alice, bob)
    assert blocks_sent(bob) == [(alice.id, True), (alice.id, False)]
    (number,) = alice.send(bob, "thank you")
    pass_time(5 * SECOND, alice, bob)
    assert bob.read_all() == ["thank you"]
    pass_time(5 * SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.READ


def test_stranger_without_a_record_can_be_blocked_and_leaves_none(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    bob.messenger.block(alice.id)
    settle(alice, bob)
    assert bob.messenger.contacts.of(alice.id).blocked
    bob.messenger.unblock(alice.id)
    settle(alice, bob)
    assert bob.vault.get(records.CONTACT, alice.id, ContactRecord) is None


# --- removing ---------------------------------------------------------------------


def kinds(device: Device) -> dict[str, int]:
    """How many records of each kind there are."""
    found: dict[str, int] = {}
    for _, kind, *_ in device.vault._connection.execute("SELECT position, kind FROM records").fetchall():
        found[str(kind)] = found.get(str(kind), 0) + 1
    return found


def test_removed_contact_is_a_stranger_again(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger.contacts.remove("alice")
    settle(alice, bob)
    assert blocks_sent(bob) == [(alice.id, True), (alice.id, False)]
    with pytest.raises(UnknownContact):
        bob.messenger.contacts.find("alice")
    left = kinds(bob)
    assert {"session", "sessions", "skipped", "contact"}.isdisjoint(left)
    assert left["sent"] == left["received"] == 1  # what was said stays
    (number,) = alice.send(bob, "who was that?")
    pass_time(MINUTE, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.ACCEPTED  # a stranger learns no more
    assert [event.status for event in alice.heard(PresenceEvent)][-1:] == ["offline"]


def test_history_goes_only_on_demand(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    carol = town.device("carol").login()
    bob.send(carol, "hi carol")
    bob.messenger.contacts.remove("alice", history=True)
    settle(alice, bob, carol)
    left = kinds(bob)
    assert left["sent"] == 1  # carol's
    assert "received" not in left
    assert bob.messenger.history(alice.id) == []
    assert len(bob.messenger.history(carol.id)) == 1


def test_removed_contact_can_be_added_again(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger.contacts.remove("alice")
    bob.messenger.contacts.add("al", alice.id)
    (number,) = bob.send(alice, "sorry")
    pass_time(3 * SECOND, alice, bob)
    assert alice.read_all() == ["sorry"]
    pass_time(10 * SECOND, alice, bob)
    assert bob.messenger.state_of(number) is DeliveryState.READ
    (back,) = alice.send(bob, "never mind")
    pass_time(10 * SECOND, alice, bob)
    assert alice.messenger.state_of(back) is DeliveryState.DELIVERED  # the relay knows that bob has written


def test_nobody_is_removed_who_is_in_no_list_of_contacts(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    remove, stranger = bob.messenger.contacts.remove, town.device("carol")
    with pytest.raises(UnknownContact, match=r"nobody of this ID is in your contacts; 'phantom contacts' lists yours$"):
        remove(stranger.id, history=True)
    assert remove("alice").user_id == alice.id, "control"
    settle(alice, bob)
    sent = blocks_sent(bob)
    with pytest.raises(UnknownContact, match=r"--history erases them$"):
        remove(alice.id)
    assert bob.messenger.history(alice.id) != []
    remove(alice.id, history=True)
    with pytest.raises(UnknownContact, match=r"lists yours$"):
        remove(alice.id, history=True)
    assert sent == [(alice.id, True), (alice.id, False)], "of nobody else the relay hears"


def test_stranger_who_has_written_or_is_blocked_can_be_removed(town: Town) -> None:
    alice, bob = town.device("alice"), town.device("bob", strangers="ask").login()
    alice.login().send(bob, "hi")
    settle(alice, bob)
    assert bob.messenger.contacts.remove(alice.id).user_id == alice.id
    assert bob.messenger.requests() == []
    with pytest.raises(UnknownContact):
        bob.messenger.contacts.remove(alice.id)
    bob.messenger.block(alice.id)
    bob.messenger.contacts.remove(alice.id)
    assert bob.messenger.contacts.of(alice.id).blocked


def test_removing_who_is_blocked_keeps_them_blocked(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger.block(alice.id)
    settle(alice, bob)
    bob.messenger.contacts.remove("alice")
    settle(alice, bob)
    contact = bob.messenger.contacts.of(alice.id)
    assert (contact.name, contact.key, contact.blocked) == ("", None, True)
    assert blocks_sent(bob) == [(alice.id, True)]


@pytest.mark.parametrize(
    "refuse", [lambda one, other: one.messenger.block(other.id), lambda one, _: one.messenger.contacts.remove("alice")]
)
def test_relay_that_knows_no_block_keeps_nothing_from_working(
    town: Town, refuse: Callable[[Device, Device], object]
) -> None:
    alice, bob = town.friends("alice", "bob")
    carol = town.device("carol").login()

    def old(frame: Frame) -> list[Frame]:
        if frame["type"] != "BLOCK":
            return [frame]
        error = {"code": 1001, "message": "unknown type", "details": {"reason": "type"}}
        return [{"type": "ERROR", "id": frame["id"], "timestamp": frame["timestamp"], "payload": error}]

    bob.tamper = old
    refuse(bob, alice)
    (number,) = bob.send(carol, "hello")
    pass_time(MINUTE, alice, bob, carol)
    assert bob.messenger.state_of(number) is DeliveryState.ACCEPTED
    assert 1 <= len(blocks_sent(bob)) <= 3
    assert len(open_blocks(bob)) == 1
