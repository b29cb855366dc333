"""Prekeys that their owner has signed as a whole and dated, and clients that know of them beside those that do not."""

import base64
import hashlib
from typing import Any

import pytest

from support.people import Frame, Person, flipped
from support.simulated import Client, World

DATE = 1_750_000_000_000
DATED = {"madeAt", "bundleSignature", "lastResortKemPreKey"}


def newcomer(world: World, name: Person | str) -> Client:
    """Somebody whose client knows of dates."""
    return world.login(name, features=["suite2"])


@pytest.fixture
def alice(world: World) -> Client:
    return newcomer(world, "alice")


@pytest.fixture
def bob(world: World) -> Client:
    return newcomer(world, "bob")


def reason(answer: Frame) -> tuple[int, str]:
    return answer["payload"]["code"], answer["payload"]["details"]["reason"]


def digest(part: Frame) -> Frame:
    """What a bundle with a one-time KEM prekey says of the last resort."""
    found = hashlib.sha256(base64.b64decode(part["key"])).digest()
    return {"digest": base64.b64encode(found).decode(), "id": part["id"]}


def asks(client: Client, target: Person) -> Frame:
    """The bundle that a client gets."""
    init = client.person.init(target, name=client.person.new_message_id())
    [answer] = [frame for frame in client.send(init) if frame["type"] != "PREKEY_STATUS"]
    assert answer["type"] == "KEY_EXCHANGE_RESPONSE", answer
    payload: Frame = answer["payload"]
    return payload


# --- who is told of it ------------------------------------------------------------


@pytest.mark.parametrize("features", [["suite2"], ["ack", "suite2"], ["suite2", "later", "absent"]])
def test_client_that_knows_of_dates_is_told_that_the_relay_does(world: World, features: list[str]) -> None:
    client = world.connect("alice")
    answer = client.ask(client.auth(features))
    assert answer["payload"].keys() == {"features", "serverTime", "sessionId"}
    assert answer["payload"]["features"] == ["suite2"]


@pytest.mark.parametrize("features", [None, [], ["ack"], ["ack", "absent", "later", "Suite2"]])
def test_other_client_is_told_what_it_always_was(world: World, features: list[str] | None) -> None:
    client = world.connect("alice")
    assert client.ask(client.auth(features))["payload"].keys() == {"serverTime", "sessionId"}


def test_bundle_has_its_date_for_a_client_that_knows_of_dates_and_for_no_other(world: World, bob: Client) -> None:
    sent = bob.person.publish_dated(DATE, [1, 2], [7, 8])["payload"]
    bob.send(bob.person.publish_dated(DATE, [1, 2], [7, 8]))
    new = asks(newcomer(world, "alice"), bob.person)
    old = asks(world.login("carol"), bob.person)
    assert {name: new.pop(name) for name in DATED} == {
        "madeAt": DATE,
        "bundleSignature": sent["bundleSignature"],
        "lastResortKemPreKey": digest(sent["lastResortKemPreKey"]),
    }
    assert old.keys() == new.keys()
    assert old.keys().isdisjoint(DATED)


def test_last_resort_stands_once_in_a_bundle(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish_dated(DATE, [1]))
    bundle = asks(alice, bob.person)
    assert bundle["kemPreKeyId"] == 4_000
    assert bundle.keys() & DATED == {"madeAt", "bundleSignature"}


def test_one_time_key_with_the_id_of_the_last_resort_is_told_apart_from_it(alice: Client, bob: Client) -> None:
    """Ids count within a kind."""
    one_time = {**bob.person.kem_part(5), "id": 4_000}
    bob.send(bob.person.publish_dated(DATE, kemPreKeys=[one_time]))
    bundle = asks(alice, bob.person)
    assert bundle["kemPreKey"] == one_time["key"]
    assert bundle["lastResortKemPreKey"] == digest(bob.person.kem_part(4_000))


def test_prekeys_without_a_date_are_handed_out_as_they_always_were(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish([1], [2], last_resort=True))
    assert asks(alice, bob.person).keys().isdisjoint(DATED)


def test_date_outlives_a_restart(world: World, bob: Client) -> None:
    bob.send(bob.person.publish_dated(DATE, [1]))
    assert asks(newcomer(world.restarted(), "alice"), bob.person)["madeAt"] == DATE


# --- publishing -------------------------------------------------------------------


def without(member: str) -> Any:
    return lambda payload: {name: value for name, value in payload.items() if name != member}


