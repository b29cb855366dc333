"""``order`` of MESSAGE_MANY: of several who change a thing one is first, the others are told, all see one order."""

import random
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from many_samples import NOBODY, mailbox, refusal, result, sender

from support.amounts import amount
from support.people import Frame, Person
from support.simulated import MINUTE, Client, MakeWorld, World


def ordered(client: Client, to: Sequence[Person | str], order: Frame, **more: Any) -> Frame:
    return client.person.message_many(to, group=True, order=order, **more)


def not_next(revision: int, author: Client) -> Frame:
    """The details of a refusal: what is stored, and who has written it."""
    name = b64decode(author.person.order(1)["name"])
    by = b64encode(sha256(name + b"\n" + author.person.id.encode()).digest()[:16]).decode()
    return {"reason": "order", "revision": revision, "author": by}


def test_of_two_who_write_the_same_revision_at_once_one_is_refused_and_reaches_nobody(world: World) -> None:
    alice, bob, carol = sender(world), sender(world, "bob"), world.login("carol")
    admins = alice.person, bob.person
    result(alice, ordered(alice, [bob.person, carol.person], alice.person.order(1, *admins)))
    for client in (alice, bob, carol):
        client.take()
    alice.put(ordered(alice, [bob.person, carol.person], alice.person.order(2, *admins)))
    bob.put(ordered(bob, [alice.person, carol.person], bob.person.order(2, *admins)))
    world.run()
    assert [frame["type"] for frame in alice.take()] == ["MANY_RESULT"]
    [refused] = bob.take("ERROR")
    assert refused["payload"]["code"] == 1001
    assert refused["payload"]["details"] == not_next(2, alice)
    assert [frame["payload"]["senderId"] for frame in carol.take()] == [alice.person.id]


def test_every_mailbox_has_the_changes_in_order(world: World) -> None:
    """Three writers who try again and again, from what they know."""
    random_choice = random.Random(4)  # noqa: S311 - the same in every run
    admins = [sender(world, f"admin {number}") for number in range(3)]
    people = [admin.person for admin in admins]
    reader, known = world.login("reader"), dict.fromkeys(range(3), 0)
    accepted: list[str] = []
    seen: list[str] = []
    for _ in range(amount(30, 2_000)):
        at_once = random_choice.sample(range(3), random_choice.randint(1, 3))
        for number in at_once:
            admins[number].put(ordered(admins[number], [reader.person], people[0].order(known[number] + 1, *people)))
        world.run()
        for number in at_once:
            [answer] = admins[number].take()
            if answer["type"] == "MANY_RESULT":
                accepted.append(answer["payload"]["messageId"])
                known[number] += 1
            else:
                known[number] = answer["payload"]["details"]["revision"]
        messages = reader.take("MESSAGE")
        seen += [message["payload"]["messageId"] for message in messages]
        reader.send(*(reader.person.ack(message) for message in messages))
    assert max(known.values()) == len(accepted)
    assert seen == accepted


def test_who_is_no_writer_is_refused(world: World) -> None:
    alice, bob, carol = sender(world), sender(world, "bob"), world.login("carol")
    result(alice, ordered(alice, [carol.person], alice.person.order(1, alice.person)))
    carol.take()
    assert refusal(bob, ordered(bob, [carol.person], bob.person.order(2, bob.person))) == (1002, {"reason": "writer"})
    result(alice, ordered(alice, [carol.person], alice.person.order(2, bob.person)))
    assert refusal(alice, ordered(alice, [carol.person], alice.person.order(3))) == (1002, {"reason": "writer"})
    assert result(bob, ordered(bob, [carol.person], bob.person.order(3)))["accepted"] == 1
    assert len(carol.take("MESSAGE")) == 2


def test_any_revision_begins_if_its_writer_is_among_the_writers(world: World) -> None:
    alice, bob = sender(world), world.login("bob")
    foreign = alice.person.order(5, bob.person)
    assert refusal(alice, ordered(alice, [bob.person], foreign)) == (1002, {"reason": "writer"})
    assert result(alice, ordered(alice, [bob.person], alice.person.order(5)))["accepted"] == 1
    other = alice.person.order(2**32 - 1, name="another")
    assert result(alice, ordered(alice, [bob.person], other))["accepted"] == 1


