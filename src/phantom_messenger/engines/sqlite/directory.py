"""Accounts, and who has written to whom, in SQLite.

Both are asked for with every message and hardly ever change. What was found is remembered
until something of it is removed or a transaction is undone; what was not found is asked again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import apsw

from phantom_messenger.engines.sqlite.corruption import AccountIndexDamaged
from phantom_messenger.engines.sqlite.item_rows import ItemRows
from phantom_messenger.relay.commands import CONVERSATIONS_KEPT, Actor

DAY_MS: Final = 86_400_000

MAX_REMEMBERED: Final = 50_000
"""Accounts and pairs that are remembered (about 50 MB); beyond that all are forgotten and read again."""


_OF_ACCOUNTS: Final = (
    'SELECT tables.name, of."from" FROM sqlite_schema AS tables, pragma_foreign_key_list(tables.name) AS of'
    " WHERE tables.type = 'table' AND tables.name <> 'items' AND of.\"table\" = 'accounts'"
)
"""Tables, and their columns that say whose a row is."""


class Standing(IntEnum):
    """How an account came to its id: the column ``certified``."""

    CLAIMED = 0
    """First come, with a key that was proved."""
    CERTIFIED = 1
    """The id is the hash of the key, which was proved."""
    UNPROVED = 2
    """First come; nobody has proved a key."""


@dataclass(frozen=True, slots=True)
class Account:
    """What never changes about an account."""

    number: int
    user_id: str
    public_key: str
    """Base64; a corrupt one is a key that nobody has."""
    signs: bool
    """Its owner has proved the key."""


class SQLiteDirectory:
    """Accounts and who has written to whom.

    Args:
        rows: items, in the same database.
        has_room: whether so many bytes can be added.
        step: bytes of an account's mail that one step deletes.
    """

    def __init__(self, rows: ItemRows, has_room: Callable[[int], bool], step: int) -> None:
        self._connection = rows.connection
        self._rows = rows
        self._has_room = has_room
        self._step = step
        self._accounts: dict[str, Account] = {}
        self._pairs: set[tuple[str, str]] = set()
        self._group_pairs: set[tuple[str, str]] = set()
        self._noted: set[tuple[str, str, str]] = set()
        self._blocks: dict[int, frozenset[str]] = {}
        self._blocks_size = 0
        self._looked_up_to = (0, 0)

    def forget(self) -> None:
        """Forget what is remembered: it may have changed."""
        self._accounts.clear()
        self._pairs.clear()
        self._group_pairs.clear()
        self._noted.clear()
        self._forget_blocks()

    def _forget_blocks(self) -> None:
        self._blocks.clear()
        self._blocks_size = 0

    def find(self, user_id: str) -> Account | None:
        """A user's account; None if there is none."""
        return self._accounts.get(user_id) or self._read(user_id)

    def _read(self, user_id: str) -> Account | None:
        row = self._row(user_id)
        if row is None:
            return None
        number, key, standing, _ = row
        found = Account(number, user_id, (key or b"").decode(errors="replace"), standing != Standing.UNPROVED)
        if len(self._accounts) >= MAX_REMEMBERED:
            self.forget()
        self._accounts[user_id] = found
        return found

    def _row(self, user_id: str) -> Any:
        """Number, key, standing and day of an account.

        A damaged index can lead to somebody else's row, or to none: the user id is read from the row, too. If it is not
        the same although a row with it exists, the index is at fault; otherwise the row is, and the index knows better.

        Raises:
            AccountIndexDamaged: a new index may help.
        """
        row: Any = self._connection.execute(
            "SELECT a.account, CAST(a.public_key AS BLOB), a.certified, a.active_on, CAST(a.user_id AS BLOB)"
            " FROM (SELECT account FROM accounts WHERE user_id = ? LIMIT 1) AS found"
            " LEFT JOIN accounts AS a ON a.account = found.account",
            (user_id,),
        ).fetchone()
        if row is None:
            return None
        if row[4] != user_id.encode() and (row[0] is None or self._has_row(user_id)):
            raise AccountIndexDamaged("the index of accounts leads to another row, or to none")
        return row[:4]

    def _has_row(self, user_id: str) -> bool:
        """Whether there is a row with this id, whatever the index says."""
        found = self._connection.execute("SELECT 1 FROM accounts NOT INDEXED WHERE user_id = ?", (user_id,)).get
        return found is not None

    def account(self, user_id: str) -> int | None:
        """The number of a user's account; None if there is none."""
        found = self._accounts.get(user_id) or self._read(user_id)
        return None if found is None else found.number

    def public_key(self, user_id: str) -> str | None:
        """The key that owns the id, base64; None if there is no such account."""
        found = self.find(user_id)
        return None if found is None else found.public_key

    def signs(self, user_id: str) -> bool:
        """Whether there is such an account, and its owner has proved the key."""
        found = self.find(user_id)
        return found is not None and found.signs

    def is_current(self, actor: Actor) -> bool:
        """Whether the account is still the one that the session has logged in to."""
        found = self._accounts.get(actor.user_id) or self._read(actor.user_id)
        if found is None or found.public_key != actor.public_key:
            return False
        return not (actor.is_unsigned and self.signs(actor.user_id))

    def user_id(self, account: int) -> str | None:
        """The user of an account."""
        found: bytes | None = self._connection.execute(
            "SELECT CAST(user_id AS BLOB) FROM accounts WHERE account = ?", (account,)
        ).get
        try:
            return None if found is None else found.decode()
        except UnicodeDecodeError:
            return None

    def bind(
        self, user_id: str, public_key: str, *, certified: bool, signed: bool = True, now: int | None = None
    ) -> bool:
        """Make the account or confirm it; False if the id belongs to another key.

        A certified claim takes an id from an uncertified one, whose account is deleted. So does one that is
        signed from one that was not, if it has the same key. ``signed``: the login has proved its key; one
        that has not gets no account whose owner ever did. ``now``: the user is here, as for ``record_activity``.
        """
        standing = Standing.UNPROVED if not signed else Standing.CERTIFIED if certified else Standing.CLAIMED
        today = None if now is None else now // DAY_MS
        row = self._row(user_id)
        if row is not None:
            _, key, had, active_on = row
            is_same = key == public_key.encode()
            if is_same and signed == (had != Standing.UNPROVED):
                if now is not None and active_on != today:
                    self.record_activity(user_id, now)
                return True
            if not (is_same and signed) and (standing is not Standing.CERTIFIED or had == Standing.CERTIFIED):
                return False
            while not self.delete(user_id):
                pass
        if not self._has_room(len(user_id) + len(public_key)):
            raise apsw.FullError("no room")
        self._connection.execute(
            "INSERT INTO accounts (user_id, public_key, certified, active_on) VALUES (?, ?, ?, ?)",
            (user_id, public_key, standing.value, today),
        )
        return True

    def delete(self, user_id: str) -> bool:
        """Delete the account and everything that belongs to it, a bounded part at a time.

        If some of its mail is left out, because it cannot be read, a number without a user stays with it.

        Returns:
            Whether all of it is gone; if not, call it again.
        """
        account = self.account(user_id)
        self.forget()
        if not self._remove_mail("recipient = ?", (account,)):
            return False
        if self._rows.leaves_out_some_of(account):
            self._empty(account)
        else:
            self._connection.execute("DELETE FROM accounts WHERE account = ?", (account,))
        return True

    def _empty(self, account: int | None) -> None:
        """Delete all that belongs to an account but its mail, and who it was: unless there is mail, it is idle."""
        for table, column in list(self._connection.execute(_OF_ACCOUNTS)):
            self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (account,))  # noqa: S608 - names of ours
        self._connection.execute(
            "UPDATE accounts SET user_id = 'deleted ' || account, public_key = '', last_seen = NULL, active_on = 0"
            " WHERE account = ?",
            (account,),
        )

    def _remove_mail(self, where: str, values: tuple[Any, ...]) -> bool:
        """Delete items that wait or are quarantined, about a step's bytes of them; whether that was all.

        Those that cannot be read stay.
        """
        room = self._step
        rows = self._rows.sizes(where, values)
        for entry, size in rows:
            if room <= 0:
                return False
            self._rows.delete(entry, rows)
            room -= size or 0
        aside: Any = self._connection.execute(
            f"SELECT entry, length(text) FROM set_aside WHERE {where}",  # noqa: S608 - constants
            values,
        ).fetchall()
        for entry, size in aside:
            if room <= 0:
                return False
            self._connection.execute("DELETE FROM set_aside WHERE entry = ?", (entry,))
            if self._connection.changes():  # else it is not where its number leads, and would be counted for ever
                room -= size or 0
        return True

    def ages_since(self, now: int) -> int:
        """When ages were first asked for: items and accounts without a time count from there."""
        found: int | None = self._connection.execute("SELECT since FROM lives").get
        if found is None:
            found = now
            self._connection.execute("INSERT INTO lives (only, since) VALUES (1, ?)", (now,))
            self._connection.execute("UPDATE accounts SET active_on = ? WHERE active_on IS NULL", (now // DAY_MS,))
        return found

    def record_activity(self, user_id: str, now: int) -> None:
        """Remember that the user is here (``now`` in persistent milliseconds); written once a day."""
        self._connection.execute(
            "UPDATE accounts SET active_on = ?1 WHERE account = ?2 AND active_on IS NOT ?1",
            (now // DAY_MS, self.account(user_id)),
        )

    def idle(self, before: int, limit: int, now: int) -> tuple[list[str], bool]:
        """Some users who were last active days before a time, and whose mailbox is empty.

        Each call continues where the last one ended. An account of a version that did not note it was last
        here when this was first asked for.

        Returns:
            They, and whether there may be more behind the ``limit`` accounts that were looked at.
        """
        self.ages_since(now)
        rows: Any = self._connection.execute(
            "SELECT user_id, active_on, account, EXISTS (SELECT 1 FROM items WHERE recipient = account) FROM accounts"
            " WHERE (active_on, account) > (?, ?) AND active_on < ? ORDER BY active_on, account LIMIT ?",
            (*self._looked_up_to, before // DAY_MS, limit),
        ).fetchall()
        is_whole = len(rows) < limit
        self._looked_up_to = (0, 0) if is_whole else rows[-1][1:3]
        return [row[0] for row in rows if not row[3]], not is_whole

    def delete_idle(self, user_id: str, before: int) -> bool:
        """As ``delete``, if the account is still idle; True if it is not."""
        found = self._connection.execute(
            "SELECT 1 FROM accounts WHERE account = ? AND active_on < ?"
            " AND NOT EXISTS (SELECT 1 FROM items WHERE recipient = account)",
            (self.account(user_id), before // DAY_MS),
        ).get
        return found is None or self.delete(user_id)

    def record_last_seen(self, user_id: str, at: int) -> None:
        """Remember when the last session ended, in milliseconds, rounded by the caller."""
        self._connection.execute("UPDATE accounts SET last_seen = ? WHERE account = ?", (at, self.account(user_id)))

    def last_seen(self, user_id: str) -> int | None:
        """When the last session ended, None if unknown."""
        account = self.account(user_id)
        found: int | None = self._connection.execute("SELECT last_seen FROM accounts WHERE account = ?", (account,)).get
        return found

    def record_written(self, sender: str, recipient: str, conversation: str) -> bool:
        """Remember that ``sender`` wrote to ``recipient`` in a conversation ('' for none); idempotent.

        The 16 conversations of an ordered pair that began last are kept.

        Nothing is noted between two of whom one has blocked the other.

        Returns:
            Whether this has made the two contacts.
        """
        if (sender, recipient, conversation) in self._noted:
            return False
        if self.has_blocked(sender, recipient) or self.has_blocked(recipient, sender):
            return False
        is_first = not self.has_written(sender, recipient)
        pair = self.account(sender), self.account(recipient)
        self._connection.execute(
            "INSERT INTO written (sender, recipient, conversation) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (*pair, conversation),
        )
        if self._connection.changes():
            self._connection.execute(
                "DELETE FROM written WHERE entry IN (SELECT entry FROM written WHERE sender = ? AND recipient = ?"
                " AND conversation <> '' ORDER BY entry DESC LIMIT -1 OFFSET ?)",
                (*pair, CONVERSATIONS_KEPT),
            )
            if self._connection.changes():
                self._noted.clear()
        if len(self._noted) >= MAX_REMEMBERED:
            self.forget()
        self._noted.add((sender, recipient, conversation))
        return is_first and sender != recipient and self.has_written(recipient, sender)

    def has_written(self, sender: str, recipient: str) -> bool:
        """Whether ``sender`` ever wrote to ``recipient``."""
        return (sender, recipient) in self._pairs or self._reads_written(sender, recipient)

    def _reads_written(self, sender: str, recipient: str) -> bool:
        one, other = self.find(sender), self.find(recipient)
        if one is None or other is None:
            return False
        found = self._connection.execute(
            "SELECT 1 FROM written WHERE sender = ? AND recipient = ? LIMIT 1", (one.number, other.number)
        ).get
        if found is None:
            return False
        if len(self._pairs) >= MAX_REMEMBERED:
            self.forget()
        self._pairs.add((one.user_id, other.user_id))
        return True

    def record_written_in_group(self, sender: str, recipient: str) -> None:
        """Remember that ``sender`` wrote to ``recipient`` in a group, unless one has blocked the other; idempotent."""
        if (sender, recipient) in self._group_pairs or self.has_written(sender, recipient):
            return
        if self.has_blocked(sender, recipient) or self.has_blocked(recipient, sender):
            return
        self._connection.execute(
            "INSERT INTO written_in_groups (sender, recipient) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (self.account(sender), self.account(recipient)),
        )
        self._remember_group_pair(sender, recipient)

    def has_written_in_group(self, sender: str, recipient: str) -> bool:
        """Whether ``sender`` ever wrote to ``recipient`` in a group; not known if also without one."""
        if (sender, recipient) in self._group_pairs:
            return True
        found = self._connection.execute(
            "SELECT 1 FROM written_in_groups WHERE sender = ? AND recipient = ?",
            (self.account(sender), self.account(recipient)),
        ).get
        if found is None:
            return False
        self._remember_group_pair(sender, recipient)
        return True

    def _remember_group_pair(self, sender: str, recipient: str) -> None:
        if len(self._group_pairs) >= MAX_REMEMBERED:
            self.forget()
        self._group_pairs.add((sender, recipient))

    def block(self, blocker: str, blocked: str) -> bool:
        """Keep a user, who need not have an account yet, away from another one; idempotent.

        That the blocker wrote to them is forgotten, and is not noted while the block lasts. What waits
        from them in the blocker's mailbox is removed, a bounded part at a time.

        Returns:
            Whether all of it is gone; if not, call it again.
        """
        account, other = self.account(blocker), self.account(blocked)
        if account is None:
            raise LookupError("the user has no account")
        if blocked not in self.blocks(blocker):
            if not self._has_room(len(blocked)):
                raise apsw.FullError("no room")
            self._connection.execute("INSERT INTO blocks (blocker, blocked) VALUES (?, ?)", (account, blocked))
            self._connection.execute("DELETE FROM written WHERE sender = ? AND recipient = ?", (account, other))
            self._connection.execute(
                "DELETE FROM written_in_groups WHERE sender = ? AND recipient = ?", (account, other)
            )
            self.forget()
        return self._remove_mail("recipient = ? AND kind IN (1, 2, 3) AND sender = ?", (account, blocked))

    def unblock(self, blocker: str, blocked: str) -> None:
        """End a block; idempotent. That the blocker had written stays forgotten."""
        self._connection.execute(
            "DELETE FROM blocks WHERE blocker = ? AND blocked = ?", (self.account(blocker), blocked)
        )
        self._forget_blocks()

    def blocks(self, blocker: str) -> frozenset[str]:
        """Whom a user has blocked."""
        account = self.account(blocker)
        if account is None:
            return frozenset()
        known = self._blocks.get(account)
        if known is not None:
            return known
        rows = self._connection.execute("SELECT blocked FROM blocks WHERE blocker = ?", (account,))
        found = frozenset(row[0] for row in rows)
        self._blocks_size += 1 + len(found)
        if self._blocks_size > MAX_REMEMBERED:
            self._forget_blocks()
        self._blocks[account] = found
        return found

    def has_blocked(self, blocker: str, user_id: str) -> bool:
        """Whether ``blocker`` has blocked the user."""
        return user_id in self.blocks(blocker)

    def contacts(self, user_id: str) -> list[str]:
        """Users who wrote to this one and to whom this one wrote."""
        account = self.account(user_id)
        rows = self._connection.execute(
            "SELECT user_id FROM accounts WHERE account IN (SELECT recipient FROM written WHERE sender = ?1"
            " INTERSECT SELECT sender FROM written WHERE recipient = ?1) AND account <> ?1 ORDER BY account",
            (account,),
        )
        return [row[0] for row in rows]

    def participants(self, user_id: str, conversation: str) -> list[str]:
        """Contacts who used this conversation with the user, both ways."""
        account = self.account(user_id)
        rows = self._connection.execute(
            "SELECT user_id FROM accounts WHERE account IN"
            " (SELECT recipient FROM written WHERE sender = ?1 AND conversation = ?2"
            " INTERSECT SELECT sender FROM written WHERE recipient = ?1 AND conversation = ?2)"
            " AND account <> ?1 ORDER BY account",
            (account, conversation),
        )
        return [row[0] for row in rows]
