"""Telling the relay what was read: kept on disk until a PONG shows that the relay has got it.

The relay answers PING after everything before it was stored or refused.
"""

from typing import Final

from msgspec import UNSET

from phantom_messenger.client import records
from phantom_messenger.client.link import Link
from phantom_messenger.client.pacing import SOON_MS, asked
from phantom_messenger.client.records import AckRecord
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.wire import frames

PING_MS: Final = 2_000
"""How often a PING may follow acks."""

MAX_UNANSWERED: Final = 1_000
"""Requests remembered that are answered only if they are refused."""


class Acks:
    """The ``read`` and ``burned`` of this profile that the relay may not have yet.

    Args:
        vault: holds them.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._kept = {records.key(ack.sender, ack.message_id): ack for _, ack in vault.all(records.ACK, AckRecord)}
        self._covered: dict[str, int | None] = {}
        """Those sent on this connection: the number of the PING behind them, None if there is none yet."""
        self._requests: dict[str, str] = {}
        self._paused_until = 0
        self._confirmed: dict[str, frames.MessageAckPayload] = {}
        """Requests that say ``delivered`` and may still be refused, the oldest first."""
        self._again: list[frames.MessageAckPayload] = []

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, tx: Transaction, sender: str, message_id: str, status: str) -> None:
        """Keep one, together with what it is about."""
        record = AckRecord(message_id=message_id, sender=sender, status=status)
        name = records.key(sender, message_id)
        tx.put(records.ACK, name, record)
        tx.on_commit(lambda: self._remember(name, record))

    def drop(self, tx: Transaction, sender: str) -> None:
        """Forget those about this user's messages."""
        for name, ack in list(self._kept.items()):
            if ack.sender == sender:
                self._delete(tx, name)

    def _delete(self, tx: Transaction, name: str) -> None:
        tx.delete(records.ACK, name)
        tx.on_commit(lambda: self._forget(name))

    def _remember(self, name: str, record: AckRecord) -> None:
        self._kept[name] = record

    def _forget(self, name: str) -> None:
        self._kept.pop(name, None)
        self._covered.pop(name, None)

    def connected(self) -> None:
        """A new connection: nothing was sent on it yet."""
        self._covered.clear()
        self._requests.clear()
        self._confirmed.clear()
        self._again.clear()
        self._paused_until = 0

    def confirm(self, link: Link, payload: frames.MessageAckPayload, now: int) -> None:
        """Say that an item is safe here. After a login the relay delivers again what was not acknowledged."""
        self._confirmed[_send(link, payload, now)] = payload
        if len(self._confirmed) > MAX_UNANSWERED:
            # The oldest one: nothing is lost, since the relay delivers again what it has no acknowledgement of.
            del self._confirmed[next(iter(self._confirmed))]

    def tick(self, link: Link, now: int) -> None:
        """Send what was not sent on this connection, and a PING behind it."""
        if now < self._paused_until:
            return
        again, self._again = self._again, []
        for payload in again:
            self.confirm(link, payload, now)
        for name, ack in self._kept.items():
            if name not in self._covered:
                self._covered[name] = None
                payload = frames.MessageAckPayload(message_id=ack.message_id, sender_id=ack.sender, status=ack.status)  # type: ignore[arg-type] # one of the three words
                self._requests[_send(link, payload, now)] = name
        if None in self._covered.values() and link.may_ping(now, PING_MS):
            number = link.ping(now)
            self._covered = {name: covered or number for name, covered in self._covered.items()}

    def wait(self, now: int) -> int | None:
        """Milliseconds until there is something to do; None if there is nothing."""
        if now < self._paused_until:
            return self._paused_until - now
        return PING_MS if None in self._covered.values() else 0 if self._again else None

    def answered(self, number: int) -> None:
        """The relay has answered this PING."""
        stored = {name for name, covered in self._covered.items() if covered is not None and covered <= number}
        if not stored:
            return
        with self._vault.transaction() as tx:
            for name in stored:
                self._delete(tx, name)
        self._requests = {request: name for request, name in self._requests.items() if name not in stored}

    def refused(self, error: frames.Error, now: int) -> bool:
        """An error has come; whether it was for one of these, which is then sent again."""
        request = "" if error.id is UNSET else error.id
        payload, name = self._confirmed.pop(request, None), self._requests.pop(request, None)
        if payload is not None:
            self._again.append(payload)
        elif name is not None:
            self._covered.pop(name, None)
        else:
            return False
        wait = asked(error.payload.retry_after, SOON_MS)
        self._paused_until = now + max(wait, SOON_MS)
        return True


def _send(link: Link, payload: frames.MessageAckPayload, now: int) -> str:
    """Send a MESSAGE_ACK; returns its request id."""
    return link.send(frames.MessageAck(payload=payload, timestamp=0), now)
