"""Content 2 as its document describes it, and a second reader of MessagePack that judges it."""

import random
import struct
from typing import Any, Final

from vector_content2 import Reader
from vector_reference2 import Rejected

SENDER: Final = b"s" * 32
SENDER_KEY: Final = b"k" * 32
NUMBER: Final = "00000000-0000-4000-8000-000000000001"

TEXT: Final[dict[str, Any]] = {
    "kind": "text",
    "version": 2,
    "sentAt": 1_750_000_000_000,
    "sender": SENDER,
    "senderKey": SENDER_KEY,
    "body": "hello",
}
COMMON: Final = {name: value for name, value in TEXT.items() if name != "body"}
RECEIPT: Final = {**COMMON, "kind": "receipt", "delivered": [NUMBER]}
PICTURE: Final = {**COMMON, "kind": "picture", "blob": b"\1" * 32, "size": {"width": 3, "height": [4, None, True]}}


# --- a second reader ------------------------------------------------------------------


def is_clear(data: bytes) -> bool:
    """Whether bytes are one map, without anything that the document forbids, as the second computation reads it."""
    reader = Reader(data)
    try:
        return isinstance(reader.value(1), dict) and reader.is_done
    except Rejected:
        return False


# --- a writer that uses every form ------------------------------------------------


class Writer:
    """Writes values in any form that MessagePack has for them, and faults where they are asked for.

    Args:
        draw: chooses the forms.
    """

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def write(self, value: Any) -> bytes:
        """One value; a list of pairs is a map in which a name may stand twice."""
        match value:
            case None:
                return b"\xc0"
            case bool():
                return b"\xc3" if value else b"\xc2"
            case int():
                return self._draw.choice(list(_integers(value)))
            case float():
                return struct.pack(">Bf", 0xCA, value) if self._draw.random() < 0.5 else struct.pack(">Bd", 0xCB, value)
            case str():
                raw = value.encode("utf-8", "surrogatepass")
                short = {0xA0: 31} if len(raw) < 32 else {}
                return self._headed(len(raw), short, {0xD9: 1, 0xDA: 2, 0xDB: 4}) + raw
            case bytes():
                return self._headed(len(value), {}, {0xC4: 1, 0xC5: 2, 0xC6: 4}) + value
            case list():
                return self._headed(len(value), {0x90: 15}, {0xDC: 2, 0xDD: 4}) + b"".join(map(self.write, value))
            case dict():
                return self.entries(list(value.items()))
            case _:
                raise TypeError(value)

    def entries(self, pairs: list[tuple[Any, Any]]) -> bytes:
        """A map of these entries, whatever they are."""
        written = b"".join(self.write(name) + self.write(value) for name, value in pairs)
        return self._headed(len(pairs), {0x80: 15}, {0xDE: 2, 0xDF: 4}) + written

    def _headed(self, length: int, short: dict[int, int], sized: dict[int, int]) -> bytes:
        forms = [bytes((first | length,)) for first, most in short.items() if length <= most]
        forms += [
            bytes((first,)) + length.to_bytes(size, "big") for first, size in sized.items() if length < 1 << 8 * size
        ]
        return self._draw.choice(forms)


def _integers(value: int) -> list[bytes]:
    forms = [value.to_bytes(1, "big", signed=True)] if -32 <= value <= 127 else []
    for step in range(4):
        bits = 8 << step
        if 0 <= value < 1 << bits:
            forms.append(bytes((0xCC + step,)) + value.to_bytes(bits // 8, "big"))
        if -(1 << bits - 1) <= value < 1 << bits - 1:
            forms.append(bytes((0xD0 + step,)) + value.to_bytes(bits // 8, "big", signed=True))
    return forms


def chance(seed: int) -> random.Random:
    """What makes the same choices in every run."""
    return random.Random(seed)  # noqa: S311 - no secret


def drawn_value(draw: random.Random, depth: int) -> Any:
    """A value of a field that nobody knows; containers no deeper than that."""
    kinds = ["none", "bool", "int", "text", "bytes", *(["list", "map"] * 2 if depth else [])]
    match draw.choice(kinds):
        case "none":
            return None
        case "bool":
            return draw.random() < 0.5
        case "int":
            return draw.choice([0, 1, -1, -33, 127, 128, 255, 256, 65_535, 2**31, 2**32, -(2**63), 2**64 - 1])
        case "text":
            return "".join(draw.choice("aé€😀\0") for _ in range(draw.choice([0, 1, 31, 32, 300])))
        case "bytes":
            return draw.randbytes(draw.choice([0, 1, 40, 300]))
        case "list":
            return [drawn_value(draw, depth - 1) for _ in range(draw.choice([0, 1, 1, 2, 2, 17 if depth == 1 else 3]))]
        case _:
            return {
                f"field {n}": drawn_value(draw, depth - 1)
                for n in range(draw.choice([0, 1, 1, 2, 2, 17 if depth == 1 else 3]))
            }
