"""Makes the refusals of keys and signatures."""

from typing import Any

import maker_points as points
from maker_base import ALICE, BOB, MALLORY, Json, described_bundle, drawn, flipped
from maker_handshakes import begun

from phantom_messenger.crypto.keys import KeyPair, PeerIdentity
from phantom_messenger.crypto.prekeys import PreKeyBundle
from phantom_messenger.labels import ENVELOPE, KEM_PREKEY, SIGNED_PREKEY
from support.structs import replace

KEY, SIGNATURE, MESSAGE, PREKEY = "InvalidKey", "InvalidSignature", "InvalidMessage", "UnknownPreKey"
BUNDLE = BOB.bundle(kem=None)
"""Without a KEM prekey, for most cases are not about it and it is long."""

PUBLIC = BOB.identity.peer.public
NON_CANONICAL = (
    ("the highest bit is set, which RFC 7748 would ignore", flipped(BOB.signed.pair.public, 31, 128)),
    ("p + 9, which RFC 7748 would take as the base point", (points.P + 9).to_bytes(32, "little")),
    ("2^255 - 1, the greatest without the highest bit", (2**255 - 1).to_bytes(32, "little")),
)
"""X25519 keys that would be usable, but have another encoding."""

TEXT = ENVELOPE + b'{"payload":{},"timestamp":1770000000000,"type":"ACCOUNT_DELETE"}'


def case(name: str, operation: str, description: str, error: str | None, **given: Any) -> Json:
    """One input; without an error it is a control, which must be accepted."""
    expect: Json = {"accepted": True} if error is None else {"error": error}
    return {"name": name, "operation": operation, "description": description, "input": given, "expect": expect}


def _verify(name: str, description: str, error: str | None, signature: bytes, **changes: bytes) -> Json:
    given = {"public": PUBLIC, "signed_bytes": TEXT, **changes}
    texts = {key: value.hex() for key, value in given.items()}
    return case(f"verify-{name}", "verify", description, error, **texts, signature=signature.hex())


def signatures() -> list[Json]:
    """Of ``verify``."""
    good = BOB.identity.sign(TEXT)
    seed = BOB.identity.seed
    prekey = BOB.signed.pair.public
    rows = [
        _verify("good", "a true signature", None, good),
        _verify("large-s", "L added to S", SIGNATURE, points.with_large_s(good)),
        _verify("small-r", "R is the neutral point", SIGNATURE, points.with_small_r(seed, PUBLIC, TEXT)),
        _verify(
            "non-canonical-r",
            "R is the neutral point, written as y = p + 1",
            SIGNATURE,
            points.with_small_r(seed, PUBLIC, TEXT, (points.P + 1).to_bytes(32, "little")),
        ),
        _verify("another-text", "the signature of another text", SIGNATURE, BOB.identity.sign(TEXT + b" ")),
        _verify("another-key", "another's signature", SIGNATURE, MALLORY.identity.sign(TEXT)),
        _verify("no-label", "a signature of the text without its label", SIGNATURE, BOB.identity.sign(TEXT[19:])),
        _verify("short", "a signature of 63 bytes", SIGNATURE, good[:-1]),
        _verify("long", "a signature of 65 bytes", SIGNATURE, good + b"\0"),
        _verify("empty", "no signature", SIGNATURE, b""),
        _verify("zeros", "a signature of zeros", SIGNATURE, bytes(64)),
        _verify("flipped-r", "one bit of R", SIGNATURE, flipped(good, 0)),
        _verify("flipped-s", "one bit of S", SIGNATURE, flipped(good, 32)),
        _verify("flipped-text", "one bit of the text", SIGNATURE, good, signed_bytes=flipped(TEXT, 30)),
        _verify("flipped-key", "one bit of the key", SIGNATURE, good, public=flipped(PUBLIC, 31, 0x80)),
        _verify("short-key", "a key of 31 bytes", SIGNATURE, good, public=PUBLIC[:-1]),
        _verify(
            "long-key", "a key of 33 bytes, the first of the signed text", SIGNATURE, good, public=PUBLIC + TEXT[:1]
        ),
    ]
    labels = {"envelope": ENVELOPE, "signed-prekey": SIGNED_PREKEY, "kem-prekey": KEM_PREKEY}
    rows += [
        _verify(
            f"{own}-as-{other}",
            f"signed as {own}, checked as {other}",
            SIGNATURE,
            BOB.identity.sign(label + prekey),
            signed_bytes=other_label + prekey,
        )
        for own, label in labels.items()
        for other, other_label in labels.items()
        if own != other
    ]
    rows += [
        _verify(
            f"small-key-{number}",
            "a key of small order; R is the neutral point, S is 0, and the equation of Ed25519 holds",
            SIGNATURE,
            points.NEUTRAL + bytes(32),
            public=public,
            signed_bytes=points.text_for_small_key(
                public, (TEXT.replace(b"17", b"%d" % count) for count in range(10, 1000))
            ),
        )
        for number, public in enumerate(points.SMALL_ED25519)
    ]
    return rows


