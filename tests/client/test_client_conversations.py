import base64
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from client_samples import Party, acquainted, fast_folder, raw_rows, resealed

from phantom_messenger.client import content, content1, records
from phantom_messenger.client.content1 import Text
from phantom_messenger.client.conversations import MAX_SESSIONS, MAX_STRANGER_SESSIONS, conversation_id
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.crypto import padding, suites
from phantom_messenger.crypto.errors import (
    CryptoError,
    InvalidKey,
    InvalidMessage,
    InvalidSignature,
    UndecryptableMessage,
    UnknownPreKey,
    UnknownSuite,
)
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.prekeys import PreKeyBundle
from phantom_messenger.wire import frames
from support.structs import replace

MakeParty = Callable[[str], Party]


@pytest.fixture
def party(tmp_path: Path) -> Iterator[MakeParty]:
    made: list[Party] = []
    with fast_folder(tmp_path) as folder:

        def make(name: str) -> Party:
            made.append(Party(folder, name))
            return made[-1]

        yield make
        for one in made:
            one.vault.close()


@pytest.fixture
def alice(party: MakeParty) -> Party:
    return party("alice")


@pytest.fixture
def bob(party: MakeParty) -> Party:
    return party("bob")


def is_classical(one: Party, other: Party) -> bool:
    """What is remembered of the session in use."""
    contact = one.vault.get(records.CONTACT, other.id, ContactRecord)
    assert contact is not None
    return contact.classical


def has_handshake(frame: frames.RoutedMessage) -> bool:
    return suites.parse(base64.b64decode(frame.payload.encrypted)).handshake is not None


def with_sealed(frame: frames.RoutedMessage, sealed: bytes) -> frames.RoutedMessage:
    """The same envelope, unsigned, around something else."""
    return changed(frame, encrypted=base64.b64encode(sealed).decode())


def changed(frame: frames.RoutedMessage, **payload: Any) -> frames.RoutedMessage:
    """The same signature above another payload."""
    return msgspec.structs.replace(frame, payload=msgspec.structs.replace(frame.payload, **payload))


def assert_refused(reader: Party, frame: frames.RoutedMessage, error: type[CryptoError] = CryptoError) -> None:
    """The message is not believed, and nothing is written."""
    before = raw_rows(reader.vault)
    with pytest.raises(error):
        reader.read(frame)
    assert raw_rows(reader.vault) == before


# --- talking ----------------------------------------------------------------------


@pytest.mark.parametrize("one_time", [True, False])
@pytest.mark.parametrize("kem", [True, False])
def test_first_message_opens_a_session_on_both_sides(alice: Party, bob: Party, one_time: bool, kem: bool) -> None:
    alice.allow_classical(bob)
    bob.allow_classical(alice)
    alice.begin(bob, one_time=one_time, kem=kem)
    first = alice.write(bob, "hello")
    assert has_handshake(first)
    assert not bob.conversations.has_session(alice.id)
    opened = bob.read(first)
    assert opened.content == content.Text(body="hello", sent_at=1)
    assert (opened.late, opened.is_new) == (False, True)
    assert bob.conversations.has_session(alice.id)
    assert is_classical(alice, bob) is not kem
    assert is_classical(bob, alice) is not kem
    assert not bob.read(alice.write(bob, "again")).is_new


def test_handshake_is_repeated_until_the_reply(alice: Party, bob: Party) -> None:
    alice.begin(bob)
    sent = [alice.write(bob, f"{number}") for number in range(3)]
    assert all(map(has_handshake, sent))
    assert [bob.text(frame) for frame in sent] == ["0", "1", "2"]
    assert len(bob.sessions(alice)) == 1
    reply = bob.write(alice, "reply")
    assert not has_handshake(reply)
    assert alice.text(reply) == "reply"
    later = alice.write(bob, "later")
    assert not has_handshake(later)
    assert bob.text(later) == "later"


