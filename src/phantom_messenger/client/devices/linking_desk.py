"""A link as it goes on: what is sent, what comes, and what the users of both devices are asked.

It is in memory alone: whoever closes the program in between begins with a new code. On disk is what comes of it.
"""

import base64
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET

from phantom_messenger.client.content import BetweenDevices
from phantom_messenger.client.conversations import Opened
from phantom_messenger.client.devices import kinds
from phantom_messenger.client.devices.book import text
from phantom_messenger.client.devices.desk import DeviceDesk
from phantom_messenger.client.devices.device_list import MAX_DEVICES
from phantom_messenger.client.devices.errors import LinkEnded
from phantom_messenger.client.devices.handover import Handover
from phantom_messenger.client.devices.in_step import InStep
from phantom_messenger.client.devices.kinds import SyncContacts
from phantom_messenger.client.devices.link_code import SECRET_BYTES, LinkCode
from phantom_messenger.client.devices.linking import LINK_MS, NONCE_BYTES, FirstDevice, NewDevice
from phantom_messenger.client.devices.records import AGREED, AgreedRecord
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import naming
from phantom_messenger.client.link import Link
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.status import Event, LinkingEvent, LinkingStep
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.crypto.errors import CryptoError, InvalidMessage
from phantom_messenger.crypto.keys import OwnIdentity

_NOT_FIRST: Final = "only your first device can link others; run this there"
_ENDED_BY_FIRST: Final = (
    "your first device has ended it, or the digits typed there were wrong three times; show a new code"
)
_ENDED_BY_NEW: Final = "the new device has ended it, or its user has said that it is not theirs; show a new code"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A first device that waits for the new one's key."""

    code: LinkCode
    until: int


