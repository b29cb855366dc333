import base64
from typing import Any

import msgspec
import pytest

from phantom_messenger.client import content
from phantom_messenger.client.content import MAX_TEXT_BYTES, Text
from phantom_messenger.client.errors import TextTooLong
from phantom_messenger.crypto import padding, session
from phantom_messenger.crypto.errors import InvalidMessage
from phantom_messenger.wire.limits import MAX_ENCRYPTED_CHARS

WRITTEN: dict[str, Any] = {
    "version": 1,
    "kind": "text",
    "body": "hello",
    "sentAt": 1_750_000_000_000,
    "sender": b"s" * 32,
    "recipient": b"r" * 32,
    "senderKey": b"k" * 32,
    "recipientKey": b"l" * 32,
}


def made(body: str = "hello") -> Text:
    return Text(
        body=body,
        sent_at=1_750_000_000_000,
        sender=b"s" * 32,
        recipient=b"r" * 32,
        sender_key=b"k" * 32,
        recipient_key=b"l" * 32,
    )


def padded(written: Any) -> bytes:
    return padding.pad(msgspec.msgpack.encode(written))


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in WRITTEN.items() if key != name}


@pytest.mark.parametrize(
    "body", ["", "hello", "two\nlines\t\0", "Grüße, 你好, 👩‍👩‍👧", "\x80\x80", "x" * MAX_TEXT_BYTES, "€" * 13_333]
)
def test_content_comes_back_as_it_was_written(body: str) -> None:
    assert content.decode(content.encode(made(body))) == made(body)


def test_content_is_a_map_with_the_names_of_the_specification() -> None:
    assert msgspec.msgpack.decode(padding.unpad(content.encode(made()))) == WRITTEN
    assert content.decode(padded(WRITTEN)) == made()


def test_texts_of_a_chat_all_have_one_size() -> None:
    assert {len(content.encode(made("x" * length))) for length in (0, 1, 20)} == {256}


@pytest.mark.parametrize("text", ["x" * 40_000, "é" * 20_000, "€" * 13_333 + "x", "👻" * 10_000])
def test_text_may_have_40000_bytes_and_not_one_more(text: str) -> None:
    content.check_length(text)
    with pytest.raises(TextTooLong, match=r"40,001 bytes.*40,000"):
        content.check_length(text + "x")


@pytest.mark.parametrize("character", ["x", "\0", "👻"])
def test_longest_text_fits_a_message_with_all_that_is_around_it(character: str) -> None:
    body = character * (MAX_TEXT_BYTES // len(character.encode()))
    longest = len(content.encode(made(body))) + session.MAX_OVERHEAD
    assert len(base64.b64encode(bytes(longest))) <= MAX_ENCRYPTED_CHARS


@pytest.mark.parametrize("text", ["\ud83d", "a\udc00b"])
def test_half_a_character_is_never_sent(text: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        content.check_length(text)
    with pytest.raises(UnicodeEncodeError):
        content.encode(made(text))


UNKNOWN: dict[str, Any] = {
    "another version": {**WRITTEN, "version": 2},
    "version 0": {**WRITTEN, "version": 0},
    "version as text": {**WRITTEN, "version": "1"},
    "another kind": {**WRITTEN, "kind": "receipt"},
    "kind as number": {**WRITTEN, "kind": 1},
    "one more field": {**WRITTEN, "color": "red"},
    "another spelling": {**without("sentAt"), "sent_at": 1},
    "body as bytes": {**WRITTEN, "body": b"hello"},
    "body missing": without("body"),
    "time missing": without("sentAt"),
    "time as fraction": {**WRITTEN, "sentAt": 1.5},
    "sender missing": without("sender"),
    "sender as text": {**WRITTEN, "sender": 7},
    "recipient missing": without("recipient"),
    "sender's key missing": without("senderKey"),
    "recipient's key missing": without("recipientKey"),
    "a list": list(WRITTEN.values()),
    "a text": "hello",
    "nothing": None,
}


@pytest.mark.parametrize("written", UNKNOWN.values(), ids=UNKNOWN)
def test_content_of_another_form_is_refused(written: Any) -> None:
    with pytest.raises(InvalidMessage):
        content.decode(padded(written))


def test_content_with_half_a_character_is_refused() -> None:
    written = msgspec.msgpack.encode(WRITTEN).replace(b"\xa5hello", b"\xa5\xed\xa0\xbdhe")
    with pytest.raises(InvalidMessage):
        content.decode(padding.pad(written))


def test_content_with_something_behind_it_is_refused() -> None:
    with pytest.raises(InvalidMessage):
        content.decode(padding.pad(msgspec.msgpack.encode(WRITTEN) + b"\x01"))


def test_every_shorter_content_is_refused() -> None:
    written = msgspec.msgpack.encode(WRITTEN)
    for length in range(len(written)):
        with pytest.raises(InvalidMessage):
            content.decode(padding.pad(written[:length]))


def test_content_without_padding_is_refused() -> None:
    for bare in (b"", msgspec.msgpack.encode(WRITTEN), bytes(256)):
        with pytest.raises(InvalidMessage):
            content.decode(bare)
