"""ALLOWANCE: who is let through beside the rate, by whose word, how often, for how long; and what it tells nobody."""

from typing import Any, Final

import pytest

from phantom_messenger.relay import allowances
from phantom_messenger.relay.allowances import Allowances
from phantom_messenger.wire.limits import (
    ALLOWANCE_EVERY_MS,
    ALLOWANCE_MS,
    ALLOWED_MESSAGES,
    MAX_ALLOWANCES,
    MAX_ALLOWANCES_PER_ADDRESS,
    RATES,
    RateClass,
)
from support.people import Frame, key_text
from support.simulated import MINUTE, Client, MakeWorld, World

RATE: Final = RATES[RateClass.MESSAGE]
MANY: Final = ["ack", "many", "allowance"]


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A simulated relay with its usual limits."""
    return make_world()


def pair(world: World, *, sender_knows: bool = True) -> tuple[Client, Client]:
    """Alice, who is to send, and her laptop, which is to get."""
    alice = world.login("alice", features=MANY if sender_knows else ["ack", "many"])
    return alice, world.login("laptop", features=MANY)


def told(messages: int, expires_in: int = ALLOWANCE_MS, **user: str) -> Frame:
    return {"messages": messages, "expiresIn": expires_in, **user}


def sent(sender: Client, recipient: Client, count: int, *, in_one: bool = False) -> int:
    """Send so many messages; how many are let through. Their recipient takes them."""
    passed = 0
    for _ in range(count):
        own, other = sender.person, recipient.person
        frame = own.message_many([other]) if in_one else own.message(other)
        [answer] = [one for one in sender.send(frame) if one["type"] in {"MESSAGE_ACK", "MANY_RESULT", "ERROR"}]
        if answer["type"] == "ERROR":
            assert answer["payload"]["details"] == {"reason": "rate"}
            break
        passed += 1
        recipient.settle()
    return passed


# --- what it does -------------------------------------------------------------------


@pytest.mark.parametrize("in_one", [False, True], ids=["MESSAGE", "MESSAGE_MANY"])
def test_so_many_more_are_let_through_and_no_more(world: World, in_one: bool) -> None:
    alice, laptop = pair(world)
    assert laptop.ask(laptop.person.allowance(alice.person, id="7")) == {
        "type": "ALLOWANCE",
        "id": "7",
        "timestamp": world.clock.wall,
        "payload": told(ALLOWED_MESSAGES, senderId=alice.person.id),
    }
    [notice] = alice.take()
    assert notice == {
        "type": "ALLOWANCE",
        "timestamp": world.clock.wall,
        "payload": told(ALLOWED_MESSAGES, recipientId=laptop.person.id),
    }
    assert sent(alice, laptop, 1_000, in_one=in_one) == ALLOWED_MESSAGES + RATE


def test_without_it_the_rate_is_all(world: World) -> None:
    alice, laptop = pair(world)
    assert sent(alice, laptop, 1_000) == RATE


def test_it_is_for_messages_to_that_user_alone(world: World) -> None:
    alice, laptop = pair(world)
    bob, carol = world.login("bob"), world.login("carol")
    laptop.send(laptop.person.allowance(alice.person))
    alice.take()
    assert sent(alice, bob, 1_000) == RATE
    together = alice.ask(alice.person.message_many([laptop.person, carol.person]))
    assert together["payload"]["details"] == {"reason": "rate"}, "to two it is no message to that one"
    assert sent(alice, laptop, 1_000) == ALLOWED_MESSAGES


def test_what_the_user_writes_to_others_keeps_the_whole_rate(world: World) -> None:
    alice, laptop = pair(world)
    bob = world.login("bob")
    laptop.send(laptop.person.allowance(alice.person))
    alice.take()
    assert sent(alice, laptop, ALLOWED_MESSAGES) == ALLOWED_MESSAGES
    assert sent(alice, bob, 1_000) == RATE


def test_nobody_else_may_use_it(world: World) -> None:
    alice, laptop = pair(world)
    mallory = world.login("mallory", features=MANY)
    laptop.send(laptop.person.allowance(alice.person))
    assert sent(mallory, laptop, 1_000) == RATE


def test_nobody_can_allow_messages_to_somebody_else(world: World) -> None:
    """A frame names no recipient: it is the session's user, and a member that names one is refused."""
    alice, laptop = pair(world)
    bob, mallory = world.login("bob"), world.login("mallory", features=MANY)
    frame = mallory.person.allowance(alice.person)
    frame["payload"]["recipientId"] = bob.person.id
    assert mallory.ask(frame)["payload"]["details"] == {"reason": "field", "field": "payload.recipientId"}
    mallory.send(mallory.person.allowance(alice.person))
    alice.take()
    assert sent(alice, bob, 1_000) == RATE
    assert sent(alice, laptop, 1_000) == 0


def test_one_is_for_somebody_else(world: World) -> None:
    _, laptop = pair(world)
    refused = laptop.ask(laptop.person.allowance(laptop.person))
    assert refused["payload"]["details"] == {"reason": "field", "field": "payload.senderId"}


