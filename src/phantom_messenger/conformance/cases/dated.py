"""Dated prekeys, which go to clients with the feature ``suite2``. A relay need not know them."""

import base64
import hashlib
from typing import Final

from phantom_messenger.conformance.client import ANY, Client
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Failure, Group, NotJudgedError
from phantom_messenger.conformance.wire import Frame, base64_text, new_kem

dated: Final = Group("dated-prekeys", "PREKEY_PUBLISH")

_DATE: Final = 1_750_000_000_000
_RESPONSE: Final = "KEY_EXCHANGE_RESPONSE"
_KNOWN: Final = "those of AUTH that the relay knows, except `ack` and `absent`; left out if there is none"


async def _knowing(stage: Stage) -> Client:
    """A new user whose client and relay know dated prekeys.

    Raises:
        NotJudgedError: the relay does not.
    """
    alice = await stage.user("ack", "suite2")
    if "suite2" not in alice.features:
        raise NotJudgedError("this relay does not know suite2")
    return alice


async def _bundle(alice: Client, target: Client) -> Frame:
    """What the relay hands out of somebody's prekeys."""
    name = alice.new_id()
    await alice.send("KEY_EXCHANGE_INIT", alice.init(target.id), id=name)
    payload: Frame = (await alice.expect(_RESPONSE, {"senderId": target.id}, id=name))["payload"]
    return payload


def _by_digest(last_resort: Frame) -> Frame:
    """What stands beside a one-time KEM prekey in place of the last resort."""
    digest = hashlib.sha256(base64.b64decode(last_resort["key"])).digest()
    return {"digest": base64_text(digest), "id": last_resort["id"]}


def _is_dated(bundle: Frame, publication: Frame) -> None:
    """Judge a bundle that must have the date of this publication.

    Raises:
        Failure: it has not.
    """
    for member in ("madeAt", "bundleSignature"):
        if bundle.get(member) != publication[member]:
            raise Failure(f"{member} of the bundle is not that of the publication")


def _is_not_dated(bundle: Frame) -> None:
    """Judge a bundle that must have no date.

    Raises:
        Failure: it has one.
    """
    for member in ("madeAt", "bundleSignature", "lastResortKemPreKey"):
        if member in bundle:
            raise Failure(f"the bundle has {member}")


@dated.case(_KNOWN, section="AUTH_SUCCESS")
async def features_that_the_relay_knows_are_named_if_the_client_has_them(stage: Stage) -> None:
    await _knowing(stage)
    for features in (("ack",), ("ack", "unheard-of"), ("ack", "absent")):
        other = await stage.user(*features)
        if other.features:
            raise Failure(f"AUTH with {features} is answered with the features {other.features}")


