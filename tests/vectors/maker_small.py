"""Makes the small files: user ids, prekeys, padding, safety numbers."""

import hashlib
from typing import Any, Final

from maker_base import ALICE, BOB, MALLORY, PEOPLE, Json, Person, described_person, drawn, file_of, named
from maker_wire import b64

from phantom_messenger import labels
from phantom_messenger.client.conversations import conversation_id
from phantom_messenger.client.ids import written_id
from phantom_messenger.crypto import padding
from phantom_messenger.crypto.keys import OwnIdentity
from phantom_messenger.crypto.safety import grouped, safety_number
from phantom_messenger.wire import signing

LIBSIGNAL: Final = (
    ("0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868", b"+14152222222"),
    ("05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b", b"+14153333333"),
)
"""Keys and ids of libsignal's own tests of its fingerprints, version 0."""

BECH32: Final = "ph1ve7ysvqe4dzay9aws9nsuqfnwke7s243tqwhaqpgnr4env45guqqqjsaxs"
"""Alice's id with the checksum of BIP 173."""


def user_ids_json() -> Json:
    """``user-ids.json``."""
    seeds = {
        "zeros": (bytes(32), "a seed of zeros"),
        "ones": (b"\xff" * 32, "a seed of 0xFF"),
        "counting": (bytes(range(32)), "00 01 02 ...: the worked example of phantom.md"),
        **{one.name: (one.identity.seed, f"{one.name} of prekeys.json") for one in PEOPLE.values()},
        **{f"drawn-{number}": (drawn(f"user ids/{number}", 32), "drawn from the seed") for number in range(4)},
    }
    pairs = [(ALICE.id, BOB.id), (BOB.id, ALICE.id), (ALICE.id, MALLORY.id), (bytes(16), b"\xff" * 64)]
    return file_of(
        "Identities: from the seed to both public keys and the user id; and the conversation ids of two users.",
        identities=named([_identity(name, seed, description) for name, (seed, description) in seeds.items()]),
        conversations=named(
            [
                {
                    "name": f"pair-{number}",
                    "description": "claimed ids of 16 and 64 bytes" if number == len(pairs) - 1 else "certified ids",
                    "ids": [one.hex(), other.hex()],
                    "expect": {"conversation_id": conversation_id(b64(one), b64(other))},
                }
                for number, (one, other) in enumerate(pairs)
            ]
        ),
    )


def _identity(name: str, seed: bytes, description: str) -> Json:
    identity = OwnIdentity(seed)
    return {
        "name": name,
        "description": description,
        "seed": seed.hex(),
        "expect": {
            "public": identity.peer.public.hex(),
            "x25519_private": identity.agreement_key.hex(),
            "x25519_public": identity.peer.agreement_key.hex(),
            "hashed": (labels.USER_ID + identity.peer.public).hex(),
            "user_id": identity.peer.user_id.hex(),
            "user_id_base64": signing.certified_user_id(identity.peer.public),
        },
    }


def written_ids_json() -> Json:
    """``written-ids.json``."""
    raws = {
        "zeros": bytes(32),
        "ones": b"\xff" * 32,
        "alice": ALICE.id,
        "bob": BOB.id,
        "drawn": drawn("written ids", 32),
    }
    good = written_id(b64(ALICE.id))
    other = {"q": "p"}.get(good[20], "q")
    wrong = {
        "one-character": (good[:20] + other + good[21:], "one character is another one"),
        "swapped": (good[:3] + good[4] + good[3] + good[5:], "two neighbours are swapped"),
        "missing": (good[:-1], "the last character is missing"),
        "doubled": (good + good[-1], "the last character stands there twice"),
        "both-cases": (good[:-1] + good[-1].upper(), "small and capital letters"),
        "no-character": (good[:30] + "b" + good[31:], "a letter that bech32m has not"),
        "bech32": (BECH32, "the same bytes with the checksum of BIP 173, not that of BIP 350"),
    }
    return file_of(
        "User ids as people copy them (bech32m, BIP 350), and such as must be refused.",
        written=named(
            [
                {
                    "name": name,
                    "description": "32 bytes",
                    "user_id": raw.hex(),
                    "expect": {"written": written_id(b64(raw))},
                }
                for name, raw in raws.items()
            ]
        ),
        mistaken=named(
            [
                {"name": name, "description": description, "written": text, "expect": {"accepted": False}}
                for name, (text, description) in wrong.items()
            ]
        ),
    )


