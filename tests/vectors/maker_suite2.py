"""Makes the vectors of suite 2 that are no conversations: bundles, handshakes, bodies, sizes."""

from typing import Any, Final

import maker_points as points
from maker_base import ALICE, BOB, MALLORY, NOW, Json, drawn, encapsulated, file_of, flipped, named
from maker_talk2 import dated_bundle, responded, sha256, signed

from phantom_messenger.crypto import body, handshake2, padding, primitives
from phantom_messenger.crypto.bundle import MAX_BUNDLE_AGE_MS, MAX_BUNDLE_AHEAD_MS, DatedBundle
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair, PeerIdentity
from phantom_messenger.labels import ENVELOPE, KEM_PREKEY, SIGNED_PREKEY
from support.structs import replace

KEY, SIGNATURE, STALE = "InvalidKey", "InvalidSignature", "StaleBundle"
MESSAGE, GONE, PREKEY = "InvalidMessage", "UndecryptableMessage", "UnknownPreKey"


MALFORMED_KEM: Final = b"\xff" * 1_184

# --- handshakes -----------------------------------------------------------------------


def described_bundle(bundle: DatedBundle) -> Json:
    """A bundle in full."""
    digest = bundle.last_resort_digest
    return {
        "identity": bundle.identity.public.hex(),
        "user_id": bundle.user_id.hex(),
        "made_at": bundle.made_at,
        "signed_prekey": bundle.signed_prekey.hex(),
        "signed_prekey_id": bundle.signed_prekey_id,
        "kem_prekey": bundle.kem_prekey.hex(),
        "kem_prekey_id": bundle.kem_prekey_id,
        "kem_prekey_signature": bundle.kem_prekey_signature.hex(),
        "last_resort_digest": None if digest is None else digest.hex(),
        "last_resort_id": bundle.last_resort_id,
        "bundle_signature": bundle.signature.hex(),
        "one_time_prekey": None if bundle.one_time_prekey is None else bundle.one_time_prekey.hex(),
        "one_time_prekey_id": bundle.one_time_prekey_id,
    }


def _ids(bundle: DatedBundle, number: int) -> DatedBundle:
    changes = dict.fromkeys(("signed_prekey_id", "kem_prekey_id", "one_time_prekey_id", "last_resort_id"), number)
    return signed(BOB, replace(bundle, **changes))


def _case(name: str, description: str, bundle: DatedBundle, *, own_id: bytes = ALICE.id, newest: int = 0) -> Json:
    ephemeral = KeyPair.from_private(drawn(f"suite 2/handshakes/{name}/ephemeral", 32))
    m = drawn(f"suite 2/handshakes/{name}/KEM m", 32)
    header, agreement = handshake2.initiate(
        ALICE.identity,
        ephemeral,
        bundle,
        own_id=own_id,
        now=NOW,
        newest=newest,
        encapsulate=lambda public: encapsulated(public, m),
    )
    kem = BOB.last_resort if bundle.last_resort_digest is None else BOB.kem
    secrets = {
        "dh1": primitives.x25519(ALICE.identity.agreement_key, bundle.signed_prekey),
        "dh2": primitives.x25519(ephemeral.private, bundle.identity.agreement_key),
        "dh3": primitives.x25519(ephemeral.private, bundle.signed_prekey),
        "dh4": b"" if bundle.one_time_prekey is None else primitives.x25519(ephemeral.private, bundle.one_time_prekey),
        "ss": encapsulated(kem.public, m)[0],
    }
    ikm = b"\xff" * 32 + b"".join(secrets.values())
    info = handshake2.PQXDH_INFO + primitives.sha256(kem.public + header.kem_ciphertext)
    if primitives.hkdf(ikm, salt=bytes(32), info=info, length=32) != agreement.secret:
        raise ValueError("the description is not that of the handshake")
    return {
        "name": name,
        "description": description,
        "now": NOW,
        "newest": newest,
        "initiator": {
            "seed": ALICE.identity.seed.hex(),
            "user_id": own_id.hex(),
            "ephemeral_private": ephemeral.private.hex(),
            "kem_m": m.hex(),
        },
        "responder": {
            "seed": BOB.identity.seed.hex(),
            "user_id": bundle.user_id.hex(),
            "signed_prekey_private": BOB.signed.pair.private.hex(),
            "one_time_prekey_private": BOB.one_time.pair.private.hex() if bundle.one_time_prekey else None,
            "kem_prekey_seed": kem.seed.hex(),
        },
        "bundle": described_bundle(bundle),
        "expect": {
            "signed_bytes_sha256": sha256(bundle.signed_bytes()),
            "ephemeral_public": ephemeral.public.hex(),
            **{name: value.hex() or None for name, value in secrets.items()},
            "kem_ciphertext": header.kem_ciphertext.hex(),
            "ikm": ikm.hex(),
            "info": info.hex(),
            "sk": agreement.secret.hex(),
            "ad": agreement.associated_data.hex(),
            "header_sha256": primitives.sha256(header.encode()).hex(),
        },
    }


