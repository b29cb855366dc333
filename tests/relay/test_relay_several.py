"""Several relays on one store: whatever one does, users of another see as if they were at the same."""

import contextlib
import itertools
import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from phantom_messenger.engines.postgres import PostgresStore
from phantom_messenger.relay import elsewhere, mailbox_push, other_relays, presence_look
from phantom_messenger.relay.commands import AnyCommand, KeepRelay, PublishPreKeys, SeeContacts
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.presence_look import WHOLE_AFTER_MS, PresenceLook
from phantom_messenger.relay.records import Item
from phantom_messenger.wire.codes import CloseCode
from phantom_messenger.wire.frames import PresenceStatus
from support.amounts import seeds
from support.faults import Faults
from support.people import Frame
from support.postgres_server import PostgresServer
from support.simulated import SECOND, Client, Clock, World
from support.store_user import StoreUser, run
from support.stores import publication


class Cluster:
    """Two relays in one process, and what they tell each other."""

    def __init__(self, url: str, config: Config | None = None) -> None:
        self.url = url
        self.clock = Clock()
        self.is_cut = False
        """Whether what they tell each other gets lost."""
        self.unheard: list[tuple[int, str]] = []
        self.worlds = [
            World(
                config,
                store=PostgresStore(url),
                clock=self.clock,
                link=lambda text, number=number: self._tell(number, text),
            )
            for number in range(2)
        ]

    def _tell(self, number: int, text: str) -> None:
        assert len(text.encode()) <= other_relays.MAX_NOTICE
        if not self.is_cut:
            self.unheard.append((1 - number, text))

    def run(self) -> None:
        """Until nobody has anything to say."""
        while True:
            for world in self.worlds:
                world.run()
            if not self.unheard:
                return
            number, text = self.unheard.pop(0)
            self.worlds[number].relay.hear(text)

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(SECOND)
            for world in self.worlds:
                world.relay.tick()
            self.run()

    def login(self, number: int, name: str, *features: str) -> Client:
        """Log in at one of them."""
        world = self.worlds[number]
        client = world.connect(name)
        client.put(client.auth(["ack", *features]))
        self.run()
        return client

    def send(self, client: Client, *frames: Frame) -> list[Frame]:
        for frame in frames:
            client.put(frame)
        self.run()
        return client.take()

    def make_contacts(self, one: Client, other: Client) -> None:
        for sender, recipient in ((one, other), (other, one)):
            self.send(sender, sender.person.message(recipient.person))
        for _ in range(2):
            for client in (one, other):
                client.settle()
                self.run()
        one.take()
        other.take()

    def sql(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=phantom") as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        for world in self.worlds:
            world.close()


@pytest.fixture
def cluster(postgres: PostgresServer, template: str) -> Iterator[Cluster]:
    url = postgres.make_database(template)
    made = Cluster(url)
    yield made
    made.close()
    postgres.drop_database(url)


@pytest.fixture
def alice(cluster: Cluster) -> Client:
    """At the one relay."""
    return cluster.login(0, "alice")


@pytest.fixture
def bob(cluster: Cluster, alice: Client) -> Client:
    """At the other; Alice's contact."""
    client = cluster.login(1, "bob")
    cluster.make_contacts(alice, client)
    return client


def messages(client: Client) -> list[str]:
    return [frame["payload"]["messageId"] for frame in client.take("MESSAGE")]


def statuses(client: Client) -> list[str]:
    return [frame["payload"]["status"] for frame in client.take("PRESENCE")]


# --- delivery ---------------------------------------------------------------------


def test_message_and_its_receipt_cross_at_once(cluster: Cluster, alice: Client, bob: Client) -> None:
    frame = alice.person.message(bob.person)
    cluster.send(alice, frame)
    [received] = bob.take("MESSAGE")
    assert received["payload"]["messageId"] == frame["payload"]["messageId"]
    bob.put(bob.person.ack(received))
    cluster.run()
    assert [found["payload"]["status"] for found in alice.take("MESSAGE_ACK")] == ["delivered"]


@pytest.mark.parametrize("is_cut", [False, True])
def test_what_is_not_told_is_found_within_seconds(cluster: Cluster, alice: Client, bob: Client, is_cut: bool) -> None:
    cluster.is_cut = is_cut
    frame = alice.person.message(bob.person)
    cluster.send(alice, frame)
    assert bool(messages(bob)) is not is_cut
    cluster.pass_time(elsewhere.CHECK_MS // SECOND)
    assert messages(bob) == ([frame["payload"]["messageId"]] if is_cut else [])


def mix(cluster: Cluster, seed: int) -> None:
    """Senders at both relays write to one recipient, who reads slowly; notices get lost now and then."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    people = [cluster.login(number % 2, f"{seed} {number}") for number in range(4)]
    reader = people[0]
    for other in people[1:]:
        cluster.make_contacts(reader, other)
    sent: list[str] = []
    for _ in range(30):
        cluster.is_cut = chance.random() < 0.3
        for _ in range(chance.randrange(4)):
            sender = chance.choice(people[1:])
            frame = sender.person.message(reader.person)
            sender.put(frame)
            sent.append(frame["payload"]["messageId"])
        for world in cluster.worlds:
            world.run()
        if chance.random() < 0.7:
            cluster.run()
    cluster.is_cut = False
    cluster.pass_time(elsewhere.CHECK_MS // SECOND + 1)
    frames = reader.take("MESSAGE")
    seqs = [frame["seq"] for frame in frames]
    assert seqs == sorted(set(seqs))
    assert sorted(frame["payload"]["messageId"] for frame in frames) == sorted(sent)


@pytest.mark.parametrize("seed", range(seeds(3, 200)))
def test_nothing_is_lost_doubled_or_out_of_order(cluster: Cluster, seed: int) -> None:
    mix(cluster, seed)


def test_control_relay_that_pushes_whatever_comes_leaves_something_out(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deliver(self: mailbox_push.MailboxPush, recipient: str, item: Item) -> None:
        session = self._hub.of(recipient)
        if session is None:
            self._others.wake(recipient)
        elif session.cursor.caught_up:
            self.push(session, item)

    monkeypatch.setattr(mailbox_push.MailboxPush, "deliver", deliver)
    with pytest.raises(AssertionError):
        mix_often(cluster)


def mix_often(cluster: Cluster) -> None:
    for seed in range(20):
        mix(cluster, seed)


# --- presence ---------------------------------------------------------------------


def test_presence_and_typing_cross(cluster: Cluster, alice: Client, bob: Client) -> None:
    cluster.send(alice, alice.person.presence("idle"))
    assert statuses(bob) == ["idle"]
    frame = alice.person.message(bob.person)
    cluster.send(alice, frame)
    cluster.send(bob, bob.person.message(alice.person, conversation=frame["payload"]["conversationId"]))
    bob.take()
    cluster.send(alice, alice.person.presence("typing", frame["payload"]["conversationId"]))
    assert statuses(bob) == ["typing"]
    [answer] = cluster.send(bob, bob.person.asks_for(alice.person, id="question"))
    assert answer["payload"]["status"] == "idle"


def test_contact_who_leaves_is_told_absent_and_who_comes_back_present(
    cluster: Cluster, alice: Client, bob: Client
) -> None:
    alice.drop()
    cluster.run()
    cluster.pass_time(9)
    assert statuses(bob) == []
    cluster.pass_time(2)
    assert statuses(bob) == ["offline"]
    cluster.login(0, "alice")
    assert statuses(bob) == ["online"]


def test_quick_move_to_the_other_relay_goes_unnoticed(cluster: Cluster, alice: Client, bob: Client) -> None:
    alice.drop()
    cluster.run()
    cluster.pass_time(3)
    moved = cluster.login(1, "alice")
    cluster.pass_time(20)
    assert statuses(bob) == []
    assert statuses(moved) == ["online"], "of Bob"


def test_newcomer_is_told_who_is_at_the_other_relay(cluster: Cluster, alice: Client, bob: Client) -> None:
    bob.drop()
    cluster.pass_time(12)
    assert statuses(alice) == ["offline"]
    again = cluster.login(1, "bob")
    assert statuses(again) == ["online"]
    assert statuses(alice) == ["online"]


def test_who_looks_absent_is_seen_by_nobody(cluster: Cluster, alice: Client, bob: Client) -> None:
    bob.drop()
    cluster.pass_time(12)
    alice.take()
    hidden = cluster.login(1, "bob", "absent")
    cluster.pass_time(12)
    assert statuses(alice) == []
    [answer] = cluster.send(alice, alice.person.asks_for(bob.person, id="question"))
    assert answer["payload"]["status"] == "offline"
    cluster.send(hidden, hidden.person.presence("online"))
    assert statuses(alice) == ["online"]


def test_first_messages_across_make_contacts_who_see_each_other(cluster: Cluster, alice: Client) -> None:
    carol = cluster.login(1, "carol")
    cluster.send(alice, alice.person.message(carol.person))
    carol.put(carol.person.message(alice.person))
    cluster.run()
    assert statuses(alice) == ["online"]
    assert statuses(carol) == ["online"]


def test_block_ends_what_is_seen(cluster: Cluster, alice: Client, bob: Client) -> None:
    cluster.send(bob, bob.person.block(alice.person))
    assert statuses(alice) == ["offline"]
    cluster.send(alice, alice.person.message(bob.person))
    assert messages(bob) == []


# --- presence that a relay was not told of ----------------------------------------

LOOK = elsewhere.CHECK_MS // SECOND


def test_lost_notices_of_presence_are_made_good_within_seconds(cluster: Cluster, alice: Client, bob: Client) -> None:
    cluster.is_cut = True
    cluster.send(alice, alice.person.presence("idle"))
    assert statuses(bob) == []
    cluster.pass_time(LOOK)
    assert statuses(bob) == ["idle"]
    alice.drop()
    cluster.pass_time(10 + LOOK)
    assert statuses(bob) == ["offline"]
    again = cluster.login(0, "alice")
    cluster.pass_time(LOOK)
    assert statuses(bob) == ["online"]
    cluster.send(again, again.person.block(bob.person))
    cluster.pass_time(LOOK)
    assert statuses(bob) == ["offline"]
    cluster.pass_time(40)
    assert statuses(bob) == [], "told once"


def test_presence_that_was_told_is_not_told_again(cluster: Cluster, alice: Client, bob: Client) -> None:
    cluster.send(alice, alice.person.presence("idle"))
    assert statuses(bob) == ["idle"]
    cluster.pass_time(40)
    assert statuses(bob) == []
    assert statuses(alice) == []


def test_control_without_the_look_nothing_is_made_good(
    cluster: Cluster, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PresenceLook, "begin", lambda *_: None)
    cluster.is_cut = True
    cluster.send(alice, alice.person.presence("idle"))
    cluster.pass_time(40)
    assert statuses(bob) == []


def test_contacts_who_meet_while_notices_get_lost_see_each_other(cluster: Cluster, alice: Client) -> None:
    carol = cluster.login(1, "carol")
    cluster.is_cut = True
    cluster.send(alice, alice.person.message(carol.person))
    cluster.pass_time(LOOK)
    cluster.send(carol, carol.person.message(alice.person))
    carol.take()
    cluster.pass_time(LOOK)
    assert statuses(alice) == ["online"]
    assert statuses(carol) == ["online"]


def test_deleted_account_is_gone_for_contacts_who_were_not_told(cluster: Cluster, alice: Client, bob: Client) -> None:
    cluster.is_cut = True
    alice.put(alice.person.account_delete())
    cluster.pass_time(LOOK)
    assert statuses(bob) == ["offline"]


def test_contacts_who_log_in_at_two_relays_in_the_same_moment_see_each_other(
    cluster: Cluster, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for client in (alice, bob):
        client.drop()
    cluster.pass_time(20)
    both_have_logged_in = threading.Barrier(2, timeout=100)
    run_once = PostgresStore._in_one_transaction

    def in_one_transaction(self: PostgresStore, connection: Any, statements: Any) -> Any:
        """As it is, but commit only when the other login has done everything too."""
        if not any("log_in(" in one.query for one in statements):
            return run_once(self, connection, statements)
        begun, execute = connection.pipeline, connection.execute

        @contextlib.contextmanager
        def in_pipeline() -> Iterator[Any]:
            with begun() as pipeline:

                def executed(query: Any, *arguments: Any, **options: Any) -> Any:
                    if query == "COMMIT":
                        pipeline.sync()
                        both_have_logged_in.wait()
                    return execute(query, *arguments, **options)

                patch.setattr(connection, "execute", executed)
                yield pipeline

        with monkeypatch.context() as patch:
            patch.setattr(connection, "pipeline", in_pipeline)
            return run_once(self, connection, statements)

    monkeypatch.setattr(PostgresStore, "_in_one_transaction", in_one_transaction)
    found = []
    for number, name in enumerate(("alice", "bob")):
        client = cluster.worlds[number].connect(name)
        client.put(client.auth(["ack"]))
        found.append(client)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(World.run, cluster.worlds))
    cluster.run()
    assert [statuses(client) for client in found] == [[], []], "neither login has seen the other"
    cluster.pass_time(LOOK)
    assert [statuses(client) for client in found] == [["online"], ["online"]]


def test_relay_that_was_cut_off_for_long_finds_everything_that_has_changed(
    cluster: Cluster, alice: Client, bob: Client
) -> None:
    carol = cluster.login(0, "carol")
    cluster.make_contacts(carol, bob)
    other = cluster.worlds[1]
    tick, other.relay.tick = other.relay.tick, lambda: None  # type: ignore[method-assign] # it is paused
    cluster.is_cut = True
    alice.drop()
    cluster.pass_time(12)
    cluster.send(carol, carol.person.presence("idle"))
    cluster.sql(f"UPDATE relays SET seen_at = seen_at - interval '16 seconds' WHERE relay = '{other.store._relay}'")  # noqa: S608 - hexadecimal
    cluster.pass_time(18)
    assert cluster.sql("SELECT count(*) FROM presence_changes") == [(0,)], "nobody waits for it"
    assert statuses(carol) == ["offline"], "of Bob, who is taken for gone"
    other.relay.tick = tick  # type: ignore[method-assign] # it goes on
    cluster.pass_time(LOOK)
    assert statuses(carol) == ["online"]
    assert bob.close_code() is None
    cluster.pass_time(WHOLE_AFTER_MS // SECOND + LOOK)
    told = {frame["payload"]["userId"]: frame["payload"]["status"] for frame in bob.take("PRESENCE")}
    assert told == {alice.person.id: "offline", carol.person.id: "idle"}


def test_whole_look_is_made_in_parts(
    cluster: Cluster, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    carol, dave = cluster.login(0, "carol"), cluster.login(1, "dave")
    cluster.make_contacts(carol, dave)
    monkeypatch.setattr(presence_look, "COMPARED_AT_ONCE", 1)
    asked: list[SeeContacts] = []
    store = cluster.worlds[1].store
    run_batch = store.run

    def noting(batch: Sequence[AnyCommand]) -> list[Any]:
        asked.extend(one for one in batch if isinstance(one, SeeContacts))
        found: list[Any] = run_batch(batch)
        return found

    monkeypatch.setattr(store, "run", noting)
    for one, other in ((alice, bob), (carol, dave)):
        other.session.shown[one.person.id] = PresenceStatus.IDLE  # what is not so
    cluster.pass_time(WHOLE_AFTER_MS // SECOND + 2 * LOOK)  # after the relay has come
    assert sorted(user for one in asked for user in one.users) == sorted([bob.person.id, dave.person.id])
    assert len(asked) == 2
    assert (statuses(bob), statuses(dave)) == (["online"], ["online"])


def test_notice_that_meets_a_bug_does_not_keep_the_next_one_from_being_heard(
    cluster: Cluster, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    seen = itertools.count()
    look = mailbox_push.MailboxPush.look

    def fail_once(self: mailbox_push.MailboxPush, session: Any) -> None:
        if next(seen) == 0:
            raise KeyError("secret")
        look(self, session)

    monkeypatch.setattr(mailbox_push.MailboxPush, "look", fail_once)
    written = [alice.person.message(bob.person) for _ in range(2)]
    for one in written:
        cluster.send(alice, one)
    assert messages(bob) == [one["payload"]["messageId"] for one in written]
    assert [fault.partition(" place")[0] for fault in faults.take()] == ["KeyError"]


# --- one session a user -----------------------------------------------------------


@pytest.mark.parametrize("is_cut", [False, True])
def test_newest_connection_wins(cluster: Cluster, alice: Client, is_cut: bool) -> None:
    cluster.is_cut = is_cut
    cluster.clock.advance(SECOND)
    newer = cluster.login(1, "alice")
    if is_cut:
        assert alice.close_code() is None
        cluster.pass_time(elsewhere.CHECK_MS // SECOND)
    assert alice.close_code() == CloseCode.POLICY_VIOLATION
    assert newer.close_code() is None


def test_login_of_an_older_connection_is_refused(cluster: Cluster) -> None:
    older = cluster.worlds[0].connect("alice")
    cluster.clock.advance(SECOND)
    newer = cluster.login(1, "alice")
    older.put(older.auth(["ack"]))
    cluster.run()
    assert older.close_code() == CloseCode.POLICY_VIOLATION
    assert newer.close_code() is None


# --- a relay dies -----------------------------------------------------------------


@pytest.mark.usefixtures("alice")
def test_users_of_a_relay_that_died_are_told_absent_once(cluster: Cluster, bob: Client) -> None:
    cluster.pass_time(6)
    cluster.worlds[0].relay.tick = lambda: None  # type: ignore[method-assign] # it is dead
    cluster.pass_time(6)
    assert statuses(bob) == [], "not yet"
    dead = cluster.worlds[0].store._relay
    cluster.sql(f"UPDATE relays SET seen_at = seen_at - interval '16 seconds' WHERE relay = '{dead}'")  # noqa: S608 - hexadecimal
    cluster.pass_time(6)
    assert statuses(bob) == ["offline"]
    cluster.pass_time(12)
    assert statuses(bob) == []


def test_many_users_of_a_relay_that_died_are_told_absent_in_parts(cluster: Cluster, bob: Client) -> None:
    cluster.pass_time(LOOK)
    bob.take()
    count = 2_600
    cluster.sql(
        f"""
        INSERT INTO accounts (user_id, public_key, standing, active_on)
            SELECT 'u' || n, '', 0, 0 FROM generate_series(1, {count}) AS n;
        INSERT INTO written (sender, recipient, conversation)
            SELECT one.account, other.account, '' FROM accounts AS one, accounts AS other
            WHERE one.user_id = '{bob.person.id}' AND other.public_key = ''
                OR other.user_id = '{bob.person.id}' AND one.public_key = '';
        INSERT INTO sessions (account, relay, connected_at, presence)
            SELECT account, 'dead', 0, 'online' FROM accounts WHERE public_key = '';
        TRUNCATE presence_changes;
        """  # noqa: S608 - a number, and base64
    )
    found = run(cluster.worlds[0].store, KeepRelay(last_seen=0))
    assert 0 < len(found) <= count // 4
    left = {f"u{number}" for number in range(1, count + 1)} - {one.user_id for one in found}
    bob.session.shown.update(dict.fromkeys(left, PresenceStatus.ONLINE))
    cluster.pass_time(LOOK)
    assert {frame["payload"]["userId"] for frame in bob.take("PRESENCE")} == left
    assert cluster.sql("SELECT FROM sessions WHERE relay = 'dead'") == []


def test_sessions_are_written_down_again_after_the_database_has_lost_them(
    cluster: Cluster, alice: Client, bob: Client
) -> None:
    cluster.sql("TRUNCATE sessions, relays")
    cluster.pass_time(6)
    assert len(cluster.sql("SELECT account FROM sessions")) == 2
    cluster.send(alice, alice.person.presence("idle"))
    assert statuses(bob) == ["idle"]


# --- prekeys ----------------------------------------------------------------------


def test_each_prekey_is_handed_out_once_by_two_relays_at_a_time(postgres: PostgresServer, template: str) -> None:
    url = postgres.make_database(template)
    stores = [PostgresStore(url) for _ in range(2)]
    target = StoreUser(stores[0], "target")
    run(stores[0], PublishPreKeys(actor=target.actor, publication=publication(range(1, 101))))

    def take(store: PostgresStore, names: range) -> list[int]:
        users = [StoreUser(store, f"user {name}") for name in names]
        found = [user.exchange(target, wants_bundle=True) for user in users for _ in range(10)]
        return [one.bundle.one_time.id for one in found if one.bundle and one.bundle.one_time]  # type: ignore[union-attr]

    with ThreadPoolExecutor(2) as pool:
        taken = list(itertools.chain(*pool.map(take, stores, (range(5), range(5, 10)))))
    assert sorted(taken) == list(range(1, 101))
    for store in stores:
        store.close()
    postgres.drop_database(url)
