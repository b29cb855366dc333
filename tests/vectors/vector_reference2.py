"""A second computation of suite 2: ``protocol/encryption.md`` and nothing of ours.

It stands on ``vector_reference`` where the document says "as in suite 1". ML-KEM is ``kyber_py``, which takes its
random bytes as an argument. Quotes are from the document.
"""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from kyber_py.ml_kem import ML_KEM_768
from vector_reference import (
    JUMP,
    Json,
    Ratchet,
    Refusal,
    ed25519_public,
    hkdf,
    image_private,
    image_public,
    kdf_ck,
    message_key,
    u16,
    u32,
    x25519,
    x25519_public,
)

NOTHING, HANDSHAKE, OFFER, ANSWER = range(4)
PART_BYTES: Final = {NOTHING: 0, HANDSHAKE: 76 + 1088, OFFER: 1184, ANSWER: 1088}
DUE_MESSAGES: Final = 50
DUE_MS: Final = 7 * 86_400_000

Part = tuple[int, bytes]
Opener = Callable[[bytes], bytes]
"""From a message key to what was sealed under it."""


# --- the KEM ----------------------------------------------------------------------


def kem_public(seed: bytes) -> bytes:
    """FIPS 203 section 7.1, from d || z."""
    return bytes(ML_KEM_768.key_derive(seed)[0])


def encapsulate(public: bytes, m: bytes) -> tuple[bytes, bytes]:
    """ "the input check of FIPS 203 section 7.2", and algorithm 17."""
    bits = int.from_bytes(public[:1152], "little")
    if len(public) != 1184 or any(bits >> 12 * place & 4095 >= 3329 for place in range(768)):
        raise Refusal("a malformed KEM key")
    shared, ciphertext = ML_KEM_768._encaps_internal(public, m)
    return bytes(shared), bytes(ciphertext)


def decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    """FIPS 203 section 7.3."""
    return bytes(ML_KEM_768.decaps(bytes(ML_KEM_768.key_derive(seed)[1]), ciphertext))


# --- bundle and handshake -----------------------------------------------------------


def bundle_bytes(bundle: Json) -> bytes:
    """ "One signature covers the keys that last, when they were published, and whose they are"."""
    signed: bytes = (
        b"phantom/1 prekey-bundle 2\n"
        + bundle["made_at"].to_bytes(8, "big")
        + u32(bundle["signed_prekey_id"])
        + bundle["signed_prekey"]
        + u32(bundle["last_resort_kem_prekey_id"])
        + bundle["last_resort_kem_prekey"]
        + u16(len(bundle["user_id"]))
        + bundle["user_id"]
    )
    return signed


def agreed(secrets: dict[str, bytes], exchanged: bytes, ends: tuple[bytes, bytes], ids: tuple[bytes, bytes]) -> Json:
    """SK and AD."""
    ikm = b"\xff" * 32 + b"".join(secrets.values())
    info = b"phantom/1 PQXDH 2 X25519 SHA-256 ML-KEM-768\n" + hashlib.sha256(exchanged).digest()
    ad = b"phantom/1 associated-data 2\n" + b"".join(ends) + b"".join(u16(len(one)) + one for one in ids)
    return {**secrets, "ikm": ikm, "info": info, "sk": hkdf(ikm, bytes(32), info, 32), "ad": ad}


def initiate(seed: bytes, own_id: bytes, ephemeral: bytes, m: bytes, bundle: Json) -> Json:
    """The initiator's side; ``bundle`` holds bytes under the names of ``suite2-handshakes.json``."""
    secrets = {
        "dh1": x25519(image_private(seed), bundle["signed_prekey"]),
        "dh2": x25519(ephemeral, image_public(bundle["identity"])),
        "dh3": x25519(ephemeral, bundle["signed_prekey"]),
    }
    if bundle["one_time_prekey"] is not None:
        secrets["dh4"] = x25519(ephemeral, bundle["one_time_prekey"])
    kind = "last_resort_kem_prekey" if bundle["one_time_kem_prekey"] is None else "one_time_kem_prekey"
    secrets["ss"], ciphertext = encapsulate(bundle[kind], m)
    numbers = (bundle["signed_prekey_id"], bundle["one_time_prekey_id"], bundle[f"{kind}_id"])
    header = ed25519_public(seed) + x25519_public(ephemeral) + b"".join(map(u32, numbers)) + ciphertext
    ends = (ed25519_public(seed), bundle["identity"])
    return {
        **agreed(secrets, bundle[kind] + ciphertext, ends, (own_id, bundle["user_id"])),
        "ephemeral_public": x25519_public(ephemeral),
        "kem_ciphertext": ciphertext,
        "header": header,
    }


