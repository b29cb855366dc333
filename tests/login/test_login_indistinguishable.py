"""A wrong signature tells nothing of whether the user exists: the same answer, in the same time."""

import json
from typing import Final

import pytest
from timing import OF_A_CONTROL, are_alike

from support.people import Frame, Person, base64_text, canonical, flipped
from support.raw_socket import TEXT, RawSocket, frame
from support.reference_client import ReferenceClient
from support.relay_process import RelayProcess, StartRelay, patched


class Guess:
    """Logins with wrong signatures for one user id."""

    def __init__(self, relay: RelayProcess, claimed: Person) -> None:
        self._relay = relay
        self._claimed = claimed

    def __call__(self) -> Frame:
        """One attempt on a connection of its own; the answer, and the code that it was closed with."""
        with RawSocket(self._relay.address) as raw:
            raw.upgrade()
            hello = json.loads(raw.read().payload)
            made = self._claimed.auth(hello, "{}:{}".format(*self._relay.address))
            raw.send(frame(TEXT, canonical({**made, "signature": flipped(made["signature"])})))
            answer = json.loads(raw.read().payload)
            return {"answer": {**answer, "timestamp": 0}, "code": raw.close_code()}


def people(relay: RelayProcess, *, certified: bool) -> tuple[Person, Person]:
    """Somebody who has an account, and somebody who has not."""
    made = [Person(), Person()]
    if not certified:
        for person in made:
            person.id = base64_text(bytes(person.key)[:20])
    ReferenceClient(relay.url, made[0]).login().close()
    return made[0], made[1]


@pytest.mark.parametrize("certified", [True, False], ids=["certified ids", "claimed ids"])
def test_wrong_signature_is_answered_alike_whether_the_user_exists(relay: RelayProcess, certified: bool) -> None:
    known, unknown = people(relay, certified=certified)
    assert Guess(relay, known)() == Guess(relay, unknown)()
    assert Guess(relay, known)()["code"] == 4001


@pytest.mark.parametrize("certified", [True, False], ids=["certified ids", "claimed ids"])
def test_wrong_signature_takes_the_same_time_whether_the_user_exists(relay: RelayProcess, certified: bool) -> None:
    known, unknown = people(relay, certified=certified)
    assert are_alike(Guess(relay, known), Guess(relay, unknown))


LOOKS_FIRST: Final = """
import time
from phantom_messenger.relay import handlers
from phantom_messenger.relay.handlers import HANDLERS
from phantom_messenger.wire.frames import Auth
known = set()
def authenticate(core, admitted, frame, inner=HANDLERS[Auth]):
    known.add(frame.payload.user_id)
    return inner(core, admitted, frame)
def handle(core, admitted, verified, inner=handlers.handle):
    frame = admitted.frame
    if type(frame).__name__ == "Auth" and not verified and frame.payload.user_id in known:
        time.sleep(0.0005)
    return inner(core, admitted, verified)
HANDLERS[Auth] = authenticate
handlers.handle = handle
"""


def test_relay_that_looks_the_user_up_first_takes_longer(start_relay: StartRelay) -> None:
    """The control."""
    relay = start_relay("--limits", "off", command=patched(LOOKS_FIRST))
    known, unknown = people(relay, certified=True)
    assert not are_alike(Guess(relay, known), Guess(relay, unknown), attempts=OF_A_CONTROL)


# --- takeover ---------------------------------------------------------------------


def test_failed_login_does_not_disturb_who_is_there(relay: RelayProcess) -> None:
    alice = Person()
    with ReferenceClient(relay.url, alice) as client:
        client.login()
        for _ in range(20):
            assert Guess(relay, alice)()["code"] == 4001
        client.send(alice.ping())
        assert client.until("PONG")


def test_others_cannot_use_up_somebodys_logins(start_relay: StartRelay) -> None:
    """Wrong logins count for the address that they come from, not for the user whom they name."""
    relay = start_relay("--trusted-proxies", "127.0.0.0/8", "--public-names", "any")
    alice = Person()
    hosts = {"X-Forwarded-For": "198.51.100.1"}
    ReferenceClient(relay.url, alice, headers=hosts).login().close()
    for _ in range(20):
        Guess(relay, alice)()
    ReferenceClient(relay.url, alice, headers=hosts).login().close()


def test_logins_of_one_user_from_everywhere_are_five_a_minute(start_relay: StartRelay) -> None:
    relay = start_relay("--trusted-proxies", "127.0.0.0/8", "--public-names", "any")
    alice = Person()
    for number in range(6):
        with ReferenceClient(relay.url, alice, headers={"X-Forwarded-For": f"198.51.100.{number}"}) as client:
            client.send(alice.auth(client.acknowledgement, client.audience))
            answer = client.receive()
            assert answer["type"] == ("AUTH_SUCCESS" if number < 5 else "AUTH_FAILURE")
    assert answer["payload"]["code"] == 1003
    assert 0 < answer["payload"]["retryAfter"] <= 60_000
