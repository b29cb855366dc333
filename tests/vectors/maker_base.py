"""What all makers of vectors share: bytes from the seed, people, and how a file of vectors looks.

The makers use the production code, for the vectors are to be what it does; that it does what the protocol says is
shown by ``vector_reference``, which shares nothing with it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kyber_py.ml_kem import ML_KEM_768

from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, PreKeyBundle, SignedPreKey
from phantom_messenger.labels import KEM_PREKEY, SIGNED_PREKEY

SEED: Final = "phantom/1 vectors, first edition"
NOW: Final = 1_770_000_000_000
"""When it all happens, milliseconds since 1970."""

Json = dict[str, Any]


def drawn(label: str, size: int) -> bytes:
    """The bytes that stand for randomness; each place has a label of its own."""
    return hashlib.shake_256(f"{SEED}/{label}".encode()).digest(size)


def file_of(description: str, **members: Any) -> Json:
    """A whole file."""
    return {
        "description": description,
        "format": 1,
        "seed": SEED,
        "randomness": "SHAKE-256(seed || '/' || label); every value that came from it stands in full where it is used",
        **members,
    }


@dataclass(frozen=True)
class Person:
    """Somebody with an identity and a prekey of each kind."""

    name: str
    identity: OwnIdentity
    signed: SignedPreKey
    one_time: PreKey
    kem: KemPreKey
    last_resort: KemPreKey

    @property
    def id(self) -> bytes:
        return self.identity.peer.user_id

    def kem_of(self, kind: str | None) -> KemPreKey | None:
        """The KEM prekey of a kind: one-time, last-resort, or none."""
        return {"one-time": self.kem, "last-resort": self.last_resort, None: None}[kind]

    def bundle(self, *, one_time: bool = True, kem: str | None = "one-time") -> PreKeyBundle:
        """What the relay hands out."""
        kem_prekey = self.kem_of(kem)
        return PreKeyBundle(
            identity=self.identity.peer,
            signed_prekey=self.signed.pair.public,
            signed_prekey_signature=self.signed.signature,
            signed_prekey_id=self.signed.id,
            one_time_prekey=self.one_time.pair.public if one_time else None,
            one_time_prekey_id=self.one_time.id if one_time else 0,
            kem_prekey=None if kem_prekey is None else kem_prekey.public,
            kem_prekey_signature=b"" if kem_prekey is None else kem_prekey.signature,
            kem_prekey_id=0 if kem_prekey is None else kem_prekey.id,
        )


def person(name: str, first_id: int) -> Person:
    """Somebody whose prekeys have the ids from ``first_id`` on."""
    identity = OwnIdentity(drawn(f"{name}/identity", 32))
    return Person(
        name=name,
        identity=identity,
        signed=SignedPreKey.make(identity, first_id, drawn(f"{name}/signed prekey", 32)),
        one_time=PreKey(first_id + 1, KeyPair.from_private(drawn(f"{name}/one-time prekey", 32))),
        kem=KemPreKey.make(identity, first_id + 2, drawn(f"{name}/KEM prekey", 64)),
        last_resort=KemPreKey.make(identity, first_id + 3, drawn(f"{name}/last-resort KEM prekey", 64)),
    )


ALICE: Final = person("alice", 11)
BOB: Final = person("bob", 1_770_000_000)
MALLORY: Final = person("mallory", 1)
PEOPLE: Final = {one.name: one for one in (ALICE, BOB, MALLORY)}


def encapsulated(public: bytes, m: bytes) -> tuple[bytes, bytes]:
    """The secret and the ciphertext that ML-KEM makes of 32 bytes m (FIPS 203, algorithm 17)."""
    shared, ciphertext = ML_KEM_768._encaps_internal(public, m)
    return bytes(shared), bytes(ciphertext)


def described_bundle(bundle: PreKeyBundle) -> Json:
    """A bundle in full."""
    return {
        "identity": bundle.identity.public.hex(),
        "signed_prekey": bundle.signed_prekey.hex(),
        "signed_prekey_signature": bundle.signed_prekey_signature.hex(),
        "signed_prekey_id": bundle.signed_prekey_id,
        "one_time_prekey": None if bundle.one_time_prekey is None else bundle.one_time_prekey.hex(),
        "one_time_prekey_id": bundle.one_time_prekey_id,
        "kem_prekey": None if bundle.kem_prekey is None else bundle.kem_prekey.hex(),
        "kem_prekey_signature": bundle.kem_prekey_signature.hex(),
        "kem_prekey_id": bundle.kem_prekey_id,
    }


def described_person(one: Person) -> Json:
    """Somebody in full, secrets too."""
    kems = {
        name: {
            "id": key.id,
            "seed": key.seed.hex(),
            "public": key.public.hex(),
            "signed_bytes": (KEM_PREKEY + key.public).hex(),
            "signature": key.signature.hex(),
        }
        for name, key in (("kem_prekey", one.kem), ("last_resort_kem_prekey", one.last_resort))
    }
    return {
        "identity": {
            "seed": one.identity.seed.hex(),
            "public": one.identity.peer.public.hex(),
            "x25519_private": one.identity.agreement_key.hex(),
            "x25519_public": one.identity.peer.agreement_key.hex(),
        },
        "user_id": one.id.hex(),
        "signed_prekey": {
            "id": one.signed.id,
            "private": one.signed.pair.private.hex(),
            "public": one.signed.pair.public.hex(),
            "signed_bytes": (SIGNED_PREKEY + one.signed.pair.public).hex(),
            "signature": one.signed.signature.hex(),
        },
        "one_time_prekey": {
            "id": one.one_time.id,
            "private": one.one_time.pair.private.hex(),
            "public": one.one_time.pair.public.hex(),
        },
        **kems,
    }


def parts(data: bytes, sizes: Mapping[str, int]) -> list[tuple[str, int, int]]:
    """Where the named parts of some bytes begin and end; a size of -1 is the rest."""
    found, place = [], 0
    for name, size in sizes.items():
        end = len(data) if size < 0 else place + size
        found.append((name, place, end))
        place = end
    return found


def flipped(data: bytes, place: int, mask: int = 1) -> bytes:
    """The same bytes with bits of one byte changed."""
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


def named(cases: Sequence[Json]) -> list[Json]:
    """The cases, after a look that no two have the same name."""
    names = [case["name"] for case in cases]
    if len(set(names)) != len(names):
        raise ValueError(f"two cases have one name: {sorted(names)}")
    return list(cases)