def respond(header: bytes, seed: bytes, ids: tuple[bytes, bytes], private: Json) -> Json:
    """The responder's side; ``private`` holds signed prekey, one-time prekey (None if not named) and KEM seed."""
    ik_a, ek_a, ciphertext = header[:32], header[32:64], header[76:]
    secrets = {
        "dh1": x25519(private["signed"], image_public(ik_a)),
        "dh2": x25519(image_private(seed), ek_a),
        "dh3": x25519(private["signed"], ek_a),
    }
    if private["one_time"] is not None:
        secrets["dh4"] = x25519(private["one_time"], ek_a)
    secrets["ss"] = decapsulate(private["kem"], ciphertext)
    return agreed(secrets, kem_public(private["kem"]) + ciphertext, (ik_a, ed25519_public(seed)), ids)


# --- body ---------------------------------------------------------------------------


def filled(data: bytes) -> bytes:
    """ "as few zeros as make their length divisible by 3"."""
    return data + bytes(-len(data) % 3)


def body_keys(key: bytes) -> tuple[bytes, bytes]:
    """Commitment and body key."""
    out = hkdf(key, bytes(32), b"phantom/1 body\n", 64)
    return out[:32], out[32:]


def seal_body(key: bytes, padded: bytes) -> bytes:
    """A body."""
    commitment, body_key = body_keys(key)
    return filled(b"\x02" + commitment + AESGCM(body_key).encrypt(bytes(12), padded, b"\x02" + commitment))


def open_body(key: bytes, body: bytes) -> bytes:
    """ "compares the commitment", "then opens the body"."""
    commitment, body_key = body_keys(key)
    if body[1:33] != commitment:
        raise Refusal("another key")
    end = 49 + (len(body) - 49) // 256 * 256
    try:
        return AESGCM(body_key).decrypt(bytes(12), body[33:end], body[:33])
    except InvalidTag:
        raise Refusal("the body does not authenticate") from None


def padded(content: bytes) -> bytes:
    """ "Clients pad as in suite 1, with 44,544 as the last size"."""
    size = next(size for size in (*(256 << power for power in range(8)), 44_544) if size > len(content))
    return content + b"\x80" + bytes(size - len(content) - 1)


# --- ratchet ------------------------------------------------------------------------


def kdf_rk(rk: bytes, dh: bytes, shared: bytes = b"", exchanged: bytes = b"") -> tuple[bytes, bytes]:
    """KDF_RK."""
    bound = hashlib.sha256(exchanged).digest() if shared else b""
    out = hkdf(dh + shared, rk, b"phantom/1 ratchet root 2\n" + bound, 64)
    return out[:32], out[32:]


@dataclass(frozen=True)
class Draws:
    """What a reader may need: a ratchet key, the seed of an offer, the random bytes of an answer."""

    private: bytes
    seed: bytes
    m: bytes


