"""What is read and handled in one turn of the event loop, of all connections together: nobody waits long behind many.

uvloop reads a socket up to 32 times in a turn as long as it fills the buffer that it is given, so small buffers alone
bound nothing: who has had a share is not read again before its turn has come.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from phantom_messenger.wire.limits import MAX_MESSAGE_BYTES

READ_BYTES: Final = 16_384
"""The most that is read at once."""

READ_BUFFER: Final = memoryview(bytearray(READ_BYTES))
"""One buffer serves all connections: each copies its bytes out before the next one reads."""

SMALL_READ: Final = 4_096
"""Bytes that a connection may read at once, whatever others do: most frames are smaller."""

_SMALL_BUFFER: Final = READ_BUFFER[:SMALL_READ]

READ_BUDGET: Final = 512 * 1_024
"""What all connections together may cost in a turn, in bytes, beside a small read of each."""

READ_SHARE: Final = MAX_MESSAGE_BYTES + READ_BYTES
"""What a connection that has waited reads before it waits again: a whole message, so that few are half read."""

PART_OF_WAITING: Final = 8
"""Those who wait have about this part of a turn: it takes four or five turns until a message of another one arrives."""

FRAME_COST: Final = 1_024
"""What each further frame of a read counts beside its bytes: to handle a short one takes as long as a long one."""

LOOK_AGAIN_SECONDS: Final = 0.001
"""After which it is looked again whether the store has caught up."""

HELD_SECONDS: Final = 0.03
"""After which some have a turn while the store is behind: a few short frames come of one, or a long message."""

HELD_ROUND: Final = 32
"""In so many times, so in about a second, all who wait then have had a turn: whoever sends two frames at once is heard.

That is so of a few hundred who send short frames. Their turns together are no more than the part of those who wait,
whatever their number, for the store has to catch up: of more, or of long messages, a round takes longer.
"""

LOOKED_AT_ONCE: Final = 2_000
"""Of those who wait, so many are looked at in one turn for whether they have hung up: a millisecond or two."""

LOOK_ON_SECONDS: Final = 0.02
"""After which the next ones are looked at: all of 10,000 in a tenth of a second."""

FRAMES_SHARE: Final = 4 * FRAME_COST
"""What is handled at once of frames that were read and had to wait, unless a single one is more."""


class ReadBudget:
    """Bounds what is read and handled in one turn of the event loop.

    When it is spent, or somebody waits, a connection reads ``SMALL_READ`` bytes. When it is spent, it handles one frame
    of them, and if it has more to send none, once as much again is spent. What is left waits. Those who wait have their
    turns one after the other, with a small part of what each turn of the loop may cost; the rest is for those who come,
    who need not wait for them. While the store is behind, one frame of each read is handled, and those who wait have a
    turn now and then: what they send goes to the store before anything that somebody else sends later.

    Args:
        limit: bytes in a turn.
        is_behind: whether the store is.

    Attributes:
        buffer: where the next read may go.
        buffer_in_turn: the same for a connection that has waited.
    """

    def __init__(self, limit: int = READ_BUDGET, is_behind: Callable[[], bool] = lambda: False) -> None:
        self._limit = self._left = limit
        self._is_behind = is_behind
        self._looks_again = False
        self._held_until = 0.0
        self._floor = 0
        self._is_due = False
        self._is_turn = False
        self._waiting: OrderedDict[Callable[[], bool], Callable[[], None]] = OrderedDict()
        self._to_look_at: deque[Callable[[], bool]] = deque()
        """Of those who waited when a round began, the ones whose turn to be looked at has not come."""
        self.buffer = self.buffer_in_turn = READ_BUFFER

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left of this turn."""
        return self._left <= 0

    @property
    def is_overspent(self) -> bool:
        """Whether small reads have cost as much again."""
        return self._left <= -self._limit

    def read(self, count: int) -> bool:
        """So much was read at once; whether the same connection may read more of its own accord."""
        self._spend(count)
        return self._left > 0 and not self._waiting

    def may_begin(self) -> bool:
        """Whether a frame behind another one of the same read may be handled in this turn; then it counts."""
        if self._is_behind() and not self._is_turn:
            return False
        return self.may_handle(FRAME_COST)

    def may_handle(self, cost: int) -> bool:
        """Whether something that was read and costs so much may be handled in this turn; then it counts."""
        if self._left <= self._floor:
            return False
        self._spend(cost)
        return True

    def wait(self, go_on: Callable[[], bool], look: Callable[[], None], *, is_first: bool = False) -> None:
        """Wait for a turn.

        Args:
            go_on: called when it has come; returns whether it reads on.
            look: called now and then, to leave if there is nobody any more.
            is_first: its last turn was not all that was due to it.
        """
        self._waiting[go_on] = look
        if is_first:
            self._waiting.move_to_end(go_on, last=False)
        self.buffer = _SMALL_BUFFER
        self._schedule()

    def leave(self, go_on: Callable[[], bool]) -> None:
        """Wait no more: nothing is kept of whoever is gone."""
        self._waiting.pop(go_on, None)

    def look(self) -> None:
        """Notice who has hung up while waiting; called about once a second.

        Nothing is read of those who wait, so that the event loop does not tell.
        """
        if not self._to_look_at:
            self._to_look_at.extend(self._waiting)
        self._look_on()

    def _look_on(self) -> None:
        try:
            for _ in range(min(LOOKED_AT_ONCE, len(self._to_look_at))):
                look = self._waiting.get(self._to_look_at.popleft())
                if look is not None:
                    look()
        finally:  # whatever fails with one, the others are looked at
            if self._to_look_at:
                asyncio.get_running_loop().call_later(LOOK_ON_SECONDS, self._look_on)

    def _spend(self, cost: int) -> None:
        self._left -= cost
        if self._left <= 0:
            self.buffer = self.buffer_in_turn = _SMALL_BUFFER
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._renew)  # runs before the next turn reads anything

    def _renew(self) -> None:
        self._is_due = False
        self._left = self._limit
        self.buffer_in_turn = READ_BUFFER
        reading, kept = 0, self._limit * (PART_OF_WAITING - 1) // PART_OF_WAITING
        is_held = bool(self._waiting) and self._is_behind()
        self._is_turn = True
        try:
            for _ in range(self._turns_while_held() if is_held else len(self._waiting)):
                # What may be read counts before it has come: it is read behind this, all of it in the same turn.
                if self._left - reading <= kept:
                    break
                # Even a turn that brings nothing costs something: thousands of them would be one long turn.
                self._left -= FRAME_COST
                self._floor = self._left - FRAMES_SHARE
                go_on, _ = self._waiting.popitem(last=False)
                reading += READ_BYTES * go_on()
        finally:  # whatever fails in a turn of one, the others go on waiting for theirs
            self._floor, self._is_turn = 0, False
            self.buffer = _SMALL_BUFFER if self._waiting or self._left <= 0 else READ_BUFFER
            if is_held:
                self._look_again()
            elif self._waiting:
                self._schedule()

    def _turns_while_held(self) -> int:
        """Some now and then: whoever sends two frames at once, or closes, waits for no store that is always behind."""
        now = asyncio.get_running_loop().time()
        if now < self._held_until:
            return 0
        self._held_until = now + HELD_SECONDS
        return 1 + len(self._waiting) // HELD_ROUND

    def _look_again(self) -> None:
        """In a moment, unless somebody who need not wait comes first; every turn would keep the store from working."""

        def look() -> None:
            self._looks_again = False
            self._schedule()

        if not self._looks_again:
            self._looks_again = True
            asyncio.get_running_loop().call_later(LOOK_AGAIN_SECONDS, look)
