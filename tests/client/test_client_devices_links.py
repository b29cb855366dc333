"""Who ends a link: whoever else has seen the code, and a user who begins another; nobody without the code."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
from client_samples import Device, Town, pass_time
from device_samples import RELAY, last, link, two_of_alice

from phantom_messenger.client.devices.link_code import LinkCode
from phantom_messenger.client.devices.linking import FirstDevice, NewDevice
from phantom_messenger.client.devices.linking_desk import LinkingDesk
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.status import LinkingEvent, LinkingStep, WarningEvent

SEEN_BY_TWO: Final = "two have seen the code"


@pytest.fixture
def three(town: Town) -> tuple[Device, Device, Device]:
    """Alice, Mallory, and a new device of Alice's; nobody knows anybody."""
    made = (town.device("alice"), town.device("mallory"), town.device("laptop", strangers="ask"))
    for one in made:
        one.login()
    pass_time(1_000, *made)
    return made


def offered_by_both(three: tuple[Device, Device, Device]) -> None:
    """Alice's offer has come, and digits are shown; then Mallory, who has seen the code, makes one."""
    alice, mallory, laptop = three
    code = laptop.messenger.linking.show(RELAY, "laptop")
    alice.messenger.linking.begin(code)
    pass_time(2_000, *three)
    assert last(laptop).step is LinkingStep.DIGITS
    mallory.messenger.linking.begin(code)
    pass_time(2_000, *three)


def test_second_good_offer_ends_the_link_for_all(three: tuple[Device, Device, Device]) -> None:
    alice, _, laptop = three
    offered_by_both(three)
    assert (last(laptop).step, last(laptop).reason[:22]) == (LinkingStep.ENDED, SEEN_BY_TWO)
    assert not laptop.messenger.linking.is_open
    assert last(alice).step is LinkingStep.ENDED
    with pytest.raises(UsageError, match="begin again"):
        alice.messenger.linking.type("000000")
    link(alice, laptop)


