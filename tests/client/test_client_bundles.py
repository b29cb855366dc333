"""Prekeys with a date: who publishes them to whom, and what arrives of them at a peer."""

import base64
import hashlib

import pytest
from client_samples import DAY, Device, Town, pass_time, settle

from phantom_messenger.client import link
from phantom_messenger.client.bundles import bundle_of
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.errors import InvalidSignature
from phantom_messenger.crypto.prekeys import PreKeyBundle
from phantom_messenger.relay.handlers import login
from phantom_messenger.wire import codec, frames
from phantom_messenger.wire.codes import RequestError
from support.people import Frame, canonical
from support.simulated import HOUR, MINUTE, SECOND
from support.structs import replace


def make_older(patch: pytest.MonkeyPatch, which: str) -> None:
    """From now on, clients or relays know nothing of dates."""
    if which == "client":
        patch.setattr(link, "FEATURES", ["ack"])
    else:
        patch.setattr(login, "ANNOUNCED", ())


def published(device: Device) -> list[Frame]:
    return [frame["payload"] for frame in device.frames_sent("PREKEY_PUBLISH")]


def read(frame: Frame) -> PreKeyBundle:
    decoded = codec.decode_relay(canonical(frame))
    assert isinstance(decoded, frames.RoutedKeyExchangeResponse)
    return bundle_of(decoded.payload)


def bundles(device: Device) -> list[PreKeyBundle]:
    """What the relay has handed out to somebody."""
    return [read(frame) for frame in device.received if frame["type"] == "KEY_EXCHANGE_RESPONSE"]


def ask(device: Device, peer: Device) -> PreKeyBundle:
    """Write to somebody for the first time; what that brings."""
    device.send(peer, "hello")
    settle(device, peer)
    [found] = bundles(device)
    return found


# --- what arrives -----------------------------------------------------------------


