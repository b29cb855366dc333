"""Node and Chromium, with which the page is built and tested; whoever has none skips these tests."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import pytest

WEB: Final = Path(__file__).parents[2] / "web"
_LEAST: Final = 20
_SECONDS: Final = 780
"""Until a run that is stuck is given up; a busy machine takes minutes for one that takes seconds alone."""

NODE_TIMEOUT: Final = 900
"""When pytest ends a test that runs Node: what is stuck there has been given up before, and said."""


@cache
def missing() -> str:
    """What there is not, in a few words; '' if there is all."""
    node = shutil.which("node")
    if node is None:
        return "there is no Node"
    version = re.match(r"v(\d+)\.", subprocess.run([node, "--version"], capture_output=True, text=True).stdout)  # noqa: PLW1510
    if version is None or int(version[1]) < _LEAST:
        return f"Node is older than {_LEAST}"
    if not _installed() and not (WEB / "node_modules" / "esbuild").is_dir():
        return "what the page is built with cannot be installed ('make web/node_modules/.made')"
    return ""


def _installed() -> bool:
    make = shutil.which("make")
    command = [make or "make", "web/node_modules/.made"]
    with (WEB / ".gitignore").open() as lock:  # several test processes may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        return make is not None and subprocess.run(command, cwd=WEB.parent, capture_output=True).returncode == 0  # noqa: PLW1510


def node(*arguments: str, **given: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of ``web`` in Node, or skip.

    Args:
        arguments: the program's name, and its own.
        given: added to the environment.
    """
    if lack := missing():
        pytest.skip(lack)
    return subprocess.run(
        ["node", *arguments],
        cwd=WEB,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def chromium() -> str:
    """Where Chromium is; skips if there is none."""
    found = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if found is None:
        pytest.skip("there is no Chromium")
    return found


def web_tests() -> list[str]:
    """All files of tests in ``web``, as ``run_web_tests`` takes them."""
    return sorted(file.relative_to(WEB).as_posix() for file in (WEB / "tests").rglob("*.test.ts"))


def run_web_tests(*tests: str, **given: str) -> str:
    """Run tests of ``web/tests`` in Node, those that are named or all.

    Args:
        tests: paths in ``web``.
        given: added to the environment.

    Returns:
        What Node printed.
    """
    if lack := missing():
        pytest.skip(lack)
    run = subprocess.Popen(
        ["node", "test.mjs", *tests],
        cwd=WEB,
        env={**os.environ, **given},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = run.communicate(timeout=_SECONDS)
    except BaseException as error:
        # Whoever ends the runner alone leaves the tests that it has started, and these hold the pipe.
        os.killpg(run.pid, signal.SIGKILL)
        printed, _ = run.communicate()
        error.add_note(f"until then it printed: {printed[-5_000:]}")
        raise
    assert run.returncode == 0, printed[-20_000:]
    return printed
