"""The fuzzers' targets without the fuzzer: seeded mutations of good inputs. ``make fuzz`` looks further."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "fuzz"))

from targets import TARGETS

from phantom_messenger.client import strict_map
from phantom_messenger.crypto import head, session
from phantom_messenger.relay import http, websocket
from phantom_messenger.relay.presence_notices import PresenceNotices
from phantom_messenger.wire import codec
from support.amounts import amount
from support.faults import Faults

EACH: Final = {
    "assembler": amount(1_500, 400_000),
    "decoder": amount(5_000, 400_000),
    "contents": amount(2_500, 200_000),
    "ratchet": amount(2_500, 200_000),
    "suite2": amount(1_000, 100_000),
    "relay": amount(150, 5_000),
    "handshake": amount(5_000, 200_000),
    "link": amount(2_000, 200_000),
}
TOKENS: Final = [
    b'"',
    b"{",
    b"}",
    b":",
    b",",
    b"\\u0061",
    b"1e9",
    b"null",
    b"\r\n",
    b"\xff",
    b"\x00",
    b"\x88\x80",
    b"==",
]


def mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    """One of the seeds with a few changes, or two of them in one."""
    made = bytearray(chance.choice(seeds))
    if chance.random() < 0.2:
        other = chance.choice(seeds)
        at = chance.randrange(len(made) + 1)
        made[at:] = other[chance.randrange(len(other) + 1) :]
    for _ in range(chance.randrange(5)):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(5):
            case 0 if made:
                made[min(at, len(made) - 1)] ^= 1 << chance.randrange(8)
            case 1:
                made[at : at + chance.randrange(9)] = b""
            case 2:
                made[at:at] = chance.randbytes(chance.randrange(1, 5))
            case 3:
                made[at:at] = chance.choice(TOKENS)
            case _:
                made[at:at] = made[at : at + chance.randrange(1, 60)]
    return bytes(made[:8_192])


def run(name: str, count: int) -> None:
    target = TARGETS[name]
    chance = random.Random(name)  # noqa: S311 - the same in every run
    for seed in target.seeds:
        target.run(seed)
    for _ in range(count):
        target.run(mutated(chance, list(target.seeds)))


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_documented_refusals(name: str) -> None:
    run(name, EACH[name])


def raises(inner: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with a bug that one input in many meets."""

    def outer(*arguments: Any, **more: Any) -> Any:
        [data, *_] = [one for one in arguments if isinstance(one, (bytes, str))]
        if len(data) % 23 == 7:
            raise KeyError(len(data))
        return inner(*arguments, **more)

    return outer


def unlucky(*arguments: Any, **more: Any) -> None:
    raise KeyError(arguments, more)


PLANTED: Final[dict[str, tuple[Any, str, Any]]] = {
    "assembler": (websocket, "_is_utf8", lambda message: True),  # noqa: ARG005 - the bug
    "decoder": (codec, "decode_client", raises(codec.decode_client)),
    "contents": (strict_map, "MAX_DEPTH", 1),
    "ratchet": (session, "parse", raises(session.parse)),
    "suite2": (head, "parse", raises(head.parse)),
    "relay": (PresenceNotices, "notice", unlucky),
    "handshake": (http, "read_request", raises(http.read_request)),
    "link": (codec, "decode_relay", raises(codec.decode_relay)),
}


@pytest.mark.parametrize("name", TARGETS)
def test_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch, faults: Faults) -> None:
    """The control."""
    module, function, bug = PLANTED[name]
    monkeypatch.setattr(module, function, bug)
    with pytest.raises((AssertionError, KeyError)):
        run(name, EACH[name])
    faults.take()  # the relay notices it too
