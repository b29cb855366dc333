"""Frames are refused whose values are wrong: text that is none, base64 that is not canonical, too much of anything."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
import wire_samples as samples
from msgspec import UNSET, Raw
from refusal_samples import FULL, MESSAGE_JSON, Case, client_reason, label, message_with, places, refusal_of, with_text
from wire_samples import Path, dotted, found, replaced, written

from phantom_messenger.wire import frames
from phantom_messenger.wire.codec import decode_client, decode_relay, encode
from phantom_messenger.wire.codes import ErrorCode, Reason
from phantom_messenger.wire.limits import MAX_ENCRYPTED_CHARS, MAX_MESSAGE_BYTES, MAX_METADATA_BYTES
from support.cases import each

# --- text and numbers -------------------------------------------------------------


def is_text(path: Path, member: Any) -> bool:
    return isinstance(member, str) and not samples.OPEN.intersection(path)


NO_TEXT: Final = [b"\\ud800", b"\\udfff", b"\\ude02\\ud83d", b"\xed\xa0\x80", b"\xff", b"\n"]


@each("case", places(FULL, is_text), ids=label)
def test_text_that_unicode_does_not_have_is_refused(case: Case) -> None:
    decode, value, path = case
    for text in NO_TEXT:
        assert refusal_of(decode, with_text(value, path, b'"' + text + b'"')).reason is Reason.JSON, text


@pytest.mark.parametrize("text", NO_TEXT)
@pytest.mark.parametrize("form", [b'{"x":"%s"}', b'{"%s":1}', b'{"x":[{"y":"%s"}]}'])
def test_text_in_metadata_that_unicode_does_not_have_is_refused(form: bytes, text: bytes) -> None:
    assert client_reason(message_with(form % text)) is Reason.JSON


def test_surrogate_pair_in_metadata_becomes_its_character() -> None:
    frame = decode_client(message_with(b'{"\\ud83d\\ude02":"\\uD83D\\uDE02"}')).frame
    assert isinstance(frame, frames.Message)
    assert frame.payload.metadata == Raw('{"😂":"😂"}'.encode())


@pytest.mark.parametrize(
    ("frame", "path", "accepted", "refused"),
    [
        (samples.MESSAGE, ("id",), ["!", "~", "x" * 64], ["", "x" * 65, " ", "a b", "é", "\x7f", "a\n", "\0"]),
        (
            samples.MESSAGE,
            ("payload", "conversationId"),
            [" ", "~", "x" * 128],
            ["", "x" * 129, "é", "\x7f", "a\n", "\n", "\x1f"],
        ),
        (
            samples.MESSAGE,
            ("payload", "messageId"),
            [samples.MESSAGE_ID.upper(), "0" * 8 + "-0000" * 3 + "-" + "0" * 12],
            [
                "",
                samples.MESSAGE_ID + "\n",
                samples.MESSAGE_ID[:-1],
                samples.MESSAGE_ID.replace("-", ""),
                samples.MESSAGE_ID.replace("f", "g"),
                "{" + samples.MESSAGE_ID + "}",
                "\u0660" + samples.MESSAGE_ID[1:],
            ],
        ),
        (samples.AUTH, ("payload", "audience"), ["x", "x" * 261], ["", "x" * 262]),
        (
            samples.AUTH,
            ("payload", "features"),
            [[], ["x" * 32], ["a"] * 8],
            [["x" * 33], ["a"] * 9],
        ),
        (
            samples.FULL_CLIENT["MESSAGE_ACK"],
            ("payload", "status"),
            ["delivered", "read", "burned"],
            ["", "accepted", "expired", "Read", "read "],
        ),
        (
            samples.FULL_CLIENT["PRESENCE"],
            ("payload", "status"),
            ["online", "typing", "idle", "offline"],
            ["", "away", "ONLINE"],
        ),
        (samples.PREKEY_PUBLISH, ("payload", "oneTimePreKeys", 0, "id"), [1, 2**32 - 1], [0, -1, 2**32]),
        (samples.PREKEY_PUBLISH, ("payload", "replace"), [True, False], [0, 1, "true", [], None]),
        (samples.PREKEY_PUBLISH, ("payload", "madeAt"), [0, 2**53 - 1], [-1, 2**53, "1", None]),
        (samples.MESSAGE_MANY, ("payload", "group"), [True, False], [0, 1, "true", None]),
        (samples.MESSAGE_MANY, ("payload", "order", "revision"), [1, 2**32 - 1], [0, -1, 2**32]),
        (
            samples.MESSAGE_MANY,
            ("payload", "order", "writers"),
            [[samples.ALICE], [samples.ALICE] * 16],
            [[], [samples.ALICE] * 17],
        ),
        (samples.KEY_EXCHANGE_RESPONSE, ("payload", "lastResortKemPreKey", "id"), [1, 2**32 - 1], [0, -1, 2**32]),
        (samples.KEY_EXCHANGE_RESPONSE, ("payload", "kemPreKeyId"), [1, 2**32 - 1], [0, -1, 2**32]),
        (samples.MESSAGE, ("timestamp",), [0, 2**53 - 1], [-1, 2**53]),
    ],
)
def test_field_is_accepted_up_to_its_bounds(
    frame: frames.Frame, path: Path, accepted: list[Any], refused: list[Any]
) -> None:
    value = samples.as_json(frame)
    for new in accepted:
        assert found(samples.as_json(decode_client(written(replaced(value, path, new))).frame), path) == new
    for new in refused:
        refusal = refusal_of(decode_client, written(replaced(value, path, new)))
        assert refusal.reason is Reason.FIELD
        assert refusal.details["field"].startswith(dotted(path))


@pytest.mark.parametrize(("name", "most"), [("kemPreKeys", 30), ("oneTimePreKeys", 200)])
def test_prekeys_are_accepted_up_to_their_number(name: str, most: int) -> None:
    value = samples.as_json(samples.PREKEY_PUBLISH)
    path = ("payload", name)
    key = found(value, (*path, 0))
    decode_client(written(replaced(value, path, [key] * most)))
    refusal = refusal_of(decode_client, written(replaced(value, path, [key] * (most + 1))))
    assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, dotted(path))


# --- base64 -----------------------------------------------------------------------

KEY_BYTES: Final = (32, 32)
KEM_KEY_BYTES: Final = (1184, 1184)
SIGNATURE_BYTES: Final = (64, 64)
USER_ID_BYTES: Final = (16, 64)
LENGTHS: Final[dict[str, tuple[int, int]]] = {
    "bundleSignature": SIGNATURE_BYTES,
    "challenge": KEY_BYTES,
    "deviceList": (1, 2_048),
    "digest": KEY_BYTES,
    "encrypted": (1, 46_080),
    "ephemeralKey": KEY_BYTES,
    "identityKey": KEY_BYTES,
    "kemPreKey": KEM_KEY_BYTES,
    "kemPreKeySignature": SIGNATURE_BYTES,
    "name": KEY_BYTES,
    "oneTimePreKey": KEY_BYTES,
    "preKeySignature": SIGNATURE_BYTES,
    "publicKey": KEY_BYTES,
    "recipientId": USER_ID_BYTES,
    "senderId": USER_ID_BYTES,
    "signature": SIGNATURE_BYTES,
    "signedPreKey": KEY_BYTES,
    "targetId": USER_ID_BYTES,
    "userId": USER_ID_BYTES,
}
"""Bytes of each base64 field, fewest and most."""

USERS: Final = {"missing", "targets", "writers"}
"""Lists of user ids."""


def bytes_of(path: Path) -> tuple[int, int] | None:
    if len(path) > 1 and path[-2] in USERS:
        return USER_ID_BYTES
    if path and path[-1] == "key":
        return KEM_KEY_BYTES if "kemprekey" in str(path[1]).lower() else KEY_BYTES
    return LENGTHS.get(str(path[-1])) if path else None


def is_base64(path: Path, member: Any) -> bool:
    return isinstance(member, str) and bytes_of(path) is not None


BASE64: Final = places(FULL, is_base64)


def test_every_text_that_ends_in_padding_is_among_the_base64_fields() -> None:
    padded = places(FULL, lambda _, member: isinstance(member, str) and member.endswith("="))
    assert padded == BASE64


def stray_bit(text: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    bare = text.rstrip("=")
    last = alphabet[alphabet.index(bare[-1]) + 1]
    return bare[:-1] + last + "=" * (len(text) - len(bare))


SPOILT: Final[dict[str, Callable[[str], str]]] = {
    "stray bit": stray_bit,
    "space": lambda text: " " + text[1:],
    "line break": lambda text: text[:4] + "\n" + text[5:],
    "line break at the end": lambda text: text + "\n",
    "white space beside": lambda text: f" {text} ",
    "padding missing": lambda text: text.rstrip("="),
    "padding one short": lambda text: text[:-1],
    "padding one more": lambda text: text + "=",
    "padding in front": lambda text: "=" + text[1:],
    "padding in the middle": lambda text: text[:2] + "==" + text[4:],
    "URL alphabet": lambda text: "-_" + text[2:],
    "outside of the alphabet": lambda text: "$" + text[1:],
    "outside of ASCII": lambda text: "é" + text[1:],
    "NUL": lambda text: "\0" + text[1:],
    "empty": lambda _: "",
    "only padding": lambda text: "=" * len(text),
}


@each("case", BASE64, ids=label)
def test_base64_that_is_not_canonical_is_refused(case: Case) -> None:
    decode, value, path = case
    for name, spoil in SPOILT.items():
        refusal = refusal_of(decode, written(replaced(value, path, spoil(found(value, path)))))
        assert refusal.reason in {Reason.BASE64, Reason.FIELD}, name
        assert refusal.details["field"] == dotted(path), name


@each("case", BASE64, ids=label)
def test_stray_bit_in_base64_is_named_as_such(case: Case) -> None:
    decode, value, path = case
    refusal = refusal_of(decode, written(replaced(value, path, stray_bit(found(value, path)))))
    assert (refusal.reason, refusal.details["field"]) == (Reason.BASE64, dotted(path))


@each("case", BASE64, ids=label)
def test_base64_is_accepted_up_to_its_lengths_and_no_further(case: Case) -> None:
    decode, value, path = case
    bounds = bytes_of(path)
    assert bounds is not None
    least, most = bounds
    for size in {least, least + (most > least), most - (most > least), most}:
        assert decode(written(replaced(value, path, samples.base64_of(size)))) is not None
    for size in (0, least - 1, most + 1, most + 2, most + 3):
        if path[-1] == "encrypted" and (decode is decode_relay or size > most):
            continue
        refusal = refusal_of(decode, written(replaced(value, path, samples.base64_of(size))))
        assert refusal.reason in {Reason.BASE64, Reason.FIELD}
        assert refusal.details["field"] == dotted(path)


# --- sizes ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES - 1, MAX_MESSAGE_BYTES])
def test_message_of_the_largest_size_is_accepted(size: int) -> None:
    text = encode(samples.MESSAGE)
    assert decode_client(text.ljust(size)).frame == samples.MESSAGE


@pytest.mark.parametrize(
    "text",
    [
        encode(samples.MESSAGE).ljust(MAX_MESSAGE_BYTES + 1),
        b"[" * (MAX_MESSAGE_BYTES + 1),
        b"\xff" * (MAX_MESSAGE_BYTES + 1),
        b" " * 1_048_576,
    ],
    ids=["valid otherwise", "nested", "binary", "blank"],
)
def test_message_beyond_the_largest_size_is_refused_unread(text: bytes) -> None:
    refusal = refusal_of(decode_client, text)
    assert (refusal.reason, refusal.code) == (Reason.MESSAGE_SIZE, ErrorCode.MESSAGE_TOO_LARGE)
    assert refusal.details["limit"] == 65_536


def encrypted_of(chars: int) -> bytes:
    return written(replaced(MESSAGE_JSON, ("payload", "encrypted"), "A" * chars))


def test_encrypted_of_the_largest_size_is_accepted() -> None:
    assert decode_client(encrypted_of(MAX_ENCRYPTED_CHARS)).frame
    assert decode_client(encrypted_of(MAX_ENCRYPTED_CHARS - 4)).frame
    assert client_reason(encrypted_of(MAX_ENCRYPTED_CHARS - 1)) is Reason.BASE64


@pytest.mark.parametrize("chars", [MAX_ENCRYPTED_CHARS + 1, MAX_ENCRYPTED_CHARS + 4])
def test_encrypted_beyond_the_largest_size_is_refused(chars: int) -> None:
    refusal = refusal_of(decode_client, encrypted_of(chars))
    assert (refusal.reason, refusal.code) == (Reason.ENCRYPTED_SIZE, ErrorCode.MESSAGE_TOO_LARGE)
    assert refusal.details["limit"] == 61_440


def metadata_of(size: int, character: str) -> bytes:
    """An object whose canonical form has this many bytes, filled with one character."""
    room = size - len('{"a":""}')
    count, rest = divmod(room, len(character.encode()))
    return b'{"a":"' + (character * count + "-" * rest).encode() + b'"}'


@pytest.mark.parametrize("character", ["x", "é", "\U0001f602"])
@pytest.mark.parametrize("size", [MAX_METADATA_BYTES - 1, MAX_METADATA_BYTES])
def test_metadata_of_the_largest_size_is_accepted(size: int, character: str) -> None:
    metadata = metadata_of(size, character)
    assert len(metadata) == size
    frame = decode_client(message_with(metadata)).frame
    assert isinstance(frame, frames.Message)
    assert frame.payload.metadata == Raw(metadata)


@pytest.mark.parametrize("character", ["x", "é", "\U0001f602"])
def test_metadata_beyond_the_largest_size_is_refused(character: str) -> None:
    refusal = refusal_of(decode_client, message_with(metadata_of(MAX_METADATA_BYTES + 1, character)))
    assert (refusal.reason, refusal.code) == (Reason.METADATA_SIZE, ErrorCode.MESSAGE_TOO_LARGE)
    assert refusal.details["limit"] == 1_024


def test_metadata_is_measured_in_canonical_form() -> None:
    spaced = metadata_of(MAX_METADATA_BYTES, "x").replace(b":", b" :" + b" " * 5_000)
    assert decode_client(message_with(spaced)).frame
    escaped = b'{"a":"' + b"\\u0078" * (MAX_METADATA_BYTES - 8) + b'"}'
    assert decode_client(message_with(escaped)).frame
    grown = b'{"a":[' + b"1e-6," * 190 + b"1]}"
    assert len(grown) < MAX_METADATA_BYTES
    assert client_reason(message_with(grown)) is Reason.METADATA_SIZE


def test_message_with_every_field_at_its_largest_fits() -> None:
    payload = frames.MessagePayload(
        conversation_id='"' * 128,
        encrypted="A" * MAX_ENCRYPTED_CHARS,
        message_id=samples.MESSAGE_ID,
        metadata=Raw(metadata_of(MAX_METADATA_BYTES, "x")),
        recipient_id=samples.base64_of(64),
    )
    frame = frames.Message(id='"' * 64, payload=payload, signature=samples.SIGNATURE, timestamp=2**53 - 1)
    assert decode_client(encode(frame)).frame == frame


def test_publication_of_a_hundred_one_time_prekeys_and_all_kem_prekeys_fits() -> None:
    part = samples.PREKEY_PUBLISH.payload
    assert part.last_resort_kem_pre_key is not UNSET
    largest = 2**32 - 1
    payload = msgspec.structs.replace(
        part,
        kem_pre_keys=[msgspec.structs.replace(part.last_resort_kem_pre_key, id=largest)] * 30,
        one_time_pre_keys=[msgspec.structs.replace(part.one_time_pre_keys[0], id=largest)] * 100,
    )
    frame = msgspec.structs.replace(samples.PREKEY_PUBLISH, id='"' * 64, payload=payload)
    assert decode_client(encode(frame)).frame == frame
