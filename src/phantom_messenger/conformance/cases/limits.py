"""Rates, connections of an address, and what repeated errors lead to."""

import asyncio
from typing import Final

from phantom_messenger.conformance import wire
from phantom_messenger.conformance.client import Client
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Failure, Group
from phantom_messenger.conformance.wire import Frame, Identity

limits: Final = Group("limits", "Rules and rates", "Rate Limits")
errors: Final = Group("errors", "ERROR", "Error Handling")

_MINUTE_MS: Final = 60_000


def _waits(frame: Frame) -> None:
    """Judge the ``retryAfter`` of a frame that came too early in a minute that has just begun.

    Raises:
        Failure: it is none of that minute.
    """
    wait = frame["payload"]["retryAfter"]
    if not 0 < wait <= _MINUTE_MS:
        raise Failure(f"retryAfter is {wait} ms, and the minute has {_MINUTE_MS}")


async def _one_too_many(alice: Client) -> None:
    """The last frame is refused, with a time to wait, and nothing else is."""
    _waits(await alice.refused("rate", id="last"))


@limits.case("| PING | client | any time | PING | 60 | no | no |")
async def sixty_first_ping_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    for _ in range(60):
        await alice.send("PING", id="1")
    for _ in range(60):
        await alice.expect("PONG", id="1")
    await alice.send("PING", id="last")
    await _one_too_many(alice)


@limits.case("counted by user across reconnects", reference="Rate Limits")
async def another_connection_begins_no_new_minute(stage: Stage) -> None:
    alice = await stage.user()
    for _ in range(60):
        await alice.send("PING")
    for _ in range(60):
        await alice.take("PONG")
    await alice.leave()
    back = await stage.user(identity=alice.identity)
    await back.send("PING", id="last")
    await _one_too_many(back)


@limits.case("PING before login by address", reference="")
async def sixty_first_ping_of_an_address_before_login_is_refused(stage: Stage) -> None:
    stage.needs_addresses()
    first, second = await stage.connect(), await stage.connect()
    for client in (first, second):
        for _ in range(30):
            await client.send("PING")
        for _ in range(30):
            await client.take("PONG")
    await second.send("PING", id="last")
    await _one_too_many(second)


@limits.case("| MESSAGE | both | after login | MESSAGE | 60 | yes | yes |")
async def sixty_first_message_is_refused(stage: Stage) -> None:
    alice, bob = await stage.users()
    rate = alice.hello["payload"]["limits"]["messagesPerMinute"]
    if rate != 60:
        raise Failure(f"limits.messagesPerMinute of CONNECTION_ACK is {rate} and not 60")
    frames = [alice.make("MESSAGE", alice.message(bob.id)) for _ in range(60)]
    for frame in frames:
        await alice.send_frame(frame)
    for frame in frames:
        await alice.accepted(frame)
    await alice.send("MESSAGE", alice.message(bob.id), id="last")
    await _one_too_many(alice)


@limits.case("| KEY_EXCHANGE_INIT | both | after login | KEY_EXCHANGE | 10 | yes | yes |")
async def eleventh_key_exchange_is_refused(stage: Stage) -> None:
    alice, bob = await stage.users()
    for number in range(10):
        if number % 2:
            await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id))
        else:
            await alice.send("KEY_EXCHANGE_RESPONSE", alice.response(bob.id))
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id), id="last")
    await _one_too_many(alice)


@limits.case("| PRESENCE | both | after login | PRESENCE | 30 | no | yes |")
async def thirty_first_presence_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    for number in range(30):
        await alice.send("PRESENCE", {"userId": alice.id} if number % 2 else {"status": "idle"})
    await alice.send("PRESENCE", {"status": "idle"}, id="last")
    await _one_too_many(alice)


@limits.case("| BLOCK | both | after login | BLOCK | 30 | no | no |", reference="")
async def thirty_first_block_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    other = Identity().id
    for number in range(30):
        await alice.send("BLOCK", {"userId": other, "blocked": number % 2 == 0})
    await alice.send("BLOCK", {"userId": other, "blocked": False}, id="last")
    await _one_too_many(alice)


@limits.case("| PREKEY_STATUS | both | after login | PREKEY | 10 | no | yes |", reference="", lasts=61)
async def eleventh_prekey_frame_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    for _ in range(10):
        await alice.send("PREKEY_STATUS")
    await alice.send("PREKEY_STATUS", id="last")
    await _one_too_many(alice)


@limits.case("| MESSAGE_ACK | both | after login | ACK | 6,000 | no | no |", reference="", lasts=30)
async def acknowledgement_6001_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    frame = wire.ws_frame(wire.TEXT, wire.canonical(alice.make("MESSAGE_ACK", {"seq": 1, "status": "delivered"})))
    for _ in range(60):
        await alice.socket.send_raw(frame * 100)
    await alice.send("MESSAGE_ACK", {"seq": 1, "status": "delivered"}, id="last")
    await _one_too_many(alice)


@limits.case("One more is 1003 `rate` with the exact `retryAfter`, and costs nothing else", lasts=61)
async def after_retry_after_a_request_is_let_through(stage: Stage) -> None:
    alice = await stage.user()
    for _ in range(31):
        await alice.send("PRESENCE", {"status": "idle"})
    refused = await alice.refused("rate")
    await asyncio.sleep(refused["payload"]["retryAfter"] / 1_000 + 1)
    await alice.send("PRESENCE", {"status": "idle"})
    await alice.hears_nothing()


