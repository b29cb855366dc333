"""A login with the feature `absent`: contacts cannot tell that a device is on."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import pytest

from phantom_messenger.engines.sqlite.mailboxes import SQLiteMailboxes, Times
from phantom_messenger.relay import hidden_receipts
from phantom_messenger.relay.commands import DeliveryOutcome, MessageName
from phantom_messenger.relay.hidden_receipts import HiddenReceipts
from phantom_messenger.wire.frames import Status
from support.people import Frame
from support.reference_client import ReferenceClient
from support.relay_process import RelayProcess, StartRelay, patched
from support.simulated import HOUR, MINUTE, SECOND, Client, World
from support.waiting import PATIENCE

ABSENT: Final = ["ack", "absent"]


def log_in(world: World, name: str, features: list[str]) -> Client:
    client = world.connect(name)
    assert client.send(client.auth(features))[0]["type"] == "AUTH_SUCCESS"
    return client


@pytest.fixture
def bob(world: World) -> Client:
    """Somebody who is there, and whose contact alice is away."""
    alice, bob = world.login("alice"), world.login("bob")
    world.make_contacts(alice, bob)
    alice.drop()
    world.pass_time(MINUTE)
    bob.settle()
    bob.take()
    return bob


def asked(bob: Client) -> Frame:
    """What he is told of alice."""
    payload: Frame = bob.ask(bob.person.asks_for(bob.world.person("alice")))["payload"]
    return payload


def statuses(bob: Client) -> list[str]:
    """What he hears of his messages, acknowledged."""
    frames = bob.take("MESSAGE_ACK")
    bob.send(*(bob.person.confirm(frame["seq"]) for frame in frames if "seq" in frame))
    return [frame["payload"]["status"] for frame in frames]


def test_contacts_hear_nothing_of_a_login_and_its_end(bob: Client) -> None:
    before = asked(bob)
    assert before["status"] == "offline"
    alice = log_in(bob.world, "alice", ABSENT)
    bob.world.pass_time(MINUTE)
    assert bob.take() == []
    assert asked(bob) == before, "nor when she was there"
    alice.drop()
    bob.world.pass_time(MINUTE)
    assert bob.take() == []
    assert asked(bob) == before


def test_contact_who_is_met_hears_nothing(bob: Client) -> None:
    alice, carol = log_in(bob.world, "alice", ABSENT), bob.world.login("carol")
    alice.send(alice.person.message(carol.person))
    carol.settle()
    assert [frame["type"] for frame in carol.send(carol.person.message(alice.person))] == ["MESSAGE_ACK"]
    assert [frame["payload"]["userId"] for frame in alice.take("PRESENCE")] == [carol.person.id]


def test_she_sees_the_others(bob: Client) -> None:
    client = bob.world.connect("alice")
    frames = client.send(client.auth(ABSENT))
    assert [frame["payload"]["status"] for frame in frames if frame["type"] == "PRESENCE"] == ["online"]


def test_who_appears_while_it_is_stored_is_told_of(bob: Client) -> None:
    world = bob.world
    alice = log_in(world, "alice", ABSENT)
    bob.send(bob.person.message(alice.person))
    [message] = alice.take("MESSAGE")
    world.writer.holding = True
    alice.send(alice.person.ack(message, "read"))
    alice.send(alice.person.presence("online"))
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert statuses(bob) == ["read"]


def test_absence_told_again_is_not_told(bob: Client) -> None:
    alice = log_in(bob.world, "alice", ABSENT)
    alice.send(alice.person.presence("offline"))
    assert bob.take() == []
    alice.send(alice.person.presence("online"))
    assert [frame["payload"]["status"] for frame in bob.take("PRESENCE")] == ["online"]
    alice.send(alice.person.presence("offline"))
    assert [frame["payload"]["status"] for frame in bob.take("PRESENCE")] == ["offline"]


@pytest.mark.parametrize("how", ["she was cut off", "the absent login takes over"])
def test_absent_login_looks_like_the_departure_of_the_one_before(bob: Client, how: str) -> None:
    alice = bob.world.login("alice")
    assert [frame["payload"]["status"] for frame in bob.take("PRESENCE")] == ["online"]
    if how == "she was cut off":
        alice.drop()
    left = bob.world.clock.wall // MINUTE * MINUTE
    log_in(bob.world, "alice", ABSENT)
    bob.world.pass_time(9 * SECOND)
    assert bob.take() == []
    bob.world.pass_time(2 * SECOND)
    [notice] = bob.take()
    assert (notice["payload"]["status"], notice["payload"]["lastSeen"]) == ("offline", left)
    bob.world.pass_time(2 * MINUTE)
    assert asked(bob)["lastSeen"] == left


def test_last_seen_is_when_she_began_to_look_absent(bob: Client) -> None:
    alice = bob.world.login("alice")
    bob.take()
    alice.send(alice.person.presence("offline"))
    left = bob.world.clock.wall // MINUTE * MINUTE
    bob.world.pass_time(2 * MINUTE)
    alice.drop()
    bob.world.pass_time(MINUTE)
    bob.take()
    assert asked(bob)["lastSeen"] == left


# --- what becomes of messages ---------------------------------------------------------


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
@pytest.mark.parametrize("how", ["by her login", "by her status"])
def test_sender_hears_nothing_of_what_she_takes(bob: Client, status: str, how: str) -> None:
    alice = log_in(bob.world, "alice", ABSENT if how == "by her login" else ["ack"])
    alice.send(alice.person.presence("offline"))
    bob.take()
    assert [frame["payload"]["status"] for frame in bob.send(bob.person.message(alice.person))] == ["accepted"]
    [message] = alice.take("MESSAGE")
    alice.send(alice.person.ack(message, status))
    bob.world.pass_time(MINUTE)
    assert bob.take() == []
    alice.drop()
    assert log_in(bob.world, "alice", ABSENT).take("MESSAGE") == [], "but it was taken"


def test_socket_of_a_client_without_acks_tells_nothing(bob: Client) -> None:
    alice = log_in(bob.world, "alice", ["absent"])
    assert [frame["payload"]["status"] for frame in bob.send(bob.person.message(alice.person))] == ["accepted"]
    assert len(alice.take("MESSAGE")) == 1
    bob.world.pass_time(MINUTE)
    assert bob.take() == []


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
@pytest.mark.parametrize("how", ["a login", "a status"])
def test_senders_are_told_when_she_shows_herself(bob: Client, status: str, how: str) -> None:
    alice = log_in(bob.world, "alice", ABSENT)
    bob.send(bob.person.message(alice.person))
    [message] = alice.take("MESSAGE")
    alice.send(alice.person.ack(message))
    alice.send(alice.person.ack(message, status))
    bob.take()
    if how == "a login":
        alice.drop()
        log_in(bob.world, "alice", ["ack"])
    else:
        alice.send(alice.person.presence("online"))
    assert statuses(bob) == [status]
    bob.world.login("alice")
    assert statuses(bob) == [], "once"


@pytest.mark.parametrize("she_is", ["away", "absent"])
def test_message_whose_time_comes_has_expired_either_way(bob: Client, she_is: str) -> None:
    alice = log_in(bob.world, "alice", ABSENT) if she_is == "absent" else None
    bob.send(bob.person.message(bob.world.person("alice"), metadata={"expiresIn": 5_000}))
    if alice is not None:
        [message] = alice.take("MESSAGE")
        alice.send(alice.person.ack(message))
    heard = []
    for _ in range(8):
        bob.world.pass_time(SECOND)
        heard.append(statuses(bob))
    assert heard == [[]] * 4 + [["expired"]] + [[]] * 3
    bob.world.login("alice")
    assert statuses(bob) == []


@pytest.mark.parametrize("she_is", ["away", "absent"])
def test_message_that_waits_for_too_long_has_expired_either_way(bob: Client, she_is: str) -> None:
    alice = log_in(bob.world, "alice", ABSENT) if she_is == "absent" else None
    bob.send(bob.person.message(bob.world.person("alice")))
    if alice is not None:
        [message] = alice.take("MESSAGE")
        alice.send(alice.person.ack(message))
    bob.take()
    for day in range(32):
        bob.world.clock.advance(24 * HOUR)
        bob.session.heard_at = bob.world.clock.monotonic_ms()
        bob.world.tick()
        assert statuses(bob) == (["expired"] if day == 29 else [])


@pytest.mark.parametrize("protected", [True, False], ids=["", "control"])
def test_message_that_waits_for_too_long_expires_as_long_after_it_was_accepted(
    bob: Client, monkeypatch: pytest.MonkeyPatch, protected: bool
) -> None:
    """Also if it was fetched hours later; the control counts from then."""
    if not protected:
        monkeypatch.setattr(SQLiteMailboxes, "times", lambda *_: Times(None, None))
    bob.send(bob.person.message(bob.world.person("alice")))
    bob.world.clock.advance(20 * HOUR)
    log_in(bob.world, "alice", ABSENT).connection.written.clear()
    alice = bob.world.connect("alice")
    alice.put(alice.auth(ABSENT))
    bob.world.run()
    alice.settle()
    bob.world.clock.advance(30 * 24 * HOUR - 20 * HOUR - SECOND)
    bob = bob.world.login("bob")
    assert statuses(bob) == []
    bob.world.pass_time(2 * SECOND)
    assert statuses(bob) == (["expired"] if protected else [])


@pytest.mark.parametrize("status", ["read", "burned"])
def test_message_that_was_delivered_before_does_not_expire(bob: Client, status: str) -> None:
    alice = log_in(bob.world, "alice", ["ack"])
    bob.send(bob.person.message(alice.person))
    [message] = alice.take("MESSAGE")
    alice.send(alice.person.ack(message))
    assert statuses(bob) == ["delivered"]
    alice.send(alice.person.presence("offline"), alice.person.ack(message, status))
    bob.world.clock.advance(31 * 24 * HOUR)
    bob = bob.world.login("bob")
    bob.world.pass_time(2 * SECOND)
    assert statuses(bob) == []
    bob.world.login("alice")
    assert statuses(bob) == [status]


def expired_together(bob: Client, *, she_is_there: bool) -> list[str]:
    """Of messages of one turn that expire at one time, the ends of their ids, in the order in which they are told."""
    alice = log_in(bob.world, "alice", ABSENT) if she_is_there else None
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in (3, 1, 4, 2, 5)]
    person = bob.world.person("alice")
    bob.send(*(bob.person.message(person, message_id=one, metadata={"expiresIn": 5_000}) for one in ids))
    if alice is not None:
        alice.settle()
    bob.take()
    bob.world.pass_time(8 * SECOND)
    told = bob.take("MESSAGE_ACK")
    assert len({frame["payload"]["timestamp"] for frame in told}) == 1
    return [frame["payload"]["messageId"][-1] for frame in told]


@pytest.mark.parametrize("she_is", ["away", "absent"])
def test_messages_that_expire_at_once_are_told_in_their_order_either_way(bob: Client, she_is: str) -> None:
    assert expired_together(bob, she_is_there=she_is == "absent") == list("31425")


def test_order_would_tell_of_a_device(bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: told by their names."""
    expired = HiddenReceipts.pop_expired
    monkeypatch.setattr(
        HiddenReceipts,
        "pop_expired",
        lambda self, now: iter(sorted(expired(self, now), key=lambda one: one[1].message_id)),
    )
    assert expired_together(bob, she_is_there=True) == list("12345")


