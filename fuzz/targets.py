"""What is fuzzed, and what must hold whatever comes: each target takes bytes and asserts.

The oracle of all of them is "documented refusals only". A target also gives seeds: good
inputs to begin with.
"""

import asyncio
import atexit
import json
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

sys.path[:0] = [
    str(Path(__file__).parents[1] / name)
    for name in ("tests", "tests/wire", "tests/crypto", "tests/client", "tests/vectors", "bench")
]

import content_samples
import crypto_samples
import msgspec
import suite2_samples
import vector_content2
import wire_samples
from echo import Echo, EchoConnection
from reference_frames import read_frames
from vector_reference2 import Rejected

from phantom_messenger.client import content, content1, content2, strict_map
from phantom_messenger.client.devices import kinds as device_kinds
from phantom_messenger.client.groups import contents as group_contents
from phantom_messenger.client.groups.contents import GroupSaid
from phantom_messenger.client.link import Link
from phantom_messenger.crypto import head, session, session2
from phantom_messenger.crypto.errors import CryptoError, InvalidMessage
from phantom_messenger.crypto.keys import OwnIdentity
from phantom_messenger.crypto.session2 import Session2
from phantom_messenger.relay import core, http
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.framing import PartialMessages
from phantom_messenger.wire import codec
from phantom_messenger.wire.codes import RequestError
from phantom_messenger.wire.limits import MAX_CONTROL_FRAMES, MAX_FRAGMENTS, MAX_HALF_BYTES, MAX_TRANSPORT_BYTES
from support.people import Person, canonical
from support.raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame
from support.simulated import Client, World
from support.structs import replace

UPGRADE: Final = http.Upgrade("AAAAAAAAAAAAAAAAAAAAAA==", "relay.test", "").encode()


@dataclass(frozen=True, slots=True)
class Target:
    """A function of bytes, and inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]


# --- the assembler: bytes -> frames -> messages -------------------------------------


class _Transport:
    """Stands for a socket: keeps what is written, and has buffers that are never empty, so that nothing is sent."""

    def __init__(self, pair: socket.socket) -> None:
        self._socket = pair
        self.written = bytearray()
        self.closed = False
        self.reads = True

    def get_extra_info(self, name: str) -> Any:
        return self._socket if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return 1

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: Sequence[bytes]) -> None:
        for part in parts:
            self.written += part

    def pause_reading(self) -> None:
        self.reads = False

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: object) -> None: ...

    def close(self) -> None:
        self.closed = True

    abort = close


class _Keeping(Echo):
    """A receiver that keeps what came."""

    def __init__(self) -> None:
        self.came: list[tuple[int, bytes]] = []

    def receive(self, session: Any, text: bytes) -> None:  # noqa: ARG002 - one connection
        self.came.append((TEXT, text))

    def receive_binary(self, session: Any, data: bytes) -> None:  # noqa: ARG002 - as above
        self.came.append((BINARY, data))


class _Fuzzed(EchoConnection):
    most_bytes = MAX_TRANSPORT_BYTES


_LOOP: Final = asyncio.new_event_loop()
_SERVER: Final = socket.create_server(("127.0.0.1", 0))
_SOCKET: Final = socket.create_connection(_SERVER.getsockname())
for _opened in (_LOOP, _SERVER, _SOCKET):
    atexit.register(_opened.close)


def _unmasked(written: bytes) -> tuple[list[bytes], int | None]:
    """Payloads of pongs, and the code of the first close, in what the relay wrote behind its handshake."""
    data = written.partition(b"\r\n\r\n")[2]
    pongs, code, at = [], None, 0
    while at < len(data):
        kind, length = data[at] & 15, data[at + 1]
        assert length <= 125, "nothing long is written here"
        payload = data[at + 2 : at + 2 + length]
        if kind == PONG:
            pongs.append(payload)
        elif kind == CLOSE and code is None:
            code = int.from_bytes(payload[:2]) if payload else 1000
        at += 2 + length
    return pongs, code


def assembler(data: bytes) -> None:
    """The relay's layer reads what an independent reader of RFC 6455 reads, and closes with a code that is right."""
    if len(data) < 2:
        return
    step, stream = data[0] + 1, data[1:]

    async def run() -> tuple[_Keeping, _Transport]:
        receiver = _Keeping()
        connection = _Fuzzed(receiver, "192.0.2.1", "relay.test", PartialMessages(MAX_HALF_BYTES))
        transport = _Transport(_SOCKET)
        connection.open(cast("asyncio.Transport", transport), UPGRADE, b"", lambda: None)
        for at in range(0, len(stream), step):
            if not transport.reads or transport.closed:
                break
            read = stream[at : at + step]
            connection.get_buffer(len(read))[: len(read)] = read
            connection.buffer_updated(len(read))
        return receiver, transport

    receiver, transport = _LOOP.run_until_complete(run())
    expected = read_frames(stream, MAX_TRANSPORT_BYTES, MAX_FRAGMENTS, MAX_CONTROL_FRAMES)
    pongs, code = _unmasked(bytes(transport.written))
    assert receiver.came == expected.messages
    assert pongs == expected.pings
    assert code in expected.codes, (code, expected)


