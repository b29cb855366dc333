import base64
import hashlib
import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import wire_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from wire_samples import dotted, found, members, replaced, without

from phantom_messenger import labels
from phantom_messenger.wire import frames, signing
from phantom_messenger.wire.canonical import canonical
from phantom_messenger.wire.codec import decode_client, encode, signed_text
from phantom_messenger.wire.codes import RequestError

SIGNED: dict[str, Any] = {
    f"{name}-{size}": rows[name]
    for size, rows in (("full", samples.FULL_CLIENT), ("least", samples.LEAST_CLIENT))
    for name in (
        "AUTH",
        "ACCOUNT_DELETE",
        "KEY_EXCHANGE_INIT",
        "KEY_EXCHANGE_RESPONSE",
        "PREKEY_PUBLISH",
        "MESSAGE",
    )
}
EVERY = pytest.mark.parametrize("frame", SIGNED.values(), ids=SIGNED.keys())
PURPOSES = [labels.ENVELOPE, labels.SIGNED_PREKEY, labels.KEM_PREKEY, labels.PREKEY_BUNDLE, labels.USER_ID]


# --- purposes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (signing.envelope_bytes(b'{"a":1}'), b'phantom/1 envelope\n{"a":1}'),
        (signing.signed_prekey_bytes(b"\x01" * 32), b"phantom/1 signed-prekey\n" + b"\x01" * 32),
        (signing.kem_prekey_bytes(b"\x02" * 1184), b"phantom/1 kem-prekey\n" + b"\x02" * 1184),
        (
            labels.prekey_bundle(
                made_at=0x0102030405060708,
                signed_id=0x090A0B0C,
                signed_prekey=b"\x0d" * 32,
                kem_id=0x0E0F1011,
                kem_digest=b"\x12" * 32,
                user_id=b"\x13" * 20,
            ),
            b"phantom/1 prekey-bundle 2\n"
            + bytes.fromhex("0102030405060708 090a0b0c" + "0d" * 32 + "0e0f1011" + "12" * 32 + "0014" + "13" * 20),
        ),
    ],
)
def test_signed_bytes_are_the_purpose_and_then_the_content(made: bytes, expected: bytes) -> None:
    assert made == expected


@pytest.mark.parametrize("purpose", PURPOSES)
def test_no_purpose_begins_like_another(purpose: bytes) -> None:
    assert [other for other in PURPOSES if other.startswith(purpose)] == [purpose]


@pytest.mark.parametrize("purpose", PURPOSES)
def test_purpose_is_one_line_with_the_version(purpose: bytes) -> None:
    assert purpose.startswith(b"phantom/1 ")
    assert purpose.index(b"\n") == len(purpose) - 1


@given(st.binary(), st.binary())
def test_one_content_is_signed_differently_for_each_purpose(one: bytes, other: bytes) -> None:
    made = {
        make(content)
        for content in (one, other)
        for make in (signing.envelope_bytes, signing.signed_prekey_bytes, signing.kem_prekey_bytes)
    }
    assert len(made) == 3 * len({one, other})


def test_certified_user_id_is_the_hash_of_purpose_and_key() -> None:
    key = bytes(range(32))
    assert signing.certified_user_id(key) == "6EOrhmM062kY1TSb3wlq18qIjuNzhi3/Ya+6IEDYt70="
    digest = hashlib.sha256(b"phantom/1 user-id\n" + key).digest()
    assert base64.b64decode(signing.certified_user_id(key), validate=True) == digest


def test_certified_user_id_is_accepted_in_a_frame() -> None:
    user_id = signing.certified_user_id(bytes(32))
    payload = msgspec.structs.replace(samples.AUTH.payload, user_id=user_id)
    frame = msgspec.structs.replace(samples.AUTH, payload=payload)
    assert decode_client(encode(frame)).frame == frame


@pytest.mark.parametrize("bit", [0, 7, 8, 255])
def test_another_key_certifies_another_user_id(bit: int) -> None:
    changed = (1 << bit).to_bytes(32)
    assert signing.certified_user_id(changed) != signing.certified_user_id(bytes(32))


# --- the text under a signature ---------------------------------------------------


@EVERY
def test_signed_text_is_the_canonical_envelope_without_its_signature(frame: frames.SignedFrame) -> None:
    envelope = samples.as_json(frame)
    envelope.pop("signature", None)
    assert signed_text(frame) == canonical(envelope)
    assert decode_client(encode(frame)).signed_text == canonical(envelope)


@EVERY
def test_signed_text_has_type_payload_timestamp_and_id(frame: frames.SignedFrame) -> None:
    names = {"type", "payload", "timestamp"} | (set() if frame.id is UNSET else {"id"})
    assert set(json.loads(signed_text(frame))) == names


