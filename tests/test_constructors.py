"""Parts of the client hold the parts that they need, and return what is to be done: nobody gives them a function."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

CLIENT: Final = Path(__file__).parents[1] / "src/phantom_messenger/client"

OUTSIDE: Final = {"random", "moment", "wall", "monotonic", "since_boot"}
"""Clocks and randomness: what is no part of a client, and is another in each simulation."""

FOR_APPLICATIONS: Final = {
    "Messenger.notify",  # wakes whoever connects it, if anybody does
    "Message.mark_read",  # what an application holds, and by which it asks the client for something
    "Message.send",
    "Conversation.find",
    "PersonConversation.find",
    "Reader.finds",  # one reader looks in several places, and for one sender or group in each
    "Found.handled",
}


def words(node: ast.AST) -> set[str]:
    """All names in it."""
    return {one.id if isinstance(one, ast.Name) else getattr(one, "attr", "") for one in ast.walk(node)}


def functions(trees: Iterable[ast.Module]) -> set[str]:
    """What types of functions are called."""
    found = {"Callable"}
    for statement in (one for tree in trees for one in tree.body):
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() | ast.BinOp() as value):
                found |= {name} if words(value) & found else set()
            case ast.ClassDef(name=name, body=body):
                methods = [one.name for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
                found |= {name} if methods == ["__call__"] else set()
            case _:
                pass
    return found


def given(one: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """What is given to a class when it is made, or set from outside later: names and types."""
    for member in one.body:
        match member:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                yield name, annotation
            case ast.FunctionDef(name="__init__", args=arguments):
                for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
                    if argument.annotation is not None:
                        yield argument.arg, argument.annotation
                for inner in ast.walk(member):
                    match inner:
                        case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=annotation) if name[0] != "_":
                            yield name, annotation
                        case _:
                            pass
            case _:
                pass


def callbacks(*code: str) -> set[str]:
    """The functions that are given to classes, as 'Class.name'; without those of clocks and randomness."""
    trees = [ast.parse(one) for one in code]
    types = functions(trees)
    classes = [one for tree in trees for one in ast.walk(tree) if isinstance(one, ast.ClassDef)]
    return {
        f"{one.name}.{name}"
        for one in classes
        for name, annotation in given(one)
        if words(annotation) & types and name not in OUTSIDE
    }


def test_no_part_of_the_client_is_given_a_function() -> None:
    assert callbacks(*(path.read_text() for path in sorted(CLIENT.rglob("*.py")))) == FOR_APPLICATIONS


@pytest.mark.parametrize(
    "code",
    [
        "class Part:\n    def __init__(self, tell: Callable[[str], None]) -> None: ...",
        "class Part:\n    def __init__(self, *, tell: Callable[[], str] | None = None) -> None: ...",
        "class Part:\n    def __init__(self) -> None:\n        self.tell: Callable[[], None] | None = None",
        "@dataclass\nclass Part:\n    tell: collections.abc.Callable[[], None]",
        "Tell = Callable[[], None]\n\nclass Part:\n    def __init__(self, tell: list[Tell]) -> None: ...",
        "class Tells(Protocol):\n    def __call__(self) -> None: ...\n\n"
        "class Part:\n    def __init__(self, tell: Tells) -> None: ...",
    ],
    ids=["argument", "optional", "attribute", "field", "alias", "protocol"],
)
def test_control_part_that_is_given_a_function_is_found(code: str) -> None:
    assert callbacks(code) == {"Part.tell"}
