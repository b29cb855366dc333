"""``quick_phantom.py`` for one command after another: each is a process of its own, forked from this one.

    python tests/warm_phantom.py SOCKET

What a short command takes longest for, loading its modules, is done once. SOCKET is the number of a Unix socket on
which commands come, each a message with the files that are to be its standard input, output and errors; the answers are
the number of its process, and its exit code.
"""

import json
import os
import socket
import sys
import time
from importlib import import_module
from typing import Final

from phantom_messenger.cli.main import COMMANDS, main
from support.passphrases import LEAST, stretch

RELAYS: Final = {"serve", "store", "bench", "conformance"}
"""Commands that are not run here; to load a relay is the business of its own process."""


def next_command(commands: socket.socket) -> None:
    """Start a process for each command that comes; returns in each, which is then to run it."""
    while True:
        asked, files, _, _ = socket.recv_fds(commands, 1 << 20, 3)
        if not asked:
            os._exit(0)  # the tests have ended
        process = os.fork()
        if process == 0:
            commands.close()
            become(json.loads(asked), files)
            return
        for file in files:
            os.close(file)
        commands.send(str(process).encode())
        _, status = os.waitpid(process, 0)
        commands.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(asked: dict[str, object], files: list[int]) -> None:
    """Take up what makes a command: its arguments, its environment, its folder and its files."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    variables, arguments, folder = asked["variables"], asked["arguments"], asked["folder"]
    assert isinstance(variables, dict)
    assert isinstance(arguments, list)
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    os.chdir(str(folder))
    sys.argv = ["phantom", *arguments]


if __name__ == "__main__":
    stretch(LEAST)
    for name, place in COMMANDS.items():
        if name not in RELAYS:
            import_module(f"phantom_messenger.cli.{place.partition(':')[0]}")
    next_command(socket.socket(fileno=int(sys.argv[1])))
    main()
