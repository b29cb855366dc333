"""Makes the vectors of ``protocol/devices.md``: lists, how they are taken up, codes, links, and whose a message is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from maker_base import NOW, Json, drawn, file_of, named
from maker_device_routings import ROUTINGS, routing_case

from phantom_messenger.client.devices import device_list, known_list
from phantom_messenger.client.devices.device_list import DAY_MS, LIFE_MS, NOTHING, Device, DeviceList
from phantom_messenger.client.devices.known_list import KnownList, take_up
from phantom_messenger.client.devices.link_code import LinkCode
from phantom_messenger.client.devices.linking import LINK_MS, FirstDevice, NewDevice
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.crypto.keys import OwnIdentity

NAMES: Final = (
    "alice",
    "alice-laptop",
    "alice-tablet",
    "alice-4",
    "alice-5",
    "alice-6",
    "alice-7",
    "bob",
    "bob-laptop",
)
DEVICES: Final = {name: OwnIdentity(drawn(f"devices/{name}", 32)) for name in NAMES}
ALICE: Final = DEVICES["alice"]
SMALL_ORDER: Final = (1).to_bytes(32, "little")
"""The neutral element: a key that nobody should use."""


def entry(name: str, *, added: int = NOW - DAY_MS, person: str = "alice") -> Device:
    """A device that belongs to a person."""
    own = DEVICES[name]
    return Device(own.peer.public, added, device_list.consent(own, DEVICES[person].peer.user_id))


def made(
    *names: str, revision: int = 1, previous: bytes = NOTHING, at: int = NOW, until: int | None = None
) -> DeviceList:
    """A list of devices, signed by the first."""
    devices = tuple(entry(name, person=names[0]) for name in names)
    until = at + LIFE_MS if until is None else until
    return DeviceList.sign(DEVICES[names[0]], revision=revision, previous=previous, at=at, until=until, devices=devices)


def forged(change: Callable[[bytearray], None] = lambda _: None, *devices: Device, by: str = "alice") -> bytes:
    """A list that is signed after something was changed in it."""
    found = bytearray(made("alice", "alice-laptop").encoded[:-64])
    if devices:
        found = found[:53] + b"".join(one.key + one.added.to_bytes(8) + one.consent for one in devices)
        found[53:53] = bytes((len(devices),))
    change(found)
    return bytes(found) + DEVICES[by].sign(b"phantom/1 device-list\n" + bytes(found))


def at(place: int, value: bytes) -> Callable[[bytearray], None]:
    """Put bytes there."""

    def change(found: bytearray) -> None:
        found[place : place + len(value)] = value

    return change


def outcome(play: Callable[[], Json]) -> Json:
    """What comes of something, or the error that it ends with."""
    try:
        return play()
    except CryptoError as error:
        return {"error": type(error).__name__}


# --- lists ------------------------------------------------------------------------


def _lists() -> Iterator[tuple[str, str, DeviceList]]:
    first = made("alice")
    second = made("alice", "alice-laptop", revision=2, previous=first.hash, at=NOW + 1)
    yield "alone", "one device", first
    yield "two", "two devices", second
    yield "six", "as many as there may be", made(*NAMES[:6], revision=3, previous=second.hash)
    yield "another-order", "further devices in another order", made("alice", "alice-tablet", "alice-laptop", revision=3)
    yield "previous-unknown", "a later list whose maker does not know the one before", made("alice", revision=1_025)
    yield "last-revision", "the greatest revision", made("alice", "alice-laptop", revision=2**32 - 1)
    yield "short-life", "it runs out after a millisecond", made("alice", "alice-laptop", until=NOW + 1)
    yield "first-time", "made at the least time", made("alice", at=0)
    last = device_list.LAST_TIME_MS
    yield "last-time", "it runs out at the greatest time", made("alice", at=last - 1, until=last)
    yield "other-person", "of another person", made("bob", "bob-laptop")
    odd = Device(ALICE.peer.public, last, device_list.consent(ALICE, ALICE.peer.user_id))
    yield (
        "added-later",
        "when a device came in is only for display",
        DeviceList.sign(ALICE, revision=1, previous=NOTHING, at=NOW, until=NOW + 1, devices=(odd,)),
    )


def _list_case(name: str, description: str, found: DeviceList) -> Json:
    by_key = {own.peer.public: own for own in DEVICES.values()}
    return {
        "name": name,
        "description": description,
        "seeds": [by_key[device.key].seed.hex() for device in found.devices],
        "added": [device.added for device in found.devices],
        "revision": found.revision,
        "previous": found.previous.hex(),
        "at": found.at,
        "until": found.until,
        "expect": {
            "encoded": found.encoded.hex(),
            "hash": found.hash.hex(),
            "person": found.person.hex(),
            "ids": [one.hex() for one in found.ids],
        },
    }


def _refused_lists() -> dict[str, tuple[str, bytes]]:
    good = made("alice", "alice-laptop").encoded
    alice, laptop = entry("alice"), entry("alice-laptop")
    stranger = entry("bob")
    stolen = Device(laptop.key, laptop.added, device_list.consent(DEVICES["alice-laptop"], DEVICES["bob"].peer.user_id))
    by_other = Device(laptop.key, laptop.added, alice.consent)
    unusable = Device(SMALL_ORDER, NOW, bytes(64))
    flipped = good[:90] + bytes((good[90] ^ 1,)) + good[91:]
    return {
        "nothing": ("no byte at all", b""),
        "cut": ("the last byte is missing", good[:-1]),
        "longer": ("a byte too many", good + b"\0"),
        "signature-alone": ("less than the fields that all lists have", good[-64:]),
        "device-cut": ("the last device is cut short", forged(lambda one: one.__delitem__(slice(-1, None)))),
        "version-0": ("version 0", forged(at(0, b"\0"))),
        "version-2": ("a later version", forged(at(0, b"\2"))),
        "version-2-short": ("a later version of which nothing else is looked at", b"\2"),
        "no-device": ("no device", forged(at(53, b"\0"))),
        "count-low": ("fewer devices than there are", forged(at(53, b"\1"))),
        "count-high": ("more devices than there are", forged(at(53, b"\3"))),
        "seven": ("more devices than there may be", forged(lambda _: None, *(entry(name) for name in NAMES[:7]))),
        "revision-0": ("revision 0", forged(at(1, bytes(4)))),
        "first-with-previous": ("revision 1 after another", forged(at(5, b"\1" * 32))),
        "until-before": ("it ran out before it was made", forged(at(45, (NOW - 1).to_bytes(8)))),
        "until-at": ("it ran out when it was made", forged(at(45, NOW.to_bytes(8)))),
        "until-late": ("it lives for more than 90 days", forged(at(45, (NOW + LIFE_MS + 1).to_bytes(8)))),
        "time-late": ("it runs out after the greatest time", forged(_at_the_end_of_time)),
        "added-late": ("a device came after the greatest time", forged(at(54 + 104 + 32, b"\xff" * 8))),
        "twice": ("a device twice", forged(lambda _: None, alice, laptop, laptop)),
        "first-twice": ("the first device twice", forged(lambda _: None, alice, alice)),
        "small-order": ("a key of small order", forged(lambda _: None, alice, unusable)),
        "first-small-order": ("the first key is of small order", forged(lambda _: None, unusable)),
        "changed": ("a bit was changed after it was signed", flipped),
        "unsigned": ("a signature of zeros", good[:-64] + bytes(64)),
        "by-linked": ("signed by a linked device", forged(by="alice-laptop")),
        "by-other": ("signed by somebody else", forged(by="bob")),
        "envelope-label": (
            "the person has signed these bytes for something else",
            good[:-64] + ALICE.sign(b"phantom/1 envelope\n" + good[:-64]),
        ),
        "no-consent": ("a device that has not consented", forged(lambda _: None, alice, by_other)),
        "consent-to-other": ("a device that has consented to somebody else", forged(lambda _: None, alice, stolen)),
        "taken": (
            "somebody else, who is nobody's device",
            forged(lambda _: None, alice, Device(stranger.key, NOW, bytes(64))),
        ),
        "other-first": ("a linked device stands first", forged(lambda _: None, laptop, alice)),
    }


def _at_the_end_of_time(found: bytearray) -> None:
    last = device_list.LAST_TIME_MS
    at(37, last.to_bytes(8))(found)
    at(45, (last + 1).to_bytes(8))(found)


def _refused_list(name: str, description: str, encoded: bytes) -> Json:
    expect = outcome(lambda: {"encoded": DeviceList.parse(encoded).encoded.hex()})
    return {"name": name, "description": description, "encoded": encoded.hex(), "expect": expect}


# --- taking up --------------------------------------------------------------------


def _takings() -> Iterator[tuple[str, str, list[tuple[DeviceList, int]]]]:
    """Lists, and when each one comes; all but the last are taken up."""
    one = made("alice")
    two = made("alice", "alice-laptop", revision=2, previous=one.hash)
    three = made("alice", "alice-laptop", "alice-tablet", revision=3, previous=two.hash)
    gone = made("alice", "alice-tablet", revision=4, previous=three.hash)
    short = made("alice", "alice-laptop", "alice-tablet", revision=3, previous=two.hash, until=NOW + 1)
    fresh = made("alice", "alice-tablet", revision=4, previous=short.hash)
    fork = made("alice", "alice-tablet", revision=2, previous=one.hash)
    ahead = made("alice", "alice-laptop", revision=5, at=NOW + DAY_MS)
    bob = made("bob")
    yield "first", "the first list that comes", [(two, NOW)]
    yield "next", "a device more", [(one, NOW), (two, NOW)]
    yield "same", "the same again", [(two, NOW), (two, NOW + 1)]
    yield (
        "same-expired",
        "the same again, after it ran out: what was usable stays so",
        [(two, NOW), (two, NOW + 2 * LIFE_MS)],
    )
    yield "removed", "a device less", [(three, NOW), (gone, NOW)]
    yield "jump", "revisions in between were never seen", [(one, NOW), (three, NOW)]
    yield (
        "restored",
        "made after a restore, without the one before",
        [(three, NOW), (made("alice", revision=1_025), NOW)],
    )
    yield "ahead", "a day ahead", [(two, NOW), (ahead, NOW)]
    yield "last-moment", "at its last moment a list still brings a device in", [(two, NOW), (short, NOW + 1)]
    yield "expired", "after it, it does not", [(two, NOW), (short, NOW + 2)]
    yield "expired-first", "nor if it is the first that comes", [(short, NOW + 2)]
    yield (
        "expired-removes",
        "but it removes one",
        [(three, NOW), (made("alice", "alice-7", revision=9, until=NOW + 1), NOW + 2)],
    )
    yield "expired-then-fresh", "a newer list brings the device in after all", [(short, NOW + 2), (fresh, NOW + 2)]
    yield "stale", "an older one", [(three, NOW), (two, NOW)]
    yield "stale-far", "one from long before", [(made("alice", revision=1_025), NOW), (two, NOW)]
    yield "fork-same", "another one of the same revision", [(two, NOW), (fork, NOW)]
    yield (
        "fork-next",
        "the next one, made from another",
        [(two, NOW), (made("alice", revision=3, previous=fork.hash), NOW)],
    )
    yield "fork-unknown", "the next one, made from none", [(two, NOW), (made("alice", revision=3), NOW)]
    yield "early", "more than a day ahead", [(two, NOW), (ahead, NOW - 1)]
    yield "early-first", "more than a day ahead, the first that comes", [(ahead, NOW - 1)]
    yield "foreign", "another person's", [(two, NOW), (bob, NOW)]
    yield "foreign-first", "another person's, the first that comes", [(bob, NOW)]


def _taking(name: str, description: str, steps: list[tuple[DeviceList, int]]) -> Json:
    person = ALICE.peer.user_id
    known: KnownList | None = None
    for found, now in steps[:-1]:
        known = take_up(known, found, person=person, now=now)
    found, now = steps[-1]

    def play() -> Json:
        after = take_up(known, found, person=person, now=now)
        return {"revision": after.newest.revision, "usable": [one.hex() for one in after.usable]}

    return {
        "name": name,
        "description": description,
        "person": person.hex(),
        "lists": [{"encoded": one.encoded.hex(), "now": when} for one, when in steps],
        "expect": outcome(play),
    }


# --- codes ------------------------------------------------------------------------

CODE: Final = LinkCode("wss://relay.example/ws", DEVICES["alice-laptop"].peer.user_id, drawn("devices/secret", 16))


def _codes() -> dict[str, tuple[str, str]]:
    text = CODE.text()
    head, relay, own, secret = text.split("&")
    return {
        "code": ("as a device shows it", text),
        "local": ("a relay without TLS, with a port", LinkCode("ws://127.0.0.1:8080/ws", CODE.id, CODE.secret).text()),
        "escaped": (
            "a relay with characters that must be escaped",
            LinkCode("wss://r.example/ws?a=1&b=%", CODE.id, CODE.secret).text(),
        ),
        "spaces": ("spaces around it, as they come with copying", f" {text}\n"),
        "order": (
            "another order, and a part that is not known",
            "&".join([f"phantom:link?{secret}", "x=y", own, relay, "v=1"]),
        ),
        "empty": ("nothing", ""),
        "other-scheme": ("something else", text.replace("phantom:link", "phantom:add")),
        "capitals": ("the beginning in capitals", text.replace("phantom:", "PHANTOM:")),
        "version-2": ("a later version", text.replace("v=1", "v=2")),
        "no-version": ("no version", text.replace("v=1&", "")),
        "twice": ("a part twice", f"{text}&{secret}"),
        "no-relay": ("no relay", f"{head}&{own}&{secret}"),
        "http": ("a relay that is none", text.replace("wss:", "https:")),
        "no-host": ("a relay without a host", text.replace("relay.example", "")),
        "short-id": ("a character of the id is missing", text.replace(own, own[:-1])),
        "padded-id": ("the id with padding", text.replace(own, f"{own}=")),
        "other-id": ("bits in the last character of the id that mean nothing", text.replace(own, _odd(own))),
        "base64-id": ("plain base64", text.replace(own, "id=" + "+" * 43)),
        "short-secret": ("a character of the secret is missing", text[:-1]),
        "no-secret": ("no secret", f"{head}&{relay}&{own}"),
        "space-inside": ("a space inside", text.replace("&s=", " &s=")),
        "part-without-value": ("a part without a value", f"{text}&x"),
        "odd-name": ("a part with a name of other characters", f"{text}&x-1=2"),
        "long": ("more than 1,024 characters", f"{text}&x={'a' * 1_024}"),
    }


def _odd(part: str) -> str:
    """The last character with another of the four that stand for the same bits."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return part[:-1] + alphabet[alphabet.index(part[-1]) + 1]


