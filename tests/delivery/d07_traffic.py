"""Mail that comes and goes at a simulated relay whose store is a folder, scrubbed as the server does it."""

import random
from pathlib import Path
from typing import Final

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay.server import SCRUB_SECONDS
from support.markers import Leftover, Markers
from support.people import Frame
from support.simulated import SECOND, Client, World

GROUP: Final = 10
"""Frames in one turn, so in one transaction."""

PROMISED_SECONDS: Final = 60


class Traffic:
    """Alice writes to three contacts; much is removed, one way or another, and some stays.

    Args:
        data: the store's folder.
        seed: of all chance.
        scrubs: False leaves the store as it is: a control.
        overwrites: False turns off ``secure_delete``: a control.
        biggest: the longest text, in characters.
    """

    def __init__(
        self, data: Path, seed: int, *, scrubs: bool = True, overwrites: bool = True, biggest: int = 60_000
    ) -> None:
        self.data = data
        self._biggest = biggest
        self.markers = Markers(seed)
        self.stays: dict[str, str] = {}
        self._random = random.Random(seed)  # noqa: S311 - the same in every run
        self._scrubs = scrubs
        store = SQLiteStore(data)
        if not overwrites:
            store._connection.pragma("secure_delete", "off")
        self.world = World(store=store)
        self._since_scrub = 0
        self._alice = self.world.login("alice")
        self._others = [self.world.login(name) for name in ("bob", "carol", "dave")]
        for other in self._others:
            self.world.make_contacts(self._alice, other)
        self._due: list[tuple[Client, Frame, str]] = []

    def run(self, *, burned: int, expired: int, delivered: int, kept: int) -> None:
        """So many messages of each sort, in any order; removals come some time after."""
        sorts = ["burned"] * burned + ["expired"] * expired + ["delivered"] * delivered + ["stays"] * kept
        self._random.shuffle(sorts)
        for start in range(0, len(sorts), GROUP):
            self._send(sorts[start : start + GROUP])
            self._remove_some(start)
            self.pass_seconds(1)
        while self._due:
            self._remove_some(0)
            self.pass_seconds(1)

    def pass_seconds(self, seconds: int) -> None:
        """The relay's timer fires once a second, and scrubs as the server's does."""
        for _ in range(seconds):
            self.world.pass_time(SECOND)
            self._since_scrub += 1
            if self._since_scrub >= SCRUB_SECONDS:
                self._since_scrub = 0
                if self._scrubs:
                    self.world.store.scrub()

    def leftovers(self) -> list[Leftover]:
        """What the files still hold of what was removed."""
        return self.markers.leftovers(self.data)

    def readable(self) -> dict[str, str]:
        """All texts that the contacts get at a new login, by message id."""
        found: dict[str, str] = {}
        for other in self._others:
            for frame in self.world.login(other.person).take("MESSAGE"):
                found[frame["payload"]["messageId"]] = frame["payload"]["encrypted"]
        return found

    def _send(self, sorts: list[str]) -> None:
        planned = {}
        for sort in sorts:
            other = self._random.choice(self._others)
            size = self.markers.size(100, self._biggest)
            text = self.markers.that_stays(size) if sort == "stays" else self.markers.that_goes(size)
            lifetime = {"expiresIn": self._random.randint(1, 30) * SECOND} if sort == "expired" else None
            frame = self._alice.person.message(other.person, encrypted=text, metadata=lifetime)
            number = frame["payload"]["messageId"]
            planned[number] = sort
            if sort == "stays":
                self.stays[number] = text
            self._alice.put(frame)
        self.world.run()
        self._alice.settle()
        for other in self._others:
            for frame in other.take("MESSAGE"):
                sort = planned[frame["payload"]["messageId"]]
                if sort in ("burned", "delivered"):
                    self._due.append((other, frame, sort))

    def _remove_some(self, still: int) -> None:
        """Acknowledge a few of those that are due; while more is sent, some are left for later."""
        self._random.shuffle(self._due)
        count = self._random.randint(0, GROUP) if still and len(self._due) < 10 * GROUP else GROUP
        for _ in range(min(count, len(self._due))):
            other, frame, status = self._due.pop()
            other.put(other.person.ack(frame, status))
        self.world.run()
        self._alice.settle()
