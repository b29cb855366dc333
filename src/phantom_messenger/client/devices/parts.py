"""All that deals with devices in a client, together: what arrives, and what is to be done, goes to each part."""

from collections.abc import Callable, Iterator

from phantom_messenger.client.blocking import Blocking
from phantom_messenger.client.content import BetweenDevices
from phantom_messenger.client.conversations import Opened
from phantom_messenger.client.devices.desk import DeviceDesk
from phantom_messenger.client.devices.handover import Handover
from phantom_messenger.client.devices.in_step import InStep
from phantom_messenger.client.devices.kinds import (
    History,
    HistoryAsk,
    SyncContacts,
    SyncDevices,
    SyncGroup,
    SyncMuted,
    SyncRead,
    SyncSettings,
)
from phantom_messenger.client.devices.linking_desk import LinkingDesk
from phantom_messenger.client.groups.arrivals import Arrivals
from phantom_messenger.client.link import Link
from phantom_messenger.client.many.outgoing import Outgoing
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.presence import Presence
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.status import Event
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.crypto.keys import OwnIdentity


class DeviceParts:
    """The parts; arguments as theirs."""

    def __init__(  # noqa: PLR0917 - the parts they work with
        self,
        stores: Stores,
        sending: Sending,
        outgoing: Outgoing,
        identity: OwnIdentity,
        blocking: Blocking,
        presence: Presence,
        groups: Arrivals,
        *,
        random: Callable[[int], bytes],
        moment: Callable[[], Moment],
    ) -> None:
        self._stores = stores
        self.book = stores.devices
        """Which devices belong to whom."""
        self._link: Link | None = None
        self.groups = groups
        """What takes in what own devices say about groups."""
        self.desk = DeviceDesk(stores, sending, outgoing, identity, moment, blocking=blocking)
        self.in_step = InStep(stores, self.desk, blocking, presence, moment=moment)
        self.handover = Handover(stores, sending, outgoing, self.desk, moment)
        self.linking = LinkingDesk(
            stores, sending, self.desk, self.in_step, self.handover, identity, random=random, moment=moment
        )

    def within(self, tx: Transaction, sender: str, opened: Opened, now: Moment) -> list[Event]:
        """Something was received: what it changes is stored in the same transaction; what is to be told."""
        said = opened.content
        if not isinstance(said, BetweenDevices):
            return []
        self.linking.within(tx, sender, opened, now)
        if not opened.is_known or not self._stores.devices.is_own(sender):
            return []
        match said.said:
            case SyncRead():
                self.desk.read_elsewhere(tx, said.said, now)
                self.groups.texts.read_elsewhere(tx, said.said.in_groups, sender, now)
            case SyncContacts():
                self.in_step.take_contacts(tx, said.said)
            case SyncMuted():
                self.in_step.take_muted(tx, said.said)
            case SyncSettings():
                self.in_step.take_settings(tx, said.said)
            case HistoryAsk():
                self.handover.asked(tx, sender, said.said, now)
            case History() if sender == self._stores.devices.person:
                self.handover.came(tx, said.said, now)
            case SyncDevices() if sender == self._stores.devices.person:
                self.desk.take_names(tx, said.said)
            case SyncGroup() if sender == self._stores.devices.person:
                return self.groups.synced(tx, said.said, now)
            case _:
                pass
        return []

    def received(self, sender: str, opened: Opened, now: Moment) -> Iterator[Event]:
        """It is stored: what else it says of devices, or to this one."""
        yield from self.desk.noted(sender, opened, now)
        yield from self.linking.received(sender, opened)

    def run(self, link: Link | None, now: Moment) -> Iterator[Event]:
        """Put into the outbox what is to be said to devices, and go on with what was begun."""
        self._link = link
        self.desk.run(link, now)
        self.in_step.run()
        yield from self.linking.run(link, now)
        yield from self.handover.run(link, now)

    def look(self) -> None:
        """Find out whether anything waits at the relay."""
        if self._link is not None:
            self._link.look()

    def has_fetched(self) -> bool:
        """Whether what waited at the relay is here: what other devices have sent, too."""
        return self._link is not None and self._link.has_fetched()

    def waits(self, now: int) -> list[int]:
        """Milliseconds until there is something to do."""
        return self.desk.waits(now) + self.handover.waits(now)
