"""What the package shows at its top, and that docs/sdk.md tells of all of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import phantom_messenger
from phantom_messenger import Client, DeliveryState
from phantom_messenger.client import errors, status
from phantom_messenger.client.contacts import Contacts

PAGE = (Path(__file__).parents[2] / "docs/sdk.md").read_text()
SOURCE = Path(phantom_messenger.__file__).read_text()


def public(one: type) -> set[str]:
    return {name for name in vars(one) if not name.startswith("_")}


def test_every_name_of_the_top_is_there_and_listed() -> None:
    names = set(phantom_messenger.__all__)
    assert names == set(dir(phantom_messenger))
    for name in names:
        assert getattr(phantom_messenger, name) is not None
    checked = set(re.findall(r"\b\w+\b", " ".join(re.findall(r"import \(?([\w\s,]+)", SOURCE.partition("_PLACES")[0]))))
    assert names - {"__version__"} <= checked  # what type checkers see
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = phantom_messenger.nothing


def test_every_error_and_event_is_at_the_top() -> None:
    tree = {
        name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, errors.PhantomError)
    }
    events = {one.__name__ for one in status.Event.__args__}
    assert tree | events <= set(phantom_messenger.__all__)


@pytest.mark.parametrize("name", sorted(set(phantom_messenger.__all__) - {"__version__"}))
def test_every_name_of_the_top_stands_in_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE or f"`{name}." in PAGE


def test_every_method_stands_in_the_page() -> None:
    inner = {"can_be", "may_tell", "ungreeted", "greeted", "is_blocked", "note_blocked", "forget"}
    missing = {name for name in public(Client) if not re.search(rf"`(Client\.)?{name}[`(]|\b{name}`", PAGE)}
    assert missing == set()
    listed = {name for name in public(Contacts) if f"`{name}`" in PAGE}
    assert {"add", "remove", "replace", "find", "everybody"} <= listed
    assert listed.isdisjoint(inner)


def test_relay_loads_nothing_of_the_sdk() -> None:
    program = "import sys, phantom_messenger; print([name for name in sys.modules if 'messenger.client' in name])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


@pytest.mark.parametrize("state", list(DeliveryState))
def test_state_prints_as_its_word_and_compares_as_a_number(state: DeliveryState) -> None:
    assert str(state) == f"{state}" == state.name.lower()
    assert int(state) == state.value
