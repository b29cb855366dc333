"""The table of protocol/encryption.md, Processing a received MESSAGE: each row against a real client."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from client_samples import (
    DATED_FIELDS,
    KEM_FIELDS,
    Device,
    Town,
    claim,
    pass_time,
    settle,
    with_field,
    without_field,
)

from phantom_messenger.client import content2, records
from phantom_messenger.client.content import Ends, Receipt, Text
from phantom_messenger.client.records import ContactRecord, OutboxRecord
from phantom_messenger.client.requests import Requests
from phantom_messenger.client.status import MessageEvent, RequestEvent, WarningEvent
from support.cases import each
from support.people import Frame, base64_text, canonical, flipped
from support.simulated import SECOND

DOCUMENT: Final = (Path(__file__).parents[2] / "protocol/encryption.md").read_text()
Row = tuple[bool, set[str], bool, str]
"""Acknowledged, told, asked for, remembered."""


def table(document: str) -> dict[str, Row]:
    """The rows by what comes."""
    section = document.split("## Processing a received MESSAGE")[1].split("\n##", maxsplit=1)[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return {
        what: (acknowledge == "yes", set(re.findall(r"`([\w-]+)`", tell)), ask == "yes", remember)
        for what, acknowledge, tell, ask, remember in lines[2:]
    }


TABLE: Final = table(DOCUMENT)


class Stage:
    """Bob, whom something comes to, and Alice, whom he knows or not."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.alice = town.device("alice").login()
        self.bob = town.device("bob", strangers="ask").login()

    def known(self) -> None:
        """They have added each other and talked."""
        for one, other in ((self.alice, self.bob), (self.bob, self.alice)):
            one.messenger.contacts.add(other.name, other.id)
            one.send(other, "hello")
        pass_time(5 * SECOND, self.alice, self.bob)
        self.bob.read_all()
        pass_time(5 * SECOND, self.alice, self.bob)

    def caught(self, sender: Device) -> Frame:
        """A text of somebody, just before it would arrive."""
        held: list[Frame] = []
        self.bob.tamper = lambda frame: (held.append(frame) or []) if frame["type"] == "MESSAGE" else [frame]  # type: ignore[func-returns-value] # keeps it back
        sender.send(self.bob, "secret")
        settle(sender, self.bob)
        self.bob.tamper = None
        return held[-1]

    def become(self, frame: Frame) -> Row:
        """What becomes of a frame that comes to Bob now."""
        sender, number = frame["payload"]["senderId"], frame["payload"]["messageId"]
        name = records.key(sender, number)
        kinds = {"request": records.REQUEST, "id": records.UNREADABLE, "text": records.RECEIVED}
        before = {word for word, kind in kinds.items() if self.bob.vault.has(kind, name)}
        self.bob.events.clear()
        self.bob.sent.clear()
        self.bob.down.append(canonical(frame))
        self.bob.step_down()
        pass_time(3 * SECOND, self.bob)
        acks = [ack["payload"] for ack in self.bob.frames_sent("MESSAGE_ACK")]
        told = {event.code for event in self.bob.heard(WarningEvent)}
        told |= {"message"} if self.bob.heard(MessageEvent) else set()
        told |= {"request"} if self.bob.heard(RequestEvent) else set()
        kept = {word for word, kind in kinds.items() if self.bob.vault.has(kind, name)} - before
        return (
            any(ack.get("messageId") == number for ack in acks),
            told,
            bool(self.bob.frames_sent("KEY_EXCHANGE_INIT")),
            "nothing" if not kept else ", ".join(sorted(kept)),
        )


# --- what comes -------------------------------------------------------------------


def changed(change: Callable[[Frame], Frame]) -> Callable[[Stage], Frame]:
    """A text of Alice, whom Bob knows, with something else in it."""

    def make(stage: Stage) -> Frame:
        stage.known()
        return change(stage.caught(stage.alice))

    return make


def of_the_blocked(stage: Stage) -> Frame:
    stage.known()
    frame = stage.caught(stage.alice)
    stage.bob.messenger.block(stage.alice.id)
    settle(stage.bob)
    return frame


def of_a_stranger(stage: Stage) -> Frame:
    return stage.caught(stage.alice)


def unsigned_of_a_stranger(stage: Stage) -> Frame:
    frame = stage.caught(stage.alice)
    return {**frame, "signature": flipped(frame["signature"])}


def again(stage: Stage) -> Frame:
    stage.known()
    frame = stage.caught(stage.alice)
    stage.bob.down.append(canonical(frame))
    pass_time(3 * SECOND, stage.bob)
    stage.bob.read_all()
    pass_time(3 * SECOND, stage.bob)
    return frame


def under_another_key(stage: Stage) -> Frame:
    """A first text of Alice, passed off as one of Carol, whom Bob knows."""
    carol = stage.town.device("carol").login()
    stage.bob.messenger.contacts.add("carol", carol.id)
    settle(carol, stage.bob)
    return with_field(stage.caught(stage.alice), senderId=carol.id)


