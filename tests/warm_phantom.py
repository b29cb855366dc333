"""``phantom`` for one command after another: each is a process of its own, forked from this one.

    python tests/warm_phantom.py SOCKET relay|client

What a short command takes longest for, loading its modules, is done once. SOCKET is the number of a Unix socket on
which commands come, each a message with the files that are to be its standard input, output and errors, and a socket on
which the number of its process is told, and once it has ended its exit code. A patch of a test may come with it, and is
run first. Those of a client stretch passphrases as ``quick_phantom.py`` does.
"""

import atexit
import contextlib
import gc
import inspect
import json
import os
import re
import selectors
import signal
import socket
import sys
import threading
import time
from importlib import import_module
from types import ModuleType
from typing import Final, NamedTuple, NoReturn

from phantom_messenger.cli.main import COMMANDS, main

OURS: Final = "phantom_messenger."
LOADED: Final = {
    "relay": {"serve"},
    "client": COMMANDS.keys() - {"serve"},
}
"""Commands whose modules are loaded: a relay has nothing of a client in its memory."""


class Started(NamedTuple):
    """A command that runs, and where its end is to be told."""

    pid: int
    told: socket.socket


def next_command(commands: socket.socket) -> None:
    """Start a process for each command that comes; returns in each, which is then to run it."""
    with selectors.DefaultSelector() as selector:
        selector.register(commands, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    selector.unregister(key.fileobj)
                    tell_end(int(key.fd), key.data)
                    continue
                asked, files, _, _ = socket.recv_fds(commands, 1 << 20, 4)
                running = [one.data for one in selector.get_map().values() if one.data is not None]
                if not asked:
                    end_all(running)
                told = socket.socket(fileno=files.pop())
                pid = os.fork()
                if pid == 0:
                    leave(selector, [commands, told, *(one.told for one in running)])
                    become(json.loads(asked), files)
                    return
                for file in files:
                    os.close(file)
                started = Started(pid, told)
                told.send(str(pid).encode())
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, started)


def tell_end(file: int, ended: Started) -> None:
    """A command has ended."""
    os.close(file)
    _, status = os.waitpid(ended.pid, 0)
    with ended.told, contextlib.suppress(BrokenPipeError):  # whoever asked for it may have ended, too
        ended.told.send(str(os.waitstatus_to_exitcode(status)).encode())


def end_all(running: list[Started]) -> NoReturn:
    """The tests have ended."""
    for one in running:
        os.kill(one.pid, signal.SIGKILL)
    os._exit(0)


def end(code: int) -> NoReturn:
    """End as Python does, but take nothing apart: to copy all that this program has loaded takes longest for most."""
    threading._shutdown()  # type: ignore[attr-defined] # what Python calls, too
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)  # as it would, with what could not be written


def leave(selector: selectors.BaseSelector, sockets: list[socket.socket]) -> None:
    """Close in a command what is this program's."""
    for key in [*selector.get_map().values()]:
        if key.data is not None:
            os.close(key.fd)
    for one in sockets:
        one.close()


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
    if asked["patch"]:
        run_patch(str(asked["patch"]))


def run_patch(patch: str) -> None:
    """Run a patch so that it does what it would do before any module is loaded, but for what was computed since."""
    before = {name: {**vars(module)} for name, module in [*sys.modules.items()]}
    own = sys.modules["patch"] = ModuleType("patch")  # whose names stay
    exec(compile(patch, "patch", "exec"), vars(own))  # noqa: S102 - text of a test
    for place, names in before.items():
        for name, old in names.items():
            new = vars(sys.modules[place]).get(name)
            if new is not old and is_made_in(place, name):
                replace_copies(name, old, new)


def is_made_in(place: str, name: str) -> bool:
    """Whether others have this name from that module; one that has imported it itself is alone with what it gets."""
    if not place.startswith(OURS):
        return True
    code = inspect.getsource(sys.modules[place])
    return re.search(rf"^(async def |def |class )?{name}\b\s*[=:(\[]", code, re.MULTILINE) is not None


def replace_copies(name: str, old: object, new: object) -> None:
    """Replace what modules of the product have imported."""
    is_value = old is None or isinstance(old, (int, float, str, bytes, tuple))  # others may have an equal one
    for module in [module for place, module in [*sys.modules.items()] if place.startswith(OURS)]:
        for known, found in [*vars(module).items()]:
            if found is old and (known == name or not is_value):
                setattr(module, known, new)


if __name__ == "__main__":
    if sys.argv[2] == "client":
        from support.passphrases import LEAST, stretch

        stretch(LEAST)
    for name in LOADED[sys.argv[2]]:
        import_module(f"phantom_messenger.cli.{COMMANDS[name].partition(':')[0]}")
    gc.freeze()
    next_command(socket.socket(fileno=int(sys.argv[1])))
    try:
        main()
        code = 0
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        code = ended.code or 0
    end(code)
