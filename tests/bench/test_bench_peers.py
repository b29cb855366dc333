"""The comparison with other programs, without them: what is read from them, when a run counts, what is printed."""

import asyncio
from typing import Any

import compare
import pytest
from peers import common, mqtt, redis


class Quiet(common.Program):
    """A server that accepts, if it is told to, and brings nothing to anybody."""

    name = "Quiet"

    def __init__(self, accepts: int) -> None:
        self._accepts = accepts

    def cpu_seconds(self) -> float:
        return 0.0

    async def connect(self, pairs: int, count: int, body: str, stats: common.Stats) -> list[common.Connection]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(1_000) and self._accepts:
                self._accepts -= 1
                writer.write(b"+0-1\r\n")
            writer.close()

        self.server = await asyncio.start_server(answer, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        connections: list[common.Connection] = [
            await common.dial(self.port, lambda: redis.RedisConnection(stats)) for _ in range(pairs)
        ]
        common.distribute([redis.command(b"XADD", b"to:0", b"*", b"m", body.encode())] * count, connections)
        return connections


async def through(program: Quiet) -> None:
    try:
        await common.closed_loop(program, 2, 1, 4, "A")
    finally:
        program.server.close()
        await program.server.wait_closed()
        await asyncio.sleep(0.05)


def test_program_that_accepts_and_delivers_nothing_has_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "STALL_SECONDS", 5.0)
    with pytest.raises(common.PeerError, match="stands still: 4 accepted, 0 delivered of 4"):
        asyncio.run(through(Quiet(accepts=100)))


def test_redis_answers_are_read_whole_or_not_at_all() -> None:
    answer = b"*1\r\n*2\r\n$4\r\nto:0\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nm\r\n$2\r\nAB\r\n+OK\r\n"
    found = redis._parse(answer, 0)
    assert found == ([[b"to:0", [[b"1-0", [b"m", b"AB"]]]]], len(answer) - len(b"+OK\r\n"))
    assert redis._parse(answer, found[1]) == (b"OK", len(answer))
    assert all(redis._parse(answer[:cut], 0) is None for cut in range(found[1]))
    with pytest.raises(ValueError, match="ERR no"):
        redis._parse(b"-ERR no\r\n", 0)


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384])
def test_mqtt_packets_are_read_as_they_are_written(size: int) -> None:
    packet = mqtt.packet(0x32, b"A" * size)
    assert mqtt._unpacked(b"#" + packet + b"#", 1) == (3, b"A" * size, 1 + len(packet))
    assert mqtt._unpacked(packet[:-1], 0) is None
    assert mqtt._unpacked(packet[:1], 0) is None


def run(per_second: float, *, server_busy: float = 1.0, load_busy: float = 0.5) -> dict[str, Any]:
    busy = {"server_busy": server_busy, "load_busy": load_busy}
    return {"per_second": per_second, "server_us": 100, "ack_ms": {"p50": 1.0, "p99": 2.0}, **busy}


def test_table_has_medians_of_ratios_of_the_same_round_doubts_and_goals() -> None:
    found = {
        "Phantom": [run(9_000), run(6_000), run(3_000)],
        "nostr": [run(3_000), run(1_000), run(500)],
        "ejabberd": [run(2_000), run(3_100), run(3_100, load_busy=0.95)],
        "prosody": [run(500, server_busy=0.4)] * 3,
    }
    lines = compare.table(found, {"redis": "has not started"}).splitlines()

    def line(start: str) -> str:
        return next(one for one in lines if one.startswith(start))

    assert line("nostr-relay").endswith("6.00 x (3.00-6.00)")
    assert "the load was the limit" in line("ejabberd")
    assert "not busy (40%)" in line("Prosody")
    assert line("Redis streams") == "Redis streams: has not started"
    assert line("at least 5 x nostr-relay").split()[-3:] == ["6.00", "x", "met"]
    assert line("at least 2 x the best XMPP server").split()[-3:] == ["1.94", "x", "MISSED"]
