import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_samples import Party, acquainted, raw_rows

from phantom_messenger.client import records
from phantom_messenger.client.contacts import Contacts, is_claimed_id
from phantom_messenger.client.errors import ContactExists, InvalidUserId, NoKeyYet, UnknownContact, UsageError
from phantom_messenger.client.ids import is_user_id, short_id, written_id
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.client.status import Trust


def some_id(name: str) -> str:
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


class Owner(Party):
    """A party with an address book."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self.added: list[str] = []
        self.contacts = Contacts(
            self.vault,
            self.book,
            own_id=self.id,
            own_key=self.identity.peer.public,
            owner=self,
        )

    def contact_changed(self, user_id: str) -> None:
        self.added.append(user_id)

    def remove(self, peer: str, history: bool) -> None:
        raise NotImplementedError

    def may_remove(self, peer: str, *, history: bool) -> bool:  # noqa: ARG002 - nothing was said
        return self.book.has(peer)


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(tmp_path, "alice")
    yield owner
    owner.vault.close()


@pytest.fixture
def bob(tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(tmp_path, "bob")
    yield owner
    owner.vault.close()


def introduce(owner: Owner, user_id: str) -> None:
    """The relay has seen them write to somebody."""
    with owner.vault.transaction() as tx:
        owner.book.introduced(tx, user_id)


def names(owner: Owner) -> list[tuple[str, str]]:
    return [(contact.name, contact.user_id) for contact in owner.contacts.everybody()]


# --- names ------------------------------------------------------------------------


def test_contact_is_found_by_name_and_by_id(alice: Owner) -> None:
    added = alice.contacts.add("bob", some_id("bob"))
    assert (added.name, added.user_id, added.trust, added.key) == ("bob", some_id("bob"), Trust.UNVERIFIED, None)
    assert alice.contacts.find("bob") == alice.contacts.find(some_id("bob")) == added
    assert alice.contacts.of(some_id("bob")) == added
    assert alice.added == [some_id("bob")]


def test_contacts_stand_in_the_order_in_which_they_came(alice: Owner) -> None:
    for name in ("carol", "bob", "dora"):
        alice.contacts.add(name, some_id(name))
    assert [name for name, _ in names(alice)] == ["carol", "bob", "dora"]


def test_adding_an_id_again_renames_it(alice: Owner) -> None:
    alice.contacts.add("bob", some_id("bob"))
    alice.contacts.add("robert", some_id("bob"))
    assert names(alice) == [("robert", some_id("bob"))]
    with pytest.raises(UnknownContact):
        alice.contacts.find("bob")
    alice.contacts.add("robert", some_id("bob"))
    alice.contacts.add("bob", some_id("another bob"))
    assert names(alice) == [("robert", some_id("bob")), ("bob", some_id("another bob"))]


def test_renaming_keeps_what_is_known_of_the_key(alice: Owner, bob: Owner) -> None:
    acquainted(alice, bob)
    alice.contacts.add("bob", bob.id)
    alice.contacts.set_trust("bob", Trust.VERIFIED)
    renamed = alice.contacts.add("robert", bob.id)
    assert (renamed.key, renamed.trust) == (bob.identity.peer.public, Trust.VERIFIED)


def test_name_of_another_contact_is_refused(alice: Owner) -> None:
    alice.contacts.add("bob", some_id("bob"))
    alice.contacts.add("carol", some_id("carol"))
    for name in ("bob", " bob "):
        with pytest.raises(ContactExists, match="'bob'"):
            alice.contacts.add(name, some_id("carol"))
        with pytest.raises(ContactExists):
            alice.contacts.add(name, some_id("dora"))
    assert names(alice) == [("bob", some_id("bob")), ("carol", some_id("carol"))]


def test_own_id_is_no_contact(alice: Owner) -> None:
    with pytest.raises(InvalidUserId, match="your own ID"):
        alice.contacts.add("me", alice.id)
    assert names(alice) == []


@pytest.mark.parametrize("name", ["x", "x" * 64, "Ärger", "你好", "a b", "bob@work", "  bob  ", "-"])
def test_name_may_be_any_printable_text(alice: Owner, name: str) -> None:
    assert alice.contacts.add(name, some_id("bob")).name == name.strip()
    assert alice.contacts.find(name.strip()).user_id == some_id("bob")


@pytest.mark.parametrize(
    "name",
    ["", " ", "x" * 65, "a\nb", "a\tb", "\x1b[31mred", "a\0", "\u202egnorw", "\u200b", "\ud83d", some_id("carol")],
)
def test_name_that_could_mislead_is_refused(alice: Owner, name: str) -> None:
    before = raw_rows(alice.vault)
    with pytest.raises(UsageError, match="printable"):
        alice.contacts.add(name, some_id("bob"))
    assert raw_rows(alice.vault) == before
    assert alice.added == []


GARBAGE = {
    "nothing": "",
    "a name": "bob",
    "too short": base64.b64encode(bytes(31)).decode(),
    "too long": base64.b64encode(bytes(33)).decode(),
    "without padding": some_id("bob").rstrip("="),
    "of the other alphabet": base64.urlsafe_b64encode(b"\xff" * 32).decode(),
    "with stray bits": base64.b64encode(bytes(32)).decode()[:-2] + "B=",
    "with white space": f" {some_id('bob')}",
    "with a line break": f"{some_id('bob')}\n",
    "in hex": hashlib.sha256(b"bob").hexdigest(),
    "not ASCII": "é" * 44,
    "half a character": "\ud83d" * 44,
    "twice": some_id("bob") * 2,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_no_id(alice: Owner, garbage: str) -> None:
    assert not is_user_id(garbage)
    with pytest.raises(InvalidUserId, match="phantom id"):
        alice.contacts.add("bob", garbage)
    with pytest.raises(UnknownContact, match="phantom contacts add"):
        alice.contacts.find(garbage)
    assert names(alice) == []


def bare_id(length: int) -> str:
    return base64.b64encode(hashlib.sha512(b"bob").digest()[:length]).decode()


@pytest.mark.parametrize("length", [16, 17, 31, 33, 64])
def test_id_that_does_not_certify_its_key_is_a_contact_only_on_demand(alice: Owner, length: int) -> None:
    claimed = bare_id(length)
    assert is_claimed_id(claimed)
    assert not is_user_id(claimed)
    assert not alice.book.can_be(claimed, alice.id)
    with pytest.raises(InvalidUserId, match="phantom id"):
        alice.contacts.add("bob", claimed)
    with pytest.raises(UnknownContact):
        alice.contacts.find(claimed)
    assert names(alice) == []
    alice.contacts.add("bob", claimed, claimed=True)
    assert alice.contacts.find("bob").user_id == alice.contacts.find(claimed).user_id == claimed
    assert alice.book.can_be(claimed, alice.id)


@pytest.mark.parametrize("garbage", [text for text in GARBAGE.values() if not is_claimed_id(text)])
def test_garbage_is_no_id_on_demand_either(alice: Owner, garbage: str) -> None:
    with pytest.raises(InvalidUserId, match="phantom id"):
        alice.contacts.add("bob", garbage, claimed=True)
    assert names(alice) == []


@pytest.mark.parametrize("length", [0, 1, 15, 32, 65, 96])
def test_no_other_length_is_a_claimed_id(length: int) -> None:
    assert not is_claimed_id(base64.b64encode(bytes(length)).decode())


def test_certified_id_may_be_called_claimed(alice: Owner) -> None:
    assert alice.contacts.add("bob", some_id("bob"), claimed=True).user_id == some_id("bob")
    with pytest.raises(InvalidUserId, match="your own ID"):
        alice.contacts.add("me", alice.id, claimed=True)


def test_unknown_id_is_somebody_without_a_name(alice: Owner) -> None:
    found = alice.contacts.find(some_id("stranger"))
    assert (found.name, found.key, found.trust) == ("", None, Trust.UNVERIFIED)
    assert found.label == short_id(some_id("stranger"))
    assert names(alice) == []


def test_empty_text_does_not_find_a_stranger(alice: Owner, bob: Owner) -> None:
    acquainted(bob, alice)
    assert names(alice) == [("", bob.id)]
    with pytest.raises(UnknownContact):
        alice.contacts.find("")


# --- keys and trust ---------------------------------------------------------------


def test_safety_number_is_the_same_on_both_sides(alice: Owner, bob: Owner) -> None:
    acquainted(alice, bob)
    number = alice.contacts.safety_number(bob.id)
    assert number == bob.contacts.safety_number(alice.id)
    assert len(number) == 60
    assert number.isdecimal()


def test_safety_number_depends_on_who_it_is_with(alice: Owner, bob: Owner, tmp_path: Path) -> None:
    carol = Owner(tmp_path, "carol")
    acquainted(alice, bob)
    acquainted(alice, carol)
    assert alice.contacts.safety_number(bob.id) != alice.contacts.safety_number(carol.id)
    carol.vault.close()


def test_without_a_key_there_is_no_safety_number_and_no_trust(alice: Owner) -> None:
    alice.contacts.add("bob", some_id("bob"))
    for who in ("bob", some_id("stranger")):
        with pytest.raises(NoKeyYet):
            alice.contacts.safety_number(who)
        with pytest.raises(NoKeyYet):
            alice.contacts.set_trust(who, Trust.VERIFIED)
    with pytest.raises(UnknownContact):
        alice.contacts.safety_number("carol")
    assert alice.contacts.find("bob").trust is Trust.UNVERIFIED


@pytest.mark.parametrize("trust", Trust)
def test_trust_is_kept(alice: Owner, bob: Owner, trust: Trust) -> None:
    acquainted(alice, bob)
    alice.contacts.add("bob", bob.id)
    assert alice.contacts.set_trust("bob", trust).trust is trust
    assert alice.contacts.find("bob").trust is trust
    alice.read(bob.write(alice, "more"))
    assert alice.contacts.find("bob").trust is trust


def test_key_of_a_contact_is_the_one_that_its_messages_carry(alice: Owner, bob: Owner) -> None:
    alice.contacts.add("bob", bob.id)
    acquainted(bob, alice)
    assert alice.contacts.find("bob").key == bob.identity.peer.public
    assert bob.contacts.of(alice.id).key == alice.identity.peer.public


# --- keys that change -------------------------------------------------------------


def offer(owner: Owner, user_id: str, key: bytes) -> None:
    """As if another key had come under an id whose key is known."""
    record = owner.vault.get(records.CONTACT, user_id, ContactRecord)
    assert record is not None
    with owner.vault.transaction() as tx:
        owner.book.put(
            tx, ContactRecord(user_id=user_id, name=record.name, key=record.key, trust="changed", offered=key)
        )


@pytest.fixture
def changed(alice: Owner) -> str:
    """Alice knows the key of Bob's claimed id, and another one was offered to her; his id."""
    claimed = bare_id(16)
    alice.contacts.add("bob", claimed, claimed=True)
    with alice.vault.transaction() as tx:
        alice.book.put(tx, ContactRecord(user_id=claimed, name="bob", key=b"old" * 10))
    offer(alice, claimed, b"new" * 10)
    alice.added.clear()
    return claimed


