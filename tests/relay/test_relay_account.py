from collections.abc import Callable
from typing import Any

import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.directory import SQLiteDirectory
from phantom_messenger.engines.sqlite.tables import Tables
from support.faults import Faults
from support.people import Frame, Person, base64_text
from support.simulated import SECOND, Client, MakeWorld, World


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice")


@pytest.fixture
def bob(world: World, alice: Client) -> Client:
    """Alice's contact."""
    client = world.login("bob")
    world.make_contacts(alice, client)
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


def test_contacts_are_told_whose_part_was_deleted_first(
    monkeypatch: pytest.MonkeyPatch, alice: Client, bob: Client
) -> None:
    delete, parts = SQLiteDirectory.delete, []

    def in_parts(self: SQLiteDirectory, user_id: str) -> bool:
        parts.append(user_id)
        if len(parts) > 1:
            return delete(self, user_id)
        self._connection.execute("DELETE FROM written")
        self.forget()
        return False

    monkeypatch.setattr(SQLiteDirectory, "delete", in_parts)
    alice.send(alice.person.account_delete())
    assert len(parts) == 2
    [notice] = bob.take("PRESENCE")
    assert notice["payload"]["status"] == "offline"


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
    deletion = alice.person.account_delete()
    newer = world.connect(alice.person)
    newer.put(newer.auth())
    alice.put(deletion)
    world.run()
    assert alice.close_code() in (1000, 1008)
    assert newer.connection.closed == (1000, "account deleted")
    assert world.peek(lambda tx: tx.directory.public_key(alice.person.id)) is None


def test_deletion_of_one_account_touches_no_other(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    world.make_contacts(bob, carol)
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


# --- what is on its way behind a deletion -----------------------------------------

BEHIND: dict[str, Callable[[Person, Person], Frame]] = {
    "MESSAGE": lambda me, to: me.message(to),
    "MESSAGE to oneself": lambda me, _: me.message(me),
    "MESSAGE_ACK": lambda me, _: me.confirm(1),
    "KEY_EXCHANGE_INIT": lambda me, to: me.init(to),
    "KEY_EXCHANGE_RESPONSE": lambda me, to: me.response(to),
    "PREKEY_PUBLISH": lambda me, _: me.publish([1]),
    "PREKEY_STATUS": lambda me, _: me.prekey_status(),
    "PRESENCE": lambda me, _: me.presence("idle"),
    "PRESENCE query": lambda me, to: me.asks_for(to),
    "BLOCK": lambda me, to: me.block(to),
    "ACCOUNT_DELETE": lambda me, _: me.account_delete(),
    "PING": lambda me, _: me.ping(),
}


@pytest.mark.parametrize("make", BEHIND.values(), ids=BEHIND)
def test_frame_behind_a_deletion_is_dropped_quietly(
    world: World, alice: Client, bob: Client, make: Callable[[Person, Person], Frame], caplog: pytest.LogCaptureFixture
) -> None:
    world.clock.advance(1)
    bob.send(bob.person.publish([1, 2, 3]))
    runs: list[Any] = []
    guarded = SQLiteStore._run_guarded

    def noted(store: SQLiteStore, do: Any, tables: Tables, job: Any) -> Any:
        runs.append(job)
        return guarded(store, do, tables, job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SQLiteStore, "_run_guarded", noted)
        alice.send(alice.person.account_delete(), make(alice.person, bob.person))
        assert [frame["type"] for frame in bob.send(bob.person.ping())][-1] == "PONG"
    assert runs == []
    assert caplog.messages == []
    assert alice.close_code() == 1000
    assert world.peek(lambda tx: tx.directory.public_key(alice.person.id)) is None
    assert world.peek(lambda tx: tx.directory.blocks(alice.person.id)) == frozenset()


@pytest.mark.parametrize("kind", ["MESSAGE", "KEY_EXCHANGE_INIT", "PREKEY_PUBLISH", "BLOCK"])
def test_frame_behind_a_deletion_is_a_fault_without_the_check(
    alice: Client, bob: Client, kind: str, faults: Faults
) -> None:
    """The control."""
    bob.send(bob.person.publish([1, 2, 3]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SQLiteDirectory, "is_current", lambda *_: True)
        alice.send(alice.person.account_delete(), BEHIND[kind](alice.person, bob.person))
    assert faults.take()


def test_what_an_old_key_still_sends_is_not_the_new_ones(make_world: MakeWorld) -> None:
    """A certified login takes an id: what is on its way of the one who had claimed it does not count as its own."""
    world = make_world(reference_clients=True, limits=False)
    owner = world.person("owner")
    claimant = world.connect(world.person("claimant", user_id=owner.id))
    claimant.person.bind(claimant.acknowledgement, claimant.host)
    assert claimant.ask(claimant.person.unsigned_auth())["type"] == "AUTH_SUCCESS"
    newcomer = world.connect(owner)
    newcomer.put(newcomer.auth(["ack"]))
    claimant.put(claimant.person.publish([1, 2, 3]))
    world.run()
    assert newcomer.take()[0]["type"] == "AUTH_SUCCESS"
    assert world.peek(lambda tx: tx.prekeys.counts(owner.id)).one_time == 0
    assert claimant.close_code() == 1008


@pytest.mark.parametrize("knows", [True, False], ids=["", "control"])
def test_what_is_on_its_way_without_a_proof_is_not_of_the_one_who_proves_the_key(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, knows: bool
) -> None:
    if not knows:
        monkeypatch.setattr(SQLiteDirectory, "signs", lambda *_: False)
    world = make_world(reference_clients=True, limits=False)
    owner = world.person("owner", user_id=base64_text(bytes(range(16))))
    unproved = world.connect(owner)
    owner.bind(unproved.acknowledgement, unproved.host)
    assert unproved.ask(owner.unsigned_auth())["type"] == "AUTH_SUCCESS"
    publication = owner.publish([1, 2, 3])
    newcomer = world.connect(owner)
    newcomer.put(newcomer.auth(["ack"]))
    unproved.put(publication)
    world.run()
    assert newcomer.take()[0]["type"] == "AUTH_SUCCESS"
    assert world.peek(lambda tx: tx.prekeys.counts(owner.id)).one_time == (0 if knows else 3)
