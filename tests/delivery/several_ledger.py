"""What a crowd at several relays on one database was told, beside what any ledger knows.

The database may go away: then it is right to refuse with ``storage``, if ``retryAfter`` says when to come again.
"""

import time
from itertools import pairwise
from typing import Final

from crowd_ledger import Key, Ledger

from support.people import Frame, key_text

STORAGE: Final = 1007


class SeveralLedger(Ledger):
    """A ledger that knows prekeys, and when each message was accepted.

    Attributes:
        put_off: how many requests were refused because the database was away.
        accepted_at: seconds of the monotonic clock, for each message that was accepted, in order.
        bundles: how many came.
        handed: the one-time prekeys that were handed out: owner and id.
    """

    def __init__(self) -> None:
        super().__init__()
        self.put_off = 0
        self.accepted_at: list[float] = []
        self.handed: set[tuple[str, int]] = set()
        self._asked: dict[str, str] = {}
        self._arrived: dict[str, int] = {}
        self.bundles = 0

    def accept(self, frame: Frame, sender: str) -> Key:
        """See ``Ledger``."""
        before = self.accepted
        key = super().accept(frame, sender)
        if self.accepted > before:
            self.accepted_at.append(time.monotonic())
        return key

    def refuse(self, payload: Frame) -> None:
        """See ``Ledger``."""
        if payload["code"] == STORAGE and "retryAfter" in payload:
            self.put_off += 1
        else:
            super().refuse(payload)

    def ask(self, frame: Frame) -> None:
        """A KEY_EXCHANGE_INIT is about to be sent; its ``id`` is its own."""
        self._asked[frame["id"]] = frame["signature"]

    def take_exchange(self, frame: Frame) -> bool:
        """See ``Ledger``."""
        signature = frame.get("signature", "")
        if self._arrived.setdefault(signature, frame["seq"]) != frame["seq"]:
            self.fault("key exchange doubled", frame)
        return signature in self._asked.values()

    def hand_out(self, frame: Frame) -> None:
        """A bundle has come."""
        bundle = frame["payload"]
        self.bundles += 1
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
