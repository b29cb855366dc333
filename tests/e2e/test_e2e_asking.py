"""Questions that are asked while something else goes on: what answers them, and that nobody has to wait for Enter."""

import subprocess
import sys
from pathlib import Path

import pytest
from e2e_terminal import Terminal

from support.command_line import PATIENCE

BEGIN = "import asyncio\nfrom phantom_messenger.cli.asking import is_so, line\n"
TWICE = f"""{BEGIN}
async def main():
    print("first is", await line("first? "))
    print("second is", await line("second? "))

asyncio.run(main())
"""
GIVEN_UP = f"""{BEGIN}
async def main():
    try:
        await asyncio.wait_for(line("well? "), 0.1)
    except TimeoutError:
        print("gone on")

asyncio.run(main())
"""
SURE = f"{BEGIN}\nprint(asyncio.run(is_so('sure?')))\n"


def answered(program: str, given: bytes) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-c", program]
    return subprocess.run(command, input=given, capture_output=True, timeout=PATIENCE, check=False)


def test_what_is_typed_before_a_question_does_not_answer_it(tmp_path: Path) -> None:
    asked = Terminal(tmp_path, program=[sys.executable, "-c", TWICE])
    asked.wait_for("first?")
    asked._write("one\ntoo soon\n")
    asked.wait_for("second?")
    asked._write("two\n")
    asked.wait_for("second is two")
    assert "first is one" in asked.shown
    assert asked.ended() == 0


def test_lines_of_a_pipe_answer_one_question_each() -> None:
    done = answered(TWICE, b"one\ntwo")
    assert (done.returncode, done.stdout) == (0, b"first is one\nsecond is two\n")


def test_question_that_is_given_up_needs_no_answer() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GIVEN_UP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.wait(PATIENCE) == 0  # its input is open, and nothing comes
        assert program.stdout is not None
        assert program.stderr is not None
        assert (program.stdout.read(), program.stderr.read()) == (b"gone on\n", b"well? \n")


@pytest.mark.parametrize(("given", "expected"), [(b"y\n", b"True\n"), (b"\n", b"False\n"), (b"huh\nYES\n", b"True\n")])
def test_yes_is_said_and_nothing_else_is_yes(given: bytes, expected: bytes) -> None:
    done = answered(SURE, given)
    assert (done.returncode, done.stdout) == (0, expected)
    assert done.stderr.startswith(b"sure? [y/N]: ")


def test_end_of_the_input_is_no_answer() -> None:
    done = answered(SURE, b"")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.endswith(b"click.exceptions.Abort\n")
