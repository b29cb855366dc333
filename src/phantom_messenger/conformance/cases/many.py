"""One message to many, which clients with the feature ``many`` send. A relay need not know it."""

from typing import Any, Final

from phantom_messenger.conformance.client import Client
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Failure, Group, NotJudgedError
from phantom_messenger.conformance.wire import Frame, Identity, new_uuid, random_text

many: Final = Group("many", "MESSAGE_MANY")

_COMMON: Final = "c2VjcmV0"
_IN_ALL: Final = 2_097_152
_RECIPIENTS: Final = 128


async def _knowing(stage: Stage) -> Client:
    """A new user whose client and relay know the feature.

    Raises:
        NotJudgedError: the relay does not.
    """
    alice = await stage.user("ack", "many")
    if "many" not in alice.features:
        raise NotJudgedError("this relay does not know many")
    return alice


def _to_many(sender: Client, recipients: list[str], **members: Any) -> Frame:
    """A signed MESSAGE_MANY; ``members`` add to its payload or replace parts of it."""
    shared = {"conversationId": "g1", "messageId": new_uuid()}
    payload = {"common": _COMMON, **shared, **members}
    now = sender.now()

    def part(user: str) -> Frame:
        whole = {**shared, "encrypted": payload["common"], "recipientId": user}
        message = sender.identity.signed({"type": "MESSAGE", "timestamp": now, "payload": whole})
        return {"recipientId": user, "signature": message["signature"]}

    payload["recipients"] = [part(user) for user in recipients]
    return sender.make("MESSAGE_MANY", payload, timestamp=now, id=sender.new_id())


async def _refused(sender: Client, frame: Frame, reason: str, **details: Any) -> None:
    await sender.send_frame(frame)
    await sender.refused(reason, id=frame["id"], **details)


@many.case("are of an unknown type (1001 `type`) to a session without the feature `many`", section="Rules and rates")
async def clients_without_the_feature_send_an_unknown_type(stage: Stage) -> None:
    await _knowing(stage)
    alice, bob = await stage.user(), await stage.user()
    await _refused(alice, _to_many(alice, [bob.id]), "type")
    fetch = alice.make("PREKEY_FETCH", {"targets": [bob.id]}, id=alice.new_id())
    await _refused(alice, fetch, "type")


@many.case("or more than 2,097,152 characters in all of them together (1006 `many-size`)")
async def messages_are_bounded_together(stage: Stage) -> None:
    alice = await _knowing(stage)
    users = [Identity().id for _ in range(_RECIPIENTS)]
    size = _IN_ALL // _RECIPIENTS + 4
    await _refused(alice, _to_many(alice, users, common=random_text(size // 4 * 3)), "many-size")


@many.case("Where nothing is stored any `revision` is taken", section="Order")
async def sender_has_to_be_among_the_first_writers(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await stage.user()
    name = random_text(32)
    order = {"name": name, "revision": 5, "writers": [bob.id]}
    await _refused(alice, _to_many(alice, [bob.id], order=order), "writer")
    frame = _to_many(alice, [bob.id], order={**order, "writers": [alice.id]})
    await alice.send_frame(frame)
    await alice.expect("MANY_RESULT", {"accepted": 1, "refused": []}, id=frame["id"])
    await _refused(alice, _to_many(alice, [bob.id], order={**order, "writers": [alice.id]}), "order")
    await bob.take("MESSAGE")
    await bob.send("PING", id="behind")
    if (last := await bob.next()).get("id") != "behind":
        raise Failure(f"more than one message is delivered: {last}")
