"""RFC 6455 byte by byte, on real sockets."""

import json
import struct
from collections.abc import Iterator

import pytest

from support.raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawSocket, close_frame, frame, handshake
from support.relay_process import RelayProcess

MIB = 1_048_576
ASK = b'{"timestamp":1,"type":"PING"}'
"""Answered before any login."""


@pytest.fixture
def raw(relay: RelayProcess) -> Iterator[RawSocket]:
    with RawSocket(relay.address) as socket:
        yield socket.opened()


@pytest.fixture
def friend(relay: RelayProcess) -> Iterator[RawSocket]:
    """Somebody who is logged in."""
    with RawSocket(relay.address) as socket:
        yield socket.logged_in()


def answer(raw: RawSocket) -> str:
    """The type of the next frame, which is a text."""
    found = raw.read()
    assert found.opcode == TEXT, found
    return str(json.loads(found.payload)["type"])


def is_alive(raw: RawSocket) -> bool:
    raw.send(frame(TEXT, ASK))
    return answer(raw) == "PONG"


# --- what is well-formed ----------------------------------------------------------


def test_greeting_comes_first_and_is_text(relay: RelayProcess) -> None:
    with RawSocket(relay.address) as raw:
        assert raw.upgrade().status == 101
        assert answer(raw) == "CONNECTION_ACK"


def test_text_is_answered(raw: RawSocket) -> None:
    assert is_alive(raw)


def test_messages_of_one_segment_are_answered_in_order(raw: RawSocket) -> None:
    raw.send(b"".join(frame(TEXT, ASK.replace(b"{", b'{"id":"%d",' % number)) for number in range(20)))
    assert [json.loads(raw.read().payload)["id"] for _ in range(20)] == [str(number) for number in range(20)]


def test_frame_may_come_byte_by_byte(raw: RawSocket) -> None:
    for byte in frame(TEXT, ASK):
        raw.send(bytes([byte]))
    assert answer(raw) == "PONG"


def test_handshake_may_come_byte_by_byte(relay: RelayProcess) -> None:
    with RawSocket(relay.address) as raw:
        for byte in handshake(relay.address):
            raw.send(bytes([byte]))
        assert raw.response().status == 101
        assert answer(raw) == "CONNECTION_ACK"


def test_frame_may_follow_the_handshake_at_once(relay: RelayProcess) -> None:
    with RawSocket(relay.address) as raw:
        raw.send(handshake(relay.address) + frame(TEXT, ASK))
        assert raw.response().status == 101
        assert [answer(raw), answer(raw)] == ["CONNECTION_ACK", "PONG"]


def test_compression_is_not_accepted(relay: RelayProcess) -> None:
    with RawSocket(relay.address) as raw:
        response = raw.upgrade([("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")])
        assert response.status == 101
        assert "sec-websocket-extensions" not in response.head.lower()


def in_fragments(data: bytes, count: int, kind: int = TEXT) -> list[bytes]:
    """The frames of a message in so many fragments, most of them of one byte."""
    parts = [data[index : index + 1] for index in range(count - 1)] + [data[count - 1 :]]
    return [frame(CONTINUATION if index else kind, part, fin=index == count - 1) for index, part in enumerate(parts)]


@pytest.mark.parametrize("count", [2, 3, 28])
def test_message_may_come_in_fragments(raw: RawSocket, count: int) -> None:
    for part in in_fragments(ASK, count):
        raw.send(part)
    assert answer(raw) == "PONG"


def test_message_may_have_64_fragments(raw: RawSocket) -> None:
    raw.send(b"".join(in_fragments(b" " * 64 + ASK, 64)))
    assert answer(raw) == "PONG"


def test_fragments_may_be_empty(raw: RawSocket) -> None:
    raw.send(frame(TEXT, b"", fin=False) + frame(CONTINUATION, ASK, fin=False) + frame(CONTINUATION, b""))
    assert answer(raw) == "PONG"


def test_ping_may_come_between_fragments(raw: RawSocket) -> None:
    first, last = in_fragments(ASK, 2)
    raw.send(first + frame(PING, b"between"))
    assert raw.read() == (PONG, b"between")
    raw.send(last)
    assert answer(raw) == "PONG"


