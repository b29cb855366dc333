"""What the relay tells its operator: a closed table of events, and the two forms of a line.

Privacy is in the types: an event has fixed fields, a field is a whole number or one word
of code (a type, a place, a version), and what is neither is masked. There is no way to log
a user id, an address or a text.
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
_SELDOM_SECONDS: Final = 10.0
_COUNT: Final = "count"
_PACKAGE: Final = str(Path(__file__).parent)


class Form(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


LEVELS: Final = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
_NAMES: Final = {number: name for name, number in LEVELS.items()}


@dataclass(frozen=True, slots=True)
class Kind:
    """What is fixed about an event: how much it matters, its sentence, the names of its fields."""

    level: int
    sentence: str
    fields: tuple[str, ...] = ()
    at_peers_will: bool = False
    """Whether others can cause it as often as they like: the same line is then written once in ten seconds."""


class Event(Enum):
    """Everything that the relay ever logs; `error` is a fault of the relay or of its machine."""

    STARTED = Kind(INFO, "the relay listens", ("version",))
    STOPPING = Kind(INFO, "the relay stops: clients are told", ("connections",))
    STOPPED = Kind(INFO, "the relay has stopped; what it accepted is stored")
    STATUS = Kind(DEBUG, "once a minute: what the relay is doing", ("connections", "waiting"))
    REFERENCE_CLIENTS = Kind(
        WARNING,
        "--reference-clients on: anyone can log in as any user who never signed a login, and read what waits for them;"
        " use it in closed networks only",
    )
    ANY_NAME = Kind(
        WARNING,
        "--public-names any: a login serves at every relay that passes it on; name the relay instead",
    )
    SETTING_UNKNOWN = Kind(WARNING, "an environment variable looks like a setting and is none", ("variable",))
    LIMITS_OFF = Kind(WARNING, "--limits off: rates and connection counts are not limited")
    RELOADED = Kind(INFO, "SIGHUP: the certificate was read again; those who connect from now on get it")
    RELOAD_FAILED = Kind(
        WARNING, "SIGHUP: certificate and key cannot be used; the previous ones stay in use", ("reason",)
    )
    NOTHING_TO_RELOAD = Kind(INFO, "SIGHUP: there is no certificate to read again")
    CERTIFICATE_EXPIRED = Kind(
        WARNING, "the certificate has expired or is not valid yet: clients refuse it; renew it, then send SIGHUP"
    )
    OVERLOADED = Kind(WARNING, "more comes than can be carried: senders are asked to wait", at_peers_will=True)
    OVERLOAD_OVER = Kind(INFO, "the load can be carried again", ("refused",))
    AUDIENCE_REFUSED = Kind(
        WARNING,
        "logins for another name than this relay's are refused; if clients dial it, it is missing in --public-names",
        ("count",),
        at_peers_will=True,
    )
    ORIGIN_REFUSED = Kind(
        WARNING,
        "web pages of another origin are refused; if one of them may connect, it is missing in --allowed-origins",
        ("count",),
        at_peers_will=True,
    )
    PROXY_UNTRUSTED = Kind(
        WARNING,
        "X-Forwarded-For comes from an address that is not in --trusted-proxies: if it is your proxy, "
        "its clients share the limits of one address",
        ("count",),
        at_peers_will=True,
    )
    CONNECTIONS_FULL = Kind(WARNING, "no room for another connection: newcomers are refused", at_peers_will=True)
    CONNECTION_FAILED = Kind(
        WARNING, "a connection failed, for example in its TLS handshake", ("error",), at_peers_will=True
    )
    DISK_FULL = Kind(WARNING, "the disk of the data folder is full: nothing new is accepted until there is room")
    STORE_BLOCKED = Kind(WARNING, "the store cannot write; senders are asked to wait")
    STORE_RECOVERED = Kind(INFO, "the store writes again")
    FOLDER_MOVED = Kind(
        ERROR, "the data folder was moved or deleted while the relay runs: stop it, put the folder back, start it"
    )
    LOG_KEPT = Kind(WARNING, "another program reads the database: what was removed stays in its log meanwhile")
    NO_RESERVE = Kind(WARNING, "this file system cannot reserve space: a full disk will stop removals too", ("error",))
    ITEMS_UNREADABLE = Kind(ERROR, "damaged items are left out of mailboxes; check the disk", ("count",))
    ITEMS_SET_ASIDE = Kind(ERROR, "damaged items were set aside (wrong checksum); check the disk", ("count",))
    INDEX_DAMAGED = Kind(ERROR, "the database is damaged: its indexes are built anew; check the disk")
    TIME_DAMAGED = Kind(ERROR, "the relay's own time is damaged in the database; it goes on from the wall clock")
    VERIFIER_LOST = Kind(WARNING, "a process that checks signatures has ended; another is started")
    LIBRARY = Kind(WARNING, "a library has reported something; its text is left out", ("source",), at_peers_will=True)
    UNEXPECTED = Kind(ERROR, "a fault of the relay: please report it", ("error", "place"), at_peers_will=True)

    @property
    def word(self) -> str:
        """The event's name in a line."""
        return self.name.lower().replace("_", "-")