def with_(**members: Any) -> Any:
    return lambda payload: {**payload, **members}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (without("madeAt"), "payload.madeAt"),
        (without("bundleSignature"), "payload.bundleSignature"),
        (without("lastResortKemPreKey"), "payload.lastResortKemPreKey"),
    ],
    ids=["date", "signature", "last resort"],
)
def test_date_comes_with_all_that_it_is_of(alice: Client, bob: Client, change: Any, field: str) -> None:
    frame = bob.person.publish_dated(DATE)
    answer = bob.ask(bob.person.signed({**frame, "payload": change(frame["payload"])}))
    assert answer["payload"]["code"] == 1001
    assert answer["payload"]["details"] == {"reason": "field", "field": field}
    assert alice.send(alice.person.init(bob.person)) == [], "nothing was stored"


def test_date_without_all_else_is_the_control(bob: Client) -> None:
    assert bob.ask(bob.person.publish_dated(DATE))["type"] == "PREKEY_STATUS"


@pytest.mark.parametrize(
    "change",
    [
        with_(madeAt=DATE + 1),
        lambda payload: {**payload, "bundleSignature": flipped(payload["bundleSignature"])},
        lambda payload: {**payload, "signedPreKey": {**payload["signedPreKey"], "id": 2}},
        lambda payload: {**payload, "lastResortKemPreKey": {**payload["lastResortKemPreKey"], "id": 3_999}},
    ],
    ids=["date", "signature", "id of the signed prekey", "id of the last resort"],
)
def test_signature_covers_every_member(alice: Client, bob: Client, change: Any) -> None:
    frame = bob.person.publish_dated(DATE)
    answer = bob.ask(bob.person.signed({**frame, "payload": change(frame["payload"])}))
    assert reason(answer) == (1005, "prekey-signature")
    assert alice.send(alice.person.init(bob.person)) == [], "nothing was stored"


def test_signature_over_other_keys_is_refused(bob: Client) -> None:
    person = bob.person
    parts = [(person.signed_prekey_part(1), person.kem_part(5)), (person.signed_prekey_part(2), person.kem_part(4_000))]
    for signed, last_resort in parts:
        other = person.dating(DATE, {**signed, "id": 1}, {**last_resort, "id": 4_000})
        assert reason(bob.ask(person.publish_dated(DATE, **other))) == (1005, "prekey-signature")


def test_signature_under_another_user_id_is_refused(world: World, bob: Client) -> None:
    """A key may have claimed several ids."""
    double = world.person("bob", user_id="b3RoZXIgaWQgb2YgYm9iLi4u")
    assert double.public_key == bob.person.public_key
    other = double.dating(DATE, bob.person.signed_prekey_part(1), bob.person.kem_part(4_000))
    assert reason(bob.ask(bob.person.publish_dated(DATE, **other))) == (1005, "prekey-signature")


def test_earlier_date_is_1001(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish_dated(DATE, [1]))
    assert reason(bob.ask(bob.person.publish_dated(DATE - 1, [2], number=2))) == (1001, "outdated")
    bundle = asks(alice, bob.person)
    assert (bundle["madeAt"], bundle["signedPreKeyId"], bundle["oneTimePreKeyId"]) == (DATE, 1, 1)
    bob.take()
    assert bob.ask(bob.person.publish_dated(DATE, [3], number=2))["type"] == "PREKEY_STATUS"
    assert bob.ask(bob.person.publish_dated(DATE - 1, [4], number=3, replace=True))["type"] == "PREKEY_STATUS"
    bundle = asks(alice, bob.person)
    assert (bundle["madeAt"], bundle["signedPreKeyId"], bundle["oneTimePreKeyId"]) == (DATE - 1, 3, 4)


def test_client_of_an_older_version_ends_the_date_of_prekeys_that_it_renews(world: World, bob: Client) -> None:
    bob.send(bob.person.publish_dated(DATE))
    older = world.login(bob.person)
    older.send(older.person.publish([1]))
    assert asks(newcomer(world, "alice"), bob.person)["madeAt"] == DATE, "it has added to them"
    older.send(older.person.publish(signedPreKey=older.person.signed_prekey_part(2)))
    assert asks(newcomer(world, "carol"), bob.person).keys().isdisjoint(DATED)


# --- a client's own answer ----------------------------------------------------------


def own_answer(client: Client, to: Client, *, one_time: bool) -> Frame:
    """A response with a date: of a one-time KEM prekey and the last resort, or of the last resort alone."""
    person = client.person
    signed, last_resort, other = person.signed_prekey_part(1), person.kem_part(4_000), person.kem_part(7)
    kem = other if one_time else last_resort
    members: Frame = {
        "signedPreKey": signed["key"],
        "signedPreKeyId": 1,
        "preKeySignature": signed["signature"],
        "kemPreKey": kem["key"],
        "kemPreKeyId": kem["id"],
        "kemPreKeySignature": kem["signature"],
        **person.dating(DATE, signed, last_resort),
    }
    if one_time:
        members["lastResortKemPreKey"] = digest(last_resort)
    return person.response(to.person, **members)


