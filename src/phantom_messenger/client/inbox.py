"""Received messages: on disk before they are acked, handed out until they are handled, gone when it is time."""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import UNSET

from phantom_messenger.client import content2, records
from phantom_messenger.client.acks import Acks
from phantom_messenger.client.content import BetweenDevices, Newer, Receipt, Text
from phantom_messenger.client.conversation_index import ConversationIndex
from phantom_messenger.client.conversations import Conversations, Opened
from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.devices.early import Early, Sort
from phantom_messenger.client.errors import VaultDamaged
from phantom_messenger.client.groups.contents import GroupSaid
from phantom_messenger.client.inbox_index import InboxIndex
from phantom_messenger.client.past import Past
from phantom_messenger.client.receipts import Receipts
from phantom_messenger.client.records import (
    InboxRecord,
    KnownKindsRecord,
    NewerRecord,
    ReceivedRecord,
    Seen,
    SentRecord,
    SyncRecord,
)
from phantom_messenger.client.recovery import Recovery
from phantom_messenger.client.status import DeliveryState, reached
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.crypto.errors import InvalidMessage, UndecryptableMessage
from phantom_messenger.wire import codec, frames

KEEP_SEEN_RECEIPTS_MS: Final = 90 * 86_400_000
"""How long the id of a receipt is remembered against duplicates; one that comes later says nothing new."""

ACKNOWLEDGE_AGAIN_MS: Final = 60_000
"""How often a message that arrives again is acknowledged again: each time costs a message."""

MAX_ACKNOWLEDGED_AGAIN: Final = 1_000
"""Messages of which it is remembered that they were acknowledged again."""


class AboutGroup(UndecryptableMessage):
    """What a stranger says about a group, which waits until they are let in: nothing is kept of its decryption."""

    def __init__(self, said: GroupSaid) -> None:
        super().__init__("what is said about a group waits until its sender is let in")
        self.said = said


