"""Bounds and moments of the parts that keep what a relay or a peer may make a device do, each by itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_samples import DAY, KEY, fast_folder
from msgspec import UNSET

from phantom_messenger.client import acks, records, recovery
from phantom_messenger.client.acks import PING_MS, Acks
from phantom_messenger.client.expiry import KEEP_MS, STEP_MS, ExpiryClock
from phantom_messenger.client.records import IntValue, RecoveryRecord
from phantom_messenger.client.recovery import ASK_AGAIN_MS, HOUR_MS, SETTLE_MS, Recovery
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with fast_folder(tmp_path) as folder:
        made = Vault(folder / "a.vault", KEY)
        yield made
        made.close()


# --- what could not be read -------------------------------------------------------


def note(vault: Vault, kept: Recovery, *names: str, now: int = 0, recoverable: bool = True) -> list[bool]:
    with vault.transaction() as tx:
        return [kept.note(tx, "bob", name, now, recoverable=recoverable) for name in names]


def test_message_that_cannot_be_read_is_news_once_and_again_when_there_is_hope(vault: Vault) -> None:
    kept = Recovery(vault)
    assert note(vault, kept, "1", recoverable=False) == [True]
    assert note(vault, kept, "1", recoverable=False) == [False]
    assert kept.due("bob", 0) == []
    assert note(vault, kept, "1") == [True]
    assert note(vault, kept, "1") == note(vault, kept, "1", recoverable=False) == [False]
    assert kept.due("bob", 0) == ["1"]
    assert Recovery(vault).due("bob", 0) == ["1"]


def test_as_many_as_are_remembered_are_news_each_sort_for_itself(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "MAX_REMEMBERED", 2)
    kept = Recovery(vault)
    with vault.transaction() as tx:
        kept.note(tx, "carol", "0", 0, recoverable=True)
    for name, recoverable, is_news in (("1", True, True), ("2", True, True), ("3", True, False), ("3", False, True)):
        assert note(vault, kept, name, recoverable=recoverable) == [is_news]


def test_first_few_stay_at_the_relay_and_fewer_of_a_stranger(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "MAX_KEPT", 2)
    monkeypatch.setattr(recovery, "MAX_KEPT_OF_STRANGER", 1)
    kept = Recovery(vault)
    note(vault, kept, "forged", recoverable=False)
    for name in ("1", "2", "3"):
        note(vault, kept, name)
    assert [kept.keeps("bob", name, known=True) for name in ("forged", "1", "2", "3", "4")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert [kept.keeps("bob", name, known=False) for name in ("forged", "1", "2")] == [True, True, False]
    assert not kept.keeps("carol", "1", known=True)


def test_message_is_asked_for_three_times_an_hour_apart(vault: Vault) -> None:
    kept, asked_at = Recovery(vault), []
    note(vault, kept, "1", now=5)
    for now in range(0, 6 * HOUR_MS, HOUR_MS // 2):
        if kept.due("bob", now):
            asked_at.append(now)
            with vault.transaction() as tx:
                kept.asked(tx, "bob", ["1"], now)
            assert kept.due("bob", now + ASK_AGAIN_MS - 1) == []
    assert asked_at == [0, HOUR_MS, 2 * HOUR_MS]
    assert kept.senders() == ["bob"]
    with vault.transaction() as tx:
        kept.forget(tx, recovery.KEEP_MS + 4)
    assert kept.senders() == ["bob"]
    with vault.transaction() as tx:
        kept.forget(tx, recovery.KEEP_MS + 5)
    assert kept.senders() == Recovery(vault).senders() == []


def test_new_session_is_needed_unless_one_is_new_or_three_were_begun_in_this_hour(vault: Vault) -> None:
    kept, start = Recovery(vault), 5 * HOUR_MS

    def begin(sender: str, after: int) -> None:
        with vault.transaction() as tx:
            kept.began(tx, sender, start + after, after)

    def needs(after: int, monotonic: int | None = None, *, sender: str = "bob") -> bool:
        return kept.needs_session(sender, start + after, after if monotonic is None else monotonic)

    assert needs(0)
    begin("carol", 0)
    assert not needs(SETTLE_MS - 1, sender="carol")
    begin("bob", 100)
    assert not needs(99 + SETTLE_MS)
    assert needs(100 + SETTLE_MS)
    assert not needs(100 + SETTLE_MS, 99 + SETTLE_MS), "either clock says so"
    assert not needs(99 + SETTLE_MS, 100 + SETTLE_MS)
    begin("bob", HOUR_MS // 3)
    begin("bob", HOUR_MS // 2)
    assert not needs(99 + HOUR_MS)
    assert not Recovery(vault).needs_session("bob", start + 99 + HOUR_MS, 0), "a restart changes nothing"
    assert needs(100 + HOUR_MS)
    begin("bob", 100 + HOUR_MS)
    stored = vault.get(records.RECOVERY, "bob", RecoveryRecord)
    assert stored is not None
    assert list(stored.at) == [start + after for after in (HOUR_MS // 3, HOUR_MS // 2, 100 + HOUR_MS)]


def test_what_could_be_read_after_all_or_is_of_nobody_any_more_is_forgotten(vault: Vault) -> None:
    kept = Recovery(vault)
    note(vault, kept, "1", "2", "3")
    with vault.transaction() as tx:
        kept.readable(tx, "bob", "1")
        kept.readable(tx, "bob", "unknown")
        kept.readable(tx, "carol", "2")
    assert kept.due("bob", 0) == Recovery(vault).due("bob", 0) == ["2", "3"]
    with vault.transaction() as tx:
        kept.drop(tx, "carol")
        kept.drop(tx, "bob")
    assert kept.senders() == Recovery(vault).senders() == []


# --- persistent time --------------------------------------------------------------


class Clocks:
    """A machine's clocks, which a test sets."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.wall = 1_000_000
        self.since_boot = 500
        self.boot = "one"

    def start(self) -> ExpiryClock:
        return ExpiryClock(self.vault, wall=lambda: self.wall, since_boot=lambda: self.since_boot, boot=self.boot)

    def keep(self, clock: ExpiryClock) -> bool:
        """Whether the moment was written again."""
        before = self.vault.get(records.CLOCK, "", records.ClockRecord)
        with self.vault.transaction() as tx:
            clock.keep(tx)
        return self.vault.get(records.CLOCK, "", records.ClockRecord) != before


