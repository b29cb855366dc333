import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest
import wire_samples as samples
from msgspec import UNSET, Raw
from wire_samples import Path, dotted, found, members, replaced, without, written

from phantom_messenger.wire import frames
from phantom_messenger.wire.codec import decode_client, decode_relay, encode
from phantom_messenger.wire.codes import ErrorCode, Reason, RequestError
from phantom_messenger.wire.limits import MAX_ENCRYPTED_CHARS, MAX_MESSAGE_BYTES, MAX_METADATA_BYTES

Decode = Callable[[bytes], object]
FULL: Final[list[tuple[Decode, frames.Frame]]] = [
    *((decode_client, frame) for frame in samples.FULL_CLIENT.values()),
    *((decode_relay, frame) for frame in samples.FULL_RELAY.values()),
]
LEAST: Final[list[tuple[Decode, frames.Frame]]] = [
    *((decode_client, frame) for frame in samples.LEAST_CLIENT.values()),
    *((decode_relay, frame) for frame in samples.LEAST_RELAY.values()),
]
Case = tuple[Decode, Any, Path]


def refusal_of(decode: Decode, text: bytes) -> RequestError:
    with pytest.raises(RequestError) as refusal:
        decode(text)
    return refusal.value


def client_reason(text: bytes) -> Reason:
    return refusal_of(decode_client, text).reason


def label(case: object) -> str | None:
    if not isinstance(case, tuple):
        return None
    decode, value, path = case
    return f"{decode.__name__}-{value['type']}-{dotted(path) or 'envelope'}"


def places(rows: list[tuple[Decode, frames.Frame]], wanted: Callable[[Path, Any], bool]) -> list[Case]:
    """Where in the samples a kind of value stands."""
    return [
        (reader, value, path)
        for reader, frame in rows
        for value in (samples.as_json(frame),)
        for path, member in members(value)
        if wanted(path, member)
    ]


def is_part(path: Path, member: Any) -> bool:
    return isinstance(member, dict) and not samples.OPEN.intersection(path)


def is_member(path: Path, _: Any) -> bool:
    return bool(path) and isinstance(path[-1], str)


PARTS: Final = places(FULL, is_part)
NAMED: Final = [case for case in PARTS if case[0] is decode_client and found(*case[1:])]
MESSAGE_JSON: Final = samples.as_json(samples.MESSAGE)


def message_with(metadata: bytes) -> bytes:
    payload = msgspec.structs.replace(samples.MESSAGE.payload, metadata=Raw(metadata))
    return encode(msgspec.structs.replace(samples.MESSAGE, payload=payload))


# --- names ------------------------------------------------------------------------


def doubled(value: Any, path: Path, spelling: Callable[[str], str]) -> Iterator[bytes]:
    """Texts in which one name of the object at the path stands twice with the same value."""
    part = found(value, path)
    for name in part:
        again = f"{spelling(name)}:{written(part[name]).decode()}"
        text = written(replaced(value, path, {"\0": 0, **part}) if path else {"\0": 0, **part}).decode()
        yield text.replace('"\\u0000":0', again).encode()


@pytest.mark.parametrize("case", NAMED, ids=label)
@pytest.mark.parametrize(
    "spelling", [json.dumps, lambda name: f'"\\u{ord(name[0]):04x}{name[1:]}"'], ids=["same", "escaped"]
)
def test_duplicate_name_is_refused(case: Case, spelling: Callable[[str], str]) -> None:
    decode, value, path = case
    for text in doubled(value, path, spelling):
        assert refusal_of(decode, text).reason is Reason.DUPLICATE_NAME


@pytest.mark.parametrize("text", [b'{"timestamp":1,"timestamp":2,"type":"PONG"}'])
def test_duplicate_name_from_a_relay_is_refused(text: bytes) -> None:
    assert refusal_of(decode_relay, text).reason is Reason.DUPLICATE_NAME


@pytest.mark.parametrize(
    "metadata",
    [b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'{"x":{"a":1,"a":2}}', b'{"x":[{"a":1,"b":2,"a":3}]}'],
)
def test_duplicate_name_in_metadata_is_refused(metadata: bytes) -> None:
    assert client_reason(message_with(metadata)) is Reason.DUPLICATE_NAME


def test_second_type_cannot_hide_the_first() -> None:
    text = b'{"type":"PING","timestamp":1,"type":"PREKEY_STATUS"}'
    assert client_reason(text) in {Reason.DUPLICATE_NAME, Reason.TYPE}


