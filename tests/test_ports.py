"""Ports that belong to one test."""

import asyncio
import socket
from pathlib import Path

import pytest

from support.ports import HeldPort
from support.relay_process import RelayProcess

ADDRESSES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")]


def is_free(family: socket.AddressFamily, host: str, port: int) -> bool:
    with socket.socket(family) as tried:
        try:
            tried.bind((host, port))
        except OSError:
            return False
        return True


@pytest.mark.parametrize(("family", "host"), ADDRESSES if socket.has_dualstack_ipv6() else ADDRESSES[:2])
def test_port_that_is_held_is_free_for_no_address_until_it_is_released(family: socket.AddressFamily, host: str) -> None:
    held = HeldPort()
    assert not is_free(family, host, held.number)
    held.release()
    assert is_free(family, host, held.number), "control"


def test_connections_to_a_port_that_is_held_are_refused() -> None:
    held = HeldPort()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", held.number))


def test_who_is_told_the_port_listens_on_it() -> None:
    held = HeldPort()

    async def listen() -> None:
        for _ in range(2):
            async with await asyncio.start_server(lambda *_: None, "127.0.0.1", held.number):
                socket.create_connection(("127.0.0.1", held.number)).close()

    asyncio.run(listen())


def test_port_of_a_relay_stays_its_own_while_it_is_down(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path, "--limits", "off")
    host, port = relay.address
    relay.kill()
    assert not is_free(socket.AF_INET, host, port)
    assert not is_free(socket.AF_INET, "127.0.0.2", port)
    relay.restart()
    assert relay.address == (host, port)
    relay.stop()