def test_nothing_stays_of_what_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_receipts, "_SLACK", 10)
    kept = HiddenReceipts()
    for number in range(1_000):
        kept.add("alice", MessageName("bob", str(number)), DeliveryOutcome(Status.DELIVERED, 0, 10**9))
        kept.pop("alice")
        assert len(kept._times) <= 11
    assert not kept._due
    assert not kept._users
    kept.add("alice", MessageName("bob", "1"), DeliveryOutcome(Status.DELIVERED, 0, 5))
    assert list(kept.pop_expired(5)) == [("alice", MessageName("bob", "1"))]
    assert not kept._users


def flood(bob: Client, count: int) -> list[int | None]:
    """What so many messages to alice are answered with."""
    answers = [bob.ask(bob.person.message(bob.world.person("alice")))["payload"] for _ in range(count)]
    return [answer.get("code") for answer in answers]


@pytest.mark.parametrize("she_is", ["away", "absent"])
def test_mailbox_fills_either_way(bob: Client, she_is: str) -> None:
    if she_is == "absent":
        alice = log_in(bob.world, "alice", ABSENT)
        written = alice.connection.written

        def acknowledging() -> Iterator[None]:
            while True:
                alice.settle()
                yield

        step = acknowledging()
    codes = []
    for _ in range(101):
        codes += flood(bob, 10)
        if she_is == "absent":
            next(step)
    assert codes == [None] * 1_000 + [1003] * 10
    if she_is == "absent":
        assert sum(b'"type":"MESSAGE"' in text for text in written) == 1_000, "although she has them all"


