"""A relay that leaves out post-quantum keys gets no text without one, unless the user says so."""

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from client_samples import KEM_FIELDS, Device, Town, moved, pass_time, settle, without_field
from recovery_faults import FaultyDevice

from phantom_messenger.client import conversations, records
from phantom_messenger.client.conversations import Conversations, PeerState
from phantom_messenger.client.key_exchanges import WEAK_AGAIN_MS
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.client.status import Trust, WarningEvent
from phantom_messenger.crypto.session import HAS_HANDSHAKE, HAS_KEM, SUITE
from support.people import Frame
from support.simulated import MINUTE, SECOND


def stripped(frame: Frame) -> list[Frame]:
    """What a relay makes of bundles: nothing in them is post-quantum."""
    return [without_field(frame, *KEM_FIELDS) if frame["type"] == "KEY_EXCHANGE_RESPONSE" else frame]


def classical_messages(device: Device) -> list[Frame]:
    """What left with a handshake that has no KEM."""

    def is_classical(frame: Frame) -> bool:
        suite, flags = base64.b64decode(frame["payload"]["encrypted"])[:2]
        return suite == SUITE and flags & (HAS_HANDSHAKE | HAS_KEM) == HAS_HANDSHAKE

    return [frame for frame in device.frames_sent("MESSAGE") if is_classical(frame)]


def newcomers(town: Town) -> tuple[Device, Device]:
    """Nobody has written to anybody."""
    alice = FaultyDevice(town.world, town.folder / "alice", "alice")
    bob = FaultyDevice(town.world, town.folder / "bob", "bob")
    town.made += [alice, bob]
    return alice.login(), bob.login()


def friends(town: Town) -> tuple[FaultyDevice, FaultyDevice]:
    """Two who have talked, safe from a quantum computer, and have compared their safety numbers."""
    alice, bob = newcomers(town)
    assert isinstance(alice, FaultyDevice)
    assert isinstance(bob, FaultyDevice)
    for one, other in ((alice, bob), (bob, alice)):
        one.messenger.contacts.add(other.name, other.id)
        one.send(other, "hello")
    pass_time(5 * SECOND, alice, bob)
    assert (alice.read_all(), bob.read_all()) == (["hello"], ["hello"])
    alice.messenger.contacts.set_trust("bob", Trust.VERIFIED)
    pass_time(3 * SECOND, alice, bob)
    for one in (alice, bob):
        one.events.clear()
        one.sent.clear()
    return alice, bob


def first_contact(town: Town, _: Path) -> tuple[Device, Device]:
    return newcomers(town)


def sessions_lost(town: Town, _: Path) -> tuple[Device, Device]:
    """Alice cannot read what comes, and begins anew."""
    alice, bob = friends(town)
    alice.cut()
    alice.lose(records.SESSIONS)
    alice.tamper = stripped
    alice.login()
    bob.send(alice, "unreadable")
    pass_time(3 * SECOND, alice, bob)
    return alice, bob


def imported(town: Town, folder: Path) -> tuple[Device, Device]:
    alice, bob = friends(town)
    moved(alice, folder / "file").login()
    return alice, bob


def imported_from_an_old_file(town: Town, folder: Path) -> tuple[Device, Device]:
    """Files of version 0.1.0 say whether the session in use was classical, and no more."""
    alice, bob = friends(town)
    record = alice.vault.get(records.CONTACT, bob.id, ContactRecord)
    assert record is not None
    with alice.vault.transaction() as tx:
        alice.messenger._stores.book.put(tx, msgspec.structs.replace(record, post_quantum=False))
    moved(alice, folder / "file").login()
    return alice, bob


STAGES = {
    "first contact": (first_contact, "classical"),
    "sessions lost": (sessions_lost, "downgrade"),
    "imported": (imported, "downgrade"),
    "imported from an old file": (imported_from_an_old_file, "downgrade"),
}
EACH_STAGE = pytest.mark.parametrize(("stage", "word"), STAGES.values(), ids=STAGES)
Stage = Callable[[Town, Path], tuple[Device, Device]]


