"""What the relay delivers: stored, acknowledged, and reported to the application.

Everything that must survive is on disk before it is acknowledged. Events are yielded as soon as
they are true, so that none is lost if a later step fails: the caller must exhaust the iterator.
"""

import base64
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any

from msgspec import UNSET, UnsetType

from phantom_messenger.client import notices
from phantom_messenger.client.batching import receipt_entry
from phantom_messenger.client.content import BetweenDevices, Receipt
from phantom_messenger.client.conversations import Opened, conversation_id
from phantom_messenger.client.devices.kinds import SyncGroup
from phantom_messenger.client.devices.parts import DeviceParts
from phantom_messenger.client.errors import VaultError
from phantom_messenger.client.faults import Aside
from phantom_messenger.client.groups.arrivals import Arrivals
from phantom_messenger.client.groups.contents import GroupChange, GroupChanges, GroupJoin, GroupSaid
from phantom_messenger.client.link import Link, LinkState
from phantom_messenger.client.looks import Looks
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.presence import Sightings
from phantom_messenger.client.records import ContactRecord, RequestRecord, SentRecord, Strength
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.status import (
    Contact,
    DeliveryEvent,
    DeliveryState,
    Event,
    MessageEvent,
    PresenceEvent,
    RequestEvent,
    Trust,
    WrittenEvent,
    reached,
)
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.crypto import session
from phantom_messenger.crypto.errors import (
    CryptoError,
    InvalidMessage,
    UndecryptableMessage,
    UnknownPreKey,
    UnknownSuite,
)
from phantom_messenger.wire import codec, frames


