"""Every frozen vector is what the production code does today."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from client_samples import fast_folder
from vector_controls import spoilt
from vector_refusals import play_deliveries
from vector_replay import FOLDER, Json, Play, people, raw, vectors
from vector_small_replay import PLAYERS

from phantom_messenger.client import conversations
from phantom_messenger.crypto import handshake, ratchet
from support.cases import each

EVERYBODY: Final = people(vectors("prekeys.json"))
TRANSCRIPTS: Final = [one for name in ("ratchet.json", "ratchet-limits.json") for one in vectors(name)["transcripts"]]
DELIVERIES: Final = vectors("content.json")["conversations"]
SMALL: Final = [
    pytest.param(play, case, id=f"{file.removesuffix('.json')}-{case['name']}")
    for (file, member), play in PLAYERS.items()
    for case in vectors(file)[member]
]
EACH: Final = pytest.mark.parametrize(("play", "case"), SMALL)
LOOKED_AT: Final = ("one-message", "over-a-turn", "lost-at-end", "both-begin-bob", "aged")
"""Transcripts of which each value is spoilt; of the others each last one."""


ID: Final = re.compile("[0-9a-f]{64}|[0-9A-Za-z+/]{43}=")
"""A raw user id in hex."""


def step_of(transcript: Json, **members: Any) -> Json:
    """The first step with these members."""
    found: Json = next(one for one in transcript["steps"] if members.items() <= one.items())
    return found


# --- what there is ----------------------------------------------------------------


def test_there_are_20_transcripts_and_more() -> None:
    names = [one["name"] for one in TRANSCRIPTS]
    assert len(names) >= 20
    assert len(set(names)) == len(names)
    assert all(step["op"] != "receive" or "expect" in step for one in TRANSCRIPTS for step in one["steps"])
    assert all(any(step["op"] == "receive" for step in one["steps"]) for one in TRANSCRIPTS)


def test_transcripts_reach_the_limits() -> None:
    by_name = {one["name"]: one for one in TRANSCRIPTS}

    def counts(name: str) -> list[int]:
        return [
            step["expect"]["state"]["skipped_count"] for step in by_name[name]["steps"] if "state" in step["expect"]
        ]

    assert max(counts("jump")) == ratchet.MAX_SKIP
    assert max(counts("full")) == ratchet.MAX_SKIPPED_KEYS
    assert max(counts("full-over-chains")) == ratchet.MAX_SKIPPED_KEYS
    assert max(counts("chains")) == ratchet.MAX_RECEIVING_CHAINS
    for name in ("jump-too-far", "first-jump", "jump-over-end-too-far"):
        far = [step for step in by_name[name]["steps"] if step["op"] == "receive" and "error" in step["expect"]]
        assert len(far) == 1
    assert "error" not in json.dumps(by_name["jump-over-end"])


def test_every_file_of_vectors_is_small_and_says_what_it_is() -> None:
    files = sorted(FOLDER.glob("*.json"))
    assert {file.name for file in files} == {name for name, _ in PLAYERS} | {
        "ratchet.json",
        "ratchet-limits.json",
        "refused.json",
        "clients.json",
        "export.json",
        "suite2-handshakes.json",
        "suite2-bodies.json",
        "suite2-ratchet.json",
        "suite2-sessions.json",
        "suite2-clients.json",
        "devices.json",
        "device-sync.json",
        "groups.json",
        "group-clients.json",
        "device-clients.json",
    }
    assert sum(file.stat().st_size for file in files) < 6_000_000
    for file in files:
        listed = vectors(file.name)
        assert listed["description"]
        assert listed["format"] == 1
        assert listed["seed"] == "phantom/1 vectors, first edition"


def names_in(value: Any) -> set[str]:
    """The names of all members; where a user's id is the name of one, it is a value."""
    if isinstance(value, dict):
        names = {name for name in value if not ID.fullmatch(name)}
        return names.union(*(names_in(member) for name, member in value.items() if name != "content"))
    return set[str]().union(*map(names_in, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.name)
def test_every_field_is_explained(file: Path) -> None:
    page = (FOLDER / "README.md").read_text()
    assert [name for name in sorted(names_in(vectors(file.name)) - {""}) if f"`{name}`" not in page] == []
    assert f"`{file.name}`" in page


# --- replay -----------------------------------------------------------------------


@EACH
def test_vector_is_what_the_code_does(play: Callable[[Json], None], case: Json) -> None:
    play(case)


@each("transcript", TRANSCRIPTS, ids=lambda one: one["name"])
def test_transcript_is_what_the_code_does(transcript: Json) -> None:
    Play(EVERYBODY, transcript)


@pytest.mark.parametrize("case", DELIVERIES, ids=lambda one: one["name"])
def test_delivered_messages_are_read(case: Json, tmp_path: Path) -> None:
    with fast_folder(tmp_path) as folder:
        play_deliveries(EVERYBODY, case, folder)


# --- controls: one value of a vector is another one -------------------------------


def survivors(play: Callable[[Json], object], case: Json) -> tuple[int, list[str]]:
    """How many values were spoilt, and of which of them nothing was noticed."""
    count, unseen = 0, []
    for path, changed in spoilt(case):
        count += 1
        with suppress(Exception):  # red is red
            play(changed)
            unseen.append(".".join(map(str, path)))
    return count, unseen


@EACH
def test_control_each_value_of_a_vector_is_looked_at(play: Callable[[Json], None], case: Json) -> None:
    count, unseen = survivors(play, case)
    assert count > 0
    # A one-time prekey without an id is not used, and nothing is signed that would show another one.
    assert unseen == (["bundle.one_time_prekey"] if case["name"] == "one-time-without-id" else [])


@pytest.mark.parametrize("name", LOOKED_AT)
def test_control_each_value_of_a_transcript_is_looked_at(name: str) -> None:
    transcript = next(one for one in TRANSCRIPTS if one["name"] == name)
    count, unseen = survivors(lambda changed: Play(EVERYBODY, changed), transcript)
    assert count > 50
    assert unseen == []


@each("transcript", TRANSCRIPTS, ids=lambda one: one["name"])
def test_control_transcript_with_another_last_state_goes_red(transcript: Json) -> None:
    changed = json.loads(json.dumps(transcript))
    state = next(step["expect"]["state"] for step in reversed(changed["steps"]) if "state" in step.get("expect", {}))
    state["rk"] = (bytes([raw(state["rk"])[0] ^ 1]) + raw(state["rk"])[1:]).hex()
    with pytest.raises(AssertionError):
        Play(EVERYBODY, changed)


@each("transcript", TRANSCRIPTS, ids=lambda one: one["name"])
def test_control_transcript_with_another_outcome_goes_red(transcript: Json) -> None:
    changed = json.loads(json.dumps(transcript))
    for step in changed["steps"]:
        if step["op"] == "receive" and "error" in step["expect"]:
            step["expect"]["error"] = "InvalidMessage"
            break
    else:
        last = [step for step in changed["steps"] if step["op"] == "receive"][-1]
        last["expect"] = {"error": "UndecryptableMessage", "order": last["expect"]["order"]}
    with pytest.raises(AssertionError):
        Play(EVERYBODY, changed)


# --- controls: the code is another one --------------------------------------------


def red_transcripts() -> set[str]:
    """Which transcripts the code does not play as listed."""
    found = {one["name"] for one in TRANSCRIPTS}
    for one in TRANSCRIPTS:
        with suppress(AssertionError):
            Play(EVERYBODY, one)
            found.remove(one["name"])
    return found


@pytest.mark.parametrize(
    ("module", "name", "value", "red"),
    [
        (ratchet, "MAX_SKIP", 255, {"jump", "first-jump", "jump-over-end"}),
        (ratchet, "MAX_SKIP", 257, {"jump-too-far", "first-jump", "jump-over-end-too-far"}),
        (ratchet, "MAX_SKIPPED_KEYS", 255, {"full", "full-over-chains"}),
        (ratchet, "MAX_SKIPPED_KEYS", 257, {"full", "full-over-chains"}),
        (ratchet, "MAX_RECEIVING_CHAINS", 4, {"chains"}),
        (ratchet, "MAX_RECEIVING_CHAINS", 6, {"chains"}),
        (ratchet, "MAX_SKIPPED_AGE_MS", 30 * 86_400_000 - 1, {"aged"}),
        (ratchet, "MAX_SKIPPED_AGE_MS", 30 * 86_400_000 + 1, {"aged"}),
        (handshake, "PQXDH_INFO", b"phantom/1 X3DH X25519 SHA-256\n", {"one-message", "last-resort"}),
        (handshake, "X3DH_INFO", b"phantom/1 X3DH X25519 SHA-256", {"classical", "turns"}),
        (conversations, "_stays", lambda _, __: False, {"both-begin-bob", "newer-session-smaller"}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_control_another_limit_or_label_goes_red(
    module: ModuleType, name: str, value: object, red: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, value)
    assert red <= red_transcripts()