def test_mailbox_is_open_again_after_a_day_and_for_others_always(bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_receipts, "MAX_BACKLOG", 3)
    alice, carol = log_in(bob.world, "alice", ABSENT), bob.world.login("carol")
    bob.world.make_contacts(alice, carol)
    bob.take()
    first = bob.person.message(alice.person, message_id=bob.person.new_message_id())
    bob.send(first)
    alice.settle()
    for code in (None, None, 1003):
        assert flood(bob, 1) == [code]
        alice.settle()
    assert bob.ask(first)["payload"]["status"] == "accepted", "as if it were waiting"
    [answer] = carol.send(carol.person.message(alice.person))
    assert answer["payload"]["status"] == "accepted"
    bob.world.clock.advance(hidden_receipts.COUNTS_MS)
    assert flood(bob.world.login("bob"), 1) == [None]


def test_whoever_is_written_to_is_told(bob: Client) -> None:
    alice, carol = log_in(bob.world, "alice", ABSENT), bob.world.login("carol")
    bob.world.make_contacts(alice, carol)
    for friend in (bob, carol):
        friend.send(friend.person.message(alice.person))
        friend.take()
    alice.settle()
    alice.send(alice.person.message(bob.person))
    assert statuses(bob) == ["delivered"]
    assert statuses(carol) == []


