"""The index of the inbox is made anew when it cannot be trusted, and holds nothing else up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_samples import KEY, fast_folder, randomness

from phantom_messenger.client import records
from phantom_messenger.client.conversation_index import MOST_BEHIND
from phantom_messenger.client.errors import VaultFull
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.records import InboxPageRecord, InboxRecord, IntValue, ReceivedRecord
from phantom_messenger.client.vault import Transaction, Vault

SENDER = "A" * 43 + "="
STRANGER = "B" * 43 + "="
TEXTS = 350


def opened(vault: Vault) -> Messenger:
    return Messenger(vault, wall=lambda: 1, monotonic=lambda: 1, random=randomness("anybody"))


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with fast_folder(tmp_path) as folder:
        made = Vault(folder / "alice.vault", KEY)
        opened(made)
        with made.transaction() as tx:
            for number in range(TEXTS):
                put(tx, number)
        yield made
        made.close()


def put(tx: Transaction, number: int, expires_at: int | None = None) -> None:
    name = f"{number:04d}"
    received = ReceivedRecord(
        message_id=name, sender=SENDER, text="x", sent_at=0, received_at=0, burn=False, expires_at=expires_at
    )
    tx.put(records.RECEIVED, records.key(SENDER, name), received, due=expires_at)
    tx.put(records.INBOX, records.key(SENDER, name), InboxRecord(message_id=name, sender=SENDER))


def extend(messenger: Messenger, times: int = 10, *, has_time: bool = True) -> None:
    for _ in range(times):
        with messenger._vault.transaction() as tx:
            messenger._stores.index.extend(tx, lambda: has_time)


def take(messenger: Messenger, limit: int) -> int:
    position, count = 0, 0
    while count < limit and (found := messenger.next_received(position, SENDER)) is not None:
        position, count = found[0], count + 1
        messenger.handled(SENDER, found[1].message_id)
    return count


def pages(vault: Vault) -> int:
    return sum(1 for _ in vault.all(records.INBOX_PAGE, InboxPageRecord))


def test_pages_that_are_made_anew_are_read_from_the_first(vault: Vault) -> None:
    messenger = opened(vault)
    extend(messenger)
    assert take(messenger, 220) == 220
    with vault.transaction() as tx:
        tx.delete(records.INDEXED, "")
    extend(messenger)
    assert take(messenger, TEXTS) == TEXTS - 220


def test_profile_whose_index_knows_nothing_of_the_inbox_is_indexed_anew(vault: Vault) -> None:
    with vault.transaction() as tx:
        tx.put(records.INDEXED_WITHOUT_INBOX, "", IntValue(vault.last_position()))
        tx.put(records.INDEXED, "", IntValue(vault.last_position()))
    messenger = opened(vault)
    assert messenger.next_received(0, SENDER) is not None
    extend(messenger)
    assert not vault.has_kind(records.INDEXED_WITHOUT_INBOX)
    assert pages(vault) == 4
    assert take(messenger, TEXTS) == TEXTS


def test_older_page_that_cannot_be_read_is_made_again(vault: Vault) -> None:
    messenger = opened(vault)
    extend(messenger)
    with vault.transaction() as tx:
        tx.delete(records.INBOX_PAGE, f"{SENDER} 1")
    assert take(messenger, 120) == 120
    extend(messenger)
    assert vault.has(records.INBOX_PAGE, f"{SENDER} 1")
    assert take(messenger, TEXTS) == TEXTS - 120


def test_page_that_was_only_looked_for_in_vain_is_made_again(vault: Vault) -> None:
    messenger = opened(vault)
    extend(messenger)
    with vault.transaction() as tx:
        tx.delete(records.INBOX_PAGE, f"{SENDER} 1")
    in_the_gap = vault.position(records.INBOX, records.key(SENDER, "0150"))
    found = messenger.next_received(in_the_gap, SENDER)
    assert found is not None
    assert found[1].message_id == "0151"
    extend(messenger)
    assert vault.has(records.INBOX_PAGE, f"{SENDER} 1")


def test_cleaning_up_without_time_comes_to_an_end(vault: Vault) -> None:
    messenger = opened(vault)
    extend(messenger)
    assert take(messenger, TEXTS) == TEXTS
    extend(messenger, has_time=False)
    assert pages(vault) == 0
    assert not messenger._stores.index.has_more


def test_what_has_expired_is_erased_though_the_index_cannot_be_stored(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    messenger = opened(vault)
    with vault.transaction() as tx:
        put(tx, TEXTS, expires_at=messenger._clock.now() - 1)
    store = Transaction.put

    def without_index(tx: Transaction, kind: str, name: str, value: object, *, due: int | None = None) -> None:
        if kind in {records.PAGE, records.INBOX_PAGE, records.INDEXED}:
            raise VaultFull("no room for the index")
        store(tx, kind, name, value, due=due)

    monkeypatch.setattr(Transaction, "put", without_index)
    messenger.tick()
    found = vault.get(records.RECEIVED, records.key(SENDER, f"{TEXTS:04d}"), ReceivedRecord)
    assert found is not None
    assert found.text is None
    assert messenger._stores.index.position == 0


# --- what is not entered yet ------------------------------------------------------


def steps(vault: Vault, messenger: Messenger, sender: str) -> int:
    """How much SQLite's machine does to find that nothing of a sender waits, in hundreds of its instructions."""
    count = 0

    def counting() -> bool:
        nonlocal count
        count += 1
        return False

    vault._connection.set_progress_handler(counting, 100)
    assert messenger.next_received(0, sender) is None
    vault._connection.set_progress_handler(None)
    return count


def test_what_is_not_entered_yet_is_looked_for_without_those_that_are(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    messenger = opened(vault)
    extend(messenger)
    with vault.transaction() as tx:
        put(tx, TEXTS)
    found = steps(vault, messenger, STRANGER)
    monkeypatch.setattr(Vault, "behind", Vault.oldest)
    assert steps(vault, messenger, STRANGER) > 3 * found + 10, (
        "the control: those that are entered are sorted for nothing"
    )


def test_much_that_is_not_entered_is_not_looked_through(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    messenger = opened(vault)
    extend(messenger)
    with vault.transaction() as tx:
        for number in range(2 * MOST_BEHIND):
            tx.put(records.SEEN, f"{number}", IntValue(number))
    found = steps(vault, messenger, STRANGER)
    monkeypatch.setattr(Vault, "oldest", Vault.behind)
    assert steps(vault, messenger, STRANGER) > 3 * found + 10, (
        "the control: what is of other kinds is passed over, one by one"
    )
