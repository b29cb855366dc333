"""A new device becomes one of a person's, and nobody else's.

Two ways to go wrong are kept apart. Somebody who has seen the code of a new device could make it theirs: so it asks its
own user to whom it is to belong. Somebody could show a person a code of their own device: so the person types six
digits that both devices derive, and these only fit if both speak with each other. The first device commits itself to
its share of them before it sees the other one's: whoever is in the middle cannot look for shares that fit, and has
three guesses of a million.

Steps return the next state; one that raises has changed nothing, but for ``LinkEnded``, after which there is none.
"""

import hmac
from dataclasses import dataclass, field, replace
from typing import Final

from phantom_messenger.client.devices import device_list
from phantom_messenger.client.devices.device_list import DeviceList
from phantom_messenger.client.devices.errors import LinkEnded
from phantom_messenger.client.devices.link_code import LinkCode
from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.errors import InvalidKey, InvalidMessage, InvalidSignature
from phantom_messenger.crypto.keys import OwnIdentity, PeerIdentity

LINK_MS: Final = 300_000
"""How long a code is good for, and how long a first device waits for the new one: persistent time."""

MAX_WRONG: Final = 3
"""Wrong digits that end a link: one in 333,333 for whoever can only guess."""

DIGITS: Final = 6
NONCE_BYTES: Final = 32

_COMMITMENT: Final = b"phantom/1 link-commitment\n"
_OFFER: Final = b"phantom/1 link-offer\n"
_ANSWER: Final = b"phantom/1 link-answer\n"
_DIGITS: Final = b"phantom/1 link-digits\n"


@dataclass(frozen=True, slots=True)
class Pair:
    """Who is to be linked with whom: the two identities, and the secret of the code."""

    person: PeerIdentity
    device: PeerIdentity
    secret: bytes

    def __repr__(self) -> str:
        return "Pair(...)"

    @property
    def _ends(self) -> bytes:
        both = (self.person, self.device)
        return b"".join(one.user_id + one.public for one in both)

    def commitment(self, nonce: bytes) -> bytes:
        """What fixes the first device's share of the digits without showing it."""
        return primitives.sha256(_COMMITMENT + nonce + self._ends)

    def offer_mac(self, commitment: bytes) -> bytes:
        """Shows that the first device has seen the code."""
        return primitives.hmac_sha256(self.secret, _OFFER + self._ends + commitment)

    def answer_mac(self, commitment: bytes, nonce: bytes) -> bytes:
        """Shows that the new device has the code."""
        return primitives.hmac_sha256(self.secret, _ANSWER + self._ends + commitment + nonce)

    def digits(self, first_nonce: bytes, new_nonce: bytes) -> str:
        """The six digits, leading zeros included."""
        derived = primitives.hkdf(first_nonce + new_nonce, salt=self.secret, info=_DIGITS + self._ends, length=8)
        return f"{int.from_bytes(derived) % 10**DIGITS:0{DIGITS}d}"