def _cases() -> list[Json]:
    least = dated_bundle(BOB, one_time=False, one_time_kem=False)
    ends = drawn("suite 2/short id", 16), drawn("suite 2/long id", 64)
    oldest, latest = NOW - MAX_BUNDLE_AGE_MS, NOW + MAX_BUNDLE_AHEAD_MS
    return [
        _case("one-time", "both one-time keys", dated_bundle(BOB)),
        _case("last-resort", "a one-time prekey, no one-time KEM prekey", dated_bundle(BOB, one_time_kem=False)),
        _case("no-one-time", "a one-time KEM prekey alone", dated_bundle(BOB, one_time=False)),
        _case("least", "the keys that last alone", least),
        _case("greatest-ids", "each prekey has the id 2^32-1", _ids(dated_bundle(BOB), 2**32 - 1)),
        _case("claimed-ids", "user ids of 16 and of 64 bytes", dated_bundle(BOB, user_id=ends[1]), own_id=ends[0]),
        _case("oldest", "made 90 days ago", replace_time(least, oldest)),
        _case("latest", "made one day ahead", replace_time(least, latest)),
        _case("as-before", "made when the newest one that was accepted was", least, newest=NOW),
        _case(
            "unused-last-resort",
            "the last-resort KEM prekey is malformed, which its hash does not tell, and not used",
            signed(BOB, replace(dated_bundle(BOB), last_resort_digest=primitives.sha256(MALFORMED_KEM))),
        ),
    ]


def replace_time(bundle: DatedBundle, made_at: int) -> DatedBundle:
    """The same bundle, made at another time."""
    return signed(BOB, replace(bundle, made_at=made_at))


def _initiate(name: str, description: str, error: str, bundle: DatedBundle, *, now: int = NOW, newest: int = 0) -> Json:
    return {
        "name": f"initiate-{name}",
        "operation": "initiate",
        "description": description,
        "input": {
            "initiator": ALICE.identity.seed.hex(),
            "initiator_id": ALICE.id.hex(),
            "ephemeral_private": drawn("suite 2/refused/ephemeral", 32).hex(),
            "now": now,
            "newest": newest,
            "bundle": described_bundle(bundle),
        },
        "expect": {"error": error},
    }