class LinkingDesk:
    """One link at a time, on either side.

    Args:
        stores: of the profile.
        sending: asks for the new device's prekeys.
        desk: says something to devices, and signs lists.
        in_step: tells a new device of people and settings.
        handover: lets it have what was said before.
        identity: of this device.
        random: a source of random bytes.
        moment: what the clocks show.
    """

    def __init__(  # noqa: PLR0917 - the parts it works with
        self,
        stores: Stores,
        sending: Sending,
        desk: DeviceDesk,
        in_step: InStep,
        handover: Handover,
        identity: OwnIdentity,
        *,
        random: Callable[[int], bytes],
        moment: Callable[[], Moment],
    ) -> None:
        self._stores = stores
        self._sending = sending
        self._desk = desk
        self._in_step = in_step
        self._handover = handover
        self._has_history = True
        self._identity = identity
        self._random = random
        self._moment = moment
        self._new: NewDevice | None = None
        self._waiting: _Waiting | None = None
        self._first: FirstDevice | None = None
        self._awaited: int | None = None
        """How many people this new device is still to be told of."""
        self._name = ""
        """What the new device is called: its own name, or the one that it has told."""
        agreed = stores.vault.find(AGREED, "", AgreedRecord)
        if agreed is not None:
            self._new, self._name = NewDevice.resumed(identity, agreed.key, agreed.secret), agreed.name
            stores.book.expected.add(text(self._new.person or b""))

    @property
    def is_open(self) -> bool:
        """Whether a device is being linked."""
        is_new = self._new is not None or self._awaited is not None
        return is_new or self._waiting is not None or self._first is not None

    # --- the new device -----------------------------------------------------------

    def show(self, relay: str, name: str) -> str:
        """The code of this device, which is to become somebody's; good once, for five minutes.

        Raises:
            UsageError: it is somebody's already, or in use; a link that is open goes on.
        """
        if not self._stores.devices.is_first:
            raise UsageError(_NOT_FIRST)
        book = self._stores.book
        # Whoever is known only because they link this device has not made it a used one.
        is_used = any(contact.blocked or book.person(contact.user_id).is_known for contact in book.everybody())
        if self._stores.devices.own is not None or is_used:
            raise UsageError(
                "this profile is not new; run this on the new device, in a new profile (--profile NAME), and here with "
                "the code that it shows"
            )
        self.cancel()
        code = LinkCode(relay, self._identity.peer.user_id, self._random(SECRET_BYTES))
        until = self._moment().persistent + LINK_MS
        self._new, self._name = NewDevice(self._identity, code, self._random(NONCE_BYTES), until), name
        return code.text()

    def agree(self) -> None:
        """The user of the new device has seen to whom it will belong, and agrees.

        Raises:
            UsageError: there is nothing to agree to.
        """
        if self._new is None or self._new.person is None:
            raise UsageError("no device is being linked; begin again")
        try:
            self._new, consent = self._new.agreed(self._moment().persistent)
        except CryptoError as error:
            raise UsageError(str(error)) from None
        agreed = AgreedRecord(key=self._new.key, secret=self._new.code.secret, name=self._name)
        said = kinds.LinkConsent(consent=consent)
        self._desk.say([text(self._new.person or b"")], said, also=lambda tx: tx.put(AGREED, "", agreed))

    def _drop_new(self) -> None:
        """Nothing is left of a link of this new device that has come to nothing."""
        self._new = None
        self._stores.book.expected.clear()
        if self._stores.vault.has(AGREED, ""):
            with self._stores.vault.transaction() as tx:
                tx.delete(AGREED, "")

    # --- the first device ---------------------------------------------------------

    def begin(self, code: str, *, history: bool = True) -> None:
        """Link the device that shows a code; ``LinkingEvent`` tells when its digits can be typed.

        A link that is open is ended: its new device is told so.

        Args:
            code: as it is shown.
            history: the new device gets what was said before, too.

        Raises:
            UsageError: it cannot be; a link that is open goes on.
        """
        stores = self._stores
        if not stores.devices.is_first:
            raise UsageError(_NOT_FIRST)
        try:
            found = LinkCode.parse(code)
        except InvalidMessage as error:
            raise UsageError(f"{error}; copy it again") from None
        own = stores.devices.own
        if own is not None and len(own.newest.devices) == MAX_DEVICES:
            raise UsageError(f"there can be {MAX_DEVICES} devices; remove one first")
        device = text(found.id)
        if device == stores.devices.device or stores.devices.is_own(device) or stores.book.get(device).name:
            raise UsageError("this is the code of one of your devices, or of a contact; show one on a new device")
        self.cancel()
        stores.book.expected.add(device)
        self._waiting = _Waiting(found, self._moment().persistent + LINK_MS)
        self._has_history = history

    def type(self, digits: str) -> bool:
        """The user of the first device has typed the digits that the new one shows; whether they are right.

        Raises:
            UsageError: there is nothing to confirm, or they were wrong too often.
        """
        if self._first is None:
            raise UsageError("no device is being linked; begin again")
        try:
            self._first = self._first.typed(digits, self._moment().persistent)
        except CryptoError as error:
            if isinstance(error, LinkEnded):
                self._end_first(tells=True)
            raise UsageError(str(error)) from None
        return self._take_in() or self._first.is_confirmed

    def cancel(self) -> None:
        """It will not be linked."""
        if self._new is not None and self._new.person is not None:
            self._desk.say([text(self._new.person)], kinds.LinkEnd())
        self._end_first(tells=True)
        self._drop_new()

    # --- what comes ---------------------------------------------------------------

    @property
    def is_listening(self) -> bool:
        """Whether offers of strangers are looked at: a code is shown here."""
        return self._new is not None

    def is_offer(self, opened: Opened) -> bool:
        """Whether a stranger has sent an offer, having seen the code; a second one ends the link."""
        said, new = opened.content, self._new
        if new is None or not isinstance(said, BetweenDevices) or not isinstance(said.said, kinds.LinkOffer):
            return False
        return new.is_good(opened.key, said.said.commitment, said.said.mac)

    def within(self, tx: Transaction, sender: str, opened: Opened, now: Moment) -> None:
        """This device becomes a person's in the transaction in which it is told so."""
        said, stores = opened.content, self._stores
        if self._new is None or not isinstance(said, BetweenDevices) or not isinstance(said.said, kinds.LinkDone):
            return
        with suppress(CryptoError):
            self._new.linked(opened.key, said.said.list)
            stores.devices.take_up(tx, said.said.list, person=sender, wall=now.wall)
            stores.devices.belong(tx, sender)
            if self._name:
                stores.devices.name(tx, stores.devices.device, self._name)
            tx.delete(AGREED, "")
            if isinstance(said.said.history, bytes):
                self._handover.begin(tx, said.said.history, now)

    def received(self, sender: str, opened: Opened) -> Iterator[Event]:
        """Something was said that may be part of a link; what is not is ignored."""
        said, now = opened.content, self._moment().persistent
        if not isinstance(said, BetweenDevices):
            return
        is_own = self._stores.devices.is_own(sender)
        if self._awaited is not None and is_own and isinstance(said.said, SyncContacts):
            yield from self._told(len(said.said.contacts))
        if not isinstance(said.said, kinds.Link):
            return
        try:
            if self._new is not None:
                yield from self._at_new(self._new, sender, opened.key, said.said, now)
            elif self._first is not None:
                yield from self._at_first(self._first, opened.key, said.said, now)
        except LinkEnded as error:
            self.cancel()
            yield LinkingEvent(step=LinkingStep.ENDED, reason=str(error))
        except CryptoError:
            return

    def _at_new(self, new: NewDevice, sender: str, key: bytes, said: kinds.Link, now: int) -> Iterator[Event]:
        match said:
            case kinds.LinkOffer():
                self._new = new.offered(key, said.commitment, said.mac, now)
                self._stores.book.expected.add(sender)
                nonce, mac = self._new.answer()
                self._desk.say([sender], kinds.LinkAnswer(nonce=nonce, mac=mac, name=self._name))
            case kinds.LinkReveal():
                self._new = new.revealed(key, said.nonce, now)
                yield LinkingEvent(step=LinkingStep.DIGITS, digits=self._new.digits or "", person=sender)
            case kinds.LinkDone() if self._stores.devices.person == sender:
                self._new, self._awaited = None, said.people
                self._stores.book.expected.clear()
                yield from self._told(0)
            case kinds.LinkEnd() if new.person == base64.b64decode(sender):
                self._drop_new()
                yield LinkingEvent(step=LinkingStep.ENDED, reason=_ENDED_BY_FIRST)
            case _:
                pass

    def _told(self, people: int) -> Iterator[Event]:
        """The new device knows so many people more; it is ready once it knows all."""
        self._awaited = (self._awaited or 0) - people
        if self._awaited <= 0:
            self._awaited = None
            yield LinkingEvent(step=LinkingStep.LINKED, person=self._stores.devices.person)

    def _at_first(self, first: FirstDevice, key: bytes, said: kinds.Link, now: int) -> Iterator[Event]:
        device = text(first.pair.device.user_id)
        match said:
            case kinds.LinkAnswer():
                self._first, self._name = first.answered(key, said.nonce, said.mac, now), naming.shown(said.name)
                self._desk.say([device], kinds.LinkReveal(nonce=first.nonce))
                yield LinkingEvent(step=LinkingStep.ANSWERED, name=self._name)
            case kinds.LinkConsent():
                self._first = first.consented(key, said.consent, now)
                if self._take_in():
                    yield LinkingEvent(step=LinkingStep.LINKED, name=self._name)
            # One that comes before the answer is of an earlier link.
            case kinds.LinkEnd() if key == first.pair.device.public and first.digits is not None:
                self._end_first(tells=False)
                yield LinkingEvent(step=LinkingStep.ENDED, reason=_ENDED_BY_NEW)
            case _:
                pass

    # --- steps of the first device ------------------------------------------------

    def run(self, link: Link | None, now: Moment) -> Iterator[Event]:
        """Go on: make the offer as soon as the new device's key is there."""
        waiting, stores = self._waiting, self._stores
        if waiting is None:
            return
        device = text(waiting.code.id)
        key = stores.book.get(device).key
        if key and stores.conversations.load(device).sending_to_many is not None:
            own = self._identity.peer
            self._first = FirstDevice.begin(own, key, waiting.code, nonce=self._random(NONCE_BYTES), now=now.persistent)
            self._waiting = None
            commitment, mac = self._first.offer()
            self._desk.say([device], kinds.LinkOffer(commitment=commitment, mac=mac))
        elif now.persistent > waiting.until:
            self._end_first(tells=False)
            yield LinkingEvent(step=LinkingStep.ENDED, reason="the new device could not be reached; show a new code")
        elif link is not None:
            self._sending.exchanges.want(link, device, now)

    def _take_in(self) -> bool:
        """Make the list with the new device, once both users have agreed; whether that is so."""
        first = self._first
        if first is None or not first.is_confirmed or first.consent is None:
            return False
        stores, own = self._stores, self._stores.devices.own
        others = () if own is None else own.newest.devices[1:]
        made = self._desk.sign((*others, first.new_device(self._moment().wall)))
        device, place = text(first.pair.device.user_id), self._handover.here()

        def take_in(tx: Transaction) -> None:
            """All that makes it a device: whoever dies here has linked it, or has not."""
            self._desk.adopt(tx, made)
            stores.devices.name(tx, device, self._name)
            self._in_step.tell_all(tx, history=self._has_history)
            if self._has_history:
                self._handover.promise(tx, device, place)

        self._first = None
        history = place if self._has_history else UNSET
        done = kinds.LinkDone(list=made.encoded, people=len(self._in_step.people()), history=history)
        self._desk.say([device], done, also=take_in)
        stores.book.expected.clear()
        return True

    def _end_first(self, *, tells: bool) -> None:
        code = self._waiting.code.id if self._waiting is not None else b""
        device = code or (b"" if self._first is None else self._first.pair.device.user_id)
        if tells and self._first is not None:
            self._desk.say([text(device)], kinds.LinkEnd())
        self._waiting = self._first = None
        self._stores.book.expected.clear()
