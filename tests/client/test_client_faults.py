"""Faults of this program at what others send: its user has everything else all the same."""

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
import pytest
from client_samples import TOLERATED, Town, pass_time
from group_people import group_of, info, known, unread, write

from phantom_messenger import Client
from phantom_messenger.client import connection_loop
from phantom_messenger.client.errors import InvalidUserId, PhantomError, UsageError, VaultError
from phantom_messenger.client.faults import Aside
from phantom_messenger.client.groups.duties import Duties
from phantom_messenger.client.groups.stepping import Stepping
from phantom_messenger.client.groups.texts import Texts
from phantom_messenger.client.inbox import Inbox
from phantom_messenger.client.many.sending import SendingMany
from phantom_messenger.client.records import RequestRecord
from phantom_messenger.client.requests import Requests
from phantom_messenger.client.status import ConnectionEvent, ConnectionState, DeliveryState, Event
from phantom_messenger.crypto.errors import InvalidMessage
from support.relay_process import RelayProcess
from support.sdk_clients import PATIENCE, event, friends, opened, run
from support.simulated import HOUR, MINUTE, SECOND


@pytest.mark.parametrize("fault", [KeyError, UsageError, InvalidUserId])
def test_fault_in_what_is_done_for_groups_leaves_everything_else_alone(
    town: Town, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: type[Exception]
) -> None:
    monkeypatch.setattr(Stepping, "failed", TOLERATED[Stepping])
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)

    def fails(_: Duties, __: object) -> None:
        raise fault(ben.id)

    with monkeypatch.context() as faulty, caplog.at_level(logging.ERROR):
        faulty.setattr(Duties, "step", fails)
        ben.send(ada, "hello")
        pass_time(HOUR, ada, ben, step=MINUTE)
    assert ada.read_all() == ["hello"]
    assert ada.troubles().count("groups-failed") == 1
    assert fault.__name__ in caplog.text
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


def test_text_that_came_before_its_change_and_that_the_program_fails_at_keeps_no_change_back(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Aside, "failed", TOLERATED[Aside])
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben)
    ben.tamper = lambda frame: [] if frame["payload"].get("senderId") == ada.id else [frame]
    ada.messenger.groups.add("Tea", [cleo.id])
    pass_time(5 * SECOND, ada, ben, cleo)
    cleo.messenger.groups.accept("Tea")
    pass_time(2 * SECOND, ada, ben, cleo)
    write(cleo, "poison")
    pass_time(3 * SECOND, ada, ben, cleo)
    assert ben.messenger._stores.groups.held(known(ben).id), "its change has not come"
    keep = Texts.keep

    def fails(self: Texts, tx: Any, group: Any, held: Any, said: Any, *rest: Any) -> Any:
        if said.body == "poison":
            raise KeyError
        return keep(self, tx, group, held, said, *rest)

    with monkeypatch.context() as faulty:
        faulty.setattr(Texts, "keep", fails)
        ben.tamper = None
        ben.cut()
        ben.login()
        ada.messenger.groups.set_timer("Tea", MINUTE)
        pass_time(70 * SECOND, ada, ben, cleo)
        write(ada, "after")
        pass_time(20 * SECOND, ada, ben, cleo)
    assert [info(one).revision for one in (ada, ben, cleo)] == [4, 4, 4]
    assert (unread(ben), info(ben).is_behind, ben.troubles().count("aside")) == (["after"], False, 1)
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(20 * SECOND, ada, ben, cleo)
    assert unread(ben) == ["poison"], "by a version that does not fail at it"


@pytest.mark.parametrize("fault", [KeyError, TypeError, RecursionError, AssertionError, UsageError])
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


def test_request_that_the_program_fails_at_stays_among_those_that_wait(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Aside, "failed", TOLERATED[Aside])
    ada, ben = town.device("ada", strangers="ask").login(), town.device("ben").login()
    ben.messenger.contacts.add("ada", ada.id)
    poison, _ = ben.send(ada, "poison", "and then")
    pass_time(10 * SECOND, ada, ben)
    receive = Requests.open

    def fails(self: Requests, tx: Any, record: RequestRecord, now: int) -> Any:
        if record.message_id == poison:
            raise KeyError
        return receive(self, tx, record, now)

    with monkeypatch.context() as faulty:
        faulty.setattr(Requests, "open", fails)
        ada.messenger.contacts.add("ben", ben.id)
        pass_time(10 * SECOND, ada, ben)
        ada.kill()
        ada.login()
        ben.send(ada, "later")
        pass_time(10 * SECOND, ada, ben)
        assert ada.read_all() == ["and then", "later"]
    ada.kill()
    ada.login()
    pass_time(MINUTE, ada, ben)
    assert ada.read_all() == ["poison"]