def bare_keys() -> list[Json]:
    """Of ``x25519`` and ``agreement-key``."""
    private = drawn("refused/x25519", 32).hex()
    good = BOB.signed.pair.public
    x25519 = [
        case("x25519-good", "x25519", "a usable key", None, private=private, public=good.hex()),
        case("x25519-short", "x25519", "31 bytes", KEY, private=private, public=good[:-1].hex()),
        case("x25519-long", "x25519", "33 bytes", KEY, private=private, public=good.hex() + "00"),
        case("x25519-empty", "x25519", "no bytes", KEY, private=private, public=""),
        *(
            case(f"x25519-non-canonical-{number}", "x25519", description, KEY, private=private, public=public.hex())
            for number, (description, public) in enumerate(NON_CANONICAL)
        ),
        *(
            case(
                f"x25519-small-{number}", "x25519", "a point of small order", KEY, private=private, public=public.hex()
            )
            for number, public in enumerate(points.SMALL_X25519)
        ),
    ]
    off_curve = (2).to_bytes(32, "little")
    rows = [
        ("good", "a usable key", None, PUBLIC),
        ("mixed-order", "a usable key plus a point of order 8", KEY, points.mixed_order(PUBLIC)),
        ("off-curve", "y = 2, which is on no point", KEY, off_curve),
        (
            "non-canonical",
            "y = p + 3, which stands for a point of large order",
            KEY,
            (points.P + 3).to_bytes(32, "little"),
        ),
        ("short", "31 bytes", KEY, PUBLIC[:-1]),
        ("long", "33 bytes", KEY, PUBLIC + b"\0"),
        ("empty", "no bytes", KEY, b""),
        *((f"small-{number}", "a point of small order", KEY, key) for number, key in enumerate(points.SMALL_ED25519)),
    ]
    return x25519 + [
        case(f"agreement-key-{name}", "agreement-key", f"the X25519 image of {description}", error, public=public.hex())
        for name, description, error, public in rows
    ]


def _resigned(key: bytes, *, label: bytes = SIGNED_PREKEY) -> PreKeyBundle:
    """Bob's bundle with this signed prekey, truly signed."""
    return replace(BUNDLE, signed_prekey=key, signed_prekey_signature=BOB.identity.sign(label + key))


def _with_kem(key: bytes, signature: bytes | None = None) -> PreKeyBundle:
    """Bob's bundle with this KEM prekey, truly signed if no signature is given."""
    signature = BOB.identity.sign(KEM_PREKEY + key) if signature is None else signature
    return replace(BUNDLE, kem_prekey=key, kem_prekey_signature=signature, kem_prekey_id=BOB.kem.id)


def _mixed_bundle() -> PreKeyBundle:
    key = BOB.signed.pair.public
    return replace(
        BUNDLE,
        identity=PeerIdentity(points.mixed_order(PUBLIC)),
        signed_prekey_signature=points.signed_by_mixed_order(BOB.identity.seed, PUBLIC, SIGNED_PREKEY + key),
    )


