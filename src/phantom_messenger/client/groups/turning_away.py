"""Those who open a link that serves no more are told so: or they would wait for ever.

Nothing here must survive: whoever was not told before the program ended is told when they ask again.
"""

from typing import Final

from phantom_messenger.client.groups.contents import GroupRefuse
from phantom_messenger.client.groups.speaking import Speaking
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.vault import Transaction

MOST: Final = 20
"""How many are told in ``IN_MS``: each costs a session, and everybody who has had the link can ask."""

IN_MS: Final = 3_600_000


class TurningAway:
    """Tells them, each once in ``IN_MS``. Times are monotonic milliseconds."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, bytes], None] = {}
        self._told: dict[tuple[str, bytes], int] = {}

    def has_room(self, who: str, token: bytes, now: int) -> bool:
        """Whether somebody can be told, or has been."""
        self._told = {one: at for one, at in self._told.items() if now - at < IN_MS}
        return self._knows(who, token) or len(self._waiting) + len(self._told) < MOST

    def _knows(self, who: str, token: bytes) -> bool:
        return (who, token) in self._waiting or (who, token) in self._told

    def note(self, tx: Transaction, who: str, token: bytes) -> None:
        """Somebody is to be told."""
        if not self._knows(who, token):
            tx.on_commit(lambda: self._waiting.__setitem__((who, token), None))

    def step(self, speaking: Speaking, now: Moment, *, is_hidden: bool) -> None:
        """Tell those who wait, unless this user appears offline."""
        for who, token in [] if is_hidden else list(self._waiting):
            del self._waiting[who, token]
            self._told[who, token] = now.monotonic
            speaking.say(token, [who], GroupRefuse(token=token), now)