def _code(name: str, description: str, text: str) -> Json:
    def play() -> Json:
        found = LinkCode.parse(text)
        return {"relay": found.relay, "id": found.id.hex(), "secret": found.secret.hex(), "shown": found.text()}

    return {"name": name, "description": description, "text": text, "expect": outcome(play)}


# --- links ------------------------------------------------------------------------

NONCES: Final = {name: drawn(f"devices/nonce/{name}", 32) for name in ("first", "new", "mallory")}
MALLORY: Final = DEVICES["bob"]
LAPTOP: Final = DEVICES["alice-laptop"]


@dataclass
class Link:
    """Both sides of a link, whose steps are written down."""

    first: FirstDevice | None
    new: NewDevice | None
    steps: list[Json]

    @classmethod
    def shown(cls) -> "Link":
        """A code is shown and read, at the time 0."""
        new = NewDevice(LAPTOP, CODE, NONCES["new"], LINK_MS)
        first = FirstDevice.begin(ALICE.peer, LAPTOP.peer.public, CODE, nonce=NONCES["first"], now=0)
        return cls(first, new, [])

    def step(self, do: str, *, now: int = 1, **given: Any) -> Json:
        """Do something and write down what comes of it."""
        found = outcome(lambda: self._done(do, now, given))
        if found.get("error") == "LinkEnded":
            self._end(do)
        listed = {name: one.hex() if isinstance(one, bytes) else one for name, one in given.items()}
        self.steps.append({"do": do, "now": now, **listed, "expect": found})
        return found

    def _end(self, do: str) -> None:
        if do in {"answer", "type", "consent"}:
            self.first = None
        else:
            self.new = None

    def _done(self, do: str, now: int, given: Json) -> Json:
        first, new = self.first, self.new
        match do:
            case "offer" if new is not None:
                self.new = new.offered(given["sender_key"], given["commitment"], given["mac"], now)
                nonce, mac = self.new.answer()
                return {"person": (self.new.person or b"").hex(), "nonce": nonce.hex(), "mac": mac.hex()}
            case "answer" if first is not None:
                self.first = first.answered(given["sender_key"], given["nonce"], given["mac"], now)
                return {"nonce": self.first.nonce.hex(), "digits": self.first.digits}
            case "reveal" if new is not None:
                self.new = new.revealed(given["sender_key"], given["nonce"], now)
                return {"digits": self.new.digits}
            case "agree" if new is not None:
                self.new, consent = new.agreed(now)
                return {"consent": consent.hex()}
            case "type" if first is not None:
                self.first = first.typed(given["digits"], now)
                return {"right": self.first.is_confirmed}
            case "consent" if first is not None:
                self.first = first.consented(given["sender_key"], given["consent"], now)
                return {}
            case "take-in" if first is not None:
                return {"consent": first.new_device(NOW).consent.hex()}
            case "done" if new is not None:
                return {"hash": new.linked(given["sender_key"], given["list"]).hash.hex()}
        raise AssertionError(do)

    def offer(self, **changes: Any) -> Json:
        """The offer of the first device."""
        assert self.first is not None
        commitment, mac = self.first.offer()
        return self.step("offer", **{"sender_key": ALICE.peer.public, "commitment": commitment, "mac": mac, **changes})

    def answer(self, offered: Json, **changes: Any) -> Json:
        """The new device's answer."""
        given = {"sender_key": LAPTOP.peer.public, "nonce": raw(offered["nonce"]), "mac": raw(offered["mac"])}
        return self.step("answer", **{**given, **changes})

    def met(self) -> Json:
        """As far as the digits are on both sides."""
        answered = self.answer(self.offer())
        return self.step("reveal", sender_key=ALICE.peer.public, nonce=raw(answered["nonce"]))


