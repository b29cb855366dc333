"""The table of limits, from outside: exactly so many pass, one more is told when to come again, exact to 50 ms."""

import time
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from phantom_messenger.wire.limits import RATES, RateClass
from support.people import Frame, Person
from support.reference_client import ReferenceClient
from support.relay_process import RelayProcess, StartRelay

REFERENCE: Final = {"AUTH": 5, "MESSAGE": 60, "KEY_EXCHANGE": 10, "PRESENCE": 30, "PING": 60}
"""Of the reference's table, a minute."""

EXACT_MS: Final = 50
Make = Callable[[Person, Person, str], Frame]
MAKERS: Final[dict[str, Make]] = {
    "MESSAGE": lambda own, other, name: own.message(other, id=name),
    "KEY_EXCHANGE": lambda own, other, name: own.signed({**own.init(other, name=name), "id": name}),
    "PRESENCE": lambda own, other, name: own.asks_for(other, id=name),
    "PING": lambda own, _, name: own.ping(id=name),
    "PREKEY": lambda own, _, name: own.prekey_status(id=name),
    "BLOCK": lambda own, other, name: own.block(other, id=name),
}


def test_rates_are_the_references() -> None:
    assert {str(rate): RATES[rate] for rate in RateClass if rate in REFERENCE} == REFERENCE


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """A relay with its usual limits."""
    options = ["--trusted-proxies", "127.0.0.0/8", "--public-names", "any"]
    relay = RelayProcess(tmp_path_factory.mktemp("limited"), *options)
    yield relay
    relay.kill()


def exactness(relay: RelayProcess, kind: str, count: int, address: str) -> tuple[int, float]:
    """How many of so many and three pass, and by how many milliseconds the first ``retryAfter`` is off."""
    other = Person()
    headers = {"X-Forwarded-For": address}
    with ReferenceClient(relay.url, other, headers=headers) as known:
        known.login(["ack"])
        known.send(other.publish(range(1, 21)))  # so that each key exchange is answered
        known.until("PREKEY_STATUS")
    with ReferenceClient(relay.url, headers=headers) as client:
        client.login(["ack"])
        began = 0.0
        passed, waits = 0, []
        for number in range(count + 3):
            client.send(MAKERS[kind](client.person, other, f"r{number}"))
            if not number:
                began = time.monotonic()
            while (answer := client.receive()).get("id") != f"r{number}":
                pass
            if answer["type"] == "ERROR" and answer["payload"]["code"] == 1003:
                assert answer["payload"]["details"] == {"reason": "rate"}
                waits.append(began + 60 - time.monotonic() - answer["payload"]["retryAfter"] / 1_000)
            else:
                passed += 1
        return passed, min(abs(wait) for wait in waits) * 1_000


@pytest.mark.parametrize(("kind", "number"), [(kind, number) for number, kind in enumerate(MAKERS)])
def test_exactly_so_many_pass_and_the_wait_is_exact(limited: RelayProcess, kind: str, number: int) -> None:
    rate = RATES[RateClass(kind)]
    passed, off = exactness(limited, kind, rate, f"198.51.100.{number}")
    assert passed == rate
    assert off <= EXACT_MS, "in the best of three refusals: the machine may do other things meanwhile"


def test_exactly_five_logins_of_an_address_pass(start_relay: StartRelay) -> None:
    relay = start_relay()
    answers, began = [], 0.0
    for number in range(7):
        with ReferenceClient(relay.url) as client:
            client.send(client.person.auth(client.acknowledgement, client.audience))
            if not number:
                began = time.monotonic()
            answers.append((client.receive(), time.monotonic()))
    assert [answer["type"] for answer, _ in answers] == ["AUTH_SUCCESS"] * 5 + ["AUTH_FAILURE"] * 2
    off = [abs(began + 60 - at - answer["payload"]["retryAfter"] / 1_000) * 1_000 for answer, at in answers[5:]]
    assert min(off) <= EXACT_MS


def test_limit_of_another_size_is_seen(start_relay: StartRelay) -> None:
    """The control: the same count, at a relay with one more."""
    relay = start_relay("--rate-message", "61")
    assert exactness(relay, "MESSAGE", 60, "198.51.100.99")[0] == 61
