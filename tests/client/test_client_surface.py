"""What the package has at its top, and that docs/sdk.md describes all of it."""

import inspect
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import phantom_messenger
from phantom_messenger import Client, Contacts, Conversation, Delivery, DeliveryState, Message
from phantom_messenger.client import errors, status

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/sdk.md").read_text()
MAKER = ROOT / "scripts/make-sdk-page"
SOURCES = ROOT / "src"
MEANT = {
    Contacts: {"everybody", "find", "of", "add", "replace", "remove", "accept", "safety_number", "set_trust"},
    Delivery: {"wait"},
    Message: {"reply", "mark_read"},
}
"""What these have for applications; the rest is for the SDK."""

SOURCE = Path(phantom_messenger.__file__).read_text()


def public(one: type) -> set[str]:
    return {name for name in dir(one) if not name.startswith("_")}


def test_every_name_of_the_top_is_there_and_listed() -> None:
    names = set(phantom_messenger.__all__)
    assert names == set(dir(phantom_messenger))
    for name in names:
        assert getattr(phantom_messenger, name) is not None
    checked = set(re.findall(r"\b\w+\b", " ".join(re.findall(r"import \(?([\w\s,]+)", SOURCE.partition("_PLACES")[0]))))
    assert names - {"__version__"} <= checked  # what type checkers see
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = phantom_messenger.nothing
    with pytest.raises(AttributeError, match="'TroubleEvent'; it is called WarningEvent now"):
        _ = phantom_messenger.TroubleEvent


def test_every_error_and_event_is_at_the_top() -> None:
    tree = {
        name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, errors.PhantomError)
    }
    events = {one.__name__ for one in status.Event.__args__}
    assert tree | events <= set(phantom_messenger.__all__)


def test_every_name_of_the_top_stands_in_the_page() -> None:
    names = set(phantom_messenger.__all__) - {"__version__"}
    assert {name for name in names if not re.search(rf"\b{name}\b", PAGE)} == set()


def test_page_is_made_of_the_docstrings() -> None:
    made = subprocess.run([sys.executable, MAKER, "--check"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def test_control_docstring_that_has_changed_is_noticed(tmp_path: Path) -> None:
    copy = tmp_path / "scripts" / MAKER.name
    for folder in ("scripts", "docs"):
        (tmp_path / folder).mkdir()
    shutil.copytree(SOURCES, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    copy.write_text(MAKER.read_text())
    (tmp_path / "docs/sdk.md").write_text(PAGE)
    client = tmp_path / "src/phantom_messenger/client/client.py"
    for text, code in ((client.read_text(), 0), (client.read_text().replace("Send a message;", "Post a message;"), 1)):
        client.write_text(text)
        made = subprocess.run([sys.executable, copy, "--check"], capture_output=True, text=True, check=False)
        assert made.returncode == code, made.stderr


def test_every_type_that_a_method_takes_or_returns_is_at_the_top() -> None:
    of_others = {"AsyncIterator", "Path", "None", "NoneType", "Self", "Sequence"}
    found: set[str] = set()
    for kind in (Client, Contacts, Conversation, Delivery, Message):
        for method in MEANT.get(kind, public(kind)):
            one = inspect.getattr_static(kind, method)
            function = inspect.unwrap(getattr(one, "__func__", getattr(one, "fget", one)))
            shown = " ".join(str(annotation) for annotation in typing.get_type_hints(function).values())
            found |= set(re.findall(r"\b[A-Z]\w+", re.sub(r"[\w.]+\.(?=[A-Z])", "", shown)))
    assert found - of_others <= set(phantom_messenger.__all__)
    assert {"BackupSummary", "Contact", "Contacts", "Delivery", "HistoryEntry", "Settings"} <= found


def test_relay_loads_nothing_of_the_sdk() -> None:
    program = "import sys, phantom_messenger; print([name for name in sys.modules if 'messenger.client' in name])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


@pytest.mark.parametrize("state", list(DeliveryState))
def test_state_prints_as_its_word_and_compares_as_a_number(state: DeliveryState) -> None:
    assert str(state) == f"{state}" == state.name.lower()
    assert int(state) == state.value


def test_both_ways_to_open_a_profile_take_the_same() -> None:
    assert inspect.signature(Client.open_async) == inspect.signature(Client.open)