def _small_bundle() -> PreKeyBundle:
    prekeys = (KeyPair.from_private(drawn(f"refused/prekey {count}", 32)).public for count in range(1_000))
    text = points.text_for_small_key(points.ORDER_8, (SIGNED_PREKEY + prekey for prekey in prekeys))
    return replace(
        BUNDLE,
        identity=PeerIdentity(points.ORDER_8),
        signed_prekey=text.removeprefix(SIGNED_PREKEY),
        signed_prekey_signature=points.NEUTRAL + bytes(32),
    )


def _initiate(name: str, description: str, error: str | None, bundle: PreKeyBundle) -> Json:
    return case(
        f"initiate-{name}",
        "initiate",
        description,
        error,
        initiator="alice",
        responder_id=BOB.id.hex(),
        ephemeral_private=drawn("refused/ephemeral", 32).hex(),
        bundle=described_bundle(bundle),
    )


def badly_signed_bundles() -> list[Json]:
    """Of ``initiate``: the signature of the signed prekey."""
    return [
        _initiate(
            "unsigned", "no signature of the signed prekey", SIGNATURE, replace(BUNDLE, signed_prekey_signature=b"")
        ),
        _initiate(
            "signed-by-another",
            "Mallory's signature",
            SIGNATURE,
            replace(BUNDLE, signed_prekey_signature=MALLORY.identity.sign(SIGNED_PREKEY + BUNDLE.signed_prekey)),
        ),
        _initiate(
            "signed-as-kem",
            "the signed prekey signed as a KEM prekey",
            SIGNATURE,
            _resigned(BUNDLE.signed_prekey, label=KEM_PREKEY),
        ),
        _initiate(
            "signed-as-envelope",
            "the signed prekey signed as an envelope",
            SIGNATURE,
            _resigned(BUNDLE.signed_prekey, label=ENVELOPE),
        ),
        _initiate(
            "another-prekey",
            "Bob's signature of another prekey",
            SIGNATURE,
            replace(BUNDLE, signed_prekey=BOB.one_time.pair.public),
        ),
        _initiate(
            "another-identity",
            "Mallory's key, Bob's signatures",
            SIGNATURE,
            replace(BUNDLE, identity=MALLORY.identity.peer),
        ),
        _initiate(
            "small-identity",
            "an identity key of small order under which the equation of Ed25519 holds",
            SIGNATURE,
            _small_bundle(),
        ),
    ]


def bundles_of_bad_keys() -> list[Json]:
    """Of ``initiate``: X25519 and identity keys."""
    small = points.SMALL_X25519
    return [
        _initiate("good", "a bundle in order, classical", None, BUNDLE),
        _initiate(
            "mixed-identity",
            "an identity key outside the main group whose signature verifies all the same",
            KEY,
            _mixed_bundle(),
        ),
        _initiate("small-signed-prekey", "a signed prekey of small order, truly signed", KEY, _resigned(small[0])),
        _initiate(
            "small-one-time-prekey", "a one-time prekey of small order", KEY, replace(BUNDLE, one_time_prekey=small[2])
        ),
        _initiate(
            "non-canonical-signed-prekey",
            "a signed prekey with the highest bit set, truly signed",
            KEY,
            _resigned(NON_CANONICAL[0][1]),
        ),
        _initiate(
            "non-canonical-one-time-prekey",
            "a one-time prekey of p + 9",
            KEY,
            replace(BUNDLE, one_time_prekey=NON_CANONICAL[1][1]),
        ),
        _initiate(
            "short-signed-prekey",
            "a signed prekey of 31 bytes, truly signed",
            KEY,
            _resigned(BUNDLE.signed_prekey[:-1]),
        ),
        _initiate(
            "long-signed-prekey",
            "a signed prekey of 33 bytes, truly signed",
            KEY,
            _resigned(BUNDLE.signed_prekey + b"\0"),
        ),
        _initiate(
            "short-one-time-prekey", "a one-time prekey of 31 bytes", KEY, replace(BUNDLE, one_time_prekey=bytes(31))
        ),
    ]


