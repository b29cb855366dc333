"""MESSAGE_MANY: what its recipients get, what is refused to one of them or to all, and what it costs its sender."""

from typing import Any

import pytest
from many_samples import NOBODY, mailbox, members_of, refusal, result, sender

from phantom_messenger.wire.limits import MAX_GROUP_BACKLOG
from support.people import base64_text, is_signed_by
from support.simulated import MINUTE, MakeWorld, World

# --- the feature --------------------------------------------------------------------


def test_feature_is_taken_up_by_those_who_say_it(world: World) -> None:
    def features(words: list[str] | None) -> Any:
        client = world.connect("alice")
        [answer, *_] = client.send(client.auth(words))
        return answer["payload"].get("features")

    assert features(["ack", "many"]) == ["many"]
    assert features(["devices", "suite2", "many", "other"]) == ["suite2", "many", "devices"]
    assert features(["ack"]) is None
    assert features(None) is None


@pytest.mark.parametrize("kind", ["MESSAGE_MANY", "PREKEY_FETCH"])
def test_to_others_it_is_an_unknown_type(world: World, kind: str) -> None:
    alice, bob = world.login("alice"), world.login("bob")
    frame = alice.person.message_many([bob.person]) if kind == "MESSAGE_MANY" else alice.person.fetch(bob.person)
    unknown = alice.ask(alice.person.frame("NO_SUCH_TYPE", {}))
    assert alice.ask(frame) == {**unknown, "timestamp": world.clock.wall}
    assert alice.ask(frame["type"].join(['{"type":"', '"}']).encode())["payload"] == unknown["payload"]
    assert mailbox(world, bob.person) == []


def test_session_without_a_signed_login_gets_no_many(make_world: MakeWorld) -> None:
    world = make_world(reference_clients=True)
    client = world.connect(world.person("alice", user_id=base64_text(bytes(20))))
    login = client.person.unsigned_auth()
    login["payload"]["features"] = ["many", "devices"]
    answer = client.ask(login)
    assert answer["payload"].get("features") == ["devices"]
    assert refusal(client, client.person.message_many([NOBODY])) == (1001, {"reason": "type"})


def test_before_a_login_it_ends_the_connection(world: World) -> None:
    client = world.connect("alice")
    assert client.ask(client.person.message_many([NOBODY]))["payload"]["details"] == {"reason": "not-authenticated"}
    assert client.close_code() == 4_000


# --- what comes of it ---------------------------------------------------------------


def test_each_recipient_gets_a_message_of_their_own(world: World) -> None:
    alice, members = sender(world), members_of(world, 3)
    frame = alice.person.message_many(
        [member.person for member in members],
        heads=["Ym9i", "", "Y2Fyb2xp"],
        metadata={"burnAfterRead": True, "x": [1]},
        envelope={"id": "7"},
    )
    answer = alice.ask(frame)
    assert answer == {
        "type": "MANY_RESULT",
        "id": "7",
        "timestamp": world.clock.wall,
        "payload": {"messageId": frame["payload"]["messageId"], "accepted": 3, "refused": []},
    }
    for member, part, text in zip(members, frame["payload"]["recipients"], ["Ym9i", "", "Y2Fyb2xp"], strict=True):
        [message] = member.take()
        seq = message.pop("seq")
        assert seq > 0
        assert message == {
            "type": "MESSAGE",
            "timestamp": frame["timestamp"],
            "signature": part["signature"],
            "payload": {
                "conversationId": "conversation",
                "encrypted": text + "c2VjcmV0",
                "messageId": frame["payload"]["messageId"],
                "metadata": {"burnAfterRead": True, "x": [1]},
                "recipientId": member.person.id,
                "senderId": alice.person.id,
            },
        }
        assert is_signed_by(message, alice.person.public_key)