class Inbox:
    """The received messages of a profile; times are milliseconds of the device's persistent clock.

    Args:
        vault: holds them.
        conversations: opens them.
        acks: `read` and `burned` for the relay.
        receipts: for their senders.
        recovery: what could not be read.
        index: knows up to where the inbox is entered in its index.
        inbox_index: finds what one sender has written.
        devices: knows whose a message is. ``sender`` is a person below, unless it says otherwise.
        past: what was handed over, which comes twice if its writer was late to hear of this device.
    """

    def __init__(  # noqa: PLR0917 - the parts it works with
        self,
        vault: Vault,
        conversations: Conversations,
        acks: Acks,
        receipts: Receipts,
        recovery: Recovery,
        index: ConversationIndex,
        inbox_index: InboxIndex,
        devices: DeviceBook,
        past: Past,
    ) -> None:
        self._vault = vault
        self._conversations = conversations
        self._acks = acks
        self._receipts = receipts
        self._recovery = recovery
        self._index = index
        self._inbox_index = inbox_index
        self._devices = devices
        self._past = past
        self._early = Early(vault)
        self._acknowledged_again: dict[str, int] = {}

    def has_seen(self, sender: str, message_id: str) -> bool:
        """Whether a message of this sender, or of another device of the same person, was received before."""
        if self._vault.has(records.SEEN, records.key(sender, message_id)):
            return True
        whose = self._devices.person_of(sender)
        return whose != sender and self._vault.has(records.SEEN, records.key(whose, message_id))

    def receive(
        self, tx: Transaction, frame: frames.RoutedMessage, now: int, *, wall: int, came: int | None = None
    ) -> Opened:
        """Decrypt a message that was not seen before, and keep it.

        Args:
            tx: stores what follows from it, too.
            frame: as the relay delivered it.
            now: persistent time.
            wall: milliseconds since 1970 by the device's clock, to be shown.
            came: when it came, in persistent time, if that was not now.

        Raises:
            CryptoError: it cannot be read; roll back.
            VaultError: it could not be kept.
        """
        sender, message_id = frame.payload.sender_id, frame.payload.message_id
        opened = self._conversations.open(tx, frame, codec.signed_text(codec.original(frame)), now)
        if isinstance(opened.content, Receipt | GroupSaid | BetweenDevices):
            tx.put(records.SEEN, records.key(sender, message_id), Seen(now), due=now + KEEP_SEEN_RECEIPTS_MS)
        elif self._devices.is_only_expected(sender):
            raise InvalidMessage("a device that is to be linked has nothing else to say")
        elif self._devices.is_own(sender):
            self._put_copy(tx, frame, opened.content, now if came is None else came)
            tx.put(records.SEEN, records.key(self._devices.person, message_id), Seen(now))
        else:
            whose = self._whose(sender, opened.content)
            if not self._past.has_received(whose, message_id):  # else it was handed over already
                received = self._put(tx, frame, opened.content, now if came is None else came, wall)
                self._take_in(tx, whose, received)
            tx.put(records.SEEN, records.key(whose, message_id), Seen(now))
            self._tell(tx, sender, message_id, "delivered", now)
        self._recovery.readable(tx, sender, message_id)
        return opened

    def _take_in(self, tx: Transaction, whose: str, received: ReceivedRecord) -> None:
        """A message waits for the application, unless it was read elsewhere."""
        # A newer one cannot have been: it waits for a version that knows it.
        may_be_read = self._devices.own is not None and received.newer is UNSET
        if may_be_read and self._early.take(tx, Sort.READ, whose, received.message_id) is not None:
            self._put_read(tx, received, quiet=False)
        else:
            self._hand_out(tx, whose, received.message_id)

    def _whose(self, sender: str, said: Text | Newer) -> str:
        """The person whose device has sent something.

        Raises:
            InvalidMessage: it is for another person than one is.
        """
        whose = self._devices.conversation_of(sender, said.marks.to)
        if whose is None:
            raise InvalidMessage("a message is for somebody else")
        return whose

    def _tell(self, tx: Transaction, sender: str, message_id: str, status: str, now: int) -> None:
        """All devices of a person learn what becomes of a message."""
        for device in self._devices.told(sender):
            self._receipts.put(tx, device, message_id, status, now)

    def _put_copy(self, tx: Transaction, frame: frames.RoutedMessage, said: Text | Newer, now: int) -> None:
        """Something that another own device has sent to somebody."""
        payload, options = frame.payload, frame.payload.options
        if not isinstance(said, Text):
            return  # it may be of a kind that devices of a newer version say to each other
        peer = self._whose(payload.sender_id, said)
        if self._vault.has(records.SENT, payload.message_id) or self._past.has_sent(peer, payload.message_id):
            return
        expires_at = None if options.expires_in is None else now + options.expires_in
        early = self._early.take(tx, Sort.SENT, peer, payload.message_id) or DeliveryState.ACCEPTED
        state = reached(early, burns=options.burn_after_read)
        sent = SentRecord(
            message_id=payload.message_id,
            peer=peer,
            text=None if state is DeliveryState.BURNED else said.body,
            made_at=said.sent_at,
            burn=options.burn_after_read,
            state=int(state),
            expires_in=options.expires_in,
            expires_at=expires_at,
        )
        tx.put(records.SENT, sent.message_id, sent, due=expires_at)

    def _put(
        self, tx: Transaction, frame: frames.RoutedMessage, said: Text | Newer, now: int, wall: int
    ) -> ReceivedRecord:
        payload, options = frame.payload, frame.payload.options
        sender = self._devices.person_of(payload.sender_id)
        name = records.key(sender, payload.message_id)
        expires_at = None if options.expires_in is None else now + options.expires_in
        received = ReceivedRecord(
            message_id=payload.message_id,
            sender=sender,
            text=said.body if isinstance(said, Text) else None,
            sent_at=said.sent_at,
            received_at=wall,
            burn=options.burn_after_read,
            expires_at=expires_at,
            newer=said.whole if isinstance(said, Newer) else UNSET,
            device=UNSET if sender == payload.sender_id else payload.sender_id,
        )
        tx.put(records.RECEIVED, name, received, due=expires_at)
        if isinstance(said, Newer):
            tx.put(records.NEWER, name, NewerRecord(message_id=payload.message_id, sender=sender))
        return received

    def _hand_out(self, tx: Transaction, sender: str, message_id: str) -> None:
        record = InboxRecord(message_id=message_id, sender=sender)
        tx.put(records.INBOX, records.key(sender, message_id), record)

    def look(self, tx: Transaction, frame: frames.RoutedMessage, now: int, *, came: int, wall: int) -> None:
        """Decrypt and keep a stranger's message, and hand it to nobody yet.

        Raises:
            AboutGroup: it is about a group; roll back.
            CryptoError: it cannot be read.
        """
        opened = self._conversations.open(tx, frame, codec.signed_text(codec.original(frame)), now)
        if isinstance(opened.content, GroupSaid):
            raise AboutGroup(opened.content)
        if not isinstance(opened.content, Receipt | BetweenDevices):
            self._put(tx, frame, opened.content, came, wall)
        tx.put(records.SEEN, records.key(frame.payload.sender_id, frame.payload.message_id), Seen(now))

    def looked_at(self, sender: str, message_id: str, now: int) -> ReceivedRecord | None:
        """A stranger's message that was decrypted; None if there is none, or not any more."""
        found = self._vault.get(records.RECEIVED, records.key(sender, message_id), ReceivedRecord)
        is_gone = found is None or not found.is_there or (found.expires_at is not None and found.expires_at <= now)
        return None if is_gone else found

    def let_in(self, tx: Transaction, sender: str, message_id: str, now: int) -> bool:
        """A stranger's message that was looked at is handed out now; False if it is gone."""
        found = self.looked_at(sender, message_id, now)
        if found is None:
            return False
        whose = self._devices.person_of(sender)
        if whose != sender:  # a stranger then, a device of somebody now
            tx.delete(records.RECEIVED, records.key(sender, message_id))
            after = msgspec.structs.replace(found, sender=whose, device=sender)
            tx.put(records.RECEIVED, records.key(whose, message_id), after, due=after.expires_at)
            tx.put(records.SEEN, records.key(whose, message_id), Seen(now))
        self._hand_out(tx, whose, message_id)
        self._tell(tx, sender, message_id, "delivered", now)
        return True

    def erase(self, tx: Transaction, sender: str, message_id: str) -> None:
        """Leave nothing of a stranger's message that was looked at and not let in, but that it has come."""
        name = records.key(sender, message_id)
        found = self._vault.find(records.RECEIVED, name, ReceivedRecord)
        if found is not None and found.is_there:
            tx.delete(records.RECEIVED, name)

    def due_again(self, sender: str, message_id: str, now: int) -> str:
        """The status with which to acknowledge a message that arrived again, '' if none; not too often."""
        name = records.key(self._devices.person_of(sender), message_id)
        if now - self._acknowledged_again.get(name, now - ACKNOWLEDGE_AGAIN_MS) < ACKNOWLEDGE_AGAIN_MS:
            return ""
        received = self._vault.find(records.RECEIVED, name, ReceivedRecord)
        if received is None:
            return ""
        return "delivered" if received.quiet or not received.read else "burned" if received.burn else "read"

    def acknowledged_again(self, tx: Transaction, sender: str, message_id: str, now: int) -> None:
        """A message that arrived again is acknowledged again: not so soon the next time."""
        name = records.key(self._devices.person_of(sender), message_id)
        tx.on_commit(lambda: self._note_again(name, now))

    def _note_again(self, name: str, now: int) -> None:
        self._acknowledged_again.pop(name, None)
        self._acknowledged_again[name] = now
        if len(self._acknowledged_again) > MAX_ACKNOWLEDGED_AGAIN:
            del self._acknowledged_again[next(iter(self._acknowledged_again))]

    def next(self, after: int, sender: str | None, now: int) -> tuple[int, ReceivedRecord] | None:
        """The first message behind a position, of a sender if one is named, that was not handled."""
        everything = self._vault.oldest(records.INBOX, InboxRecord, after=after)
        for position, marker in everything if sender is None else self._of(sender, after):
            received = self._vault.find(records.RECEIVED, records.key(marker.sender, marker.message_id), ReceivedRecord)
            is_expired = received is not None and received.expires_at is not None and received.expires_at <= now
            if received is not None and received.is_there and not is_expired:
                return position, received
            self.handled(marker.sender, marker.message_id)
        return None

    def handled(self, sender: str, message_id: str) -> None:
        """The application is done with a message; it will not be handed out again."""
        with self._vault.transaction() as tx:
            tx.delete(records.INBOX, records.key(sender, message_id))
        self._inbox_index.handled(sender)

    def drop(self, tx: Transaction, sender: str) -> None:
        """Nothing of this user is handed out any more, and nothing told of them is remembered."""
        self._early.drop(tx, sender)
        tx.on_rollback(self._inbox_index.forget)  # it may have noted what was not stored
        for _, marker in list(self._of(sender, 0)):
            tx.delete(records.INBOX, records.key(sender, marker.message_id))
        self._inbox_index.erase(tx, sender)

    def _of(self, sender: str, after: int) -> Iterator[tuple[int, InboxRecord]]:
        """What waits of a sender behind a position: what is entered in the index, and then what is not yet."""
        last, rest = after, self._vault.oldest
        if entered := self._index.position:
            try:
                for last, marker in self._inbox_index.of(sender, after):
                    yield last, marker
            except VaultDamaged:  # it is looked for among all
                self._inbox_index.damaged()
            else:
                last = max(last, entered)
                rest = self._vault.oldest if self._index.is_far_behind() else self._vault.behind
        for position, marker in rest(records.INBOX, InboxRecord, after=last):
            if marker.sender == sender:
                yield position, marker

    def mark_read(self, sender: str, message_id: str, now: int, *, quiet: bool = False) -> bool:
        """The user has read a message: it is handled, and burns if asked. ``quiet``: its sender is not notified.

        A newer one counts as handled and not as read: the user has seen nothing of it, so it waits for a version
        that can show it.

        Returns:
            Whether it counts as read.
        """
        name = records.key(sender, message_id)
        received = self._vault.find(records.RECEIVED, name, ReceivedRecord)
        if received is None or received.read:
            return True
        if received.newer is not UNSET:
            self.handled(sender, message_id)
            return False
        device = received.device or sender
        status = "burned" if received.burn else "read"
        with self._vault.transaction() as tx:
            self._put_read(tx, received, quiet=quiet)
            if not quiet:
                self._acks.put(tx, device, message_id, status)
                self._tell(tx, device, message_id, status, now)
            if self._devices.own_others():
                tx.put(records.SYNC, name, SyncRecord(message_id=message_id, sender=sender))
        self._inbox_index.handled(sender)
        return True

    def _put_read(self, tx: Transaction, received: ReceivedRecord, *, quiet: bool) -> None:
        name = records.key(received.sender, received.message_id)
        after = msgspec.structs.replace(received, read=True, quiet=quiet, text=None if received.burn else received.text)
        tx.put(records.RECEIVED, name, after, due=None if after.text is None else received.expires_at)
        tx.delete(records.INBOX, name)

    def read_elsewhere(self, tx: Transaction, sender: str, message_id: str, now: int) -> bool:
        """Another own device has read a message, and told whom it concerns; whether that is news."""
        received = self._vault.find(records.RECEIVED, records.key(sender, message_id), ReceivedRecord)
        if received is None and not self.has_seen(sender, message_id):
            self._early.note(tx, Sort.READ, sender, message_id, (DeliveryState.READ, now))
        if received is None or received.read or received.newer is not UNSET:
            return False
        self._put_read(tx, received, quiet=False)
        tx.on_commit(lambda: self._inbox_index.handled(sender))
        return True

    def told_early(self, tx: Transaction, person: str, message_id: str, state: DeliveryState, now: int) -> None:
        """Somebody says what became of a message of this person, which this device does not know (yet)."""
        if self._devices.own is not None and not self._vault.has(
            records.SEEN, records.key(self._devices.person, message_id)
        ):
            self._early.note(tx, Sort.SENT, person, message_id, (state, now))

    def forget_expired(self, tx: Transaction, now: int) -> None:
        """Erase the messages whose time has come."""
        for received in self._vault.overdue(records.RECEIVED, now, ReceivedRecord):
            name = records.key(received.sender, received.message_id)
            tx.put(records.RECEIVED, name, received.erased())
        tx.delete_due(records.SEEN, now)
        self._early.forget(tx, now)

    # --- newer messages -----------------------------------------------------------

    def may_read_newer(self) -> bool:
        """Whether there is something newer, and this version reads more than the one that has looked at it last."""
        if not self._vault.has_kind(records.NEWER):
            return False
        tried = self._vault.find(records.KNOWN_KINDS, "", KnownKindsRecord)
        return tried is None or tried.kinds != content2.known()

    def read_newer(self, tx: Transaction) -> dict[str, list[str]]:
        """Read again what was newer than the version that received it: what this one knows, by senders."""
        read: dict[str, list[str]] = {}
        for _, marker in list(self._vault.all(records.NEWER, NewerRecord)):
            if self._read_again(tx, marker):
                read.setdefault(marker.sender, []).append(marker.message_id)
        tx.put(records.KNOWN_KINDS, "", KnownKindsRecord(kinds=content2.known()))
        return read

    def _read_again(self, tx: Transaction, marker: NewerRecord) -> bool:
        """Whether this version could read it."""
        name = records.key(marker.sender, marker.message_id)
        received = self._vault.find(records.RECEIVED, name, ReceivedRecord)
        if received is None or received.newer is UNSET:
            tx.delete(records.NEWER, name)
            return False
        try:
            said = content2.read_again(received.newer)
        except InvalidMessage:  # it stays: nothing of it can be shown, and a later version may be more tolerant
            return False
        if not isinstance(said, Text):
            return False
        after = msgspec.structs.replace(received, text=said.body, newer=UNSET)
        tx.put(records.RECEIVED, name, after, due=received.expires_at)
        tx.delete(records.NEWER, name)
        return True

    def wait_again(self, tx: Transaction, sender: str, message_ids: list[str]) -> None:
        """Hand out messages of a sender that were handled already, along with what waits, in the order of arrival."""
        waiting = [marker.message_id for _, marker in self._of(sender, 0)]
        if not set(message_ids) <= set(waiting):
            self.drop(tx, sender)  # its index holds them in the order of the inbox, which is to be another one
            everything = dict.fromkeys([*waiting, *message_ids])
            for message_id in sorted(everything, key=lambda one: self._came(sender, one)):
                self._hand_out(tx, sender, message_id)

    def _came(self, sender: str, message_id: str) -> int:
        return self._vault.position(records.RECEIVED, records.key(sender, message_id))
