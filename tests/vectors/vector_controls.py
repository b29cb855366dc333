"""Spoils vectors, one value at a time, so that a test can see that each of them is looked at."""

import copy
import re
from collections.abc import Iterator
from typing import Any, Final

Json = dict[str, Any]
Path = tuple[str | int, ...]

NAMES: Final = {
    "name",
    "description",
    "op",
    "by",
    "message",
    "session",
    "order",
    "as",
    "from",
    "type",
    "recipient",
    "id",
}
"""Members that only name something."""

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+\Z")


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is no list or object, and is compared or computed with."""
    if isinstance(value, dict):
        if isinstance(value.get("expect"), dict) and "error" in value["expect"]:
            return  # another wrong input is refused as well
        for name, member in value.items():
            if name not in NAMES:
                yield from leaves(member, (*path, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from leaves(member, (*path, index))
    elif value not in (None, ""):
        yield path, value


def other(value: Any) -> Any:
    """A value that differs in one byte, one digit or one character."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if _HEX.match(value):
        # Not the lowest bits: X25519 clears them in a private key. Nor the end: the second half of a KEM key's
        # seed is only used for ciphertexts that are wrong.
        return f"{int(value[:2], 16) ^ 8:02x}{value[2:]}"
    place = len(value) // 2
    return value[:place] + ("1" if value[place] != "1" else "2") + value[place + 1 :]


def spoilt(case: Json) -> Iterator[tuple[Path, Json]]:
    """The case with one value changed, for each that a reader must look at."""
    for path, value in leaves(case):
        if path[-1] == "now" or (path[0] != "expect" and "expect" not in path and not _is_bytes(value)):
            continue
        yield path, _with(case, path, other(value))


def _with(value: Any, path: Path, changed: Any) -> Any:
    """A copy in which one value is another one; it shares the rest, which whoever plays it leaves as it is."""
    if not path:
        return changed
    made = copy.copy(value)
    made[path[0]] = _with(value[path[0]], path[1:], changed)
    return made


def _is_bytes(value: Any) -> bool:
    return isinstance(value, str) and _HEX.match(value) is not None
