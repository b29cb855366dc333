"""A device that was removed while it was away learns of that first, and hands out nothing of what waited for it."""

import pytest
from client_samples import Device, Town, pass_time
from device_samples import Family, two_of_alice

from phantom_messenger.client.devices.standing import Standing
from phantom_messenger.client.status import ConnectionEvent, Event, MessageEvent, WarningEvent
from support.people import Frame


@pytest.fixture
def family(town: Town) -> Family:
    return two_of_alice(town)


def removed_while_away(family: Family, *, is_removed: bool = True) -> list[Event]:
    """Bob writes to Alice while her laptop is away, and she removes it, or not: what it hears when it is back."""
    alice, laptop, bob = family
    laptop.cut()
    bob.send(alice, "one", "two")
    pass_time(2_000, alice, bob)
    if is_removed:
        alice.messenger.desk.remove(laptop.id)
        pass_time(2_000, alice, bob)
    heard, said = len(laptop.events), len(laptop.sent)
    laptop.login()
    pass_time(4_500, *family)
    del laptop.sent[:said]
    return laptop.events[heard:]


def told(device: Device) -> list[Frame]:
    """What somebody has sent to others."""
    return [frame for frame in device.sent if frame["type"] in {"MESSAGE", "MESSAGE_MANY"}]


def test_removed_device_learns_of_it_before_it_hands_out_what_waited_and_tells_nobody_of_that(family: Family) -> None:
    events = removed_while_away(family)
    _, laptop, bob = family
    assert [event.code for event in events if isinstance(event, WarningEvent)] == ["device-removed"]
    assert all(isinstance(event, WarningEvent | ConnectionEvent) for event in events)
    assert laptop.messenger.standing.is_held
    pass_time(10_000, *family)
    assert not told(laptop)
    assert "unreadable" not in bob.troubles()


def test_control_device_that_was_not_removed_hands_out_all_and_tells_it(family: Family) -> None:
    events = removed_while_away(family, is_removed=False)
    _, laptop, _ = family
    assert len([event for event in events if isinstance(event, MessageEvent)]) == 2
    assert not laptop.messenger.standing.is_held
    pass_time(10_000, *family)
    assert told(laptop)


def test_control_removed_device_that_does_not_wait_hands_out_what_waited(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Standing, "logged_in", lambda *_: None)
    assert len([event for event in removed_while_away(family) if isinstance(event, MessageEvent)]) == 2


def test_what_waited_is_handed_out_after_a_while_if_the_relay_does_not_say_that_this_is_all(family: Family) -> None:
    _, laptop, _ = family
    laptop.tamper = lambda frame: [] if frame["type"] == "PONG" else [frame]
    events = removed_while_away(family, is_removed=False)
    assert not [event for event in events if isinstance(event, MessageEvent)]
    heard = len(laptop.events)
    pass_time(2_500, *family)
    assert len([event for event in laptop.events[heard:] if isinstance(event, MessageEvent)]) == 2
