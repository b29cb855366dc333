"""Whether and when a client connects again, and what it says of a connection that has ended."""

from pathlib import Path

import pytest

from phantom_messenger.client import reconnecting
from phantom_messenger.client.link import LoginFailed
from phantom_messenger.client.reconnecting import FIRST_BACKOFF, SETTLED, Backoff, Reconnecting
from phantom_messenger.client.status import ConnectionEvent, ConnectionState
from support.relay_process import RelayProcess
from support.sdk_clients import PATIENCE, event, opened, run

ONLINE = ConnectionEvent(state=ConnectionState.ONLINE, reason="")


def offline(reason: str, *, busy: bool = False, retry_after: float | None = None) -> ConnectionEvent:
    return ConnectionEvent(state=ConnectionState.OFFLINE, reason=reason, busy=busy, retry_after=retry_after)


def dialled() -> Reconnecting:
    """A program that has just reached a relay."""
    made = Reconnecting()
    assert made.dialling() == ConnectionEvent(state=ConnectionState.CONNECTING, reason="")
    assert made.retry_after is None
    made.connected()
    return made


def refusal(
    code: str = "", *, reason: str = "No.", retry_after: int | None = None, is_final: bool | None = False
) -> LoginFailed:
    return LoginFailed(reason=reason, code=code, retry_after=retry_after, is_final=is_final)


def test_relay_that_was_never_reached_is_an_outage_like_others() -> None:
    made = Reconnecting()
    assert (made.retry_after, made.is_deleting, made.is_deleted) == (None, False, False)
    for _ in range(2):
        made.dialling()
        gone = made.disconnected(None, "unreachable", is_in=False, retry_after=None, busy=False)
        assert gone == (True, [offline("unreachable")])


def test_relay_that_names_no_reason_is_believed_until_it_has_let_this_identity_in() -> None:
    made = dialled()
    assert made.login_failed(refusal(is_final=None)).state is ConnectionState.REFUSED
    made.connected()
    made.logged_in()
    assert made.login_failed(refusal(is_final=None)).state is ConnectionState.OFFLINE


def test_relay_that_is_at_odds_is_left_alone_twice_as_long_each_time() -> None:
    made, waits = dialled(), []
    for _ in range(4):
        made.dialling()
        made.disconnected(4003, "at odds", is_in=False, retry_after=None, busy=False)
        waits.append(made.retry_after)
    made.logged_in()
    made.dialling()
    made.disconnected(4003, "at odds", is_in=False, retry_after=None, busy=False)
    assert [*waits, made.retry_after] == [60_000, 120_000, 240_000, 300_000, 60_000]


def test_outage_is_told_once_with_a_reason_that_is_safe_to_show() -> None:
    made = dialled()
    assert made.logged_in() == ONLINE
    gone = made.disconnected(1001, "the relay\x1b is stopping", is_in=True, retry_after=None, busy=False)
    assert gone == (True, [offline("the relay<001B> is stopping")])
    assert made.retry_after is None


@pytest.mark.parametrize(
    ("code", "busy", "is_busy"), [(None, True, True), (4002, False, True), (4000, False, False), (None, False, False)]
)
def test_outage_says_whether_the_relay_is_busy(code: int | None, busy: bool, is_busy: bool) -> None:
    gone = dialled().disconnected(code, "gone", is_in=False, retry_after=None, busy=busy)
    assert gone == (True, [offline("gone", busy=is_busy)])


@pytest.mark.parametrize(("seconds", "wait", "words"), [(1.5, 1_500, "2 seconds"), (7_200, 3_600_000, "60 minutes")])
def test_address_that_asks_to_stay_away_is_heard_for_an_hour_at_most(seconds: float, wait: int, words: str) -> None:
    made = dialled()
    gone = made.disconnected(4001, "busy", is_in=False, retry_after=seconds, busy=True)
    assert gone == (True, [offline(f"busy; retrying in {words}", busy=True, retry_after=wait / 1_000)])
    assert made.retry_after == wait
    made.connected()
    assert made.retry_after is None


def test_reason_for_which_a_connection_was_given_up_is_told_instead_of_its_end() -> None:
    made = dialled()
    assert made.left("nothing came for a minute") == offline("nothing came for a minute")
    assert made.disconnected(None, "closed", is_in=True, retry_after=None, busy=False) == (True, [])
    again = made.disconnected(None, "unreachable", is_in=False, retry_after=None, busy=False)
    assert again == (True, [offline("unreachable")])


