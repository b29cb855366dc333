import base64
import json
from typing import Any

import pytest
from client_samples import YEAR
from nacl.signing import VerifyKey

from phantom_messenger.client.link import (
    LATER_LOOK_MS,
    LIMITED_MS,
    LOGIN_MS,
    LONGEST_PONG_MS,
    LOOK_MS,
    LOOKS,
    MOST_UNREAD,
    PING_MS,
    PONG_MS,
    SPEAK_MS,
    Link,
    LinkEvent,
    LinkState,
    LoggedIn,
    LoginFailed,
    Lost,
    PongSeen,
)
from phantom_messenger.crypto.keys import OwnIdentity
from phantom_messenger.wire import frames
from phantom_messenger.wire.limits import IDLE_TIMEOUT_MS, RATES, RateClass
from support.cases import each
from support.people import ENVELOPE, Frame, Person, base64_text, canonical
from support.simulated import MINUTE, SECOND

NOW = 7_000_000
WALL = 1_750_000_000_000
AUDIENCE = "relay.example:8080"
CHALLENGE = base64_text(bytes(range(32)))
SESSION = {"type": "AUTH_SUCCESS", "payload": {"sessionId": "s", "serverTime": WALL}, "timestamp": WALL, "id": "1"}
LIMITS = {
    "backlog": 1_000,
    "encryptedChars": 61_440,
    "messageBytes": 65_536,
    "messagesPerMinute": 60,
    "metadataBytes": 1_024,
}

OWNER = Person("owner")


def greeting(server_time: int = WALL, challenge: str = CHALLENGE) -> Frame:
    payload = {
        "challenge": challenge,
        "connectionId": "c",
        "limits": LIMITS,
        "protocolVersion": 1,
        "serverName": "phantom",
        "serverTime": server_time,
    }
    return {"type": "CONNECTION_ACK", "payload": payload, "timestamp": server_time}


def with_version(version: int) -> Frame:
    found = greeting()
    return {**found, "payload": {**found["payload"], "protocolVersion": version}}


def new_link(*, wall: int = WALL, audience: str = AUDIENCE) -> Link:
    return Link(OwnIdentity(bytes(OWNER.key)), user_id=OWNER.id, audience=audience, now=NOW, wall=wall)


def state(link: Link) -> LinkState:
    return link.state


def feed(link: Link, frame: Frame, now: int = NOW) -> list[LinkEvent]:
    return link.receive(canonical(frame).decode(), now)


def drained(link: Link) -> list[Frame]:
    return [json.loads(text) for text in link.drain()]


def open_link(*, wall: int = WALL, server_time: int = WALL) -> Link:
    """A link that is logged in, with nothing left to send."""
    link = new_link(wall=wall)
    feed(link, greeting(server_time))
    assert feed(link, SESSION) == [LoggedIn()]
    link.drain()
    return link


def pong(number: Any) -> Frame:
    return {"type": "PONG", "timestamp": WALL, "id": number}


def send_presence(link: Link, now: int) -> Frame:
    payload = frames.PresencePayload(status=frames.PresenceStatus.IDLE)
    link.send(frames.Presence(payload=payload, timestamp=0), now)
    (frame,) = drained(link)
    return frame


# --- login ------------------------------------------------------------------------


def test_login_signs_the_challenge_the_audience_and_all_the_rest() -> None:
    link = new_link()
    assert state(link) is LinkState.WAITING
    assert feed(link, greeting()) == []
    (text,) = link.drain()
    frame: Frame = json.loads(text)
    signature = base64.b64decode(frame.pop("signature"))
    assert frame == {
        "type": "AUTH",
        "id": "1",
        "timestamp": WALL,
        "payload": {
            "audience": AUDIENCE,
            "challenge": CHALLENGE,
            "features": ["ack", "suite2", "many", "devices", "allowance"],
            "publicKey": OWNER.public_key,
            "userId": OWNER.id,
        },
    }
    VerifyKey(base64.b64decode(OWNER.public_key)).verify(ENVELOPE + canonical(frame), signature)
    assert text == canonical({**frame, "signature": base64_text(signature)}).decode()
    assert state(link) is LinkState.AUTHENTICATING
    assert feed(link, SESSION) == [LoggedIn()]
    assert state(link) is LinkState.OPEN
    assert link.drain() == []


