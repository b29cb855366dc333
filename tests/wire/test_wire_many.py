"""One message to many: what it comes to, what is refused of it, and what reading it costs."""

import json
from typing import Any, Final

import msgspec
import pytest
import wire_samples as samples
from msgspec import UNSET, Raw
from refusal_samples import refusal_of
from wire_samples import base64_of, dotted, found, replaced, written

from phantom_messenger.wire import codec, frames
from phantom_messenger.wire.codec import decode_client, encode, expanded
from phantom_messenger.wire.codes import ErrorCode, Reason, RequestError
from phantom_messenger.wire.limits import MAX_ENCRYPTED_CHARS, MAX_MANY_CHARS
from support.cases import each
from support.costs import instructions

MANY: Final = samples.MESSAGE_MANY
JSON: Final = samples.as_json(MANY)
RECIPIENTS: Final = ("payload", "recipients")


def recipients(count: int, **more: str) -> list[dict[str, Any]]:
    """So many, each with an id of 16 bytes."""
    return [
        {"recipientId": base64_of(16, seed=number), "signature": samples.SIGNATURE, **more} for number in range(count)
    ]


def many(count: int, common: int, head: int = 0, **more: Any) -> bytes:
    """A frame for so many, with so many characters of ``common`` and of each ``head``."""
    payload = {
        **samples.as_json(samples.LEAST_CLIENT["MESSAGE_MANY"])["payload"],
        "common": "A" * common,
        "recipients": recipients(count, **({"head": "B" * head} if head else {})),
        **more,
    }
    return written({**samples.as_json(samples.LEAST_CLIENT["MESSAGE_MANY"]), "payload": payload})


def decoded(text: bytes) -> frames.MessageMany:
    frame = decode_client(text).frame
    assert isinstance(frame, frames.MessageMany)
    return frame


# --- what it comes to ---------------------------------------------------------------


def single(frame: frames.MessageMany, part: frames.ManyRecipientPart) -> frames.Message:
    """The message that one recipient gets, made as a frame of its own."""
    payload = frame.payload
    return frames.Message(
        payload=frames.MessagePayload(
            conversation_id=payload.conversation_id,
            encrypted=(part.head or "") + payload.common,
            message_id=payload.message_id,
            metadata=payload.metadata,
            recipient_id=part.recipient_id,
        ),
        signature=part.signature,
        timestamp=frame.timestamp,
    )


@each("conversation", ["c", '"', "\\", '\\" }],{', " ~"])
@each("metadata", [UNSET, Raw(b"{}"), Raw('{"burnAfterRead":true,"é":"\\u0000"}'.encode())])
@each("head", [UNSET, samples.TRIPLES])
def test_expanded_text_is_what_a_message_to_each_is_signed_over(conversation: str, metadata: Any, head: Any) -> None:
    parts = [
        frames.ManyRecipientPart(head=head, recipient_id=user, signature=samples.SIGNATURE)
        for user in (samples.ALICE, samples.BOB)
    ]
    payload = msgspec.structs.replace(
        MANY.payload, conversation_id=conversation, metadata=metadata, recipients=parts, order=UNSET, group=UNSET
    )
    frame = decoded(encode(msgspec.structs.replace(MANY, payload=payload)))
    singles = [single(frame, part) for part in frame.payload.recipients]
    assert expanded(frame) == [codec.signed_text(message) for message in singles]
    for message in singles:
        assert decode_client(encode(message)).frame == message


def test_expanded_text_has_no_id_and_the_time_of_the_frame() -> None:
    for text in expanded(MANY):
        assert json.loads(text).keys() == {"payload", "timestamp", "type"}
        assert json.loads(text)["timestamp"] == samples.NOW


def test_signature_of_the_frame_is_the_last_one() -> None:
    found_text = decode_client(encode(MANY)).signed_text
    bare = {name: value for name, value in JSON.items() if name != "signature"}
    assert found_text == json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()


# --- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize("place", [("payload", "common"), (*RECIPIENTS, 0, "head"), (*RECIPIENTS, 1, "head")])
def test_parts_are_of_whole_triples(place: tuple[Any, ...]) -> None:
    for size in (3, 6, 45):
        decoded(written(replaced(JSON, place, base64_of(size))))
    for text in (base64_of(1), base64_of(2), base64_of(40), "AAA", "AAAAA", "AA-_", "AAA ", "AAAA\n", "\0AAA", "éAAA"):
        refusal = refusal_of(decode_client, written(replaced(JSON, place, text)))
        assert refusal.reason in {Reason.BASE64, Reason.FIELD}, text
        assert refusal.details["field"] == dotted(place), text


def test_two_parts_together_are_never_base64_that_is_not_canonical() -> None:
    """A head that is none, completed by the next one."""
    value = replaced(JSON, (*RECIPIENTS, 0, "head"), "AAAAA")
    refusal = refusal_of(decode_client, written(replaced(value, (*RECIPIENTS, 1, "head"), "A" * 7)))
    assert (refusal.reason, refusal.details["field"]) == (Reason.BASE64, "payload.recipients[0].head")