def test_deleted_account_leaves_nothing(bob: Client) -> None:
    alice = log_in(bob.world, "alice", ABSENT)
    bob.send(bob.person.message(alice.person))
    alice.settle()
    alice.send(alice.person.account_delete())
    bob.take()
    bob.world.login("alice")
    assert bob.take() == []


def test_what_is_kept_back_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_receipts, "MAX_HIDDEN", 10)
    kept = HiddenReceipts()
    for number in range(8):
        kept.add("early", MessageName("bob", str(number)), DeliveryOutcome(Status.DELIVERED, 0, number))
    for number in range(8):
        kept.add("late", MessageName("bob", str(number)), DeliveryOutcome(Status.DELIVERED, 0, 100 + number))
    assert kept.pop("early") == []
    assert list(kept.pop_expired(101)) == [("late", MessageName("bob", "0")), ("late", MessageName("bob", "1"))]
    kept.add("late", MessageName("bob", "7"), DeliveryOutcome(Status.READ, 5, None))
    assert kept.pop("late", "carol") == []
    assert kept.pop("late")[-1] == (MessageName("bob", "7"), DeliveryOutcome(Status.READ, 0, 107))
    assert kept.pop("late") == []
    monkeypatch.setattr(hidden_receipts, "MAX_BACKLOG", 3)
    for number in range(5):
        kept.add("alice", MessageName("bob", str(number)), DeliveryOutcome(Status.DELIVERED, 0, None))
    assert [name.message_id for name, _ in kept.pop("alice", "bob")] == ["2", "3", "4"]
    assert list(kept.pop_expired(1_000)) == []
    assert len(kept._times) == 0


