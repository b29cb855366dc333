"""Everything that a profile holds, as parts on one vault; each is the only one who writes its records."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from phantom_messenger.client.acks import Acks
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.conversation_index import ConversationIndex
from phantom_messenger.client.conversations import Conversations
from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.groups.store import GroupStore
from phantom_messenger.client.history import History
from phantom_messenger.client.inbox import Inbox
from phantom_messenger.client.inbox_index import InboxIndex
from phantom_messenger.client.many.store import ManyStore
from phantom_messenger.client.outbox import Outbox
from phantom_messenger.client.past import Past
from phantom_messenger.client.prekey_store import PreKeyStore
from phantom_messenger.client.receipts import Receipts
from phantom_messenger.client.recovery import Recovery
from phantom_messenger.client.requests import Requests
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto.keys import OwnIdentity


@dataclass(frozen=True, slots=True)
class Stores:
    """The parts, and the vault for transactions over several of them."""

    vault: Vault
    book: AddressBook
    devices: DeviceBook
    prekeys: PreKeyStore
    conversations: Conversations
    acks: Acks
    outbox: Outbox
    many: ManyStore
    groups: GroupStore
    receipts: Receipts
    recovery: Recovery
    inbox: Inbox
    requests: Requests
    index: ConversationIndex
    past: Past
    history: History

    def waiting(self, peer: str | None = None) -> int:
        """How many messages wait to be sent; for one user, if one is named.

        One that waits for somebody's first device, and besides for devices of which one has heard since, is one.
        """
        if peer is not None or not self.outbox.texts():
            return self.outbox.texts(peer) + self.many.count(peer)
        return self.outbox.texts() + self.many.count_but(self.outbox.waits)

    def may_remove(self, peer: str, *, history: bool) -> bool:
        """Whether there is somebody to remove; ``history``: or something to erase of what was said with them."""
        is_met = self.book.has(peer) and not self.requests.holds(peer)  # of others, a group may have told
        is_stranger = self.book.is_blocked(peer) or self.requests.waiting(peer) > 0
        return is_met or is_stranger or (history and self.history.has(peer))

    @classmethod
    def of(cls, vault: Vault, identity: OwnIdentity, random: Callable[[int], bytes], *, asks: bool) -> Self:
        """Read what is to be in memory.

        Args:
            vault: open, with an identity.
            identity: the one in it.
            random: a source of random bytes.
            asks: whether what strangers write waits until the user lets them in.
        """
        many = ManyStore(vault)
        book, outbox, acks, recovery = AddressBook(vault), Outbox(vault, many), Acks(vault), Recovery(vault)
        prekeys = PreKeyStore(vault, identity, random)
        devices = DeviceBook(vault, book, identity)
        groups = GroupStore(vault, devices)
        book.fellows = groups.fellows
        conversations = Conversations(vault, book, identity, prekeys, random)
        past = Past(vault)
        receipts, inbox_index = Receipts(vault, outbox), InboxIndex(vault)
        index = ConversationIndex(vault, inbox_index)
        inbox = Inbox(vault, conversations, acks, receipts, recovery, index, inbox_index, devices, past)
        return cls(
            vault=vault,
            book=book,
            devices=devices,
            prekeys=prekeys,
            conversations=conversations,
            acks=acks,
            outbox=outbox,
            many=many,
            groups=groups,
            receipts=receipts,
            recovery=recovery,
            inbox=inbox,
            requests=Requests(vault, book, conversations, inbox, asks=asks),
            index=index,
            past=past,
            history=History(vault, index, past, book, devices),
        )
