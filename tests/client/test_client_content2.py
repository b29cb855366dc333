from typing import Any, Final

import msgspec
import pytest
from content_samples import (
    COMMON,
    NUMBER,
    PICTURE,
    RECEIPT,
    SENDER,
    SENDER_KEY,
    TEXT,
    Writer,
    chance,
    drawn_value,
    is_clear,
)

from phantom_messenger.client import content2, strict_map
from phantom_messenger.client.content import (
    LAST_TIME_MS,
    LEAST_PADDED,
    MAX_RECEIPTS,
    MAX_TEXT_BYTES,
    Ends,
    Newer,
    Receipt,
    Said,
    Text,
)
from phantom_messenger.client.groups.contents import GroupSaid
from phantom_messenger.crypto import padding
from phantom_messenger.crypto.errors import InvalidMessage
from support.amounts import amount
from support.cases import each

ENDS: Final = Ends(SENDER, SENDER_KEY, b"r" * 32, b"l" * 32)
AT: Final = TEXT["sentAt"]
pack = msgspec.msgpack.encode


def decode(members: Any) -> Said | Newer | GroupSaid:
    return content2.decode(pack(members), ENDS)


def without(members: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in members.items() if key != name}


def test_text_and_receipt_are_maps_with_the_names_of_the_specification() -> None:
    assert msgspec.msgpack.decode(content2.encode(Text(sent_at=AT, body="hello"), ENDS)) == TEXT
    assert msgspec.msgpack.decode(content2.encode(Receipt(sent_at=AT, delivered=[NUMBER]), ENDS)) == RECEIPT


@pytest.mark.parametrize("body", ["", "hello", "two\nlines\t\0", "Grüße, 你好, 👩‍👩‍👧", "x" * MAX_TEXT_BYTES])
def test_text_comes_back_as_it_was_written(body: str) -> None:
    said = Text(sent_at=AT, body=body)
    assert content2.decode(content2.encode(said, ENDS), ENDS) == said


@pytest.mark.parametrize("status", ["delivered", "read", "burned", "undecryptable"])
@pytest.mark.parametrize("count", [0, 1, 2, MAX_RECEIPTS])
def test_receipt_comes_back_as_it_was_written(status: str, count: int) -> None:
    lists: dict[str, Any] = {status: [NUMBER] * count}
    said = Receipt(sent_at=AT, **lists)
    assert content2.decode(content2.encode(said, ENDS), ENDS) == said


def test_array_of_a_receipt_that_is_absent_is_empty() -> None:
    assert decode({**COMMON, "kind": "receipt"}) == Receipt(sent_at=AT)
    assert decode({**COMMON, "kind": "receipt", "read": []}) == Receipt(sent_at=AT)


def test_texts_and_receipts_of_a_chat_have_one_size() -> None:
    said: list[Text | Receipt] = [
        *(Text(sent_at=AT, body="x" * length) for length in (0, 1, 20, 250)),
        *(Receipt(sent_at=AT, delivered=[NUMBER] * count) for count in (0, 1, 5)),
    ]
    assert {len(padding.pad(content2.encode(one, ENDS), LEAST_PADDED)) for one in said} == {512}


@pytest.mark.parametrize("extra", [None, True, 7, "x", b"x", [1, [2]], {"a": {"b": []}}])
@pytest.mark.parametrize("members", [TEXT, RECEIPT], ids=["text", "receipt"])
def test_field_that_is_not_known_is_ignored(members: dict[str, Any], extra: Any) -> None:
    assert decode({**members, "color": extra, "recipient": b"somebody"}) == decode(members)


NEWER: dict[str, dict[str, Any]] = {
    "a kind that is not known": PICTURE,
    "a kind of one letter": {**COMMON, "kind": "x"},
    "a kind of 64 characters": {**COMMON, "kind": "group-change-2" + "x" * 50},
    "a kind in capital letters": {**COMMON, "kind": "text-"},
    "version 3 of a text": {**TEXT, "version": 3},
    "version 3 of a text without a body": {**COMMON, "version": 3},
    "version 3 of what is not known": {**PICTURE, "version": 3},
    "the greatest version": {**TEXT, "version": 2**64 - 1},
}


@pytest.mark.parametrize("members", NEWER.values(), ids=NEWER)
def test_what_is_not_known_is_kept_whole(members: dict[str, Any]) -> None:
    assert decode(members) == Newer(sent_at=AT, whole=pack(members))


def test_what_is_not_known_is_kept_in_the_form_in_which_it_came() -> None:
    for seed in range(50):
        written = Writer(chance(seed)).write(PICTURE)
        assert content2.decode(written, ENDS) == Newer(sent_at=AT, whole=written)


