"""The table of protocol/encryption.md, A received content 2: each row against a real client."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from client_samples import Town, pass_time, settle
from content_samples import NUMBER
from newer_samples import content_2, received

from phantom_messenger.client import content_suites, records
from phantom_messenger.client.content import LAST_TIME_MS, MAX_RECEIPTS, MAX_TEXT_BYTES, Ends, Receipt, Text
from phantom_messenger.client.status import DeliveryEvent, DeliveryState
from phantom_messenger.crypto import body, padding
from support.simulated import SECOND

DOCUMENT: Final = (Path(__file__).parents[2] / "protocol/encryption.md").read_text()
Row = tuple[str, str, str, str]
"""Acknowledged, shown, stored, told the sender."""
Json = dict[str, Any]


def table(document: str) -> dict[str, Row]:
    """The rows by what comes."""
    section = document.split("### A received content 2")[1].split("\n## ", maxsplit=1)[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return {what: (acknowledge, show, store, tell) for what, acknowledge, show, store, tell in lines[2:]}


TABLE: Final = table(DOCUMENT)


@pytest.fixture(autouse=True)
def _content_2() -> Iterator[None]:
    with content_2():
        yield


class Stage:
    """Alice, who sends content as she likes, and Bob, whom she has talked with."""

    def __init__(self, town: Town) -> None:
        self.alice, self.bob = town.friends("alice", "bob")
        (self.own,) = self.bob.send(self.alice, "to alice")
        settle(self.alice, self.bob)
        self.common: Json = {}

    def become(self, what: str) -> Row:
        """What becomes of a content that comes to Bob now."""
        bob = self.bob
        bob.events.clear()
        bob.sent.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(content_suites, "encode", lambda said, ends, **_: self._written(what, said, ends))
            (number,) = self.alice.send(bob, "secret")
        settle(self.alice, bob)
        waiting = bob.waiting()
        bob.read_all()
        pass_time(5 * SECOND, self.alice, bob)
        acks = {ack["payload"].get("messageId") for ack in bob.frames_sent("MESSAGE_ACK")}
        states = [event.state for event in bob.heard(DeliveryEvent) if event.message_id == self.own]
        shown = [record.text or '"sent with a newer version"' for record in waiting]
        shown += ["how far messages have come"] if DeliveryState.READ in states else []
        shown += [f"`{code}`" for code in bob.troubles()]
        return (
            "yes" if number in acks else "no",
            ", ".join("its body" if one == "secret" else one for one in shown),
            self._stored(number),
            {
                DeliveryState.READ: "`delivered`, then `read` or `burned`",
                DeliveryState.DELIVERED: "`delivered`",
                DeliveryState.ACCEPTED: "nothing",
            }[self.alice.messenger.state_of(number) or DeliveryState.QUEUED],
        )

    def _stored(self, number: str) -> str:
        vault, name = self.bob.vault, records.key(self.alice.id, number)
        if vault.has(records.UNREADABLE, name):
            return "its id" if not vault.has(records.RECEIVED, name) else "too much"
        record = received(self.bob, self.alice, number)
        if record is None:
            return "what it says; its id for 90 days" if vault.has(records.SEEN, name) else "nothing"
        return "text" if record.text is not None else "the whole content"

    def _written(self, what: str, said: Text | Receipt, ends: Ends) -> bytes:
        if isinstance(said, Receipt):
            return ENCODE(said, ends, suite=2)
        common = {"version": 2, "sentAt": said.sent_at, "sender": ends.sender, "senderKey": ends.sender_key}
        text = {**common, "kind": "text", "body": said.body}
        receipt = {**common, "kind": "receipt", "read": [self.own]}
        found = CONTENTS(text, receipt)[what]
        return found if isinstance(found, bytes) else padded(found)


ENCODE: Final = content_suites.encode


def padded(members: Any) -> bytes:
    return padding.pad(msgspec.msgpack.encode(members), 512, body.MAX_PADDED)


def more(members: Json, pair: bytes) -> bytes:
    """The map with one more entry, as these bytes."""
    encoded = msgspec.msgpack.encode(members)
    return padding.pad(bytes((encoded[0] + 1,)) + encoded[1:] + pair, 512)


def CONTENTS(text: Json, receipt: Json) -> dict[str, Json | bytes]:  # noqa: N802 - a table, of what must be made anew
    """One content for each row, and for each fault that a row lists (behind a colon)."""
    without = {name: value for name, value in text.items() if name != "body"}
    faults: dict[str, dict[str, Json | bytes]] = {
        "not one MessagePack map, or with something behind it": {
            "array": padded(list(text.values())),
            "behind": padding.pad(msgspec.msgpack.encode(text) + b"\1", 512),
        },
        "a field twice, or with a name that is no text, at any depth": {
            "twice": more(text, b"\xa4body\xa6secret"),
            "inside": more(text, b"\xa1x\x82\xa1y\1\xa1y\1"),
            "number": {**text, 7: 1},  # type: ignore[dict-item] # a name that is no text
        },
        "a float, an extension type, text that is not UTF-8, at any depth": {
            "float": {**text, "x": [0.5]},
            "extension": more(text, b"\xa1x\xd4\1\0"),
            "half a character": more(text, b"\xa1x\xa3\xed\xa0\xbd"),
        },
        "more than 8 levels": {"levels": more(text, b"\xa1x" + b"\x91" * 7 + b"\x90")},
        "one of the five common fields absent, or not as above": {
            **{name: {key: value for key, value in text.items() if key != name} for name in text if name != "body"},
            "far": {**text, "sentAt": LAST_TIME_MS + 1},
            "unknown kind": {**without, "kind": "Picture"},
        },
        "version 1 or less": {"1": {**text, "version": 1}, "0": {**text, "version": 0}},
        "`sender` or `senderKey` other than those of the session": {
            "sender": {**text, "sender": b"m" * 32},
            "key": {**text, "senderKey": b"m" * 32},
            "of an unknown kind": {**text, "kind": "picture", "sender": b"m" * 32},
        },
        "a `text` without body, with one that is no text or has more than 40,000 bytes": {
            "none": without,
            "bytes": {**text, "body": b"secret"},
            "long": {**text, "body": "x" * (MAX_TEXT_BYTES + 1)},
        },
        "a `receipt` with an array that is none, has more than 200 ids or something else among them": {
            "no array": {**receipt, "read": None},
            "more": {**receipt, "read": [NUMBER] * (MAX_RECEIPTS + 1)},
            "else": {**receipt, "read": [7]},
        },
        "wrong padding": {"none": msgspec.msgpack.encode(text).ljust(512, b"\1")},
    }
    good: dict[str, Json | bytes] = {
        "`text` of version 2": text,
        "`receipt` of version 2": receipt,
        "the same with fields that are not known: text": {**text, "color": ["red"]},
        "the same with fields that are not known: receipt": {**receipt, "color": ["red"]},
        "any other kind of version 2": {**text, "kind": "picture"},
        "any kind of a version above 2: text": {**text, "version": 3},
        "any kind of a version above 2: other": {**without, "version": 4, "kind": "picture"},
    }
    return good | {f"{what}: {fault}": made for what, rows in faults.items() for fault, made in rows.items()}


LATER: Final = {
    "a kept one, opened by a version that knows its kind",
    "a kept one, known now, that lacks what its kind must have",
}
"""What happens at an opening: ``test_client_newer`` plays it."""

EVERY: Final = list(CONTENTS({"body": ""}, {}))


def expected(what: str) -> Row:
    row, _, fault = what.partition(": ")
    if row == "the same with fields that are not known":
        assert TABLE[row] == ("yes", *["as without them"] * 3)
        return TABLE[f"`{fault}` of version 2"]
    return TABLE[row]


def test_every_row_is_played() -> None:
    assert set(TABLE) == {what.partition(": ")[0] for what in EVERY} | LATER


@pytest.mark.parametrize("what", EVERY)
def test_outcome_is_that_of_the_table(town: Town, what: str) -> None:
    assert Stage(town).become(what) == expected(what)


def test_control_without_the_check_of_the_sender_its_row_is_not_true(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = content_suites.decode

    def lax(written: bytes, ends: Ends, *, suite: int) -> object:
        members = msgspec.msgpack.decode(padding.unpad(written))
        return decode(written, ends._replace(sender=members["sender"]), suite=suite)

    monkeypatch.setattr(content_suites, "decode", lax)
    what = "`sender` or `senderKey` other than those of the session: sender"
    assert Stage(town).become(what) != expected(what)