@pytest.mark.parametrize(
    ("code", "sentence", "is_busy"),
    [
        (
            "audience",
            "the relay does not answer to the host name you used; ask its operator for the right address",
            False,
        ),
        ("rate", "there were too many logins from here", True),
        ("overload", "the relay is overloaded", True),
        ("storage", "the relay cannot store logins at the moment", True),
        ("quota", "the relay said 'Wait a while'", True),
        ("of later", "the relay said 'Wait a while'", False),
        ("version", "the relay said 'Wait a while'", False),
    ],
)
def test_login_that_may_succeed_later_is_told_and_tried_again_late(code: str, sentence: str, is_busy: bool) -> None:
    made = dialled()
    found = made.login_failed(refusal(code, reason="the relay said 'Wait a while'"))
    assert found == offline(f"{sentence}; retrying in 60 seconds", busy=is_busy, retry_after=60)
    assert made.retry_after == 60_000
    assert made.disconnected(4001, "refused", is_in=False, retry_after=None, busy=False) == (True, [])
    assert made.retry_after == 60_000


def test_login_that_is_to_wait_waits_as_long_as_the_relay_says() -> None:
    made = dialled()
    found = made.login_failed(refusal("of later", reason="the relay said 'Soon'", retry_after=2_000))
    assert found == offline("the relay said 'Soon'; retrying in 2 seconds", busy=True, retry_after=2)
    made.login_failed(refusal("rate", retry_after=2**53 - 1))
    assert made.retry_after == 3_600_000


def test_refused_identity_is_the_end() -> None:
    made = dialled()
    found = made.login_failed(refusal("identity", reason="the relay said 'Go away'", is_final=True))
    why = "the relay says that this user ID belongs to another key"
    assert found == ConnectionEvent(state=ConnectionState.REFUSED, reason=why)
    assert made.retry_after is None
    assert made.disconnected(4001, "refused", is_in=False, retry_after=None, busy=False) == (False, [])
    assert made.retry_after is None


def test_program_that_moves_to_another_relay_begins_anew() -> None:
    made = dialled()
    made.logged_in()
    waits = []
    for has_left in (False, True):
        made.disconnected(4003, "at odds", is_in=True, retry_after=None, busy=False)
        waits.append(made.retry_after)
        made.moved(has_left=has_left)
        waits.append(made.retry_after)
    assert waits == [60_000, None, 60_000, None]
    assert made.disconnected(None, "closed", is_in=True, retry_after=None, busy=False) == (True, [])
    assert made.login_failed(refusal(is_final=None)).state is ConnectionState.REFUSED


def test_login_elsewhere_and_a_deleted_account_end_it() -> None:
    made = dialled()
    why = "the same identity logged in elsewhere"
    gone = made.disconnected(1008, "replaced", is_in=True, retry_after=None, busy=False)
    assert gone == (False, [ConnectionEvent(state=ConnectionState.REPLACED, reason=why)])
    made = dialled()
    made.is_deleting = True
    ends = [made.disconnected(code, "gone", is_in=True, retry_after=None, busy=False)[0] for code in (1000, None)]
    assert (ends, made.is_deleted) == ([False, False], False)
    assert not made.disconnected(1000, "account deleted", is_in=True, retry_after=None, busy=False)[0]
    assert made.is_deleted


def test_wait_is_twice_as_long_each_time_until_a_connection_has_lasted() -> None:
    """The control is the last connection: it has lasted, and the next wait is short again."""
    backoff, bounds, now = Backoff(), [], 100.0
    for stands in (None, 0.0, 0.5, SETTLED - 0.1, None, 1.0, 2.0, SETTLED):
        if stands is not None:
            backoff.online(now)
            now += stands
            backoff.online(now)  # it is told at each step
        bounds.append(backoff.ended(now))
    assert bounds == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, FIRST_BACKOFF]
    assert backoff.ended(now) == 2.0, "the connection before does not count for the next"


@pytest.mark.parametrize(("settled", "bounds"), [(3_600.0, [1.0, 2.0, 4.0]), (0.0, [1.0, 1.0, 1.0])])
def test_relay_that_ends_each_connection_after_the_login_is_dialled_ever_later(
    tmp_path: Path, relay: RelayProcess, monkeypatch: pytest.MonkeyPatch, settled: float, bounds: list[float]
) -> None:
    """With connections that count as lasting at once, as the control, it is dialled as soon each time."""
    drawn: list[float] = []

    class Chance:
        def uniform(self, least: float, most: float) -> float:
            drawn.append(most)
            return least

    monkeypatch.setattr(reconnecting, "SETTLED", settled)
    monkeypatch.setattr("phantom_messenger.client.connection_loop.random.SystemRandom", Chance)

    async def main() -> None:
        async with opened(tmp_path, "alice", relay) as alice:
            for _ in bounds:
                await alice.wait_online(PATIENCE)
                await event(alice, ConnectionEvent, lambda: alice._loop.drop("cut"), state=ConnectionState.OFFLINE)
            await alice.wait_online(PATIENCE)

    run(main())
    assert drawn == bounds
