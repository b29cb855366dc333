from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from phantom_messenger.relay.commands import AnyCommand, LogIn, LoginConflict
from support.people import ENVELOPE, KEM_PREKEY, SIGNED_PREKEY, Frame, Person, base64_text, canonical, flipped, key_text
from support.simulated import HOST, MINUTE, Client, MakeWorld, World

CLAIMED = base64_text(b"a claimed id of 20 b")

Spoil = Callable[[Client, Frame], Frame]


def without_signature(_: Client, frame: Frame) -> Frame:
    return {name: value for name, value in frame.items() if name != "signature"}


def without(member: str) -> Spoil:
    def spoil(client: Client, frame: Frame) -> Frame:
        payload = {name: value for name, value in frame["payload"].items() if name != member}
        return client.person.signed({**frame, "payload": payload})

    return spoil


def replaced(**members: object) -> Spoil:
    def spoil(client: Client, frame: Frame) -> Frame:
        return client.person.signed({**frame, "payload": {**frame["payload"], **members}})

    return spoil


def others_challenge(client: Client, frame: Frame) -> Frame:
    other = client.world.connect("somebody else").acknowledgement["payload"]["challenge"]
    return replaced(challenge=other)(client, frame)


def with_signature(make: Callable[[Person, Frame], str]) -> Spoil:
    return lambda client, frame: {**frame, "signature": make(client.person, frame)}


def bare(frame: Frame) -> Frame:
    return {name: value for name, value in frame.items() if name != "signature"}


def over_payload(person: Person, frame: Frame) -> str:
    return person.sign(canonical(frame["payload"]))


def over(prefix: bytes) -> Callable[[Person, Frame], str]:
    return lambda person, frame: person.sign(prefix + canonical(bare(frame)))


def by_another_key(_: Person, frame: Frame) -> str:
    return Person("somebody else").sign(ENVELOPE + canonical(bare(frame)))


def at(shift: int) -> Spoil:
    return lambda client, frame: client.person.signed({**frame, "timestamp": frame["timestamp"] + shift})


REFUSED: list[tuple[str, Spoil, int]] = [
    ("no signature", without_signature, 1002),
    ("no challenge", without("challenge"), 1002),
    ("the challenge of another connection", others_challenge, 1002),
    ("a challenge of nobody", replaced(challenge=key_text("nobody")), 1002),
    ("no audience", without("audience"), 1002),
    ("the audience of another relay", replaced(audience="other.test"), 1002),
    ("an audience with another port", replaced(audience=f"{HOST}:444"), 1002),
    ("a flipped bit in the signature", with_signature(lambda _, frame: flipped(frame["signature"])), 1002),
    ("a signature over the payload alone", with_signature(over_payload), 1002),
    ("a signature without purpose", with_signature(over(b"")), 1002),
    ("a signature for a prekey", with_signature(over(SIGNED_PREKEY)), 1002),
    ("a signature for a KEM prekey", with_signature(over(KEM_PREKEY)), 1002),
    ("the signature of another key", with_signature(by_another_key), 1002),
    ("a time that was not signed", lambda _, frame: {**frame, "timestamp": frame["timestamp"] + 1}, 1002),
    ("an id that was not signed", lambda _, frame: {**frame, "id": "later"}, 1002),
    ("a time 5 minutes and 1 ms ago", at(-5 * MINUTE - 1), 1001),
    ("a time 5 minutes and 1 ms ahead", at(5 * MINUTE + 1), 1001),
    ("a member that is not known", replaced(admin=True), 1001),
    ("a user id of 15 bytes", replaced(userId=base64_text(bytes(15))), 1001),
    ("a user id of 65 bytes", replaced(userId=base64_text(bytes(65))), 1001),
    ("a public key of 31 bytes", replaced(publicKey=base64_text(bytes(31))), 1001),
    ("a user id that is not base64", replaced(userId="!" * 24), 1001),
]


