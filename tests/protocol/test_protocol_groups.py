"""protocol/groups.md names the fields, ops and limits that the code uses, and no other."""

import re
from pathlib import Path
from typing import Final, get_args

import msgspec
import pytest

from phantom_messenger.client import content
from phantom_messenger.client.groups import (
    change,
    contents,
    duties,
    holding,
    link,
    picture,
    speaking,
    state,
    store,
    strangers,
)
from phantom_messenger.client.groups.chain import Verdict
from phantom_messenger.wire import limits

DOCUMENT: Final = (Path(__file__).parents[2] / "protocol/groups.md").read_text()
LIMITS: Final = {
    "MAX_MEMBERS": state.MAX_MEMBERS,
    "MAX_ADMINS": state.MAX_ADMINS,
    "MAX_CHANGE_BYTES": change.MAX_CHANGE_BYTES,
    "MAX_OPS": change.MAX_OPS,
    "MAX_NAME_BYTES": change.MAX_NAME_BYTES,
    "MAX_PICTURE_BYTES": picture.MAX_PICTURE_BYTES,
    "MAX_AHEAD": state.MAX_AHEAD,
    "DIGIT_ROUNDS": state.DIGIT_ROUNDS,
}


def test_limits_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \| ([\d,]+) \|", DOCUMENT, re.MULTILINE)
    assert {name: int(value.replace(",", "")) for name, value in rows} == LIMITS


def test_ops_are_those_of_the_code() -> None:
    table = DOCUMENT[DOCUMENT.index("| `op` | fields |") : DOCUMENT.index("`role`, `invite` and `write` are")]
    written = {
        name: set(re.findall(r"`(\w+)`", fields))
        for name, fields in re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.MULTILINE)
        if name != "op"
    }
    assert written == {op.__struct_config__.tag: set(op.__struct_fields__) for op in get_args(change.Op)}


def test_fields_of_a_change_are_those_of_the_code() -> None:
    table = DOCUMENT[DOCUMENT.index("| field | value |") : DOCUMENT.index("| `op` | fields |")]
    written = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)))
    assert written == [found.encode_name for found in msgspec.structs.fields(change._Signed)]


def test_verdicts_are_those_of_the_code() -> None:
    table = DOCUMENT[DOCUMENT.index("| a change | verdict |") : DOCUMENT.index("So a rival follows")]
    cells = re.findall(r"^\| [^|]* \| ([a-z, ]+)[^|]*\|", table, re.MULTILINE)[1:]
    assert {word for cell in cells for word in re.findall(r"\w+", cell)} >= {verdict.value for verdict in Verdict}


def test_contents_are_those_of_the_code() -> None:
    section = DOCUMENT[
        DOCUMENT.index("| kind | fields besides the common ones |") : DOCUMENT.index("* **`n`** is counted")
    ]
    rows = re.findall(r"^\| `([a-z-]+)` \| ([^|]*) \|", section, re.MULTILINE)
    written = {
        kind: {name for name in re.findall(r"`(\w+)`", cell) if name not in {"text", "receipt"}} for kind, cell in rows
    }
    known = {kind: set(of.__struct_encode_fields__) - {"sentAt"} for kind, of in contents.KINDS.items()}
    assert written == known


@pytest.mark.parametrize(
    "sentence",
    [
        f"0 to {content.LAST_TIME_MS:,}",
        f"`ms`: 0 to {limits.MAX_EXPIRES_IN_MS:,}",
        f"its length is not 65 to {change.MAX_CHANGE_BYTES:,}",
        f"others not 1 to {state.MAX_AHEAD:,} above",
        f"then {state.DIGIT_ROUNDS:,} times",
        f"more than {state.MAX_MEMBERS} members, no admin or more than {state.MAX_ADMINS}",
        f"array of at most {contents.MAX_CHANGES}, together at most {contents.MAX_CHANGES_BYTES:,} bytes",
        f"waits {duties.ASK_AFTER_MS // 1000} s for the changes to come",
        f"other members after {duties.ASK_AGAIN_MS // 1000} s each",
        f"gathered for at least {duties.GATHER_MS // 1000} s",
        f"the last {store.KEPT_STEPS:,} changes",
        f"caught up: at most {holding.MAX_HELD} of a group",
        f"at most {holding.MAX_INVITED_OF_ONE} texts of one person",
        f"together {holding.MAX_INVITED_BYTES >> 20} MiB",
        f"counts as {holding.ROWS_BYTES:,} bytes more",
        f"that would be the {store.KEPT_INVITED + 1}th is behind",
        f"if it has {strangers.MAX_ASKED} changes that others want",
        f"in groups of up to {speaking.MAX_TOLD} members",
        f"how many times it can be used (at most {link.MAX_USES})",
        f"until when (at most {link.MAX_LIFE_MS // 86_400_000} days)",
    ],
)
def test_sizes_are_those_of_the_code(sentence: str) -> None:
    assert sentence in " ".join(DOCUMENT.split())