@pytest.mark.parametrize("case", PARTS, ids=label)
def test_unknown_field_is_refused(case: Case) -> None:
    decode, value, path = case
    part = found(value, path)
    refusal = refusal_of(decode, written(replaced(value, path, {**part, "unknown": 1})))
    assert refusal.reason is Reason.FIELD
    assert refusal.details["field"] == dotted((*path, "unknown"))


@pytest.mark.parametrize("name", ["é", "a b", "", "x" * 200, "Timestamp", "__init__", "$.type`"])
def test_unknown_field_of_any_name_is_refused(name: str) -> None:
    refusal = refusal_of(decode_client, written({"timestamp": 1, "type": "PING", "payload": {name: 1}}))
    assert refusal.reason is Reason.FIELD
    refusal = refusal_of(decode_client, written({"timestamp": 1, "type": "PING", name: 1}))
    assert refusal.code is ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize(
    ("frame", "path"),
    [
        (samples.MESSAGE, ("payload", "senderId")),
        (samples.KEY_EXCHANGE_INIT, ("payload", "senderId")),
        (samples.KEY_EXCHANGE_RESPONSE, ("payload", "senderId")),
    ],
)
def test_client_cannot_name_the_sender(frame: frames.Frame, path: Path) -> None:
    refusal = refusal_of(decode_client, written(replaced(samples.as_json(frame), path, samples.ALICE)))
    assert refusal.reason is Reason.FIELD
    assert refusal.details["field"] == "payload.senderId"


@pytest.mark.parametrize("frame", samples.FULL_CLIENT.values())
def test_client_cannot_number_its_frame(frame: frames.Frame) -> None:
    refusal = refusal_of(decode_client, written({**samples.as_json(frame), "seq": 1}))
    assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, "seq")


@pytest.mark.parametrize("case", places(LEAST, is_member), ids=label)
def test_missing_field_is_refused(case: Case) -> None:
    decode, value, path = case
    text = written(without(value, path))
    refusal = refusal_of(decode, text)
    if path == ("type",):
        assert refusal.reason is Reason.TYPE
    else:
        assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, dotted(path))


@pytest.mark.parametrize("kind", ["", "ping", "PING ", "NOPE", "PONG", "CONNECTION_ACK", "P\0", "\U0001f602"])
def test_type_that_a_client_may_not_send_is_refused(kind: str) -> None:
    assert client_reason(written({"timestamp": 1, "type": kind})) is Reason.TYPE


# --- kinds of values --------------------------------------------------------------

WRONG: Final[dict[type, list[bytes]]] = {
    str: [b"1", b"null", b"true", b"[]", b"{}", b'["a"]'],
    int: [b'"1"', b"null", b"true", b"[]", b"{}", b"1.5"],
    bool: [b'"true"', b"null", b"1", b"0", b"[]", b"{}"],
    list: [b"{}", b"null", b'"a"', b"1", b"[null]", b"[[]]"],
    dict: [b"[]", b"null", b'"a"', b"1", b"false", b"[{}]"],
}
NULLABLE: Final = {"messagesPerMinute"}


def is_typed(path: Path, _: Any) -> bool:
    return bool(path)


TYPED: Final = [case for case in places(FULL, is_typed) if case[0] is decode_client or case[2][-1] != "metadata"]


def with_text(value: Any, path: Path, text: bytes) -> bytes:
    """The value as JSON with this text, whatever it is, at the path."""
    return written(replaced(value, path, "\0")).replace(b'"\\u0000"', text)


@pytest.mark.parametrize("case", TYPED, ids=label)
def test_value_of_the_wrong_type_is_refused(case: Case) -> None:
    decode, value, path = case
    for text in WRONG[type(found(value, path))]:
        if text == b"null" and path[-1] in NULLABLE:
            continue
        refusal = refusal_of(decode, with_text(value, path, text))
        assert refusal.reason is (Reason.TYPE if path == ("type",) else Reason.FIELD)
        assert refusal.details["field"].startswith(dotted(path))


def is_integer(path: Path, member: Any) -> bool:
    return type(member) is int and not samples.OPEN.intersection(path)


INTEGERS: Final = places(FULL, is_integer)
UNBOUNDED: Final = [case for case in INTEGERS if case[2][-1] in {"code", "protocolVersion"}]
BOUNDED: Final = [case for case in INTEGERS if case not in UNBOUNDED]


@pytest.mark.parametrize("case", INTEGERS, ids=label)
@pytest.mark.parametrize("number", [b"1.0", b"1e3", b"1E0", b"-0.0", b"1e999", b"0.1"])
def test_float_in_an_integer_field_is_refused(case: Case, number: bytes) -> None:
    decode, value, path = case
    refusal = refusal_of(decode, with_text(value, path, number))
    assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, dotted(path))


