"""Prekeys at the relay, and key exchanges from the store and between users who are online."""

import asyncio
from typing import Any, Final

from phantom_messenger.conformance import wire
from phantom_messenger.conformance.client import ANY, Client
from phantom_messenger.conformance.stage import MINUTE, Stage
from phantom_messenger.conformance.verdict import Failure, Group, Play
from phantom_messenger.conformance.wire import Frame, Identity, base64_text

prekeys: Final = Group("prekeys", "PREKEY_PUBLISH", "Key Exchange")
exchange: Final = Group("key-exchange", "KEY_EXCHANGE_INIT", "KEY_EXCHANGE_INIT")

_STATUS: Final = "PREKEY_STATUS"
_RESPONSE: Final = "KEY_EXCHANGE_RESPONSE"
_NULL_KEY: Final = base64_text(bytes(32))
"""Has small order."""

_ANSWERED: Final = "Answered with PREKEY_STATUS once it is stored."
_UNUSABLE: Final = "An X25519 key of small order, or an `identityKey` that is not the session's, is ERROR 1005 `key`"
_UNVERIFIED: Final = "prekey signature that does not verify under the session's key is 1005 `prekey-signature`"


# --- publishing -------------------------------------------------------------------


@prekeys.case(_ANSWERED)
async def publication_is_answered_with_what_is_stored(stage: Stage) -> None:
    alice = await stage.user()
    status = await alice.publish(alice.publication(11, 12, kem=(21,), last_resort=31))
    _counts(status, oneTimePreKeys=2, kemPreKeys=1, signedPreKeyId=1, lastResortKemPreKeyId=31, highestPreKeyId=31)


def _counts(status: Frame, **expected: Any) -> None:
    """Judge a PREKEY_STATUS.

    Raises:
        Failure: it counts something else.
    """
    for name, value in expected.items():
        if status["payload"].get(name) != value:
            raise Failure(f"{name} is {status['payload'].get(name)} and not {value}")


@prekeys.case("A client asks without `payload`, or with `{}`.", section=_STATUS, reference="")
async def status_is_answered_with_or_without_a_payload(stage: Stage) -> None:
    alice = await stage.user()
    payloads: tuple[Frame | None, ...] = (None, {})
    for payload in payloads:
        await alice.send(_STATUS, payload, id="1")
        status = await alice.expect(_STATUS, id="1")
        _counts(status, oneTimePreKeys=0, kemPreKeys=0, signedPreKeyId=None, highestPreKeyId=None)


@prekeys.case("is left out, because it may have been handed out", reference="")
async def id_that_is_not_above_all_before_is_left_out(stage: Stage) -> None:
    alice = await stage.user()
    await alice.publish(alice.publication(11, kem=(40,), signedPreKey=alice.identity.signed_prekey(50)))
    status = await alice.publish(alice.publication(11, 12, kem=(39,), signedPreKey=alice.identity.signed_prekey(50)))
    _counts(status, oneTimePreKeys=2, kemPreKeys=1, signedPreKeyId=50, highestPreKeyId=50)


@prekeys.case("true: stored one-time prekeys are deleted first, because their private keys are lost", reference="")
async def replace_deletes_what_is_stored(stage: Stage) -> None:
    alice = await stage.user()
    await alice.publish(alice.publication(11, 12, 13, kem=(21, 22)))
    status = await alice.publish(alice.publication(13, 14, kem=(23,), replace=True))
    _counts(status, oneTimePreKeys=1, kemPreKeys=1, highestPreKeyId=23)


@prekeys.case("a frame that would exceed that is rejected as a whole with 1005 `prekey-full`", reference="")
async def more_than_200_prekeys_are_refused_as_a_whole(stage: Stage) -> None:
    alice = await stage.user()
    _counts(await alice.publish(alice.publication(*range(1, 201))), oneTimePreKeys=200)
    await alice.send("PREKEY_PUBLISH", alice.publication(201, kem=(301,)))
    await alice.refused("prekey-full")
    await alice.send(_STATUS)
    _counts(await alice.take(_STATUS), oneTimePreKeys=200, kemPreKeys=0, highestPreKeyId=200)