@limits.case("against the user if it has proved itself and the account exists", reference="Rate Limits")
async def sixth_login_of_a_user_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    for _ in range(4):
        alice = await stage.user(identity=alice.identity)
    late = await stage.connect(alice.identity)
    await late.send("AUTH", late.claim(), id="last")
    _waits(await late.login_refused("rate", closes=4002, id="last"))
    await alice.ping()


@limits.case("against the address if it has not proved itself", is_alone=True)
async def sixth_failed_login_of_an_address_is_refused(stage: Stage) -> None:
    await stage.new_address()
    for _ in range(5):
        await stage.refused_login("signature", signature=wire.random_text(64))
    late = await stage.connect()
    frame = late.make("AUTH", late.claim(), id="last")
    await late.send_frame({**frame, "signature": wire.random_text(64)})
    _waits(await late.login_refused("rate", closes=4002, id="last"))


@limits.case("or is about to create an account", is_alone=True)
async def sixth_new_account_of_an_address_is_refused(stage: Stage) -> None:
    await stage.new_address()
    made = [await stage.user() for _ in range(5)]
    late = await stage.connect()
    await late.send("AUTH", late.claim(), id="last")
    _waits(await late.login_refused("rate", closes=4002, id="last"))
    again = await stage.user(identity=made[0].identity)  # who has an account is not kept out
    await again.ping()


@limits.case(
    "An address may have 10 connections; a further one is accepted and closed with 4002 before CONNECTION_ACK.",
    section="Connection and login",
    reference="Connection Limits",
    is_alone=True,
)
async def eleventh_connection_of_an_address_is_closed(stage: Stage) -> None:
    await stage.new_address()
    ten = [await stage.connect() for _ in range(10)]
    socket = await stage.dial()
    await socket.upgrade()
    late = Client(Identity(), socket, ten[0].hello)
    await late.closes(4002)
    if socket.pending:
        raise Failure("a frame comes before close 4002")
    await ten[0].ping()
    await ten[0].leave()
    await (await stage.connect()).ping()  # its place is free


@limits.case(
    "what all connections together have half sent; close 1009",
    section="Limits",
    reference="Connection Limits",
    is_alone=True,
)
async def more_than_8_mib_of_half_messages_close_the_largest(stage: Stage) -> None:
    stage.needs_addresses()
    users = []
    for number in range(10):
        if number % 5 == 0:
            await stage.new_address()
        users.append(await stage.user())
    largest, *others = users
    for alice in users:
        await alice.socket.send_raw(
            wire.ws_frame(wire.TEXT, bytes(1_000_000 if alice is largest else 850_000), first=0)
        )
    await largest.closes(1009)
    for alice in others:
        if alice.socket.closed is not None:
            raise Failure(f"{alice.socket.closed} comes to one who has sent less than another")
        await alice.socket.drop()


# --- errors -----------------------------------------------------------------------


@errors.case("A rejected request has no effect. The connection stays open")
async def nine_malformed_messages_leave_the_connection_open(stage: Stage) -> None:
    alice = await stage.user()
    for _ in range(9):
        await alice.send("PING", {"x": 1})
        await alice.refused("field")
    await alice.ping()


_TENTH: Final = (
    "the tenth of a kind in a minute closes it: of `rate`, 4002; of `signature`, or 1001 except `clock` and `order`,"
    " 4003"
)


@errors.case(_TENTH, reference="WebSocket Close Codes")
async def tenth_malformed_message_closes(stage: Stage) -> None:
    alice = await stage.user()
    for _ in range(9):
        await alice.send("PING", {"x": 1})
        await alice.refused("field")
    await alice.send("PING", {"x": 1})
    await alice.closes(4003)


@errors.case(_TENTH, reference="WebSocket Close Codes")
async def tenth_bad_signature_closes(stage: Stage) -> None:
    alice, bob = await stage.users()
    for _ in range(9):
        await alice.send("MESSAGE", alice.message(bob.id), signature=wire.random_text(64))
        await alice.refused("signature")
    await alice.send("MESSAGE", alice.message(bob.id), signature=wire.random_text(64))
    await alice.closes(4003)


@errors.case(_TENTH, reference="WebSocket Close Codes")
async def tenth_refusal_for_the_rate_closes(stage: Stage) -> None:
    alice = await stage.user()
    for _ in range(30 + 9):
        await alice.send("PRESENCE", {"status": "idle"})
    for _ in range(9):
        await alice.refused("rate")
    await alice.send("PRESENCE", {"status": "idle"})
    await alice.closes(4002)


@errors.case(_TENTH)
async def clock_is_never_the_tenth(stage: Stage) -> None:
    alice, bob = await stage.users()
    for _ in range(12):
        await alice.send("MESSAGE", alice.message(bob.id), timestamp=1)
        await alice.refused("clock")
    await alice.ping()


@errors.case(
    "After login PONG is sent when everything that the client sent before PING has been stored or rejected",
    section="PING and PONG",
    reference="PING/PONG",
)
async def pong_comes_behind_the_answers(stage: Stage) -> None:
    alice, bob = await stage.users()
    sent = [alice.make("MESSAGE", alice.message(bob.id)) for _ in range(10)]
    for frame in sent:
        await alice.send_frame(frame)
    await alice.ping()
    found = [frame["payload"]["messageId"] for frame in alice.socket.pending if frame["type"] == "MESSAGE_ACK"]
    if found != [frame["payload"]["messageId"] for frame in sent]:
        raise Failure(f"PONG comes before {len(sent) - len(found)} of {len(sent)} messages are answered")