@pytest.mark.parametrize("kind", ["recipients", "targets"])
def test_nobody_is_named_twice(kind: str) -> None:
    if kind == "recipients":
        value = replaced(JSON, (*RECIPIENTS, 1, "recipientId"), samples.ALICE)
        field = "payload.recipients[1].recipientId"
    else:
        value = replaced(samples.as_json(samples.FULL_CLIENT["PREKEY_FETCH"]), ("payload", "targets", 1), samples.ALICE)
        field = "payload.targets[1]"
    refusal = refusal_of(decode_client, written(value))
    assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, field)


def test_recipients_are_accepted_up_to_their_number() -> None:
    assert len(decoded(many(200, 4)).payload.recipients) == 200
    for count in (0, 201):
        refusal = refusal_of(decode_client, many(count, 4))
        assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, "payload.recipients")


def test_order_needs_no_recipients() -> None:
    bare = replaced(JSON, RECIPIENTS, [])
    decoded_frame = decoded(written(bare))
    assert (decoded_frame.payload.recipients, codec.expanded(decoded_frame)) == ([], [])
    del bare["payload"]["order"]
    refusal = refusal_of(decode_client, written(bare))
    assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, "payload.recipients")
    large = replaced(replaced(JSON, RECIPIENTS, []), ("payload", "common"), "A" * (MAX_ENCRYPTED_CHARS + 4))
    assert refusal_of(decode_client, written(large)).reason is Reason.ENCRYPTED_SIZE


def test_targets_are_accepted_up_to_their_number() -> None:
    value = samples.as_json(samples.FULL_CLIENT["PREKEY_FETCH"])
    path = ("payload", "targets")
    users = [base64_of(16, seed=number) for number in range(21)]
    assert found(samples.as_json(decode_client(written(replaced(value, path, users[:20]))).frame), path) == users[:20]
    for wrong in ([], users):
        refusal = refusal_of(decode_client, written(replaced(value, path, wrong)))
        assert (refusal.reason, refusal.details["field"]) == (Reason.FIELD, "payload.targets")


@pytest.mark.parametrize("head", [0, 400])
def test_each_message_is_bounded_as_one_alone(head: int) -> None:
    most = MAX_ENCRYPTED_CHARS - head
    assert decoded(many(2, most, head))
    refusal = refusal_of(decode_client, many(2, most + 4, head))
    assert (refusal.reason, refusal.code) == (Reason.ENCRYPTED_SIZE, ErrorCode.MESSAGE_TOO_LARGE)
    assert refusal.details["limit"] == 61_440


def test_all_messages_together_are_bounded() -> None:
    common = MAX_MANY_CHARS // 128
    assert decoded(many(128, common))
    refusal = refusal_of(decode_client, many(128, common, 4))
    assert (refusal.reason, refusal.code) == (Reason.MANY_SIZE, ErrorCode.MESSAGE_TOO_LARGE)
    assert refusal.details["limit"] == 2_097_152


@pytest.mark.parametrize("member", ["recipients", "order"])
def test_duplicate_names_inside_are_found(member: str) -> None:
    inner = b'"revision":4294967295' if member == "order" else b'"signature":"%b"' % samples.SIGNATURE.encode()
    text = encode(MANY)
    assert inner in text
    assert refusal_of(decode_client, text.replace(inner, inner + b"," + inner, 1)).reason is Reason.DUPLICATE_NAME


# --- what it costs ------------------------------------------------------------------


def test_recipients_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 of them with half the work that each alone would take."""
    text = many(200, 4, 4)
    decoded(text)
    together = instructions(lambda: decode_client(text))
    monkeypatch.setattr(codec, "_are_canonical", lambda _: False)
    assert instructions(lambda: decode_client(text)) > 2 * together


def test_reading_together_finds_what_reading_alone_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each character of recipients' texts spoilt in turn: the same answer, whichever way they are read."""
    value = replaced(JSON, RECIPIENTS, recipients(3, head="AAAA"))

    def answers() -> list[tuple[Any, Any]]:
        found_answers: list[tuple[Any, Any]] = []
        for index in range(3):
            for member, text in value["payload"]["recipients"][index].items():
                for place in range(len(text)):
                    for wrong in "=-~B":
                        spoilt = f"{text[:place]}{wrong}{text[place + 1 :]}"
                        try:
                            decode_client(written(replaced(value, (*RECIPIENTS, index, member), spoilt)))
                            found_answers.append((None, None))
                        except RequestError as error:
                            found_answers.append((error.reason, error.details.get("field")))
        return found_answers

    together = answers()
    monkeypatch.setattr(codec, "_are_canonical", lambda _: False)
    assert together == answers()
    assert {reason for reason, _ in together} >= {None, Reason.BASE64}
