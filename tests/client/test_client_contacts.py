import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_samples import Party, acquainted, raw_rows

from phantom_messenger.client.contacts import Contacts, is_user_id
from phantom_messenger.client.errors import ContactExists, InvalidUserId, NoKeyYet, UnknownContact, UsageError
from phantom_messenger.client.status import Trust


def some_id(name: str) -> str:
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


class Owner(Party):
    """A party with an address book."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self.added: list[str] = []
        self.contacts = Contacts(self.vault, own_id=self.id, own_key=self.identity.peer.public, added=self.added.append)


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
    with pytest.raises(InvalidUserId, match="your own id"):
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


def test_unknown_id_is_somebody_without_a_name(alice: Owner) -> None:
    found = alice.contacts.find(some_id("stranger"))
    assert (found.name, found.key, found.trust) == ("", None, Trust.UNVERIFIED)
    assert found.label == some_id("stranger")[:8] + "…"
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


# --- who is known to the relay ----------------------------------------------------


def test_contact_is_ungreeted_until_the_relay_has_seen_it(alice: Owner, bob: Owner) -> None:
    acquainted(bob, alice)
    assert alice.contacts.ungreeted() == []  # bob is no named contact yet
    alice.contacts.add("bob", bob.id)
    alice.contacts.add("carol", some_id("carol"))
    assert alice.contacts.ungreeted() == [bob.id, some_id("carol")]
    alice.contacts.greeted(bob.id)
    alice.contacts.greeted(bob.id)
    assert alice.contacts.ungreeted() == [some_id("carol")]
    alice.contacts.add("robert", bob.id)
    assert alice.contacts.ungreeted() == [some_id("carol")]


def test_greeting_somebody_unknown_makes_them_no_named_contact(alice: Owner) -> None:
    alice.contacts.greeted(some_id("stranger"))
    assert names(alice) == [("", some_id("stranger"))]
    assert alice.contacts.ungreeted() == []
