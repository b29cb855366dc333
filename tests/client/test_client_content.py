import base64
from typing import Any, Final

import msgspec
import pytest

from phantom_messenger.client import content, content1
from phantom_messenger.client.content import LAST_TIME_MS, MAX_RECEIPTS, MAX_TEXT_BYTES
from phantom_messenger.client.content1 import Receipt, Text
from phantom_messenger.client.errors import MessageTooLong
from phantom_messenger.crypto import padding, session
from phantom_messenger.crypto.errors import InvalidMessage
from phantom_messenger.wire.limits import MAX_ENCRYPTED_CHARS
from support.cases import each

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


NUMBER = "00000000-0000-4000-8000-000000000001"
RECEIPT: dict[str, Any] = {
    **{name: value for name, value in WRITTEN.items() if name != "body"},
    "kind": "receipt",
    "delivered": [NUMBER],
    "read": [],
    "burned": [NUMBER, NUMBER],
    "undecryptable": [],
}


def receipt(**told: list[str]) -> Receipt:
    ends = {name: getattr(made(), name) for name in ("sent_at", "sender", "recipient", "sender_key", "recipient_key")}
    return Receipt(**{"delivered": [], "read": [], "burned": [], "undecryptable": [], **ends, **told})


def padded(written: Any) -> bytes:
    return padding.pad(msgspec.msgpack.encode(written))


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in WRITTEN.items() if key != name}


@pytest.mark.parametrize(
    "body", ["", "hello", "two\nlines\t\0", "Grüße, 你好, 👩‍👩‍👧", "\x80\x80", "x" * MAX_TEXT_BYTES, "€" * 13_333]
)
def test_content_comes_back_as_it_was_written(body: str) -> None:
    assert content1.decode(content1.encode(made(body))) == made(body)


def test_content_is_a_map_with_the_names_of_the_specification() -> None:
    assert msgspec.msgpack.decode(padding.unpad(content1.encode(made()))) == WRITTEN
    assert content1.decode(padded(WRITTEN)) == made()


@pytest.mark.parametrize("status", ["delivered", "read", "burned", "undecryptable"])
def test_receipt_comes_back_as_it_was_written(status: str) -> None:
    for numbers in ([], [NUMBER], [NUMBER, NUMBER[::-1]], [NUMBER] * MAX_RECEIPTS):
        written = receipt(**{status: numbers})
        assert content1.decode(content1.encode(written)) == written
        assert getattr(written, status) == numbers


def test_receipt_is_a_map_with_the_names_of_the_specification() -> None:
    written = receipt(delivered=[NUMBER], burned=[NUMBER, NUMBER])
    assert msgspec.msgpack.decode(padding.unpad(content1.encode(written))) == RECEIPT
    assert content1.decode(padded(RECEIPT)) == written


def test_size_of_a_receipt_does_not_show_what_it_says() -> None:
    for count in (1, 2, 5, 200):
        said = [receipt(**{status: [NUMBER] * count}) for status in ("delivered", "read", "burned", "undecryptable")]
        assert len({len(content1.encode(one)) for one in said}) == 1


def test_longest_receipt_fits_a_message_with_all_that_is_around_it() -> None:
    full = receipt(**{status: [NUMBER] * MAX_RECEIPTS for status in ("delivered", "read", "burned", "undecryptable")})
    longest = len(content1.encode(full)) + session.MAX_OVERHEAD
    assert len(base64.b64encode(bytes(longest))) <= MAX_ENCRYPTED_CHARS


def test_texts_of_a_chat_all_have_one_size() -> None:
    assert {len(content1.encode(made("x" * length))) for length in (0, 1, 20, 250)} == {512}


def test_short_text_and_receipt_for_a_few_have_one_size() -> None:
    said: list[Text | Receipt] = [made("hello"), receipt(), receipt(delivered=[NUMBER]), receipt(read=[NUMBER] * 5)]
    assert {len(content1.encode(one)) for one in said} == {512}