def test_fault_elsewhere_ends_the_connection_and_another_one_is_made(
    tmp_path: Path, relay: RelayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, faults = SendingMany.result, [KeyError()]

    def fails(self: SendingMany, frame: Any, now: Any) -> Any:
        if faults:
            raise faults.pop()
        return result(self, frame, now)

    async def main() -> None:
        async with opened(tmp_path, "ada", relay.url) as ada, opened(tmp_path, "ben", relay.url) as ben:
            ada.contacts.add("ben", ben.user_id)
            ben.contacts.add("ada", ada.user_id)
            ada.groups.create("Tea", ["ben"])
            await event(ada, ConnectionEvent, lambda: None, state=ConnectionState.OFFLINE)
            assert await ben.groups.wait_known("Tea", PATIENCE)
            assert await ada.flush(PATIENCE) == 0

    monkeypatch.setattr(SendingMany, "result", fails)
    run(main())
    assert not faults


UNGUARDED: Final = (KeyError, UsageError, InvalidUserId, PhantomError, InvalidMessage, msgspec.DecodeError, ValueError)
"""Faults, if nobody has called: some of them tell a caller of the SDK what is wrong with the call or the profile."""


def told_of_faults(client: Client) -> list[str]:
    """Why it has lost its connections, as long as it is asked."""
    reasons: list[str] = []
    publish = client._hub.publish

    def told(event: Event) -> None:
        if isinstance(event, ConnectionEvent) and event.state is ConnectionState.OFFLINE:
            reasons.append(event.reason)
        publish(event)

    client._hub.publish = told  # type: ignore[method-assign] # what is told first, and to everybody
    return reasons


@pytest.mark.parametrize("site", ["connected", "receive", "drain", "next_tick", "tick"])
def test_fault_at_any_place_ends_a_connection_and_another_one_is_made(
    tmp_path: Path, relay: RelayProcess, monkeypatch: pytest.MonkeyPatch, site: str
) -> None:
    monkeypatch.setattr(connection_loop, "DISK_PAUSE", 0.01)
    faults = [kind("of somebody") for kind in UNGUARDED]

    async def main() -> None:
        async with friends(tmp_path, relay) as (ada, ben):
            reasons, genuine = told_of_faults(ada), getattr(ada._messenger, site)

            def fails(*arguments: Any) -> Any:
                if faults and (site == "connected" or ada._messenger.is_online):
                    raise faults.pop()
                return genuine(*arguments)

            setattr(ada._messenger, site, fails)
            if site == "tick":
                ada._messenger.next_tick = lambda: 10  # type: ignore[method-assign] # else it is seconds until it is time
            ada._loop._backoff.ended = lambda now: now * 0  # type: ignore[method-assign] # none of these is an outage
            for _ in UNGUARDED:
                if site == "connected":
                    ada._loop.drop("again")
                await ben.send("alice", "hello")
                await ada.wait_online(PATIENCE)
            while faults:
                ada._loop.changed()
                await asyncio.sleep(0.01)
            await (await ben.send("alice", "after")).wait(DeliveryState.DELIVERED)
            assert [reason for reason in reasons if reason.endswith("please report it")]
            assert not [reason for reason in reasons if "somebody" in reason]

    run(main())
    assert not faults


@pytest.mark.parametrize("site", ["receive", "tick"])
def test_control_profile_that_cannot_be_used_ends_a_client(tmp_path: Path, relay: RelayProcess, site: str) -> None:
    async def main() -> None:
        async with friends(tmp_path, relay) as (ada, ben):

            def fails(*_: Any) -> Any:
                raise apsw.IOError("disk I/O error")

            setattr(ada._messenger, site, fails)
            await ben.send("alice", "hello")
            await ada._loop.ended(PATIENCE)
            with pytest.raises(VaultError, match="the profile cannot be used"):
                await ada.wait_online(PATIENCE)

    run(main())
