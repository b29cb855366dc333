import pytest

from support.people import Frame
from support.simulated import SECOND, Client, World

BIG = "QUJD" * 15_000
"""60,000 characters: four make a slow reader's limit."""


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice")


@pytest.fixture
def bob(world: World, alice: Client) -> Client:
    """Alice's contact, who acknowledges."""
    client = world.login("bob")
    world.make_contacts(alice, client)
    return client


def ids(frames: list[Frame]) -> list[str]:
    return [frame["payload"]["messageId"] for frame in frames]


def messages(sender: Client, recipient: Client, count: int, encrypted: str = "QUJD") -> list[Frame]:
    return [sender.person.message(recipient.person, encrypted=encrypted) for _ in range(count)]


# --- reconnecting -----------------------------------------------------------------


def test_messages_wait_in_order_while_their_recipient_is_away(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    sent = messages(alice, bob, 50)
    for message in sent:
        alice.send(message)
    assert ids(world.login(bob.person).take("MESSAGE")) == ids(sent)


def test_unacknowledged_messages_come_again_before_anything_new(world: World, alice: Client, bob: Client) -> None:
    sent = messages(alice, bob, 6)
    alice.send(*sent[:4])
    received = bob.take("MESSAGE")
    bob.send(bob.person.ack(received[1]))
    bob.drop()
    alice.send(sent[4])
    bob = world.login(bob.person)
    alice.send(sent[5])
    found = bob.take("MESSAGE")
    assert ids(found) == ids([sent[0], *sent[2:]])
    assert found[0] == received[0], "the same frame, the same seq"


def test_message_of_the_same_turn_as_a_login_arrives_once(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    sent = messages(alice, bob, 4)
    alice.send(sent[0])
    bob = world.connect(bob.person)
    alice.put(sent[1])
    bob.put(bob.auth(["ack"]))
    alice.put(sent[2])
    world.run()
    alice.send(sent[3])
    assert ids(bob.take("MESSAGE")) == ids(sent)


@pytest.mark.parametrize("when", range(4))
def test_message_stored_around_a_login_arrives_once(world: World, alice: Client, bob: Client, when: int) -> None:
    """The store is busy while messages and the login come in separate turns."""
    bob.drop()
    sent = messages(alice, bob, 3)
    bob = world.connect(bob.person)
    world.writer.holding = True
    for turn in range(4):
        if turn == when:
            bob.put(bob.auth(["ack"]))
        else:
            alice.put(sent[turn - (turn > when)])
        world.run()
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert ids(bob.take("MESSAGE")) == ids(sent)


def test_messages_survive_a_restart(world: World, alice: Client, bob: Client) -> None:
    sent = messages(alice, bob, 3)
    alice.send(*sent)
    after = world.restarted()
    assert ids(after.login(bob.person).take("MESSAGE")) == ids(sent)


def test_seq_goes_on_after_a_restart(world: World, alice: Client, bob: Client) -> None:
    alice.send(*messages(alice, bob, 3))
    before = [frame["seq"] for frame in bob.take("MESSAGE")]
    after = world.restarted()
    alice, bob = after.login(alice.person), after.login(bob.person)
    bob.take()
    alice.send(*messages(alice, bob, 1))
    [message] = bob.take("MESSAGE")
    assert message["seq"] > max(before)


# --- one live session -------------------------------------------------------------


def test_newer_login_takes_over(world: World, alice: Client, bob: Client) -> None:
    newer = world.login(bob.person)
    assert bob.connection.closed == (1008, "replaced by a newer login")
    alice.send(*messages(alice, bob, 1))
    assert len(newer.take("MESSAGE")) == 1
    assert bob.take() == []
    bob.send(bob.person.ping())
    assert bob.take() == [], "the older session is not heard any more"


def test_takeover_loses_and_doubles_nothing(world: World, alice: Client, bob: Client) -> None:
    sent = messages(alice, bob, 9)
    alice.send(*sent[:3])
    for message in bob.take("MESSAGE"):
        bob.send(bob.person.ack(message))
    alice.send(*sent[3:5])
    unconfirmed = bob.take("MESSAGE")
    newer = world.connect(bob.person)
    alice.put(sent[5])
    newer.put(newer.auth(["ack"]))
    alice.put(sent[6])
    world.run()
    alice.send(*sent[7:])
    found = newer.take("MESSAGE")
    assert ids(found) == ids(sent[3:])
    assert found[:2] == unconfirmed
    assert bob.connection.closed == (1008, "replaced by a newer login")


def test_takeover_of_a_dead_connection_works_before_its_end_is_noticed(
    world: World, alice: Client, bob: Client
) -> None:
    bob.connection.stalled = True
    sent = messages(alice, bob, 5)
    alice.send(*sent)
    newer = world.login(bob.person)
    world.relay.disconnected(bob.session)
    world.run()
    assert ids(newer.take("MESSAGE")) == ids(sent)
    alice.send(*messages(alice, bob, 1))
    assert len(newer.take("MESSAGE")) == 1, "the end of the older connection is not the newer one's"


def test_ten_takeovers_in_one_turn_leave_one_session(world: World, alice: Client, bob: Client) -> None:
    newer = [world.connect(bob.person) for _ in range(10)]
    for client in newer:
        client.put(client.auth(["ack"]))
    world.run()
    assert [client.close_code() for client in [bob, *newer]] == [1008] * 10 + [None]
    alice.send(*messages(alice, bob, 1))
    assert [len(client.take("MESSAGE")) for client in newer] == [0] * 9 + [1]


# --- slow readers -----------------------------------------------------------------


def test_slow_reader_is_sent_no_more_than_its_bound(alice: Client, bob: Client) -> None:
    bob.connection.stalled = True
    sent = messages(alice, bob, 100, BIG)
    for message in sent:
        assert alice.ask(message)["payload"]["status"] == "accepted"
    assert bob.connection.most_waiting < 262_144
    assert bob.connection.most_waiting > 196_608, "the control: it was sent all that it may be"


def test_slow_reader_gets_everything_in_order_at_last(world: World, alice: Client, bob: Client) -> None:
    bob.connection.stalled = True
    sent = messages(alice, bob, 40, BIG)
    alice.send(*sent)
    late = messages(alice, bob, 40)
    for index, message in enumerate(late):
        if index % 10 == 0:
            bob.connection.waiting = 0
            world.relay.writable(bob.session)
            world.run()
        alice.send(message)
    bob.unstall()
    assert ids(bob.take("MESSAGE")) == ids(sent + late)


def test_reader_who_takes_a_little_at_a_time_gets_everything_once(world: World, alice: Client, bob: Client) -> None:
    bob.connection.stalled = True
    sent = messages(alice, bob, 30, BIG)
    alice.send(*sent)
    for _ in range(200):
        bob.connection.waiting = max(0, bob.connection.waiting - 20_000)
        world.tick()
    bob.unstall()
    assert ids(bob.take("MESSAGE")) == ids(sent)
    assert bob.connection.most_waiting < 524_288


def test_slow_reader_is_no_burden_for_others(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    bob.connection.stalled = True
    alice.send(*messages(alice, bob, 30, BIG))
    message = alice.person.message(carol.person)
    alice.send(message)
    assert ids(carol.take("MESSAGE")) == ids([message])


def test_reader_who_takes_nothing_is_cut_and_keeps_its_mail(world: World, alice: Client, bob: Client) -> None:
    sent = messages(alice, bob, 3)
    bob.connection.stalled = True
    alice.send(*sent)
    world.pass_time(9 * SECOND)
    assert not bob.connection.is_aborted()
    world.pass_time(3 * SECOND)
    assert bob.connection.is_aborted()
    assert ids(world.login(bob.person).take("MESSAGE")) == ids(sent)


def test_reader_who_leaves_answers_unread_is_cut(world: World, alice: Client) -> None:
    alice.connection.stalled = True
    for _ in range(30):
        for _ in range(1_000):
            alice.put(alice.person.ping(id="x" * 64))
        world.run()
        world.tick()
        if alice.connection.is_aborted():
            return
    pytest.fail(f"{alice.connection.waiting} bytes wait for a client that reads nothing")


def test_backlog_larger_than_a_page_arrives_whole(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    sent = messages(alice, bob, 30, BIG)
    alice.send(*sent)
    bob = world.login(bob.person)
    more = messages(alice, bob, 5)
    alice.send(*more)
    world.run()
    assert ids(bob.take("MESSAGE")) == ids(sent + more)


def test_page_that_cannot_be_read_is_read_later(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    sent = messages(alice, bob, 20, BIG)
    alice.send(*sent)
    bob = world.connect(bob.person)
    world.writer.holding = True
    bob.send(bob.auth(["ack"]))
    world.writer.run_held()
    world.run()
    world.writer.holding = False
    world.writer.full = True
    world.writer.run_held()
    world.run()
    world.writer.full = False
    world.pass_time(2 * SECOND)
    assert ids(bob.take("MESSAGE")) == ids(sent)
