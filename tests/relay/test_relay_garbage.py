"""Connections that have ended are freed at once: the collector comes seldom."""

import json

from support.people import Person, canonical
from support.raw_socket import TEXT, RawSocket, frame
from support.relay_process import StartRelay, patched
from support.waiting import eventually

COUNTS = """
import gc, sys, threading
gc.disable()
gc.set_threshold = gc.enable = lambda *_: None
def count():
    import time
    while True:
        names = [type(one).__name__ for one in gc.get_objects()]
        print("LEFT", names.count("Session"), names.count("WebSocketConnection"), file=sys.stderr, flush=True)
        time.sleep(0.2)
threading.Thread(target=count, daemon=True).start()
"""
CYCLE = """
from phantom_messenger.relay.relay import Relay
connect = Relay.connect
def kept(relay, connection, **rest):
    session = connect(relay, connection, **rest)
    connection.in_a_circle = [connection]
    return session
Relay.connect = kept
"""


def left_after(start_relay: StartRelay, patch: str, *, looks: int = 300) -> list[int]:
    """Sessions and connections that the relay still has after eight have ended, each in another way, and some looks."""
    relay = start_relay("--limits", "off", "--verify-workers", "0", command=patched(patch))
    for number in range(8):
        with RawSocket(relay.address) as raw:
            raw.upgrade()
            hello = json.loads(raw.read().payload)
            if number % 2:
                host = f"{relay.address[0]}:{relay.address[1]}"
                raw.send(frame(TEXT, canonical(Person().auth(hello, host, features=["ack"]))))
                assert b"AUTH_SUCCESS" in raw.read().payload
            if number % 4 == 3:
                raw.send(frame(TEXT, b"no JSON"))
                raw.read()

    def counts() -> list[str]:
        return [line for line in relay.log.splitlines() if line.startswith("LEFT")]

    before, found = len(counts()) + 1, [8, 8]  # the next one may have been begun before
    for look in range(before, before + looks):
        assert eventually(lambda look=look: len(counts()) > look)  # type: ignore[misc] # a default that binds it
        found = [int(word) for word in counts()[look].split()[1:]]
        if not any(found):
            break
    return found


def test_ended_connections_are_freed_without_the_collector(start_relay: StartRelay) -> None:
    assert left_after(start_relay, COUNTS) == [0, 0]


def test_control_connection_in_a_circle_stays(start_relay: StartRelay) -> None:
    found = left_after(start_relay, COUNTS + CYCLE, looks=10)
    assert found[1] == 8
