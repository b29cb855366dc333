"""A client that writes on a line without a relay, and what is to be seen of it."""

import base64
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from client_samples import KEY, Party, acquainted
from msgspec import UNSET
from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.link import LinkState
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.records import ContactRecord, OutboxRecord, SentRecord
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.status import DeliveryState, Event, WarningEvent
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode
from phantom_messenger.wire.frames import Feature
from phantom_messenger.wire.limits import RateClass


class Line:
    """Takes frames for a relay; each gets the next number."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.limits: dict[RateClass, int] = {}
        self.relay_features: frozenset[str] = frozenset({Feature.SUITE2})
        self.state = LinkState.OPEN

    def limit(self, rate: RateClass) -> int | None:
        return self.limits.get(rate)

    def relay_time(self, now: int) -> int:
        return now + 10**12

    def send(self, frame: Any, _: int) -> str:
        self.sent.append(frame)
        return str(len(self.sent))

    def send_signed(self, frame: Any, _: int) -> str:
        assert (frame.signature, frame.timestamp) == ("", 0), "the link fills them in"
        self.sent.append(frame)
        return str(len(self.sent))


def at(milliseconds: int) -> Moment:
    """Clocks that are far apart, so that none is taken for another."""
    return Moment(milliseconds, milliseconds + 10**9, milliseconds + 10**12)


class Desk:
    """Alice's outbox, and a line on which she writes to Bob, with whom she has a session."""

    def __init__(self, folder: Path) -> None:
        alice, self.bob = Party(folder, "alice"), Party(folder, "bob")
        acquainted(alice, self.bob)
        self.alice = alice
        alice.vault.close()
        self.vault = Vault(alice.vault.path, KEY)
        self.stores = Stores.of(self.vault, alice.identity, alice.random, asks=True)
        self.sending = Sending(self.stores, alice.identity, alice.random)
        self.line: Any = Line()
        self.change(accepted=True, greeted=True)

    def close(self) -> None:
        self.vault.close()
        self.bob.vault.close()

    def change(self, **changes: Any) -> None:
        """Bob's record."""
        with self.vault.transaction() as tx:
            self.stores.book.put(tx, replace(self.stores.book.get(self.bob.id), **changes))

    def write(self, number: str = "1", *, peer: str = "", now: int = 0, **options: Any) -> None:
        """Put a text into the outbox, encrypted if ``seal_now`` would."""
        peer = peer or self.bob.id
        plain = OutboxRecord(message_id=number, peer=peer, text="x", burn=False, expires_in=None, made_at=0)
        entry = replace(plain, **options)
        sent = SentRecord(
            message_id=number,
            peer=peer,
            text="x",
            made_at=0,
            burn=entry.burn,
            state=DeliveryState.QUEUED,
            expires_in=None,
        )
        with self.vault.transaction() as tx:
            tx.put(records.SENT, number, sent)
            self.stores.outbox.put(tx, entry)
            self.sending.seal_now(tx, self.line, entry, at(now))

    def add(self, name: str, **fields: Any) -> str:
        """Somebody with whom there is no session; the id."""
        user_id = base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()
        with self.vault.transaction() as tx:
            self.stores.book.put(tx, ContactRecord(user_id=user_id, name=name, **fields))
        return user_id

    def receive(self, *numbers: str, status: str = "delivered") -> None:
        """Have receipts to send."""
        with self.vault.transaction() as tx:
            for number in numbers:
                self.stores.receipts.put(tx, self.bob.id, whole(number), status, 0)

    def send(self, now: int = 0) -> list[Any]:
        """What is sent now; the events must be none."""
        before = len(self.line.sent)
        assert list(self.sending.send_pending(self.line, at(now))) == []
        return list(self.line.sent[before:])

    def told(self, now: int) -> list[str]:
        return codes(list(self.sending.send_pending(self.line, at(now))))

    def refuse(self, request: str, code: int, reason: str = "", *, retry_after: Any = UNSET, now: int = 0) -> Any:
        details: Any = {"reason": reason} if reason else UNSET
        payload = frames.ErrorPayload(code=code, message="No.", details=details, retry_after=retry_after)
        return self.sending.refused(frames.Error(payload=payload, timestamp=0, id=request), at(now))


def whole(number: str) -> str:
    """A message id of its full length."""
    return f"00000000-0000-4000-8000-{number:0>12}"


def codes(events: list[Event]) -> list[str]:
    return [event.code for event in events if isinstance(event, WarningEvent)]


def asked(found: list[Any]) -> list[str]:
    """Whose prekeys are asked for."""
    return [frame.payload.target_id for frame in found]


def ids(found: list[Any]) -> list[str]:
    return [frame.payload.message_id for frame in found]


RATE, INVALID = ErrorCode.RATE_LIMITED, ErrorCode.INVALID_MESSAGE


class Refusal(NamedTuple):
    """An error of the relay, and what follows: the warnings, and for how long something waits (0: it has failed)."""

    code: int
    reason: str
    retry_after: Any
    told: list[str]
    wait: int