def test_messages_open_in_any_order(alice: Party, bob: Party) -> None:
    alice.begin(bob)
    chance = random.Random(7)  # noqa: S311 - the same in every run
    first = [(f"first {number}", alice.write(bob, f"first {number}")) for number in range(10)]
    chance.shuffle(first)
    assert [bob.text(frame) for _, frame in first[:5]] == [text for text, _ in first[:5]]
    assert alice.text(bob.write(alice, "reply")) == "reply"
    second = [(f"second {number}", alice.write(bob, f"second {number}")) for number in range(10)]
    rest = first[5:] + second
    chance.shuffle(rest)
    assert [bob.text(frame) for _, frame in rest] == [text for text, _ in rest]


def test_message_is_late_if_one_that_was_written_after_it_came_before(alice: Party, bob: Party) -> None:
    alice.begin(bob)
    sent = [alice.write(bob, f"{number}") for number in range(6)]
    assert [bob.read(sent[place]).late for place in (0, 3, 1, 4, 2, 5)] == [False, False, True, False, True, False]
    bob.write(alice, "lost on the way")
    sent = [alice.write(bob, f"{number}") for number in range(2)]
    alice.read(bob.write(alice, "reply"))
    sent.append(alice.write(bob, "of the next chain"))
    assert [bob.read(sent[place]).late for place in (2, 0, 1)] == [False, True, True]


def test_message_opens_once(alice: Party, bob: Party) -> None:
    alice.begin(bob)
    first = alice.write(bob, "first")
    second = alice.write(bob, "second")
    assert bob.text(second) == "second"
    assert bob.text(first) == "first"
    for frame in (first, second):
        assert_refused(bob, frame, UndecryptableMessage)


def test_sessions_with_different_peers_do_not_touch(alice: Party, bob: Party, party: MakeParty) -> None:
    carol = party("carol")
    alice.begin(bob)
    alice.begin(carol)
    to_bob, to_carol = alice.write(bob, "to bob"), alice.write(carol, "to carol")
    assert_refused(carol, to_bob)
    assert bob.text(to_bob) == "to bob"
    assert carol.text(to_carol) == "to carol"


def test_text_cannot_be_sealed_without_a_session(alice: Party, bob: Party) -> None:
    before = raw_rows(alice.vault)
    assert not alice.conversations.has_session(bob.id)
    with pytest.raises(UndecryptableMessage):
        alice.write(bob, "hello")
    assert raw_rows(alice.vault) == before


def test_both_sides_name_a_conversation_the_same(alice: Party, bob: Party, party: MakeParty) -> None:
    named = conversation_id(alice.id, bob.id)
    assert named == conversation_id(bob.id, alice.id)
    assert named != conversation_id(alice.id, party("carol").id)
    assert len(base64.b64decode(named)) == 32


def test_equal_texts_look_different(alice: Party, bob: Party) -> None:
    acquainted(alice, bob)
    sealed = {alice.write(bob, "same").payload.encrypted for _ in range(20)}
    assert len(sealed) == 20


# --- refusing ---------------------------------------------------------------------


def test_replayed_handshake_is_refused_after_its_session_is_gone(alice: Party, bob: Party) -> None:
    alice.begin(bob, one_time=False)
    first = alice.write(bob, "pay 10")
    assert bob.text(first) == "pay 10"
    assert_refused(bob, first, UndecryptableMessage)
    with bob.vault.transaction() as tx:
        tx.delete(records.SESSIONS, alice.id)
    with pytest.raises(UndecryptableMessage, match="seen before"):
        bob.read(first)
    # The control: the memory of it is what refuses it.
    with bob.vault.transaction() as tx:
        bob.vault._connection.execute("DELETE FROM records WHERE kind = ?", (records.HANDSHAKE,))
    assert bob.text(first) == "pay 10"


def test_handshake_with_a_one_time_key_works_once(alice: Party, bob: Party) -> None:
    alice.begin(bob)
    first = alice.write(bob, "hello")
    bob.read(first)
    with bob.vault.transaction():
        bob.vault._connection.execute("DELETE FROM records WHERE kind IN ('handshake', 'sessions')")
    assert_refused(bob, first, UnknownPreKey)