def raw(text: str) -> bytes:
    """Bytes in hex."""
    return bytes.fromhex(text)


def _finished(link: Link, agreed: Json) -> None:
    link.step("consent", sender_key=LAPTOP.peer.public, consent=raw(agreed["consent"]))
    link.step("take-in")
    link.step("done", now=2 * LINK_MS, sender_key=ALICE.peer.public, list=made("alice", "alice-laptop").encoded)


def _link_whole() -> Link:
    link = Link.shown()
    digits = link.met()["digits"]
    link.step("type", digits=f"{digits[:3]} {digits[3:]}")
    _finished(link, link.step("agree"))
    return link


def _link_clumsy() -> Link:
    link = Link.shown()
    link.step("type", digits="000000")
    link.step("agree")
    digits = link.met()["digits"]
    link.offer()
    wrong = f"{(int(digits) + 1) % 10**6:06d}"
    link.step("type", digits=wrong)
    link.step("type", digits=digits[:5])
    link.step("take-in")
    agreed = link.step("agree", now=LINK_MS)
    link.step("consent", sender_key=LAPTOP.peer.public, consent=raw(agreed["consent"]))
    link.step("take-in")
    link.step("type", now=LINK_MS, digits=digits)
    _finished(link, agreed)
    return link


def _link_guessed() -> Link:
    link = Link.shown()
    digits = link.met()["digits"]
    for more in (1, 2, 3):
        link.step("type", digits=f"{(int(digits) + more) % 10**6:06d}")
    return link


