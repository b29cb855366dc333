"""Who may do what: every act, by everybody it could be, at a relay, against the one table and its document."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from phantom_messenger.relay import permissions
from phantom_messenger.relay.permissions import PERMISSIONS, Action, Permission, Relation, is_allowed
from phantom_messenger.wire import frames
from support.simulated import Client, World

DOCUMENT = Path(__file__).parents[2] / "docs/authorisation.md"


def meet(world: World, relation: Relation) -> tuple[Client, Client]:
    """Somebody who is this to Bob, and Bob."""
    bob = world.login("bob")
    if relation is Relation.OWNER:
        return bob, bob
    alice = world.login("alice")
    if relation is Relation.BLOCKED:
        world.make_contacts(alice, bob)
        bob.send(bob.person.block(alice.person))
    if relation is Relation.REPLIED_TO:
        bob.send(bob.person.message(alice.person))
        alice.settle()
        bob.settle()
    elif relation is Relation.CONTACT:
        world.make_contacts(alice, bob)
    alice.take()
    bob.take()
    return alice, bob


def writes(world: World, user: Client, bob: Client) -> bool:
    message = user.person.message(bob.person)
    answers = user.send(message)
    assert "accepted" in [frame["payload"].get("status") for frame in answers]
    held = world.peek(lambda tx: tx.mailboxes.read(bob.person.id, 0, 1 << 20, 0)).items
    return message["payload"]["messageId"] in [item.name for item in held]


def fills(world: World, user: Client, bob: Client) -> bool:
    if user is not bob:
        bob.drop()
    answers = user.send(*(user.person.message(bob.person) for _ in range(101)))
    held = world.peek(lambda tx: len(tx.mailboxes.read(bob.person.id, 0, 1 << 30, 0).items))
    assert held == 0 or held >= 100
    return held > 100 and "ERROR" not in [frame["type"] for frame in answers]


def replaces(world: World, user: Client, bob: Client) -> bool:
    message_id = user.person.new_message_id()
    if user is not bob:
        bob.drop()
    for text in ("b25l", "dHdv"):
        user.send(user.person.message(bob.person, message_id=message_id, encrypted=text))
    held = [item.text for item in world.peek(lambda tx: tx.mailboxes.read(bob.person.id, 0, 1 << 20, 0)).items]
    return len([text for text in held if message_id.encode() in text]) == 1 and any(b"dHdv" in text for text in held)


def collects(world: World, user: Client, bob: Client) -> bool:
    carol = world.login("carol")
    carol.send(carol.person.message(bob.person))
    [routed] = bob.take("MESSAGE")
    assert user.send(*(user.person.ack(routed, status) for status in ("delivered", "read", "burned"))) == []
    bob.drop()
    return world.login("bob").take("MESSAGE") == []


def learns_fate(world: World, user: Client, bob: Client) -> bool:
    if not writes(world, user, bob):
        return False
    [routed] = bob.take("MESSAGE")
    bob.send(bob.person.ack(routed, "read"))
    return "MESSAGE_ACK" in [frame["type"] for frame in user.take()]


def takes_bundle(world: World, user: Client, bob: Client) -> bool:
    bob.send(bob.person.publish([1, 2]))
    answers = user.send(user.person.init(bob.person, name=str(world.clock.wall)))
    return [frame["payload"].get("oneTimePreKeyId") for frame in answers if frame["type"].endswith("RESPONSE")] == [1]


def publishes(world: World, user: Client, bob: Client) -> bool:
    user.send(user.person.publish([7, 8, 9]))
    return bool(world.peek(lambda tx: tx.prekeys.counts(bob.person.id)).one_time == 3)


def sees_presence(world: World, user: Client, bob: Client) -> bool:
    [asked] = [frame for frame in user.send(user.person.asks_for(bob.person)) if frame["type"] == "PRESENCE"]
    bob.drop()
    world.pass_time(11_000)
    seen = user.take("PRESENCE") != []
    assert seen == (asked["payload"]["status"] == "online")
    return seen


def sees_typing(world: World, user: Client, bob: Client) -> bool:
    assert bob.send(bob.person.presence("typing", "conversation")) == []
    world.run()
    return user.take("PRESENCE") != []


def blocks(world: World, user: Client, bob: Client) -> bool:
    carol = world.person("carol")
    user.send(user.person.block(carol))
    return bool(world.peek(lambda tx: tx.directory.has_blocked(bob.person.id, carol.id)))


def deletes(world: World, user: Client, bob: Client) -> bool:
    user.send(user.person.account_delete())
    return world.peek(lambda tx: tx.directory.public_key(bob.person.id)) is None


ATTEMPTS: dict[Action, Callable[[World, Client, Client], bool]] = {
    Action.WRITE: writes,
    Action.EXCEED_STRANGER_QUOTA: fills,
    Action.REPLACE: replaces,
    Action.COLLECT: collects,
    Action.SEE_DELIVERY_STATUS: learns_fate,
    Action.TAKE_BUNDLE: takes_bundle,
    Action.PUBLISH: publishes,
    Action.SEE_PRESENCE: sees_presence,
    Action.SEE_TYPING: sees_typing,
    Action.BLOCK: blocks,
    Action.DELETE: deletes,
}

# Nobody is told of oneself; and whoever writes to somebody who has written becomes a contact by that.
MEANINGLESS = {
    *((act, Relation.OWNER) for act in (Action.SEE_DELIVERY_STATUS, Action.SEE_PRESENCE, Action.SEE_TYPING)),
    (Action.SEE_DELIVERY_STATUS, Relation.REPLIED_TO),
}
CASES = [(act, relation) for act in Action for relation in Relation if (act, relation) not in MEANINGLESS]


@pytest.mark.parametrize(("act", "relation"), CASES, ids=[f"{act.name} {relation.name}" for act, relation in CASES])
def test_relay_allows_what_the_table_allows_and_nothing_else(world: World, act: Action, relation: Relation) -> None:
    user, bob = meet(world, relation)
    assert ATTEMPTS[act](world, user, bob) == (relation >= PERMISSIONS[act].who)


LOOSENED = {
    Action.EXCEED_STRANGER_QUOTA: Relation.STRANGER,
    Action.SEE_DELIVERY_STATUS: Relation.STRANGER,
    Action.SEE_PRESENCE: Relation.OWNER,
}


@pytest.mark.parametrize("act", LOOSENED)
def test_relay_obeys_the_table_itself(world: World, monkeypatch: pytest.MonkeyPatch, act: Action) -> None:
    """The control: another table, another relay."""
    monkeypatch.setitem(permissions.PERMISSIONS, act, Permission(LOOSENED[act], "-"))
    before = LOOSENED[act] is not Relation.STRANGER
    user, bob = meet(world, Relation.CONTACT if before else Relation.STRANGER)
    assert ATTEMPTS[act](world, user, bob) is not before


def test_contact_who_may_not_sees_nobody_type(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(permissions.PERMISSIONS, Action.SEE_TYPING, Permission(Relation.OWNER, "-"))
    assert not sees_typing(world, *meet(world, Relation.CONTACT))


@pytest.mark.parametrize("relation", Relation)
@pytest.mark.parametrize("act", Action)
def test_permission_is_what_the_relation_gives(world: World, act: Action, relation: Relation) -> None:
    user, bob = meet(world, relation)
    if relation is Relation.OWNER and PERMISSIONS[act].who is not Relation.OWNER:
        user.send(user.person.message(user.person))  # then one has written to oneself
    held = world.peek(lambda tx: is_allowed(act, user.person.id, bob.person.id, tx.directory))
    assert held == (relation >= PERMISSIONS[act].who)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("act", Action)
def test_who_was_answered_in_groups_alone_is_replied_to_and_no_contact(world: World, act: Action, both: bool) -> None:
    alice, bob = world.login("alice", features=["many"]), world.login("bob", features=["many"])
    for one, other in ((bob, alice), (alice, bob))[: 1 + both]:
        one.send(one.person.message_many([other.person], group=True))
    held = world.peek(lambda tx: is_allowed(act, alice.person.id, bob.person.id, tx.directory))
    assert held == (PERMISSIONS[act].who <= Relation.REPLIED_TO)


def test_no_frame_names_an_owner() -> None:
    """Acts of owners need no check: whose thing it is, the session says."""
    frames_of_owners = (frames.MessageAck, frames.PreKeyPublish, frames.PreKeyStatusQuery, frames.AccountDelete)
    people = {"user_id", "recipient_id", "target_id", "sender_id", "identity_key", "public_key"}
    named = {frame.__name__: people & payload_fields(frame) for frame in frames_of_owners}
    # The sender of an ack is part of the message's name, in the mailbox of the session's user.
    assert named == {
        "MessageAck": {"sender_id"},
        "PreKeyPublish": set(),
        "PreKeyStatusQuery": set(),
        "AccountDelete": set(),
    }
    assert people & payload_fields(frames.Message) == {"recipient_id"}, "the control"
    assert people & payload_fields(frames.MessageMany) == set(), "its recipients are parts, each judged by itself"


def payload_fields(frame: type[frames.Frame]) -> set[str]:
    [payload] = [field.type for field in msgspec.structs.fields(frame) if field.name == "payload"]
    kinds = get_args(payload) or (payload,)
    return {field.name for kind in kinds if issubclass(kind, msgspec.Struct) for field in msgspec.structs.fields(kind)}


def test_document_shows_the_table() -> None:
    rows = re.findall(r"^\| ([a-z].*) \| ([\w-]+) \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert rows == [
        (act.value, PERMISSIONS[act].who.name.lower().replace("_", "-"), PERMISSIONS[act].others) for act in Action
    ]
