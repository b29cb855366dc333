"""Export and import: everything that is to last, nothing that must not, and conversations that heal."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from backup_samples import changed, opened
from client_samples import (
    KEY,
    WORDS,
    Device,
    Town,
    again,
    all_sessions,
    moved,
    pass_time,
    settle,
)

from phantom_messenger.client import records
from phantom_messenger.client.backup import Content, export_profile, import_profile
from phantom_messenger.client.records import (
    ContactRecord,
    IdentityRecord,
    InboxRecord,
    IntValue,
    OutboxRecord,
    PreKeyRecord,
    ReceivedRecord,
    SentRecord,
    SessionRecord,
    UnansweredRecord,
)
from phantom_messenger.client.status import DeliveryState, Trust
from phantom_messenger.client.vault import Vault
from support.simulated import HOUR, MINUTE, SECOND

# --- what goes along --------------------------------------------------------------


def test_identity_contacts_and_history_come_back(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.messenger.contacts.set_trust("bob", Trust.VERIFIED)
    (number,) = alice.send(bob, "to bob")
    bob.send(alice, "to alice")
    pass_time(3 * SECOND, alice, bob)
    bob.read_all()
    pass_time(3 * SECOND, alice, bob)
    before = (alice.id, alice.messenger.contacts.everybody(), alice.messenger.state_of(number), alice.own_text(number))
    moved(alice, tmp_path / "alice.phantom")
    after = (
        alice.messenger.user_id,
        alice.messenger.contacts.everybody(),
        alice.messenger.state_of(number),
        alice.own_text(number),
    )
    assert after == before
    assert before[2:] == (DeliveryState.READ, "to bob")
    assert [record.text for record in alice.waiting()] == ["to alice"]


def test_conversation_goes_on_after_an_import_and_nothing_is_lost_or_doubled(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.send(alice, "before")
    pass_time(3 * SECOND, alice, bob)
    alice.cut()
    bob.send(alice, "under way")
    settle(bob)
    alice.send(bob, "not sent yet")
    moved(alice, tmp_path / "alice.phantom").login()
    pass_time(MINUTE, alice, bob)
    assert sorted(alice.read_all()) == ["before", "under way"]
    assert bob.read_all() == ["not sent yet"]
    alice.send(bob, "and on")
    bob.send(alice, "it goes")
    pass_time(MINUTE, alice, bob)
    assert (alice.read_all(), bob.read_all()) == (["it goes"], ["and on"])


def test_newcomer_reaches_somebody_who_has_imported(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    moved(alice, tmp_path / "alice.phantom").login()
    pass_time(5 * SECOND, alice)
    carol = town.device("carol").login()
    carol.send(alice, "the first one")
    settle(carol, alice)
    assert "the first one" in alice.read_all()
    assert "waiting" not in alice.troubles()


def test_text_that_comes_again_after_an_import_is_not_shown_again(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = bob.send(alice, "once")
    pass_time(3 * SECOND, alice, bob)
    assert alice.read_all() == ["once"]
    moved(alice, tmp_path / "alice.phantom").login()
    assert again(bob, alice, number, now=0) == 1
    pass_time(15 * MINUTE, alice, bob, step=10 * SECOND)
    assert alice.read_all() == []


def test_text_that_burns_or_expires_and_still_waited_is_failed_after_the_move_and_others_leave(
    town: Town, tmp_path: Path
) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.cut()
    left = [*alice.send(bob, "burns", burn=True), *alice.send(bob, "expires", expires_in=HOUR)]
    (kept,) = alice.send(bob, "stays")
    moved(alice, tmp_path / "file")
    assert alice.states(left) == {DeliveryState.FAILED}
    assert alice.messenger.state_of(kept) is DeliveryState.QUEUED
    alice.login()
    pass_time(MINUTE, alice, bob)
    assert bob.read_all() == ["stays"]
    assert alice.states(left) == {DeliveryState.FAILED}


# --- what does not ----------------------------------------------------------------


def parts_of(stored: Any) -> list[bytes]:
    """The keys in a stored session, however deep."""
    if isinstance(stored, bytes):
        return [stored] if len(stored) == 32 else []
    return [part for below in stored for part in parts_of(below)] if isinstance(stored, list) else []


def secrets_in(vault: Vault) -> list[bytes]:
    """Live state: private halves of prekeys, and sessions whole and in part, skipped keys too."""
    found = [record.private for _, record in vault.all(records.PREKEY, PreKeyRecord)]
    for _, stored in vault.all(records.SESSION, SessionRecord):
        found += [stored.state, *parts_of(msgspec.msgpack.decode(stored.state))]
    return found + [key.mk for state in all_sessions(vault) for key in state.ratchet.mkskipped.values()]


def lively(town: Town) -> tuple[Device, set[bytes]]:
    """Somebody with sessions, a skipped key and a text that is encrypted and not accepted; and their secrets."""
    alice, bob = town.friends("alice", "bob")
    alice.tamper = lambda frame: [] if frame["type"] == "MESSAGE" else [frame]
    bob.send(alice, "lost on the way")
    settle(bob, alice)
    alice.tamper = None
    bob.send(alice, "not lost")
    settle(bob, alice)
    alice.cut()
    alice.send(bob, "sealed but not accepted")
    (state, *_) = all_sessions(alice.vault)
    secrets = set(secrets_in(alice.vault))
    assert state.ratchet.mkskipped
    assert {
        state.ratchet.rk,
        state.ratchet.dhs.private,
        *(key.mk for key in state.ratchet.mkskipped.values()),
    } < secrets
    return alice, secrets - {alice.messenger._identity.peer.public, bob.messenger._identity.peer.public}


@pytest.mark.usefixtures("shipped_prekeys")
def test_no_session_and_no_prekey_is_in_the_file(town: Town, tmp_path: Path) -> None:
    alice, live = lively(town)
    assert len(live) > 100
    export_profile(alice.vault, tmp_path / "file", WORDS)
    content = opened(tmp_path / "file")
    assert not [secret for secret in live if secret in content]
    assert all(not entry["sealed"] for entry in msgspec.msgpack.decode(content)["outbox"])


def test_control_a_secret_that_slips_into_the_file_is_found(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, live = lively(town)
    slipped = [ContactRecord(user_id=str(at), key=secret) for at, secret in enumerate(live)]
    changed(monkeypatch, contacts=slipped)
    export_profile(alice.vault, tmp_path / "file", WORDS)
    content = opened(tmp_path / "file")
    assert {secret for secret in live if secret in content} == live


def test_texts_that_burn_or_expire_are_left_out_and_their_ids_are_not(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    for one, other in ((alice, bob), (bob, alice)):
        one.send(other, "burning text", burn=True)
        one.send(other, "fleeting text", expires_in=HOUR)
    pass_time(3 * SECOND, alice, bob)
    alice.cut()
    alice.send(bob, "burning text", burn=True)
    alice.send(bob, "fleeting text", expires_in=HOUR)
    export_profile(alice.vault, tmp_path / "file", WORDS)
    content = opened(tmp_path / "file")
    assert b"burning text" not in content
    assert b"fleeting text" not in content
    assert b"hello" in content
    found: Any = msgspec.msgpack.decode(content)
    assert len(found["received"]) == 3
    assert len(found["sent"]) == 5


def test_every_kind_of_record_is_either_in_the_file_or_live_state() -> None:
    kinds = {value for name, value in vars(records).items() if name.isupper() and isinstance(value, str)}
    live = {"sessions", "session", "skipped", "prekey", "handshake"}
    live |= {
        "ack",
        "unreadable",
        "healed",
        "clock-offset",
        "steady",
        "seen",
        "page",
        "inbox-page",
        "all-indexed",
        "indexed",
        "in-order",
        "old-keys",
        "newer",
        "known-kinds",
        "group-told",
        "group-held",
        "group-early",
        "group-link",
        "group-join",
        "sync",
    }
    kinds -= {"person", "device"}  # of the member `devices`
    kept = {name.replace("_", "-").removesuffix("-id") for name in Content.__struct_fields__}
    names = {"contacts": "contact", "receipts": "receipt", "requests": "request", "blocks": "block"}
    names |= {"last-prekey": "last-prekey-id"}
    names |= {"groups": "group"}
    of_groups = {"group-counts", "group-step", "group-past", "group-past-page"}
    assert kinds == live | of_groups | {names.get(name, name) for name in kept}


def test_every_record_that_is_to_last_comes_back_as_it_was(town: Town, tmp_path: Path) -> None:
    alice, _ = lively(town)
    carol = town.device("carol").login()
    carol.send(alice, "from a stranger")
    alice.login()
    settle(carol, alice)
    alice.cut()
    alice.send(carol, "never encrypted")
    alice.messenger.mark_read(carol.id, alice.waiting()[-1].message_id)
    kept: dict[str, type[Any]] = {
        records.IDENTITY: IdentityRecord,
        records.CONTACT: ContactRecord,
        records.SENT: SentRecord,
        records.RECEIVED: ReceivedRecord,
        records.INBOX: InboxRecord,
        records.UNANSWERED: UnansweredRecord,
        records.LAST_PREKEY_ID: IntValue,
    }

    def stored(vault: Vault) -> dict[str, list[Any]]:
        return {kind: [record for _, record in vault.all(kind, type_)] for kind, type_ in kept.items()}

    before = stored(alice.vault)
    texts = [entry.text for _, entry in alice.vault.all(records.OUTBOX, OutboxRecord) if entry.text is not None]
    assert all(before.values()), before
    assert texts
    export_profile(alice.vault, tmp_path / "file", WORDS)
    import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    new = Vault(tmp_path / "new.vault", KEY)
    assert stored(new) == before
    assert [entry.text for _, entry in new.all(records.OUTBOX, OutboxRecord)] == texts
    assert all(not entry.sealed for _, entry in new.all(records.OUTBOX, OutboxRecord))
    for text in before[records.RECEIVED]:
        assert new.has(records.SEEN, records.key(text.sender, text.message_id))
    for kind in (records.SESSIONS, records.SESSION, records.SKIPPED, records.PREKEY, records.HANDSHAKE, records.ACK):
        assert not list(new.all(kind, msgspec.Raw))
    new.close()
