"""Who sends one message to many, and what came of it."""

from typing import Any, Final

from support.people import Frame, Person, base64_text
from support.simulated import Client, World

FEATURES: Final = ("many",)
NOBODY: Final = base64_text(bytes(16))


def sender(world: World, name: str = "alice", **more: Any) -> Client:
    client = world.login(name, features=FEATURES, **more)
    client.take()
    return client


def members_of(world: World, count: int) -> list[Client]:
    return [world.login(f"member {number}") for number in range(count)]


def result(client: Client, frame: Frame | bytes) -> Frame:
    """The MANY_RESULT, of which there is one."""
    [answer] = [found for found in client.send(frame) if found["type"] in {"MANY_RESULT", "ERROR"}]
    assert answer["type"] == "MANY_RESULT", answer
    payload: Frame = answer["payload"]
    return payload


def refusal(client: Client, frame: Frame) -> tuple[int, Frame]:
    answer = client.ask(frame)
    assert answer["type"] == "ERROR", answer
    return answer["payload"]["code"], answer["payload"]["details"]


def mailbox(world: World, person: Person) -> list[str]:
    items = world.peek(lambda tx: tx.mailboxes.read(person.id, 0, 1 << 30, 0)).items
    return [item.name for item in items]
