"""People with a device that somebody does not know of yet, and what arrives at it."""

from collections.abc import Callable
from typing import Final

from client_samples import Device, Town, pass_time

from phantom_messenger.client.devices.records import LATE, LateRecord
from support.people import Frame, canonical

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
Family = tuple[Device, Device, Device]
"""Alice's phone, what is to be her laptop, and Bob."""


def people_of(town: Town) -> Family:
    """They know each other, and Bob is away."""
    alice, bob = town.friends("alice", "bob")
    laptop = town.device("laptop", strangers="ask").login()
    bob.cut()
    return alice, laptop, bob


def came(device: Device) -> list[str | None]:
    """What waits to be read there, in the order in which it came."""
    return [one.text for one in device.waiting()]


def noted(device: Device, person: Device) -> list[str]:
    """Texts that somebody has reported under a list that is not known there."""
    record = device.vault.get(LATE, person.id, LateRecord)
    return [] if record is None else [one.id for one in record.texts]


def back(bob: Device, *others: Device) -> None:
    bob.login()
    pass_time(10_000, bob, *others)


def recipients(device: Device) -> list[str]:
    """Whom a device has sent messages to, at the relay."""
    found = [frame["payload"] for frame in device.frames_sent("MESSAGE")]
    for frame in device.frames_sent("MESSAGE_MANY"):
        found += frame["payload"]["recipients"]
    return [one["recipientId"] for one in found]


def held(device: Device, sender: Device, until: Callable[[], bool] = lambda: False) -> list[Frame]:
    """The relay keeps what somebody sends to a device back, until something is so; and what it hands out of lists."""
    late: list[Frame] = []

    def hold(frame: Frame) -> list[Frame]:
        payload = frame.get("payload", {})
        payload.pop("deviceList", None)
        for bundle in payload.get("bundles", []):
            bundle.pop("deviceList", None)
        if frame["type"] == "MESSAGE" and payload["senderId"] == sender.id and not until():
            late.append(frame)
            return []
        return [frame]

    device.tamper = hold
    return late


def let_go(device: Device, late: list[Frame]) -> None:
    device.tamper = None
    device.down += [canonical(frame) for frame in late]


def until_known(bob: Device, alice: Device) -> None:
    """Bob's client connects, and has taken the list up; nothing that follows from it has left."""
    bob.connect()
    while bob.messenger._stores.devices.known(alice.id) is None:
        bob.fetch()
        assert bob.step_up() | bob.step_down()
