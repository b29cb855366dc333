"""What a messenger tells the application besides texts: presence, and events that hold no secret."""

import dataclasses

import pytest
from client_samples import Device, Town, pass_time, settle

from phantom_messenger.client.status import DeliveryEvent, MessageEvent, PresenceEvent, WarningEvent
from phantom_messenger.wire.frames import PresenceStatus
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
