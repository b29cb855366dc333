"""Frames that are made to cost: tiny fragments, bombs, lengths at every boundary: closed, in little memory."""

import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from support.measures import resident
from support.raw_socket import CONTINUATION, MASK, PING, PONG, TEXT, RawSocket, close_frame, frame
from support.relay_process import RelayProcess, StartRelay, unloaded
from support.waiting import eventually

MIB: Final = 1_048_576
ROOM: Final = 4 * MIB
FRAGMENTS: Final = 131_000

WITHOUT_LIMITS: Final = """
from phantom_messenger.wire import limits
limits.MAX_FRAGMENTS = limits.MAX_TRANSPORT_BYTES = limits.MAX_EARLY_BYTES = limits.MAX_HALF_BYTES = 1 << 40
"""


@pytest.fixture(scope="module")
def relay_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """A relay that has seen one of everything, so that what grows is the attack's."""
    relay = RelayProcess(tmp_path_factory.mktemp("frames"), "--limits", "off")
    for data in (frame(TEXT, b" " * 300_000) + close_frame(1000), frame(CONTINUATION, b"x"), frame(TEXT, b"x", rsv=4)):
        attack(relay, data, logged_in=True)
    yield relay
    relay.kill()


def peak(relay: RelayProcess) -> int:
    """The most bytes of memory that the relay has had since ``peak_from_here``."""
    lines = Path(f"/proc/{relay.pid}/status").read_text().splitlines()
    [most] = [line.split() for line in lines if line.startswith("VmHWM:")]
    return int(most[1]) * 1_024


def peak_from_here(relay: RelayProcess) -> int:
    """Forget the peak; the bytes that the relay has now."""
    Path(f"/proc/{relay.pid}/clear_refs").write_text("5")
    return peak(relay)


def attack(relay: RelayProcess, data: bytes, *, logged_in: bool = False) -> int:
    """Send until the relay has had enough; the code that it closed with."""
    with RawSocket(relay.address) as raw:
        raw.logged_in() if logged_in else raw.opened()
        try:
            for start in range(0, len(data), 65_536):
                raw.send(data[start : start + 65_536])
        except OSError:
            pass  # cut; what it said before is still there to read
        return raw.close_code()


def tiny_fragments() -> bytes:
    return frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * FRAGMENTS


def announced(length: int, *, flag: int = 127) -> bytes:
    """The head of a frame of this length, in the form that the flag says, and nothing of its payload."""
    form = "!BBQ" if flag == 127 else "!BBH"
    return struct.pack(form, 0x80 | TEXT, 0x80 | flag, length) + MASK


