"""One message to many, which clients with the feature ``many`` send. A relay need not know it."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from itertools import zip_longest
from secrets import token_bytes
from typing import Any, Final

from phantom_messenger.conformance.client import ANY, Client
from phantom_messenger.conformance.stage import Stage, make_contacts
from phantom_messenger.conformance.verdict import Failure, Group, NotJudgedError
from phantom_messenger.conformance.wire import Frame, Identity, new_uuid, random_text, verifies

many: Final = Group("many", "MESSAGE_MANY")
order: Final = Group("order", "Order")
fetching: Final = Group("prekey-fetch", "PREKEY_FETCH")
devices: Final = Group("device-lists", "PREKEY_PUBLISH")

_COMMON: Final = "c2VjcmV0"
_IN_ALL: Final = 2_097_152
_IN_ONE: Final = 61_440
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


def _to_many(sender: Client, recipients: list[str], *, heads: Sequence[str] = (), **members: Any) -> Frame:
    """A signed MESSAGE_MANY; ``members`` add to its payload or replace parts of it."""
    shared = {"conversationId": "g1", "messageId": new_uuid()}
    payload = {"common": _COMMON, **shared, **members}
    shared |= {name: payload[name] for name in ("messageId", "metadata") if name in payload}
    now = sender.now()

    def part(user: str, head: str) -> Frame:
        whole = {**shared, "encrypted": head + payload["common"], "recipientId": user}
        message = sender.identity.signed({"type": "MESSAGE", "timestamp": now, "payload": whole})
        return {"recipientId": user, "signature": message["signature"], **({"head": head} if head else {})}

    payload["recipients"] = [part(*one) for one in zip_longest(recipients, heads, fillvalue="")]
    return sender.make("MESSAGE_MANY", payload, timestamp=now, id=sender.new_id())


async def _accepted(sender: Client, frame: Frame, *refused: Frame) -> None:
    """Send a frame that all recipients get but these."""
    await sender.send_frame(frame)
    accepted = len(frame["payload"]["recipients"]) - len(refused)
    answer = {"accepted": accepted, "messageId": frame["payload"]["messageId"], "refused": list(refused)}
    await sender.expect("MANY_RESULT", answer, id=frame["id"])


async def _has(reader: Client, *frames: Frame) -> None:
    """These have come, each once, and nothing else.

    Raises:
        Failure: others have.
    """
    wanted = [frame["payload"]["messageId"] for frame in frames]
    for name in wanted:
        await reader.expect("MESSAGE", {"messageId": name})
    await reader.hears_nothing("MESSAGE")


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


_WHOLE: Final = "the whole frame is rejected, and nothing of it is stored."
_EACH: Final = "the answer names them, and the others are stored, all in one transaction."


@many.case("recipients need no feature, and see no difference.")
async def each_recipient_gets_an_ordinary_message(stage: Stage) -> None:
    alice = await _knowing(stage)
    bob, carol = await stage.users()
    frame = _to_many(alice, [bob.id, carol.id], heads=["Ym9i"], metadata={"note": "for all"})
    await _accepted(alice, frame)
    shared = {name: frame["payload"][name] for name in ("conversationId", "messageId", "metadata")}
    for reader, encrypted in ((bob, f"Ym9i{_COMMON}"), (carol, _COMMON)):
        payload = {**shared, "senderId": alice.id, "recipientId": reader.id, "encrypted": encrypted}
        members = {"timestamp": frame["timestamp"], "seq": ANY, "id": None, "signature": ANY}
        found = await reader.expect("MESSAGE", payload, **members)
        if not verifies(alice.identity.public, found):
            raise Failure("the signature of what arrives does not verify")


@many.case(_WHOLE)
async def one_wrong_signature_rejects_all(stage: Stage) -> None:
    alice = await _knowing(stage)
    bob, carol = await stage.users()
    frame = _to_many(alice, [bob.id, carol.id])
    first, second = frame["payload"]["recipients"]
    second["signature"] = first["signature"]
    again = alice.make("MESSAGE_MANY", frame["payload"], timestamp=frame["timestamp"], id=frame["id"])
    await _refused(alice, again, "signature")
    for reader in (bob, carol):
        await reader.hears_nothing("MESSAGE")


@many.case("a user named twice or the sender (1001 `field`)")
async def user_twice_or_the_sender_rejects_all(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await stage.user()
    await _refused(alice, _to_many(alice, [bob.id, bob.id]), "field")
    await _refused(alice, _to_many(alice, [bob.id, alice.id]), "field")
    await bob.hears_nothing("MESSAGE")


@many.case("an `encrypted` above 61,440 characters (1006 `encrypted-size`)")
async def each_message_is_bounded(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await stage.user()
    most = random_text(_IN_ONE // 4 * 3)
    await _refused(alice, _to_many(alice, [bob.id], common=most, heads=["Ym9i"]), "encrypted-size")
    await _accepted(alice, _to_many(alice, [bob.id], common=most))


@many.case("base64 of a multiple of 3 bytes, at least 3: so without padding", section="Forms")
async def parts_with_padding_are_refused(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await stage.user()
    await _refused(alice, _to_many(alice, [bob.id], common="QUI="), "base64")
    await _refused(alice, _to_many(alice, [bob.id], heads=["QQ=="]), "base64")


@many.case("1 to 200")
async def recipients_are_1_to_200(stage: Stage) -> None:
    alice = await _knowing(stage)
    await _refused(alice, _to_many(alice, []), "field")
    await _refused(alice, _to_many(alice, [Identity().id for _ in range(201)]), "field")


@many.case(_EACH)
async def nobody_is_named_and_the_others_get_it(stage: Stage) -> None:
    alice = await _knowing(stage)
    bob, carol = await stage.users()
    nobody, noone = Identity().id, Identity().id
    frame = _to_many(alice, [nobody, bob.id, noone, carol.id])
    refused = [{"recipientId": user, "code": 1004, "reason": "user"} for user in (nobody, noone)]
    await _accepted(alice, frame, *refused)
    for reader in (bob, carol):
        await _has(reader, frame)


@many.case("A repeated frame is accepted again, and [stored once](#mailbox), for each recipient.")
async def repeated_frame_is_accepted_and_comes_once(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await stage.user()
    frame = _to_many(alice, [bob.id])
    for _ in range(2):
        await _accepted(alice, frame)
    await _has(bob, frame)


@many.case("The frame counts as one MESSAGE")
async def sixty_first_frame_is_refused(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await stage.user()
    for _ in range(60):
        await _accepted(alice, _to_many(alice, [bob.id]))
    await alice.send("MESSAGE", alice.message(bob.id), id="last")
    await alice.refused("rate", id="last")


@many.case("and its recipients as RECIPIENTS, of which 6,000 a minute are let through together.")
async def recipient_6001_is_refused(stage: Stage) -> None:
    alice = await _knowing(stage)
    users = [Identity().id for _ in range(200)]
    for _ in range(30):
        frame = _to_many(alice, users)
        await alice.send_frame(frame)
        await alice.expect("MANY_RESULT", {"accepted": 0}, id=frame["id"])
    await _refused(alice, _to_many(alice, users[:1]), "rate")


# --- groups ---------------------------------------------------------------------------


@many.case("The recipient and the sender do not become contacts by it.")
async def group_makes_no_contacts(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await _knowing(stage)
    await _accepted(alice, _to_many(alice, [bob.id], group=True))
    await _accepted(bob, _to_many(bob, [alice.id], group=True))
    for user in (alice, bob):
        await user.hears_nothing("PRESENCE")


@many.case("The relay makes no MESSAGE_ACK for it")
async def group_leads_to_no_receipt(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await stage.user()
    await make_contacts(alice, bob)
    frame = _to_many(alice, [bob.id], group=True)
    await _accepted(alice, frame)
    await bob.acknowledge(await bob.expect("MESSAGE", {"messageId": frame["payload"]["messageId"]}))
    await bob.ping()
    await alice.hears_nothing("MESSAGE_ACK")
    plain = _to_many(alice, [bob.id])
    await _accepted(alice, plain)
    await bob.acknowledge(await bob.take("MESSAGE"))
    await alice.expect("MESSAGE_ACK", {"messageId": plain["payload"]["messageId"], "status": "delivered"})


# --- order ----------------------------------------------------------------------------


def _next(revision: int, *writers: Client, name: str) -> Frame:
    return {"name": name, "revision": revision, "writers": [writer.id for writer in writers]}


@order.case("Where nothing is stored any `revision` is taken")
async def sender_has_to_be_among_the_first_writers(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await stage.user()
    name = random_text(32)
    await _refused(alice, _to_many(alice, [bob.id], order=_next(5, bob, name=name)), "writer")
    frame = _to_many(alice, [bob.id], order=_next(5, alice, name=name))
    await _accepted(alice, frame)
    await _has(bob, frame)


@order.case("with the stored one in `details.revision`")
async def revision_has_to_be_above_the_stored_one_by_1_to_1024(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await stage.user()
    name = random_text(32)
    first = _to_many(alice, [bob.id], order=_next(5, alice, name=name))
    await _accepted(alice, first)
    for revision in (4, 5, 5 + 1_025):
        stale = _to_many(alice, [bob.id], order=_next(revision, alice, name=name))
        await _refused(alice, stale, "order", payload={"details": {"revision": 5}})
    last = _to_many(alice, [bob.id], order=_next(5 + 1_024, alice, name=name))
    await _accepted(alice, last)
    await _has(bob, first, last)


@order.case("and in `details.author` who has written that")
async def refusal_names_who_has_written_the_stored_revision(stage: Stage) -> None:
    alice, bob, carol = await _knowing(stage), await _knowing(stage), await stage.user()
    raw = token_bytes(32)
    name = b64encode(raw).decode()
    await _accepted(alice, _to_many(alice, [carol.id], order=_next(1, alice, bob, name=name)))
    details = {"revision": 1, "author": _digest(raw, alice)}
    await _refused(
        bob, _to_many(bob, [carol.id], order=_next(1, bob, name=name)), "order", payload={"details": details}
    )
    await _accepted(bob, _to_many(bob, [carol.id], order=_next(2, alice, name=name)))
    details = {"revision": 2, "author": _digest(raw, bob)}
    await _refused(
        alice, _to_many(alice, [carol.id], order=_next(2, alice, name=name)), "order", payload={"details": details}
    )


def _digest(name: bytes, user: Client) -> str:
    """What the relay calls a user in an order."""
    return b64encode(sha256(name + b"\n" + user.id.encode()).digest()[:16]).decode()


@order.case("Otherwise the sender has to be among the stored ones: 1002 `writer`.")
async def stored_writers_go_on_and_nobody_else(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await _knowing(stage)
    carol, name = await stage.user(), random_text(32)
    first = _to_many(alice, [carol.id], order=_next(1, bob, alice, name=name))
    await _accepted(alice, first)
    second = _to_many(bob, [carol.id], order=_next(2, bob, name=name))
    await _accepted(bob, second)
    await _refused(alice, _to_many(alice, [carol.id], order=_next(3, alice, name=name)), "writer")
    await _has(carol, first, second)


@order.case("One of the last 16 revisions by the same sender with the same `messageId` is accepted again")
async def same_revision_of_the_same_message_is_accepted_again(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await stage.user()
    name = random_text(32)
    frames = [_to_many(alice, [bob.id], order=_next(revision, bob, alice, name=name)) for revision in (1, 2)]
    for frame in (*frames, *frames):
        await _accepted(alice, frame)
    await _has(bob, *frames)


@order.case("A recipient who is refused does not undo it.")
async def revision_is_stored_although_a_recipient_is_refused(stage: Stage) -> None:
    alice, nobody, name = await _knowing(stage), Identity().id, random_text(32)
    refused = {"recipientId": nobody, "code": 1004, "reason": "user"}
    await _accepted(alice, _to_many(alice, [nobody], order=_next(1, alice, name=name)), refused)
    await _refused(alice, _to_many(alice, [nobody], order=_next(1, alice, name=name)), "order")


@order.case("The revision is stored although all copies are refused, and so it is without any recipient")
async def revision_needs_no_recipient(stage: Stage) -> None:
    alice, name = await _knowing(stage), random_text(32)
    await _accepted(alice, _to_many(alice, [], order=_next(1, alice, name=name)))
    again = _to_many(alice, [], order=_next(1, alice, name=name))
    await _refused(alice, again, "order", payload={"details": {"revision": 1}})


# --- prekeys of several users ---------------------------------------------------------


async def _fetched(alice: Client, *targets: str) -> Frame:
    """The answer to a PREKEY_FETCH."""
    name = alice.new_id()
    await alice.send("PREKEY_FETCH", {"targets": list(targets)}, id=name)
    payload: Frame = (await alice.expect("PREKEY_BUNDLES", id=name))["payload"]
    return payload


@fetching.case("as from the store, in the order of `targets`", section="PREKEY_BUNDLES")
async def bundles_of_several_users_are_handed_out(stage: Stage) -> None:
    alice = await _knowing(stage)
    bob, carol = await stage.users()
    for user in (bob, carol):
        await user.publish(user.publication(1, 2))
    dave, nobody = await stage.user(), Identity().id
    for number in (1, 2):
        found = await _fetched(alice, carol.id, dave.id, bob.id, nobody)
        if [bundle["senderId"] for bundle in found["bundles"]] != [carol.id, bob.id]:
            raise Failure("the bundles are not those of the targets, in their order")
        if found["missing"] != [dave.id, nobody]:
            raise Failure("those are not named as missing who have published nothing, or have no account")
        if [bundle.get("oneTimePreKeyId") for bundle in found["bundles"]] != [number, number]:
            raise Failure("the one-time prekeys are not handed out one after another")


@fetching.case("But nothing goes into a target's mailbox, and nobody becomes a contact by it.")
async def targets_are_not_told(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await stage.user()
    await bob.publish(bob.publication(1))
    await _fetched(alice, bob.id)
    await bob.write(alice)
    await alice.hears_nothing("PRESENCE")
    await bob.hears_nothing("KEY_EXCHANGE_INIT", "PRESENCE")


@fetching.case("1 to 20 users, each once (else 1001 `field`)")
async def targets_are_1_to_20_each_once(stage: Stage) -> None:
    alice = await _knowing(stage)
    users = [Identity().id for _ in range(21)]
    for targets in ([], users, [users[0], users[0]]):
        await alice.send("PREKEY_FETCH", {"targets": targets}, id="wrong")
        await alice.refused("field", id="wrong")


@fetching.case("| PREKEY_FETCH | client | after login | KEY_EXCHANGE | 10 | no | yes |", section="Rules and rates")
async def eleventh_fetch_is_refused(stage: Stage) -> None:
    alice = await _knowing(stage)
    for _ in range(10):
        await _fetched(alice, Identity().id)
    await alice.send("PREKEY_FETCH", {"targets": [Identity().id]}, id="last")
    await alice.refused("rate", id="last")


# --- lists of devices -----------------------------------------------------------------


async def _with_devices(stage: Stage) -> Client:
    """A new user whose client and relay know lists of devices.

    Raises:
        NotJudgedError: the relay does not.
    """
    alice = await stage.user("ack", "devices")
    if "devices" not in alice.features:
        raise NotJudgedError("this relay does not know devices")
    return alice


async def _list_of(bob: Client, asking: Client) -> str | None:
    """The list that is handed out with somebody's prekeys."""
    name = asking.new_id()
    await asking.send("KEY_EXCHANGE_INIT", asking.init(bob.id), id=name)
    payload: Frame = (await asking.expect("KEY_EXCHANGE_RESPONSE", {"senderId": bob.id}, id=name))["payload"]
    return payload.get("deviceList")