@pytest.mark.parametrize("known", [None, [], ["suite2"], ["suite2", "of a later version"]])
def test_features_are_those_that_the_relay_has_said_it_knows(known: list[str] | None) -> None:
    link = new_link()
    feed(link, greeting())
    payload: Frame = {"sessionId": "session", "serverTime": WALL}
    feed(link, {**SESSION, "payload": payload if known is None else {**payload, "features": known}})
    assert link.relay_features == set(known or [])


def test_nothing_is_sent_before_the_relay_has_spoken() -> None:
    assert new_link().drain() == []


def test_login_is_open_only_after_it_was_asked_for() -> None:
    link = new_link()
    feed(link, SESSION)
    assert state(link) is LinkState.WAITING


def test_relay_that_says_much_and_answers_no_ping_is_left_in_the_end() -> None:
    link = open_link()
    link.ping(NOW)
    now = NOW
    while state(link) is LinkState.OPEN and now < NOW + 10 * LONGEST_PONG_MS:
        now += PONG_MS // 2
        link.receive(canonical(MESSAGES[1]).decode(), now)
        assert link.next_tick(now) <= PONG_MS
        link.tick(now)
    assert now == NOW + LONGEST_PONG_MS


def test_relay_that_reads_nothing_and_goes_on_talking_is_left() -> None:
    link = open_link()
    link._outgoing += ["x"] * MOST_UNREAD
    assert feed(link, MESSAGES[1]) != []
    link.drain()
    assert feed(link, MESSAGES[1]) != [], "what was taken counts no more"
    link._outgoing += ["x"] * (MOST_UNREAD + 1)
    assert feed(link, MESSAGES[1]) == [Lost("the relay does not read what it is sent")]


MESSAGES: list[Frame] = [
    {"type": "PONG", "id": "1", "timestamp": WALL},
    {"type": "PRESENCE", "payload": {"userId": base64_text(bytes(32)), "status": "online"}, "timestamp": WALL},
    {"type": "ERROR", "id": "1", "payload": {"code": 1004, "message": "No."}, "timestamp": WALL},
    {"type": "PREKEY_STATUS", "payload": {"oneTimePreKeys": 0, "kemPreKeys": 0}, "timestamp": WALL},
]


@pytest.mark.parametrize("frame", MESSAGES, ids=lambda frame: str(frame["type"]))
def test_before_the_login_is_through_nothing_else_counts(frame: Frame) -> None:
    link = new_link()
    assert feed(link, frame) == []
    feed(link, greeting())
    assert feed(link, frame) == []
    assert feed(open_link(), frame) != [], "the control"


def test_answer_to_a_login_that_is_through_changes_nothing() -> None:
    link = open_link()
    failure: Frame = {"type": "AUTH_FAILURE", "payload": {"code": 1002, "reason": "No."}, "timestamp": WALL}
    for frame in (failure, SESSION, with_version(7)):
        assert feed(link, frame) == []
        assert state(link) is LinkState.OPEN


def test_second_challenge_is_not_signed() -> None:
    link = open_link()
    feed(link, greeting(challenge=base64_text(bytes(32))))
    assert link.drain() == []
    link = new_link()
    feed(link, greeting())
    feed(link, greeting(challenge=base64_text(bytes(32))))
    assert len(link.drain()) == 1


FAILURES: dict[str, tuple[Frame, LoginFailed]] = {
    "a relay that names no reason": (
        {"code": 1002, "reason": "No."},
        LoginFailed("the relay said 'No'", "", None, None),
    ),
    "the same, with a time": (
        {"code": 1002, "reason": "Wait.", "retryAfter": 5},
        LoginFailed("the relay said 'Wait'", "", 5, False),
    ),
    "limit": (
        {"code": 1003, "reason": "Slow down.", "retryAfter": 4_321},
        LoginFailed("the relay said 'Slow down'", "", 4_321, False),
    ),
    "limit without a time": (
        {"code": 1003, "reason": "Slow."},
        LoginFailed("the relay said 'Slow'", "", LIMITED_MS, False),
    ),
    "a reason that is no word": (
        {"code": 1002, "reason": "No.", "details": {"reason": 7}},
        LoginFailed("the relay said 'No'", "", None, None),
    ),
    **{
        word: (
            {"code": 1002, "reason": "No.", "details": {"reason": word}},
            LoginFailed("the relay said 'No'", word, None, word in {"identity", "signature", "key", "unsigned"}),
        )
        for word in ("identity", "signature", "key", "unsigned", "audience", "challenge", "clock", "field", "of later")
    },
}