@EVERY
def test_signature_itself_is_not_signed(frame: frames.SignedFrame) -> None:
    other = msgspec.structs.replace(frame, signature=samples.base64_of(64, seed=99))
    assert encode(other) != encode(frame)
    assert signed_text(other) == signed_text(frame)


def test_signature_inside_the_payload_is_signed() -> None:
    frame = samples.KEY_EXCHANGE_INIT
    text = signed_text(frame)
    assert samples.PREKEY_SIGNATURE.encode() in text
    assert samples.SIGNATURE.encode() not in text


@st.composite
def other_forms(draw: st.DrawFn) -> tuple[frames.ClientFrame, bytes]:
    """A signed frame, and its JSON with names, white space and escapes written otherwise."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shuffled(value[name]) for name in draw(st.permutations(list(value)))}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    frame = draw(st.sampled_from(list(SIGNED.values())))
    gaps = st.sampled_from(["", " ", "\t", "\r\n", "   "])
    text = json.dumps(
        shuffled(samples.as_json(frame)),
        indent=draw(st.none() | st.integers(0, 3)),
        separators=(draw(gaps) + "," + draw(gaps), draw(gaps) + ":" + draw(gaps)),
    )
    if draw(st.booleans()):
        text = text.replace("/", "\\/").replace("o", "\\u006f")
    return frame, (draw(gaps) + text + draw(gaps)).encode()


@given(other_forms())
@settings(max_examples=200)
def test_order_of_names_and_white_space_do_not_change_the_signed_text(
    case: tuple[frames.ClientFrame, bytes],
) -> None:
    frame, text = case
    assert decode_client(text).signed_text == signed_text(frame)


def leaves(frame: frames.SignedFrame) -> list[samples.Path]:
    """Where the values stand that a signature covers."""
    value = samples.as_json(frame)
    inside = [path for path, member in members(value) if not isinstance(member, dict | list)]
    return [path for path in inside if path not in {("signature",), ("type",)}]


def one_bit_off(value: str | int) -> str | int:
    """Another value that is as valid."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value ^ 8
    if value.endswith("="):
        raw = bytearray(base64.b64decode(value))
        raw[0] ^= 1
        return base64.b64encode(raw).decode()
    return chr(ord(value[0]) ^ 1) + value[1:]


@pytest.mark.parametrize(
    ("frame", "path"),
    [
        pytest.param(frame, path, id=f"{name}-{dotted(path)}")
        for name, frame in SIGNED.items()
        for path in leaves(frame)
    ],
)
def test_value_one_bit_off_changes_the_signed_text(frame: frames.SignedFrame, path: samples.Path) -> None:
    value = samples.as_json(frame)
    changed = replaced(value, path, one_bit_off(found(value, path)))
    assert decode_client(canonical(changed)).signed_text != signed_text(frame)


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        (("burnAfterRead",), False),
        (("expiresIn",), 60_001),
        (("x", 0, "y"), "{"),
        (("x", 0), {"Y": "z"}),
    ],
)
def test_metadata_one_bit_off_changes_the_signed_text(path: samples.Path, changed: object) -> None:
    value = replaced(samples.as_json(samples.MESSAGE), ("payload", "metadata", *path), changed)
    assert decode_client(canonical(value)).signed_text != signed_text(samples.MESSAGE)


@EVERY
def test_id_taken_away_or_given_changes_the_signed_text(frame: frames.SignedFrame) -> None:
    value = samples.as_json(frame)
    changed = {**value, "id": "x"} if "id" not in value else without(value, ("id",))
    assert decode_client(canonical(changed)).signed_text != signed_text(frame)


def test_type_changes_the_signed_text() -> None:
    texts = {signed_text(kind(timestamp=1)) for kind in (frames.Ping, frames.Pong, frames.PreKeyStatusQuery)}
    assert len(texts) == 3


def test_optional_field_taken_away_changes_the_signed_text() -> None:
    value = samples.as_json(samples.MESSAGE)
    changed = without(value, ("payload", "metadata"))
    assert decode_client(canonical(changed)).signed_text != signed_text(samples.MESSAGE)


@pytest.mark.parametrize(
    "frame",
    [
        *(SIGNED[name] for name in SIGNED if name.endswith("least")),
        samples.MESSAGE,
        samples.AUTH,
        samples.KEY_EXCHANGE_INIT,
    ],
    ids=lambda frame: frame.type,
)
def test_no_bit_of_the_text_can_flip_unseen(frame: frames.SignedFrame) -> None:
    text = encode(frame)
    signature = text.rfind(b'"signature":"')
    for place in range(len(text)):
        if signature <= place < signature + len('"signature":""') + 88 and frame.signature is not UNSET:
            continue
        for bit in range(8):
            flipped = text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :]
            with suppress(RequestError):
                assert decode_client(flipped).signed_text != signed_text(frame)
