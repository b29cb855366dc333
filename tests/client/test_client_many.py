"""One message to many: each recipient gets it exactly once and in order, and none holds up the others."""

import base64
from typing import Any

import pytest
from client_samples import DATED_FIELDS, DAY, Town, change_file, pass_time, settle, without_field
from many_copies import CONVERSATION, kept, older_relay, reached, refusing, said, to_many

from phantom_messenger.client import records
from phantom_messenger.client.errors import InvalidUserId, MessageTooLong, UsageError
from phantom_messenger.client.many.outgoing import MAX_SAID_BYTES, Options
from phantom_messenger.client.many.store import ManyStore
from phantom_messenger.client.records import SessionRecord
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Transaction
from phantom_messenger.wire.codes import ErrorCode
from support.people import Frame
from support.simulated import MINUTE, SECOND

ACCEPTED, DELIVERED, READ, FAILED = (
    DeliveryState.ACCEPTED,
    DeliveryState.DELIVERED,
    DeliveryState.READ,
    DeliveryState.FAILED,
)


def test_one_frame_brings_it_to_all(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    (number,) = to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    (frame,) = [frame for frame in alice.sent if frame["type"].startswith("MESSAGE") and frame["type"] != "MESSAGE_ACK"]
    assert frame["type"] == "MESSAGE_MANY"
    assert [part["recipientId"] for part in frame["payload"]["recipients"]] == [bob.id, carol.id]
    assert bob.read_all() == carol.read_all() == ["hello all"]
    pass_time(3 * SECOND, alice, bob, carol)
    assert reached(alice, number) == {"bob": [ACCEPTED, READ], "carol": [ACCEPTED, READ]}
    assert (alice.messenger.waiting, alice.troubles(), bob.troubles()) == (0, [], [])
    (message,) = [frame for frame in bob.received if frame["type"] == "MESSAGE"]
    assert (message["payload"]["conversationId"], message["payload"]["messageId"]) == (CONVERSATION, number)


def test_it_is_stored_and_encrypted_in_one_transaction(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    commits: list[Transaction] = []
    committed = Transaction.committed

    def counting(tx: Transaction) -> None:
        commits.append(tx)
        committed(tx)

    monkeypatch.setattr(Transaction, "committed", counting)
    to_many(alice, [bob, carol], "hello")
    assert len([tx for tx in commits if tx._vault is alice.vault]) == 1
    _, (copies,) = kept(alice)
    assert all(copy.head and copy.waits for copy in copies.copies)


def test_bodies_are_the_same_for_all_and_heads_are_not(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    one, other = (
        base64.b64decode(frame["payload"]["encrypted"])
        for device in (bob, carol)
        for frame in device.received
        if frame["type"] == "MESSAGE"
    )
    (message,), _ = kept(alice)
    assert (len(one), one[102:]) == (len(other), other[102:])
    assert one[:102] != other[:102]
    assert message.key not in one


def test_damaged_sessions_of_one_keep_it_from_nobody(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    for place, stored in list(alice.vault.all(records.SESSION, SessionRecord)):
        if stored.peer == bob.id:
            change_file(alice.vault.path, "UPDATE records SET value = zeroblob(60) WHERE position = ?", place)
    to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    frames = [
        [part["recipientId"] for part in frame["payload"]["recipients"]] for frame in alice.frames_sent("MESSAGE_MANY")
    ]
    assert frames == [[carol.id], [bob.id]]
    assert bob.read_all() == carol.read_all() == ["hello all"]


def test_older_relay_gets_a_message_for_each(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    alice.cut()
    alice.tamper = older_relay
    alice.login()
    alice.sent.clear()
    (number,) = to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    assert [frame["payload"]["recipientId"] for frame in alice.frames_sent("MESSAGE")] == [bob.id, carol.id]
    assert not alice.frames_sent("MESSAGE_MANY")
    assert bob.read_all() == carol.read_all() == ["hello all"]
    pass_time(3 * SECOND, alice, bob, carol)
    assert reached(alice, number) == {"bob": [ACCEPTED, READ], "carol": [ACCEPTED, READ]}


def test_recipients_cannot_tell_the_relays_apart(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    to_many(alice, [bob], "one")
    settle(alice, bob)
    alice.cut()
    alice.tamper = older_relay
    alice.login()
    to_many(alice, [bob], "two")
    settle(alice, bob)
    one, two = (frame for frame in bob.received if frame["type"] == "MESSAGE")
    assert (one.keys() - two.keys(), two.keys() - one.keys()) == (set(), {"id"})
    assert one["payload"].keys() == two["payload"].keys()
    assert len(one["payload"]["encrypted"]) == len(two["payload"]["encrypted"])


def test_those_without_a_session_are_fetched_together(town: Town) -> None:
    alice, *others = town.devices("alice", *(f"{number}" for number in range(22)))
    to_many(alice, others, "hello all")
    settle(alice, *others)
    assert [len(frame["payload"]["targets"]) for frame in alice.frames_sent("PREKEY_FETCH")] == [20, 2]
    assert not alice.frames_sent("KEY_EXCHANGE_INIT")
    assert {tuple(device.read_all()) for device in others} == {("hello all",)}
    assert not any(frame["type"].startswith("KEY_EXCHANGE") for device in others for frame in device.received)
    assert alice.messenger.waiting == 0


def test_those_without_a_session_are_asked_for_one_by_one_at_an_older_relay(town: Town) -> None:
    bob, carol = town.devices("bob", "carol")
    alice = town.device("alice")
    alice.tamper = older_relay
    alice.login()
    to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    assert len(alice.frames_sent("KEY_EXCHANGE_INIT")) == 2
    assert bob.read_all() == carol.read_all() == ["hello all"]


def test_whom_the_relay_does_not_know_holds_up_nobody(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    carol = town.device("carol")
    alice.messenger.contacts.add("carol", carol.id)
    (number,) = to_many(alice, [carol, bob], "hello all")
    settle(alice, bob)
    assert bob.read_all() == ["hello all"]
    assert reached(alice, number) == {"bob": [ACCEPTED]}
    assert (alice.troubles(), alice.messenger.waiting, alice.messenger.waiting_for(bob.id)) == (["unknown-user"], 1, 0)
    carol.login()
    pass_time(3 * MINUTE, alice, bob, carol, step=5 * SECOND)
    assert carol.read_all() == ["hello all"]
    assert alice.messenger.waiting == 0


def test_who_has_only_the_older_encryption_waits_until_they_have_more(town: Town) -> None:
    alice, bob, carol = town.devices("alice", "bob", "carol")
    alice.tamper = lambda frame: [_without_dates(frame, carol.id)]
    to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    pass_time(2 * MINUTE, alice, bob, carol, step=5 * SECOND)
    assert (bob.read_all(), carol.read_all(), alice.troubles()) == (["hello all"], [], ["older"])
    assert len(alice.frames_sent("PREKEY_FETCH")) == 1, "asked for again and again"
    alice.tamper = None
    pass_time(11 * MINUTE, alice, bob, carol, step=5 * SECOND)
    assert carol.read_all() == ["hello all"]


def test_suite_1_session_that_texts_go_in_is_not_enough(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.messenger.contacts.add("bob", bob.id)
    alice.messenger.contacts.allow_older("bob")
    alice.tamper = lambda frame: [_without_dates(frame, bob.id)]
    alice.send(bob, "a text")
    to_many(alice, [bob], "to many")
    settle(alice, bob)
    pass_time(MINUTE, alice, bob, step=5 * SECOND)
    assert bob.read_all() == ["a text"]
    assert len(alice.frames_sent("PREKEY_FETCH")) == 1
    alice.tamper = None
    pass_time(11 * MINUTE, alice, bob, step=5 * SECOND)
    assert bob.read_all() == ["to many"]


def _without_dates(frame: Frame, user_id: str) -> Frame:
    """Keys of a user as a relay hands them out that hides what is newer."""
    payload = frame.get("payload", {})
    if frame["type"] == "KEY_EXCHANGE_RESPONSE" and payload["senderId"] == user_id:
        return without_field(frame, *DATED_FIELDS)
    if frame["type"] != "PREKEY_BUNDLES":
        return frame
    bundles = [
        {name: value for name, value in one.items() if name not in DATED_FIELDS} if one["senderId"] == user_id else one
        for one in payload["bundles"]
    ]
    return {**frame, "payload": {**payload, "bundles": bundles}}


# --- order ------------------------------------------------------------------------


def test_texts_to_one_and_to_many_arrive_in_the_order_in_which_they_were_encrypted(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    for number in range(5):
        alice.send(bob, f"one {number}")
        to_many(alice, [bob, carol], f"many {number}")
        alice.send(carol, f"one {number}")
    settle(alice, bob, carol)
    for device in (bob, carol):
        texts = device.read_all()
        for kind in ("one", "many"):
            assert [text for text in texts if text.startswith(kind)] == [f"{kind} {number}" for number in range(5)]
        assert device.troubles() == []


def test_one_copy_at_a_time_is_in_flight_to_a_user(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    to_many(alice, [bob], "one")
    to_many(alice, [bob, carol], "two")
    to_many(alice, [carol], "three")
    alice.fetch()
    assert len(alice.up) == 1
    settle(alice, bob, carol)
    assert [len(frame["payload"]["recipients"]) for frame in alice.frames_sent("MESSAGE_MANY")] == [1, 2, 1]
    assert (bob.read_all(), carol.read_all()) == (["one", "two"], ["two", "three"])


def test_messages_that_follow_need_one_frame_each(town: Town) -> None:
    alice, bob, carol, dave = town.friends("alice", "bob", "carol", "dave")
    alice.send(bob, "a text")  # Bob's copy of the first leaves later than the others
    to_many(alice, [bob, carol, dave], *(f"{number}" for number in range(6)))
    settle(alice, bob, carol, dave)
    sizes = [len(frame["payload"]["recipients"]) for frame in alice.frames_sent("MESSAGE_MANY")]
    assert (sum(sizes), sizes[2:]) == (18, [3, 3, 3, 3, 3])
    assert carol.read_all() == dave.read_all() == [f"{number}" for number in range(6)]


def test_answer_that_does_not_come_holds_up_the_others_for_seconds_only(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    lost: list[Frame] = []

    def lose_the_first(frame: Frame) -> list[Frame]:
        if frame["type"] != "MANY_RESULT" or lost:
            return [frame]
        lost.append(frame)
        return []

    alice.tamper = lose_the_first
    bob.cut()
    to_many(alice, [bob], "for bob")
    to_many(alice, [bob, carol], "one", "two")
    settle(alice, carol)
    assert carol.waiting() == []
    pass_time(6 * SECOND, alice, carol)
    assert carol.read_all() == ["one", "two"]


def test_without_that_rule_messages_overtake_each_other(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: copies are encrypted while others are in flight, and the relay refuses one for a while."""
    alice, bob, carol = town.friends("alice", "bob", "carol")
    monkeypatch.setattr(ManyStore, "__contains__", lambda *_: False)
    monkeypatch.setattr(ManyStore, "took_off", lambda *_: None)
    lost = {"recipientId": bob.id, "code": int(ErrorCode.RATE_LIMITED), "reason": "backlog", "retryAfter": 2_000}
    to_many(alice, [bob, carol], "one")
    alice.fetch()
    alice.up.clear()  # the relay never gets it
    alice.tamper = refusing(1, lost)
    to_many(alice, [bob, carol], "two")
    alice.send(bob, "three")
    settle(alice, bob, carol)
    pass_time(20 * SECOND, alice, bob, carol)
    assert "late" in bob.troubles() or bob.read_all() != ["one", "two", "three"]


# --- refusals ---------------------------------------------------------------------


REFUSALS = [
    pytest.param(ErrorCode.RATE_LIMITED, "backlog", 5_000, ["backlog"], True, id="backlog"),
    pytest.param(ErrorCode.RATE_LIMITED, "quota", 5_000, ["paused"], True, id="quota"),
    pytest.param(ErrorCode.USER_NOT_FOUND, "user", None, ["unknown-user"], True, id="user"),
    pytest.param(ErrorCode.INTERNAL_ERROR, "storage", 5_000, ["storage"], True, id="storage"),
    pytest.param(ErrorCode.INVALID_MESSAGE, "field", None, ["refused"], False, id="for good"),
]


@pytest.mark.parametrize(("code", "reason", "wait", "told", "waits"), REFUSALS)
def test_refusal_of_one_recipient_is_told_and_concerns_only_them(  # noqa: PLR0917 - what a refusal says and does
    town: Town, code: ErrorCode, reason: str, wait: int | None, told: list[str], waits: bool
) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    bob.cut()  # the relay says what is not so, and Bob would say that he has it
    refusal: dict[str, Any] = {"recipientId": bob.id, "code": int(code), "reason": reason}
    alice.tamper = refusing(1, refusal if wait is None else {**refusal, "retryAfter": wait})
    (number,) = to_many(alice, [bob, carol], "hello all")
    settle(alice, carol)
    assert alice.troubles() == told
    assert reached(alice, number) == ({"carol": [ACCEPTED]} if waits else {"carol": [ACCEPTED], "bob": [FAILED]})
    assert alice.messenger.waiting_for(bob.id) == int(waits)
    assert alice.messenger.waiting_for(carol.id) == 0
    pass_time(MINUTE, alice, carol, step=SECOND)
    assert reached(alice, number)["bob"] == [ACCEPTED if waits else FAILED]
    bob.login()
    settle(alice, bob, carol)
    assert len(alice.frames_sent("MESSAGE_MANY")) == 1 + waits
    assert (bob.read_all(), carol.read_all(), alice.messenger.waiting) == (["hello all"], ["hello all"], 0)


def test_member_whose_mailbox_is_full_gets_it_when_there_is_room(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    bob.cut()
    texts = [f"{number}" for number in range(302)]
    to_many(alice, [bob, carol], *texts, options=Options(group=True))
    settle(alice, carol)
    assert carol.read_all() == texts
    assert (alice.messenger.waiting_for(bob.id), alice.messenger.waiting_for(carol.id)) == (2, 0)
    assert set(alice.troubles()) == {"backlog"}
    bob.login()
    pass_time(5 * MINUTE, alice, bob, carol, step=5 * SECOND)
    assert bob.read_all() == texts


def test_frame_that_is_refused_as_a_whole_is_sent_again(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    bob.cut()
    carol.cut()
    alice.tamper = _failing(1, ErrorCode.INTERNAL_ERROR, "storage")
    (number,) = to_many(alice, [bob, carol], "hello all")
    settle(alice)
    assert (alice.troubles(), reached(alice, number)) == (["storage"], {})
    pass_time(10 * SECOND, alice)
    bob.login()
    carol.login()
    settle(alice, bob, carol)
    assert bob.read_all() == carol.read_all() == ["hello all"]
    assert len(alice.frames_sent("MESSAGE_MANY")) == 2
    assert alice.messenger.waiting == 0


def test_frame_that_is_refused_for_good_has_failed_for_each(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    alice.tamper = _failing(1, ErrorCode.UNAUTHORIZED, "signature")
    (number,) = to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    assert (alice.troubles(), reached(alice, number)["bob"][0], reached(alice, number)["carol"][0]) == (
        ["refused", "refused"],
        FAILED,
        FAILED,
    )
    assert alice.messenger.waiting == 0


def _failing(times: int, code: ErrorCode, reason: str) -> Any:
    """Tamper: the first answers are errors."""
    left = [times]

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] != "MANY_RESULT" or not left[0]:
            return [frame]
        left[0] -= 1
        payload = {"code": int(code), "details": {"reason": reason}, "message": "No.", "retryAfter": 2_000}
        return [{**frame, "type": "ERROR", "payload": payload}]

    return tamper


def test_answer_that_names_others_or_another_message_says_nothing(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    stranger = {"recipientId": "A" * 43 + "=", "code": 1001, "reason": "field"}
    alice.tamper = refusing(1, stranger)
    (number,) = to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    assert reached(alice, number) == {"bob": [ACCEPTED], "carol": [ACCEPTED]}
    result = next(frame for frame in alice.received if frame["type"] == "MANY_RESULT")
    other = {**result, "id": "77", "payload": {**result["payload"], "refused": [{**stranger, "recipientId": bob.id}]}}
    alice.tamper = lambda frame: [other, frame]
    (second,) = to_many(alice, [bob, carol], "again")
    settle(alice, bob, carol)
    assert reached(alice, second) == {"bob": [ACCEPTED], "carol": [ACCEPTED]}
    assert alice.troubles() == []


# --- who is there -----------------------------------------------------------------


def test_group_makes_nobody_a_contact(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    to_many(alice, [bob], "hello all", options=Options(group=True))
    settle(alice, bob)
    assert not alice.messenger._stores.book.is_known(bob.id)
    to_many(alice, [bob], "hello you")
    settle(alice, bob)
    assert alice.messenger._stores.book.is_known(bob.id)


def test_changed_key_is_told_and_nothing_is_sent(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    with alice.vault.transaction() as tx:
        alice.messenger._stores.conversations.note_offered(tx, bob.id, b"k" * 32)
    to_many(alice, [bob, carol], "hello all")
    settle(alice, bob, carol)
    assert (bob.read_all(), carol.read_all(), alice.troubles()) == ([], ["hello all"], ["key-changed"])


def test_messages_to_more_than_a_frame_holds_are_divided(town: Town) -> None:
    alice, *others = town.devices("alice", *(f"{number}" for number in range(40)))
    to_many(alice, others, "hello all")
    settle(alice, *others)
    assert {tuple(device.read_all()) for device in others} == {("hello all",)}
    frames = alice.frames_sent("MESSAGE_MANY")
    assert sum(len(frame["payload"]["recipients"]) for frame in frames) == 40


@pytest.mark.parametrize(
    ("recipients", "size", "error"),
    [
        (["bob", "bob"], 1, UsageError),
        (["alice"], 1, InvalidUserId),
        (["nobody"], 1, InvalidUserId),
        (["bob"], MAX_SAID_BYTES + 1, MessageTooLong),
    ],
    ids=["twice", "oneself", "no id", "too long"],
)
def test_what_cannot_be_sent_is_refused_at_once(
    town: Town, recipients: list[str], size: int, error: type[Exception]
) -> None:
    alice, bob = town.friends("alice", "bob")
    ids = {"alice": alice.id, "bob": bob.id}
    with pytest.raises(error):
        alice.messenger.many.send([ids.get(name, name) for name in recipients], bytes(size), conversation_id="x")
    assert alice.messenger.waiting == 0


def test_id_that_was_used_is_refused(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = to_many(alice, [bob], "hello")
    with pytest.raises(UsageError, match="another one"):
        alice.messenger.many.send([bob.id], said(alice, "x"), conversation_id="x", message_id=number)


@pytest.mark.parametrize("life", [0, 366 * DAY])
def test_life_that_no_message_can_have_is_refused(town: Town, life: int) -> None:
    alice, bob = town.friends("alice", "bob")
    with pytest.raises(UsageError, match="expire"):
        to_many(alice, [bob], "hello", options=Options(expires_in=life))


def test_longest_content_fits_a_frame(town: Town) -> None:
    alice, bob, carol = town.devices("alice", "bob", "carol")
    to_many(alice, [bob, carol], "x" * 40_000)
    settle(alice, bob, carol)
    assert bob.read_all() == carol.read_all() == ["x" * 40_000]


def test_hundred_copies_fit_35_kilobytes(town: Town) -> None:
    """By what one recipient adds: 312 bytes."""
    alice, bob, carol = town.friends("alice", "bob", "carol")
    to_many(alice, [bob], "x" * 100)
    alice.fetch()
    one = len(alice.up[-1])
    settle(alice, bob, carol)
    to_many(alice, [bob, carol], "x" * 100)
    alice.fetch()
    two = len(alice.up[-1])
    assert two - one == 312
    assert one + 99 * (two - one) <= 35_000
