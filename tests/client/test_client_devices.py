"""What a relay, a stranger or a contact can do to somebody's devices: nothing (D1, D2)."""

from dataclasses import dataclass
from random import Random
from typing import Final

import pytest

from phantom_messenger.client.devices import device_list, known_list, linking
from phantom_messenger.client.devices.device_list import DAY_MS, LIFE_MS, NOTHING, Device, DeviceList
from phantom_messenger.client.devices.errors import LinkEnded
from phantom_messenger.client.devices.known_list import KnownList, following, take_up
from phantom_messenger.client.devices.link_code import LinkCode
from phantom_messenger.client.devices.linking import LINK_MS, FirstDevice, NewDevice
from phantom_messenger.client.devices.routing import Routing
from phantom_messenger.crypto.errors import CryptoError, InvalidKey, InvalidSignature
from phantom_messenger.crypto.keys import OwnIdentity, PeerIdentity
from support.amounts import amount

NOW: Final = 1_770_000_000_000
MUTATED: Final = amount(300, 1_000)
ATTACKS: Final = amount(500, 10_000)


def drawn(name: str) -> Random:
    return Random(name)  # noqa: S311 - so that a run can be repeated


def identity(random: Random) -> OwnIdentity:
    return OwnIdentity(random.randbytes(32))


def device(own: OwnIdentity, person: OwnIdentity) -> Device:
    return Device(own.peer.public, NOW, device_list.consent(own, person.peer.user_id))


def signed(*owners: OwnIdentity, revision: int = 1, previous: bytes = NOTHING, at: int = NOW) -> DeviceList:
    devices = tuple(device(one, owners[0]) for one in owners)
    return DeviceList.sign(owners[0], revision=revision, previous=previous, at=at, until=at + LIFE_MS, devices=devices)


# --- D1: lists --------------------------------------------------------------------


@dataclass
class Family:
    """Alice's devices and all lists that she has signed; Mallory's, whose lists are in order by themselves."""

    random: Random

    def __post_init__(self) -> None:
        self.alice, self.laptop, self.tablet, self.mallory, self.spy = (identity(self.random) for _ in range(5))
        one = signed(self.alice)
        two = signed(self.alice, self.laptop, revision=2, previous=one.hash)
        three = signed(self.alice, self.laptop, self.tablet, revision=3, previous=two.hash)
        four = signed(self.alice, self.tablet, revision=4, previous=three.hash)
        self.lists = [one, two, three, four]
        self.others = [signed(self.mallory, self.spy), signed(self.mallory, self.spy, revision=5)]
        self.known = take_up(take_up(None, three, person=self.person, now=NOW), four, person=self.person, now=NOW)

    @property
    def person(self) -> bytes:
        return self.alice.peer.user_id

    def mutated(self) -> bytes:
        random = self.random
        encoded = bytearray(random.choice(self.lists).encoded)
        place = random.randrange(len(encoded))
        match random.randrange(9):
            case 0:
                encoded[place] ^= 1 << random.randrange(8)
            case 1:
                return bytes(encoded[:place])
            case 2:
                encoded[place:place] = random.randbytes(random.randrange(1, 9))
            case 3:  # a spy in place of a device, signed by somebody else
                return self._with(
                    Device(self.spy.peer.public, NOW, random.randbytes(64)), random.choice([self.mallory, self.spy])
                )
            case 4:  # a spy who has consented, and nobody to sign
                return self._with(device(self.spy, self.alice), random.choice([self.mallory, self.laptop, self.tablet]))
            case 5:
                return random.choice(self.others).encoded
            case 6:  # an old one, which nobody has changed
                return random.choice(self.lists[:3]).encoded
            case 7:  # the signature of another one
                return bytes(encoded[:-64]) + random.choice(self.lists + self.others).encoded[-64:]
            case _:
                encoded[1:5] = random.randrange(5, 2**32).to_bytes(4)
        return bytes(encoded)

    def _with(self, spy: Device, signer: OwnIdentity) -> bytes:
        found = self.lists[1].encoded[:-64]
        found = (
            b"\1" + (5).to_bytes(4) + self.lists[3].hash + found[37:158] + spy.key + spy.added.to_bytes(8) + spy.consent
        )
        return found + signer.sign(b"phantom/1 device-list\n" + found)


def heads(known: KnownList, person: bytes) -> set[bytes]:
    """Whom a message to the person is encrypted for."""
    return set(Routing(bytes(32), bytes(32), {person: known.usable}, frozenset({person})).recipients(person))