def test_control_device_that_hears_the_first_alone_goes_on(
    three: tuple[Device, Device, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        LinkingDesk, "is_listening", property(lambda desk: desk._new is not None and not desk._new.person)
    )
    _, _, laptop = three
    offered_by_both(three)
    assert last(laptop).step is LinkingStep.DIGITS
    assert laptop.messenger.linking.is_open


def without_the_code(mallory: Device, code: str) -> None:
    """Mallory makes an offer, and does not know the secret."""
    found = LinkCode.parse(code)
    mallory.messenger.linking.begin(LinkCode(found.relay, found.id, bytes(16)).text())


def test_offer_without_the_code_ends_nothing_however_late(three: tuple[Device, Device, Device]) -> None:
    alice, mallory, laptop = three
    code = laptop.messenger.linking.show(RELAY, "laptop")
    alice.messenger.linking.begin(code)
    pass_time(2_000, *three)
    without_the_code(mallory, code)
    pass_time(2_000, *three)
    assert last(laptop).step is LinkingStep.DIGITS
    assert alice.messenger.linking.type(last(laptop).digits)
    alice.cut()
    laptop.messenger.linking.agree()
    pass_time(1_000, mallory, laptop)
    laptop.kill()  # what it is told from now on may come at any time
    laptop.login()
    mallory.messenger.linking.cancel()
    without_the_code(mallory, code)
    pass_time(2_000, mallory, laptop)
    assert laptop.messenger.linking.is_open
    alice.login()
    pass_time(3_000, *three)
    assert laptop.messenger._stores.devices.person == alice.id


def test_control_offer_that_is_checked_for_its_time_first_ends_it(
    three: tuple[Device, Device, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NewDevice, "is_good", lambda *_: True)
    with pytest.raises(AssertionError):
        test_offer_without_the_code_ends_nothing_however_late(three)


def test_beginning_another_link_ends_the_one_that_is_open(three: tuple[Device, Device, Device], town: Town) -> None:
    alice, _, laptop = three
    tablet = town.device("tablet", strangers="ask").login()
    alice.messenger.linking.begin(laptop.messenger.linking.show(RELAY, "laptop"))
    pass_time(2_000, *three, tablet)
    digits = last(laptop).digits
    link(alice, tablet, laptop)
    assert last(laptop).step is LinkingStep.ENDED
    assert not laptop.messenger.linking.is_open
    assert digits != last(tablet).digits
    assert alice.messenger._stores.devices.own_others() == [tablet.id]


def test_code_that_cannot_be_linked_ends_nothing(three: tuple[Device, Device, Device]) -> None:
    alice, _, laptop = three
    alice.messenger.linking.begin(laptop.messenger.linking.show(RELAY, "laptop"))
    pass_time(2_000, *three)
    with pytest.raises(UsageError):
        alice.messenger.linking.begin("phantom:link?v=1")
    assert alice.messenger.linking.type(last(laptop).digits)
    laptop.messenger.linking.agree()
    pass_time(2_000, *three)
    assert alice.messenger._stores.devices.own_others() == [laptop.id]


def test_showing_another_code_ends_the_link_at_the_other_end_too(three: tuple[Device, Device, Device]) -> None:
    alice, _, laptop = three
    alice.messenger.linking.begin(laptop.messenger.linking.show(RELAY, "laptop"))
    pass_time(2_000, *three)
    laptop.messenger.linking.show(RELAY, "laptop")
    pass_time(2_000, *three)
    assert last(alice).step is LinkingStep.ENDED
    assert len([one for one in alice.heard(LinkingEvent) if one.step is LinkingStep.ENDED]) == 1
    link(alice, laptop)


def begun_again(three: tuple[Device, Device, Device], meanwhile: Callable[[], None] = lambda: None) -> Device:
    """A link is given up on both sides while the first device is away; it comes back with another code."""
    alice, _, laptop = three
    alice.messenger.linking.begin(laptop.messenger.linking.show(RELAY, "laptop"))
    pass_time(2_000, *three)
    alice.kill()
    code = laptop.messenger.linking.show(RELAY, "laptop")  # the relay has its link-end for Alice
    pass_time(2_000, laptop)
    meanwhile()
    alice.messenger.linking.begin(code)
    alice.login()
    pass_time(3_000, *three)
    return alice


def test_end_of_an_earlier_link_does_not_end_the_next_one(three: tuple[Device, Device, Device]) -> None:
    assert last(begun_again(three)).step is LinkingStep.ANSWERED


def test_control_if_any_end_counted_it_would(
    three: tuple[Device, Device, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = FirstDevice.begin

    def answered_at_once(*args: Any, **given: Any) -> FirstDevice:
        return replace(begin(*args, **given), digits="")

    alice = begun_again(three, lambda: monkeypatch.setattr(FirstDevice, "begin", answered_at_once))
    assert last(alice).reason.startswith("the new device has ended it")


def agreed_to_an_earlier_one(three: tuple[Device, Device, Device]) -> bool:
    """The new device's user has agreed to a link that was given up, and is asked again; whether they are one."""
    alice, _, laptop = three
    alice.messenger.linking.begin(laptop.messenger.linking.show(RELAY, "laptop"))
    pass_time(2_000, *three)
    alice.kill()
    laptop.messenger.linking.agree()
    pass_time(2_000, laptop)
    alice.messenger.linking.begin(laptop.messenger.linking.show(RELAY, "laptop"))
    alice.login()
    pass_time(3_000, *three)
    assert alice.messenger.linking.type(last(laptop).digits)
    pass_time(3_000, *three)
    return bool(alice.messenger._stores.devices.own_others())


def test_consent_to_an_earlier_link_does_not_count_in_the_next_one(three: tuple[Device, Device, Device]) -> None:
    assert not agreed_to_an_earlier_one(three)
    alice, _, laptop = three
    laptop.messenger.linking.agree()
    pass_time(3_000, *three)
    assert alice.messenger._stores.devices.own_others() == [laptop.id]
    assert laptop.messenger._stores.devices.person == alice.id


# --- a device whose account is gone ------------------------------------------------


@pytest.mark.parametrize(
    ("goes", "told"),
    [
        (
            "first",
            "your first device any more: its account was deleted, or moved to another relay; this device goes on",
        ),
        (
            "laptop",
            "your device 'laptop' any more: its account was deleted, or moved to another relay; if you use it no",
        ),
    ],
)
def test_account_of_an_own_device_that_is_gone_is_not_told_as_somebody_else(town: Town, goes: str, told: str) -> None:
    alice, laptop, bob = two_of_alice(town)
    gone, stays = (alice, laptop) if goes == "first" else (laptop, alice)
    assert gone.messenger.delete_account()
    pass_time(2_000, gone)
    stays.send(bob, "as before")
    bob.send(alice, "an answer")
    pass_time(5_000, stays, bob)
    heard = [event for event in stays.heard(WarningEvent) if event.code.startswith("unknown")]
    assert [(event.peer, event.code) for event in heard] == [(None, "unknown-device")]
    assert heard[0].message.startswith(f"the relay does not know {told}")
    (of_alice,) = [event for event in bob.heard(WarningEvent) if event.code.startswith("unknown")]
    assert of_alice.code == "unknown-user", "control: somebody else's"
    assert of_alice.peer == bob.messenger.contacts.find("alice")
