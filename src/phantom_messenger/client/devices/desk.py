"""What devices make of messages: to whom they go, what lists say, and how one's own devices are kept in step.

What is to be sent because of something that came is put into the outbox by ``run``, once that step is over.
"""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from phantom_messenger.client import content, content2, notices, records
from phantom_messenger.client.blocking import Blocking
from phantom_messenger.client.content import BetweenDevices, Claim, Ends, Marks, Receipt, Said, Text
from phantom_messenger.client.conversations import Opened, conversation_id
from phantom_messenger.client.devices import kinds
from phantom_messenger.client.devices.book import Changed
from phantom_messenger.client.devices.device_list import LIFE_MS, Device, DeviceList, consent
from phantom_messenger.client.devices.errors import ForkedList, StaleList
from phantom_messenger.client.devices.kinds import NamedDevice, SyncDevices, SyncHere, SyncRead
from phantom_messenger.client.devices.known_list import ASLEEP_MS, HERE_MS, RENEW_MS, following
from phantom_messenger.client.devices.late import LateTexts
from phantom_messenger.client.devices.read_marks import marks_of
from phantom_messenger.client.devices.records import SPREAD, SpreadRecord
from phantom_messenger.client.groups import naming
from phantom_messenger.client.groups.contents import GroupSaid
from phantom_messenger.client.link import Link
from phantom_messenger.client.many.listener import Ordered
from phantom_messenger.client.many.outgoing import Options, Outgoing
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.records import SyncRecord
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.status import DeliveryEvent, DeliveryState, Event, reached
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.unusable import LIST, NOT_THEIRS, Unusable, of_list
from phantom_messenger.client.vault import Transaction
from phantom_messenger.crypto.errors import CryptoError, InvalidMessage
from phantom_messenger.crypto.keys import OwnIdentity

TEXT: Final = "text"
"""The purpose of messages to several devices."""

AMONG_DEVICES: Final = "devices"
"""The purpose of what devices say to each other, of which no application hears."""

_AMONG: Final = Options(group=True, purpose=AMONG_DEVICES)

ASK_AGAIN_MS: Final = 3_600_000
"""How often the list of one person is asked for, or handed back to them."""

GATHER_READ_MS: Final = 1_000
COUNT_MS: Final = 60_000
"""How often it is stored for how long own devices were silent."""