@pytest.mark.parametrize("one_time", [False, True], ids=["last resort", "one-time key"])
def test_own_answer_with_a_date_is_passed_on(alice: Client, bob: Client, one_time: bool) -> None:
    response = own_answer(bob, alice, one_time=one_time)
    bob.send(response)
    [answer] = alice.take("KEY_EXCHANGE_RESPONSE")
    assert answer["payload"] == {**response["payload"], "senderId": bob.person.id}


def test_own_answer_with_a_date_waits_for_a_client_that_can_read_it(world: World, bob: Client) -> None:
    """An older client would take the relay for broken, again after each login."""
    older = world.login("alice")
    bob.send(own_answer(bob, older, one_time=True))
    bob.send(bob.person.message(older.person))
    assert [frame["type"] for frame in older.take()] == ["MESSAGE"]
    older.drop()
    assert [frame["type"] for frame in world.login(older.person).take()] == ["MESSAGE"]
    newer = newcomer(world, older.person)
    [answer, message] = newer.take()
    assert (answer["type"], message["type"]) == ("KEY_EXCHANGE_RESPONSE", "MESSAGE")
    newer.send(newer.person.confirm(answer["seq"]), newer.person.ack(message))
    newer.drop()
    assert newcomer(world, older.person).take("KEY_EXCHANGE_RESPONSE") == []


def test_own_answer_without_a_date_reaches_everybody(world: World, bob: Client) -> None:
    """The control. Its id looks like the member that others have."""
    older = world.login("alice")
    bob.send(bob.person.signed({**bob.person.response(older.person), "id": '"bundleSignature":'}))
    assert len(older.take("KEY_EXCHANGE_RESPONSE")) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (without("madeAt"), "madeAt"),
        (without("bundleSignature"), "bundleSignature"),
        (without("signedPreKeyId"), "signedPreKeyId"),
        (without("kemPreKey"), "kemPreKey"),
        (without("kemPreKeyId"), "kemPreKeyId"),
        (lambda payload: without("madeAt")(without("bundleSignature")(payload)), "madeAt"),
    ],
)
def test_own_answer_has_all_that_its_date_is_of(alice: Client, bob: Client, change: Any, field: str) -> None:
    frame = own_answer(bob, alice, one_time=True)
    answer = bob.ask(bob.person.signed({**frame, "payload": change(frame["payload"])}))
    assert answer["payload"]["details"] == {"reason": "field", "field": f"payload.{field}"}
    assert alice.take("KEY_EXCHANGE_RESPONSE") == []


@pytest.mark.parametrize("member", ["kemPreKeyId", "kemPreKey"])
def test_own_answer_without_a_last_resort_has_no_date(alice: Client, bob: Client, member: str) -> None:
    frame = own_answer(bob, alice, one_time=False)
    payload = without(member)(frame["payload"])
    answer = bob.ask(bob.person.signed({**frame, "payload": payload}))
    assert answer["payload"]["details"] == {"reason": "field", "field": f"payload.{member}"}


def last_resort_with(**members: Any) -> Any:
    return lambda payload: {**payload, "lastResortKemPreKey": {**payload["lastResortKemPreKey"], **members}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (last_resort_with(digest=digest({"id": 1, "key": "c2VjcmV0"})["digest"]), (1005, "prekey-signature")),
        (last_resort_with(id=3_999), (1005, "prekey-signature")),
        (without("lastResortKemPreKey"), (1005, "prekey-signature")),
        (last_resort_with(key=base64.b64encode(bytes(1_184)).decode()), (1001, "field")),
        (last_resort_with(digest=base64.b64encode(bytes(31)).decode()), (1001, "base64")),
        (last_resort_with(digest=base64.b64encode(bytes(33)).decode()), (1001, "base64")),
        (last_resort_with(digest=base64.b64encode(bytes(1_184)).decode()), (1001, "field")),
    ],
    ids=["another", "another id", "none", "beside the key", "31 bytes", "33 bytes", "the key"],
)
def test_own_answer_with_a_wrong_digest_is_refused(
    alice: Client, bob: Client, change: Any, expected: tuple[int, str]
) -> None:
    frame = own_answer(bob, alice, one_time=True)
    answer = bob.ask(bob.person.signed({**frame, "payload": change(frame["payload"])}))
    assert reason(answer) == expected
    assert alice.take("KEY_EXCHANGE_RESPONSE") == []


@pytest.mark.parametrize("one_time", [False, True], ids=["last resort", "one-time key"])
@pytest.mark.parametrize("change", [with_(madeAt=DATE + 1), with_(signedPreKeyId=2)])
def test_signature_covers_every_member_of_an_own_answer(
    alice: Client, bob: Client, change: Any, one_time: bool
) -> None:
    frame = own_answer(bob, alice, one_time=one_time)
    answer = bob.ask(bob.person.signed({**frame, "payload": change(frame["payload"])}))
    assert reason(answer) == (1005, "prekey-signature")