def _link_strangers() -> Link:
    link = Link.shown()
    assert link.first is not None
    key, (_, mac) = MALLORY.peer.public, link.first.offer()
    link.offer(sender_key=key)
    link.offer(mac=bytes(32))
    link.offer(commitment=NONCES["mallory"])
    other = FirstDevice.begin(
        ALICE.peer, LAPTOP.peer.public, LinkCode(CODE.relay, CODE.id, bytes(16)), nonce=NONCES["first"], now=0
    )
    link.offer(mac=other.offer()[1])
    link.step("reveal", sender_key=ALICE.peer.public, nonce=NONCES["first"])
    offered = link.offer()
    link.answer(offered, sender_key=key)
    link.answer(offered, nonce=NONCES["mallory"])
    link.answer(offered, mac=mac)
    link.step("reveal", sender_key=key, nonce=NONCES["first"])
    link.answer(offered)
    link.step("consent", sender_key=key, consent=device_list.consent(LAPTOP, ALICE.peer.user_id))
    link.step("consent", sender_key=LAPTOP.peer.public, consent=device_list.consent(LAPTOP, MALLORY.peer.user_id))
    link.step("done", sender_key=ALICE.peer.public, list=made("alice", "alice-laptop").encoded)
    return link


def _link_two_offers() -> Link:
    link = Link.shown()
    link.offer()
    other = FirstDevice.begin(MALLORY.peer, LAPTOP.peer.public, CODE, nonce=NONCES["mallory"], now=0)
    commitment, mac = other.offer()
    link.step("offer", sender_key=MALLORY.peer.public, commitment=commitment, mac=mac)
    return link


