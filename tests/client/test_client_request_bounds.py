"""Message requests by themselves: what is kept of strangers, for how long, and what gives way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_samples import KEY, Party, fast_folder
from msgspec.structs import replace

from phantom_messenger.client import records, requests
from phantom_messenger.client.conversations import Opened
from phantom_messenger.client.requests import KEEP_MS, Requests
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire import codec, frames


class Lobby:
    """Alice's requests, and strangers who write to her."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.alice = Party(folder, "alice")
        self.alice.vault.close()
        self.vault = Vault(self.alice.vault.path, KEY)
        self.stores = Stores.of(self.vault, self.alice.identity, self.alice.random, asks=True)
        self.strangers: list[Party] = []

    @property
    def requests(self) -> Requests:
        return self.stores.requests

    def stranger(self, name: str) -> Party:
        made = Party(self.folder, name)
        self.strangers.append(made)
        made.begin(self.alice)
        return made

    def get(self, sender: Party, text: str = "hello", *, now: int = 0) -> bool:
        return self.requests.receive(sender.write(self.alice, text), now, now + 10**12)

    def waiting(self) -> dict[str, int]:
        """How many wait by sender, here and after a restart."""
        again = Stores.of(self.vault, self.alice.identity, self.alice.random, asks=True).requests
        found = {sender: self.requests.waiting(sender) for sender in self.requests.senders()}
        assert {sender: again.waiting(sender) for sender in again.senders()} == found
        return found

    def let_in(self, sender: Party) -> None:
        with self.vault.transaction() as tx:
            self.stores.book.admit(tx, sender.id)

    def close(self) -> None:
        for party in self.strangers:
            party.vault.close()
        self.vault.close()


@pytest.fixture
def lobby(tmp_path: Path) -> Iterator[Lobby]:
    with fast_folder(tmp_path) as folder:
        made = Lobby(folder)
        yield made
        made.close()


def test_strangers_are_listed_the_longest_first_until_they_are_let_in(lobby: Lobby) -> None:
    bob, carol = lobby.stranger("bob"), lobby.stranger("carol")
    assert [lobby.get(bob, now=5), lobby.get(carol, now=6), lobby.get(bob, now=7)] == [True, True, True]
    listed = [(one.contact.user_id, one.waiting, one.since) for one in lobby.requests.listed()]
    assert listed == [(bob.id, 2, 5 + 10**12), (carol.id, 1, 6 + 10**12)]
    assert lobby.waiting() == {bob.id: 2, carol.id: 1}
    assert lobby.requests.holds(bob.id)
    lobby.let_in(bob)
    assert not lobby.requests.holds(bob.id)
    assert [one.contact.user_id for one in lobby.requests.listed()] == [carol.id]
    assert lobby.requests.waiting("nobody") == 0
    assert lobby.requests.of("nobody") == []


def test_whoever_wants_no_requests_has_strangers_let_in(lobby: Lobby) -> None:
    stores = Stores.of(lobby.vault, lobby.alice.identity, lobby.alice.random, asks=False)
    assert not stores.requests.holds(lobby.stranger("bob").id)


def test_message_is_kept_once_and_only_if_its_sender_has_signed_it(lobby: Lobby) -> None:
    bob = lobby.stranger("bob")
    frame = bob.write(lobby.alice, "hello")
    forged = replace(frame, payload=replace(frame.payload, message_id="00000000-0000-4000-8000-0000000000ff"))
    assert [lobby.requests.receive(one, 0, 0) for one in (forged, frame, frame)] == [False, True, False]
    (kept,) = lobby.requests.of(bob.id)
    assert kept.frame == codec.encode(frame)
    assert (kept.size, kept.at, kept.since, kept.due) == (len(kept.frame), 0, 0, KEEP_MS)