def test_what_was_not_known_is_read_once_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.delitem(content2.KINDS, "text")
        kept = decode(TEXT)
        assert isinstance(kept, Newer)
        assert content2.read_again(kept.whole) == kept
    assert content2.read_again(kept.whole) == Text(sent_at=AT, body="hello")


def test_what_was_not_known_and_lacks_its_fields_is_refused_once_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.delitem(content2.KINDS, "text")
        kept = decode(COMMON)
        assert isinstance(kept, Newer)
    with pytest.raises(InvalidMessage):
        content2.read_again(kept.whole)


def more(members: dict[str, Any], *pairs: bytes) -> bytes:
    """A map of fewer than 15 entries with further ones behind them, as these bytes."""
    written = pack(members)
    return bytes((written[0] + len(pairs),)) + written[1:] + b"".join(pairs)


def twice(members: dict[str, Any], name: str) -> bytes:
    return more(members, pack(name) + pack(members[name]))


def with_raw(encoded: bytes) -> bytes:
    """A text with a field of these bytes."""
    return more(TEXT, b"\xa1x" + encoded)


def nested(levels: int) -> Any:
    """So many arrays inside each other."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


REFUSED: dict[str, bytes] = {
    **{f"a text without {name}": pack(without(TEXT, name)) for name in TEXT},
    **{f"a picture without {name}": pack(without(PICTURE, name)) for name in COMMON},
    **{
        f"{name} as {value!r:.20}": pack({**members, name: value})
        for members, name, value in (
            (TEXT, "kind", 1),
            (TEXT, "kind", b"text"),
            (TEXT, "kind", ""),
            (TEXT, "kind", "Text"),
            (TEXT, "kind", "text\n"),
            (TEXT, "kind", "t\u00e9xt"),
            (TEXT, "kind", "x" * 65),
            (TEXT, "version", 1),
            (TEXT, "version", 0),
            (TEXT, "version", -3),
            (TEXT, "version", True),
            (TEXT, "version", "2"),
            (TEXT, "version", None),
            (TEXT, "sentAt", -1),
            (TEXT, "sentAt", LAST_TIME_MS + 1),
            (TEXT, "sentAt", "1"),
            (PICTURE, "sentAt", LAST_TIME_MS + 1),
            (TEXT, "sender", "s" * 32),
            (TEXT, "sender", "c3Nz"),
            (TEXT, "sender", b""),
            (TEXT, "sender", b"m" * 32),
            (PICTURE, "sender", b"m" * 32),
            (TEXT, "senderKey", b"m" * 32),
            (PICTURE, "senderKey", b"m" * 32),
            (TEXT, "senderKey", SENDER_KEY[1:]),
            (TEXT, "body", b"hello"),
            (TEXT, "body", None),
            (TEXT, "body", "x" * (MAX_TEXT_BYTES + 1)),
            (TEXT, "body", "€" * 13_334),
            (RECEIPT, "read", None),
            (RECEIPT, "read", NUMBER),
            (RECEIPT, "read", {}),
            (RECEIPT, "read", [None]),
            (RECEIPT, "read", [NUMBER[1:]]),
            (RECEIPT, "read", [NUMBER + "0"]),
            (RECEIPT, "read", [NUMBER.encode()]),
            (RECEIPT, "read", [NUMBER] * (MAX_RECEIPTS + 1)),
        )
    },
    "a kind twice": twice(TEXT, "kind"),
    "a body twice": twice(TEXT, "body"),
    "an unknown field twice": twice({**TEXT, "x": 1}, "x"),
    "a field twice deep inside": pack({**TEXT, "x": [[{"y": 0}]]}).replace(b"\x81\xa1y\0", b"\x82\xa1y\0\xa1y\1"),
    "a field twice, once in another form": more(TEXT, b"\xa1x\1", b"\xd9\1x\1"),
    "a name that is a number": pack({**TEXT, 7: 1}),
    "a name that is bytes": pack({**TEXT, b"x": 1}),
    "a name that is nothing": pack({**TEXT, None: 1}),
    "a name that is a number, inside": pack({**TEXT, "x": {7: 1}}),
    "a time that is a float": pack({**TEXT, "sentAt": 1.0}),
    "a float in an unknown field": pack({**TEXT, "x": 0.5}),
    "a short float inside an unknown field": with_raw(b"\x91\xca\x3f\x80\0\0"),
    "an extension": with_raw(b"\xd4\1\0"),
    "a longer extension": with_raw(b"\xc7\3\5abc"),
    "a time of MessagePack": with_raw(b"\xd6\xff\0\0\0\1"),
    "a byte that MessagePack never uses": with_raw(b"\xc1"),
    "text that is not UTF-8": with_raw(b"\xa2\xff\xfe"),
    "half a character": with_raw(b"\xa3\xed\xa0\xbd"),
    "a name that is not UTF-8": pack({**TEXT, "xyz": 1}).replace(b"xyz", b"x\xffz"),
    "nine levels": pack({**TEXT, "x": nested(8)}),
    "ten thousand levels": with_raw(b"\x91" * 10_000),
    "something behind it": pack(TEXT) + b"\xc0",
    "two": pack(TEXT) * 2,
    "an array": pack(list(TEXT.values())),
    "a text alone": pack("hello"),
    "a number": b"\2",
    "nothing": b"",
    "a map that is larger than it is": b"\xdf\xff\xff\xff\xff" + pack(TEXT)[1:],
    "an empty map": b"\x80",
}


@each("written", REFUSED.values(), ids=REFUSED)
def test_it_is_refused(written: bytes) -> None:
    with pytest.raises(InvalidMessage):
        content2.decode(written, ENDS)


def test_control_what_is_refused_differs_from_good_content_by_that_alone() -> None:
    assert decode({**TEXT, "x": nested(7)}) == decode(TEXT)
    assert content2.decode(with_raw(b"\1"), ENDS) == decode(TEXT)
    assert decode({**TEXT, "body": "€" * 13_333})
    assert decode({**RECEIPT, "read": [NUMBER] * MAX_RECEIPTS})
    assert len(REFUSED) > 60


def test_every_shorter_content_is_refused() -> None:
    for members in (TEXT, RECEIPT, PICTURE):
        written = pack(members)
        for length in range(len(written)):
            with pytest.raises(InvalidMessage):
                content2.decode(written[:length], ENDS)


def test_control_the_library_alone_takes_the_last_of_two() -> None:
    found = msgspec.msgpack.decode(twice(TEXT, "body")[:-1] + b"y", type=dict[str, Any])
    assert found["body"] == "helly"


# --- the reader of maps against another one ---------------------------------------


def accepted(data: bytes) -> bool:
    try:
        strict_map.decode(data)
    except InvalidMessage:
        return False
    return True


def test_map_is_read_in_every_form_as_the_library_reads_it() -> None:
    for seed in range(amount(300, 20_000)):
        draw = chance(seed)
        members = {f"field {n}": drawn_value(draw, 5) for n in range(draw.choice([0, 1, 5, 16]))}
        written = Writer(draw).write(members)
        assert strict_map.decode(written) == members == msgspec.msgpack.decode(written), seed
        assert is_clear(written), seed


def test_two_readers_agree_on_what_is_changed_on_the_way() -> None:
    counts = {True: 0, False: 0}
    for seed in range(amount(1_500, 300_000)):
        draw = chance(seed)
        written = bytearray(Writer(draw).write({f"f{n}": drawn_value(draw, 3) for n in range(3)}))
        for _ in range(draw.choice([1, 1, 2, 5])):
            written[draw.randrange(min(len(written), 60))] = draw.choice(
                [draw.randrange(256), *b"\x81\x91\xa1\xc0\xc1"]
            )
        expected = is_clear(bytes(written))
        assert accepted(bytes(written)) is expected, bytes(written).hex()
        if expected:
            assert strict_map.decode(bytes(written)) == msgspec.msgpack.decode(bytes(written))
        counts[expected] += 1
    assert min(counts.values()) > sum(counts.values()) // 10


def test_every_first_byte_is_judged_alike_by_two_readers() -> None:
    for first in range(256):
        for length in range(18):
            value = bytes((first,)) + bytes(length)
            assert accepted(b"\x81\xa1x" + value) is is_clear(b"\x81\xa1x" + value), value.hex()
            assert accepted(value) is is_clear(value), value.hex()


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (b"\x82\xa1x\1\xa1x\1", "twice"),
        (b"\x81\1\1", "a name"),
        (b"\x81\xa1x\xca\0\0\0\0", "a float"),
        (b"\x81\xa1x\xd4\1\0", "an extension"),
        (b"\x81\xa1x" + b"\x91" * 7 + b"\x90", "nine levels"),
        (b"\x81\xa1x\1\1", "something behind it"),
    ],
)
def test_control_both_readers_see_each_fault(written: bytes, what: str) -> None:
    assert (accepted(written), is_clear(written)) == (False, False), what


def test_what_this_version_knows_changes_with_each_kind_and_with_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = content2.known()
    assert before == ["2", *sorted(content2.KINDS)]
    assert {"receipt", "text", "sync-read"} <= set(before)
    monkeypatch.setattr(content2, "VERSION", 3)
    monkeypatch.setitem(content2.KINDS, "picture", content2.TextFields)
    assert content2.known() == ["3", *sorted([*before[1:], "picture"])]
