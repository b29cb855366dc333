"""The Autobahn test suite against the relay's WebSocket layer and the SDK's connection, and the speed of that layer.

``make autobahn`` prints a table of verdicts, then the echo rate beside that of the server of
``websockets``, as it comes, in the same run.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import uvloop
from echo import HUGE, serve_bare, serve_ours
from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from phantom_messenger.client.connect import dial

CASES: Final = [f"{section}.*" for section in (1, 2, 3, 4, 5, 6, 7, 10)]
COUNT: Final = 247
UNTESTED: Final = {"7.1.5"}
"""What the suite itself calls wrong where RFC 6455 leaves the choice: data behind an unfinished message and a close."""

GOOD: Final = {"OK", "NON-STRICT", "INFORMATIONAL"}
SIZES: Final = (125, 1_024, 16_384)
CONNECTIONS: Final = 64
LEAST: Final = 1.0

Verdicts = dict[str, str]


# --- verdicts ---------------------------------------------------------------------


def _verdict(result: Any) -> str:
    """The worse of the verdicts on what was exchanged and on how it was closed."""
    behavior, close = result.behavior.value, result.behavior_close.value
    return str(close if behavior in GOOD and close not in GOOD else behavior)


async def verdicts_of_server(url: str, cases: list[str] | None = None) -> Verdicts:
    """Run the suite's client against a server that echoes."""
    try:
        results = await run_fuzzingclient(url, cases or CASES, concurrency=4)
    except FailureError as failure:
        results = failure.results
    return {result.case_id: _verdict(result) for result in results}


async def verdicts_of_client(cases: list[str] | None = None) -> Verdicts:
    """Run the suite's server against an echo on the SDK's connection."""
    async with run_fuzzingserver(cases or CASES, port=0) as server:
        url = f"ws://{server.address}:{server.port}"
        async with dial(f"{url}/getCaseCount") as connection:
            count = int(await connection.recv())
        for number in range(1, count + 1):
            await _echo(f"{url}/runCase?case={number}&agent=sdk")
        async with dial(f"{url}/updateReports?agent=sdk"):
            pass
        try:
            results = await asyncio.wait_for(server.get_result(), 60)
        except FailureError as failure:
            results = failure.results
    return {result.case_id: _verdict(result) for result in results}


async def _echo(url: str) -> None:
    with contextlib.suppress(ConnectionClosed):
        async with dial(url, max_bytes=HUGE) as connection:
            async for message in connection:
                await connection.send(message)


def failures(verdicts: Verdicts) -> dict[str, str]:
    """The cases that count as failed."""
    return {case: verdict for case, verdict in verdicts.items() if verdict not in GOOD and case not in UNTESTED}


def table(sides: dict[str, Verdicts]) -> str:
    """Verdicts by section and side."""
    words = sorted({verdict for verdicts in sides.values() for verdict in verdicts.values()})
    lines = [f"{'section':<9}{'side':<26}{'cases':>6}" + "".join(f"{word:>15}" for word in words)]
    for section in [*(case.partition(".")[0] for case in CASES), "all"]:
        for side, verdicts in sides.items():
            chosen = [word for case, word in verdicts.items() if section in {"all", case.partition(".")[0]}]
            count = Counter(chosen)
            lines.append(f"{section:<9}{side:<26}{len(chosen):>6}" + "".join(f"{count[word]:>15}" for word in words))
    return "\n".join(lines)


# --- speed ------------------------------------------------------------------------


def _pin(core: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core]})


def _served(serve: Callable[[], Coroutine[Any, Any, asyncio.Server]], ports: Any) -> None:
    """A process of its own that echoes until it is ended."""

    async def main() -> None:
        server = await serve()
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    _pin(0)
    uvloop.run(main())