def test_character_may_be_split_between_fragments(raw: RawSocket) -> None:
    text = '{"timestamp":1,"type":"PING","x":"é"}'.encode()
    cut = text.index(b"\xa9")
    raw.send(frame(TEXT, text[:cut], fin=False) + frame(CONTINUATION, text[cut:]))
    assert answer(raw) == "ERROR"
    assert is_alive(raw)


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff" * 62 + b"y"], ids=["none", "a byte", "125 bytes"])
def test_ping_is_answered_with_its_payload(raw: RawSocket, payload: bytes) -> None:
    raw.send(frame(PING, payload))
    assert raw.read() == (PONG, payload)


def test_pong_that_nobody_asked_for_is_ignored(raw: RawSocket) -> None:
    raw.send(frame(PONG, b"x"))
    assert is_alive(raw)


# --- sizes ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [65_537, MIB])
def test_message_up_to_a_mebibyte_is_1006_and_the_connection_stays(friend: RawSocket, size: int) -> None:
    friend.send(frame(TEXT, b" " * size))
    found = json.loads(friend.read().payload)
    assert found["payload"]["code"] == 1006
    assert is_alive(friend)


def test_message_of_fragments_up_to_a_mebibyte_is_1006(friend: RawSocket) -> None:
    friend.send(frame(TEXT, b" " * (MIB // 2), fin=False) + frame(CONTINUATION, b" " * (MIB // 2)))
    assert json.loads(friend.read().payload)["payload"]["code"] == 1006
    assert is_alive(friend)


@pytest.mark.parametrize("size", [MIB + 1, 2**32, 2**62])
def test_frame_above_a_mebibyte_closes_with_1009_unread(friend: RawSocket, size: int) -> None:
    friend.send(struct.pack("!BBQ", 0x80 | TEXT, 0x80 | 127, size) + b"\0\0\0\0")
    assert friend.close_code() == 1009


def test_fragments_above_a_mebibyte_close_with_1009(friend: RawSocket) -> None:
    friend.send(frame(TEXT, b" " * (MIB // 2), fin=False) + frame(CONTINUATION, b" " * (MIB // 2 + 1), fin=False))
    assert friend.close_code() == 1009


def test_message_before_login_may_have_4096_bytes(raw: RawSocket) -> None:
    raw.send(frame(TEXT, b" " * (4_096 - len(ASK)) + ASK))
    assert answer(raw) == "PONG"


@pytest.mark.parametrize("sizes", [[4_097], [2_048, 2_049], [65_536], [MIB + 1]])
def test_longer_message_before_login_closes_with_1009_unread(raw: RawSocket, sizes: list[int]) -> None:
    for index, size in enumerate(sizes):
        last = index == len(sizes) - 1
        whole = frame(CONTINUATION if index else TEXT, b" " * size, fin=last)
        raw.send(whole[:14] if last else whole)
    assert raw.close_code() == 1009


def test_60_control_frames_a_minute_are_taken_and_the_next_closes_with_4002(raw: RawSocket) -> None:
    raw.send(b"".join(frame(PING, b"%d" % number) for number in range(59)) + frame(PONG, b"x"))
    assert [raw.read().payload for _ in range(59)] == [b"%d" % number for number in range(59)]
    assert is_alive(raw)
    raw.send(frame(PING, b"one too many"))
    found = raw.read()
    assert (found.opcode, found.payload) == (CLOSE, b"\x0f\xa2too many control frames")


def test_more_than_64_fragments_close_with_1009(raw: RawSocket) -> None:
    raw.send(b"".join(in_fragments(b" " * 64 + ASK, 65)))
    assert raw.close_code() == 1009


# --- what breaks the protocol -----------------------------------------------------

BROKEN = {
    "reserved bit 1": frame(TEXT, ASK, rsv=4),
    "reserved bit 2": frame(TEXT, ASK, rsv=2),
    "reserved bit 3": frame(TEXT, ASK, rsv=1),
    "reserved bit on a ping": frame(PING, b"", rsv=4),
    "reserved bit on a fragment": frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b"}", rsv=1),
    "no mask": frame(TEXT, ASK, masked=False),
    "no mask on a ping": frame(PING, b"", masked=False),
    **{f"opcode {opcode}": frame(opcode, b"") for opcode in (*range(3, 8), *range(0xB, 0x10))},
    "a continuation of nothing": frame(CONTINUATION, ASK),
    "an unfinished continuation of nothing": frame(CONTINUATION, ASK, fin=False),
    "a text within a fragmented one": frame(TEXT, b"{", fin=False) + frame(TEXT, ASK),
    "a binary within a fragmented text": frame(TEXT, b"{", fin=False) + frame(BINARY, b"x"),
    "a ping in fragments": frame(PING, b"", fin=False),
    "a close in fragments": frame(CLOSE, b"\x03\xe8", fin=False),
    "a ping of 126 bytes": frame(PING, b"x" * 126),
    "a pong of 126 bytes": frame(PONG, b"x" * 126),
    "a close of 126 bytes": frame(CLOSE, b"\x03\xe8" + b"x" * 124),
    "a close of one byte": frame(CLOSE, b"\x03"),
    "a length of 2^63": struct.pack("!BBQ", 0x80 | TEXT, 0x80 | 127, 2**63) + b"\0\0\0\0",
    **{f"close code {code}": close_frame(code) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)},
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_protocol_closes_with_1002(raw: RawSocket, data: bytes) -> None:
    raw.send(data)
    assert raw.close_code() == 1002


NOT_UTF8 = {
    "a lone continuation byte": b"\x80",
    "an overlong slash": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "beyond the last code point": b"\xf4\x90\x80\x80",
    "a cut character": b"\xe2\x82",
    "a byte that never occurs": b"\xff",
}


@pytest.mark.parametrize("data", NOT_UTF8.values(), ids=NOT_UTF8)
@pytest.mark.parametrize("fragments", [1, 2])
def test_invalid_utf8_closes_with_1007(raw: RawSocket, data: bytes, fragments: int) -> None:
    text = b'{"x":"' + data + b'"}'
    raw.send(b"".join(in_fragments(text, fragments)))
    assert raw.close_code() == 1007


def test_invalid_utf8_in_a_close_reason_closes_with_1007(raw: RawSocket) -> None:
    raw.send(frame(CLOSE, b"\x03\xe8\xff"))
    assert raw.close_code() == 1007


def test_binary_message_closes_with_4003(raw: RawSocket) -> None:
    raw.send(frame(BINARY, ASK))
    assert json.loads(raw.read().payload)["payload"]["code"] == 1001
    assert raw.close_code() == 4003


# --- closing ----------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 3000, 4000, 4999])
def test_close_is_echoed_and_the_socket_ends(raw: RawSocket, code: int) -> None:
    raw.send(close_frame(code, "bye"))
    assert raw.close_code() == code
    assert raw.is_at_end()


def test_close_without_a_code_is_answered(raw: RawSocket) -> None:
    raw.send(close_frame(None))
    found = raw.read()
    assert found.opcode == CLOSE
    assert found.payload[:2] in (b"", b"\x03\xe8")
    assert raw.is_at_end()


def test_nothing_is_answered_behind_a_close(raw: RawSocket) -> None:
    raw.send(close_frame(1000) + frame(TEXT, ASK) + frame(PING, b"x"))
    assert raw.read().opcode == CLOSE
    assert raw.is_at_end()


def test_socket_ends_though_the_client_does_not_answer_the_close(raw: RawSocket) -> None:
    raw.send(frame(CONTINUATION, b""))
    assert raw.read().opcode == CLOSE
    assert raw.is_at_end()


def test_relay_outlives_sockets_that_end_anywhere(relay: RelayProcess) -> None:
    whole = handshake(relay.address) + frame(TEXT, ASK) + frame(PING, b"x") + close_frame(1000)
    for length in range(0, len(whole), 9):
        with RawSocket(relay.address) as raw:
            raw.send(whole[:length])
    with RawSocket(relay.address) as raw:
        assert is_alive(raw.opened())
