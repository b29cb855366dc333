"""What everybody wrote, was told and got, and what a relay did wrong in it.

Written from the protocol alone. A letter is one message, however often it is sent: each
time makes another version of it, with a time and a signature of its own. Moments are
counted, not timed: whatever happens takes the next number.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from support.people import Frame, canonical, is_signed_by

SHOWN: Final = 5
"""Faults of a kind that are told in full; the others are counted."""


class Key(NamedTuple):
    """What a message is known by."""

    sender: str
    recipient: str
    name: str


@dataclass(slots=True)
class Letter:
    """One message; ``number`` is its place among those of its sender to its recipient."""

    number: int
    receipt: bool
    """Whether its sender must be told that it was delivered: they are contacts."""
    written: int
    versions: dict[bytes, int] = field(default_factory=dict)
    accepted: bool = False
    arrived: bool = False
    acked: bool = False
    told: bool = False
    confirmed: int = 0


class DeliveryChecker:
    """The memory of all, for ever; ``keys`` are public keys by user id."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.letters: dict[Key, Letter] = {}
        self.arrivals: Counter[tuple[str, str]] = Counter()
        self.unsettled: Counter[str] = Counter()
        """Letters to somebody that the relay may still hold."""
        self.accepted = 0
        self._written: Counter[tuple[str, str]] = Counter()
        self._owed: dict[str, dict[Key, None]] = {}
        self._items: dict[str, dict[int, bytes]] = {}
        self._gone: dict[str, dict[int, int]] = {}
        self._moment = 0
        self._faults: dict[str, list[str]] = {}

    # --- what people do -----------------------------------------------------------

    def moment(self) -> int:
        self._moment += 1
        return self._moment

    def write(self, frame: Frame, sender: str, *, receipt: bool = True) -> Key:
        """A MESSAGE is about to be sent, for the first time or again."""
        key = Key(sender, frame["payload"]["recipientId"], frame["payload"]["messageId"])
        now = self.moment()
        letter = self.letters.get(key)
        if letter is None:
            pair = (sender, key.recipient)
            letter = self.letters[key] = Letter(self._written[pair], receipt, now)
            self._written[pair] += 1
            self.unsettled[key.recipient] += 1
        letter.versions[_digest(canonical(frame))] = now
        return key

    def acknowledge(self, user: str, items: Iterable[Frame]) -> None:
        """Acknowledgements are about to be sent."""
        for item in items:
            if item["type"] == "MESSAGE" and (letter := self.letters.get(key := _key(item, user))):
                letter.acked = True
                self._owed[user].pop(key, None)

    def confirm(self, user: str, items: Iterable[Frame]) -> None:
        """A PONG has shown that these acknowledgements are stored."""
        now = self.moment()
        for item in items:
            self._gone[user][item["seq"]] = now
            if item["type"] == "MESSAGE" and (letter := self.letters.get(_key(item, user))):
                self.unsettled[user] -= not letter.confirmed
                letter.confirmed = now

    def open(self, user: str) -> "Reading":
        """A login is about to be sent."""
        for table in (self._items, self._gone):
            table.setdefault(user, {})
        return Reading(self, user, self._items[user], self._gone[user], self._owed.setdefault(user, {}))

    # --- what is found ------------------------------------------------------------

    def accept(self, frame: Frame, sender: str) -> Key:
        """A sender was told ``accepted``."""
        payload = frame["payload"]
        key = Key(sender, payload["recipientId"], payload["messageId"])
        letter = self.letters.get(key)
        if letter is None:
            self.fault("accepted what nobody wrote", frame)
        elif not letter.accepted:
            letter.accepted = True
            self.accepted += 1
            if not letter.acked:
                self.owe(key)
        return key

    def refuse(self, payload: Frame) -> None:
        """The relay has answered with an ERROR, to whomever."""
        self.fault("refused", payload)

    def take_exchange(self, frame: Frame) -> bool:  # noqa: ARG002 - here, nobody does
        """Something arrived that is neither a message nor a receipt; whether somebody has sent it."""
        return False

    def owe(self, key: Key) -> None:
        """The relay has this until somebody acknowledges it."""
        self._owed.setdefault(key.recipient, {})[key] = None

    def fault(self, kind: str, what: object) -> None:
        self._faults.setdefault(kind, []).append(str(what))

    def lost(self) -> list[Key]:
        """What was accepted and did not arrive."""
        return [key for key, letter in self.letters.items() if letter.accepted and not letter.arrived]

    def without_receipt(self) -> list[Key]:
        """What was delivered without its sender, a contact, being told."""
        return [key for key, one in self.letters.items() if one.confirmed and one.receipt and not one.told]

    def verdict(self) -> dict[str, list[str]]:
        """All that is wrong when everybody has everything: how often, and the first of a kind."""
        found = {
            **self._faults,
            "lost": list(map(str, self.lost())),
            "without receipt": list(map(str, self.without_receipt())),
        }
        return {kind: [f"{len(every)} times", *every[:SHOWN]] for kind, every in found.items() if every}


