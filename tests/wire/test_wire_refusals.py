"""Frames are refused whose shape is wrong: the names in them, the types of their values, how deep they nest."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest
import wire_samples as samples
from msgspec import Raw
from refusal_samples import (
    FULL,
    LEAST,
    Case,
    Decode,
    client_reason,
    label,
    message_with,
    places,
    refusal_of,
    with_text,
)
from wire_samples import Path, dotted, found, replaced, without, written

from phantom_messenger.wire import frames
from phantom_messenger.wire.codec import decode_client, decode_relay, encode
from phantom_messenger.wire.codes import ErrorCode, Reason
from support.cases import each


def is_part(path: Path, member: Any) -> bool:
    return isinstance(member, dict) and not samples.OPEN.intersection(path)


def is_member(path: Path, _: Any) -> bool:
    return bool(path) and isinstance(path[-1], str)


PARTS: Final = places(FULL, is_part)
NAMED: Final = [case for case in PARTS if case[0] is decode_client and found(*case[1:])]


# --- JSON -------------------------------------------------------------------------


@each(
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
@each("decode", [decode_client, decode_relay])
def test_text_that_is_not_one_json_object_is_refused(decode: Decode, text: bytes) -> None:
    assert refusal_of(decode, text).reason is Reason.JSON


@each(("decode", "frame"), [*FULL, *LEAST])
def test_truncated_frame_is_refused(decode: Decode, frame: frames.Frame) -> None:
    text = encode(frame)
    for end in range(len(text)):
        assert refusal_of(decode, text[:end]).reason is Reason.JSON


# --- names ------------------------------------------------------------------------


def doubled(value: Any, path: Path, spelling: Callable[[str], str]) -> Iterator[bytes]:
    """Texts in which one name of the object at the path stands twice with the same value."""
    part = found(value, path)
    for name in part:
        again = f"{spelling(name)}:{written(part[name]).decode()}"
        text = written(replaced(value, path, {"\0": 0, **part}) if path else {"\0": 0, **part}).decode()
        yield text.replace('"\\u0000":0', again).encode()


@each("case", NAMED, ids=label)
@each("spelling", [json.dumps, lambda name: f'"\\u{ord(name[0]):04x}{name[1:]}"'], ids=["same", "escaped"])
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


@each("case", PARTS, ids=label)
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


@each("case", places(LEAST, is_member), ids=label)
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


@each("case", TYPED, ids=label)
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


@each("case", INTEGERS, ids=label)
def test_float_in_an_integer_field_is_refused(case: Case) -> None:
    decode, value, path = case
    for number in (b"1.0", b"1e3", b"1E0", b"-0.0", b"1e999", b"0.1"):
        refusal = refusal_of(decode, with_text(value, path, number))
        assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, dotted(path)), number


@pytest.mark.parametrize("number", [b"1000.0", b"1e3"])
def test_float_in_expires_in_is_refused(number: bytes) -> None:
    assert client_reason(message_with(b'{"expiresIn":' + number + b"}")) is Reason.FIELD


@each("case", BOUNDED, ids=label)
def test_integer_beyond_2_to_the_53_is_refused(case: Case) -> None:
    decode, value, path = case
    for number in (b"9007199254740992", b"18446744073709551616", b"9" * 5_000):
        refusal = refusal_of(decode, with_text(value, path, number))
        assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, dotted(path)), number


@pytest.mark.parametrize("case", UNBOUNDED, ids=label)
def test_code_or_version_beyond_2_to_the_53_is_refused(case: Case) -> None:
    decode, value, path = case
    assert refusal_of(decode, with_text(value, path, b"9007199254740992")).reason is Reason.FIELD


@each("case", INTEGERS, ids=label)
def test_number_that_json_does_not_have_is_refused(case: Case) -> None:
    decode, value, path = case
    for number in (b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b"+1", b"0x1", b"1_0", b"-"):
        assert refusal_of(decode, with_text(value, path, number)).reason is Reason.JSON, number


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


@each("levels", [7, 1_000, 30_000])
@each("path", [("payload",), ("id",), ("timestamp",), ("type",), ("unknown",)])
@each("decode", [decode_client, decode_relay])
def test_deep_nesting_anywhere_is_refused(decode: Decode, path: Path, levels: int) -> None:
    kind = "PING" if decode is decode_client else "PONG"
    value = replaced({"timestamp": 1, "type": kind}, path, 0)
    refusal = refusal_of(decode, with_text(value, path, b"[" * levels + b"]" * levels))
    assert refusal.reason in {Reason.FIELD, Reason.TYPE, Reason.TOO_DEEP}
