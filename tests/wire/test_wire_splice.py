"""Frames cut and joined as text: the result is what decoding and encoding again would give."""

from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
import wire_samples as samples
from msgspec import Raw

from phantom_messenger.wire import codec, frames, splice
from phantom_messenger.wire.codec import decode_client, decode_relay, encode
from phantom_messenger.wire.limits import MAX_SAFE_INTEGER
from support.cases import each

NUMBERED = [
    pytest.param(frame, id=frame.type)
    for frame in (
        samples.ROUTED_MESSAGE,
        samples.ROUTED_KEY_EXCHANGE_INIT,
        samples.ROUTED_KEY_EXCHANGE_RESPONSE,
        samples.RECEIPT,
    )
]
DECOY = '"seq":0,'
"""What stands around the number that ``split_at_seq`` leaves out."""


def with_metadata(frame: frames.Message, metadata: bytes) -> frames.Message:
    payload = msgspec.structs.replace(frame.payload, metadata=Raw(metadata))
    return msgspec.structs.replace(frame, payload=payload)


# --- what the cutting rests on ----------------------------------------------------

SIGNED = get_args(frames.SignedFrame)
ROUTED = [*get_args(frames.RoutedFrame), frames.Receipt]


def names(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


@each("kind", [*frames.CLIENT_FRAMES.values(), *frames.RELAY_FRAMES.values()])
def test_fields_are_in_alphabetical_order(kind: type[frames.Frame]) -> None:
    """Encoding does not sort them."""

    def check(annotation: Any) -> None:
        for part in get_args(annotation):
            check(part)
        if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
            assert names(annotation) == sorted(names(annotation))
            for field in msgspec.structs.fields(annotation):
                check(field.type)

    check(kind)


@pytest.mark.parametrize("kind", SIGNED)
def test_only_a_number_and_the_type_follow_a_signature(kind: type[frames.Frame]) -> None:
    assert names(kind)[-3:] == ["signature", "timestamp", "type"]
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    assert frames.Integer == fields["timestamp"]
    assert get_origin(fields["type"]) is Literal
    assert frames.Signature in {fields["signature"], *get_args(fields["signature"])}
    assert len(samples.SIGNATURE) == splice.SIGNATURE_CHARS


@pytest.mark.parametrize("kind", ROUTED)
def test_nothing_that_a_user_writes_follows_the_payload(kind: type[frames.Frame]) -> None:
    behind = names(kind)[names(kind).index("payload") + 1 :]
    assert set(behind) <= {"seq", "signature", "timestamp", "type"}
    assert behind[0] == "seq"


def test_sender_is_the_last_member_of_a_routed_message_and_nothing_else_is_added() -> None:
    assert names(frames.RoutedMessagePayload) == [*names(frames.MessagePayload), "senderId"]
    assert names(frames.MessagePayload)[-1] == "recipientId"
    assert names(frames.RoutedMessage) == sorted([*names(frames.Message), "seq"])


# --- what comes of it -------------------------------------------------------------


@pytest.mark.parametrize("frame", NUMBERED)
@pytest.mark.parametrize("number", [0, 1, 10, MAX_SAFE_INTEGER])
def test_number_put_between_the_halves_is_the_seq(frame: frames.RelayFrame, number: int) -> None:
    head, tail = splice.split_at_seq(codec.encode(frame))
    text = b"%s%d%s" % (head, number, tail)
    assert text == encode(msgspec.structs.replace(frame, seq=number))
    assert decode_relay(text) == msgspec.structs.replace(frame, seq=number)


@pytest.mark.parametrize(
    "metadata",
    [
        b'{"seq":0,"x":1}',
        b'{"a":{"seq":0,"type":"MESSAGE"},"seq":0,"z":[{"seq":0,"y":0}]}',
        b'{"a":"\\"seq\\":0,"}',
    ],
)
def test_seq_inside_metadata_is_not_taken_for_the_number(metadata: bytes) -> None:
    routed = codec.route(with_metadata(samples.MESSAGE, metadata), samples.ALICE)
    head, tail = splice.split_at_seq(codec.encode(routed))
    assert decode_relay(head + b"42" + tail) == msgspec.structs.replace(routed, seq=42)


@pytest.mark.parametrize("conversation", [DECOY, f"{{{DECOY}}}", f"\\{DECOY}", DECOY * 16])
def test_seq_inside_an_identifier_is_not_taken_for_the_number(conversation: str) -> None:
    payload = msgspec.structs.replace(samples.MESSAGE.payload, conversation_id=conversation)
    frame = msgspec.structs.replace(samples.MESSAGE, id=DECOY, payload=payload)
    routed = codec.route(frame, samples.ALICE)
    head, tail = splice.split_at_seq(codec.encode(routed))
    assert decode_relay(head + b"42" + tail) == msgspec.structs.replace(routed, seq=42)


TIMESTAMP_DECOY = '},"timestamp":1,"type":"MESSAGE"},"signature":"'


@pytest.mark.parametrize("conversation", ["c", TIMESTAMP_DECOY, f'"{TIMESTAMP_DECOY}"'])
@pytest.mark.parametrize("name", [None, TIMESTAMP_DECOY.replace(" ", "")])
@pytest.mark.parametrize(
    "metadata", [None, b'{"x":{},"timestamp":1,"type":"MESSAGE"}', b'{"expiresIn":5000,"x":"\\"},\\"timestamp\\":"}']
)
def test_message_is_passed_on_from_the_text_that_was_signed(
    conversation: str, name: str | None, metadata: bytes | None
) -> None:
    frame = samples.MESSAGE if metadata is None else with_metadata(samples.MESSAGE, metadata)
    payload = msgspec.structs.replace(frame.payload, conversation_id=conversation)
    frame = msgspec.structs.replace(frame, payload=payload, id=msgspec.UNSET if name is None else name)
    text = encode(frame)
    if metadata is not None:
        text = text.replace(b'"conversationId"', b' "conversationId"')  # another form of it
    decoded = decode_client(text)
    assert isinstance(decoded.frame, frames.Message)
    assert decoded.signed_text == codec.signed_text(decoded.frame)
    wanted = splice.split_at_seq(codec.encode(codec.route(decoded.frame, samples.ALICE)))
    assert splice.routed(decoded.signed_text, samples.ALICE, decoded.frame.signature) == wanted


def test_control_search_for_the_first_occurrence_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoy in the payload is found by whoever does not search from the end."""

    def first(text: bytes) -> tuple[bytes, bytes]:
        head, _, tail = text.partition(b'"seq":0,')
        return head + b'"seq":', b"," + tail

    monkeypatch.setattr(splice, "split_at_seq", first)
    with pytest.raises(AssertionError):
        test_seq_inside_metadata_is_not_taken_for_the_number(b'{"seq":0,"x":1}')
