"""What becomes of messages to groups, as those say who have got them."""

from phantom_messenger.client.groups.contents import GroupReceipt
from phantom_messenger.client.many.outgoing import Outgoing
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.status import DeliveryState, Event
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction


def followed(  # noqa: PLR0917 - what it works with
    stores: Stores, outgoing: Outgoing, tx: Transaction, sender: str, said: GroupReceipt, now: Moment
) -> list[Event]:
    """Take in how far messages of this user have come with somebody; what is to be told."""
    events: list[Event] = []
    stores.many.suspect(sender, [*said.delivered, *said.read], now.monotonic)
    for state, message_ids in ((DeliveryState.DELIVERED, said.delivered), (DeliveryState.READ, said.read)):
        for message_id in message_ids:
            if stores.many.has(message_id):
                events += outgoing.follow(tx, message_id, sender, state, now)
    return events
