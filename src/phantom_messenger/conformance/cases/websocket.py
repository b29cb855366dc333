"""Frames of RFC 6455: what is read, what is answered, and what closes the connection."""

import json
from typing import Final

from phantom_messenger.conformance import wire
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Failure, Group, Play
from phantom_messenger.conformance.wire import BINARY, CLOSE, FIN, PING, TEXT, ws_frame

websocket: Final = Group("websocket", "Transport", "WebSocket Close Codes")

_CONTINUATION: Final = 0
_MEGABYTE: Final = 1_048_576
_MESSAGE_BYTES: Final = 65_536
_EARLY_BYTES: Final = 4_096
_FRAGMENTS: Final = 64


def _padded(text: bytes, size: int) -> bytes:
    """The same JSON with white space up to this size."""
    return text[:1] + b" " * (size - len(text)) + text[1:]


@websocket.case("answers one that it receives with ERROR 1001 `binary` and close 4003")
async def binary_message_is_an_error_and_closes(stage: Stage) -> None:
    alice = await stage.user()
    await alice.socket.send_raw(ws_frame(BINARY, b"{}"))
    await alice.refused("binary", id=None)
    await alice.closes(4003)


@websocket.case("Text that is not UTF-8 is close 1007")
async def text_that_is_not_utf_8_closes(stage: Stage) -> None:
    client = await stage.connect()
    await client.socket.send_text(b'{"type":"PING","timestamp":1,"id":"\xff"}')
    await client.closes(1007)


_VIOLATIONS: Final = {
    "unmasked-frame-closes": ws_frame(TEXT, b"{}", is_masked=False),
    "reserved-bit-closes": ws_frame(TEXT, b"{}", first=FIN | 0x40),
    "unknown-opcode-closes": ws_frame(3),
    "unknown-control-frame-closes": ws_frame(11),
    "fragmented-ping-closes": ws_frame(PING, first=0),
    "ping-of-126-bytes-closes": ws_frame(PING, bytes(126)),
    "continuation-of-nothing-closes": ws_frame(_CONTINUATION, b"{}"),
    "text-within-a-fragmented-message-closes": ws_frame(TEXT, b"{", first=0) + ws_frame(TEXT, b"{}"),
    "close-code-that-nobody-may-send-closes": ws_frame(CLOSE, (1005).to_bytes(2, "big")),
    "close-frame-of-one-byte-closes": ws_frame(CLOSE, b"\x03"),
}
"""By the name of the case: what breaks RFC 6455."""


def _violation(data: bytes) -> Play:
    async def play(stage: Stage) -> None:
        client = await stage.connect()
        await client.socket.send_raw(data)
        await client.closes(1002)

    return play


for _name, _data in _VIOLATIONS.items():
    websocket.add(_name, "any other violation of RFC 6455 is close 1002", _violation(_data))


@websocket.case("A message above 65,536 bytes, as received after login, is ERROR 1006 `message-size`")
async def message_above_64_kib_is_refused_and_the_connection_stays(stage: Stage) -> None:
    alice = await stage.user()
    text = wire.canonical(alice.make("PING", id="1"))
    await alice.socket.send_text(_padded(text, _MESSAGE_BYTES + 1))
    await alice.refused("message-size")
    await alice.ping()


@websocket.case(
    "| MAX_MESSAGE_BYTES | 65,536 | a message as received; 1006 |", section="Limits", reference="Message Size Limits"
)
async def message_of_64_kib_is_read(stage: Stage) -> None:
    alice = await stage.user()
    await alice.socket.send_text(_padded(wire.canonical(alice.make("PING", id="1")), _MESSAGE_BYTES))
    await alice.expect("PONG", id="1")


@websocket.case("A WebSocket frame, or a fragmented message, above 1,048,576 bytes (before login above 4,096)")
async def frame_above_a_mebibyte_closes(stage: Stage) -> None:
    alice = await stage.user()
    await alice.socket.send_raw(ws_frame(TEXT, b"x" * (_MEGABYTE + 1))[:64])  # its head says it
    await alice.closes(1009)