@dataclass
class Ratchet2(Ratchet):
    """ "The Double Ratchet of suite 1 with ML-KEM-768 secrets"; a failed message is tried on a copy."""

    ad: bytes = b""
    part: int = NOTHING
    carried: bytes = b""
    seed: bytes = b""
    count: int = 0
    since: int = 0

    @classmethod
    def begun(cls, found: Json, signed_prekey: bytes, private: bytes, now: int) -> "Ratchet2":
        """The initiator's: its first chain carries the handshake header."""
        rk, cks = kdf_rk(found["sk"], x25519(private, signed_prekey))
        return cls(private, signed_prekey, rk, cks, ad=found["ad"], part=HANDSHAKE, carried=found["header"], since=now)

    @classmethod
    def joined(cls, found: Json, signed_private: bytes, now: int) -> "Ratchet2":
        """The responder's."""
        return cls(signed_private, None, found["sk"], ad=found["ad"], since=now)

    def write(self, key: bytes, padded_content: bytes, nonce: bytes) -> Json:
        """A whole message."""
        if self.cks is None:
            raise Refusal("no sending chain")
        body = seal_body(key, padded_content)
        self.cks, mk = kdf_ck(self.cks)
        before = bytes([2, self.part]) + self.carried + x25519_public(self.private) + u32(self.pn) + u32(self.ns)
        self.ns += 1
        self.count += 1
        aad = self.ad + before + hashlib.sha256(body).digest()
        head = filled(before + nonce + AESGCM(message_key(mk)).encrypt(nonce, key, aad))
        return {"mk": mk, "message_key": message_key(mk), "aad": aad, "head": head, "body": body}

    def read(self, message: bytes, draws: Draws, now: int) -> bytes:
        """The padded content; if it is refused, nothing has changed."""
        part, data, header, sealed, body = taken_apart(message)
        tried = deepcopy(self)
        aad = self.ad + message[: 2 + len(data) + 40] + hashlib.sha256(body).digest()
        key = tried._key_of((part, data), header, lambda mk: _opened(mk, sealed, aad), draws, now)
        content = open_body(key, body)
        self.__dict__.update(tried.__dict__)
        return content

    def _key_of(self, part: Part, header: bytes, opened: Opener, draws: Draws, now: int) -> bytes:
        dh, n = header[:32], int.from_bytes(header[36:], "big")
        if (dh, n) in self.skipped:
            self.count += 1
            return opened(self.skipped.pop((dh, n))[0])
        is_new = dh != self.dhr
        if is_new:
            self._receive_chain(part, header, now)
        elif n < self.nr or n - self.nr > JUMP:
            raise Refusal("used already, or a jump too far")
        self._skip(n, now)
        if self.ckr is None:
            raise Refusal("no receiving chain")
        self.ckr, mk = kdf_ck(self.ckr)
        self.nr += 1
        self.count += 1
        found = opened(mk)
        if is_new:
            self._send_chain(part, draws, now)
        return found

    def _receive_chain(self, part: Part, header: bytes, now: int) -> None:
        kind, data = part
        dh, pn, n = header[:32], int.from_bytes(header[32:36], "big"), int.from_bytes(header[36:], "big")
        if (kind == HANDSHAKE) != (self.dhr is None) or (kind == ANSWER) != (self.part == OFFER):
            raise Refusal("another part than this chain can have")
        if max(0, pn - self.nr) + n > JUMP:
            raise Refusal("a jump too far")
        self._skip(pn, now)
        shared = exchanged = b""
        if kind == ANSWER:
            shared, exchanged = decapsulate(self.seed, data), self.carried + data
        self.rk, self.ckr = kdf_rk(self.rk, x25519(self.private, dh), shared, exchanged)
        self.dhr, self.nr = dh, 0

    def _send_chain(self, part: Part, draws: Draws, now: int) -> None:
        kind, data = part
        assert self.dhr is not None
        self.pn, self.ns, self.private = self.ns, 0, draws.private
        shared = exchanged = b""
        is_due = self.count >= DUE_MESSAGES or not 0 <= now - self.since < DUE_MS
        self.part, self.carried, self.seed = NOTHING, b"", b""
        if kind == OFFER:
            shared, ciphertext = encapsulate(data, draws.m)
            exchanged = data + ciphertext
            self.part, self.carried = ANSWER, ciphertext
        elif kind != ANSWER and is_due:
            self.part, self.carried, self.seed = OFFER, kem_public(draws.seed), draws.seed
        if kind in (OFFER, ANSWER):
            self.count, self.since = 0, now
        self.rk, self.cks = kdf_rk(self.rk, x25519(draws.private, self.dhr), shared, exchanged)

    def copied(self) -> "Ratchet2":
        """As a backup keeps it."""
        return deepcopy(self)

    def listed2(self, *, with_skipped: bool) -> Json:
        """As the vectors list it; the count of messages goes no further than the number that makes an offer due."""
        return {
            **self.listed(with_skipped=with_skipped),
            "part": self.part,
            "carried_sha256": hashlib.sha256(self.carried).digest(),
            "messages": min(self.count, DUE_MESSAGES),
            "at": self.since,
        }


def taken_apart(message: bytes) -> tuple[int, bytes, bytes, bytes, bytes]:
    """Part, its bytes, ratchet header, what is sealed, body; "Other bytes there, another part" are refused."""
    if message[0] != 2 or message[1] not in PART_BYTES:
        raise Refusal("another suite or part")
    part = message[1]
    end = 2 + PART_BYTES[part]
    sealed_end = end + 40 + 12 + 32 + 16
    head_end = sealed_end + -sealed_end % 3
    body = message[head_end:]
    zeros = (len(body) - 49) % 256
    if len(body) % 3 or not 256 <= len(body) - 49 - zeros <= 44_544 or zeros > 2 or body[0] != 2:
        raise Refusal("no body")
    if any(message[sealed_end:head_end]) or any(body[len(body) - zeros :]):
        raise Refusal("no zeros")
    return part, message[2:end], message[end : end + 40], message[end + 40 : sealed_end], body


def _opened(mk: bytes, sealed: bytes, aad: bytes) -> bytes:
    try:
        return AESGCM(message_key(mk)).decrypt(sealed[:12], sealed[12:], aad)
    except InvalidTag:
        raise Refusal("the head does not authenticate") from None
