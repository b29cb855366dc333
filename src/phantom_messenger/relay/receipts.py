"""The RECEIPT that a sender is sent about a message, as an item of the sender's mailbox."""

from phantom_messenger.relay.records import ItemKind, NewItem
from phantom_messenger.wire import codec, frames, splice


def receipt_item(recipient: str, message_id: str, status: frames.Status, wall_ms: int) -> NewItem:
    """Build the item that says what has become of a message.

    Args:
        recipient: of the message; the receipt comes from them.
        message_id: the message's.
        status: what has become of it.
        wall_ms: when, in milliseconds of the relay's wall clock.
    """
    payload = frames.ReceiptPayload(message_id=message_id, recipient_id=recipient, status=status, timestamp=wall_ms)
    head, tail = splice.split_at_seq(codec.encode(frames.Receipt(payload=payload, timestamp=wall_ms, seq=0)))
    return NewItem(kind=ItemKind.RECEIPT, sender=recipient, name=message_id, head=head, tail=tail)