@pytest.mark.parametrize("number", [b"1000.0", b"1e3"])
def test_float_in_expires_in_is_refused(number: bytes) -> None:
    assert client_reason(message_with(b'{"expiresIn":' + number + b"}")) is Reason.FIELD


@pytest.mark.parametrize("case", BOUNDED, ids=label)
@pytest.mark.parametrize(
    "number", [b"9007199254740992", b"18446744073709551616", pytest.param(b"9" * 5_000, id="5000 digits")]
)
def test_integer_beyond_2_to_the_53_is_refused(case: Case, number: bytes) -> None:
    decode, value, path = case
    refusal = refusal_of(decode, with_text(value, path, number))
    assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, dotted(path))


@pytest.mark.parametrize("case", UNBOUNDED, ids=label)
def test_code_or_version_beyond_2_to_the_53_is_refused(case: Case) -> None:
    decode, value, path = case
    assert refusal_of(decode, with_text(value, path, b"9007199254740992")).reason is Reason.FIELD


@pytest.mark.parametrize("case", INTEGERS, ids=label)
@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b"+1", b"0x1", b"1_0", b"-"])
def test_number_that_json_does_not_have_is_refused(case: Case, number: bytes) -> None:
    decode, value, path = case
    assert refusal_of(decode, with_text(value, path, number)).reason is Reason.JSON


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (b"NaN", Reason.JSON),
        (b"Infinity", Reason.JSON),
        (b"-Infinity", Reason.JSON),
        (b"1e309", Reason.NUMBER),
        (b"9007199254740992", Reason.NUMBER),
        (b"-9007199254740992", Reason.NUMBER),
        pytest.param(b"9" * 5_000, Reason.NUMBER, id="5000 digits"),
    ],
)
@pytest.mark.parametrize("form", [b'{"x":%s}', b'{"x":[{"y":%s}]}', b'{"expiresIn":%s}'])
def test_number_in_metadata_that_i_json_does_not_have_is_refused(form: bytes, number: bytes, reason: Reason) -> None:
    assert client_reason(message_with(form % number)) is reason


@pytest.mark.parametrize("number", [b"9007199254740991", b"-9007199254740991", b"0.1", b"1e-7"])
def test_number_in_metadata_that_i_json_has_is_accepted(number: bytes) -> None:
    text = message_with(b'{"x":%s}' % number)
    assert encode(decode_client(text).frame) == text


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        (b"[]", "payload.metadata"),
        (b"null", "payload.metadata"),
        (b'"x"', "payload.metadata"),
        (b"1", "payload.metadata"),
        (b'{"burnAfterRead":1}', "payload.metadata.burnAfterRead"),
        (b'{"burnAfterRead":null}', "payload.metadata.burnAfterRead"),
        (b'{"burnAfterRead":"true"}', "payload.metadata.burnAfterRead"),
        (b'{"expiresIn":0}', "payload.metadata.expiresIn"),
        (b'{"expiresIn":-1}', "payload.metadata.expiresIn"),
        (b'{"expiresIn":31536000001}', "payload.metadata.expiresIn"),
        (b'{"expiresIn":"1000"}', "payload.metadata.expiresIn"),
        (b'{"expiresIn":true}', "payload.metadata.expiresIn"),
        (b'{"expiresIn":1.5}', "payload.metadata.expiresIn"),
    ],
)
def test_metadata_of_the_wrong_form_is_refused(metadata: bytes, field: str) -> None:
    refusal = refusal_of(decode_client, message_with(metadata))
    assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, field)


@pytest.mark.parametrize("metadata", [b"[]", b'{"expiresIn":"x"}', b'{"a":1,"a":2}'])
def test_metadata_of_the_wrong_form_from_a_relay_is_refused(metadata: bytes) -> None:
    payload = msgspec.structs.replace(samples.ROUTED_MESSAGE.payload, metadata=Raw(metadata))
    refusal_of(decode_relay, encode(msgspec.structs.replace(samples.ROUTED_MESSAGE, payload=payload)))


# --- text -------------------------------------------------------------------------


def is_text(path: Path, member: Any) -> bool:
    return isinstance(member, str) and not samples.OPEN.intersection(path)


@pytest.mark.parametrize("case", places(FULL, is_text), ids=label)
@pytest.mark.parametrize("text", [b"\\ud800", b"\\udfff", b"\\ude02\\ud83d", b"\xed\xa0\x80", b"\xff", b"\n"])
def test_text_that_unicode_does_not_have_is_refused(case: Case, text: bytes) -> None:
    decode, value, path = case
    assert refusal_of(decode, with_text(value, path, b'"' + text + b'"')).reason is Reason.JSON


