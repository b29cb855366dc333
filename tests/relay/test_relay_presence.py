import pytest

from phantom_messenger.relay.hub import Hub
from support.people import Frame, key_text
from support.simulated import HOUR, MINUTE, SECOND, Client, World


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice")


@pytest.fixture
def bob(world: World, alice: Client) -> Client:
    """Alice's contact."""
    client = world.login("bob")
    world.make_contacts(alice, client)
    return client


def notices(client: Client) -> list[tuple[str, str]]:
    """Whose status a client was told, and what it is."""
    return [(frame["payload"]["userId"], frame["payload"]["status"]) for frame in client.take("PRESENCE")]


def asked(client: Client, other: Client) -> Frame:
    answer = client.ask(client.person.asks_for(other.person, id="request-1"))
    assert (answer["type"], answer["id"]) == ("PRESENCE", "request-1")
    payload: Frame = answer["payload"]
    assert payload.pop("userId") == other.person.id
    return payload


# --- contacts ---------------------------------------------------------------------


@pytest.mark.parametrize("status", ["online", "idle", "offline"])
def test_contact_is_told_a_status(world: World, alice: Client, bob: Client, status: str) -> None:
    assert alice.send(alice.person.presence(status)) == []
    assert bob.take() == [
        {
            "type": "PRESENCE",
            "timestamp": world.clock.wall,
            "payload": {"userId": alice.person.id, "status": status},
        }
    ]


@pytest.mark.parametrize(
    "relation", ["nobody", "one who wrote to alice", "one to whom alice wrote", "one who asked alice for keys"]
)
def test_stranger_is_told_nothing(world: World, alice: Client, relation: str) -> None:
    other = world.login("other")
    match relation:
        case "one who wrote to alice":
            other.send(other.person.message(alice.person))
        case "one to whom alice wrote":
            alice.send(alice.person.message(other.person))
        case "one who asked alice for keys":
            other.send(other.person.init(alice.person))
    other.take()
    alice.send(alice.person.presence("idle"), alice.person.presence("typing", "conversation"))
    alice.drop()
    world.pass_time(11 * SECOND)
    world.login(alice.person)
    assert notices(other) == []


def test_key_exchange_makes_contacts_too(world: World, alice: Client) -> None:
    other = world.login("other")
    other.send(other.person.init(alice.person))
    alice.send(alice.person.response(other.person))
    other.take()
    alice.send(alice.person.presence("idle"))
    assert notices(other) == [(alice.person.id, "idle")]


@pytest.mark.parametrize("how", ["messages", "a key exchange"])
def test_new_contacts_are_told_who_is_here(world: World, alice: Client, how: str) -> None:
    other = world.login("other")
    alice.send(alice.person.presence("idle"))
    if how == "messages":
        other.send(other.person.message(alice.person))
        assert notices(alice) == notices(other) == [], "they are not contacts yet"
        alice.send(alice.person.message(other.person))
    else:
        other.send(other.person.init(alice.person))
        assert notices(alice) == notices(other) == []
        alice.put(alice.person.response(other.person))
        world.run()
    assert notices(other) == [(alice.person.id, "idle")]


def test_new_contact_that_hides_is_not_told_of(world: World, alice: Client) -> None:
    other = world.login("other")
    alice.send(alice.person.presence("offline"))
    other.send(other.person.message(alice.person))
    alice.send(alice.person.message(other.person))
    assert notices(other) == []


def test_refused_message_makes_no_contact(world: World, alice: Client) -> None:
    other = world.login("other")
    alice.send(alice.person.message(other.person))
    other.send({**other.person.message(alice.person), "signature": alice.person.message(other.person)["signature"]})
    other.take()
    alice.send(alice.person.presence("idle"))
    assert notices(other) == []


# --- typing -----------------------------------------------------------------------