@dataclass(frozen=True, slots=True)
class NewDevice:
    """The side of the new device. It shows ``code`` and waits for an offer.

    ``until``: persistent milliseconds. ``digits``: to be shown to its user once they are there.
    """

    identity: OwnIdentity
    code: LinkCode
    nonce: bytes = field(repr=False)
    until: int
    pair: Pair | None = None
    commitment: bytes = b""
    digits: str | None = field(default=None, repr=False)
    is_agreed: bool = False

    @classmethod
    def resumed(cls, identity: OwnIdentity, key: bytes, secret: bytes) -> "NewDevice":
        """As it was when its user had agreed, after the program was closed: ``link-done`` alone is still to come.

        Args:
            identity: of this device.
            key: of the person to whom it will belong.
            secret: of its code.
        """
        pair = Pair(PeerIdentity(key), identity.peer, secret)
        code = LinkCode("", identity.peer.user_id, secret)
        return cls(identity, code, bytes(NONCE_BYTES), until=0, pair=pair, is_agreed=True)

    @property
    def person(self) -> bytes | None:
        """The raw id of the person whose device this may become: what its user is asked about."""
        return None if self.pair is None else self.pair.person.user_id

    @property
    def key(self) -> bytes:
        """That person's key."""
        return self._known_pair().person.public

    def is_good(self, sender_key: bytes, commitment: bytes, mac: bytes) -> bool:
        """Whether an offer is of somebody who has seen the code; in time, or not."""
        pair = Pair(PeerIdentity(sender_key), self.identity.peer, self.code.secret)
        return hmac.compare_digest(pair.offer_mac(commitment), mac)

    def offered(self, sender_key: bytes, commitment: bytes, mac: bytes, now: int) -> "NewDevice":
        """Somebody offers to take this device in; the answer is ``answer()``.

        Raises:
            InvalidSignature: they have not seen the code; to be ignored.
            LinkEnded: it is too late, or this is the second one who has seen it.
        """
        if not self.is_good(sender_key, commitment, mac):  # first: whoever has not seen the code ends nothing
            raise InvalidSignature("an offer to link this device is from somebody who has not seen its code")
        self._check_time(now)
        pair = Pair(PeerIdentity(sender_key), self.identity.peer, self.code.secret)
        if self.pair is not None:
            if (pair, commitment) == (self.pair, self.commitment):
                return self
            raise LinkEnded("two have seen the code of this device; show a new one, to nobody else")
        return replace(self, pair=pair, commitment=commitment)

    def answer(self) -> tuple[bytes, bytes]:
        """Nonce and MAC of a ``link-answer``."""
        pair = self._known_pair()
        return self.nonce, pair.answer_mac(self.commitment, self.nonce)

    def revealed(self, sender_key: bytes, nonce: bytes, now: int) -> "NewDevice":
        """The first device shows its nonce; from now on there are ``digits``.

        Raises:
            InvalidSignature: it is not from the one who has made the offer; to be ignored.
            LinkEnded: it is too late, or not the nonce that was committed to.
        """
        pair = self._from_first(sender_key, now)
        if not hmac.compare_digest(pair.commitment(nonce), self.commitment):
            raise LinkEnded("the first device has not shown what it had committed itself to")
        return replace(self, digits=pair.digits(nonce, self.nonce))

    def agreed(self, now: int) -> tuple["NewDevice", bytes]:
        """The user has agreed that this device will belong to ``person``; with the consent for ``link-consent``.

        Raises:
            InvalidMessage: there are no digits yet, so the user can not have seen them.
            LinkEnded: it is too late.
        """
        self._check_time(now)
        pair = self._known_pair()
        if self.digits is None:
            raise InvalidMessage("the digits are not there yet")
        return replace(self, is_agreed=True), device_list.consent(self.identity, pair.person.user_id)

    def linked(self, sender_key: bytes, encoded: bytes) -> DeviceList:
        """The list that makes this device the person's: of ``link-done``.

        Raises:
            InvalidSignature: it is not from the one to whom the user has agreed; to be ignored.
            InvalidMessage: this device is not in the list, or the list is not of that person.
            CryptoError: as ``DeviceList.parse``.
        """
        pair = self._known_pair()
        if not self.is_agreed or sender_key != pair.person.public:
            raise InvalidSignature("nobody has agreed that this device belongs to the sender")
        found = DeviceList.parse(encoded)
        if found.person != pair.person.user_id or self.identity.peer.user_id not in found.ids:
            raise InvalidMessage("this device is not in the list of its person")
        return found

    def _known_pair(self) -> Pair:
        if self.pair is None:
            raise InvalidMessage("nobody has offered anything yet")
        return self.pair

    def _from_first(self, sender_key: bytes, now: int) -> Pair:
        self._check_time(now)
        if self.pair is None or sender_key != self.pair.person.public:
            raise InvalidSignature("this is not from the device that has made the offer")
        return self.pair

    def _check_time(self, now: int) -> None:
        if now > self.until:
            raise LinkEnded("the code of this device was good for five minutes; show a new one")


