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


class Window:
    """When the relay may have counted the first request, as far as can be seen from outside.

    Args:
        sent: when it was sent, in seconds.
        answered: when its answer had come.
    """

    def __init__(self, sent: float, answered: float) -> None:
        self._sent, self._answered = sent, answered

    def milliseconds_off(self, sent: float, answered: float, retry_after: float) -> float:
        """How far a ``retryAfter`` (in milliseconds) is from all that it may be, however slow the machine is.

        Args:
            sent: when the request was sent that was refused, in seconds.
            answered: when the answer had come.
            retry_after: what it says.
        """
        least = (self._sent + 60 - answered) * 1_000
        most = (self._answered + 60 - sent) * 1_000
        return max(least - retry_after, retry_after - most, 0.0)


def exactness(relay: RelayProcess, kind: str, count: int, address: str) -> tuple[int, float]:
    """How many of so many and three pass, and by how many milliseconds a ``retryAfter`` is off at most."""
    other = Person()
    headers = {"X-Forwarded-For": address}
    with ReferenceClient(relay.url, other, headers=headers) as known:
        known.login(["ack"])
        known.send(other.publish(range(1, 21)))  # so that each key exchange is answered
        known.until("PREKEY_STATUS")
    with ReferenceClient(relay.url, headers=headers) as client:
        client.login(["ack"])
        window: Window | None = None
        passed, off = 0, []
        for number in range(count + 3):
            request = MAKERS[kind](client.person, other, f"r{number}")
            sent = time.monotonic()
            client.send(request)
            while (answer := client.receive()).get("id") != f"r{number}":
                pass
            answered = time.monotonic()
            window = window or Window(sent, answered)
            if answer["type"] == "ERROR" and answer["payload"]["code"] == 1003:
                assert answer["payload"]["details"] == {"reason": "rate"}
                off.append(window.milliseconds_off(sent, answered, answer["payload"]["retryAfter"]))
            else:
                passed += 1
        return passed, max(off)


def test_exactly_6000_recipients_pass_and_the_wait_is_exact(limited: RelayProcess) -> None:
    others = [Person() for _ in range(200)]
    headers = {"X-Forwarded-For": "198.51.100.77"}
    with ReferenceClient(limited.url, headers=headers) as client:
        client.login(["ack", "many"])
        window: Window | None = None
        for _ in range(30):
            sent = time.monotonic()
            client.send(client.person.message_many(others))
            assert len(client.expect("MANY_RESULT")["payload"]["refused"]) == 200, "nobody has an account"
            window = window or Window(sent, time.monotonic())
        sent = time.monotonic()
        client.send(client.person.message_many(others[:1]))
        answer = client.expect("ERROR")["payload"]
        assert window is not None
        assert answer["details"] == {"reason": "rate"}
        assert window.milliseconds_off(sent, time.monotonic(), answer["retryAfter"]) <= EXACT_MS


@pytest.mark.parametrize(("kind", "number"), [(kind, number) for number, kind in enumerate(MAKERS)])
def test_exactly_so_many_pass_and_the_wait_is_exact(limited: RelayProcess, kind: str, number: int) -> None:
    rate = RATES[RateClass(kind)]
    passed, off = exactness(limited, kind, rate, f"198.51.100.{number}")
    assert passed == rate
    assert off <= EXACT_MS


def test_exactly_five_logins_of_an_address_pass(start_relay: StartRelay) -> None:
    relay = start_relay()
    found = []
    for _ in range(7):
        with ReferenceClient(relay.url) as client:
            request = client.person.auth(client.acknowledgement, client.audience)
            sent = time.monotonic()
            client.send(request)
            found.append((sent, client.receive(), time.monotonic()))
    assert [answer["type"] for _, answer, _ in found] == ["AUTH_SUCCESS"] * 5 + ["AUTH_FAILURE"] * 2
    window = Window(found[0][0], found[0][2])
    for sent, answer, answered in found[5:]:
        assert window.milliseconds_off(sent, answered, answer["payload"]["retryAfter"]) <= EXACT_MS


def test_limit_of_another_size_is_seen(start_relay: StartRelay) -> None:
    """The control: the same count, at a relay with one more."""
    relay = start_relay("--rate-message", "61")
    assert exactness(relay, "MESSAGE", 60, "198.51.100.99")[0] == 61


def test_wait_that_is_wrong_is_off() -> None:
    """The control of the judge: what a slow machine explains is not off, and nothing else passes."""
    window = Window(sent=10.0, answered=10.3)
    assert window.milliseconds_off(20.0, 20.2, 50_000) == 0
    assert window.milliseconds_off(20.0, 20.2, 50_400) == pytest.approx(100)
    assert window.milliseconds_off(20.0, 20.2, 49_700) == pytest.approx(100)
