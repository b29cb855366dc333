"""What a messenger tells the application besides texts: presence, and events that hold no secret."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_samples import KEY, Device, Town, fast_folder, pass_time, settle
from device_samples import two_of_alice

from phantom_messenger.client.conversations import conversation_id
from phantom_messenger.client.presence import Presence, Sightings
from phantom_messenger.client.status import DeliveryEvent, MessageEvent, PresenceEvent, WarningEvent
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire.frames import Presence as PresenceFrame
from phantom_messenger.wire.frames import PresencePayload, PresenceStatus
from support.simulated import MINUTE, SECOND

# --- presence ---------------------------------------------------------------------


def seen(device: Device) -> list[tuple[str, str]]:
    return [(event.peer.name, event.status) for event in device.heard(PresenceEvent)]


def test_contacts_see_each_other_come_type_and_go(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.cut()
    pass_time(15 * SECOND, bob)
    assert seen(bob) == [("alice", "offline")]
    (event,) = bob.heard(PresenceEvent)
    assert event.last_seen is not None
    assert event.last_seen % MINUTE == 0
    alice.login()
    settle(alice, bob)
    alice.messenger.tell_typing(bob.id)
    alice.messenger.tell_presence(PresenceStatus.IDLE)
    settle(alice, bob)
    assert seen(bob)[1:] == [("alice", "online"), ("alice", "typing"), ("alice", "idle")]


def test_typing_is_seen_by_its_conversation_alone(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    alice.messenger.tell_typing(bob.id)
    settle(alice, bob, carol)
    assert seen(bob) == [("alice", "typing")]
    assert seen(carol) == []


def test_question_about_presence_is_answered(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.messenger.ask_presence(bob.id)
    settle(alice, bob)
    assert seen(alice) == [("bob", "online")]


def test_what_one_is_shown_as_is_kept_and_questions_are_not(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.cut()
    alice.messenger.tell_presence(PresenceStatus.IDLE)
    alice.messenger.ask_presence(bob.id)
    alice.messenger.tell_typing(bob.id)
    alice.login()
    settle(alice, bob)
    assert [frame["payload"] for frame in alice.frames_sent("PRESENCE")] == [{"status": "idle"}]


def test_person_is_seen_on_whichever_device_they_are(town: Town) -> None:
    alice, laptop, bob = two_of_alice(town)
    laptop.send(bob, "from the laptop")
    pass_time(5 * SECOND, alice, laptop, bob)
    bob.send(alice, "to all of them")
    pass_time(5 * SECOND, alice, laptop, bob)
    alice.cut()
    pass_time(15 * SECOND, laptop, bob)
    assert seen(bob)[-1] == ("alice", "online"), "the laptop is there"
    bob.messenger.ask_presence(alice.id)
    settle(bob, laptop)
    assert seen(bob)[-1] == ("alice", "online")
    laptop.messenger.tell_typing(bob.id)
    settle(bob, laptop)
    assert seen(bob)[-1] == ("alice", "typing")
    laptop.messenger.tell_presence(PresenceStatus.IDLE)
    settle(bob, laptop)
    assert seen(bob)[-1] == ("alice", "idle")
    laptop.cut()
    pass_time(15 * SECOND, bob)
    assert seen(bob)[-1] == ("alice", "offline"), "control: nobody is there"
    assert bob.heard(PresenceEvent)[-1].last_seen is not None
    assert {event.peer.user_id for event in bob.heard(PresenceEvent)} == {alice.id}, "a device is nobody"


def test_whoever_types_to_a_person_is_seen_on_all_of_their_devices(town: Town) -> None:
    alice, laptop, bob = two_of_alice(town)
    laptop.send(bob, "from the laptop")
    pass_time(5 * SECOND, alice, laptop, bob)
    bob.send(alice, "to all of them")
    pass_time(5 * SECOND, alice, laptop, bob)
    bob.messenger.tell_typing(alice.id)
    settle(alice, laptop, bob)
    assert [seen(one)[-1] for one in (alice, laptop)] == [("bob", "typing")] * 2
    alice.messenger.tell_typing(bob.id)
    settle(alice, laptop, bob)
    assert not any(event.peer.user_id == alice.id for event in laptop.heard(PresenceEvent)), (
        "of oneself nothing is shown"
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([("phone", "offline", 9), ("laptop", "online", None)], ("online", None)),
        ([("laptop", "online", None), ("phone", "offline", 9)], ("online", None)),
        ([("phone", "idle", None), ("laptop", "offline", 9)], ("idle", None)),
        ([("phone", "offline", 9), ("laptop", "offline", 8)], ("offline", 9)),
        ([("phone", "offline", None)], ("offline", None)),
        ([("phone", "online", None), ("laptop", "typing", None), ("phone", "offline", 9)], ("online", None)),
        ([("another's", "online", None), ("phone", "offline", 9)], ("offline", 9)),
    ],
)
def test_busiest_device_is_what_a_person_shows(
    said: list[tuple[str, str, int | None]], expected: tuple[str, int | None]
) -> None:
    board = Sightings()
    for device, status, at in said:
        shown = board.note(device, PresenceStatus(status), at, ["phone", "laptop"])
    assert (shown[0].value, shown[1]) == expected
    board.clear()
    assert board.note("phone", PresenceStatus.IDLE, None, ["phone", "laptop"])[0] is PresenceStatus.IDLE


# --- what is said, without a relay --------------------------------------------------


@pytest.fixture
def presence(tmp_path: Path) -> Iterator[Presence]:
    with fast_folder(tmp_path) as folder:
        vault = Vault(folder / "a.vault", KEY)
        yield Presence(vault)
        vault.close()


def announced(presence: Presence) -> list[object]:
    """What the relay is told now, which is nothing the second time."""
    found: list[object] = []
    for _ in range(2):
        frame = presence.to_announce()
        if frame is None:
            break
        assert frame == PresenceFrame(payload=PresencePayload(status=frame.payload.status), timestamp=0)
        found.append(frame.payload.status)
        presence.announced()
    return found


def test_relay_is_told_what_it_does_not_know_yet(presence: Presence) -> None:
    assert (presence.connected(), announced(presence)) == (False, [])
    presence.want(PresenceStatus.IDLE)
    presence.want(PresenceStatus.IDLE)
    assert announced(presence) == [PresenceStatus.IDLE]
    presence.want(PresenceStatus.IDLE)
    assert announced(presence) == []
    assert (presence.connected(), announced(presence)) == (False, [PresenceStatus.IDLE])
    presence.want(PresenceStatus.OFFLINE)
    assert presence.looks_absent
    assert announced(presence) == [PresenceStatus.OFFLINE]
    assert (presence.connected(), announced(presence)) == (True, [])
    presence.want(PresenceStatus.ONLINE)
    presence.want(PresenceStatus.IDLE)
    assert announced(presence) == [PresenceStatus.IDLE]


def test_setting_hides_whatever_is_wanted_and_what_is_wanted_is_not_forgotten(presence: Presence) -> None:
    presence.connected()
    presence.want(PresenceStatus.IDLE)
    presence.announced()
    assert not presence.change(presence=False).presence
    assert presence.looks_absent
    assert announced(presence) == [PresenceStatus.OFFLINE]
    presence.want(PresenceStatus.ONLINE)
    assert (announced(presence), presence.connected()) == ([], True)
    assert presence.change(presence=True).presence
    assert announced(presence) == [PresenceStatus.ONLINE]


def test_typing_is_said_of_a_conversation_unless_that_is_off_or_one_looks_absent(presence: Presence) -> None:
    payload = PresencePayload(status=PresenceStatus.TYPING, conversation_id=conversation_id("ownA", "bobA"))
    told = PresenceFrame(payload=payload, timestamp=0)
    assert presence.typing("ownA", "bobA") == told
    presence.change(typing=False)
    assert presence.typing("ownA", "bobA") is None
    assert announced(presence) == [], "that changes nothing of what is shown"
    presence.change(typing=True, presence=False)
    assert presence.typing("ownA", "bobA") is None
    presence.change(presence=True)
    assert presence.typing("ownA", "bobA") == told
    assert presence.question("bobA") == PresenceFrame(payload=PresencePayload(user_id="bobA"), timestamp=0)


# --- events -----------------------------------------------------------------------


def test_events_are_frozen_and_hold_no_text_and_no_secret(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "a very secret text")
    settle(alice, bob)
    events = [*alice.events, *bob.events]
    assert {type(event) for event in events} == {MessageEvent, DeliveryEvent}
    for event in events:
        assert "secret" not in repr(event)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, "message_id", "another")  # noqa: B010 - what must not work
    assert not alice.heard(WarningEvent)