@pytest.mark.parametrize(("spoil", "code"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_login_is_refused_for(world: World, spoil: Spoil, code: int) -> None:
    client = world.connect("alice")
    answer = client.ask(spoil(client, client.auth()))
    assert answer["type"] == "AUTH_FAILURE"
    assert answer["payload"]["code"] == code
    assert answer["payload"]["reason"]
    assert client.connection.closed == (4001, "authentication failed")
    assert world.peek(lambda tx: tx.directory.public_key(client.person.id)) is None


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda _, frame: frame, id="nothing"),
        pytest.param(at(-5 * MINUTE), id="a time 5 minutes ago"),
        pytest.param(at(5 * MINUTE), id="a time 5 minutes ahead"),
        pytest.param(replaced(audience=HOST.upper()), id="an audience in capitals"),
        pytest.param(replaced(features=["ack", "unheard-of"]), id="a feature that is not known"),
        pytest.param(replaced(userId=base64_text(bytes(16))), id="a user id of 16 bytes"),
        pytest.param(replaced(userId=base64_text(bytes(64))), id="a user id of 64 bytes"),
        pytest.param(lambda client, frame: client.person.signed({**frame, "id": "login"}), id="an id"),
    ],
)
def test_login_is_not_refused_for(world: World, spoil: Spoil) -> None:
    client = world.connect("alice")
    frame = spoil(client, client.auth())
    answer = client.ask(frame)
    assert answer["type"] == "AUTH_SUCCESS"
    assert answer["payload"]["serverTime"] == world.clock.wall
    assert answer.get("id") == frame.get("id")


def test_unsigned_login_is_told_what_to_sign(world: World) -> None:
    client = world.connect("alice")
    reason = client.ask(client.person.unsigned_auth())["payload"]["reason"]
    for word in ("Ed25519", "phantom/1 envelope", "challenge", "audience"):
        assert word in reason


def test_greeting_holds_what_a_login_needs(world: World) -> None:
    payload = world.connect("alice").acknowledgement["payload"]
    assert sorted(payload) == ["challenge", "connectionId", "limits", "protocolVersion", "serverName", "serverTime"]
    assert payload["protocolVersion"] == 1
    assert payload["serverTime"] == world.clock.wall
    assert payload["limits"]["messageBytes"] == 65_536
    assert payload["limits"]["encryptedChars"] == 61_440
    assert payload["limits"]["metadataBytes"] == 1_024
    assert payload["limits"]["backlog"] == 1_000


def test_challenges_differ(world: World) -> None:
    found = {world.connect("alice").acknowledgement["payload"]["challenge"] for _ in range(50)}
    assert len(found) == 50


def test_login_of_another_connection_cannot_be_replayed(world: World) -> None:
    captured = world.connect("alice")
    frame = captured.auth()
    assert captured.ask(frame)["type"] == "AUTH_SUCCESS"
    thief = world.connect("thief")
    assert thief.ask(frame)["payload"]["code"] == 1002
    assert thief.close_code() == 4001
    assert captured.close_code() is None


def test_login_meant_for_another_relay_is_worthless_here(make_world: MakeWorld) -> None:
    """A relay that passes this one's challenge on gets a login for its own name."""
    world = make_world(public_names=("relay.test", "relay.test:8443"))
    client = world.connect("alice", host="evil.test")
    assert client.ask(client.auth())["payload"]["code"] == 1002


@pytest.mark.parametrize("name", ["relay.test", "relay.test:8443"])
def test_configured_names_are_audiences(make_world: MakeWorld, name: str) -> None:
    world = make_world(public_names=("relay.test", "relay.test:8443"))
    client = world.connect("alice", host="something.else")
    assert client.ask(client.auth(audience=name))["type"] == "AUTH_SUCCESS"


def test_open_session_may_not_log_in_again(world: World) -> None:
    client = world.login("alice")
    answer = client.ask(client.auth())
    assert (answer["type"], answer["payload"]["code"]) == ("ERROR", 1002)
    assert answer["payload"]["details"]["reason"] == "already-authenticated"
    assert client.close_code() is None


def test_challenge_is_worthless_after_30_seconds(world: World) -> None:
    client = world.connect("alice")
    world.clock.advance(30_001)  # the timer has not come by yet
    assert [frame["type"] for frame in client.send(client.auth())] != ["AUTH_SUCCESS"]


def test_login_is_answered_after_the_store_ran(world: World) -> None:
    client = world.connect("alice")
    world.writer.holding = True
    assert client.send(client.auth()) == []
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert [frame["type"] for frame in client.take()] == ["AUTH_SUCCESS"]


def test_login_that_cannot_be_stored_is_no_failed_authentication(world: World) -> None:
    client = world.connect("alice")
    world.writer.full = True
    [answer] = client.send(client.auth())
    assert answer["payload"]["code"] == 1007
    assert client.connection.closed == (1011, "the login could not be stored")


# --- whose id it is ---------------------------------------------------------------


def test_claimed_id_belongs_to_its_first_key(world: World) -> None:
    world.register(world.person("first", user_id=CLAIMED))
    second = world.connect(world.person("second", user_id=CLAIMED))
    assert second.ask(second.auth())["payload"]["code"] == 1002
    assert second.close_code() == 4001
    world.login(world.person("first", user_id=CLAIMED))