@pytest.mark.parametrize(("payload", "event"), FAILURES.values(), ids=FAILURES)
def test_refused_login_says_whether_to_come_again(payload: Frame, event: LoginFailed) -> None:
    link = new_link()
    feed(link, greeting())
    assert feed(link, {"type": "AUTH_FAILURE", "payload": payload, "timestamp": WALL}) == [event]
    assert state(link) is LinkState.FAILED


# --- the relay's clock ------------------------------------------------------------


@pytest.mark.parametrize("wall", [WALL - YEAR, WALL + YEAR, 0, WALL])
def test_timestamps_are_on_the_relays_clock_however_wrong_ones_own_is(wall: int) -> None:
    link = new_link(wall=wall)
    feed(link, greeting(WALL), NOW + 250)
    (login,) = drained(link)
    assert login["timestamp"] == WALL
    feed(link, SESSION, NOW + 300)
    assert send_presence(link, NOW + 5_250)["timestamp"] == WALL + 5_000
    assert link.relay_time(NOW + 86_400_250) == WALL + 86_400_000


def test_before_the_greeting_ones_own_clock_is_all_there_is() -> None:
    assert new_link(wall=1_000).relay_time(NOW + 5) == 1_005


def error_naming(time: Any, request: str | None, reason: str = "clock") -> Frame:
    details = {"reason": reason, "serverTime": time}
    error = {"type": "ERROR", "payload": {"code": 1001, "message": "x", "details": details}, "timestamp": WALL}
    return error if request is None else {**error, "id": request}


def send_deletion(link: Link) -> str:
    """A frame that is signed; its id."""
    payload = frames.AccountDeletePayload(audience=link.audience, challenge=link.challenge)
    link.send_signed(frames.AccountDelete(payload=payload, signature="", timestamp=0), NOW)
    (sent,) = drained(link)
    return str(sent["id"])


def test_clock_follows_a_relay_that_refuses_the_time_of_a_signed_frame() -> None:
    link = open_link()
    (event,) = feed(link, error_naming(WALL - YEAR, send_deletion(link)), NOW + 10)
    assert isinstance(event, frames.Error)
    assert send_presence(link, NOW + 60)["timestamp"] == WALL - YEAR + 50


@pytest.mark.parametrize("case", ["unasked", "of another", "of an unsigned frame", "for another reason", "again"])
def test_time_that_a_relay_names_otherwise_changes_nothing(case: str) -> None:
    link = open_link()
    request = send_deletion(link)
    unsigned = send_presence(link, NOW)["id"]
    ids = {"unasked": None, "of another": "999", "of an unsigned frame": unsigned}
    if case == "again":
        feed(link, error_naming(WALL + 50, request), NOW + 50)
    reason = "field" if case == "for another reason" else "clock"
    feed(link, error_naming(WALL + YEAR, ids.get(case, request), reason), NOW + 50)
    assert send_presence(link, NOW + 60)["timestamp"] == WALL + 60


@pytest.mark.parametrize("time", ["1", None, 1.5, [], {}, -1, 2**53])
def test_time_of_an_error_that_is_no_time_changes_nothing(time: Any) -> None:
    link = open_link()
    feed(link, error_naming(time, send_deletion(link)))
    assert send_presence(link, NOW + 60)["timestamp"] == WALL + 60


# --- requests ---------------------------------------------------------------------


def test_each_request_has_an_id_of_its_own() -> None:
    link = open_link()
    assert [send_presence(link, NOW)["id"] for _ in range(3)] == ["2", "3", "4"]


def test_signed_request_verifies_and_another_is_unsigned() -> None:
    link = open_link()
    payload = frames.AccountDeletePayload(audience=link.audience, challenge=link.challenge)
    request = link.send_signed(frames.AccountDelete(payload=payload, signature="", timestamp=0), NOW)
    (frame,) = drained(link)
    assert frame["id"] == request
    signature = base64.b64decode(frame.pop("signature"))
    VerifyKey(base64.b64decode(OWNER.public_key)).verify(ENVELOPE + canonical(frame), signature)
    assert "signature" not in send_presence(link, NOW)


def test_frames_leave_in_order_and_once() -> None:
    link = open_link()
    for time in (1, 2, 3):
        link.ping(NOW + time)
    assert [frame["timestamp"] for frame in drained(link)] == [WALL + 1, WALL + 2, WALL + 3]
    assert link.drain() == []


# --- watching ---------------------------------------------------------------------


