"""What a relay is to do, as plain lists: the model that the state machine compares it with.

Everything is in the order in which the store is to do it. Nothing of the project is used here.
"""

from dataclasses import dataclass, field
from typing import Final

REMEMBERED_MS: Final = 600_000
BACKLOG: Final = 8
STRANGERS: Final = 6
STRANGER: Final = 3
"""How full a mailbox may be; much less than in earnest, so that it often is."""

Told = tuple[object, ...]
"""A frame as the model sees it: what it says, without times and signatures."""


@dataclass(eq=False)
class Entry:
    """Something that waits; its ``seq`` is what the relay says first."""

    kind: str
    sender: str
    name: str
    what: Told
    expires_at: int | None = None
    seq: int | None = None
    born: int = 0
    """How many were put into a mailbox before it."""
    address: str | None = None
    """Of a stranger's: where it came from."""

    def is_over(self, now: int) -> bool:
        """Whether its time has come, in persistent time."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(eq=False)
class Line:
    """A connection: what is to come on it, in order."""

    user: str
    opened_at: int
    order: int
    address: str = ""
    has_asked: bool = False
    is_open: bool = False
    is_dead: bool = False
    close_code: int | None = None
    last_seq: int = 0
    told: list[tuple[Told, Entry | None]] = field(default_factory=list)

    def tell(self, *what: object) -> None:
        """It comes, unless the connection has ended."""
        if not self.is_dead:
            self.told.append((what, None))

    def push(self, entry: Entry) -> None:
        """An item of the mailbox comes."""
        if not self.is_dead:
            self.told.append((entry.what, entry))

    def close(self, code: int | None) -> None:
        """It ends, with this code of the relay if the relay ends it."""
        if not self.is_dead:
            self.is_dead, self.is_open, self.close_code = True, False, code


class Model:
    """Accounts, mailboxes, who has written to whom, who is there.

    Args:
        by_mailbox: messages that expire in one millisecond go mailbox by mailbox, in the order of the
            accounts; else in the order in which they were stored.
    """

    def __init__(self, *, by_mailbox: bool = False) -> None:
        self._by_mailbox = by_mailbox
        self.accounts: set[str] = set()
        self.wrote: set[tuple[str, str]] = set()
        self.mail: dict[str, list[Entry]] = {}
        self.here: dict[str, Line] = {}
        self._removed: dict[tuple[str, str, str], int] = {}
        self._born = 0

    def are_contacts(self, one: str, other: str) -> bool:
        """Whether each has written to the other."""
        return {(one, other), (other, one)} <= self.wrote

    def leave(self, line: Line) -> None:
        """A connection is gone."""
        line.close(None)
        if self.here.get(line.user) is line:
            del self.here[line.user]

    def forget_removed(self) -> None:
        """A relay that starts again does not know what left the mailboxes."""
        self._removed.clear()

    # --- what the store does, in order --------------------------------------------

    def login(self, line: Line, asked_at: int, now: int, *, full: bool) -> None:
        """AUTH: the account, then all that waits."""
        if full:
            line.tell("error", 1007, "storage")
            line.close(1011)
            return
        self.accounts.add(line.user)
        self.mail.setdefault(line.user, [])
        if line.is_dead:
            return
        if line.user in self.here:
            if self.here[line.user].order > line.order:  # it was long under way
                line.close(1008)
                return
            self.here[line.user].close(1008)
        self.here[line.user] = line
        line.is_open = True
        line.tell("AUTH_SUCCESS")
        for entry in self.mail[line.user]:
            if not entry.is_over(max(asked_at, now)):
                line.push(entry)

    def send(
        self, line: Line, to: str, name: str, text: str, *, lifetime: int | None, asked_at: int, now: int, full: bool
    ) -> None:
        """MESSAGE: accepted or refused, and pushed."""
        sender = line.user
        if full:
            line.tell("error", 1007, "storage")
            return
        if to not in self.accounts:
            line.tell("error", 1004, "user")
            return
        what: Told = ("message", sender, name, text)
        older = [
            entry for entry in self.mail[to] if (entry.kind, entry.sender, entry.name) == ("message", sender, name)
        ]
        is_double = self._removed.get((to, sender, name), 0) > asked_at or any(entry.what == what for entry in older)
        if not is_double:
            if not older and not self._make_room(to, sender, line.address):
                line.tell("error", 1003, "backlog")
                return
            self.wrote.add((sender, to))
        line.tell("accepted", to, name)
        if not is_double:
            for entry in older:  # its recipient could not read it
                self.mail[to].remove(entry)
            ends = None if lifetime is None else asked_at + lifetime
            address = None if (to, sender) in self.wrote else line.address
            self._put(to, Entry("message", sender, name, what, ends, address=address), now)

    def acknowledge(
        self, line: Line, sender: str, name: str, status: str, *, asked_at: int, now: int, full: bool
    ) -> None:
        """MESSAGE_ACK of a message: it goes, and a contact is told."""
        if full:
            line.tell("error", 1007, "storage")
            return
        user = line.user
        found = [
            entry
            for entry in self.mail[user]
            if entry.kind == "message" and (entry.sender, entry.name) == (sender, name)
        ]
        for entry in found:
            self._remove(user, entry, asked_at)
        if found or status != "delivered":
            self._tell_sender(user, sender, name, status, now)

    def confirm(self, line: Line, seq: int, *, full: bool) -> None:
        """MESSAGE_ACK of a receipt by its seq; a message is left alone."""
        if full:
            line.tell("error", 1007, "storage")
            return
        mail = self.mail[line.user]
        mail[:] = [entry for entry in mail if entry.kind == "message" or entry.seq != seq]

    def sweep(self, asked_at: int, now: int) -> int:
        """All whose time had come when the sweep was asked for; how many."""
        over = [(user, entry) for user, entries in self.mail.items() for entry in entries if entry.is_over(asked_at)]
        over.sort(key=lambda one: (one[1].expires_at, 0 if self._by_mailbox else one[1].born))
        for user, entry in over:
            self._remove(user, entry, asked_at)
            self._tell_sender(user, entry.sender, entry.name, "expired", now)
        return len(over)

    def ping(self, line: Line, *, full: bool) -> None:
        """PING: answered when all before it was stored."""
        if full:
            line.tell("error", 1007, "storage")
        else:
            line.tell("PONG")

    # --- parts --------------------------------------------------------------------

    def _make_room(self, to: str, sender: str, address: str) -> bool:
        """Whether a mailbox takes one more; the oldest of the fullest address gives way to a stranger."""
        while True:
            messages = [entry for entry in self.mail[to] if entry.kind == "message"]
            is_full = len(messages) >= BACKLOG
            if (to, sender) in self.wrote:
                return not is_full
            if sum(entry.sender == sender for entry in messages) >= STRANGER:
                return False
            places: dict[str, list[Entry]] = {}
            for entry in messages:
                if entry.address is not None and (to, entry.sender) not in self.wrote:
                    places.setdefault(entry.address, []).append(entry)
            if not is_full and sum(map(len, places.values())) < STRANGERS:
                return True
            most = max(map(len, places.values()), default=0)
            if len(places.get(address, [])) >= most:
                return False
            self.mail[to].remove(
                min((held[0] for held in places.values() if len(held) == most), key=lambda entry: entry.born)
            )

    def _tell_sender(self, user: str, sender: str, name: str, status: str, now: int) -> None:
        if not self.are_contacts(user, sender):
            return
        older = [
            entry for entry in self.mail[sender] if (entry.kind, entry.sender, entry.name) == ("receipt", user, name)
        ]
        if older and status == "delivered":
            return  # of a second copy it is no news: what waits says as much, or more
        for entry in older:
            self.mail[sender].remove(entry)
        self._put(sender, Entry("receipt", user, name, ("receipt", user, name, status)), now)

    def _put(self, user: str, entry: Entry, now: int) -> None:
        self._born += 1
        entry.born = self._born
        self.mail[user].append(entry)
        if user in self.here and not entry.is_over(now):
            self.here[user].push(entry)

    def _remove(self, user: str, entry: Entry, now: int) -> None:
        self.mail[user].remove(entry)
        self._removed[user, entry.sender, entry.name] = now + REMEMBERED_MS