def test_certified_id_refuses_another_key(world: World) -> None:
    alice = world.person("alice")
    world.register(alice)
    thief = world.connect(world.person("thief", user_id=alice.id))
    assert thief.ask(thief.auth())["payload"]["code"] == 1002
    world.login(alice)


@pytest.mark.parametrize("user_id", [Person("squatter").public_key, Person("alice").id], ids=["a key", "somebody's id"])
def test_id_of_32_bytes_cannot_be_claimed(world: World, user_id: str) -> None:
    """Everybody takes it for a certified one, and would refuse the key behind it."""
    squatter = world.connect(world.person("squatter", user_id=user_id))
    answer = squatter.ask(squatter.auth())["payload"]
    assert (answer["code"], answer["details"]) == (1002, {"reason": "identity"})
    assert squatter.close_code() == 4001
    assert world.peek(lambda tx: tx.directory.public_key(user_id)) is None


def test_certified_id_beats_an_earlier_claim(world: World) -> None:
    """A relay of version 0.1.0 has let somebody claim it."""
    alice = world.person("alice")
    squatter = world.person("squatter", user_id=alice.id)
    world.peek(lambda tx: tx.directory.bind(alice.id, squatter.public_key, certified=False))
    friend = world.login("friend")
    friend.send(friend.person.message(alice.id))
    squatting = world.connect(squatter)
    assert squatting.ask(squatting.auth())["payload"]["details"]["reason"] == "identity"

    client = world.login(alice)
    assert client.take() == [], "what was sent to the squatter is not alice's"
    assert client.ask(alice.prekey_status())["payload"] == {"oneTimePreKeys": 0, "kemPreKeys": 0}
    again = world.connect(squatter)
    assert again.ask(again.auth())["payload"]["code"] == 1002


# --- keys that sign everything ----------------------------------------------------

SMALL_ORDER = {
    "identity": bytes([1]) + bytes(31),
    "identity, sign bit set": bytes([1]) + bytes(30) + b"\x80",
    "order 2": bytes([0xEC]) + b"\xff" * 30 + b"\x7f",
    "order 4": bytes(32),
    "order 4, sign bit set": bytes(31) + b"\x80",
    "order 8": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "order 8, sign bit set": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
    "order 8, other": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    "identity, not canonical": bytes([0xEE]) + b"\xff" * 30 + b"\x7f",
    "order 4, not canonical": bytes([0xED]) + b"\xff" * 30 + b"\x7f",
}
UNIVERSAL = bytes([1]) + bytes(63)
"""R is the identity and S is 0: it verifies any text under a key of small order, if nobody looks."""


def test_universal_signature_is_a_real_danger() -> None:
    for text in (b"one", b"another"):
        Ed25519PublicKey.from_public_bytes(SMALL_ORDER["identity"]).verify(UNIVERSAL, text)


@pytest.mark.parametrize("key", SMALL_ORDER.values(), ids=SMALL_ORDER)
def test_key_of_small_order_cannot_log_in(world: World, key: bytes) -> None:
    client = world.connect("mallory")
    frame = client.auth(publicKey=base64_text(key))
    answer = client.ask({**frame, "signature": base64_text(UNIVERSAL)})
    assert (answer["type"], answer["payload"]["code"]) == ("AUTH_FAILURE", 1002)
    assert client.close_code() == 4001


@pytest.mark.parametrize("key", SMALL_ORDER.values(), ids=SMALL_ORDER)
def test_key_of_small_order_cannot_log_in_unsigned(make_world: MakeWorld, key: bytes) -> None:
    client = make_world(reference_clients=True).connect("mallory")
    frame = client.person.unsigned_auth()
    frame["payload"]["publicKey"] = base64_text(key)
    assert client.ask(frame)["type"] == "AUTH_FAILURE"


# --- unsigned login, two logins in one turn ---------------------------------------


def test_unsigned_login_is_accepted_and_announced_where_allowed(make_world: MakeWorld) -> None:
    world = make_world(reference_clients=True)
    client = world.connect(world.person("alice", user_id=base64_text(b"alice, as she calls herself")))
    assert client.acknowledgement["payload"]["unsignedAuth"] is True
    assert client.ask(client.person.unsigned_auth())["type"] == "AUTH_SUCCESS"


