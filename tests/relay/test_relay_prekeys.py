import pytest

from phantom_messenger.relay.prekey_status import is_low
from phantom_messenger.relay.records import PreKeyCounts
from support.people import Frame, Person, key_text
from support.simulated import HOUR, MINUTE, Client, World


@pytest.mark.parametrize(
    ("one_time", "kem", "last_resort", "expected"),
    [(9, 100, 1, True), (10, 10, 1, False), (10, 9, 1, True), (10, 0, None, False), (9, 0, None, True)],
)
def test_fewer_than_ten_are_few(one_time: int, kem: int, last_resort: int | None, expected: bool) -> None:
    """Somebody without KEM prekeys is not told that they are few."""
    counts = PreKeyCounts(one_time=one_time, one_time_kem=kem, signed_id=1, last_resort_kem_id=last_resort)
    assert is_low(counts) is expected


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice")


@pytest.fixture
def bob(world: World) -> Client:
    return world.login("bob")


def status(one_time: int, kem: int = 0, *, highest: int, **members: int) -> Frame:
    return {
        "oneTimePreKeys": one_time,
        "kemPreKeys": kem,
        "signedPreKeyId": 1,
        "highestPreKeyId": highest,
        **members,
    }


def asks(client: Client, target: Person, count: int = 1) -> list[Frame]:
    """The bundles that a client gets, one a question."""
    found = []
    for _ in range(count):
        init = client.person.init(target, name=client.person.new_message_id())
        [answer] = [frame for frame in client.send(init) if frame["type"] != "PREKEY_STATUS"]
        assert answer["type"] == "KEY_EXCHANGE_RESPONSE", answer
        found.append(answer["payload"])
    return found


def one_time_ids(bundles: list[Frame]) -> list[int]:
    return [bundle["oneTimePreKeyId"] for bundle in bundles if "oneTimePreKeyId" in bundle]


# --- publishing -------------------------------------------------------------------


def test_publishing_is_answered_with_what_is_there(bob: Client) -> None:
    answer = bob.ask({**bob.person.publish([1, 2, 3], [7, 8], last_resort=True)})
    assert answer["type"] == "PREKEY_STATUS"
    assert answer["payload"] == status(3, 2, highest=4_000, lastResortKemPreKeyId=4_000)


def test_one_time_keys_add_up_and_signed_keys_are_replaced(bob: Client) -> None:
    bob.send(bob.person.publish(range(1, 11)))
    answer = bob.ask(bob.person.publish(range(11, 16), signedPreKey=bob.person.signed_prekey_part(2)))
    assert answer["payload"] == {**status(15, highest=15), "signedPreKeyId": 2}


def test_status_can_be_asked_for(bob: Client) -> None:
    assert bob.ask(bob.person.prekey_status(id="request-1")) == {
        "type": "PREKEY_STATUS",
        "id": "request-1",
        "timestamp": bob.world.clock.wall,
        "payload": {"oneTimePreKeys": 0, "kemPreKeys": 0},
    }
    bob.send(bob.person.publish(range(1, 13)))
    assert bob.ask(bob.person.prekey_status())["payload"] == status(12, highest=12)


def test_publishing_is_answered_after_the_store_ran(world: World, bob: Client) -> None:
    world.writer.holding = True
    assert bob.send(bob.person.publish([1])) == []
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert len(bob.take("PREKEY_STATUS")) == 1


def test_more_than_200_one_time_keys_are_1005(bob: Client) -> None:
    assert bob.ask(bob.person.publish(range(1, 101)))["payload"] == status(100, highest=100)
    assert bob.ask(bob.person.publish(range(101, 201)))["payload"] == status(200, highest=200)
    answer = bob.ask(bob.person.publish([201], signedPreKey=bob.person.signed_prekey_part(2)))
    assert (answer["payload"]["code"], answer["payload"]["details"]["reason"]) == (1005, "prekey-full")
    assert bob.ask(bob.person.prekey_status())["payload"] == status(200, highest=200), "nothing of it was stored"


