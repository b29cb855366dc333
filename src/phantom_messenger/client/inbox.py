"""Received texts: on disk before they are acked, handed out until they are handled, gone when it is time."""

import msgspec

from phantom_messenger.client import records
from phantom_messenger.client.acks import Acks
from phantom_messenger.client.conversations import Conversations, Opened
from phantom_messenger.client.records import InboxRecord, Mark, ReceivedRecord
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire import codec, frames


class Inbox:
    """The received texts of a profile; times are milliseconds of the relay's clock.

    Args:
        vault: holds them.
        conversations: opens them.
        acks: what is to be told about them.
    """

    def __init__(self, vault: Vault, conversations: Conversations, acks: Acks) -> None:
        self._vault = vault
        self._conversations = conversations
        self._acks = acks

    def take(self, frame: frames.RoutedMessage, now: int) -> Opened | None:
        """Decrypt and keep a message, all in one transaction; None if it was taken before.

        Raises:
            CryptoError: it cannot be read; nothing has changed.
            VaultError: it could not be kept.
        """
        payload, options = frame.payload, frame.payload.options
        name = records.pair(payload.sender_id, payload.message_id)
        if self._vault.has(records.SEEN, name):
            return None
        expires_at = None if options.expires_in is None else frame.timestamp + options.expires_in
        with self._vault.transaction():
            opened = self._conversations.open(frame, codec.signed_text(codec.original(frame)), now)
            received = ReceivedRecord(
                message_id=payload.message_id,
                sender=payload.sender_id,
                text=opened.content.body,
                sent_at=opened.content.sent_at,
                received_at=now,
                burn=options.burn_after_read,
                expires_at=expires_at,
            )
            self._vault.put(records.RECEIVED, name, received, due=expires_at)
            marker = InboxRecord(message_id=payload.message_id, sender=payload.sender_id)
            self._vault.put(records.INBOX, name, marker)
            self._vault.put(records.SEEN, name, Mark(now))
        return opened

    def note_unreadable(self, frame: frames.RoutedMessage, now: int) -> bool:
        """Remember that a message cannot be read; False if that is known already."""
        name = records.pair(frame.payload.sender_id, frame.payload.message_id)
        if self._vault.has(records.UNREADABLE, name):
            return False
        with self._vault.transaction():
            self._vault.put(records.UNREADABLE, name, Mark(now))
        return True

    def next(
        self, after: int, sender: str | None, now: int, *, is_clock_known: bool
    ) -> tuple[int, ReceivedRecord] | None:
        """The first text behind a position, of a sender if one is named, that was not handled."""
        for position, marker in self._vault.all(records.INBOX, InboxRecord, after=after):
            if sender is not None and marker.sender != sender:
                continue
            name = records.pair(marker.sender, marker.message_id)
            received = self._vault.get(records.RECEIVED, name, ReceivedRecord)
            expires_at = None if received is None else received.expires_at
            expired = expires_at is not None and expires_at <= now
            if received is not None and received.text is not None and not expired:
                return position, received
            if expired and not is_clock_known:
                continue  # a wrong local clock must not harm: it is hidden until the relay's is known
            self.handled(marker.sender, marker.message_id)
        return None

    def handled(self, sender: str, message_id: str) -> None:
        """The application is done with a text; it will not be handed out again."""
        with self._vault.transaction():
            self._vault.delete(records.INBOX, records.pair(sender, message_id))

    def mark_read(self, sender: str, message_id: str) -> None:
        """The user has read a text: it is handled, its sender is to be told, and it burns if that was asked."""
        name = records.pair(sender, message_id)
        received = self._vault.get(records.RECEIVED, name, ReceivedRecord)
        if received is None or received.read:
            return
        after = msgspec.structs.replace(received, read=True, text=None if received.burn else received.text)
        with self._vault.transaction():
            self._vault.put(records.RECEIVED, name, after, due=None if after.text is None else received.expires_at)
            self._acks.put(sender, message_id, "burned" if received.burn else "read")
            self._vault.delete(records.INBOX, name)

    def forget_expired(self, now: int) -> None:
        """Erase the texts whose time has come; call it inside a transaction."""
        for received in self._vault.overdue(records.RECEIVED, now, ReceivedRecord):
            name = records.pair(received.sender, received.message_id)
            self._vault.put(records.RECEIVED, name, msgspec.structs.replace(received, text=None))
