"""A second computation of devices: ``protocol/devices.md`` and nothing of ours.

It is made to be read beside the document, section by section, and ends with the errors that the vectors name.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from vector_reference import ed25519_public, hkdf
from vector_reference2 import Rejected, agreement_key

DAY_MS: Final = 86_400_000
LAST_TIME_MS: Final = 253_370_764_800_000
ZEROS: Final = bytes(32)


def digest(label: str, *parts: bytes) -> bytes:
    """SHA-256 behind a label."""
    return hashlib.sha256(f"phantom/1 {label}\n".encode() + b"".join(parts)).digest()


def id_of(key: bytes) -> bytes:
    """The certified id."""
    return digest("user-id", key)


def sign(seed: bytes, label: str, message: bytes) -> bytes:
    """Ed25519 behind a label."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(f"phantom/1 {label}\n".encode() + message)


def check(key: bytes, label: str, message: bytes, signature: bytes) -> None:
    """Verify; that the key itself can be used was checked before."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, f"phantom/1 {label}\n".encode() + message)
    except InvalidSignature:
        raise Rejected("InvalidSignature") from None


# --- device list ------------------------------------------------------------------


@dataclass(frozen=True)
class List:
    """A device list that was read."""

    encoded: bytes
    revision: int
    previous: bytes
    at: int
    until: int
    devices: tuple[tuple[bytes, int, bytes], ...]

    @property
    def ids(self) -> list[bytes]:
        """Of all devices, the person first."""
        return [id_of(key) for key, _, _ in self.devices]

    @property
    def hash(self) -> bytes:
        """Of the whole list."""
        return digest("device-list hash", self.encoded)


def write_list(
    seeds: Sequence[bytes], added: Sequence[int], *, revision: int, previous: bytes, at: int, until: int
) -> bytes:
    """``signed`` and its signature."""
    person = id_of(ed25519_public(seeds[0]))
    signed = b"\1" + revision.to_bytes(4) + previous + at.to_bytes(8) + until.to_bytes(8) + bytes((len(seeds),))
    for seed, when in zip(seeds, added, strict=True):
        signed += ed25519_public(seed) + when.to_bytes(8) + sign(seed, "device-consent", person)
    return signed + sign(seeds[0], "device-list", signed)


def read_list(encoded: bytes) -> List:
    """The four steps of a reader."""
    if encoded[:1] > b"\1":
        raise Rejected("NewerList")
    count = encoded[53] if len(encoded) > 53 else 0
    if encoded[:1] != b"\1" or not 1 <= count <= 6 or len(encoded) != 54 + 104 * count + 64:
        raise Rejected("InvalidMessage")
    revision, previous = int.from_bytes(encoded[1:5]), encoded[5:37]
    at, until = int.from_bytes(encoded[37:45]), int.from_bytes(encoded[45:53])
    rows = [encoded[54 + 104 * row : 158 + 104 * row] for row in range(count)]
    devices = tuple((row[:32], int.from_bytes(row[32:40]), row[40:]) for row in rows)
    if revision == 0 or (revision == 1 and previous != ZEROS):
        raise Rejected("InvalidMessage")
    if any(time > LAST_TIME_MS for time in (at, until, *(when for _, when, _ in devices))):
        raise Rejected("InvalidMessage")
    if until <= at or until - at > 90 * DAY_MS or len({key for key, _, _ in devices}) < count:
        raise Rejected("InvalidMessage")
    for key, _, _ in devices:
        agreement_key(key)
    check(devices[0][0], "device-list", encoded[:-64], encoded[-64:])
    for key, _, consent in devices:
        check(key, "device-consent", id_of(devices[0][0]), consent)
    return List(encoded, revision, previous, at, until, devices)


@dataclass(frozen=True)
class Kept:
    """The newest list of a person, and its usable devices."""

    newest: List
    usable: list[bytes]


def take(kept: Kept | None, found: List, person: bytes, now: int) -> Kept:
    """The table "Taking a list up", row by row."""
    if found.ids[0] != person:
        raise Rejected("ForeignList")
    if found.at > now + DAY_MS:
        raise Rejected("EarlyList")
    if kept is not None:
        if found.encoded == kept.newest.encoded:
            return kept
        if found.revision < kept.newest.revision:
            raise Rejected("StaleList")
        if found.revision == kept.newest.revision:
            raise Rejected("ForkedList")
        if found.revision == kept.newest.revision + 1 and found.previous != kept.newest.hash:
            raise Rejected("ForkedList")
    before = [person] if kept is None else kept.usable
    is_past = found.until < now
    return Kept(found, [one for one in found.ids if not is_past or one in before])


def next_list(newest: List | None, *, is_restored: bool) -> tuple[int, bytes]:
    """ "Making a list": revision and ``previous``."""
    step = 1_024 if is_restored else 1
    if newest is None:
        return (1_025 if is_restored else 1), ZEROS
    return newest.revision + step, newest.hash


# --- whose a message is, and to whom it goes --------------------------------------


@dataclass(frozen=True)
class View:
    """What one device knows."""

    person: bytes
    device: bytes
    usable: Mapping[bytes, Sequence[bytes]]
    people: frozenset[bytes]

    def whose(self, sender: bytes) -> bytes:
        """The table, row by row."""
        if sender == self.device or sender in self.usable.get(self.person, ()):
            return self.person
        if sender in self.people or sender in self.usable:
            return sender
        for person, ids in self.usable.items():
            if sender in ids:
                return person
        return sender

    def recipients(self, person: bytes) -> list[bytes]:
        """Everybody to whom a message to a person goes."""
        theirs = [one for one in self.usable.get(person, (person,)) if self.whose(one) == person]
        return theirs + [one for one in self.usable.get(self.person, ()) if one != self.device]

    def talk(self, sender: bytes, to: bytes | None) -> bytes | None:
        """With whom a text was exchanged; None: refused."""
        whose = self.whose(sender)
        if whose != self.person:
            return whose if to is None or to == self.person else None
        if to is None or to == self.person or self.whose(to) != to:
            return None
        return to


# --- linking ----------------------------------------------------------------------


def read_code(text: str) -> tuple[str, bytes, bytes]:
    """Relay, id and secret of a code."""
    text = text.strip()
    if not text.startswith("phantom:link?") or len(text) > 1_024 or not re.fullmatch("[!-~]*", text):
        raise Rejected("InvalidMessage")
    parts = [part.split("=", 1) for part in text[len("phantom:link?") :].split("&")]
    if any(len(part) != 2 or not re.fullmatch("[a-z]{1,16}", part[0]) for part in parts):
        raise Rejected("InvalidMessage")
    found = dict((name, value) for name, value in parts)  # noqa: C402 - pairs of exactly two, as was checked
    relay = unquote(found.get("relay", ""))
    if len(found) != len(parts) or found.get("v") != "1" or not re.fullmatch("[!-~]*", relay):
        raise Rejected("InvalidMessage")
    address = urlsplit(relay)
    if address.scheme not in {"ws", "wss"} or not address.hostname:
        raise Rejected("InvalidMessage")
    return relay, base64url(found.get("id", ""), 32), base64url(found.get("s", ""), 16)


def base64url(text: str, size: int) -> bytes:
    """Bytes in their one form of base64url without padding."""
    if not re.fullmatch("[A-Za-z0-9_-]*", text) or len(text) != -(-size * 4 // 3):
        raise Rejected("InvalidMessage")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != text:
        raise Rejected("InvalidMessage")
    return data


def write_code(relay: str, own: bytes, secret: bytes) -> str:
    """The one line."""
    parts = (base64.urlsafe_b64encode(one).decode().rstrip("=") for one in (own, secret))
    return "phantom:link?v=1&relay={}&id={}&s={}".format(quote(relay, safe=":/"), *parts)


def equal(one: bytes, other: bytes) -> bool:
    """In constant time."""
    return hmac.compare_digest(one, other)


class Ends:
    """``ends`` and what is made of them."""

    def __init__(self, first: bytes, new: bytes, secret: bytes) -> None:
        self.first, self.new, self.secret = first, new, secret
        self.bytes = id_of(first) + first + id_of(new) + new

    def commitment(self, nonce: bytes) -> bytes:
        """Of the first device."""
        return digest("link-commitment", nonce, self.bytes)

    def mac(self, label: str, *parts: bytes) -> bytes:
        """Of an offer or an answer."""
        message = f"phantom/1 {label}\n".encode() + self.bytes + b"".join(parts)
        return hmac.new(self.secret, message, "sha256").digest()

    def digits(self, first: bytes, new: bytes) -> str:
        """Of both nonces."""
        derived = hkdf(first + new, self.secret, b"phantom/1 link-digits\n" + self.bytes, 8)
        return str(int.from_bytes(derived) % 1_000_000).zfill(6)


@dataclass
class LinkingNew:
    """N. What raises ``LinkEnded`` ends it."""

    seed: bytes
    secret: bytes
    nonce: bytes
    ends: Ends | None = None
    commitment: bytes = b""
    digits: str = ""
    has_agreed: bool = field(default=False)

    def offer(self, sender: bytes, commitment: bytes, mac: bytes, now: int) -> dict[str, object]:
        """ "link-offer": what comes back in the answer."""
        in_time(now)
        ends = Ends(sender, ed25519_public(self.seed), self.secret)
        if not equal(mac, ends.mac("link-offer", commitment)):
            raise Rejected("InvalidSignature")
        if self.ends is not None and (self.ends.bytes, self.commitment) != (ends.bytes, commitment):
            raise Rejected("LinkEnded")
        self.ends, self.commitment = ends, commitment
        answer = ends.mac("link-answer", commitment, self.nonce)
        return {"person": id_of(sender).hex(), "nonce": self.nonce.hex(), "mac": answer.hex()}

    def reveal(self, sender: bytes, nonce: bytes, now: int) -> dict[str, object]:
        """ "link-reveal": what is shown."""
        in_time(now)
        if self.ends is None or sender != self.ends.first:
            raise Rejected("InvalidSignature")
        if not equal(self.ends.commitment(nonce), self.commitment):
            raise Rejected("LinkEnded")
        self.digits = self.ends.digits(nonce, self.nonce)
        return {"digits": self.digits}

    def agree(self, now: int) -> dict[str, object]:
        """The user has said yes: the consent."""
        in_time(now)
        if self.ends is None or not self.digits:
            raise Rejected("InvalidMessage")
        self.has_agreed = True
        return {"consent": sign(self.seed, "device-consent", id_of(self.ends.first)).hex()}

    def done(self, sender: bytes, encoded: bytes) -> dict[str, object]:
        """ "link-done", at any time."""
        if not self.has_agreed or self.ends is None or sender != self.ends.first:
            raise Rejected("InvalidSignature")
        found = read_list(encoded)
        if found.ids[0] != id_of(sender) or id_of(self.ends.new) not in found.ids:
            raise Rejected("InvalidMessage")
        return {"hash": found.hash.hex()}


@dataclass
class LinkingFirst:
    """P. What raises ``LinkEnded`` ends it."""

    seed: bytes
    new: bytes
    secret: bytes
    nonce: bytes
    digits: str = ""
    wrong: int = 0
    is_right: bool = False
    consent_: bytes = b""

    @property
    def ends(self) -> Ends:
        """Known from the start."""
        return Ends(ed25519_public(self.seed), self.new, self.secret)

    def answer(self, sender: bytes, nonce: bytes, mac: bytes, now: int) -> dict[str, object]:
        """ "link-answer": what is shown to N, and the digits that are waited for."""
        in_time(now)
        expected = self.ends.mac("link-answer", self.ends.commitment(self.nonce), nonce)
        if sender != self.new or not equal(mac, expected):
            raise Rejected("InvalidSignature")
        digits = self.ends.digits(self.nonce, nonce)
        if self.digits not in {"", digits}:
            raise Rejected("LinkEnded")
        self.digits = digits
        return {"nonce": self.nonce.hex(), "digits": digits}

    def type(self, digits: str, now: int) -> dict[str, object]:
        """What the user has typed."""
        in_time(now)
        if not self.digits:
            raise Rejected("InvalidMessage")
        if equal(digits.replace(" ", "").encode(), self.digits.encode()):
            self.is_right = True
        else:
            self.wrong += 1
            if self.wrong == 3:
                raise Rejected("LinkEnded")
        return {"right": self.is_right}

    def consent(self, sender: bytes, consent: bytes, now: int) -> dict[str, object]:
        """ "link-consent"."""
        in_time(now)
        if sender != self.new:
            raise Rejected("InvalidSignature")
        check(self.new, "device-consent", id_of(self.ends.first), consent)
        self.consent_ = consent
        return {}

    def take_in(self) -> dict[str, object]:
        """Whether the list may be made."""
        if not self.is_right or not self.consent_:
            raise Rejected("InvalidMessage")
        return {"consent": self.consent_.hex()}


def in_time(now: int) -> None:
    """In the vectors both begin at 0."""
    if now > 300_000:
        raise Rejected("LinkEnded")
