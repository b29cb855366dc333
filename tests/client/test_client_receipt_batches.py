"""Receipts that wait, batches that are under way, and what becomes of both, without a relay."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_samples import KEY, fast_folder

from phantom_messenger.client import receipts
from phantom_messenger.client.outbox import Outbox
from phantom_messenger.client.receipts import KEEP_MS, UNDECRYPTABLE, Receipts
from phantom_messenger.client.records import OutboxRecord
from phantom_messenger.client.recovery import MAX_RESENDS
from phantom_messenger.client.vault import Vault


class Told:
    """The receipts of a profile, and its outbox."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.outbox = Outbox(vault)
        self.receipts = Receipts(vault, self.outbox)

    def put(self, sender: str, status: str, *names: str, now: int = 0) -> None:
        with self.vault.transaction() as tx:
            for name in names:
                self.receipts.put(tx, sender, name, status, now)

    def assign(self, sender: str, batch: str) -> None:
        """Put what waits into a batch, which waits in the outbox."""
        entry = OutboxRecord(message_id=batch, peer=sender, text=None, burn=False, expires_in=None, made_at=0)
        with self.vault.transaction() as tx:
            self.receipts.assign(tx, sender, batch)
            self.outbox.put(tx, entry)

    def acknowledge(self, sender: str, batch: str) -> None:
        with self.vault.transaction() as tx:
            self.receipts.acknowledged(tx, sender, batch)

    def may_resend(self, sender: str, batch: str) -> bool:
        with self.vault.transaction() as tx:
            return self.receipts.may_resend(tx, sender, batch)

    def says(self, batch: str, sender: str = "bob") -> dict[str, list[str]]:
        """What a batch says, and after a restart too."""
        found = self.receipts.statuses(sender, batch)
        assert Receipts(self.vault, Outbox(self.vault)).statuses(sender, batch) == found
        return {status: names for status, names in found.items() if names}


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with fast_folder(tmp_path) as folder:
        vault = Vault(folder / "a.vault", KEY)
        yield Told(vault)
        vault.close()


def test_statuses_wait_by_sender_until_they_are_in_a_batch(told: Told) -> None:
    told.put("bob", "delivered", "1", "2")
    told.put("bob", "read", "2", "3")
    told.put("carol", UNDECRYPTABLE, "4")
    assert told.receipts.senders() == ["bob", "carol"]
    assert (told.receipts.is_urgent("bob"), told.receipts.is_urgent("carol")) == (False, True)
    told.assign("bob", "batch")
    assert told.receipts.senders() == Receipts(told.vault, told.outbox).senders() == ["carol"]
    assert told.says("batch") == {"delivered": ["1"], "read": ["2", "3"]}
    assert told.receipts.statuses("carol", "batch") == {"delivered": [], "read": [], "burned": [], UNDECRYPTABLE: []}
    told.assign("carol", "other")
    assert told.says("other", "carol") == {UNDECRYPTABLE: ["4"]}
    assert not told.receipts.is_urgent("carol")


def test_batch_that_is_open_says_the_newer_status_and_a_sealed_one_leaves_it_to_the_next(told: Told) -> None:
    told.put("bob", "delivered", "1", "2")
    told.assign("bob", "first")
    told.put("bob", "read", "1")
    assert told.receipts.senders() == []
    assert told.says("first") == {"delivered": ["2"], "read": ["1"]}
    with told.vault.transaction() as tx:
        told.outbox.remove(tx, "first", "bob")
    told.put("bob", "burned", "2")
    assert told.receipts.senders() == ["bob"]
    assert told.says("first") == {"read": ["1"]}
    told.assign("bob", "second")
    assert told.says("second") == {"burned": ["2"]}


def test_batch_holds_as_much_as_fits(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "MAX_RECEIPTS", 2)
    told.put("bob", "delivered", "1", "2", "3")
    told.assign("bob", "first")
    assert told.receipts.senders() == ["bob"]
    told.assign("bob", "second")
    assert (told.says("first"), told.says("second")) == ({"delivered": ["1", "2"]}, {"delivered": ["3"]})


def test_batch_that_has_arrived_is_over_and_others_are_not(told: Told) -> None:
    for number in ("1", "2"):
        told.put("bob", "delivered", number)
        told.assign("bob", f"batch {number}")
    told.acknowledge("bob", "unknown")
    told.acknowledge("carol", "batch 1")
    told.acknowledge("bob", "batch 1")
    assert (told.says("batch 1"), told.says("batch 2")) == ({}, {"delivered": ["2"]})
    assert not told.may_resend("bob", "batch 1")
    told.put("bob", "read", "1")
    assert told.receipts.senders() == ["bob"], "what is said of it now is said anew"


def test_batch_that_could_not_be_read_is_sent_again_three_times(told: Told) -> None:
    told.put("bob", "delivered", "1")
    told.assign("bob", "batch")
    assert not told.may_resend("bob", "unknown")
    assert not told.may_resend("carol", "batch")
    assert [told.may_resend("bob", "batch") for _ in range(MAX_RESENDS + 1)] == [True] * MAX_RESENDS + [False]
    told.acknowledge("bob", "batch")
    told.put("bob", "delivered", "1")
    told.assign("bob", "batch")
    assert told.may_resend("bob", "batch")


def test_receipt_of_which_nothing_is_heard_goes_after_thirty_days(told: Told) -> None:
    told.put("bob", "delivered", "1", now=7)
    told.put("bob", "delivered", "2", now=8)
    told.assign("bob", "batch")
    with told.vault.transaction() as tx:
        told.receipts.forget(tx, 7 + KEEP_MS - 1)
    assert told.says("batch") == {"delivered": ["1", "2"]}
    with told.vault.transaction() as tx:
        told.receipts.forget(tx, 7 + KEEP_MS)
    assert told.says("batch") == {"delivered": ["2"]}


def test_user_who_gets_no_receipts_any_more_leaves_nothing(told: Told) -> None:
    told.put("bob", "delivered", "1")
    told.assign("bob", "batch")
    told.put("bob", "read", "2")
    told.put("carol", "read", "3")
    with told.vault.transaction() as tx:
        told.receipts.drop(tx, "bob")
    assert told.receipts.senders() == ["carol"]
    assert told.says("batch") == {}
    assert not told.may_resend("bob", "batch")
    with told.vault.transaction() as tx:
        told.receipts.drop(tx, "bob")
