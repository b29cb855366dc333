import pytest

from phantom_messenger.engines.sqlite import tombstones
from phantom_messenger.engines.sqlite.tombstones import RecentlyDeleted
from phantom_messenger.relay.commands import KEEP_REMOVED_MS

NOW = 1_750_000_020_000


def key(name: str) -> tuple[str, str, str]:
    return ("recipient", "sender", name)


def test_what_was_added_is_held_for_ten_minutes() -> None:
    memory = RecentlyDeleted()
    memory.add(key("m"), NOW)
    assert KEEP_REMOVED_MS == 600_000
    assert [memory.holds(key("m"), NOW + past) for past in (0, 599_999, 600_000)] == [True, True, False]
    assert not memory.holds(key("other"), NOW)


def test_what_was_added_again_is_held_for_longer() -> None:
    memory = RecentlyDeleted()
    memory.add(key("m"), NOW)
    memory.add(key("m"), NOW + 500_000)
    assert memory.holds(key("m"), NOW + 1_099_999)


def test_oldest_go_first_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tombstones, "MAX_REMEMBERED", 80)
    memory = RecentlyDeleted()
    for number in range(160):
        memory.add(key(str(number)), NOW)
        memory.commit()
    held = [number for number in range(160) if memory.holds(key(str(number)), NOW)]
    assert held == list(range(held[0], 160))
    assert 70 <= len(held) <= 80


def test_what_is_added_all_the_time_is_held_for_ten_minutes_and_forgotten_soon_after() -> None:
    memory = RecentlyDeleted()
    for second in range(0, 3_000, 5):
        memory.add(key(str(second)), NOW + second * 1_000)
        memory.commit()
        held = [age for age in range(0, second + 1, 5) if memory.holds(key(str(second - age)), NOW + second * 1_000)]
        assert held == list(range(0, min(second + 5, 600), 5))
        assert sum(map(len, memory._parts)) <= 840 / 5


def test_what_nobody_needs_is_forgotten() -> None:
    memory = RecentlyDeleted()
    for name in "abc":
        memory.add(key(name), NOW)
    memory.add(key("d"), NOW + 600_000)
    assert sum(map(len, memory._parts)) == 1


def test_undone_additions_are_forgotten_alone() -> None:
    memory = RecentlyDeleted()
    memory.add(key("a"), NOW)
    memory.commit()
    mark = memory.savepoint()
    memory.add(key("b"), NOW)
    memory.add(key("a"), NOW + 1_000)
    memory.rollback_to(mark)
    assert [memory.holds(key(name), NOW) for name in "ab"] == [True, False]
    assert not memory.holds(key("a"), NOW + 600_500), "until when it was held before"


def test_clock_that_goes_back_does_not_empty_it() -> None:
    memory = RecentlyDeleted()
    memory.add(key("a"), NOW)
    memory.add(key("b"), NOW - 300_000)
    assert memory.holds(key("a"), NOW)
    assert memory.holds(key("b"), NOW)


def test_what_is_restored_is_held_as_long_as_before_and_no_more_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tombstones, "MAX_REMEMBERED", 80)
    memory = RecentlyDeleted()
    memory.restore((key(str(number)), NOW + number) for number in range(160))
    assert [memory.holds(key("159"), NOW + 158 + past) for past in (0, 1)] == [True, False]
    held = [number for number in range(160) if memory.holds(key(str(number)), NOW)]
    assert held == list(range(held[0], 160))
    assert 70 <= len(held) <= 80
    memory.add(key("new"), NOW)
    memory.commit()
    assert memory.holds(key("159"), NOW)
    memory.add(key("later"), NOW + 10 * KEEP_REMOVED_MS)
    assert not memory.holds(key("159"), NOW)
