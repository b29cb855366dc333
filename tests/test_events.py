"""The log: a closed table of events, one line each, and nothing in it that a person or a peer has written."""

import io
import json
import logging
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from phantom_messenger import events
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.events import LEVELS, Event, LogFormat, log, report
from support.faults import Faults

DOCUMENT = Path(__file__).parents[1] / "docs/operating.md"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|error) ([a-z-]+): [\x20-\x7e]+")

PIECES = [
    "\n",
    "\r\n",
    "\x1b[2K\x1b[1A",
    "%s%n%(name)s{0}",
    "\u202e",
    "\u2028",
    "\x00",
    "\x85",
    '"}\n{"event":"started',
    "\ud800",
]
PAYLOADS = [f"{before}secret{piece}{number}" for number in range(10) for piece in PIECES for before in ("", "user ")]

Install = Callable[..., io.StringIO]


@pytest.fixture(autouse=True)
def _made_up(faults: Faults) -> Iterator[None]:
    """What is reported here is no bug of the relay."""
    yield
    faults.take()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install(level, form)``: what is written to stderr from then on."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level, events._LOG.level, threading.excepthook, sys.unraisablehook
    output = io.StringIO()

    def start(level: str = "info", form: LogFormat = LogFormat.TEXT) -> io.StringIO:
        monkeypatch.setattr(sys, "stderr", output)
        events.install(level, form)
        return output

    yield start
    logging.captureWarnings(False)
    root.handlers[:], level, own, threading.excepthook, sys.unraisablehook = kept
    root.setLevel(level)
    events._LOG.setLevel(own)


def tell_everything() -> None:
    for event in Event:
        log(event, **dict.fromkeys(event.value.fields, 7))


def tell_payloads() -> None:
    """Every way by which a text of a peer could come near the log."""
    for number, payload in enumerate(PAYLOADS):
        match number % 4:
            case 0:
                log(Event.NO_RESERVE, error=payload)
            case 1:
                log(Event.ITEMS_QUARANTINED, count=payload)
            case 2:
                report(type(payload[:3], (ValueError,), {"__module__": payload})(payload))
            case _:
                logging.getLogger(payload).error("%s", payload, stack_info=True)


def records(written: str, form: LogFormat) -> list[str]:
    """The names of the events in a log, each line of which must be whole."""
    lines = written.split("\n")
    assert lines.pop() == ""
    if form is LogFormat.JSON:
        return [json.loads(line)["event"] for line in lines]
    found = [LINE.fullmatch(line) for line in lines]
    assert None not in found, written
    return [match[2] for match in found if match is not None]


@pytest.mark.parametrize("form", LogFormat)
def test_every_event_is_one_line(install: Install, form: LogFormat) -> None:
    output = install("debug", form)
    tell_everything()
    assert records(output.getvalue(), form) == [event.code for event in Event]


@pytest.mark.parametrize("level", LEVELS)
def test_level_is_the_least_that_is_written(install: Install, level: str) -> None:
    output = install(level)
    tell_everything()
    expected = [event.code for event in Event if event.value.level >= LEVELS[level]]
    assert records(output.getvalue(), LogFormat.TEXT) == expected


@pytest.mark.parametrize("form", LogFormat)
def test_payloads_of_peers_make_one_record_each_and_are_not_in_it(
    install: Install, monkeypatch: pytest.MonkeyPatch, form: LogFormat
) -> None:
    monkeypatch.setattr(events, "_REPEAT_SECONDS", 0)
    output = install("debug", form)
    tell_payloads()
    assert len(PAYLOADS) == 200
    assert len(records(output.getvalue(), form)) == 200
    assert "secret" not in output.getvalue()
    assert output.getvalue().isascii()


def test_payloads_of_peers_would_break_a_log_without_masks(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the same log, writing what it is given."""
    monkeypatch.setattr(events, "_REPEAT_SECONDS", 0)
    monkeypatch.setattr(events, "_mask", str)
    output = install("debug", LogFormat.TEXT)
    tell_payloads()
    assert "secret" in output.getvalue()
    with pytest.raises(AssertionError):
        records(output.getvalue(), LogFormat.TEXT)


def test_what_peers_can_cause_fills_no_disk(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    output = install()
    for _ in range(1_000):
        log(Event.CONNECTION_FAILED, error="SSLError")
        log(Event.CONNECTION_FAILED, error="OSError")
        log(Event.ITEMS_QUARANTINED, count=1)
        now[0] += 0.011
    assert records(output.getvalue(), LogFormat.TEXT).count("connection-failed") == 4
    assert records(output.getvalue(), LogFormat.TEXT).count("items-quarantined") == 1_000


def test_line_counts_those_that_were_left_out(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    output = install()
    for times in (1, 4, 2, 1):
        for _ in range(times):
            log(Event.AUDIENCE_REFUSED, count=1)
        now[0] += 10.1
    counts = [int(line.rpartition("count=")[2]) for line in output.getvalue().splitlines()]
    assert counts == [1, 1, 4, 2]


def test_what_nobody_caught_is_an_event_without_its_text(install: Install) -> None:
    class Bad:
        def __del__(self) -> None:
            raise KeyError("secret")

    def run() -> None:
        raise ValueError("secret")

    output = install()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    bad = Bad()
    del bad
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("secret", stacklevel=1)
    logging.getLogger("asyncio").error("secret")
    assert records(output.getvalue(), LogFormat.TEXT) == ["unexpected", "unexpected", "library", "library"]
    assert "secret" not in output.getvalue()
    assert "source=asyncio" in output.getvalue()


def test_place_of_an_error_is_one_of_this_package(install: Install) -> None:
    output = install("info", LogFormat.TEXT)
    store = SQLiteStore(None)
    [failure] = store.run_jobs([lambda tx: tx.directory.record_written("nobody", "nobody", "")])
    store.close()
    innermost = failure.error.__traceback__
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    assert innermost.tb_frame.f_code.co_filename.endswith(".c"), "the control: the last frame is a C function's"
    report(failure.error)
    assert "error=ConstraintError place=SQLiteDirectory.record_written:" in output.getvalue()


def test_every_event_is_documented_as_it_is() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.*) \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    names = {number: name for name, number in LEVELS.items()}
    assert rows == [
        (
            event.code,
            names[event.value.level],
            event.value.message,
            ", ".join(f"`{field}`" for field in event.value.fields),
        )
        for event in Event
    ]
