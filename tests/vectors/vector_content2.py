"""A second reader and writer of content 2: ``protocol/encryption.md`` and nothing of ours.

MessagePack is read by hand, because the document refuses more than libraries do.
"""

from typing import Final

from vector_reference2 import Rejected

MAX_LEVELS: Final = 8
MAX_SENT_AT: Final = 253_370_764_800_000
MAX_BODY_BYTES: Final = 40_000
MAX_IDS: Final = 200
ID_CHARACTERS: Final = 36
KIND_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
RECEIPTS: Final = ("delivered", "read", "burned", "undecryptable")

SIZED: Final = {
    **{0xC4 + power: ("binary", 1 << power) for power in range(3)},
    **{0xCC + power: ("unsigned", 1 << power) for power in range(4)},
    **{0xD0 + power: ("signed", 1 << power) for power in range(4)},
    **{0xD9 + power: ("text", 1 << power) for power in range(3)},
    **{0xDC + power: ("array", 2 << power) for power in range(2)},
    **{0xDE + power: ("map", 2 << power) for power in range(2)},
}
"""First bytes that a number of so many bytes follows: a value, or the length of one."""

CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}


def invalid() -> Rejected:
    """The one error that content ends with."""
    return Rejected("InvalidMessage")


class Reader:
    """MessagePack, and "what two readers could read differently is refused"."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._at = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._encoded)

    def value(self, level: int) -> object:
        """The next value; ``level`` is that of a map or array which begins here."""
        first = self._number(1)
        if first <= 0x7F or first >= 0xE0:
            return first if first <= 0x7F else first - 0x100
        if first <= 0x8F:
            return self._map(first & 0x0F, level)
        if first <= 0x9F:
            return self._array(first & 0x0F, level)
        if first <= 0xBF:
            return self._text(first & 0x1F)
        if first in CONSTANTS:
            return CONSTANTS[first]
        if first in SIZED:
            return self._sized(*SIZED[first], level)
        raise invalid()  # a float, an extension type, or the byte that is never used

    def _sized(self, kind: str, width: int, level: int) -> object:
        found = self._number(width, signed=kind == "signed")
        match kind:
            case "binary":
                return self._take(found)
            case "text":
                return self._text(found)
            case "array":
                return self._array(found, level)
            case "map":
                return self._map(found, level)
            case _:
                return found

    def _take(self, length: int) -> bytes:
        if length > len(self._encoded) - self._at:
            raise invalid()
        self._at += length
        return self._encoded[self._at - length : self._at]

    def _number(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(width), "big", signed=signed)

    def _text(self, length: int) -> str:
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise invalid() from None

    def _map(self, length: int, level: int) -> dict[str, object]:
        if level > MAX_LEVELS:
            raise invalid()
        members: dict[str, object] = {}
        for _ in range(length):
            name = self.value(level + 1)
            if not isinstance(name, str) or name in members:
                raise invalid()
            members[name] = self.value(level + 1)
        return members

    def _array(self, length: int, level: int) -> list[object]:
        if level > MAX_LEVELS:
            raise invalid()
        return [self.value(level + 1) for _ in range(length)]


def read(encoded: bytes, sender: bytes, sender_key: bytes) -> dict[str, object]:
    """What a content says, as the vectors list it."""
    reader = Reader(encoded)
    content = reader.value(1)
    if not isinstance(content, dict) or not reader.is_done:
        raise invalid()
    kind, version = content.get("kind"), _integer(content.get("version"))
    sent_at = _integer(content.get("sentAt"))
    if not isinstance(kind, str) or not 1 <= len(kind) <= 64 or not set(kind) <= KIND_CHARACTERS:
        raise invalid()
    if version < 2 or not 0 <= sent_at <= MAX_SENT_AT:
        raise invalid()
    if content.get("sender") != sender or content.get("senderKey") != sender_key:
        raise invalid()
    if version > 2 or kind not in {"text", "receipt"}:
        return {"newer": True, "sentAt": sent_at}
    if kind == "text":
        return {"kind": kind, "sentAt": sent_at, "body": _body(content.get("body"))}
    return {"kind": kind, "sentAt": sent_at, **{name: _ids(content.get(name, [])) for name in RECEIPTS}}


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid()
    return value


def _body(value: object) -> str:
    if not isinstance(value, str) or len(value.encode()) > MAX_BODY_BYTES:
        raise invalid()
    return value


def _ids(value: object) -> list[object]:
    if not isinstance(value, list) or len(value) > MAX_IDS:
        raise invalid()
    if not all(isinstance(one, str) and len(one) == ID_CHARACTERS for one in value):
        raise invalid()
    return value


def write(value: object) -> bytes:
    """MessagePack in its shortest form, of what content 2 holds."""
    match value:
        case int():
            return bytes((value,)) if value < 0x80 else _counted(value, 0xCC, 1)
        case str():
            text = value.encode()
            return (bytes((0xA0 + len(text),)) if len(text) < 32 else _counted(len(text), 0xD9, 1)) + text
        case bytes():
            return _counted(len(value), 0xC4, 1) + value
        case list():
            start = bytes((0x90 + len(value),)) if len(value) < 16 else _counted(len(value), 0xDC, 2)
            return start + b"".join(write(one) for one in value)
        case dict():
            start = bytes((0x80 + len(value),)) if len(value) < 16 else _counted(len(value), 0xDE, 2)
            return start + b"".join(write(name) + write(member) for name, member in value.items())
        case _:
            raise TypeError(type(value))


def _counted(number: int, first: int, least: int) -> bytes:
    """A first byte that tells the width, and a number in as few bytes as its forms allow."""
    power = next(power for power in range(4) if number < 1 << 8 * (least << power))
    return bytes((first + power,)) + number.to_bytes(least << power, "big")