def _link_another_nonce() -> Link:
    link = Link.shown()
    link.answer(link.offer())
    link.step("reveal", sender_key=ALICE.peer.public, nonce=NONCES["mallory"])
    return link


def _link_two_answers() -> Link:
    link = Link.shown()
    link.answer(link.offer())
    assert link.first is not None
    pair = link.first.pair
    mac = pair.answer_mac(pair.commitment(NONCES["first"]), NONCES["mallory"])
    link.step("answer", sender_key=LAPTOP.peer.public, nonce=NONCES["mallory"], mac=mac)
    return link


def _link_late(do: str) -> Link:
    link = Link.shown()
    assert link.first is not None
    late: Json = {"now": LINK_MS + 1}
    commitment, mac = link.first.offer()
    if do == "offer":
        link.step("offer", **late, sender_key=ALICE.peer.public, commitment=commitment, mac=mac)
        return link
    offered = link.offer()
    if do == "answer":
        link.answer(offered, **late)
        return link
    answered = link.answer(offered)
    if do == "reveal":
        link.step("reveal", **late, sender_key=ALICE.peer.public, nonce=raw(answered["nonce"]))
        return link
    link.step("reveal", sender_key=ALICE.peer.public, nonce=raw(answered["nonce"]))
    if do == "type":
        link.step("type", **late, digits=answered["digits"])
    elif do == "agree":
        link.step("agree", **late)
    else:
        agreed = link.step("agree")
        link.step("consent", **late, sender_key=LAPTOP.peer.public, consent=raw(agreed["consent"]))
    return link


