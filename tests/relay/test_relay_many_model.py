"""What comes of a MESSAGE_MANY is what comes of as many messages: random ones, played both ways."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from many_samples import result, sender

from phantom_messenger.relay.handlers import many
from support.amounts import amount
from support.people import Person, key_text
from support.simulated import World


def schedules(count: int) -> Iterator[tuple[int, random.Random]]:
    for number in range(count):
        yield number, random.Random(number)  # noqa: S311 - the same in every run


def read(world: World, person: Person) -> list[Any]:
    """What waits for somebody."""
    page = world.peek(lambda tx: tx.mailboxes.read(person.id, 0, 1 << 30, 0))
    return [(item.seq, item.text, item.expires_at) for item in page.items]


def played(number: int, chance: random.Random, *, is_many: bool) -> Any:
    """What a sender is told, and what waits for whom, if a message to many is one frame or several."""
    world = World()
    try:
        alice = sender(world)
        names = [f"member {index}" for index in range(12)]
        for name in names[:10]:
            world.register(name)
        people = [world.person(name) for name in names]
        for index, person in enumerate(people[:10]):
            client = world.login(person)
            if index % 3 == 0:
                client.send(client.person.message(alice.person))
            if index % 4 == 1:
                client.send(client.person.block(alice.person))
            client.drop()
        alice.settle()
        alice.take()
        told: list[Any] = []
        ids = [key_text(f"{number} {index}") for index in range(3)]
        for turn in range(chance.randint(2, 6)):
            chosen = chance.sample(people, chance.randint(1, 12))
            texts = chance.sample(["QUJD", "c2VjcmV0", "QUJDREVG"], 1)[0]
            heads = [chance.choice(["", "Ym9i"]) for _ in chosen]
            message_id = f"{int.from_bytes(chance.choice(ids).encode()) % 3:08d}-0000-4000-8000-000000000000"
            metadata = chance.choice([None, {"expiresIn": 1_000 * (turn + 1)}, {"a": 1}])
            common: dict[str, Any] = {"message_id": message_id, "metadata": metadata}
            if is_many:
                answer = result(alice, alice.person.message_many(chosen, heads=heads, common=texts, **common))
                refused = {part["recipientId"]: (part["code"], part["reason"]) for part in answer["refused"]}
                assert answer["accepted"] == len(chosen) - len(refused)
            else:
                refused = {}
                for person, head in zip(chosen, heads, strict=True):
                    for frame in alice.send(alice.person.message(person, encrypted=head + texts, **common)):
                        if frame["type"] == "ERROR":
                            details = frame["payload"]
                            refused[person.id] = (details["code"], details["details"]["reason"])
            told.append(refused)
            world.pass_time(chance.choice([0, 500]))
            if chance.random() < 0.3:
                reader = world.login(chance.choice(people[:10]))
                reader.settle()
                reader.drop()
        waiting = [read(world, person) for person in people[:10]]
        return told, waiting
    finally:
        world.close()


def differs(number: int, chance: random.Random) -> bool:
    """Whether it makes a difference if a message to many is one frame or several."""
    state = chance.getstate()
    many = played(number, chance, is_many=True)
    chance.setstate(state)
    return bool(many != played(number, chance, is_many=False))


@pytest.mark.parametrize("part", range(4))
def test_result_is_that_of_as_many_messages(part: int) -> None:
    assert [
        number for number, chance in schedules(amount(30, 10_000)) if number % 4 == part and differs(number, chance)
    ] == []


def test_control_relay_that_forgets_a_refusal_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = many._result
    monkeypatch.setattr(many, "_result", lambda core, frame, refused: real(core, frame, dict([*refused.items()][1:])))
    assert any(differs(number, chance) for number, chance in schedules(5))
