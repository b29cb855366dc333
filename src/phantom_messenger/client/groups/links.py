"""Links of one's own that lead into a group: made, looked at, and ended. See protocol/groups.md, "Links"."""

from collections.abc import Callable

from msgspec.structs import replace

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.link import MAX_LIFE_MS, MAX_USES, TOKEN_BYTES, JoinLink
from phantom_messenger.client.groups.records import GroupTokenRecord
from phantom_messenger.client.groups.store import MEMBER, raw_of
from phantom_messenger.client.groups.views import GroupLink
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.stores import Stores


class Links:
    """The links that this user has made.

    Args:
        stores: of the profile.
        random: makes tokens.
        moment: tells the time.
    """

    def __init__(self, stores: Stores, random: Callable[[int], bytes], moment: Callable[[], Moment]) -> None:
        self._stores = stores
        self._random = random
        self._moment = moment

    def make(self, group: str, server: str, *, uses: int, life: int) -> str:
        """A link with which others ask to be added.

        Args:
            group: its id.
            server: the relay's URL.
            uses: how many people it serves.
            life: milliseconds for which it serves.

        Raises:
            UsageError: for too many, or too long.
        """
        if not 1 <= uses <= MAX_USES or not 1 <= life <= MAX_LIFE_MS:
            raise UsageError(f"a link serves 1 to {MAX_USES} times, and at most 30 days")
        token, until = self._random(TOKEN_BYTES), self._moment().persistent + life
        with self._stores.vault.transaction() as tx:
            self._stores.groups.put_token(tx, GroupTokenRecord(group=group, token=token, uses=uses, until=until))
        return self._text(token, server)

    def of(self, group: str, server: str) -> list[GroupLink]:
        """Those of a group that still serve, the one that ends first in front."""
        now, info = self._moment(), self._stores.groups.get(group)
        if info is None or info.record.relation != MEMBER or self._own not in info.state.admins:
            return []
        found = [one for one in self._stores.groups.tokens_of(group) if one.uses > 0 and one.until > now.persistent]
        return [
            GroupLink(link=self._text(one.token, server), uses=one.uses, until=now.wall + one.until - now.persistent)
            for one in sorted(found, key=lambda one: one.until)
        ]

    def end(self, group: str) -> None:
        """None of a group's links serves any more; whoever opens one is told."""
        with self._stores.vault.transaction() as tx:
            for one in self._stores.groups.tokens_of(group):
                self._stores.groups.put_token(tx, replace(one, uses=0))

    @property
    def _own(self) -> bytes:
        return raw_of(self._stores.devices.person)

    def _text(self, token: bytes, server: str) -> str:
        return JoinLink(server, self._stores.devices.person, token).text
