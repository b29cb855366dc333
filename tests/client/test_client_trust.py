"""Whom one talks to: a changed key is seen, and nothing is sent until the user has said so."""

import base64
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from client_samples import CLAIMED, MADE_AT, Device, Party, Town, claim, pass_time, publication_of, settle

from phantom_messenger.client import records
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.contacts import Contacts
from phantom_messenger.client.conversations import ChangedKey
from phantom_messenger.client.errors import ContactExists, InvalidUserId, KeyChanged, UnknownContact
from phantom_messenger.client.records import ContactRecord, Strength
from phantom_messenger.client.status import Trust
from phantom_messenger.crypto.errors import InvalidKey
from phantom_messenger.crypto.keys import KeyPair
from support.simulated import MINUTE, SECOND


def friend_with_claimed_id(town: Town) -> tuple[Device, Device]:
    """Alice knows Bob by a claimed id; both have written."""
    alice, bob = town.device("alice").login(), claim(town.device("bob")).login()
    alice.messenger.contacts.add("bob", bob.id, claimed=True)
    bob.messenger.contacts.add("alice", alice.id)
    alice.send(bob, "hello")
    bob.send(alice, "hello yourself")
    pass_time(3 * SECOND, alice, bob)
    assert (alice.read_all(), bob.read_all()) == (["hello yourself"], ["hello"])
    pass_time(3 * SECOND, alice, bob)
    alice.events.clear()
    return alice, bob


def taken_over(town: Town, alice: Device, bob: Device) -> Device:
    """The account behind Bob's id is deleted, and somebody else claims the id."""
    bob.messenger.delete_account()
    settle(bob, alice)
    other = claim(town.device("other")).login()
    other.messenger.contacts.add("alice", alice.id)
    return other


# --- claimed ids ------------------------------------------------------------------


def test_claimed_id_is_taken_only_if_the_user_says_so(town: Town) -> None:
    alice = town.device("alice")
    claimed = base64.b64encode(CLAIMED).decode()
    with pytest.raises(InvalidUserId):
        alice.messenger.contacts.add("bob", claimed)
    with pytest.raises(InvalidUserId):
        alice.messenger.send_text(claimed, "hello")
    assert alice.messenger.contacts.add("bob", claimed, claimed=True).trust is Trust.UNVERIFIED
    assert alice.messenger.send_text(claimed, "hello")


@pytest.mark.parametrize("size", [15, 65])
def test_id_outside_the_protocol_is_never_taken(town: Town, size: int) -> None:
    with pytest.raises(InvalidUserId):
        town.device("alice").messenger.contacts.add("bob", base64.b64encode(bytes(size)).decode(), claimed=True)


def test_people_with_claimed_ids_are_talked_to_and_pinned_to_their_key(town: Town) -> None:
    alice, bob = friend_with_claimed_id(town)
    contact = alice.messenger.contacts.find("bob")
    assert contact.trust is Trust.UNVERIFIED
    assert contact.key == bob.messenger._identity.peer.public
    assert len(alice.messenger.contacts.safety_number("bob")) == 60
    assert alice.messenger.contacts.safety_number("bob") == bob.messenger.contacts.safety_number("alice")


def test_changed_key_is_seen_and_nothing_is_sent_until_it_was_accepted(town: Town) -> None:
    alice, bob = friend_with_claimed_id(town)
    old = alice.messenger.contacts.safety_number("bob")
    other = taken_over(town, alice, bob)
    other.send(alice, "I am bob, really")
    pass_time(3 * SECOND, alice, other)
    (record,) = alice.waiting()
    assert record.text == "I am bob, really"
    assert alice.messenger.contacts.find("bob").trust is Trust.CHANGED
    assert "key-changed" in alice.troubles()
    assert alice.messenger.contacts.safety_number("bob") != old
    with pytest.raises(KeyChanged):
        alice.send(other, "secret")
    alice.read_all()
    alice.sent.clear()
    pass_time(MINUTE, alice, other)
    assert not alice.frames_sent("MESSAGE")  # not a receipt either
    alice.messenger.contacts.accept("bob")
    assert alice.messenger.contacts.find("bob").trust is Trust.UNVERIFIED
    alice.send(other, "hello, new bob")
    pass_time(MINUTE, alice, other)
    assert other.read_all() == ["hello, new bob"]