def _refused_bundles() -> list[Json]:
    least = dated_bundle(BOB, one_time=False, one_time_kem=False)
    whole = dated_bundle(BOB)
    kem = dated_bundle(BOB, one_time=False)
    digest = primitives.sha256(BOB.last_resort.public)
    alone = BOB.identity.sign(SIGNED_PREKEY + BOB.signed.pair.public)
    rows: list[tuple[str, str, str, DatedBundle]] = [
        ("no-signed-id", "the signed prekey has no id", KEY, signed(BOB, replace(least, signed_prekey_id=0))),
        ("no-kem-id", "the last-resort KEM prekey has no id", KEY, signed(BOB, replace(least, kem_prekey_id=0))),
        ("no-one-time-id", "the one-time prekey has no id", KEY, replace(whole, one_time_prekey_id=0)),
        ("no-one-time-kem-id", "the one-time KEM prekey has none", KEY, replace(kem, kem_prekey_id=0)),
        ("no-last-resort-id", "the hash of the last resort has none", KEY, signed(BOB, replace(kem, last_resort_id=0))),
        ("short-digest", "a hash of 31 bytes", KEY, signed(BOB, replace(kem, last_resort_digest=digest[:-1]))),
        ("long-digest", "a hash of 33 bytes", KEY, signed(BOB, replace(kem, last_resort_digest=digest + b"\0"))),
        ("digest", "one bit of the hash", SIGNATURE, replace(kem, last_resort_digest=flipped(digest, 31))),
        ("key-as-digest", "the key for its hash", KEY, replace(kem, last_resort_digest=BOB.last_resort.public)),
        ("last-resort-id", "another id of the last resort", SIGNATURE, replace(kem, last_resort_id=7)),
        (
            "no-digest",
            "a one-time KEM prekey, and no hash of the last resort",
            SIGNATURE,
            replace(kem, last_resort_digest=None, last_resort_id=0),
        ),
        (
            "signed-key",
            "a signature over the last-resort key and not its hash",
            SIGNATURE,
            signed_over_the_key(least, BOB.last_resort.public),
        ),
        ("unsigned", "a signature of zeros", SIGNATURE, replace(least, signature=bytes(64))),
        ("short-signature", "63 bytes", SIGNATURE, replace(least, signature=least.signature[:-1])),
        ("large-s", "L added to S", SIGNATURE, replace(least, signature=points.with_large_s(least.signature))),
        ("identity", "another identity", SIGNATURE, replace(least, identity=MALLORY.identity.peer)),
        ("user-id", "a bundle for another user id", SIGNATURE, replace(least, user_id=MALLORY.id)),
        ("time", "another time than was signed", SIGNATURE, replace(least, made_at=NOW - 1)),
        ("signed-prekey", "another prekey", SIGNATURE, replace(least, signed_prekey=MALLORY.signed.pair.public)),
        ("signed-id", "another id of the signed prekey", SIGNATURE, replace(least, signed_prekey_id=7)),
        ("kem-prekey", "another KEM prekey", SIGNATURE, replace(least, kem_prekey=BOB.kem.public)),
        ("kem-id", "another id of the KEM prekey", SIGNATURE, replace(least, kem_prekey_id=7)),
        ("prekey-alone", "the signature of the signed prekey alone", SIGNATURE, replace(least, signature=alone)),
        (
            "another-label",
            "the same bytes, signed as an envelope",
            SIGNATURE,
            replace(least, signature=BOB.identity.sign(ENVELOPE + least.signed_bytes())),
        ),
        (
            "one-time-kem",
            "a one-time KEM prekey of somebody else",
            SIGNATURE,
            replace(kem, kem_prekey=MALLORY.kem.public, kem_prekey_signature=MALLORY.kem.signature),
        ),
        (
            "one-time-kem-label",
            "a one-time KEM prekey signed without its label",
            SIGNATURE,
            replace(kem, kem_prekey_signature=BOB.identity.sign(BOB.kem.public)),
        ),
        ("small-prekey", "a signed prekey of small order", KEY, signed(BOB, replace(least, signed_prekey=bytes(32)))),
        ("small-one-time", "a one-time prekey of small order", KEY, replace(whole, one_time_prekey=bytes(32))),
        (
            "malformed-kem",
            "a signed last-resort KEM prekey with a coefficient of 3329",
            KEY,
            signed(BOB, replace(least, kem_prekey=b"\x01\x0d" + BOB.last_resort.public[2:])),
        ),
        (
            "malformed-one-time-kem",
            "a signed one-time KEM prekey of 0xFF",
            KEY,
            replace(
                kem,
                kem_prekey=MALFORMED_KEM,
                kem_prekey_signature=BOB.identity.sign(KEM_PREKEY + MALFORMED_KEM),
            ),
        ),
        ("old", "made 90 days and 1 ms ago", STALE, replace_time(least, NOW - MAX_BUNDLE_AGE_MS - 1)),
        ("ahead", "made one day and 1 ms ahead", STALE, replace_time(least, NOW + MAX_BUNDLE_AHEAD_MS + 1)),
    ]
    return [
        *(_initiate(*row) for row in rows),
        _initiate("earlier", "made 1 ms before the newest one that was accepted", STALE, least, newest=NOW + 1),
        _initiate("id-before-signature", "no id and a bad signature", KEY, _spoilt(least, signed_prekey_id=0)),
        _initiate("signature-before-time", "a bad signature and too old", SIGNATURE, _spoilt(least, made_at=1)),
        *(_initiate(*row) for row in [*_bundles_of_bad_keys(), *_bundles_of_two_faults()]),
    ]


