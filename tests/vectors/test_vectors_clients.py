"""Each client of ``clients.json`` sends, stores and tells what is listed, given what is listed and nothing else."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from client_replay import Part
from client_samples import DAY, fast_folder
from vector_replay import Json, vectors

from phantom_messenger.client import outbox, receipts, records
from phantom_messenger.client.outbox import Outbox
from phantom_messenger.client.records import Strength
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto.bundle import DatedBundle

SUITES: Final = {"clients.json": 1, "suite2-clients.json": 2, "group-clients.json": 2, "device-clients.json": 2}
"""The greatest suite that the clients of a file know."""

KNOW_MANY: Final = {"group-clients.json", "device-clients.json"}
KNOW_DEVICES: Final = {"device-clients.json"}
"""Whose clients know how to write to many, and lists of devices."""

REFUSALS: Final = {
    "classical",
    "downgrade",
    "key-exchange",
    "misdirected",
    "newer",
    "older",
    "stale-keys",
    "unreadable",
    "waiting",
}
"""What a client tells its user of what it does not take."""


def scenes_of(file: str) -> dict[str, Json]:
    """The scenes of a file, each with all of its steps and the suite of its clients."""
    found: dict[str, Json] = {}
    for scene in vectors(file)["scenes"]:
        before = found[scene["after"]]["steps"] if "after" in scene else []
        found[scene["name"]] = {**scene, "steps": [*before, *scene["steps"]], "suite": SUITES[file]}
        found[scene["name"]] |= {"many": file in KNOW_MANY, "devices": file in KNOW_DEVICES}
    return found


SCENES: Final = {name: scene for file in SUITES for name, scene in scenes_of(file).items()}
PARTS: Final = [(scene, client["name"]) for scene, listed in SCENES.items() for client in listed["clients"]]


def play(
    steps: list[Json], client: str, usual: Path, *, suite: int = 1, many: bool = False, devices: bool = False
) -> None:
    with fast_folder(usual) as folder:
        Part(steps, client, folder / "played.vault", suite=suite, many=many, devices=devices).play()


def knows(scene: str) -> dict[str, Any]:
    """What the clients of a scene know."""
    return {name: SCENES[scene][name] for name in ("suite", "many", "devices")}


def test_suite_2_is_refused_as_often_as_it_is_read() -> None:
    good = refused = 0
    for step in (step for scene in vectors("suite2-clients.json")["scenes"] for step in scene["steps"]):
        if step["do"] == "receive" and json.loads(step["text"])["type"] in {"MESSAGE", "KEY_EXCHANGE_RESPONSE"}:
            is_refused = any(told.get("word") in REFUSALS for told in step["expect"].get("tells", []))
            good, refused = good + (not is_refused), refused + is_refused
    assert refused >= good >= 30


@pytest.mark.parametrize(("scene", "client"), PARTS)
def test_client_does_what_is_listed(scene: str, client: str, tmp_path: Path) -> None:
    play(SCENES[scene]["steps"], client, tmp_path, **knows(scene))


def places(steps: list[Json], member: str) -> list[int]:
    return [index for index, step in enumerate(steps) if step["expect"].get(member)]


def without_last_frame(expect: Json) -> None:
    expect["sends"].pop()


def with_another_fact(expect: Json) -> None:
    expect["stores"].append({"about": "sent", "id": "another", "now": None})


def without_last_word(expect: Json) -> None:
    expect["tells"].pop()


@pytest.mark.parametrize(
    ("member", "spoil"),
    [("sends", without_last_frame), ("stores", with_another_fact), ("tells", without_last_word)],
)
@pytest.mark.parametrize("scene", SCENES)
def test_control_another_expectation_goes_red(
    scene: str, member: str, spoil: Callable[[Json], None], tmp_path: Path
) -> None:
    steps = copy.deepcopy(SCENES[scene]["steps"])
    step = steps[places(steps, member)[-1]]
    spoil(step["expect"])
    with pytest.raises(AssertionError):
        play(steps, step["client"], tmp_path, **knows(scene))


def test_control_client_in_which_accepted_overwrites_read_goes_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_RANK", {**outbox._RANK, DeliveryState.ACCEPTED: 9})
    with pytest.raises(AssertionError):
        play(SCENES["accepted-late"]["steps"], "alice", tmp_path)


def test_control_client_that_asks_for_nothing_goes_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any) -> list[str]:
        return []

    monkeypatch.setattr("phantom_messenger.client.recovery.Recovery.due", nothing)
    with pytest.raises(AssertionError):
        play(SCENES["healing"]["steps"], "bob", tmp_path)


def test_control_client_that_sends_nothing_again_goes_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outbox, "resend", lambda *_: 0)
    with pytest.raises(AssertionError):
        play(SCENES["healing"]["steps"], "alice", tmp_path)


@pytest.mark.parametrize(
    ("part", "target", "value"),
    [
        (("newer", "bob"), "phantom_messenger.client.content2.KINDS", {}),
        (("newer", "bob"), "phantom_messenger.client.content2.VERSION", 3),
        (("contents", "bob"), "phantom_messenger.client.strict_map.MAX_DEPTH", 9),
        (("forged-beginnings", "bob"), "phantom_messenger.client.conversations._check_certified", lambda *_: None),
        (("bundles", "alice"), "phantom_messenger.crypto.bundle.MAX_BUNDLE_AGE_MS", 92 * DAY),
        (("bundles", "alice"), "phantom_messenger.crypto.bundle.MAX_BUNDLE_AHEAD_MS", 3 * DAY),
        (("kem-steps", "alice"), "phantom_messenger.crypto.ratchet2.OFFER_AFTER_MS", 30 * DAY),
        (("fallen", "alice"), "phantom_messenger.client.records.ContactRecord.floor", Strength.SUITE_1),
        (("upgraded", "alice"), "phantom_messenger.client.records.ContactRecord.may_learn", lambda *_: False),
    ],
    ids=lambda value: value.rpartition(".")[2] if isinstance(value, str) else "",
)
def test_control_client_of_suite_2_that_differs_goes_red(
    part: tuple[str, str], target: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, client = part
    monkeypatch.setattr(target, value)
    with pytest.raises(AssertionError):
        play(SCENES[f"suite2-{scene}"]["steps"], client, tmp_path, suite=2)


def test_control_client_that_forgets_handshakes_goes_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has = Vault.has
    monkeypatch.setattr(Vault, "has", lambda self, kind, name: kind != records.HANDSHAKE and has(self, kind, name))
    with pytest.raises(AssertionError):
        play(SCENES["suite2-forged-beginnings"]["steps"], "bob", tmp_path, suite=2)


def test_control_client_that_forgets_the_newest_bundle_goes_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = DatedBundle.verify
    monkeypatch.setattr(DatedBundle, "verify", lambda self, **times: verify(self, **{**times, "newest": 0}))
    with pytest.raises(AssertionError):
        play(SCENES["suite2-bundles"]["steps"], "alice", tmp_path, suite=2)


def test_control_client_that_tells_nothing_goes_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts.Receipts, "senders", lambda _: [])
    with pytest.raises(AssertionError):
        play(SCENES["first-contact"]["steps"], "bob", tmp_path)
