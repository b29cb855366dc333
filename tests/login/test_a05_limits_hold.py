"""Limits hold whatever address is claimed, across reconnects and restarts, and under a million addresses."""

import ipaddress
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from phantom_messenger.relay import limiter as room
from phantom_messenger.relay.limiter import Limiter
from phantom_messenger.wire.limits import RateClass
from support.amounts import amount
from support.people import Frame, Person, canonical
from support.raw_socket import CLOSE, TEXT, RawSocket, frame
from support.reference_client import ReferenceClient
from support.relay_process import WARM, RelayProcess, StartRelay, patched

BEHIND: Final = ["--trusted-proxies", "127.0.0.0/8", "--public-names", "any"]
CLIENT: Final = "198.51.100.7"


def attempt(relay: RelayProcess, *forwarded: str, person: Person | None = None) -> Frame:
    """One login on a connection of its own; the answer."""
    with RawSocket(relay.address) as raw:
        assert raw.upgrade([("X-Forwarded-For", line) for line in forwarded]).status == 101
        hello = json.loads(raw.read().payload)
        made = (person or Person()).auth(hello, "{}:{}".format(*relay.address))
        raw.send(frame(TEXT, canonical(made)))
        answer: Frame = json.loads(raw.read().payload)
        return answer


def limited(answer: Frame) -> bool:
    return bool(answer["type"] == "AUTH_FAILURE" and answer["payload"]["code"] == 1003)


def exhausted(relay: RelayProcess, *forwarded: str) -> None:
    """Use up the logins of an address."""
    for _ in range(5):
        assert attempt(relay, *forwarded)["type"] == "AUTH_SUCCESS"
    assert limited(attempt(relay, *forwarded))


# --- whose address it is ------------------------------------------------------------


def test_spoofed_address_changes_nothing(start_relay: StartRelay) -> None:
    relay = start_relay()
    exhausted(relay)
    for number in range(20):
        assert limited(attempt(relay, f"203.0.113.{number}"))
        assert limited(attempt(relay, f"203.0.113.{number}, 127.0.0.1"))


def test_relay_that_trusts_everybody_lets_the_spoofers_in(start_relay: StartRelay) -> None:
    """The control."""
    relay = start_relay("--trusted-proxies", "0.0.0.0/0,::/0", "--public-names", "any")
    exhausted(relay, CLIENT)
    assert attempt(relay, "203.0.113.1")["type"] == "AUTH_SUCCESS"


@pytest.mark.parametrize(
    "same",
    [
        [CLIENT],
        [f"203.0.113.9, {CLIENT}"],
        ["203.0.113.9", CLIENT],
        [f"{CLIENT}:50123"],
        [f"::ffff:{CLIENT}"],
        [f"{CLIENT}, 127.0.0.2"],
        [f"unknown, {CLIENT}"],
    ],
    ids=["as before", "a hop made up", "a line made up", "a port", "as IPv6", "two proxies", "a hop that is none"],
)
def test_client_of_a_proxy_is_limited_however_it_is_written(start_relay: StartRelay, same: list[str]) -> None:
    relay = start_relay(*BEHIND)
    exhausted(relay, CLIENT)
    assert limited(attempt(relay, *same))
    assert attempt(relay, "198.51.100.8")["type"] == "AUTH_SUCCESS", "its neighbour is not"


def test_300_addresses_of_one_network_are_one(start_relay: StartRelay) -> None:
    relay = start_relay(*BEHIND)
    network = ipaddress.ip_network("2001:db8:1:2::/64")
    answers = [attempt(relay, str(network[number * 7_919_317 + 1])) for number in range(300)]
    assert [limited(answer) for answer in answers] == [False] * 5 + [True] * 295
    assert attempt(relay, "2001:db8:1:3::1")["type"] == "AUTH_SUCCESS"


def test_connections_of_one_network_are_ten(start_relay: StartRelay) -> None:
    relay = start_relay(*BEHIND)
    sockets = [RawSocket(relay.address) for _ in range(12)]
    greeted = []
    for number, raw in enumerate(sockets):
        raw.upgrade([("X-Forwarded-For", f"2001:db8:1:2::{number:x}")])
        greeted.append(raw.read().opcode != CLOSE)
    assert greeted == [True] * 10 + [False] * 2
    for raw in sockets:
        raw.__exit__(None, None, None)


