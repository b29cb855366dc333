"""Each client of ``clients.json`` sends, stores and tells what is listed, given what is listed and nothing else."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from client_replay import Part
from client_samples import fast_folder
from vector_replay import Json, vectors

from phantom_messenger.client import outbox, receipts
from phantom_messenger.client.outbox import Outbox
from phantom_messenger.client.status import DeliveryState

SCENES: Final[dict[str, Json]] = {scene["name"]: scene for scene in vectors("clients.json")["scenes"]}
PARTS: Final = [(scene, client["name"]) for scene, listed in SCENES.items() for client in listed["clients"]]


def play(steps: list[Json], client: str, usual: Path) -> None:
    with fast_folder(usual) as folder:
        Part(steps, client, folder / "played.vault").play()


@pytest.mark.parametrize(("scene", "client"), PARTS)
def test_client_does_what_is_listed(scene: str, client: str, tmp_path: Path) -> None:
    play(SCENES[scene]["steps"], client, tmp_path)


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
        play(steps, step["client"], tmp_path)


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


def test_control_client_that_tells_nothing_goes_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts.Receipts, "senders", lambda _: [])
    with pytest.raises(AssertionError):
        play(SCENES["first-contact"]["steps"], "bob", tmp_path)
