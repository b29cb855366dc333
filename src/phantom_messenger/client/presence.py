"""What others may learn of what this user does: presence, typing, and when to stay silent.

What the user wants to be shown as holds over connections: a session that is to look absent begins so, with the
feature ``absent`` of AUTH.
"""

from typing import Any

from msgspec import UNSET

from phantom_messenger.client.conversations import conversation_id
from phantom_messenger.client.link import Link
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.settings import Settings, SettingsStore
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire import frames
from phantom_messenger.wire.frames import PresenceStatus
from phantom_messenger.wire.limits import RateClass


class Presence:
    """How this user is shown.

    Args:
        vault: holds the settings.
        own_id: one's user id.
        sending: counts frames, and keeps still while one looks absent.
    """

    def __init__(self, vault: Vault, own_id: str, sending: Sending) -> None:
        self._store = SettingsStore(vault)
        self._own_id = own_id
        self._sending = sending
        self._wanted = PresenceStatus.ONLINE
        self._is_announced = True
        sending.visibility.is_absent = self.looks_absent

    @property
    def settings(self) -> Settings:
        """What others may learn."""
        return self._store.current

    @property
    def looks_absent(self) -> bool:
        """Whether nobody is to learn that this device is there."""
        return self._wanted is PresenceStatus.OFFLINE or not self.settings.presence

    @property
    def _shown(self) -> PresenceStatus:
        return PresenceStatus.OFFLINE if self.looks_absent else self._wanted

    def change(self, **changes: bool) -> Settings:
        """Change what others may learn; errors as ``SettingsStore.change``."""
        before = self._shown
        self._store.change(**changes)
        self._show(before)
        return self.settings

    def want(self, status: PresenceStatus) -> None:
        """Be shown as this from now on, as far as the settings let others see anything."""
        before = self._shown
        self._wanted = status
        self._show(before)

    def _show(self, before: PresenceStatus) -> None:
        self._is_announced = self._is_announced and self._shown is before
        self._sending.visibility.is_absent = self.looks_absent

    def connected(self) -> bool:
        """A connection begins; whether its session is to look absent from the start."""
        self._is_announced = self._shown is not PresenceStatus.IDLE
        return self.looks_absent

    def tick(self, link: Link, now: int) -> None:
        """Tell the relay what it does not know yet, as soon as it takes it."""
        if not self._is_announced and self._sending.may_send(link, RateClass.PRESENCE, now):
            self._is_announced = True
            self._say(link, now, self._shown)

    def typing(self, link: Link, now: int, peer: str) -> None:
        """Say that one is writing to somebody, if that may be said and leaves room for what matters more."""
        may_say = self.settings.typing and not self.looks_absent
        if (
            may_say
            and self._sending.has_room(link, RateClass.PRESENCE, now)
            and self._sending.may_send(link, RateClass.PRESENCE, now)
        ):
            self._say(link, now, PresenceStatus.TYPING, conversation_id(self._own_id, peer))

    def _say(self, link: Link, now: int, status: PresenceStatus, conversation: Any = UNSET) -> None:
        payload = frames.PresencePayload(status=status, conversation_id=conversation)
        link.send(frames.Presence(payload=payload, timestamp=0), now)