def _assembler_seeds() -> list[bytes]:
    streams = [
        frame(TEXT, b'{"a":1}') + frame(PING, b"x") + frame(TEXT, b"\xc3\xa9"),
        frame(TEXT, b"ab", fin=False) + frame(PING, b"") + frame(CONTINUATION, b"c") + close_frame(1000, "bye"),
        frame(BINARY, bytes(range(200))) + frame(PONG, b"") + close_frame(None),
        frame(TEXT, b"x" * 300) + frame(TEXT, b"\xff") + frame(TEXT, b"y"),
        frame(TEXT, b"x", rsv=4),
        frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"),
        frame(TEXT, b"x", fin=False) + close_frame(1001, "leaving"),
        frame(3, b"") + close_frame(1005),
        bytes((0x81, 0xFF)) + (2**62).to_bytes(8) + bytes(4),
    ]
    return [bytes([step]) + stream for stream in streams for step in (0, 6, 255)]


# --- the codec ----------------------------------------------------------------------


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), "a name that stands twice was let through"
    return dict(pairs)


def decoder(data: bytes) -> None:
    """A frame or a refusal; a frame is JSON to the standard library too, and its canonical form is the same frame."""
    for decode in (codec.decode_client, codec.decode_relay):
        try:
            found = decode(data)
        except RequestError as refused:
            assert refused.details["reason"] == str(refused.reason)
            continue
        if found is None:
            continue
        value = json.loads(data, object_pairs_hook=_pairs)
        assert isinstance(value, dict)
        framed = found.frame if isinstance(found, codec.Decoded) else found
        again = decode(codec.encode(framed))
        assert (again.frame if isinstance(again, codec.Decoded) else again) == framed
    codec.request_head(data)


def _decoder_seeds() -> list[bytes]:
    rows = (wire_samples.FULL_CLIENT, wire_samples.LEAST_CLIENT, wire_samples.FULL_RELAY, wire_samples.LEAST_RELAY)
    return [codec.encode(found) for row in rows for found in row.values()]


# --- what is inside messages --------------------------------------------------------

_ENDS: Final = content.Ends(content_samples.SENDER, content_samples.SENDER_KEY, b"r" * 32, b"k" * 32)


def contents(data: bytes) -> None:
    """Content or a documented error; the second computation of content 2 reads the same, and refuses the same."""
    with suppress(InvalidMessage):
        content1.decode(data)
    try:
        members = strict_map.decode(data)
    except InvalidMessage:
        assert not content_samples.is_clear(data)
        return
    assert content_samples.is_clear(data)
    assert members == msgspec.msgpack.decode(data)
    expected = None
    with suppress(Rejected):
        expected = vector_content2.read(data, _ENDS.sender, _ENDS.sender_key)
    try:
        said = content2.decode(data, _ENDS)
    except InvalidMessage:
        known_here = {*group_contents.KINDS, *device_kinds.KINDS}
        assert expected is None or (expected.get("newer") and members["kind"] in known_here)
        return
    assert expected is not None
    if isinstance(said, GroupSaid):  # known here, and to the second reader a kind of a later version
        encoded = content2.encode_for_group(said, sender=_ENDS.sender, sender_key=_ENDS.sender_key)
        assert content2.decode(encoded, _ENDS) == said
        return
    if isinstance(said, content.BetweenDevices):  # as are these
        assert content2.decode(content2.encode(said, _ENDS), _ENDS) == said
        return
    assert expected.get("newer", False) is isinstance(said, content.Newer)
    assert all(getattr(said, name) == expected[name] for name in expected.keys() & {"body", *vector_content2.RECEIPTS})
    if isinstance(said, content.Newer):
        assert content2.read_again(said.whole) == said
    else:
        assert content2.decode(content2.encode(said, _ENDS), _ENDS) == said


