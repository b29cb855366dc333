"""The contract of ``relay.ports.PreKeys``, for every engine."""

import pytest

from phantom_messenger.relay.ports import Bundle, OneTimeKey, PreKeyCounts, Publication, Store
from support.people import key_text
from support.stores import ALICE, BOB, CAROL, HOUR, NOW, bind, failing, key_of, publication, run


@pytest.fixture
def peopled(store: Store) -> Store:
    """A store with the accounts of Alice, Bob and Carol."""
    bind(store, ALICE, BOB, CAROL)
    return store


def publish(store: Store, wanted: Publication, user: str = ALICE) -> PreKeyCounts | None:
    return run(store, lambda tx: tx.prekeys.publish(user, wanted))


def take(store: Store, target: str = ALICE, requester: str = BOB, now: int = NOW) -> Bundle:
    bundle = run(store, lambda tx: tx.prekeys.take(target, requester, now))
    assert bundle is not None
    return bundle


def one_time_ids(store: Store, count: int, requester: str = BOB, now: int = NOW) -> list[int]:
    bundles = [take(store, requester=requester, now=now) for _ in range(count)]
    return [bundle.one_time.id for bundle in bundles if bundle.one_time is not None]


def test_nothing_published_is_no_bundle(peopled: Store) -> None:
    assert run(peopled, lambda tx: tx.prekeys.take(ALICE, BOB, NOW)) is None
    assert run(peopled, lambda tx: tx.prekeys.take("nobody", BOB, NOW)) is None
    assert run(peopled, lambda tx: tx.prekeys.counts(ALICE)) == PreKeyCounts(
        one_time=0, one_time_kem=0, signed_id=None, last_resort_kem_id=None
    )


def test_bundle_holds_what_was_published(peopled: Store) -> None:
    wanted = publication([7, 8], [3], last_resort=True)
    assert publish(peopled, wanted) == PreKeyCounts(one_time=2, one_time_kem=1, signed_id=1, last_resort_kem_id=900)
    assert take(peopled) == Bundle(
        identity_key=key_of(ALICE),
        signed=wanted.signed,
        one_time=OneTimeKey(7, key_text("one-time 7")),
        kem=wanted.one_time_kem[0],
        left=PreKeyCounts(one_time=1, one_time_kem=0, signed_id=1, last_resort_kem_id=900),
    )
    assert take(peopled).kem == wanted.last_resort_kem


def test_keys_are_handed_out_oldest_first_and_once(peopled: Store) -> None:
    publish(peopled, publication([3, 5]))
    publish(peopled, publication([7]))
    assert one_time_ids(peopled, 5) == [3, 5, 7]


def test_key_published_again_is_not_handed_out_again(peopled: Store) -> None:
    publish(peopled, publication([1, 2], [1, 2], last_resort=True))
    first = take(peopled)
    assert first.one_time is not None
    publish(peopled, publication([1, 2], [1, 2]))
    rest = [take(peopled) for _ in range(3)]
    assert first.one_time.id not in [bundle.one_time.id for bundle in rest if bundle.one_time is not None]
    assert first.kem not in [bundle.kem for bundle in rest]


def test_key_published_again_while_it_is_there_counts_once(peopled: Store) -> None:
    publish(peopled, publication(range(1, 151)))
    counts = publish(peopled, publication(range(1, 151)))
    assert counts is not None
    assert counts.one_time == 150


@pytest.mark.parametrize("kind", ["one_time", "one_time_kem"])
def test_200_keys_of_a_kind_are_kept(peopled: Store, kind: str) -> None:
    def wanted(numbers: range) -> Publication:
        return publication(numbers) if kind == "one_time" else publication((), numbers)

    counts = publish(peopled, wanted(range(1, 201)))
    assert counts is not None
    assert getattr(counts, kind) == 200
    assert publish(peopled, wanted(range(201, 202))) is None
    assert getattr(run(peopled, lambda tx: tx.prekeys.counts(ALICE)), kind) == 200


def test_too_many_keys_change_nothing(peopled: Store) -> None:
    publish(peopled, publication([1]))
    before = run(peopled, lambda tx: tx.prekeys.counts(ALICE))
    assert publish(peopled, publication(range(2, 203), last_resort=True)) is None
    assert run(peopled, lambda tx: tx.prekeys.counts(ALICE)) == before


def test_ids_of_two_owners_do_not_mix(peopled: Store) -> None:
    publish(peopled, publication([1]))
    publish(peopled, publication([1]), CAROL)
    assert take(peopled).one_time == take(peopled, CAROL).one_time
    assert take(peopled).one_time is None


def test_requester_gets_10_an_hour_and_all_get_100(peopled: Store) -> None:
    users = [key_text(f"user {number}") for number in range(12)]
    bind(peopled, *users)
    publish(peopled, publication(range(1, 201)))
    assert one_time_ids(peopled, 12, users[0]) == list(range(1, 11))
    found = [number for user in users[1:] for number in one_time_ids(peopled, 10, user)]
    assert found == list(range(11, 101))
    assert one_time_ids(peopled, 1, users[11], NOW + HOUR - 1) == []
    assert one_time_ids(peopled, 1, users[11], NOW + HOUR) == [101]


def test_last_resort_serves_when_one_time_keys_are_limited(peopled: Store) -> None:
    publish(peopled, publication(range(1, 21), range(1, 21), last_resort=True))
    for _ in range(10):
        take(peopled)
    bundle = take(peopled)
    assert bundle.one_time is None
    assert bundle.kem is not None
    assert bundle.kem.id == 900
    assert bundle.left.one_time == bundle.left.one_time_kem == 10


def test_undone_hand_out_is_no_hand_out(peopled: Store) -> None:
    publish(peopled, publication([1, 2]))

    peopled.run([failing(lambda tx: tx.prekeys.take(ALICE, BOB, NOW))])
    assert one_time_ids(peopled, 2) == [1, 2]
