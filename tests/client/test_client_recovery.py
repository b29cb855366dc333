"""What was lost, damaged or rolled back heals by itself: nothing is lost, everything is bounded, and people see it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from client_samples import Device, Town, again, fast_folder, pass_time, settle, with_field
from recovery_faults import STATE, FaultyDevice, run

from phantom_messenger.client import prekey_store, records, recovery
from phantom_messenger.client.batching import Batching
from phantom_messenger.client.outbox import Outbox
from phantom_messenger.client.outbox_queue import Queue
from phantom_messenger.client.prekey_store import PreKeyStore
from phantom_messenger.client.records import OutboxRecord
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.relay.records import ItemKind
from phantom_messenger.wire.frames import PresenceStatus
from support.amounts import seeds
from support.people import Frame
from support.simulated import HOUR, MINUTE, SECOND, MakeWorld, World

RUNS = seeds(4, 1_000)
GROUPS = seeds(2, 20)

pytestmark = pytest.mark.usefixtures("few_prekeys")


def friends(town: Town) -> tuple[FaultyDevice, FaultyDevice]:
    """Two who have talked, with nothing under way."""
    alice, bob = (FaultyDevice(town.world, town.folder / name, name) for name in ("alice", "bob"))
    town.made += [alice, bob]
    alice.login()
    bob.login()
    for one, other in ((alice, bob), (bob, alice)):
        one.messenger.contacts.add(other.name, other.id)
    settle(alice, bob)
    alice.send(bob, "hello")
    bob.send(alice, "hello yourself")
    pass_time(3 * SECOND, alice, bob)
    assert (alice.read_all(), bob.read_all()) == (["hello yourself"], ["hello"])
    pass_time(3 * SECOND, alice, bob)
    for one in (alice, bob):
        one.events.clear()
        one.sent.clear()
    return alice, bob


# --- faults, as chance has it -----------------------------------------------------


@pytest.mark.parametrize("group", range(GROUPS))
def test_no_text_is_lost_whatever_devices_forget(group: int, tmp_path: Path) -> None:
    for seed in range(group * RUNS // GROUPS, (group + 1) * RUNS // GROUPS):
        world = World()
        with fast_folder(tmp_path) as folder:
            ordeal = run(Town(world, folder), seed)
            assert ordeal.lost() == [], f"seed {seed}: {ordeal.faults}"
            assert ordeal.invented() == [], f"seed {seed}: {ordeal.faults}"
            ordeal.close()
        world.close()


@pytest.mark.parametrize("seed", range(3))
def test_no_text_is_lost_within_the_rates_of_a_relay(make_world: MakeWorld, tmp_path: Path, seed: int) -> None:
    with fast_folder(tmp_path) as folder:
        ordeal = run(Town(make_world(), folder), seed)
        assert ordeal.lost() == [], ordeal.faults
        ordeal.close()


def is_something_lost(tmp_path: Path, seeds: range) -> bool:
    """Whether a run of these loses a text."""
    for seed in seeds:
        world = World()
        with fast_folder(tmp_path) as folder:
            ordeal = run(Town(world, folder), seed)
            lost = ordeal.lost()
            ordeal.close()
        world.close()
        if lost:
            return True
    return False


def test_control_texts_are_lost_if_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batching, "ask", lambda *_: [])
    assert is_something_lost(tmp_path, range(20))


def test_control_texts_are_lost_if_nothing_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outbox, "resend", lambda *_: 0)
    assert is_something_lost(tmp_path, range(20))


def test_control_texts_are_lost_if_damaged_prekeys_stay_at_the_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PreKeyStore, "is_behind", lambda *_, **__: False)
    monkeypatch.setattr(recovery, "MAX_SESSIONS_PER_HOUR", 1)
    monkeypatch.setattr(recovery, "MAX_ASKS", 1)
    assert is_something_lost(tmp_path, range(60))


# --- one fault at a time ----------------------------------------------------------


@pytest.mark.parametrize("fault", ["backup", "sessions gone", "sessions bad", "all gone", "all bad"])
@pytest.mark.parametrize("whose", ["recipient", "sender", "both"])
def test_text_under_way_arrives_under_its_old_id(town: Town, fault: str, whose: str) -> None:
    alice, bob = friends(town)
    copies = {device.name: device.backup() for device in (alice, bob)}
    alice.send(bob, "one more")
    bob.send(alice, "and back")
    pass_time(3 * SECOND, alice, bob)
    assert (bob.read_all(), alice.read_all()) == (["one more"], ["and back"])
    pass_time(3 * SECOND, alice, bob)
    bob.cut()
    (number,) = alice.send(bob, "under way")
    settle(alice)
    for device in {"recipient": [bob], "sender": [alice], "both": [alice, bob]}[whose]:
        match fault:
            case "backup":
                device.restore(copies[device.name])
            case "sessions gone":
                device.lose(records.SESSIONS)
            case "sessions bad":
                device.damage(records.SESSIONS)
            case "all gone":
                device.lose(*STATE)
            case _:
                device.damage(*STATE)
    pass_time(2 * MINUTE, alice, bob, step=5 * SECOND, reconnect=True)
    got = [(record.message_id, record.text) for record in bob.waiting()]
    if fault == "backup" and whose == "both":
        return  # the only copy was the relay's ciphertext, and its keys are gone on both sides
    assert (number, "under way") in got
    alice.send(bob, "and on")
    bob.send(alice, "it goes")
    pass_time(2 * MINUTE, alice, bob, step=5 * SECOND, reconnect=True)
    assert bob.read_all()[-1] == "and on"
    assert alice.read_all()[-1] == "it goes"


def test_restart_alone_begins_no_session_and_sends_nothing_again(town: Town) -> None:
    alice, bob = friends(town)
    alice.send(bob, "before")
    for device in (alice, bob):
        device.kill()
    alice.sent.clear()
    pass_time(MINUTE, alice, bob, reconnect=True)
    assert bob.read_all() == ["before"]
    assert not alice.frames_sent("KEY_EXCHANGE_INIT") + bob.frames_sent("KEY_EXCHANGE_INIT")
    assert "waiting" not in bob.troubles()


def test_person_sees_that_a_text_is_waited_for_and_then_the_text(town: Town) -> None:
    alice, bob = friends(town)
    bob.cut()
    bob.lose(records.SESSIONS)
    alice.send(bob, "secret")
    settle(alice)
    bob.login()
    assert bob.troubles() == ["waiting"]
    pass_time(5 * SECOND, alice, bob)
    assert bob.read_all() == ["secret"]
    assert alice.troubles() == ["resent"]


def test_unreadable_text_is_not_acknowledged_and_gives_way_to_the_readable_one(town: Town) -> None:
    alice, bob = friends(town)
    bob.cut()
    bob.lose(records.SESSIONS)
    (number,) = alice.send(bob, "secret")
    settle(alice)
    bob.login()
    alice.cut()
    pass_time(5 * SECOND, bob)
    assert not [ack for ack in bob.frames_sent("MESSAGE_ACK") if ack["payload"].get("messageId") == number]
    alice.login()
    pass_time(5 * SECOND, alice, bob)
    assert bob.read_all() == ["secret"]
    bob.cut()
    bob.received.clear()
    bob.login()
    assert not [frame for frame in bob.received if frame["type"] == "MESSAGE"]


def test_text_that_burns_and_expires_keeps_both_when_it_is_sent_again(town: Town) -> None:
    alice, bob = friends(town)
    bob.cut()
    bob.lose(records.SESSIONS)
    alice.send(bob, "secret", burn=True, expires_in=HOUR)
    settle(alice)
    pass_time(10 * MINUTE, alice)
    bob.login()
    pass_time(5 * SECOND, alice, bob)
    (record,) = bob.waiting()
    assert record.burn
    assert record.expires_at is not None
    left = record.expires_at - town.world.clock.wall_ms()
    assert 49 * MINUTE < left <= 50 * MINUTE
    payloads = [frame["payload"] for frame in alice.frames_sent("MESSAGE")]
    sent = [payload["metadata"]["expiresIn"] for payload in payloads if "metadata" in payload]
    assert sent[0] == HOUR
    assert sent[-1] <= 50 * MINUTE


def test_text_that_has_expired_is_not_sent_again(town: Town) -> None:
    alice, bob = friends(town)
    (number,) = alice.send(bob, "secret", expires_in=MINUTE)
    settle(alice)
    pass_time(2 * MINUTE, alice)
    assert again(alice, bob, number) == 0


# --- bounds -----------------------------------------------------------------------


def garbled(frame: Frame) -> list[Frame]:
    """What a relay makes of every message: nobody can read it, and its signature does not fit."""
    if frame["type"] != "MESSAGE":
        return [frame]
    sealed = frame["payload"]["encrypted"]
    return [with_field(frame, encrypted=sealed[:-8] + ("AAAAAAA=" if sealed.endswith("=") else "AAAAAAAA"))]


def mumble(device: Device) -> None:
    """From now on nobody can read what a device sends, though it is signed as it should be."""
    genuine = device.messenger._stores.conversations.seal

    def seal(*arguments: Any) -> OutboxRecord:
        made: OutboxRecord = genuine(*arguments)
        return msgspec.structs.replace(made, sealed=made.sealed[:-1] + bytes((made.sealed[-1] ^ 1,)))

    device.messenger._stores.conversations.seal = seal  # type: ignore[method-assign, assignment] # what a malicious program does


def test_relay_that_garbles_everything_makes_nobody_ask_and_the_right_ones_come_later(town: Town) -> None:
    alice, bob = friends(town)
    bob.tamper = garbled
    alice.send(bob, "text")
    pass_time(HOUR, alice, bob, step=MINUTE, reconnect=True)
    assert bob.troubles() == ["unreadable"]
    assert not bob.frames_sent("KEY_EXCHANGE_INIT") + bob.frames_sent("MESSAGE")
    bob.tamper = None
    bob.cut()
    bob.login()
    assert bob.read_all() == ["text"]


def test_peer_whom_nobody_can_read_makes_a_bounded_number_of_sessions_and_messages(town: Town) -> None:
    alice, bob = friends(town)
    mumble(alice)
    for number in range(5):
        alice.send(bob, f"text {number}")
    pass_time(4 * HOUR, alice, bob, step=MINUTE, reconnect=True)
    pass_time(20 * HOUR, alice, bob, step=10 * MINUTE, reconnect=True)
    # Three sessions at most for each of the hours in which something was asked for.
    assert 1 <= len(bob.frames_sent("KEY_EXCHANGE_INIT")) <= 3 * recovery.MAX_ASKS
    assert len(alice.frames_sent("MESSAGE")) <= 5 * (1 + recovery.MAX_RESENDS) + 5
    assert not bob.waiting()


def test_control_without_its_bound_the_same_peer_makes_many_more(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "MAX_ASKS", 1_000_000)
    monkeypatch.setattr(recovery, "ASK_AGAIN_MS", 10 * SECOND)
    alice, bob = friends(town)
    mumble(alice)
    alice.send(bob, "text")
    for _ in range(6):
        pass_time(HOUR, alice, bob, step=MINUTE, reconnect=True)
        if len(bob.frames_sent("KEY_EXCHANGE_INIT")) > 3 * 3:
            return
    pytest.fail("there are no more in a quarter of the time")


def test_three_new_sessions_an_hour_and_none_within_thirty_seconds(town: Town) -> None:
    alice, bob = friends(town)
    mumble(alice)
    for number in range(60):
        alice.send(bob, f"text {number}")
        pass_time((15 if number < 15 else 60) * SECOND, alice, bob, step=15 * SECOND)
    assert len(bob.frames_sent("KEY_EXCHANGE_INIT")) == recovery.MAX_SESSIONS_PER_HOUR
    found = bob.vault.get(records.RECOVERY, alice.id, records.RecoveryRecord)
    assert found is not None
    assert len(found.at) == recovery.MAX_SESSIONS_PER_HOUR
    assert all(later - earlier >= recovery.SETTLE_MS for earlier, later in zip(found.at, found.at[1:], strict=False))


def test_peer_can_make_one_send_a_text_again_three_times(town: Town) -> None:
    alice, bob = friends(town)
    (number,) = alice.send(bob, "once")
    settle(alice, bob)
    counts = []
    for _ in range(6):
        counts.append(again(alice, bob, number))
        pass_time(SECOND, alice, bob)
        settle(alice, bob)
    assert counts == [1, 1, 1, 0, 0, 0]


def test_ids_of_other_peoples_messages_are_passed_over(town: Town) -> None:
    alice, bob = friends(town)
    (number,) = alice.send(bob, "for bob")
    pass_time(SECOND, alice, bob)
    carol = town.device("carol").login()
    assert again(alice, carol, number) == 0
    assert again(alice, bob, "00000000-0000-4000-8000-000000000000") == 0


def test_unreadable_messages_do_not_fill_a_mailbox_for_good(town: Town) -> None:
    alice, bob = friends(town)
    mumble(alice)
    for number in range(recovery.MAX_KEPT + 20):
        alice.send(bob, f"text {number}")
    pass_time(HOUR, alice, bob, step=MINUTE)
    waiting = town.world.peek(lambda tx: tx.mailboxes.read(bob.id, 0, 1 << 30, 0).items)
    assert len(waiting) == recovery.MAX_KEPT


def test_stranger_can_leave_five_unreadable_messages_in_a_mailbox(town: Town) -> None:
    _, bob = friends(town)
    carol = town.device("carol").login()
    carol.send(bob, "hello")
    settle(carol, bob)
    mumble(carol)
    for number in range(20):
        carol.send(bob, f"text {number}")
    pass_time(10 * MINUTE, carol, bob, step=10 * SECOND)
    waiting = town.world.peek(lambda tx: tx.mailboxes.read(bob.id, 0, 1 << 30, 0).items)
    assert len(waiting) == recovery.MAX_KEPT_OF_STRANGER


def test_relay_that_names_another_recipient_takes_no_text_away(town: Town) -> None:
    alice, bob = friends(town)
    carol = town.device("carol").login()
    bob.cut()

    def misdirected(frame: Frame) -> list[Frame]:
        accepted = frame["type"] == "MESSAGE_ACK" and frame["payload"]["status"] == "accepted"
        return [with_field(frame, recipientId=carol.id)] if accepted else [frame]

    alice.tamper = misdirected
    alice.send(bob, "for bob")
    settle(alice)
    assert alice.messenger.waiting == 1
    alice.tamper = None
    alice.cut()
    alice.login()
    bob.login()
    pass_time(3 * SECOND, alice, bob)
    assert bob.read_all() == ["for bob"]
    assert alice.messenger.waiting == 0


@pytest.mark.parametrize("kills", [False, True])
def test_texts_that_are_sent_again_keep_their_order_also_over_a_restart(town: Town, kills: bool) -> None:
    alice, bob = friends(town)
    bob.cut()
    bob.lose(records.SESSIONS)
    alice.send(bob, "1", "2", "3")
    settle(alice)
    bob.login()
    alice.cut()
    pass_time(3 * SECOND, bob)
    if kills:
        alice.kill()
    alice.login()
    pass_time(MINUTE, alice, bob)
    assert bob.read_all() == ["1", "2", "3"]


# --- strangers --------------------------------------------------------------------


def test_stranger_is_asked_only_once_they_were_added(town: Town) -> None:
    alice, bob = friends(town)
    carol = town.device("carol").login()
    carol.send(bob, "you do not know me")
    pass_time(3 * SECOND, carol, bob)
    assert bob.read_all() == ["you do not know me"]
    bob.cut()
    bob.lose(records.SESSIONS)
    carol.send(bob, "still here")
    settle(carol)
    bob.sent.clear()
    carol.received.clear()
    bob.login()
    pass_time(MINUTE, carol, bob, alice)
    assert bob.troubles() == ["unreadable"]
    assert not bob.frames_sent("KEY_EXCHANGE_INIT") + bob.frames_sent("MESSAGE")
    assert not [frame for frame in carol.received if frame["type"] in {"MESSAGE", "KEY_EXCHANGE_INIT"}]
    bob.messenger.contacts.add("carol", carol.id)
    pass_time(MINUTE, carol, bob)
    assert bob.read_all() == ["still here"]


# --- a relay that lost something --------------------------------------------------


def forget_messages(town: Town) -> None:
    """The relay's store loses the messages that wait, as an older backup of it does."""
    store: Any = town.world.store
    store._connection.execute("DELETE FROM items WHERE kind = ?", (ItemKind.MESSAGE,))


