from collections.abc import Callable

import pytest

from phantom_messenger.relay import admission
from support.people import Frame, base64_text, flipped, is_signed_by, kem_key_text, key_text
from support.simulated import MINUTE, SECOND, Client, World

LOW_ORDER = {
    "0": bytes(32),
    "1": bytes([1]) + bytes(31),
    "order 8": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "order 8, other": bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    "p - 1": bytes([0xEC]) + b"\xff" * 30 + b"\x7f",
    "p": bytes([0xED]) + b"\xff" * 30 + b"\x7f",
    "p + 1": bytes([0xEE]) + b"\xff" * 30 + b"\x7f",
    "0, top bit set": bytes(31) + b"\x80",
    "p, top bit set": bytes([0xED]) + b"\xff" * 31,
}


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice")


@pytest.fixture
def bob(world: World) -> Client:
    return world.login("bob")


def without_seq(frame: Frame) -> Frame:
    return {name: value for name, value in frame.items() if name != "seq"}


# --- live -------------------------------------------------------------------------


def test_both_ends_online_works_as_in_the_reference(alice: Client, bob: Client) -> None:
    init = alice.person.init(bob.person)
    assert alice.send(init) == []
    [asked] = bob.take()
    assert without_seq(asked) == {**init, "payload": {**init["payload"], "senderId": alice.person.id}}
    assert is_signed_by(asked, alice.person.public_key)

    response = bob.person.response(alice.person)
    bob.send(response)
    [answer] = alice.take("KEY_EXCHANGE_RESPONSE")
    assert without_seq(answer) == {**response, "payload": {**response["payload"], "senderId": bob.person.id}}
    assert is_signed_by(answer, bob.person.public_key)


def test_offered_bundle_and_all_added_members_pass_through(alice: Client, bob: Client) -> None:
    offered = key_text("offered")
    bundle = {
        "signedPreKey": offered,
        "signature": alice.person.sign_prekey(offered),
        "oneTimePreKey": key_text("one-time"),
    }
    init = alice.person.init(bob.person, preKeyBundle=bundle)
    alice.send(init)
    [asked] = bob.take()
    assert asked["payload"]["preKeyBundle"] == bundle

    part = bob.person.kem_part(5)
    added = {
        "signedPreKeyId": 3,
        "oneTimePreKey": key_text("one-time"),
        "oneTimePreKeyId": 4,
        "kemPreKey": part["key"],
        "kemPreKeyId": 5,
        "kemPreKeySignature": part["signature"],
    }
    bob.send(bob.person.response(alice.person, **added))
    [answer] = alice.take("KEY_EXCHANGE_RESPONSE")
    assert added.items() <= answer["payload"].items()


# --- the peer is away -------------------------------------------------------------


def test_init_waits_for_an_absent_peer(world: World, alice: Client) -> None:
    bob = world.person("bob")
    world.register(bob)
    init = alice.person.init(bob)
    assert alice.send(init) == []
    client = world.login(bob)
    [waiting] = client.take()
    assert without_seq(waiting) == {**init, "payload": {**init["payload"], "senderId": alice.person.id}}
    assert is_signed_by(waiting, alice.person.public_key)
    client.drop()
    client = world.login(bob)
    assert client.take() == [waiting], "it was not confirmed yet"
    client.send(client.person.confirm(waiting["seq"]))
    client.drop()
    assert world.login(bob).take() == []


def test_response_waits_for_an_absent_initiator(world: World, alice: Client, bob: Client) -> None:
    alice.send(alice.person.init(bob.person))
    bob.take()
    alice.drop()
    response = bob.person.response(alice.person)
    assert [frame["type"] for frame in bob.send(response)] == ["PRESENCE"], "contacts now, and she has only just left"
    [waiting] = world.login(alice.person).take("KEY_EXCHANGE_RESPONSE")
    assert is_signed_by(waiting, bob.person.public_key)


