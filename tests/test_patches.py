"""What tests patch is there: a control whose patch names nothing would take no protection away."""

import ast
import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

HERE: Final = Path(__file__).parent
OURS: Final = "phantom_messenger"
Names = dict[str, Any]


def imported(nodes: Iterable[ast.AST]) -> Names:
    """What the imports of ours in this code give their names to."""
    found: Names = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OURS):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                if name.name == "*":
                    continue
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
                found[name.asname or name.name] = getattr(module, name.name)
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith(OURS):
                    module = importlib.import_module(name.name)
                    found[name.asname or OURS] = module if name.asname else importlib.import_module(OURS)
    return found


def value_of(node: ast.expr, names: Names) -> Any:
    """What an expression like ``module.Class`` stands for; None if it is not of ours."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(value_of(node.value, names), node.attr, None)
    return None


def named(node: ast.AST, names: Names) -> tuple[Any, str] | None:
    """The object and attribute that a statement patches or a patch assigns to."""
    match node:
        case ast.Call(func=ast.Attribute(attr="setattr"), args=[ast.Constant(value=str(path)), *_]) if "." in path:
            module, _, name = path.rpartition(".")
            return (pkgutil.resolve_name(module), name) if module.startswith(OURS) else None
        case ast.Call(func=ast.Attribute(attr="setattr"), args=[target, ast.Constant(value=str(name)), *_]):
            return value_of(target, names), name
        case ast.Attribute(value=value, attr=name, ctx=ast.Store()):
            return value_of(value, names), name
    return None


def is_missing(target: Any, name: str) -> bool:
    """Whether something of ours has no such attribute."""
    origin = target.__name__ if isinstance(target, ModuleType) else getattr(target, "__module__", None)
    return str(origin).startswith(OURS) and name not in {*dir(target), *getattr(target, "__annotations__", {})}


def missing(code: str) -> Iterator[str]:
    """What test code patches, and what the programs in its texts assign, though it is not there."""
    nodes = [*ast.walk(ast.parse(code))]
    try:
        names = imported(nodes)
    except ImportError as error:
        yield str(error)
        return
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and f"from {OURS}" in node.value:
            with suppress(SyntaxError):  # a text about code, or a part of one
                yield from missing(node.value)
        elif (found := named(node, names)) is not None and is_missing(*found):
            yield ast.unparse(node)[:80]


def test_all_that_is_patched_is_there() -> None:
    files = set(HERE.rglob("*.py")) - {Path(__file__)}
    found = {str(path.relative_to(HERE)): list(missing(path.read_text())) for path in files}
    assert {path: patches for path, patches in found.items() if patches} == {}


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("from phantom_messenger.wire import codec\nmonkeypatch.setattr(codec, 'decode_nobody', None)", 1),
        ("from phantom_messenger.client import Client\nClient.snd = None", 1),
        ("monkeypatch.setattr('phantom_messenger.wire.codec.nothing', 1)", 1),
        ("PATCH = 'from phantom_messenger.wire import codec\\ncodec.nothing = 1'", 1),
        ("from phantom_messenger.wire import codec\ncodec.encode = None\ntext = 'see from phantom_messenger'", 0),
    ],
)
def test_control_patch_of_nothing_is_found(code: str, count: int) -> None:
    assert len(list(missing(code))) == count