def test_text_that_the_relay_has_lost_is_sent_again_once_a_later_one_was_answered(town: Town) -> None:
    alice, bob = friends(town)
    bob.cut()
    (lost,) = alice.send(bob, "lost")
    settle(alice)
    assert alice.messenger.state_of(lost) is DeliveryState.ACCEPTED
    forget_messages(town)
    alice.send(bob, "kept")
    settle(alice)
    bob.login()
    pass_time(10 * MINUTE, alice, bob, step=5 * SECOND)
    assert bob.read_all() == ["kept"]
    pass_time(3 * MINUTE, alice, bob, step=5 * SECOND)
    assert bob.read_all() == ["lost"]
    assert alice.troubles() == ["resent"]


def test_control_without_looking_for_gaps_it_stays_lost(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outbox, "overtaken", lambda *_: [])
    alice, bob = friends(town)
    bob.cut()
    alice.send(bob, "lost")
    settle(alice)
    forget_messages(town)
    alice.send(bob, "kept")
    settle(alice)
    bob.login()
    pass_time(15 * MINUTE, alice, bob, step=5 * SECOND)
    assert bob.read_all() == ["kept"]


# --- prekeys after a restore ------------------------------------------------------


@pytest.mark.parametrize("fault", ["backup", "gone"])
def test_newcomer_reaches_at_once_somebody_whose_prekeys_were_lost(town: Town, fault: str) -> None:
    alice, bob = friends(town)
    copy = bob.backup()
    # So many first contacts that all prekeys of the copy are used up.
    for number in range(prekey_store.ONE_TIME_TARGET + 2):
        stranger: Any = town.device(f"stranger {number}").login()
        stranger.send(bob, "hello")
        settle(stranger, bob)
        stranger.close()
    pass_time(MINUTE, alice, bob)
    if fault == "backup":
        bob.restore(copy)
    else:
        bob.lose(records.PREKEY)
    bob.login()
    pass_time(5 * SECOND, bob)
    bob.events.clear()
    carol = Device(town.world, town.folder / "carol", "carol")
    town.made.append(carol)
    carol.login()
    carol.send(bob, "the first one")
    settle(carol, bob)
    assert "the first one" in bob.read_all()
    assert bob.troubles() == []
    carol.close()


