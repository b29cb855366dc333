"""A MessagePack map that no two readers can read differently.

Refused, at any depth: a key twice, a key that is no text, floats, extension types, text that is not UTF-8, and nesting
without end. Integers, texts and containers may have any of their forms: what a writer's library chooses is its own.
"""

from typing import Any, Final

from phantom_messenger.crypto.errors import InvalidMessage

MAX_DEPTH: Final = 8
"""Maps and arrays inside each other, the outermost counted: as in frames, and no stack is used up by a peer."""

_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}
_LENGTHS: Final = {
    0xC4: (bytes, 1),
    0xC5: (bytes, 2),
    0xC6: (bytes, 4),
    0xD9: (str, 1),
    0xDA: (str, 2),
    0xDB: (str, 4),
    0xDC: (list, 2),
    0xDD: (list, 4),
    0xDE: (dict, 2),
    0xDF: (dict, 4),
}
"""What follows a first byte, and how many bytes its length has."""

_INTEGERS: Final = {
    first + step: (1 << step, is_signed) for first, is_signed in ((0xCC, False), (0xD0, True)) for step in range(4)
}
"""How many bytes an integer has, and whether it has a sign."""


def decode(encoded: bytes) -> dict[str, Any]:
    """The map that these bytes are.

    Raises:
        InvalidMessage: they are none, there is something behind it, or two readers could disagree on it.
    """
    reader = _Reader(encoded)
    try:
        found = reader.value(0)
    except UnicodeDecodeError:
        raise InvalidMessage("a text in the content is not UTF-8") from None
    if not isinstance(found, dict) or not reader.is_at_end:
        raise InvalidMessage("the content is not one map")
    return found


class _Reader:
    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._encoded)

    def value(self, depth: int) -> Any:
        first = self._number(1)
        if first <= 0x7F:  # noqa: PLR2004 - as in MessagePack's table of formats, and so on
            return first
        if first >= 0xE0:  # noqa: PLR2004
            return first - 0x100
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _INTEGERS:
            size, is_signed = _INTEGERS[first]
            return int.from_bytes(self._take(size), signed=is_signed)
        kind, length = self._headed(first)
        if kind is bytes:
            return self._take(length)
        if kind is str:
            return self._take(length).decode()
        if depth == MAX_DEPTH:
            raise InvalidMessage("the content is nested too deeply")
        if kind is list:
            return [self.value(depth + 1) for _ in range(length)]
        return self._map(length, depth + 1)

    def _headed(self, first: int) -> tuple[type, int]:
        """What a first byte announces, and its length."""
        if first in _LENGTHS:
            kind, size = _LENGTHS[first]
            return kind, self._number(size)
        if first >= 0xC0:  # noqa: PLR2004
            raise InvalidMessage("the content has a float, or something that MessagePack leaves to others")
        if first >= 0xA0:  # noqa: PLR2004
            return str, first & 0x1F
        return (list if first >= 0x90 else dict), first & 0x0F  # noqa: PLR2004

    def _map(self, length: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(length):
            key, value = self.value(depth), self.value(depth)
            if not isinstance(key, str):
                raise InvalidMessage("the content has a field whose name is no text")
            if key in found:
                raise InvalidMessage("the content has a field twice")
            found[key] = value
        return found

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size))

    def _take(self, size: int) -> bytes:
        taken = self._encoded[self._at : self._at + size]
        if len(taken) != size:
            raise InvalidMessage("the content is cut short")
        self._at += size
        return taken
