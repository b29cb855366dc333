"""Prekeys for a message to many are asked for together, and whatever the relay answers, nobody waits for nothing."""

import base64
from pathlib import Path
from typing import Any

import pytest
from client_samples import Device, Tamper, Town, fast_folder, pass_time, settle
from many_copies import CONVERSATION, PLAIN, said, to_many

from phantom_messenger.client import key_exchanges
from phantom_messenger.client.key_exchanges import KEEP_EXCHANGES
from phantom_messenger.client.status import WarningEvent
from phantom_messenger.crypto.keys import OwnIdentity
from phantom_messenger.wire.codes import ErrorCode
from support.people import Frame
from support.simulated import MINUTE, SECOND, MakeWorld


def answering(change: Any, times: int = 1) -> Tamper:
    """Tamper: the relay's first answers about prekeys are others."""
    left = [times]

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] != "PREKEY_BUNDLES" or not left[0]:
            return [frame]
        left[0] -= 1
        return [change(frame)]

    return tamper


def fetches(device: Device) -> int:
    return len(device.frames_sent("PREKEY_FETCH"))


def test_refused_question_is_asked_again_when_the_relay_says(town: Town) -> None:
    alice, bob, carol = town.devices("alice", "bob", "carol")
    payload = {
        "code": int(ErrorCode.RATE_LIMITED),
        "details": {"reason": "rate"},
        "message": "Rate limited",
        "retryAfter": 30_000,
    }
    alice.tamper = answering(lambda frame: {**frame, "type": "ERROR", "payload": payload})
    to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    pass_time(29 * SECOND, alice, bob, carol)
    assert (fetches(alice), bob.read_all(), alice.troubles()) == (1, [], ["paused"])
    pass_time(2 * SECOND, alice, bob, carol)
    assert (fetches(alice), bob.read_all(), carol.read_all()) == (2, ["hello all"], ["hello all"])


def test_one_whom_the_answer_passes_over_is_asked_for_later(town: Town) -> None:
    alice, bob, carol = town.devices("alice", "bob", "carol")

    def without_carol(frame: Frame) -> Frame:
        bundles = [one for one in frame["payload"]["bundles"] if one["senderId"] != carol.id]
        return {**frame, "payload": {**frame["payload"], "bundles": bundles}}

    alice.tamper = answering(without_carol)
    to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    assert (fetches(alice), bob.read_all(), carol.read_all()) == (1, ["hello all"], [])
    pass_time(MINUTE, alice, bob, carol)
    assert (fetches(alice), carol.read_all()) == (2, ["hello all"])


def test_keys_of_somebody_else_and_doubled_ones_begin_nothing(town: Town) -> None:
    alice, bob, carol, dave = town.devices("alice", "bob", "carol", "dave")
    taken: list[Frame] = []

    def take(frame: Frame) -> Frame:
        taken.append(frame)
        return frame

    alice.tamper = answering(take)
    to_many(alice, [dave], "hello")
    settle(alice, dave)
    (of_dave,) = taken[0]["payload"]["bundles"]

    def with_more(frame: Frame) -> Frame:
        bundles = frame["payload"]["bundles"]
        return {
            **frame,
            "payload": {"bundles": [*bundles, *bundles, of_dave], "missing": [dave.id, bob.id]},
        }

    alice.tamper = answering(with_more)
    to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    assert bob.read_all() == carol.read_all() == ["hello all"]
    assert alice.troubles() == []


def test_wrong_key_is_told_and_asked_for_later(town: Town) -> None:
    alice, bob, carol = town.devices("alice", "bob", "carol")

    def swapped(frame: Frame) -> Frame:
        one, other = frame["payload"]["bundles"]
        bundles = [{**other, "senderId": one["senderId"]}, other]
        return {**frame, "payload": {**frame["payload"], "bundles": bundles}}

    alice.tamper = answering(swapped)
    to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    assert (fetches(alice), bob.read_all(), carol.read_all()) == (1, [], ["hello all"])
    assert alice.troubles() == ["key-exchange"]
    pass_time(MINUTE, alice, bob, carol)
    assert (fetches(alice), bob.read_all()) == (2, ["hello all"])


def test_question_that_is_not_answered_is_asked_again(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.tamper = lambda frame: [] if frame["type"] == "PREKEY_BUNDLES" else [frame]
    to_many(alice, [bob], "hello all")
    settle(alice, bob)
    alice.tamper = None
    pass_time(25 * SECOND, alice, bob)
    assert (fetches(alice), bob.read_all()) == (2, ["hello all"])


def test_text_and_message_to_many_share_one_question(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.messenger.contacts.add("bob", bob.id)
    alice.send(bob, "a text")
    to_many(alice, [bob], "to many")
    settle(alice, bob)
    assert (len(alice.frames_sent("KEY_EXCHANGE_INIT")), fetches(alice)) == (1, 0)
    assert bob.read_all() == ["a text", "to many"]


def test_fetching_makes_nobody_a_contact_of_the_relays(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.messenger.contacts.add("bob", bob.id)
    alice.cut()
    with alice.vault.transaction() as tx:
        alice.messenger._stores.book.introduced(tx, bob.id)
    alice.login()
    before = len(bob.received)
    to_many(alice, [bob], "hello")
    alice.fetch()
    alice.step_up()
    bob.fetch()
    settle(bob)
    assert (fetches(alice), len(bob.received)) == (1, before)


def strangers(count: int) -> list[str]:
    """Ids for which there is no account, as whoever makes up a group can give it members."""
    return [base64.b64encode(OwnIdentity(bytes([number] * 32)).peer.user_id).decode() for number in range(count)]


def write_to(device: Device, ids: list[str]) -> None:
    device.messenger.many.send(ids, said(device, "hello all"), PLAIN, conversation_id=CONVERSATION)


@pytest.mark.parametrize("keep", [KEEP_EXCHANGES, 0], ids=["as it is", "control: none are left to others"])
def test_members_who_are_made_up_leave_room_to_write_to_others(
    make_world: MakeWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    monkeypatch.setattr(key_exchanges, "KEEP_EXCHANGES", keep)
    with fast_folder(tmp_path) as folder:
        town = Town(make_world(), folder)  # its relay limits what is sent
        try:
            alice, bob = town.devices("alice", "bob")
            pass_time(2 * MINUTE, alice, bob)
            write_to(alice, strangers(98))
            pass_time(20 * SECOND, alice, bob)
            assert fetches(alice) == 10 - keep
            alice.send(bob, "hello, new one")
            pass_time(2 * SECOND, alice, bob)
            assert bob.read_all() == (["hello, new one"] if keep else [])
            pass_time(MINUTE, alice, bob)
            assert fetches(alice) > 10 - keep, "they are asked for again"
        finally:
            town.close()


def test_members_whom_the_relay_does_not_know_are_told_of_at_once(town: Town) -> None:
    (alice,) = town.devices("alice")
    write_to(alice, strangers(98))
    settle(alice)
    assert alice.troubles() == ["unknown-members"]
    (told,) = alice.heard(WarningEvent)
    assert (told.peer, "98 members" in told.message) == (None, True)


def test_control_one_alone_is_named(town: Town) -> None:
    (alice,) = town.devices("alice")
    write_to(alice, strangers(1))
    settle(alice)
    assert alice.troubles() == ["unknown-user"]