@pytest.mark.parametrize(("revision", "is_next"), [(6, False), (7, False), (8, True), (1_031, True), (1_032, False)])
def test_revision_is_ahead_by_1_to_1024(world: World, revision: int, is_next: bool) -> None:
    alice, bob = sender(world), world.login("bob")
    result(alice, ordered(alice, [bob.person], alice.person.order(7)))
    answer = alice.ask(ordered(alice, [bob.person], alice.person.order(revision)))
    if is_next:
        assert answer["type"] == "MANY_RESULT"
    else:
        assert answer["payload"]["details"] == not_next(7, alice)


def test_same_revision_of_the_same_message_is_accepted_again(world: World) -> None:
    """Its writer has left the writers by it, and its answer was lost."""
    alice, bob = sender(world), world.login("bob")
    result(alice, ordered(alice, [bob.person], alice.person.order(1)))
    bob.settle()
    frame = ordered(alice, [bob.person], alice.person.order(2, bob.person))
    assert result(alice, frame) == result(alice, frame)
    assert len(bob.take("MESSAGE")) == 1
    other = ordered(alice, [bob.person], alice.person.order(2, bob.person))
    assert refusal(alice, other) == (1002, {"reason": "writer"}), "the control: another message"


def test_lost_answer_comes_although_somebody_was_next(world: World) -> None:
    alice, bob, carol = sender(world), sender(world, "bob"), world.login("carol")
    admins = alice.person, bob.person
    first = ordered(alice, [carol.person], alice.person.order(1, *admins))
    result(alice, first)
    result(bob, ordered(bob, [carol.person], bob.person.order(2, *admins)))
    assert result(alice, first)["accepted"] == 1
    assert len(carol.take("MESSAGE")) == 2
    other = ordered(alice, [carol.person], alice.person.order(1, *admins))
    assert refusal(alice, other) == (1001, not_next(2, bob)), "the control: another message"


def test_refused_recipient_does_not_undo_a_revision(world: World) -> None:
    alice = sender(world)
    answer = result(alice, ordered(alice, [NOBODY], alice.person.order(1)))
    assert answer["accepted"] == 0
    assert refusal(alice, ordered(alice, [NOBODY], alice.person.order(1)))[1]["revision"] == 1


def test_revision_that_cannot_be_stored_stores_no_message(world: World) -> None:
    alice, bob = sender(world), world.login("bob")
    bob.drop()
    world.writer.full = True
    frame = ordered(alice, [bob.person], alice.person.order(1))
    assert alice.ask(frame)["payload"]["code"] == 1007
    world.writer.full = False
    assert mailbox(world, bob.person) == []
    assert result(alice, frame)["accepted"] == 1


def test_orders_that_nobody_has_changed_for_long_are_forgotten(make_world: MakeWorld) -> None:
    world = make_world(account_days=2, rate_message=1_000)
    alice, bob = sender(world), sender(world, "bob")
    result(alice, ordered(alice, [bob.person], alice.person.order(5)))
    day = 24 * 60 * MINUTE
    for _ in range(4):
        world.clock.advance(day)
        for client in (alice, bob):
            client.send(client.person.ping())
        world.tick()
    count = "SELECT count(*) FROM orders"
    assert world.peek(lambda tx: tx.connection.execute(count).get) == 0


def test_store_knows_writers_by_digests_alone(world: World) -> None:
    alice, bob = sender(world), world.login("bob")
    result(alice, ordered(alice, [bob.person], alice.person.order(5, alice.person, bob.person)))
    [row] = world.peek(lambda tx: list(tx.connection.execute("SELECT * FROM orders")))
    assert len(row[2]) == 32
    text = repr(row)
    for person in (alice.person, bob.person):
        assert person.id not in text
        assert repr(person.id.encode())[2:-1] not in text
