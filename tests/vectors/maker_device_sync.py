"""Makes the vectors of what own devices say to each other: contents, which of two changes counts, chunks of history."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from maker_base import ALICE, BOB, NOW, Json, drawn, file_of, named

from phantom_messenger.client import content2
from phantom_messenger.client.content import BetweenDevices, Ends
from phantom_messenger.client.devices import chunks, kinds
from phantom_messenger.client.devices.in_step import later_muted, later_of, later_settings
from phantom_messenger.client.devices.kinds import KnownPerson, MutedGroup, SyncContacts, SyncSettings
from phantom_messenger.client.devices.records import GroupTexts, Texts
from phantom_messenger.client.groups.records import GroupTextRecord
from phantom_messenger.client.records import ReceivedRecord, SentRecord
from phantom_messenger.crypto.errors import CryptoError

ENDS: Final = Ends(ALICE.id, ALICE.identity.peer.public, b"", b"")
IDS: Final = [f"00000000-0000-4000-8000-{number:012d}" for number in range(1, 5)]
pack: Final = msgspec.msgpack.encode


def plain(value: Any) -> Any:
    """A value as a vector lists it: bytes in hex, and names as in contents."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value, builtin_types=(bytes,))
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


# --- contents ---------------------------------------------------------------------

CONTENTS: Final[dict[str, tuple[str, kinds.Sync]]] = {
    "contacts": (
        "people, with all that may be known of them, and with nothing",
        SyncContacts(
            contacts=[
                KnownPerson(id=BOB.id, at=NOW, name="bob", verified=True),
                KnownPerson(id=drawn("a person", 32), at=NOW + 1, blocked=True, removed=True),
                KnownPerson(id=drawn("another person", 32)),
            ]
        ),
    ),
    "settings": ("all settings", SyncSettings(at=NOW, read_receipts=False, typing=True, presence=True)),
    "one-setting": ("the others stay as they are", SyncSettings(at=0, typing=False)),
    "devices": (
        "what devices are called",
        kinds.SyncDevices(
            names=[
                kinds.NamedDevice(id=BOB.id, name="Laptop"),
                kinds.NamedDevice(id=drawn("a device", 32), name="x" * 64),
            ]
        ),
    ),
    "group": (
        "what a group is to its member",
        kinds.SyncGroup(
            group=drawn("a group", 32), relation="member", state=drawn("a state", 90), digest=drawn("a digest", 32)
        ),
    ),
    "group-left": (
        "a group that was left",
        kinds.SyncGroup(group=drawn("a group", 32), relation="left", state=b"\1", digest=bytes(32), picture=b"x" * 12),
    ),
    "group-names": (
        "what other members call themselves",
        kinds.SyncGroup(
            group=drawn("a group", 32),
            relation="member",
            state=drawn("a state", 90),
            digest=drawn("a digest", 32),
            name="Al",
            names=[
                kinds.NamedMember(id=bytes(32), name="B"),
                kinds.NamedMember(id=b"\xff" * 32, name="\U0001f98a" * 64),
            ],
        ),
    ),
    "read": ("a message was read", kinds.SyncRead(messages=[kinds.ReadMessage(sender=BOB.id, id=IDS[0])])),
    "read-in-groups": (
        "texts to groups were read, too",
        kinds.SyncRead(
            messages=[kinds.ReadMessage(sender=BOB.id, id=IDS[0])],
            in_groups=[
                kinds.ReadText(group=drawn("a group", 32), sender=BOB.id, id=IDS[1]),
                kinds.ReadText(group=drawn("another group", 32), sender=drawn("a person", 32), id=IDS[1]),
            ],
        ),
    ),
    "muted": (
        "a group that is muted, and one that is not any more",
        kinds.SyncMuted(
            groups=[
                kinds.MutedGroup(group=drawn("a group", 32), at=NOW, muted=True),
                kinds.MutedGroup(group=drawn("another group", 32), at=NOW + 1, muted=False),
            ]
        ),
    ),
    "here": ("the sender is there", kinds.SyncHere()),
    "ask": ("chunks from a place on", kinds.HistoryAsk(place=b"\0\0\0\0\0\0\0\7", chunks=16)),
    "ask-no-more": ("nothing more is wanted", kinds.HistoryAsk(place=b"x", chunks=0)),
    "history": ("a chunk", kinds.History(place=b"x" * 64, texts=zlib.compress(b"\x80", 0), next=b"y", left=3)),
    "history-last": ("the last chunk", kinds.History(place=b"x", texts=zlib.compress(b"\x80", 0))),
}