def test_typing_goes_to_the_participant_of_a_conversation(alice: Client, bob: Client) -> None:
    assert alice.send(alice.person.presence("typing", "conversation")) == []
    [notice] = bob.take()
    assert notice["payload"] == {
        "userId": alice.person.id,
        "status": "typing",
        "conversationId": "conversation",
    }


def test_typing_goes_to_no_contact_of_another_conversation(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    world.make_contacts(alice, carol)
    for client in (alice, carol):
        other = carol if client is alice else alice
        client.send(client.person.message(other.person, conversation="other"))
    for client in (alice, bob, carol):
        client.take()
    alice.send(alice.person.presence("typing", "other"))
    assert notices(carol) == [(alice.person.id, "typing")]
    assert notices(bob) == []


def test_typing_goes_to_all_participants(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    world.make_contacts(alice, carol)
    bob.take()
    alice.send(alice.person.presence("typing", "conversation"))
    assert notices(bob) == notices(carol) == [(alice.person.id, "typing")]


def test_typing_in_a_conversation_that_only_one_side_used_goes_to_nobody(alice: Client, bob: Client) -> None:
    alice.send(alice.person.message(bob.person, conversation="new"))
    bob.take()
    alice.send(alice.person.presence("typing", "new"))
    assert notices(bob) == []


def test_typing_is_no_status_that_stays(alice: Client, bob: Client) -> None:
    alice.send(alice.person.presence("idle"))
    alice.send(alice.person.presence("typing", "conversation"))
    bob.take()
    assert asked(bob, alice) == {"status": "idle"}


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "payload.status"),
        ({"status": "typing"}, "payload.conversationId"),
        ({"status": "away"}, "payload.status"),
        ({"userId": key_text("x"), "status": "online"}, "payload.userId"),
        ({"userId": key_text("x"), "conversationId": "c"}, "payload.userId"),
        ({"status": "online", "lastSeen": 1}, "payload.lastSeen"),
    ],
)
def test_presence_of_the_wrong_form_is_1001(alice: Client, payload: Frame, field: str) -> None:
    answer = alice.ask(alice.person.frame("PRESENCE", payload))
    assert (answer["payload"]["code"], answer["payload"]["details"]["field"]) == (1001, field)


# --- coming and going -------------------------------------------------------------


def test_contact_is_told_of_a_login(world: World, alice: Client, bob: Client) -> None:
    alice.drop()
    world.pass_time(11 * SECOND)
    bob.take()
    world.login(alice.person)
    assert notices(bob) == [(alice.person.id, "online")]


