import base64
import hashlib
from pathlib import Path

import pytest
from client_samples import DAY, YEAR, Device, Town, pass_time, raw_rows, settle, with_field

from phantom_messenger.client import records
from phantom_messenger.client.content import MAX_TEXT_BYTES
from phantom_messenger.client.errors import InvalidUserId, MessageTooLong, UsageError
from phantom_messenger.client.key_exchanges import WEAK_AGAIN_MS
from phantom_messenger.client.records import SentRecord
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    DeliveryEvent,
    DeliveryState,
    MessageEvent,
)
from phantom_messenger.wire.limits import MAX_EXPIRES_IN_MS
from support.people import Frame, canonical
from support.simulated import MINUTE, SECOND, MakeWorld


def states(device: Device, number: str) -> list[DeliveryState]:
    return [event.state for event in device.heard(DeliveryEvent) if event.message_id == number]


# --- texts ------------------------------------------------------------------------


def test_text_arrives_and_its_sender_hears_of_every_step(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello, Bob")
    assert alice.messenger.state_of(number) is DeliveryState.QUEUED
    settle(alice, bob)
    (record,) = bob.waiting()
    assert (record.text, record.sender, record.message_id) == ("hello, Bob", alice.id, number)
    assert states(alice, number) == [DeliveryState.ACCEPTED]
    pass_time(SECOND, alice, bob)
    assert states(alice, number) == [DeliveryState.ACCEPTED, DeliveryState.DELIVERED]
    (event,) = bob.heard(MessageEvent)
    assert (event.message_id, event.peer.name) == (number, "alice")
    bob.messenger.mark_read(alice.id, number)
    pass_time(SECOND, alice, bob)
    assert states(alice, number) == [DeliveryState.ACCEPTED, DeliveryState.DELIVERED, DeliveryState.READ]
    assert alice.messenger.state_of(number) is DeliveryState.READ


def test_text_waits_at_the_relay_for_its_recipient(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.cut()
    numbers = alice.send(bob, "one", "two")
    settle(alice)
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}
    bob.login()
    settle(alice, bob)
    assert bob.read_all() == ["one", "two"]
    pass_time(SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}


def test_text_waits_on_the_machine_for_the_relay(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.cut()
    numbers = alice.send(bob, "one", "two")
    assert alice.messenger.waiting == 2
    alice.login()
    settle(alice, bob)
    assert alice.messenger.waiting == 0
    pass_time(SECOND, alice, bob)
    assert bob.read_all() == ["one", "two"]
    assert alice.states(numbers) == {DeliveryState.DELIVERED}


def test_both_may_begin_at_once(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.send(bob, "a1", "a2", "a3")
    bob.send(alice, "b1", "b2", "b3")
    settle(alice, bob)
    assert alice.read_all() == ["b1", "b2", "b3"]
    assert bob.read_all() == ["a1", "a2", "a3"]
    alice.send(bob, "a4")
    bob.send(alice, "b4")
    settle(alice, bob)
    assert (alice.read_all(), bob.read_all()) == (["b4"], ["a4"])
    assert alice.troubles() == bob.troubles() == []


def test_text_written_while_earlier_ones_wait_for_a_session_is_not_called_late(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.send(bob, "one", "two")
    for _ in range(4):
        alice.fetch()
        alice.step_up()
        alice.step_down()
    assert alice.messenger.contacts.of(bob.id).key is not None
    alice.send(bob, "three")
    settle(alice, bob)
    assert bob.read_all() == ["one", "two", "three"]
    assert bob.troubles() == []


@pytest.mark.parametrize("character", ["x", "\0", "€", "👻"])
def test_longest_text_arrives_as_a_first_message(town: Town, character: str) -> None:
    alice, bob = town.devices("alice", "bob")
    text = character * (MAX_TEXT_BYTES // len(character.encode()))
    alice.send(bob, text, burn=True, expires_in=MAX_EXPIRES_IN_MS)
    settle(alice, bob)
    assert bob.read_all() == [text]


def test_empty_text_arrives(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.send(bob, "")
    settle(alice, bob)
    assert [record.text for record in bob.waiting()] == [""]


def test_text_that_cannot_be_sent_leaves_nothing_behind(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    before = raw_rows(alice.vault)
    stranger = base64.b64encode(hashlib.sha256(b"stranger").digest()).decode()
    with pytest.raises(MessageTooLong):
        alice.send(bob, "x" * 40_001)
    with pytest.raises(UsageError, match="half a character"):
        alice.send(bob, "a\ud83d")
    for lifetime in (0, -1, MAX_EXPIRES_IN_MS + 1):
        with pytest.raises(UsageError, match="365 days"):
            alice.send(bob, "hello", expires_in=lifetime)
    for nobody in ("", "bob", alice.id, stranger[:-1], stranger + "\n"):
        with pytest.raises(InvalidUserId):
            alice.messenger.send_text(nobody, "hello")
    assert raw_rows(alice.vault) == before
    settle(alice, bob)
    assert alice.frames_sent("MESSAGE") == []


def test_stranger_who_writes_has_no_name(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.send(bob, "do you know me?")
    settle(alice, bob)
    (event,) = bob.heard(MessageEvent)
    assert (event.peer.name, event.peer.user_id) == ("", alice.id)
    assert event.peer.key == base64.b64decode(alice.frames_sent("AUTH")[0]["payload"]["publicKey"])
    (contact,) = bob.messenger.contacts.everybody()
    assert contact == event.peer


def test_stranger_learns_accepted_and_no_more(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    (number,) = alice.send(bob, "do you know me?")
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    bob.read_all()
    pass_time(3 * MINUTE, alice, bob)
    assert states(alice, number) == [DeliveryState.ACCEPTED]
    assert bob.frames_sent("MESSAGE") == bob.frames_sent("KEY_EXCHANGE_INIT") == []


def test_receipts_reach_a_sender_whom_the_recipient_added_before_writing_anything(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    bob.messenger.contacts.add("alice", alice.id)
    settle(alice, bob)
    (number,) = alice.send(bob, "hello")
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    bob.read_all()
    pass_time(SECOND, alice, bob)
    assert list(bob.vault.all(records.SENT, SentRecord)) == []
    assert states(alice, number) == [DeliveryState.ACCEPTED, DeliveryState.DELIVERED, DeliveryState.READ]


def test_receipts_reach_a_sender_whom_the_recipient_added_while_offline(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    bob.cut()
    bob.messenger.contacts.add("alice", alice.id)
    bob.kill()
    bob.login()
    settle(alice, bob)
    (number,) = alice.send(bob, "hello")
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    assert states(alice, number) == [DeliveryState.ACCEPTED, DeliveryState.DELIVERED]


def test_adding_a_contact_brings_their_key(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.messenger.contacts.add("bob", bob.id)
    settle(alice, bob)
    number = alice.messenger.contacts.safety_number("bob")
    alice.send(bob, "hello")
    settle(alice, bob)
    assert bob.messenger.contacts.safety_number(alice.id) == number


# --- reading ----------------------------------------------------------------------


def test_text_is_handed_out_until_it_was_handled(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "one", "two", "three")
    settle(alice, bob)
    assert [record.text for record in bob.waiting()] == ["one", "two", "three"]
    bob.kill()  # before anything was handled
    assert [record.text for record in bob.waiting()] == ["one", "two", "three"]
    bob.messenger.mark_read(alice.id, numbers[1])
    bob.messenger.handled(alice.id, numbers[0])
    assert [record.text for record in bob.waiting()] == ["three"]
    bob.kill()
    assert [record.text for record in bob.waiting()] == ["three"]


def test_position_leaves_out_what_was_seen_before_it(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "one", "two")
    settle(alice, bob)
    first = bob.messenger.next_received(0)
    assert first is not None
    second = bob.messenger.next_received(first[0])
    assert second is not None
    assert (first[1].text, second[1].text) == ("one", "two")
    assert bob.messenger.next_received(second[0]) is None


def test_texts_of_one_sender_leave_those_of_others(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    alice.send(bob, "of alice")
    settle(alice, bob)
    carol.send(bob, "of carol")
    settle(carol, bob)
    found = bob.messenger.next_received(0, carol.id)
    assert found is not None
    assert found[1].text == "of carol"
    assert bob.messenger.next_received(found[0], carol.id) is None
    assert [record.text for record in bob.waiting()] == ["of alice", "of carol"]


def test_reading_twice_tells_once(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    settle(alice, bob)
    for _ in range(3):
        bob.messenger.mark_read(alice.id, number)
        settle(alice, bob)
    bob.messenger.mark_read(alice.id, "00000000-0000-4000-8000-000000000000")
    bob.messenger.mark_read(bob.id, number)
    settle(alice, bob)
    told = [frame["payload"]["status"] for frame in bob.frames_sent("MESSAGE_ACK") if "messageId" in frame["payload"]]
    assert told == ["delivered", "read"]
    pass_time(MINUTE, alice, bob)
    assert states(alice, number) == [DeliveryState.ACCEPTED, DeliveryState.READ]
    assert len(bob.frames_sent("MESSAGE")) == 1


# --- identity and connection ------------------------------------------------------


def test_identity_and_server_are_those_of_the_vault(town: Town) -> None:
    alice = town.device("alice")
    assert alice.messenger.server == ""
    alice.messenger.set_server("wss://relay.example/ws")
    before = raw_rows(alice.vault)
    alice.messenger.set_server("wss://relay.example/ws")
    assert raw_rows(alice.vault) == before
    alice.kill()
    assert (alice.messenger.user_id, alice.messenger.server) == (alice.id, "wss://relay.example/ws")
    assert town.device("bob").id != alice.id


@pytest.mark.parametrize("error", [-YEAR, YEAR])
def test_wrong_clock_does_not_keep_anybody_from_talking(town: Town, error: int) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.kill()
    alice.wall_error = error
    alice.login()
    alice.send(bob, "hello")
    settle(alice, bob)
    bob.send(alice, "hello yourself")
    settle(alice, bob)
    (at_bob,), (at_alice,) = bob.waiting(), alice.waiting()
    now = town.world.clock.wall_ms()
    assert (at_bob.sent_at, at_bob.received_at) == (now + error, now)
    assert (at_alice.sent_at, at_alice.received_at) == (now, now + error)
    assert alice.troubles() == ["clock"]


@pytest.mark.parametrize("error", [-YEAR, YEAR])
def test_first_message_waits_until_a_wrong_clock_is_right(town: Town, error: int) -> None:
    """By which clock should one see that the relay hands out old keys, if not by one's own?"""
    alice, bob = town.device("alice", wall_error=error).login(), town.device("bob").login()
    alice.send(bob, "hello")
    settle(alice, bob)
    assert alice.troubles() == ["clock", "stale-keys"]
    assert not alice.frames_sent("MESSAGE")
    alice.wall_error = 0
    pass_time(WEAK_AGAIN_MS + MINUTE, alice, bob, step=10 * SECOND)
    assert bob.read_all() == ["hello"]


@pytest.mark.parametrize("error", [-YEAR * 60, YEAR * 9_000])
def test_text_written_offline_under_an_impossible_clock_is_read_all_the_same(town: Town, error: int) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.kill()
    alice.wall_error = error
    alice.send(bob, "hello")
    alice.login()
    settle(alice, bob)
    assert bob.read_all() == ["hello"]
    assert bob.troubles() == []


def test_replaced_session_does_not_come_back(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    (tmp_path / "copy").mkdir()
    twin = Device(town.world, tmp_path / "copy", "alice")
    twin.close()
    (tmp_path / "copy" / "alice.vault").write_bytes(b"")
    for suffix in ("", "-wal"):
        (tmp_path / "copy" / f"alice.vault{suffix}").write_bytes(Path(f"{alice.vault.path}{suffix}").read_bytes())
    twin = Device(town.world, tmp_path / "copy", "alice").login()
    settle(alice, twin)
    assert not alice.is_connected
    assert not alice.may_reconnect
    assert alice.heard(ConnectionEvent)[-1].state is ConnectionState.REPLACED
    assert twin.messenger.is_online
    bob.send(alice, "hello")
    settle(bob, twin)
    assert [record.text for record in twin.waiting()] == ["hello"]
    twin.close()


CLOSES = {
    "network": (None, "", True),
    "shutdown": (1001, "the relay is stopping", True),
    "idle": (1001, "idle", True),
    "relay failed": (1011, "", True),
    "too slow a login": (4000, "authentication required", True),
    "too much": (4002, "too many refused messages", True),
    "refused": (4001, "authentication failed", True),
    "not understood": (4003, "too many malformed messages", True),
    "broken protocol": (1002, "", True),
    "broken text": (1007, "", True),
    "too big": (1009, "", True),
    "replaced": (1008, "replaced by a newer login", False),
    "closed by somebody on the way": (1000, "", True),
}


@pytest.mark.parametrize(("code", "reason", "again"), CLOSES.values(), ids=CLOSES)
def test_close_code_says_whether_to_connect_again(town: Town, code: int | None, reason: str, again: bool) -> None:
    (alice,) = town.devices("alice")
    assert alice.messenger.disconnected(code, reason) is again
    assert not alice.messenger.is_online


@pytest.mark.parametrize("code", [4001, None])
def test_refused_login_is_not_tried_again_however_the_connection_ends(town: Town, code: int | None) -> None:
    alice = town.device("alice")
    alice.connect()
    details = {"reason": "identity"}
    payload = {"code": 1002, "reason": "This user id belongs to another key.", "details": details}
    alice.messenger.receive(canonical({"type": "AUTH_FAILURE", "payload": payload, "timestamp": 1}).decode())
    assert alice.messenger.is_lost
    assert not alice.messenger.disconnected(code, "")
    alice.hear()
    (event,) = alice.heard(ConnectionEvent)
    why = "the relay says that this user ID belongs to another key"
    assert event == ConnectionEvent(state=ConnectionState.REFUSED, reason=why)


@pytest.mark.parametrize("code", [4001, 4003, 1002, 1007, 1009])
def test_relay_that_is_at_odds_is_tried_again_late_and_each_time_later(town: Town, code: int) -> None:
    (alice,) = town.devices("alice")
    waits = []
    for _ in range(4):
        alice.messenger.dialling()
        assert alice.messenger.disconnected(code, "")
        waits.append(alice.messenger.retry_after)
    assert waits == [60_000, 120_000, 240_000, 300_000]
    alice.cut()
    alice.login()
    assert alice.messenger.disconnected(code, "")
    assert alice.messenger.retry_after == 60_000


def test_close_that_says_replaced_before_the_login_is_an_outage(town: Town) -> None:
    alice = town.device("alice")
    alice.connect()
    assert alice.messenger.disconnected(1008, "replaced by a newer login")
    alice.hear()
    assert [event.state for event in alice.heard(ConnectionEvent)] == [ConnectionState.OFFLINE]


WORDS = {
    "audience": True,
    "challenge": True,
    "clock": True,
    "field": True,
    "of later": True,
    "rate": True,
    "overload": True,
    "storage": True,
    "identity": False,
    "signature": False,
    "key": False,
    "unsigned": False,
}


@pytest.mark.parametrize(("word", "again"), WORDS.items())
@pytest.mark.parametrize("was_in", [False, True])
def test_only_a_refusal_of_this_identity_ends_a_client(town: Town, word: str, again: bool, was_in: bool) -> None:
    alice = town.device("alice")
    if was_in:
        alice.login()
        alice.cut()
    assert refused(alice, {"details": {"reason": word}}) is again


@pytest.mark.parametrize("was_in", [False, True])
def test_relay_that_names_no_reason_ends_a_client_that_it_never_let_in(town: Town, was_in: bool) -> None:
    """A relay of version 0.1.0."""
    alice = town.device("alice")
    if was_in:
        alice.login()
        alice.cut()
    assert refused(alice, {}) is was_in


@pytest.mark.parametrize("was_in", [False, True], ids=["never seen", "has let it in before"])
def test_relay_of_another_version_is_left_for_good_if_it_never_spoke_this_one(town: Town, was_in: bool) -> None:
    alice = town.device("alice")
    if was_in:
        alice.login()
        alice.cut()
        alice.sent.clear()
    before = len(alice.heard(ConnectionEvent))
    alice.tamper = lambda frame: (
        [with_field(frame, protocolVersion=2)] if frame["type"] == "CONNECTION_ACK" else [frame]
    )
    alice.connect()
    settle(alice)
    assert alice.may_reconnect is was_in
    assert alice.frames_sent("AUTH") == []
    event = next(one for one in alice.heard(ConnectionEvent)[before:] if one.reason)
    assert event.reason.startswith("the relay speaks version 2 of the protocol; update this program")
    assert event.state is (ConnectionState.OFFLINE if was_in else ConnectionState.REFUSED)
    if was_in:
        assert alice.messenger.retry_after == 60_000


def refused(device: Device, payload: Frame) -> bool:
    """A login is refused; whether it is tried again."""
    device.connect()
    full = {"code": 1002, "reason": "No.", **payload}
    device.messenger.receive(canonical({"type": "AUTH_FAILURE", "payload": full, "timestamp": 1}).decode())
    assert device.messenger.is_lost
    return device.messenger.disconnected(4001, "authentication failed")


def test_wait_that_a_relay_names_for_a_login_is_bounded_and_told(town: Town) -> None:
    alice = town.device("alice")
    assert refused(alice, {"code": 1003, "retryAfter": 2**53 - 1, "details": {"reason": "rate"}})
    assert alice.messenger.retry_after == 3_600_000
    alice.hear()
    (event,) = alice.heard(ConnectionEvent)
    assert event == ConnectionEvent(
        state=ConnectionState.OFFLINE,
        reason="there were too many logins from here; retrying in 60 minutes",
        busy=True,
        retry_after=3_600,
    )


def test_deleted_account_is_gone_from_the_relay(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    assert alice.messenger.delete_account()
    settle(alice, bob)
    assert alice.closes == [(1000, "account deleted")]
    assert not alice.may_reconnect
    assert not alice.messenger.delete_account()
    bob.send(alice, "are you there?")
    settle(alice, bob)
    assert bob.troubles() == ["unknown-user"]


def test_restart_of_the_relay_loses_nothing(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.cut()
    alice.send(bob, "before")
    settle(alice, bob)
    alice.cut()
    alice.send(bob, "meanwhile")
    again = town.world.restarted()
    alice.world = bob.world = again
    alice.login()
    bob.login()
    alice.send(bob, "after")
    settle(alice, bob)
    assert bob.read_all() == ["before", "meanwhile", "after"]


# --- prekeys ----------------------------------------------------------------------


def published(device: Device) -> list[Frame]:
    return device.frames_sent("PREKEY_PUBLISH")


@pytest.mark.usefixtures("shipped_prekeys")
def test_prekeys_are_published_at_the_first_login_and_then_confirmed(town: Town) -> None:
    alice = town.device("alice")
    confirmed = [alice.messenger.prekeys_confirmed]
    alice.login()
    confirmed.append(alice.messenger.prekeys_confirmed)
    assert confirmed == [False, True]
    (frame,) = published(alice)
    assert (len(frame["payload"]["oneTimePreKeys"]), len(frame["payload"]["kemPreKeys"])) == (100, 25)
    alice.cut()
    alice.login()
    assert len(published(alice)) == 1


@pytest.mark.usefixtures("shipped_prekeys")
def test_prekeys_that_the_relay_lost_are_published_again(town: Town, make_world: MakeWorld) -> None:
    (alice,) = town.devices("alice")
    alice.cut()
    alice.world = make_world(limits=False)
    alice.login()
    first, second = published(alice)
    assert len(second["payload"]["oneTimePreKeys"]) == 100
    keys = [{key["id"] for key in frame["payload"]["oneTimePreKeys"]} for frame in (first, second)]
    assert keys[0].isdisjoint(keys[1])


@pytest.mark.usefixtures("shipped_prekeys")
def test_prekeys_are_filled_up_when_few_are_left(town: Town) -> None:
    (alice,) = town.devices("alice")
    for number in range(17):
        town.device(f"guest {number}").login().send(alice, "hello")
    guests = [device for device in town.made if device is not alice]
    settle(alice, *guests)
    assert len(alice.read_all()) == 17
    assert len(published(alice)) >= 2
    assert len(published(alice)[1]["payload"]["kemPreKeys"]) >= 15
    left = [frame["payload"]["kemPreKeys"] for frame in alice.received if frame["type"] == "PREKEY_STATUS"]
    assert left[-1] >= 10
    assert alice.troubles() == []


def test_signed_prekey_is_renewed_at_a_login_a_week_later(town: Town) -> None:
    (alice,) = town.devices("alice")
    alice.cut()
    town.world.clock.advance(7 * DAY + 1)
    alice.login()
    first, second = published(alice)
    assert first["payload"]["signedPreKey"]["id"] != second["payload"]["signedPreKey"]["id"]


def test_signed_prekey_is_renewed_while_one_stays_connected(town: Town) -> None:
    (alice,) = town.devices("alice")
    for _ in range(8 * 24):
        # An hour at a time, in which the device is heard before the relay calls it idle.
        town.world.clock.advance(60 * MINUTE)
        alice.messenger.tick()
        settle(alice)
        town.world.tick()
    assert alice.messenger.is_online
    assert len(alice.closes) == 0
    assert len(published(alice)) >= 2


def test_peer_can_begin_with_somebody_who_was_quiet_for_months(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    for _ in range(15):
        alice.cut()
        town.world.clock.advance(7 * DAY + 1)
        alice.login()
    bob.cut()
    bob.login()
    bob.send(alice, "long time no see")
    settle(alice, bob)
    assert alice.read_all() == ["long time no see"]
    assert alice.troubles() == []
