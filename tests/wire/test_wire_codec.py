import json
from typing import Any

import msgspec
import pytest
import wire_samples as samples
from msgspec import UNSET, Raw

from phantom_messenger.wire import codec, frames
from phantom_messenger.wire.canonical import canonical
from phantom_messenger.wire.codec import decode_client, decode_relay, encode
from phantom_messenger.wire.codes import MEANINGS, Reason, RequestError
from phantom_messenger.wire.limits import MAX_SAFE_INTEGER
from support.cases import each

CLIENT = [
    pytest.param(frame, id=f"{name}-{size}")
    for size, rows in (("full", samples.FULL_CLIENT), ("least", samples.LEAST_CLIENT))
    for name, frame in rows.items()
]
RELAY = [
    pytest.param(frame, id=f"{name}-{size}")
    for size, rows in (("full", samples.FULL_RELAY), ("least", samples.LEAST_RELAY))
    for name, frame in rows.items()
]
ROUTABLE = [
    pytest.param(rows[name], id=f"{name}-{size}")
    for size, rows in (("full", samples.FULL_CLIENT), ("least", samples.LEAST_CLIENT))
    for name in ("MESSAGE", "KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE")
]
Routable = frames.Message | frames.KeyExchangeInit | frames.KeyExchangeResponse


def with_metadata(frame: frames.Message, metadata: bytes) -> frames.Message:
    payload = msgspec.structs.replace(frame.payload, metadata=Raw(metadata))
    return msgspec.structs.replace(frame, payload=payload)


# --- encoding and decoding --------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "types"),
    [
        (samples.FULL_CLIENT, frames.CLIENT_FRAMES),
        (samples.LEAST_CLIENT, frames.CLIENT_FRAMES),
        (samples.FULL_RELAY, frames.RELAY_FRAMES),
        (samples.LEAST_RELAY, frames.RELAY_FRAMES),
    ],
)
def test_samples_show_every_type(rows: dict[str, frames.Frame], types: dict[str, type[frames.Frame]]) -> None:
    assert {name: type(frame) for name, frame in rows.items()} == types


@each("frame", [*samples.FULL_CLIENT.values(), *samples.FULL_RELAY.values()])
def test_full_sample_shows_every_field(frame: frames.Frame) -> None:
    def parts(value: Any) -> list[msgspec.Struct]:
        if isinstance(value, list):
            return [part for item in value for part in parts(item)]
        if not isinstance(value, msgspec.Struct):
            return []
        return [value, *(part for name in value.__struct_fields__ for part in parts(getattr(value, name)))]

    assert [name for part in parts(frame) for name in part.__struct_fields__ if getattr(part, name) is UNSET] == []


@each("frame", CLIENT)
def test_client_frame_round_trips(frame: frames.ClientFrame) -> None:
    assert decode_client(encode(frame)).frame == frame


@each("frame", RELAY)
def test_relay_frame_round_trips(frame: frames.RelayFrame) -> None:
    assert decode_relay(encode(frame)) == frame


@each("frame", CLIENT + RELAY)
def test_encoding_is_canonical(frame: frames.Frame) -> None:
    assert encode(frame) == canonical(samples.as_json(frame))


@pytest.mark.parametrize("reason", [Reason.MESSAGE_SIZE, Reason.CLOCK])
def test_encoding_of_an_error_with_details_is_canonical(reason: Reason) -> None:
    refusal = RequestError(reason, field="a", details={"limit": 1})
    payload = frames.ErrorPayload(code=refusal.code, details=refusal.details, message=refusal.message)
    text = encode(frames.Error(payload=payload, timestamp=1))
    assert text == canonical(json.loads(text))


def test_text_beyond_ascii_is_encoded_canonically() -> None:
    audience = 'é€\U0001f602\x7f\u2028/"\\\b\f\n\r\t\x00\x1f'
    payload = msgspec.structs.replace(samples.AUTH.payload, audience=audience)
    frame = msgspec.structs.replace(samples.AUTH, payload=payload)
    assert encode(frame) == canonical(samples.as_json(frame))
    assert decode_client(encode(frame)).frame == frame


@each("frame", CLIENT)
@each("indent", [None, 2])
def test_client_frame_in_another_form_is_the_same_frame(frame: frames.ClientFrame, indent: int | None) -> None:
    def backwards(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: backwards(value[name]) for name in sorted(value, reverse=True)}
        return [backwards(item) for item in value] if isinstance(value, list) else value

    text = json.dumps(backwards(samples.as_json(frame)), indent=indent).encode()
    assert text != encode(frame)
    assert decode_client(b"\n\t\r " + text + b" ").frame == frame


def test_metadata_is_kept_in_canonical_form() -> None:
    text = encode(with_metadata(samples.MESSAGE, b' { "z" : [ 1.50 , -0 , 1E3 ],\n"a" : "\\u00e9\\/" } '))
    frame = decode_client(text).frame
    assert isinstance(frame, frames.Message)
    assert frame.payload.metadata == Raw('{"a":"é/","z":[1.5,0,1000]}'.encode())