def kem_bundles() -> list[Json]:
    """Of ``initiate``: the KEM prekey."""
    kem = BOB.kem.public
    return [
        _initiate("good-kem", "a bundle in order, with a KEM prekey", None, _with_kem(kem)),
        _initiate("kem-unsigned", "no signature of the KEM prekey", SIGNATURE, _with_kem(kem, b"")),
        _initiate(
            "kem-signed-as-prekey",
            "the KEM prekey signed as a signed prekey",
            SIGNATURE,
            _with_kem(kem, BOB.identity.sign(SIGNED_PREKEY + kem)),
        ),
        _initiate(
            "kem-signed-by-another",
            "Mallory's signature",
            SIGNATURE,
            _with_kem(kem, MALLORY.identity.sign(KEM_PREKEY + kem)),
        ),
        _initiate(
            "kem-unsigned-and-unused",
            "the KEM prekey has no id, so it is not used, but its signature is checked",
            SIGNATURE,
            replace(_with_kem(kem, bytes(64)), kem_prekey_id=0),
        ),
        _initiate("kem-short", "a KEM prekey of 1,183 bytes, truly signed", KEY, _with_kem(kem[:-1])),
        _initiate("kem-long", "a KEM prekey of 1,185 bytes, truly signed", KEY, _with_kem(kem + b"\0")),
        _initiate(
            "kem-unreduced",
            "a coefficient of the KEM prekey is 3,329 or more (FIPS 203, section 7.2), truly signed",
            KEY,
            _with_kem(b"\xff\xff\xff" + kem[3:]),
        ),
    ]


def headers() -> list[Json]:
    """Of ``respond``."""
    made = begun("refused/respond", BOB.bundle())
    plain = begun("refused/respond", BOB.bundle(kem=None))
    good, classical = made.header.encode(), plain.header.encode()

    def given(header: bytes, *, kem: bool = False, **others: str) -> Json:
        return {"responder": "bob", "initiator_id": ALICE.id.hex(), "has_kem": kem, "header": header.hex(), **others}

    def with_key(key: bytes, place: int) -> bytes:
        return classical[:place] + key + classical[place + 32 :]

    rows: list[tuple[str, str, str | None, Json]] = [
        ("good", "with a KEM ciphertext", None, given(good, kem=True)),
        ("good-classical", "without one", None, given(classical)),
        ("mixed-identity", "IK_A outside the main group", KEY, given(with_key(points.mixed_order(classical[:32]), 0))),
        ("off-curve-identity", "IK_A is no point", KEY, given(with_key((2).to_bytes(32, "little"), 0))),
        *(
            (f"small-identity-{number}", "IK_A has small order", KEY, given(with_key(key, 0)))
            for number, key in enumerate(points.SMALL_ED25519[:6])
        ),
        *(
            (f"small-ephemeral-{number}", "EK_A has small order", KEY, given(with_key(key, 32)))
            for number, key in enumerate(points.SMALL_X25519[:6])
        ),
        ("non-canonical-ephemeral", "EK_A has its highest bit set", KEY, given(flipped(classical, 63, 128))),
        ("unknown-signed", "a signed prekey that Bob does not have", PREKEY, given(flipped(classical, 67))),
        ("unknown-one-time", "a one-time prekey that Bob does not have", PREKEY, given(flipped(classical, 71))),
        ("unknown-kem", "a KEM prekey that Bob does not have", PREKEY, given(flipped(good, 75, 4), kem=True)),
        ("no-signed", "no signed prekey: its id is 0", PREKEY, given(classical[:64] + bytes(4) + classical[68:])),
        ("kem-id-alone", "the id of a KEM prekey without a ciphertext", MESSAGE, given(good[:76])),
        (
            "ciphertext-alone",
            "a KEM ciphertext without an id",
            MESSAGE,
            given(good[:72] + bytes(4) + good[76:], kem=True),
        ),
        ("cut-in-keys", "cut off in EK_A", MESSAGE, given(good[:40], kem=True)),
        ("cut-in-ids", "cut off in the ids", MESSAGE, given(classical[:-1])),
        ("cut-in-ciphertext", "cut off in the KEM ciphertext", MESSAGE, given(good[:-1], kem=True)),
        ("empty", "no bytes", MESSAGE, given(b"")),
    ]
    return [case(f"respond-{name}", "respond", text, error, **values) for name, text, error, values in rows]