def signed_over_the_key(bundle: DatedBundle, key: bytes) -> DatedBundle:
    """The bundle with a signature over the last-resort key itself."""
    start, end = bundle.signed_bytes().split(primitives.sha256(key))
    return replace(bundle, signature=BOB.identity.sign(start + key + end))


def _bundles_of_bad_keys() -> list[tuple[str, str, str, DatedBundle]]:
    """Truly signed bundles of keys that no Diffie-Hellman may be done with."""
    least = dated_bundle(BOB, one_time=False, one_time_kem=False)
    public = BOB.identity.peer.public
    mixed = points.signed_by_mixed_order(BOB.identity.seed, public, least.signed_bytes())
    high_bit = flipped(BOB.signed.pair.public, 31, 128)
    too_large = (2**255 - 19 + 9).to_bytes(32, "little")
    return [
        (
            "mixed-identity",
            "an identity outside the main group whose signature verifies all the same",
            KEY,
            replace(least, identity=PeerIdentity(points.mixed_order(public)), signature=mixed),
        ),
        (
            "non-canonical-prekey",
            "a signed prekey with the highest bit set",
            KEY,
            signed(BOB, replace(least, signed_prekey=high_bit)),
        ),
        (
            "non-canonical-one-time",
            "a one-time prekey of p + 9",
            KEY,
            replace(dated_bundle(BOB, one_time_kem=False), one_time_prekey=too_large),
        ),
        (
            "one-time-kem-unsigned",
            "a one-time KEM prekey without a signature",
            SIGNATURE,
            replace(dated_bundle(BOB, one_time=False), kem_prekey_signature=b""),
        ),
    ]


def _bundles_of_two_faults() -> list[tuple[str, str, str, DatedBundle]]:
    """The first fault in the order of the document decides."""
    kem = replace(dated_bundle(BOB, one_time=False), kem_prekey_signature=bytes(64))
    return [
        ("time-before-one-time-kem", "too old, and a one-time KEM prekey badly signed", STALE, replace_time(kem, 1)),
        (
            "one-time-kem-before-agreement",
            "a one-time KEM prekey badly signed, and a signed prekey of small order",
            SIGNATURE,
            signed(BOB, replace(kem, signed_prekey=bytes(32))),
        ),
    ]


def _spoilt(bundle: DatedBundle, **changes: Any) -> DatedBundle:
    return replace(bundle, signature=bytes(64), **changes)


def _respond(name: str, description: str, error: str, header: HandshakeHeader) -> Json:
    return {
        "name": f"respond-{name}",
        "operation": "respond",
        "description": description,
        "input": {"initiator_id": ALICE.id.hex(), "header": header.encode().hex()},
        "expect": {"error": error},
    }