def test_sender_without_the_feature_has_the_rate_and_hears_nothing(world: World) -> None:
    alice, laptop = pair(world, sender_knows=False)
    laptop.send(laptop.person.allowance(alice.person))
    assert alice.take() == []
    assert sent(alice, laptop, 1_000) == RATE


def test_mailbox_is_as_full_as_ever(world: World) -> None:
    alice, laptop = pair(world)
    laptop.send(laptop.person.allowance(alice.person))
    laptop.drop()
    alice.take()
    answers = [alice.ask(alice.person.message(laptop.person)) for _ in range(150)]
    reasons = [one["payload"]["details"]["reason"] for one in answers if one["type"] == "ERROR"]
    assert reasons == ["backlog"] * 50, "a stranger's hundred places"


def test_recipients_count_all_the_same(make_world: MakeWorld) -> None:
    alice, laptop = pair(make_world(rate_recipients=10))
    laptop.send(laptop.person.allowance(alice.person))
    assert sent(alice, laptop, 1_000, in_one=True) == 10
    assert sent(alice, laptop, 1_000) == ALLOWED_MESSAGES + RATE - 10, "what was refused was not counted"


# --- the feature --------------------------------------------------------------------


def test_to_others_it_is_an_unknown_type(world: World) -> None:
    alice, bob = world.login("alice", features=["ack", "many"]), world.login("bob")
    unknown = alice.ask(alice.person.frame("NO_SUCH_TYPE", {}))
    assert alice.ask(alice.person.allowance(bob.person)) == {**unknown, "timestamp": world.clock.wall}


def test_session_without_a_signed_login_gets_none(make_world: MakeWorld) -> None:
    world = make_world(reference_clients=True)
    client = world.connect(world.person("alice", user_id=key_text("a claimed id")[:28]))
    login = client.person.unsigned_auth()
    login["payload"]["features"] = ["allowance", "devices"]
    assert client.ask(login)["payload"].get("features") == ["devices"]
    assert client.ask(client.person.allowance("x" * 24))["payload"]["details"]["reason"] == "type"


# --- how often, and for how long ----------------------------------------------------


def test_it_ends(world: World) -> None:
    alice, laptop = pair(world)
    laptop.send(laptop.person.allowance(alice.person))
    alice.take()
    world.clock.advance(ALLOWANCE_MS - 1)
    assert sent(alice, laptop, RATE + 1) == RATE + 1
    world.clock.advance(1)
    assert sent(alice, laptop, 1_000) == RATE


@pytest.fixture
def over(world: World) -> tuple[World, Client, Client]:
    """As ``pair``, after one that has been used up and is over."""
    alice, laptop = pair(world)
    laptop.send(laptop.person.allowance(alice.person))
    alice.take()
    assert sent(alice, laptop, ALLOWED_MESSAGES) == ALLOWED_MESSAGES
    return world, alice, laptop


def asked(laptop: Client, sender: Client) -> Any:
    answers = laptop.send(laptop.person.allowance(sender.person))
    [answer] = [one for one in answers if one["type"] == "ALLOWANCE"]
    return answer["payload"]["messages"]


def test_to_say_it_again_renews_nothing(over: tuple[World, Client, Client]) -> None:
    world, alice, laptop = over
    for minute in range(1, 25 * 60):
        world.clock.advance(MINUTE)
        is_next_day = minute * MINUTE >= ALLOWANCE_EVERY_MS
        assert bool(asked(laptop, alice)) is is_next_day, minute
        if is_next_day:
            return
    raise AssertionError("never again")


def test_neither_a_login_nor_another_sender_nor_a_new_account_renews_it(over: tuple[World, Client, Client]) -> None:
    world, alice, laptop = over
    bob = world.login("bob", features=MANY)
    assert asked(laptop, bob) == 0
    laptop.drop()
    laptop = world.login("laptop", features=MANY)
    assert asked(laptop, alice) == asked(laptop, bob) == 0
    laptop.send(laptop.person.account_delete())
    laptop = world.login("laptop", features=MANY)
    assert asked(laptop, alice) == 0


def test_what_is_left_goes_on_after_either_has_connected_again(world: World) -> None:
    alice, laptop = pair(world)
    laptop.send(laptop.person.allowance(alice.person))
    alice.take()
    assert sent(alice, laptop, 100) == 100
    world.clock.advance(MINUTE)
    alice.drop()
    laptop.drop()
    alice, laptop = pair(world)
    left = told(ALLOWED_MESSAGES - 100, ALLOWANCE_MS - MINUTE)
    answer = laptop.ask(laptop.person.allowance(alice.person))
    assert answer["payload"] == {**left, "senderId": alice.person.id}
    [notice] = alice.take("ALLOWANCE")
    assert notice["payload"] == {**left, "recipientId": laptop.person.id}
    assert sent(alice, laptop, 1_000) == ALLOWED_MESSAGES - 100 + RATE


