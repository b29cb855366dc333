"""Relays of two versions on one store, as during an upgrade: neither loses what the other tells that it knows."""

import json
from collections.abc import Callable
from itertools import permutations

import msgspec
import pytest

from phantom_messenger.relay import other_relays
from phantom_messenger.relay.other_relays import MAX_NOTICE, Allow, Login, NewContacts, Notice, OtherRelays, Pass, Wake

ALLOW = Allow("laptop", "alice", 256, 600_000)
OF_OLD = (Pass(["bob"], "{}", "alice"), Login("carol", 7, is_visible=True), NewContacts("dan", "eve"))

before_allowance = msgspec.json.Decoder(list[Wake | Pass | Login | NewContacts])


def read_before_allowance(text: str) -> list[Wake | Pass | Login | NewContacts]:
    """As relays of before ALLOWANCE read: these kinds, and nothing of a text with another."""
    try:
        return before_allowance.decode(text)
    except msgspec.MsgspecError:
        return []


def sent(*notices: Notice, wake: str = "frank") -> list[str]:
    """The texts of one turn in which this is told."""
    texts: list[str] = []
    later: list[Callable[[], None]] = []
    others = OtherRelays(texts.append, later.append)
    for notice in notices:
        others.tell(notice)
    others.wake(wake)
    for action in later:
        action()
    return texts


@pytest.mark.parametrize("notices", [*permutations((*OF_OLD, ALLOW))])
def test_relay_of_before_allowance_loses_nothing_else(notices: tuple[Notice, ...]) -> None:
    heard = [notice for text in sent(*notices) for notice in read_before_allowance(text)]
    assert heard == [*(notice for notice in notices if notice is not ALLOW), Wake(["frank"])]


def test_relay_of_this_version_hears_all_of_it_in_order() -> None:
    notices = (OF_OLD[0], ALLOW, *OF_OLD[1:], ALLOW)
    assert [notice for text in sent(*notices) for notice in other_relays.read(text)] == [*notices, Wake(["frank"])]


def test_control_in_one_text_the_older_one_loses_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_relays, "_OF_OLD", (*other_relays._OF_OLD, Allow))
    [text] = sent(*OF_OLD, ALLOW)
    assert read_before_allowance(text) == []
    assert len(other_relays.read(text)) == len(OF_OLD) + 2


def test_what_is_told_together_still_fits_into_few_texts() -> None:
    many = [Login(f"{number:044d}", number, is_visible=True) for number in range(200)]
    texts = sent(*many, ALLOW, ALLOW)
    assert max(map(len, texts)) <= MAX_NOTICE
    assert len(texts) == sum(map(len, sent(*many))) // MAX_NOTICE + 3


@pytest.mark.parametrize(
    "unknown",
    [
        {"type": "later", "users": ["x"]},
        {"users": []},
        {"type": "wake", "users": "of another form"},
        {"type": "login"},
        ["list"],
        7,
        None,
    ],
    ids=["kind", "without kind", "other form", "without fields", "list", "number", "null"],
)
@pytest.mark.parametrize("place", range(4))
def test_what_a_later_version_tells_besides_is_left_out(unknown: object, place: int) -> None:
    told = json.loads(msgspec.json.encode([*OF_OLD]))
    told.insert(place, unknown)
    assert other_relays.read(json.dumps(told)) == [*OF_OLD]


def test_fields_of_a_later_version_are_left_out() -> None:
    assert other_relays.read('[{"type":"wake","users":["bob"],"why":"later"}]') == [Wake(["bob"])]


@pytest.mark.parametrize("text", ["", "[", "{}", "7", "null", '"wake"', "[1,", "\x00"])
def test_text_that_is_no_list_tells_nothing(text: str) -> None:
    assert other_relays.read(text) == []
