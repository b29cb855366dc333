"""The list of a person's devices, which the first of them signs.

A list has one form in bytes, so nothing in it can be read in two ways. It names keys, from which the ids follow: nobody
can swap one. Each device has signed that it belongs to the person: so nobody can put somebody else's into a list.
"""

import struct
from dataclasses import dataclass
from typing import Final, Self

from phantom_messenger.client.devices.errors import NewerList
from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.errors import InvalidMessage
from phantom_messenger.crypto.keys import OwnIdentity, PeerIdentity

_LIST: Final = b"phantom/1 device-list\n"
_CONSENT: Final = b"phantom/1 device-consent\n"
_HASH: Final = b"phantom/1 device-list hash\n"

VERSION: Final = 1
MAX_DEVICES: Final = 6
"""Each one more is a head in every message to this person, and a mailbox that can be lost."""

MAX_REVISION: Final = 2**32 - 1
DAY_MS: Final = 86_400_000

LIFE_MS: Final = 90 * DAY_MS
"""How long a list brings new devices in: a relay can keep a newer one back, and with it a removal, for no longer than
this without its being noticed. Its person renews it every week."""

LAST_TIME_MS: Final = 253_370_764_800_000
"""The first day of the year 9999, as in contents."""

NOTHING: Final = bytes(32)
"""``previous`` of the first list, and of one whose maker does not know the one before."""

_HEAD: Final = struct.Struct(">BI32sQQB")
_DEVICE: Final = struct.Struct(">32sQ64s")


@dataclass(frozen=True, slots=True)
class Device:
    """A device in a list: its Ed25519 key (32 bytes), since when, and its own signature that it belongs there.

    ``added``: milliseconds since 1970, by the clock of the first device; to be shown.
    """

    key: bytes
    added: int
    consent: bytes

    @property
    def id(self) -> bytes:
        """The raw user id that certifies the key."""
        return PeerIdentity(self.key).user_id


def consent(device: OwnIdentity, person: bytes) -> bytes:
    """A device's signature that it belongs to a person (a raw user id): 64 bytes."""
    return device.sign(_CONSENT + person)


def check_consent(key: bytes, person: bytes, signature: bytes) -> None:
    """Whether the device of this key belongs to a person.

    Raises:
        InvalidSignature: it has not said so.
    """
    PeerIdentity(key).verify(signature, _CONSENT + person)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceList:
    """A list in order: parsed from ``parse``, or made by ``sign``.

    ``revision`` rises with each list. ``previous``: the hash of the one before. ``at``, ``until``: milliseconds since
    1970 by the maker's clock: when it was made, and until when it brings new devices in. ``devices``: 1 to 6; the first
    one is the person. ``encoded``: its bytes with the signature.
    """

    revision: int
    previous: bytes
    at: int
    until: int
    devices: tuple[Device, ...]
    encoded: bytes

    @property
    def person(self) -> bytes:
        """The raw user id of the person: that of the first device."""
        return self.devices[0].id

    @property
    def ids(self) -> tuple[bytes, ...]:
        """The raw user ids of all devices, the person's own first."""
        return tuple(device.id for device in self.devices)

    @property
    def hash(self) -> bytes:
        """What names this list and no other: 32 bytes."""
        return primitives.sha256(_HASH + self.encoded)

    @classmethod
    def sign(
        cls, first: OwnIdentity, *, revision: int, previous: bytes, at: int, until: int, devices: tuple[Device, ...]
    ) -> Self:
        """Make a list.

        Args:
            first: the identity of the first device, which is the person.
            revision: one more than that of the list before, or further ahead if that may have been lost.
            previous: its hash, or ``NOTHING``.
            at: now.
            until: at most ``LIFE_MS`` later.
            devices: the first one is that of ``first``.

        Raises:
            InvalidMessage, InvalidKey, InvalidSignature: nobody would take it up.
        """
        parts = [_HEAD.pack(VERSION, revision, previous, at, until, len(devices))]
        parts += [_DEVICE.pack(device.key, device.added, device.consent) for device in devices]
        signed = b"".join(parts)
        return cls.parse(signed + first.sign(_LIST + signed))

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read a list and check all that it says of itself, in the order of the document.

        Raises:
            NewerList: it is of another version.
            InvalidMessage: it has not the form of a list.
            InvalidKey: one of its keys is not one that an identity may have.
            InvalidSignature: its person has not signed it, or a device has not consented.
        """
        signed, signature = encoded[: -primitives.SIGNATURE_BYTES], encoded[-primitives.SIGNATURE_BYTES :]
        if encoded and encoded[0] > VERSION:
            raise NewerList("a device list is of a version that is not known here")
        if len(signed) < _HEAD.size:
            raise InvalidMessage("a device list is cut short")
        version, revision, previous, at, until, count = _HEAD.unpack_from(signed)
        if version != VERSION or not 1 <= count <= MAX_DEVICES or len(signed) != _HEAD.size + count * _DEVICE.size:
            raise InvalidMessage("a device list has another length than it must have")
        devices = tuple(Device(*fields) for fields in _DEVICE.iter_unpack(signed[_HEAD.size :]))
        found = cls(revision=revision, previous=previous, at=at, until=until, devices=devices, encoded=encoded)
        found._check_fields()
        for device in devices:
            _ = PeerIdentity(device.key).agreement_key
        PeerIdentity(devices[0].key).verify(signature, _LIST + signed)
        for device in devices:
            check_consent(device.key, found.person, device.consent)
        return found

    def _check_fields(self) -> None:
        if self.revision == 0 or (self.revision == 1 and self.previous != NOTHING):
            raise InvalidMessage("a device list has a revision that it can not have")
        times = (self.at, self.until, *(device.added for device in self.devices))
        if max(times) > LAST_TIME_MS or not self.at < self.until <= self.at + LIFE_MS:
            raise InvalidMessage("a device list is of a time that it can not be of")
        if len({device.key for device in self.devices}) != len(self.devices):
            raise InvalidMessage("a device list names a device twice")
