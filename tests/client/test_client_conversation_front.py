"""A person and a group are written to and read by the same code."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import TypeVar, cast

import pytest

from phantom_messenger import Client, Conversation, GroupMessage, Message, ReceivedMessage, UnknownContact, UsageError
from phantom_messenger.client.status import DeliveryState, GroupEvent, GroupNews
from support.relay_process import RelayProcess
from support.sdk_clients import NOBODY, PATIENCE, event, friends, opened, run

T = TypeVar("T")


@contextlib.asynccontextmanager
async def reading(items: AsyncIterator[T]) -> AsyncIterator[AsyncGenerator[T, None]]:
    async with contextlib.aclosing(cast("AsyncGenerator[T, None]", items)) as found:
        yield found


@contextlib.asynccontextmanager
async def in_a_group(home: Path, relay: RelayProcess) -> AsyncIterator[tuple[Client, Client]]:
    """Alice and Bob, who know each other and are in the group Tea."""
    async with friends(home, relay) as (alice, bob):
        alice.groups.create("Tea", ["bob"])
        assert await bob.groups.wait_known("Tea", PATIENCE)
        await event(alice, GroupEvent, lambda: bob.groups.accept("Tea"), news=GroupNews.JOINED)
        yield alice, bob


async def answer_one(me: Client) -> ReceivedMessage:
    """What an application does with a message, wherever it was said."""
    async with reading(me.received()) as messages:
        message = await anext(messages)
        await message.mark_read()
        await message.reply(f"{message.contact.label} said {message.text}")
        return message


@pytest.mark.parametrize("name", ["bob", "Tea"])
def test_one_code_talks_to_a_person_and_to_a_group(relay: RelayProcess, tmp_path: Path, name: str) -> None:
    async def main() -> None:
        async with in_a_group(tmp_path, relay) as (alice, bob):
            there = alice.conversation(name)
            assert (there.name, there.label, there.is_group) == (name, name, name == "Tea")
            there.set_typing()
            delivery = await there.send("hello")
            heard = await answer_one(bob)
            assert (heard.text, heard.contact.label, heard.is_newer) == ("hello", "alice", False)
            assert heard.conversation == bob.conversation("alice" if name == "bob" else "Tea")
            async with reading(there.messages()) as messages:
                answer = await anext(messages)
            assert (answer.text, answer.conversation) == ("alice said hello", there)
            assert await delivery.wait(DeliveryState.READ) is DeliveryState.READ
            past = there.history()
            assert [(entry.text, entry.is_own, entry.sender.label) for entry in past] == [
                ("hello", True, alice.contacts.of(alice.user_id).label),
                ("alice said hello", False, "bob"),
            ]
            assert past[0].sender.user_id == alice.user_id
            assert [entry.text for entry in there.history(search="SAID", limit=5)] == ["alice said hello"]
            # The answer was looked at and not handled.
            assert [await there.mark_read(), await there.mark_read()] == [1, 0]

    run(main())


def test_everything_is_heard_in_the_order_in_which_it_came(relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with in_a_group(tmp_path, relay) as (alice, bob):
            for number, name in enumerate(["bob", "Tea", "Tea", "bob", "Tea", "bob"]):
                await (await alice.conversation(name).send(str(number))).wait(DeliveryState.DELIVERED)
            found: list[ReceivedMessage] = []
            async with reading(bob.received()) as messages:
                while len(found) < 6:
                    found.append(await anext(messages))
            assert [message.text for message in found] == ["0", "1", "2", "3", "4", "5"]
            kinds = [GroupMessage if isinstance(message, GroupMessage) else Message for message in found]
            assert kinds == [Message, GroupMessage, GroupMessage, Message, GroupMessage, Message]
            # All but the last were handled by asking for the next one; ``messages`` still hands out persons' alone.
            async with reading(bob.messages()) as messages_of_people:
                assert (await anext(messages_of_people)).text == "5"

    run(main())


def test_muted_groups_are_left_for_later(relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with in_a_group(tmp_path, relay) as (alice, bob):
            bob.groups.mute("Tea")
            for name in ("Tea", "bob"):
                await (await alice.conversation(name).send(f"to {name}")).wait(DeliveryState.DELIVERED)
            async with reading(bob.received(muted=False)) as messages:
                assert (await anext(messages)).text == "to bob"
                bob.groups.mute("Tea", muted=False)
                assert (await anext(messages)).text == "to Tea"  # though it stands in front of the other

    run(main())


def test_what_was_said_in_a_group_before_it_was_accepted_comes_once_it_is(relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with in_a_group(tmp_path, relay) as (alice, bob):
            alice.groups.create("Cake", ["bob"])
            assert await bob.groups.wait_known("Cake", PATIENCE)
            for name in ("Cake", "Tea"):
                await (await alice.groups.send(name, f"in {name}")).wait()
            async with reading(bob.groups.messages()) as messages:
                assert (await anext(messages)).text == "in Tea"  # which came later
                bob.groups.accept("Cake")
                assert (await anext(messages)).text == "in Cake"
                # The control: behind what was handed out before there is nothing.
                first = bob._messenger.groups.next_text(0, None)
                assert first is not None
                assert bob._messenger.groups.next_text(first[0], None) is None

    run(main())


def test_conversations_are_those_with_contacts_and_in_groups(relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        async with in_a_group(tmp_path, relay) as (alice, _):
            alice.groups.create("Left", [])
            alice.groups.leave("Left")
            assert [one.name for one in alice.conversations()] == ["bob", "Tea"]
            first, second = alice.conversations()
            assert {first, second} == {alice.conversation("bob"), alice.conversation(second.id)}
            assert first != second
            assert "person" in repr(first)
            assert "group" in repr(second)
            assert first != first.id

    run(main())


def test_name_that_a_contact_and_a_group_have_is_not_guessed(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path, "alice", "ws://127.0.0.1:9/ws")) as alice:
        group = alice.groups.create("bob", []).group
        assert alice.conversation("bob").is_group
        alice.contacts.add("bob", NOBODY)
        with pytest.raises(UsageError, match="a contact and a group are both called 'bob'"):
            alice.conversation("bob")
        assert (alice.conversation(group).is_group, alice.conversation(NOBODY).is_group) == (True, False)
        with pytest.raises(UnknownContact):
            alice.conversation("nobody")


def test_stranger_without_a_name_is_a_conversation_too(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path, "alice", "ws://127.0.0.1:9/ws")) as alice:
        found: Conversation = alice.conversation(NOBODY)
        assert (found.id, found.name, found.label) == (NOBODY, "", alice.contacts.of(NOBODY).label)
        assert found.history() == []
