"""A second computation of suite 2: ``protocol/encryption.md`` and nothing of ours.

Where the document says "as in suite 1" it stands on ``vector_reference``; ML-KEM is ``kyber_py``, the other primitives
are those of ``cryptography``. It is made to be read beside the document, section by section: it checks what the
document says is checked, in that order, and ends with the errors that the vectors name. What takes long in plain Python
is computed once for the same bytes.
"""

import copy
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from kyber_py.ml_kem import ML_KEM_768
from vector_reference import (
    P,
    Refusal,
    ed25519_public,
    hkdf,
    image_private,
    image_public,
    kdf_ck,
    message_key,
    u16,
    u32,
    x25519_public,
)

LABELS: Final = {
    "user id": b"phantom/1 user-id\n",
    "bundle": b"phantom/1 prekey-bundle 2\n",
    "KEM prekey": b"phantom/1 kem-prekey\n",
    "handshake": b"phantom/1 PQXDH 2 X25519 SHA-256 ML-KEM-768\n",
    "associated data": b"phantom/1 associated-data 2\n",
    "root": b"phantom/1 ratchet root 2\n",
    "body": b"phantom/1 body\n",
}
"""The labels that are not in ``vector_reference``."""

DAY_MS: Final = 86_400_000
MAX_BUNDLE_AGE_MS: Final = 90 * DAY_MS
MAX_BUNDLE_AHEAD_MS: Final = DAY_MS
OFFER_AFTER_MESSAGES: Final = 50
OFFER_AFTER_MS: Final = 7 * DAY_MS
MAX_SKIP: Final = 256
MAX_SKIPPED_KEYS: Final = 256
MAX_RECEIVING_CHAINS: Final = 5
MAX_SKIPPED_AGE_MS: Final = 30 * DAY_MS

Draws = Mapping[str, bytes]
"""The random values of a step, under the names of the vectors."""