def _encoded(said: kinds.Sync) -> bytes:
    return content2.encode(BetweenDevices(sent_at=NOW, said=said), ENDS)


def _contents() -> Iterator[Json]:
    for name, (description, said) in CONTENTS.items():
        yield {
            "name": name,
            "description": description,
            "encoded": _encoded(said).hex(),
            "expect": {"kind": kinds.NAMES[type(said)], "fields": plain(said)},
        }


Cases = dict[str, tuple[str, bytes]]
"""By name: what is wrong, and the content."""


def _between(kind: str, **fields: Any) -> bytes:
    members: Json = {"kind": kind, "version": 2, "sentAt": NOW, "sender": ENDS.sender, "senderKey": ENDS.sender_key}
    return pack({**members, **fields})


def _refused_people_and_groups() -> Cases:
    person: Json = {"id": BOB.id}
    group: Json = {"group": bytes(32), "relation": "member", "state": b"\1", "digest": bytes(32)}

    def named(*ids: bytes, name: str = "x") -> bytes:
        return _between("sync-group", **group, names=[{"id": one, "name": name} for one in ids])

    return {
        "too-many-people": ("101 people", _between("sync-contacts", contacts=[person] * 101)),
        "short-id": ("a person's id of 31 bytes", _between("sync-contacts", contacts=[{"id": bytes(31)}])),
        "long-name": ("a name of 65 characters", _between("sync-contacts", contacts=[{**person, "name": "x" * 65}])),
        "late": ("a change after the last time", _between("sync-contacts", contacts=[{**person, "at": 2**53}])),
        "settings-without-time": ("settings without the time of the change", _between("sync-settings", typing=True)),
        "setting-is-a-number": ("a setting that is neither true nor false", _between("sync-settings", at=1, typing=1)),
        "many-devices": ("7 devices", _between("sync-devices", names=[{"id": BOB.id, "name": "x"}] * 7)),
        "device-without-name": (
            "a device without a name",
            _between("sync-devices", names=[{"id": BOB.id, "name": ""}]),
        ),
        "relation": ("an unknown relation", _between("sync-group", **{**group, "relation": "invited"})),
        "no-state": ("a group without a state", _between("sync-group", **{**group, "state": b""})),
        "many-members": ("names of 101 members", named(*(bytes((number,)) * 32 for number in range(101)))),
        "short-member": ("a member's id of 31 bytes", named(bytes(31))),
        "long-member-name": ("a member's name of 65 characters", named(bytes(32), name="x" * 65)),
        "member-without-name": ("a member without a name", named(bytes(32), name="")),
        "member-twice": ("a member who is named twice", named(bytes(32), bytes(32))),
        "members-in-disorder": ("members in another order than that of their ids", named(b"\1" * 32, bytes(32))),
        "names-are-a-map": ("names in a map", _between("sync-group", **group, names={"x": "x"})),
    }