def _content_seeds() -> list[bytes]:
    rows = (content_samples.TEXT, content_samples.RECEIPT, content_samples.PICTURE)
    found = [content_samples.Writer(content_samples.chance(seed)).write(row) for row in rows for seed in range(5)]
    old = [content1.encode(content1.of(content2.decode(row, _ENDS), _ENDS)) for row in found[:10]]  # type: ignore[arg-type] # both are known
    return [*found, *old]


# --- ratchet and session ------------------------------------------------------------

_ALICE, _BOB = crypto_samples.established()
_STATE: Final = session.dump(_BOB)


def ratchet(data: bytes) -> None:
    """A message that authenticates or a documented error; the state is what it was; so for a stored state."""
    try:
        session.decrypt(_BOB, session.parse(data), random=bytes, now=crypto_samples.NOW)
    except CryptoError:
        pass
    assert session.dump(_BOB) == _STATE
    try:
        session.load(data)
    except CryptoError:
        pass


def _ratchet_seeds() -> list[bytes]:
    state, messages = _ALICE, []
    for number in range(4):
        state, message = session.encrypt(state, b"x" * 10 * number, bytes)
        messages.append(message)
    return [*messages, _STATE, session.dump(_ALICE)]


# --- suite 2 ------------------------------------------------------------------------

_OFFERING, _ANSWERING, _ = suite2_samples.answered_offer()
_BOTH: Final = [session2.dump(state) for state in (_OFFERING, _ANSWERING)]
_PADDED: Final = b"x".ljust(256)


def suite2(data: bytes) -> None:
    """As for ``ratchet``; and whatever a peer who is authentic offers or answers ends in a documented way."""
    key = data[:1_184].ljust(1_184, b"\0")
    writers = [_carrying(part) for part in (head.KemKey(key), head.KemCiphertext(key[:1_088]))]
    for message in (data, *(session2.encrypt(writer, _PADDED, bytes)[1] for writer in writers)):
        for reader in (_OFFERING, _ANSWERING):
            with suppress(CryptoError):
                session2.decrypt(reader, head.parse(message), random=bytes, now=crypto_samples.NOW)
    assert [session2.dump(state) for state in (_OFFERING, _ANSWERING)] == _BOTH
    with suppress(CryptoError):
        session2.load(data)


def _carrying(part: head.Part) -> Session2:
    """The one who answers, carrying something else."""
    return replace(_ANSWERING, kem=replace(_ANSWERING.kem, carried=part))


def _suite2_seeds() -> list[bytes]:
    written = [session2.encrypt(state, _PADDED, bytes)[1] for state in (_OFFERING, _ANSWERING, suite2_samples.begin())]
    assert isinstance(_OFFERING.kem.carried, head.KemKey)
    return [*written, *_BOTH, _OFFERING.kem.carried.public, b"\xff" * 1_184]


# --- the relay ----------------------------------------------------------------------


def relay(data: bytes) -> None:
    """Two people send whatever they like: the relay never fails, and never ends a session but as documented."""
    world, faults, report = World(Config()), list[BaseException](), vars(core)["report"]
    vars(core)["report"] = faults.append
    try:
        clients = [world.login("alice", features=["many", "devices"]), world.login("bob")]
        for part in data.split(b"\n")[:20]:
            if part:
                clients[part[0] & 1].send(_filled(part[1:], clients))
        for client in clients:
            assert client.close_code() in {None, 1000, 1008, 4000, 4002, 4003}, client.connection.closed
            codes = [found["payload"].get("code") for found in client.take("ERROR")]
            assert 1007 not in codes
        assert faults == []
    finally:
        vars(core)["report"] = report
        world.close()