@websocket.case("A WebSocket frame, or a fragmented message, above 1,048,576 bytes (before login above 4,096)")
async def fragments_above_a_mebibyte_close(stage: Stage) -> None:
    alice = await stage.user()
    half = b"x" * (_MEGABYTE // 2)
    await alice.socket.send_raw(ws_frame(TEXT, half, first=0) + ws_frame(_CONTINUATION, half + b"x", first=0))
    await alice.closes(1009)


@websocket.case("| MAX_EARLY_BYTES | 4,096 | the same before login; close 1009 |", section="Limits")
async def more_than_4_kib_before_login_closes(stage: Stage) -> None:
    client = await stage.connect()
    text = wire.canonical(client.make("PING", id="1"))
    await client.socket.send_text(_padded(text, _EARLY_BYTES))
    await client.expect("PONG", id="1")
    await client.socket.send_text(_padded(text, _EARLY_BYTES + 1))
    await client.closes(1009)


@websocket.case("a message of more than 64 fragments, is close 1009")
async def sixty_fifth_fragment_closes(stage: Stage) -> None:
    client = await stage.connect()
    text = wire.canonical(client.make("PING", id="1"))
    first, *rest = [text[at : at + 1] for at in range(_FRAGMENTS - 1)] + [text[_FRAGMENTS - 1 :]]
    middle = [ws_frame(_CONTINUATION, part, first=0) for part in rest[:-1]]
    await client.socket.send_raw(b"".join([ws_frame(TEXT, first, first=0), *middle, ws_frame(_CONTINUATION, rest[-1])]))
    await client.expect("PONG", id="1")
    more = [ws_frame(_CONTINUATION, b" ", first=0) for _ in range(_FRAGMENTS)]
    await client.socket.send_raw(b"".join([ws_frame(TEXT, b"{", first=0), *more]))
    await client.closes(1009)


@websocket.case("A frame of this protocol is one JSON object in one WebSocket **text** message (RFC 6455).")
async def fragments_with_a_ping_between_them_are_one_message(stage: Stage) -> None:
    client = await stage.connect()
    text = wire.canonical(client.make("PING", id="1"))
    await client.socket.send_raw(
        ws_frame(TEXT, text[:5], first=0) + ws_frame(PING, b"between") + ws_frame(_CONTINUATION, text[5:])
    )
    await client.expect("PONG", id="1")
    if client.socket.pongs != [b"between"]:
        raise Failure(f"the WebSocket ping is answered with {client.socket.pongs}")


@websocket.case("WebSocket pings are answered", reference="")
async def websocket_ping_is_answered_with_what_it_carried(stage: Stage) -> None:
    client = await stage.connect()
    await client.socket.send_raw(ws_frame(PING, b"one") + ws_frame(PING))
    await client.send("PING", id="1")
    await client.expect("PONG", id="1")
    if client.socket.pongs != [b"one", b""]:
        raise Failure(f"two WebSocket pings are answered with {client.socket.pongs}")


@websocket.case("More than 60 control frames (pings, pongs, closes) on a connection in any 60 s are close 4002.")
async def sixty_first_control_frame_closes(stage: Stage) -> None:
    client = await stage.connect()
    await client.socket.send_raw(ws_frame(PING) * 60)
    await client.ping()
    await client.socket.send_raw(ws_frame(PING))
    await client.closes(4002)


@websocket.case("the account was deleted; or the client closed (the relay echoes its code)", section="Close codes")
async def close_of_a_client_is_echoed(stage: Stage) -> None:
    for code in (1000, 1001, 4999):
        client = await stage.connect()
        await client.socket.send_raw(ws_frame(CLOSE, code.to_bytes(2, "big")))
        await client.closes(code)


@websocket.case("The order of members and white space are free", section="Frames", reference="Message Envelope")
async def order_of_members_and_white_space_are_free(stage: Stage) -> None:
    client = await stage.connect()
    text = json.dumps({"type": "PING", "timestamp": client.now(), "id": "1"}, indent="\t").encode()
    await client.socket.send_text(b"\r\n " + text + b" \n")
    await client.expect("PONG", id="1")


@websocket.case("The relay processes the frames of a connection in order.", reference="")
async def frames_are_processed_in_order(stage: Stage) -> None:
    alice, bob = await stage.users()
    frames = [alice.make("MESSAGE", alice.message(bob.id), id=str(number)) for number in range(20)]
    texts = [ws_frame(TEXT, wire.canonical(frame)) for frame in frames]
    await alice.socket.send_raw(b"".join(texts))
    for frame in frames:
        await alice.accepted(frame)
    for frame in frames:
        await bob.expect("MESSAGE", {"messageId": frame["payload"]["messageId"]})
