"""A disk under a vault, on which its program dies at a chosen operation.

It is a VFS of SQLite over the usual one. Beside the real files it keeps what was synced and what
was written since, and so knows what a kill or a power cut would leave.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any

import apsw

_NUMBERS = count()


class Crash(BaseException):
    """The program dies here; no handler of an error is to mistake it for one."""


class Fate(Enum):
    """What happens at the chosen operation."""

    KILLED = "killed"
    """The program dies; all that was written before is there."""
    TORN = "torn"
    """It dies; the operation itself was done in part."""
    POWER = "power"
    """So does the machine: of what was not synced, any part is there."""
    FULL = "full"
    """Nobody dies: this one operation fails, for the disk is full."""


@dataclass(frozen=True)
class Plan:
    """At the ``at``-th operation on the disk, counted from 0, something happens.

    ``again``: so many operations later it happens again.
    """

    at: int
    fate: Fate
    again: int | None = None


@dataclass
class _Op:
    """A write at a place, or if there is no ``data`` a cut to a length."""

    place: int
    data: bytes | None

    def on(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.place :]
            return
        content.extend(bytes(max(0, self.place - len(content))))
        content[self.place : self.place + len(self.data)] = self.data

    def torn(self, chance: random.Random) -> "_Op":
        if self.data is None:
            return self
        return _Op(self.place, self.data[: chance.randrange(len(self.data) + 1)])


@dataclass
class _Content:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[_Op] = field(default_factory=list)

    def written(self) -> bytearray:
        content = bytearray(self.synced)
        for op in self.pending:
            op.on(content)
        return content

    def after_power_cut(self, chance: random.Random) -> bytearray:
        content = bytearray(self.synced)
        for op in self.pending:
            kept = chance.choice([op, None, op.torn(chance)])
            if kept is not None:
                kept.on(content)
        return content


class VaultDisk(apsw.VFS):
    """What a device's vaults are written through, from one life to the next.

    Args:
        plan: what is to happen; nothing if None.
    """

    def __init__(self, plan: Plan | None = None) -> None:
        self._name = f"vault-disk-{next(_NUMBERS)}"
        super().__init__(self._name, "unix")
        self.plan = plan
        self.operations = 0
        self._chance = random.Random(str(plan))  # noqa: S311 - the same in every run
        self._contents: dict[str, _Content] = {}
        self._image: dict[str, bytearray] = {}
        self.is_dead = False

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """What is opened within the block is opened here."""
        usual = apsw.vfs_names()[0]
        apsw.set_default_vfs(self._name)
        try:
            yield
        finally:
            apsw.set_default_vfs(usual)

    def coin(self) -> bool:
        return self._chance.random() < 0.5

    def revive(self, path: Path) -> None:
        """Write what the crash has left to a place of its own; then the disk works again."""
        assert self.is_dead
        for name, content in self._image.items():
            Path(f"{path}{name}").write_bytes(content)
        self._contents.clear()
        self.is_dead = False

    def check(self) -> None:
        """Die now if it was a step that may fail that ran into the crash, so that nobody heard of it."""
        if self.is_dead:
            raise Crash

    # --- SQLite calls -------------------------------------------------------------

    def xOpen(self, name: Any, flags: list[int]) -> "_File":  # noqa: N802 - apsw's name
        path = name if isinstance(name, str) or name is None else name.filename()
        return _File(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.operation(filename, None)
        super().xDelete(filename, syncdir)
        if not self.is_dead:
            self._contents.pop(filename, None)

    def opened(self, path: str) -> None:
        if path not in self._contents:
            there = Path(path)
            self._contents[path] = _Content(bytearray(there.read_bytes() if there.exists() else b""))

    def write(self, path: str, op: _Op) -> None:
        self.operation(path, op)
        if not self.is_dead:
            self._contents[path].pending.append(op)

    def sync(self, path: str) -> None:
        self.operation(path, None)
        if not self.is_dead:
            content = self._contents[path]
            content.synced, content.pending = content.written(), []

    def operation(self, path: str, op: _Op | None) -> None:
        """Something is about to be done to a file; perhaps it is the last thing."""
        if self.is_dead:
            return
        self.operations += 1
        if self.plan is None or self.operations <= self.plan.at:
            return
        fate, again = self.plan.fate, self.plan.again
        self.plan = None if again is None else Plan(self.operations + again, fate)
        if fate is Fate.FULL:
            raise apsw.FullError("database or disk is full")
        if op is not None and fate is not Fate.KILLED:
            self._contents[path].pending.append(op.torn(self._chance))
        is_cut = fate is Fate.POWER
        # The database; the others' names go on from its name, that of one that is being made, too.
        first = min(self._contents, key=len).removesuffix(".new")
        self._image = {
            name.removeprefix(first): content.after_power_cut(self._chance) if is_cut else content.written()
            for name, content in self._contents.items()
        }
        self.is_dead = True
        raise Crash


class _File(apsw.VFSFile):
    def __init__(self, disk: VaultDisk, path: str | None, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self._path = path
        if path is not None:
            disk.opened(path)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._path is not None:
            self._disk.write(self._path, _Op(offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        if self._path is not None:
            self._disk.write(self._path, _Op(newsize, None))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._path is not None:
            self._disk.sync(self._path)
        super().xSync(flags)
