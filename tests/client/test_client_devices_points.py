"""Programs that die at any point of linking and of removal: both sides agree on what has come of it."""

from collections.abc import Callable, Iterator
from typing import Final

import pytest
from client_samples import Device, Town, pass_time
from device_samples import RELAY, Family, link, said, two_of_alice
from group_people import group_of, write

from phantom_messenger.client.devices.records import AGREED
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.status import LinkingEvent, LinkingStep
from support.amounts import amount

A_LINK: Final = 60
"""So many frames it takes at least, with prekeys."""

POINTS: Final = range(amount(12, 0), amount(A_LINK + 1, 100), amount(16, 1))
"""After how many frames it dies."""


def in_steps(*devices: Device) -> Iterator[None]:
    """Move frames until nothing moves, and stop after each."""
    is_moving = True
    while is_moving:
        is_moving = False
        for device in devices:
            if device.is_connected:
                device.fetch()
                for step in (device.step_up, device.step_down):
                    if step():
                        is_moving = True
                        yield


def begin_second(*devices: Device) -> None:
    """Let a second pass and the timers fire; no frame has moved yet."""
    world = devices[0].world
    world.clock.advance(1_000)
    world.tick()
    for device in devices:
        device.messenger.tick()
        device.hear()


def steps_of(device: Device) -> list[LinkingStep]:
    return [event.step for event in device.heard(LinkingEvent)]


def link_it(first: Device, new: Device, dies: Callable[[], None]) -> None:
    """Both users do what they are asked for; at each frame somebody may die, who then does nothing more."""
    first.messenger.linking.begin(new.messenger.linking.show(RELAY, "laptop"))
    has_typed = has_agreed = False
    for _ in range(6):
        begin_second(first, new)
        for _ in in_steps(first, new):
            dies()
        try:
            if LinkingStep.DIGITS in steps_of(new) and not has_agreed and first.messenger.linking.is_open:
                digits = next(one.digits for one in new.heard(LinkingEvent) if one.step is LinkingStep.DIGITS)
                has_typed = has_typed or first.messenger.linking.type(digits)
                dies()
                new.messenger.linking.agree()
                has_agreed = True
                dies()
        except UsageError:  # whoever died knows nothing of it any more
            return


def in_groups(alice: Device, bob: Device) -> None:
    """Something was said in a group, and in one that Alice has left."""
    bob.messenger.contacts.add("alice", alice.id)
    for name in ("Tea", "Gone"):
        group_of(bob, alice, name=name)
        for one, by in ((bob, "Bob"), (alice, "Alice")):
            write(one, f"{name}, by {by}", group=name)
            pass_time(10_000, alice, bob)
    alice.messenger.groups.leave("Gone")
    pass_time(10_000, alice, bob)


@pytest.mark.parametrize("who", ["first", "new"])
@pytest.mark.parametrize("point", POINTS)
def test_link_is_known_to_both_or_to_none_whenever_one_dies(town: Town, point: int, who: str) -> None:
    alice, laptop = town.device("alice").login(), town.device("laptop", strangers="ask").login()
    bob = town.device("bob").login()
    alice.messenger.contacts.add("bob", bob.id)
    alice.send(bob, "hello")
    pass_time(1_000, alice, laptop, bob)
    in_groups(alice, bob)
    left = [point]

    def dies() -> None:
        left[0] -= 1
        if left[0] == 0:
            dead = alice if who == "first" else laptop
            dead.kill()
            dead.login()

    link_it(alice, laptop, dies)
    assert left[0] <= 0 or point > A_LINK, "nobody has died"
    pass_time(10_000, alice, laptop, bob, reconnect=True)
    alices, laptops = alice.messenger._stores.devices, laptop.messenger._stores.devices
    is_linked = laptop.id in alices.own_others()
    assert is_linked == (laptops.person == alice.id)
    assert is_linked == (alice.id in laptops.own_others())
    if is_linked:
        pass_time(10_000, alice, laptop, bob, reconnect=True)
        assert laptop.messenger.contacts.find("bob").name == "bob"
        assert said(laptop, bob) == said(alice, bob)
        for name, relation in (("Tea", "member"), ("Gone", "left")):
            assert laptop.messenger.groups.find(name).relation == relation
            shown = [[one.text for one in device.messenger.groups.history(name)] for device in (laptop, alice)]
            assert shown[0] == shown[1] == [f"{name}, by Bob", f"{name}, by Alice"]
    else:
        pass_time(310_000, alice, laptop, bob, step=10_000, reconnect=True)
        link(alice, laptop, bob)
        assert laptop.id in alice.messenger._stores.devices.own_others()


@pytest.mark.parametrize("who", ["first", "other", "contact"])
@pytest.mark.parametrize("point", range(1, 24, amount(8, 1)))
def test_removal_is_known_to_all_whenever_one_dies(town: Town, point: int, who: str) -> None:
    alice, laptop, bob = two_of_alice(town)
    pass_time(5_000, alice, laptop, bob)
    dead = {"first": alice, "other": laptop, "contact": bob}[who]
    alice.messenger.desk.remove(laptop.id)
    for number, _ in enumerate(in_steps(alice, laptop, bob), start=1):
        if number == point:
            dead.kill()
            dead.login()
    pass_time(10_000, alice, laptop, bob, reconnect=True)
    assert laptop.messenger.desk.is_removed
    assert bob.messenger._stores.devices.devices_of(alice.id) == [alice.id]
    assert alice.messenger._stores.devices.own_others() == []
    before = len(laptop.received)
    bob.send(alice, "without the laptop")
    alice.send(bob, "as before")
    pass_time(5_000, alice, laptop, bob, reconnect=True)
    assert not [frame for frame in laptop.received[before:] if frame["type"] == "MESSAGE"]


def test_first_device_that_dies_before_anybody_was_told_tells_them_later(town: Town) -> None:
    family: Family = two_of_alice(town)
    alice, laptop, bob = family
    alice.cut()
    desk = alice.messenger.desk
    own = alice.messenger._stores.devices.own
    assert own is not None
    made = desk.sign(own.newest.devices[:0])
    with alice.vault.transaction() as tx:
        desk.adopt(tx, made)
    alice.kill()
    alice.login()
    pass_time(5_000, *family)
    assert laptop.messenger.desk.is_removed
    assert bob.messenger._stores.devices.devices_of(alice.id) == [alice.id]


@pytest.mark.parametrize("is_kept", [True, False])
def test_control_new_device_that_forgets_that_it_has_agreed_is_not_linked(town: Town, is_kept: bool) -> None:
    alice, laptop = town.device("alice").login(), town.device("laptop", strangers="ask").login()
    alice.messenger.linking.begin(laptop.messenger.linking.show(RELAY, "laptop"))
    pass_time(2_000, alice, laptop)
    assert alice.messenger.linking.type(laptop.heard(LinkingEvent)[-1].digits)
    laptop.messenger.linking.agree()
    if not is_kept:
        with laptop.vault.transaction() as tx:
            tx.delete(AGREED, "")
    laptop.fetch()
    while laptop.step_up():
        pass
    laptop.kill()
    laptop.login()
    pass_time(5_000, alice, laptop)
    assert laptop.id in alice.messenger._stores.devices.own_others()
    assert (laptop.messenger._stores.devices.person == alice.id) is is_kept