def deflate_bomb() -> bytes:
    """200 KB that would be 200 MB: a compressed message for whoever takes it for one."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(200 * MIB)) + packer.flush(zlib.Z_SYNC_FLUSH)
    return frame(TEXT, packed[:200_000], rsv=4)


ATTACKS: Final[dict[str, tuple[int, Callable[[], bytes]]]] = {
    "131,000 fragments of a byte": (1009, tiny_fragments),
    "a deflate bomb": (1002, deflate_bomb),
    "a megabyte and a byte": (1009, lambda: frame(TEXT, b" " * (MIB + 1))),
    "ten megabytes": (1009, lambda: frame(TEXT, b" " * (10 * MIB))),
    "ten megabytes in fragments": (
        1009,
        lambda: frame(TEXT, b" " * 500_000, fin=False) + frame(CONTINUATION, b" " * 500_000, fin=False) * 20,
    ),
    "garbage behind a broken frame": (1002, lambda: frame(3, b"") + b"\xff" * (10 * MIB)),
    "a length of 2^63 - 1 and ten megabytes": (1009, lambda: announced(2**63 - 1) + bytes(10 * MIB)),
}


@pytest.mark.parametrize("logged_in", [False, True], ids=["stranger", "friend"])
@pytest.mark.parametrize(("code", "data"), ATTACKS.values(), ids=ATTACKS)
def test_attack_is_closed_in_little_memory(
    relay_alone: RelayProcess, code: int, data: Callable[[], bytes], logged_in: bool
) -> None:
    before = peak_from_here(relay_alone)
    assert attack(relay_alone, data(), logged_in=logged_in) == code
    assert peak(relay_alone) - before < ROOM
    assert attack(relay_alone, close_frame(1000)) == 1000, "it goes on working"


def test_ten_attacks_at_once_leave_nothing_behind(relay_alone: RelayProcess) -> None:
    before = resident(relay_alone.pid)
    sockets = [RawSocket(relay_alone.address).logged_in() for _ in range(10)]
    for raw in sockets:
        raw.send(announced(MIB) + b" " * (MIB - 1))  # one byte is missing, and never comes
    time.sleep(0.3)
    held = resident(relay_alone.pid) - before
    for raw in sockets:
        raw.__exit__(None, None, None)
    assert held <= 10 * (2 * MIB + 65_536), "what is held is bounded by twice the largest frame, for each connection"
    assert eventually(lambda: resident(relay_alone.pid) - before < ROOM)


def test_relay_without_limits_grows(start_relay: StartRelay) -> None:
    """The control."""
    relay = start_relay("--limits", "off", command=unloaded(WITHOUT_LIMITS))
    before = peak_from_here(relay)
    with RawSocket(relay.address) as raw:
        raw.opened()
        raw.send(frame(TEXT, b" " * 500_000, fin=False) + frame(CONTINUATION, b" " * 500_000, fin=False) * 20)
        raw.send(frame(PING, b""))
        while raw.read().opcode != PONG:
            pass
        assert peak(relay) - before > ROOM


# --- lengths at every boundary ----------------------------------------------------

TOO_BIG: Final = [MIB + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1]
NO_LENGTH: Final = [2**63, 2**63 + 1, 2**64 - 1]
NOT_SHORTEST: Final = [
    *((length, 126) for length in (0, 1, 125)),
    *((length, 127) for length in (0, 125, 126, 127, 65_535)),
]


@pytest.mark.parametrize("length", TOO_BIG)
def test_frame_that_is_too_big_is_1009_before_it_has_come(relay: RelayProcess, length: int) -> None:
    assert attack(relay, announced(length)) == 1009


@pytest.mark.parametrize("length", NO_LENGTH)
def test_length_with_the_highest_bit_is_1002(relay: RelayProcess, length: int) -> None:
    assert attack(relay, announced(length)) == 1002


@pytest.mark.parametrize(("length", "flag"), NOT_SHORTEST)
def test_length_that_is_not_in_its_shortest_form_is_1002(relay: RelayProcess, length: int, flag: int) -> None:
    assert attack(relay, announced(length, flag=flag) + bytes(length)) == 1002


@pytest.mark.parametrize("length", [1, 125, 126, 127, 65_535, 65_536, MIB - 1, MIB])
def test_frame_of_every_length_that_is_allowed_is_read(relay: RelayProcess, length: int) -> None:
    with RawSocket(relay.address) as raw:
        raw.logged_in()
        raw.send(frame(TEXT, b" " * length) + frame(TEXT, b'{"timestamp":1,"type":"PING"}'))
        assert b'"ERROR"' in raw.read().payload
        assert b'"PONG"' in raw.read().payload


@pytest.mark.parametrize("mask", [bytes(4), b"\xff" * 4, b"\x80\x00\x00\x01"])
def test_every_mask_is_read(relay: RelayProcess, mask: bytes) -> None:
    text = b'{"timestamp":1,"type":"PING"}'
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))
    with RawSocket(relay.address) as raw:
        raw.opened()
        raw.send(bytes((0x80 | TEXT, 0x80 | len(text))) + mask + masked)
        assert b'"PONG"' in raw.read().payload


def test_reason_of_a_close_tells_nothing_of_the_inside(relay: RelayProcess) -> None:
    for data in (frame(3, b""), announced(2**40), frame(TEXT, b"x", masked=False), frame(TEXT, b"\xff")):
        with RawSocket(relay.address) as raw:
            raw.opened()
            raw.send(data)
            assert raw.read().payload[2:] in (b"broken frame", b"message too big", b"invalid UTF-8")