def test_time_begins_with_the_wall_clock_and_goes_on_without_it(vault: Vault) -> None:
    clocks = Clocks(vault)
    clock = clocks.start()
    assert clock.now() == 1_000_000
    clocks.since_boot += 70
    clocks.wall += 1_000
    assert clock.now() == 1_000_070
    assert clock.shown(1_000_170) == 1_001_100
    clocks.wall -= DAY
    assert clocks.start().now() == 1_000_070, "in one boot the wall clock says nothing"
    clocks.boot, clocks.since_boot, clocks.wall = "two", 3, clocks.wall + 500
    assert clocks.start().now() == 1_000_570, "over a reboot nothing else does"


def test_time_of_version_0_1_0_begins_with_the_clock_of_its_relay(vault: Vault) -> None:
    with vault.transaction() as tx:
        tx.put(records.CLOCK_OFFSET, "", IntValue(7))
    assert Clocks(vault).start().now() == 1_000_007
    assert not vault.has(records.CLOCK_OFFSET, "")


def test_moment_is_kept_each_hour_and_when_the_wall_clock_was_set(vault: Vault) -> None:
    clocks = Clocks(vault)
    clock = clocks.start()
    assert vault.get(records.CLOCK, "", records.ClockRecord) == records.ClockRecord(
        boot="one", since_boot=500, wall=1_000_000, steady=1_000_000
    )
    assert not clocks.keep(clock)
    clocks.wall += STEP_MS - 1
    assert not clocks.keep(clock)
    clocks.wall += 1
    assert clocks.keep(clock)
    clocks.wall -= STEP_MS
    assert clocks.keep(clock)
    for milliseconds, is_kept in ((KEEP_MS - 1, False), (1, True), (KEEP_MS - 1, False)):
        clocks.wall += milliseconds
        clocks.since_boot += milliseconds
        assert clocks.keep(clock) is is_kept
    clocks.since_boot += 1
    clocks.wall += 1
    again = clocks.start()
    assert not clocks.keep(again), "the start has kept it"
    clocks.boot = "two"
    clocks.start()
    kept = vault.get(records.CLOCK, "", records.ClockRecord)
    assert kept is not None
    assert kept.boot == "two"


# --- acknowledgements -------------------------------------------------------------