@prekeys.case("one-time X25519 prekeys to add, at most 200", reference="")
async def publication_of_201_prekeys_is_malformed(stage: Stage) -> None:
    alice = await stage.user()
    await alice.send("PREKEY_PUBLISH", alice.publication(*range(1, 202)))
    await alice.refused("field", field="payload.oneTimePreKeys")


@prekeys.case("one-time KEM prekeys to add, at most 30", reference="")
async def publication_of_31_kem_prekeys_is_malformed(stage: Stage) -> None:
    alice = await stage.user()
    one = alice.identity.kem_prekey(1)
    await alice.send("PREKEY_PUBLISH", alice.publication(kemPreKeys=[{**one, "id": number} for number in range(1, 32)]))
    await alice.refused("field", field="payload.kemPreKeys")
    status = await alice.publish(alice.publication(kemPreKeys=[{**one, "id": number} for number in range(1, 31)]))
    _counts(status, kemPreKeys=30)


def _refused_publication(make: "MakePublication", *reasons: str) -> Play:
    async def play(stage: Stage) -> None:
        alice = await stage.user()
        await alice.send("PREKEY_PUBLISH", make.of(alice))
        await alice.refused(*reasons)
        await alice.send(_STATUS)
        _counts(await alice.take(_STATUS), oneTimePreKeys=0, kemPreKeys=0, signedPreKeyId=None)

    return play


class MakePublication:
    """A publication in which one prekey is not as it must be.

    Args:
        member: where it stands.
        is_list: whether that is a list.
        part: members of it that replace the right ones.
    """

    def __init__(self, member: str, *, is_list: bool = False, **part: Any) -> None:
        self._member = member
        self._is_list = is_list
        self._part = part

    def of(self, alice: Client) -> Frame:
        """For this user."""
        right = alice.publication(11, kem=(21,), last_resort=31)[self._member]
        wrong = {**(right[0] if self._is_list else right), **self._part}
        return {**alice.publication(12), self._member: [wrong] if self._is_list else wrong}


_PREKEY_ID: Final = "| prekey-id | integer from 1 to 2^32-1 |"
_KEM_KEY: Final = "| kem-key | base64 of the 1,184 bytes of an ML-KEM-768 encapsulation key |"
_OTHER: Final = Identity().signed_prekey(1)["signature"]

_WRONG_PREKEYS: Final[dict[str, tuple[str, MakePublication, tuple[str, ...]]]] = {
    "signed-prekey-with-a-wrong-signature": (
        _UNVERIFIED,
        MakePublication("signedPreKey", signature=_OTHER),
        ("prekey-signature",),
    ),
    "kem-prekey-with-a-wrong-signature": (
        _UNVERIFIED,
        MakePublication("kemPreKeys", is_list=True, signature=_OTHER),
        ("prekey-signature",),
    ),
    "last-resort-with-a-wrong-signature": (
        _UNVERIFIED,
        MakePublication("lastResortKemPreKey", signature=_OTHER),
        ("prekey-signature",),
    ),
    "signed-prekey-of-small-order": (_UNUSABLE, MakePublication("signedPreKey", key=_NULL_KEY), ("key",)),
    "one-time-prekey-of-small-order": (
        _UNUSABLE,
        MakePublication("oneTimePreKeys", is_list=True, key=_NULL_KEY),
        ("key",),
    ),
    "prekey-id-of-0": (_PREKEY_ID, MakePublication("oneTimePreKeys", is_list=True, id=0), ("field",)),
    "prekey-id-of-2-32": (_PREKEY_ID, MakePublication("oneTimePreKeys", is_list=True, id=2**32), ("field",)),
    "kem-key-of-1183-bytes": (
        _KEM_KEY,
        MakePublication("kemPreKeys", is_list=True, key=wire.random_text(1_183)),
        ("field", "base64"),
    ),
    "unknown-member-of-a-prekey": (
        "**Unknown members** are ERROR 1001 `field`",
        MakePublication("oneTimePreKeys", is_list=True, x=1),
        ("field",),
    ),
}
"""By what is wrong: the rule, the publication, and the reasons that are right."""