def test_date_arrives_with_the_keys_that_it_is_of_and_verifies(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    bundle = ask(alice, bob)
    dated = bundle.dated
    assert dated is not None
    now = town.world.clock.wall
    dated.verify(now=now, newest=dated.made_at)
    assert (dated.user_id, dated.made_at) == (base64.b64decode(bob.id), published(bob)[-1]["madeAt"])
    assert abs(dated.made_at - now) < 10 * SECOND
    assert (dated.kem_prekey, dated.kem_prekey_id) == (bundle.kem_prekey, bundle.kem_prekey_id)
    last = published(bob)[-1]["lastResortKemPreKey"]
    assert dated.last_resort_id == last["id"] != bundle.kem_prekey_id
    assert dated.last_resort_digest == hashlib.sha256(base64.b64decode(last["key"])).digest()
    with pytest.raises(InvalidSignature):
        replace(dated, last_resort_digest=hashlib.sha256(dated.kem_prekey).digest()).verify(now=now, newest=0)


def test_bundle_without_one_time_keys_is_of_the_last_resort(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = town.devices("alice", "bob")
    monkeypatch.setattr("phantom_messenger.engines.sqlite.prekeys.PREKEY_HOUR_PER_TARGET", 0)
    dated = ask(alice, bob).dated
    assert dated is not None
    dated.verify(now=town.world.clock.wall, newest=0)
    assert (dated.one_time_prekey, dated.last_resort_digest) == (None, None)
    last = published(bob)[-1]["lastResortKemPreKey"]
    assert (dated.kem_prekey, dated.kem_prekey_id) == (base64.b64decode(last["key"]), last["id"])


def test_date_does_not_change_what_suite_1_does(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    make_older(monkeypatch, "client")
    alice, bob = town.devices("alice", "bob")
    alice.messenger.contacts.add("bob", bob.id)
    alice.messenger.contacts.allow_older("bob")
    assert ask(alice, bob).dated is None
    assert bob.read_all() == ["hello"]
    monkeypatch.undo()
    carol, dave = town.devices("carol", "dave")
    assert ask(carol, dave).dated is not None
    assert dave.read_all() == ["hello"]


def test_part_of_a_date_is_none(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    ask(alice, bob)
    [frame] = [frame for frame in alice.received if frame["type"] == "KEY_EXCHANGE_RESPONSE"]
    assert isinstance(read(frame).dated, DatedBundle), "the control"
    for names in (["madeAt"], ["bundleSignature"], ["kemPreKey"]):
        payload = {name: value for name, value in frame["payload"].items() if name not in names}
        assert read({**frame, "payload": payload}).dated is None


def answer_of_the_relay(town: Town) -> Frame:
    """An answer with a one-time KEM prekey and the digest of the last resort."""
    alice, bob = town.devices("alice", "bob")
    ask(alice, bob)
    [frame] = [frame for frame in alice.received if frame["type"] == "KEY_EXCHANGE_RESPONSE"]
    return frame


def with_last_resort(frame: Frame, **members: object) -> Frame:
    part = {**frame["payload"]["lastResortKemPreKey"], **members}
    return {**frame, "payload": {**frame["payload"], "lastResortKemPreKey": part}}


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize("lie", ["another digest", "another id", "no digest", "the one-time key as the last resort"])
def test_relay_that_lies_about_the_last_resort_is_found_out(town: Town, lie: str) -> None:
    frame = answer_of_the_relay(town)
    payload = frame["payload"]
    told = {
        "another digest": with_last_resort(frame, digest=text(bytes(32))),
        "another id": with_last_resort(frame, id=payload["lastResortKemPreKey"]["id"] + 1),
        "no digest": {**frame, "payload": {k: v for k, v in payload.items() if k != "lastResortKemPreKey"}},
        "the one-time key as the last resort": with_last_resort(
            frame,
            digest=text(hashlib.sha256(base64.b64decode(payload["kemPreKey"])).digest()),
            id=payload["kemPreKeyId"],
        ),
    }[lie]
    now, found = town.world.clock.wall, read(told).dated
    assert found is not None
    with pytest.raises(InvalidSignature):
        found.verify(now=now, newest=0)
    true = read(frame).dated
    assert true is not None
    true.verify(now=now, newest=0)


@pytest.mark.parametrize(
    "members",
    [
        {"key": text(bytes(1_184))},
        {"digest": text(bytes(31))},
        {"digest": text(bytes(33))},
        {"digest": text(bytes(1_184))},
        {"digest": None},
    ],
    ids=["both", "31 bytes", "33 bytes", "the key", "null"],
)
def test_answer_with_a_digest_of_another_form_is_no_answer(town: Town, members: Frame) -> None:
    frame = answer_of_the_relay(town)
    read(with_last_resort(frame))
    with pytest.raises(RequestError):
        read(with_last_resort(frame, **members))


# --- who publishes what -----------------------------------------------------------


def test_client_dates_what_it_publishes(town: Town) -> None:
    (bob,) = town.devices("bob")
    [payload] = published(bob)
    assert payload["madeAt"] == town.world.clock.wall


@pytest.mark.parametrize("older", ["client", "relay"])
def test_older_client_or_relay_means_no_date(town: Town, monkeypatch: pytest.MonkeyPatch, older: str) -> None:
    make_older(monkeypatch, older)
    alice, bob = town.devices("alice", "bob")
    [payload] = published(bob)
    assert payload.keys().isdisjoint({"madeAt", "bundleSignature"})
    alice.messenger.contacts.add("bob", bob.id)
    alice.messenger.contacts.allow_older("bob")
    assert ask(alice, bob).dated is None
    assert bob.read_all() == ["hello"]


@pytest.mark.parametrize("older", ["client", "relay"])
def test_upgrade_publishes_once_more_with_a_date(town: Town, monkeypatch: pytest.MonkeyPatch, older: str) -> None:
    with monkeypatch.context() as patch:
        make_older(patch, older)
        (bob,) = town.devices("bob")
    bob.cut()
    for _ in range(3):
        bob.kill()
        bob.login()
        pass_time(7 * HOUR, bob, step=MINUTE)
    first, second = published(bob)
    assert second["madeAt"] > 0
    assert "replace" not in second
    assert second["signedPreKey"] == first["signedPreKey"]
    assert (second["oneTimePreKeys"], second["kemPreKeys"]) == ([], [])
    (alice,) = town.devices("alice")
    dated = ask(alice, bob).dated
    assert dated is not None
    dated.verify(now=town.world.clock.wall, newest=0)


def again(device: Device, *, wall_error: int, later: int = 0) -> None:
    """Somebody's program ends, and starts again with another clock."""
    device.cut()
    device.world.clock.advance(later)
    device.wall_error = wall_error
    device.kill()
    device.login()


def test_clock_that_is_set_back_keeps_the_date(town: Town) -> None:
    (bob,) = town.devices("bob")
    again(bob, wall_error=-8 * DAY - HOUR, later=8 * DAY)
    first, second = published(bob)
    assert second["signedPreKey"] != first["signedPreKey"]
    assert second["madeAt"] == first["madeAt"] > town.world.clock.wall + bob.wall_error
    assert "replace" not in second


def test_clock_that_was_days_ahead_is_repaired_by_a_replacement(town: Town) -> None:
    bob = town.device("bob", wall_error=30 * DAY).login()
    assert published(bob)[-1]["madeAt"] > town.world.clock.wall + 29 * DAY
    again(bob, wall_error=0)
    first, last = published(bob)
    assert (last["replace"], last["madeAt"]) == (True, town.world.clock.wall)
    assert len(last["oneTimePreKeys"]) == len(first["oneTimePreKeys"])
    assert bob.messenger.prekeys_confirmed
    again(bob, wall_error=0)
    assert len(published(bob)) == 2


def test_relay_that_has_a_later_date_is_sent_all_anew(town: Town) -> None:
    """As when the same profile was used on a machine whose clock is ahead."""
    (bob,) = town.devices("bob")
    later = town.world.clock.wall + HOUR
    town.world.peek(lambda tx: tx.connection.execute("UPDATE bundle_signatures SET made_at = ?", (later,)))
    again(bob, wall_error=0, later=8 * DAY)
    assert "replace" not in published(bob)[-1], "its date is later by now"
    town.world.peek(lambda tx: tx.connection.execute("UPDATE bundle_signatures SET made_at = made_at + ?", (30 * DAY,)))
    again(bob, wall_error=0, later=8 * DAY)
    pass_time(5 * SECOND, bob)
    assert ["replace" in payload for payload in published(bob)] == [False, False, False, True]
    assert bob.messenger.prekeys_confirmed
    assert bob.troubles() == []
