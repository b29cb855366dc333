"""CONNECTION_ACK, AUTH, and who is let in as whom."""

import asyncio
from typing import Any, Final

from phantom_messenger.conformance import wire
from phantom_messenger.conformance.client import ANY, Client
from phantom_messenger.conformance.stage import MOST_WAITS, Stage
from phantom_messenger.conformance.verdict import Failure, Group, Play
from phantom_messenger.conformance.wire import Frame, Identity

login: Final = Group("login", "Connection and login", "Authentication")

_SOON_MS: Final = 60_000
_FAR_MS: Final = 330_000
"""Beyond 5 minutes by more than a frame may be under way."""

_SMALL_ORDER: Final = b"\x01" + bytes(31)
"""The neutral element as a key: R = A and S = 0 satisfy the equation of the signature for any message."""


@login.case("The relay's first frame is CONNECTION_ACK.", reference="Connection Flow")
async def first_frame_says_what_the_relay_allows(stage: Stage) -> None:
    client = await stage.connect()
    allowed = {"backlog": 1_000, "encryptedChars": 61_440, "messageBytes": 65_536, "metadataBytes": 1_024}
    payload = client.hello["payload"]
    if payload["protocolVersion"] != 1:
        raise Failure(f"protocolVersion is {payload['protocolVersion']} and not 1")
    for name, value in allowed.items():
        if payload["limits"][name] != value:
            raise Failure(f"limits.{name} is {payload['limits'][name]} and not {value}")


@login.case(
    "| `challenge` | key | - | must | 32 random bytes, for one AUTH on this connection |",
    section="CONNECTION_ACK",
    reference="",
)
async def challenges_differ(stage: Stage) -> None:
    first, second = await stage.connect(), await stage.connect()
    for name in ("challenge", "connectionId"):
        if first.hello["payload"][name] == second.hello["payload"][name]:
            raise Failure(f"two connections have the same {name}")


@login.case("The client answers with AUTH", reference="AUTH_SUCCESS Response")
async def right_login_is_answered_with_auth_success(stage: Stage) -> None:
    client = await stage.user()
    alice = await stage.user(identity=client.identity)
    await alice.ping()


@login.case(
    "A direct answer carries the `id` of its request, if that had a well-formed one.",
    section="Frames",
    reference="AUTH_SUCCESS Response",
)
async def login_without_an_id_is_answered_without_one(stage: Stage) -> None:
    identity = (await stage.user()).identity
    client = await stage.connect(identity)
    await client.send("AUTH", client.claim())
    answer = await client.expect("AUTH_SUCCESS", id=None)
    if abs(answer["payload"]["serverTime"] - client.now()) > _SOON_MS:
        raise Failure("serverTime is not that of CONNECTION_ACK any more")


@login.case("PING is legal before login too.", section="PING and PONG", reference="PING/PONG")
async def ping_is_answered_before_login(stage: Stage) -> None:
    client = await stage.connect()
    await client.ping()


def _too_early(kind: str) -> Play:
    async def play(stage: Stage) -> None:
        client = await stage.connect()
        await client.send_frame(_early_frame(client, kind))
        await client.refused("not-authenticated")
        await client.closes(4000)

    return play


def _early_frame(client: Client, kind: str) -> Frame:
    other = Identity().id
    payloads: dict[str, Frame | None] = {
        "MESSAGE": client.message(other),
        "MESSAGE_ACK": {"seq": 1, "status": "delivered"},
        "KEY_EXCHANGE_INIT": client.init(other),
        "KEY_EXCHANGE_RESPONSE": client.response(other),
        "PREKEY_PUBLISH": client.publication(1),
        "PREKEY_STATUS": None,
        "PRESENCE": {"status": "idle"},
        "BLOCK": {"userId": other, "blocked": True},
        "ACCOUNT_DELETE": client.binding,
        "SOMETHING": {},
    }
    return client.make(kind, payloads[kind])


for _kind in (
    "MESSAGE",
    "MESSAGE_ACK",
    "KEY_EXCHANGE_INIT",
    "KEY_EXCHANGE_RESPONSE",
    "PREKEY_PUBLISH",
    "PREKEY_STATUS",
    "PRESENCE",
    "BLOCK",
    "ACCOUNT_DELETE",
    "SOMETHING",
):
    login.add(
        f"{_kind.lower().replace('_', '-')}-before-login-closes",
        "any other frame gets ERROR 1002 `not-authenticated` and close 4000.",
        _too_early(_kind),
        reference="WebSocket Close Codes",
    )