@pytest.mark.parametrize(
    ("metadata", "burn_after_read", "expires_in"),
    [
        (b"{}", False, None),
        (b'{"x":{"burnAfterRead":true}}', False, None),
        (b'{"burnAfterRead":true}', True, None),
        (b'{"burnAfterRead":false,"expiresIn":null}', False, None),
        (b'{"expiresIn":1}', False, 1),
        (b'{"expiresIn":31536000000}', False, 31_536_000_000),
        (b'{"x":1,"burnAfterRead":true,"expiresIn":5}', True, 5),
    ],
)
def test_known_members_of_metadata_are_read(metadata: bytes, burn_after_read: bool, expires_in: int | None) -> None:
    frame = decode_client(encode(with_metadata(samples.MESSAGE, metadata))).frame
    assert isinstance(frame, frames.Message)
    expected = frames.Metadata(burn_after_read=burn_after_read, expires_in=expires_in)
    assert frame.payload.options == expected
    assert codec.route(frame, samples.ALICE).payload.options == expected


def test_message_without_metadata_has_no_options_set() -> None:
    frame = samples.LEAST_CLIENT["MESSAGE"]
    assert isinstance(frame, frames.Message)
    assert frame.payload.options == frames.Metadata(burn_after_read=False, expires_in=None)


def test_accepted_message_is_accepted_again_after_encoding() -> None:
    text = encode(with_metadata(samples.MESSAGE, b'{"x":1e20}'))
    try:
        frame = decode_client(text).frame
    except RequestError:
        return
    assert decode_client(encode(frame)).frame == frame


@pytest.mark.parametrize("text", [b'{"type":"PING"}', b'{"type":"LATER","payload":{"x":[1]},"y":null}'])
def test_type_that_a_client_does_not_know_is_no_refusal(text: bytes) -> None:
    assert decode_relay(text) is None


@pytest.mark.parametrize("name", sorted(set(frames.RELAY_FRAMES) - set(frames.CLIENT_FRAMES)))
def test_type_that_only_a_relay_sends_is_refused_from_a_client(name: str) -> None:
    with pytest.raises(RequestError) as refusal:
        decode_client(encode(samples.FULL_RELAY[name]))
    assert refusal.value.reason is Reason.TYPE


# --- the head of a broken message -------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        (encode(samples.MESSAGE), "MESSAGE", "m-1"),
        (b'{"id":"a","type":"PING"}', "PING", "a"),
        (b'{"id":"a","type":"NOPE","x":[{}]}', "NOPE", "a"),
        (b'{"payload":7,"id":"!~"}', None, "!~"),
        (b'{"id":"' + b"x" * 64 + b'","type":5}', None, "x" * 64),
        (b'{"id":"' + b"x" * 65 + b'","type":"PING"}', "PING", UNSET),
        (b'{"id":"","type":"PING"}', "PING", UNSET),
        (b'{"id":"a b"}', None, UNSET),
        (b'{"id":"a\\n"}', None, UNSET),
        ('{"id":"é"}'.encode(), None, UNSET),
        (b'{"id":5}', None, UNSET),
        (b'{"id":null}', None, UNSET),
        (b'{"id":["a"]}', None, UNSET),
        pytest.param(b'{"id":' + b"9" * 5_000 + b"}", None, UNSET, id="5000 digits"),
        (b'{"id":"a"', None, UNSET),
        (b'{"id":"\\ud800","type":"PING"}', None, UNSET),
        (b'{"id":"\xff","type":"PING"}', "PING", UNSET),
        (b'["id"]', None, UNSET),
        (b"", None, UNSET),
        pytest.param(b'{"id":"a","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", None, UNSET, id="deep"),
    ],
)
def test_head_of_a_broken_message_is_what_can_be_read_of_it(
    text: bytes, kind: str | None, name: str | msgspec.UnsetType
) -> None:
    assert codec.request_head(text) == (kind, name)


# --- passing on -------------------------------------------------------------------


@pytest.mark.parametrize("frame", ROUTABLE)
def test_original_undoes_route(frame: Routable) -> None:
    routed = codec.route(frame, samples.ALICE)
    assert codec.original(routed) == frame
    assert codec.original(msgspec.structs.replace(routed, seq=MAX_SAFE_INTEGER)) == frame


@pytest.mark.parametrize("frame", ROUTABLE)
def test_route_adds_sender_and_number_and_changes_nothing_else(frame: Routable) -> None:
    expected = samples.as_json(frame)
    expected["payload"]["senderId"] = samples.ALICE
    expected["seq"] = 0
    assert encode(codec.route(frame, samples.ALICE)) == canonical(expected)


@pytest.mark.parametrize("frame", ROUTABLE)
def test_recipient_gets_the_text_that_the_sender_signed(frame: Routable) -> None:
    received = decode_relay(encode(codec.route(frame, samples.ALICE)))
    assert isinstance(received, frames.RoutedFrame)
    assert codec.signed_text(codec.original(received)) == decode_client(encode(frame)).signed_text


@pytest.mark.parametrize(
    "frame", [samples.ROUTED_KEY_EXCHANGE_INIT, samples.ROUTED_KEY_EXCHANGE_RESPONSE, samples.RECEIPT]
)
def test_frame_past_the_mailbox_has_no_seq(frame: frames.RelayFrame) -> None:
    bare = codec.without_seq(frame)
    assert samples.as_json(bare) == samples.without(samples.as_json(frame), ("seq",))
    assert decode_relay(encode(bare)) == bare


def test_refusal_carries_code_and_sentence_of_its_reason() -> None:
    with pytest.raises(RequestError) as refusal:
        decode_client(b'{"type":"NOPE"}')
    assert (refusal.value.code, refusal.value.message) == MEANINGS[Reason.TYPE]
    assert refusal.value.details == {"reason": "type"}