def test_text_that_waits_when_the_key_changes_is_not_encrypted_for_the_new_key(town: Town) -> None:
    alice, bob = friend_with_claimed_id(town)
    alice.cut()
    (number,) = alice.send(bob, "for the old bob")
    other = taken_over(town, alice, bob)
    other.send(alice, "I am bob, really")
    settle(other)
    alice.vault._connection.execute("DELETE FROM records WHERE kind = ?", (records.SESSIONS,))
    alice.sent.clear()
    alice.login()
    pass_time(MINUTE, alice, other)
    assert not alice.frames_sent("MESSAGE")
    assert alice.messenger.waiting == 1
    assert not other.waiting()
    alice.messenger.contacts.set_trust("bob", Trust.VERIFIED)
    pass_time(MINUTE, alice, other)
    assert alice.messenger.contacts.find("bob").trust is Trust.VERIFIED
    assert [record.message_id for record in other.waiting()] == [number]


def trusting(known: Callable[[AddressBook, str], ContactRecord]) -> Callable[[AddressBook, str], ContactRecord]:
    """Any key will do, and none has changed."""

    def get(self: AddressBook, user_id: str) -> ContactRecord:
        return msgspec.structs.replace(known(self, user_id), key=b"", trust=str(Trust.UNVERIFIED))

    return get


def test_control_without_the_block_the_new_key_gets_the_text(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AddressBook, "get", trusting(AddressBook.get))
    alice, bob = friend_with_claimed_id(town)
    alice.cut()
    alice.send(bob, "for the old bob")
    other = taken_over(town, alice, bob)
    alice.vault._connection.execute("DELETE FROM records WHERE kind = ?", (records.SESSIONS,))
    alice.login()
    pass_time(MINUTE, alice, other)
    assert other.read_all() == ["for the old bob"]


def test_saying_no_to_a_changed_key_leaves_it_changed(town: Town) -> None:
    alice, bob = friend_with_claimed_id(town)
    other = taken_over(town, alice, bob)
    other.send(alice, "I am bob, really")
    pass_time(3 * SECOND, alice, other)
    assert alice.messenger.contacts.set_trust("bob", Trust.UNVERIFIED).trust is Trust.CHANGED


def test_receipts_of_the_new_key_say_nothing_of_texts_for_the_old_one(town: Town) -> None:
    alice, bob = friend_with_claimed_id(town)
    bob.cut()
    (number,) = alice.send(bob, "an old secret")
    settle(alice)
    bob.login()
    bob.messenger.delete_account()
    settle(bob, alice)
    other = claim(town.device("other")).login()
    other.messenger.contacts.add("alice", alice.id)
    for status in ("burned", "undecryptable"):
        with other.vault.transaction() as tx:
            other.messenger._stores.receipts.put(tx, alice.id, number, status, 0)
        pass_time(5 * SECOND, alice, other)
    alice.messenger.contacts.accept("bob")
    with other.vault.transaction() as tx:
        other.messenger._stores.receipts.put(tx, alice.id, number, "undecryptable", 0)
    pass_time(MINUTE, alice, other)
    assert alice.own_text(number) == "an old secret"
    assert "an old secret" not in other.read_all()


def test_what_the_user_allowed_for_one_key_is_not_allowed_for_the_next(town: Town) -> None:
    alice, bob = friend_with_claimed_id(town)
    alice.messenger.contacts.allow_older("bob")
    alice.messenger.contacts.allow_classical("bob")
    other = taken_over(town, alice, bob)
    other.send(alice, "I am bob, really")
    pass_time(3 * SECOND, alice, other)
    assert alice.messenger._stores.book.get(bob.id).newest > 0, "of the first key"
    alice.messenger.contacts.accept("bob")
    record = alice.messenger._stores.book.get(bob.id)
    assert (record.key, record.floor) == (other.messenger._identity.peer.public, Strength.SUITE_2)
    assert record.newest == 0