class Receiving:
    """Handles what comes for this user.

    Args:
        stores: of the profile.
        sending: learns of what changes for it.
        user_id: one's own.
        groups: takes in what is said about groups; None if there are none.
        devices: hears of what comes from devices, and of what may be part of linking one; None as well.
    """

    def __init__(
        self,
        stores: Stores,
        sending: Sending,
        user_id: str,
        groups: Arrivals | None = None,
        devices: DeviceParts | None = None,
    ) -> None:
        self._stores = stores
        self._sending = sending
        self._user_id = user_id
        self._groups = groups
        self._devices = devices
        self._aside = Aside()
        self._looks = Looks()
        self._is_relay_wrong = False
        """Whether the user was warned, on this connection, that the relay delivers other people's mail."""
        self._told_removed: set[str] = set()
        """Devices that others have removed, of which it was told that something came of them."""
        self._fallen: set[str] = set()
        """Users of whom was said that they write in suite 1 again."""
        self._seen = Sightings()

    def read_newer(self) -> None:
        """Hand out again what an older version could not show; of strangers and of blocked users, nothing."""
        stores = self._stores
        if not stores.inbox.may_read_newer():
            return
        with suppress(VaultError), stores.vault.transaction() as tx:  # on a full disk, the next time
            for sender, message_ids in stores.inbox.read_newer(tx).items():
                if not stores.requests.holds(sender) and not stores.book.is_blocked(sender):
                    stores.inbox.wait_again(tx, sender, message_ids)

    def connected(self) -> None:
        """A new connection."""
        self._is_relay_wrong = False
        self._seen.clear()

    def receive(self, link: Link, frame: Any, now: Moment) -> Iterator[Event]:
        """Handle a frame; one that is of no concern here says nothing."""
        events = self._take(link, frame, now)
        stays = isinstance(frame, frames.RoutedMessage) or getattr(frame, "seq", UNSET) is not UNSET
        return self._aside.attempt(events) if stays else events

    def _take(self, link: Link, frame: Any, now: Moment) -> Generator[Event, None, None]:
        if self._is_misdirected(frame):
            if not self._is_relay_wrong:
                self._is_relay_wrong = True
                yield notices.misdirected()
            return
        match frame:
            case frames.RoutedMessage():
                yield from self._message(link, frame, now)
            case frames.Receipt():
                yield from self._relay_receipt(link, frame, now)
            case frames.RoutedKeyExchangeResponse():
                if frame.signature is UNSET:
                    self._sending.exchanges.answered(frame.id)  # else the id is the peer's own
                yield from self._sending.exchanges.receive(frame.payload, now)
                yield from self._list_came(frame.payload.device_list, now)
                self._confirm(link, frame.seq, now)
            case frames.RoutedKeyExchangeInit():
                self._confirm(link, frame.seq, now)
            case frames.ManyResult():
                yield from self._sending.many.result(frame, now)
            case frames.PreKeyBundles():
                yield from self._sending.exchanges.fetched(frame, now)
                for bundle in frame.payload.bundles:
                    yield from self._list_came(bundle.device_list, now)
            case frames.PresenceNotice():
                yield from self._presence(link, frame, now)
            case frames.AllowanceNotice() if frame.payload.recipient_id is not UNSET:
                said = frame.payload
                self._sending.allow(frame.payload.recipient_id, said.messages, said.expires_in, now.monotonic)
            case _:
                pass

    def _is_misdirected(self, frame: Any) -> bool:
        """Whether it is for somebody else: before anything else is asked of it; nothing follows from it.

        Not acknowledged either: a relay that mixes up its mailboxes must not lose somebody's mail because of us.
        """
        match frame:
            case frames.RoutedMessage():
                named: Any = frame.payload.recipient_id
            case frames.RoutedKeyExchangeInit() | frames.RoutedKeyExchangeResponse():
                named = frame.payload.target_id
            case _:
                return False
        return named is not UNSET and named != self._user_id

    def _confirm(self, link: Link, seq: Any, now: Moment) -> None:
        """The relay need not keep an item of the mailbox."""
        if seq is not UNSET and link.state is LinkState.OPEN:
            self._stores.acks.confirm(link, frames.MessageAckPayload(seq=seq, status="delivered"), now.monotonic)

    # --- messages -----------------------------------------------------------------

    def _message(self, link: Link, frame: frames.RoutedMessage, now: Moment) -> Iterator[Event]:
        stores, sender, message_id = self._stores, frame.payload.sender_id, frame.payload.message_id
        is_about = False
        if stores.book.is_blocked(sender):
            pass
        elif (person := stores.devices.who_removed(sender)) is not None:
            yield from self._of_removed(sender, person)
        elif stores.requests.holds(sender) and (offered := self._offer(frame, now)) is not None:
            yield from offered
        elif (
            stores.requests.holds(sender)
            and not (is_about := self._is_about_group(frame, now))
            and not self._may_ask_again(frame, now)
        ):
            # A stranger's waits here, so that it does not fill the mailbox, and nothing else is done.
            yield from self._request(frame, now)
        else:
            if not stores.requests.holds(sender):
                yield from self.open_requests(sender, now)
            if stores.inbox.has_seen(sender, message_id):
                self._acknowledge_again(sender, message_id, now.persistent)
                if self._groups is not None:
                    self._groups.texts.came_again(frame.payload)
            else:
                try:
                    with stores.vault.transaction() as tx:
                        opened = stores.inbox.receive(tx, frame, now.persistent, wall=now.wall)
                        self._check_stranger(sender, opened, now)
                        events = self._follow(tx, sender, opened, now)
                        if self._devices is not None:
                            events += self._devices.within(tx, sender, opened, now)
                except _OfStranger as waits:
                    yield from self._request(frame, now, waits.said)
                    self._confirm_message(link, sender, message_id, now)
                    return
                except CryptoError as error:
                    if not stores.requests.holds(sender) or (is_about and stores.book.may_notify(sender)):
                        yield from self._unreadable(link, sender, message_id, error, now)
                        return
                    yield from self._request(frame, now, None)
                    self._confirm_message(link, sender, message_id, now)
                    return
                yield from events
                yield from self._opened(sender, message_id, opened, now)
                yield from self._of_devices(sender, opened, now)
        self._confirm_message(link, sender, message_id, now)

    def _of_removed(self, device: str, person: str) -> Iterator[Event]:
        """A device that somebody has removed did not know it yet: nothing can be read, as the sessions are erased."""
        if device not in self._told_removed and person != self._stores.devices.person:
            self._told_removed.add(device)
            yield notices.of_removed(self._stores.book.contact(person))

    def _request(self, frame: frames.RoutedMessage, now: Moment, said: object = UNSET) -> Iterator[Event]:
        """A stranger's message waits; ``said``: if it was looked into, what it says, None if it cannot be read."""
        stores, sender = self._stores, frame.payload.sender_id
        if stores.requests.receive(frame, now.persistent, now.wall):
            if self._asks_to_join(frame, now, said):
                with stores.vault.transaction() as tx:
                    stores.requests.drop(tx, sender, frame.payload.message_id)
                return
            yield RequestEvent(peer=stores.book.contact(sender), waiting=stores.requests.waiting(sender))

    def _asks_to_join(self, frame: frames.RoutedMessage, now: Moment, said: object) -> bool:
        """Whether a stranger has opened a link to a group, and is not to be let in here: there is nothing to read.

        On a further device nobody is, as the first one answers.
        """
        stores, payload = self._stores, frame.payload
        if payload.conversation_id == conversation_id(stores.devices.person, payload.sender_id):
            return False  # between two persons: it is not looked into
        if said is UNSET:
            is_under_link = self._groups is not None and self._groups.strangers.is_under_link(frame)
            if is_under_link or not self._looks.take(now.monotonic):
                return False
            said = stores.requests.about_group(payload.sender_id, payload.message_id, now.persistent)
        if not isinstance(said, GroupJoin):
            return False
        is_further = stores.devices.own is not None and not stores.devices.is_first
        return is_further or self._groups is None or self._groups.strangers.opened(payload.sender_id, said, now) is None

    def _is_about_group(self, frame: frames.RoutedMessage, now: Moment) -> bool:
        """Whether a stranger's message may be about a group of this user, and is looked into."""
        groups = self._groups
        return groups is not None and groups.strangers.expects(frame, now, lambda: self._takes_look(frame, now))

    def _may_ask_again(self, frame: frames.RoutedMessage, now: Moment) -> bool:
        """Whether it may be a fellow member's, who could not read what was said in a group, or has another device."""
        return self._stores.book.may_notify(frame.payload.sender_id) and self._takes_look(frame, now)

    def _takes_look(self, frame: frames.RoutedMessage, now: Moment) -> bool:
        """Whether one more message may be looked into; what waits has had its look."""
        return not self._stores.requests.has(frame) and self._looks.take(now.monotonic)

    def _check_stranger(self, sender: str, opened: Opened, now: Moment) -> None:
        """Of a stranger nothing is taken in but what is about a group of this user.

        Raises:
            _OfStranger: it waits, as what strangers write does.
        """
        if not self._stores.requests.holds(sender):
            return
        said, groups = opened.content, self._groups
        is_about = isinstance(said, GroupSaid) and groups is not None and groups.strangers.concerns(sender, said, now)
        if not is_about and not (self._stores.book.may_notify(sender) and _says_nothing_else(said)):
            raise _OfStranger(said)

    def _offer(self, frame: frames.RoutedMessage, now: Moment) -> Iterator[Event] | None:
        """What follows from an offer to link this device; None if a stranger's message is none."""
        stores, sender = self._stores, frame.payload.sender_id
        if self._devices is None or not self._devices.linking.is_listening:
            return None
        linking = self._devices.linking
        try:
            with stores.vault.transaction() as tx:
                opened = stores.inbox.receive(tx, frame, now.persistent, wall=now.wall)
                if not linking.is_offer(opened):
                    raise InvalidMessage("a stranger's message is no offer")
        except CryptoError:
            return None
        return linking.received(sender, opened)

    def _of_devices(self, sender: str, opened: Opened, now: Moment) -> Iterator[Event]:
        """What a message says of devices, or to this one; devices that are known now may have waited."""
        if self._devices is None:
            return
        before, said = set(self._stores.devices), opened.content
        yield from self._devices.received(sender, opened, now)
        has_list = not isinstance(said, GroupSaid) and said.marks.device_list is not None
        if has_list or before != set(self._stores.devices):
            yield from self._open_devices(now)

    def _list_came(self, encoded: str | UnsetType, now: Moment) -> Iterator[Event]:
        """A device list came with prekeys."""
        if encoded is not UNSET and self._devices is not None:
            yield from self._devices.desk.list_came(base64.b64decode(encoded), now)
            yield from self._open_devices(now)

    def _open_devices(self, now: Moment) -> Iterator[Event]:
        """What waited of strangers who are known as somebody's devices now is received."""
        for sender in self._stores.requests.senders():
            if not self._stores.requests.holds(sender):
                yield from self.open_requests(sender, now)
        if self._groups is not None and len(self._stores.groups):
            with self._stores.vault.transaction() as tx:
                events = self._groups.devices_changed(tx, now)
            yield from events
            yield from self._open_about_groups(now)

    def _confirm_message(self, link: Link, sender: str, message_id: str, now: Moment) -> None:
        """The relay need not keep it."""
        delivered = frames.MessageAckPayload(message_id=message_id, sender_id=sender, status="delivered")
        self._stores.acks.confirm(link, delivered, now.monotonic)

    def _acknowledge_again(self, sender: str, message_id: str, now: int) -> None:
        """A message came again: its sender may not know what became of it."""
        status = self._stores.inbox.due_again(sender, message_id, now)
        if status:
            with self._stores.vault.transaction() as tx:
                self._stores.receipts.put(tx, sender, message_id, status, now)
                self._stores.inbox.acknowledged_again(tx, sender, message_id, now)

    def open_requests(self, sender: str, now: Moment) -> Iterator[Event]:
        """What waited of somebody who is no stranger any more is received now."""
        stores, looked_at = self._stores, False
        for record in stores.requests.of(sender):
            found = yield from self._aside.attempt(self._open_request(record, now))
            looked_at = looked_at or bool(found)
        if looked_at:
            yield from self._looked_at(stores.book.get(sender), stores.book.contact(sender))

    def _open_request(self, record: RequestRecord, now: Moment) -> Generator[Event, None, bool]:
        """Receive one; whether it was looked at before."""
        stores, sender = self._stores, record.sender
        events: list[Event] = []
        try:
            with stores.vault.transaction() as tx:
                opened = stores.requests.open(tx, record, now.persistent)
                if isinstance(opened, Opened):
                    events = self._follow(tx, sender, opened, now)
        except CryptoError as error:
            yield from self._unreadable_request(record, error, now)
            return False
        yield from events
        if isinstance(opened, Opened):
            yield from self._opened(sender, record.message_id, opened, now)
        elif opened:
            yield MessageEvent(message_id=record.message_id, peer=stores.book.contact(sender))
            return True
        return False

    def _unreadable_request(self, record: RequestRecord, error: CryptoError, now: Moment) -> Iterator[Event]:
        """What waited cannot be read. The relay has it no more, so it is asked for if that helps."""
        with self._stores.vault.transaction() as tx:
            is_news = self._note_unreadable(tx, record.sender, record.message_id, error, now)
            self._stores.requests.drop(tx, record.sender, record.message_id)
        if is_news:
            yield self._unreadable_notice(record.sender, error)

    def _open_about_groups(self, now: Moment) -> Iterator[Event]:
        """A group, or who is in it, may be known now: what strangers have said in it before waits no longer."""
        stores = self._stores
        for record in [one for sender in stores.requests.senders() for one in stores.requests.of(sender)]:
            frame = codec.decode_relay(record.frame) if record.frame else None
            if (
                self._groups is not None
                and isinstance(frame, frames.RoutedMessage)
                and self._groups.strangers.expects(frame, now)
            ):
                yield from self._aside.attempt(self._open_about_group(record, now))

    def _open_about_group(self, record: RequestRecord, now: Moment) -> Generator[Event, None, None]:
        events: list[Event] = []
        try:
            with suppress(_OfStranger), self._stores.vault.transaction() as tx:
                opened = self._stores.requests.open(tx, record, now.persistent)
                if isinstance(opened, Opened):
                    self._check_stranger(record.sender, opened, now)
                    events = self._follow(tx, record.sender, opened, now)
        except CryptoError as error:
            if self._stores.book.may_notify(record.sender):
                yield from self._unreadable_request(record, error, now)
            return
        yield from events

    def _opened(self, sender: str, message_id: str, opened: Opened, now: Moment) -> Iterator[Event]:
        """A message was decrypted and kept."""
        record = self._stores.book.get(sender)
        peer = self._stores.book.contact(sender)
        self._sending.exists(sender)
        if opened.is_new and peer.trust is Trust.CHANGED:
            yield notices.key_changed(peer)
        if opened.is_weak and not opened.lags and (opened.is_new or self._has_fallen(sender, opened)):
            yield notices.weak_session(peer, opened.strength, had_better=record.had(opened.strength))
        elif opened.is_new:
            yield from notices.allowed_session(peer, record.floor)
        if isinstance(opened.content, GroupSaid):
            if isinstance(opened.content, GroupChange | GroupChanges):
                yield from self._open_about_groups(now)
            return
        if isinstance(opened.content, Receipt):
            if opened.is_weak and opened.content.undecryptable:
                self._sending.exchanges.renew(sender)
            return
        devices, past = self._stores.devices, self._stores.past
        if isinstance(opened.content, BetweenDevices):
            if isinstance(opened.content.said, SyncGroup):
                yield from self._open_about_groups(now)
            return
        if devices.is_own(sender):
            sent = self._stores.outbox.sent(message_id)
            if sent is not None:  # else it was handed over already, or is of a kind that this version does not know
                yield WrittenEvent(message_id=message_id, peer=self._stores.book.contact(sent.peer))
            return
        if past.has_received(devices.person_of(sender), message_id):
            return
        yield MessageEvent(message_id=message_id, peer=peer)
        if opened.late:
            yield notices.late(peer)

    def _looked_at(self, record: ContactRecord, peer: Contact) -> Iterator[Event]:
        """Whose messages were read as a stranger's is known now: what was not said then is said now."""
        if record.key and record.suite == session.SUITE and record.floor is Strength.SUITE_2:
            strength = Strength.CLASSICAL if record.classical else Strength.SUITE_1
            yield notices.weak_session(peer, strength, had_better=False)
        elif record.classical:
            yield from notices.allowed_session(peer, record.floor)

    def _has_fallen(self, sender: str, opened: Opened) -> bool:
        """Whether somebody who has written in suite 2 writes in suite 1 again: once until this program ends."""
        is_news = opened.has_fallen and sender not in self._fallen
        if is_news:
            self._fallen.add(sender)
        return is_news

    def _unreadable(self, link: Link, sender: str, message_id: str, error: CryptoError, now: Moment) -> Iterator[Event]:
        """It is not acknowledged: it stays with the relay until the same one comes readable."""
        stores = self._stores
        with stores.vault.transaction() as tx:
            is_news = self._note_unreadable(tx, sender, message_id, error, now)
        if is_news:
            yield self._unreadable_notice(sender, error)
        if not stores.recovery.keeps(sender, message_id, known=stores.book.may_notify(sender)):
            # So many would fill the mailbox for good. They can be asked for all the same.
            self._confirm_message(link, sender, message_id, now)

    def _note_unreadable(self, tx: Transaction, sender: str, message_id: str, error: CryptoError, now: Moment) -> bool:
        """Remember it, so that it is asked for if that helps; whether it is news."""
        recoverable = _is_recoverable(error)
        return self._stores.recovery.note(tx, sender, message_id, now.persistent, recoverable=recoverable)

    def _unreadable_notice(self, sender: str, error: CryptoError) -> Event:
        return notices.unreadable(
            self._stores.book.contact(sender),
            is_known=self._stores.book.may_notify(sender),
            is_recoverable=_is_recoverable(error),
            is_newer=isinstance(error, UnknownSuite),
        )

    # --- what became of our messages ----------------------------------------------

    def _follow(self, tx: Transaction, sender: str, opened: Opened, now: Moment) -> list[Event]:
        """What a receipt of their recipient changes, or what is said about a group.

        Of one whose key is another than the known one, nothing.
        """
        if self._devices is not None and opened.is_known:
            self._devices.desk.late.noted(tx, sender, opened)
        if isinstance(opened.content, GroupSaid) and opened.is_known and self._groups is not None:
            return self._groups.receive(tx, opened.payload, opened.content, now)
        if not isinstance(opened.content, Receipt) or not opened.is_known:
            return []
        receipt, stores = opened.content, self._stores
        if stores.requests.holds(sender):  # a fellow member: nothing of theirs concerns what was written to them alone
            if receipt.undecryptable:
                stores.many.unseal(tx, sender)
            in_groups = [one for one in receipt.undecryptable if stores.many.is_of_group_to(one, sender)]
            return self.resend(tx, sender, in_groups, now)
        answered = [*receipt.delivered, *receipt.read, *receipt.burned]
        stores.outbox.mark_presumed_lost(sender, stores.outbox.overtaken(sender, answered), now.monotonic)
        if receipt.undecryptable:
            stores.outbox.unseal(tx, sender)
            stores.many.unseal(tx, sender)
        events: list[Event] = []
        for state, message_ids in (
            (DeliveryState.DELIVERED, receipt.delivered),
            (DeliveryState.READ, receipt.read),
            (DeliveryState.BURNED, receipt.burned),
        ):
            for message_id in message_ids:
                if stores.many.is_to(message_id, sender):
                    events += self._sending.many.follow(tx, message_id, sender, state, now)
                elif (sent := stores.outbox.sent(message_id, stores.devices.person_of(sender))) is not None:
                    events += self._advance(tx, sent, state, now)
                else:
                    whose = stores.devices.person_of(sender)
                    stores.inbox.told_early(tx, whose, message_id, state, now.persistent)
        for message_id in receipt.undecryptable:
            if stores.receipts.may_resend(tx, sender, message_id):
                stores.outbox.put(tx, receipt_entry(message_id, sender, now, again=True), first=True)
        return events + self.resend(tx, sender, receipt.undecryptable, now)

    def resend(self, tx: Transaction, peer: str, message_ids: list[str], now: Moment) -> list[Event]:
        """Put messages back into the outbox that their recipient could not read, or never got."""
        contact = self._stores.book.contact(peer)
        stores, key = self._stores, contact.key or b""
        single = [one for one in message_ids if not stores.many.is_to(one, peer)]
        count = stores.outbox.resend(tx, peer, single, now.persistent, key)
        count += stores.many.resend(tx, peer, message_ids, now.persistent, key)
        return [notices.resent(contact, count)] if count else []

    def _relay_receipt(self, link: Link, frame: frames.Receipt, now: Moment) -> Iterator[Event]:
        """The relay is believed in what it alone knows: that it has a message, or that its time has come."""
        payload, stores = frame.payload, self._stores
        state = DeliveryState[payload.status.name]
        if state is DeliveryState.ACCEPTED:
            self._sending.answered(frame.id, payload.message_id, payload.recipient_id)
        if stores.many.waits_for(payload.message_id, payload.recipient_id):
            if state is DeliveryState.ACCEPTED:
                yield from self._sending.many.accepted(payload.message_id, [payload.recipient_id], now)
            self._confirm(link, frame.seq, now)
            return
        sent = stores.outbox.sent(payload.message_id, payload.recipient_id)
        events: list[Event] = []
        with stores.vault.transaction() as tx:
            if sent is not None:
                if state is DeliveryState.ACCEPTED or (state is DeliveryState.EXPIRED and sent.expires_in is not None):
                    events = self._advance(tx, sent, state, now)
            elif state is DeliveryState.ACCEPTED:
                stores.outbox.remove(tx, payload.message_id, payload.recipient_id)
            else:
                stores.receipts.acknowledged(tx, payload.recipient_id, payload.message_id)
        yield from events
        self._confirm(link, frame.seq, now)

    def failed(self, message_id: str, now: Moment) -> Iterator[Event]:
        """The relay will never take a message."""
        sent = self._stores.outbox.sent(message_id)
        if sent is not None:
            with self._stores.vault.transaction() as tx:
                events = self._advance(tx, sent, DeliveryState.FAILED, now)
            yield from events

    def _advance(self, tx: Transaction, sent: SentRecord, state: DeliveryState, now: Moment) -> list[Event]:
        """A message of one's own has come further."""
        state = reached(state, burns=sent.burn)
        is_news = self._stores.outbox.advance(tx, sent, state, now.persistent)
        if state in {DeliveryState.BURNED, DeliveryState.EXPIRED}:
            self._stores.many.remove(tx, sent.message_id)  # further devices get it no more
        if state is DeliveryState.ACCEPTED:
            self._stores.book.introduced(tx, sent.peer)
            self._sending.accepted(sent.peer)
        peer = self._stores.book.contact(sent.peer)
        return [DeliveryEvent(message_id=sent.message_id, peer=peer, state=state)] if is_news else []

    # --- presence -----------------------------------------------------------------

    def _presence(self, link: Link, frame: frames.PresenceNotice, now: Moment) -> Iterator[Event]:
        payload = frame.payload
        book, user_id = self._stores.book, payload.user_id
        if not book.is_known(user_id) or book.is_blocked(user_id):
            return  # a relay tells of contacts
        devices = self._stores.devices
        person = devices.person_of(user_id)
        if person == devices.person:
            return  # of one's own other devices nothing is shown
        last_seen = None if payload.last_seen is UNSET else payload.last_seen
        if last_seen is not None and last_seen > link.relay_time(now.monotonic):
            last_seen = None  # no honest relay has seen the future
        status, last_seen = self._seen.note(user_id, payload.status, last_seen, devices.devices_of(person))
        yield PresenceEvent(peer=book.contact(person), status=status.value, last_seen=last_seen)


class _OfStranger(Exception):
    """A stranger's message is about no group of this user."""

    def __init__(self, said: object) -> None:
        super().__init__()
        self.said = said


def _says_nothing_else(said: object) -> bool:
    """Whether a content asks for what could not be read, or brings a device list, and says nothing else."""
    return isinstance(said, Receipt) and not (said.delivered or said.read or said.burned)


def _is_recoverable(error: CryptoError) -> bool:
    """Whether it helps to send a message again."""
    return isinstance(error, UndecryptableMessage | UnknownPreKey)
