"""Links to groups that this user has opened: the next invitation of such an admin is accepted without asking again.

A link does not say to which group it leads, so what was noted of one is kept no longer than somebody remembers that
they have asked, and ends with whatever they decide about a group of that admin. Times are milliseconds of persistent
time.
"""

import base64
from typing import Final

from phantom_messenger.client import records
from phantom_messenger.client.groups.records import GroupJoinRecord
from phantom_messenger.client.groups.state import GroupState
from phantom_messenger.client.vault import Transaction, Vault

KEEP_MS: Final = 7 * 86_400_000
"""How long an admin has time to answer: as long as a link serves, if nothing else was said."""

KEEP_REFUSED_MS: Final = 30 * 86_400_000


class Joins:
    """What is noted of them, by admin: the last link that was opened of each.

    Args:
        vault: holds it.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def put(self, tx: Transaction, admin: str, token: bytes, now: int, name: str) -> None:
        """A link of an admin was opened."""
        record = GroupJoinRecord(admin=admin, at=now, name=name, token=token)
        tx.put(records.GROUP_JOIN, admin, record, due=now + KEEP_MS)

    def find(self, admin: str, now: int) -> GroupJoinRecord | None:
        """The link of an admin that waits for an answer; one of long ago waits no more."""
        found = self._vault.find(records.GROUP_JOIN, admin, GroupJoinRecord)
        return found if found is not None and now - found.at < KEEP_MS else None

    def take(self, tx: Transaction, admin: str, now: int) -> GroupJoinRecord | None:
        """The same; it serves once."""
        found = self.find(admin, now)
        self.drop(tx, admin)
        return found

    def drop(self, tx: Transaction, admin: str) -> None:
        """No link of an admin waits for an answer."""
        tx.delete(records.GROUP_JOIN, admin)

    def decided(self, tx: Transaction, group: GroupState) -> None:
        """The user has joined a group, declined it or left it: what they have asked of its admins may be answered."""
        for admin in group.admins:
            self.drop(tx, base64.b64encode(admin).decode())

    def refused(self, tx: Transaction, join: GroupJoinRecord, now: int) -> None:
        """An admin has said that a link serves no more: it need not be asked again."""
        self.drop(tx, join.admin)
        tx.put(records.GROUP_JOIN, _refused_name(join.token), join, due=now + KEEP_REFUSED_MS)

    def was_refused(self, token: bytes) -> bool:
        """Whether an admin has said so of this link."""
        return self._vault.has(records.GROUP_JOIN, _refused_name(token))


def _refused_name(token: bytes) -> str:
    return f"refused {base64.b64encode(token).decode()}"
