from typing import Any

import pytest

from support.people import Frame, Person, base64_text, canonical, flipped, is_signed_by, key_text
from support.simulated import MINUTE, SECOND, Client, World


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice")


@pytest.fixture
def bob(world: World) -> Client:
    return world.login("bob")


def statuses(frames: list[Frame]) -> list[tuple[str, str]]:
    return [(frame["payload"]["messageId"], frame["payload"]["status"]) for frame in frames]


def ids(frames: list[Frame]) -> list[str]:
    return [frame["payload"]["messageId"] for frame in frames]


# --- accepted means stored --------------------------------------------------------


def test_message_is_accepted_with_the_request_id(world: World, alice: Client, bob: Client) -> None:
    message = alice.person.message(bob.person, id="request-1")
    answer = alice.ask(message)
    assert answer == {
        "type": "MESSAGE_ACK",
        "id": "request-1",
        "timestamp": world.clock.wall,
        "payload": {
            "messageId": message["payload"]["messageId"],
            "recipientId": bob.person.id,
            "status": "accepted",
            "timestamp": world.clock.wall,
        },
    }


def test_nothing_is_sent_before_the_store_ran(world: World, alice: Client, bob: Client) -> None:
    world.writer.holding = True
    assert alice.send(alice.person.message(bob.person)) == []
    assert bob.take() == []
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert [frame["payload"]["status"] for frame in alice.take()] == ["accepted"]
    assert len(bob.take("MESSAGE")) == 1


def test_answer_needs_no_held_store(world: World, alice: Client, bob: Client) -> None:
    """The control of the test above: with a store that runs, the answer is there."""
    assert not world.writer.holding
    assert [frame["payload"]["status"] for frame in alice.send(alice.person.message(bob.person))] == ["accepted"]
    assert len(bob.take("MESSAGE")) == 1


def test_message_that_cannot_be_stored_is_not_accepted(world: World, alice: Client, bob: Client) -> None:
    message = alice.person.message(bob.person, id="request-1")
    world.writer.full = True
    answer = alice.ask(message)
    assert (answer["type"], answer["id"], answer["payload"]["code"]) == ("ERROR", "request-1", 1007)
    assert answer["payload"]["details"] == {"reason": "storage"}
    assert answer["payload"]["retryAfter"] > 0
    assert bob.take() == []
    assert alice.close_code() is None

    world.writer.full = False
    assert statuses([alice.ask(message)]) == [(message["payload"]["messageId"], "accepted")]
    assert len(bob.take("MESSAGE")) == 1


def test_internal_text_never_reaches_a_peer(world: World, alice: Client, bob: Client) -> None:
    world.writer.full = True
    text = canonical(alice.ask(alice.person.message(bob.person))).decode()
    for word in ("apsw", "FullError", "disk", "Traceback", "sqlite"):
        assert word not in text


# --- refused ----------------------------------------------------------------------


def test_unknown_recipient_is_1004(alice: Client) -> None:
    answer = alice.ask(alice.person.message(key_text("nobody"), id="request-1"))
    assert (answer["type"], answer["id"], answer["payload"]["code"]) == ("ERROR", "request-1", 1004)
    assert answer["payload"]["details"] == {"reason": "user"}
    assert alice.close_code() is None


@pytest.mark.parametrize("shift", [-5 * MINUTE - 1, 5 * MINUTE + 1], ids=["old", "from the future"])
def test_stale_message_is_refused_with_the_time(world: World, alice: Client, bob: Client, shift: int) -> None:
    message = alice.person.message(bob.person)
    message = alice.person.signed({**message, "timestamp": message["timestamp"] + shift})
    payload = alice.ask(message)["payload"]
    assert payload["code"] == 1001
    assert payload["details"] == {"reason": "clock", "serverTime": world.clock.wall}
    assert bob.take() == []