def test_init_waits_in_order_with_messages(world: World, alice: Client) -> None:
    bob = world.person("bob")
    world.register(bob)
    alice.send(alice.person.message(bob), alice.person.init(bob), alice.person.message(bob))
    found = world.login(bob).take()
    assert [frame["type"] for frame in found] == ["MESSAGE", "KEY_EXCHANGE_INIT", "MESSAGE"]


def test_newer_init_of_one_peer_takes_the_place_of_its_older(world: World, alice: Client) -> None:
    bob = world.person("bob")
    world.register(bob)
    for number in range(5):
        alice.send(alice.person.init(bob, name=f"ephemeral {number}"))
    [waiting] = world.login(bob).take()
    assert waiting["payload"]["ephemeralKey"] == key_text(f"ephemeral 4 of {alice.person.id}")


def test_client_without_acks_gets_a_waiting_init_once(world: World, alice: Client) -> None:
    bob = world.person("bob")
    world.register(bob)
    alice.send(alice.person.init(bob))
    client = world.login(bob, ack=False)
    assert len(client.take("KEY_EXCHANGE_INIT")) == 1
    client.drop()
    assert world.login(bob).take("KEY_EXCHANGE_INIT") == []


@pytest.mark.parametrize("kind", ["KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE"])
def test_exchange_with_a_peer_who_leaves_meanwhile_waits(world: World, alice: Client, bob: Client, kind: str) -> None:
    frame = alice.person.init(bob.person) if kind.endswith("INIT") else alice.person.response(bob.person)
    world.writer.holding = True
    alice.send(frame)
    bob.drop()
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert len(world.login(bob.person).take(kind)) == 1


@pytest.mark.parametrize("kind", ["KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE"])
def test_exchange_with_a_peer_who_logs_in_meanwhile_arrives(world: World, alice: Client, kind: str) -> None:
    """It is judged while the peer is away, and stored behind the login that reads the mailbox."""
    world.register("bob")
    bob = world.connect("bob")
    bob.put(bob.auth(["ack"]))
    alice.put(alice.person.init(bob.person) if kind.endswith("INIT") else alice.person.response(bob.person))
    world.run()
    assert len(bob.take(kind)) == 1


@pytest.mark.parametrize("kind", ["KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE"])
def test_exchange_during_a_takeover_arrives(world: World, alice: Client, bob: Client, kind: str) -> None:
    frame = alice.person.init(bob.person) if kind.endswith("INIT") else alice.person.response(bob.person)
    newer = world.connect(bob.person)
    newer.put(newer.auth(["ack"]))
    alice.put(frame)
    world.run()
    assert len(bob.take(kind) + newer.take(kind)) == 1


@pytest.mark.parametrize("kind", ["KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE"])
def test_exchange_that_a_dead_connection_never_took_is_not_lost(
    world: World, alice: Client, bob: Client, kind: str
) -> None:
    bob.connection.stalled = True
    alice.send(alice.person.init(bob.person) if kind.endswith("INIT") else alice.person.response(bob.person))
    assert len(world.login(bob.person).take(kind)) == 1


# --- refused ----------------------------------------------------------------------


def refused(client: Client, frame: Frame) -> tuple[int, str]:
    answer = client.ask({**frame})
    assert answer["type"] == "ERROR", answer
    assert client.close_code() is None
    return answer["payload"]["code"], answer["payload"]["details"]["reason"]


def test_exchange_with_nobody_is_1004(alice: Client) -> None:
    assert refused(alice, alice.person.init(key_text("nobody"))) == (1004, "user")
    assert refused(alice, alice.person.response(key_text("nobody"))) == (1004, "user")


@pytest.mark.parametrize("away", [False, True], ids=["present", "away"])
def test_exchange_seen_before_is_1005(world: World, alice: Client, bob: Client, away: bool) -> None:
    if away:
        bob.drop()
    frames = [alice.person.init(bob.person), alice.person.response(bob.person)]
    for frame in frames:
        assert alice.send(frame) == []
    bob.take()
    world.clock.advance(4 * MINUTE)
    for frame in frames:
        assert refused(alice, frame) == (1005, "replayed")
    assert bob.take() == []


