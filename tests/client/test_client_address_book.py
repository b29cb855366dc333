"""Everybody who is known: in memory as on disk, also after a transaction that failed."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from client_samples import KEY, fast_folder
from msgspec.structs import replace

from phantom_messenger.client.address_book import AddressBook, public
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.client.status import Contact, Trust
from phantom_messenger.client.vault import Transaction, Vault

BOB, CAROL, DAVE = (base64.b64encode(hashlib.sha256(name).digest()).decode() for name in (b"bob", b"carol", b"dave"))


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with fast_folder(tmp_path) as folder:
        made = Vault(folder / "a.vault", KEY)
        yield made
        made.close()


@pytest.fixture
def book(vault: Vault) -> AddressBook:
    return AddressBook(vault)


def put(vault: Vault, book: AddressBook, *found: ContactRecord) -> None:
    with vault.transaction() as tx:
        for record in found:
            book.put(tx, record)


def seen(book: AddressBook) -> object:
    """All that it answers of everybody."""
    names = ["Bob", "Carol", "B0b", "Robert"]
    return (
        book.everybody(),
        book.user_ids(),
        len(book),
        [(book.named(name), book.alike(name)) for name in names],
        book.blocked(),
        sorted(book.to_introduce()),
    )


def test_nobody_is_known_at_first(book: AddressBook) -> None:
    assert (len(book), book.everybody(), book.blocked(), book.to_introduce()) == (0, [], [], [])
    assert book.get(BOB) == ContactRecord(user_id=BOB)
    assert book.contact(BOB) == Contact(name="", user_id=BOB, trust=Trust.UNVERIFIED, key=None)
    assert not any((book.has(BOB), book.is_known(BOB), book.is_blocked(BOB), book.may_notify(BOB)))
    assert book.named("bob") is None
    assert book.alike("bob") == []


def test_contacts_are_found_by_id_by_name_and_by_what_it_looks_like(vault: Vault, book: AddressBook) -> None:
    put(vault, book, ContactRecord(user_id=CAROL, name="Carol"), ContactRecord(user_id=BOB, name="Bob"))
    assert book.user_ids() == [CAROL, BOB]
    assert [contact.name for contact in book.everybody()] == ["Carol", "Bob"]
    assert (book.named("Bob"), book.named("bob"), book.named("Carol")) == (BOB, AddressBook(vault).named("bob"), CAROL)
    assert book.alike("B0b") == [(BOB, "Bob")]
    put(vault, book, ContactRecord(user_id=BOB, name="Robert"))
    assert (book.named("Bob"), book.alike("B0b"), book.named("Robert")) == (None, [], BOB)
    put(vault, book, ContactRecord(user_id=BOB))
    assert (book.named("Robert"), len(book)) == (None, 2)
    assert seen(AddressBook(vault)) == seen(book)


def test_name_that_somebody_else_has_meanwhile_stays_theirs(vault: Vault, book: AddressBook) -> None:
    put(vault, book, ContactRecord(user_id=BOB, name="Bob"), ContactRecord(user_id=CAROL, name="Bob"))
    put(vault, book, ContactRecord(user_id=BOB, name="Robert"))
    assert book.named("Bob") == CAROL
    assert book.alike("Bob") == [(CAROL, "Bob")]


def test_only_those_let_in_with_the_key_we_know_may_learn_that_we_are_there(vault: Vault, book: AddressBook) -> None:
    known = ContactRecord(user_id=BOB, accepted=True)
    for record, may in (
        (known, True),
        (ContactRecord(user_id=BOB, name="Bob"), True),
        (ContactRecord(user_id=BOB, key=b"key"), False),
        (replace(known, blocked=True), False),
        (replace(known, trust=Trust.CHANGED), False),
        (replace(known, trust=Trust.VERIFIED), True),
    ):
        put(vault, book, record)
        assert book.may_notify(BOB) is may
        assert book.is_known(BOB) is (record.accepted or bool(record.name))
        assert book.is_blocked(BOB) is record.blocked


def test_id_can_be_somebody_elses_if_it_certifies_its_key_or_is_a_contacts(vault: Vault, book: AddressBook) -> None:
    assert book.can_be(BOB, CAROL)
    assert not book.can_be(CAROL, CAROL)
    assert not book.can_be("claimed", CAROL)
    put(vault, book, ContactRecord(user_id="claimed"))
    assert book.can_be("claimed", CAROL)


def test_everybody_who_is_let_in_is_introduced_once_to_each_relay(vault: Vault, book: AddressBook) -> None:
    with vault.transaction() as tx:
        book.admit(tx, BOB)
        book.admit(tx, CAROL)
    assert book.to_introduce() == [BOB, CAROL]
    with vault.transaction() as tx:
        book.introduced(tx, BOB)
    assert book.to_introduce() == AddressBook(vault).to_introduce() == [CAROL]
    with vault.transaction() as tx:
        book.moved(tx)
    assert sorted(book.to_introduce()) == sorted(AddressBook(vault).to_introduce()) == sorted([BOB, CAROL])
    assert (book.get(BOB).moved, book.get(CAROL).moved) == (True, False)
    with vault.transaction() as tx:
        book.introduced(tx, BOB)
        book.introduced(tx, CAROL)
    assert book.to_introduce() == []
    assert (book.get(BOB).greeted, book.get(BOB).moved) == (True, False)


def test_what_changes_nothing_is_not_written(vault: Vault, book: AddressBook, monkeypatch: pytest.MonkeyPatch) -> None:
    put(vault, book, ContactRecord(user_id=BOB, accepted=True, greeted=True), ContactRecord(user_id=CAROL, moved=True))
    written: list[str] = []
    monkeypatch.setattr(Transaction, "put", lambda *found, **_: written.append(found[2]))
    with vault.transaction() as tx:
        book.admit(tx, BOB)
        book.introduced(tx, BOB)
        assert written == []
        book.moved(tx)
        assert written == [BOB]
        book.moved(tx)
        assert written == [BOB]


def test_whom_one_blocks_is_known_for_that_alone_and_the_relay_forgets_them(vault: Vault, book: AddressBook) -> None:
    put(vault, book, ContactRecord(user_id=BOB, name="Bob", greeted=True, moved=True))
    with vault.transaction() as tx:
        book.set_blocked(tx, BOB, blocked=True)
        book.set_blocked(tx, CAROL, blocked=True)
    assert book.blocked() == AddressBook(vault).blocked() == [BOB, CAROL]
    assert book.get(BOB) == ContactRecord(user_id=BOB, name="Bob", blocked=True)
    with vault.transaction() as tx:
        book.forget(tx, BOB)
        book.set_blocked(tx, CAROL, blocked=False)
    assert book.get(BOB) == ContactRecord(user_id=BOB, blocked=True)
    assert book.user_ids() == AddressBook(vault).user_ids() == [BOB]
    with vault.transaction() as tx:
        book.set_blocked(tx, BOB, blocked=False)
        book.put(tx, ContactRecord(user_id=DAVE))
        book.forget(tx, DAVE)
    assert seen(book) == seen(AddressBook(vault)) == seen(AddressBook(vault))
    assert len(book) == 0


def rename(book: AddressBook, tx: Transaction) -> None:
    book.put(tx, ContactRecord(user_id=BOB, name="Robert", blocked=True))


def add(book: AddressBook, tx: Transaction) -> None:
    book.admit(tx, DAVE)


def delete(book: AddressBook, tx: Transaction) -> None:
    book.delete(tx, CAROL)
    book.delete(tx, "nobody")


def change_and_fail(vault: Vault, book: AddressBook, changes: list[Callable[[AddressBook, Transaction], None]]) -> None:
    before = seen(book)
    with vault.transaction() as tx:
        for change in changes:
            change(book, tx)
        assert seen(book) != before
        raise ZeroDivisionError


@pytest.mark.parametrize("changes", [[rename], [add], [delete], [rename, add, delete]])
def test_transaction_that_fails_leaves_everybody_as_they_were(
    vault: Vault, book: AddressBook, changes: list[Callable[[AddressBook, Transaction], None]]
) -> None:
    put(vault, book, ContactRecord(user_id=CAROL, name="Carol"), ContactRecord(user_id=BOB, name="Bob"))
    before = seen(book)
    with pytest.raises(ZeroDivisionError):
        change_and_fail(vault, book, changes)
    assert seen(book) == seen(AddressBook(vault)) == before
    assert not book.has(DAVE)


def test_contact_shows_what_the_record_has_and_the_key_that_was_offered_first() -> None:
    record = ContactRecord(user_id=BOB, name="Bob", key=b"old", trust=Trust.VERIFIED, classical=True, blocked=True)
    shown = Contact(name="Bob", user_id=BOB, trust=Trust.VERIFIED, key=b"old", classical=True, blocked=True)
    assert public(record) == shown
    assert public(replace(record, offered=b"new")).key == b"new"
    assert public(replace(record, key=b"")).key is None
