"""Exit codes follow one rule, which docs/cli.md states: 2 for what cannot be done as it was asked for, 1 for the rest.

Every class of errors that a command can end with, and every code that one names itself, stands in a table here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from phantom_messenger import cli
from phantom_messenger.cli.common import reports_errors
from phantom_messenger.cli.devices import NotLinked
from phantom_messenger.cli.joining import LinkRefused
from phantom_messenger.client.errors import PhantomError

FOLDER = Path(cli.__file__).parent

OF_CALL = {
    "UsageError",
    "InvalidUserId",
    "UnknownContact",
    "ContactExists",
    "MessageTooLong",
    "KeyChanged",
}
"""Whoever asks again in the same way is refused in the same way."""

OF_THE_REST = {
    "PhantomError",
    "NoKeyYet",
    "ClientClosed",
    "VaultError",
    "PassphraseNeeded",
    "WrongPassphrase",
    "VaultInUse",
    "VaultDamaged",
    "VaultFull",
    "NoProfile",
    "ProfileExists",
    "BackupError",
    "RelayError",
    "RelayUnreachable",
    "RelayBusy",
    "LoginRefused",
    "Replaced",
    "DeliveryFailed",
    "NotLinked",
    "LinkRefused",
}

OF_CLICK = {"UsageError": 2, "BadParameter": 2, "ClickException": 1, "Abort": 1}
"""Of what click calls by the same name, the codes are the same."""

NAMED = {
    ("bench.py", "1"),
    ("bench.py", "128 + signal.SIGTERM"),
    ("bench.py", "0 if done else 1"),
    ("common.py", "2 if is_of_call(error) else 1"),
    ("common.py", "128 + signal.SIGTERM"),
    ("common.py", "code"),
    ("conformance.py", "1 if isinstance(stopped, KeyboardInterrupt) else 128 + signal.SIGTERM"),
    ("conformance.py", "0 if score.is_passed else 1"),
    ("main.py", "error.exit_code"),
    ("main.py", "1"),
    ("main.py", "code if isinstance(code, int) else 0"),
    ("main.py", "128 + signal.SIGTERM"),
    ("serve.py", "2"),
    ("serve.py", "2 if isinstance(error, StoreUnusable) else 1"),
    ("store.py", "2 if isinstance(error, StoreUnusable) else 1"),
    ("store.py", "1"),
    ("web.py", "0 if is_same else 1"),
}
"""What commands end with by themselves: a judgement, a signal, or a store that has to be another one."""


CAUGHT = {"ValueError", "step"}
"""What does not end a command by itself: something caught nearby, and a variable that holds an error of these."""


def statements(folder: Path) -> Iterator[tuple[str, ast.AST]]:
    for path in folder.glob("*.py"):
        yield from ((path.name, node) for node in ast.walk(ast.parse(path.read_text())))


def raised(folder: Path) -> set[str]:
    """The names of everything that is raised there."""
    found = [node.exc for _, node in statements(folder) if isinstance(node, ast.Raise) and node.exc is not None]
    names = [one.func if isinstance(one, ast.Call) else one for one in found]
    return {ast.unparse(name).removeprefix("click.") for name in names if isinstance(name, ast.Name | ast.Attribute)}


def named(folder: Path) -> set[tuple[str, str]]:
    """Every code with which a command ends by itself, and where."""
    return {
        (file, ast.unparse(node.args[0]))
        for file, node in statements(folder)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit"
    }


def errors_below(kind: type[PhantomError]) -> Iterator[type[PhantomError]]:
    """An error of the project, and all that are made from it."""
    if kind.__module__.startswith("phantom_messenger."):
        yield kind
    for one in kind.__subclasses__():
        yield from errors_below(one)


KINDS = {kind.__name__: kind for kind in errors_below(PhantomError)}


def code_of(kind: type[PhantomError]) -> object:
    @reports_errors
    def command() -> None:
        raise kind("a sentence")

    with pytest.raises(SystemExit) as ended:
        command()
    return ended.value.code


def test_tables_name_every_error() -> None:
    assert {NotLinked.__name__, LinkRefused.__name__} <= set(KINDS)
    assert set(KINDS) == OF_CALL | OF_THE_REST
    assert raised(FOLDER) <= set(KINDS) | set(OF_CLICK) | CAUGHT
    assert named(FOLDER) == NAMED


@pytest.mark.parametrize("name", sorted(OF_CALL))
def test_what_cannot_be_done_as_it_was_asked_for_ends_with_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(KINDS[name]) == 2
    assert capsys.readouterr() == ("", "phantom: a sentence\n")


@pytest.mark.parametrize("name", sorted(OF_THE_REST))
def test_everything_else_ends_with_1(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(KINDS[name]) == 1
    assert capsys.readouterr() == ("", "phantom: a sentence\n")


def test_errors_of_the_parser_have_the_same_codes() -> None:
    kinds = [click.UsageError("x"), click.BadParameter("x"), click.ClickException("x")]
    assert [(type(kind).__name__, kind.exit_code) for kind in kinds] == list(OF_CLICK.items())[:3]


def test_control_an_error_or_a_code_that_is_new_is_noticed(tmp_path: Path) -> None:
    source = "import sys\ndef x():\n    raise KeyError('x')\n    sys.exit(3)\n"
    (tmp_path / "new.py").write_text(source)
    assert raised(tmp_path) == {"KeyError"}
    assert named(tmp_path) == {("new.py", "3")}
