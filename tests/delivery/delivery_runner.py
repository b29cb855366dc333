"""Relays with a protection off: ``phantom`` with a patch made before it runs."""

import shlex
import sys
from pathlib import Path

import pytest

MAIN = """
from phantom_messenger.cli.main import main
main()
"""


def use_program(monkeypatch: pytest.MonkeyPatch, folder: Path, patch: str) -> None:
    """Let relays that are started from now on run this Python text first."""
    program = folder / "phantom-patched"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(patch + MAIN)} "$@"\n')
    program.chmod(0o700)
    monkeypatch.setattr("support.relay_process.PHANTOM", program)