# --- reconnects and restarts --------------------------------------------------------


def test_limits_outlive_a_restart(start_relay: StartRelay) -> None:
    relay = start_relay()
    alice = Person()
    with ReferenceClient(relay.url, alice) as client:
        client.login(["ack"])
        for _ in range(60):
            client.send(alice.message(alice))
        client.send(alice.message(alice, id="61"))
        while (answer := client.receive()).get("id") != "61":
            pass
    assert (answer["payload"]["code"], answer["payload"]["details"]["reason"]) == (1003, "rate")
    for _ in range(4):
        attempt(relay)
    relay.stop()
    down = time.monotonic()
    relay.restart()
    away = time.monotonic() - down
    refused = attempt(relay)
    assert limited(refused), "of the address"
    assert refused["payload"]["retryAfter"] <= 60_000 - away * 500


def test_user_is_limited_after_a_restart(start_relay: StartRelay) -> None:
    relay = start_relay("--rate-auth", "100")
    alice = Person()
    waits = []
    for count in (60, 0):
        with ReferenceClient(relay.url, alice) as client:
            client.login(["ack"])
            for _ in range(count):
                client.send(alice.message(alice))
            client.send(alice.message(alice, id="last"))
            while (answer := client.receive()).get("id") != "last":
                pass
            waits.append(answer["payload"]["retryAfter"])
        relay.stop()
        relay.restart()
    assert 0 < waits[1] < waits[0]


FORGETS: Final = """
from phantom_messenger.relay.limiter import Limiter
from phantom_messenger.relay.records import KeptLimits
Limiter.export = lambda limiter, now, persistent: KeptLimits(b"", {})
"""


def test_relay_that_does_not_keep_them_forgets(start_relay: StartRelay) -> None:
    """The control."""
    relay = start_relay(command=patched(FORGETS))
    exhausted(relay)
    relay.stop()
    relay.restart()
    assert attempt(relay)["type"] == "AUTH_SUCCESS"


def test_nothing_of_whom_is_limited_stands_on_disk(start_relay: StartRelay) -> None:
    relay = start_relay(*BEHIND)
    alice = Person()
    for person in (alice, *(Person() for _ in range(5))):
        attempt(relay, CLIENT, person=person)
    relay.stop()
    disk = b"".join(path.read_bytes() for path in relay.data.iterdir())
    assert b"relay_limits" in disk
    assert CLIENT.encode() not in disk
    relay.restart()
    assert limited(attempt(relay, CLIENT))


def test_reconnecting_lifts_no_limit(start_relay: StartRelay) -> None:
    relay = start_relay("--rate-auth", "100")
    alice = Person()
    accepted = 0
    for _ in range(8):
        with ReferenceClient(relay.url, alice) as client:
            client.login(["ack"])
            for number in range(9):
                client.send(alice.message(alice, id=str(number)))
            client.send(alice.ping(id="end"))
            while (answer := client.receive()).get("id") != "end":
                accepted += answer["type"] == "MESSAGE_ACK" and "id" in answer
    assert accepted == 60


# --- one address for many -------------------------------------------------------------

PUPILS: Final = 40
BY_ADDRESS: Final = """
import inspect
from phantom_messenger.relay.handlers import HANDLERS, login
from phantom_messenger.wire.frames import Auth
source = inspect.getsource(login._authenticate)
key = "frame.payload.user_id if signed else session.address"
assert key in source
exec(source.replace(key, "session.address"), login.__dict__)
HANDLERS[Auth] = login.authenticate
"""