def test_changed_key_is_shown_and_its_owner_is_told_nothing(alice: Owner, changed: str) -> None:
    found = alice.contacts.find("bob")
    assert (found.user_id, found.key, found.trust) == (changed, b"new" * 10, Trust.CHANGED)
    assert not alice.book.may_notify(changed)


def test_changed_key_stays_changed_until_it_was_verified(alice: Owner, changed: str) -> None:
    before = raw_rows(alice.vault)
    for trust in (Trust.UNVERIFIED, Trust.CHANGED):
        assert alice.contacts.set_trust("bob", trust).trust is Trust.CHANGED
    assert raw_rows(alice.vault) == before
    assert alice.added == []
    assert alice.contacts.set_trust("bob", Trust.VERIFIED) == alice.contacts.find("bob")
    assert (alice.contacts.find("bob").key, alice.contacts.find("bob").trust) == (b"new" * 10, Trust.VERIFIED)
    assert alice.book.may_notify(changed)
    assert alice.added == [changed]


def test_changed_key_can_be_taken_without_being_compared(alice: Owner, changed: str) -> None:
    assert alice.contacts.accept("bob") == alice.contacts.find("bob")
    assert (alice.contacts.find("bob").key, alice.contacts.find("bob").trust) == (b"new" * 10, Trust.UNVERIFIED)
    assert alice.book.may_notify(changed)
    assert alice.added == [changed]