@pytest.mark.parametrize("text", [b"\\ud800", b"\\udfff", b"\\ude02\\ud83d", b"\xed\xa0\x80", b"\xff", b"\n"])
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


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"null",
        b"1",
        b'"PING"',
        b"[]",
        b'[{"timestamp":1,"type":"PING"}]',
        b'{"timestamp":1,"type":"PING"',
        b'{"timestamp":1,"type":"PING",}',
        b'{"timestamp":1,"type":"PING"}{}',
        b'{"timestamp":1,"type":"PING"}\0',
        b"{'timestamp':1,'type':'PING'}",
        b'{"timestamp":1,"type":"PING"}//',
        b'\xef\xbb\xbf{"timestamp":1,"type":"PING"}',
        '{"timestamp":1,"type":"PING"}'.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("decode", [decode_client, decode_relay])
def test_text_that_is_not_one_json_object_is_refused(decode: Decode, text: bytes) -> None:
    assert refusal_of(decode, text).reason is Reason.JSON


@pytest.mark.parametrize(("decode", "frame"), [*FULL, *LEAST])
def test_truncated_frame_is_refused(decode: Decode, frame: frames.Frame) -> None:
    text = encode(frame)
    for end in range(len(text)):
        assert refusal_of(decode, text[:end]).reason is Reason.JSON


# --- nesting ----------------------------------------------------------------------


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_metadata_may_nest_to_the_eighth_level_of_the_message(opening: bytes, closing: bytes) -> None:
    def nested(levels: int) -> bytes:
        inside = levels - 3
        return message_with(b'{"x":' + opening * inside + b"1" + closing * inside + b"}")

    assert decode_client(nested(8)).signed_text
    assert client_reason(nested(9)) is Reason.TOO_DEEP


def test_brackets_in_a_string_do_not_nest() -> None:
    text = message_with(b'{"x":"' + b"[{" * 50 + b'\\""}')
    assert encode(decode_client(text).frame) == text


@pytest.mark.parametrize("levels", [100, 1_000, 30_000])
@pytest.mark.parametrize("form", [b'{"a":%s}', b"%s"])
def test_deep_metadata_is_refused_without_exhausting_the_stack(form: bytes, levels: int) -> None:
    assert client_reason(message_with(form % (b"[" * levels + b"]" * levels))) is Reason.TOO_DEEP


@pytest.mark.parametrize("levels", [7, 1_000, 30_000])
@pytest.mark.parametrize("path", [("payload",), ("id",), ("timestamp",), ("type",), ("unknown",)])
@pytest.mark.parametrize("decode", [decode_client, decode_relay])
def test_deep_nesting_anywhere_is_refused(decode: Decode, path: Path, levels: int) -> None:
    kind = "PING" if decode is decode_client else "PONG"
    value = replaced({"timestamp": 1, "type": kind}, path, 0)
    refusal = refusal_of(decode, with_text(value, path, b"[" * levels + b"]" * levels))
    assert refusal.reason in {Reason.FIELD, Reason.TYPE, Reason.TOO_DEEP}


# --- base64 -----------------------------------------------------------------------

KEY_BYTES: Final = (32, 32)
KEM_KEY_BYTES: Final = (1184, 1184)
SIGNATURE_BYTES: Final = (64, 64)
USER_ID_BYTES: Final = (16, 64)
LENGTHS: Final[dict[str, tuple[int, int]]] = {
    "challenge": KEY_BYTES,
    "encrypted": (1, 46_080),
    "ephemeralKey": KEY_BYTES,
    "identityKey": KEY_BYTES,
    "kemPreKey": KEM_KEY_BYTES,
    "kemPreKeySignature": SIGNATURE_BYTES,
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


def bytes_of(path: Path) -> tuple[int, int] | None:
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


@pytest.mark.parametrize("case", BASE64, ids=label)
@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_base64_that_is_not_canonical_is_refused(case: Case, spoil: Callable[[str], str]) -> None:
    decode, value, path = case
    refusal = refusal_of(decode, written(replaced(value, path, spoil(found(value, path)))))
    assert refusal.reason in {Reason.BASE64, Reason.FIELD}
    assert refusal.details["field"] == dotted(path)


@pytest.mark.parametrize("case", BASE64, ids=label)
def test_stray_bit_in_base64_is_named_as_such(case: Case) -> None:
    decode, value, path = case
    refusal = refusal_of(decode, written(replaced(value, path, stray_bit(found(value, path)))))
    assert (refusal.reason, refusal.details["field"]) == (Reason.BASE64, dotted(path))


@pytest.mark.parametrize("case", BASE64, ids=label)
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
