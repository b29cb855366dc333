"""JetStream of NATS, every message synced before it is acknowledged, without signatures."""

import asyncio
import json
from functools import partial
from typing import Any

from peers.common import VENV, Connection, PeerError, Program, Stats, dial, distribute


class NatsConnection(Connection):
    """A connection in the protocol of NATS' clients (docs.nats.io, client protocol)."""

    def __init__(self, stats: Stats, number: int, *, receives: bool) -> None:
        super().__init__(stats)
        self._number = number
        self._receives = receives
        self._buffer = b""
        self.answers: list[dict[str, Any]] = []

    def start(self) -> None:
        """See ``Connection``."""
        self.transport.write(
            b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
            + b"SUB in.%d 1\r\nSUB ack.%d 2\r\nPING\r\n" % (self._number, self._number)
        )

    def ask(self, subject: str, what: dict[str, Any]) -> None:
        """Ask JetStream for something; the answer comes where acknowledgements do."""
        text = json.dumps(what).encode()
        self.transport.write(b"PUB %b ack.%d %d\r\n%b\r\n" % (subject.encode(), self._number, len(text), text))

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        data = self._buffer + data
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            line = data[at:end]
            if line.startswith(b"MSG "):
                size = int(line.rpartition(b" ")[2])
                if len(data) < end + 4 + size:
                    break
                self._take(line, data[end + 2 : end + 2 + size])
                end += 2 + size
            elif line == b"PONG":
                self.is_ready()
            elif line == b"PING":
                self.transport.write(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                self.failed(line.decode())
            at = end + 2
        self._buffer = data[at:]

    def _take(self, line: bytes, payload: bytes) -> None:
        if line.split(b" ")[2] == b"1":  # the subscription to pushed messages, under the subject they were sent to
            self.stats.delivered += 1
        elif b'"seq":' in payload and b'"error"' not in payload and self._sent:
            self.accept()
        else:
            self.answers.append(json.loads(payload))


class Nats(Program):
    """See the module."""

    name = "NATS JetStream"
    guarantee = "L2"
    unlike = "no signature, no identity, no WebSocket; in Go"

    def command(self) -> tuple[list[str], dict[str, str]]:
        """See ``Program``."""
        config = self.folder / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self.folder}/js", sync_interval: always, max_file_store: 4GB }}\n'
        )
        return [str(VENV / "nats-server"), "-c", str(config)], {}

    async def connect(self, pairs: int, count: int, body: str, stats: Stats) -> list[Connection]:
        """See ``Program``."""
        senders = [await dial(self.port, partial(NatsConnection, stats, n, receives=False)) for n in range(pairs)]
        others = [await dial(self.port, partial(NatsConnection, stats, pairs + n, receives=True)) for n in range(pairs)]
        senders[0].ask("$JS.API.STREAM.CREATE.mail", {"name": "mail", "subjects": ["to.*"], "storage": "file"})
        await asyncio.sleep(0.5)
        for number, one in enumerate(others):
            consumer = {
                "deliver_subject": f"in.{pairs + number}",
                "ack_policy": "none",
                "filter_subject": f"to.{number}",
                "deliver_policy": "all",
            }
            one.ask("$JS.API.CONSUMER.CREATE.mail", {"stream_name": "mail", "config": consumer})
        await asyncio.sleep(1)
        for connection in [senders[0], *others]:
            if not connection.answers or "error" in connection.answers[0]:
                raise PeerError(f"JetStream: {connection.answers}")
        text = body.encode()
        frames = [
            b"PUB to.%d ack.%d %d\r\n%b\r\n" % (number % pairs, number % pairs, len(text), text)
            for number in range(count)
        ]
        distribute(frames, senders)
        return senders