class _Silent:
    """Nobody asks what has become of it; a device that was removed has been told so, and nothing else is said to it."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def advanced(self, tx: Transaction, message_id: str, peer: str, state: DeliveryState, now: Moment) -> list[Event]:  # noqa: ARG002 - as every listener
        book = self._stores.book
        if not book.has(peer) and peer not in book.expected and self._stores.devices.own is not None:
            self._stores.conversations.forget(tx, peer)
        return []

    def ordered(
        self,
        tx: Transaction,  # noqa: ARG002
        message_id: str,  # noqa: ARG002
        outcome: Ordered,  # noqa: ARG002
        peers: Sequence[str],  # noqa: ARG002
        now: Moment,  # noqa: ARG002
    ) -> list[Event]:
        return []


class DeviceDesk:
    """Applies the rules of devices to a profile.

    Args:
        stores: of the profile.
        sending: asks for prekeys, and loses what is under way to a device that is gone.
        outgoing: takes messages to many.
        identity: of this device.
        moment: what the clocks show.
        blocking: has the relay forget a device that is nobody's any more.
    """

    def __init__(
        self,
        stores: Stores,
        sending: Sending,
        outgoing: Outgoing,
        identity: OwnIdentity,
        moment: Callable[[], Moment],
        *,
        blocking: Blocking,
    ) -> None:
        self._stores = stores
        self._sending = sending
        self._outgoing = outgoing
        self._identity = identity
        self._moment = moment
        self._blocking = blocking
        self._unusable = Unusable(stores)
        self.late = LateTexts(stores)
        """Knows what a device misses that others did not know yet."""
        self._todo: list[Callable[[], None]] = []
        self._wanted: dict[str, int] = {}
        """Persons whose list was asked for, and when."""
        self._handed: dict[str, int] = {}
        self._overdue: set[str] = set()
        """Persons of whom was said that their list has run out."""
        self._looked_at: int | None = None
        self._open: set[str] = set()
        """Persons whose list is to be asked for."""
        self._read_since: int | None = None if not stores.vault.has_kind(records.SYNC) else 0
        self._counted_at: int | None = None
        self._has_to_spread = stores.vault.has_kind(SPREAD)
        """Whether one's newest list is to be sent to everybody who knows one."""
        self._heard: set[str] = set()
        """Own devices from which something has come since that was last counted."""
        self._spoke = stores.devices.silence_of(stores.devices.device)
        """For how long this device was connected since it wrote to the first one."""
        outgoing.listen(TEXT, self)
        outgoing.listen(AMONG_DEVICES, _Silent(stores))

    @property
    def is_removed(self) -> bool:
        """Whether one's person has removed this device."""
        devices = self._stores.devices
        # Whatever its clock says of the list: only one that does not name it has removed it.
        named = () if devices.own is None else devices.own.newest.ids
        return not devices.is_first and bool(named) and base64.b64decode(devices.device) not in named

    # --- texts --------------------------------------------------------------------

    def is_wide(self, peer: str) -> bool:
        """Whether a message to somebody goes to several devices."""
        return self._stores.devices.is_wide(peer)

    def send(
        self, peer: str, text: Text, message_id: str, options: Options, *, also: Callable[[Transaction], None]
    ) -> None:
        """Put a message to all devices of somebody, and one's own others, into the outbox.

        Args:
            peer: the person.
            text: what is said.
            message_id: of the message.
            options: burning and expiry.
            also: stores what else belongs to it.
        """
        devices = self._stores.devices
        self._say(
            [*self._of_peer(peer), *devices.own_others()],
            msgspec.structs.replace(text, marks=self._marks(to=base64.b64decode(peer))),
            Options(purpose=TEXT, burn=options.burn, expires_in=options.expires_in),
            peer=peer,
            message_id=message_id,
            also=also,
        )

    def goes_alone(self, peer: str) -> bool:
        """Whether somebody's own copy goes as a message to one: their program knows suite 1 only, or may."""
        return self._stores.devices.known(peer) is None and self._stores.book.get(peer).floor < records.Strength.SUITE_2

    def _of_peer(self, peer: str) -> list[str]:
        return [] if self.goes_alone(peer) else self._stores.devices.devices_of(peer)

    def advanced(self, tx: Transaction, message_id: str, peer: str, state: DeliveryState, now: Moment) -> list[Event]:
        """The copy of one device has come further: the message is as far as the furthest of its recipient's."""
        stores = self._stores
        person = stores.devices.person_of(peer)
        sent = stores.outbox.sent(message_id, person)
        if sent is None or (state is DeliveryState.FAILED and peer != person):
            return []
        state = reached(state, burns=sent.burn)
        is_news = stores.outbox.advance_copy(tx, sent, state, now.persistent)
        if state is DeliveryState.ACCEPTED and peer == person:
            stores.book.introduced(tx, person)
            self._sending.accepted(person)
        if state is DeliveryState.BURNED:
            self._outgoing.forget(tx, message_id)
        event = DeliveryEvent(message_id=message_id, peer=stores.book.contact(person), state=state)
        return [event] if is_news else []

    def ordered(
        self,
        tx: Transaction,  # noqa: ARG002 - as every listener
        message_id: str,  # noqa: ARG002
        outcome: Ordered,  # noqa: ARG002
        peers: Sequence[str],  # noqa: ARG002
        now: Moment,  # noqa: ARG002
    ) -> list[Event]:
        """Nothing: no message of a person has an order."""
        return []

    # --- what comes ---------------------------------------------------------------

    def noted(self, sender: str, opened: Opened, now: Moment) -> Iterator[Event]:
        """Something was received from a user: what it says of devices."""
        if opened.is_known and self._stores.devices.is_own(sender):
            self._heard.add(sender)
        if isinstance(opened.content, GroupSaid):
            whose = self._stores.devices.person_of(sender)
            if opened.is_known and opened.claim is not None and self._is_of_interest(whose):
                self._compare(sender, whose, opened.claim, now)
            return
        marks, devices = opened.content.marks, self._stores.devices
        if not opened.is_known or not (marks is not content.NO_MARKS or devices.is_own(sender)):
            return
        if marks.device_list is not None:
            yield from self.list_came(marks.device_list, now, sender)
        whose = devices.person_of(sender)
        if marks.claim is not None and self._is_of_interest(whose):
            self._compare(sender, whose, marks.claim, now)

    def _is_of_interest(self, person: str) -> bool:
        """Whether lists of somebody are taken up."""
        return person == self._stores.devices.person or self._stores.book.may_notify(person)

    def _compare(self, sender: str, person: str, claim: Claim, now: Moment) -> None:
        """Somebody names the newest list that they know of their person: ask for it, or hand a newer one back."""
        known = self._stores.devices.known(person)
        is_behind = known is None or known.newest.revision < claim.revision
        if is_behind and person != self._stores.devices.device:
            self._open.add(person)
        elif known is not None and known.newest.revision > claim.revision and self._may_hand(sender, now):
            self._todo.append(lambda: self.tell_list(known.newest, [sender]))

    def _may_ask(self, person: str) -> bool:
        """Whether somebody's list may be asked for: nobody hides from their own devices."""
        return person == self._stores.devices.person or self._sending.visibility.may_introduce(person)

    def _may_hand(self, sender: str, now: Moment) -> bool:
        """Whether somebody may be handed a list back now, which counts."""
        if self._sending.visibility.is_hidden_from(sender) and not self._stores.devices.is_own(sender):
            return False
        if now.monotonic - self._handed.get(sender, now.monotonic - ASK_AGAIN_MS) < ASK_AGAIN_MS:
            return False
        self._handed[sender] = now.monotonic
        return True

    def list_came(self, encoded: bytes, now: Moment, sender: str = "") -> Iterator[Event]:
        """A device list has come, from whomever; ``sender``: who has brought it, '' for the relay."""
        stores = self._stores
        try:
            found = DeviceList.parse(encoded)
            person = base64.b64encode(found.person).decode()
            if not self._is_of_interest(person):
                yield from self._unusable.tell(sender, LIST, NOT_THEIRS if sender else "", now)
                return
            before = stores.devices.known(person)
            with stores.vault.transaction() as tx:
                changed = stores.devices.take_up(tx, encoded, person=person, wall=now.wall)
                self._drop(tx, changed.gone)
                others = [device for device in changed.removed if device not in changed.gone]
                stores.many.withdraw(tx, conversation_id(stores.devices.person, person), others, but="")
                self._send_late(tx, changed, found.revision, now)
        except ForkedList:
            yield notices.devices_forked(stores.book.contact(person), is_own=person == stores.devices.person)
            return
        except StaleList:
            return  # two that cross on their way, or one that a relay has kept
        except CryptoError as error:
            yield from self._unusable.tell(sender, LIST, of_list(error), now)
            return
        if self.is_removed and before is not stores.devices.known(person):
            yield notices.device_removed()
            return
        yield from self._told(changed)

    def _send_late(self, tx: Transaction, changed: Changed, revision: int, now: Moment) -> None:
        """Send new devices of somebody what was written before they were known: the first one alone got it."""
        for missed in self.late.missed(tx, changed, revision, now):
            sent = missed.sent
            if self._outgoing.send_further(tx, changed.joined, missed.message_id) or sent is None:
                continue
            marks = self._marks(to=base64.b64decode(changed.person))
            said = self._encoded(Text(sent_at=sent.made_at, body=sent.text or "", marks=marks))
            options = Options(purpose=TEXT, burn=sent.burn, expires_in=sent.expires_in)
            talk = conversation_id(self._stores.devices.person, changed.person)
            self._outgoing.send_anew(tx, changed.joined, said, options, sent, talk)

    def _told(self, changed: Changed) -> Iterator[Event]:
        devices, contact = self._stores.devices, self._stores.book.contact(changed.person)
        # Who links this device is no contact, and had their devices before it heard of any.
        if (changed.added or changed.removed) and not devices.is_only_expected(changed.person):
            is_own = changed.person == devices.person
            yield notices.devices_changed(contact, len(changed.added), len(changed.removed), is_own=is_own)

    def _drop(self, tx: Transaction, gone: Sequence[str]) -> None:
        """These devices are nobody's any more: nothing is sent to them, and nothing of them can be read."""
        stores = self._stores
        for device in gone:
            if device == stores.devices.device:
                continue
            stores.outbox.drop(tx, device)
            stores.many.drop(tx, device)
            stores.receipts.drop(tx, device)
            stores.recovery.drop(tx, device)
            stores.acks.drop(tx, device)
            stores.conversations.forget(tx, device)
            self._blocking.forget_device(tx, device)
            tx.on_commit(lambda device=device: self._sending.drop(device))  # type: ignore[misc]

    def read_elsewhere(self, tx: Transaction, said: SyncRead, now: Moment) -> None:
        """Another own device says what was read there."""
        for one in said.messages:
            self._stores.inbox.read_elsewhere(tx, base64.b64encode(one.sender).decode(), one.id, now.persistent)

    def take_names(self, tx: Transaction, said: SyncDevices) -> None:
        """The first device says what it calls the others."""
        devices = self._stores.devices
        on_list = () if devices.own is None else devices.own.newest.ids
        for one in said.names:
            if one.id in on_list and (name := naming.shown(one.name)):
                devices.name(tx, base64.b64encode(one.id).decode(), name)

    # --- what is to be sent -------------------------------------------------------

    def run(self, link: Link | None, now: Moment) -> None:
        """Put into the outbox what follows from what has come, and ask for lists."""
        todo, self._todo = self._todo, []
        for action in todo:
            action()
        if self._stores.devices.own is not None:
            if self._has_to_spread:
                self._spread()
            self._send_read(now)
        if link is None:
            return
        for person in list(self._open):
            if now.monotonic - self._wanted.get(person, now.monotonic - ASK_AGAIN_MS) < ASK_AGAIN_MS:
                self._open.discard(person)
            elif self._may_ask(person) and self._sending.exchanges.want(link, person, now):
                self._wanted[person] = now.monotonic
                self._open.discard(person)

    def _send_read(self, now: Moment) -> None:
        """Tell the other own devices what was read here."""
        if not self._stores.devices.own_others() or not self._stores.vault.has_kind(records.SYNC):
            return
        if self._read_since is None:
            self._read_since = now.monotonic
        if now.monotonic - self._read_since < GATHER_READ_MS:
            return
        self._read_since = None
        found = [one for _, one in self._stores.vault.all(records.SYNC, SyncRecord)][: kinds.MAX_READ]

        def told(tx: Transaction) -> None:
            for one in found:
                tx.delete(records.SYNC, one.name)

        self.say_to_own(marks_of(found), also=told)

    def waits(self, now: int) -> list[int]:
        """Milliseconds until there is something to do."""
        return [] if self._read_since is None else [max(0, self._read_since + GATHER_READ_MS - now)]

    def say_to_own(self, said: kinds.Kind, *, also: Callable[[Transaction], None] = lambda _: None) -> None:
        """Say something to all other own devices."""
        self.say(self._stores.devices.own_others(), said, also=also)

    def later(self, action: Callable[[], None]) -> None:
        """Do something as soon as the step that is under way is over."""
        self._todo.append(action)

    def say(
        self,
        recipients: Sequence[str],
        said: kinds.Kind,
        *,
        purpose: str = AMONG_DEVICES,
        also: Callable[[Transaction], None] = lambda _: None,
    ) -> None:
        """Say something to devices."""
        self._spoke = 0
        whole = BetweenDevices(sent_at=content.time_of(self._moment().wall), said=said, marks=self._marks())
        options = Options(group=True, purpose=purpose)
        self._say(recipients, whole, options, peer=self._stores.devices.person, also=also)

    def tell_list(
        self, found: DeviceList, recipients: Sequence[str], *, also: Callable[[Transaction], None] = lambda _: None
    ) -> None:
        """Send a device list: in an empty receipt, which means nothing to programs that know no devices."""
        marks = msgspec.structs.replace(self._marks(), device_list=found.encoded)
        said = Receipt(sent_at=content.time_of(self._moment().wall), marks=marks)
        if recipients:
            self._say(recipients, said, _AMONG, peer=self._stores.devices.person, also=also)

    def _say(
        self,
        recipients: Sequence[str],
        said: Said,
        options: Options,
        *,
        peer: str,
        message_id: str | None = None,
        also: Callable[[Transaction], None] = lambda _: None,
    ) -> None:
        talk = conversation_id(self._stores.devices.person, peer)
        encoded = self._encoded(said)
        self._outgoing.send(recipients, encoded, options, conversation_id=talk, message_id=message_id, also=also)

    def _encoded(self, said: Said) -> bytes:
        own = self._identity.peer
        return content2.encode(said, Ends(own.user_id, own.public, b"", b""))

    def _marks(self, *, to: bytes | None = None) -> Marks:
        return Marks(to=to, claim=self._stores.devices.claim())

    # --- one's own list -----------------------------------------------------------

    def sign(self, devices: tuple[Device, ...]) -> DeviceList:
        """Make the next list of one's own, on the first device; ``adopt`` takes it up.

        Args:
            devices: all besides the first one.

        Raises:
            InvalidMessage: this is not the first device, or there are too many.
        """
        stores, now, own = self._stores, self._moment(), self._identity
        if not stores.devices.is_first:
            raise InvalidMessage("only the first device can add and remove devices")
        known = stores.devices.own
        before = None if known is None else known.newest
        revision, previous = following(before, is_restored=stores.devices.is_restored)
        person, at = own.peer.user_id, content.time_of(now.wall)
        first = Device(own.peer.public, at, consent(own, person)) if before is None else before.devices[0]
        return DeviceList.sign(
            own, revision=revision, previous=previous, at=at, until=at + LIFE_MS, devices=(first, *devices)
        )

    def adopt(self, tx: Transaction, made: DeviceList) -> Changed:
        """Take up a list that was made here; contacts and devices get it as soon as may be."""
        devices = self._stores.devices
        if devices.own is None:
            devices.belong(tx, devices.device)
        else:
            devices.signed(tx)
        changed = devices.take_up(tx, made.encoded, person=devices.device, wall=self._moment().wall)
        waits = self._stores.vault.find(SPREAD, "", SpreadRecord)
        removed = [*changed.removed] if waits is None else [*waits.removed, *changed.removed]
        tx.put(SPREAD, "", SpreadRecord(removed=removed))
        tx.on_commit(lambda: self._set_to_spread(is_so=True))
        return changed

    def _set_to_spread(self, *, is_so: bool) -> None:
        self._has_to_spread = is_so

    def published(self, encoded: bytes) -> None:
        """The relay has a list."""
        with self._stores.vault.transaction() as tx:
            self._stores.devices.published(tx, DeviceList.parse(encoded).hash)

    def _spread(self) -> None:
        """Send one's newest list to all contacts with whom there is a session, and to all own devices."""
        stores, own = self._stores, self._stores.devices.own
        self._has_to_spread = False
        if own is None:
            return
        waits = stores.vault.find(SPREAD, "", SpreadRecord) or SpreadRecord()
        gone = [device for device in waits.removed if device not in stores.devices.own_others()]
        contacts = [
            contact.user_id
            for contact in stores.book.everybody()
            if stores.book.may_notify(contact.user_id)
            and stores.conversations.load(contact.user_id).sending_to_many is not None
        ]
        theirs = [device for person in contacts for device in stores.devices.devices_of(person)]
        everybody = [*dict.fromkeys([*stores.devices.own_others(), *theirs, *gone])]

        def done(tx: Transaction) -> None:
            tx.delete(SPREAD, "")

        if not (others := stores.devices.own_others()):
            self.tell_list(own.newest, everybody, also=done)
            return
        self.tell_list(own.newest, everybody)
        named = stores.devices.names()
        said = [NamedDevice(id=one, name=name) for one in own.newest.ids if (name := _name_of(one, named))]
        self.say(others, SyncDevices(names=said), also=done)

    def renew(self) -> None:
        """Sign the same devices again.

        Raises:
            InvalidMessage: this is not the first device, or there is no list.
        """
        own = self._stores.devices.own
        if own is None:
            raise InvalidMessage("this is your only device")
        self._change(own.newest.devices[1:])

    def _change(self, devices: tuple[Device, ...]) -> Changed:
        """Sign a list with these other devices, take it up, and let everybody know."""
        made = self.sign(devices)
        with self._stores.vault.transaction() as tx:
            changed = self.adopt(tx, made)
            for device in changed.removed:
                tx.delete(records.DEVICE, device)
                self._blocking.forget_device(tx, device)
        self._spread()
        return changed

    def remove(self, device: str) -> Changed:
        """Remove one of one's devices, on the first one; everybody is told.

        Raises:
            InvalidMessage: it is not on the list, or this is not the first device.
        """
        own, stores = self._stores.devices.own, self._stores
        if (
            own is None
            or device == stores.devices.device
            or device not in stores.devices.devices_of(stores.devices.person)
        ):
            raise InvalidMessage("this is none of your other devices")
        left = tuple(one for one in own.newest.devices[1:] if base64.b64encode(one.id).decode() != device)
        return self._change(left)

    # --- now and then -------------------------------------------------------------

    def tick(self, now: Moment, *, is_online: bool) -> Iterator[Event]:
        """Renew the list, count how long devices were silent, and say that one is there, and whose list has run out."""
        yield from self._look_for_overdue(now)
        devices = self._stores.devices
        if devices.own is None:
            return
        passed = 0 if self._counted_at is None or not is_online else max(0, now.monotonic - self._counted_at)
        if self._counted_at is not None and is_online and passed < COUNT_MS:
            return
        self._counted_at = now.monotonic if is_online else None
        if not devices.is_first:
            self._be_there(min(passed, 2 * COUNT_MS))
        elif not devices.is_restored:
            # After a restore the list may name a device that was removed since: its user is to look at it first.
            yield from self._count(min(passed, 2 * COUNT_MS))
            if now.wall - devices.own.newest.at >= RENEW_MS:
                self.renew()

    def _look_for_overdue(self, now: Moment) -> Iterator[Event]:
        """Whose list has run out: said once until this program ends."""
        if self._looked_at is not None and now.monotonic - self._looked_at < ASK_AGAIN_MS:
            return
        self._looked_at = now.monotonic
        devices, book = self._stores.devices, self._stores.book
        for person in list(devices):
            known = devices.known(person)
            is_overdue = known is not None and person != devices.device and known.is_warned_of(now.wall)
            if is_overdue and person not in self._overdue and self._is_of_interest(person):
                self._overdue.add(person)
                yield notices.devices_overdue(book.contact(person), is_own=person == devices.person)
            elif not is_overdue:
                self._overdue.discard(person)

    def _be_there(self, passed: int) -> None:
        """Say so to the first device if nothing was said to it for long, however often this program was ended."""
        if not passed:
            return
        stores = self._stores
        self._spoke += passed
        if self._spoke >= HERE_MS:
            self.say([stores.devices.person], SyncHere())
        with stores.vault.transaction() as tx:
            stores.devices.silent(tx, stores.devices.device, self._spoke)

    def _count(self, passed: int) -> Iterator[Event]:
        """How long each device was silent while this one was connected; who sleeps too long is removed."""
        stores = self._stores
        asleep: list[str] = []
        with stores.vault.transaction() as tx:
            for device in stores.devices.own_others():
                silent = passed + (0 if device in self._heard else stores.devices.silence_of(device))
                stores.devices.silent(tx, device, silent)
                if silent >= ASLEEP_MS:
                    asleep.append(device)
        self._heard.clear()
        for device in asleep:
            with suppress(InvalidMessage):
                yield from self._told(self.remove(device))


def _name_of(device: bytes, known: Mapping[str, records.DeviceRecord]) -> str:
    record = known.get(base64.b64encode(device).decode())
    return "" if record is None else record.name
