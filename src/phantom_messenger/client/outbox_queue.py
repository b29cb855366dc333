"""The order in which the entries of the outbox leave: one queue for each user.

The first of a queue, and how many of a sort wait, are known without a look at the others.
"""

import heapq
from collections import Counter
from collections.abc import Container

from phantom_messenger.client.records import OutboxRecord


class Queue:
    """Entries by user and turn.

    ``texts``, ``receipts`` and ``fresh`` count them by user; fresh are messages that were not sent before.
    """

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()
        self.receipts: Counter[str] = Counter()
        self.fresh: Counter[str] = Counter()
        self._entries: dict[str, OutboxRecord] = {}
        self._turns: dict[str, int] = {}
        self._by_user: dict[str, list[tuple[int, str]]] = {}
        """A heap of turns and ids; those whose turn is another one by now count no more."""
        self._next, self._before = 0, -1

    def get(self, message_id: str) -> OutboxRecord | None:
        """An entry that waits."""
        return self._entries.get(message_id)

    def of(self, user: str) -> list[OutboxRecord]:
        """What waits for a user, in order."""
        return [
            self._entries[name] for turn, name in sorted(self._by_user.get(user, [])) if self._turns.get(name) == turn
        ]

    def in_order(self) -> list[OutboxRecord]:
        """Everything that waits."""
        return [self._entries[name] for name in sorted(self._turns, key=self._turns.__getitem__)]

    def is_sealed(self, user: str) -> bool:
        """Whether the first entry for a user is encrypted."""
        turn = self._first(user)
        return turn is not None and bool(self._entries[turn[1]].sealed)

    def put(self, entry: OutboxRecord, *, first: bool = False) -> None:
        """Add an entry, or what has become of one that waits.

        ``first``: before all others, but for one that is encrypted already. That one has its place among the messages
        of its session, and would seem to come late.
        """
        name = entry.message_id
        sealed = self._sealed_head(entry.peer) if first else None
        before = self._entries.get(name)
        if before is not None:
            self._count(before, -1)
        self._entries[name] = entry
        self._count(entry, 1)
        if first:
            self._put_first(entry)
            if sealed is not None and sealed.message_id != name:
                self._put_first(sealed)
        elif before is None:
            self._give_turn(entry, self._next)
            self._next += 1

    def remove(self, message_id: str) -> None:
        """An entry does not wait any more; idempotent."""
        entry = self._entries.pop(message_id, None)
        if entry is not None:
            self._count(entry, -1)
            del self._turns[message_id]

    def _sealed_head(self, user: str) -> OutboxRecord | None:
        head = next(iter(self.of(user)), None)
        return head if head is not None and head.sealed else None

    def _put_first(self, entry: OutboxRecord) -> None:
        self._give_turn(entry, self._before)
        self._before -= 1

    def firsts(self, *, busy: Container[str]) -> list[OutboxRecord]:
        """The first entry for each user who is not busy, in the order of their turns."""
        found: list[tuple[int, str]] = []
        for user in list(self._by_user):
            turn = self._first(user)
            if turn is not None and user not in busy:
                found.append(turn)
        return [self._entries[name] for _, name in sorted(found)]

    def _first(self, user: str) -> tuple[int, str] | None:
        """Turn and id of the first entry for a user."""
        turns = self._by_user.get(user)
        while turns and self._turns.get(turns[0][1]) != turns[0][0]:
            heapq.heappop(turns)
        if turns:
            return turns[0]
        self._by_user.pop(user, None)
        return None

    def _give_turn(self, entry: OutboxRecord, turn: int) -> None:
        self._turns[entry.message_id] = turn
        heapq.heappush(self._by_user.setdefault(entry.peer, []), (turn, entry.message_id))

    def _count(self, entry: OutboxRecord, change: int) -> None:
        for counter, counts in (
            (self.texts, entry.text is not None),
            (self.receipts, entry.text is None),
            (self.fresh, entry.text is not None and not entry.again),
        ):
            if counts:
                counter[entry.peer] += change
                if not counter[entry.peer]:
                    del counter[entry.peer]