@devices.case("keeps the last one that the signed-in owner has sent.")
async def last_list_is_handed_out(stage: Stage) -> None:
    bob, alice = await _with_devices(stage), await _with_devices(stage)
    for sent, kept in ((None, None), ("Zmlyc3Q=", "Zmlyc3Q="), (None, "Zmlyc3Q="), ("bmV4dA==", "bmV4dA==")):
        publication = bob.publication()
        await bob.publish(publication if sent is None else {**publication, "deviceList": sent})
        if (found := await _list_of(bob, alice)) != kept:
            raise Failure(f"the list that is handed out is {found}, and the last one that was sent {kept}")


@devices.case("It goes with the prekeys in the relay's answers to clients with the feature `devices`.")
async def list_is_kept_from_clients_that_do_not_know_it(stage: Stage) -> None:
    bob, carol = await _with_devices(stage), await stage.user()
    await bob.publish(bob.publication(deviceList="bGlzdA=="))
    if (found := await _list_of(bob, carol)) is not None:
        raise Failure(f"the bundle has a deviceList, {found}, which this client does not know")


@devices.case("1 to 2,048 bytes, replaces the previous one")
async def list_has_1_to_2048_bytes(stage: Stage) -> None:
    bob, alice = await _with_devices(stage), await _with_devices(stage)
    most = random_text(2_048)
    await bob.publish(bob.publication(deviceList=most))
    for wrong in (random_text(2_049), ""):
        await bob.send("PREKEY_PUBLISH", bob.publication(deviceList=wrong), id="wrong")
        await bob.refused("base64", "field", id="wrong")
    if await _list_of(bob, alice) != most:
        raise Failure("what is handed out is not the list that was accepted")