def after(family: Family, encoded: bytes) -> KnownList:
    try:
        return take_up(family.known, DeviceList.parse(encoded), person=family.person, now=NOW)
    except CryptoError:
        return family.known


def test_no_list_that_the_person_has_not_signed_now_brings_a_head_to_a_wrong_device() -> None:
    family = Family(drawn("device lists"))
    right = {family.person, family.tablet.peer.user_id}
    changed = [one for one in (family.mutated() for _ in range(MUTATED)) if one != family.lists[3].encoded]
    assert len(changed) > MUTATED * 0.8
    assert all(heads(after(family, one), family.person) == right for one in changed)


@pytest.mark.parametrize(
    ("holder", "name"), [(PeerIdentity, "verify"), (device_list, "check_consent")], ids=["list", "consent"]
)
def test_control_without_signatures_wrong_devices_get_heads(
    monkeypatch: pytest.MonkeyPatch, holder: object, name: str
) -> None:
    family = Family(drawn("device lists"))
    spy = Device(family.spy.peer.public, NOW, bytes(64))
    stolen = family._with(spy, family.alice if name == "check_consent" else family.mallory)
    assert heads(after(family, stolen), family.person) == {family.person, family.tablet.peer.user_id}
    monkeypatch.setattr(holder, name, lambda *_: None)
    assert family.spy.peer.user_id in heads(after(family, stolen), family.person)


def test_late_list_brings_nobody_in_and_a_later_one_does() -> None:
    family = Family(drawn("late"))
    five = signed(family.alice, family.tablet, family.laptop, revision=5, previous=family.known.newest.hash)
    late = take_up(family.known, five, person=family.person, now=NOW + LIFE_MS + 1)
    assert set(late.usable) == {family.person, family.tablet.peer.user_id}
    assert late.is_warned_of(NOW + LIFE_MS + 1)
    assert not family.known.is_warned_of(NOW + LIFE_MS)
    six = signed(family.alice, family.tablet, family.laptop, revision=6, previous=five.hash, at=NOW + LIFE_MS)
    renewed = take_up(late, six, person=family.person, now=NOW + LIFE_MS + 1)
    assert len(renewed.usable) == 3


def test_restored_person_goes_ahead_of_lists_that_the_backup_does_not_know() -> None:
    family = Family(drawn("restored"))
    backup = family.lists[0]
    revision, previous = following(backup, is_restored=True)
    made = signed(family.alice, revision=revision, previous=previous)
    assert take_up(family.known, made, person=family.person, now=NOW).usable == (family.person,)
    plain, before = following(backup, is_restored=False)
    with pytest.raises(CryptoError):  # control: without the step it falls behind
        take_up(family.known, signed(family.alice, revision=plain, previous=before), person=family.person, now=NOW)


def test_sleep_and_renewal_are_shorter_than_the_life_of_a_list() -> None:
    assert known_list.RENEW_MS < known_list.ASLEEP_MS < LIFE_MS
    assert known_list.HERE_MS * 3 < known_list.ASLEEP_MS
    assert DAY_MS == 86_400_000


# --- D2: links --------------------------------------------------------------------


@dataclass
class Scene:
    """Alice's first device, a new one and its code, and Mallory, who stands between them."""

    random: Random

    def __post_init__(self) -> None:
        self.alice, self.laptop, self.mallory = (identity(self.random) for _ in range(3))
        self.code = LinkCode("wss://relay.example/ws", self.laptop.peer.user_id, self.random.randbytes(16))
        self.new = NewDevice(self.laptop, self.code, self.random.randbytes(32), LINK_MS)

    def first(self, code: LinkCode, key: OwnIdentity) -> FirstDevice:
        return FirstDevice.begin(self.alice.peer, key.peer.public, code, nonce=self.random.randbytes(32), now=0)


def succeeded(scene: Scene, attack: int) -> bool:
    """Whether Mallory's device is taken in, or Alice's new one is taken over."""
    match attack % 4:
        case 0:
            return _guessed_secret(scene)
        case 1:
            return _swapped_key(scene)
        case 2:
            return _own_code_shown(scene)
        case _:
            return _replayed(scene)


def _guessed_secret(scene: Scene) -> bool:
    """The relay makes an offer of its own, with a secret that it has guessed."""
    code = LinkCode(scene.code.relay, scene.code.id, scene.random.randbytes(16))
    other = FirstDevice.begin(
        scene.mallory.peer, scene.laptop.peer.public, code, nonce=scene.random.randbytes(32), now=0
    )
    try:
        scene.new.offered(scene.mallory.peer.public, *other.offer(), now=1)
    except InvalidSignature:
        return False
    return True