def school(start_relay: StartRelay, command: Sequence[str | Path] = WARM) -> list[bool]:
    """Who of a school's pupils gets in within a minute, while a neighbour of the same address fails 100 times."""
    pupils = [Person() for _ in range(PUPILS)]
    relay = start_relay("--limits", "off", command=command)
    for pupil in pupils:
        assert attempt(relay, person=pupil)["type"] == "AUTH_SUCCESS"
    relay.stop()
    relay = start_relay("--data", str(relay.data), command=command)
    came = []
    start = time.monotonic()
    for number, pupil in enumerate(pupils):
        for _ in range(100 // PUPILS + (number < 100 % PUPILS)):
            assert forged(relay)["type"] == "AUTH_FAILURE"
        came.append(attempt(relay, person=pupil)["type"] == "AUTH_SUCCESS")
    assert time.monotonic() - start < 60, "all of it in one window"
    answer = attempt(relay)
    assert limited(answer), "but no new account is made there"
    assert 0 < answer["payload"]["retryAfter"] <= 60_000
    return came


def forged(relay: RelayProcess) -> Frame:
    """A login whose signature is another's; the answer."""
    with RawSocket(relay.address) as raw:
        raw.upgrade()
        made = Person().auth(json.loads(raw.read().payload), "{}:{}".format(*relay.address))
        raw.send(frame(TEXT, canonical({**made, "signature": Person().signed(made)["signature"]})))
        answer: Frame = json.loads(raw.read().payload)
        return answer


def test_school_behind_one_address_gets_in_whatever_a_neighbour_does(start_relay: StartRelay) -> None:
    assert all(school(start_relay))


def test_school_is_locked_out_where_logins_count_by_address(start_relay: StartRelay) -> None:
    """The control."""
    assert not any(school(start_relay, patched(BY_ADDRESS))[5:])


# --- a million addresses ------------------------------------------------------------

MANY: Final = amount(450_000, 1_000_000)
"""Several times as many as there is room for."""

BOUND: Final = 96 * 1_048_576
MEASURE: Final = f"""
import sys, time
from phantom_messenger.relay import limiter as room
from phantom_messenger.wire.limits import RATES, RateClass
if sys.argv[1] == "unbounded":
    room.MAX_KEYS = 1 << 40
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon:"))) * 1024
limiter = room.Limiter(RATES, bytes(32))
before = resident()
for number in range({MANY}):
    limiter.acquire(RateClass.AUTH, f"2001:db8:{{number >> 16:x}}:{{number & 65535:x}}::/64", 1_000 + number // 40)
    if number % 65_536 == 0 and resident() - before > {BOUND}:
        break
began = time.process_time()
limiter.prune(30_000)
print(resident() - before, time.process_time() - began)
"""


def measured(mode: str) -> tuple[int, float]:
    """Bytes that a limiter takes for so many addresses of some seconds, and the processor seconds of one pruning.

    It ends early when it has taken more than it may.
    """
    found = subprocess.run([sys.executable, "-c", MEASURE, mode], capture_output=True, text=True, check=True)
    size, seconds = found.stdout.split()
    return int(size), float(seconds)


def test_a_million_addresses_take_bounded_memory() -> None:
    size, seconds = measured("bounded")
    assert size <= BOUND
    assert seconds <= 0.5


def test_a_million_addresses_take_more_without_the_bound() -> None:
    """The control."""
    assert measured("unbounded")[0] > BOUND


def test_limit_holds_for_everybody_when_the_table_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_KEYS", 100)
    monkeypatch.setattr(room, "SHARED", 16)
    limiter = Limiter({RateClass.AUTH: 5}, bytes(32))
    allowed = dict.fromkeys(map(str, range(1_000)), 0)
    for now in range(20):
        for party in allowed:
            allowed[party] += not limiter.acquire(RateClass.AUTH, party, now)
    early, late = (
        [allowed[str(number)] for number in range(100)],
        [allowed[str(number)] for number in range(100, 1_000)],
    )
    assert set(early) == {5}, "who was there is counted as before"
    assert max(late) <= 5
    assert sum(late) == 16 * 5, "the others share"
    limiter.prune(100_000)
    assert limiter.acquire(RateClass.AUTH, "somebody", 100_000) == 0
    assert len(limiter._windows[RateClass.AUTH]) == 1


def test_what_was_kept_counts_until_it_is_over() -> None:
    before = Limiter({RateClass.AUTH: 2}, b"k" * 32)
    for now in (1_000, 31_000):
        assert before.acquire(RateClass.AUTH, "somebody", now) == 0
    kept = before.export(40_000, 1_040_000)
    assert b"somebody" not in b"".join(kept.times)
    after = Limiter({RateClass.AUTH: 2}, b"l" * 32)
    after.restore(kept, 500, 1_050_000)
    assert after.acquire(RateClass.AUTH, "somebody else", 500) == 0
    assert after.acquire(RateClass.AUTH, "somebody", 500) == 11_000
    assert after.acquire(RateClass.AUTH, "somebody", 11_500) == 0
    assert after.acquire(RateClass.AUTH, "somebody", 11_500) == 30_000