@EACH_STAGE
def test_text_waits_while_the_relay_gives_no_post_quantum_key(
    town: Town, tmp_path: Path, stage: Stage, word: str
) -> None:
    alice, bob = stage(town, tmp_path)
    alice.tamper = stripped
    alice.send(bob, "secret")
    pass_time(MINUTE, alice, bob)
    pass_time(30 * MINUTE, alice, bob, step=10 * SECOND)
    assert not alice.frames_sent("MESSAGE")
    assert alice.messenger.waiting == 1
    assert bob.read_all() == []
    (warning,) = [event for event in alice.heard(WarningEvent) if event.code == word]
    assert f"phantom contacts accept {'bob' if word == 'downgrade' else bob.id} --classical" in warning.message
    # It is asked for again by itself, though not so often as to use up what others need.
    assert len(alice.frames_sent("KEY_EXCHANGE_INIT")) <= 6
    alice.tamper = None
    pass_time(WEAK_AGAIN_MS + MINUTE, alice, bob, step=10 * SECOND)
    assert "secret" in bob.read_all()
    assert not classical_messages(alice)


@EACH_STAGE
def test_user_may_let_it_go_without_until_there_is_a_post_quantum_key_again(
    town: Town, tmp_path: Path, stage: Stage, word: str
) -> None:
    alice, bob = stage(town, tmp_path)
    alice.tamper = stripped
    alice.send(bob, "not so secret")
    pass_time(5 * SECOND, alice, bob)
    assert word in alice.troubles()
    contact = alice.messenger.contacts.allow_classical(bob.id)
    pass_time(5 * SECOND, alice, bob)
    assert "not so secret" in bob.read_all()
    assert classical_messages(alice)
    assert contact.user_id == bob.id
    # Bob has said nothing of the kind: he reads it, and answers with a session of his own that has one.
    assert {"classical", "downgrade"} & set(bob.troubles())
    bob.send(alice, "answer")
    pass_time(MINUTE, alice, bob)
    assert "answer" in alice.read_all()
    assert not classical_messages(bob)
    assert not alice.messenger.contacts.of(bob.id).classical
    # Alice's word held until then.
    alice.sent.clear()
    alice.send(bob, "secret again")
    pass_time(5 * SECOND, alice, bob)
    assert bob.read_all() == ["secret again"]
    assert not classical_messages(alice)


@EACH_STAGE
def test_control_without_the_rule_the_text_leaves_at_once(
    town: Town, tmp_path: Path, stage: Stage, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Conversations.load

    def allowing(self: Conversations, peer: str) -> PeerState:
        state = known(self, peer)
        return replace(state, contact=msgspec.structs.replace(state.contact, allows_classical=True))

    alice, bob = stage(town, tmp_path)
    alice.kill()
    alice.tamper = stripped
    alice.login()
    monkeypatch.setattr(conversations.Conversations, "load", allowing)
    alice.messenger.contacts.add("anybody", bob.id)  # whatever was refused before is tried again
    alice.send(bob, "secret")
    pass_time(MINUTE, alice, bob)
    assert "secret" in bob.read_all()
    assert classical_messages(alice)
    assert word


def test_session_that_was_safe_stays_in_use_when_its_peer_begins_a_weaker_one(town: Town) -> None:
    alice, bob = friends(town)
    bob.cut()
    bob.lose(records.SESSIONS)
    bob.messenger.contacts.allow_classical("alice")
    bob.tamper = stripped
    bob.login()
    bob.send(alice, "begun without")
    settle(alice, bob)
    assert alice.read_all() == ["begun without"]
    assert "downgrade" in alice.troubles()
    assert not alice.messenger.contacts.of(bob.id).classical
    alice.sent.clear()
    alice.send(bob, "to bob, who has lost the session")
    pass_time(2 * MINUTE, alice, bob)
    # He asks for it in the weak session; Alice begins a safe one, for he cannot read the old one.
    assert bob.read_all() == ["to bob, who has lost the session"]
    assert not classical_messages(alice)
    assert len(alice.frames_sent("KEY_EXCHANGE_INIT")) == 1


def test_the_users_word_and_the_pin_are_kept_over_a_restart(town: Town) -> None:
    alice, bob = friends(town)
    alice.messenger.contacts.allow_classical("bob")
    alice.kill()
    record = alice.vault.get(records.CONTACT, bob.id, ContactRecord)
    assert record is not None
    assert record.post_quantum
    assert record.allows_classical
