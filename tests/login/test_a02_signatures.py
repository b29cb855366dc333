"""What is signed for one thing verifies for nothing else: by the relay's check and by the SDK's."""

import base64
import copy
import random
from collections.abc import Iterator
from typing import Any, Final

import pytest
from cryptography.exceptions import InvalidSignature as Lenient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from phantom_messenger.crypto.errors import InvalidSignature
from phantom_messenger.crypto.keys import PeerIdentity
from phantom_messenger.relay import signatures
from phantom_messenger.wire import codec, signing
from phantom_messenger.wire.codes import RequestError
from support.cases import each
from support.people import ENVELOPE, Frame, Person, base64_text, canonical, key_text
from support.vectors import vectors

ALICE: Final = Person("alice")
BOB: Final = Person("bob")
HELLO: Final = {"payload": {"challenge": base64_text(bytes(32))}}
FRAMES: Final[dict[str, Frame]] = {
    "AUTH": ALICE.auth(HELLO, "relay.test", features=["ack"]),
    "MESSAGE": ALICE.message(BOB, metadata={"a": [1, "b"]}, id="m-1"),
    "MESSAGE_MANY": ALICE.message_many([BOB, key_text("x")], heads=["QUJD"], metadata={"a": 1}, group=True),
    "KEY_EXCHANGE_INIT": ALICE.init(BOB),
    "KEY_EXCHANGE_RESPONSE": ALICE.response(BOB, oneTimePreKey=key_text("x")),
    "PREKEY_PUBLISH": ALICE.publish([1, 2], [3], last_resort=True),
    "ACCOUNT_DELETE": ALICE.account_delete(),
}


def verdicts(frame: Frame, person: Person = ALICE) -> list[bool]:
    """What the relay says of a frame's signature, and what the SDK says."""
    decoded = codec.decode_client(canonical(frame))
    key, signature = base64.b64decode(person.public_key), base64.b64decode(frame["signature"])
    text = signing.envelope_bytes(decoded.signed_text)
    [relay] = signatures.verify([(key, signature, text)])
    try:
        PeerIdentity(key).verify(signature, text)
    except InvalidSignature:
        return [relay, False]
    return [relay, True]


def is_refused(frame: Frame, person: Person = ALICE) -> bool:
    """Whether nobody takes it: it is no frame, or its signature does not hold."""
    try:
        return verdicts(frame, person) == [False, False]
    except RequestError:
        return True


@pytest.mark.parametrize("kind", FRAMES)
def test_own_signature_verifies(kind: str) -> None:
    assert verdicts(FRAMES[kind]) == [True, True]


@each("kind", FRAMES)
@each("other", FRAMES)
def test_signature_of_one_type_verifies_for_no_other(kind: str, other: str) -> None:
    moved = {**FRAMES[other], "signature": FRAMES[kind]["signature"]}
    assert is_refused(moved) == (kind != other)


SAME_PAYLOAD: Final = [("MESSAGE", "ACCOUNT_DELETE"), ("ACCOUNT_DELETE", "MESSAGE"), ("KEY_EXCHANGE_INIT", "MESSAGE")]


