"""Logins at several relays on one store: what happens while one is under way, and those that come to nothing."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_relay_several import Cluster, messages, statuses

from phantom_messenger.relay.arrivals import Arrivals
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.handlers import login
from phantom_messenger.wire.codes import CloseCode
from support.people import Frame
from support.postgres_server import PostgresServer
from support.simulated import Client

DEPARTURE = 12
"""Seconds after which contacts know that somebody has left."""


@pytest.fixture
def url(postgres: PostgresServer, template: str) -> Iterator[str]:
    made = postgres.make_database(template)
    yield made
    postgres.drop_database(made)


@pytest.fixture
def cluster(url: str) -> Iterator[Cluster]:
    made = Cluster(url)
    yield made
    made.close()


@pytest.fixture
def strict(url: str) -> Iterator[Cluster]:
    """With one login a minute at each relay."""
    made = Cluster(url, Config(rate_auth=1))
    yield made
    made.close()


@contextlib.contextmanager
def login_under_way(cluster: Cluster, number: int, client: Client) -> Iterator[None]:
    """A login that the store has taken, and of which its relay learns only afterwards."""
    world = cluster.worlds[number]
    late: list[Callable[[], None]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.writer, "_schedule", late.append)
        client.put(client.auth(["ack"]))
        world.run()
        assert len(late) == 1
        yield
    for action in late:
        world.turns(action)
    cluster.run()


def contacts(cluster: Cluster) -> tuple[Client, Client]:
    """Alice, who stays at the one relay, and Bob, who is at the other."""
    alice, bob = cluster.login(0, "alice"), cluster.login(1, "bob")
    cluster.make_contacts(alice, bob)
    return alice, bob


def test_message_that_is_stored_while_its_recipient_logs_in_comes_at_once(cluster: Cluster) -> None:
    alice, bob = contacts(cluster)
    cluster.clock.advance(1)
    back = cluster.worlds[1].connect("bob")
    with login_under_way(cluster, 1, back):
        written = alice.person.message(bob.person)
        cluster.send(alice, written)
    assert messages(back)[-1:] == [written["payload"]["messageId"]]


def test_control_what_is_told_during_a_login_is_lost_where_nobody_listens(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Arrivals, "wake", lambda *_: None)
    alice, bob = contacts(cluster)
    cluster.clock.advance(1)
    back = cluster.worlds[1].connect("bob")
    with login_under_way(cluster, 1, back):
        written = alice.person.message(bob.person)
        cluster.send(alice, written)
    assert written["payload"]["messageId"] not in messages(back)


def test_of_two_logins_at_once_the_older_is_closed_at_once(cluster: Cluster) -> None:
    cluster.login(0, "bob").drop()
    older = cluster.worlds[1].connect("bob")
    cluster.clock.advance(1)
    with login_under_way(cluster, 1, older):
        newer = cluster.login(0, "bob")
    assert older.close_code() == CloseCode.POLICY_VIOLATION
    assert newer.close_code() is None
    assert cluster.send(newer, newer.person.ping())[-1]["type"] == "PONG"


# --- logins that come to nothing --------------------------------------------------


def test_who_hangs_up_during_a_login_is_seen_to_have_left(cluster: Cluster) -> None:
    alice, bob = contacts(cluster)
    cluster.clock.advance(1)
    moving = cluster.worlds[0].connect("bob")
    with login_under_way(cluster, 0, moving):
        moving.drop()
    cluster.pass_time(DEPARTURE // 2)
    assert bob.close_code() == CloseCode.POLICY_VIOLATION, "the newest login counts, whatever became of it"
    cluster.pass_time(DEPARTURE)
    assert statuses(alice) == ["offline"]
    cluster.login(1, "bob")
    assert statuses(alice) == ["online"]


def test_control_who_hangs_up_is_shown_for_ever_where_only_the_store_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(core: Any, frame: Any, _: object) -> None:
        core.presence.record_departure(frame.payload.user_id)

    monkeypatch.setattr(login, "_leave", leave)
    alice, _ = contacts(cluster)
    cluster.clock.advance(1)
    moving = cluster.worlds[0].connect("bob")
    with login_under_way(cluster, 0, moving):
        moving.drop()
    cluster.pass_time(2 * DEPARTURE)
    assert statuses(alice) == []


def test_login_that_is_one_too_many_changes_nothing(strict: Cluster) -> None:
    first = strict.login(0, "bob")
    strict.clock.advance(1)
    second = strict.login(1, "bob")
    strict.clock.advance(1)
    third = strict.login(0, "bob")
    assert first.close_code() == CloseCode.POLICY_VIOLATION
    assert third.close_code() == CloseCode.RATE_LIMITED
    strict.pass_time(2 * DEPARTURE)
    assert second.close_code() is None
    assert strict.send(second, second.person.ping())[-1]["type"] == "PONG"


def test_too_many_logins_with_a_claimed_id_leave_nobody_shown_who_is_not_there(strict: Cluster) -> None:
    """Whose they are, only the store knows: by then the other relay's session has been replaced."""
    alice = strict.login(0, "alice")
    bobs: list[Client] = []
    for number in (0, 1, 0):
        strict.clock.advance(1)
        world = strict.worlds[number]
        bob = world.connect(world.person("bob", user_id="Y2xhaW1lZCBieSBib2IhIQ=="))
        bob.put(bob.auth(["ack"]))
        strict.run()
        bobs.append(bob)
        if number:
            strict.make_contacts(alice, bob)
    assert [bob.close_code() for bob in bobs] == [CloseCode.POLICY_VIOLATION, None, CloseCode.RATE_LIMITED]
    told: list[Frame] = []
    strict.pass_time(2 * DEPARTURE)
    told += alice.take()
    assert [frame["payload"]["status"] for frame in told if frame["type"] == "PRESENCE"][-1:] == ["offline"]


def test_device_that_looks_absent_and_hangs_up_leaves_no_trace(cluster: Cluster) -> None:
    alice, bob = contacts(cluster)
    bob.drop()
    cluster.pass_time(2 * DEPARTURE)
    assert statuses(alice) == ["offline"]
    before = cluster.sql("SELECT last_seen FROM accounts ORDER BY account")
    cluster.clock.advance(2 * 60_000)
    hidden = cluster.worlds[1].connect("bob")
    late: list[Callable[[], None]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster.worlds[1].writer, "_schedule", late.append)
        hidden.put(hidden.auth(["ack", "absent"]))
        cluster.worlds[1].run()
        hidden.drop()
    for action in late:
        cluster.worlds[1].turns(action)
    cluster.run()
    cluster.pass_time(2 * DEPARTURE)
    assert cluster.sql("SELECT last_seen FROM accounts ORDER BY account") == before
    assert statuses(alice) == []
