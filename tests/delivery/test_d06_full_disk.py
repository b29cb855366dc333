"""A disk of 4 MiB, filled to the last byte by somebody else: what removes goes on, what adds waits, it recovers.

Each scenario of ``full_disk.py`` runs in a mount namespace of its own, so that its tmpfs is gone with it.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import full_disk
import pytest

from support.amounts import amount
from support.mounts import own_mounts

MOUNT = 'mount -t tmpfs -o size=4m phantom-test "$1" && shift && exec "$@"'

Play = Callable[..., subprocess.CompletedProcess[str]]
"""``play(scenario, *options)``"""


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Plays a scenario on a small disk of its own."""
    unshare = own_mounts()
    folder = tmp_path / "data"
    folder.mkdir()

    def play(scenario: str, *options: str) -> "subprocess.CompletedProcess[str]":
        program = [sys.executable, full_disk.__file__, scenario, str(folder), *options]
        tests = Path(full_disk.__file__).parents[1]
        return subprocess.run(
            [*unshare, "sh", "-c", MOUNT, "sh", str(folder), *program],
            env={**os.environ, "PYTHONPATH": str(tests)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=amount(240, 1_000),
            check=False,
        )

    return play


def check(played: "subprocess.CompletedProcess[str]") -> None:
    assert played.returncode == 0, played.stderr


def test_reading_and_removing_go_on_when_the_disk_is_full(play: Play) -> None:
    check(play("removals_go_on"))


def test_confirming_expiring_and_deleting_go_on_when_the_disk_is_full(play: Play) -> None:
    check(play("other_removals_go_on"))


def test_store_recovers_when_the_disk_has_room_again(play: Play) -> None:
    check(play("it_recovers"))


@pytest.mark.timeout(amount(300, 1_200))
def test_store_bears_whatever_is_done_on_a_disk_that_fills_up(play: Play) -> None:
    check(play("chance"))


def test_relay_on_a_full_disk_asks_senders_to_wait_and_recovers_by_itself(play: Play) -> None:
    check(play("relay_lives_on"))


# --- what was once wrong ----------------------------------------------------------


@pytest.mark.parametrize(
    "scenario",
    [
        "removals_go_on_after_a_start_on_a_full_disk",
        "it_starts_after_it_was_stopped_on_a_full_disk",
        "large_messages_expire",
        "large_mailbox_is_deleted",
        "burned_bytes_are_driven_out",
        pytest.param(
            "removals_go_on_after_a_large_batch",
            marks=pytest.mark.xfail(
                strict=True, reason="a disk below 64 MiB: one batch can hold more new pages than its reserve"
            ),
        ),
    ],
)
def test_full_disk_is_borne(play: Play, scenario: str) -> None:
    check(play(scenario))


# --- the control ------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["removals_go_on", "chance"])
def test_control_removals_fail_without_the_reserve(play: Play, scenario: str) -> None:
    played = play(scenario, "without-reserve")
    assert played.returncode != 0
    assert "database or disk is full" in played.stderr
