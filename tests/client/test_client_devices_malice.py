"""A relay, or anybody, who wants a device to count as somebody's: changed lists, and links that were meddled with."""

import base64
from collections.abc import Callable
from random import Random
from typing import Final

import pytest
from client_samples import DAY, Town, pass_time
from device_samples import said, two_of_alice

from phantom_messenger.client.devices import linking
from phantom_messenger.client.devices.chunks import place_of
from phantom_messenger.client.devices.device_list import LIFE_MS, Device, DeviceList, consent
from phantom_messenger.client.devices.errors import LinkEnded
from phantom_messenger.client.devices.kinds import (
    HistoryAsk,
    KnownPerson,
    ReadMessage,
    SyncContacts,
    SyncRead,
    SyncSettings,
)
from phantom_messenger.client.devices.link_code import LinkCode
from phantom_messenger.client.devices.linking import FirstDevice, NewDevice
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.crypto.keys import OwnIdentity
from support.amounts import amount

SPY: Final = OwnIdentity(b"a spy's seed" + bytes(20))
RELAY: Final = "wss://relay.test/ws"


# --- lists (D1) ---------------------------------------------------------------------


class Forger:
    """Makes lists that are to bring a spy's device in, from all that a relay has seen, and with the spy's own key.

    Args:
        random: what it chooses by.
        alice: whose device the spy's is to be; her key signs only what she herself may have signed.
        seen: lists of hers, the newest last.
        wall: the time.
    """

    def __init__(self, random: Random, alice: OwnIdentity, seen: list[DeviceList], wall: int) -> None:
        self._random = random
        self._alice = alice
        self._seen = seen
        self._wall = wall
        self._newest = seen[-1]
        self.makers: list[Callable[[], bytes]] = [
            self.flipped,
            self.cut,
            self.longer,
            self.another_key,
            self.another_person,
            self.signed_by_spy,
            self.of_spy,
            self.old,
            self.expired,
            self.early,
            self.same_revision,
        ]

    def _bytes(self) -> bytearray:
        return bytearray(self._random.choice(self._seen).encoded)

    def flipped(self) -> bytes:
        found = self._bytes()
        for _ in range(self._random.randint(1, 3)):
            found[self._random.randrange(len(found))] ^= 1 << self._random.randrange(8)
        return bytes(found)

    def cut(self) -> bytes:
        found = self._bytes()
        return bytes(found[: self._random.randrange(len(found))])

    def longer(self) -> bytes:
        return bytes(self._bytes()) + self._random.randbytes(self._random.randint(1, 200))

    def another_key(self) -> bytes:
        """One of its keys is the spy's."""
        found = self._bytes()
        places = list(range(54, len(found) - 64, 104))
        place = self._random.choice(places)
        found[place : place + 32] = SPY.peer.public
        return bytes(found)

    def another_person(self) -> bytes:
        """The spy's consent was to be another person's device."""
        return self._made(self._alice, consent(SPY, SPY.peer.user_id), self._newest.revision, self._wall)

    def signed_by_spy(self) -> bytes:
        return self._made(SPY, consent(SPY, self._alice.peer.user_id), self._newest.revision + 1, self._wall)

    def of_spy(self) -> bytes:
        """A list of the spy's own, which names her, who has not agreed."""
        first = Device(SPY.peer.public, 0, consent(SPY, SPY.peer.user_id))
        times = {"at": self._wall, "until": self._wall + LIFE_MS}
        alone = DeviceList.sign(SPY, revision=1, previous=bytes(32), **times, devices=(first,)).encoded[:-64]
        signed = alone[:53] + b"\2" + alone[54:] + self._newest.encoded[54 : 54 + 104]
        return signed + SPY.sign(b"phantom/1 device-list\n" + signed)

    def old(self) -> bytes:
        return self._random.choice(self._seen[:-1]).encoded

    def expired(self) -> bytes:
        """She has signed it, long ago, and it comes only now: the spy was her device then."""
        revision = self._newest.revision + self._random.randint(2, 1_000)
        return self._made(self._alice, consent(SPY, self._alice.peer.user_id), revision, self._wall - 91 * DAY)

    def early(self) -> bytes:
        revision = self._newest.revision + self._random.randint(2, 1_000)
        return self._made(self._alice, consent(SPY, self._alice.peer.user_id), revision, self._wall + 2 * DAY)

    def same_revision(self) -> bytes:
        mark = consent(SPY, self._alice.peer.user_id)
        return self._made(self._alice, mark, self._newest.revision, self._wall)

    def _made(self, signer: OwnIdentity, mark: bytes, revision: int, at: int) -> bytes:
        """A list with the spy's device; whoever signs it, it names her as the person."""
        good_mark = consent(SPY, self._alice.peer.user_id)
        devices = (*self._newest.devices, Device(SPY.peer.public, 0, good_mark))
        good = DeviceList.sign(
            self._alice,
            revision=revision,
            previous=self._newest.previous if revision == self._newest.revision else self._newest.hash,
            at=at,
            until=at + LIFE_MS,
            devices=devices,
        )
        signed = good.encoded[:-64].replace(good_mark, mark)
        return signed + signer.sign(b"phantom/1 device-list\n" + signed)