@login.case("Text whose `type` cannot be read gets ERROR 1001 and no close.", reference="")
async def text_without_a_type_before_login_does_not_close(stage: Stage) -> None:
    client = await stage.connect()
    await client.socket.send_text(b"hello")
    await client.refused("json")
    await client.socket.send_text(b"[]")
    await client.refused("json", "type")
    await client.ping()


# --- what is refused --------------------------------------------------------------


@login.case("A rejected or malformed AUTH gets AUTH_FAILURE, then close 4001", reference="AUTH_FAILURE Response")
async def wrong_signature_is_refused(stage: Stage) -> None:
    await stage.refused_login("signature", signature=wire.random_text(64))


@login.case("`signature`, `challenge` and `audience` MUST be present.", section="AUTH")
async def certified_login_without_a_signature_is_refused(stage: Stage) -> None:
    await stage.refused_login("unsigned", signature=None)


@login.case("`signature`, `challenge` and `audience` MUST be present.", section="AUTH")
async def login_without_a_challenge_is_refused(stage: Stage) -> None:
    await _refused_without(stage, "challenge", "challenge", "field")


@login.case("`signature`, `challenge` and `audience` MUST be present.", section="AUTH")
async def login_without_an_audience_is_refused(stage: Stage) -> None:
    await _refused_without(stage, "audience", "audience", "field")


async def _refused_without(stage: Stage, member: str, *reasons: str) -> None:
    await stage.refused_login(*reasons, **{member: None})


@login.case("as received on this connection; it is valid once, for 30 s", section="AUTH")
async def challenge_of_another_connection_is_refused(stage: Stage) -> None:
    other = await stage.connect()
    await stage.refused_login("challenge", challenge=other.hello["payload"]["challenge"])


@login.case(
    "A client MUST sign the audience that it dialled, never one that it was told.",
    section="AUTH",
)
async def audience_of_another_relay_is_refused(stage: Stage) -> None:
    await stage.refused_login("audience", audience="relay.invalid")


@login.case(
    "32 bytes are always a certified id: a login with one that does not fit its key is rejected (`identity`).",
    section="User ids",
)
async def certified_id_of_another_key_is_refused(stage: Stage) -> None:
    await stage.refused_login("identity", userId=Identity().id)


@login.case(
    "An id of any other length is **claimed**: it belongs to the key that logs in with it first.", section="User ids"
)
async def claimed_id_belongs_to_the_key_that_came_first(stage: Stage) -> None:
    alice = await stage.user(user_id=wire.random_text(16))
    await stage.refused_login("identity", userId=alice.id)
    await stage.user(identity=alice.identity)


@login.case("| user-id | base64 of 16 to 64 bytes |", section="Forms")
async def claimed_ids_have_16_to_64_bytes(stage: Stage) -> None:
    await stage.user(user_id=wire.random_text(64))
    for size in (15, 65):
        await stage.refused_login("field", "base64", userId=wire.random_text(size))


@login.case(
    "The `timestamp` of a signed frame MUST lie within 5 minutes of the relay's clock on receipt", section="Frames"
)
async def login_of_another_time_is_refused_and_told_the_time(stage: Stage) -> None:
    for ahead in (-_FAR_MS, _FAR_MS):
        client = await stage.connect()
        await client.send("AUTH", client.claim(), timestamp=client.now() + ahead)
        failure = await client.login_refused("clock")
        if "retryAfter" not in failure["payload"]:
            raise Failure("retryAfter is missing, although the cause passes")


@login.case("`S >= L` is rejected, and so is a key or `R` of small order", section="Signatures")
async def key_of_small_order_is_refused(stage: Stage) -> None:
    identity = Identity()
    forged = wire.base64_text(_SMALL_ORDER + bytes(32))
    key = wire.base64_text(_SMALL_ORDER)
    await stage.refused_login(
        "signature", "key", identity=identity, signature=forged, publicKey=key, userId=wire.random_text(16)
    )


_MALFORMED: Final[dict[str, dict[str, Any]]] = {
    "unknown-member": {"x": 1},
    "nine-features": {"features": ["a"] * 9},
    "feature-of-33-characters": {"features": ["a" * 33]},
    "features-that-are-null": {"features": None},
    "key-of-31-bytes": {"publicKey": wire.random_text(31)},
    "key-in-the-url-alphabet": {"publicKey": "-_" * 21 + "A="},
    "user-id-that-is-a-number": {"userId": 1},
}