def garbled(stage: Stage) -> Frame:
    stage.known()
    seal = stage.alice.messenger._stores.conversations.seal

    def mumble(*arguments: Any) -> OutboxRecord:
        made: OutboxRecord = seal(*arguments)
        return msgspec.structs.replace(made, sealed=made.sealed[:-1] + bytes((made.sealed[-1] ^ 1,)))

    stage.alice.messenger._stores.conversations.seal = mumble  # type: ignore[method-assign, assignment] # what a malicious program does
    return stage.caught(stage.alice)


def of_version_1(stage: Stage) -> Frame:
    stage.known()
    encode = content2.encode

    def earlier(said: Text | Receipt, ends: Ends) -> bytes:
        return msgspec.msgpack.encode({**msgspec.msgpack.decode(encode(said, ends)), "version": 1})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content2, "encode", earlier)
        return stage.caught(stage.alice)


def classical(stage: Stage) -> Frame:
    stage.bob.messenger.contacts.add("alice", stage.alice.id)
    settle(stage.alice, stage.bob)
    stage.alice.tamper = lambda frame: [
        without_field(frame, *KEM_FIELDS) if frame["type"] == "KEY_EXCHANGE_RESPONSE" else frame
    ]
    stage.alice.messenger.contacts.allow_classical(stage.bob.id)
    return stage.caught(stage.alice)


def in_suite_1(stage: Stage) -> Frame:
    stage.known()
    stage.alice.messenger.contacts.remove(stage.bob.id)
    stage.alice.tamper = lambda frame: [
        without_field(frame, *DATED_FIELDS) if frame["type"] == "KEY_EXCHANGE_RESPONSE" else frame
    ]
    stage.alice.messenger.contacts.allow_older(stage.bob.id)
    return stage.caught(stage.alice)


def with_a_changed_key(stage: Stage) -> Frame:
    other = claim(stage.town.device("other")).login()
    known = ContactRecord(user_id=other.id, name="other", key=bytes(range(32)), greeted=True)
    with stage.bob.vault.transaction() as tx:
        stage.bob.messenger._stores.book.put(tx, known)
    other.messenger.contacts.add("bob", stage.bob.id)
    return stage.caught(other)


COMING: Final[dict[str, Callable[[Stage], Frame]]] = {
    "a message for another recipient": changed(lambda frame: with_field(frame, recipientId=base64_text(bytes(32)))),
    "a message from a blocked sender": of_the_blocked,
    "a signed message from a stranger": of_a_stranger,
    "any other message from a stranger": unsigned_of_a_stranger,
    "a message whose id is known": again,
    "bytes that are not a message": changed(lambda frame: with_field(frame, encrypted=base64_text(b"\x01"))),
    "a message of an unknown suite": changed(
        lambda frame: with_field(frame, encrypted=flipped(frame["payload"]["encrypted"]))
    ),
    "a key that does not fit a certified id": under_another_key,
    "a bad signature of the envelope": changed(lambda frame: {**frame, "signature": flipped(frame["signature"])}),
    "a signed message that cannot be decrypted": garbled,
    "content of an unknown version, or of other users": of_version_1,
    "a user's message in a classical session that is not allowed": classical,
    "a user's message in suite 1 that is not allowed": in_suite_1,
    "a user's message under a changed key of a claimed id": with_a_changed_key,
    "a user's message": changed(lambda frame: frame),
}


def test_every_row_is_played() -> None:
    assert list(TABLE) == list(COMING)


@pytest.mark.parametrize("what", COMING)
def test_outcome_is_that_of_the_table(town: Town, what: str) -> None:
    stage = Stage(town)
    frame = COMING[what](stage)
    assert stage.become(frame) == TABLE[what]


@each("what", COMING)
@each("column", range(4))
def test_control_another_word_in_the_document_is_another_outcome(what: str, column: int) -> None:
    """The reader of the table sees each cell: with another word, the row is another one."""
    (line,) = [line for line in DOCUMENT.splitlines() if line.startswith(f"| {what} |")]
    cells = line.strip("| ").split(" | ")
    cells[column + 1] = {0: "maybe", 1: "`else`", 2: "perhaps", 3: "everything"}[column]
    if column in {0, 2}:
        cells[column + 1] = "no" if line.strip("| ").split(" | ")[column + 1] == "yes" else "yes"
    assert table(DOCUMENT.replace(line, f"| {' | '.join(cells)} |"))[what] != TABLE[what]


def test_control_without_requests_a_strangers_row_is_not_true(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Requests, "holds", lambda *_: False)
    what = "a signed message from a stranger"
    stage = Stage(town)
    assert stage.become(COMING[what](stage)) != TABLE[what]
