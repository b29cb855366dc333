"""XMPP over WebSocket (RFC 7395): ejabberd and Prosody, with the acknowledgements of XEP-0198."""

import base64
import os
import re
from pathlib import Path
from shutil import which

from peers.common import SYSTEM, Connection, Program, Stats, WebSocketConnection, dial, distribute
from phantom_messenger.loadgen import wire

_ACK = re.compile(rb"<a [^>]*h=['\"](\d+)['\"]")
_JID = re.compile(rb"<jid[^>]*>([^<]+)</jid>")
_OPEN = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"


class XmppConnection(WebSocketConnection):
    """Somebody anonymous who is logged in, bound, present and has stream management."""

    def __init__(self, stats: Stats, path: str) -> None:
        super().__init__(stats)
        key = base64.b64encode(os.urandom(16)).decode()
        self.head = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
        self._is_known = False
        self._acked = 0
        self.jid = b""

    def opened(self) -> None:
        """See ``WebSocketConnection``."""
        self.say(_OPEN)

    def say(self, text: bytes) -> None:
        """Send one stanza."""
        self.transport.write(wire.text_frame(text))

    def handle_text(self, text: bytes) -> None:
        """See ``WebSocketConnection``."""
        if text.startswith(b"<message"):
            self.stats.delivered += 1
        elif text.startswith(b"<a "):
            if found := _ACK.match(text):
                count, self._acked = int(found[1]) - self._acked, int(found[1])
                self.accept(min(count, len(self._sent)))
        elif text.startswith(b"<r"):
            self.say(b"<a xmlns='urn:xmpp:sm:3' h='0'/>")
        elif not self.ready.done():
            self._log_in(text)

    def _log_in(self, text: bytes) -> None:
        if b"features" in text and not self._is_known:
            self.say(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>")
        elif text.startswith(b"<success"):
            self._is_known = True
            self.say(_OPEN)
        elif b"features" in text:
            self.say(
                b"<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
            )
        elif found := _JID.search(text):
            self.jid = found[1]
            self.say(b"<presence xmlns='jabber:client'/>")
            self.say(b"<enable xmlns='urn:xmpp:sm:3'/>")
        elif text.startswith(b"<enabled"):
            self.is_ready()
        elif b"failure" in text or b"error" in text:
            self.failed(text.decode(errors="replace"))


class Xmpp(Program):
    """See the module."""

    guarantee = "L0"
    unlike = "no signature; nothing on disk, for everybody is connected"
    path = ""

    async def connect(self, pairs: int, count: int, body: str, stats: Stats) -> list[Connection]:
        """See ``Program``."""
        connections = [await dial(self.port, lambda: XmppConnection(stats, self.path)) for _ in range(2 * pairs)]
        senders, recipients = connections[:pairs], connections[pairs:]
        ask = wire.text_frame(b"<r xmlns='urn:xmpp:sm:3'/>")
        # The id is as long as ours, and one text serves all messages of a pair: nothing looks at it.
        frames = []
        for number in range(count):
            to = recipients[number % pairs].jid
            text = b"<message xmlns='jabber:client' type='chat' id='%032d' to='%b'><body>%b</body></message>"
            frames.append(wire.text_frame(text % (number, to, body.encode())) + ask)
        distribute(frames, senders)
        return list(senders)


class Ejabberd(Xmpp):
    """See the module."""

    name = "ejabberd"
    unlike = f"{Xmpp.unlike}; in Erlang"
    path = "/ws"

    def command(self) -> tuple[list[str], dict[str, str]]:
        """See ``Program``."""
        config = self.folder / "ejabberd.yml"
        config.write_text(
            f"""hosts: [localhost]
loglevel: error
listen:
  - port: {self.port}
    ip: "127.0.0.1"
    module: ejabberd_http
    tls: false
    request_handlers: {{/ws: ejabberd_http_ws}}
auth_method: anonymous
anonymous_protocol: sasl_anon
allow_multiple_connections: true
acl: {{}}
access_rules: {{c2s: {{allow: all}}}}
shaper_rules: {{c2s_shaper: none, max_user_sessions: 100000}}
modules:
  mod_stream_mgmt: {{max_ack_queue: infinity, ack_timeout: infinity, resend_on_timeout: false}}
"""
        )
        # Started as `ejabberdctl` does it, which insists on a user and a node name of the system's own.
        script = Path(which("ejabberdctl", path=SYSTEM) or "").read_text()
        found = re.search("^ERL_LIBS='?([^'\n]+)", script, re.MULTILINE)
        command = [
            "erl",
            "-noinput",
            "-mnesia",
            "dir",
            f'"{self.folder}/spool"',
            "-ejabberd",
            "quiet",
            "true",
            "-s",
            "ejabberd",
        ]
        environment = {"EJABBERD_CONFIG_PATH": str(config), "EJABBERD_LOG_PATH": f"{self.folder}/ejabberd.log"}
        return command, {"ERL_LIBS": found[1] if found else "", "HOME": str(self.folder), **environment}


class Prosody(Xmpp):
    """See the module."""

    name = "Prosody"
    unlike = f"{Xmpp.unlike}; in Lua"
    path = "/xmpp-websocket"

    def command(self) -> tuple[list[str], dict[str, str]]:
        """See ``Program``."""
        config = self.folder / "prosody.cfg.lua"
        config.write_text(
            f"""data_path = "{self.folder}"
pidfile = "{self.folder}/prosody.pid"
log = {{ error = "*console" }}
run_as_root = true
http_ports = {{ {self.port} }}
http_interfaces = {{ "127.0.0.1" }}
https_ports = {{}}
c2s_ports = {{}}
s2s_ports = {{}}
legacy_ssl_ports = {{}}
consider_websocket_secure = true
c2s_require_encryption = false
modules_enabled = {{ "saslauth", "websocket", "smacks", "presence", "message", "iq" }}
modules_disabled = {{ "s2s", "tls", "offline" }}
smacks_max_unacked_stanzas = 1000000
VirtualHost "localhost"
    authentication = "anonymous"
"""
        )
        return ["prosody", "--config", str(config), "-F"], {}
