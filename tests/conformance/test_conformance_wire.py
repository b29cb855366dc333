"""The kit's own reading of the wire: it agrees with the vectors, and nothing that a relay sends confuses it."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phantom_messenger.conformance import shapes, wire

VECTORS: Final = Path(__file__).parents[2] / "protocol/vectors"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def is_plain(text: str) -> bool:
    """Whether there are no numbers in it but integers: the kit writes no others."""
    return wire.canonical(json.loads(text)) == text.encode()


def test_frames_of_the_vectors_verify() -> None:
    cases = vectors("canonical.json")["frames"]
    forwarded = [case for case in cases if case["expect"]["passed_on"] and is_plain(case["expect"]["canonical"])]
    assert len(forwarded) >= 3
    for case in forwarded:
        frame, public = json.loads(case["expect"]["passed_on"]["text"]), bytes.fromhex(case["public"])
        assert wire.verifies(public, frame)
        assert not wire.verifies(public, {**frame, "timestamp": frame["timestamp"] + 1})
        assert not wire.verifies(bytes(32), frame)


def test_ids_of_the_vectors_are_made() -> None:
    for case in vectors("user-ids.json")["identities"]:
        identity = wire.Identity(seed=bytes.fromhex(case["seed"]))
        assert identity.id == case["expect"]["user_id_base64"]


JSON: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(sorted(shapes.REASONS)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "details", "reason", "status"]), inner)
    ),
    max_leaves=8,
)


@given(
    kind=st.sampled_from([*shapes.PAYLOADS, "NEWS", "", 1]),
    payload=JSON
    | st.dictionaries(st.sampled_from(sorted({m for part in shapes.PAYLOADS.values() for m in part})), JSON),
    more=st.dictionaries(st.sampled_from(["id", "seq", "signature", "timestamp"]), JSON),
    takes_loose=st.booleans(),
)
def test_whatever_a_relay_sends_is_a_frame_or_a_problem(
    kind: object, payload: object, more: dict[str, object], *, takes_loose: bool
) -> None:
    text = json.dumps({"type": kind, "payload": payload, **more}).encode()
    frame, problem = shapes.read(text, takes_loose=takes_loose)
    assert not (frame and problem)
    assert bool(frame) or bool(problem) or kind in {"NEWS", ""}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"type":"\\ud800"}',
        b'{"type":"PONG","payload":null,"timestamp":1}',
        b"NaN",
    ],
)
def test_what_is_no_frame_is_a_problem_or_nothing(text: bytes) -> None:
    frame, problem = shapes.read(text)
    assert frame == {}
    assert problem
