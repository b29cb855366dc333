"""Commands about mailboxes: messages, acknowledgements, receipts, expiry."""

import apsw

from phantom_messenger.engines.sqlite.mailboxes import Removed
from phantom_messenger.engines.sqlite.tables import Tables
from phantom_messenger.relay.commands import (
    Accepted,
    AcceptMany,
    AcceptMessage,
    Acknowledge,
    AcknowledgeHidden,
    AppendRefusal,
    DeliveryOutcome,
    Expire,
    Expired,
    MessageName,
    OrderRefusal,
    StoredReceipt,
    StoreReceipts,
)
from phantom_messenger.relay.permissions import Action, is_allowed
from phantom_messenger.relay.receipts import receipt_item
from phantom_messenger.relay.records import Item, ItemKind, NewItem
from phantom_messenger.wire.frames import Status


def accept_message(tables: Tables, command: AcceptMessage) -> Accepted | AppendRefusal:
    """See ``AcceptMessage``."""
    sender, recipient = command.actor.user_id, command.recipient
    added = add_item(tables, recipient, command.item, is_loose=command.is_loose, now=command.now)
    if isinstance(added, Item):
        return Accepted(added, tables.directory.record_written(sender, recipient, command.conversation_id))
    return Accepted(None, became_contacts=False) if added is AppendRefusal.UNWANTED else added


def accept_many(tables: Tables, command: AcceptMany) -> list[Accepted | AppendRefusal] | OrderRefusal:
    """See ``AcceptMany``."""
    if command.order is not None and (refused := tables.orders.take(command.order, command.now)) is not None:
        return refused
    return [_accept_copy(tables, command, recipient, item) for recipient, item in command.copies]


def _accept_copy(tables: Tables, command: AcceptMany, recipient: str, item: NewItem) -> Accepted | AppendRefusal:
    sender, became_contacts = command.actor.user_id, False
    added = add_item(tables, recipient, item, is_loose=False, now=command.now)
    if added is AppendRefusal.UNWANTED:
        return Accepted(None, became_contacts=False)
    if isinstance(added, AppendRefusal):
        return added
    if item.is_group:
        tables.directory.record_written_in_group(sender, recipient)
    else:
        became_contacts = tables.directory.record_written(sender, recipient, command.conversation_id)
    return Accepted(added, became_contacts)


def add_item(tables: Tables, recipient: str, item: NewItem, *, is_loose: bool, now: int) -> Item | AppendRefusal:
    """Put a user's item into another user's mailbox, as far as its sender may."""
    directory, mailboxes = tables.directory, tables.mailboxes
    if is_loose and directory.signs(recipient):
        return AppendRefusal.SIGNED_ONLY
    may_exceed = is_allowed(Action.EXCEED_STRANGER_QUOTA, item.sender, recipient, directory)
    if not may_exceed and not is_allowed(Action.WRITE, item.sender, recipient, directory):
        mailboxes.discard(recipient, item, now=now)
        return AppendRefusal.UNWANTED
    return mailboxes.append(recipient, item, known=may_exceed, now=now)


def acknowledge(tables: Tables, command: Acknowledge) -> list[StoredReceipt]:
    """See ``Acknowledge``."""
    recipient, status = command.actor.user_id, command.status
    receipts: list[StoredReceipt] = []
    for name in command.messages:
        removed = tables.mailboxes.acknowledge(recipient, name.sender, name.message_id, command.now)
        if removed is Removed.GROUP_MESSAGE:
            continue
        if command.may_notify and (removed or status is not Status.DELIVERED):
            receipts += _store_receipt(tables, recipient, name, status, wall_ms=command.wall_ms, now=command.now)
    return receipts


def acknowledge_hidden(tables: Tables, command: AcknowledgeHidden) -> list[tuple[MessageName, DeliveryOutcome]]:
    """See ``AcknowledgeHidden``."""
    recipient, status, now = command.actor.user_id, command.status, command.now
    hidden: list[tuple[MessageName, DeliveryOutcome]] = []
    for name in command.messages:
        times = tables.mailboxes.times(recipient, name.sender, name.message_id)
        tables.mailboxes.acknowledge(recipient, name.sender, name.message_id, now)
        is_news = times is not None or status is not Status.DELIVERED
        if times is not None and times.is_group:
            continue
        if not is_news or not is_allowed(Action.SEE_DELIVERY_STATUS, name.sender, recipient, tables.directory):
            continue
        expires_at = None
        if times is not None:
            last = (now if times.stored_at is None else times.stored_at) + command.mail_life_ms
            expires_at = last if times.expires_at is None else min(times.expires_at, last)
        hidden.append((name, DeliveryOutcome(status, now, expires_at)))
    return hidden


def store_receipts(tables: Tables, command: StoreReceipts) -> list[StoredReceipt]:
    """See ``StoreReceipts``."""
    receipts: list[StoredReceipt] = []
    for name, status in command.outcomes:
        receipts += _store_receipt(tables, command.recipient, name, status, wall_ms=command.wall_ms, now=command.now)
    return receipts


def expire(tables: Tables, command: Expire) -> Expired:
    """See ``Expire``."""
    expired = tables.mailboxes.expire(command.now, command.limit, before=command.stored_before)
    receipts: list[StoredReceipt] = []
    for one in expired:
        if one.kind is ItemKind.MESSAGE and not one.is_group and tables.mailboxes.takes_receipts(one.sender):
            name = MessageName(one.sender, one.name)
            try:
                receipts += _store_receipt(
                    tables, one.recipient, name, Status.EXPIRED, wall_ms=command.wall_ms, now=command.now
                )
            except apsw.Error as error:
                raise tables.mailboxes.receipt_failed(one.sender, error) from None
    return Expired(len(expired), receipts)


def _store_receipt(
    tables: Tables, recipient: str, name: MessageName, status: Status, *, wall_ms: int, now: int
) -> list[StoredReceipt]:
    """Leave a receipt for a message's sender, if they may learn its status; at most one."""
    if not is_allowed(Action.SEE_DELIVERY_STATUS, name.sender, recipient, tables.directory):
        return []
    item = receipt_item(recipient, name.message_id, status, wall_ms)
    # What waits already says as much as "delivered", or more.
    replace = status is not Status.DELIVERED
    added = tables.mailboxes.append(name.sender, item, known=True, now=now, replace=replace)
    return [StoredReceipt(name.sender, added)] if isinstance(added, Item) else []