def _swapped_key(scene: Scene) -> bool:
    """The relay hands out another key for the id in the code."""
    try:
        scene.first(scene.code, scene.mallory)
    except InvalidKey:
        return False
    return True


def _own_code_shown(scene: Scene) -> bool:
    """Mallory has photographed the code, shows Alice one of her own, and hopes that the digits agree."""
    code = LinkCode(scene.code.relay, scene.mallory.peer.user_id, scene.random.randbytes(16))
    first = scene.first(code, scene.mallory)
    hers = FirstDevice.begin(
        scene.mallory.peer, scene.laptop.peer.public, scene.code, nonce=scene.random.randbytes(32), now=0
    )
    new = scene.new.offered(scene.mallory.peer.public, *hers.offer(), now=1)
    hers = hers.answered(scene.laptop.peer.public, *new.answer(), now=1)
    new = new.revealed(scene.mallory.peer.public, hers.nonce, now=1)
    between = NewDevice(scene.mallory, code, scene.random.randbytes(32), LINK_MS)
    between = between.offered(scene.alice.peer.public, *first.offer(), now=1)
    first = first.answered(scene.mallory.peer.public, *between.answer(), now=1)
    assert new.digits is not None
    try:
        for _ in range(linking.MAX_WRONG):  # Alice types what her device shows
            first = first.typed(new.digits, now=1)
            if first.is_confirmed:
                return True
    except LinkEnded:
        pass
    return False


def _replayed(scene: Scene) -> bool:
    """The relay delivers an earlier link's contents, under the keys of this one."""
    other = Scene(scene.random)
    earlier = other.first(other.code, other.laptop)
    offer = earlier.offer()
    met = other.new.offered(other.alice.peer.public, *offer, now=1)
    first = scene.first(scene.code, scene.laptop)
    refused = 0
    for step in (
        lambda: scene.new.offered(scene.alice.peer.public, *offer, now=1),
        lambda: first.answered(scene.laptop.peer.public, *met.answer(), now=1),
        lambda: first.consented(
            scene.laptop.peer.public, device_list.consent(other.laptop, other.alice.peer.user_id), now=1
        ),
    ):
        try:
            step()
        except CryptoError:
            refused += 1
    return refused != 3


def test_no_relay_that_swaps_replays_or_guesses_links_a_device() -> None:
    random = drawn("links")
    assert [attack for attack in range(ATTACKS) if succeeded(Scene(random), attack)] == []


def test_control_with_one_digit_whoever_is_in_the_middle_often_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "DIGITS", 1)
    random = drawn("links")
    assert any(succeeded(Scene(random), 2) for _ in range(100))


def test_control_without_a_commitment_the_middle_finds_a_nonce_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "DIGITS", 2)  # so that the search is short
    scene = Scene(drawn("commitment"))
    code = LinkCode(scene.code.relay, scene.mallory.peer.user_id, scene.random.randbytes(16))
    first = scene.first(code, scene.mallory)
    hers = FirstDevice.begin(
        scene.mallory.peer, scene.laptop.peer.public, scene.code, nonce=scene.random.randbytes(32), now=0
    )
    new = scene.new.offered(scene.mallory.peer.public, *hers.offer(), now=1).revealed(
        scene.mallory.peer.public, hers.nonce, now=1
    )
    tries = (scene.random.randbytes(32) for _ in range(10_000))
    # What the document forbids: Alice's nonce is known before Mallory's share is sent.
    fitting = next(one for one in tries if first.pair.digits(first.nonce, one) == new.digits)
    mac = first.pair.answer_mac(first.pair.commitment(first.nonce), fitting)
    assert new.digits is not None
    assert first.answered(scene.mallory.peer.public, fitting, mac, now=1).typed(new.digits, now=1).is_confirmed


def test_secrets_of_a_link_are_not_shown() -> None:
    scene = Scene(drawn("shown"))
    first = scene.first(scene.code, scene.laptop)
    new = scene.new.offered(scene.alice.peer.public, *first.offer(), now=1)
    first = first.answered(scene.laptop.peer.public, *new.answer(), now=1)
    new = new.revealed(scene.alice.peer.public, first.nonce, now=1)
    for secret in (scene.code.secret, first.nonce, new.nonce):
        assert repr(secret) not in f"{first!r} {new!r} {scene.code!r}"
        assert secret.hex() not in f"{first!r} {new!r} {scene.code!r}"
    assert str(first.digits) not in f"{first!r}"
