"""Canonical JSON (RFC 8785, JCS) and the I-JSON rules that make it unambiguous (RFC 7493).

Signatures cover canonical text, so two programs must never write one value in two ways, nor
read two values from one text.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import msgspec

from phantom_messenger.wire.codes import Reason, RequestError
from phantom_messenger.wire.limits import MAX_DEPTH, MAX_SAFE_INTEGER

_encode_scalar = msgspec.json.Encoder().encode

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?+', re.DOTALL)
"""A whole string, terminated or not: brackets in it do not count."""

_AS_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_OPEN: Final = ord("[")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))

_LEAST_WITH_EXPONENT: Final = 1e21
"""From here on ECMAScript writes numbers with an exponent."""


def canonical(value: Any) -> bytes:
    """Write a JSON value in its canonical form.

    Args:
        value: None, bool, int within ±(2^53-1), finite float, str without lone
            surrogates, list, or dict with such names.

    Returns:
        UTF-8 bytes, as RFC 8785 section 3.2 prescribes.

    Raises:
        RequestError: with ``NUMBER`` or ``JSON`` for a value that I-JSON does not have.
    """
    return b"".join(_parts(value))


def canonical_within(value: Any, most: int) -> bytes | None:
    """As ``canonical``, but stops and returns None as soon as there are more than ``most`` bytes."""
    parts: list[bytes] = []
    for part in _parts(value):
        most -= len(part)
        if most < 0:
            return None
        parts.append(part)
    return b"".join(parts)


def _parts(value: Any) -> Iterator[bytes]:
    match value:
        case str():
            yield _string(value)
        case None | bool():
            yield _encode_scalar(value)
        case int():
            if abs(value) > MAX_SAFE_INTEGER:
                raise RequestError(Reason.NUMBER)
            yield b"%d" % value
        case float():
            yield _float(value).encode()
        case list():
            for index, item in enumerate(value):
                yield b"," if index else b"["
                yield from _parts(item)
            yield b"]" if value else b"[]"
        case dict():
            # RFC 8785 section 3.2.3: names are ordered as arrays of UTF-16 code units.
            if not all(isinstance(name, str) for name in value):
                raise RequestError(Reason.JSON)
            names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
            for index, name in enumerate(names):
                yield b"," if index else b"{"
                yield _string(name)
                yield b":"
                yield from _parts(value[name])
            yield b"}" if value else b"{}"
        case _:
            raise RequestError(Reason.JSON)


def _string(value: str) -> bytes:
    try:
        return _encode_scalar(value)
    except UnicodeEncodeError:
        raise RequestError(Reason.JSON) from None


def _float(value: float) -> str:
    """Write a float as ECMAScript's Number::toString does (RFC 8785 section 3.2.2.3)."""
    if not math.isfinite(value):
        raise RequestError(Reason.NUMBER)
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value!r}e0".partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    fraction = fraction.rstrip("0")
    point = len(whole) + int(exponent.split("e")[0])
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    count = len(digits)
    # The four cases of Number::toString; `point` is its n, `count` its k.
    if count <= point <= 21:  # noqa: PLR2004 - the constant of ECMAScript
        return f"{sign}{digits}{'0' * (point - count)}"
    if 0 < point <= 21:  # noqa: PLR2004
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:  # noqa: PLR2004
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def parse_strictly(text: bytes, *, levels: int = MAX_DEPTH) -> Any:
    """Read JSON that must be unambiguous: no duplicate name, no NaN, not too deep.

    Args:
        text: UTF-8 bytes.
        levels: of nesting that are allowed.

    Raises:
        RequestError: ``JSON``, ``DUPLICATE_NAME``, ``TOO_DEEP`` or ``NUMBER``.
    """
    if depth(text) > levels:
        raise RequestError(Reason.TOO_DEEP)
    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_safe_integer,
            parse_float=_finite,
        )
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise RequestError(Reason.JSON) from None


def depth(text: bytes) -> int:
    """How deep arrays and objects nest, without recursion; counts no further than just beyond ``MAX_DEPTH``."""
    brackets = _STRING.sub(b"", text).translate(_AS_SQUARE, _NO_BRACKETS)
    rest = brackets
    for passes in range(MAX_DEPTH + 1):
        if not rest:
            return passes
        rest = rest.replace(b"[]", b"")  # the innermost level of all
    deepest = level = 0
    for bracket in brackets:  # deeper, or no JSON
        level += 1 if bracket == _OPEN else -1
        deepest = max(deepest, level)
        if deepest > MAX_DEPTH:
            break
    return deepest


def commas(text: bytes) -> int:
    """The number of commas between members and elements: a bound on what parsing would create."""
    return _STRING.sub(b"", text).count(b",")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RequestError(Reason.DUPLICATE_NAME)
    return found


def _no_constant(_: str) -> NoReturn:
    raise RequestError(Reason.NUMBER)


def _safe_integer(digits: str) -> int:
    if len(digits) > len(str(MAX_SAFE_INTEGER)) + 1 or abs(number := int(digits)) > MAX_SAFE_INTEGER:
        raise RequestError(Reason.NUMBER)
    return number


def _finite(digits: str) -> float:
    number = float(digits)
    # Canonical form writes these as integers, which would then be unsafe.
    if not math.isfinite(number) or MAX_SAFE_INTEGER < abs(number) < _LEAST_WITH_EXPONENT:
        raise RequestError(Reason.NUMBER)
    return number