def test_reference_client_sees_byte_for_byte_what_a_message_is(world: World) -> None:
    """Two recipients who have never heard of it, one of them written to by itself."""
    alice, bob, carol = sender(world), world.login("bob", ack=False), world.login("carol", ack=False)
    frame = alice.person.message_many([bob.person, carol.person])
    message_id = frame["payload"]["messageId"]
    before = len(bob.connection.written), len(carol.connection.written)
    result(alice, frame)
    single = alice.person.message(carol.person, message_id=message_id)
    assert single["signature"] == frame["payload"]["recipients"][1]["signature"]
    [many] = carol.connection.written[before[1] :]
    dave = world.login("alice")  # the same text, sent as a MESSAGE, to a mailbox that is as old
    world.clock.advance(15 * MINUTE)
    written = len(carol.connection.written)
    assert dave.ask({**single, "timestamp": single["timestamp"]})["payload"]["details"]["reason"] == "clock"
    world.clock.wall -= 15 * MINUTE
    dave.send(single)
    [alone] = carol.connection.written[written:]
    assert many.replace(b'"seq":1,', b"") == alone.replace(b'"seq":2,', b"")
    assert len(bob.connection.written) == before[0] + 1


def test_expiry_and_receipts_are_those_of_a_message(world: World) -> None:
    alice, bob, carol = sender(world), world.login("bob"), world.login("carol")
    world.make_contacts(alice, bob)
    world.make_contacts(alice, carol)
    carol.drop()
    frame = alice.person.message_many([bob.person, carol.person], metadata={"expiresIn": 1_000})
    result(alice, frame)
    [message] = bob.take("MESSAGE")
    bob.send(bob.person.ack(message), bob.person.ack(message, "read"))
    world.pass_time(30_000)
    told = [(part["payload"]["recipientId"], part["payload"]["status"]) for part in alice.take("MESSAGE_ACK")]
    assert told == [
        (bob.person.id, "delivered"),
        (bob.person.id, "read"),
        (carol.person.id, "expired"),
    ]


def test_same_frame_again_is_accepted_and_stored_once(world: World) -> None:
    alice, bob, carol = sender(world), world.login("bob"), world.login("carol")
    carol.drop()
    frame = alice.person.message_many([bob.person, carol.person])
    for _ in range(3):
        assert result(alice, frame)["accepted"] == 2
    assert len(bob.take("MESSAGE")) == 1
    assert mailbox(world, carol.person) == [frame["payload"]["messageId"]]


def test_message_that_is_encrypted_again_replaces_the_one_that_waits(world: World) -> None:
    alice = sender(world)
    world.register("bob")
    bob = world.person("bob")
    first = alice.person.message_many([bob])
    result(alice, first)
    again = alice.person.message_many([bob], message_id=first["payload"]["messageId"], common="QUJD")
    result(alice, again)
    [message] = world.login("bob").take("MESSAGE")
    assert message["payload"]["encrypted"] == "QUJD"


# --- refusals -----------------------------------------------------------------------


def test_one_full_mailbox_of_200_is_named_and_the_others_are_stored(world: World) -> None:
    alice = sender(world)
    people = [world.person(f"member {number}") for number in range(200)]
    world.register(*people)
    full = people[117]
    for _ in range(100):
        alice.put(alice.person.message(full))
    world.run()
    alice.take()
    answer = result(alice, alice.person.message_many(people))
    assert answer["accepted"] == 199
    assert answer["refused"] == [
        {"recipientId": full.id, "code": 1003, "reason": "backlog", "retryAfter": 60_000},
    ]
    message = answer["messageId"]
    assert [person.id for person in people if message not in mailbox(world, person)] == [full.id]


def test_who_has_no_account_is_named(world: World) -> None:
    alice, bob = sender(world), world.login("bob")
    answer = result(alice, alice.person.message_many([NOBODY, bob.person]))
    assert answer["accepted"] == 1
    assert answer["refused"] == [{"recipientId": NOBODY, "code": 1004, "reason": "user"}]


def test_who_has_blocked_the_sender_is_not_named(world: World) -> None:
    alice, bob, carol = sender(world), world.login("bob"), world.login("carol")
    bob.ask(bob.person.block(alice.person))
    answer = result(alice, alice.person.message_many([bob.person, carol.person], group=True))
    assert (answer["accepted"], answer["refused"]) == (2, [])
    assert (bob.take("MESSAGE"), len(carol.take("MESSAGE"))) == ([], 1)
    assert not world.peek(lambda tx: tx.directory.has_written_in_group(alice.person.id, bob.person.id))


