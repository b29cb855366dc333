"""Messages that users let one other user send them beside the rate: see protocol/phantom.md, ALLOWANCE.

All of it is in memory. What is lost of it costs time and nothing else: its sender goes on at the rate.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from phantom_messenger.wire.limits import (
    ALLOWANCE_EVERY_MS,
    ALLOWANCE_MS,
    ALLOWED_MESSAGES,
    MAX_ALLOWANCES,
    MAX_ALLOWANCES_PER_ADDRESS,
)

MAX_REMEMBERED: Final = 16_384
"""Users who gave one in the last day (about 2 MB). Of more the earliest may give another: what is open is bounded."""

_HASH_BYTES: Final = 16
_PURPOSE: Final = b"allowances"
"""Other things are hashed with the same key."""

_AT_ANOTHER_RELAY: Final = ""


@dataclass(slots=True)
class Allowed:
    """One that is open.

    ``until``: monotonic milliseconds. ``address``: of whoever gave it. ``told``: the connection (``Session.order``) on
    which its sender was told of it; 0: none.
    """

    sender: str
    left: int
    until: int
    address: str
    told: int = 0


class Allowances:
    """What is open, and who has given one lately.

    Args:
        hash_key: under which users are remembered once theirs is over; random.
    """

    def __init__(self, hash_key: bytes) -> None:
        self._hash_key = hash_key
        self._open: dict[str, Allowed] = {}
        """By recipient."""
        self._given: dict[bytes, int] = {}
        """When; the earliest stand first."""

    def __len__(self) -> int:
        return len(self._open)

    def give(self, recipient: str, sender: str, *, address: str, now: int) -> Allowed | None:
        """A user allows another one messages, or says it again while that is open.

        Args:
            recipient: who allows it.
            sender: to whom.
            address: of the recipient; see ``MAX_ALLOWANCES_PER_ADDRESS``.
            now: monotonic milliseconds.

        Returns:
            What is open between the two now; None if nothing is.
        """
        found = self._current(recipient, now)
        if found is not None:
            return found if found.sender == sender else None
        if sum(one.address == address for one in self._open.values()) >= MAX_ALLOWANCES_PER_ADDRESS:
            return None
        return self._put(recipient, Allowed(sender, ALLOWED_MESSAGES, now + ALLOWANCE_MS, address), now)

    def heard(self, recipient: str, sender: str, *, left: int, expires_in: int, now: int) -> Allowed | None:
        """The same, at another relay on the same store, where so much of it was left; what counts here stays."""
        found = self._current(recipient, now)
        if found is not None:
            return found if found.sender == sender else None
        until = now + min(expires_in, ALLOWANCE_MS)
        return self._put(recipient, Allowed(sender, min(left, ALLOWED_MESSAGES), until, _AT_ANOTHER_RELAY), now)

    def take(self, sender: str, recipient: str, now: int) -> bool:
        """Count a message as one of those that its recipient allows; False if there is none left."""
        found = self._open.get(recipient)
        if found is None or found.sender != sender or not found.left or found.until <= now:
            return False
        found.left -= 1
        return True

    def prune(self, now: int) -> None:
        """Forget what is over."""
        for recipient in [recipient for recipient, one in self._open.items() if one.until <= now]:
            del self._open[recipient]
        while self._given:
            earliest = next(iter(self._given))
            if self._given[earliest] > now - ALLOWANCE_EVERY_MS and len(self._given) <= MAX_REMEMBERED:
                break
            del self._given[earliest]

    def _current(self, recipient: str, now: int) -> Allowed | None:
        self.prune(now)
        return self._open.get(recipient)

    def _put(self, recipient: str, allowed: Allowed, now: int) -> Allowed | None:
        name = blake2b(recipient.encode(), digest_size=_HASH_BYTES, key=self._hash_key, person=_PURPOSE).digest()
        if name in self._given or len(self._open) >= MAX_ALLOWANCES:
            return None
        self._given[name] = now
        self._open[recipient] = allowed
        return allowed
