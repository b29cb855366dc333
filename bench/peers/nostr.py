"""nostr-relay with LMDB: a signature on every event, as ours; it acknowledges before the commit."""

import json
import subprocess
from pathlib import Path
from typing import Any

from peers.common import VENV, Connection, Program, Stats, WebSocketConnection, dial, distribute
from phantom_messenger.loadgen import wire


class NostrConnection(WebSocketConnection):
    """A connection in the protocol of Nostr (NIP-01)."""

    head = (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )

    def __init__(self, stats: Stats, reads: str = "") -> None:
        super().__init__(stats)
        self._reads = reads

    def opened(self) -> None:
        """See ``WebSocketConnection``."""
        if self._reads:
            self.transport.write(wire.text_frame(json.dumps(["REQ", "s", {"#p": [self._reads]}]).encode()))
        else:
            self.is_ready()

    def handle_text(self, text: bytes) -> None:
        """See ``WebSocketConnection``."""
        if text.startswith(b'["EVENT"'):
            self.stats.delivered += 1
        elif text.startswith(b'["EOSE"'):
            self.is_ready()
        elif text.startswith(b'["OK"'):
            found: list[Any] = json.loads(text)
            if not found[2]:
                self.failed(f"refused: {found[3]}")
            self.accept()


class Nostr(Program):
    """See the module."""

    name = "nostr-relay (LMDB)"
    guarantee = "S, L1 soon after"
    unlike = "acknowledges before it commits; no mailbox that empties; Schnorr on secp256k1, verified in C"

    def command(self) -> tuple[list[str], dict[str, str]]:
        """See ``Program``."""
        config = self.folder / "nostr.yaml"
        config.write_text(
            f"""DEBUG: false
relay_name: bench
storage:
  class: nostr_relay.storage.kv.LMDBStorage
  path: {self.folder}/nostr.db
  map_size: 1073741824
  validators:
  - nostr_relay.validators.is_not_too_large
  - nostr_relay.validators.is_signed
  - nostr_relay.validators.is_recent
purple: {{host: 127.0.0.1, port: {self.port}, workers: 1, disable_compression: true}}
authentication: {{enabled: false}}
subscription_limit: 32
max_event_size: 8192
verification: {{nip05_verification: disabled}}
"""
        )
        return [str(VENV / "nostr-relay"), "-c", str(config), "serve", "--use-purple"], {}

    async def connect(self, pairs: int, count: int, body: str, stats: Stats) -> list[Connection]:
        """See ``Program``."""
        signer = Path(__file__).with_name("nostr_signer.py")
        made = subprocess.run(  # noqa: ASYNC221 - nothing else goes on
            [VENV / "python", signer, str(pairs), str(count), body], stdout=subprocess.PIPE, check=True
        ).stdout.splitlines()
        recipients, events = json.loads(made[0]), made[1:]
        for key in recipients:
            await dial(self.port, lambda key=key: NostrConnection(stats, key))  # type: ignore[misc]
        senders: list[Connection] = [await dial(self.port, lambda: NostrConnection(stats)) for _ in range(pairs)]
        distribute([wire.text_frame(event) for event in events], senders)
        return senders
