"""Two relays on one store, reached under one name, are one relay: they pass as one does, but for what each counts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from test_conformance_command import judge

from support.amounts import LONG
from support.postgres_server import PostgresServer
from support.relay_process import RelayProcess

FEW: Final = ("mailbox", "receipts", "block", "key-exchange")
COUNTED: Final = ("limits", "allowance", "dialogues/allowance")
"""What each relay counts for itself."""

JUDGED: Final = tuple(f"--skip={one}" for one in COUNTED) if LONG else tuple(f"--only={group}" for group in FEW)


@pytest.fixture
def two_relays(postgres: PostgresServer, template: str, tmp_path: Path) -> Iterator[list[RelayProcess]]:
    """Two that listen on the same port: the system spreads connections over them."""
    store = postgres.make_database(template)
    made: list[RelayProcess] = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        port = made[0].port if made else 0
        made.append(RelayProcess(folder, "--share-port", "on", "--store", store, port=port))
    yield made
    for relay in made:
        relay.stop()
    postgres.drop_database(store)


def test_two_relays_on_one_store_pass_as_one(two_relays: list[RelayProcess]) -> None:
    done = judge(two_relays[0].url, "--json", "--patience", "60", *JUDGED)
    told = json.loads(done.stdout)
    assert [case for case in told["cases"] if case["outcome"] == "failed"] == []
    assert (done.returncode, told["accountsLeft"]) == (0, 0)
    assert told["passed"] >= 40
