"""Makes the vectors of the handshake, with everything between the keys and the secret."""

from dataclasses import dataclass

from maker_base import ALICE, BOB, Json, Person, described_bundle, drawn, encapsulated, file_of, named

from phantom_messenger.crypto import handshake, primitives
from phantom_messenger.crypto.handshake import Agreement, HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.prekeys import PreKeyBundle
from support.structs import replace


@dataclass(frozen=True)
class Begun:
    """One handshake and all that it was made of."""

    own: Person
    peer: Person
    own_id: bytes
    peer_id: bytes
    bundle: PreKeyBundle
    ephemeral: KeyPair
    m: bytes
    header: HandshakeHeader
    agreement: Agreement


def begun(
    label: str,
    bundle: PreKeyBundle,
    *,
    own: Person = ALICE,
    peer: Person = BOB,
    own_id: bytes | None = None,
    peer_id: bytes | None = None,
) -> Begun:
    """A handshake whose randomness comes from ``label``."""
    ephemeral = KeyPair.from_private(drawn(f"{label}/ephemeral", 32))
    m = drawn(f"{label}/KEM m", 32)
    ids = (own.id if own_id is None else own_id, peer.id if peer_id is None else peer_id)
    header, agreement = handshake.initiate(
        own.identity,
        ephemeral,
        bundle,
        own_id=ids[0],
        peer_id=ids[1],
        encapsulate=lambda public: encapsulated(public, m),
    )
    return Begun(own, peer, *ids, bundle, ephemeral, m, header, agreement)


def described(made: Begun) -> Json:
    """What an implementer finds a mistake with: each value between the keys and the secret."""
    bundle, header = made.bundle, made.header
    secrets = {
        "dh1": primitives.x25519(made.own.identity.agreement_key, bundle.signed_prekey),
        "dh2": primitives.x25519(made.ephemeral.private, bundle.identity.agreement_key),
        "dh3": primitives.x25519(made.ephemeral.private, bundle.signed_prekey),
    }
    if header.one_time_prekey_id:
        secrets["dh4"] = primitives.x25519(made.ephemeral.private, bundle.one_time_prekey or b"")
    info = handshake.X3DH_INFO
    if header.kem_prekey_id:
        public = bundle.kem_prekey or b""
        secrets["ss"], _ = encapsulated(public, made.m)
        info = handshake.PQXDH_INFO + primitives.sha256(public + header.kem_ciphertext)
    ikm = b"\xff" * 32 + b"".join(secrets.values())
    secret = primitives.hkdf(ikm, salt=bytes(32), info=info, length=32)
    if secret != made.agreement.secret:
        raise ValueError("the description is not that of the handshake")
    return {
        "ephemeral_public": made.ephemeral.public.hex(),
        **{name: secrets[name].hex() if name in secrets else None for name in ("dh1", "dh2", "dh3", "dh4", "ss")},
        "kem_ciphertext": header.kem_ciphertext.hex(),
        "ikm": ikm.hex(),
        "info": info.hex(),
        "sk": secret.hex(),
        "ad": made.agreement.associated_data.hex(),
        "post_quantum": made.agreement.post_quantum,
        "header": header.encode().hex(),
        "header_sha256": primitives.sha256(header.encode()).hex(),
    }


def _numbered(bundle: PreKeyBundle, number: int) -> PreKeyBundle:
    return replace(bundle, signed_prekey_id=number, one_time_prekey_id=number, kem_prekey_id=number)


def _cases() -> list[tuple[str, str, PreKeyBundle, tuple[bytes, bytes] | None]]:
    """Name, description, bundle, user ids if they are not the certified ones."""
    return [
        ("pqxdh", "one-time prekey and one-time KEM prekey", BOB.bundle(), None),
        ("pqxdh-last-resort", "one-time prekey and last-resort KEM prekey", BOB.bundle(kem="last-resort"), None),
        ("pqxdh-no-one-time", "no one-time prekey, one-time KEM prekey", BOB.bundle(one_time=False), None),
        (
            "pqxdh-least",
            "no one-time prekey, last-resort KEM prekey: what is left when all are used up",
            BOB.bundle(one_time=False, kem="last-resort"),
            None,
        ),
        ("x3dh", "one-time prekey, no KEM prekey: the session is classical", BOB.bundle(kem=None), None),
        ("x3dh-least", "only a signed prekey", BOB.bundle(one_time=False, kem=None), None),
        (
            "one-time-without-id",
            "a one-time prekey whose id is 0 (none was given) is not used",
            replace(BOB.bundle(), one_time_prekey_id=0),
            None,
        ),
        (
            "kem-without-id",
            "a KEM prekey whose id is 0 (none was given) is not used, but its signature is checked",
            replace(BOB.bundle(), kem_prekey_id=0),
            None,
        ),
        ("greatest-ids", "each prekey has the id 2^32-1", _numbered(BOB.bundle(), 2**32 - 1), None),
        (
            "claimed-ids",
            "user ids of 16 and of 64 bytes",
            BOB.bundle(),
            (drawn("handshakes/short id", 16), drawn("handshakes/long id", 64)),
        ),
    ]


def _case(name: str, description: str, bundle: PreKeyBundle, ids: tuple[bytes, bytes] | None) -> Json:
    own_id, peer_id = ids or (ALICE.id, BOB.id)
    made = begun(f"handshakes/{name}", bundle, own_id=own_id, peer_id=peer_id)
    with_kem, with_one_time = bool(made.header.kem_prekey_id), bool(made.header.one_time_prekey_id)
    kem = BOB.kem if bundle.kem_prekey == BOB.kem.public else BOB.last_resort
    return {
        "name": name,
        "description": description,
        "initiator": {
            "seed": ALICE.identity.seed.hex(),
            "user_id": own_id.hex(),
            "ephemeral_private": made.ephemeral.private.hex(),
            "kem_m": made.m.hex() if with_kem else None,
        },
        "responder": {
            "seed": BOB.identity.seed.hex(),
            "user_id": peer_id.hex(),
            "signed_prekey_private": BOB.signed.pair.private.hex(),
            "one_time_prekey_private": BOB.one_time.pair.private.hex() if with_one_time else None,
            "kem_prekey_seed": kem.seed.hex() if with_kem else None,
        },
        "bundle": described_bundle(bundle),
        "expect": described(made),
    }


def handshakes_json() -> Json:
    """``handshakes.json``."""
    return file_of(
        "PQXDH, and X3DH where there is no KEM prekey, with every value between the keys and the secret.",
        cases=named([_case(*row) for row in _cases()]),
    )