_SECTIONS: Final = {
    _UNUSABLE: "Prekeys and key exchange",
    _UNVERIFIED: "Prekeys and key exchange",
    _PREKEY_ID: "Forms",
    _KEM_KEY: "Forms",
    "**Unknown members** are ERROR 1001 `field`": "Frames",
}

for _name, (_rule, _make, _reasons) in _WRONG_PREKEYS.items():
    prekeys.add(
        f"{_name}-is-refused", _rule, _refused_publication(_make, *_reasons), section=_SECTIONS[_rule], reference=""
    )


@prekeys.case("Prekeys are signed with a prefix", section="Differences from the reference, and why")
async def prekey_signed_without_a_prefix_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    key = wire.new_x25519()
    bare = {"id": 1, "key": base64_text(key), "signature": alice.identity.sign(key)}
    await alice.send("PREKEY_PUBLISH", alice.publication(2, signedPreKey=bare))
    await alice.refused("prekey-signature")


@prekeys.case("when it has handed out a bundle and at a login after a publication", section=_STATUS, reference="")
async def owner_is_warned_when_few_prekeys_are_left(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.publish(bob.publication(*range(11, 21)))
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id))
    await alice.take(_RESPONSE)
    await bob.expect(_STATUS, {"oneTimePreKeys": 9, "kemPreKeys": 0}, id=None)
    again = await stage.user(identity=bob.identity)
    await again.expect(_STATUS, {"oneTimePreKeys": 9}, id=None)


@prekeys.case("if fewer than 10 one-time prekeys of a kind are left", section=_STATUS, reference="")
async def owner_is_not_warned_while_there_are_enough(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.publish(bob.publication(*range(11, 22)))
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id))
    await alice.take(_RESPONSE)
    await bob.hears_nothing(_STATUS)


@prekeys.case("at a login after a publication", section=_STATUS, reference="")
async def who_has_published_nothing_is_not_warned(stage: Stage) -> None:
    alice = await stage.user()
    await alice.leave()
    await (await stage.user(identity=alice.identity)).hears_nothing(_STATUS)


# --- from the store ---------------------------------------------------------------


@exchange.case("If the target has published, the relay answers from its store.", reference="KEY_EXCHANGE_RESPONSE")
async def bundle_comes_from_the_store(stage: Stage) -> None:
    alice, bob = await stage.users()
    published = bob.publication(11, kem=(21,), last_resort=31)
    await bob.publish(published)
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id), id="1")
    signed, one_time, kem = published["signedPreKey"], published["oneTimePreKeys"][0], published["kemPreKeys"][0]
    expected = {
        "senderId": bob.id,
        "identityKey": bob.identity.public_text,
        "signedPreKey": signed["key"],
        "signedPreKeyId": 1,
        "preKeySignature": signed["signature"],
        "oneTimePreKey": one_time["key"],
        "oneTimePreKeyId": 11,
        "kemPreKey": kem["key"],
        "kemPreKeyId": 21,
        "kemPreKeySignature": kem["signature"],
        "targetId": None,
    }
    await alice.expect(_RESPONSE, expected, id="1", signature=None, seq=None)


@exchange.case("Each one-time key is handed out once.", section=_RESPONSE)
async def one_time_prekeys_are_handed_out_once(stage: Stage) -> None:
    alice, carol, bob = await stage.users(3)
    await bob.publish(bob.publication(11, 12, kem=(21,), last_resort=31))
    found = []
    for asker in (alice, carol, alice):
        await asker.send("KEY_EXCHANGE_INIT", asker.init(bob.id), id="1")
        payload = (await asker.expect(_RESPONSE, id="1"))["payload"]
        found.append((payload.get("oneTimePreKeyId"), payload.get("kemPreKeyId")))
    if {one for one, _ in found[:2]} != {11, 12}:
        raise Failure(f"two bundles have the one-time prekeys {found[:2]}")
    if found[0][1] != 21 or found[1][1] != 31:
        raise Failure(f"the KEM prekeys are {found[0][1]} and {found[1][1]}, and not 21 and then the last resort")
    if found[2] != (None, 31):
        raise Failure(f"when none is left, the bundle has {found[2]} and not the last resort alone")