def _filled(text: bytes, clients: list[Client]) -> bytes:
    """Signed by its sender, if it is a frame, so that the fuzzer gets behind the signature."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(value, dict) or value.get("signature") != "?":
        return text
    person, frame = clients[0].person, {**value, "timestamp": clients[0].world.clock.wall}
    try:
        if value.get("type") == "MESSAGE_MANY":
            with suppress(AttributeError, KeyError, TypeError):
                _sign_copies(person, frame)
        return canonical(person.signed(frame))
    except (TypeError, ValueError, RecursionError):
        return text


def _sign_copies(person: Person, frame: Any) -> None:
    """Sign what the relay makes of a message to many."""
    payload = frame["payload"]
    shared = {name: payload[name] for name in ("conversationId", "messageId", "metadata") if name in payload}
    for part in payload["recipients"]:
        whole = {**shared, "encrypted": part.get("head", "") + payload["common"], "recipientId": part["recipientId"]}
        part["signature"] = person.signed({"type": "MESSAGE", "timestamp": frame["timestamp"], "payload": whole})[
            "signature"
        ]


def _relay_seeds() -> list[bytes]:
    alice, bob = Person("alice"), Person("bob")
    found = [
        alice.message(bob),
        alice.message_many([bob, "AAAAAAAAAAAAAAAAAAAAAA=="], heads=["QUJD"], group=True, order=alice.order(1)),
        alice.init(bob),
        alice.response(bob),
        alice.publish([1, 2], [3]),
        alice.account_delete(),
    ]
    signed = [canonical({**one, "signature": "?"}) for one in found]
    loose = [
        canonical(one)
        for one in (
            alice.ping(),
            alice.prekey_status(),
            alice.presence("idle"),
            alice.presence("typing", "conversation"),
            alice.asks_for(bob),
            alice.fetch(bob, alice),
            alice.confirm(1),
            alice.ack({"payload": {"messageId": alice.new_message_id(), "senderId": bob.id}}),
        )
    ]
    return [b"a" + one for one in (*signed, *loose)] + [b"\n".join(b"b" + one for one in loose + signed[:2])]


# --- HTTP ---------------------------------------------------------------------------


def handshake(data: bytes) -> None:
    """A request is answered, refused, or becomes a request that was made from it."""
    request = http.read_request(data)
    if isinstance(request, http.Request):
        found = http.judge(request, Config(), ready=True, version="0")
        if isinstance(found, http.Upgrade):
            again = http.read_request(found.encode().removesuffix(b"\r\n\r\n") + b"\r\nHost: x")
            assert isinstance(again, http.Request)
            assert again.only("sec-websocket-key") == found.key
            http.rate_limit_key("127.0.0.1", found.forwarded, Config())
            return
        request = found
    assert isinstance(request, http.Answer)
    head = request.encode().partition(b"\r\n\r\n")[0]
    assert b"\n" not in head.replace(b"\r\n", b"")


def _handshake_seeds() -> list[bytes]:
    good = UPGRADE.removesuffix(b"\r\n\r\n") + b"\r\nHost: relay.test"
    more = [b"\r\nOrigin: http://relay.test", b"\r\nX-Forwarded-For: 1.2.3.4, [::1]:5", b"\r\nContent-Length: 0"]
    return [good, *(good + one for one in more), b"GET /health HTTP/1.0", b"HEAD http://x/ready?y HTTP/1.1\r\nHost: x"]


# --- the client ---------------------------------------------------------------------


def link(data: bytes) -> None:
    """Whatever a relay sends, the client's link ends in a state and raises nothing."""
    made = Link(OwnIdentity(bytes(32)), user_id="x", audience="relay.test", now=0, wall=0)
    for number, part in enumerate(data.split(b"\n")[:20]):
        made.receive(part.decode("utf-8", "surrogateescape"), number)
        made.drain()


def _link_seeds() -> list[bytes]:
    rows = [codec.encode(found) for found in wire_samples.FULL_RELAY.values()]
    return [*rows, b"\n".join(rows)]


TARGETS: Final[dict[str, Target]] = {
    "assembler": Target(assembler, _assembler_seeds()),
    "decoder": Target(decoder, _decoder_seeds()),
    "contents": Target(contents, _content_seeds()),
    "ratchet": Target(ratchet, _ratchet_seeds()),
    "suite2": Target(suite2, _suite2_seeds()),
    "relay": Target(relay, _relay_seeds()),
    "handshake": Target(handshake, _handshake_seeds()),
    "link": Target(link, _link_seeds()),
}
