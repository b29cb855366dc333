"""Where the parts of the client hand in messages to many: groups, and whoever has several devices."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from msgspec import UNSET

from phantom_messenger.client.errors import InvalidUserId, MessageTooLong, UsageError, VaultError
from phantom_messenger.client.link import Link
from phantom_messenger.client.many.listener import Listener
from phantom_messenger.client.many.sending import SendingMany, WaitsFor
from phantom_messenger.client.many.store import ManyMessage
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.records import ManyRecord, OrderRecord, SentRecord
from phantom_messenger.client.status import DeliveryState, Event
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.crypto import body
from phantom_messenger.wire.limits import MAX_EXPIRES_IN_MS

MAX_SAID_BYTES: Final = body.MAX_PADDED - 1
"""Longest content of a message to many, in bytes without padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a message to many is sent.

    ``group``: nobody becomes a contact by it, and the relay makes no receipts of it. ``order``: the revision that it
    brings; if the relay refuses it, the message goes to nobody and is forgotten. ``purpose``: which part of the client
    it is of, see ``Outgoing.listen``. ``burn``: the recipients' copies go once they were read. ``expires_in``:
    milliseconds after which relay and recipients erase it, and this device what it keeps to send it again, counted from
    the first acceptance. ``answered``: its recipients say that they have it; to whoever does not, and has answered a
    later one, it is sent again.
    """

    group: bool = False
    order: OrderRecord | None = None
    purpose: str = ""
    burn: bool = False
    expires_in: int | None = None
    answered: bool = False


class Sender(Protocol):
    """Who has the connection: the messenger, which knows what else may be sent."""

    @property
    def open_link(self) -> Link | None:
        """The connection, if the login is through."""

    def send_pending(self) -> None:
        """Send whatever may be sent now."""


class Outgoing:
    """Takes messages to many.

    Args:
        stores: of the profile.
        sending: sends them.
        random: a source of random bytes.
        own_id: one's own user id.
        moment: what the clocks show.
        sender: sends at once what may be: what goes to one device, before the next is written to.
    """

    def __init__(
        self,
        stores: Stores,
        sending: SendingMany,
        random: Callable[[int], bytes],
        *,
        own_id: str,
        moment: Callable[[], Moment],
        sender: Sender,
    ) -> None:
        self._stores = stores
        self._sending = sending
        self._random = random
        self._own_id = own_id
        self._moment = moment
        self._sender = sender

    def listen(self, purpose: str, listener: Listener, waits_for: WaitsFor | None = None) -> None:
        """Tell a part of the client what becomes of the messages of its purpose; before the first connection.

        Args:
            purpose: as in ``Options``.
            listener: is told.
            waits_for: says whether a copy is kept for somebody whom the relay does not know; None: it is. For 30 days
                at most (``store.KEEP_MS``).
        """
        self._sending.listen(purpose, listener, waits_for)

    def send(
        self,
        recipients: Sequence[str],
        said: bytes,
        options: Options = Options(),
        *,
        conversation_id: str,
        message_id: str | None = None,
        also: Callable[[Transaction], None] = lambda _: None,
    ) -> str:
        """Put one message to many into the outbox; on disk when this returns.

        What becomes of each copy is told to the listener of its purpose, or by a ``DeliveryEvent`` for each recipient
        if it has none.

        Args:
            recipients: user ids, each once. Those with whom there is a session of suite 2 get it at once, the others
                once there is one.
            said: content 2, without padding; at most ``MAX_SAID_BYTES``.
            options: how it is sent.
            conversation_id: as the relay and the recipients see it.
            message_id: a UUID that was not used before; a new one if None.
            also: stores what else belongs to it, in the same transaction.

        Returns:
            The message id.

        Raises:
            InvalidUserId, MessageTooLong, UsageError: it cannot be sent as it is.
            VaultError: it could not be stored.
        """
        message_id = message_id or self.new_id()
        self._check(recipients, said, message_id, options.expires_in)
        record = self._record(said, options, conversation_id, message_id)
        with self._stores.vault.transaction() as tx:
            also(tx)
            if not recipients:  # whoever it was for is this device itself, on somebody's list
                return message_id
            self._sending.put(tx, self._sender.open_link, record, recipients, self._moment())
        with suppress(VaultError):  # the message is kept; what else could not be stored is tried again
            self._sender.send_pending()
        return message_id

    def new_id(self) -> str:
        """The id of a message that is still to be sent."""
        return str(uuid.UUID(bytes=self._random(16), version=4))

    def _record(self, said: bytes, options: Options, conversation_id: str, message_id: str) -> ManyRecord:
        return ManyRecord(
            message_id=message_id,
            conversation_id=conversation_id,
            content=said,
            key=self._random(body.KEY_BYTES),
            group=options.group,
            purpose=options.purpose,
            order=options.order,
            burn=options.burn,
            expires_in=options.expires_in,
            answered=True if options.answered else UNSET,
        )

    def send_further(self, tx: Transaction, recipients: Sequence[str], message_id: str) -> bool:
        """Send a message that is there to further users, too, before what waits for them; whether it is there.

        Args:
            tx: stores it; it leaves with what else waits, after the step that is under way.
            recipients: user ids; who has got it already gets nothing.
            message_id: of the message; of several, the oldest comes first.
        """
        message = self._stores.many.get(message_id)
        if message is not None:
            self._stores.many.add_further(tx, message, recipients)
        return message is not None

    def send_anew(  # noqa: PLR0917 - as ``send``
        self,
        tx: Transaction,
        recipients: Sequence[str],
        said: bytes,
        options: Options,
        sent: SentRecord,
        conversation_id: str,
    ) -> None:
        """Send what was a message to one to further users, too: under the same id, as ``send_further``.

        Args:
            tx: stores it.
            recipients: user ids.
            said: content 2, without padding.
            options: how it was sent.
            sent: the message to one; it goes on to expire when that does.
            conversation_id: as of that.
        """
        record = self._record(said, options, conversation_id, sent.message_id)
        message = replace(ManyMessage.new(record, [], self._moment().persistent), expires_at=sent.expires_at)
        self._stores.many.add_further(tx, message, recipients)

    def follow(self, tx: Transaction, message_id: str, peer: str, state: DeliveryState, now: Moment) -> list[Event]:
        """A recipient has said how far their copy has come; what is to be told."""
        return self._sending.follow(tx, message_id, peer, state, now)

    def forget(self, tx: Transaction, message_id: str) -> None:
        """Erase a message, and send no copy that still waits: it was burned, or its conversation erased."""
        self._stores.many.remove(tx, message_id)

    def _check(self, recipients: Sequence[str], said: bytes, message_id: str, expires_in: int | None) -> None:
        if len(set(recipients)) != len(recipients):
            raise UsageError("a message to many has each recipient once")
        for peer in recipients:
            if not self._stores.book.can_be(peer, self._own_id):
                raise InvalidUserId(f"'{peer}' is not the ID of another user")
        if len(said) > MAX_SAID_BYTES:
            raise MessageTooLong(f"the content has {len(said):,} bytes, and {MAX_SAID_BYTES:,} is the limit")
        if expires_in is not None and not 1 <= expires_in <= MAX_EXPIRES_IN_MS:
            raise UsageError("a message can expire after 1 millisecond to 365 days; choose a time in between")
        if self._stores.many.has(message_id):
            raise UsageError("there is a message of this id; take another one")