def test_quiet_link_asks_for_a_sign_of_life() -> None:
    link = open_link()
    assert link.next_tick(NOW) == PING_MS
    assert link.tick(NOW + PING_MS - 1) == []
    assert link.drain() == []
    assert link.next_tick(NOW + PING_MS - 1) == 1
    assert link.tick(NOW + PING_MS) == []
    (ping,) = drained(link)
    assert (ping["type"], "signature" in ping) == ("PING", False)
    assert link.tick(NOW + PING_MS + 1) == []
    assert link.drain() == []
    assert link.next_tick(NOW + PING_MS + 1) == PONG_MS - 1


def test_link_whose_ping_is_not_answered_is_lost() -> None:
    link = open_link()
    link.tick(NOW + PING_MS)
    assert link.tick(NOW + PING_MS + PONG_MS - 1) == []
    assert link.tick(NOW + PING_MS + PONG_MS) == [Lost("the relay has stopped answering")]
    assert state(link) is LinkState.FAILED
    assert link.tick(NOW + PING_MS + PONG_MS + 1) == []


def test_answered_ping_starts_the_quiet_time_anew() -> None:
    link = open_link()
    link.tick(NOW + PING_MS)
    (ping,) = drained(link)
    answered_at = NOW + PING_MS + PONG_MS - 1
    assert feed(link, pong(ping["id"]), answered_at) == [PongSeen(int(ping["id"]))]
    assert link.tick(answered_at + PING_MS - 1) == []
    assert link.drain() == []
    link.tick(answered_at + PING_MS)
    assert len(link.drain()) == 1


def test_anything_from_the_relay_is_a_sign_of_life() -> None:
    link = open_link()
    later = {"type": "SOMETHING_OF_A_LATER_VERSION", "payload": {}, "timestamp": WALL}
    for time in range(0, 200_000, PING_MS - 1):
        assert feed(link, later, NOW + time) == []
        assert link.tick(NOW + time + PING_MS - 2) == []
    assert link.drain() == []


def test_link_that_hears_much_and_says_nothing_speaks_before_the_relay_takes_it_for_idle() -> None:
    link = open_link()
    later = {"type": "SOMETHING_OF_A_LATER_VERSION", "payload": {}, "timestamp": WALL}
    for time in (*range(0, SPEAK_MS, PING_MS - 1), SPEAK_MS - 1):
        assert feed(link, later, NOW + time) == []
        assert link.tick(NOW + time) == []
    assert link.drain() == []
    assert link.next_tick(NOW + SPEAK_MS - 1) == 1
    link.tick(NOW + SPEAK_MS)
    assert [frame["type"] for frame in drained(link)] == ["PING"]
    assert SPEAK_MS + PING_MS < IDLE_TIMEOUT_MS


def test_relay_that_never_answers_the_login_is_given_up() -> None:
    for link in (new_link(), new_link()):
        assert link.next_tick(NOW) == LOGIN_MS
        assert link.tick(NOW + LOGIN_MS - 1) == []
        assert link.tick(NOW + LOGIN_MS) == [Lost("the relay did not answer the login")]
    link = new_link()
    feed(link, greeting(), NOW + LOGIN_MS - 1)
    assert isinstance(link.tick(NOW + LOGIN_MS)[0], Lost)


def test_extra_ping_waits_for_the_one_before_and_the_interval() -> None:
    link = open_link()
    assert link.may_ping(NOW, 2_000)
    number = link.ping(NOW)
    assert not link.may_ping(NOW + 5_000, 2_000)
    feed(link, pong(str(number)), NOW + 10)
    assert not link.may_ping(NOW + 1_999, 2_000)
    assert link.may_ping(NOW + 2_000, 2_000)


def test_pong_without_a_number_confirms_nothing() -> None:
    link = open_link()
    link.ping(NOW)
    assert feed(link, {"type": "PONG", "timestamp": WALL}) == []
    assert feed(link, pong("x")) == []


# --- a relay that speaks something else -------------------------------------------