def test_exchange_seen_before_is_refused_in_the_same_turn(alice: Client, bob: Client) -> None:
    init = alice.person.init(bob.person)
    assert [frame["payload"]["code"] for frame in alice.send(init, init)] == [1005]
    assert len(bob.take()) == 1


def test_exchange_seen_before_is_refused_as_long_as_it_is_fresh(world: World, alice: Client, bob: Client) -> None:
    init = alice.person.init(bob.person)
    init = alice.person.signed({**init, "timestamp": init["timestamp"] + 5 * MINUTE})
    assert alice.send(init) == []
    for wait in (9 * MINUTE, MINUTE - 1, 1):  # it is fresh to the last of these
        world.clock.advance(wait)
        assert refused(alice, init) == (1005, "replayed")
    world.clock.advance(1)
    assert refused(alice, init) == (1001, "clock")
    assert len(bob.take()) == 1


def test_exchange_that_was_not_stored_may_be_sent_again(world: World, alice: Client, bob: Client) -> None:
    """1007 says: send it again later."""
    init = alice.person.init(bob.person)
    world.writer.full = True
    assert refused(alice, init) == (1007, "storage")
    world.writer.full = False
    world.clock.advance(5 * SECOND)
    assert alice.send(init) == []
    assert len(bob.take("KEY_EXCHANGE_INIT")) == 1


def test_new_exchange_is_not_taken_for_an_older_one(alice: Client, bob: Client) -> None:
    """The control of the replays: what differs is another exchange."""
    for number in range(5):
        alice.send(alice.person.init(bob.person, name=f"ephemeral {number}"))
    assert len(bob.take("KEY_EXCHANGE_INIT")) == 5


@pytest.mark.parametrize("key", LOW_ORDER.values(), ids=LOW_ORDER)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda me, to, key: me.init(to, ephemeralKey=key), id="ephemeralKey"),
        pytest.param(
            lambda me, to, key: me.init(to, preKeyBundle={"signedPreKey": key, "signature": me.sign_prekey(key)}),
            id="preKeyBundle.signedPreKey",
        ),
        pytest.param(
            lambda me, to, key: me.init(
                to,
                preKeyBundle={
                    "signedPreKey": key_text("x"),
                    "signature": me.sign_prekey(key_text("x")),
                    "oneTimePreKey": key,
                },
            ),
            id="preKeyBundle.oneTimePreKey",
        ),
        pytest.param(
            lambda me, to, key: me.response(to, signedPreKey=key, preKeySignature=me.sign_prekey(key)),
            id="signedPreKey",
        ),
        pytest.param(lambda me, to, key: me.response(to, oneTimePreKey=key), id="oneTimePreKey"),
        pytest.param(
            lambda me, _, key: me.publish(signedPreKey={"id": 1, "key": key, "signature": me.sign_prekey(key)}),
            id="published signedPreKey",
        ),
        pytest.param(
            lambda me, _, key: me.publish(oneTimePreKeys=[{"id": 1, "key": key}]), id="published oneTimePreKey"
        ),
    ],
)
def test_key_of_low_order_is_1005(alice: Client, bob: Client, make: Callable[..., Frame], key: bytes) -> None:
    assert refused(alice, make(alice.person, bob.person, base64_text(key))) == (1005, "key")
    assert bob.take() == []


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda me, to, bad: me.init(to, preKeyBundle={"signedPreKey": key_text("x"), "signature": bad}), id="INIT"
        ),
        pytest.param(lambda me, to, bad: me.response(to, preKeySignature=bad), id="RESPONSE"),
        pytest.param(
            lambda me, to, bad: me.response(to, kemPreKey=kem_key_text("x"), kemPreKeyId=1, kemPreKeySignature=bad),
            id="RESPONSE with a KEM key",
        ),
        pytest.param(
            lambda me, _, bad: me.publish(signedPreKey={"id": 1, "key": key_text("x"), "signature": bad}),
            id="PUBLISH",
        ),
        pytest.param(
            lambda me, _, bad: me.publish(kemPreKeys=[me.kem_part(1), {**me.kem_part(2), "signature": bad}]),
            id="PUBLISH with KEM keys",
        ),
        pytest.param(
            lambda me, _, bad: me.publish(lastResortKemPreKey={**me.kem_part(2), "signature": bad}),
            id="PUBLISH with a last resort",
        ),
    ],
)
@pytest.mark.parametrize("spoil", ["a flipped bit", "another purpose", "another key"])
def test_prekey_with_a_bad_signature_is_1005(
    world: World, alice: Client, bob: Client, make: Callable[..., Frame], spoil: str
) -> None:
    text = base64_text(bytes(64))
    match spoil:
        case "a flipped bit":
            bad = flipped(alice.person.sign_prekey(key_text("x")))
        case "another purpose":
            bad = alice.person.sign(text.encode())
        case _:
            bad = world.person("mallory").sign_prekey(key_text("x"))
    assert refused(alice, make(alice.person, bob.person, bad)) == (1005, "prekey-signature")
    assert bob.take() == []
    assert alice.ask(alice.person.prekey_status())["payload"] == {"oneTimePreKeys": 0, "kemPreKeys": 0}