@exchange.case(
    "when none is left, there is no one-time X25519 key, and the KEM key is the last resort", section=_RESPONSE
)
async def bundle_without_one_time_prekeys_has_the_last_resort(stage: Stage) -> None:
    alice, bob = await stage.users()
    published = bob.publication(last_resort=31)
    await bob.publish(published)
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id))
    last = published["lastResortKemPreKey"]
    await alice.expect(_RESPONSE, {"oneTimePreKey": None, "kemPreKey": last["key"], "kemPreKeyId": 31})


@exchange.case(
    "Bundles with one-time keys of one target go to one requester 10 times an hour",
    section=_RESPONSE,
    reference="",
    lasts=61,
)
async def eleventh_bundle_in_an_hour_has_no_one_time_prekey(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.publish(bob.publication(*range(11, 31)))
    for number in range(1, 12):
        if number == 11:
            await asyncio.sleep(MINUTE)
        await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id), id=str(number))
        has_one_time = "oneTimePreKey" in (await alice.expect(_RESPONSE, id=str(number)))["payload"]
        if has_one_time == (number == 11):
            raise Failure(f"bundle {number} of an hour has {'a' if has_one_time else 'no'} one-time prekey")


# --- through the mailbox ----------------------------------------------------------


@exchange.case("In any case INIT goes through the target's [mailbox](#mailbox)")
async def init_reaches_a_target_who_has_published(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.publish(bob.publication(11))
    sent = await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id), id="1")
    await alice.take(_RESPONSE)
    await bob.expect("KEY_EXCHANGE_INIT", {**sent["payload"], "senderId": alice.id}, id="1", seq=ANY)


@exchange.case("If nothing is stored for the target, only the target answers.")
async def init_waits_for_a_target_who_is_away(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.leave()
    offered = alice.identity.signed_prekey(1)
    bundle = {
        "signedPreKey": offered["key"],
        "signature": offered["signature"],
        "oneTimePreKey": base64_text(wire.new_x25519()),
    }
    sent = await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id, preKeyBundle=bundle))
    await alice.hears_nothing()
    back = await stage.user(identity=bob.identity)
    await back.expect("KEY_EXCHANGE_INIT", sent["payload"], signature=sent["signature"])


@exchange.case("where it replaces an older INIT of the same sender")
async def newer_init_replaces_the_one_that_waits(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.leave()
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id))
    newer = await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id))
    await alice.ping()
    back = await stage.user(identity=bob.identity)
    await back.expect("KEY_EXCHANGE_INIT", newer["payload"])
    await back.hears_nothing("KEY_EXCHANGE_INIT")


@exchange.case("with its sender's signature and a `seq`", section=_RESPONSE, reference="KEY_EXCHANGE_RESPONSE")
async def response_reaches_the_initiator_and_makes_contacts(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id))
    await bob.expect("KEY_EXCHANGE_INIT")
    kem = bob.identity.kem_prekey(3)
    extra = {
        "signedPreKeyId": 1,
        "oneTimePreKey": base64_text(wire.new_x25519()),
        "oneTimePreKeyId": 2,
        "kemPreKey": kem["key"],
        "kemPreKeyId": 3,
        "kemPreKeySignature": kem["signature"],
    }
    sent = await bob.send(_RESPONSE, bob.response(alice.id, **extra), id="2")
    await alice.expect(_RESPONSE, {**sent["payload"], "senderId": bob.id}, id="2", signature=sent["signature"], seq=ANY)
    await alice.expect("PRESENCE", {"userId": bob.id, "status": "online"})
    await bob.expect("PRESENCE", {"userId": alice.id, "status": "online"})