def test_first_messages_of_a_stranger_stay_and_later_ones_are_dropped(
    lobby: Lobby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_MESSAGES", 2)
    bob = lobby.stranger("bob")
    assert [lobby.get(bob) for _ in range(3)] == [True, True, False]
    assert [lobby.get(lobby.stranger("carol"))] == [True]
    assert lobby.waiting()[bob.id] == 2


def test_messages_of_a_stranger_have_so_many_bytes(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = lobby.stranger("bob")
    first, second = bob.write(lobby.alice, "one"), bob.write(lobby.alice, "two")
    size = len(codec.encode(first)) + len(codec.encode(second))
    lobby.requests.receive(first, 0, 0)
    monkeypatch.setattr(requests, "MAX_BYTES", size - 1)
    assert not lobby.requests.receive(second, 0, 0)
    monkeypatch.setattr(requests, "MAX_BYTES", size)
    assert lobby.requests.receive(second, 0, 0)


def test_oldest_of_the_fullest_gives_way_to_newcomers(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_STRANGERS", 2)
    bob, carol, dave = (lobby.stranger(name) for name in ("bob", "carol", "dave"))
    lobby.get(carol)
    for text in ("one", "two"):
        lobby.get(bob, text)
    lobby.get(dave)
    assert lobby.waiting() == {bob.id: 1, dave.id: 1}, "then, of all who have the same, who has waited longest"
    total = sum(record.size for sender in (bob, dave) for record in lobby.requests.of(sender.id))
    monkeypatch.setattr(requests, "MAX_TOTAL_BYTES", total)
    lobby.get(dave, "x" * 2_000)
    assert lobby.waiting() == {bob.id: 1}, "who takes up the most gives way, also with what has just come"


def test_request_goes_when_its_time_has_come(lobby: Lobby) -> None:
    bob = lobby.stranger("bob")
    lobby.get(bob, now=5)
    for now, left in ((4 + KEEP_MS, {bob.id: 1}), (5 + KEEP_MS, {})):
        with lobby.vault.transaction() as tx:
            lobby.requests.forget(tx, now)
        assert lobby.waiting() == left


def test_message_that_was_looked_at_waits_on_as_a_text_and_is_let_in_from_where_it_is(lobby: Lobby) -> None:
    bob = lobby.stranger("bob")
    lobby.get(bob, "one", now=5)
    lobby.get(bob, "two", now=6)
    (first, second) = lobby.requests.of(bob.id)
    assert [text.text for text in lobby.requests.look(bob.id, 7)] == ["one", "two"]
    assert [record.frame for record in lobby.requests.of(bob.id)] == [b"", b""]
    assert [text.text for text in lobby.requests.look(bob.id, 8)] == ["one", "two"]
    assert lobby.waiting() == {bob.id: 2}
    received = lobby.vault.get(records.RECEIVED, records.key(bob.id, first.message_id), records.ReceivedRecord)
    assert received is not None
    assert received.received_at == 5 + 10**12
    lobby.let_in(bob)
    for record in lobby.requests.of(bob.id):
        with lobby.vault.transaction() as tx:
            assert lobby.requests.open(tx, record, 9) is True
    assert lobby.waiting() == {}
    with lobby.vault.transaction() as tx:
        assert lobby.requests.open(tx, second, 9) is False, "it was received before"


def test_message_of_somebody_who_was_let_in_is_opened_as_of_when_it_came(lobby: Lobby) -> None:
    bob = lobby.stranger("bob")
    lobby.get(bob, "one", now=5)
    (record,) = lobby.requests.of(bob.id)
    with lobby.vault.transaction() as tx:
        opened = lobby.requests.open(tx, record, 9)
    assert isinstance(opened, Opened)
    assert lobby.waiting() == {}
    assert not lobby.requests.receive(_frame_of(record), 9, 9), "it was seen"


def test_whoever_is_dropped_leaves_the_others(lobby: Lobby) -> None:
    bob, carol = lobby.stranger("bob"), lobby.stranger("carol")
    for sender in (bob, carol, bob):
        lobby.get(sender)
    with lobby.vault.transaction() as tx:
        lobby.requests.drop_all(tx, bob.id)
        lobby.requests.drop(tx, carol.id, "unknown")
    assert lobby.waiting() == {carol.id: 1}


def _frame_of(record: records.RequestRecord) -> frames.RoutedMessage:
    frame = codec.decode_relay(record.frame)
    assert isinstance(frame, frames.RoutedMessage)
    return frame
