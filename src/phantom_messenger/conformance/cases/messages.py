"""MESSAGE from sender to recipient: acceptance, order, repetition, replacement, expiry."""

import asyncio
from typing import Final

from phantom_messenger.conformance import wire
from phantom_messenger.conformance.client import ANY
from phantom_messenger.conformance.stage import MINUTE, Stage
from phantom_messenger.conformance.verdict import Failure, Group
from phantom_messenger.conformance.wire import Frame, Identity

messages: Final = Group("messages", "MESSAGE", "MESSAGE")
mailbox: Final = Group("mailbox", "Mailbox")

_SOON_MS: Final = 50
_SOON_SECONDS: Final = 0.3


def _asks_for_a_minute(frame: Frame) -> None:
    """Judge an ERROR ``backlog``.

    Raises:
        Failure: it does not ask to wait for a minute.
    """
    if frame["payload"]["retryAfter"] != 60_000:
        raise Failure(f"retryAfter is {frame['payload']['retryAfter']} and not 60000")


@messages.case("The relay answers once it is on disk.", reference="MESSAGE_ACK")
async def message_is_accepted(stage: Stage) -> None:
    alice, bob = await stage.users()
    frame = await alice.send("MESSAGE", alice.message(bob.id), id="1")
    accepted = await alice.accepted(frame)
    if abs(accepted["payload"]["timestamp"] - alice.now()) > MINUTE * 1_000:
        raise Failure("the timestamp of the acknowledgement is not that of the relay's clock")


@messages.case("| `senderId` | user-id | - | must | added by the relay; a client that sends it gets 1001 `field` |")
async def message_arrives_as_it_was_written_with_sender_and_seq(stage: Stage) -> None:
    alice, bob = await stage.users()
    metadata = {"burnAfterRead": True, "expiresIn": 86_400_000, "more": ["x"]}
    sent = await alice.write(bob, metadata=metadata)
    got = await bob.expect("MESSAGE", {**sent["payload"], "senderId": alice.id}, id=sent["id"], seq=ANY)
    for member in ("signature", "timestamp"):
        if got[member] != sent[member]:
            raise Failure(f"{member} is not the sender's")


@messages.case("| `recipientId` | user-id | must | must | no account: ERROR 1004 |", reference="Error Handling")
async def message_to_nobody_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    await alice.send("MESSAGE", alice.message(Identity().id), id="1")
    await alice.refused("user", id="1")


@messages.case("A message is identified by sender, recipient and `messageId`")
async def one_id_of_two_senders_is_two_messages(stage: Stage) -> None:
    alice, carol, bob = await stage.users(3)
    name = wire.new_uuid()
    for sender in (alice, carol):
        await sender.write(bob, messageId=name)
        await bob.expect("MESSAGE", {"senderId": sender.id, "messageId": name})