def test_control_padded_to_256_a_short_text_shows_that_it_is_no_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content1, "LEAST_PADDED", 256)
    assert len(content1.encode(made("hello"))) < len(content1.encode(receipt(delivered=[NUMBER])))


@pytest.mark.parametrize("text", ["x" * 40_000, "é" * 20_000, "€" * 13_333 + "x", "👻" * 10_000])
def test_text_may_have_40000_bytes_and_not_one_more(text: str) -> None:
    content.check_length(text)
    with pytest.raises(MessageTooLong, match=r"40,001 bytes.*40,000"):
        content.check_length(text + "x")


@pytest.mark.parametrize("character", ["x", "\0", "👻"])
def test_longest_text_fits_a_message_with_all_that_is_around_it(character: str) -> None:
    body = character * (MAX_TEXT_BYTES // len(character.encode()))
    longest = len(content1.encode(made(body))) + session.MAX_OVERHEAD
    assert len(base64.b64encode(bytes(longest))) <= MAX_ENCRYPTED_CHARS


@pytest.mark.parametrize("text", ["\ud83d", "a\udc00b"])
def test_half_a_character_is_never_sent(text: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        content.check_length(text)
    with pytest.raises(UnicodeEncodeError):
        content1.encode(made(text))


@pytest.mark.parametrize("form", [b"\x8f", b"\xde", b"\xdf"], ids=["fixmap", "map 16", "map 32"])
@pytest.mark.parametrize("twice", [False, True])
def test_field_that_stands_twice_is_refused_in_any_form_of_a_map(form: bytes, twice: bool) -> None:
    plain = msgspec.msgpack.encode(WRITTEN)
    pair = msgspec.msgpack.encode("body") + msgspec.msgpack.encode("another")
    count = len(WRITTEN) + twice
    head = {b"\x8f": bytes((0x80 | count,)), b"\xde": b"\xde" + count.to_bytes(2), b"\xdf": b"\xdf" + count.to_bytes(4)}
    written = padding.pad(head[form] + plain[1:] + (pair if twice else b""))
    if twice:
        with pytest.raises(InvalidMessage, match="twice"):
            content1.decode(written)
    else:
        assert content1.decode(written) == made()


def test_field_that_stands_256_times_more_is_refused() -> None:
    """As many as its two bytes are read wrong with; of a number in four bytes 2^24 would do, and fit no message."""
    plain = msgspec.msgpack.encode(WRITTEN)
    pair = msgspec.msgpack.encode("body") + msgspec.msgpack.encode("")
    head = b"\xde" + (len(WRITTEN) + 256).to_bytes(2)
    with pytest.raises(InvalidMessage, match="twice"):
        content1.decode(padding.pad(head + plain[1:] + pair * 256))


def test_control_the_library_alone_takes_the_last_of_two() -> None:
    plain = msgspec.msgpack.encode(WRITTEN)
    pair = msgspec.msgpack.encode("body") + msgspec.msgpack.encode("another")
    found = msgspec.msgpack.decode(bytes((plain[0] + 1,)) + plain[1:] + pair, type=Text | Receipt)
    assert isinstance(found, Text)
    assert found.body == "another"


@pytest.mark.parametrize("sent_at", [b"\x01", b"\xcc\x01", b"\xcd\0\x01", b"\xd0\x01", b"\xcf" + bytes(7) + b"\x01"])
def test_integer_may_be_written_in_any_form(sent_at: bytes) -> None:
    plain = msgspec.msgpack.encode({**WRITTEN, "sentAt": 1})
    before, name, after = plain.partition(b"\xa6sentAt")
    assert after[:1] == b"\x01"
    found = content1.decode(padding.pad(before + name + sent_at + after[1:]))
    assert found.sent_at == 1


UNKNOWN: dict[str, Any] = {
    "another version": {**WRITTEN, "version": 2},
    "version 0": {**WRITTEN, "version": 0},
    "version as text": {**WRITTEN, "version": "1"},
    "another kind": {**WRITTEN, "kind": "image"},
    "no kind": without("kind"),
    "a text called receipt": {**WRITTEN, "kind": "receipt"},
    "a receipt called text": {**RECEIPT, "kind": "text"},
    "a receipt with a body": {**RECEIPT, "body": "hello"},
    "a receipt of another version": {**RECEIPT, "version": 2},
    "a receipt that lacks something": {name: value for name, value in RECEIPT.items() if name != "undecryptable"},
    "a receipt with a status of its own": {**RECEIPT, "laughed": []},
    "a receipt of too much": {**RECEIPT, "read": [NUMBER] * (MAX_RECEIPTS + 1)},
    "a receipt for a short id": {**RECEIPT, "read": [NUMBER[1:]]},
    "a receipt for a long id": {**RECEIPT, "read": [NUMBER + "0"]},
    "a receipt for no id": {**RECEIPT, "read": [None]},
    "a receipt for bytes": {**RECEIPT, "read": [NUMBER.encode()]},
    "a receipt for one": {**RECEIPT, "read": NUMBER},
    "kind as number": {**WRITTEN, "kind": 1},
    "one more field": {**WRITTEN, "color": "red"},
    "another spelling": {**without("sentAt"), "sent_at": 1},
    "body as bytes": {**WRITTEN, "body": b"hello"},
    "body missing": without("body"),
    "time missing": without("sentAt"),
    "time as fraction": {**WRITTEN, "sentAt": 1.5},
    "time as a whole float": {**WRITTEN, "sentAt": 1.0},
    "a text of one byte too many": {**WRITTEN, "body": "x" * (MAX_TEXT_BYTES + 1)},
    "sender missing": without("sender"),
    "sender as text": {**WRITTEN, "sender": 7},
    "recipient missing": without("recipient"),
    "sender's key missing": without("senderKey"),
    "recipient's key missing": without("recipientKey"),
    "a list": list(WRITTEN.values()),
    "a text": "hello",
    "nothing": None,
}


@each("written", UNKNOWN.values(), ids=UNKNOWN)
def test_content_of_another_form_is_refused(written: Any) -> None:
    with pytest.raises(InvalidMessage):
        content1.decode(padded(written))


def test_content_with_half_a_character_is_refused() -> None:
    written = msgspec.msgpack.encode(WRITTEN).replace(b"\xa5hello", b"\xa5\xed\xa0\xbdhe")
    with pytest.raises(InvalidMessage):
        content1.decode(padding.pad(written))


def test_content_with_something_behind_it_is_refused() -> None:
    with pytest.raises(InvalidMessage):
        content1.decode(padding.pad(msgspec.msgpack.encode(WRITTEN) + b"\x01"))


def test_every_shorter_content_is_refused() -> None:
    written = msgspec.msgpack.encode(WRITTEN)
    for length in range(len(written)):
        with pytest.raises(InvalidMessage):
            content1.decode(padding.pad(written[:length]))


def test_content_without_padding_is_refused() -> None:
    for bare in (b"", msgspec.msgpack.encode(WRITTEN), bytes(256)):
        with pytest.raises(InvalidMessage):
            content1.decode(bare)


ENDS: Final = content.Ends(sender=b"s" * 32, sender_key=b"k" * 32, recipient=b"r" * 32, recipient_key=b"l" * 32)


@pytest.mark.parametrize("status", ["delivered", "read", "burned", "undecryptable"])
def test_receipt_says_of_each_message_what_its_sender_has_said(status: str) -> None:
    lists: dict[str, Any] = {status: [NUMBER]}
    told = content.Receipt(sent_at=1_750_000_000_000, **lists)
    assert content1.said(content1.decode(content1.encode(content1.of(told, ENDS))), ENDS) == told


@pytest.mark.parametrize(
    ("clock", "written"),
    [(-1, 0), (0, 0), (1, 1), (LAST_TIME_MS, LAST_TIME_MS), (LAST_TIME_MS + 1, LAST_TIME_MS)],
)
def test_time_of_a_clock_that_shows_anything_can_be_written(clock: int, written: int) -> None:
    assert content.time_of(clock) == written
