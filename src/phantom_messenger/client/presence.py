"""What others may learn of what this user does: presence, typing, and when to stay silent.

What the user wants to be shown as holds over connections: a session that is to look absent begins so, with the
feature ``absent`` of AUTH.
"""

from collections.abc import Sequence
from typing import Final

from phantom_messenger.client.conversations import conversation_id
from phantom_messenger.client.settings import Follower, Settings, SettingsStore
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.wire import frames
from phantom_messenger.wire.frames import PresencePayload, PresenceStatus


class Presence:
    """How this user is shown.

    Args:
        vault: holds the settings.
    """

    def __init__(self, vault: Vault) -> None:
        self._store = SettingsStore(vault)
        self._wanted = PresenceStatus.ONLINE
        self._is_announced = True

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
        self._note_change(before)
        return self.settings

    def take_over(self, tx: Transaction, **changes: bool) -> None:
        """Another own device has changed what others may learn."""
        before = self._shown
        self._store.store(tx, **changes)
        tx.on_commit(lambda: self._note_change(before))

    def follow(self, follower: Follower) -> None:
        """Tell of what the user changes here, in the transaction that stores it."""
        self._store.follower = follower

    def want(self, status: PresenceStatus) -> None:
        """Be shown as this from now on, as far as the settings let others see anything."""
        before = self._shown
        self._wanted = status
        self._note_change(before)

    def _note_change(self, before: PresenceStatus) -> None:
        self._is_announced = self._is_announced and self._shown is before

    def connected(self) -> bool:
        """A connection begins; whether its session is to look absent from the start."""
        self._is_announced = self._shown is not PresenceStatus.IDLE
        return self.looks_absent

    def to_announce(self) -> frames.Presence | None:
        """What the relay does not know yet; ``announced`` once it was sent."""
        return None if self._is_announced else _frame(PresencePayload(status=self._shown))

    def announced(self) -> None:
        """The relay was told."""
        self._is_announced = True

    def typing(self, own: str, peer: str) -> frames.Presence | None:
        """What says that one is writing to somebody, if that may be said; two persons: their devices share it."""
        if not self.settings.typing or self.looks_absent:
            return None
        conversation = conversation_id(own, peer)
        return _frame(PresencePayload(status=PresenceStatus.TYPING, conversation_id=conversation))

    def question(self, peer: str) -> frames.Presence:
        """What asks the relay what a contact is doing."""
        return _frame(PresencePayload(user_id=peer))


class Sightings:
    """What others are seen to do in this connection: of a person with several devices, what the busiest one shows."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[PresenceStatus, int | None]] = {}

    def clear(self) -> None:
        """A new connection: nothing is known."""
        self._of.clear()

    def note(
        self, device: str, status: PresenceStatus, last_seen: int | None, devices: Sequence[str]
    ) -> tuple[PresenceStatus, int | None]:
        """Take what was said of a device; what its person does.

        Args:
            device: it.
            status: its; who types on one device types, whatever the others show.
            last_seen: of one that is offline.
            devices: of the same person.
        """
        if status is PresenceStatus.TYPING:
            self._of[device] = (PresenceStatus.ONLINE, None)
            return status, None
        self._of[device] = (status, last_seen)
        found = [self._of[one] for one in {device, *devices} if one in self._of]
        busiest = min((one for one, _ in found), key=_BUSIEST.index)
        times = [at for _, at in found if at is not None]
        return busiest, max(times) if busiest is PresenceStatus.OFFLINE and times else None


_BUSIEST: Final = (PresenceStatus.ONLINE, PresenceStatus.IDLE, PresenceStatus.OFFLINE)


def _frame(payload: PresencePayload) -> frames.Presence:
    return frames.Presence(payload=payload, timestamp=0)
