"""The relay's log: a closed table of events, written as text or as JSON.

Privacy is in the types: an event has fixed fields, and a field is a whole number or a code word (a type, a place, a
version); anything else is masked. There is no way to log a user id, an address or a message.
"""

import json
import logging
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from logging import DEBUG, ERROR, INFO, WARNING
from pathlib import Path
from types import TracebackType
from typing import Any, Final

_LOG: Final = logging.getLogger("phantom.relay")
_WORD: Final = re.compile(r"[A-Za-z0-9_.<>:-]{1,120}", re.ASCII)
_RECORD: Final = "phantom_event"
_REPEAT_SECONDS: Final = 10.0
_COUNT: Final = "count"
_PACKAGE: Final = str(Path(__file__).parent)


class LogFormat(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


LEVELS: Final = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
_NAMES: Final = {number: name for name, number in LEVELS.items()}


@dataclass(frozen=True, slots=True)
class EventSpec:
    """What is fixed about an event: its level, its message and the names of its fields."""

    level: int
    message: str
    fields: tuple[str, ...] = ()
    peer_triggered: bool = False
    """Whether others can trigger it at will: the same line is then written at most once in ten seconds."""


class Event(Enum):
    """Everything that the relay ever logs; `error` means a fault of the relay or of its machine."""

    STARTED = EventSpec(INFO, "the relay is listening", ("version",))
    STOPPING = EventSpec(INFO, "the relay is shutting down and notifying its clients", ("connections",))
    STOPPED = EventSpec(INFO, "the relay has stopped; everything it accepted is stored")
    STATUS = EventSpec(DEBUG, "current load, once a minute", ("connections", "waiting"))
    REFERENCE_CLIENTS = EventSpec(
        WARNING,
        "--reference-clients on: anybody can log in as any user who has never signed a login, and read their messages; "
        "use it in closed networks only",
    )
    ANY_NAME = EventSpec(
        WARNING,
        "--public-names any: any relay can pass its users' logins on to this one; set the real names instead",
    )
    SETTING_UNKNOWN = EventSpec(WARNING, "this environment variable looks like a setting but is not one", ("variable",))
    LIMITS_OFF = EventSpec(WARNING, "--limits off: rates and numbers of connections are not limited")
    RELOADED = EventSpec(INFO, "SIGHUP: the certificate was reloaded; new connections use it")
    RELOAD_FAILED = EventSpec(
        WARNING, "SIGHUP: the new certificate and key cannot be used; the old ones stay in use", ("reason",)
    )
    NOTHING_TO_RELOAD = EventSpec(INFO, "SIGHUP: there is no certificate to reload")
    CERTIFICATE_EXPIRED = EventSpec(
        WARNING, "the certificate has expired or is not valid yet: clients reject it; renew it, then send SIGHUP"
    )
    OVERLOADED = EventSpec(WARNING, "overloaded: asking clients to retry later", peer_triggered=True)
    OVERLOAD_OVER = EventSpec(INFO, "the overload is over", ("refused",))
    AUDIENCE_REFUSED = EventSpec(
        WARNING,
        "rejecting logins for a name that is not this relay's; if clients dial that name, add it to --public-names",
        ("count",),
        peer_triggered=True,
    )
    ORIGIN_REFUSED = EventSpec(
        WARNING,
        "rejecting web pages of another origin; if one of them may connect, add it to --allowed-origins",
        ("count",),
        peer_triggered=True,
    )
    PROXY_UNTRUSTED = EventSpec(
        WARNING,
        "X-Forwarded-For came from an address that is not in --trusted-proxies: if that is your proxy, "
        "all its clients share the limits of one address",
        ("count",),
        peer_triggered=True,
    )
    CONNECTIONS_FULL = EventSpec(WARNING, "connection limit reached: newcomers are refused", peer_triggered=True)
    CONNECTION_FAILED = EventSpec(
        WARNING, "a connection failed, for example in its TLS handshake", ("error",), peer_triggered=True
    )
    DISK_FULL = EventSpec(WARNING, "the data folder's disk is full: nothing new is accepted until space is freed")
    STORE_BLOCKED = EventSpec(WARNING, "the store cannot write: asking clients to retry later", ("reason",))
    STORE_RECOVERED = EventSpec(INFO, "the store can write again")
    DATABASE_UNUSABLE = EventSpec(
        WARNING,
        "the database cannot be used; trying again: see the reason in docs/cluster.md",
        ("reason",),
        peer_triggered=True,
    )
    FOLDER_MOVED = EventSpec(
        ERROR,
        "the data folder was moved or deleted while the relay is running: stop it, restore the folder, start it again",
    )
    ERASURE_REFUSED = EventSpec(
        WARNING,
        "deleted messages stay in the log of the database for longer: grant the relay's user the role pg_checkpoint"
        " and EXECUTE on pg_switch_wal()",
    )
    ERASURE_LATE = EventSpec(
        WARNING,
        "so much mail waits that a part of it cannot be written anew in seconds: what was deleted from it stays in the"
        " database's files for longer",
    )
    LINK_LOST = EventSpec(
        WARNING, "no connection to the database for notices from other relays; trying again", ("error",)
    )
    LOG_KEPT = EventSpec(
        WARNING,
        "another program is reading the database: deleted data stays in the database's files until it has finished",
    )
    NO_RESERVE = EventSpec(
        WARNING, "this file system cannot reserve space: a full disk will block removals too", ("error",)
    )
    ITEMS_UNREADABLE = EventSpec(ERROR, "unreadable items were left out of mailboxes; check the disk", ("count",))
    RECEIPTS_LEFT_OUT = EventSpec(
        ERROR, "senders whose receipts cannot be stored are not told what expires; check the disk", ("count",)
    )
    ITEMS_QUARANTINED = EventSpec(ERROR, "damaged items were quarantined (wrong checksum); check the disk", ("count",))
    INDEX_DAMAGED = EventSpec(ERROR, "the database is damaged: rebuilding its indexes; check the disk")
    TIME_DAMAGED = EventSpec(ERROR, "the relay's clock in the database is damaged; continuing from the wall clock")
    VERIFIER_LOST = EventSpec(WARNING, "a signature-checking process has ended; starting another")
    LIBRARY = EventSpec(
        WARNING, "a library has logged something; its text is omitted", ("source",), peer_triggered=True
    )
    UNEXPECTED = EventSpec(ERROR, "a bug in the relay: please report it", ("error", "place"), peer_triggered=True)

    @property
    def code(self) -> str:
        """The event's name in the log."""
        return self.name.lower().replace("_", "-")


def log(event: Event, **fields: int | str) -> None:
    """Log an event.

    Args:
        event: what has happened.
        **fields: exactly those of the event; a text that is not a code word is written as ``?``.
    """
    if _LOG.isEnabledFor(event.value.level):
        safe = {name: _mask(fields[name]) for name in event.value.fields}
        _LOG.log(event.value.level, "%s", _text(event, safe), extra={_RECORD: (event, safe)})


def report(error: BaseException) -> None:
    """Log the type and place of an unexpected error, but not its text, which may contain user data.

    The place is the innermost frame of this package: a frame of a library or a C function says nothing about what the
    relay was doing.
    """
    places = list(_places(error))
    own = [place for place in places if place.tb_frame.f_code.co_filename.startswith(_PACKAGE)]
    where = "?"
    if places:
        place = (own or places)[-1]
        where = f"{place.tb_frame.f_code.co_qualname}:{place.tb_lineno}"
    log(Event.UNEXPECTED, error=type(error).__name__, place=where)


def _places(error: BaseException) -> Iterator[TracebackType]:
    place = error.__traceback__
    while place is not None:
        yield place
        place = place.tb_next


def install(level: str, form: LogFormat) -> None:
    """Write events, and nothing else, to stderr: library logs and uncaught exceptions become events too.

    Args:
        level: the lowest of ``LEVELS`` that is written.
        form: text or JSON.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(form))
    handler.addFilter(_Deduplicate())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(WARNING)
    _LOG.setLevel(LEVELS[level])
    if LEVELS[level] > WARNING:
        handler.setLevel(LEVELS[level])
    logging.captureWarnings(True)
    # By default, exceptions that nobody can catch are printed with their text.
    threading.excepthook = lambda failed: report(failed.exc_value or failed.exc_type())
    sys.unraisablehook = lambda failed: report(failed.exc_value or failed.exc_type())


class _Deduplicate(logging.Filter):
    """Keeps lines that peers can trigger from filling the disk; ``count`` says how many one line stands for."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[tuple[Any, ...], float] = {}
        self._left_out: Counter[tuple[Any, ...]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """See ``logging.Filter``."""
        event, fields = _event_of(record)
        if not event.value.peer_triggered:
            return True
        line = (event, *(value for name, value in fields.items() if name != _COUNT))
        now = time.monotonic()
        if now - self._written.get(line, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            self._left_out[line] += 1
            return False
        self._written[line] = now
        left_out = self._left_out.pop(line, 0)
        if _COUNT in fields:
            fields[_COUNT] = int(fields[_COUNT]) + left_out
        return True


class _Line(logging.Formatter):
    """One event, one line."""

    def __init__(self, form: LogFormat) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``; a record that is not an event loses its text."""
        event, fields = _event_of(record)
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        level = _NAMES.get(record.levelno, "error")
        if self._form is LogFormat.TEXT:
            return f"{at} {level} {_text(event, fields)}"
        whole: dict[str, Any] = {"time": at, "level": level, "event": event.code}
        return json.dumps({**whole, "message": event.value.message, **fields})


def _event_of(record: logging.LogRecord) -> tuple[Event, dict[str, int | str]]:
    found: tuple[Event, dict[str, int | str]] = getattr(
        record, _RECORD, (Event.LIBRARY, {"source": _mask(record.name)})
    )
    return found


def _text(event: Event, fields: dict[str, int | str]) -> str:
    return " ".join([f"{event.code}: {event.value.message}", *(f"{name}={value}" for name, value in fields.items())])


def _mask(value: object) -> int | str:
    if isinstance(value, int):
        return int(value)
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "?"
