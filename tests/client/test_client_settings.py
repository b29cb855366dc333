"""What nobody is told when the user has said so."""

from pathlib import Path

import pytest
from client_samples import KEM_FIELDS, KEY, Device, Town, pass_time, settle, without_field

from phantom_messenger.client import records
from phantom_messenger.client.backup import export_profile, import_profile
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.records import BlockRecord, ReceivedRecord, SettingsRecord
from phantom_messenger.client.settings import Settings
from phantom_messenger.client.status import DeliveryState, PresenceEvent
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire.frames import PresenceStatus
from support.simulated import MINUTE, SECOND


def told(device: Device) -> list[str]:
    """What it told the relay of what became of texts."""
    return [one["payload"]["status"] for one in device.frames_sent("MESSAGE_ACK") if "messageId" in one["payload"]]


def seen(device: Device) -> list[str]:
    return [event.status for event in device.heard(PresenceEvent)]


def features(device: Device) -> list[list[str]]:
    return [one["payload"]["features"] for one in device.frames_sent("AUTH")]


# --- read -------------------------------------------------------------------------


@pytest.mark.parametrize("receipts", [False, True], ids=["off", "control: on"])
@pytest.mark.parametrize("burn", [False, True], ids=["plain", "burns"])
def test_nobody_is_told_that_a_text_was_read(town: Town, receipts: bool, burn: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger.change_settings(read_receipts=receipts)
    bob.sent.clear()
    (number,) = alice.send(bob, "seen?", burn=burn)
    pass_time(3 * SECOND, alice, bob)
    assert bob.read_all() == ["seen?"]
    pass_time(MINUTE, alice, bob)
    last = DeliveryState.BURNED if burn else DeliveryState.READ
    assert alice.messenger.state_of(number) is (last if receipts else DeliveryState.DELIVERED)
    assert set(told(bob)) == ({"delivered", str(last)} if receipts else {"delivered"})
    record = bob.vault.get("received", f"{alice.id} {number}", ReceivedRecord)
    assert record is not None
    assert record.text == (None if burn else "seen?")  # it burns here all the same


def test_text_that_comes_again_does_not_tell_either(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger.change_settings(read_receipts=False)
    kept: list[str] = []
    bob.tamper = lambda frame: kept.append(frame) or [frame] if frame["type"] == "MESSAGE" else [frame]  # type: ignore[func-returns-value, arg-type] # it keeps it by the way
    (number,) = alice.send(bob, "seen?")
    pass_time(3 * SECOND, alice, bob)
    bob.read_all()
    bob.messenger.change_settings(read_receipts=True)
    bob.tamper = lambda frame: [frame, kept[0]] if frame["type"] == "PONG" else [frame]  # type: ignore[list-item] # a frame
    pass_time(MINUTE, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.DELIVERED


# --- typing and presence ----------------------------------------------------------


@pytest.mark.parametrize("typing", [False, True], ids=["off", "control: on"])
def test_nobody_is_told_that_one_types(town: Town, typing: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger.change_settings(typing=typing)
    bob.messenger.tell_typing(alice.id)
    settle(alice, bob)
    assert seen(alice) == (["typing"] if typing else [])


def test_typing_never_keeps_presence_from_being_told(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    for _ in range(40):
        bob.messenger.tell_typing(alice.id)
    bob.messenger.tell_presence(PresenceStatus.OFFLINE)
    settle(bob)
    assert bob.frames_sent("PRESENCE")[-1]["payload"] == {"status": "offline"}


def test_presence_that_had_to_wait_is_told_when_the_relay_takes_it(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger._link.is_limited = True  # type: ignore[union-attr] # as a relay with limits says
    for turn in range(31):
        bob.messenger.tell_presence((PresenceStatus.IDLE, PresenceStatus.ONLINE)[turn % 2])
    bob.messenger.tell_presence(PresenceStatus.OFFLINE)
    settle(alice, bob)
    assert bob.frames_sent("PRESENCE")[-1]["payload"]["status"] != "offline"  # the relay would have refused it
    pass_time(2 * MINUTE, alice, bob)
    assert bob.frames_sent("PRESENCE")[-1]["payload"] == {"status": "offline"}


@pytest.mark.parametrize("how", ["setting", "presence"])
def test_absence_survives_a_new_connection(town: Town, how: str) -> None:
    alice, bob = town.friends("alice", "bob")
    if how == "setting":
        bob.messenger.change_settings(presence=False)
    else:
        bob.messenger.tell_presence(PresenceStatus.OFFLINE)
    settle(alice, bob)
    assert seen(alice) == ["offline"]
    bob.cut()
    bob.sent.clear()
    alice.events.clear()
    bob.login()
    alice.messenger.ask_presence(bob.id)
    pass_time(20 * SECOND, alice, bob)
    assert seen(alice) == ["offline"]  # the answer alone
    assert features(bob) == [["ack", "suite2", "many", "devices", "allowance", "absent"]]
    assert bob.frames_sent("PRESENCE") == []
    bob.messenger.tell_typing(alice.id)
    settle(alice, bob)
    assert bob.frames_sent("PRESENCE") == []
    if how == "setting":
        bob.messenger.change_settings(presence=True)
    else:
        bob.messenger.tell_presence(PresenceStatus.ONLINE)
    settle(alice, bob)
    assert bob.frames_sent("PRESENCE")[-1]["payload"] == {"status": "online"}


def test_control_without_absence_a_session_begins_as_ever(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.cut()
    pass_time(20 * SECOND, alice)
    bob.login()
    settle(alice, bob)
    assert features(bob)[-1] == ["ack", "suite2", "many", "devices", "allowance"]
    assert seen(alice) == ["offline", "online"]


# --- while absent -----------------------------------------------------------------


def absent(town: Town) -> tuple[Device, Device]:
    """Two friends, the second of whom looks absent."""
    alice, bob = town.friends("alice", "bob")
    bob.messenger.tell_presence(PresenceStatus.OFFLINE)
    settle(alice, bob)
    bob.sent.clear()
    return alice, bob


def test_delivered_waits_until_one_writes(town: Town) -> None:
    alice, bob = absent(town)
    (first,) = alice.send(bob, "are you there?")
    pass_time(2 * MINUTE, alice, bob)
    assert len(bob.waiting()) == 1
    assert bob.frames_sent("MESSAGE") == []
    assert alice.messenger.state_of(first) is DeliveryState.ACCEPTED
    bob.send(alice, "yes")
    pass_time(10 * SECOND, alice, bob)
    assert alice.messenger.state_of(first) is DeliveryState.DELIVERED
    count = len(bob.frames_sent("MESSAGE"))
    (second,) = alice.send(bob, "and now?")
    pass_time(2 * MINUTE, alice, bob)
    assert len(bob.frames_sent("MESSAGE")) == count  # once is not for ever
    assert alice.messenger.state_of(second) is not DeliveryState.READ


def test_reading_tells_unless_nothing_is_told_of_it(town: Town) -> None:
    alice, bob = absent(town)
    (number,) = alice.send(bob, "one")
    pass_time(3 * SECOND, alice, bob)
    bob.read_all()
    pass_time(10 * SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.READ
    bob.messenger.change_settings(read_receipts=False)
    alice.send(bob, "two")
    pass_time(3 * SECOND, alice, bob)
    count = len(bob.frames_sent("MESSAGE"))
    bob.read_all()
    pass_time(2 * MINUTE, alice, bob)
    assert len(bob.frames_sent("MESSAGE")) == count


def test_control_one_who_is_there_says_delivered(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "are you there?")
    pass_time(10 * SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.DELIVERED


def test_what_waited_is_said_when_one_is_there_again(town: Town) -> None:
    alice, bob = absent(town)
    (number,) = alice.send(bob, "are you there?")
    pass_time(MINUTE, alice, bob)
    bob.messenger.tell_presence(PresenceStatus.ONLINE)
    pass_time(10 * SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.DELIVERED


def test_nobody_can_ask_a_device_for_a_sign_of_life(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = bob.send(alice, "hello again")
    pass_time(5 * SECOND, alice, bob)
    bob.messenger.tell_presence(PresenceStatus.OFFLINE)
    settle(alice, bob)
    bob.sent.clear()
    with alice.vault.transaction() as tx:
        alice.messenger._stores.receipts.put(tx, bob.id, number, "undecryptable", 0)
    pass_time(MINUTE, alice, bob)
    assert bob.frames_sent("MESSAGE") == []
    bob.send(alice, "by the way")
    pass_time(10 * SECOND, alice, bob)
    assert number in [one["payload"]["messageId"] for one in bob.frames_sent("MESSAGE")]


@pytest.mark.parametrize("presence", [False, True], ids=["absent", "control: there"])
def test_receipt_of_before_one_looked_absent_waits_too(town: Town, presence: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "are you there?")
    settle(alice, bob)
    town.world.clock.advance(SECOND)
    bob.messenger.tick()  # it is written, and the connection breaks before it leaves
    assert bob.messenger._stores.outbox.batches() == 1
    bob.cut()
    bob.messenger.change_settings(presence=presence)
    bob.sent.clear()
    bob.login()
    pass_time(MINUTE, alice, bob)
    assert bool(bob.frames_sent("MESSAGE")) is presence
    assert (alice.messenger.state_of(number) is DeliveryState.DELIVERED) is presence
    bob.send(alice, "I am")
    pass_time(10 * SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.DELIVERED


@pytest.mark.parametrize("presence", [False, True], ids=["absent", "control: there"])
def test_absent_device_greets_nobody(town: Town, presence: bool) -> None:
    (bob,) = town.devices("bob")
    alice = town.device("alice")
    bob.messenger.contacts.add("alice", alice.id)  # whom the relay does not know yet
    settle(bob)
    bob.cut()
    bob.messenger.change_settings(presence=presence)
    alice.login()
    bob.sent.clear()
    bob.login()
    pass_time(3 * MINUTE, alice, bob)
    assert bool(bob.frames_sent("KEY_EXCHANGE_INIT")) is presence
    bob.messenger.want_key(alice.id)
    settle(alice, bob)
    assert bob.messenger.contacts.of(alice.id).key is not None


@pytest.mark.parametrize("who", ["absent", "let in as a bot does", "control: there"])
def test_question_in_a_weak_session_begins_none_with_those_who_are_told_nothing(town: Town, who: str) -> None:
    alice, bob = town.devices("alice", "bob")
    if who != "let in as a bot does":
        bob.messenger.contacts.add("alice", alice.id)
        settle(alice, bob)
    if who == "absent":
        bob.messenger.tell_presence(PresenceStatus.OFFLINE)
        settle(alice, bob)
    bob.sent.clear()
    alice.messenger.contacts.add("bob", bob.id)
    alice.messenger.contacts.allow_classical("bob")
    alice.tamper = lambda frame: [without_field(frame, *KEM_FIELDS) if "payload" in frame else frame]
    with alice.vault.transaction() as tx:
        alice.messenger._stores.receipts.put(
            tx, bob.id, "00000000-0000-4000-8000-00000000000f", "undecryptable", alice.messenger._clock.now()
        )
    pass_time(MINUTE, alice, bob)
    assert {"classical", "downgrade"} & set(bob.troubles())
    assert bool(bob.frames_sent("KEY_EXCHANGE_INIT")) is (who == "control: there")


# --- on disk ----------------------------------------------------------------------


def test_settings_survive(town: Town) -> None:
    (bob,) = town.devices("bob")
    assert bob.messenger.presence.settings == Settings()
    bob.messenger.change_settings(typing=False, presence=False)
    bob.kill()
    assert bob.messenger.presence.settings == Settings(typing=False, presence=False)
    assert bob.messenger.presence.looks_absent


@pytest.mark.parametrize("changes", [{"colour": True}, {"typing": "no"}, {"typing": 1}])
def test_what_is_no_setting_is_refused(town: Town, changes: dict[str, bool]) -> None:
    (bob,) = town.devices("bob")
    with pytest.raises(UsageError, match="read_receipts, typing, presence"):
        bob.messenger.change_settings(**changes)
    assert bob.messenger.presence.settings == Settings()


def test_settings_and_blocks_go_with_an_export(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger.change_settings(typing=False)
    bob.cut()
    bob.messenger.block(alice.id)
    export_profile(bob.vault, tmp_path / "file", "some words here")
    import_profile(tmp_path / "file", "some words here", tmp_path / "new.vault", KEY)
    made = Vault(tmp_path / "new.vault", KEY)
    assert made.get(records.SETTINGS, "", SettingsRecord) == SettingsRecord(typing=False)
    assert [record.steps for _, record in made.all(records.BLOCK, BlockRecord)] == [[True]]
    made.close()
