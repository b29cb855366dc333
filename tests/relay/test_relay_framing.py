"""Frame headers of RFC 6455: what is read of them, byte by byte, and what is refused."""

import pytest

from phantom_messenger.relay.framing import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_HEADER_BYTES,
    PING,
    PONG,
    TEXT,
    BrokenFrame,
    Header,
    PartialMessages,
    read_header,
    read_payload,
    text_header,
)
from support.raw_socket import frame

MASK = bytes(4)
WHOLE = [
    (bytes((0x81, 0x80)), Header(TEXT, fin=True, size=6, length=0)),
    (bytes((0x01, 0x80)), Header(TEXT, fin=False, size=6, length=0)),
    (bytes((0x82, 0xFD)), Header(BINARY, fin=True, size=6, length=125)),
    (bytes((0x80, 0x81)), Header(CONTINUATION, fin=True, size=6, length=1)),
    (bytes((0x81, 0xFE)) + (126).to_bytes(2), Header(TEXT, fin=True, size=8, length=126)),
    (bytes((0x81, 0xFE)) + (65_535).to_bytes(2), Header(TEXT, fin=True, size=8, length=65_535)),
    (bytes((0x81, 0xFF)) + (65_536).to_bytes(8), Header(TEXT, fin=True, size=14, length=65_536)),
    (bytes((0x81, 0xFF)) + (2**63 - 1).to_bytes(8), Header(TEXT, fin=True, size=14, length=2**63 - 1)),
    (bytes((0x88, 0xFD)), Header(CLOSE, fin=True, size=6, length=125, is_control=True)),
    (bytes((0x89, 0x80)), Header(PING, fin=True, size=6, length=0, is_control=True)),
    (bytes((0x8A, 0x80)), Header(PONG, fin=True, size=6, length=0, is_control=True)),
]
BROKEN = {
    "first reserved bit": bytes((0xC1, 0x80)),
    "second reserved bit": bytes((0xA1, 0x80)),
    "third reserved bit": bytes((0x91, 0x80)),
    "reserved data opcode": bytes((0x83, 0x80)),
    "reserved control opcode": bytes((0x8B, 0x80)),
    "no mask": bytes((0x81, 0x00)),
    "no mask and long": bytes((0x81, 0x7F)),
    "fragmented control frame": bytes((0x09, 0x80)),
    "control frame of 126 bytes": bytes((0x89, 0xFE)),
    "125 bytes in two": bytes((0x81, 0xFE)) + (125).to_bytes(2),
    "65,535 bytes in eight": bytes((0x81, 0xFF)) + (65_535).to_bytes(8),
    "highest bit": bytes((0x81, 0xFF)) + (2**63).to_bytes(8),
}


@pytest.mark.parametrize(("head", "header"), WHOLE, ids=[head.hex() for head, _ in WHOLE])
def test_header_is_read_when_it_is_complete(head: bytes, header: Header) -> None:
    whole = head + MASK
    assert len(whole) == header.size <= MAX_HEADER_BYTES
    assert [read_header(whole[:length]) for length in range(len(whole))] == [None] * len(whole)
    assert read_header(whole) == read_header(whole + b"payload") == header
    assert header.is_control == (header.opcode >= CLOSE)


@pytest.mark.parametrize("head", BROKEN.values(), ids=BROKEN)
def test_broken_header_is_refused_as_soon_as_it_shows(head: bytes) -> None:
    with pytest.raises(BrokenFrame):
        read_header(head)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_payload_is_unmasked(length: int) -> None:
    payload = (b"payload " * 10_000)[:length]
    sent = frame(TEXT, payload)
    header = read_header(sent[:MAX_HEADER_BYTES])
    assert header == Header(TEXT, fin=True, size=len(sent) - length, length=length)
    assert read_payload(sent, header) == payload


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, "8100"),
        (125, "817d"),
        (126, "817e007e"),
        (65_535, "817effff"),
        (65_536, "817f0000000000010000"),
    ],
)
def test_header_of_what_is_written_is_as_short_as_it_can_be(length: int, header: str) -> None:
    assert text_header(length).hex() == header


def test_whoever_holds_the_most_is_ended_until_it_is_not_too_much() -> None:
    ended: list[str] = []
    ends = {name: lambda name=name: ended.append(name) for name in "abcd"}
    partial = PartialMessages(100)
    for name, count in (("a", 30), ("b", 40), ("c", 30)):
        partial.hold(ends[name], count)
    assert ended == [], "as much as is allowed"
    partial.hold(ends["a"], 31)
    assert ended == ["b"]
    partial.hold(ends["d"], 39)
    assert ended == ["b"], "what it held is free again"
    partial.hold(ends["c"], 0)
    partial.hold(ends["d"], 69)
    assert ended == ["b"]
    partial.hold(ends["b"], 32)
    assert ended == ["b", "d"]
    partial.hold(ends["a"], 0)
    partial.hold(ends["c"], 101)
    assert ended == ["b", "d", "c"], "the largest alone"


def test_among_equals_the_one_that_has_held_it_for_longest_is_ended() -> None:
    ended: list[str] = []
    ends = {name: lambda name=name: ended.append(name) for name in "ab"}
    partial = PartialMessages(99)
    for name in "ab":
        partial.hold(ends[name], 50)
    assert ended == ["a"]