def test_change_is_still_known_after_a_restart(town: Town) -> None:
    alice, bob = friend_with_claimed_id(town)
    other = taken_over(town, alice, bob)
    other.send(alice, "I am bob, really")
    pass_time(3 * SECOND, alice, other)
    alice.kill()
    assert alice.messenger.contacts.find("bob").trust is Trust.CHANGED
    with pytest.raises(KeyChanged):
        alice.send(other, "secret")


# --- without a relay --------------------------------------------------------------


def claimed_parties(tmp_path: Path) -> tuple[Party, Party, Party]:
    """Alice, and two who claim the same id; the other one's prekeys are older than Bob's."""
    alice, bob, other = (Party(tmp_path, name) for name in ("alice", "bob", "other"))
    for party in (bob, other):
        party.raw_id = party.conversations._own_id = party.prekeys._own_id = CLAIMED
        party.id = base64.b64encode(CLAIMED).decode()
        made_at = MADE_AT - (party is other)
        party.published = publication_of(party.prekeys, one_time=95, kem=22, now=0, made_at=made_at)
    return alice, bob, other


def test_bundle_with_another_key_behind_a_claimed_id_begins_nothing(tmp_path: Path) -> None:
    alice, bob, other = claimed_parties(tmp_path)
    alice.begin(bob)
    before = alice.sessions(bob)
    with pytest.raises(ChangedKey):
        alice.begin_with(other, other.bundle(), KeyPair.from_private(alice.random(32)))
    assert alice.sessions(bob) == before
    for party in (alice, bob, other):
        party.vault.close()


def test_key_that_does_not_fit_a_certified_id_is_refused_and_never_offered(tmp_path: Path) -> None:
    alice, bob, other = (Party(tmp_path, name) for name in ("alice", "bob", "other"))
    with pytest.raises(InvalidKey):
        alice.begin_with(bob, other.bundle(), KeyPair.from_private(alice.random(32)))
    assert alice.vault.get(records.CONTACT, bob.id, ContactRecord) is None
    for party in (alice, bob, other):
        party.vault.close()


# --- a name that moves to another id ----------------------------------------------


def test_name_with_a_new_id_is_changed_until_the_user_accepts_it(town: Town) -> None:
    alice, bob, other = town.friends("alice", "bob", "other")
    carol = town.device("carol").login()
    alice.messenger.contacts.set_trust("bob", Trust.VERIFIED)
    moved = alice.messenger.contacts.replace("bob", carol.id)
    assert (moved.user_id, moved.trust) == (carol.id, Trust.CHANGED)
    assert alice.messenger.contacts.of(bob.id).name == ""
    with pytest.raises(KeyChanged):
        alice.send(carol, "secret")
    pass_time(3 * SECOND, alice, carol)  # a key exchange brings the key to compare
    assert len(alice.messenger.contacts.safety_number("bob")) == 60
    alice.messenger.contacts.accept("bob")
    alice.send(carol, "now you may know")
    pass_time(3 * SECOND, alice, carol)
    assert carol.read_all() == ["now you may know"]
    assert other


def test_name_moves_only_to_an_id_that_nobody_else_has(town: Town) -> None:
    alice, bob, _ = town.friends("alice", "bob", "other")
    contacts: Contacts = alice.messenger.contacts
    with pytest.raises(ContactExists):
        contacts.replace("other", bob.id)
    with pytest.raises(UnknownContact):
        contacts.replace("nobody", bob.id)
    with pytest.raises(InvalidUserId):
        contacts.replace("bob", alice.id)
    assert contacts.replace("bob", bob.id).trust is Trust.UNVERIFIED


def test_accepting_what_has_not_changed_changes_nothing(town: Town) -> None:
    alice, _ = town.friends("alice", "bob")
    alice.messenger.contacts.set_trust("bob", Trust.VERIFIED)
    assert alice.messenger.contacts.accept("bob").trust is Trust.VERIFIED
