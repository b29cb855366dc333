"""Logins under way, and what other relays tell meanwhile of whoever logs in.

A login is of the moment at which the store takes it, and its session opens a little later. What others do in between
they tell before there is a session to hear it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from phantom_messenger.relay.other_relays import Login


class Heard:
    """What was told of a user during one login: as much as the newest notice of each kind says."""

    __slots__ = ("is_woken", "login")

    def __init__(self) -> None:
        self.is_woken = False
        """Whether something was stored for the user."""
        self.login: Login | None = None
        """The login elsewhere whose connection is the newest."""


class Arrivals:
    """Logins under way, by user."""

    def __init__(self) -> None:
        self._under_way: dict[str, list[Heard]] = {}

    @contextmanager
    def of(self, user: str) -> Iterator[Heard]:
        """Gather what is told of a user for as long as a login takes."""
        heard = Heard()
        self._under_way.setdefault(user, []).append(heard)
        try:
            yield heard
        finally:
            self._under_way[user].remove(heard)
            if not self._under_way[user]:
                del self._under_way[user]

    def wake(self, user: str) -> None:
        """Something was stored for a user."""
        for heard in self._under_way.get(user, ()):
            heard.is_woken = True

    def login(self, notice: Login) -> None:
        """A user has logged in at another relay."""
        for heard in self._under_way.get(notice.user, ()):
            if heard.login is None or heard.login.connected_at < notice.connected_at:
                heard.login = notice