class Rejected(Refusal):
    """``kind`` is the error that the vectors name."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# --- identity ----------------------------------------------------------------------

L: Final = 2**252 + 27742317777372353535851937790883648493
D: Final = -121665 * pow(121666, -1, P) % P

Point = tuple[int, int]
NEUTRAL: Final[Point] = (0, 1)


def decode_point(encoded: bytes) -> Point:
    """RFC 8032, section 5.1.3, and no encoding but the canonical one."""
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if len(encoded) != 32 or y >= P:
        raise Rejected("InvalidKey")
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x - u) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (v * x * x - u) % P or (x == 0 and sign):
        raise Rejected("InvalidKey")
    return (P - x if x & 1 != sign else x, y)


def add(a: Point, b: Point) -> Point:
    product = D * a[0] * b[0] * a[1] * b[1]
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, -1, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, P)
    return (x % P, y % P)


@cache
def multiply(times: int, point: Point) -> Point:
    result = NEUTRAL
    while times:
        if times & 1:
            result = add(result, point)
        point, times = add(point, point), times >> 1
    return result


def verify(public: bytes, signature: bytes, signed: bytes) -> None:
    """Strict: no small order, no other encoding, no S of L or more."""
    try:
        if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= L:
            raise Rejected("InvalidSignature")
        if any(multiply(8, decode_point(encoded)) == NEUTRAL for encoded in (public, signature[:32])):
            raise Rejected("InvalidSignature")
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except (Rejected, InvalidSignature):
        raise Rejected("InvalidSignature") from None


def agreement_key(identity: bytes) -> bytes:
    """The X25519 image of an identity key."""
    point = decode_point(identity)
    if point == NEUTRAL or multiply(L, point) != NEUTRAL:
        raise Rejected("InvalidKey")
    return image_public(identity)


def check_certified(user_id: bytes, identity: bytes) -> None:
    """ "32 bytes are always certified"."""
    if len(user_id) == 32 and user_id != sha256(LABELS["user id"] + identity):
        raise Rejected("InvalidKey")


def dh(private: bytes, public: bytes) -> bytes:
    """ "Contributory"; cryptography refuses a result of 32 zero bytes."""
    if int.from_bytes(public, "little") >= P:
        raise Rejected("InvalidKey")
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise Rejected("InvalidKey") from None


# --- the KEM -----------------------------------------------------------------------


@cache
def kem_public(seed: bytes) -> bytes:
    """From ``d || z``."""
    return bytes(ML_KEM_768.key_derive(seed)[0])


@cache
def check_kem_key(public: bytes) -> None:
    """FIPS 203 section 7.2: 768 coefficients of 12 bits, each below 3329, and 32 bytes."""
    packed = int.from_bytes(public[:1152], "little")
    if len(public) != 1184 or any(packed >> 12 * place & 0xFFF >= 3329 for place in range(768)):
        raise Rejected("InvalidKey")


@cache
def encapsulate(public: bytes, m: bytes) -> tuple[bytes, bytes]:
    """SS and CT."""
    kem = copy.copy(ML_KEM_768)
    kem.random_bytes = lambda _: m
    secret, ciphertext = kem.encaps(public)
    return bytes(secret), bytes(ciphertext)


@cache
def decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    """SS; of a wrong ciphertext another one, which nobody else has."""
    return bytes(ML_KEM_768.decaps(bytes(ML_KEM_768.key_derive(seed)[1]), ciphertext))


# --- bundle and handshake ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Bundle:
    identity: bytes
    user_id: bytes
    made_at: int
    signed_prekey: bytes
    signed_prekey_id: int
    kem_prekey: bytes
    kem_prekey_id: int
    kem_prekey_signature: bytes
    bundle_signature: bytes
    one_time_prekey: bytes | None = None
    one_time_prekey_id: int = 0
    last_resort_digest: bytes | None = None
    last_resort_id: int = 0

    def signed_bytes(self) -> bytes:
        last_id, digest = self.last_resort_id, self.last_resort_digest
        if digest is None:
            last_id, digest = self.kem_prekey_id, sha256(self.kem_prekey)
        return (
            LABELS["bundle"]
            + self.made_at.to_bytes(8, "big")
            + u32(self.signed_prekey_id)
            + self.signed_prekey
            + u32(last_id)
            + digest
            + u16(len(self.user_id))
            + self.user_id
        )

    def check(self, now: int, newest: int) -> None:
        """Rules 1 to 4, except that the key fits the id: see ``check_certified``."""
        ids = [self.signed_prekey_id, self.kem_prekey_id]
        ids += [self.one_time_prekey_id] if self.one_time_prekey is not None else []
        ids += [self.last_resort_id] if self.last_resort_digest is not None else []
        if 0 in ids or len(self.last_resort_digest or bytes(32)) != 32:
            raise Rejected("InvalidKey")
        verify(self.identity, self.bundle_signature, self.signed_bytes())
        if not max(now - MAX_BUNDLE_AGE_MS, newest) <= self.made_at <= now + MAX_BUNDLE_AHEAD_MS:
            raise Rejected("StaleBundle")
        if self.last_resort_digest is not None:
            verify(self.identity, self.kem_prekey_signature, LABELS["KEM prekey"] + self.kem_prekey)


@dataclass(frozen=True)
class Agreement:
    """What a handshake comes to, and what it is made of."""

    dhs: list[bytes]
    ss: bytes
    ikm: bytes
    info: bytes
    sk: bytes
    ad: bytes
    header: bytes


def agree(dhs: list[bytes], ss: bytes, kem: tuple[bytes, bytes], ad: bytes, header: bytes) -> Agreement:
    """SK; ``kem`` is PQPK_B and CT."""
    ikm = b"\xff" * 32 + b"".join(dhs) + ss
    info = LABELS["handshake"] + sha256(kem[0] + kem[1])
    return Agreement(dhs, ss, ikm, info, hkdf(ikm, bytes(32), info, 32), ad, header)


def associated_data(key_a: bytes, key_b: bytes, id_a: bytes, id_b: bytes) -> bytes:
    """AD."""
    return LABELS["associated data"] + key_a + key_b + u16(len(id_a)) + id_a + u16(len(id_b)) + id_b


@dataclass(frozen=True)
class Owner:
    """A user: the seed of the identity, the raw id, and the private prekeys by their ids, of KEM keys the seeds."""

    seed: bytes
    user_id: bytes
    signed: dict[int, bytes] = field(default_factory=dict)
    one_time: dict[int, bytes] = field(default_factory=dict)
    kem: dict[int, bytes] = field(default_factory=dict)


def initiate(owner: Owner, bundle: Bundle, *, ephemeral: bytes, kem_m: bytes, now: int, newest: int) -> Agreement:
    """The initiator's side."""
    bundle.check(now, newest)
    dhs = [
        dh(image_private(owner.seed), bundle.signed_prekey),
        dh(ephemeral, agreement_key(bundle.identity)),
        dh(ephemeral, bundle.signed_prekey),
    ]
    if bundle.one_time_prekey is not None:
        dhs.append(dh(ephemeral, bundle.one_time_prekey))
    check_kem_key(bundle.kem_prekey)
    ss, ct = encapsulate(bundle.kem_prekey, kem_m)
    own = ed25519_public(owner.seed)
    header = own + x25519_public(ephemeral)
    header += u32(bundle.signed_prekey_id) + u32(bundle.one_time_prekey_id) + u32(bundle.kem_prekey_id) + ct
    ad = associated_data(own, bundle.identity, owner.user_id, bundle.user_id)
    return agree(dhs, ss, (bundle.kem_prekey, ct), ad, header)


