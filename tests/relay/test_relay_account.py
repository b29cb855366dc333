import pytest

from support.people import Frame
from support.simulated import SECOND, Client, World


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice")


@pytest.fixture
def bob(world: World, alice: Client) -> Client:
    """Alice's contact."""
    client = world.login("bob")
    world.befriend(alice, client)
    return client


def test_deletion_is_answered_by_1000_once_it_is_stored(world: World, alice: Client) -> None:
    world.writer.holding = True
    assert alice.send(alice.person.account_delete()) == []
    assert alice.close_code() is None
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert alice.close_code() == 1000
    assert world.peek(lambda tx: tx.directory.public_key(alice.person.id)) is None


def test_deletion_that_cannot_be_stored_is_refused(world: World, alice: Client) -> None:
    world.writer.full = True
    assert alice.ask(alice.person.account_delete())["payload"]["code"] == 1007
    assert alice.close_code() is None
    assert world.peek(lambda tx: tx.directory.public_key(alice.person.id)) == alice.person.public_key


@pytest.mark.parametrize("spoil", ["no signature", "the signature of another key"])
def test_deletion_must_be_signed(world: World, alice: Client, spoil: str) -> None:
    frame = alice.person.account_delete()
    if spoil == "no signature":
        del frame["signature"]
    else:
        frame["signature"] = world.person("mallory").account_delete()["signature"]
    assert alice.ask(frame)["type"] == "ERROR"
    assert world.peek(lambda tx: tx.directory.public_key(alice.person.id)) == alice.person.public_key


def test_mail_for_a_deleted_account_is_gone(world: World, alice: Client, bob: Client) -> None:
    bob.send(bob.person.message(alice.person))
    alice.send(alice.person.account_delete())
    assert world.login(alice.person).take() == []


def test_mail_that_a_deleted_account_had_sent_stays(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    message = alice.person.message(bob.person)
    alice.send(message)
    alice.send(alice.person.account_delete())
    [routed] = world.login(bob.person).take("MESSAGE")
    assert routed["payload"]["messageId"] == message["payload"]["messageId"]
    assert routed["payload"]["senderId"] == alice.person.id


def test_acknowledging_mail_of_a_deleted_account_removes_it(world: World, alice: Client, bob: Client) -> None:
    alice.send(alice.person.message(bob.person))
    alice.send(alice.person.account_delete())
    [routed] = bob.take("MESSAGE")
    assert bob.send(bob.person.ack(routed, "burned")) == []
    bob.drop()
    assert world.login(bob.person).take("MESSAGE") == []


def test_deleted_account_cannot_be_written_to(alice: Client, bob: Client) -> None:
    alice.send(alice.person.account_delete())
    bob.take()
    assert bob.ask(bob.person.message(alice.person))["payload"]["code"] == 1004
    assert bob.ask(bob.person.init(alice.person))["payload"]["code"] == 1004


def test_deleted_account_has_no_prekeys_and_no_contacts(world: World, alice: Client, bob: Client) -> None:
    alice.send(alice.person.publish(range(1, 21), last_resort=False))
    alice.send(alice.person.account_delete())
    again = world.login(alice.person)
    bob.take()
    assert again.ask(again.person.prekey_status())["payload"] == {"oneTimePreKeys": 0, "kemPreKeys": 0}
    again.send(again.person.presence("idle"))
    assert bob.take("PRESENCE") == []
    assert bob.ask(bob.person.asks_for(alice.person))["payload"] == {"userId": alice.person.id, "status": "offline"}


def test_all_sessions_of_a_deleted_account_end(world: World, alice: Client) -> None:
    newer = world.connect(alice.person)
    newer.put(newer.auth())
    alice.put(alice.person.account_delete())
    world.run()
    assert alice.close_code() in (1000, 1008)
    assert newer.close_code() == 1000
    assert world.peek(lambda tx: tx.directory.public_key(alice.person.id)) is None


def test_deletion_of_one_account_touches_no_other(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    world.befriend(bob, carol)
    alice.send(alice.person.account_delete())
    bob.take()
    bob.send(bob.person.message(carol.person))
    assert len(carol.take("MESSAGE")) == 1
    carol.send(carol.person.presence("idle"))
    assert [frame["payload"]["status"] for frame in bob.take("PRESENCE")] == ["idle"]


def test_message_of_the_same_turn_as_a_deletion_harms_nobody(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    alice.put(alice.person.account_delete())
    alice.put(alice.person.message(bob.person))
    carol.put(carol.person.message(bob.person))
    bob.put(bob.person.message(alice.person))
    world.run()
    assert [frame["payload"]["status"] for frame in carol.take()] == ["accepted"]
    answers: list[Frame] = bob.take()
    assert [frame["payload"]["code"] for frame in answers if frame["type"] == "ERROR"] == [1004]
    assert [frame["payload"]["senderId"] for frame in answers if frame["type"] == "MESSAGE"] == [carol.person.id]


def test_expired_mail_of_a_deleted_sender_is_swept(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    alice.send(alice.person.message(bob.person, metadata={"expiresIn": SECOND}))
    alice.send(alice.person.account_delete())
    world.pass_time(3 * SECOND)
    assert world.login(bob.person).take("MESSAGE") == []