class Line:
    """What a connection gets to send; each frame has the next number."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.pings: list[int] = []
        self.is_quiet = True
        """Whether a PING may be sent."""

    def send(self, frame: Any, now: int) -> str:
        assert now >= 0
        assert frame == frames.MessageAck(payload=frame.payload, timestamp=0)
        self.sent.append(frame.payload)
        return str(len(self.sent) + len(self.pings))

    def may_ping(self, now: int, interval: int) -> bool:
        assert (now >= 0, interval) == (True, PING_MS)
        return self.is_quiet

    def ping(self, now: int) -> int:
        assert now >= 0
        self.pings.append(len(self.sent) + len(self.pings) + 1)
        return self.pings[-1]


def error(request: str | Any, retry_after: Any = UNSET) -> frames.Error:
    payload = frames.ErrorPayload(code=ErrorCode.RATE_LIMITED, message="x", retry_after=retry_after)
    return frames.Error(payload=payload, timestamp=0, id=request)


def put(vault: Vault, kept: Acks, *names: str, status: str = "read") -> None:
    with vault.transaction() as tx:
        for name in names:
            kept.put(tx, "bob", name, status)


def test_what_was_read_is_kept_until_a_pong_from_behind_it(vault: Vault) -> None:
    kept, line = Acks(vault), Line()
    put(vault, kept, "1", "2")
    assert (len(kept), kept.wait(0)) == (2, None)
    kept.tick(line, 0)  # type: ignore[arg-type] # has what is asked of it
    assert line.sent == [
        frames.MessageAckPayload(message_id=name, sender_id="bob", status="read") for name in ("1", "2")
    ]
    assert line.pings == [3]
    assert kept.wait(0) is None
    put(vault, kept, "3", status="burned")
    kept.answered(2)
    assert len(kept) == 3
    kept.tick(line, 0)  # type: ignore[arg-type] # has what is asked of it
    assert (len(line.sent), line.pings) == (3, [3, 5])
    kept.answered(3)
    assert len(kept) == len(Acks(vault)) == 1
    kept.answered(5)
    assert len(kept) == len(Acks(vault)) == 0


def test_ping_follows_as_soon_as_it_may_and_only_if_there_is_something_to_cover(vault: Vault) -> None:
    kept, line = Acks(vault), Line()
    kept.tick(line, 0)  # type: ignore[arg-type] # has what is asked of it
    assert (line.pings, kept.wait(0)) == ([], None)
    put(vault, kept, "1", "2")
    line.is_quiet = False
    kept.tick(line, 0)  # type: ignore[arg-type] # has what is asked of it
    assert (line.pings, kept.wait(0)) == ([], PING_MS)
    line.is_quiet = True
    kept.tick(line, 0)  # type: ignore[arg-type] # has what is asked of it
    kept.tick(line, 0)  # type: ignore[arg-type] # has what is asked of it
    assert (line.pings, kept.wait(0)) == ([3], None)
    kept.answered(3)
    assert not any(kept.refused(error(request), 0) for request in ("1", "2")), "what is stored is not refused"


def test_what_is_kept_over_a_restart_is_sent_and_forgotten_like_the_rest(vault: Vault) -> None:
    put(vault, Acks(vault), "1", "2")
    kept, line = Acks(vault), Line()
    with vault.transaction() as tx:
        kept.put(tx, "bob", "1", "burned")
        kept.put(tx, "carol", "1", "read")
    assert len(kept) == len(Acks(vault)) == 3
    with vault.transaction() as tx:
        kept.drop(tx, "bob")
        kept.drop(tx, "bob")
    kept.tick(line, 0)  # type: ignore[arg-type] # has what is asked of it
    assert [(payload.sender_id, payload.status) for payload in line.sent] == [("carol", "read")]


def test_what_was_sent_on_another_connection_is_sent_again(vault: Vault) -> None:
    kept, line = Acks(vault), Line()
    put(vault, kept, "1")
    kept.tick(line, 0)  # type: ignore[arg-type] # has what is asked of it
    kept.tick(line, 0)  # type: ignore[arg-type] # has what is asked of it
    assert len(line.sent) == 1
    kept.connected()
    kept.answered(99)
    assert len(kept) == 1
    kept.tick(line, 0)  # type: ignore[arg-type] # has what is asked of it
    assert len(line.sent) == 2
    with vault.transaction() as tx:
        kept.drop(tx, "carol")
    assert len(kept) == 1
    with vault.transaction() as tx:
        kept.drop(tx, "bob")
    assert len(kept) == len(Acks(vault)) == 0


@pytest.mark.parametrize(("retry_after", "wait"), [(UNSET, 1_000), (0, 1_000), (5_000, 5_000)])
def test_refused_acknowledgement_is_sent_again_when_it_may(vault: Vault, retry_after: Any, wait: int) -> None:
    kept, line = Acks(vault), Line()
    delivered = frames.MessageAckPayload(message_id="9", sender_id="bob", status="delivered")
    kept.confirm(line, delivered, 0)  # type: ignore[arg-type] # has what is asked of it
    put(vault, kept, "1")
    kept.tick(line, 0)  # type: ignore[arg-type] # has what is asked of it
    assert not kept.refused(error(UNSET), 100)
    assert not kept.refused(error("77"), 100)
    assert kept.wait(100) is None
    assert kept.refused(error("1", retry_after), 100)
    assert kept.refused(error("2", retry_after), 100)
    assert not kept.refused(error("2", retry_after), 100)
    assert kept.wait(100) == wait
    kept.tick(line, 99 + wait)  # type: ignore[arg-type] # has what is asked of it
    assert len(line.sent) == 2
    assert kept.wait(100 + wait) == 0
    kept.tick(line, 100 + wait)  # type: ignore[arg-type] # has what is asked of it
    assert [payload.message_id for payload in line.sent] == ["9", "1", "9", "1"]
    assert kept.wait(100 + wait) is None
    kept.connected()
    assert kept.wait(100) is None


def test_acknowledgements_that_may_still_be_refused_are_bounded(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acks, "MAX_UNANSWERED", 2)
    kept, line = Acks(vault), Line()
    for number in ("1", "2", "3"):
        payload = frames.MessageAckPayload(message_id=number, sender_id="bob", status="delivered")
        kept.confirm(line, payload, 0)  # type: ignore[arg-type] # has what is asked of it
    assert [kept.refused(error(request), 0) for request in ("1", "2", "3")] == [False, True, True]
