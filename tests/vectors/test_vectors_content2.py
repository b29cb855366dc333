"""Content 2: what is only read is read as listed, and what must be refused is."""

from typing import Any, Final

import msgspec
import pytest
from content_samples import is_clear
from vector_replay import Json, encoded_in, raw, vectors
from vector_small_replay import said_in

from phantom_messenger.client import content2, strict_map
from phantom_messenger.crypto.errors import InvalidMessage
from support.cases import each

LISTED: Final = vectors("content-2.json")
READ: Final = LISTED["read"]
REFUSED: Final = LISTED["refused"]
NAMES: Final = [case["name"] for case in REFUSED]


def refused(case: Json) -> bool:
    try:
        said_in(case, encoded_in(case))
    except InvalidMessage:
        return True
    return False


def red() -> set[str]:
    """Names of the refusals that are accepted."""
    return {case["name"] for case in REFUSED if not refused(case)}


def test_there_are_more_refusals_than_good_cases() -> None:
    assert len(REFUSED) >= len(READ) + len(LISTED["contents"])
    assert {case["expect"]["error"] for case in REFUSED} == {"InvalidMessage"}


@each("case", READ, ids=lambda case: case["name"])
def test_it_is_read(case: Json) -> None:
    assert said_in(case, encoded_in(case)) == case["expect"]["said"]


@each("case", READ, ids=lambda case: case["name"])
def test_control_another_sender_or_another_reading_goes_red(case: Json) -> None:
    for name in ("sender", "sender_key"):
        assert refused({**case, name: "00" * 32})
    said = case["expect"]["said"]
    assert said_in(case, encoded_in(case)) != {**said, "sentAt": said["sentAt"] + 1}


@each("case", REFUSED, ids=lambda case: case["name"])
def test_it_is_refused(case: Json) -> None:
    assert refused(case)


def test_second_reader_agrees_on_the_form_of_all_of_them() -> None:
    good = [raw(case["expect"]["encoded"]) for case in LISTED["contents"]] + [encoded_in(case) for case in READ]
    assert all(is_clear(encoded) for encoded in good)
    for case in REFUSED:
        try:
            strict_map.decode(encoded_in(case))
        except InvalidMessage:
            assert not is_clear(encoded_in(case)), case["name"]
        else:
            assert is_clear(encoded_in(case)), case["name"]


# --- controls: the code is another one --------------------------------------------


def test_control_the_library_alone_accepts_what_two_readers_may_read_differently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lax(encoded: bytes) -> Any:
        try:
            return msgspec.msgpack.decode(encoded, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise InvalidMessage("no") from None

    assert red() == set()
    monkeypatch.setattr(strict_map, "decode", lax)
    twice = {"twice", "twice-otherwise", "twice-unknown", "twice-other-form", "twice-inside", "twice-in-unknown-kind"}
    other = {"float", "short-float-inside", "float-in-unknown-kind", "extension", "nine-levels", "nine-levels-of-maps"}
    assert twice | other <= red()


def test_control_a_level_more_goes_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_map, "MAX_DEPTH", 9)
    assert red() == {name for name in NAMES if "nine-levels" in name}


def test_control_a_level_less_goes_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_map, "MAX_DEPTH", 7)
    assert [case["name"] for case in READ if refused(case)] == ["eight-levels", "number-in-eight-levels"]


def test_control_kinds_that_are_not_known_go_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(content2.KINDS, "text")
    assert red() == {"no-body", *(name for name in NAMES if name.startswith("body-"))}
    monkeypatch.delitem(content2.KINDS, "receipt")
    assert {name for name in red() if name.startswith("receipt")} == {
        case["name"] for case in REFUSED if case["name"].startswith("receipt")
    }


def test_control_longer_texts_go_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content2, "MAX_TEXT_BYTES", 40_001)
    assert red() == {"body-long"}
