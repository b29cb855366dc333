"""A second computation of handshake and ratchet: ``protocol/encryption.md`` and nothing of ours.

HKDF stands on ``hmac``, the map from Ed25519 to X25519 on whole numbers, Diffie-Hellman, AES-GCM and ML-KEM on
``cryptography`` (the production code has X25519 and the map from libsodium). Quotes are from the document; where it
is silent, a comment says what was taken from elsewhere.
"""

import hashlib
import hmac
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from kyber_py.ml_kem import ML_KEM_768

Json = dict[str, Any]

P: Final = 2**255 - 19
JUMP: Final = 256
KEPT: Final = 256
CHAINS: Final = 5
AGE_MS: Final = 30 * 86_400_000


class Refusal(Exception):
    """A message that cannot be read."""


# --- primitives -------------------------------------------------------------------


def hkdf(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256."""
    key, out, block, count = hmac.digest(salt, ikm, "sha256"), b"", b"", 1
    while len(out) < length:
        block = hmac.digest(key, block + info + bytes([count]), "sha256")
        out, count = out + block, count + 1
    return out[:length]


def x25519(private: bytes, public: bytes) -> bytes:
    """ "a Diffie-Hellman result of 32 zero bytes is refused", by the library; "not canonical", here."""
    if int.from_bytes(public, "little") >= P:
        raise Refusal("not canonical")
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def x25519_public(private: bytes) -> bytes:
    """RFC 7748."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def ed25519_public(seed: bytes) -> bytes:
    """RFC 8032."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def image_public(public: bytes) -> bytes:
    """ "the birational map of RFC 7748 section 4.1, u = (1 + y) / (1 - y)"."""
    y = int.from_bytes(public, "little") % 2**255
    return ((1 + y) * pow(1 - y, -1, P) % P).to_bytes(32, "little")


def image_private(seed: bytes) -> bytes:
    """ "the first 32 bytes of SHA-512(seed), clamped"."""
    raw = bytearray(hashlib.sha512(seed).digest()[:32])
    raw[0] &= 248
    raw[31] = raw[31] & 127 | 64
    return bytes(raw)


def u16(number: int) -> bytes:
    """ "All integers are big-endian"."""
    return number.to_bytes(2, "big")


def u32(number: int) -> bytes:
    """As above."""
    return number.to_bytes(4, "big")


# --- handshake --------------------------------------------------------------------


def secret_and_info(secrets: dict[str, bytes], kem: tuple[bytes, bytes] | None) -> Json:
    """SK from DH1 to DH4 and SS, where they are there; ``kem`` is PQPK_B and CT."""
    ikm = b"\xff" * 32 + b"".join(secrets.values())
    if kem is None:
        info = b"phantom/1 X3DH X25519 SHA-256\n"
    else:
        info = b"phantom/1 PQXDH X25519 SHA-256 ML-KEM-768\n" + hashlib.sha256(kem[0] + kem[1]).digest()
    sk = hkdf(ikm, bytes(32), info, 32)
    return {**secrets, "ikm": ikm, "info": info, "sk": sk, "post_quantum": kem is not None}


def bound(ik_a: bytes, ik_b: bytes, id_a: bytes, id_b: bytes) -> bytes:
    """AD."""
    ids = u16(len(id_a)) + id_a + u16(len(id_b)) + id_b
    return b"phantom/1 associated-data\n" + ik_a + ik_b + ids


@cache
def encapsulated(public: bytes, m: bytes) -> tuple[bytes, bytes]:
    """The secret and the ciphertext that ML-KEM makes of 32 bytes m."""
    shared, ciphertext = ML_KEM_768._encaps_internal(public, m)
    return bytes(shared), bytes(ciphertext)


def initiate(seed: bytes, ids: tuple[bytes, bytes], ephemeral: bytes, m: bytes, bundle: Json) -> Json:
    """The initiator's side; ``bundle`` holds bytes under the names of ``handshakes.json``."""
    with_one_time = bundle["one_time_prekey"] is not None and bundle["one_time_prekey_id"] != 0
    with_kem = bundle["kem_prekey"] is not None and bundle["kem_prekey_id"] != 0
    secrets = {
        "dh1": x25519(image_private(seed), bundle["signed_prekey"]),
        "dh2": x25519(ephemeral, image_public(bundle["identity"])),
        "dh3": x25519(ephemeral, bundle["signed_prekey"]),
    }
    if with_one_time:
        secrets["dh4"] = x25519(ephemeral, bundle["one_time_prekey"])
    ciphertext = b""
    if with_kem:
        secrets["ss"], ciphertext = encapsulated(bundle["kem_prekey"], m)
    numbers = (
        bundle["signed_prekey_id"],
        bundle["one_time_prekey_id"] if with_one_time else 0,
        bundle["kem_prekey_id"] if with_kem else 0,
    )
    header = ed25519_public(seed) + x25519_public(ephemeral) + b"".join(map(u32, numbers)) + ciphertext
    return {
        **secret_and_info(secrets, (bundle["kem_prekey"], ciphertext) if with_kem else None),
        "ephemeral_public": x25519_public(ephemeral),
        "kem_ciphertext": ciphertext,
        "ad": bound(ed25519_public(seed), bundle["identity"], *ids),
        "header": header,
        "header_sha256": hashlib.sha256(header).digest(),
    }


def respond(header: bytes, seed: bytes, ids: tuple[bytes, bytes], private: Json) -> Json:
    """The responder's side; ``private`` holds signed prekey, one-time prekey and KEM seed, None where not named."""
    ik_a, ek_a, ciphertext = header[:32], header[32:64], header[76:]
    secrets = {
        "dh1": x25519(private["signed"], image_public(ik_a)),
        "dh2": x25519(image_private(seed), ek_a),
        "dh3": x25519(private["signed"], ek_a),
    }
    if private["one_time"] is not None:
        secrets["dh4"] = x25519(private["one_time"], ek_a)
    kem = None
    if private["kem"] is not None:
        key = MLKEM768PrivateKey.from_seed_bytes(private["kem"])
        secrets["ss"] = key.decapsulate(ciphertext)
        kem = (key.public_key().public_bytes_raw(), ciphertext)
    return {**secret_and_info(secrets, kem), "ad": bound(ik_a, ed25519_public(seed), *ids)}


# --- ratchet ----------------------------------------------------------------------


def kdf_rk(rk: bytes, dh: bytes) -> tuple[bytes, bytes]:
    """KDF_RK."""
    out = hkdf(dh, rk, b"phantom/1 ratchet root\n", 64)
    return out[:32], out[32:]


def kdf_ck(ck: bytes) -> tuple[bytes, bytes]:
    """KDF_CK: the next ck, and mk."""
    return hmac.digest(ck, b"\x02", "sha256"), hmac.digest(ck, b"\x01", "sha256")


def message_key(mk: bytes) -> bytes:
    """The key of AES-256-GCM."""
    return hkdf(mk, bytes(32), b"phantom/1 message key\n", 32)


@dataclass
class Ratchet:
    """State variables of The Double Ratchet, section 3.2; a failed message is tried on a copy."""

    private: bytes
    dhr: bytes | None
    rk: bytes
    cks: bytes | None = None
    ckr: bytes | None = None
    ns: int = 0
    nr: int = 0
    pn: int = 0
    skipped: dict[tuple[bytes, int], tuple[bytes, int]] = field(default_factory=dict)

    @classmethod
    def of_initiator(cls, sk: bytes, signed_prekey: bytes, private: bytes) -> "Ratchet":
        """ "SPK_B counts as B's ratchet key"."""
        rk, cks = kdf_rk(sk, x25519(private, signed_prekey))
        return cls(private, signed_prekey, rk, cks)

    @classmethod
    def of_responder(cls, sk: bytes, signed_private: bytes) -> "Ratchet":
        """ "B starts with the pair of SPK_B"."""
        return cls(signed_private, None, sk)

    def seal(self, before: bytes, ad: bytes, plaintext: bytes, nonce: bytes) -> Json:
        """One message; ``before`` is suite, flags and handshake header."""
        if self.cks is None:
            raise Refusal("no sending chain")
        self.cks, mk = kdf_ck(self.cks)
        header = x25519_public(self.private) + u32(self.pn) + u32(self.ns)
        self.ns += 1
        aad = ad + before + header
        ciphertext = nonce + AESGCM(message_key(mk)).encrypt(nonce, plaintext, aad)
        made = {"mk": mk, "message_key": message_key(mk), "aad": aad, "ciphertext": ciphertext}
        return {**made, "bytes": before + header + ciphertext}

    def open(self, aad: bytes, header: bytes, ciphertext: bytes, fresh: bytes, now: int) -> bytes:
        """The plaintext of one message."""
        dh, pn, n = header[:32], int.from_bytes(header[32:36], "big"), int.from_bytes(header[36:], "big")
        if (dh, n) in self.skipped:
            mk, _ = self.skipped.pop((dh, n))
            return _unsealed(mk, ciphertext, aad)
        if dh != self.dhr:
            # "how far one message may jump ahead, over the end of a chain too; checked before any key is derived"
            if max(0, pn - self.nr) + n > JUMP:
                raise Refusal("a jump too far")
            self._skip(pn, now)
            self._step(dh, fresh)
        elif n < self.nr:
            raise Refusal("used already")
        elif n - self.nr > JUMP:
            raise Refusal("a jump too far")
        self._skip(n, now)
        if self.ckr is None:
            raise Refusal("no receiving chain")
        self.ckr, mk = kdf_ck(self.ckr)
        self.nr += 1
        return _unsealed(mk, ciphertext, aad)

    def _step(self, dh: bytes, fresh: bytes) -> None:
        self.pn, self.ns, self.nr, self.dhr = self.ns, 0, 0, dh
        self.rk, self.ckr = kdf_rk(self.rk, x25519(self.private, dh))
        self.private = fresh
        self.rk, self.cks = kdf_rk(self.rk, x25519(fresh, dh))

    def _skip(self, until: int, now: int) -> None:
        if self.ckr is None or self.dhr is None:
            return
        while self.nr < until:
            self.ckr, mk = kdf_ck(self.ckr)
            self.skipped[self.dhr, self.nr] = (mk, now)
            self.nr += 1
        # "chains of the peer of which skipped keys are kept, the newest with gaps"
        newest = list(dict.fromkeys(dh for dh, _ in self.skipped))[-CHAINS:]
        # "skipped keys of a session; the oldest go first"
        kept = [(key, value) for key, value in self.skipped.items() if key[0] in newest][-KEPT:]
        self.skipped = dict(kept)

    def forget(self, now: int) -> None:
        """ "age of a skipped key"."""
        self.skipped = {key: kept for key, kept in self.skipped.items() if now - kept[1] <= AGE_MS}

    def listed(self, *, with_skipped: bool) -> Json:
        """As the vectors list it."""
        rows = [(dh, n, mk) for (dh, n), (mk, _) in self.skipped.items()]
        found: Json = {
            "dhs": x25519_public(self.private),
            "dhr": self.dhr,
            "rk": self.rk,
            "cks": self.cks,
            "ckr": self.ckr,
            "ns": self.ns,
            "nr": self.nr,
            "pn": self.pn,
            "skipped_count": len(rows),
            "skipped_sha256": hashlib.sha256(b"".join(dh + u32(n) + mk for dh, n, mk in rows)).digest(),
        }
        return found | ({"skipped": [{"dh": dh, "n": n, "mk": mk} for dh, n, mk in rows]} if with_skipped else {})


def _unsealed(mk: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    try:
        return AESGCM(message_key(mk)).decrypt(ciphertext[:12], ciphertext[12:], aad)
    except InvalidTag:
        raise Refusal("it does not authenticate") from None


# --- sessions ---------------------------------------------------------------------


@dataclass
class Session:
    """A session as one side has it, "named by EK_A"; ``repeated`` is the handshake header until it is answered."""

    name: bytes
    ad: bytes
    ratchet: Ratchet
    repeated: bytes | None
    begun: bool

    def seal(self, plaintext: bytes, nonce: bytes) -> Json:
        """A whole message."""
        header = self.repeated
        flags = 0 if header is None else 1 if len(header) == 76 else 3
        return self.ratchet.seal(bytes([1, flags]) + (header or b""), self.ad, plaintext, nonce)

    def is_rival_of(self, other: "Session") -> bool:
        """ "both keep the session with the smaller EK_A (compared as bytes) while it is unanswered"."""
        return self.begun and self.repeated is not None and self.name < other.name


class Person:
    """Somebody's prekeys and sessions, the current one first; ``keys`` is the listing of ``prekeys.json``, in bytes."""

    def __init__(self, keys: Json, own_id: bytes, peer_id: bytes) -> None:
        self.keys, self.own_id, self.peer_id = keys, own_id, peer_id
        self.sessions: list[Session] = []

    def start(self, ephemeral: bytes, m: bytes, fresh: bytes, bundle: Json) -> tuple[Session, Json]:
        """Begin a session."""
        ids = (self.own_id, self.peer_id)
        agreed = initiate(self.keys["identity"]["seed"], ids, ephemeral, m, bundle)
        ratchet = Ratchet.of_initiator(agreed["sk"], bundle["signed_prekey"], fresh)
        begun = Session(agreed["ephemeral_public"], agreed["ad"], ratchet, agreed["header"], begun=True)
        self.sessions.insert(0, begun)
        return begun, agreed

    def copied(self) -> list[Session]:
        """All sessions, as a backup keeps them."""
        return deepcopy(self.sessions)

    def sending(self) -> Session:
        """The current one, or the next that can write."""
        return next(one for one in self.sessions if one.ratchet.cks is not None)

    def read(self, message: bytes, fresh: bytes, now: int) -> tuple[Session, bytes, Json | None]:
        """Read a message; if it cannot be read, nothing changes."""
        suite, flags = message[0], message[1]
        if suite != 1 or flags not in (0, 1, 3):
            raise Refusal("another suite, or other flags")
        end = 2 + {0: 0, 1: 76, 3: 76 + 1088}[flags]
        header = message[2:end]
        known, begins = list(self.sessions), None
        if flags and all(one.name != header[32:64] for one in known):
            begun, begins = self._answer(header)
            known.insert(1 if known and known[0].is_rival_of(begun) else 0, begun)
        for place, one in enumerate(known):
            if flags and one.name != header[32:64]:
                continue
            tried = deepcopy(one)
            try:
                aad = one.ad + message[: end + 40]
                plaintext = tried.ratchet.open(aad, message[end : end + 40], message[end + 40 :], fresh, now)
            except Refusal:
                continue
            tried.repeated = None
            if known[0].is_rival_of(one):
                known[place] = tried
            else:
                known = [tried, *known[:place], *known[place + 1 :]]
            self.sessions = known
            return tried, plaintext, begins
        raise Refusal("no session reads it")

    def _answer(self, header: bytes) -> tuple[Session, Json]:
        signed, one_time, kem = (int.from_bytes(header[place : place + 4], "big") for place in (64, 68, 72))
        kems = {self.keys[name]["id"]: self.keys[name]["seed"] for name in ("kem_prekey", "last_resort_kem_prekey")}
        if signed != self.keys["signed_prekey"]["id"] or one_time not in (0, self.keys["one_time_prekey"]["id"]):
            raise Refusal("an unknown prekey")
        private = {
            "signed": self.keys["signed_prekey"]["private"],
            "one_time": self.keys["one_time_prekey"]["private"] if one_time else None,
            "kem": kems[kem] if kem else None,
        }
        agreed = respond(header, self.keys["identity"]["seed"], (self.peer_id, self.own_id), private)
        ratchet = Ratchet.of_responder(agreed["sk"], private["signed"])
        return Session(header[32:64], agreed["ad"], ratchet, None, begun=False), agreed


def padded(content: bytes) -> bytes:
    """ "append 0x80, then zeros up to 256, 512, 1,024, ... 32,768 or 44,800 bytes, the smallest that fits"."""
    size = next(size for size in (*(256 << power for power in range(8)), 44_800) if size > len(content))
    return content + b"\x80" + bytes(size - len(content) - 1)