def test_wrong_signature_is_refused_even_where_none_is_needed(make_world: MakeWorld) -> None:
    client = make_world(reference_clients=True).connect("alice")
    frame = client.auth()
    assert client.ask({**frame, "signature": flipped(frame["signature"])})["payload"]["code"] == 1002


def test_two_unsigned_logins_in_one_turn_open_one_session(make_world: MakeWorld) -> None:
    world = make_world(reference_clients=True)
    alice, bob = (world.person(name, user_id=base64_text(name.encode() * 4)) for name in ("alice", "bobby"))
    client = world.connect(alice)
    found = client.send(alice.unsigned_auth(), bob.unsigned_auth())
    assert [frame["type"] for frame in found].count("AUTH_SUCCESS") <= 1
    carol = world.login("carol")
    for person in (alice, bob):
        carol.send(carol.person.message(person))
    assert {message["payload"]["recipientId"] for message in client.take("MESSAGE")} <= {alice.id}


def test_two_logins_in_one_turn_open_at_most_one_session(world: World) -> None:
    client = world.connect("alice")
    found = client.send(client.auth(), client.auth())
    assert [frame["type"] for frame in found].count("AUTH_SUCCESS") <= 1
    assert found


def test_id_that_another_claims_in_the_same_turn_is_refused_and_counts_for_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    clients = [world.connect(world.person(name, user_id=base64_text(b"one id for two of them"))) for name in "ab"]
    for client in clients:
        client.put(client.auth())
    world.run()
    [success], [failure] = (client.take() for client in clients)
    assert (success["type"], failure["payload"]["details"]) == ("AUTH_SUCCESS", {"reason": "identity"})
    assert clients[1].close_code() == 4001


# --- before the login -------------------------------------------------------------

BEFORE: dict[str, Callable[[Person], Frame]] = {
    "MESSAGE": lambda me: me.message("bob" * 8),
    "MESSAGE_ACK": lambda me: me.confirm(1),
    "KEY_EXCHANGE_INIT": lambda me: me.init(me),
    "KEY_EXCHANGE_RESPONSE": lambda me: me.response(me),
    "PREKEY_PUBLISH": lambda me: me.publish([1]),
    "PREKEY_STATUS": lambda me: me.prekey_status(),
    "PRESENCE": lambda me: me.presence("online"),
    "BLOCK": lambda me: me.block(me),
    "ACCOUNT_DELETE": lambda me: me.account_delete(),
    "a type that nobody knows": lambda me: me.frame("HELLO", {}),
    "a type of the relay": lambda me: me.frame("AUTH_SUCCESS", {}),
}


@pytest.mark.parametrize("make", BEFORE.values(), ids=BEFORE)
def test_before_login_there_is_only_auth_and_ping(world: World, make: Callable[[Person], Frame]) -> None:
    client = world.connect("alice")
    answer = client.ask({**make(client.person), "id": "early"})
    assert (answer["type"], answer["payload"]["code"], answer["id"]) == ("ERROR", 1002, "early")
    assert answer["payload"]["details"]["reason"] == "not-authenticated"
    assert client.connection.closed == (4000, "authentication required")


def test_ping_is_answered_before_login(world: World) -> None:
    client = world.connect("alice")
    assert client.ask(client.person.ping(id="early"))["type"] == "PONG"
    assert client.ask(client.auth())["type"] == "AUTH_SUCCESS"


def test_late_login_of_an_older_connection_does_not_replace_a_newer_one(world: World) -> None:
    older = world.connect("alice")
    newer = world.connect(older.person)
    newer.person.bind(newer.acknowledgement, newer.host)
    assert newer.send(newer.auth(["ack"]))[0]["type"] == "AUTH_SUCCESS"
    older.person.bind(older.acknowledgement, older.host)
    assert older.send(older.auth(["ack"])) == []
    assert older.connection.closed == (1008, "replaced by a newer connection")
    assert newer.close_code() is None
    assert world.relay._core.hub.of(newer.person.id) is newer.session


def test_login_whose_place_is_not_free_yet_is_tried_until_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run_batch = world.store.run
    tried: list[LogIn] = []

    def unfinished(batch: Sequence[AnyCommand]) -> list[Any]:
        """At the first two that may make an account."""
        if isinstance(batch[0], LogIn) and batch[0].may_create and len(tried) < 2:
            tried.append(batch[0])
            return [LoginConflict.UNFINISHED]
        found: list[Any] = run_batch(batch)
        return found

    monkeypatch.setattr(world.store, "run", unfinished)
    client = world.connect("alice")
    assert client.ask(client.auth())["type"] == "AUTH_SUCCESS"
    assert len(tried) == 2