def _malformed(members: dict[str, Any]) -> Play:
    async def play(stage: Stage) -> None:
        client = await stage.connect()
        await client.send("AUTH", client.claim(**members), id="1")
        await client.login_refused("field", "base64", id="1")

    return play


for _name, _members in _MALFORMED.items():
    login.add(
        f"login-with-{_name}-is-refused",
        "A rejected or malformed AUTH gets AUTH_FAILURE, then close 4001",
        _malformed(_members),
    )


@login.case("at most 8 of 32 characters, unknown ones are ignored", section="AUTH", reference="")
async def unknown_features_are_ignored(stage: Stage) -> None:
    alice = await stage.user("ack", *(f"{number}-{'x' * 30}" for number in range(7)))
    await alice.ping()


_AS_THE_REFERENCE_WRITES_IT: Final[dict[str, Any]] = {
    "signature": None,
    "challenge": None,
    "audience": None,
    "features": None,
}


# --- sessions ---------------------------------------------------------------------


@login.case(
    "| 1002 | `already-authenticated` | This connection is authenticated already. | AUTH after AUTH | no |",
    section="Errors",
    reference="",
)
async def login_after_a_login_is_an_error(stage: Stage) -> None:
    alice = await stage.user()
    await alice.send("AUTH", alice.claim(), id="again")
    await alice.refused("already-authenticated", id="again")
    await alice.ping()


@login.case(
    "A user has one session: a later login closes the earlier one with 1008.", reference="WebSocket Close Codes"
)
async def later_login_closes_the_earlier_one(stage: Stage) -> None:
    first = await stage.user()
    second = await stage.user(identity=first.identity)
    await first.closes(1008)
    await second.ping()


@login.case("But a login on a connection that was opened before that of the session is itself closed with 1008")
async def login_on_an_older_connection_is_closed(stage: Stage) -> None:
    identity = Identity()
    for _ in range(MOST_WAITS):
        old = await stage.connect(identity)
        new = await stage.user(identity=identity)
        if old.socket.closed is not None:
            continue  # that login was put off for longer than a connection may be without one
        await old.send("AUTH", old.claim())
        if wait := await stage.put_off(old):
            await asyncio.sleep(wait)
            continue
        await old.closes(1008)
        await new.ping()
        return
    raise Failure("logins are put off again and again")


@login.case("Not logged in 30 s after the handshake: close 4000.", reference="Connection Limits", lasts=30)
async def who_does_not_log_in_within_30_s_is_closed(stage: Stage) -> None:
    client = await stage.connect()
    await asyncio.sleep(25)
    await client.ping()
    await asyncio.sleep(5)
    await client.closes(4000)


@login.case("No message from a logged-in client for 5 minutes: close 1001.", reference="Connection Limits", lasts=590)
async def silence_of_5_minutes_closes(stage: Stage) -> None:
    alice = await stage.user()
    await asyncio.sleep(290)
    await alice.ping()  # and so it has another 5 minutes
    await asyncio.sleep(290)
    if alice.socket.closed is not None:
        raise Failure(f"{alice.socket.closed} comes before 5 minutes of silence have passed")
    await asyncio.sleep(10)
    await alice.closes(1001)


@login.case("WebSocket pings are answered, but do not count as activity", section="Transport", lasts=300, reference="")
async def websocket_pings_are_no_activity(stage: Stage) -> None:
    alice = await stage.user()
    for _ in range(10):
        await asyncio.sleep(30)
        await alice.socket.send_raw(wire.ws_frame(wire.PING))
    await alice.closes(1001)


@login.case(
    "A relay MAY be configured to accept such clients (`unsignedAuth` in CONNECTION_ACK",
    section="A client written from the reference alone",
    reference="AUTH Request",
)
async def relay_that_takes_reference_clients_says_so(stage: Stage) -> None:
    client = await stage.connect(Identity(wire.random_text(20)))
    if not client.hello["payload"].get("unsignedAuth"):
        await stage.refused_login("unsigned", identity=client.identity, **_AS_THE_REFERENCE_WRITES_IT)
        return
    claim = {"userId": client.id, "publicKey": client.identity.public_text}
    await client.send_frame({"type": "AUTH", "payload": claim, "timestamp": client.now()})
    await client.expect("AUTH_SUCCESS", {"sessionId": ANY})
    await client.send("ACCOUNT_DELETE", client.binding)
    await client.closes(1000)
