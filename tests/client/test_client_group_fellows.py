"""Members of a group who are no contacts: what they said in it is repaired, and nothing else of theirs comes in."""

import pytest
from client_samples import Device, Town, pass_time, settle
from device_samples import link
from group_people import group_of, said, write
from receipt_samples import tell

from phantom_messenger.client import receiving
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.client.status import MessageEvent
from phantom_messenger.wire.frames import Feature
from support.people import Frame
from support.simulated import MINUTE, SECOND


def fellows(town: Town) -> tuple[Device, Device, Device]:
    """Ada has made a group with Ben and Cleo, who know her, and of each other nothing but that."""
    ada, ben, cleo = (town.device(name, strangers="ask").login() for name in ("ada", "ben", "cleo"))
    for other in (ben, cleo):
        ada.messenger.contacts.add(other.name, other.id)
        other.messenger.contacts.add("ada", ada.id)
    pass_time(5 * SECOND, ada, ben, cleo)
    group_of(ada, ben, cleo)
    assert not ben.messenger.contacts.is_known(cleo.id)
    return ada, ben, cleo


def lose_session(device: Device, other: Device) -> None:
    with device.vault.transaction() as tx:
        device.messenger._stores.conversations.forget(tx, other.id)


def sent_to(device: Device, other: Device, kind: str = "MESSAGE") -> list[Frame]:
    """Frames of a kind that a device has sent to one alone."""
    named = {"MESSAGE": "recipientId", "KEY_EXCHANGE_INIT": "targetId"}[kind]
    return [frame for frame in device.sent if frame["type"] == kind and frame["payload"][named] == other.id]


def requests(device: Device) -> list[int]:
    return [request.waiting for request in device.messenger.requests()]


def assert_stranger(device: Device, other: Device, *everybody: Device) -> None:
    """What somebody writes to one alone waits as a request."""
    assert requests(device) == []
    other.send(device, "psst")
    pass_time(10 * SECOND, *everybody)
    assert requests(device) == [1]
    assert device.heard(MessageEvent) == []
    assert not device.messenger.contacts.is_known(other.id)


@pytest.mark.parametrize("may_ask", [True, False], ids=["as it is", "control: not looked into"])
def test_text_that_a_fellow_member_cannot_read_is_sent_to_them_again(
    town: Town, monkeypatch: pytest.MonkeyPatch, may_ask: bool
) -> None:
    ada, ben, cleo = fellows(town)
    if not may_ask:
        monkeypatch.setattr(Receiving, "_may_ask_again", lambda *_: False)
    lose_session(cleo, ben)
    write(ben, "tea?")
    pass_time(MINUTE, ada, ben, cleo)
    assert said(cleo) == (["tea?"] if may_ask else [])
    if may_ask:
        write(cleo, "yes")
        pass_time(10 * SECOND, ada, ben, cleo)
        assert said(ben) == ["tea?", "yes"]
        assert_stranger(ben, cleo, ada, ben, cleo)
    else:
        assert requests(ben) == [1]


@pytest.mark.parametrize("is_taken", [True, False], ids=["as it is", "control: it is not let in"])
def test_device_list_of_a_fellow_member_is_taken_up_and_is_no_request(
    town: Town, monkeypatch: pytest.MonkeyPatch, is_taken: bool
) -> None:
    ada, ben, cleo = fellows(town)
    if not is_taken:
        monkeypatch.setattr(receiving, "_says_nothing_else", lambda said: bool(getattr(said, "undecryptable", [])))
    laptop = town.device("laptop", strangers="ask").login()
    link(cleo, laptop, ada, ben)
    pass_time(10 * SECOND, ada, ben, cleo, laptop)
    assert requests(ben) == ([] if is_taken else [1])
    assert (laptop.id in ben.messenger._stores.devices.devices_of(cleo.id)) is is_taken
    assert ben.messenger.contacts.is_known(cleo.id) is False
    if is_taken:
        write(laptop, "from another device")
        pass_time(10 * SECOND, ada, ben, cleo, laptop)
        write(ben, "to all of them")
        pass_time(10 * SECOND, ada, ben, cleo, laptop)
        assert said(ben) == ["from another device", "to all of them"]
        assert said(laptop)[-1] == "to all of them"
        assert_stranger(ben, cleo, ada, ben, cleo, laptop)


def test_text_is_sent_to_them_again_so_many_times(town: Town) -> None:
    ada, ben, cleo = fellows(town)
    (number,) = write(ben, "tea?")
    pass_time(10 * SECOND, ada, ben, cleo)
    ben.sent.clear()
    for _ in range(6):
        tell(cleo, ben, number, "undecryptable")
        pass_time(10 * SECOND, ada, ben, cleo)
    assert sum(frame["type"] == "MESSAGE_MANY" for frame in ben.sent) == 3
    assert said(cleo) == ["tea?"]


@pytest.mark.parametrize("is_removed", [True, False], ids=["no contact", "control: a contact"])
def test_text_to_one_alone_is_not_sent_again_to_whom_one_does_not_know(town: Town, is_removed: bool) -> None:
    ada, ben, cleo = fellows(town)
    cleo.messenger.contacts.add("ben", ben.id)
    ben.messenger.contacts.add("cleo", cleo.id)
    pass_time(10 * SECOND, ada, ben, cleo)
    lose_session(cleo, ben)
    ben.send(cleo, "between us")
    settle(ben)
    ben.cut()
    pass_time(10 * SECOND, ada, cleo)  # Cleo asks for it
    if is_removed:
        ben.messenger.contacts.remove("cleo")
    ben.login()
    pass_time(MINUTE, ada, ben, cleo)
    assert cleo.read_all() == ([] if is_removed else ["between us"])
    assert requests(ben) == []


@pytest.mark.parametrize("is_known", [False, True], ids=["a fellow member", "control: a contact"])
@pytest.mark.parametrize("has_fetch", [True, False], ids=["relay with many", "relay without"])
def test_whose_device_list_is_asked_for_becomes_no_contact_by_it(town: Town, is_known: bool, has_fetch: bool) -> None:
    ada, ben, cleo = fellows(town)
    if is_known:
        ben.messenger.contacts.add("cleo", cleo.id)
        pass_time(10 * SECOND, ada, ben, cleo)
    link = ben.messenger.open_link
    assert link is not None
    if not has_fetch:
        link.relay_features -= {Feature.MANY}
    ben.sent.clear()
    ben.messenger.desk._open.add(cleo.id)
    pass_time(10 * SECOND, ada, ben, cleo)
    asked = [frame for frame in ben.sent if frame["type"] == "PREKEY_FETCH" and cleo.id in frame["payload"]["targets"]]
    is_introduced = is_known or not has_fetch
    assert (len(asked), len(sent_to(ben, cleo, "KEY_EXCHANGE_INIT"))) == ((0, 1) if is_introduced else (1, 0))
    if not is_known:
        assert_stranger(ben, cleo, ada, ben, cleo)


def test_whom_one_asks_again_becomes_no_contact_by_it(town: Town) -> None:
    ada, ben, cleo = fellows(town)
    lose_session(ben, cleo)
    write(cleo, "tea?")
    pass_time(MINUTE, ada, ben, cleo)
    assert said(ben) == ["tea?"]
    assert_stranger(ben, cleo, ada, ben, cleo)
