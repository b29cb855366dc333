"""A bridge between HTTP and conversations: a POST becomes a message, and a message becomes a POST.

    export PHANTOM_PASSPHRASE='some words of mine' WEBHOOK_SECRET='at least sixteen characters'
    phantom contacts add -p webhook bob ID
    python examples/webhook.py wss://relay.example/ws http://127.0.0.1:9000/hook

    curl -H "Authorization: Bearer $WEBHOOK_SECRET" --json '{"to": "bob", "text": "hello"}' http://127.0.0.1:8090/

`to` is a contact or a group; the answer is 202 as soon as the message is on disk, whether the relay is there or not.
What contacts and groups say is sent to the URL one after the other, with the same header, as {"from", "name",
"conversation", "group", "text", "sentAt"}; it counts as read once the URL has answered with 2xx. Nothing that was said
is logged. WEBHOOK_PORT is another port. It listens on this machine alone: others reach it through a proxy with TLS.
"""

import asyncio
import contextlib
import hmac
import http.client
import io
import json
import logging
import os
import sys
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from phantom_messenger import Client, PhantomError, ReceivedMessage, UnknownContact, UsageError, VaultError

MAX_BODY = 300_000
"""Bytes: a text of 40,000, however it is escaped."""
A_MINUTE = 60
"""Requests with the right secret; more are answered with 429."""
AT_ONCE = 20
"""Connections; more are closed."""
SECONDS = 10.0
"""For one request or one POST."""
LONGEST_PAUSE = 60.0
"""Seconds between two attempts at the URL."""

log = logging.getLogger("webhook")


class Answer(NamedTuple):
    """What a request is answered with."""

    code: int
    body: dict[str, Any]


class Incoming:
    """HTTP requests that become messages.

    Args:
        me: sends them.
        secret: what has to stand in the header.
    """

    def __init__(self, me: Client, secret: str) -> None:
        self._me = me
        self._expected = f"Bearer {secret}".encode()
        self._open = 0
        self._left, self._since = float(A_MINUTE), time.monotonic()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which has one request."""
        self._open += 1
        try:
            if self._open <= AT_ONCE:
                async with asyncio.timeout(SECONDS):
                    code, body = await self._answer(reader)
                    data = json.dumps(body).encode()
                    head = f"HTTP/1.1 {code} {http.client.responses[code]}\r\nContent-Type: application/json\r\n"
                    head += f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
                    writer.write(head.encode() + data)
                    writer.write_eof()
                    while await reader.read(MAX_BODY):  # or the answer would be lost with what was not read
                        pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # who does not finish a request gets no answer
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            first, _, rest = head.partition(b"\r\n")
            method, path, _ = first.decode("ascii").split(" ")
            headers = http.client.parse_headers(io.BytesIO(rest))
            length = headers.get("Content-Length", "")
        except (ValueError, http.client.HTTPException, asyncio.LimitOverrunError):
            return refused(400, "this is not an HTTP request")
        if not hmac.compare_digest(headers.get("Authorization", "").encode("utf-8", "replace"), self._expected):
            return refused(401, "the header Authorization has not the secret")
        if not self._may_go_on():
            return refused(429, f"at most {A_MINUTE} requests a minute")
        if (method, path) != ("POST", "/"):
            return refused(404, "send a POST to /")
        if not (length.isascii() and length.isdecimal()):
            return refused(411, "the header Content-Length is missing")
        if len(length) > 9 or int(length) > MAX_BODY:
            return refused(413, f"at most {MAX_BODY} bytes")
        return await self._send(await reader.readexactly(int(length)))

    async def _send(self, body: bytes) -> Answer:
        try:
            asked = json.loads(body)
            to, text = asked["to"], asked["text"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return refused(400, 'the body must be JSON: {"to": "...", "text": "..."}')
        if not (isinstance(to, str) and isinstance(text, str) and text):
            return refused(400, "to and text must be text")
        try:
            delivery = await self._me.conversation(to).send(text)
        except UnknownContact as error:
            return refused(404, str(error))
        except UsageError as error:
            return refused(400, str(error))
        except VaultError as error:
            log.warning("a request was not taken: %s", type(error).__name__)
            return refused(503, "it could not be stored; try again")
        return Answer(202, {"id": delivery.message_id})

    def _may_go_on(self) -> bool:
        now = time.monotonic()
        self._left = min(A_MINUTE, self._left + (now - self._since) * A_MINUTE / 60)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def refused(code: int, why: str) -> Answer:
    """No, and why."""
    return Answer(code, {"error": why})


async def pass_on(me: Client, url: str, secret: str) -> None:
    """POST each message, until the URL has taken it; a message that is not taken comes again after a restart."""
    async for message in me.received():
        if not message.is_newer and await is_taken(url, secret, row(message)):
            await message.mark_read()


async def is_taken(url: str, secret: str, body: dict[str, Any]) -> bool:
    """POST a message until there is an answer to keep to; whether that was yes."""
    pause = 1.0
    while True:
        code = await asyncio.to_thread(post, url, secret, body)
        if 200 <= code < 300:
            return True
        if 300 <= code < 500 and code not in {408, 429}:
            log.warning("a message was refused with %s, and is not sent again", code)
            return False
        log.warning("no success (%s); the next attempt is in %.0f seconds", code or "no answer", pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def row(message: ReceivedMessage) -> dict[str, Any]:
    """A message as the URL gets it."""
    there = message.conversation
    known = {"from": message.sender, "name": message.contact.name, "conversation": there.id, "group": there.is_group}
    return {**known, "text": message.text, "sentAt": message.sent_at}


def post(url: str, secret: str, body: dict[str, Any]) -> int:
    """POST it; the status, 0 if there was none. A redirection is not followed: the secret is for this URL alone."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=SECONDS)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, json.dumps(body), headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


async def main(server: str, url: str, secret: str, port: int) -> None:
    """Run until it is ended."""
    async with await Client.open_async("webhook", server=server) as me:
        http_server = await asyncio.start_server(Incoming(me, secret).serve, "127.0.0.1", port, limit=16_384)
        print("listening on http://{}:{}/".format(*http_server.sockets[0].getsockname()), flush=True)
        async with http_server:
            await pass_on(me, url, secret)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    shared, at = os.environ.get("WEBHOOK_SECRET", ""), os.environ.get("WEBHOOK_PORT", "8090")
    is_url = len(sys.argv) == 3 and sys.argv[2].startswith(("http://", "https://"))
    if not (is_url and len(shared) >= 16 and shared.isascii() and at.isdecimal()):
        sys.exit(__doc__)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main(sys.argv[1], sys.argv[2], shared, int(at)))
    except (PhantomError, OSError) as failure:
        sys.exit(f"webhook: {failure}")
