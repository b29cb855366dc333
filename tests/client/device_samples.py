"""Persons with several devices, and how they come to have them."""

from typing import Final

from client_samples import Device, Town, pass_time

from phantom_messenger.client.connection_loop import ConnectionLoop
from phantom_messenger.client.devices.front import Devices
from phantom_messenger.client.status import LinkingEvent, LinkingStep
from support.people import Frame

Family = tuple[Device, Device, Device]
RELAY: Final = "wss://relay.test/ws"


def last(device: Device) -> LinkingEvent:
    """What a device has said last of being linked."""
    return device.heard(LinkingEvent)[-1]


class Idle(ConnectionLoop):
    """Connects to nothing, and leaves it to the test to hear what there is."""

    def __init__(self) -> None:
        pass

    def changed(self) -> None:
        pass


def own_devices(device: Device) -> Devices:
    """What an application sees of a person's devices on one of them."""
    return Devices(device.messenger, Idle())


def link(first: Device, new: Device, *others: Device, history: bool = True) -> None:
    """Make one of them the other's device, as their users do it."""
    code = new.messenger.linking.show(RELAY, "laptop")
    first.messenger.linking.begin(code, history=history)
    pass_time(1_000, first, new, *others)
    assert last(first).step is LinkingStep.ANSWERED
    assert last(new).step is LinkingStep.DIGITS
    assert last(new).person == first.id
    assert first.messenger.linking.type(last(new).digits)
    new.messenger.linking.agree()
    pass_time(3_000, first, new, *others)
    assert LinkingStep.LINKED in [one.step for one in new.heard(LinkingEvent)]


def said(device: Device, peer: Device) -> list[tuple[bool, str | None]]:
    """A conversation as it shows, oldest first: whether one has written it, and the text."""
    return [(one.is_own, one.text) for one in device.messenger.history(peer.id)]


def two_of_alice(town: Town) -> Family:
    """Alice's phone and laptop, and Bob."""
    alice, laptop, bob = town.device("alice"), town.device("laptop", strangers="ask"), town.device("bob")
    for device in (alice, laptop, bob):
        device.login()
    alice.messenger.contacts.add("bob", bob.id)
    bob.messenger.contacts.add("alice", alice.id)
    alice.send(bob, "before")
    bob.send(alice, "too")
    pass_time(2_000, alice, laptop, bob)
    bob.read_all()
    alice.read_all()
    link(alice, laptop, bob)
    return alice, laptop, bob


def two_and_two(town: Town) -> tuple[Device, Device, Device, Device]:
    """Alice and Bob with two devices each, who have written to each other."""
    alice, bob = town.device("alice").login(), town.device("bob").login()
    laptop, tablet = (town.device(name, strangers="ask").login() for name in ("laptop", "tablet"))
    alice.messenger.contacts.add("bob", bob.id)
    bob.messenger.contacts.add("alice", alice.id)
    alice.send(bob, "hello")
    bob.send(alice, "hello yourself")
    pass_time(2_000, alice, laptop, bob, tablet)
    link(alice, laptop, bob, tablet)
    link(bob, tablet, alice, laptop)
    pass_time(5_000, alice, laptop, bob, tablet)
    return alice, laptop, bob, tablet


def kept_back(device: Device, sender: Device) -> list[Frame]:
    """The relay keeps the next message of somebody for a device back; it is put here."""
    late: list[Frame] = []

    def hold(frame: Frame) -> list[Frame]:
        if late or frame["type"] != "MESSAGE" or frame["payload"]["senderId"] != sender.id:
            return [frame]
        late.append(frame)
        return []

    device.tamper = hold
    return late
