"""People with browsers at a real relay that serves them the page: ``web/tests/journeys``."""

import json
import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from phantom_messenger.web.export import for_relay
from phantom_messenger.web.files import load
from phantom_messenger.web.headers import security_headers
from support.amounts import LONG
from support.command_line import PASSPHRASE, QUICK
from support.node import NODE_TIMEOUT, WEB, chromium, run_web_tests
from support.relay_process import SERVE, StartRelay
from support.web_server import QUICK_PAGE, Table, serving, table_of

BACKUP_PASSPHRASE: Final = "seven green bottles"


SOURCE: Final = (WEB / "tests/journeys/journeys.test.ts").read_text()
JOURNEYS: Final = re.findall(r'^  journey\("(.+)",', SOURCE, re.MULTILINE)
LESS_OFTEN: Final = (
    "a link asks",
    "a backup opens",
    "one tab at a time",
    "the page is there",
    "what is written without",
)
"""Journeys of ``make test-long`` alone."""


def test_there_are_as_many_journeys_as_are_played() -> None:
    assert len(JOURNEYS) == len(set(JOURNEYS)) == SOURCE.count("journey(") - SOURCE.count("function journey(") > 0
    assert all(any(name.startswith(less) for name in JOURNEYS) for less in LESS_OFTEN)


OFTEN: Final = [name for name in JOURNEYS if not name.startswith(LESS_OFTEN)]
PLAYED: Final = [[name] for name in JOURNEYS] if LONG else [OFTEN[::3], OFTEN[1::3], OFTEN[2::3]]
"""Those of a list are played one after another in one browser: it takes as long to start as a short journey."""


@pytest.mark.timeout(NODE_TIMEOUT)
@pytest.mark.parametrize("names", PLAYED, ids=[names[0] for names in PLAYED])
def test_people_with_browsers_at_a_real_relay(names: list[str], start_relay: StartRelay, tmp_path: Path) -> None:
    browser = chromium()
    command = SERVE if LONG or JOURNEYS[0] in names else QUICK_PAGE
    relay = start_relay("--limits", "off", "--public-names", "any", command=command)
    printed = run_web_tests(
        "tests/journeys/journeys.test.ts",
        PHANTOM_CHROMIUM=browser,
        PHANTOM_RELAY=relay.url,
        PHANTOM_JOURNEYS=f"^({'|'.join(map(re.escape, names))})$",
        PHANTOM_CLI=json.dumps(QUICK),
        PHANTOM_HOME=str(tmp_path / "home"),
        PHANTOM_PASSPHRASE=PASSPHRASE,
        PHANTOM_EXPORT_PASSPHRASE=BACKUP_PASSPHRASE,
        PYTHONPATH=os.pathsep.join(map(str, (Path(__file__).parents[1], os.environ.get("PYTHONPATH", "")))),
    )
    assert f"# pass {len(names)}\n" in printed
    assert [line for line in relay.doubts if "any-name" not in line and "limits-off" not in line] == []


@pytest.mark.timeout(NODE_TIMEOUT)
def test_page_of_another_host_talks_to_its_relay(start_relay: StartRelay) -> None:
    browser = chromium()
    table: Table = {}
    with serving(table) as page:
        relay = start_relay("--limits", "off", "--web", "off", "--allowed-origins", page.rstrip("/"))
        table |= table_of(for_relay(load(), relay.url), security_headers(f"ws://{urlsplit(relay.url).netloc}"))
        printed = run_web_tests(
            "tests/journeys/journeys.test.ts",
            PHANTOM_CHROMIUM=browser,
            PHANTOM_RELAY=relay.url,
            PHANTOM_PAGE=page,
            PHANTOM_JOURNEYS="two browsers chat",
        )
    assert "# pass 1" in printed
    assert [line for line in relay.doubts if "limits-off" not in line] == []
