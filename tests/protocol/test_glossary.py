"""Words that the glossary calls dead stay dead: in code, tests, documents, SQL, JSON and the names of files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
GLOSSARY: Final = ROOT / "docs/glossary.md"
HEADING: Final = "## Words that are no longer used\n"
FOLDERS: Final = ("src", "tests", "web", "bench", "docs", "protocol", "examples", "fuzz", "scripts")
ENDINGS: Final = {".py", ".ts", ".tsx", ".mjs", ".md", ".sql", ".json", ".html", ".css", ".toml", ".sh", ".txt", ".yml"}
OF_OTHERS: Final = {"node_modules", "dist", "__pycache__", "build", "patches"}
"""Folders whose files nobody writes here, or that are built from others."""

EXCEPTIONS: Final = {
    ("CHANGELOG.md", "*"): "says which names are gone",
    ("docs/glossary.md", "*"): "has the list",
    ("tests/protocol/test_glossary.py", "*"): "names some of them",
    ("src/phantom_messenger/__init__.py", "TroubleEvent"): "tells whoever imports the old name what it is called now",
    ("tests/client/test_client_surface.py", "TroubleEvent"): "tests that",
    ("src/phantom_messenger/engines/*/sql/*.sql", "steady time"): "migrations: databases hold this text already",
    ("tests/engines/migration_data/*.sql", "steady time"): "what databases hold",
}


def dead_words() -> dict[str, str]:
    """What the glossary lists, with what to write instead."""
    _, table = GLOSSARY.read_text().split(HEADING)
    rows = re.findall(r"^\| (`.*?) \| (.+) \|$", table, re.MULTILINE)
    return {word: instead for words, instead in rows for word in re.findall(r"`([^`]+)`", words)}


def pattern(word: str) -> re.Pattern[str]:
    """Finds a word that stands alone or as a part of a name, and the name of a file as a whole."""
    if word.endswith(".*"):
        return re.compile(rf"(?<![A-Za-z0-9_-]){re.escape(word[:-2])}\.(?:py|ts)(?![A-Za-z0-9])")
    before = "(?<![A-Z])" if word[0].isupper() else "(?<![A-Za-z0-9])"
    after = "(?![a-z0-9])" if word[0].isupper() else "(?![A-Za-z0-9])"
    return re.compile(before + re.escape(word).replace(r"\ ", r"\s+") + after)


DEAD: Final = {word: pattern(word) for word in dead_words()}


def found(name: str, text: str) -> Iterator[str]:
    """Dead words in a file or its name, but for those that are excepted."""
    both = f"{name}\n{text}"
    for word, matches in DEAD.items():
        # Few files have a part of a word at all, and looking for that is ten times as fast.
        if word.removesuffix("*").split()[-1] in both and not is_excepted(name, word) and matches.search(both):
            yield word


def is_excepted(name: str, word: str) -> bool:
    return any(Path(name).match(path) and of in {"*", word} for path, of in EXCEPTIONS)


def files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.suffix in ENDINGS)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in ENDINGS and not OF_OTHERS & set(path.relative_to(ROOT).parts):
                yield path


def test_dead_words_are_nowhere() -> None:
    seen = {}
    for path in files():
        name = str(path.relative_to(ROOT))
        if words := sorted(found(name, path.read_text())):
            seen[name] = words
    assert seen == {}, "see the last table of docs/glossary.md for what to write instead"


def test_list_and_files_are_read() -> None:
    names = {str(path.relative_to(ROOT)) for path in files()}
    assert len(DEAD) > 40
    assert len(names) > 1_000
    assert {
        "README.md",
        "docs/sdk.md",
        "src/phantom_messenger/relay/hub.py",
        "tests/protocol/test_glossary.py",
    } <= names
    assert {Path(name).suffix for name in names} >= {".py", ".ts", ".tsx", ".md", ".sql", ".json"}


def test_control_dead_words_are_noticed_wherever_they_stand() -> None:
    text = 'def _mended(): {"untold": 1} is GroupLedger; the\nborder of dial.py'
    assert sorted(found("src/some.py", text)) == ["Ledger", "dial.*", "mended", "the border", "untold"]
    assert list(found("tests/test_mended.py", "")) == ["mended"]
    assert list(found("web/core/client/dial.ts", "")) == ["dial.*"]
    assert list(found("src/some.py", "amended mender Ledgers LEDGER borders redial.py")) == []


def test_control_exceptions_hold_for_their_word_alone() -> None:
    assert list(found("src/phantom_messenger/__init__.py", "TroubleEvent mended")) == ["mended"]
    assert list(found("src/phantom_messenger/core.py", "TroubleEvent mended")) == ["mended", "TroubleEvent"]


def test_exceptions_are_needed() -> None:
    for pattern_of, word in EXCEPTIONS:
        named = list(ROOT.glob(pattern_of))
        assert named, pattern_of
        words = DEAD if word == "*" else {word}
        assert any(DEAD[one].search(path.read_text()) for path in named for one in words), (pattern_of, word)