class _Load(asyncio.Protocol):
    """Sends a message, and again when it has come back; of what comes it counts the bytes."""

    def __init__(self, payload: bytes) -> None:
        masked = Frame(Opcode.TEXT, payload).serialize(mask=True)
        self._message = masked
        self._length = len(masked) - 4
        self._rest = 0
        self._began = False
        self._transport: asyncio.Transport | None = None
        self.count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - narrows the type
        if not self._began:
            self._began = True
            self._transport.write(self._message)
            return
        self._rest += len(data)
        if self._rest >= self._length:
            self._rest -= self._length
            self.count += 1
            self._transport.write(self._message)

    def end(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.abort()


class Rate(NamedTuple):
    """Echoes a second of the clock, and a second of the server's core: neighbours on the machine change the first."""

    clock: float
    core: float


def _core_seconds(pid: int) -> float:
    """What a process has used so far, from /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _rate(port: int, pid: int, size: int, seconds: float) -> Rate:
    loads = [_Load(b"x" * size) for _ in range(CONNECTIONS)]
    for load in loads:
        await asyncio.get_running_loop().create_connection(lambda load=load: load, "127.0.0.1", port)  # type: ignore[misc] # mypy and defaults
    await asyncio.sleep(seconds / 4)
    before, began, used = sum(load.count for load in loads), time.perf_counter(), _core_seconds(pid)
    await asyncio.sleep(seconds)
    echoes = sum(load.count for load in loads) - before
    rate = Rate(echoes / (time.perf_counter() - began), echoes / (_core_seconds(pid) - used))
    for load in loads:
        load.end()
    await asyncio.sleep(0.05)
    return rate


def rates(pairs: int, seconds: float) -> dict[int, list[tuple[Rate, Rate]]]:
    """The rates of (ours, bare websockets) in turn, by size."""
    context = multiprocessing.get_context("fork")
    ports = context.Queue()
    processes = [
        context.Process(target=_served, args=(serve, ports), daemon=True) for serve in (serve_ours, serve_bare)
    ]
    found = []
    for process in processes:
        process.start()
        found.append((ports.get(timeout=10), process.pid or 0))
    _pin(1)
    try:
        result: dict[int, list[tuple[Rate, Rate]]] = {}
        for size in SIZES:
            result[size] = []
            for number in range(pairs):
                print(f"\recho, {size:,} bytes: {number + 1} of {pairs} ", end="", file=sys.stderr, flush=True)
                ours, bare = (uvloop.run(_rate(port, pid, size, seconds)) for port, pid in found)
                result[size].append((ours, bare))
        print(file=sys.stderr)
        return result
    finally:
        for process in processes:
            process.kill()
            process.join()


def ratio(pairs: list[tuple[Rate, Rate]]) -> float:
    """Ours as a multiple of bare websockets, by core seconds."""
    return statistics.median(ours.core / bare.core for ours, bare in pairs)


def speed_table(found: dict[int, list[tuple[Rate, Rate]]]) -> str:
    """Medians, and the range of the ratios."""
    sides = f"{'ours':>11}{'websockets':>11}"
    lines = [
        f"{'':>7}{'echoes/s':>22}{'per core second':>22}",
        f"{'bytes':>7}{sides}{sides}{'ratio':>8}{'range':>15}",
    ]
    for size, pairs in found.items():
        columns = [rate for kind in zip(*_medians(pairs), strict=True) for rate in kind]
        ratios = sorted(ours.core / bare.core for ours, bare in pairs)
        lines.append(
            f"{size:>7,}{''.join(f'{column:>11,.0f}' for column in columns)}"
            f"{ratio(pairs):>8.2f}{f'{ratios[0]:.2f} to {ratios[-1]:.2f}':>15}"
        )
    return "\n".join(lines)


def _medians(pairs: list[tuple[Rate, Rate]]) -> list[Rate]:
    return [Rate(*map(statistics.median, zip(*side, strict=True))) for side in zip(*pairs, strict=True)]


async def _verdicts() -> dict[str, Verdicts]:
    server = await serve_ours()
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
    print("the relay's layer ...", file=sys.stderr)
    relay = await verdicts_of_server(url)
    server.close()
    print("the SDK's connection ...", file=sys.stderr)
    return {"relay's WebSocket layer": relay, "SDK's connection": await verdicts_of_client()}


def main() -> None:
    """Print both tables; exit code 1 if a case has failed or the layer is too slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7, help="how often the speed of both is measured")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each time")
    options = parser.parse_args()
    sides = uvloop.run(_verdicts())
    print(f"{table(sides)}\nnot judged: {', '.join(sorted(UNTESTED))}")
    failed = {side: found for side, verdicts in sides.items() if (found := failures(verdicts))}
    if failed:
        print(f"failed: {failed}")
    missing = [side for side, verdicts in sides.items() if len(verdicts) != COUNT]
    speed = rates(options.pairs, options.seconds)
    print(f"\necho, {CONNECTIONS} connections, a core each for server and load; the goal by core seconds is {LEAST}")
    print(speed_table(speed))
    slow = [size for size, pairs in speed.items() if ratio(pairs) < LEAST]
    sys.exit(1 if failed or missing or slow else 0)


if __name__ == "__main__":
    main()