def test_publishing_again_adds_no_key_twice(bob: Client) -> None:
    for _ in range(3):
        answer = bob.ask(bob.person.publish(range(1, 151)))
        assert answer["payload"].get("oneTimePreKeys") == 150, answer


# --- the highest id ---------------------------------------------------------------


def highest(client: Client) -> int | None:
    client.take()
    found: int | None = client.ask(client.person.prekey_status())["payload"].get("highestPreKeyId")
    return found


def test_highest_id_shows_what_was_handed_out_long_ago(world: World, alice: Client, bob: Client) -> None:
    """A client whose profile was rolled back sees that ids were given of which it does not know."""
    assert highest(bob) is None
    bob.send(bob.person.publish([1, 2], [7]))
    assert highest(bob) == 7
    asks(alice, bob.person, 3)
    assert highest(bob) == 7
    assert highest(world.restarted().login(bob.person)) == 7


def test_highest_id_goes_with_the_account(world: World, bob: Client) -> None:
    bob.send(bob.person.publish([50]))
    bob.send(bob.person.account_delete())
    assert highest(world.login(bob.person)) is None


# --- replacing --------------------------------------------------------------------


@pytest.mark.parametrize("restarts", [False, True], ids=["", "and a restart"])
def test_after_a_replacement_only_new_keys_are_handed_out(
    world: World, alice: Client, bob: Client, restarts: bool
) -> None:
    bob.send(bob.person.publish(range(1, 6), range(1, 4), last_resort=True))
    part = bob.person.signed_prekey_part(12)
    answer = bob.ask(bob.person.publish([10, 11], [12], replace=True, signedPreKey=part))
    assert answer["payload"] == {
        **status(2, 1, highest=4_000, lastResortKemPreKeyId=4_000),
        "signedPreKeyId": 12,
    }
    bundles = asks(world.restarted().login("carol") if restarts else alice, bob.person, 4)
    assert one_time_ids(bundles) == [10, 11]
    assert [bundle["kemPreKeyId"] for bundle in bundles] == [12, 4_000, 4_000, 4_000]
    assert {bundle["signedPreKey"] for bundle in bundles} == {part["key"]}


def test_ids_must_rise_in_a_replacement(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish([1, 2, 3], [5]))
    assert one_time_ids(asks(alice, bob.person)) == [1]
    bob.take()
    answer = bob.ask(bob.person.publish([1, 2, 3, 4], [5], replace=True))
    assert answer["payload"] == status(1, 0, highest=5)
    assert one_time_ids(asks(alice, bob.person, 3)) == [4]


def test_replacement_of_nothing_is_stored(alice: Client, bob: Client) -> None:
    assert bob.ask(bob.person.publish([1, 2], [3], replace=True))["payload"] == status(2, 1, highest=3)
    assert one_time_ids(asks(alice, bob.person)) == [1]


def test_replacement_may_bring_nothing(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish([1, 2], [3]))
    assert bob.ask(bob.person.publish(replace=True))["payload"] == status(0, highest=3)
    assert one_time_ids(asks(alice, bob.person)) == []


def test_publication_that_replaces_not_adds(bob: Client) -> None:
    bob.send(bob.person.publish([1, 2]))
    assert bob.ask(bob.person.publish([3], replace=False))["payload"] == status(3, highest=3)


def test_full_store_of_keys_can_be_replaced(bob: Client) -> None:
    bob.send(bob.person.publish(range(1, 101)), bob.person.publish(range(101, 201)))
    assert bob.ask(bob.person.publish(range(201, 301), replace=True))["payload"] == status(100, highest=300)


@pytest.mark.parametrize("why", ["a full disk", "a wrong key", "a wrong signature"])
def test_replacement_that_is_refused_leaves_the_keys(world: World, alice: Client, bob: Client, why: str) -> None:
    bob.send(bob.person.publish([1, 2], [3]))
    frame = bob.person.publish([4], [5], replace=True)
    if why == "a wrong key":
        part = {**bob.person.signed_prekey_part(2), "signature": bob.person.signed_prekey_part(3)["signature"]}
        frame = bob.person.publish([4], [5], replace=True, signedPreKey=part)
    elif why == "a wrong signature":
        frame = {**frame, "signature": bob.person.publish([4], [5])["signature"]}
    world.writer.full = why == "a full disk"
    assert bob.ask(frame)["type"] == "ERROR"
    world.writer.full = False
    assert bob.ask(bob.person.prekey_status())["payload"] == status(2, 1, highest=3)
    assert one_time_ids(asks(alice, bob.person, 3)) == [1, 2]