def test_refused_first_message_leaves_the_one_time_keys(alice: Party, bob: Party) -> None:
    alice.begin(bob)
    first = alice.write(bob, "hello")
    sealed = bytearray(base64.b64decode(first.payload.encrypted))
    sealed[-1] ^= 1
    assert_refused(bob, with_sealed(first, bytes(sealed)), InvalidSignature)
    assert bob.text(first) == "hello"


def test_every_changed_byte_is_noticed_and_changes_nothing(alice: Party, bob: Party) -> None:
    alice.begin(bob)
    first = alice.write(bob, "hello")
    whole = base64.b64decode(first.payload.encrypted)
    before = raw_rows(bob.vault)
    chance = random.Random(3)  # noqa: S311 - the same in every run
    places = [*range(130), *sorted(chance.sample(range(130, len(whole)), 70))]
    for place in places:
        turned = bytearray(whole)
        turned[place] ^= 1 << chance.randrange(8)
        with pytest.raises(CryptoError):
            bob.read(with_sealed(first, bytes(turned)))
    for length in (0, 1, 2, 50, 78, 1_166, 1_206, 1_217, len(whole) - 1):
        with pytest.raises(CryptoError):
            bob.read(with_sealed(first, whole[:length]))
    assert raw_rows(bob.vault) == before
    assert bob.text(first) == "hello"


def test_unknown_suite_is_refused(alice: Party, bob: Party) -> None:
    acquainted(alice, bob)
    frame = alice.write(bob, "hello")
    sealed = base64.b64decode(frame.payload.encrypted)
    assert_refused(bob, with_sealed(frame, b"\x03" + sealed[1:]), UnknownSuite)
    assert bob.text(frame) == "hello"


@pytest.mark.parametrize("first", [True, False])
def test_forged_signature_is_refused_and_changes_nothing(
    alice: Party, bob: Party, party: MakeParty, first: bool
) -> None:
    if first:
        alice.begin(bob)
    else:
        acquainted(alice, bob)
    frame = alice.write(bob, "hello")
    mark = bytearray(base64.b64decode(frame.signature))
    mark[40] ^= 1
    forged = [
        msgspec.structs.replace(frame, signature=base64.b64encode(bytes(mark)).decode()),
        msgspec.structs.replace(frame, signature=base64.b64encode(bytes(64)).decode()),
        msgspec.structs.replace(frame, signature=signed_by(party("mallory"), frame, bob)),
        msgspec.structs.replace(frame, timestamp=frame.timestamp + 1),
        changed(frame, message_id=f"{0:08}-{'0000-' * 3}{0:012}"),
        changed(frame, metadata=msgspec.Raw(b'{"expiresIn":1}')),
        changed(frame, conversation_id="another"),
    ]
    for frame_of_relay in forged:
        assert_refused(bob, frame_of_relay, InvalidSignature)
    assert bob.text(frame) == "hello"


def signed_by(signer: Party, frame: frames.RoutedMessage, to: Party) -> str:
    return signer.routed(to, base64.b64decode(frame.payload.encrypted), frame.payload.message_id).signature


def test_message_under_the_name_of_another_sender_is_refused(alice: Party, bob: Party, party: MakeParty) -> None:
    mallory = party("mallory")
    acquainted(alice, bob)
    acquainted(mallory, bob)
    for frame in (mallory.write(bob, "I am alice"), with_handshake_of(mallory, bob)):
        assert_refused(bob, changed(frame, sender_id=alice.id))


@pytest.mark.parametrize("kem", [True, False])
def test_key_that_is_not_the_claimed_senders_is_refused(alice: Party, bob: Party, party: MakeParty, kem: bool) -> None:
    mallory = party("mallory")
    # Everything of hers says that she is Alice: bound data, content and envelope; only the key is her own.
    mallory.id, mallory.conversations._own_id = alice.id, alice.raw_id
    mallory.allow_classical(bob)
    mallory.begin(bob, kem=kem)
    assert_refused(bob, mallory.write(bob, "I am alice"), InvalidKey)
    acquainted(alice, bob)
    assert_refused(bob, mallory.write(bob, "I am alice"), InvalidKey)


def with_handshake_of(mallory: Party, bob: Party) -> frames.RoutedMessage:
    mallory.begin(bob)
    return mallory.write(bob, "I am alice")