def _refused_headers() -> list[Json]:
    ephemeral = KeyPair.from_private(drawn("suite 2/refused/ephemeral", 32))
    m = drawn("suite 2/refused/KEM m", 32)
    header, _ = handshake2.initiate(
        ALICE.identity,
        ephemeral,
        dated_bundle(BOB),
        own_id=ALICE.id,
        now=NOW,
        newest=0,
        encapsulate=lambda public: encapsulated(public, m),
    )
    responded(BOB, header, BOB.id, ALICE.id)
    return [
        _respond("signed-id", "an unknown signed prekey", PREKEY, replace(header, signed_prekey_id=5)),
        _respond("one-time-id", "an unknown one-time prekey", PREKEY, replace(header, one_time_prekey_id=5)),
        _respond("kem-id", "an unknown KEM prekey", PREKEY, replace(header, kem_prekey_id=5)),
        _respond("no-kem-id", "no KEM prekey", MESSAGE, replace(header, kem_prekey_id=0)),
        _respond("no-signed-id", "no signed prekey", MESSAGE, replace(header, signed_prekey_id=0)),
        _respond("small-ephemeral", "an ephemeral key of small order", KEY, replace(header, ephemeral=bytes(32))),
        _respond(
            "small-identity",
            "an identity of small order",
            KEY,
            replace(header, identity=PeerIdentity(points.NEUTRAL)),
        ),
        _respond(
            "mixed-identity",
            "an identity outside the main group",
            KEY,
            replace(header, identity=PeerIdentity(points.mixed_order(ALICE.identity.peer.public))),
        ),
        _respond(
            "off-curve-identity",
            "an identity that is no point",
            KEY,
            replace(header, identity=PeerIdentity((2).to_bytes(32, "little"))),
        ),
        _respond(
            "non-canonical-ephemeral",
            "an ephemeral key with the highest bit set",
            KEY,
            replace(header, ephemeral=flipped(header.ephemeral, 31, 128)),
        ),
        *_headers_of_other_kinds(header),
        _respond(
            "prekey-before-key",
            "an unknown signed prekey and an ephemeral key of small order",
            PREKEY,
            replace(header, signed_prekey_id=5, ephemeral=bytes(32)),
        ),
        _respond(
            "form-before-prekey",
            "no KEM prekey and an unknown signed prekey",
            MESSAGE,
            replace(header, signed_prekey_id=5, kem_prekey_id=0),
        ),
    ]


def _headers_of_other_kinds(header: HandshakeHeader) -> list[Json]:
    """Ids that Bob's prekeys have, but not those of that kind."""
    signed_id, one_time_id, kem_id = header.signed_prekey_id, header.one_time_prekey_id, header.kem_prekey_id
    return [
        _respond(
            "one-time-as-signed", "the one-time prekey as signed", PREKEY, replace(header, signed_prekey_id=one_time_id)
        ),
        _respond(
            "signed-as-one-time", "the signed prekey as one-time", PREKEY, replace(header, one_time_prekey_id=signed_id)
        ),
        _respond("kem-as-one-time", "the KEM prekey as one-time", PREKEY, replace(header, one_time_prekey_id=kem_id)),
        _respond(
            "one-time-as-kem", "the one-time prekey as KEM prekey", PREKEY, replace(header, kem_prekey_id=one_time_id)
        ),
    ]


def suite2_handshakes_json() -> Json:
    """``suite2-handshakes.json``."""
    return file_of(
        "Dated bundles and handshakes of suite 2, with every value between the keys and the secret; "
        "bundles and headers that must be refused.",
        cases=named(_cases()),
        refused=named([*_refused_bundles(), *_refused_headers()]),
    )


# --- bodies -----------------------------------------------------------------------------


def _body(name: str, description: str, content: bytes) -> Json:
    key = drawn(f"suite 2/bodies/{name}/key", 32)
    made = body.seal(padding.pad(content, most=body.MAX_PADDED), key)
    commitment, body_key = body._derive(key)
    return {
        "name": name,
        "description": description,
        "content": content.hex(),
        "key": key.hex(),
        "expect": {"commitment": commitment.hex(), "body_key": body_key.hex(), "body": made.hex()},
    }


def _refused_body(name: str, description: str, error: str, changed: bytes, key: bytes) -> Json:
    return {
        "name": name,
        "operation": "open-body",
        "description": description,
        "input": {"body": changed.hex(), "key": key.hex()},
        "expect": {"error": error},
    }


