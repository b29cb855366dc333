"""Mosquitto with QoS 1: acknowledged from memory, without signatures."""

from functools import partial

from peers.common import Connection, Program, Stats, dial, distribute

_CONNACK, _PUBLISH, _PUBACK, _SUBACK = 2, 3, 4, 9


class MqttConnection(Connection):
    """A connection in MQTT 3.1.1 (OASIS standard, 2014)."""

    def __init__(self, stats: Stats, name: bytes, reads: bytes = b"") -> None:
        super().__init__(stats)
        self._name = name
        self._reads = reads
        self._buffer = b""

    def start(self) -> None:
        """See ``Connection``."""
        self.transport.write(packet(0x10, text(b"MQTT") + b"\x04\x02\x00\x00" + text(self._name)))
        if self._reads:
            self.transport.write(packet(0x82, b"\x00\x01" + text(self._reads) + b"\x01"))

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        data = self._buffer + data
        at, answers = 0, []
        while (found := _unpacked(data, at)) is not None:
            kind, body, at = found
            if kind == _PUBACK:
                self.accept()
            elif kind == _PUBLISH:
                self.stats.delivered += 1
                size = int.from_bytes(body[:2])
                answers.append(packet(0x40, body[2 + size : 4 + size]))
            elif (kind == _CONNACK and not self._reads) or kind == _SUBACK:
                self.is_ready()
        self._buffer = data[at:]
        if answers:
            self.transport.write(b"".join(answers))


def text(word: bytes) -> bytes:
    """A string with its length."""
    return len(word).to_bytes(2) + word


def packet(head: int, body: bytes) -> bytes:
    """A control packet."""
    size, length = len(body), b""
    while True:
        size, low = size >> 7, size & 127
        length += bytes([low | (128 if size else 0)])
        if not size:
            return bytes([head]) + length + body


def _unpacked(data: bytes, at: int) -> tuple[int, bytes, int] | None:
    """Kind and body of the next packet, and where it ends; None if it is not whole."""
    size, shift, place = 0, 0, at + 1
    while place < len(data):
        size |= (data[place] & 127) << shift
        shift += 7
        place += 1
        if data[place - 1] < 128:  # noqa: PLR2004 - MQTT 2.2.3
            return None if len(data) < place + size else (data[at] >> 4, data[place : place + size], place + size)
    return None


class Mosquitto(Program):
    """See the module."""

    name = "Mosquitto"
    guarantee = "L0"
    unlike = "no signature, no identity, no WebSocket, nothing on disk; in C"

    def command(self) -> tuple[list[str], dict[str, str]]:
        """See ``Program``."""
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n"
            "persistence false\nlog_type error\n"
        )
        return ["mosquitto", "-c", str(config)], {}

    async def connect(self, pairs: int, count: int, body: str, stats: Stats) -> list[Connection]:
        """See ``Program``."""
        for number in range(pairs):
            await dial(self.port, partial(MqttConnection, stats, b"r%d" % number, b"to/%d" % number))
        senders: list[Connection] = [
            await dial(self.port, partial(MqttConnection, stats, b"s%d" % number)) for number in range(pairs)
        ]
        frames = [
            packet(0x32, text(b"to/%d" % (n % pairs)) + (n // pairs % 60_000 + 1).to_bytes(2) + body.encode())
            for n in range(count)
        ]
        distribute(frames, senders)
        return senders