WRONG = {
    "another sender": lambda mallory: {"sender": mallory.raw_id},
    "another recipient": lambda mallory: {"recipient": mallory.raw_id},
    "another sender's key": lambda mallory: {"sender_key": mallory.identity.peer.public},
    "another recipient's key": lambda mallory: {"recipient_key": mallory.identity.peer.public},
    "no sender": lambda _: {"sender": b""},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_content_that_names_other_people_is_refused(
    alice: Party, bob: Party, party: MakeParty, wrong: Callable[[Party], dict[str, Any]]
) -> None:
    acquainted(alice, bob, dated=False)
    right = Text(
        body="hello",
        sent_at=1,
        sender=alice.raw_id,
        recipient=bob.raw_id,
        sender_key=alice.identity.peer.public,
        recipient_key=bob.identity.peer.public,
    )
    other = msgspec.structs.replace(right, **wrong(party("mallory")))
    assert_refused(bob, resealed(alice, bob, content1.encode(other)), InvalidMessage)
    assert bob.text(resealed(alice, bob, content1.encode(right))) == "hello"


def test_content_of_an_unknown_version_is_refused_and_changes_nothing(alice: Party, bob: Party) -> None:
    acquainted(alice, bob)
    assert_refused(bob, resealed(alice, bob, padding.pad(b"\x93later version", 512)), InvalidMessage)
    assert bob.text(alice.write(bob, "hello")) == "hello"


# --- bundles ----------------------------------------------------------------------

Swap = Callable[[PreKeyBundle, PreKeyBundle], PreKeyBundle]
SWAPS: dict[str, tuple[Swap, type[CryptoError]]] = {
    "everything": (lambda _, other: other, InvalidKey),
    "the identity": (lambda bundle, other: replace(bundle, identity=other.identity), InvalidKey),
    "the signed prekey": (
        lambda bundle, other: replace(bundle, signed_prekey=other.signed_prekey),
        InvalidSignature,
    ),
    "the signed prekey with its signature": (
        lambda bundle, other: replace(
            bundle,
            signed_prekey=other.signed_prekey,
            signed_prekey_signature=other.signed_prekey_signature,
        ),
        InvalidSignature,
    ),
    "the KEM key": (lambda bundle, other: replace(bundle, kem_prekey=other.kem_prekey), InvalidSignature),
    "the KEM key with its signature": (
        lambda bundle, other: replace(
            bundle, kem_prekey=other.kem_prekey, kem_prekey_signature=other.kem_prekey_signature
        ),
        InvalidSignature,
    ),
    "the KEM key's signature for none": (
        lambda bundle, _: replace(bundle, kem_prekey_signature=b""),
        InvalidSignature,
    ),
    "the signatures for each other": (
        lambda bundle, _: replace(bundle, signed_prekey_signature=bundle.kem_prekey_signature),
        InvalidSignature,
    ),
    "the one-time key for one of small order": (
        lambda bundle, _: replace(bundle, one_time_prekey=bytes(32)),
        InvalidKey,
    ),
}


@pytest.mark.parametrize(("swap", "error"), SWAPS.values(), ids=SWAPS)
def test_swapped_bundle_is_refused_and_changes_nothing(
    alice: Party, bob: Party, party: MakeParty, swap: Swap, error: type[CryptoError]
) -> None:
    bundle = swap(bob.bundle(dated=False), party("mallory").bundle(dated=False))
    before = raw_rows(alice.vault)
    with pytest.raises(error):
        alice.begin_with(bob, bundle, KeyPair.from_private(bytes(range(32))))
    assert raw_rows(alice.vault) == before
    alice.begin(bob)
    assert bob.text(alice.write(bob, "hello")) == "hello"


def test_swapped_one_time_key_cannot_be_read_by_its_swapper_nor_by_anybody(
    alice: Party, bob: Party, party: MakeParty
) -> None:
    mallory = party("mallory")
    bundle = bob.bundle()
    assert bundle.dated is not None
    dated = replace(bundle.dated, one_time_prekey=mallory.bundle().one_time_prekey)
    bundle = replace(bundle, dated=dated)
    alice.begin_with(bob, bundle, KeyPair.from_private(bytes(range(32))))
    first = alice.write(bob, "hello")
    assert_refused(mallory, first)
    assert_refused(bob, first, UndecryptableMessage)


# --- two beginnings ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_two_beginnings_at_once_end_in_one_session_and_lose_nothing(party: MakeParty, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    one, other = party(f"one {seed}"), party(f"other {seed}")
    one.begin(other)
    other.begin(one)
    lost: list[str] = []
    under_way: dict[str, list[tuple[str, frames.RoutedMessage]]] = {one.id: [], other.id: []}

    def write(sender: Party, recipient: Party, text: str) -> None:
        lost.append(text)
        under_way[recipient.id].append((text, sender.write(recipient, text)))

    def read(recipient: Party) -> None:
        text, frame = under_way[recipient.id].pop(0)
        assert recipient.text(frame) == text
        lost.remove(text)

    for number in range(1 + seed % 4):
        write(one, other, f"one {number}")
    for number in range(1 + seed % 3):
        write(other, one, f"other {number}")
    for number in range(20):
        recipient = chance.choice([one, other])
        if under_way[recipient.id] and chance.random() < 0.7:
            read(recipient)
        else:
            sender = chance.choice([one, other])
            write(sender, other if sender is one else one, f"later {number} of {sender.id}")
    for recipient in (one, other, one, other):
        while under_way[recipient.id]:
            read(recipient)
    for sender, recipient in ((one, other), (other, one), (one, other)):
        write(sender, recipient, "last")
        read(recipient)
    assert lost == []
    used, used_too = one.sessions(other)[0], other.sessions(one)[0]
    assert used.id == used_too.id
    assert used.associated_data == used_too.associated_data
    assert used.initiated is not used_too.initiated


@pytest.mark.parametrize("names", [("alice", "bob"), ("bob", "alice"), ("carol", "dora"), ("dora", "carol")])
def test_of_two_beginnings_the_one_with_the_smaller_ephemeral_key_stays(
    party: MakeParty, names: tuple[str, str]
) -> None:
    one, other = map(party, names)
    one.begin(other)
    other.begin(one)
    smaller = min(one.sessions(other)[0].id, other.sessions(one)[0].id)
    first, first_too = one.write(other, "mine"), other.write(one, "yours")
    assert other.text(first) == "mine"
    assert one.text(first_too) == "yours"
    assert one.sessions(other)[0].id == other.sessions(one)[0].id == smaller


def test_peer_that_begins_again_is_followed(alice: Party, bob: Party) -> None:
    acquainted(alice, bob)
    under_way = alice.write(bob, "of the first session")
    alice.begin(bob)
    assert bob.text(alice.write(bob, "of the second")) == "of the second"
    assert bob.text(under_way) == "of the first session"
    assert bob.sessions(alice)[0].initiated is False
    assert alice.text(bob.write(alice, "reply")) == "reply"
    assert len(bob.sessions(alice)) == 2


def test_old_sessions_are_bounded(alice: Party, bob: Party) -> None:
    for one, other in ((alice, bob), (bob, alice)):
        with one.vault.transaction() as tx:
            one.book.put(tx, ContactRecord(user_id=other.id, name="a friend"))
    acquainted(alice, bob)
    for number in range(MAX_SESSIONS + 5):
        alice.begin(bob, one_time=False)
        assert bob.text(alice.write(bob, f"{number}")) == f"{number}"
    assert len(alice.sessions(bob)) == len(bob.sessions(alice)) == MAX_SESSIONS
    assert alice.text(bob.write(alice, "still there")) == "still there"


def test_stranger_has_few_sessions(alice: Party, bob: Party) -> None:
    for number in range(MAX_STRANGER_SESSIONS + 5):
        alice.begin(bob, one_time=False)
        assert bob.text(alice.write(bob, f"{number}")) == f"{number}"
    assert len(bob.sessions(alice)) == MAX_STRANGER_SESSIONS


def test_sessions_survive_the_program(alice: Party, bob: Party) -> None:
    acquainted(alice, bob)
    frame = alice.write(bob, "hello")
    bob.reopen()
    assert bob.text(frame) == "hello"