def test_login_tells_which_contacts_are_here(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    world.make_contacts(alice, carol)
    carol.drop()
    bob.send(bob.person.presence("idle"))
    alice.drop()
    assert notices(world.login(alice.person)) == [(bob.person.id, "idle")]


def test_login_does_not_tell_of_a_contact_that_hides(world: World, alice: Client, bob: Client) -> None:
    bob.send(bob.person.presence("offline"))
    alice.drop()
    assert notices(world.login(alice.person)) == []


def test_contact_is_told_offline_after_10_seconds(world: World, alice: Client, bob: Client) -> None:
    left = world.clock.wall + 25 * SECOND
    world.clock.advance(25 * SECOND)
    alice.drop()
    world.pass_time(10 * SECOND - 1)
    assert bob.take() == []
    world.pass_time(SECOND)
    [notice] = bob.take()
    assert notice["payload"]["userId"] == alice.person.id
    assert notice["payload"]["status"] == "offline"
    assert notice["payload"]["lastSeen"] == left // MINUTE * MINUTE
    world.pass_time(60 * SECOND)
    assert bob.take() == [], "it is told once"


def test_quick_reconnect_makes_no_noise(world: World, alice: Client, bob: Client) -> None:
    for _ in range(3):
        alice.drop()
        world.pass_time(9 * SECOND)
        alice = world.login(alice.person)
    world.pass_time(20 * SECOND)
    assert bob.take() == []


@pytest.mark.parametrize("how", ["asks", "logs in"])
def test_quick_return_is_told_if_somebody_has_seen_that_nobody_was_there(
    world: World, alice: Client, bob: Client, how: str
) -> None:
    bob.drop()
    world.pass_time(2 * SECOND)
    if how == "asks":
        assert asked(alice, bob)["status"] == "offline"
    else:
        alice.drop()
        alice = world.login(alice.person)
        assert notices(alice) == []
    world.pass_time(2 * SECOND)
    world.login(bob.person)
    assert notices(alice) == [(bob.person.id, "online")]


def test_control_without_a_note_of_it_the_return_is_not_told(
    world: World, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "absence_seen", lambda *_: None)
    bob.drop()
    assert asked(alice, bob)["status"] == "offline"
    world.login(bob.person)
    assert notices(alice) == []


def test_takeover_makes_no_noise(world: World, alice: Client, bob: Client) -> None:
    world.login(alice.person)
    assert alice.close_code() == 1008
    world.pass_time(20 * SECOND)
    assert bob.take() == []


def test_status_after_a_quick_reconnect_is_what_contacts_believe(world: World, alice: Client, bob: Client) -> None:
    """Whoever was told that alice hides must not find her online a moment later without a word."""
    alice.send(alice.person.presence("offline"))
    believed = notices(bob)[-1][1]
    alice.drop()
    world.login(alice.person)
    told = notices(bob)
    assert asked(bob, alice)["status"] == (told[-1][1] if told else believed)


@pytest.mark.parametrize("first", ["the departure", "the login"])
def test_departure_during_a_login_is_none_in_the_end(world: World, alice: Client, bob: Client, first: str) -> None:
    """The store is busy while both are on their way."""
    alice.drop()
    back = world.connect(alice.person)
    world.writer.holding = True
    world.clock.advance(10 * SECOND)
    if first == "the login":
        back.send(back.auth())
        world.tick()
    else:
        world.tick()
        back.send(back.auth())
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert [status for _, status in notices(bob)][-1:] == ["online"]


# --- questions --------------------------------------------------------------------


def test_contact_may_ask(world: World, alice: Client, bob: Client) -> None:
    assert asked(bob, alice) == {"status": "online"}
    alice.send(alice.person.presence("idle"))
    bob.take()
    assert asked(bob, alice) == {"status": "idle"}
    alice.send(alice.person.presence("offline"))
    bob.take()
    assert asked(bob, alice)["status"] == "offline"
    alice.drop()
    assert asked(bob, alice) == {"status": "offline", "lastSeen": world.clock.wall // MINUTE * MINUTE}
    world.login(alice.person)
    bob.take()
    assert asked(bob, alice) == {"status": "online"}


def test_last_seen_survives_a_restart(world: World, alice: Client, bob: Client) -> None:
    seen = world.clock.wall // MINUTE * MINUTE
    alice.drop()
    world.clock.advance(HOUR)
    after = world.restarted()
    assert asked(after.login(bob.person), alice) == {"status": "offline", "lastSeen": seen}


@pytest.mark.parametrize("status", ["online", "idle", "away", "no such user"])
def test_whoever_a_stranger_asks_for_looks_offline(world: World, alice: Client, status: str) -> None:
    stranger = world.login("stranger")
    stranger.send(stranger.person.message(alice.person))
    match status:
        case "idle":
            alice.send(alice.person.presence("idle"))
        case "away":
            alice.drop()
            world.pass_time(11 * SECOND)
    other = key_text("nobody") if status == "no such user" else alice.person.id
    answer = stranger.ask(stranger.person.asks_for(other))
    assert answer["payload"] == {"userId": other, "status": "offline"}


def test_asking_tells_nobody(world: World, alice: Client, bob: Client) -> None:
    asked(bob, alice)
    stranger = world.login("stranger")
    asked(stranger, alice)
    assert alice.take() == []
