"""What the store keeps and gives back: items of mailboxes, prekeys, limits. Plain frozen values."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from msgspec import Struct

KEY_OVERHEAD: Final = 256
"""Bytes that a stored prekey takes beside the key: a signature, ids, indexes."""


class ItemKind(IntEnum):
    """What may wait in a mailbox."""

    MESSAGE = 1
    RECEIPT = 2
    KEY_EXCHANGE = 3


class NewItem(Struct, frozen=True):
    """Something that is to wait in a mailbox.

    ``head`` + decimal seq + ``tail`` is the text that the recipient gets.
    """

    kind: ItemKind
    sender: str
    name: str
    """Identifies the item among those of one sender and kind: a message id, or which key exchange frame it is."""
    head: bytes
    tail: bytes
    expires_at: int | None = None
    """Persistent milliseconds."""
    content: bytes = b""
    """A part of ``head`` or ``tail`` that differs if a message was encrypted again."""
    mark: int | None = None
    """For a stranger's item: stands for the address that it came from, without revealing it."""
    is_group: bool = False
    """A message to a group: nobody becomes a contact by it, and it leads to no receipt."""


class Item(Struct, frozen=True):
    """Something that waits; ``text`` is the frame as it will be sent."""

    seq: int
    kind: ItemKind
    sender: str
    name: str
    text: bytes
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive items of a mailbox; ``complete`` if there is nothing behind them.

    Corrupt items are left out, so that they block nobody.
    """

    items: list[Item]
    complete: bool


@dataclass(frozen=True, slots=True)
class SignedKey:
    """A signed prekey: id, key and signature as base64 text."""

    id: int
    key: str
    signature: str


@dataclass(frozen=True, slots=True)
class OneTimeKey:
    """A one-time X25519 prekey: id and key as base64 text."""

    id: int
    key: str


@dataclass(frozen=True, slots=True)
class Dating:
    """When the keys that last were made known together, and the signature over them and that: base64 text."""

    made_at: int
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What PREKEY_PUBLISH brings: signed keys replace, one-time keys are added.

    ``replace``: one-time keys that are there are deleted first, because their owner has lost the private halves.
    """

    signed: SignedKey
    last_resort_kem: SignedKey | None
    one_time: Sequence[OneTimeKey]
    one_time_kem: Sequence[SignedKey]
    replace: bool = False
    dating: Dating | None = None
    """Of ``signed`` and ``last_resort_kem``, which is there then."""
    device_list: str | None = None
    """In base64; takes the place of the one before it."""

    @property
    def highest_id(self) -> int:
        """The highest id in it."""
        ids = [self.signed.id, *(key.id for key in self.one_time), *(key.id for key in self.one_time_kem)]
        return max(ids if self.last_resort_kem is None else [*ids, self.last_resort_kem.id])

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        keys = [key.key for key in self.one_time] + [key.key for key in self.one_time_kem]
        return sum(map(len, keys)) + (len(keys) + 2) * KEY_OVERHEAD + len(self.device_list or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreKeyCounts:
    """What is left of a user's prekeys; ``highest_id`` is the highest that was ever published."""

    one_time: int
    one_time_kem: int
    signed_id: int | None
    last_resort_kem_id: int | None
    highest_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One hand-out of a user's prekeys; ``left`` is what remains.

    ``dating`` is of ``signed`` and ``last_resort_kem``; there is either both or neither.
    """

    identity_key: str
    signed: SignedKey
    one_time: OneTimeKey | None
    kem: SignedKey | None
    left: PreKeyCounts
    dating: Dating | None = None
    last_resort_kem: SignedKey | None = None
    device_list: str | None = None


@dataclass(frozen=True, slots=True)
class KeptLimits:
    """What counted towards the limits at a stop: persistent milliseconds, by keyed hash of class and key."""

    key: bytes
    times: dict[bytes, list[int]]
