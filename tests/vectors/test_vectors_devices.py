"""Devices: the SDK does what the vectors say, and a second computation from ``protocol/devices.md`` alone does too."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest
import vector_devices as reference
from vector_reference2 import Rejected
from vector_replay import FOLDER, Json, raw, vectors

from phantom_messenger.client.devices import device_list, known_list, linking
from phantom_messenger.client.devices.device_list import Device, DeviceList
from phantom_messenger.client.devices.known_list import KnownList, take_up
from phantom_messenger.client.devices.link_code import LinkCode
from phantom_messenger.client.devices.linking import FirstDevice, NewDevice
from phantom_messenger.client.devices.routing import Routing
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.crypto.keys import OwnIdentity

LISTED: Final = vectors("devices.json")
LINK: Final = LISTED["link"]
CODE: Final = reference.read_code(LINK["code"])
FIRST: Final = OwnIdentity(raw(LINK["first_seed"]))
NEW: Final = OwnIdentity(raw(LINK["new_seed"]))


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", LISTED[name], ids=lambda case: case["name"])


def outcome(play: Callable[[], Json]) -> Json:
    try:
        return play()
    except Rejected as error:
        return {"error": error.kind}
    except CryptoError as error:
        return {"error": type(error).__name__}


# --- lists ------------------------------------------------------------------------


@of("lists")
def test_list_is_made_and_read(case: Json) -> None:
    expect, owners = case["expect"], [OwnIdentity(raw(seed)) for seed in case["seeds"]]
    person = owners[0].peer.user_id
    devices = tuple(
        Device(own.peer.public, added, device_list.consent(own, person))
        for own, added in zip(owners, case["added"], strict=True)
    )
    given = {"revision": case["revision"], "previous": raw(case["previous"]), "at": case["at"], "until": case["until"]}
    made = DeviceList.sign(owners[0], devices=devices, **given)
    found = DeviceList.parse(raw(expect["encoded"]))
    assert made == found
    assert [found.encoded.hex(), found.hash.hex(), found.person.hex()] == [
        expect[name] for name in ("encoded", "hash", "person")
    ]
    assert [one.hex() for one in found.ids] == expect["ids"]
    written = reference.write_list([own.seed for own in owners], case["added"], **given)
    read = reference.read_list(written)
    assert [written.hex(), read.hash.hex(), [one.hex() for one in read.ids]] == [
        expect[name] for name in ("encoded", "hash", "ids")
    ]


@of("refused")
def test_list_is_refused_with_the_error_that_is_listed(case: Json) -> None:
    assert set(case["expect"]) == {"error"}
    assert outcome(lambda: {"read": DeviceList.parse(raw(case["encoded"]))}) == case["expect"]
    assert outcome(lambda: {"read": reference.read_list(raw(case["encoded"]))}) == case["expect"]


def taken(case: Json) -> Json:
    known: KnownList | None = None
    for one in case["lists"]:
        known = take_up(known, DeviceList.parse(raw(one["encoded"])), person=raw(case["person"]), now=one["now"])
    assert known is not None
    return {"revision": known.newest.revision, "usable": [one.hex() for one in known.usable]}


def taken_again(case: Json) -> Json:
    kept: reference.Kept | None = None
    for one in case["lists"]:
        kept = reference.take(kept, reference.read_list(raw(one["encoded"])), raw(case["person"]), one["now"])
    assert kept is not None
    return {"revision": kept.newest.revision, "usable": [one.hex() for one in kept.usable]}


@of("takings")
def test_list_is_taken_up_or_not(case: Json) -> None:
    assert outcome(lambda: taken(case)) == case["expect"]
    assert outcome(lambda: taken_again(case)) == case["expect"]
    if len(case["lists"]) > 1:
        assert "error" not in outcome(lambda: taken({**case, "lists": case["lists"][:-1]}))


@pytest.mark.parametrize("case", LISTED["following"], ids=lambda case: f"{case['known'] is None}-{case['is_restored']}")
def test_next_list_goes_ahead(case: Json) -> None:
    known = None if case["known"] is None else DeviceList.parse(raw(case["known"]))
    other = None if case["known"] is None else reference.read_list(raw(case["known"]))
    for revision, previous in (
        known_list.following(known, is_restored=case["is_restored"]),
        reference.next_list(other, is_restored=case["is_restored"]),
    ):
        assert {"revision": revision, "previous": previous.hex()} == case["expect"]


# --- codes ------------------------------------------------------------------------


@of("codes")
def test_code_is_read_or_refused(case: Json) -> None:
    def read() -> Json:
        found = LinkCode.parse(case["text"])
        return {"relay": found.relay, "id": found.id.hex(), "secret": found.secret.hex(), "shown": found.text()}

    def read_again() -> Json:
        relay, own, secret = reference.read_code(case["text"])
        shown = reference.write_code(relay, own, secret)
        return {"relay": relay, "id": own.hex(), "secret": secret.hex(), "shown": shown}

    assert outcome(read) == case["expect"]
    assert outcome(read_again) == case["expect"]


# --- links ------------------------------------------------------------------------


class Sdk:
    """Both sides of a link, as the SDK has them."""

    def __init__(self) -> None:
        code = LinkCode(*CODE)
        self.new = NewDevice(NEW, code, raw(LINK["new_nonce"]), linking.LINK_MS)
        nonce = raw(LINK["first_nonce"])
        self.first = FirstDevice.begin(FIRST.peer, NEW.peer.public, code, nonce=nonce, now=0)

    def play(self, step: Json) -> Json:
        now = step["now"]
        key, nonce, mac = (raw(step.get(name)) for name in ("sender_key", "nonce", "mac"))
        match step["do"]:
            case "offer":
                self.new = self.new.offered(key, raw(step["commitment"]), mac, now)
                answer = self.new.answer()
                return {
                    "person": (self.new.person or b"").hex(),
                    "nonce": answer[0].hex(),
                    "mac": answer[1].hex(),
                }
            case "answer":
                self.first = self.first.answered(key, nonce, mac, now)
                return {"nonce": self.first.nonce.hex(), "digits": self.first.digits}
            case "reveal":
                self.new = self.new.revealed(key, nonce, now)
                return {"digits": self.new.digits}
            case "agree":
                self.new, consent = self.new.agreed(now)
                return {"consent": consent.hex()}
            case "type":
                self.first = self.first.typed(step["digits"], now)
                return {"right": self.first.is_confirmed}
            case "consent":
                self.first = self.first.consented(key, raw(step["consent"]), now)
                return {}
            case "take-in":
                return {"consent": self.first.new_device(0).consent.hex()}
            case "done":
                return {"hash": self.new.linked(key, raw(step["list"])).hash.hex()}
        raise AssertionError(step["do"])


class Document:
    """Both sides of a link, as the document says."""

    def __init__(self) -> None:
        self.new = reference.LinkingNew(NEW.seed, CODE[2], raw(LINK["new_nonce"]))
        self.first = reference.LinkingFirst(FIRST.seed, NEW.peer.public, CODE[2], raw(LINK["first_nonce"]))

    def play(self, step: Json) -> Json:
        given: dict[str, bytes] = {
            name: raw(step[name]) for name in ("nonce", "mac", "commitment", "consent") if name in step
        }
        if "sender_key" in step:
            given["sender"] = raw(step["sender_key"])
        match step["do"]:
            case "take-in":
                return self.first.take_in()
            case "done":
                return self.new.done(given["sender"], raw(step["list"]))
            case "type":
                return self.first.type(step["digits"], step["now"])
            case "offer" | "reveal" | "agree":
                return dict(getattr(self.new, step["do"])(**given, now=step["now"]))
            case _:
                return dict(getattr(self.first, step["do"])(**given, now=step["now"]))


@of("links")
@pytest.mark.parametrize("side", [Sdk, Document])
def test_link_goes_as_listed(case: Json, side: type[Sdk | Document]) -> None:
    both = side()
    offers = [step for step in case["steps"] if step["do"] == "offer"]
    for step in case["steps"]:
        assert outcome(partial(both.play, step)) == step["expect"]
    first = Sdk().first
    if offers and "error" not in offers[0]["expect"]:
        assert [one.hex() for one in first.offer()] == [offers[0]["commitment"], offers[0]["mac"]]


# --- whose a message is -----------------------------------------------------------


@of("routings")
def test_routing(case: Json) -> None:
    person, device = raw(case["person"]), raw(case["device"])
    usable = {raw(one["person"]): tuple(raw(each) for each in one["ids"]) for one in case["usable"]}
    people = frozenset(raw(one) for one in case["people"])
    found, again = Routing(person, device, usable, people), reference.View(person, device, usable, people)
    expect = case["expect"]
    for one, whose in expect["person_of"].items():
        assert found.person_of(raw(one)).hex() == again.whose(raw(one)).hex() == whose
        assert found.is_own(raw(one)) is (whose == case["person"])
    for one, ids in expect["recipients"].items():
        assert [each.hex() for each in found.recipients(raw(one))] == ids
        assert [each.hex() for each in again.recipients(raw(one))] == ids
    for text in expect["texts"]:
        to = None if text["to"] is None else raw(text["to"])
        for talk in (found.conversation_of(raw(text["sender"]), to), again.talk(raw(text["sender"]), to)):
            assert (None if talk is None else talk.hex()) == text["with"]


# --- the file itself, and controls -------------------------------------------------


def test_there_are_as_many_cases_as_were_promised_in_a_small_file() -> None:
    cases = [*LISTED["lists"], *LISTED["refused"], *LISTED["takings"], *LISTED["codes"], *LISTED["routings"]]
    refused = [case for case in cases if "error" in case["expect"]]
    assert len(refused) >= 30
    assert len(cases) - len(refused) >= 30
    assert (FOLDER / "devices.json").stat().st_size < 200_000


def red() -> set[str]:
    """Names of the lists, takings and links that do not go as listed."""
    lists = {one["name"] for one in LISTED["refused"] if not _is_refused(one)}
    takings = {one["name"] for one in LISTED["takings"] if outcome(partial(taken, one)) != one["expect"]}
    links = set()
    for case in LISTED["links"]:
        both = Sdk()
        if any(outcome(partial(both.play, step)) != step["expect"] for step in case["steps"]):
            links.add(case["name"])
    return lists | takings | links


def _is_refused(case: Json) -> bool:
    return "error" in outcome(lambda: {"read": DeviceList.parse(raw(case["encoded"]))})


def test_control_without_a_rule_its_cases_go_red(monkeypatch: pytest.MonkeyPatch) -> None:
    assert red() == set()
    rules: list[tuple[Any, str, Any, set[str]]] = [
        (device_list, "check_consent", lambda *_: None, {"no-consent", "consent-to-other", "taken"}),
        (device_list, "MAX_DEVICES", 7, {"seven"}),
        (device_list, "LIFE_MS", device_list.LIFE_MS + 1, {"until-late"}),
        (known_list, "MAX_AHEAD_MS", known_list.MAX_AHEAD_MS + 1, {"early", "early-first"}),
        (linking, "MAX_WRONG", 4, {"guessed"}),
        (DeviceList, "hash", property(lambda _: bytes(32)), {"fork-unknown"}),
    ]
    for holder, name, other, expected in rules:
        with monkeypatch.context() as patch:
            patch.setattr(holder, name, other)
            assert expected <= red(), name


def test_control_whoever_is_not_known_as_a_person_is_taken_by_a_list() -> None:
    case = next(one for one in LISTED["routings"] if one["name"] == "known-first")
    with pytest.raises(AssertionError):
        test_routing(
            {**case, "people": case["people"][:-1] if case["people"][-1] != "06" * 32 else case["people"][:-2]}
        )