@pytest.mark.parametrize(("kind", "other"), SAME_PAYLOAD)
def test_same_payload_under_another_type_does_not_verify(kind: str, other: str) -> None:
    """The bytes themselves, for what no codec would let through."""
    frame = {name: value for name, value in FRAMES[kind].items() if name != "signature"}
    signature = base64.b64decode(FRAMES[kind]["signature"])
    key = base64.b64decode(ALICE.public_key)
    assert signatures.verify([(key, signature, ENVELOPE + canonical(frame))]) == [True]
    assert signatures.verify([(key, signature, ENVELOPE + canonical({**frame, "type": other}))]) == [False]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to every value in a frame that is not a part itself."""
    if isinstance(value, dict):
        for name in value:
            yield from leaves(value[name], (*path, name))
    elif isinstance(value, list) and value:
        for index in range(len(value)):
            yield from leaves(value[index], (*path, index))
    else:
        yield path


def changed(frame: Frame, path: tuple[Any, ...]) -> Frame:
    """The frame with one value changed, if possible to another that is well-formed."""
    made: Any = copy.deepcopy(frame)
    part = made
    for step in path[:-1]:
        part = part[step]
    old = part[path[-1]]
    if isinstance(old, int):
        part[path[-1]] = old + 1
    elif old == []:
        part[path[-1]] = ["x"]
    else:
        position = len(old) // 2
        letter = "B" if old[position] != "B" else "C"
        part[path[-1]] = f"{old[:position]}{letter}{old[position + 1 :]}"
    return dict(made)


CHANGES: Final = [(kind, path) for kind, frame in FRAMES.items() for path in leaves(frame) if path != ("type",)]


@each(("kind", "path"), CHANGES, ids=[f"{kind} {path}" for kind, path in CHANGES])
def test_no_value_can_be_changed(kind: str, path: tuple[Any, ...]) -> None:
    assert is_refused(changed(FRAMES[kind], path))


@pytest.mark.parametrize("kind", FRAMES)
def test_signature_of_another_person_does_not_verify(kind: str) -> None:
    assert is_refused(FRAMES[kind], BOB)


def test_most_changes_are_refused_for_the_signature_alone() -> None:
    """The control of the above: what was changed is a frame all the same."""
    well_formed = 0
    for kind, path in CHANGES:
        try:
            codec.decode_client(canonical(changed(FRAMES[kind], path)))
        except RequestError:
            continue
        well_formed += 1
    assert well_formed >= len(CHANGES) // 2


@pytest.mark.parametrize(("kind", "other"), [("MESSAGE", "ACCOUNT_DELETE")])
def test_signature_of_the_payload_alone_would_verify_for_another_type(kind: str, other: str) -> None:
    """The control: signing what the reference's example hints at."""
    payload = canonical(FRAMES[kind]["payload"])
    signature = base64.b64decode(ALICE.sign(payload))
    as_other = canonical({**FRAMES[other], "payload": FRAMES[kind]["payload"]}["payload"])
    assert signatures.verify([(base64.b64decode(ALICE.public_key), signature, as_other)]) == [True]


# --- strictness -------------------------------------------------------------------

STRICT: Final = {number: number == 3 for number in range(12)}
"""Of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020), table 5: strict is 3 and nothing else."""


@pytest.mark.parametrize("number", STRICT)
def test_relay_and_sdk_give_the_strict_verdict(number: int) -> None:
    case = vectors("ed25519-speccheck/cases.json")[number]
    key, signature, message = (bytes.fromhex(case[name]) for name in ("pub_key", "signature", "message"))
    assert signatures.verify([(key, signature, message)]) == [STRICT[number]]
    try:
        PeerIdentity(key).verify(signature, message)
    except InvalidSignature:
        assert not STRICT[number]
    else:
        assert STRICT[number]


def lenient(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (Lenient, ValueError):
        return False
    return True


def test_another_library_is_not_strict() -> None:
    """The control: these cases tell libraries apart."""
    cases = vectors("ed25519-speccheck/cases.json")
    found = [lenient(*(bytes.fromhex(case[name]) for name in ("pub_key", "signature", "message"))) for case in cases]
    assert found != list(STRICT.values())


IDENTITY: Final = bytes([1]) + bytes(31)
BASEPOINT: Final = bytes.fromhex("58" + "66" * 31)
UNIVERSAL: Final = BASEPOINT + (1).to_bytes(32, "little")
"""R = B and S = 1: under the neutral point as key it holds for whatever is signed."""


def test_universal_signature_verifies_for_none_of_a_hundred_messages() -> None:
    chance = random.Random(2)  # noqa: S311 - the same in every run
    messages = [chance.randbytes(100) for _ in range(100)]
    assert signatures.verify([(IDENTITY, UNIVERSAL, message) for message in messages]) == [False] * 100
    for message in messages:
        with pytest.raises(InvalidSignature):
            PeerIdentity(IDENTITY).verify(UNIVERSAL, message)
    assert all(lenient(IDENTITY, UNIVERSAL, message) for message in messages), "the control"
