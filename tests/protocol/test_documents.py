"""The documents: links lead somewhere, named files are there, and prose stays narrow enough to review."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support.cases import each

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("protocol/**/*.md")])
WIDTH: Final = 120
MOST_OF_AN_ITEM: Final = 300
"""Characters of an item of the changelog: whoever upgrades reads hundreds of them."""

NARROW: Final = {path for path in DOCUMENTS if path.name != "sdk.md" and path.parent.name != "vectors"}
LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path, text: str) -> list[str]:
    found = []
    for link in LINK.findall(without_code(text)):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and anchor not in anchors(text if not file else target.read_text())):
            found.append(link)
    return found


def wide_lines(text: str) -> list[str]:
    """Lines of prose that are too long and could be broken: not at a space in a link or in code."""
    found = []
    for line in without_code(text).splitlines():
        bare = re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)", lambda match: match[0].replace(" ", "_"), line)
        if len(line) > WIDTH and not line.startswith(("|", "#", "!")) and " " in bare[:WIDTH].strip():
            found.append(line)
    return found


@each("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    assert broken_links(path, path.read_text()) == []


def test_control_broken_links_are_noticed() -> None:
    text = "# A b\n[here](#a-b) [there](#a-c) [file](none.md) [head](README.md#none) [far](https://example.org/#x)\n"
    assert broken_links(ROOT / "CHANGELOG.md", text) == ["#a-c", "none.md", "README.md#none"]


@pytest.mark.parametrize("path", sorted(NARROW), ids=lambda path: path.name)
def test_prose_is_narrow(path: Path) -> None:
    assert wide_lines(path.read_text()) == []


def test_control_wide_line_is_noticed() -> None:
    wide = "word " * 30
    assert wide_lines(f"{wide}\n| {wide} |\n```\n{wide}\n```\n") == [wide]


def long_items(text: str) -> list[str]:
    """Items of a list that say more than one thing, or take too many words for it."""
    _, *items = re.split(r"^\* ", re.sub(r"^#.*$", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    items = [" ".join(item.split()) for item in items]
    return [item for item in items if len(item) > MOST_OF_AN_ITEM]


def test_items_of_the_changelog_are_short() -> None:
    assert long_items((ROOT / "CHANGELOG.md").read_text()) == []


def test_control_long_item_is_noticed() -> None:
    long = ("word " * 70).strip()
    assert long_items(f"# Title\n{long}\n\n* short\n* {long}\n\n## More\n\n* short\n") == [long]


def named_files(text: str) -> Iterator[str]:
    for name in re.findall(r"[\w/]+\.py\b", text):
        yield name.removeprefix("src/phantom_messenger/")


def missing_files(text: str) -> set[str]:
    """Files that a document names and that are nowhere in the tree, under this path or the end of it."""
    there = {
        f"/{path.relative_to(ROOT)}"
        for folder in ("src", "tests", "bench", "fuzz")
        for path in (ROOT / folder).rglob("*.py")
    }
    return {name for name in named_files(text) if not any(path.endswith(f"/{name}") for path in there)}


@pytest.mark.parametrize("name", ["architecture", "decisions", "glossary", "guarantees", "authorisation"])
def test_files_that_are_named_are_there(name: str) -> None:
    assert missing_files((ROOT / f"docs/{name}.md").read_text()) == set()


def test_control_missing_file_is_noticed() -> None:
    assert missing_files("see `relay/none.py` and `relay/hub.py`") == {"relay/none.py"}