def log(event: Event, **fields: int | str) -> None:
    """Tell the operator.

    Args:
        event: what has happened.
        **fields: exactly the event's; a text that is not one word of code becomes ``?``.
    """
    if _LOG.isEnabledFor(event.value.level):
        safe = {name: _mask(fields[name]) for name in event.value.fields}
        _LOG.log(event.value.level, "%s", _text(event, safe), extra={_RECORD: (event, safe)})


def report(error: BaseException) -> None:
    """Log an unexpected error: its type and place; its text may hold user data.

    The place is the innermost one in this package: a library's, or a C function's that has a frame
    of its own, says nothing about what the relay was doing.
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


def install(level: str, form: Form) -> None:
    """Write events to stderr, and nothing else: what libraries log and what nobody caught becomes an event too.

    Args:
        level: the least of ``LEVELS`` that is written.
        form: how.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(form))
    handler.addFilter(_Seldom())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(WARNING)
    _LOG.setLevel(LEVELS[level])
    if LEVELS[level] > WARNING:
        handler.setLevel(LEVELS[level])
    logging.captureWarnings(True)
    # What is raised where nobody can catch it is printed with its text by default.
    threading.excepthook = lambda failed: report(failed.exc_value or failed.exc_type())
    sys.unraisablehook = lambda failed: report(failed.exc_value or failed.exc_type())


class _Seldom(logging.Filter):
    """Lines that peers can cause fill no disk; a ``count`` says how many one stands for."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[tuple[Any, ...], float] = {}
        self._left_out: Counter[tuple[Any, ...]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """See ``logging.Filter``."""
        event, fields = _event_of(record)
        if not event.value.at_peers_will:
            return True
        line = (event, *(value for name, value in fields.items() if name != _COUNT))
        now = time.monotonic()
        if now - self._written.get(line, -_SELDOM_SECONDS) < _SELDOM_SECONDS:
            self._left_out[line] += 1
            return False
        self._written[line] = now
        left_out = self._left_out.pop(line, 0)
        if _COUNT in fields:
            fields[_COUNT] = int(fields[_COUNT]) + left_out
        return True


class _Line(logging.Formatter):
    """One event, one line."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``; a record that is no event loses its text."""
        event, fields = _event_of(record)
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        level = _NAMES.get(record.levelno, "error")
        if self._form is Form.TEXT:
            return f"{at} {level} {_text(event, fields)}"
        whole: dict[str, Any] = {"time": at, "level": level, "event": event.word}
        return json.dumps({**whole, "message": event.value.sentence, **fields})


def _event_of(record: logging.LogRecord) -> tuple[Event, dict[str, int | str]]:
    found: tuple[Event, dict[str, int | str]] = getattr(
        record, _RECORD, (Event.LIBRARY, {"source": _mask(record.name)})
    )
    return found


def _text(event: Event, fields: dict[str, int | str]) -> str:
    return " ".join([f"{event.word}: {event.value.sentence}", *(f"{name}={value}" for name, value in fields.items())])


def _mask(value: object) -> int | str:
    if isinstance(value, int):
        return int(value)
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "?"
