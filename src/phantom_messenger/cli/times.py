"""Times as users read and write them, in local time."""

import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import click

_UNKNOWN: Final = "--:--"
_DURATION: Final = re.compile(r"(\d{1,6})\s*([smhd]?)\Z")
_MOST_SECONDS: Final = 365 * 86_400
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_FORMS: Final = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")


def moment(milliseconds: int, *, now: datetime | None = None) -> str:
    """A time that a peer claims: hours and minutes, preceded by the date unless it is today.

    Args:
        milliseconds: since 1970.
        now: decides what today is; the local time if None.
    """
    found = _local(milliseconds)
    if found is None:
        return _UNKNOWN
    today = (now or datetime.now().astimezone()).date()
    return found.strftime("%H:%M" if found.date() == today else "%Y-%m-%d %H:%M")


def _local(milliseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def _seconds(text: str) -> int | None:
    found = _DURATION.match(text.strip())
    return None if found is None else int(found[1]) * _SECONDS[found[2]]


def _date(text: str) -> float | None:
    for form in _FORMS:
        with suppress(ValueError, OverflowError):
            return datetime.strptime(text, form).astimezone().timestamp()
    return None


class Duration(click.ParamType[float]):
    """A time like 30s, 10m, 1h or 7d, as seconds; a bare number is seconds.

    Args:
        or_none: whether 0 is one, too.
    """

    name = "time"

    def __init__(self, *, or_none: bool = False) -> None:
        self._or_none = or_none

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See ``click.ParamType``."""
        if isinstance(value, float | int):
            return float(value)
        seconds = _seconds(value)
        if seconds is None or (not seconds and not self._or_none):
            self.fail(f"'{value}' is not a time; write it like 30s, 10m, 1h or 7d", param, ctx)
        if seconds > _MOST_SECONDS:
            self.fail(f"'{value}' is too long; the maximum is 365d", param, ctx)
        return float(seconds)


class Since(click.ParamType[float]):
    """A date, a date with a time, or a span of time until now, as seconds since 1970."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See ``click.ParamType``."""
        if isinstance(value, float | int):
            return float(value)
        seconds = _seconds(value)
        if seconds is not None:
            return (datetime.now().astimezone() - timedelta(seconds=seconds)).timestamp()
        found = _date(value.strip())
        if found is None:
            self.fail(f"'{value}' is not a date; write it like 2026-11-23, '2026-11-23 17:07', or 7d", param, ctx)
        return found