@pytest.mark.parametrize("shift", [-5 * MINUTE, 5 * MINUTE], ids=["old", "from the future"])
def test_message_within_5_minutes_is_fresh(alice: Client, bob: Client, shift: int) -> None:
    message = alice.person.message(bob.person)
    message = alice.person.signed({**message, "timestamp": message["timestamp"] + shift})
    assert alice.ask(message)["payload"]["status"] == "accepted"
    assert len(bob.take("MESSAGE")) == 1


def edited(frame: Frame, **members: Any) -> Frame:
    return {**frame, "payload": {**frame["payload"], **members}}


def test_client_may_not_name_the_sender(alice: Client, bob: Client) -> None:
    message = edited(alice.person.message(bob.person), senderId=alice.person.id)
    answer = alice.ask(alice.person.signed(message))
    assert answer["payload"]["code"] == 1001
    assert answer["payload"]["details"]["field"] == "payload.senderId"
    assert bob.take() == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"encrypted": "b3RoZXI="}, id="content"),
        pytest.param({"conversationId": "other"}, id="conversation"),
        pytest.param({"messageId": "0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f"}, id="message id"),
        pytest.param({"metadata": {"burnAfterRead": True}}, id="metadata"),
    ],
)
def test_changed_message_is_1002(alice: Client, bob: Client, change: dict[str, object]) -> None:
    answer = alice.ask(edited(alice.person.message(bob.person), **change))
    assert (answer["payload"]["code"], answer["payload"]["details"]) == (1002, {"reason": "signature"})
    assert bob.take() == []
    assert alice.close_code() is None


def test_message_signed_by_another_is_1002(alice: Client, bob: Client, world: World) -> None:
    mallory = world.person("mallory")
    assert alice.ask(mallory.message(bob.person))["payload"]["code"] == 1002
    assert bob.take() == []


def test_signature_for_one_type_is_none_for_another(alice: Client, bob: Client) -> None:
    message = alice.person.message(bob.person)
    init = alice.person.init(bob.person)
    assert alice.ask({**message, "signature": init["signature"]})["payload"]["code"] == 1002
    assert alice.ask({**message, "signature": flipped(message["signature"])})["payload"]["code"] == 1002
    assert bob.take() == []


def test_bad_signature_stops_nothing_else_of_its_turn(alice: Client, bob: Client) -> None:
    good = [alice.person.message(bob.person) for _ in range(4)]
    bad = {**alice.person.message(bob.person), "signature": good[0]["signature"]}
    answers = alice.send(*good[:2], bad, *good[2:])
    assert [frame["type"] for frame in answers].count("ERROR") == 1
    assert ids(bob.take("MESSAGE")) == ids(good)


# --- what arrives -----------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata", [None, {"burnAfterRead": True}, {"expiresIn": 60_000, "z": [1, {"é": None}], "a": "ü"}]
)
@pytest.mark.parametrize("request_id", [None, "request-1"])
def test_recipient_gets_what_the_sender_signed(
    alice: Client, bob: Client, metadata: dict[str, object] | None, request_id: str | None
) -> None:
    envelope = {} if request_id is None else {"id": request_id}
    message = alice.person.message(bob.person, metadata=metadata, **envelope)
    alice.send(message)
    [routed] = bob.take("MESSAGE")
    assert isinstance(routed["seq"], int)
    assert routed["payload"]["senderId"] == alice.person.id
    assert is_signed_by(routed, alice.person.public_key)
    assert not is_signed_by(edited(routed, encrypted="b3RoZXI="), alice.person.public_key)
    assert {**routed, "payload": message["payload"]} == {**message, "seq": routed["seq"]}


def test_relay_writes_canonical_json_whatever_it_reads(alice: Client, bob: Client) -> None:
    message = alice.person.message(bob.person, metadata={"b": 1, "a": 2})
    text = ("  " + str({**dict(reversed(message.items()))}).replace("'", '"').replace("True", "true")).encode()
    assert alice.ask(text)["payload"]["status"] == "accepted"
    [routed] = bob.take("MESSAGE")
    assert bob.connection.written[-1] == canonical(routed)
    assert is_signed_by(routed, alice.person.public_key)