@messages.case("A direct answer carries the `id` of its request", section="Frames", reference="MESSAGE_ACK")
async def message_without_an_id_is_accepted_without_one(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.send("MESSAGE", alice.message(bob.id))
    await alice.expect("MESSAGE_ACK", {"status": "accepted"}, id=None)
    await bob.expect("MESSAGE", id=None)


@messages.case("| conversation | 1 to 128 characters from U+0020 to U+007E |", section="Forms")
async def claimed_ids_can_be_written_to(stage: Stage) -> None:
    alice, bob = await stage.user(), await stage.user(user_id=wire.random_text(16))
    await alice.write(bob, conversationId="any words")
    await bob.expect("MESSAGE", {"recipientId": bob.id, "conversationId": "any words"})


@messages.case(
    "| uuid | 8-4-4-4-12 hexadecimal digits; compared as text, so clients SHOULD write small letters |", section="Forms"
)
async def one_id_in_small_and_in_capital_letters_is_two_messages(stage: Stage) -> None:
    alice, bob = await stage.users()
    name = "abcdef01-2345-4789-8bcd-" + wire.new_uuid()[-12:]
    for spelling in (name, name.upper()):
        await alice.write(bob, messageId=spelling)
        await bob.expect("MESSAGE", {"messageId": spelling})


# --- the mailbox ------------------------------------------------------------------


@mailbox.case("each with a `seq` that rises, with gaps, and never repeats in an account's life")
async def seq_rises_across_logins(stage: Stage) -> None:
    alice, bob = await stage.users()
    seqs = []
    for _ in range(3):
        await alice.write(bob)
        got = await bob.take("MESSAGE")
        await bob.acknowledge(got)
        await bob.ping()
        await bob.leave()
        bob = await stage.user(identity=bob.identity)
        seqs.append(got["seq"])
    if sorted(set(seqs)) != seqs:
        raise Failure(f"three messages one after the other have the seq {seqs}")


@mailbox.case("After each login it gets everything that it has not acknowledged, in the order of `seq`")
async def messages_wait_for_who_is_away(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.leave()
    sent = [await alice.write(bob) for _ in range(5)]
    for _ in range(2):
        bob = await stage.user(identity=bob.identity)
        got = [await bob.take("MESSAGE") for _ in sent]
        if [frame["payload"]["messageId"] for frame in got] != [frame["payload"]["messageId"] for frame in sent]:
            raise Failure("after a login the messages come in another order")
        if [frame["seq"] for frame in got] != sorted(frame["seq"] for frame in got):
            raise Failure("after a login the messages do not come in the order of seq")
        await bob.leave()


@mailbox.case("With `ack` a client MUST acknowledge everything that has a `seq`")
async def acknowledged_message_does_not_come_again(stage: Stage) -> None:
    alice, bob = await stage.users()
    first, second = await alice.write(bob), await alice.write(bob)
    await bob.expect("MESSAGE", {"messageId": first["payload"]["messageId"]})
    await bob.acknowledge(await bob.expect("MESSAGE", {"messageId": second["payload"]["messageId"]}))
    await bob.ping()
    await bob.leave()
    back = await stage.user(identity=bob.identity)
    await back.expect("MESSAGE", {"messageId": first["payload"]["messageId"]})
    await back.hears_nothing("MESSAGE")


@mailbox.case("On one connection nothing is sent twice.")
async def nothing_is_sent_twice_on_one_connection(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.write(bob)
    await bob.take("MESSAGE")
    await alice.write(bob)
    await bob.take("MESSAGE")
    await bob.hears_nothing("MESSAGE", seconds=1.0)


@mailbox.case("Messages of one sender to one recipient are delivered in the order of their acceptance")
async def order_is_kept_across_reconnects(stage: Stage) -> None:
    alice, bob = await stage.users()
    sent = [await alice.write(bob) for _ in range(3)]
    await bob.leave()
    await alice.leave()
    alice = await stage.user(identity=alice.identity)
    sent += [await alice.write(bob) for _ in range(3)]
    back = await stage.user(identity=bob.identity)
    for frame in sent:
        await back.expect("MESSAGE", {"messageId": frame["payload"]["messageId"]})


@mailbox.case("A message that is in the mailbox with the same `encrypted`")
async def repeated_message_that_waits_is_accepted_and_comes_once(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.leave()
    frame = alice.make("MESSAGE", alice.message(bob.id), id="1")
    for _ in range(2):
        await alice.send_frame(frame)
        await alice.accepted(frame)
    again = await alice.send("MESSAGE", frame["payload"], id="2")
    await alice.accepted(again)
    back = await stage.user(identity=bob.identity)
    await back.take("MESSAGE")
    await back.hears_nothing("MESSAGE")


@mailbox.case("whatever its payload, left it less than 10 minutes ago, is accepted again and not delivered again")
async def repeated_message_that_was_acknowledged_is_accepted_and_does_not_come(stage: Stage) -> None:
    alice, bob = await stage.users()
    sent = await alice.write(bob)
    await bob.acknowledge(await bob.take("MESSAGE"))
    await bob.ping()
    await alice.write(bob, **{**sent["payload"], "encrypted": "QUJD"})
    await bob.hears_nothing("MESSAGE")


@mailbox.case("With another `encrypted` a message replaces the one that waits, as a new item with its own `seq`")
async def message_that_is_encrypted_again_replaces_the_one_that_waits(stage: Stage) -> None:
    alice, bob = await stage.users()
    first = await alice.write(bob)
    before = await bob.take("MESSAGE")
    await bob.leave()
    await alice.write(bob, **{**first["payload"], "encrypted": "QUJD"})
    back = await stage.user(identity=bob.identity)
    after = await back.expect("MESSAGE", {"messageId": first["payload"]["messageId"], "encrypted": "QUJD"})
    if after["seq"] <= before["seq"]:
        raise Failure(f"the new item has the seq {after['seq']}, and the old one had {before['seq']}")
    await back.hears_nothing("MESSAGE")


@mailbox.case("After that the message is not delivered any more, and a contact is told `expired`")
async def expired_message_does_not_come_and_its_sender_is_told(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await bob.leave()
    sent = await alice.write(bob, metadata={"expiresIn": _SOON_MS})
    name = {"messageId": sent["payload"]["messageId"], "recipientId": bob.id}
    told = await alice.expect("MESSAGE_ACK", {**name, "status": "expired"}, id=None, seq=ANY)
    await alice.acknowledge(told)
    back = await stage.user(identity=bob.identity)
    await back.hears_nothing("MESSAGE")


@mailbox.case("even if the recipient had received but not yet acknowledged it")
async def message_expires_although_it_was_received(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    sent = await alice.write(bob, metadata={"expiresIn": 3_000})
    await bob.expect("MESSAGE", {"messageId": sent["payload"]["messageId"]})
    await alice.expect("MESSAGE_ACK", {"messageId": sent["payload"]["messageId"], "status": "expired"})
    await bob.leave()
    back = await stage.user(identity=bob.identity)
    await back.hears_nothing("MESSAGE")


@mailbox.case("`expiresIn` counts from acceptance")
async def message_that_has_not_expired_comes(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.leave()
    sent = await alice.write(bob, metadata={"expiresIn": 3_600_000})
    await asyncio.sleep(_SOON_SECONDS)
    back = await stage.user(identity=bob.identity)
    await back.expect("MESSAGE", sent["payload"])


@mailbox.case("A sender who is not a contact learns `accepted` and nothing else.")
async def stranger_learns_nothing_of_delivery_and_expiry(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.write(bob)
    got = await bob.take("MESSAGE")
    for status in ("delivered", "read", "burned"):
        await bob.acknowledge(got, status)
    await bob.ping()
    await alice.write(bob, metadata={"expiresIn": _SOON_MS})
    await alice.hears_nothing("MESSAGE_ACK", "PRESENCE", seconds=2.5)


@mailbox.case("Contacts are two users of whom each has sent the other a MESSAGE", reference="")
async def messages_both_ways_make_contacts(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.write(bob)
    await bob.take("MESSAGE")
    await alice.hears_nothing("PRESENCE")
    await bob.write(alice)
    await alice.expect("PRESENCE", {"userId": bob.id, "status": "online"})
    await bob.expect("PRESENCE", {"userId": alice.id, "status": "online"})


@mailbox.case("that sender may fill 100 places of its mailbox", reference="Connection Limits", lasts=61)
async def hundred_and_first_message_of_a_stranger_is_refused(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.leave()
    for number in range(100):
        if number == 60:
            await asyncio.sleep(MINUTE)
        await alice.write(bob)
    await alice.send("MESSAGE", alice.message(bob.id))
    _asks_for_a_minute(await alice.refused("backlog"))


@mailbox.case("1,000 messages, 1,000 receipts of each contact", reference="Connection Limits", lasts=61)
async def thousand_and_first_message_is_refused(stage: Stage) -> None:
    stage.needs_addresses()
    bob = await stage.user()
    senders = []
    for _ in range(18):
        await stage.new_address()
        alice = await stage.user()
        await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id))
        await bob.take("KEY_EXCHANGE_INIT")
        senders.append(alice)
        if len(senders) % 10 == 0:
            await asyncio.sleep(MINUTE)
        await bob.send("KEY_EXCHANGE_RESPONSE", bob.response(alice.id))
        await alice.take("KEY_EXCHANGE_RESPONSE")
    await bob.leave()
    count = 0
    for alice in senders:
        for _ in range(min(60, 1_000 - count)):
            await alice.write(bob)
            count += 1
    await alice.send("MESSAGE", alice.message(bob.id))
    _asks_for_a_minute(await alice.refused("backlog"))
