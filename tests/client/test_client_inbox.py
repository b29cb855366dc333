"""Received texts until they are handled, read, burned or expired."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_samples import fast_folder
from sending_desk import Desk, at

from phantom_messenger.client import inbox as inbox_module
from phantom_messenger.client import records
from phantom_messenger.client.inbox import ACKNOWLEDGE_AGAIN_MS, KEEP_SEEN_RECEIPTS_MS, Inbox
from phantom_messenger.client.records import InboxRecord, ReceivedRecord, Seen

NOW = at(0).persistent


class Shelf(Desk):
    """Alice's received texts, put there as they are after decryption."""

    @property
    def inbox(self) -> Inbox:
        return self.stores.inbox

    def put(self, number: str, *, sender: str = "", burn: bool = False, expires_at: int | None = None) -> None:
        sender = sender or self.bob.id
        record = ReceivedRecord(
            message_id=number, sender=sender, text="x", sent_at=0, received_at=0, burn=burn, expires_at=expires_at
        )
        with self.vault.transaction() as tx:
            name = records.key(sender, number)
            tx.put(records.RECEIVED, name, record, due=expires_at)
            tx.put(records.INBOX, name, InboxRecord(message_id=number, sender=sender))
            tx.put(records.SEEN, name, Seen(0))

    def waiting(self, now: int = NOW, sender: str | None = None) -> list[str]:
        """The texts that are handed out, oldest first."""
        found, position = [], 0
        while (following := self.inbox.next(position, sender, now)) is not None:
            position, record = following
            found.append(record.message_id)
        return found

    def get(self, number: str) -> ReceivedRecord:
        found = self.vault.get(records.RECEIVED, records.key(self.bob.id, number), ReceivedRecord)
        assert found is not None
        return found

    def statuses(self) -> dict[str, str]:
        """What its sender is to hear of each text."""
        return {found.message_id: found.status for _, found in self.vault.all(records.RECEIPT, records.ReceiptRecord)}


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with fast_folder(tmp_path) as folder:
        made = Shelf(folder)
        with made.vault.transaction() as tx:
            for _, marker in list(made.vault.all(records.INBOX, InboxRecord)):
                tx.delete(records.INBOX, records.key(marker.sender, marker.message_id))
            made.stores.receipts.drop(tx, made.bob.id)
        yield made
        made.close()


def test_texts_are_handed_out_in_order_until_they_are_handled(shelf: Shelf) -> None:
    carol = shelf.add("carol")
    shelf.put("1")
    shelf.put("2", sender=carol)
    shelf.put("3")
    assert shelf.waiting() == ["1", "2", "3"]
    assert (shelf.waiting(sender=shelf.bob.id), shelf.waiting(sender=carol)) == (["1", "3"], ["2"])
    shelf.inbox.handled(shelf.bob.id, "1")
    shelf.inbox.handled(carol, "3")
    assert shelf.waiting() == ["2", "3"]
    assert not shelf.get("1").read


def test_text_that_has_expired_is_not_handed_out_and_then_erased(shelf: Shelf) -> None:
    shelf.put("1", expires_at=NOW + 5)
    assert shelf.waiting(NOW + 4) == ["1"]
    assert shelf.waiting(NOW + 5) == []
    assert shelf.waiting(NOW + 4) == [], "it was passed over for good"
    with shelf.vault.transaction() as tx:
        shelf.inbox.forget_expired(tx, NOW + 4)
    assert shelf.get("1").text == "x"
    with shelf.vault.transaction() as tx:
        shelf.inbox.forget_expired(tx, NOW + 5)
    assert shelf.get("1").text is None


@pytest.mark.parametrize("burn", [False, True])
@pytest.mark.parametrize("quiet", [False, True])
def test_text_that_was_read_burns_if_asked_and_its_sender_hears_of_it_unless_quiet(
    shelf: Shelf, burn: bool, quiet: bool
) -> None:
    shelf.put("1", burn=burn, expires_at=NOW + 5)
    shelf.inbox.mark_read(shelf.bob.id, "1", NOW, quiet=quiet)
    shelf.inbox.mark_read(shelf.bob.id, "1", NOW, quiet=not quiet)
    shelf.inbox.mark_read(shelf.bob.id, "unknown", NOW)
    kept = shelf.get("1")
    assert (kept.read, kept.quiet, kept.text) == (True, quiet, None if burn else "x")
    status = "burned" if burn else "read"
    assert shelf.statuses() == ({} if quiet else {"1": status})
    assert len(shelf.stores.acks) == (not quiet)
    assert shelf.waiting() == []
    overdue = shelf.vault.overdue(records.RECEIVED, NOW + 5, ReceivedRecord)
    assert bool(overdue) is not burn, "what is erased has no time any more"
    assert shelf.inbox.due_again(shelf.bob.id, "1", NOW) == ("delivered" if quiet else status)


def test_text_that_comes_again_is_answered_once_a_minute(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "MAX_ACKNOWLEDGED_AGAIN", 2)

    def answered(number: str, now: int) -> bool:
        if not shelf.inbox.due_again(shelf.bob.id, number, now):
            return False
        with shelf.vault.transaction() as tx:
            shelf.inbox.acknowledged_again(tx, shelf.bob.id, number, now)
        return True

    for number in ("1", "2", "3"):
        shelf.put(number)
    assert not answered("unknown", 0)
    assert [answered("1", now) for now in (0, ACKNOWLEDGE_AGAIN_MS - 1, ACKNOWLEDGE_AGAIN_MS)] == [True, False, True]
    late = ACKNOWLEDGE_AGAIN_MS + 1
    assert [answered(number, late) for number in ("2", "1", "3", "2", "1")] == [True, False, True, False, True]


def test_receipts_are_remembered_for_ninety_days_and_texts_for_ever(shelf: Shelf) -> None:
    shelf.put("1")
    with shelf.vault.transaction() as tx:
        tx.put(records.SEEN, records.key(shelf.bob.id, "receipt"), Seen(7), due=7 + KEEP_SEEN_RECEIPTS_MS)
    for now, is_known in ((6, True), (7, False)):
        with shelf.vault.transaction() as tx:
            shelf.inbox.forget_expired(tx, now + KEEP_SEEN_RECEIPTS_MS)
        assert shelf.inbox.has_seen(shelf.bob.id, "receipt") is is_known
    assert shelf.inbox.has_seen(shelf.bob.id, "1")
    assert not shelf.inbox.has_seen("carol", "1")