def number(data: bytes) -> int:
    """ "All integers are big-endian"."""
    return int.from_bytes(data, "big")


def respond(owner: Owner, peer_id: bytes, header: bytes) -> tuple[Agreement, bytes]:
    """The responder's side, and the private signed prekey, which is its first ratchet key."""
    key_a, ephemeral, ct = header[:32], header[32:64], header[76:]
    signed_id, one_time_id, kem_id = (number(header[at : at + 4]) for at in (64, 68, 72))
    if signed_id not in owner.signed or kem_id not in owner.kem:
        raise Rejected("UnknownPreKey")
    if one_time_id and one_time_id not in owner.one_time:
        raise Rejected("UnknownPreKey")
    signed_prekey, kem_seed = owner.signed[signed_id], owner.kem[kem_id]
    dhs = [
        dh(signed_prekey, agreement_key(key_a)),
        dh(image_private(owner.seed), ephemeral),
        dh(signed_prekey, ephemeral),
    ]
    if one_time_id:
        dhs.append(dh(owner.one_time[one_time_id], ephemeral))
    ad = associated_data(key_a, ed25519_public(owner.seed), peer_id, owner.user_id)
    return agree(dhs, decapsulate(kem_seed, ct), (kem_public(kem_seed), ct), ad, header), signed_prekey


# --- head and body -----------------------------------------------------------------

NOTHING, HANDSHAKE, OFFER, ANSWER = range(4)
PART_LENGTHS: Final = (0, 32 + 32 + 3 * 4 + 1088, 1184, 1088)
SIZES: Final = (256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 44_544)


def zeros(length: int) -> bytes:
    """ "as few zeros as make their length divisible by 3"."""
    return bytes(-length % 3)


def pad(content: bytes, sizes: tuple[int, ...] = SIZES) -> bytes:
    """ "append 0x80, then zeros up to" one of the sizes, "the smallest that fits"."""
    for size in sizes:
        if len(content) < size:
            return content + b"\x80" + bytes(size - len(content) - 1)
    raise Rejected("TooLong")


def unpad(padded: bytes) -> bytes:
    """ "removes zeros and the 0x80 before them, whatever the length"."""
    content = padded.rstrip(b"\0")
    if not content.endswith(b"\x80"):
        raise Rejected("InvalidMessage")
    return content[:-1]


def body_keys(key: bytes) -> tuple[bytes, bytes]:
    """Commitment and body key."""
    out = hkdf(key, bytes(32), LABELS["body"], 64)
    return out[:32], out[32:]


def seal_body(key: bytes, padded: bytes) -> bytes:
    """A body."""
    commitment, body_key = body_keys(key)
    start = b"\x02" + commitment
    body = start + AESGCM(body_key).encrypt(bytes(12), padded, start)
    return body + zeros(len(body))


