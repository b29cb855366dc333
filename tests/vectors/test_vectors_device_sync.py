"""What own devices tell each other: the SDK does what the vectors say, and a second computation does too."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
import vector_device_sync as reference
from maker_device_sync import plain, shown
from vector_reference2 import Rejected
from vector_replay import Json, raw, vectors

from phantom_messenger.client import content2
from phantom_messenger.client.content import BetweenDevices, Ends
from phantom_messenger.client.devices import chunks, kinds
from phantom_messenger.client.devices.in_step import later_muted, later_of, later_settings
from phantom_messenger.client.devices.kinds import KnownPerson, MutedGroup, SyncSettings
from phantom_messenger.crypto.errors import CryptoError

LISTED: Final = vectors("device-sync.json")
ENDS: Final = Ends(raw(LISTED["sender"]), raw(LISTED["sender_key"]), b"", b"")


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", LISTED[name], ids=lambda case: case["name"])


def outcome(play: Callable[[], Json]) -> Json:
    try:
        return play()
    except Rejected as error:
        return {"error": error.kind}
    except CryptoError as error:
        return {"error": type(error).__name__}


@of("contents")
def test_content_is_read_and_written(case: Json) -> None:
    encoded = raw(case["encoded"])
    found = content2.decode(encoded, ENDS)
    assert isinstance(found, BetweenDevices)
    assert {"kind": kinds.NAMES[type(found.said)], "fields": plain(found.said)} == case["expect"]
    assert content2.encode(found, ENDS) == encoded


@of("refused_contents")
def test_content_is_refused(case: Json) -> None:
    encoded = raw(case["encoded"])
    if "texts_bytes" in case:
        members: dict[str, Any] = msgspec.msgpack.decode(encoded.replace(b"\xc5\xa7\xf9", b"\xc4\0"))
        encoded = msgspec.msgpack.encode({**members, "texts": bytes(case["texts_bytes"])})
    assert outcome(lambda: {"read": content2.decode(encoded, ENDS)}) == case["expect"]


@of("people")
def test_later_change_of_a_person_counts(case: Json) -> None:
    known, *others = [person(one) for one in case["heard"]]
    again, *more = case["heard"]
    for one in others:
        known = later_of(known, one)
    for each in more:
        again = reference.later_person(again, each)
    assert plain(known) == again == case["expect"]


def person(listed: Json) -> KnownPerson:
    return KnownPerson(**{**listed, "id": raw(listed["id"])})


@of("settings")
def test_later_change_of_settings_counts(case: Json) -> None:
    known = SyncSettings(at=0, read_receipts=True, typing=True, presence=True)
    again = plain(known)
    for one in case["heard"]:
        known = later_settings(known, msgspec.convert(one, SyncSettings))
        again = reference.later_settings(again, one)
    assert plain(known) == again == case["expect"]


@of("muted")
def test_later_change_of_a_group_counts(case: Json) -> None:
    known = MutedGroup(group=raw(case["expect"]["group"]), at=0, muted=False)
    again = plain(known)
    for one in case["heard"]:
        known = later_muted(known, MutedGroup(**{**one, "group": raw(one["group"])}))
        again = reference.later_muted(again, one)
    assert plain(known) == again == case["expect"]


@of("chunks")
def test_chunk_is_read(case: Json) -> None:
    found = shown(chunks.unpack(raw(case["texts"])))
    assert found == case["expect"]
    again = reference.read_chunk(raw(case["texts"]))
    for member in ("sent", "received"):
        assert [one["text"] for one in again[member]] == [one["text"] for one in found[member]]
    groups = found.get("groups", {})
    assert again["groups"].keys() == groups.keys()
    for name, group in groups.items():
        assert [one["text"] for one in again["groups"][name]["texts"]] == [one["text"] for one in group["texts"]]
        assert again["groups"][name]["names"] == group["names"]


@of("refused_chunks")
def test_chunk_is_refused(case: Json) -> None:
    assert outcome(lambda: plain(chunks.unpack(raw(case["texts"])))) == case["expect"]
    assert outcome(lambda: reference.read_chunk(raw(case["texts"]))) == case["expect"]


def test_all_cases_are_there() -> None:
    counts = {name: len(LISTED[name]) for name in LISTED if isinstance(LISTED[name], list)}
    assert counts["refused_contents"] == 33
    assert counts["refused_chunks"] == 17
    assert min(counts.values()) >= 5
