"""What is signed for one connection serves on no other, and at no other relay."""

import asyncio
import json
from collections.abc import Callable
from typing import Final

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as dial

from phantom_messenger.relay.core import Core
from phantom_messenger.relay.handlers import account, keys, login
from phantom_messenger.relay.session import Session
from support.people import Frame, Person, key_text
from support.relay_process import RelayProcess, StartRelay, patched
from support.sdk_clients import run
from support.simulated import HOST, Client, MakeWorld, World

BOUND: Final[dict[str, Callable[[Person], Frame]]] = {
    "ACCOUNT_DELETE": lambda me: me.account_delete(),
    "PREKEY_PUBLISH": lambda me: me.publish([7]),
}


def is_obeyed(client: Client, frame: Frame) -> bool:
    """Whether a frame does what it says."""
    client.send(frame)
    if frame["type"] == "ACCOUNT_DELETE":
        return client.close_code() == 1000
    return bool(client.world.peek(lambda tx: tx.prekeys.counts(client.person.id)).one_time)


def refusal(client: Client, frame: Frame) -> object:
    answer = client.ask(frame)
    assert (answer["type"], answer["payload"]["code"]) == ("ERROR", 1002)
    assert client.close_code() is None
    return answer["payload"]["details"]["reason"]


@pytest.fixture
def unbound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that looks at neither."""

    def check_login_alone(core: Core, session: Session, challenge: str, audience: str) -> None:
        if not session.user_id:
            checked(core, session, challenge, audience)

    checked = login.check_binding
    for module in (account, keys):
        monkeypatch.setattr(module, "check_binding", check_login_alone)


@pytest.mark.parametrize("make", BOUND.values(), ids=BOUND)
def test_frame_of_this_connection_is_obeyed(world: World, make: Callable[[Person], Frame]) -> None:
    client = world.login("alice")
    assert is_obeyed(client, make(client.person))


def earlier(world: World, make: Callable[[Person], Frame]) -> tuple[Client, Frame]:
    """A frame that was made for somebody's connection before this one."""
    before = world.login("alice")
    frame = make(before.person)
    before.drop()
    return world.login("alice"), frame


@pytest.mark.parametrize("make", BOUND.values(), ids=BOUND)
def test_frame_of_an_earlier_connection_is_refused(world: World, make: Callable[[Person], Frame]) -> None:
    client, frame = earlier(world, make)
    assert refusal(client, frame) == "challenge"
    assert not is_obeyed(client, frame)


@pytest.mark.usefixtures("unbound")
@pytest.mark.parametrize("make", BOUND.values(), ids=BOUND)
def test_frame_of_an_earlier_connection_would_be_obeyed(world: World, make: Callable[[Person], Frame]) -> None:
    """The control."""
    assert is_obeyed(*earlier(world, make))


def passed_on(world: World, make: Callable[[Person], Frame]) -> tuple[Client, Frame]:
    """A frame for this very challenge that was made at another relay, which has passed the challenge on."""
    client = world.login("alice")
    client.person.bind(client.acknowledgement, "evil.test")
    return client, make(client.person)


@pytest.mark.parametrize("make", BOUND.values(), ids=BOUND)
def test_frame_for_another_relay_is_refused(make_world: MakeWorld, make: Callable[[Person], Frame]) -> None:
    client, frame = passed_on(make_world(limits=False, public_names=(HOST,)), make)
    assert refusal(client, frame) == "audience"
    assert not is_obeyed(client, frame)


@pytest.mark.usefixtures("unbound")
@pytest.mark.parametrize("make", BOUND.values(), ids=BOUND)
def test_frame_for_another_relay_would_be_obeyed(make_world: MakeWorld, make: Callable[[Person], Frame]) -> None:
    """The control."""
    assert is_obeyed(*passed_on(make_world(limits=False, public_names=(HOST,)), make))


@pytest.mark.parametrize("member", ["audience", "challenge"])
@pytest.mark.parametrize("make", BOUND.values(), ids=BOUND)
def test_frame_without_a_binding_is_malformed(world: World, make: Callable[[Person], Frame], member: str) -> None:
    client = world.login("alice")
    frame = make(client.person)
    del frame["payload"][member]
    answer = client.ask(client.person.signed(frame))
    assert (answer["payload"]["code"], answer["payload"]["details"]["field"]) == (1001, f"payload.{member}")


@pytest.mark.parametrize("changed", [{"challenge": key_text("nobody's")}, {"audience": "other.test"}], ids=str)
@pytest.mark.parametrize("make", BOUND.values(), ids=BOUND)
def test_binding_is_under_the_signature(world: World, make: Callable[[Person], Frame], changed: Frame) -> None:
    client = world.login("alice")
    client.person.binding |= changed
    frame = make(client.person)
    client.person.bind(client.acknowledgement, HOST)
    frame["payload"] |= client.person.binding
    assert refusal(client, frame) == "signature"


# --- over the real relay ------------------------------------------------------------


async def replayed(relay: RelayProcess) -> Frame:
    """What becomes of the ACCOUNT_DELETE of one connection on the next one of the same user."""
    alice = Person()
    audience = "{}:{}".format(*relay.address)

    async def login(connection: ClientConnection) -> None:
        await connection.send(json.dumps(alice.auth(json.loads(await connection.recv()), audience)))
        assert json.loads(await connection.recv())["type"] == "AUTH_SUCCESS"

    async with dial(relay.url, proxy=None) as first:
        await login(first)
        captured = alice.account_delete()
    async with dial(relay.url, proxy=None) as second:
        await login(second)
        await second.send(json.dumps(captured))
        await second.send(json.dumps(alice.ping()))
        try:
            answer: Frame = json.loads(await asyncio.wait_for(second.recv(), 60))
        except Exception:  # noqa: BLE001 - however it ends
            return {"type": "closed"}
    return answer


def test_captured_deletion_deletes_nothing_later(relay: RelayProcess) -> None:
    answer = run(replayed(relay))
    assert answer["payload"]["details"]["reason"] == "challenge"


UNBOUND: Final = """
from phantom_messenger.relay.handlers import account
source = account.check_binding
account.check_binding = lambda core, session, *signed: None if session.user_id else source(core, session, *signed)
"""


def test_captured_deletion_would_delete_later(start_relay: StartRelay) -> None:
    """The control."""
    assert run(replayed(start_relay("--limits", "off", command=patched(UNBOUND)))) == {"type": "closed"}