@pytest.mark.parametrize("wrong", ["first", "last", "head", "frame", "other time"])
def test_one_wrong_signature_refuses_the_whole_frame(world: World, wrong: str) -> None:
    alice, members = sender(world), members_of(world, 3)
    frame = alice.person.message_many([member.person for member in members], heads=["Ym9i"] * 3)
    parts = frame["payload"]["recipients"]
    match wrong:
        case "first":
            parts[0]["signature"] = parts[1]["signature"]
        case "last":
            parts[2]["signature"] = alice.person.sign(b"another text")
        case "head":
            parts[1]["head"] = "Ym9j"
        case "other time":
            frame["timestamp"] += 1
    frame = alice.person.signed(frame)
    if wrong == "frame":
        frame["signature"] = parts[0]["signature"]
    assert refusal(alice, frame) == (1002, {"reason": "signature"})
    assert [member.take() for member in members] == [[], [], []]
    good = alice.person.message_many([member.person for member in members])
    assert result(alice, good)["accepted"] == 3, "the control"


def test_wrong_signature_is_the_fault_of_its_own_frame_alone(world: World) -> None:
    """Several frames of one turn, checked in one batch."""
    alice, bob, carol = sender(world), sender(world, "bob"), world.login("carol")
    wrong = alice.person.message_many([carol.person, bob.person])
    wrong["payload"]["recipients"][0]["signature"] = alice.person.sign(b"x")
    alice.put(alice.person.signed(wrong))
    bob.put(bob.person.message_many([carol.person, alice.person]))
    alice.put(alice.person.message_many([carol.person, bob.person]))
    bob.put(bob.person.message(carol.person))
    world.run()
    answers = [frame["type"] for frame in alice.take() if frame["type"] in {"ERROR", "MANY_RESULT"}]
    assert answers == ["ERROR", "MANY_RESULT"]
    assert len(carol.take("MESSAGE")) == 3


def test_oneself_is_no_recipient(world: World) -> None:
    alice, bob = sender(world), world.login("bob")
    frame = alice.person.message_many([bob.person, alice.person])
    assert refusal(alice, frame) == (1001, {"reason": "field", "field": "payload.recipients[1].recipientId"})
    assert bob.take() == []


def test_quota_of_the_address_refuses_those_for_whom_there_is_no_room(make_world: MakeWorld) -> None:
    world = make_world(address_megabytes_a_day=1, rate_message=1_000)
    alice = sender(world)
    people = [world.person(f"member {number}") for number in range(40)]
    world.register(*people)
    text = base64_text(bytes(30_000))
    answer = result(alice, alice.person.message_many(people, common=text))
    stored = [person for person in people if mailbox(world, person)]
    assert answer["accepted"] == len(stored) == 40 - len(answer["refused"])
    assert 20 <= len(stored) < 30
    assert {(part["code"], part["reason"]) for part in answer["refused"]} == {(1003, "quota")}
    assert all(part["retryAfter"] > 0 for part in answer["refused"])


def test_disk_that_is_full_stores_for_nobody(world: World) -> None:
    alice, bob, carol = sender(world), world.login("bob"), world.login("carol")
    bob.drop()
    carol.drop()
    world.writer.full = True
    frame = alice.person.message_many([bob.person, carol.person])
    assert alice.ask(frame)["payload"]["code"] == 1007
    world.writer.full = False
    assert mailbox(world, bob.person) == mailbox(world, carol.person) == []


# --- rates --------------------------------------------------------------------------


def test_frame_counts_as_one_message(make_world: MakeWorld) -> None:
    world = make_world()
    alice, bob, carol = sender(world), world.login("bob"), world.login("carol")
    for _ in range(30):
        result(alice, alice.person.message_many([bob.person, carol.person]))
        alice.send(alice.person.message(bob.person))
    code, details = refusal(alice, alice.person.message_many([bob.person]))
    assert (code, details["reason"]) == (1003, "rate")
    assert refusal(alice, alice.person.message(bob.person))[1] == {"reason": "rate"}


