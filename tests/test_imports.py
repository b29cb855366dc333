"""Each module of the relay is named where ``pyproject.toml`` says what it may import, or who may import it."""

import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
RELAY: Final = "phantom_messenger.relay."

KNOWN_TO_ENGINES: Final = {
    f"{RELAY}{name}"
    for name in (
        "command",
        "commands",
        "many_commands",
        "permissions",
        "ports",
        "receipts",
        "records",
        "upkeep_commands",
    )
}


def contract(name: str) -> dict[str, Any]:
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [found] = [one for one in configured if one["name"] == name]
    return dict(found)


CORE: Final = contract("the relay's core names no engine, no I/O library and no clock")["source_modules"]
CARRIERS: Final = contract("the relay's core does not know what carries it")["forbidden_modules"]
HIDDEN_FROM_ENGINES: Final = contract("engines know only the commands and ports of the relay")["forbidden_modules"]


def modules(folder: Path) -> set[str]:
    """The modules of the relay's package, and its packages."""
    names = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return {f"{RELAY}{name}" for name in names - {"__init__"}}


def unlisted(found: set[str], *lists: list[str] | set[str]) -> set[str]:
    """The modules that are not in exactly one of the lists, and what the lists name in vain."""
    named = [name for names in lists for name in names]
    return {name for name in found | set(named) if named.count(name) != 1 or name not in found}


def test_module_of_the_relay_is_of_its_core_or_carries_it() -> None:
    assert unlisted(modules(ROOT / "src/phantom_messenger/relay"), CORE, CARRIERS) == set()


def test_module_of_the_relay_is_known_to_engines_or_hidden_from_them() -> None:
    found = modules(ROOT / "src/phantom_messenger/relay")
    assert unlisted(found, HIDDEN_FROM_ENGINES, KNOWN_TO_ENGINES) == set()


def test_control_module_that_no_list_names_is_seen(tmp_path: Path) -> None:
    for name in (*CORE, *CARRIERS, f"{RELAY}forgotten"):
        (tmp_path / name.removeprefix(RELAY)).with_suffix(".py").touch()
    assert unlisted(modules(tmp_path), CORE, CARRIERS) == {f"{RELAY}forgotten"}
    (tmp_path / "forgotten.py").unlink()
    (tmp_path / "relay.py").unlink()
    assert unlisted(modules(tmp_path), CORE, CARRIERS) == {f"{RELAY}relay"}
    assert unlisted({f"{RELAY}hub"}, [f"{RELAY}hub"], [f"{RELAY}hub"]) == {f"{RELAY}hub"}
