"""One text's way through a client's core: how many functions a reader has to follow, and in how many modules.

From ``send_text`` to the frame that ``drain`` hands out, of a client that is online, to somebody who has answered.
``pytest -rP`` shows the way, call by call.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from client_samples import Device, Town, fast_folder, pass_time, settle
from test_bench_walk import Call, counted

from phantom_messenger.client.messenger import Messenger
from support.simulated import SECOND, World

MOST = {"calls": 292, "modules": 52, "changes of module": 184}


@pytest.fixture
def friends(world: World, tmp_path: Path) -> Iterator[list[Device]]:
    with fast_folder(tmp_path) as folder:
        town = Town(world, folder)
        made = town.friends("alice", "bob")
        for word in ("one", "two", "three"):  # what is known of each other is in memory
            made[0].send(made[1], word)
            settle(*made)
            pass_time(10 * SECOND, *made)
        yield made
        town.close()


def walk(friends: list[Device]) -> list[Call]:
    alice, bob = friends
    sent: list[str] = []

    def run() -> None:
        alice.messenger.send_text(bob.id, "four")
        sent.extend(alice.messenger.drain())

    calls = counted(run)
    assert [text.count('"type":"MESSAGE') for text in sent] == [1]
    return [call for call in calls if not call.module.startswith(("relay/", "engines/"))]


def figures(calls: list[Call]) -> dict[str, int]:
    modules = [call.module for call in calls]
    return {
        "calls": len(calls),
        "modules": len(set(modules)),
        "changes of module": sum(one != other for one, other in pairwise(modules)),
    }


def test_text_is_not_sent_about(friends: list[Device]) -> None:
    calls = walk(friends)
    for number, call in enumerate(calls):
        print(number, call.module, call.name)  # noqa: T201 - shown by pytest -rP
    print(figures(calls))  # noqa: T201 - as above
    assert [name for name, count in figures(calls).items() if count > MOST[name]] == []


def test_control_detour_is_seen(friends: list[Device], monkeypatch: pytest.MonkeyPatch) -> None:
    drain = Messenger.drain

    def detour(messenger: Messenger) -> list[str]:
        messenger.groups.waits(0)
        return drain(messenger)

    monkeypatch.setattr(Messenger, "drain", detour)
    assert [name for name, count in figures(walk(friends)).items() if count > MOST[name]] == list(MOST)