# --- what is asked for stands in the order of what was encrypted ------------------


def tells_after_silence(town: Town) -> tuple[Device, Device]:
    """Bob, who looks absent, could not read something, and writes to Alice before he has asked for it."""
    alice, bob = friends(town)
    bob.messenger.tell_presence(PresenceStatus.OFFLINE)
    settle(alice, bob)
    now = bob.messenger._now()
    with bob.vault.transaction() as tx:
        unread = "00000000-0000-4000-8000-00000000abcd"
        bob.messenger._stores.recovery.note(tx, alice.id, unread, now.persistent, recoverable=True)
        bob.messenger._stores.recovery.began(tx, alice.id, now.persistent, now.monotonic)
    pass_time(3 * SECOND, alice, bob)
    bob.sent.clear()
    bob.send(alice, "are you there?")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)
    assert len(bob.frames_sent("MESSAGE")) == 2
    return alice, bob


def test_text_with_which_something_is_asked_for_does_not_seem_late(town: Town) -> None:
    alice, _ = tells_after_silence(town)
    assert "late" not in alice.troubles()


@pytest.mark.parametrize("lacks", ["order", "look ahead", "both"])
def test_order_is_kept_by_either_of_two_means(lacks: str, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    if lacks in {"order", "both"}:
        monkeypatch.setattr(Queue, "_sealed_head", lambda *_: None)
    if lacks in {"look ahead", "both"}:
        monkeypatch.setattr(Batching, "has_urgent", lambda *_: False)
    alice, _ = tells_after_silence(town)
    assert ("late" in alice.troubles()) == (lacks == "both")


def refused_text_before_a_question(town: Town) -> Device:
    """The relay refuses a text for a while, and meanwhile something comes that must be asked for."""
    alice, bob = friends(town)
    bob.send(alice, "hello again")
    bob.fetch()
    bob.up = [text for text in bob.up if '"MESSAGE"' not in text]
    bob.cut()
    now = bob.messenger._now()
    with bob.vault.transaction() as tx:
        unread = "00000000-0000-4000-8000-00000000abcd"
        bob.messenger._stores.recovery.note(tx, alice.id, unread, now.persistent, recoverable=True)
        bob.messenger._stores.recovery.began(tx, alice.id, now.persistent, now.monotonic)
    bob.login()
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)
    assert len(bob.frames_sent("MESSAGE")) == 2
    return alice


def test_text_that_was_encrypted_goes_before_a_question(town: Town) -> None:
    assert "late" not in refused_text_before_a_question(town).troubles()


def test_text_that_was_encrypted_would_seem_late_behind_a_question(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Queue, "_sealed_head", lambda *_: None)
    assert "late" in refused_text_before_a_question(town).troubles()