def body_end(body: bytes) -> int:
    """Where the ciphertext ends, "the length of a body tells"; anything else is no body."""
    size = (len(body) - 33 - 16) // 256 * 256
    end = 33 + size + 16
    if body[:1] != b"\x02" or not 256 <= size <= SIZES[-1] or body[end:] != zeros(end):
        raise Rejected("InvalidMessage")
    return end


def opened(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    """AES-256-GCM."""
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise Rejected("UndecryptableMessage") from None


def open_body(key: bytes, body: bytes) -> bytes:
    """The padded content."""
    end = body_end(body)
    commitment, body_key = body_keys(key)
    if not hmac.compare_digest(commitment, body[1:33]):
        raise Rejected("UndecryptableMessage")
    return opened(body_key, bytes(12), body[33:end], body[:33])


@dataclass(frozen=True)
class Message:
    """A message taken apart."""

    part: int
    carried: bytes
    dhs: bytes
    pn: int
    n: int
    before_nonce: bytes
    nonce: bytes
    sealed: bytes
    body: bytes


def parse(message: bytes) -> Message:
    """Its form, of head and body."""
    if not message:
        raise Rejected("InvalidMessage")
    if message[0] != 2:
        raise Rejected("UnknownSuite")
    if len(message) < 2 or message[1] >= len(PART_LENGTHS):
        raise Rejected("InvalidMessage")
    part = message[1]
    at = 2 + PART_LENGTHS[part]
    nonce_at, end = at + 40, at + 40 + 12 + 48
    body_at = end + len(zeros(end))
    carried, header, body = message[2:at], message[at:nonce_at], message[body_at:]
    if message[end:body_at] != zeros(end):
        raise Rejected("InvalidMessage")
    if part == HANDSHAKE and bytes(4) in (carried[64:68], carried[72:76]):
        raise Rejected("InvalidMessage")
    body_end(body)
    nonce, sealed = message[nonce_at : nonce_at + 12], message[nonce_at + 12 : end]
    numbers = number(header[32:36]), number(header[36:])
    return Message(part, carried, header[:32], *numbers, message[:nonce_at], nonce, sealed, body)


# --- ratchet -----------------------------------------------------------------------


def kdf_rk(rk: bytes, shared: bytes, ss: bytes = b"", pq: bytes = b"") -> tuple[bytes, bytes]:
    """KDF_RK."""
    out = hkdf(shared + ss, rk, LABELS["root"] + pq, 64)
    return out[:32], out[32:]


@dataclass(frozen=True)
class Written:
    """A message, and what its head is made with."""

    mk: bytes
    aad: bytes
    head: bytes
    body: bytes


@dataclass
class Session:
    """State variables as the Double Ratchet names them; ``private`` is that of DHs, ``offered`` of an open offer."""

    peer: bytes
    ad: bytes
    private: bytes
    dhr: bytes | None
    rk: bytes
    at: int
    cks: bytes | None = None
    ckr: bytes | None = None
    ns: int = 0
    nr: int = 0
    pn: int = 0
    skipped: dict[tuple[bytes, int], tuple[bytes, int]] = field(default_factory=dict)
    part: int = NOTHING
    carried: bytes = b""
    offered: bytes | None = None
    messages: int = 0

    @classmethod
    def begun(cls, made: Agreement, bundle: Bundle, private: bytes, now: int) -> Self:
        """The initiator's."""
        rk, cks = kdf_rk(made.sk, dh(private, bundle.signed_prekey))
        peer, dhr = bundle.identity, bundle.signed_prekey
        return cls(peer, made.ad, private, dhr, rk, now, cks, part=HANDSHAKE, carried=made.header)

    @classmethod
    def joined(cls, made: Agreement, signed_private: bytes, now: int) -> Self:
        """The responder's."""
        return cls(made.header[:32], made.ad, signed_private, None, made.sk, now)

    def write(self, key: bytes, padded: bytes, nonce: bytes) -> Written:
        """A message; ``key`` is K."""
        assert self.cks is not None
        self.cks, mk = kdf_ck(self.cks)
        body = seal_body(key, padded)
        start = bytes((2, self.part)) + self.carried + x25519_public(self.private) + u32(self.pn) + u32(self.ns)
        self.ns += 1
        self._count()
        aad = self.ad + start + sha256(body)
        head = start + nonce + AESGCM(message_key(mk)).encrypt(nonce, key, aad)
        return Written(mk, aad, head + zeros(len(head)), body)

    def read(self, encrypted: bytes, draws: Draws, now: int) -> bytes:
        """The padded content; "if anything fails, nothing changes"."""
        message, after = parse(encrypted), replace(self, skipped=dict(self.skipped))
        if message.part == HANDSHAKE and message.carried[:32] != self.peer:
            raise Rejected("UndecryptableMessage")
        padded = after._decrypt(message, draws, now)
        self.__dict__.update(after.__dict__)
        return padded

    def forget(self, now: int) -> None:
        """ "older ones are erased every hour"."""
        self.skipped = {key: kept for key, kept in self.skipped.items() if now - kept[1] <= MAX_SKIPPED_AGE_MS}

    def _count(self) -> None:
        self.messages = min(self.messages + 1, OFFER_AFTER_MESSAGES)

    def _open(self, message: Message, mk: bytes) -> bytes:
        aad = self.ad + message.before_nonce + sha256(message.body)
        return open_body(opened(message_key(mk), message.nonce, message.sealed, aad), message.body)

    def _decrypt(self, message: Message, draws: Draws, now: int) -> bytes:
        kept = self.skipped.pop((message.dhs, message.n), None)
        if kept is not None:
            self._count()
            return self._open(message, kept[0])
        is_new = message.dhs != self.dhr
        distance = max(0, message.pn - self.nr) + message.n if is_new else message.n - self.nr
        if not 0 <= distance <= MAX_SKIP:
            raise Rejected("UndecryptableMessage")
        if is_new:
            self._receive_chain(message, now)
        self._skip(message.n, now)
        assert self.ckr is not None
        self.ckr, mk = kdf_ck(self.ckr)
        self.nr += 1
        self._count()
        padded = self._open(message, mk)
        if is_new:
            self._send_chain(message, draws, now)
        return padded

    def _receive_chain(self, message: Message, now: int) -> None:
        is_first = self.dhr is None
        if (message.part == HANDSHAKE) != is_first or (message.part == ANSWER) != (self.offered is not None):
            raise Rejected("UndecryptableMessage")
        self._skip(message.pn, now)
        ss = pq = b""
        if self.offered is not None:
            ss = decapsulate(self.offered, message.carried)
            pq = sha256(kem_public(self.offered) + message.carried)
            self.offered = None
        self.rk, self.ckr = kdf_rk(self.rk, dh(self.private, message.dhs), ss, pq)
        self.dhr, self.nr = message.dhs, 0

    def _send_chain(self, message: Message, draws: Draws, now: int) -> None:
        assert self.dhr is not None
        self.private, self.pn, self.ns = draws["ratchet_private"], self.ns, 0
        if message.part in (OFFER, ANSWER):
            self.messages, self.at = 0, now
        ss = pq = b""
        self.part, self.carried = NOTHING, b""
        if message.part == OFFER:
            check_kem_key(message.carried)
            ss, ct = encapsulate(message.carried, draws["kem_m"])
            pq = sha256(message.carried + ct)
            self.part, self.carried = ANSWER, ct
        elif self.messages >= OFFER_AFTER_MESSAGES or not 0 <= now - self.at < OFFER_AFTER_MS:
            self.offered = draws["offer_seed"]
            self.part, self.carried = OFFER, kem_public(self.offered)
        self.rk, self.cks = kdf_rk(self.rk, dh(self.private, self.dhr), ss, pq)

    def _skip(self, until: int, now: int) -> None:
        if self.ckr is None or self.dhr is None:
            return
        for n in range(self.nr, until):
            self.ckr, mk = kdf_ck(self.ckr)
            self.skipped[self.dhr, n] = mk, now
        self.nr = max(self.nr, until)
        chains = list(dict.fromkeys(chain for chain, _ in self.skipped))[-MAX_RECEIVING_CHAINS:]
        kept = [item for item in self.skipped.items() if item[0][0] in chains]
        self.skipped = dict(kept[-MAX_SKIPPED_KEYS:])
