"""What ``make cluster-chaos`` tries, and when it calls that good; the faults themselves take many minutes."""

import os

import pytest
from cluster.chaos import ALL, HEAD, Row, choose
from cluster.chaos_faults import FAULTS, PARTITIONS


def row(found: dict[str, list[str]], silence: float = 1.0) -> Row:
    return Row("kill-relay", accepted=300, put_off=2, found=found, silence=silence, most=3.0)


def test_it_is_good_if_nothing_was_found_and_nobody_waited_for_too_long() -> None:
    assert str(row({})).endswith("good")


@pytest.mark.parametrize(
    ("found", "figures"),
    [
        ({"lost": ["2 times"], "key exchange lost": ["1 times"]}, ["3", "0", "0", "0"]),
        ({"confirmed item came again": ["4 times"]}, ["0", "4", "0", "0"]),
        ({"prekey handed out twice": ["1 times"]}, ["0", "0", "1", "0"]),
        ({"out of order": ["7 times"]}, ["0", "0", "0", "1"]),
        ({"lost": ["1 times"], "what nobody has thought of": ["1 times"]}, ["1", "0", "0", "1"]),
    ],
)
def test_whatever_is_found_is_bad(found: dict[str, list[str]], figures: list[str]) -> None:
    shown = str(row(found))
    assert shown.endswith("BAD")
    assert shown.split()[3:7] == figures
    assert HEAD.split()[4:8] == ["lost", "doubled", "prekeys", "other"]


def test_a_longer_silence_is_bad() -> None:
    assert str(row({}, silence=3.1)).endswith("BAD")


def test_without_root_it_says_which_faults_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert choose([]) == list(FAULTS)
    said = capsys.readouterr().out
    assert "root" in said
    assert all(name in said for name in PARTITIONS)


def test_with_root_all_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert choose([]) == list(ALL)


def test_what_was_asked_for_alone_is_tried() -> None:
    assert choose(["cut-primary"]) == ["cut-primary"]