class Reading:
    """One connection's view of its owner's mailbox, judged frame by frame."""

    def __init__(
        self, checker: DeliveryChecker, user: str, items: dict[int, bytes], gone: dict[int, int], owed: dict[Key, None]
    ) -> None:
        self._checker = checker
        self._user = user
        self._items = items
        self._gone = gone
        self._owed_by_all = owed
        self._backlog = dict(owed)
        self._opened = checker.moment()
        self._seq = 0
        self._names: set[Key] = set()

    def take(self, text: bytes) -> Frame:
        """What came on the connection."""
        frame: Frame = json.loads(text)
        if "seq" in frame:
            self._item(frame, text)
        elif frame["type"] == "ERROR":
            self._checker.refuse(frame["payload"])
        return frame

    def _item(self, frame: Frame, text: bytes) -> None:
        seq, fault = frame["seq"], self._checker.fault
        if seq <= self._seq:
            fault("seq does not rise on a connection", (self._seq, seq))
        self._seq = max(seq, self._seq)
        if self._items.setdefault(seq, _digest(text)) != _digest(text):
            fault("seq given to two items", seq)
        if self._gone.get(seq, self._opened) < self._opened:
            fault("confirmed item came again", seq)
        if frame["type"] == "MESSAGE":
            self._message(frame, text)
        elif frame["type"] == "MESSAGE_ACK":
            self._receipt(frame)
        elif not self._checker.take_exchange(frame):
            fault("invented", frame)

    def _message(self, frame: Frame, text: bytes) -> None:
        key, fault = _key(frame, self._user), self._checker.fault
        letter = self._checker.letters.get(key)
        version = self._version(frame, text)
        if letter is None or version not in letter.versions:
            fault("invented", frame)
            return
        if not letter.arrived and not is_signed_by(frame, self._checker.keys[key.sender]):
            fault("signature does not verify", frame)
        if letter.versions[version] < letter.confirmed < self._opened:
            fault("confirmed message came again", key)
        if key in self._names:
            fault("message came twice on a connection", key)
        self._names.add(key)
        self._backlog.pop(key, None)
        if letter.written > self._opened and self._backlog:
            fault("new message came before the backlog", (key, len(self._backlog)))
        if not letter.arrived:
            self._arrive(key, letter)

    def _arrive(self, key: Key, letter: Letter) -> None:
        letter.arrived = True
        self._owed_by_all[key] = None
        pair = (key.sender, key.recipient)
        if letter.number != self._checker.arrivals[pair]:
            self._checker.fault("out of order", (key, letter.number, self._checker.arrivals[pair]))
        self._checker.arrivals[pair] = letter.number + 1

    def _version(self, frame: Frame, text: bytes) -> bytes:
        """The frame as its sender wrote it, if the relay has only added what it may add."""
        payload = {name: value for name, value in frame["payload"].items() if name != "senderId"}
        bare = {name: value for name, value in frame.items() if name != "seq"}
        return _digest(canonical({**bare, "payload": payload})) if canonical(frame) == text else b""

    def _receipt(self, frame: Frame) -> None:
        payload = frame["payload"]
        letter = self._checker.letters.get(Key(self._user, payload["recipientId"], payload["messageId"]))
        if letter is None or not letter.acked or payload["status"] != "delivered":
            self._checker.fault("told what is not so", frame)
        else:
            letter.told = True


def _key(frame: Frame, user: str) -> Key:
    payload = frame["payload"]
    return Key(payload["senderId"], user, payload["messageId"])


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).digest()