GARBAGE: dict[str, str | bytes] = {
    "binary": b'{"type":"PONG","timestamp":1}',
    "empty": "",
    "no JSON": "hello",
    "half": '{"type":"PONG"',
    "null": "null",
    "a list": "[]",
    "a number": "1",
    "no type": '{"timestamp":1}',
    "type no text": '{"type":1,"timestamp":1}',
    "empty type": '{"type":"","timestamp":1}',
    "no timestamp": '{"type":"PONG"}',
    "timestamp as text": '{"type":"PONG","timestamp":"1"}',
    "negative timestamp": '{"type":"PONG","timestamp":-1}',
    "timestamp too large": '{"type":"PONG","timestamp":9007199254740992}',
    "one field too many": '{"type":"PONG","timestamp":1,"color":"red"}',
    "a name twice": '{"type":"PONG","timestamp":1,"timestamp":1}',
    "too deep": '{"type":"ERROR","timestamp":1,"payload":{"code":1,"message":"","details":'
    + '{"a":' * 100
    + "1"
    + "}" * 102,
    "deep enough for a crash": "[" * 100_000,
    "not a number": '{"type":"PONG","timestamp":NaN}',
    "half a character": '{"type":"PONG","timestamp":1,"id":"\ud83d"}',
    "short challenge": json.dumps(greeting(challenge=base64_text(bytes(31)))),
    "challenge no base64": json.dumps(greeting(challenge="!" * 44)),
    "error without code": '{"type":"ERROR","payload":{"message":""},"timestamp":1}',
    "failure without reason": '{"type":"AUTH_FAILURE","payload":{"code":1},"timestamp":1}',
}


@each("garbage", GARBAGE.values(), ids=GARBAGE)
@each("is_open", [True, False])
def test_garbage_ends_the_link(garbage: str | bytes, is_open: bool) -> None:
    link = open_link() if is_open else new_link()
    assert link.receive(garbage, NOW) == [Lost("the relay sent something that is not part of the protocol")]
    assert state(link) is LinkState.FAILED
    assert link.drain() == []


def test_frame_of_a_later_version_is_passed_over() -> None:
    link = open_link()
    assert feed(link, {"type": "CALL", "payload": {"x": [1]}, "timestamp": WALL}) == []
    assert state(link) is LinkState.OPEN


def test_frame_for_the_messenger_is_handed_on() -> None:
    link = open_link()
    payload = {"status": "online", "userId": Person("bob").id}
    (event,) = feed(link, {"type": "PRESENCE", "payload": payload, "timestamp": WALL})
    assert isinstance(event, frames.PresenceNotice)
    assert event.payload.status == "online"


def mail() -> Frame:
    """Something of a mailbox."""
    frame = OWNER.message(OWNER)
    return {**frame, "payload": {**frame["payload"], "senderId": OWNER.id}, "seq": 1}


def look(link: Link, now: int) -> None:
    """Time passes; the PING that is sent is answered."""
    link.tick(now)
    (ping,) = [frame for frame in drained(link) if frame["type"] == "PING"]
    feed(link, pong(ping["id"]), now)


def test_mailbox_is_empty_once_several_pings_were_answered_with_nothing_in_between() -> None:
    link, now = open_link(), NOW
    feed(link, mail())
    link.tick(now)
    assert drained(link) == []  # nobody wants to know
    assert not link.has_fetched()
    assert link.next_tick(now) == 0
    for looks in (1, 2):
        look(link, now)
        assert not link.has_fetched()
        assert link.next_tick(now) == LOOK_MS
        now += LOOK_MS
        assert looks < LOOKS
    feed(link, mail(), now)  # the page behind
    for _ in range(LOOKS):
        assert not link.has_fetched()
        look(link, now)
        now += LOOK_MS
    assert link.has_fetched()
    assert link.next_tick(now) > LATER_LOOK_MS
    feed(link, mail(), now)  # nobody wants to know any more
    assert link.has_fetched()
    assert link.next_tick(now) > LATER_LOOK_MS


def test_who_looks_again_begins_anew() -> None:
    link, now = open_link(), NOW
    link.look()
    for _ in range(LOOKS):
        look(link, now)
        now += LOOK_MS
    assert link.has_fetched()
    link.look()
    assert not link.has_fetched()


@pytest.mark.parametrize("looks", [True, False], ids=["looks", "control: nobody looks"])
def test_somebody_who_writes_without_end_makes_a_client_ask_no_more_than_the_relay_takes(looks: bool) -> None:
    link, pings = open_link(), 0
    if looks:
        link.look()
    for now in range(NOW, NOW + MINUTE, 100):
        if (now - NOW) % 300 == 0:
            feed(link, mail(), now)
        link.tick(now)
        for ping in drained(link):
            pings += 1
            feed(link, pong(ping["id"]), now)
    assert pings <= RATES[RateClass.PING] * 2 // 3 if looks else pings == 0
    assert not looks or not link.has_fetched()


def test_once_it_is_known_nothing_is_asked_however_much_comes() -> None:
    link, now = open_link(), NOW
    link.look()
    for _ in range(LOOKS):
        look(link, now)
        now += LOOK_MS
    for _ in range(100):
        now += SECOND
        feed(link, mail(), now)
        link.tick(now)
    assert drained(link) == []
