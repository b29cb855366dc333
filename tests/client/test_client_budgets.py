"""What a message costs its reader to compute and store is bounded, whatever its sender has sent before."""

import base64
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from client_samples import Party, all_sessions, fast_folder

from phantom_messenger.client import conversations, records
from phantom_messenger.client.conversations import (
    MAX_SESSIONS,
    MAX_STRANGER_SESSIONS,
    MAX_STRANGER_SKIPPED_KEYS,
    PeerState,
)
from phantom_messenger.client.records import ContactRecord, SessionRecord, SessionsRecord, SkippedRecord
from phantom_messenger.client.sessions import MAX_SESSION_AGE_MS, Sessions
from phantom_messenger.client.vault import Transaction
from phantom_messenger.crypto import padding, ratchet, suites
from phantom_messenger.crypto.errors import CryptoError, UndecryptableMessage
from phantom_messenger.crypto.ratchet import MAX_SKIP, MAX_SKIPPED_KEYS
from phantom_messenger.wire import frames

MOST_BYTES: Final = 65_536
"""What one message may make its reader write, SQLite's log included."""


class Cost:
    """What was derived and written since the last ``take``."""

    def __init__(self, reader: Party, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps = self.written = self.records = 0
        step, put = ratchet.kdf_ck, Transaction.put

        def counting_step(ck: bytes) -> tuple[bytes, bytes]:
            self.steps += 1
            return step(ck)

        def counting_put(tx: Transaction, kind: str, name: str, value: object, *, due: int | None = None) -> None:
            if tx._vault is reader.vault:
                self.records += 1
                self.written += len(msgspec.msgpack.encode(value))
            put(tx, kind, name, value, due=due)

        monkeypatch.setattr(ratchet, "kdf_ck", counting_step)
        monkeypatch.setattr(Transaction, "put", counting_put)

    def take(self) -> tuple[int, int, int]:
        """Steps of chains, bytes and records."""
        found = self.steps, self.written, self.records
        self.steps = self.written = self.records = 0
        return found


@pytest.fixture
def people(tmp_path: Path) -> Iterator[tuple[Party, Party]]:
    """A sender and a reader, contacts of each other."""
    with fast_folder(tmp_path) as folder:
        made = Party(folder, "mallory"), Party(folder, "bob")
        for one, other in (made, made[::-1]):
            with one.vault.transaction() as tx:
                one.book.put(tx, ContactRecord(user_id=other.id, name="a friend"))
        yield made
        for one in made:
            one.vault.close()


def strangers(people: tuple[Party, Party]) -> tuple[Party, Party]:
    """The reader does not know the sender."""
    mallory, bob = people
    with bob.vault.transaction() as tx:
        bob.book.delete(tx, mallory.id)
    return mallory, bob


def jump(sender: Party, reader: Party, count: int, *, begin: bool = True) -> frames.RoutedMessage:
    """A message before which so many of its chain were never sent; it costs its sender next to nothing."""
    if begin:
        sender.begin(reader, one_time=False)
    chosen, *others = sender.sessions(reader)
    state, ck = chosen.ratchet, chosen.ratchet.cks
    assert ck is not None
    for _ in range(count):
        ck, _ = ratchet.kdf_ck(ck)
    ahead = msgspec.structs.replace(state, cks=ck, ns=state.ns + count)
    with sender.vault.transaction() as tx:
        sender.conversations._store(
            tx, sender.conversations.load(reader.id), [msgspec.structs.replace(chosen, ratchet=ahead), *others]
        )
    return sender.write(reader, "far ahead")


def attack(sender: Party, reader: Party, *, sessions: int = MAX_SESSIONS + 3, count: int = MAX_SKIP) -> None:
    """As many skipped keys, in as many sessions, as the reader will keep."""
    for _ in range(sessions):
        with suppress(UndecryptableMessage):
            reader.read(jump(sender, reader, count))


def skipped_of(reader: Party) -> int:
    return sum(len(found.ratchet.mkskipped) for found in all_sessions(reader.vault))


def stored_bytes(reader: Party) -> int:
    """All that is kept of sessions."""
    kinds: dict[str, type[Any]] = {
        records.SESSIONS: SessionsRecord,
        records.SESSION: SessionRecord,
        records.SKIPPED: SkippedRecord,
    }
    found = [record for kind, type_ in kinds.items() for _, record in reader.vault.all(kind, type_)]
    return sum(len(msgspec.msgpack.encode(record)) for record in found)


def unreadable(sender: Party, reader: Party, n: int) -> frames.RoutedMessage:
    """A signed message under a ratchet key that nobody has, far ahead in its chain."""
    frame = sender.write(reader, "x")
    raw = bytearray(base64.b64decode(frame.payload.encrypted))
    raw[2:34], raw[38:42] = os.urandom(32), n.to_bytes(4)
    return sender.routed(reader, bytes(raw), frame.payload.message_id)


# --- one message ------------------------------------------------------------------


def test_ordinary_message_costs_the_same_whatever_was_sent_before(
    people: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    mallory, bob = people
    attack(mallory, bob)
    mallory.begin(bob, one_time=False)
    bob.read(mallory.write(bob, "hello"))
    mallory.read(bob.write(mallory, "hello yourself"))
    bob.read(mallory.write(bob, "x"))
    cost = Cost(bob, monkeypatch)
    frame = mallory.write(bob, "x" * 400)
    cost.take()
    bob.read(frame)
    steps, written, count = cost.take()
    assert steps == 1
    assert written < 1_000
    assert count == 1


def test_dearest_message_is_bounded(people: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch) -> None:
    mallory, bob = people
    attack(mallory, bob)
    frame = jump(mallory, bob, MAX_SKIP)
    cost = Cost(bob, monkeypatch)
    bob.read(frame)
    steps, written, count = cost.take()
    assert MAX_SKIP <= steps <= MAX_SKIP + 3
    assert 32 * MAX_SKIP < written <= MOST_BYTES
    assert count <= 10


def logged(reader: Party, frame: frames.RoutedMessage) -> int:
    """The bytes of SQLite's log that reading a message writes."""
    reader.vault._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    reader.read(frame)
    return reader.vault.path.with_name(reader.vault.path.name + "-wal").stat().st_size


def test_dearest_message_writes_at_most_64_kb_of_log(people: tuple[Party, Party]) -> None:
    mallory, bob = people
    attack(mallory, bob)
    written = [logged(bob, jump(mallory, bob, MAX_SKIP)) for _ in range(MAX_SESSIONS + 3)]
    assert 32 * MAX_SKIP < max(written) <= MOST_BYTES


def test_control_four_times_as_many_skipped_keys_write_more(
    people: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("MAX_SKIP", "MAX_SKIPPED_KEYS"):
        monkeypatch.setattr(ratchet, limit, 4 * MAX_SKIP)
    mallory, bob = people
    attack(mallory, bob, count=4 * MAX_SKIP)
    assert logged(bob, jump(mallory, bob, 4 * MAX_SKIP)) > MOST_BYTES


@pytest.mark.parametrize("n", [0, MAX_SKIP // 2, MAX_SKIP, MAX_SKIP + 1, 2**32 - 1])
def test_unreadable_message_is_tried_within_one_budget(
    people: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    mallory, bob = people
    for _ in range(MAX_SESSIONS):
        mallory.begin(bob, one_time=False)
        bob.read(mallory.write(bob, "hello"))
        mallory.read(bob.write(mallory, "hello yourself"))
    frame = unreadable(mallory, bob, n)
    cost = Cost(bob, monkeypatch)
    tried = []
    decrypt = suites.decrypt
    monkeypatch.setattr(suites, "decrypt", lambda *found, **named: tried.append(1) or decrypt(*found, **named))  # type: ignore[func-returns-value] # notes it
    with pytest.raises(CryptoError):
        bob.read(frame)
    steps, written, count = cost.take()
    assert steps <= MAX_SKIP + conversations.MAX_TRIES
    assert len(tried) <= conversations.MAX_TRIES
    assert (written, count) == (0, 0)


def test_message_whose_ratchet_key_is_known_is_tried_on_that_session_alone(
    people: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    mallory, bob = people
    for _ in range(3):
        mallory.begin(bob, one_time=False)
        bob.read(mallory.write(bob, "hello"))
        mallory.read(bob.write(mallory, "hello yourself"))
        bob.read(mallory.write(bob, "again"))
    (_, oldest) = mallory.sessions(bob)[-2:]
    after, sealed = suites.encrypt(oldest, padding.pad(b"", 512), mallory.random)
    garbled = sealed[:-1] + bytes((sealed[-1] ^ 1,))
    tried = []
    decrypt = suites.decrypt
    monkeypatch.setattr(suites, "decrypt", lambda *found, **named: tried.append(1) or decrypt(*found, **named))  # type: ignore[func-returns-value] # notes it
    with pytest.raises(UndecryptableMessage):
        bob.read(mallory.routed(bob, garbled, "00000000-0000-4000-8000-00000000000f"))
    assert tried == [1]
    assert after.id == oldest.id


# --- all that a peer can have one keep --------------------------------------------


def test_one_budget_of_skipped_keys_for_all_sessions_of_a_peer(people: tuple[Party, Party]) -> None:
    mallory, bob = people
    attack(mallory, bob)
    assert len(all_sessions(bob.vault)) == MAX_SESSIONS
    assert skipped_of(bob) == MAX_SKIPPED_KEYS
    assert stored_bytes(bob) < MOST_BYTES
    # They are those of the session in use; what it has passed over can still be read.
    newest, *older = bob.sessions(mallory)
    assert len(newest.ratchet.mkskipped) == MAX_SKIPPED_KEYS
    assert not any(found.ratchet.mkskipped for found in older)


def test_older_session_keeps_what_the_budget_leaves(people: tuple[Party, Party]) -> None:
    mallory, bob = people
    for count in (100, 206):
        bob.read(jump(mallory, bob, count))
    kept = [sorted(n for _, n in found.ratchet.mkskipped) for found in bob.sessions(mallory)]
    assert kept == [list(range(206)), list(range(50, 100))], "the oldest of the older one went"


def test_control_with_a_budget_for_each_session_the_same_messages_fill_the_disk(
    people: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PeerState, "budget", property(lambda _: (40, 1_000_000)))
    mallory, bob = people
    attack(mallory, bob)
    assert skipped_of(bob) == (MAX_SESSIONS + 3) * MAX_SKIP
    assert stored_bytes(bob) > MOST_BYTES


def test_stranger_has_fewer_of_all(people: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch) -> None:
    mallory, bob = strangers(people)
    frame = jump(mallory, bob, MAX_STRANGER_SKIPPED_KEYS + 1)
    cost = Cost(bob, monkeypatch)
    with pytest.raises(UndecryptableMessage):
        bob.read(frame)
    assert cost.take()[0] == 0, "refused before a key is derived"
    attack(mallory, bob, sessions=MAX_STRANGER_SESSIONS + 3, count=MAX_STRANGER_SKIPPED_KEYS)
    assert len(all_sessions(bob.vault)) == MAX_STRANGER_SESSIONS
    assert skipped_of(bob) == MAX_STRANGER_SKIPPED_KEYS


# --- on disk ----------------------------------------------------------------------


def test_skipped_keys_are_written_only_when_they_change(people: tuple[Party, Party]) -> None:
    mallory, bob = people
    mallory.begin(bob, one_time=False)
    passed_over = mallory.write(bob, "late")
    bob.read(mallory.write(bob, "early"))
    before = [found.keys for _, found in bob.vault.all(records.SKIPPED, SkippedRecord)]
    bob.read(mallory.write(bob, "more"))
    assert [found.keys for _, found in bob.vault.all(records.SKIPPED, SkippedRecord)] == before
    bob.reopen()
    assert bob.text(passed_over) == "late"
    assert [found for _, found in bob.vault.all(records.SKIPPED, SkippedRecord)] == []


def as_before(reader: Party, peer: Party) -> int:
    """Let the sessions with a peer stand as version 0.1.0 kept them: all in one record; how many there are."""
    found = reader.sessions(peer)
    with reader.vault.transaction() as tx:
        Sessions(reader.vault).forget(tx, peer.id)
        old = {"sessions": [suites.dump(one) for one in found]}
        tx.put(records.SESSIONS, peer.id, old)
    return len(found)


def test_sessions_of_version_0_1_0_are_read_and_give_way(people: tuple[Party, Party]) -> None:
    mallory, bob = people
    mallory.begin(bob, one_time=False)
    passed_over = mallory.write(bob, "late")
    bob.read(mallory.write(bob, "hello"))
    mallory.read(bob.write(mallory, "hello yourself"))
    assert as_before(bob, mallory) == 1
    bob.reopen()
    assert mallory.text(bob.write(mallory, "from the old one")) == "from the old one"
    (index,) = [found for _, found in bob.vault.all(records.SESSIONS, SessionsRecord)]
    assert index.sessions == []
    assert len(index.ids) == 1
    assert bob.text(passed_over) == "late"


def test_too_many_sessions_of_version_0_1_0_are_cut_to_the_budget(
    people: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    mallory, bob = people
    with monkeypatch.context() as patch:
        patch.setattr(PeerState, "budget", property(lambda _: (40, 1_000_000)))
        attack(mallory, bob, sessions=12, count=MAX_SKIP)
        assert as_before(bob, mallory) == 12
    bob.read(mallory.write(bob, "hello"))
    assert len(all_sessions(bob.vault)) == MAX_SESSIONS
    assert skipped_of(bob) == MAX_SKIPPED_KEYS


def test_session_that_is_not_used_any_more_goes_after_thirty_days(people: tuple[Party, Party]) -> None:
    mallory, bob = people
    for _ in range(2):
        mallory.begin(bob, one_time=False)
        bob.read(mallory.write(bob, "hello"))
    newest, _ = bob.sessions(mallory)

    def forget(now: int) -> list[bytes]:
        with bob.vault.transaction() as tx:
            bob.conversations.forget_old(tx, mallory.id, now)
        return [found.id for found in bob.sessions(mallory)]

    begun = 1_750_000_000_000
    assert len(forget(begun)) == 2
    assert len(forget(begun + MAX_SESSION_AGE_MS)) == 2
    assert forget(begun + MAX_SESSION_AGE_MS + 1) == [newest.id]
    assert forget(begun + 9 * MAX_SESSION_AGE_MS) == [newest.id], "the one in use stays"
    assert len(list(bob.vault.all(records.SESSION, SessionRecord))) == 1


def test_sessions_whose_list_is_damaged_leave_no_keys_behind(people: tuple[Party, Party]) -> None:
    mallory, bob = people
    attack(mallory, bob, sessions=2, count=20)
    with bob.vault.transaction():
        bob.vault._connection.execute(
            "UPDATE records SET value = zeroblob(length(value)) WHERE kind = ?", (records.SESSIONS,)
        )
    assert bob.sessions(mallory) == []
    mallory.begin(bob, one_time=False)
    assert bob.text(mallory.write(bob, "hello")) == "hello"
    assert len(list(bob.vault.all(records.SESSION, SessionRecord))) == 1
    assert list(bob.vault.all(records.SKIPPED, SkippedRecord)) == []
