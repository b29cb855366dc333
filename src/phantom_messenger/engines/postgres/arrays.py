"""Arrays as PostgreSQL receives them in binary (``array_recv`` in its source): cheaper than as text, on both sides.

The parameters of a call are columns with an element for each message, so most of what is sent are arrays.
"""

import struct
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_NUMBER: Final = struct.Struct(">iq").pack
_LENGTH: Final = struct.Struct(">i").pack
_HEAD: Final = struct.Struct(">5i").pack
_NOTHING: Final = struct.Struct(">3i").pack
_NULL: Final = _LENGTH(-1)
_FLAGS: Final = {False: _LENGTH(1) + b"\0", True: _LENGTH(1) + b"\1"}


class Array:
    """An array with one dimension; ``values`` are its elements."""

    __slots__ = ("values",)
    type_name: ClassVar[str]

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values

    def encoded(self) -> list[bytes]:
        """Elements, each behind its length."""
        raise NotImplementedError


class Texts(Array):
    """``text[]``, without NULL."""

    __slots__ = ()
    type_name = "text"

    def encoded(self) -> list[bytes]:
        """See ``Array``."""
        return [_LENGTH(len(one)) + one for one in map(str.encode, self.values)]


class Blobs(Array):
    """``bytea[]``, without NULL."""

    __slots__ = ()
    type_name = "bytea"

    def encoded(self) -> list[bytes]:
        """See ``Array``."""
        return [_LENGTH(len(one)) + one for one in self.values]


class Numbers(Array):
    """``bigint[]``; ``None`` is NULL."""

    __slots__ = ()
    type_name = "int8"

    def encoded(self) -> list[bytes]:
        """See ``Array``."""
        return [_NULL if one is None else _NUMBER(8, one) for one in self.values]


class Flags(Array):
    """``boolean[]``, without NULL."""

    __slots__ = ()
    type_name = "bool"

    def encoded(self) -> list[bytes]:
        """See ``Array``."""
        return [_FLAGS[one] for one in self.values]


class _ArrayDumper(Dumper):
    format = Format.BINARY
    element_oid: ClassVar[int]

    def dump(self, obj: Array) -> bytes:
        """The whole array."""
        if not obj.values:
            return _NOTHING(0, 0, self.element_oid)
        elements = obj.encoded()
        has_null = None in obj.values
        return _HEAD(1, has_null, self.element_oid, len(elements), 1) + b"".join(elements)


def _dumper(kind: type[Array]) -> type[Dumper]:
    found = psycopg.postgres.types[kind.type_name]
    return type(f"{kind.__name__}Dumper", (_ArrayDumper,), {"oid": found.array_oid, "element_oid": found.oid})


_DUMPERS: Final = {kind: _dumper(kind) for kind in (Texts, Blobs, Numbers, Flags)}


def register(connection: "psycopg.Connection[Any]") -> None:
    """Let a connection take arrays as parameters."""
    for kind, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(kind, dumper)