def test_accepting_a_key_that_has_not_changed_changes_nothing(alice: Owner, bob: Owner) -> None:
    acquainted(alice, bob)
    alice.contacts.set_trust(bob.id, Trust.VERIFIED)
    before = raw_rows(alice.vault)
    assert alice.contacts.accept(bob.id).trust is Trust.VERIFIED
    assert alice.contacts.accept(some_id("stranger")).trust is Trust.UNVERIFIED
    with pytest.raises(UnknownContact):
        alice.contacts.accept("nobody")
    assert raw_rows(alice.vault) == before


def test_new_id_for_a_name_is_a_changed_key(alice: Owner) -> None:
    alice.contacts.add("bob", some_id("bob"))
    alice.contacts.add("carol", some_id("carol"))
    replaced = alice.contacts.replace("bob", some_id("new bob"))
    assert (replaced.name, replaced.user_id, replaced.trust) == ("bob", some_id("new bob"), Trust.CHANGED)
    assert alice.contacts.find("bob") == replaced
    assert alice.contacts.find(some_id("bob")).name == ""
    assert not alice.book.may_notify(some_id("new bob"))
    assert alice.contacts.accept("bob").trust is Trust.UNVERIFIED
    assert alice.book.may_notify(some_id("new bob"))


def test_replacing_that_cannot_be_done_changes_nothing(alice: Owner) -> None:
    alice.contacts.add("bob", some_id("bob"))
    alice.contacts.add("carol", some_id("carol"))
    before = raw_rows(alice.vault)
    for name in ("dora", some_id("bob")[:10], some_id("stranger")):
        with pytest.raises(UnknownContact):
            alice.contacts.replace(name, some_id("new bob"))
    with pytest.raises(ContactExists, match="'carol'"):
        alice.contacts.replace("bob", some_id("carol"))
    for nobody in ("", bare_id(16), alice.id):
        with pytest.raises(InvalidUserId):
            alice.contacts.replace("bob", nobody)
    assert alice.contacts.replace("bob", some_id("bob")).trust is Trust.UNVERIFIED
    assert raw_rows(alice.vault) == before