def test_recipients_of_a_minute_are_counted_and_a_refusal_counts_nothing(make_world: MakeWorld) -> None:
    world = make_world(rate_recipients=10)
    alice = sender(world)
    people = [world.person(f"member {number}") for number in range(12)]
    world.register(*people)
    assert result(alice, alice.person.message_many(people[:6]))["accepted"] == 6
    world.clock.advance(10_000)
    assert result(alice, alice.person.message_many(people[:3]))["accepted"] == 3
    answer = alice.ask(alice.person.message_many(people[:2]))
    assert answer["payload"]["details"] == {"reason": "rate"}
    assert answer["payload"]["retryAfter"] == 50_000
    assert result(alice, alice.person.message_many(people[:1]))["accepted"] == 1
    world.clock.advance(50_000)
    assert result(alice, alice.person.message_many(people[:6]))["accepted"] == 6
    answer = alice.ask(alice.person.message_many(people[:4]))
    assert answer["payload"]["retryAfter"] == 10_000, "until the three and the one are a minute old"
    world.clock.advance(MINUTE)
    assert result(alice, alice.person.message_many(people))["accepted"] == 12, "more than a minute's, when none count"


# --- groups -------------------------------------------------------------------------


def test_message_to_a_group_makes_nobody_a_contact(world: World) -> None:
    alice, bob = sender(world), sender(world, "bob")
    for one, other in ((alice, bob), (bob, alice), (alice, bob)):
        one.put(one.person.message_many([other.person], group=True))
        world.run()
    assert {frame["type"] for frame in alice.take() + bob.take()} == {"MESSAGE", "MANY_RESULT"}
    asked = alice.ask(alice.person.asks_for(bob.person))
    assert asked["payload"] == {"userId": bob.person.id, "status": "offline"}
    assert bob.send(bob.person.presence("typing", "conversation")) == alice.take() == []


def test_control_message_to_many_that_is_no_group_makes_contacts(world: World) -> None:
    alice, bob = sender(world), sender(world, "bob")
    result(alice, alice.person.message_many([bob.person]))
    bob.put(bob.person.message_many([alice.person], group=False))
    world.run()
    assert "PRESENCE" in [frame["type"] for frame in alice.take()]
    assert "PRESENCE" in [frame["type"] for frame in bob.take()]


def test_message_to_a_group_counts_as_an_answer(world: World) -> None:
    alice, bob = sender(world), sender(world, "bob")
    result(bob, bob.person.message_many([alice.person], group=True))
    bob.drop()
    answers = alice.send(*(alice.person.message(bob.person) for _ in range(101)))
    assert [frame for frame in answers if frame["type"] == "ERROR"] == []
    assert len(mailbox(world, bob.person)) == 101


@pytest.mark.parametrize("absent", [False, True])
def test_message_to_a_group_leads_to_no_receipt(world: World, absent: bool) -> None:
    alice = sender(world)
    bob = world.login("bob", features=["absent"] if absent else [])
    carol = world.login("carol")
    for other in (bob, carol):
        world.make_contacts(alice, other)
    carol.drop()
    if absent:
        bob.send(bob.person.presence("offline"))
        alice.take()
    frame = alice.person.message_many([bob.person, carol.person], group=True, metadata={"expiresIn": 1_000})
    result(alice, frame)
    [message] = bob.take("MESSAGE")
    bob.send(bob.person.ack(message, "read"))
    if absent:
        bob.send(bob.person.presence("online"))
    world.pass_time(30_000)
    told = [receipt["payload"]["messageId"] for receipt in alice.take("MESSAGE_ACK")]
    assert frame["payload"]["messageId"] not in told
    assert mailbox(world, bob.person) == mailbox(world, carol.person) == []


def test_300_messages_to_groups_of_one_sender_may_wait(world: World) -> None:
    alice, bob = sender(world), world.login("bob")
    world.make_contacts(alice, bob)
    bob.drop()
    for _ in range(MAX_GROUP_BACKLOG):
        alice.put(alice.person.message_many([bob.person], group=True))
    world.run()
    assert all(frame["payload"]["accepted"] == 1 for frame in alice.take("MANY_RESULT"))
    answer = result(alice, alice.person.message_many([bob.person], group=True))
    assert [part["reason"] for part in answer["refused"]] == ["backlog"]
    assert result(alice, alice.person.message_many([bob.person]))["accepted"] == 1, "to many, but to no group"
    [accepted] = alice.send(alice.person.message(bob.person))
    assert accepted["payload"]["status"] == "accepted"
    carol = sender(world, "carol")
    assert result(carol, carol.person.message_many([bob.person], group=True))["accepted"] == 1, "another sender"