def test_message_counts_as_waiting_for_a_day_unless_it_was_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_receipts, "MAX_BACKLOG", 2)
    kept, new = HiddenReceipts(), MessageName("bob", "new")
    kept.add("alice", MessageName("bob", "1"), DeliveryOutcome(Status.DELIVERED, 1_000, 1 << 50))
    assert not kept.has_no_room("alice", new, 1_000)
    kept.add("alice", MessageName("bob", "2"), DeliveryOutcome(Status.DELIVERED, 2_000, 1 << 50))
    day = hidden_receipts.COUNTS_MS
    assert [kept.has_no_room("alice", new, now) for now in (2_000, 999 + day, 1_000 + day)] == [True, True, False]
    assert not kept.has_no_room("alice", MessageName("bob", "2"), 2_000), "it has its place"
    assert not kept.has_no_room("alice", MessageName("carol", "new"), 2_000)
    assert not kept.has_no_room("somebody who is there", new, 2_000)
    kept.add("carol", MessageName("bob", "1"), DeliveryOutcome(Status.READ, 2_000, None))
    kept.add("carol", MessageName("bob", "2"), DeliveryOutcome(Status.DELIVERED, 2_000, 1 << 50))
    assert not kept.has_no_room("carol", new, 2_000), "what does not expire had been delivered before"


# --- over the real relay --------------------------------------------------------------


def heard_of_a_flood(relay: RelayProcess, *, she_is_there: bool, patience: float = PATIENCE) -> list[str]:
    """All that a contact is told while he writes 30 messages, some of which expire, to somebody who looks absent."""
    with ReferenceClient(relay.url) as alice, ReferenceClient(relay.url) as bob:
        for one in (alice, bob):
            one.login(["ack"])
        for one, other in ((alice, bob), (bob, alice)):
            one.send(one.person.message(other.person))
            one.settle()
        bob.settle()
        alice.send(alice.person.presence("offline"))
        alice.settle()
        person = alice.person
    with ReferenceClient(relay.url, bob.person) as bob:
        bob.login(["ack"])
        for frame in bob.settle():
            if "seq" in frame:
                bob.send(acknowledged(bob, frame))
        device = ReferenceClient(relay.url, person).login(ABSENT) if she_is_there else None
        heard = []
        for number in range(30):
            bob.send(bob.person.message(person, metadata={"expiresIn": 2_000} if number % 3 == 0 else None))
            heard += [frame["payload"]["status"] for frame in bob.settle()]
            if device is not None:
                for frame in device.settle():
                    if frame["type"] == "MESSAGE":
                        device.send(device.person.ack(frame, "delivered"))
                        device.send(device.person.ack(frame, "read"))
                device.settle()
        with suppress(TimeoutError):
            while heard.count("expired") < 10:
                heard.append(bob.until("MESSAGE_ACK", patience)["payload"]["status"])
        heard += [frame["payload"]["status"] for frame in bob.settle()]
        if device is not None:
            device.close()
        return sorted(heard)


def acknowledged(client: ReferenceClient, frame: Frame) -> Frame:
    return client.person.ack(frame) if frame["type"] == "MESSAGE" else client.person.confirm(frame["seq"])


SHOWS: Final = """
from phantom_messenger.relay.session import Session
Session.looks_absent = property(lambda session: False)
"""


def test_flood_tells_a_contact_nothing_of_a_device_that_is_on(relay: RelayProcess) -> None:
    assert heard_of_a_flood(relay, she_is_there=True) == heard_of_a_flood(relay, she_is_there=False)


def test_flood_would_tell_of_it(start_relay: StartRelay) -> None:
    """The control: with receipts for what an absent session takes."""
    relay = start_relay("--limits", "off", command=patched(SHOWS))
    assert "delivered" in heard_of_a_flood(relay, she_is_there=True, patience=1.0)
