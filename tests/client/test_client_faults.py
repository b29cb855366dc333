"""Faults of this program at what others send: its user has everything else all the same."""

import logging
from typing import Any

import pytest
from client_samples import TOLERATED, Town, pass_time
from group_people import group_of, unread, write

from phantom_messenger.client.faults import Aside
from phantom_messenger.client.groups.duties import Duties
from phantom_messenger.client.groups.stepping import Stepping
from phantom_messenger.client.inbox import Inbox
from support.simulated import HOUR, MINUTE, SECOND


def test_fault_in_what_is_done_for_groups_leaves_everything_else_alone(
    town: Town, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Stepping, "failed", TOLERATED[Stepping])
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)

    def fails(_: Duties, __: object) -> None:
        raise KeyError(ben.id)

    with monkeypatch.context() as faulty, caplog.at_level(logging.ERROR):
        faulty.setattr(Duties, "step", fails)
        ben.send(ada, "hello")
        pass_time(HOUR, ada, ben, step=MINUTE)
    assert ada.read_all() == ["hello"]
    assert ada.troubles().count("groups-failed") == 1
    assert "KeyError" in caplog.text
    assert ben.id not in caplog.text
    write(ben, "and you?")
    ada.kill()
    ada.login()
    pass_time(10 * SECOND, ada, ben)
    write(ada, "again")
    pass_time(10 * SECOND, ada, ben)
    assert (unread(ada), unread(ben)) == (["and you?"], ["again"])


def test_control_fault_in_what_is_done_for_groups_would_end_the_program(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Duties, __: object) -> None:
        raise KeyError

    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    monkeypatch.setattr(Duties, "step", fails)
    with pytest.raises(KeyError):  # the tests' clients let no fault be
        pass_time(SECOND, ada)


@pytest.mark.parametrize("fault", [KeyError, TypeError, RecursionError, AssertionError])
def test_message_that_the_program_fails_at_stays_at_the_relay_and_the_rest_comes(
    town: Town, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: type[Exception]
) -> None:
    monkeypatch.setattr(Aside, "failed", TOLERATED[Aside])
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    (poison,) = ben.send(ada, "poison")
    receive = Inbox.receive

    def fails(self: Inbox, tx: Any, frame: Any, *rest: Any, **more: Any) -> Any:
        if frame.payload.message_id == poison:
            raise fault(ben.id)
        return receive(self, tx, frame, *rest, **more)

    with monkeypatch.context() as faulty, caplog.at_level(logging.ERROR):
        faulty.setattr(Inbox, "receive", fails)
        for _ in range(3):
            ben.send(ada, "and then")
            cleo.send(ada, "hello")
            pass_time(10 * SECOND, ada, ben, cleo)
            ada.cut()
            ada.login()
        pass_time(10 * SECOND, ada, ben, cleo)
    assert sorted(ada.read_all()) == ["and then"] * 3 + ["hello"] * 3
    assert ada.troubles().count("aside") == 1
    assert fault.__name__ in caplog.text
    assert ben.id not in caplog.text
    ada.kill()
    ada.login()  # a version that does not fail at it
    pass_time(10 * SECOND, ada, ben, cleo)
    assert ada.read_all() == ["poison"]
