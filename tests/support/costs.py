"""What a piece of code costs, counted and not timed: the same on every machine, however busy.

Counted are instructions of the interpreter and calls into C. Each version of Python has other
instructions, so they are scaled by a yardstick, a fixed piece of code of the same kind: the
figures are those of Python 3.11, whatever runs.
"""

import functools
import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

Run = Callable[[], object]

YARDSTICK: Final = 1_779
"""Instructions of the yardstick on Python 3.11."""

if sys.version_info >= (3, 12):

    def _executed(run: Run) -> int:
        """How many instructions the interpreter executes (PEP 669)."""
        count = 0

        def each(*_: object) -> None:
            nonlocal count
            count += 1

        tool, event = sys.monitoring.PROFILER_ID, sys.monitoring.events.INSTRUCTION
        sys.monitoring.use_tool_id(tool, __name__)
        sys.monitoring.register_callback(tool, event, each)
        sys.monitoring.set_events(tool, event)
        try:
            run()
        finally:
            sys.monitoring.set_events(tool, 0)
            sys.monitoring.register_callback(tool, event, None)
            sys.monitoring.free_tool_id(tool)
        return count

else:

    def _executed(run: Run) -> int:
        """How many instructions the interpreter executes."""
        count = 0

        def each(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal count
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            count += event == "opcode"
            return each

        before = sys.gettrace()
        sys.settrace(each)
        try:
            run()
        finally:
            sys.settrace(before)
        return count


def instructions(run: Run) -> float:
    """How many instructions the interpreter executes, as many as Python 3.11 would."""
    return _executed(run) * YARDSTICK / yardstick()


def c_calls(run: Run) -> int:
    """How many calls go to functions that are not Python's."""
    count = 0

    def each(_: FrameType, event: str, __: Any) -> None:
        nonlocal count
        count += event == "c_call"

    sys.setprofile(each)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def undisturbed(counter: Callable[[Run], float], run: Run) -> float:
    """Count without the garbage collector, whose finalizers would be counted too."""
    gc.disable()
    try:
        return counter(run)
    finally:
        gc.enable()


@functools.cache
def yardstick() -> int:
    """Instructions of the yardstick on this interpreter."""
    return _executed(_work)


class _Point:
    __slots__ = ("x", "y")

    def __init__(self, x: int, y: int) -> None:
        self.x = x
        self.y = y

    @property
    def total(self) -> int:
        return self.x + self.y


def _work() -> int:
    """What most code does: calls, attributes, dictionaries, branches, slices, exceptions."""
    seen: dict[str, list[_Point]] = {}
    for number in range(20):
        point = _Point(number, y=number + 1)
        name = f"{point.total % 3}:{number}"[:1]
        try:
            seen[name].append(point)
        except KeyError:
            seen[name] = [point]
        if isinstance(point, _Point) and point.x is not None and number > 10:
            _, rest = divmod(point.total, 7)
            point.y -= rest
    return sum(point.total for points in seen.values() for point in points)