def test_replacement_is_ones_own(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    for client in (bob, carol):
        client.send(client.person.publish([1]))
    carol.send(carol.person.publish(replace=True))
    assert one_time_ids(asks(alice, bob.person)) == [1]


# --- handing out ------------------------------------------------------------------


@pytest.mark.parametrize("away", [False, True], ids=["present", "away"])
def test_store_answers_for_its_owner(world: World, alice: Client, bob: Client, away: bool) -> None:
    bob.send(bob.person.publish(range(1, 21), range(1, 21), last_resort=True))
    if away:
        bob.drop()
    answer = alice.ask(alice.person.init(bob.person))
    assert answer["type"] == "KEY_EXCHANGE_RESPONSE"
    part = bob.person.signed_prekey_part(1)
    kem = bob.person.kem_part(1)
    assert answer["payload"] == {
        "senderId": bob.person.id,
        "identityKey": bob.person.public_key,
        "signedPreKey": part["key"],
        "signedPreKeyId": 1,
        "preKeySignature": part["signature"],
        "oneTimePreKey": key_text(f"1 of {bob.person.id}"),
        "oneTimePreKeyId": 1,
        "kemPreKey": kem["key"],
        "kemPreKeyId": 1,
        "kemPreKeySignature": kem["signature"],
    }
    asked = world.login(bob.person).take("KEY_EXCHANGE_INIT") if away else bob.take("KEY_EXCHANGE_INIT")
    assert [frame["payload"]["senderId"] for frame in asked] == [alice.person.id]


def test_answer_from_the_store_carries_the_request_id(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish([1]))
    init = alice.person.signed({**alice.person.init(bob.person), "id": "request-1"})
    assert alice.ask(init)["id"] == "request-1"


def test_each_one_time_key_is_handed_out_once(world: World, bob: Client) -> None:
    bob.send(bob.person.publish(range(1, 51), range(1, 31), last_resort=True))
    clients = [world.login(f"peer {number}") for number in range(60)]
    for client in clients:
        client.put(client.person.init(bob.person))
    world.run()
    bundles = [answer["payload"] for client in clients for answer in client.take("KEY_EXCHANGE_RESPONSE")]
    assert len(bundles) == 60
    assert sorted(one_time_ids(bundles)) == list(range(1, 51))
    kem = [bundle["kemPreKeyId"] for bundle in bundles]
    assert sorted(kem) == [*range(1, 31), *[4_000] * 30]


def test_key_that_was_handed_out_is_not_handed_out_after_a_restart(world: World, alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish([1, 2, 3]))
    before = one_time_ids(asks(alice, bob.person, 2))
    after = world.restarted()
    again = one_time_ids(asks(after.login("carol"), bob.person, 2))
    assert sorted(before + again) == [1, 2, 3]


@pytest.mark.parametrize("how", ["the same frame", "the same keys"])
def test_key_that_was_handed_out_is_not_handed_out_when_published_again(
    world: World, alice: Client, bob: Client, how: str
) -> None:
    """A client whose answer got lost publishes once more."""
    frame = bob.person.publish([1, 2, 3])
    bob.send(frame)
    assert one_time_ids(asks(alice, bob.person)) == [1]
    world.clock.advance(MINUTE)
    bob.send(frame if how == "the same frame" else bob.person.publish([1, 2, 3]))
    assert sorted(one_time_ids(asks(world.login("carol"), bob.person, 3))) == [2, 3]


def test_without_one_time_keys_the_last_resort_serves(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish([1], [1], last_resort=True))
    first, second, third = asks(alice, bob.person, 3)
    assert (first["oneTimePreKeyId"], first["kemPreKeyId"]) == (1, 1)
    for bundle in (second, third):
        assert "oneTimePreKey" not in bundle
        assert bundle["kemPreKeyId"] == 4_000


def test_without_any_kem_key_the_answer_has_none(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish([1]))
    [bundle] = asks(alice, bob.person)
    assert not [name for name in bundle if name.startswith("kem")]


def test_peer_who_published_nothing_answers_itself(alice: Client, bob: Client) -> None:
    assert alice.send(alice.person.init(bob.person)) == []
    assert len(bob.take("KEY_EXCHANGE_INIT")) == 1


# --- drain ------------------------------------------------------------------------


def test_one_requester_gets_10_one_time_keys_an_hour(world: World, alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish(range(1, 101), range(1, 31), last_resort=True))
    bundles = asks(alice, bob.person, 15)
    assert one_time_ids(bundles) == list(range(1, 11))
    assert [bundle["kemPreKeyId"] for bundle in bundles] == [*range(1, 11), *[4_000] * 5]
    assert one_time_ids(asks(world.login("carol"), bob.person)) == [11]


def test_drain_is_counted_over_a_sliding_hour(world: World, alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish(range(1, 101)))
    asks(alice, bob.person, 5)
    world.clock.advance(HOUR // 2)
    asks(alice, bob.person, 5)
    world.clock.advance(HOUR // 2 - 1)
    assert one_time_ids(asks(alice, bob.person)) == []
    world.clock.advance(1)
    assert len(one_time_ids(asks(alice, bob.person, 8))) == 5


def test_all_together_get_100_one_time_keys_an_hour(world: World, bob: Client) -> None:
    bob.send(bob.person.publish(range(1, 101)))
    bob.send(bob.person.publish(range(101, 201)))
    found: list[int] = []
    for number in range(12):
        client = world.login(f"peer {number}")
        found += one_time_ids(asks(client, bob.person, 10))
    assert found == list(range(1, 101))
    world.clock.advance(HOUR)
    assert one_time_ids(asks(world.login("late"), bob.person)) == [101]


def test_drain_of_one_target_does_not_limit_another(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    for client in (bob, carol):
        client.send(client.person.publish(range(1, 21)))
    asks(alice, bob.person, 10)
    assert one_time_ids(asks(alice, carol.person)) == [1]


def test_drain_limit_survives_a_restart(world: World, alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish(range(1, 101)))
    asks(alice, bob.person, 10)
    assert one_time_ids(asks(world.restarted().login(alice.person), bob.person)) == []


def test_bundle_without_a_one_time_key_does_not_count_as_one(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish())
    asks(alice, bob.person, 10)
    bob.send(bob.person.publish(range(1, 21)))
    assert one_time_ids(asks(alice, bob.person)) == [1]


# --- warning ----------------------------------------------------------------------


def test_owner_is_warned_below_10(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish(range(1, 13)))
    asks(alice, bob.person, 2)
    assert bob.take("PREKEY_STATUS") == [], "ten are left"
    asks(alice, bob.person, 1)
    assert [frame["payload"] for frame in bob.take("PREKEY_STATUS")] == [status(9, highest=12)]


def test_owner_is_warned_of_kem_keys_too(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish(range(1, 31), range(1, 11), last_resort=True))
    asks(alice, bob.person, 1)
    [warning] = bob.take("PREKEY_STATUS")
    assert warning["payload"] == status(29, 9, highest=4_000, lastResortKemPreKeyId=4_000)


def test_owner_who_was_away_is_warned_at_login(world: World, alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish(range(1, 13)))
    bob.drop()
    asks(alice, bob.person, 5)
    [told] = world.login(bob.person).take("PREKEY_STATUS")
    assert told["payload"] == status(7, highest=12)
    assert "id" not in told, "nobody has asked"


def test_nobody_else_learns_how_many_are_left(alice: Client, bob: Client) -> None:
    bob.send(bob.person.publish([1, 2, 3]))
    answers = alice.send(alice.person.init(bob.person), alice.person.init(bob.person, name="other"))
    assert [frame["type"] for frame in answers] == ["KEY_EXCHANGE_RESPONSE"] * 2
