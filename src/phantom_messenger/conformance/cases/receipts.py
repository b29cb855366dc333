"""MESSAGE_ACK: what recipients say of messages, and who is told."""

from typing import Any, Final

from phantom_messenger.conformance import wire
from phantom_messenger.conformance.client import ANY, Client
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Failure, Group, Play
from phantom_messenger.conformance.wire import Frame, Identity

receipts: Final = Group("receipts", "MESSAGE_ACK", "MESSAGE_ACK")

_NOTIFIED: Final = "`delivered` when the recipient removed the message, `read` and `burned` each time"


async def _told(alice: Client, sent: Frame, status: str) -> Frame:
    """Take the receipt of a message that was sent, and confirm it."""
    payload = {"messageId": sent["payload"]["messageId"], "recipientId": sent["payload"]["recipientId"]}
    receipt = await alice.expect("MESSAGE_ACK", {**payload, "status": status}, id=None, seq=ANY)
    await alice.acknowledge(receipt)
    return receipt


@receipts.case(_NOTIFIED)
async def contact_is_told_delivered_read_and_burned(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    sent = await alice.write(bob, metadata={"burnAfterRead": True})
    got = await bob.take("MESSAGE")
    for status in ("delivered", "read", "burned"):
        await bob.acknowledge(got, status)
        await _told(alice, sent, status)


def _removes(status: str) -> Play:
    async def play(stage: Stage) -> None:
        alice, bob = await stage.users()
        await alice.write(bob)
        await bob.acknowledge(await bob.take("MESSAGE"), status)
        await bob.ping()
        await bob.leave()
        back = await stage.user(identity=bob.identity)
        await back.hears_nothing("MESSAGE")

    return play


for _status in ("delivered", "read", "burned"):
    receipts.add(
        f"{_status}-removes-the-message", "Each of the three removes the message from the mailbox.", _removes(_status)
    )


@receipts.case("An acknowledgement is answered only if it is rejected.")
async def acknowledgement_is_not_answered(stage: Stage) -> None:
    alice = await stage.user()
    for payload in (
        {"messageId": wire.new_uuid(), "senderId": Identity().id, "status": "read", "timestamp": 0},
        {"seq": 1, "status": "delivered"},
    ):
        await alice.send("MESSAGE_ACK", payload, id="1")
    await alice.hears_nothing()


@receipts.case("nobody but its recipient can acknowledge, read or burn it", section="MESSAGE")
async def somebody_else_cannot_acknowledge(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    mallory = await stage.user()
    await bob.leave()
    sent = await alice.write(bob)
    name = {"messageId": sent["payload"]["messageId"], "senderId": alice.id}
    for status in ("delivered", "read", "burned"):
        await mallory.send("MESSAGE_ACK", {**name, "status": status})
        await alice.send("MESSAGE_ACK", {**name, "status": status})
    await mallory.ping()
    await alice.hears_nothing("MESSAGE_ACK")
    back = await stage.user(identity=bob.identity)
    await back.expect("MESSAGE", sent["payload"])


@receipts.case("A newer status of a message replaces an older one that waits.")
async def newer_status_replaces_the_one_that_waits(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    sent = await alice.write(bob)
    await alice.leave()
    got = await bob.take("MESSAGE")
    for status in ("delivered", "read"):
        await bob.acknowledge(got, status)
    await bob.ping()
    back = await stage.user(identity=alice.identity)
    await _told(back, sent, "read")
    await back.hears_nothing("MESSAGE_ACK")


@receipts.case("A sender who is a contact of the recipient is notified through its mailbox")
async def receipt_waits_for_a_sender_who_is_away_until_it_is_confirmed(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    sent = await alice.write(bob)
    await alice.leave()
    await bob.acknowledge(await bob.take("MESSAGE"))
    await bob.ping()
    alice = await stage.user(identity=alice.identity)
    first = await alice.expect("MESSAGE_ACK", {"messageId": sent["payload"]["messageId"], "status": "delivered"})
    await alice.leave()
    alice = await stage.user(identity=alice.identity)
    again = await _told(alice, sent, "delivered")
    if first["seq"] != again["seq"]:
        raise Failure(f"the receipt has the seq {first['seq']}, and after another login {again['seq']}")
    await alice.ping()
    await alice.leave()
    alice = await stage.user(identity=alice.identity)
    await alice.hears_nothing("MESSAGE_ACK")


@receipts.case("**Without `ack`** in `features` the relay counts a message")
async def without_ack_what_was_written_counts_as_delivered(stage: Stage) -> None:
    alice, bob = await stage.contacts("")
    sent = await alice.write(bob)
    await bob.expect("MESSAGE", sent["payload"])
    await _told(alice, sent, "delivered")
    await bob.leave()
    back = await stage.user("", identity=bob.identity)
    await back.hears_nothing("MESSAGE")


@receipts.case("Such a client MAY still send `read` and `burned`.")
async def without_ack_read_and_burned_are_passed_on(stage: Stage) -> None:
    alice, bob = await stage.contacts("")
    sent = await alice.write(bob)
    got = await bob.take("MESSAGE")
    await _told(alice, sent, "delivered")
    for status in ("read", "burned"):
        await bob.acknowledge(got, status)
        await _told(alice, sent, status)


_STATUS: Final = "clients send `delivered`, `read` and `burned` only"
_SEQ: Final = "instead of those two, with `delivered`: confirms a receipt or key exchange"
_NAME: Final = {"messageId": wire.new_uuid(), "senderId": Identity().id}

_REFUSED: Final[dict[str, tuple[str, dict[str, Any], str]]] = {
    "accepted-of-a-client": (_STATUS, {**_NAME, "status": "accepted"}, "payload.status"),
    "expired-of-a-client": (_STATUS, {**_NAME, "status": "expired"}, "payload.status"),
    "unknown-status": (_STATUS, {**_NAME, "status": "seen"}, "payload.status"),
    "read-of-a-seq": (_SEQ, {"seq": 1, "status": "read"}, ""),
    "seq-with-a-message-id": (_SEQ, {**_NAME, "seq": 1, "status": "delivered"}, ""),
    "acknowledgement-of-nothing": (_SEQ, {"status": "delivered"}, ""),
    "message-id-without-a-sender": (
        "who sent it; goes with `messageId`",
        {"messageId": _NAME["messageId"], "status": "read"},
        "",
    ),
}
"""By what is wrong: the rule, the payload, and the field that is to blame."""


def _refused(payload: dict[str, Any], field: str) -> Play:
    async def play(stage: Stage) -> None:
        alice = await stage.anyone()
        await alice.send("MESSAGE_ACK", payload, id="1")
        await alice.refused("field", field=field, id="1")

    return play


for _name, (_rule, _payload, _field) in _REFUSED.items():
    receipts.add(f"{_name}-is-refused", _rule, _refused(_payload, _field))
