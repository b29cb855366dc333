"""What members of a group, and those who have several devices, can have a device say that appears offline: nothing."""

import pytest
from client_samples import Device, Town, pass_time, settle
from device_samples import two_and_two
from group_people import group_of, info, known, names, tell, write

from phantom_messenger.client.content import Claim
from phantom_messenger.client.groups.contents import (
    GroupAsk,
    GroupHello,
    GroupLeave,
    GroupPropose,
    GroupSaid,
    GroupText,
)
from phantom_messenger.wire.frames import PresenceStatus
from support.simulated import MINUTE, SECOND

FAR = 2**32 - 1
SPEAKING = {"MESSAGE", "MESSAGE_MANY", "KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE", "PREKEY_FETCH"}

both = pytest.mark.parametrize("absent", [True, False], ids=["absent", "control: there"])


def spoken(device: Device) -> list[str]:
    """The types of what the device has sent that others may notice."""
    return [frame["type"] for frame in device.sent if frame["type"] in SPEAKING]


def hidden(device: Device, *others: Device, absent: bool = True) -> None:
    """The device's user appears offline from now on."""
    if absent:
        device.messenger.tell_presence(PresenceStatus.OFFLINE)
    settle(device, *others)
    device.sent.clear()


def questions(ben: Device) -> dict[str, GroupSaid]:
    """What a member may say to an admin of whom they want a sign of life."""
    group, chain = known(ben).record.group, known(ben).chain
    return {
        "asks": GroupAsk(group=group, since=0),
        "is ahead": GroupText(group=group, revision=FAR, head=bytes(32), n=1, body="I know more"),
        "greets ahead": GroupHello(group=group, revision=FAR, head=chain.head),
        "leaves": GroupLeave(group=group),
        "proposes": GroupPropose(group=group, person=bytes([1]) * 32),
    }


@both
@pytest.mark.parametrize("question", ["asks", "is ahead", "greets ahead", "leaves", "proposes"])
def test_no_member_can_ask_a_device_for_a_sign_of_life(town: Town, question: str, absent: bool) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    ada.messenger.groups.set_rights("Tea", invite="member", write=None)
    settle(ada, ben, cleo)
    hidden(ada, ben, cleo, absent=absent)
    tell(ben, [ada], questions(ben)[question])
    pass_time(2 * MINUTE, ada, ben, cleo)
    assert bool(spoken(ada)) is not absent
    assert ada.messenger.next_tick() > 0  # nothing that may not be done is due


@both
def test_somebody_who_was_removed_cannot_ask_for_a_sign_of_life(town: Town, absent: bool) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    before = known(cleo).chain
    ada.messenger.groups.remove("Tea", [cleo.id])
    settle(ada, ben, cleo)
    hidden(ben, ada, cleo, absent=absent)
    tell(cleo, [ben], GroupHello(group=before.state.group, revision=before.state.revision, head=before.head))
    pass_time(MINUTE, ada, ben, cleo)
    assert bool(spoken(ben)) is not absent


def test_what_members_want_is_done_once_the_user_writes(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    hidden(ada, ben, cleo)
    tell(ben, [ada], GroupLeave(group=known(ben).record.group))
    pass_time(MINUTE, ada, ben, cleo)
    assert ben.id in names(ada)
    write(ada, "I am here")
    pass_time(5 * SECOND, ada, ben, cleo)
    assert ben.id not in names(ada)
    assert names(ada) == names(cleo)


def test_what_members_want_is_done_once_the_user_shows(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    hidden(ada, ben, cleo)
    tell(ben, [ada], GroupLeave(group=known(ben).record.group))
    pass_time(MINUTE, ada, ben, cleo)
    ada.messenger.tell_presence(PresenceStatus.ONLINE)
    pass_time(5 * SECOND, ada, ben, cleo)
    assert ben.id not in names(ada)


def test_what_the_user_wants_is_done_before_what_waits_and_after_a_restart(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    hidden(ada, ben, cleo)
    tell(ben, [ada], GroupLeave(group=known(ben).record.group))
    pass_time(MINUTE, ada, ben, cleo)
    ada.cut()
    ada.messenger.groups.remove("Tea", [cleo.id])
    ada.messenger.change_settings(presence=False)
    ada.kill()
    ada.login()
    pass_time(5 * SECOND, ada, ben, cleo)
    assert names(ada) == {ada.id, ben.id}
    assert info(cleo).relation == "removed"
    assert ada.messenger.groups.wanted == 1  # that Ben leaves waits on


def to(device: Device, *others: Device) -> list[str]:
    """The types of what the device has sent that these others may notice."""
    speaking = (frame for frame in device.sent if frame["type"] in SPEAKING)
    return [frame["type"] for frame in speaking if any(other.id in str(frame["payload"]) for other in others)]


@both
@pytest.mark.parametrize("revision", [1, 99], ids=["an older list", "a newer list"])
def test_no_contact_can_ask_by_lists_of_devices(town: Town, revision: int, absent: bool) -> None:
    everybody = alice, _, bob, tablet = two_and_two(town)
    bob.messenger.desk.renew()
    pass_time(10 * SECOND, *everybody)
    hidden(alice, *everybody, absent=absent)
    bob.messenger._stores.devices.claim = lambda: Claim(revision=revision, hash=bytes(32))  # type: ignore[method-assign]
    own = bob.messenger._stores.devices.own
    assert own is not None
    bob.messenger.desk.tell_list(own.newest, [alice.id])
    pass_time(MINUTE, *everybody)
    assert bool(to(alice, bob, tablet)) is not absent