@exchange.case("It is answered only if it is rejected.", section=_RESPONSE, reference="KEY_EXCHANGE_RESPONSE")
async def response_is_not_answered(stage: Stage) -> None:
    alice, bob = await stage.users()
    await bob.send(_RESPONSE, bob.response(alice.id), id="1")
    await bob.hears_nothing()


# --- what is refused --------------------------------------------------------------


@exchange.case("who is asked; no account: ERROR 1004", reference="Error Handling")
async def exchange_with_nobody_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    nobody = Identity().id
    sent = await alice.send("KEY_EXCHANGE_INIT", alice.init(nobody), id="1")
    await alice.refused("user", id="1")
    await alice.send(_RESPONSE, alice.response(nobody), id="2")
    await alice.refused("user", id="2")
    await alice.send_frame(sent)  # what was rejected so is no replay
    await alice.refused("user", id="1")


@exchange.case(
    "A frame whose signature was seen in the last 11 minutes is 1005 `replayed`", reference="Security Considerations"
)
async def exchange_that_is_sent_again_is_refused(stage: Stage) -> None:
    alice, bob = await stage.users()
    sent = await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id), id="1")
    await bob.expect("KEY_EXCHANGE_INIT")
    await alice.send_frame(sent)
    await alice.refused("replayed", id="1")
    await bob.hears_nothing("KEY_EXCHANGE_INIT")


@exchange.case("MUST be that of its session", reference="Error Handling")
async def identity_key_of_another_user_is_refused(stage: Stage) -> None:
    alice, bob = await stage.users()
    other = Identity().public_text
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id, identityKey=other))
    await alice.refused("key", field="payload.identityKey")
    await alice.send(_RESPONSE, alice.response(bob.id, identityKey=other))
    await alice.refused("key", field="payload.identityKey")
    await bob.hears_nothing("KEY_EXCHANGE_INIT", _RESPONSE)


@exchange.case(_UNUSABLE, section="Prekeys and key exchange", reference="Error Handling")
async def keys_of_small_order_are_refused(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id, ephemeralKey=_NULL_KEY))
    await alice.refused("key")
    await alice.send(_RESPONSE, alice.response(bob.id, signedPreKey=_NULL_KEY))
    await alice.refused("key")
    await alice.send(_RESPONSE, alice.response(bob.id, oneTimePreKey=_NULL_KEY))
    await alice.refused("key")
    await bob.hears_nothing("KEY_EXCHANGE_INIT", _RESPONSE)


@exchange.case(_UNVERIFIED, section="Prekeys and key exchange", reference="Error Handling")
async def prekeys_with_a_wrong_signature_are_refused(stage: Stage) -> None:
    alice, bob = await stage.users()
    bundle = {"signedPreKey": base64_text(wire.new_x25519()), "signature": _OTHER}
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id, preKeyBundle=bundle))
    await alice.refused("prekey-signature")
    await alice.send(_RESPONSE, alice.response(bob.id, preKeySignature=_OTHER))
    await alice.refused("prekey-signature")
    kem = {**alice.identity.kem_prekey(3), "signature": _OTHER}
    members = {"kemPreKey": kem["key"], "kemPreKeyId": 3, "kemPreKeySignature": kem["signature"]}
    await alice.send(_RESPONSE, alice.response(bob.id, **members))
    await alice.refused("prekey-signature")
    await bob.hears_nothing("KEY_EXCHANGE_INIT", _RESPONSE)


@exchange.case("with `kemPreKeySignature`, else 1001 `field`", section=_RESPONSE)
async def kem_prekey_without_its_signature_is_refused(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.send(_RESPONSE, alice.response(bob.id, kemPreKey=base64_text(wire.new_kem()), kemPreKeyId=1))
    await alice.refused("field", field="payload.kemPreKeySignature")


@exchange.case("whose prekeys these are; added by the relay", section=_RESPONSE)
async def sender_named_by_a_client_is_refused(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.send(_RESPONSE, alice.response(bob.id, senderId=alice.id))
    await alice.refused("field", field="payload.senderId")
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id, senderId=alice.id))
    await alice.refused("field", field="payload.senderId")
