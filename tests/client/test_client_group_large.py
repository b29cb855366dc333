"""A group of strangers as large as there can be, at a relay with its limits: they talk within a minute (G6).

What paces them is KEY_EXCHANGE: 10 PREKEY_FETCH a minute, each for 20 users. The relay's time is a virtual clock's.
"""

from pathlib import Path
from typing import Final

import pytest
from client_samples import Town, fast_folder, pass_time, settle
from group_people import info, said, write

from phantom_messenger.client.groups.state import MAX_MEMBERS
from phantom_messenger.wire.limits import MAX_FETCH_TARGETS
from support.amounts import amount
from support.simulated import MINUTE, SECOND, MakeWorld

PEOPLE: Final = amount(MAX_FETCH_TARGETS + 2, MAX_MEMBERS)
"""More than one PREKEY_FETCH is for, at least."""


@pytest.mark.usefixtures("few_prekeys")
def test_strangers_talk_within_a_minute(make_world: MakeWorld, tmp_path: Path) -> None:
    with fast_folder(tmp_path) as folder:
        town = Town(make_world(), folder)
        try:
            ada, *others = town.devices(*(f"p{number}" for number in range(PEOPLE)))
            pass_time(2 * MINUTE, ada, *others, step=30 * SECOND)  # the pace of logins is forgotten
            began = town.world.clock.monotonic_ms()
            ada.messenger.groups.create("Tea", [other.id for other in others])
            settle(ada, *others)
            accepted: set[str] = set()
            while town.world.clock.monotonic_ms() - began < MINUTE:
                for other in others:
                    if other.id not in accepted and any(
                        one.relation == "invited" for one in other.messenger.groups.all()
                    ):
                        other.messenger.groups.accept("Tea")
                        accepted.add(other.id)
                settle(ada, *others)
                if len(accepted) == len(others):
                    break
                pass_time(SECOND, ada, *others)
            write(ada, "from the first")
            write(others[-1], "from the last")
            settle(ada, *others)
            while town.world.clock.monotonic_ms() - began < MINUTE and not all(
                sorted(map(str, said(one))) == ["from the first", "from the last"] for one in (ada, *others)
            ):
                pass_time(SECOND, ada, *others)
            took = (town.world.clock.monotonic_ms() - began) / SECOND
            print(f"{PEOPLE} strangers talk after {took:.0f} s of the relay's time")  # noqa: T201 - shown by pytest -rP
            for one in (ada, *others):
                assert sorted(map(str, said(one))) == ["from the first", "from the last"], one.name
            assert not info(ada).is_behind
            assert took < 60
        finally:
            town.close()