def _refused_bodies() -> list[Json]:
    key = drawn("suite 2/bodies/refused/key", 32)
    other = drawn("suite 2/bodies/refused/other key", 32)
    made = body.seal(padding.pad(b"text"), key)
    elsewhere = body.seal(padding.pad(b"text"), other)
    odd, large = _three_classes(key), _of_any_size(padding.pad(b"text").ljust(body.MAX_PADDED + 256, b"\0"), key)
    rows = [
        ("another-key", "the key of another body", GONE, elsewhere),
        ("commitment", "one bit of the commitment", GONE, flipped(made, 1)),
        ("another-commitment", "the commitment of another key", GONE, made[:1] + elsewhere[1:33] + made[33:]),
        ("ciphertext", "one bit of the ciphertext", GONE, flipped(made, 33)),
        ("tag", "one bit of the tag", GONE, flipped(made, 304)),
        ("suite", "suite 1", MESSAGE, b"\1" + made[1:]),
        ("zeros", "a byte at the end that is not zero", MESSAGE, made[:-1] + b"\1"),
        ("no-zeros", "without the zero at the end", MESSAGE, made[:-1]),
        ("more-zeros", "three zeros more", MESSAGE, made + bytes(3)),
        ("cut", "three bytes less", MESSAGE, made[:-3]),
        ("no-content", "a body without content", MESSAGE, made[:51]),
        ("empty", "no bytes", MESSAGE, b""),
        ("two-zeros-first", "the first of two bytes at the end is not zero", MESSAGE, flipped(odd, 817)),
        ("two-zeros-second", "the second is not", MESSAGE, flipped(odd, 818)),
        ("one-of-two-zeros", "one zero of two", MESSAGE, odd[:-1]),
        ("two-zeros-one-more", "three of two", MESSAGE, odd + bytes(1)),
        ("too-large", "44,800 bytes of padded content", MESSAGE, large),
    ]
    return [_refused_body(*row, key) for row in rows]


def _control_body() -> Json:
    """A size that clients do not write, and that is read."""
    key = drawn("suite 2/bodies/refused/key", 32)
    case = _refused_body("three-classes", "768 bytes of padded content, and two zeros", "", _three_classes(key), key)
    return {**case, "expect": {"accepted": True}}


def _three_classes(key: bytes) -> bytes:
    return body.seal(padding.pad(b"t" * 512)[:768], key)


def _of_any_size(padded: bytes, key: bytes) -> bytes:
    """A body that is too large, and authentic."""
    commitment, body_key = body._derive(key)
    prefix = b"" + commitment
    made = prefix + primitives.seal(body_key, bytes(12), padded, prefix)
    return made + bytes(-len(made) % 3)


LENGTHS: Final = (0, 255, 256, 511, 512, 16_383, 16_384, 32_767, 32_768, 40_000, 44_543)


def _length(length: int) -> Json:
    padded = padding.pad(b"a" * length, most=body.MAX_PADDED)
    return {
        "name": f"length-{length}",
        "description": "a content of this length",
        "length": length,
        "expect": {"padded_length": len(padded), "padded_sha256": sha256(padded)},
    }


def suite2_bodies_json() -> Json:
    """``suite2-bodies.json``."""
    too_long = {
        "name": "too-long",
        "operation": "pad",
        "description": "one byte more than fits",
        "input": {"length": body.MAX_PADDED},
        "expect": {"error": "TooLong"},
    }
    return file_of(
        "Bodies of suite 2, the sizes to which contents are padded, and what must be refused.",
        bodies=named(
            [
                _body("empty", "no content", b""),
                _body("short", "a short content", b"text"),
                _body("full", "255 bytes: the mark is the last byte", b"f" * 255),
                _body("two-classes", "256 bytes: the next size", b"t" * 256),
            ]
        ),
        lengths=named([_length(length) for length in LENGTHS]),
        refused=named([*_refused_bodies(), too_long]),
        controls=[_control_body()],
    )