def prekeys_json() -> Json:
    """``prekeys.json``."""
    return file_of(
        "The people of the other files, with their keys, secrets too, and what their prekeys are signed with.",
        people=[
            {"name": one.name, "description": description, "expect": described_person(one)}
            for one, description in (
                (ALICE, "small prekey ids"),
                (BOB, "prekey ids as the SDK counts them, from the seconds since 1970"),
                (MALLORY, "the least prekey ids"),
            )
        ],
    )


PADDED_LENGTHS: Final = (0, 1, 254, 255, 256, 511, 512, 1023, 1024, 2048, 4095, 16_384, 32_767, 32_768, 44_798, 44_799)


def padding_json() -> Json:
    """``padding.json``."""
    contents = {
        "empty": (b"", "no content at all"),
        "text": (b"hello", "five bytes"),
        "ends-like-padding": (b"hello\x80", "content that ends in the mark"),
        "ends-like-padded": (b"hello\x80\x00\x00", "content that ends like something padded"),
        "zeros": (bytes(9), "content of zeros"),
        "marks": (b"\x80" * 255, "content of marks that just fits"),
    }
    cases: list[dict[str, Any]] = [
        {
            "name": name,
            "description": description,
            "content": content.hex(),
            "expect": {"padded": padding.pad(content).hex()},
        }
        for name, (content, description) in contents.items()
    ]
    sizes: list[dict[str, Any]] = [
        {
            "name": f"length-{length}",
            "description": "as many bytes 0x61 as `length` says",
            "length": length,
            "expect": {"padded_length": len(padded), "padded_sha256": hashlib.sha256(padded).hexdigest()},
        }
        for length in PADDED_LENGTHS
        for padded in [padding.pad(b"a" * length)]
    ]
    return file_of("Padding (ISO/IEC 7816-4) to few sizes.", contents=named(cases), lengths=named(sizes))


def safety_numbers_json() -> Json:
    """``safety-numbers.json``."""
    (one_key, _), (other_key, _) = LIBSIGNAL
    people = ((ALICE, BOB), (BOB, ALICE), (ALICE, MALLORY), (BOB, MALLORY), (ALICE, ALICE))
    return file_of(
        "Safety numbers: 60 digits, the same for both sides.",
        cases=named(
            [
                _safety_case("libsignal", "published with libsignal, fingerprint version 0", *LIBSIGNAL),
                *(
                    _safety_case(f"{one.name}-{other.name}", "Ed25519 keys and certified ids", _end(one), _end(other))
                    for one, other in people
                ),
                _safety_case(
                    "claimed-ids", "ids of 16 and 64 bytes", (one_key[2:], bytes(16)), (other_key[2:], b"\xff" * 64)
                ),
            ]
        ),
    )


def _end(one: Person) -> tuple[str, bytes]:
    return one.identity.peer.public.hex(), one.id


def _safety_case(name: str, description: str, own: tuple[str, bytes], peer: tuple[str, bytes]) -> Json:
    digits = safety_number(bytes.fromhex(own[0]), own[1], bytes.fromhex(peer[0]), peer[1])
    return {
        "name": name,
        "description": description,
        "own": {"key": own[0], "id": own[1].hex()},
        "peer": {"key": peer[0], "id": peer[1].hex()},
        "expect": {"digits": digits, "shown": grouped(digits)},
    }