@pytest.mark.parametrize("seed", range(amount(1, 4)))
def test_no_list_that_was_meddled_with_brings_a_device_in(town: Town, seed: int) -> None:
    random = Random(f"lists {seed}")  # noqa: S311 - so that a run can be repeated
    alice, laptop, bob = two_of_alice(town)
    known = bob.messenger._stores.devices
    first = known.known(alice.id)
    assert first is not None
    alice.messenger.desk.renew()
    pass_time(3_000, alice, laptop, bob)
    newest = known.known(alice.id)
    assert newest is not None
    now = bob.messenger._now()
    spy_id = Device(SPY.peer.public, 0, b"").id
    before = known.devices_of(alice.id)
    for turn in range(amount(1_000, 5_000)):
        forger = Forger(random, alice.messenger._identity, [first.newest, newest.newest], now.wall)
        maker = forger.makers[turn % len(forger.makers)]
        for _ in bob.messenger.desk.list_came(maker(), now):
            pass
        assert known.devices_of(alice.id) == before, maker
        known._set(alice.id, newest)  # a list that had run out may have moved the revision on
    for _ in bob.messenger.desk.list_came(forger.expired(), now):
        pass
    frames = len(bob.sent)
    bob.send(alice, "to her devices alone")
    pass_time(3_000, alice, laptop, bob)
    to = {one["recipientId"] for frame in bob.sent[frames:] for one in frame["payload"].get("recipients", [])}
    assert to == {alice.id, laptop.id}
    after = known.known(alice.id)
    assert after is not None
    assert after.newest.revision > newest.newest.revision  # it was taken up, without the spy's device
    assert spy_id not in after.usable


def test_control_list_that_she_has_signed_brings_a_device_in(town: Town) -> None:
    alice, _, bob = two_of_alice(town)
    known = bob.messenger._stores.devices.known(alice.id)
    assert known is not None
    now = bob.messenger._now()
    forger = Forger(Random(1), alice.messenger._identity, [known.newest], now.wall)  # noqa: S311 - it draws nothing
    mark = consent(SPY, alice.messenger._identity.peer.user_id)
    good = forger._made(alice.messenger._identity, mark, known.newest.revision + 1, now.wall)
    assert list(bob.messenger.desk.list_came(good, now))
    assert len(bob.messenger._stores.devices.devices_of(alice.id)) == 3


# --- links (D2) ---------------------------------------------------------------------