def _refused_messages() -> Cases:
    text: Json = {"group": bytes(32), "from": BOB.id, "id": IDS[0]}
    muted: Json = {"group": bytes(32), "at": 1, "muted": True}
    return {
        "no-messages": ("texts to groups without the messages of persons", _between("sync-read", inGroups=[text])),
        "text-without-group": (
            "a text to no group",
            _between("sync-read", messages=[], inGroups=[{"from": BOB.id, "id": IDS[0]}]),
        ),
        "short-group": (
            "a group's id of 31 bytes",
            _between("sync-read", messages=[], inGroups=[{**text, "group": bytes(31)}]),
        ),
        "short-writer": (
            "a writer's id of 31 bytes",
            _between("sync-read", messages=[], inGroups=[{**text, "from": bytes(31)}]),
        ),
        "long-message-id": (
            "a message id of 37 characters",
            _between("sync-read", messages=[], inGroups=[{**text, "id": "x" * 37}]),
        ),
        "texts-are-nothing": (
            "nothing where texts to groups are listed",
            _between("sync-read", messages=[], inGroups=None),
        ),
        "many-muted": ("101 groups", _between("sync-muted", groups=[muted] * 101)),
        "muted-without-time": (
            "a group without the time",
            _between("sync-muted", groups=[{"group": bytes(32), "muted": True}]),
        ),
        "muted-late": ("a change after the last time", _between("sync-muted", groups=[{**muted, "at": 2**53}])),
        "muted-without-value": (
            "neither muted nor not",
            _between("sync-muted", groups=[{"group": bytes(32), "at": 1}]),
        ),
        "muted-is-a-number": ("muted is a number", _between("sync-muted", groups=[{**muted, "muted": 1}])),
        "no-place": ("an empty place", _between("history-ask", **{"from": b"", "chunks": 1})),
        "long-place": ("a place of 65 bytes", _between("history-ask", **{"from": bytes(65), "chunks": 1})),
        "many-chunks": ("17 chunks", _between("history-ask", **{"from": b"x", "chunks": 17})),
        "large-chunk": ("a chunk of 43,001 bytes", _between("history", **{"from": b"x", "texts": bytes(43_001)})),
        "place-is-text": ("a place that is a text", _between("history", **{"from": "x", "texts": b""})),
    }


def _refused_contents() -> Iterator[Json]:
    cases = _refused_people_and_groups() | _refused_messages()
    for name, (description, encoded) in cases.items():
        try:
            content2.decode(encoded, ENDS)
        except CryptoError as error:
            shown: Json = {"encoded": encoded.hex()}
            if name == "large-chunk":
                shown = {"encoded": encoded.replace(bytes(43_001), b"").hex(), "texts_bytes": 43_001}
            yield {"name": name, "description": description, **shown, "expect": {"error": type(error).__name__}}


# --- changes ----------------------------------------------------------------------


def _person(**changes: Any) -> KnownPerson:
    return KnownPerson(**{"id": BOB.id, "at": NOW, "name": "bob", **changes})


PEOPLE: Final[dict[str, tuple[str, list[KnownPerson]]]] = {
    "later": ("the later change counts", [_person(), _person(at=NOW + 1, name="robert")]),
    "earlier": ("the earlier one comes last", [_person(at=NOW + 1), _person(name="robert")]),
    "blocked": ("of the same time: blocked", [_person(name="zoe"), _person(blocked=True)]),
    "removed": ("of the same time: removed", [_person(verified=True), _person(removed=True)]),
    "verified": ("of the same time: verified", [_person(name="zoe"), _person(verified=True)]),
    "name": ("of the same time: the greater name", [_person(name="bob"), _person(name="bo")]),
    "name-bytes": ("names are compared as UTF-8", [_person(name="\uffff"), _person(name="\U00010000")]),
    "never-changed": ("what was never changed loses", [_person(at=0, blocked=True), _person(at=1)]),
    "same": ("the same again", [_person(), _person()]),
}

SETTINGS: Final[dict[str, tuple[str, list[SyncSettings]]]] = {
    "later": ("the later change counts", [SyncSettings(at=1, typing=False), SyncSettings(at=2, typing=True)]),
    "part": ("what is absent stays", [SyncSettings(at=1, typing=False), SyncSettings(at=2, presence=False)]),
    "same-time": (
        "of the same time: who tells less",
        [SyncSettings(at=1, typing=True), SyncSettings(at=1, typing=False)],
    ),
    "same-time-order": (
        "of the same time: receipts before presence",
        [SyncSettings(at=1, presence=False), SyncSettings(at=1, read_receipts=False, presence=True)],
    ),
    "earlier": ("the earlier one comes last", [SyncSettings(at=2, typing=False), SyncSettings(at=1, typing=True)]),
}