# --- who may be told that we are there --------------------------------------------


def test_told_are_people_who_were_added_or_written_to(alice: Owner, bob: Owner) -> None:
    acquainted(bob, alice)
    assert not alice.book.may_notify(bob.id), "he wrote; she did not answer through a relay"
    assert not alice.book.may_notify(some_id("stranger"))
    introduce(alice, bob.id)
    assert alice.book.may_notify(bob.id)
    alice.contacts.add("carol", some_id("carol"))
    assert alice.book.may_notify(some_id("carol"))


# --- who is known to the relay ----------------------------------------------------


def test_contact_is_to_be_introduced_until_the_relay_has_seen_it(alice: Owner, bob: Owner) -> None:
    acquainted(bob, alice)
    assert alice.book.to_introduce() == []  # bob is no named contact yet
    alice.contacts.add("bob", bob.id)
    alice.contacts.add("carol", some_id("carol"))
    assert alice.book.to_introduce() == [bob.id, some_id("carol")]
    introduce(alice, bob.id)
    introduce(alice, bob.id)
    assert alice.book.to_introduce() == [some_id("carol")]
    alice.contacts.add("robert", bob.id)
    assert alice.book.to_introduce() == [some_id("carol")]


def test_introduction_to_somebody_unknown_makes_them_no_named_contact(alice: Owner) -> None:
    introduce(alice, some_id("stranger"))
    assert names(alice) == [("", some_id("stranger"))]
    assert alice.book.to_introduce() == []


# --- forms of ids and names -------------------------------------------------------


def test_both_forms_of_an_id_are_taken(alice: Owner) -> None:
    written = written_id(some_id("bob"))
    assert alice.contacts.find(written).user_id == some_id("bob")
    assert alice.contacts.add("bob", f" {written.upper()}\n").user_id == some_id("bob")
    assert alice.contacts.find(written) == alice.contacts.find("bob")
    assert alice.contacts.replace("bob", written_id(some_id("new bob"))).user_id == some_id("new bob")


def test_id_with_a_slip_is_refused_wherever_it_is_given(alice: Owner) -> None:
    written = written_id(some_id("bob"))
    wrong = written[:20] + ("q" if written[20] != "q" else "p") + written[21:]
    for use in (alice.contacts.find, lambda who: alice.contacts.add("bob", who)):
        with pytest.raises(InvalidUserId, match="copy it again"):
            use(wrong)
    with pytest.raises(UsageError, match="cannot be a user ID"):
        alice.contacts.add(written, some_id("carol"))
    assert names(alice) == []


def test_name_is_found_in_either_normal_form(alice: Owner) -> None:
    alice.contacts.add("Zoe\u0308", some_id("zoe"))
    assert alice.contacts.find("Zo\u00eb").user_id == alice.contacts.find("Zoe\u0308").user_id == some_id("zoe")
    with pytest.raises(ContactExists):
        alice.contacts.add("Zo\u00eb", some_id("carol"))


def test_name_of_an_old_profile_in_another_form_is_found(alice: Owner) -> None:
    with alice.vault.transaction() as tx:
        alice.book.put(tx, ContactRecord(user_id=some_id("zoe"), name="Zoe\u0308"))
    assert alice.contacts.find("Zo\u00eb").user_id == some_id("zoe")


def test_name_that_looks_like_another_is_taken_only_on_demand(alice: Owner) -> None:
    alice.contacts.add("bob", some_id("bob"))
    with pytest.raises(ContactExists, match="looks like your contact 'bob'"):
        alice.contacts.add("b\u043eb", some_id("mallory"))
    alice.contacts.add("Bob", some_id("bob"))  # a person may be called anew
    assert alice.contacts.add("b\u043eb", some_id("mallory"), alike=True).user_id == some_id("mallory")
