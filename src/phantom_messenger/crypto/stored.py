"""What stored sessions of all suites are made of."""

from typing import Annotated

import msgspec
from msgspec import Meta

from phantom_messenger.crypto import primitives, ratchet
from phantom_messenger.crypto.ratchet import RatchetState, Skipped, SkippedKey

Key = Annotated[bytes, Meta(min_length=primitives.KEY_BYTES, max_length=primitives.KEY_BYTES)]
Number = Annotated[int, Meta(ge=0, le=ratchet.MAX_NUMBER)]


class StoredSkipped(msgspec.Struct, array_like=True):
    """A skipped message key."""

    dh: Key
    n: Number
    mk: Key
    at: int = ratchet.UNDATED

    def __repr__(self) -> str:
        return "StoredSkipped(...)"


def dump_skipped(state: RatchetState) -> list[StoredSkipped]:
    """The skipped keys of a ratchet, oldest first."""
    return [StoredSkipped(dh, n, kept.mk, kept.at) for (dh, n), kept in state.mkskipped.items()]


def load_skipped(stored: list[StoredSkipped]) -> dict[SkippedKey, Skipped]:
    """Undo ``dump_skipped``."""
    return {(kept.dh, kept.n): Skipped(kept.mk, kept.at) for kept in stored}
