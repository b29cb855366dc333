"""protocol/phantom.md against the relay: its dialogues are played, its tables and numbers compared with the code."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, get_args

import pytest
from nacl.signing import SigningKey, VerifyKey
from protocol_player import AUDIENCE, Mismatch, Player, Step, Way, blocks, dialogues, missing, tables
from protocol_tables import expected

from phantom_messenger.relay import admission, commands, http, hub, load, outbox, replies, websocket
from phantom_messenger.relay.handlers import messages
from phantom_messenger.wire import codec, frames, limits, signing
from support.cases import each
from support.people import Frame, base64_text
from support.raw_socket import RawSocket
from support.relay_process import RelayProcess

DOCUMENT: Final = (Path(__file__).parents[2] / "protocol/phantom.md").read_text(encoding="utf-8")
DIALOGUES: Final = dialogues(DOCUMENT)
STEPS: Final = [step for steps in DIALOGUES.values() for step in steps]
EXPECTED: Final = expected()

IMPATIENT: Final = 0.2
"""Seconds; what only a wrong document waits for never comes."""


class Relays(NamedTuple):
    """Two real relays: as the document describes one, and one that takes unsigned logins."""

    usual: RelayProcess
    unsigned: RelayProcess

    def play(self, steps: list[Step], *, patience: float = 60.0) -> None:
        """Play a dialogue on the relay that greets as it is printed there."""
        greetings = [step.body["payload"] for step in steps if step.type == "CONNECTION_ACK"]
        relay = self.unsigned if any("unsignedAuth" in greeting for greeting in greetings) else self.usual
        with Player(steps, relay.url, patience=patience) as player:
            player.play()


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relays]:
    # Everybody here comes from one address; what is counted by user is as by default.
    plenty = ("--public-names", AUDIENCE, "--rate-auth", "100000", "--connections-per-address", "1000")
    usual = RelayProcess(tmp_path_factory.mktemp("usual"), *plenty)
    try:
        unsigned = RelayProcess(tmp_path_factory.mktemp("unsigned"), *plenty, "--reference-clients", "on")
        try:
            yield Relays(usual, unsigned)
        finally:
            unsigned.stop()
    finally:
        usual.stop()


# --- dialogues --------------------------------------------------------------------


@pytest.mark.parametrize("name", DIALOGUES)
def test_relay_does_what_is_printed(relays: Relays, name: str) -> None:
    relays.play(DIALOGUES[name])


def test_every_frame_has_an_example() -> None:
    assert missing(STEPS, frames.CLIENT_FRAMES, frames.RELAY_FRAMES) == set()


FORMS: dict[str, tuple[Way, str, Callable[[Frame], bool]]] = {
    "a client's own response": (Way.SEND, "KEY_EXCHANGE_RESPONSE", lambda frame: "targetId" in frame["payload"]),
    "a response passed on": (Way.RECEIVE, "KEY_EXCHANGE_RESPONSE", lambda frame: "signature" in frame),
    "a response from the store": (Way.RECEIVE, "KEY_EXCHANGE_RESPONSE", lambda frame: "signature" not in frame),
    "an offered bundle": (Way.SEND, "KEY_EXCHANGE_INIT", lambda frame: "preKeyBundle" in frame["payload"]),
    "a publication that replaces": (Way.SEND, "PREKEY_PUBLISH", lambda frame: "replace" in frame["payload"]),
    "prekeys with a date": (Way.SEND, "PREKEY_PUBLISH", lambda frame: "madeAt" in frame["payload"]),
    "a bundle with a date": (Way.RECEIVE, "KEY_EXCHANGE_RESPONSE", lambda frame: "madeAt" in frame["payload"]),
    "a login with features": (Way.RECEIVE, "AUTH_SUCCESS", lambda frame: "features" in frame["payload"]),
    "prekeys asked for": (Way.RECEIVE, "PREKEY_STATUS", lambda frame: "id" in frame),
    "prekeys with a list of devices": (Way.SEND, "PREKEY_PUBLISH", lambda frame: "deviceList" in frame["payload"]),
    "a message to a group": (Way.SEND, "MESSAGE_MANY", lambda frame: "group" in frame["payload"]),
    "a message in an order": (Way.SEND, "MESSAGE_MANY", lambda frame: "order" in frame["payload"]),
    "a recipient who is refused": (Way.RECEIVE, "MANY_RESULT", lambda frame: frame["payload"]["refused"] != []),
    "a warning": (Way.RECEIVE, "PREKEY_STATUS", lambda frame: "id" not in frame),
    "an ack by seq": (Way.SEND, "MESSAGE_ACK", lambda frame: "seq" in frame["payload"]),
    "an answer to a message": (Way.RECEIVE, "MESSAGE_ACK", lambda frame: "seq" not in frame),
    "a receipt": (Way.RECEIVE, "MESSAGE_ACK", lambda frame: "seq" in frame),
    "typing": (Way.SEND, "PRESENCE", lambda frame: frame["payload"].get("status") == "typing"),
    "a notice of typing": (Way.RECEIVE, "PRESENCE", lambda frame: frame["payload"]["status"] == "typing"),
    "a status": (Way.SEND, "PRESENCE", lambda frame: frame["payload"].get("status") == "idle"),
    "a notice of a status": (Way.RECEIVE, "PRESENCE", lambda frame: "id" not in frame),
    "a question": (Way.SEND, "PRESENCE", lambda frame: "userId" in frame["payload"]),
    "an answer to a question": (Way.RECEIVE, "PRESENCE", lambda frame: "id" in frame),
    "when somebody was seen last": (Way.RECEIVE, "PRESENCE", lambda frame: "lastSeen" in frame["payload"]),
    "a rate": (
        Way.RECEIVE,
        "ERROR",
        lambda frame: frame["payload"]["code"] == 1003 and "retryAfter" in frame["payload"],
    ),
}


@each(("way", "kind", "has"), FORMS.values(), ids=FORMS)
def test_every_form_of_a_frame_has_an_example(way: Way, kind: str, has: Callable[[Frame], bool]) -> None:
    assert any(has(step.body) for step in STEPS if (step.way, step.type) == (way, kind))


def test_message_that_is_encrypted_again_has_an_example() -> None:
    sent: dict[tuple[str, str, str], set[str]] = {}
    for step in STEPS:
        if (step.way, step.type) == (Way.SEND, "MESSAGE"):
            part = step.body["payload"]
            sent.setdefault((step.dialogue, step.actor, part["messageId"]), set()).add(part["encrypted"])
    assert max(map(len, sent.values())) == 2


@pytest.mark.parametrize("way", [Way.SEND, Way.RECEIVE])
def test_every_status_of_a_message_has_an_example(way: Way) -> None:
    shown = {step.body["payload"]["status"] for step in STEPS if (step.way, step.type) == (way, "MESSAGE_ACK")}
    assert shown == set(
        get_args(frames.MessageAckPayload.__annotations__["status"]) if way is Way.SEND else frames.Status
    )


# --- a wrong document fails -------------------------------------------------------

MUTATIONS: dict[str, tuple[str, str, str]] = {
    "another value": ("login", '"protocolVersion": 1', '"protocolVersion": 2'),
    "another type": ("login", '"protocolVersion": 1', '"protocolVersion": true'),
    "a member too many": ("login", '"serverName": "phantom"', '"serverName": "phantom", "region": "x"'),
    "a member too few": ("login", ' "serverName": "phantom",', ""),
    "a fixed value for one that differs": ("login", '"<session>"', '"session"'),
    "one value for two that differ": ("login", '"<session>"', '"<connection>"'),
    "a time that is none": ("login", '"serverTime": "<now>", "protocolVersion"', '"serverTime": 1, "protocolVersion"'),
    "another audience": ("login", "relay.example", "relay.test"),
    "a signature over something else": ("login", '"signature": "<signature>"', '"signature": "<challenge>"'),
    "another close code": ("refused-login", "closes mallory 4001", "closes mallory 4002"),
    "another order": ("keys", '"id": 11', '"id": 13'),
    "keys that are added and not replaced": ("keys", '"replace": true,', ""),
    "a date that is signed with another": ("dated", "<signed with 1>", "<signed with it>"),
    "a client without the feature": (
        "dated",
        '"features": ["suite2"]}}\nrelay > alice',
        '"features": ["x"]}}\nrelay > alice',
    ),
    "a key with a higher id": (
        "keys",
        '{"id": 12, "key": "<one-time 2>"}, {"id": 33',
        '{"id": 32, "key": "<x>"}, {"id": 33',
    ),
    "the same content again": ("mailbox", '"QUJD"', '"c2VjcmV0"'),
    "another head": ("many", '"head": "Ym9i"', '"head": "Ym9j"'),
    "another user who is missing": ("many", '"missing": ["<carol>"]', '"missing": ["<bob>"]'),
    "a revision that is not the stored one": (
        "order",
        '"reason": "order", "revision": 7',
        '"reason": "order", "revision": 8',
    ),
    "a writer who is let": ("order", '"revision": 8, "writers": ["<bob>"]', '"revision": 8, "writers": ["<alice>"]'),
    "another member that is sent": ("errors", '{"x": 1}', "{}"),
    "another count": ("errors", "x 60", "x 59"),
    "another recipient": ("mailbox", '"recipientId": "<bob>"', '"recipientId": "<alice>"'),
    "a value that nothing makes": ("mailbox", '"conversationId": "c1"', '"conversationId": "<conversation>"'),
    "a step that is none": ("ping", "relay > alice", "relay to alice"),
    "JSON that is none": ("ping", '"type": "PONG",', '"type": "PONG"'),
}


@pytest.mark.parametrize(("name", "old", "new"), MUTATIONS.values(), ids=MUTATIONS)
def test_changed_dialogue_fails(relays: Relays, name: str, old: str, new: str) -> None:
    place = DOCUMENT.index(f"```dialogue {name}\n")
    changed = DOCUMENT[:place] + DOCUMENT[place:].replace(old, new, 1)
    assert changed != DOCUMENT
    with pytest.raises(Mismatch, match=r"line \d+"):
        relays.play(dialogues(changed)[name], patience=IMPATIENT)


def first_of_relay(steps: list[Step]) -> int:
    """Where the relay first does something that its greeting does not say already."""
    return [step.way in {Way.RECEIVE, Way.CLOSED} and step.type != "CONNECTION_ACK" for step in steps].index(True)


@pytest.mark.parametrize("name", DIALOGUES)
def test_step_that_does_not_happen_fails(relays: Relays, name: str) -> None:
    steps = DIALOGUES[name]
    first = first_of_relay(steps)
    with pytest.raises(Mismatch, match=r"line \d+"):
        relays.play([*steps[: first + 1], *steps[first:]], patience=IMPATIENT)


@pytest.mark.parametrize("name", DIALOGUES)
def test_step_that_is_not_printed_fails(relays: Relays, name: str) -> None:
    steps = DIALOGUES[name]
    first = first_of_relay(steps)
    with pytest.raises(Mismatch):
        relays.play([*steps[:first], *steps[first + 1 :]], patience=IMPATIENT)


@pytest.mark.parametrize("kind", sorted(frames.CLIENT_FRAMES.keys() | frames.RELAY_FRAMES.keys()))
def test_frame_without_an_example_is_noticed(kind: str) -> None:
    others = [step for step in STEPS if step.type != kind]
    assert {found for _, found in missing(others, frames.CLIENT_FRAMES, frames.RELAY_FRAMES)} == {kind}


# --- tables and numbers -----------------------------------------------------------


@each("heading", EXPECTED)
def test_table_is_what_the_code_says(heading: str) -> None:
    table = EXPECTED[heading]
    assert table.written(tables(DOCUMENT)[heading]) == table.rows


@each("heading", EXPECTED)
def test_changed_table_is_noticed(heading: str) -> None:
    written = tables(DOCUMENT)[heading]
    cell = EXPECTED[heading].columns[-1]
    changed = [[*row[:cell], f"{row[cell]}0", *row[cell + 1 :]] if row is written[-1] else row for row in written]
    assert EXPECTED[heading].written(changed) != EXPECTED[heading].rows
    assert EXPECTED[heading].written(written[1:]) != EXPECTED[heading].rows


NUMBERS: dict[str, tuple[int, int]] = {
    "above 65,536 bytes": (limits.MAX_MESSAGE_BYTES, 65_536),
    "above 1,048,576 bytes": (limits.MAX_TRANSPORT_BYTES, 1_048_576),
    "of more than 64 fragments": (limits.MAX_FRAGMENTS, 64),
    "at most 8 levels of nesting": (limits.MAX_DEPTH, 8),
    "within 5 minutes of the relay's clock": (limits.CLOCK_TOLERANCE_MS, 5 * 60_000),
    "base64 of 16 to 64 bytes": (limits.MIN_USER_ID_BYTES * 4, limits.MAX_USER_ID_BYTES),
    "1 to 64 characters": (limits.MAX_ID_CHARS, 64),
    "1 to 128 characters": (limits.MAX_CONVERSATION_CHARS, 128),
    "object of at most 1,024 bytes": (limits.MAX_METADATA_BYTES, 1_024),
    "at most 61,440 characters": (limits.MAX_ENCRYPTED_CHARS, 61_440),
    "Not logged in 30 s after the handshake": (limits.CONNECTION_TIMEOUT_MS, 30_000),
    "from a logged-in client for 5 minutes": (limits.IDLE_TIMEOUT_MS, 5 * 60_000),
    "may have 10 connections": (limits.MAX_CONNECTIONS_PER_ADDRESS, 10),
    "keeps 200 one-time prekeys of a kind": (limits.MAX_ONE_TIME_PREKEYS, 200),
    "KEM prekeys to add, at most 30": (limits.MAX_KEM_PREKEYS_PER_PUBLISH, 30),
    "fewer than 10 one-time prekeys": (limits.LOW_PREKEYS, 10),
    "to one requester 10 times an hour": (limits.PREKEY_HOUR_PER_REQUESTER, 10),
    "to all 100 times": (limits.PREKEY_HOUR_PER_TARGET, 100),
    "While 100 key exchanges of senders": (limits.MAX_KEY_EXCHANGE_BACKLOG, 100),
    "1,000 messages, 1,000 receipts": (limits.MAX_BACKLOG, 1_000),
    "300 messages to groups of one sender": (limits.MAX_GROUP_BACKLOG, 300),
    "of which 6,000 a minute": (limits.RATES[limits.RateClass.RECIPIENTS], 6_000),
    "more than 2,097,152 characters": (limits.MAX_MANY_CHARS, 2_097_152),
    "One of the last 16 revisions": (limits.MAX_ORDER_AGAIN, 16),
    "by at most 1,024": (limits.MAX_ORDER_STEP, 1_024),
    "1 to 20 users, each once": (limits.MAX_FETCH_TARGETS, 20),
    "1,000 receipts of each contact": (limits.MAX_RECEIPT_BACKLOG, 1_000),
    "may fill 100 places": (limits.MAX_STRANGER_BACKLOG, 100),
    "the tenth of a kind in a minute": (limits.MAX_STRIKES, 10),
    "left it less than 10 minutes ago": (commands.KEEP_REMOVED_MS, 10 * 60_000),
    "seen in the last 11 minutes": (admission.SEEN_EXCHANGE_MS, 11 * 60_000),
    "remembers the 16 that": (commands.CONVERSATIONS_KEPT, 16),
    "10 s after the last session ended": (hub.DEPARTURE_MS, 10_000),
    "takes nothing of what waits for it for 9 s": (outbox.STALL_MS, 9_000),
    "leaves more than 1 MiB of it unread": (outbox.OVERFLOW, 1_048_576),
    "drops the connection within 2 s": (int(websocket.CLOSE_TIMEOUT), 2),
    "`retryAfter` is 60 s with `backlog`": (messages.BACKLOG_RETRY_MS, 60_000),
    "5 s with `storage`": (replies.RETRY_STORAGE_MS, 5_000),
    "1 to 5 s with `overload`": (admission.OVERLOAD_RETRY_MS, 1_000),
    "at most 8,192 bytes": (http.MAX_HEAD_BYTES, 8_192),
    "and 64 fields": (http.MAX_FIELDS, 64),
    "it has more than a second's work": (load.LOAD_MS, 1_000),
}


@each(("phrase", "number"), NUMBERS.items(), ids=NUMBERS)
def test_number_in_the_text_is_that_of_the_code(phrase: str, number: tuple[int, int]) -> None:
    assert phrase in re.sub(r"\s+", " ", DOCUMENT)
    assert number[0] == number[1]


@pytest.mark.parametrize("row", tables(DOCUMENT)["HTTP"], ids=lambda row: row[0])
def test_plain_http_is_answered_as_printed(relays: Relays, row: list[str]) -> None:
    request, status, body = row
    words = request.split()
    if words[0] == "any":
        words = ["POST", "/health" if words[1] == "other" else "/anything-else"]
    path = words[1] if words[1].startswith("/") else "/anything-else"
    with RawSocket(relays.usual.address) as raw:
        if status == "101":
            assert raw.upgrade(path=path).status == 101
            return
        raw.send(f"{words[0]} {path} HTTP/1.1\r\nHost: {AUDIENCE}\r\n\r\n".encode())
        found = raw.response()
    assert str(found.status) == status
    pattern = re.escape(body).replace(re.escape("..."), ".+")
    assert re.fullmatch(pattern, found.body.decode().strip())


# --- the worked example -----------------------------------------------------------


def test_worked_example_is_right() -> None:
    value: dict[str, str] = dict(row for row in tables(DOCUMENT)["Worked example"])
    text = {block.info: block.body for block in blocks(DOCUMENT)}
    key = SigningKey(bytes.fromhex(value["seed (hex)"]))
    public = bytes(key.verify_key)
    assert value["public key"] == base64_text(public)
    assert value["user id"] == base64_text(hashlib.sha256(b"phantom/1 user-id\n" + public).digest())
    assert value["user id"] == signing.certified_user_id(public)

    canonical = text["text canonical"].removesuffix("\n")
    frame = json.loads(text["json signed"])
    assert json.dumps(frame, sort_keys=True, separators=(",", ":")) == canonical
    signature = key.sign(b"phantom/1 envelope\n" + canonical.encode()).signature
    assert value["envelope signature"] == base64_text(signature)
    decoded = codec.decode_client(json.dumps({**frame, "signature": base64_text(signature)}).encode())
    assert decoded.signed_text == canonical.encode()
    VerifyKey(public).verify(signing.envelope_bytes(decoded.signed_text), signature)

    prekey = bytes(range(64, 96))
    assert value["prekey"] == base64_text(prekey)
    assert value["prekey signature"] == base64_text(key.sign(b"phantom/1 signed-prekey\n" + prekey).signature)
    assert signing.signed_prekey_bytes(prekey) == b"phantom/1 signed-prekey\n" + prekey


def test_document_is_short() -> None:
    assert DOCUMENT.count("\n") < 1_300


def test_links_lead_to_headings() -> None:
    headings = re.findall(r"^#+ (.*)$", DOCUMENT, re.MULTILINE)
    anchors = {heading.lower().replace(",", "").replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", DOCUMENT)) <= anchors
