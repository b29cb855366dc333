"""The disk with a database's tables is filled to the last byte: what adds is refused, nothing is lost, it recovers.

``full_database.py`` runs in a mount namespace of its own, so that its tmpfs is gone with it.
"""

import os
import subprocess
import sys
from pathlib import Path

import full_database
import pytest

from support.amounts import amount
from support.mounts import own_mounts
from support.postgres_server import programs

MOUNT = 'mount -t tmpfs -o size=48m phantom-test /mnt && exec "$1" "$2" /mnt'
"""Where the server's user may go; nobody else sees it."""


def test_full_disk_of_the_database_refuses_what_is_new_and_nothing_is_lost() -> None:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: the tests of the store on it")
    if os.geteuid():
        pytest.skip("needs root: a file system that belongs to another user")
    tests = Path(full_database.__file__).parents[1]
    played = subprocess.run(
        [*own_mounts(), "sh", "-c", MOUNT, "sh", sys.executable, full_database.__file__],
        env={**os.environ, "PYTHONPATH": str(tests)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=amount(200, 1_000),
        check=False,
    )
    assert played.returncode == 0, played.stderr