def _link_wrong_lists() -> Link:
    link = Link.shown()
    digits = link.met()["digits"]
    link.step("type", digits=digits)
    agreed = link.step("agree")
    key = ALICE.peer.public
    link.step("done", sender_key=MALLORY.peer.public, list=made("alice", "alice-laptop").encoded)
    link.step("done", sender_key=key, list=made("alice").encoded)
    link.step("done", sender_key=key, list=made("bob", "alice-laptop").encoded)
    link.step("done", sender_key=key, list=made("alice", "alice-laptop").encoded[:-1])
    link.step("done", sender_key=key, list=forged(by="bob"))
    _finished(link, agreed)
    return link


LINKS: Final[dict[str, tuple[str, Callable[[], Link]]]] = {
    "whole": ("from the offer to the list; the digits are typed in two groups", _link_whole),
    "clumsy": ("too early, wrong digits twice, an offer again, and at the last moment", _link_clumsy),
    "guessed": ("wrong digits three times", _link_guessed),
    "strangers": ("what others send, and what is not in order, changes nothing", _link_strangers),
    "two-offers": ("a second one has seen the code", _link_two_offers),
    "another-nonce": ("the first device shows another nonce than it has committed itself to", _link_another_nonce),
    "two-answers": ("the new device answers twice", _link_two_answers),
    "wrong-lists": ("lists that do not link the new device", _link_wrong_lists),
    **{
        f"late-{do}": (f"too late: {do}", lambda do=do: _link_late(do))  # type: ignore[misc]
        for do in ("offer", "answer", "reveal", "type", "agree", "consent")
    },
}


def devices_json() -> Json:
    """``devices.json``."""
    return file_of(
        "Devices of a person: lists, taking them up, codes and links, and whose a message is.",
        lists=named([_list_case(*row) for row in _lists()]),
        refused=named([_refused_list(name, *row) for name, row in _refused_lists().items()]),
        takings=named([_taking(*row) for row in _takings()]),
        codes=named([_code(name, *row) for name, row in _codes().items()]),
        link={
            "code": CODE.text(),
            "first_seed": ALICE.seed.hex(),
            "new_seed": LAPTOP.seed.hex(),
            "first_nonce": NONCES["first"].hex(),
            "new_nonce": NONCES["new"].hex(),
        },
        links=named(
            [
                {"name": name, "description": description, "steps": play().steps}
                for name, (description, play) in LINKS.items()
            ]
        ),
        routings=named([routing_case(name, *row) for name, row in ROUTINGS.items()]),
        following=[
            {
                "known": None if known is None else known.encoded.hex(),
                "is_restored": is_restored,
                "expect": dict(zip(("revision", "previous"), _following(known, is_restored=is_restored), strict=True)),
            }
            for known in (None, made("alice", "alice-laptop", revision=7))
            for is_restored in (False, True)
        ],
    )


def _following(known: DeviceList | None, *, is_restored: bool) -> tuple[int, str]:
    revision, previous = known_list.following(known, is_restored=is_restored)
    return revision, previous.hex()