def test_two_senders_may_use_one_uuid(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    first = alice.person.message(bob.person)
    second = carol.person.message(bob.person, message_id=first["payload"]["messageId"])
    assert alice.ask(first)["payload"]["status"] == "accepted"
    assert carol.ask(second)["payload"]["status"] == "accepted"
    messages = bob.take("MESSAGE")
    assert [frame["payload"]["senderId"] for frame in messages] == [alice.person.id, carol.person.id]
    bob.send(bob.person.ack(messages[0]))
    bob.drop()
    [left] = world.login(bob.person).take("MESSAGE")
    assert left["payload"]["senderId"] == carol.person.id


def test_one_uuid_may_go_to_two_recipients(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    first = alice.person.message(bob.person)
    second = alice.person.message(carol.person, message_id=first["payload"]["messageId"])
    alice.send(first, second)
    assert ids(bob.take("MESSAGE")) == ids(carol.take("MESSAGE")) == ids([first])


def test_message_to_oneself_arrives(alice: Client) -> None:
    message = alice.person.message(alice.person)
    found = alice.send(message)
    assert sorted(frame["type"] for frame in found) == ["MESSAGE", "MESSAGE_ACK"]


# --- again ------------------------------------------------------------------------


def test_message_sent_again_is_answered_again_and_delivered_once(alice: Client, bob: Client) -> None:
    message = alice.person.message(bob.person)
    for _ in range(3):
        assert alice.ask(message)["payload"]["status"] == "accepted"
    assert len(bob.take("MESSAGE")) == 1


def test_message_twice_in_one_turn_is_delivered_once(alice: Client, bob: Client) -> None:
    message = alice.person.message(bob.person)
    assert [frame["payload"]["status"] for frame in alice.send(message, message)] == ["accepted"] * 2
    assert len(bob.take("MESSAGE")) == 1


def test_message_signed_anew_with_the_same_id_is_the_same_message(world: World, alice: Client, bob: Client) -> None:
    message = alice.person.message(bob.person)
    alice.send(message)
    world.clock.advance(SECOND)
    alice.send(alice.person.signed({**message, "timestamp": world.clock.wall, "id": "again"}))
    assert len(bob.take("MESSAGE")) == 1


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
def test_message_sent_again_after_it_was_acknowledged_is_not_delivered(
    world: World, alice: Client, bob: Client, status: str
) -> None:
    message = alice.person.message(bob.person)
    alice.send(message)
    [routed] = bob.take("MESSAGE")
    bob.send(bob.person.ack(routed, status))
    world.clock.advance(10 * MINUTE - 1)
    again = alice.person.signed({**message, "timestamp": world.clock.wall})
    assert alice.ask(again)["payload"]["status"] == "accepted"
    assert bob.take() == []


def test_message_waiting_for_its_recipient_is_known_for_ever(world: World, alice: Client) -> None:
    bob = world.person("bob")
    world.register(bob)
    message = alice.person.message(bob)
    alice.send(message)
    for _ in range(12):
        world.clock.advance(5 * MINUTE)
        again = alice.person.signed({**message, "timestamp": world.clock.wall})
        assert alice.ask(again)["payload"]["status"] == "accepted"
    assert len(world.login(bob).take("MESSAGE")) == 1


def test_memory_of_acknowledged_messages_ends(world: World, alice: Client, bob: Client) -> None:
    """The control: it is the memory of ten minutes that holds the message back."""
    message = alice.person.message(bob.person)
    alice.send(message)
    [routed] = bob.take("MESSAGE")
    bob.send(bob.person.ack(routed))
    world.clock.advance(11 * MINUTE)
    alice.send(alice.person.signed({**message, "timestamp": world.clock.wall}))
    assert len(bob.take("MESSAGE")) == 1


# --- encrypted again --------------------------------------------------------------

OLD, NEW, NEWEST = (base64_text(text) for text in (b"first", b"second", b"third"))


def again(client: Client, message: Frame, encrypted: str = NEW, **members: Any) -> Frame:
    """The same message, encrypted again because its recipient could not read it."""
    payload = {**message["payload"], "encrypted": encrypted, **members}
    return client.person.signed({**message, "timestamp": client.world.clock.wall, "payload": payload})


def contents(frames: list[Frame]) -> list[str]:
    return [frame["payload"]["encrypted"] for frame in frames]


@pytest.fixture
def first(alice: Client, bob: Client) -> Frame:
    """What Alice has sent, and Bob has got and not acknowledged."""
    message = alice.person.message(bob.person, encrypted=OLD)
    assert statuses([alice.ask(message)]) == [(message["payload"]["messageId"], "accepted")]
    assert contents(bob.take("MESSAGE")) == [OLD]
    return message


def test_recipient_who_is_there_gets_a_message_that_was_encrypted_again(
    alice: Client, bob: Client, first: Frame
) -> None:
    answer = alice.ask(alice.person.signed({**again(alice, first), "id": "request-2"}))
    assert (answer["id"], answer["payload"]["status"]) == ("request-2", "accepted")
    [routed] = bob.take("MESSAGE")
    assert contents([routed]) == [NEW]
    assert is_signed_by(routed, alice.person.public_key)


def test_recipient_who_comes_gets_only_what_was_encrypted_again(
    world: World, alice: Client, bob: Client, first: Frame
) -> None:
    bob.drop()
    other = alice.person.message(bob.person)
    alice.send(other, again(alice, first))
    messages = world.login(bob.person).take("MESSAGE")
    assert ids(messages) == ids([other, first]), "at the end"
    assert contents(messages)[1] == NEW
    after = world.restarted().login(bob.person).take("MESSAGE")
    assert contents(after) == contents(messages)


def test_message_encrypted_again_has_a_seq_of_its_own(world: World, alice: Client, bob: Client, first: Frame) -> None:
    alice.send(again(alice, first), again(alice, first, NEWEST))
    second, third = bob.take("MESSAGE")
    assert second["seq"] < third["seq"]
    [left] = world.login(bob.person).take("MESSAGE")
    assert left == third


def test_acknowledgement_removes_what_was_encrypted_again(
    world: World, alice: Client, bob: Client, first: Frame
) -> None:
    bob.send(bob.person.message(alice.person))
    alice.settle()
    alice.send(again(alice, first))
    [routed] = bob.take("MESSAGE")
    bob.send(bob.person.ack(routed))
    assert statuses(alice.take("MESSAGE_ACK")) == [(first["payload"]["messageId"], "delivered")]
    for encrypted in (OLD, NEW, NEWEST):
        assert alice.ask(again(alice, first, encrypted))["payload"]["status"] == "accepted"
    assert bob.take("MESSAGE") == []
    assert world.login(bob.person).take("MESSAGE") == []


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
def test_message_that_left_the_mailbox_is_not_delivered_encrypted_again(
    world: World, alice: Client, bob: Client, first: Frame, status: str
) -> None:
    [routed] = world.login(bob.person).take("MESSAGE")
    back = world.login(bob.person)
    back.take()
    back.send(back.person.ack(routed, status))
    world.clock.advance(10 * MINUTE - 1)
    assert alice.ask(again(alice, first))["payload"]["status"] == "accepted"
    assert back.take("MESSAGE") == []
    world.clock.advance(1)
    alice.send(again(alice, first))
    assert contents(back.take("MESSAGE")) == [NEW]


@pytest.mark.parametrize("members", [{"metadata": {"burnAfterRead": True}}, {"conversationId": "other"}])
def test_message_with_the_same_content_replaces_nothing(
    world: World, alice: Client, bob: Client, first: Frame, members: Frame
) -> None:
    assert alice.ask(again(alice, first, OLD, **members))["payload"]["status"] == "accepted"
    assert bob.take() == []
    [left] = world.login(bob.person).take("MESSAGE")
    assert {**left["payload"], "senderId": 0} == {**first["payload"], "senderId": 0}


def test_nobody_replaces_what_another_has_sent(world: World, alice: Client, bob: Client, first: Frame) -> None:
    mallory = world.login("mallory")
    own = mallory.person.message(bob.person, message_id=first["payload"]["messageId"], encrypted=NEW)
    assert mallory.ask(own)["payload"]["status"] == "accepted"
    mallory.send(again(mallory, own, NEWEST))
    messages = world.login(bob.person).take("MESSAGE")
    senders = [frame["payload"]["senderId"] for frame in messages]
    assert list(zip(senders, contents(messages), strict=True)) == [
        (alice.person.id, OLD),
        (mallory.person.id, NEWEST),
    ]


def test_replacement_that_cannot_be_stored_leaves_the_one_that_waits(
    world: World, alice: Client, bob: Client, first: Frame
) -> None:
    world.writer.full = True
    answer = alice.ask(again(alice, first))
    assert (answer["payload"]["code"], answer["payload"]["details"]) == (1007, {"reason": "storage"})
    assert bob.take() == []
    world.writer.full = False
    assert contents(world.login(bob.person).take("MESSAGE")) == [OLD]
    alice.send(again(alice, first))
    assert contents(world.login(bob.person).take("MESSAGE")) == [NEW]


def test_replacement_that_was_not_stored_when_the_relay_died_leaves_the_one_that_waits(
    world: World, alice: Client, bob: Client, first: Frame
) -> None:
    world.writer.holding = True
    assert alice.send(again(alice, first)) == []
    assert bob.take() == []
    assert contents(world.restarted().login(bob.person).take("MESSAGE")) == [OLD]


@pytest.mark.parametrize("change", ["signature", "clock"])
def test_replacement_that_is_refused_leaves_the_one_that_waits(
    world: World, alice: Client, bob: Client, first: Frame, change: str
) -> None:
    second = again(alice, first)
    if change == "signature":
        second = {**second, "signature": first["signature"]}
    else:
        second = alice.person.signed({**second, "timestamp": second["timestamp"] - 5 * MINUTE - 1})
    assert alice.ask(second)["payload"]["details"]["reason"] == change
    assert bob.take() == []
    assert contents(world.login(bob.person).take("MESSAGE")) == [OLD]


def test_full_mailbox_takes_what_was_encrypted_again(world: World, alice: Client, bob: Client, first: Frame) -> None:
    bob.drop()
    alice.send(*(alice.person.message(bob.person) for _ in range(99)))
    assert alice.ask(alice.person.message(bob.person))["payload"]["details"] == {"reason": "backlog"}
    assert alice.ask(again(alice, first))["payload"]["status"] == "accepted"
    assert alice.ask(alice.person.message(bob.person))["payload"]["details"] == {"reason": "backlog"}
    messages = world.login(bob.person).take("MESSAGE")
    assert len(messages) == 100
    assert (ids(messages)[-1:], contents(messages)[-1]) == (ids([first]), NEW)


def test_lifetime_of_what_was_encrypted_again_counts(world: World, alice: Client, bob: Client) -> None:
    world.make_contacts(alice, bob)
    short = alice.person.message(bob.person, metadata={"expiresIn": 5 * SECOND}, encrypted=OLD)
    alice.send(short)
    world.clock.advance(4 * SECOND)
    alice.send(again(alice, short))
    world.pass_time(5 * SECOND - 1)
    assert alice.take() == []
    assert contents(world.login(bob.person).take("MESSAGE")) == [NEW]
    world.pass_time(2 * SECOND)
    receipts = alice.take("MESSAGE_ACK")
    assert statuses(receipts) == [(short["payload"]["messageId"], "expired")]


def test_message_whose_time_came_before_the_sweep_can_be_encrypted_again(
    world: World, alice: Client, bob: Client
) -> None:
    world.make_contacts(alice, bob)
    short = alice.person.message(bob.person, metadata={"expiresIn": 5 * SECOND}, encrypted=OLD)
    alice.send(short)
    world.clock.advance(5 * SECOND)
    bob.take()
    alice.send(again(alice, short))
    assert contents(bob.take("MESSAGE")) == [NEW]
    world.pass_time(4 * SECOND)
    assert alice.take() == [], "it has not expired"


def test_slow_reader_gets_only_what_was_encrypted_again(alice: Client, bob: Client) -> None:
    bob.connection.stalled = True
    alice.send(*(alice.person.message(bob.person, encrypted="QUJD" * 15_000) for _ in range(10)))
    message = alice.person.message(bob.person, encrypted=OLD)
    alice.send(message)
    alice.send(again(alice, message))
    bob.unstall()
    messages = bob.take("MESSAGE")
    assert len(messages) == 11
    assert contents(messages)[-1] == NEW


def test_what_a_client_without_ack_has_taken_is_not_replaced(world: World, alice: Client) -> None:
    bob = world.login("bob", ack=False)
    message = alice.person.message(bob.person, encrypted=OLD)
    alice.send(message)
    alice.send(again(alice, message))
    assert contents(bob.take("MESSAGE")) == [OLD]


# --- order ------------------------------------------------------------------------


def test_messages_of_many_senders_arrive_as_accepted(world: World, bob: Client) -> None:
    senders = [world.login(f"sender {number}") for number in range(5)]
    sent = []
    for turn in range(6):
        for sender in senders:
            message = sender.person.message(bob.person)
            sent.append(message)
            sender.put(message)
        if turn % 2:
            world.run()
    world.run()
    messages = bob.take("MESSAGE")
    assert ids(messages) == ids(sent)
    numbers = [frame["seq"] for frame in messages]
    assert numbers == sorted(set(numbers))


def test_answers_come_in_the_order_of_requests(world: World, alice: Client, bob: Client) -> None:
    world.make_contacts(alice, bob)
    sent = [alice.person.message(bob.person) for _ in range(700)]  # more than one batch of the store
    assert ids(alice.send(*sent)) == ids(sent)
    assert ids(bob.take("MESSAGE")) == ids(sent)


def test_transactions_are_bounded(world: World, alice: Client, bob: Client) -> None:
    world.make_contacts(alice, bob)
    world.writer.holding = True
    alice.send(*(alice.person.message(bob.person) for _ in range(900)))
    sizes = []
    while world.writer.held:
        sizes.append(len(world.writer.held[0][0]))
        world.writer.run_held()
        world.run()
    assert sizes[:2] == [512, 388]
    assert set(sizes[2:]) <= {1}, "reading on, for a recipient who is behind"


def test_person_of_another_world_cannot_be_reached(world: World, alice: Client) -> None:
    assert alice.ask(alice.person.message(Person("stranger")))["payload"]["code"] == 1004
    world.register("stranger")
    assert alice.ask(alice.person.message(Person("stranger")))["payload"]["status"] == "accepted"


@pytest.mark.parametrize(
    ("first", "second", "conversation"),
    [("QUJDREVG", "QUJD", "c"), ("QUJDREVG", "REVG", "c"), ("QUJD", "c2VjcmV0", "c2VjcmV0")],
    ids=["its beginning", "its end", "elsewhere in the frame"],
)
def test_content_that_stands_in_the_one_that_waits_replaces_it(
    world: World, first: str, second: str, conversation: str
) -> None:
    alice, bob = world.login("alice"), world.login("bob")
    old = alice.person.message(bob.person, encrypted=first, conversation=conversation)
    number = old["payload"]["messageId"]
    alice.send(old)
    alice.send(alice.person.message(bob.person, encrypted=second, conversation=conversation, message_id=number))
    found: list[Frame] = bob.take("MESSAGE")
    assert [frame["payload"]["encrypted"] for frame in found] == [first, second]