@dataclass(frozen=True, slots=True)
class FirstDevice:
    """The side of the first device, whose user has given it the code of a new one and its passphrase.

    ``until``: persistent milliseconds. ``wrong``: how often wrong digits were typed.
    """

    pair: Pair
    nonce: bytes = field(repr=False)
    until: int
    digits: str | None = field(default=None, repr=False)
    wrong: int = 0
    is_confirmed: bool = False
    consent: bytes | None = None

    @classmethod
    def begin(cls, own: PeerIdentity, key: bytes, code: LinkCode, *, nonce: bytes, now: int) -> "FirstDevice":
        """Begin with the key that was handed out for the id in the code.

        Raises:
            InvalidKey: the key does not fit that id, or both are one's own.
        """
        device = PeerIdentity(key)
        if device.user_id != code.id or device == own:
            raise InvalidKey("the key of the new device is not that of its code")
        return cls(Pair(own, device, code.secret), nonce, now + LINK_MS)

    def offer(self) -> tuple[bytes, bytes]:
        """Commitment and MAC of a ``link-offer``."""
        commitment = self.pair.commitment(self.nonce)
        return commitment, self.pair.offer_mac(commitment)

    def answered(self, sender_key: bytes, nonce: bytes, mac: bytes, now: int) -> "FirstDevice":
        """The new device has answered; from now on ``nonce`` may be shown to it, in ``link-reveal``.

        Raises:
            InvalidSignature: it is not from the new device, or not in order; to be ignored.
            LinkEnded: it is too late, or a second answer differs from the first.
        """
        self._check(sender_key, now)
        if not hmac.compare_digest(self.pair.answer_mac(self.pair.commitment(self.nonce), nonce), mac):
            raise InvalidSignature("an answer is not from the device that has shown its code")
        digits = self.pair.digits(self.nonce, nonce)
        if self.digits is not None and digits != self.digits:
            raise LinkEnded("the new device has answered twice")
        return replace(self, digits=digits)

    def typed(self, digits: str, now: int) -> "FirstDevice":
        """The user has typed the digits that the new device shows; ``is_confirmed`` says whether they are right.

        Raises:
            InvalidMessage: the new device has not answered yet.
            LinkEnded: it is too late, or they were wrong for the third time.
        """
        self._check_time(now)
        if self.digits is None:
            raise InvalidMessage("the new device has not answered yet")
        if hmac.compare_digest("".join(digits.split()).encode(), self.digits.encode()):
            return replace(self, is_confirmed=True)
        if self.wrong + 1 >= MAX_WRONG:
            raise LinkEnded("the digits were wrong three times; show a new code")
        return replace(self, wrong=self.wrong + 1)

    def consented(self, sender_key: bytes, consent: bytes, now: int) -> "FirstDevice":
        """The new device's user has agreed.

        Raises:
            InvalidSignature: it is not from the new device, or no consent, or of an earlier link; to be ignored.
            LinkEnded: it is too late.
        """
        self._check(sender_key, now)
        if self.digits is None:  # its user agrees after it has answered
            raise InvalidSignature("the new device has consented before it has answered")
        device_list.check_consent(self.pair.device.public, self.pair.person.user_id, consent)
        return replace(self, consent=consent)

    def new_device(self, added: int) -> device_list.Device:
        """The new device, for the next list.

        Raises:
            InvalidMessage: not both users have agreed.
        """
        if not self.is_confirmed or self.consent is None:
            raise InvalidMessage("the new device may not be taken in yet")
        return device_list.Device(self.pair.device.public, added, self.consent)

    def _check(self, sender_key: bytes, now: int) -> None:
        self._check_time(now)
        if sender_key != self.pair.device.public:
            raise InvalidSignature("this is not from the device that has shown its code")

    def _check_time(self, now: int) -> None:
        if now > self.until:
            raise LinkEnded("the new device has not been linked within five minutes; show a new code")
