"""BLOCK and ACCOUNT_DELETE."""

from typing import Final

from phantom_messenger.conformance.client import ANY
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Failure, Group
from phantom_messenger.conformance.wire import Identity, show

blocking: Final = Group("block", "BLOCK")
deleting: Final = Group("account", "ACCOUNT_DELETE")


@blocking.case("The relay answers with the same payload once it is on disk.")
async def block_is_answered_with_the_same_payload(stage: Stage) -> None:
    alice, bob = await stage.users()
    for user_id in (bob.id, Identity().id):
        for is_blocked in (True, False):
            payload = {"userId": user_id, "blocked": is_blocked}
            await alice.send("BLOCK", payload, id="1")
            await alice.expect("BLOCK", payload, id="1")


@blocking.case("The client's own id is 1001 `field`")
async def nobody_blocks_themselves(stage: Stage) -> None:
    alice = await stage.user()
    await alice.send("BLOCK", {"userId": alice.id, "blocked": True})
    await alice.refused("field", field="payload.userId")


@blocking.case("Their MESSAGE is `accepted`, and not kept")
async def message_of_a_blocked_user_is_accepted_and_does_not_come(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.send("BLOCK", {"userId": alice.id, "blocked": True})
    await bob.take("BLOCK")
    await alice.write(bob)
    await bob.hears_nothing("MESSAGE")
    await bob.send("BLOCK", {"userId": alice.id, "blocked": False})
    await bob.take("BLOCK")
    again = await stage.user(identity=bob.identity)
    await again.hears_nothing("MESSAGE")
    sent = await alice.write(again)
    await again.expect("MESSAGE", sent["payload"])


@blocking.case("What waited from them in the user's mailbox is gone.")
async def what_waited_of_a_blocked_user_is_gone(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.write(bob)
    await bob.take("MESSAGE")  # and it is not acknowledged
    await bob.send("BLOCK", {"userId": alice.id, "blocked": True})
    await bob.take("BLOCK")
    again = await stage.user(identity=bob.identity)
    await again.hears_nothing("MESSAGE")


@blocking.case("So the two are not contacts: no presence, no typing, no receipts, either way.")
async def who_was_a_contact_is_told_offline_and_no_more(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await alice.write(bob)
    got = await bob.take("MESSAGE")
    await bob.send("BLOCK", {"userId": alice.id, "blocked": True})
    await bob.take("BLOCK")
    await alice.expect("PRESENCE", {"userId": bob.id, "status": "offline"}, id=None)
    await bob.acknowledge(got)
    await bob.send("PRESENCE", {"status": "idle"})
    await bob.ping()
    await alice.hears_nothing("PRESENCE", "MESSAGE_ACK")
    await alice.send("PRESENCE", {"userId": bob.id}, id="asked")
    await alice.expect("PRESENCE", {"status": "offline", "lastSeen": None}, id="asked")


@blocking.case(
    "Their KEY_EXCHANGE_INIT is answered from the store, as a stranger's, and like their RESPONSE not forwarded."
)
async def key_exchange_of_a_blocked_user_is_not_forwarded(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.publish(bob.publication(*range(11, 31)))
    await bob.send("BLOCK", {"userId": alice.id, "blocked": True})
    await bob.take("BLOCK")
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id), id="1")
    await alice.expect("KEY_EXCHANGE_RESPONSE", {"senderId": bob.id}, id="1")
    await alice.send("KEY_EXCHANGE_RESPONSE", alice.response(bob.id))
    await alice.hears_nothing()
    await bob.hears_nothing("KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE")


@blocking.case("What the user had sent them, and sends them, reaches them.")
async def who_blocks_can_still_write(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.send("BLOCK", {"userId": alice.id, "blocked": True})
    await bob.take("BLOCK")
    sent = await bob.write(alice)
    await alice.expect("MESSAGE", sent["payload"])


@blocking.case('After `"blocked": false` they are strangers: contacts again once the user has written.')
async def after_a_block_the_two_are_strangers_until_both_write(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    for is_blocked in (True, False):
        await bob.send("BLOCK", {"userId": alice.id, "blocked": is_blocked})
        await bob.take("BLOCK")
    await alice.expect("PRESENCE", {"userId": bob.id, "status": "offline"})
    await alice.send("PRESENCE", {"userId": bob.id}, id="1")
    await alice.expect("PRESENCE", {"status": "offline", "lastSeen": None}, id="1")
    await alice.write(bob)
    await bob.take("MESSAGE")
    await alice.hears_nothing("PRESENCE")
    await bob.write(alice)
    await alice.expect("PRESENCE", {"userId": bob.id, "status": "online"})


# --- deletion ---------------------------------------------------------------------


@deleting.case("then closes the user's session with 1000", reference="WebSocket Close Codes")
async def deletion_closes_with_1000(stage: Stage) -> None:
    alice = await stage.user()
    await alice.send("ACCOUNT_DELETE", alice.binding)
    await alice.closes(1000)
    stage.deleted(alice)


@deleting.case("The relay forgets the account, its prekeys, its mailbox and who wrote to whom")
async def deleted_account_is_nobody(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.send("ACCOUNT_DELETE", alice.binding)
    await alice.closes(1000)
    stage.deleted(alice)
    await bob.send("MESSAGE", bob.message(alice.id))
    await bob.refused("user")


@deleting.case("A later login creates a new account.")
async def later_login_creates_a_new_account(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await alice.publish(alice.publication(11, kem=(21,)))
    await bob.write(alice)
    await alice.take("MESSAGE")  # and it is not acknowledged
    await alice.send("ACCOUNT_DELETE", alice.binding)
    await alice.closes(1000)
    stage.deleted(alice)
    again = await stage.user(identity=alice.identity)
    await again.hears_nothing()
    await again.send("PREKEY_STATUS")
    await again.expect("PREKEY_STATUS", {"oneTimePreKeys": 0, "signedPreKeyId": None, "highestPreKeyId": None})
    await again.send("PRESENCE", {"userId": bob.id}, id="1")
    await again.expect("PRESENCE", {"status": "offline", "lastSeen": None}, id="1")


@deleting.case("Contacts are sent `offline`.")
async def contacts_of_a_deleted_account_are_told_offline(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await alice.send("ACCOUNT_DELETE", alice.binding)
    await alice.closes(1000)
    stage.deleted(alice)
    await bob.expect("PRESENCE", {"userId": alice.id, "status": "offline"}, id=None)


@deleting.case("Messages that others have not fetched yet stay for them.")
async def messages_of_a_deleted_account_stay(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.leave()
    sent = await alice.write(bob)
    await alice.send("ACCOUNT_DELETE", alice.binding)
    await alice.closes(1000)
    stage.deleted(alice)
    back = await stage.user(identity=bob.identity)
    await back.expect("MESSAGE", {**sent["payload"], "senderId": alice.id}, seq=ANY)


@deleting.case("Frames of the same user that follow it are dropped without an answer.")
async def frames_behind_a_deletion_are_dropped(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.send("ACCOUNT_DELETE", alice.binding)
    await alice.send("MESSAGE", alice.message(bob.id))
    await alice.closes(1000)
    stage.deleted(alice)
    if alice.socket.pending:
        raise Failure(f"this comes behind a deletion: {show(alice.socket.pending[0])}")
    await bob.hears_nothing("MESSAGE")
