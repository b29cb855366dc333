import pytest

from phantom_messenger.engines import removed
from phantom_messenger.engines.removed import Removed
from phantom_messenger.relay.ports import KEEP_REMOVED_MS

NOW = 1_750_000_020_000


def key(name: str) -> tuple[str, str, str]:
    return ("recipient", "sender", name)


def test_what_was_added_is_held_for_ten_minutes() -> None:
    memory = Removed()
    memory.add(key("m"), NOW)
    assert KEEP_REMOVED_MS == 600_000
    assert [memory.holds(key("m"), NOW + past) for past in (0, 599_999, 600_000)] == [True, True, False]
    assert not memory.holds(key("other"), NOW)


def test_what_was_added_again_is_held_for_longer() -> None:
    memory = Removed()
    memory.add(key("m"), NOW)
    memory.add(key("m"), NOW + 500_000)
    assert memory.holds(key("m"), NOW + 1_099_999)


def test_oldest_go_first_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removed, "MAX_REMEMBERED", 3)
    memory = Removed()
    for name in "abcd":
        memory.add(key(name), NOW)
    assert [memory.holds(key(name), NOW) for name in "abcd"] == [False, True, True, True]


def test_what_nobody_needs_is_forgotten() -> None:
    memory = Removed()
    for name in "abc":
        memory.add(key(name), NOW)
    memory.add(key("d"), NOW + 600_000)
    assert len(memory._until) == 1


def test_clock_that_goes_back_does_not_empty_it() -> None:
    memory = Removed()
    memory.add(key("a"), NOW)
    memory.add(key("b"), NOW - 300_000)
    assert memory.holds(key("a"), NOW)
    assert memory.holds(key("b"), NOW)