def test_one_address_has_a_few_open_at_once(world: World) -> None:
    alice = world.login("alice", features=MANY)
    neighbours = [
        world.login(f"n{n}", features=MANY, address="10.9.9.9") for n in range(MAX_ALLOWANCES_PER_ADDRESS + 1)
    ]
    assert [bool(asked(one, alice)) for one in neighbours] == [True] * MAX_ALLOWANCES_PER_ADDRESS + [False]
    assert asked(world.login("elsewhere", features=MANY), alice)
    world.clock.advance(ALLOWANCE_MS)
    assert asked(neighbours[-1], alice), "to have been refused does not count"


def test_a_thousand_are_as_good_as_the_few_that_are_open_at_once(world: World) -> None:
    alice = world.login("alice", features=MANY)
    found = [bool(asked(world.login(f"n{n}", features=MANY), alice)) for n in range(MAX_ALLOWANCES * 2)]
    assert found == [True] * MAX_ALLOWANCES + [False] * MAX_ALLOWANCES
    assert len(alice.take("ALLOWANCE")) == MAX_ALLOWANCES


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowances, "MAX_REMEMBERED", 10)
    box, now = Allowances(b"key"), 0
    for number in range(100):
        assert box.give(f"n{number}", "alice", address=f"a{number}", now=now) is not None
        now += ALLOWANCE_MS
    box.prune(now)
    assert (len(box), len(box._given)) == (0, 10)
    assert box.give("n95", "alice", address="a", now=now) is None
    assert box.give("n1", "alice", address="a", now=now) is not None, "the earliest is forgotten"
    assert not any("n" in str(name) and name in {b"n1", b"n95"} for name in box._given), "no ids are kept"


def test_it_counts_like_block(world: World) -> None:
    alice, laptop = pair(world)
    answers = [laptop.ask(laptop.person.allowance(alice.person)) for _ in range(RATES[RateClass.BLOCK] + 1)]
    assert [one["type"] for one in answers] == ["ALLOWANCE"] * RATES[RateClass.BLOCK] + ["ERROR"]


# --- what it tells ------------------------------------------------------------------


def test_answer_is_the_same_whether_the_sender_is_there_or_exists(world: World) -> None:
    there = world.login("there", features=MANY)
    away = world.login("away", features=MANY)
    away.drop()
    answers = []
    for number, user in enumerate((there.person.id, away.person.id, key_text("nobody"))):
        asker = world.login(f"asker {number}", features=MANY)
        answer = asker.ask(asker.person.allowance(user))
        assert answer["payload"].pop("senderId") == user
        answers.append(answer)
    assert answers[0] == answers[1] == answers[2]


def test_sender_is_told_once_on_each_connection(world: World) -> None:
    alice, laptop = pair(world)
    for _ in range(20):
        laptop.send(laptop.person.allowance(alice.person))
    assert len(alice.take()) == 1
    alice.drop()
    alice = world.login("alice", features=MANY)
    alice.take()
    for _ in range(5):
        laptop.send(laptop.person.allowance(alice.person))
    assert len(alice.take()) == 1


def test_nothing_of_it_is_stored(world: World) -> None:
    alice, laptop = pair(world)
    world.writer.full = True
    answer = laptop.ask(laptop.person.allowance(alice.person))
    assert answer["payload"]["messages"] == ALLOWED_MESSAGES


# --- what comes of misusing it --------------------------------------------------------


def flood(world: World, alice: Client, laptop: Client, minutes: int) -> int:
    """How many messages get through in so many minutes, to a mailbox that is emptied at once."""
    passed = 0
    for _ in range(minutes):
        laptop.send(laptop.person.allowance(alice.person))
        alice.take()
        passed += sent(alice, laptop, 1_000)
        world.clock.advance(MINUTE)
    return passed


def test_flood_by_two_accounts_has_four_minutes_more_in_a_day(world: World) -> None:
    alice, laptop = pair(world)
    assert flood(world, alice, laptop, 30) == 30 * RATE + ALLOWED_MESSAGES
    assert ALLOWED_MESSAGES <= 5 * RATE


def test_control_if_it_could_be_renewed_they_would_have_it_all_the_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "ALLOWANCE_EVERY_MS", 0)
    alice, laptop = pair(world)
    assert flood(world, alice, laptop, 30) >= 30 * RATE + 3 * ALLOWED_MESSAGES


def test_control_without_a_bound_a_thousand_are_a_thousand(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowances, "MAX_ALLOWANCES", 1_000_000)
    alice = world.login("alice", features=MANY)
    count = MAX_ALLOWANCES * 2
    assert [bool(asked(world.login(f"n{n}", features=MANY), alice)) for n in range(count)] == [True] * count


def test_what_is_stored_for_an_address_in_a_day_is_bounded_all_the_same(make_world: MakeWorld) -> None:
    world = make_world(address_megabytes_a_day=1)
    alice, laptop = pair(world)
    laptop.send(laptop.person.allowance(alice.person))
    alice.take()
    large = "QUJD" * 15_000
    reasons = []
    for _ in range(50):
        answers = alice.send(alice.person.message(laptop.person, encrypted=large))
        reasons += [one["payload"]["details"]["reason"] for one in answers if one["type"] == "ERROR"]
        laptop.settle()
    assert set(reasons) == {"quota"}
    assert len(reasons) > 30