def _group(at: int, *, muted: bool) -> MutedGroup:
    return MutedGroup(group=drawn("a group", 32), at=at, muted=muted)


MUTED: Final[dict[str, tuple[str, list[MutedGroup]]]] = {
    "later": ("the later change counts", [_group(1, muted=True), _group(2, muted=False)]),
    "earlier": ("the earlier one comes last", [_group(2, muted=False), _group(1, muted=True)]),
    "same-time": ("of the same time: muted", [_group(1, muted=False), _group(1, muted=True)]),
    "same-time-first": ("of the same time, the other way round", [_group(1, muted=True), _group(1, muted=False)]),
    "never-changed": ("muted before there were several devices", [_group(0, muted=True)]),
    "never-muted": ("never muted, and never changed", [_group(0, muted=False)]),
}


def _people() -> Iterator[Json]:
    for name, (description, heard) in PEOPLE.items():
        known = heard[0]
        for one in heard[1:]:
            known = later_of(known, one)
        yield {
            "name": name,
            "description": description,
            "heard": [plain(one) for one in heard],
            "expect": plain(known),
        }


def _settings() -> Iterator[Json]:
    for name, (description, heard) in SETTINGS.items():
        known = SyncSettings(at=0, read_receipts=True, typing=True, presence=True)
        for one in heard:
            known = later_settings(known, one)
        yield {
            "name": name,
            "description": description,
            "heard": [plain(one) for one in heard],
            "expect": plain(known),
        }


def _muted() -> Iterator[Json]:
    for name, (description, heard) in MUTED.items():
        known = _group(0, muted=False)
        for one in heard:
            known = later_muted(known, one)
        yield {
            "name": name,
            "description": description,
            "heard": [plain(one) for one in heard],
            "expect": plain(known),
        }


# --- history ----------------------------------------------------------------------


def _sent(**changes: Any) -> SentRecord:
    fields: Json = {
        "message_id": IDS[0],
        "peer": "cGVlcg==",
        "text": "hello",
        "made_at": NOW,
        "burn": False,
        "state": 3,
    }
    return SentRecord(**{**fields, **changes})


def _received(**changes: Any) -> ReceivedRecord:
    fields: Json = {
        "message_id": IDS[1],
        "sender": "cGVlcg==",
        "text": "hello yourself",
        "sent_at": NOW,
        "received_at": NOW + 9,
        "burn": False,
        "expires_at": None,
    }
    return ReceivedRecord(**{**fields, **changes})


DEFLATED: Final = bytes.fromhex(
    "78da6b5c529c9a5732b16d556e6a7171627a6a7c66ca4d150328d005132620c202c68502c32505a9a9452b92ddc37292d36d6d9794a45694"
    "6ccf48cdc9c957c02097e726a6a4c627969c6760609c2363b1846149526951dea1a5c5258925a9cc00478b2da4"
)
"""A chunk of one sent text that is really compressed."""


def stored(value: Any) -> bytes:
    """A zlib stream that is the same with every program that makes it: nothing in it is compressed."""
    return zlib.compress(pack(value), 0)


def _in_group(**changes: Any) -> GroupTextRecord:
    fields: Json = {
        "message_id": IDS[1],
        "sender": "cGVlcg==",
        "text": "hello all",
        "sent_at": NOW,
        "kept_at": NOW + 9,
    }
    return GroupTextRecord(**{**fields, **changes})


def _own_in_group(**changes: Any) -> GroupTextRecord:
    return _in_group(**{"message_id": IDS[0], "sender": "", "text": "hello", "state": 3, **changes})


def _of_group(*texts: Any, **names: str) -> Texts:
    return Texts(groups={"Z3JvdXA=": GroupTexts(texts=list(texts), names=names)})


def _of_two(sent: Sequence[SentRecord] = (), received: Sequence[ReceivedRecord] = ()) -> bytes:
    """A chunk of somebody who is in no group."""
    return stored({"sent": sent, "received": received})


