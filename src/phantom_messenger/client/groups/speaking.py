"""Sends contents about groups: one body for all who are to have it."""

import base64
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import UnsetType
from msgspec.structs import replace

from phantom_messenger.client import content2
from phantom_messenger.client.content import time_of
from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.groups.contents import GroupHello, GroupSaid
from phantom_messenger.client.groups.state import conversation_of
from phantom_messenger.client.groups.store import Group
from phantom_messenger.client.many.outgoing import Options, Outgoing
from phantom_messenger.client.many.store import ANSWER
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.records import OrderRecord
from phantom_messenger.client.status import Event
from phantom_messenger.client.vault import Transaction
from phantom_messenger.crypto.keys import OwnIdentity

TEXT: Final = "group-text"
CHANGE: Final = "group-change"
QUIET: Final = "group-quiet"
"""Purposes of messages to many: of the first two something is heard, of the last nothing."""


MAX_TOLD: Final = 32
"""In larger groups nobody is told that a text has arrived, only that it was read."""


class Quiet:
    """Listens to what nobody need hear of: see ``Listener``."""

    def advanced(self, *_: object) -> list[Event]:
        """The copy for a recipient has come further."""
        return []

    def ordered(self, *_: object) -> list[Event]:
        """There is no order."""
        return []


class Speaking:
    """Says something about a group to some of its members.

    Args:
        outgoing: takes messages to many.
        identity: of this device.
        devices: knows everybody's.
    """

    def __init__(self, outgoing: Outgoing, identity: OwnIdentity, devices: DeviceBook) -> None:
        self._outgoing = outgoing
        self._identity = identity
        self._devices = devices
        for purpose in (QUIET, ANSWER):
            outgoing.listen(purpose, Quiet())

    def say(  # noqa: PLR0913 - what is said, to whom, and what goes with it
        self,
        about: bytes,
        recipients: Sequence[str],
        said: GroupSaid,
        now: Moment,
        *,
        purpose: str = QUIET,
        order: OrderRecord | None = None,
        expires_in: int | None = None,
        message_id: str | None = None,
        also: Callable[[Transaction], None] = lambda _: None,
        alone: bool = False,
    ) -> str:
        """Put it into the outbox; on disk when this returns.

        Args:
            about: what the conversation id is made of: the group, or the token of a link.
            recipients: user ids; of a person, all devices get it.
            said: what is said; its time is filled in.
            now: this moment.
            purpose: who hears of it; texts and changes go to one's own other devices, too.
            order: the revision that it brings.
            expires_in: milliseconds.
            message_id: a UUID, if it is known already.
            also: stores what belongs to it, in the same transaction.
            alone: no other devices of the recipients get it.

        Returns:
            The message id.
        """
        own = self._identity.peer
        answered = purpose == TEXT and len(recipients) < MAX_TOLD
        whole = content2.encode_for_group(
            replace(said, sent_at=time_of(now.wall)),
            sender=own.user_id,
            sender_key=own.public,
            claim=self._devices.claim(),
        )
        # A member can be another member's device as well, on a list that one of them has signed.
        theirs = recipients if alone else [one for person in recipients for one in self._devices.devices_of(person)]
        everybody = dict.fromkeys(theirs)
        everybody.update(dict.fromkeys(self._devices.own_others() if purpose in {TEXT, CHANGE} else []))
        everybody.pop(self._devices.device, None)
        return self._outgoing.send(
            list(everybody),
            whole,
            Options(group=True, order=order, purpose=purpose, expires_in=expires_in, answered=answered),
            conversation_id=base64.b64encode(conversation_of(about)).decode(),
            message_id=message_id,
            also=also,
        )

    def greet(
        self,
        group: Group,
        people: Sequence[str],
        name: str | UnsetType,
        now: Moment,
        *,
        also: Callable[[Transaction], None] = lambda _: None,
    ) -> None:
        """Say to members that one is there, and what one is called."""
        about, head = group.record.group, group.chain.head
        hello = GroupHello(group=about, revision=group.state.revision, head=head, name=name)
        self.say(about, people, hello, now, also=also)

    def new_id(self) -> str:
        """The id of a message that is still to be said."""
        return self._outgoing.new_id()

    def forget(self, tx: Transaction, message_id: str) -> None:
        """Erase a message, and send no copy that still waits."""
        self._outgoing.forget(tx, message_id)