def test_identity_key_of_another_is_1005(world: World, alice: Client, bob: Client) -> None:
    other = world.person("mallory").public_key
    assert refused(alice, alice.person.init(bob.person, identityKey=other)) == (1005, "key")
    assert refused(alice, alice.person.response(bob.person, identityKey=other)) == (1005, "key")
    assert bob.take() == []


@pytest.mark.parametrize("kind", ["init", "response"])
def test_client_may_not_name_the_sender_of_an_exchange(alice: Client, bob: Client, kind: str) -> None:
    frame = getattr(alice.person, kind)(bob.person, senderId=alice.person.id)
    assert refused(alice, frame) == (1001, "field")
    assert bob.take() == []


def test_changed_exchange_is_1002(alice: Client, bob: Client) -> None:
    init = alice.person.init(bob.person)
    changed = {**init, "payload": {**init["payload"], "ephemeralKey": key_text("mallory")}}
    assert refused(alice, changed) == (1002, "signature")
    assert bob.take() == []


def test_exchanges_of_strangers_leave_room_for_a_contact(world: World, bob: Client) -> None:
    friend = world.login("friend")
    world.make_contacts(bob, friend)
    bob.drop()
    for number in range(100):
        stranger = world.login(f"stranger {number}")
        stranger.send(stranger.person.init(bob.person))
        stranger.drop()
    assert [frame for frame in friend.send(friend.person.init(bob.person)) if frame["type"] == "ERROR"] == []


def test_absent_peer_keeps_the_exchanges_of_100(world: World) -> None:
    bob = world.person("bob")
    world.register(bob)
    for number in range(100):
        client = world.login(f"peer {number}", address="203.0.113.1")
        assert client.send(client.person.init(bob)) == []
        client.drop()
    late = world.login("one too many", address="203.0.113.1")
    assert refused(late, late.person.init(bob)) == (1003, "backlog")
    assert len(world.login(bob).take("KEY_EXCHANGE_INIT")) == 100


def test_what_is_remembered_of_exchanges_is_bounded(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_SEEN_EXCHANGES", 3)
    inits = [alice.person.init(bob.person, name=str(number)) for number in range(4)]
    for init in inits:
        assert alice.send(init) == []
    for init in inits[1:]:
        assert refused(alice, init) == (1005, "replayed")
    assert alice.send(inits[0]) == [], "the oldest is forgotten"