class Meddler:
    """A relay between a new device and a first one: it swaps, replays and guesses, and has seen no code.

    Args:
        random: what it chooses by, and draws secrets from.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.seen: dict[tuple[int, ...], list[tuple[bytes, ...]]] = {}
        """What went by in this link and in earlier ones, by the sizes of its fields."""

    def instead(self, *fields: bytes) -> tuple[bytes, ...]:
        """What arrives in place of these fields: the same, older ones, some of each, or what it has made up."""
        alike = self.seen.setdefault(tuple(map(len, fields)), [])
        alike.append(fields)
        chosen = self.random.randrange(5)
        if chosen == 0:
            return fields
        if chosen == 1:
            return self.random.choice(alike)
        if chosen == 2:
            return tuple(self.random.choice(alike)[place] for place in range(len(fields)))
        if chosen == 3:
            return tuple(self.random.randbytes(len(one)) for one in fields)
        place = self.random.randrange(len(fields))
        return tuple(self.random.randbytes(len(one)) if at == place else one for at, one in enumerate(fields))


def meddled(random: Random, meddler: Meddler, secret: Callable[[bytes], bytes]) -> bool:
    """One link of Alice's with a new device, through a relay that has a device of its own; whether the spy is in it.

    Args:
        random: draws what the two draw.
        meddler: the relay.
        secret: what the spy takes for the secret of the code.
    """
    alice, device = (OwnIdentity(random.randbytes(32)) for _ in range(2))
    code = LinkCode(RELAY, device.peer.user_id, random.randbytes(16))
    new = NewDevice(device, code, random.randbytes(32), until=linking.LINK_MS)
    first = FirstDevice.begin(alice.peer, device.peer.public, code, nonce=random.randbytes(32), now=0)
    spy_code = LinkCode(RELAY, device.peer.user_id, secret(code.secret))
    spy = FirstDevice.begin(SPY.peer, device.peer.public, spy_code, nonce=random.randbytes(32), now=0)
    senders = [alice.peer.public, SPY.peer.public]
    try:
        offers = [first.offer(), spy.offer()]
        for commitment, mac in random.sample(offers, 2):
            try:
                shown, shown_mac = meddler.instead(commitment, mac)
                new = new.offered(random.choice(senders), shown, shown_mac, 0)
            except LinkEnded:
                return False
            except CryptoError:
                continue
        if new.person is None:
            return False
        nonce, mac = meddler.instead(*new.answer())
        for sender in (device.peer.public, SPY.peer.public):
            try:
                first = first.answered(sender, nonce, mac, 0)
            except CryptoError:
                continue
        key = alice.peer.public if new.person == alice.peer.user_id else SPY.peer.public
        revealed = first.nonce if key == alice.peer.public else spy.nonce
        (shown,) = meddler.instead(revealed)
        new = new.revealed(key, shown, 0)
        # Its user is asked whose it will be, and the digits are typed into the first device.
        is_spys = new.person == SPY.peer.user_id
        if first.digits is not None and new.digits is not None:
            first = first.typed(new.digits, 0)
    except CryptoError:
        return False
    return is_spys


def test_relay_that_swaps_replays_and_guesses_links_nothing() -> None:
    random = Random("links")  # noqa: S311 - so that a run can be repeated
    meddler = Meddler(random)
    linked = sum(meddled(random, meddler, lambda _: random.randbytes(16)) for _ in range(amount(500, 10_000)))
    assert linked == 0


def phished(random: Random) -> bool:
    """Alice is shown the code of a spy's device, who stands between it and her own new one, whose code they have seen.

    Returns:
        Whether the digits of her new device are right where she types them.
    """
    alice, device = (OwnIdentity(random.randbytes(32)) for _ in range(2))
    code, spy_code = (LinkCode(RELAY, one.peer.user_id, random.randbytes(16)) for one in (device, SPY))
    new = NewDevice(device, code, random.randbytes(32), until=linking.LINK_MS)
    first = FirstDevice.begin(alice.peer, SPY.peer.public, spy_code, nonce=random.randbytes(32), now=0)
    spy = FirstDevice.begin(SPY.peer, device.peer.public, code, nonce=random.randbytes(32), now=0)
    own = NewDevice(SPY, spy_code, random.randbytes(32), until=linking.LINK_MS)
    first = first.answered(SPY.peer.public, *own.offered(alice.peer.public, *first.offer(), 0).answer(), 0)
    new = new.offered(SPY.peer.public, *spy.offer(), 0).revealed(SPY.peer.public, spy.nonce, 0)
    return first.typed(new.digits or "", 0).is_confirmed


def test_spy_between_two_devices_whose_codes_are_known_cannot_make_their_digits_equal() -> None:
    random = Random("phishing")  # noqa: S311 - so that a run can be repeated
    assert sum(phished(random) for _ in range(amount(500, 10_000))) == 0


def test_control_digits_that_say_nothing_of_the_two_let_the_spy_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking.Pair, "digits", lambda *_: "000000")
    assert phished(Random("phishing"))  # noqa: S311 - so that a run can be repeated


def test_control_spy_who_has_seen_the_code_is_asked_about() -> None:
    random = Random("codes")  # noqa: S311 - so that a run can be repeated
    meddler = Meddler(random)
    assert sum(meddled(random, meddler, lambda secret: secret) for _ in range(300))


# --- a stolen device ------------------------------------------------------------------


def test_removed_device_that_goes_on_learns_and_changes_nothing(town: Town) -> None:
    alice, laptop, bob = two_of_alice(town)
    pass_time(10_000, alice, laptop, bob)
    laptop.tamper = lambda frame: [] if frame["type"] == "MESSAGE" else [frame]  # its thief lets it hear of nothing
    alice.messenger.desk.remove(laptop.id)
    pass_time(5_000, alice, laptop, bob)
    bob.send(alice, "not for thieves")
    pass_time(2_000, alice, laptop, bob)
    (unread,) = alice.waiting()
    before, settings = alice.messenger.contacts.find("bob"), alice.messenger.presence.settings
    heard = len(laptop.received)
    desk, raw_bob = laptop.messenger.desk, base64.b64decode(bob.id)
    for wish in (
        SyncContacts(contacts=[KnownPerson(id=raw_bob, at=2**45, name="mallory", blocked=True)]),
        SyncSettings(at=2**45, presence=False),
        SyncRead(messages=[ReadMessage(sender=raw_bob, id=unread.message_id)]),
        HistoryAsk(place=place_of(2**40), chunks=16),
    ):
        desk.say([alice.id], wish)
    own = laptop.messenger._stores.devices.own
    assert own is not None
    desk.tell_list(own.newest, [bob.id, alice.id])
    laptop.send(bob, "let me stay")
    pass_time(10_000, alice, laptop, bob)
    assert alice.messenger.contacts.find("bob") == before
    assert alice.messenger.presence.settings == settings
    assert [one.text for one in alice.waiting()] == ["not for thieves"]
    assert bob.messenger._stores.devices.devices_of(alice.id) == [alice.id]
    assert "let me stay" not in [one.text for one in bob.messenger.history(alice.id)]
    from_alice = [one for one in laptop.received[heard:] if one["type"] == "MESSAGE"]
    assert all(len(str(one)) < 3_000 for one in from_alice)  # at most what says that it was removed


@pytest.mark.parametrize("is_removed", [True, False], ids=["removed", "control: it is not"])
def test_thief_who_writes_on_from_a_removed_device_is_heard_by_nobody(town: Town, is_removed: bool) -> None:
    alice, laptop, bob = two_of_alice(town)
    pass_time(10_000, alice, laptop, bob)
    laptop.tamper = lambda frame: [] if frame["type"] == "MESSAGE" else [frame]  # its thief lets it hear of nothing
    if is_removed:
        alice.messenger.desk.remove(laptop.id)
    pass_time(5_000, alice, laptop, bob)
    texts = [f"it is me {number}" for number in range(5)]
    for text in texts:
        laptop.send(bob, text)
        pass_time(2_000, alice, laptop, bob)
    bob.kill()  # what it knows of the device outlasts its program
    bob.login()
    laptop.kill()
    laptop.login()
    laptop.send(bob, "still me")
    pass_time(10_000, alice, laptop, bob)
    heard = [] if is_removed else [*texts, "still me"]
    assert [text for is_own, text in said(bob, alice)[-6:] if not is_own and text in {*texts, "still me"}] == heard
    assert [text for is_own, text in said(alice, bob)[-6:] if is_own and text in {*texts, "still me"}] == heard
    assert bob.messenger.requests() == []
    assert bob.messenger._stores.conversations.load(laptop.id).sending_to_many is None or not is_removed


def test_control_device_that_is_still_one_changes_all_of_it(town: Town) -> None:
    alice, laptop, bob = two_of_alice(town)
    pass_time(10_000, alice, laptop, bob)
    desk, raw_bob = laptop.messenger.desk, base64.b64decode(bob.id)
    desk.say([alice.id], SyncContacts(contacts=[KnownPerson(id=raw_bob, at=2**45, name="mallory", blocked=True)]))
    desk.say([alice.id], SyncSettings(at=2**45, presence=False))
    pass_time(10_000, alice, laptop, bob)
    assert [(one.name, one.blocked) for one in alice.messenger.contacts.everybody()] == [("mallory", True)]
    assert not alice.messenger.presence.settings.presence