@dated.case("So nobody can hand out some of them with others, or old ones as new ones.")
async def date_is_handed_out_with_the_prekeys(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await _knowing(stage)
    publication = bob.identity.dated(bob.publication(kem=(21,), last_resort=31), _DATE)
    await bob.publish(publication)
    last = _by_digest(publication["lastResortKemPreKey"])
    bundle = await _bundle(alice, bob)
    _is_dated(bundle, publication)
    if (bundle.get("kemPreKeyId"), bundle.get("lastResortKemPreKey")) != (21, last):
        raise Failure("the bundle has not the one-time KEM prekey and, beside it, the digest of the last resort")
    bundle = await _bundle(alice, bob)
    _is_dated(bundle, publication)
    if bundle.get("kemPreKeyId") != 31 or "lastResortKemPreKey" in bundle:
        raise Failure("the bundle has not the last resort, and nothing beside it")


@dated.case("are sent to clients with the feature `suite2` only", section=_RESPONSE)
async def date_is_kept_from_clients_that_do_not_know_it(stage: Stage) -> None:
    bob, carol = await _knowing(stage), await stage.user()
    await bob.publish(bob.identity.dated(bob.publication(kem=(21,), last_resort=31), _DATE))
    _is_not_dated(await _bundle(carol, bob))


@dated.case("A `madeAt` below the stored one is 1001 `outdated`, unless the frame says `replace`.")
async def earlier_date_is_refused_unless_it_replaces(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await _knowing(stage)
    whole = bob.publication(last_resort=31)
    newer = bob.identity.dated(whole, _DATE)
    await bob.publish(newer)
    earlier = bob.identity.dated(whole, _DATE - 1)
    await bob.send("PREKEY_PUBLISH", earlier, id="earlier")
    await bob.refused("outdated", id="earlier")
    _is_dated(await _bundle(alice, bob), newer)
    await bob.publish({**earlier, "replace": True})
    _is_dated(await _bundle(alice, bob), earlier)


@dated.case("If one of them is missing, or `lastResortKemPreKey`, it is 1001 `field`.")
async def incomplete_date_is_refused(stage: Stage) -> None:
    bob = await _knowing(stage)
    whole = bob.identity.dated(bob.publication(last_resort=31), _DATE)
    for member in ("madeAt", "bundleSignature", "lastResortKemPreKey"):
        await bob.send("PREKEY_PUBLISH", {name: value for name, value in whole.items() if name != member})
        await bob.refused("field")


@dated.case("prekey signature that does not verify under the session's key", section="Prekeys and key exchange")
async def date_that_was_not_signed_is_refused(stage: Stage) -> None:
    bob = await _knowing(stage)
    whole = bob.identity.dated(bob.publication(last_resort=31), _DATE)
    await bob.send("PREKEY_PUBLISH", {**whole, "madeAt": _DATE + 1})
    await bob.refused("prekey-signature")


@dated.case("A publication without the two, of another signed or last-resort prekey, ends the date.")
async def publication_without_a_date_ends_it(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await _knowing(stage)
    await bob.publish(bob.identity.dated(bob.publication(last_resort=31), _DATE))
    await bob.publish(bob.publication(signedPreKey=bob.identity.signed_prekey(40)))
    _is_not_dated(await _bundle(alice, bob))


# --- a client's own answer ------------------------------------------------------------


def _own_answer(bob: Client, alice: Client) -> Frame:
    """The payload of a response of one's own, dated, with a one-time KEM prekey and the digest of the last resort."""
    publication = bob.identity.dated(bob.publication(kem=(21,), last_resort=31), _DATE)
    signed, [kem], last = publication["signedPreKey"], publication["kemPreKeys"], publication["lastResortKemPreKey"]
    return bob.response(
        alice.id,
        signedPreKey=signed["key"],
        signedPreKeyId=signed["id"],
        preKeySignature=signed["signature"],
        kemPreKey=kem["key"],
        kemPreKeyId=kem["id"],
        kemPreKeySignature=kem["signature"],
        lastResortKemPreKey=_by_digest(last),
        **{member: publication[member] for member in ("madeAt", "bundleSignature")},
    )


@dated.case("SHA-256 and id of the last resort, if `kemPreKey` is another one", section=_RESPONSE)
async def own_answer_with_a_date_is_passed_on(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await _knowing(stage)
    sent = await bob.send(_RESPONSE, _own_answer(bob, alice))
    await alice.expect(_RESPONSE, {**sent["payload"], "senderId": bob.id}, signature=sent["signature"], seq=ANY)


@dated.case("prekey signature that does not verify under the session's key", section="Prekeys and key exchange")
async def own_answer_with_another_digest_is_refused(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await _knowing(stage)
    own = _own_answer(bob, alice)
    other = _by_digest(bob.identity.kem_prekey(31))
    await bob.send(_RESPONSE, {**own, "lastResortKemPreKey": other})
    await bob.refused("prekey-signature")
    await bob.send(_RESPONSE, {name: value for name, value in own.items() if name != "lastResortKemPreKey"})
    await bob.refused("prekey-signature")
    await alice.hears_nothing(_RESPONSE)


@dated.case("never both keys", section=_RESPONSE)
async def own_answer_with_a_digest_of_another_form_is_refused(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await _knowing(stage)
    own = _own_answer(bob, alice)
    last = own["lastResortKemPreKey"]
    await bob.send(_RESPONSE, {**own, "lastResortKemPreKey": {**last, "key": base64_text(new_kem())}})
    await bob.refused("field")
    await bob.send(_RESPONSE, {**own, "lastResortKemPreKey": {**last, "digest": base64_text(bytes(31))}})
    await bob.refused("base64")
    for member in ("kemPreKeyId", "signedPreKeyId"):
        await bob.send(_RESPONSE, {name: value for name, value in own.items() if name != member})
        await bob.refused("field")
    await alice.hears_nothing(_RESPONSE)
