"""Key exchanges: begun, answered, refused, on a line without a relay."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_samples import MADE_AT, Party, fast_folder, publication_of
from msgspec import UNSET
from msgspec.structs import replace
from sending_desk import RATE, Desk, Refusal, asked, at, codes, ids, whole

from phantom_messenger.client import records
from phantom_messenger.client.key_exchanges import EXCHANGE_MS, FIRST_EXCHANGE_MS, WEAK_AGAIN_MS
from phantom_messenger.client.receipts import UNDECRYPTABLE
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.client.status import Trust
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode
from phantom_messenger.wire.limits import RateClass


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with fast_folder(tmp_path) as folder:
        made = Desk(folder)
        yield made
        made.close()


@pytest.fixture
def stranger(desk: Desk) -> str:
    """Somebody with whom there is no session yet, and to whom a text waits."""
    user_id = desk.add("carol", greeted=True)
    desk.write("1", peer=user_id)
    return user_id


def test_prekeys_are_asked_for_once_and_again_each_time_later(desk: Desk, stranger: str) -> None:
    (frame,) = desk.send(100)
    assert asked([frame]) == [stranger]
    assert base64.b64decode(frame.payload.identity_key) == desk.sending.exchanges._identity.peer.public
    assert len(base64.b64decode(frame.payload.ephemeral_key)) == 32
    now = 100
    for patience in (FIRST_EXCHANGE_MS, 4_000, 8_000, 16_000, EXCHANGE_MS, EXCHANGE_MS):
        assert desk.sending.waits(now) == [patience]
        assert desk.send(now + patience - 1) == []
        now += patience
        assert len(desk.send(now)) == 1
    desk.sending.disconnected()
    assert len(desk.send(now)) == 1
    assert desk.sending.waits(now) == [FIRST_EXCHANGE_MS]
    desk.sending.drop(stranger)
    assert len(desk.send(now)) == 1


EXCHANGES = {
    "unknown user": Refusal(ErrorCode.USER_NOT_FOUND, "user", UNSET, ["unknown-user"], 2_000),
    "rate": Refusal(RATE, "rate", 5_000, ["paused"], 5_000),
    "rate, a moment": Refusal(RATE, "rate", 0, [], 1_000),
    "rate, no time named": Refusal(RATE, "rate", UNSET, ["paused"], EXCHANGE_MS),
    "keys used up": Refusal(RATE, "backlog", 5_000, ["paused"], 5_000),
    "something else": Refusal(ErrorCode.INTERNAL_ERROR, "", 5_000, ["paused"], 5_000),
}


@pytest.mark.parametrize("refusal", EXCHANGES.values(), ids=EXCHANGES)
def test_refused_exchange_is_begun_again_when_it_may(desk: Desk, stranger: str, refusal: Refusal) -> None:
    assert asked(desk.send(100)) == [stranger]
    found = desk.refuse("1", *refusal[:2], retry_after=refusal.retry_after, now=100)
    assert codes(found.events) == refusal.told
    assert desk.refuse("1", refusal.code) is None, "it was answered"
    assert desk.sending.waits(100) == [refusal.wait]
    dave = desk.add("dave", greeted=True)
    desk.write("2", peer=dave)
    desk.told(99 + refusal.wait)
    holds_all = refusal.code == RATE and refusal.reason == "rate"
    assert asked(desk.line.sent[1:]) == ([] if holds_all else [dave])
    desk.told(100 + refusal.wait)
    assert stranger in asked(desk.line.sent[1:])


def test_answered_exchange_cannot_be_refused(desk: Desk, stranger: str) -> None:
    desk.send(100)
    desk.sending.exchanges.answered(UNSET)
    desk.sending.exchanges.answered("1")
    assert desk.refuse("1", RATE) is None
    assert asked(desk.line.sent) == [stranger]


def test_limit_of_exchanges_is_kept(desk: Desk, stranger: str) -> None:
    desk.line.limits[RateClass.KEY_EXCHANGE] = 1
    desk.add("dave")  # who is to be introduced, later
    assert asked(desk.send(0)) == [stranger]
    assert desk.send(60_999) == []
    assert asked(desk.send(61_000)) == [stranger]


def test_lost_session_is_renewed_unless_its_owner_may_not_know_that_we_are_there(desk: Desk) -> None:
    renew = desk.sending.exchanges
    renew.renew(desk.bob.id)
    assert renew.is_to_be_renewed(desk.bob.id)
    desk.sending.visibility.is_absent = True
    assert desk.send(0) == []
    desk.sending.visibility.is_absent = False
    desk.change(name="", accepted=False, greeted=False)
    assert desk.send(0) == []
    desk.change(accepted=True, greeted=True)
    assert [type(frame) for frame in desk.send(0)] == [frames.KeyExchangeInit]
    assert renew.to_renew() == [desk.bob.id]
    desk.sending.drop(desk.bob.id)
    assert renew.to_renew() == []


def test_contacts_whom_the_relay_does_not_know_are_introduced(desk: Desk) -> None:
    desk.change(greeted=False)
    desk.sending.visibility.is_absent = True
    assert desk.send(0) == []
    desk.sending.visibility.is_absent = False
    desk.sending._pacing.pause(RateClass.KEY_EXCHANGE, 10)
    assert desk.send(0) == []
    assert asked(desk.send(10)) == [desk.bob.id]


def response(owner: Party, **bundle: bool) -> Any:
    """The prekeys of somebody as the relay hands them out."""
    found = owner.bundle(**bundle)
    fields: dict[str, Any] = {}
    if found.one_time_prekey is not None:
        fields |= {"one_time_pre_key": text(found.one_time_prekey), "one_time_pre_key_id": found.one_time_prekey_id}
    if found.kem_prekey is not None:
        fields |= {"kem_pre_key": text(found.kem_prekey), "kem_pre_key_signature": text(found.kem_prekey_signature)}
        fields |= {"kem_pre_key_id": found.kem_prekey_id}
    if found.dated is not None:
        fields |= {"made_at": found.dated.made_at, "bundle_signature": text(found.dated.signature)}
        if found.dated.last_resort_digest is not None:
            digest = text(found.dated.last_resort_digest)
            last = frames.LastResortPart(digest=digest, id=found.dated.last_resort_id)
            fields |= {"last_resort_kem_pre_key": last}
    return frames.RoutedKeyExchangeResponsePayload(
        identity_key=text(found.identity.public),
        pre_key_signature=text(found.signed_prekey_signature),
        sender_id=owner.id,
        signed_pre_key=text(found.signed_prekey),
        signed_pre_key_id=found.signed_prekey_id,
        **fields,
    )


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.fixture
def carol(desk: Desk) -> Iterator[Party]:
    """Somebody with prekeys and without a session, to whom a text waits."""
    party = Party(desk.vault.path.parent, "carol")
    with desk.vault.transaction() as tx:
        desk.stores.book.put(tx, ContactRecord(user_id=party.id, name="carol"))
    desk.write("1", peer=party.id)
    yield party
    party.vault.close()


def answer(desk: Desk, owner: Party, now: int, *, changes: dict[str, Any] | None = None, **bundle: bool) -> list[str]:
    found = replace(response(owner, **bundle), **(changes or {}))
    return codes(desk.sending.exchanges.receive(found, at(now)))


def test_prekeys_that_were_asked_for_begin_a_session_and_the_text_leaves(desk: Desk, carol: Party) -> None:
    assert answer(desk, carol, 0) == []
    assert not desk.stores.conversations.has_session(carol.id), "nobody has asked"
    assert asked(desk.send(0)) == [carol.id]
    assert answer(desk, carol, 1) == []
    assert desk.stores.conversations.has_session(carol.id)
    assert not desk.stores.book.to_introduce()
    assert ids(desk.send(2)) == ["1"]
    assert answer(desk, carol, 3) == [], "it was answered"


def test_exchange_that_only_introduces_leaves_the_session(desk: Desk) -> None:
    desk.change(greeted=False)
    assert asked(desk.send(0)) == [desk.bob.id]
    first = desk.stores.conversations.load(desk.bob.id).sessions[0].id
    assert answer(desk, desk.bob, 1) == []
    assert desk.stores.conversations.load(desk.bob.id).sessions[0].id == first
    assert desk.stores.book.to_introduce() == []
    assert list(desk.vault.all(records.RECOVERY, records.RecoveryRecord)) == []


def test_exchange_for_a_lost_session_begins_another_and_is_counted(desk: Desk) -> None:
    desk.sending.exchanges.renew(desk.bob.id)
    assert asked(desk.send(100)) == [desk.bob.id]
    first = desk.stores.conversations.load(desk.bob.id).sessions[0].id
    assert answer(desk, desk.bob, 101) == []
    assert desk.stores.conversations.load(desk.bob.id).sessions[0].id != first
    assert not desk.sending.exchanges.is_to_be_renewed(desk.bob.id)
    kept = desk.vault.get(records.RECOVERY, desk.bob.id, records.RecoveryRecord)
    assert kept is not None
    assert list(kept.at) == [at(101).persistent]
    desk.sending.exchanges.renew(desk.bob.id)
    assert asked(desk.send(102)) == [], "the new one is believed to be good for a while"


def test_question_is_asked_in_a_new_session_and_then_sent(desk: Desk) -> None:
    with desk.vault.transaction() as tx:
        assert desk.stores.recovery.note(tx, desk.bob.id, whole("9"), 0, recoverable=True)
    assert desk.sending._batching.has_urgent(desk.bob.id, at(100))
    desk.change(trust=Trust.CHANGED)
    assert desk.send(100) == []
    desk.change(trust=Trust.VERIFIED)
    desk.sending.visibility.is_absent = True
    assert desk.send(100) == []
    desk.sending.visibility.is_absent = False
    assert asked(desk.send(100)) == [desk.bob.id]
    assert answer(desk, desk.bob, 101) == []
    (frame,) = desk.send(102)
    statuses = desk.stores.receipts.statuses(desk.bob.id, frame.payload.message_id)
    assert statuses == {"delivered": [], "read": [], "burned": [], UNDECRYPTABLE: [whole("9")]}
    assert desk.stores.recovery.due(desk.bob.id, at(103).persistent) == []


@pytest.mark.parametrize(("had_one", "code"), [(False, "classical"), (True, "downgrade")])
def test_keys_without_post_quantum_ones_are_told_once_and_asked_for_ten_minutes_later(
    desk: Desk, carol: Party, had_one: bool, code: str
) -> None:
    with desk.vault.transaction() as tx:
        desk.stores.book.put(tx, replace(desk.stores.book.get(carol.id), post_quantum=had_one))
    assert asked(desk.send(100)) == [carol.id]
    assert answer(desk, carol, 100, kem=False) == [code]
    assert desk.send(99 + WEAK_AGAIN_MS) == []
    assert asked(desk.send(100 + WEAK_AGAIN_MS)) == [carol.id]
    assert answer(desk, carol, 100 + WEAK_AGAIN_MS, kem=False) == []
    assert desk.send(101 + WEAK_AGAIN_MS) == []
    desk.sending.reset_backoff(carol.id)
    with desk.vault.transaction() as tx:
        desk.stores.book.put(tx, replace(desk.stores.book.get(carol.id), allows_classical=True))
    assert asked(desk.send(102 + WEAK_AGAIN_MS)) == [carol.id]
    assert answer(desk, carol, 103 + WEAK_AGAIN_MS, kem=False) == ["classical"]
    message, exchange = desk.send(104 + WEAK_AGAIN_MS)
    assert ids([message]) == ["1"]
    assert asked([exchange]) == [carol.id], "their program may know more now"


def test_wrong_prekeys_are_told_and_asked_for_later(desk: Desk, carol: Party) -> None:
    assert asked(desk.send(100)) == [carol.id]
    assert answer(desk, carol, 100, changes={"bundle_signature": text(bytes(64))}) == ["key-exchange"]
    assert not desk.stores.conversations.has_session(carol.id)
    assert desk.sending.waits(100) == [30_000]
    assert desk.send(30_099) == []
    assert asked(desk.send(30_100)) == [carol.id]


def test_another_key_of_a_claimed_id_is_kept_for_the_user_to_look_at(desk: Desk, carol: Party) -> None:
    claimed, other = text(b"an id of 20 bytes..."), Party(desk.vault.path.parent, "other")
    other.prekeys._own_id = b"an id of 20 bytes..."
    other.published = publication_of(other.prekeys, one_time=95, kem=22, now=0, made_at=MADE_AT)
    with desk.vault.transaction() as tx:
        desk.stores.book.put(tx, ContactRecord(user_id=claimed, name="claimed", key=carol.identity.peer.public))
    desk.write("2", peer=claimed)
    assert sorted(asked(desk.send(100))) == sorted([carol.id, claimed])
    assert answer(desk, other, 100, changes={"sender_id": claimed}) == ["key-changed"]
    assert desk.stores.book.get(claimed).offered == other.identity.peer.public
    assert desk.sending.exchanges.has_changed(claimed)
    assert 60_000 in desk.sending.waits(100)
    other.vault.close()
