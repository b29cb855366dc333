"""``group-clients.json``, a second time: a client that knows the documents alone comes to know the same."""

import copy
from collections.abc import Callable
from typing import Final

import pytest
from test_vectors_clients import scenes_of
from vector_group_client import Json, SecondClient, text
from vector_reference2 import Rejected

SCENES: Final = scenes_of("group-clients.json")
PARTS: Final = [(scene, client["name"]) for scene, listed in SCENES.items() for client in listed["clients"]]


def play(scene: Json, name: str) -> SecondClient:
    """Live through all of a client's part, and compare what is known after each step."""
    [user_id] = [one["user_id"] for one in scene["clients"] if one["name"] == name]
    client, stored = SecondClient(user_id), dict[tuple[str, str], Json | None]()
    for step in (one for one in scene["steps"] if one["client"] == name):
        client.step(step)
        for change in step["expect"].get("stores", []):
            stored[change["about"], change["id"]] = change["now"]
        compare(client, {place: now for place, now in stored.items() if now is not None})
    return client


def compare(client: SecondClient, stored: dict[tuple[str, str], Json]) -> None:
    groups = {text(group): known.facts() for group, known in client.groups.items()}
    numbers = {sender: count for known in client.groups.values() for sender, count in known.numbers.items()}
    assert groups == {name: now for (about, name), now in stored.items() if about == "group"}
    assert numbers == {name: now for (about, name), now in stored.items() if about == "group-numbers"}
    texts = {name: now for (about, name), now in stored.items() if about == "group-text"}
    assert texts.keys() == client.texts.keys()
    for name, now in texts.items():
        expected = client.texts[name]
        assert (now["from"], now["text"] or expected["text"]) == (expected["from"], expected["text"])


@pytest.mark.parametrize(("scene", "client"), PARTS)
def test_second_client_comes_to_know_what_is_listed(scene: str, client: str) -> None:
    played = play(SCENES[scene], client)
    assert played.read >= 3
    assert played.made >= 3


def test_scenes_show_what_groups_are_about() -> None:
    """All that a second implementation must know is there."""
    steps = [step for scene in SCENES.values() for step in scene["steps"]]
    facts = [change["now"] for step in steps for change in step["expect"].get("stores", []) if change["now"]]
    relations = {now["relation"] for now in facts if "relation" in now}
    assert relations == {"invited", "member", "left", "removed", "closed"}
    assert any(now.get("doubt") == "forked" for now in facts)
    assert any(now.get("missing") for now in facts)
    kinds = {one.get("content", {}).get("kind") for step in steps for one in step["expect"].get("sends", [])}
    assert kinds >= {f"group-{what}" for what in ("change", "changes", "text", "hello", "receipt", "ask", "leave")}


# --- controls ---------------------------------------------------------------------------


def another_head(step: Json) -> None:
    step["expect"]["stores"][0]["now"]["head"] = "00" * 32


def another_message(step: Json) -> None:
    at = step["text"].index('"encrypted":"') + 2_000
    step["text"] = step["text"][:at] + ("A" if step["text"][at] != "A" else "B") + step["text"][at + 1 :]


def another_content(step: Json) -> None:
    step["expect"]["sends"][-1]["content"]["n"] = 7


@pytest.mark.parametrize(
    ("client", "is_it", "spoil"),
    [
        ("bob", lambda step: any(one["about"] == "group" for one in step["expect"].get("stores", [])), another_head),
        ("bob", lambda step: '"type":"MESSAGE"' in step.get("text", ""), another_message),
        ("alice", lambda step: step["do"] == "group-write", another_content),
    ],
    ids=["head", "message", "content"],
)
def test_control_what_is_listed_otherwise_goes_red(
    client: str, is_it: Callable[[Json], bool], spoil: Callable[[Json], None]
) -> None:
    scene = copy.deepcopy(SCENES["group-greetings"])
    spoil(next(step for step in scene["steps"] if step["client"] == client and is_it(step)))
    with pytest.raises((AssertionError, Rejected)):
        play(scene, client)
