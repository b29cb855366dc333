"""docs/cli.md knows every command, option and setting of ``phantom``, and no others."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from phantom_messenger import client
from phantom_messenger.cli.main import phantom

SDK = Path(client.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs/cli.md").read_text()


def commands(group: click.Group, path: str = "phantom") -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, with its whole name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield f"{path} {name}", found
        if isinstance(found, click.Group):
            yield from commands(found, f"{path} {name}")


def options(command: click.Command) -> set[str]:
    return {
        option
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in parameter.opts
        if option.startswith("--")
    }


def missing_commands(page: str) -> list[str]:
    leaves = [path for path, command in commands(phantom) if not isinstance(command, click.Group)]
    return [path for path in leaves if not re.search(rf"`{path}\b", page)]


def missing_options(page: str) -> set[str]:
    return {
        f"{path} {option}"
        for path, command in commands(phantom)
        for option in options(command)
        if path != "phantom serve" and not re.search(rf"{option}(?![\w-])", page)
    }


def unknown_options(page: str) -> set[str]:
    known = {option for _, command in commands(phantom) for option in options(command)} | {"--help", "--version"}
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", page)) - known


def test_every_command_and_option_stands_in_the_document() -> None:
    assert missing_commands(PAGE) == []
    assert missing_options(PAGE) == set()


def test_every_option_in_the_document_is_one() -> None:
    assert unknown_options(PAGE) == set()


def test_control_what_is_left_out_or_made_up_is_noticed() -> None:
    page = PAGE.replace("`phantom history", "`phantom past").replace("--classical", "--quantum")
    assert missing_commands(page) == ["phantom history"]
    assert missing_options(page) == {"phantom contacts accept --classical"}
    assert unknown_options(page) == {"--quantum"}


def test_every_warning_code_stands_in_the_document() -> None:
    source = (SDK / "notices.py").read_text()
    words = set(re.findall(r'_warning\(\s*(?:peer|None),\s*"([a-z-]+)"', source))
    words |= set(re.findall(r'\bcode, what = "([a-z]+)"', source))
    words |= {word for pair in re.findall(r'"([a-z]+)" if had_kem else "([a-z]+)"', source) for word in pair}
    assert len(words) >= 15
    assert {word for word in words - {""} if f"`{word}`" not in PAGE} == set()
