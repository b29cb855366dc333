"""What a generator at several relays on one database was told, beside what any checker knows.

The database may go away: then it is right to refuse with ``storage``, if ``retryAfter`` says when to come again.
"""

import time
from collections import Counter
from itertools import pairwise
from typing import Final, NamedTuple

from delivery_checker import SHOWN, DeliveryChecker, Key

from support.people import Frame, key_text

STORAGE: Final = 1007


class Exchange(NamedTuple):
    """A KEY_EXCHANGE_INIT; ``number`` is its place among those of this pair of sender and target."""

    pair: tuple[str, str]
    number: int


class SeveralChecker(DeliveryChecker):
    """A checker that knows key exchanges, prekeys, and when each message was accepted.

    An INIT that waits is replaced by one of its sender that is stored later. So only the newest of a pair has to
    arrive; or a newer one that was never answered. An older one never: its sender had left that relay by then.

    Attributes:
        put_off: how many requests were refused because the database was away.
        accepted_at: seconds of the monotonic clock, for each message that was accepted, in order.
        bundles: how many came.
        handed: the one-time prekeys that were handed out: owner and id.
        closings: how often a relay ended a connection with this code; None if it said none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.put_off = 0
        self.accepted_at: list[float] = []
        self.handed: set[tuple[str, int]] = set()
        self.bundles = 0
        self.closings: Counter[int | None] = Counter()
        self._asked: dict[str, Exchange] = {}
        self._signed: dict[str, Exchange] = {}
        self._counted: Counter[tuple[str, str]] = Counter()
        self._answered: set[Exchange] = set()
        self._arrived: dict[Exchange, int] = {}
        """With ``seq``."""

    def accept(self, frame: Frame, sender: str) -> Key:
        """See ``DeliveryChecker``."""
        before = self.accepted
        key = super().accept(frame, sender)
        if self.accepted > before:
            self.accepted_at.append(time.monotonic())
        return key

    def refuse(self, payload: Frame) -> None:
        """See ``DeliveryChecker``."""
        if payload["code"] == STORAGE and "retryAfter" in payload:
            self.put_off += 1
        else:
            super().refuse(payload)

    def ask(self, frame: Frame) -> None:
        """A KEY_EXCHANGE_INIT is about to be sent; its ``id`` is its own."""
        pair = frame["payload"]["identityKey"], frame["payload"]["targetId"]
        self._counted[pair] += 1
        exchange = Exchange(pair, self._counted[pair])
        self._asked[frame["id"]] = self._signed[frame["signature"]] = exchange

    def take_exchange(self, frame: Frame) -> bool:
        """See ``DeliveryChecker``."""
        exchange = self._signed.get(frame.get("signature", ""))
        if exchange is None:
            return False
        if self._arrived.setdefault(exchange, frame["seq"]) != frame["seq"]:
            self.fault("key exchange doubled", frame)
        return True

    def hand_out(self, frame: Frame) -> None:
        """A bundle has come: what asked for it is stored."""
        bundle = frame["payload"]
        self.bundles += 1
        self._answered.add(self._asked[frame["id"]])
        if "oneTimePreKeyId" not in bundle:
            return
        owner, number = bundle["senderId"], bundle["oneTimePreKeyId"]
        if (owner, number) in self.handed:
            self.fault("prekey handed out twice", (owner, number))
        if bundle["oneTimePreKey"] != key_text(f"{number} of {owner}"):
            self.fault("prekey changed", (owner, number))
        self.handed.add((owner, number))

    def longest_silence(self, since: float, until: float) -> float:
        """The longest time, in seconds, between these two moments in which nothing was accepted."""
        moments = [since, *(moment for moment in self.accepted_at if since < moment < until), until]
        return max(after - before for before, after in pairwise(moments))

    def exchanges_lost(self) -> list[Exchange]:
        """For each pair, the newest that was stored, if nothing that may stand for it has arrived."""
        newest = {one.pair: one for one in sorted(self._answered)}
        last = {one.pair: one.number for one in sorted(self._arrived)}
        return [one for one in newest.values() if last.get(one.pair, 0) < one.number]

    def verdict(self) -> dict[str, list[str]]:
        """See ``DeliveryChecker``."""
        lost = self.exchanges_lost()
        found = super().verdict()
        return {**found, "key exchange lost": [f"{len(lost)} times", *map(str, lost[:SHOWN])]} if lost else found
