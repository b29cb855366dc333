"""Accounts, and who has written to whom, in SQLite."""

from collections.abc import Callable
from typing import Any

import apsw

from phantom_messenger.relay.ports import CONVERSATIONS_KEPT


class SQLiteDirectory:
    """Accounts and who has written to whom.

    Args:
        connection: to the database.
        has_room: whether so many bytes can be added.
        step: bytes of an account's mail that one step deletes.
    """

    def __init__(self, connection: apsw.Connection, has_room: Callable[[int], bool], step: int) -> None:
        self._connection = connection
        self._has_room = has_room
        self._step = step

    def account(self, user_id: str) -> int | None:
        """The row of a user."""
        found = self._connection.execute("SELECT account FROM accounts WHERE user_id = ?", (user_id,)).get
        return int(found) if found is not None else None

    def user_id(self, account: int) -> str | None:
        """The user of a row."""
        found: bytes | None = self._connection.execute(
            "SELECT CAST(user_id AS BLOB) FROM accounts WHERE account = ?", (account,)
        ).get
        try:
            return None if found is None else found.decode()
        except UnicodeDecodeError:
            return None

    def bind(self, user_id: str, public_key: str, *, certified: bool) -> bool:
        """See ``relay.ports.Directory``."""
        row = self._connection.execute(
            "SELECT public_key, certified FROM accounts WHERE user_id = ?", (user_id,)
        ).fetchone()
        if row is not None and row[0] == public_key:
            return True
        if row is not None:
            if not certified or row[1]:
                return False
            while not self.delete(user_id):
                pass
        if not self._has_room(len(user_id) + len(public_key)):
            raise apsw.FullError("no room")
        self._connection.execute(
            "INSERT INTO accounts (user_id, public_key, certified) VALUES (?, ?, ?)",
            (user_id, public_key, int(certified)),
        )
        return True

    def public_key(self, user_id: str) -> str | None:
        """See ``relay.ports.Directory``."""
        found: str | None = self._connection.execute(
            "SELECT public_key FROM accounts WHERE user_id = ?", (user_id,)
        ).get
        return found

    def delete(self, user_id: str) -> bool:
        """See ``relay.ports.Directory``."""
        account = self.account(user_id)
        room = self._step
        for table in ("items", "set_aside"):
            rows: Any = self._connection.execute(
                f"SELECT entry, length(text) FROM {table} WHERE recipient = ?",  # noqa: S608 - constants
                (account,),
            ).fetchall()
            for entry, size in rows:
                if room <= 0:
                    return False
                self._connection.execute(f"DELETE FROM {table} WHERE entry = ?", (entry,))  # noqa: S608
                room -= size or 0
        self._connection.execute("DELETE FROM accounts WHERE user_id = ?", (user_id,))
        return True

    def set_last_seen(self, user_id: str, at: int) -> None:
        """See ``relay.ports.Directory``."""
        self._connection.execute("UPDATE accounts SET last_seen = ? WHERE user_id = ?", (at, user_id))

    def last_seen(self, user_id: str) -> int | None:
        """See ``relay.ports.Directory``."""
        found: int | None = self._connection.execute("SELECT last_seen FROM accounts WHERE user_id = ?", (user_id,)).get
        return found

    def note_written(self, sender: str, recipient: str, conversation: str) -> bool:
        """See ``relay.ports.Directory``."""
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
        return is_first and sender != recipient and self.has_written(recipient, sender)

    def has_written(self, sender: str, recipient: str) -> bool:
        """See ``relay.ports.Directory``."""
        found = self._connection.execute(
            "SELECT 1 FROM written WHERE sender = ? AND recipient = ? LIMIT 1",
            (self.account(sender), self.account(recipient)),
        ).get
        return found is not None

    def contacts(self, user_id: str) -> list[str]:
        """See ``relay.ports.Directory``."""
        account = self.account(user_id)
        rows = self._connection.execute(
            "SELECT user_id FROM accounts WHERE account IN (SELECT recipient FROM written WHERE sender = ?1"
            " INTERSECT SELECT sender FROM written WHERE recipient = ?1) AND account <> ?1 ORDER BY account",
            (account,),
        )
        return [row[0] for row in rows]

    def participants(self, user_id: str, conversation: str) -> list[str]:
        """See ``relay.ports.Directory``."""
        account = self.account(user_id)
        rows = self._connection.execute(
            "SELECT user_id FROM accounts WHERE account IN"
            " (SELECT recipient FROM written WHERE sender = ?1 AND conversation = ?2"
            " INTERSECT SELECT sender FROM written WHERE recipient = ?1 AND conversation = ?2)"
            " AND account <> ?1 ORDER BY account",
            (account, conversation),
        )
        return [row[0] for row in rows]
