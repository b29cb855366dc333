"""The benchmark of the encryption, in its quick form, as a real process. Nothing here is about time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAIR: Final = "encrypt + decrypt of 1,024 bytes, "
EVERY_PAIR: Final = ["ours", "ours, suite 2", "ours, suite 2 with KEM steps", "vodozemac, Olm", "doubleratchet"]
EXPECTED: Final = {
    "handshake, both sides: from a bundle with one-time keys to two sessions": [
        "ours, PQXDH",
        "ours, X3DH",
        "ours, suite 2",
        "x3dh, the secret alone",
    ],
    "the same with a first message of 5 bytes, sent and read": [
        "ours, PQXDH",
        "ours, X3DH",
        "ours, suite 2",
        "vodozemac, Olm",
        "x3dh + doubleratchet",
    ],
    PAIR + "one direction in a row": EVERY_PAIR,
    PAIR + "one direction in a row, both states loaded and dumped": EVERY_PAIR,
    PAIR + "ping-pong: a ratchet step each": EVERY_PAIR,
    PAIR + "ping-pong, both states loaded and dumped": EVERY_PAIR,
    "stored state of a session, no skipped keys": [
        "ours, fresh, its PQXDH handshake pending",
        "ours, running",
        "ours, suite 2, fresh",
        "ours, suite 2, running",
        "ours, suite 2, with an open offer",
        "vodozemac, fresh",
        "vodozemac, running",
        "doubleratchet, fresh",
        "doubleratchet, running",
    ],
    "Python heap of a session in memory": [
        "ours, fresh, its PQXDH handshake pending",
        "ours, running",
        "doubleratchet, running",
    ],
    "bytes a message is longer than its text": [
        "ours, until the first answer, PQXDH",
        "ours, until the first answer, X3DH",
        "ours, suite 2, until the first answer",
        "vodozemac, until the first answer",
        "x3dh + doubleratchet, until the first answer",
        "ours, running",
        "ours, suite 2, running",
        "ours, suite 2, of it KEM, turns of three",
        "vodozemac, running",
        "doubleratchet, running",
        "ours, before that: padding of 1,000 bytes",
    ],
}


class Run:
    """What one quick run printed and wrote."""

    def __init__(self, folder: Path) -> None:
        file = folder / "crypto.json"
        done = subprocess.run(
            [sys.executable, "bench/crypto.py", "--quick", "--json", str(file)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.data: dict[str, Any] = json.loads(file.read_bytes()) if file.exists() else {}

    def lines(self) -> dict[str, list[str]]:
        """The lines of the table under each of its headings."""
        found: dict[str, list[str]] = {}
        heading = ""
        for line in self.out.splitlines():
            if line in EXPECTED:
                heading = line
            elif heading and line.startswith("  "):
                found.setdefault(heading, []).append(line.strip())
            else:
                heading = ""
        return found

    def rows(self, group: str) -> list[dict[str, Any]]:
        return [row for row in self.data["rows"] if row["group"] == group]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("bench"))
    assert run.code == 0, run.err
    return run


def test_the_table_has_every_row_and_a_figure_in_each(quick: Run) -> None:
    lines = quick.lines()
    assert list(lines) == list(EXPECTED)
    for group, people in EXPECTED.items():
        assert len(lines[group]) == len(people), group
        for who, line in zip(people, lines[group], strict=True):
            assert line.startswith(who)
            figure, unit = line.removeprefix(who).split()[:2]
            assert float(figure.replace(",", "")) > 0
            assert unit in ("us", "ms", "B")


def test_the_file_has_the_same_rows_with_their_samples(quick: Run) -> None:
    assert {group: [row["who"] for row in quick.rows(group)] for group in EXPECTED} == EXPECTED
    for row in quick.data["rows"]:
        assert 0 < row["low"] <= row["median"] <= row["high"]
        assert len(row["samples"]) == (quick.data["rounds"] if row["unit"] == "us" else 1)
    assert quick.data["rounds"] >= 5


def test_every_time_of_a_peer_stands_beside_ours_of_the_same_rounds(quick: Run) -> None:
    for row in quick.data["rows"]:
        is_peer = row["unit"] == "us" and not row["who"].startswith("ours")
        assert bool(row["ours_over_it"]) == is_peer
        for ratio in row["ours_over_it"].values():
            assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]


def test_what_was_encrypted_is_decrypted(quick: Run) -> None:
    """The program checks each result itself, and ends with an error at the first wrong one."""
    assert quick.data["checked"]["ours"] > 100
    assert quick.data["checked"]["peers"] > 100
    assert "ours refused every message that was changed" in quick.out


def test_a_stored_session_keeps_to_its_goal(quick: Run) -> None:
    states = [row for row in quick.rows("stored state of a session, no skipped keys") if row["who"].startswith("ours")]
    assert [row["goal"] for row in states] == [4_096, 4_096, 1_800, 1_800, 1_800]
    for row in states:
        assert row["median"] <= row["goal"]
        assert row["met"]


def test_the_kem_of_suite_2_keeps_to_its_bytes(quick: Run) -> None:
    [row] = [row for row in quick.data["rows"] if row["who"].startswith("ours, suite 2, of it KEM")]
    assert row["goal"] == 120
    assert 100 < row["median"] <= 120


def test_goals_are_printed_with_a_verdict(quick: Run) -> None:
    with_goal = [row for row in quick.data["rows"] if row["goal"] is not None]
    assert len(with_goal) == 22
    assert quick.out.count(": met") + quick.out.count(": MISSED") == 22


def test_it_says_what_is_not_like_for_like(quick: Run) -> None:
    assert "Not like for like:" in quick.out
    for library in ("vodozemac", "doubleratchet", "x3dh"):
        assert any(library in sentence for sentence in quick.data["not_alike"])


def test_nothing_is_drawn_on_stderr_when_nobody_watches(quick: Run) -> None:
    assert quick.err == ""