def shown(texts: Texts) -> Json:
    """What is in a chunk; without groups, if there are none."""
    found: Json = plain(texts)
    return found if found["groups"] else {name: found[name] for name in ("sent", "received")}


def _chunks() -> Iterator[Json]:
    own = _own_in_group()
    less = {one: getattr(_in_group(), one) for one in ("message_id", "sender", "text", "sent_at", "kept_at")}
    minimal = {"message_id": IDS[0], "peer": "cGVlcg==", "text": "", "made_at": 0, "burn": False, "state": 1}
    cases = {
        "empty": ("no text at all", stored({})),
        "both": ("a sent and a received one", _of_two(sent=[_sent()], received=[_received(read=True)])),
        "defaults": ("members that have a default are absent", stored({"sent": [minimal]})),
        "unknown": ("members that are not known are ignored", stored({"sent": [{**minimal, "mood": 1}], "more": []})),
        "compressed": ("really compressed", DEFLATED),
        "device": ("it was written on a linked device", _of_two(received=[_received(device="ZGV2aWNl")])),
        "group": ("an own text in a group and another one", stored(_of_group(own, _in_group(read=True)))),
        "group-names": ("what a writer calls themselves", stored(_of_group(_in_group(), **{"cGVlcg==": "Pia"}))),
        "group-defaults": ("a text of few members", stored({"groups": {"Z3JvdXA=": {"texts": [less]}}})),
        "group-empty": ("a group without texts", stored({"groups": {"Z3JvdXA=": {}}})),
    }
    for name, (description, data) in cases.items():
        yield {
            "name": name,
            "description": description,
            "texts": data.hex(),
            "expect": shown(chunks.unpack(data)),
        }


def _refused_chunks() -> Iterator[Json]:
    good = _of_two(sent=[_sent()])
    cases = {
        "nothing": ("no byte at all", b""),
        "cut": ("the last byte is missing", good[:-1]),
        "longer": ("a byte too many", good + b"\0"),
        "sum": ("the checksum is another one", good[:-1] + bytes((good[-1] ^ 1,))),
        "plain": ("it is not compressed at all", pack({})),
        "two-values": ("two maps", zlib.compress(pack({}) * 2, 0)),
        "no-map": ("an array", stored([])),
        "gone": ("a text that is gone", _of_two(sent=[_sent(text=None)])),
        "burns": ("a text that burns", _of_two(received=[_received(burn=True)])),
        "expires": ("a text that expires", _of_two(received=[_received(expires_at=NOW)])),
        "expires-in": ("a sent text that expires", _of_two(sent=[_sent(expires_in=1)])),
        "state": ("an unknown state", _of_two(sent=[_sent(state=7)])),
        "group-gone": ("a text of a group that is gone", stored(_of_group(_in_group(text=None)))),
        "group-expires": ("a text of a group that expires", stored(_of_group(_in_group(expires_at=NOW)))),
        "group-expires-in": ("an own one that expires", stored(_of_group(_own_in_group(expires_in=1)))),
        "group-state": ("an unknown state in a group", stored(_of_group(_own_in_group(state=7)))),
        "group-array": ("groups that are an array", stored({"groups": []})),
    }
    for name, (description, data) in cases.items():
        try:
            chunks.unpack(data)
        except CryptoError as error:
            yield {
                "name": name,
                "description": description,
                "texts": data.hex(),
                "expect": {"error": type(error).__name__},
            }


def device_sync_json() -> Json:
    """``device-sync.json``."""
    return file_of(
        "What own devices say to each other: contents, which of two changes counts, and chunks of history.",
        sender=ENDS.sender.hex(),
        sender_key=ENDS.sender_key.hex(),
        contents=named(list(_contents())),
        refused_contents=named(list(_refused_contents())),
        people=named(list(_people())),
        settings=named(list(_settings())),
        muted=named(list(_muted())),
        chunks=named(list(_chunks())),
        refused_chunks=named(list(_refused_chunks())),
    )
