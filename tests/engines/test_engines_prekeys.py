"""The contract of ``relay.ports.PreKeys``, for every engine."""

from collections.abc import Sequence
from dataclasses import replace

import apsw
import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
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


def replacing(one_time: Sequence[int] = (), kem: Sequence[int] = (), *, signed_id: int = 1) -> Publication:
    """A publication before which all one-time keys go."""
    wanted = publication(one_time, kem)
    return replace(wanted, signed=replace(wanted.signed, id=signed_id), replace=True)


def highest(store: Store, user: str = ALICE) -> int | None:
    return run(store, lambda tx: tx.prekeys.counts(user)).highest_id


def test_nothing_published_is_no_bundle(peopled: Store) -> None:
    assert run(peopled, lambda tx: tx.prekeys.take(ALICE, BOB, NOW)) is None
    assert run(peopled, lambda tx: tx.prekeys.take("nobody", BOB, NOW)) is None
    assert run(peopled, lambda tx: tx.prekeys.counts(ALICE)) == PreKeyCounts(
        one_time=0, one_time_kem=0, signed_id=None, last_resort_kem_id=None
    )


def test_bundle_holds_what_was_published(peopled: Store) -> None:
    wanted = publication([7, 8], [3], last_resort=True)
    assert publish(peopled, wanted) == PreKeyCounts(
        one_time=2, one_time_kem=1, signed_id=1, last_resort_kem_id=900, highest_id=900
    )
    assert take(peopled) == Bundle(
        identity_key=key_of(ALICE),
        signed=wanted.signed,
        one_time=OneTimeKey(7, key_text("one-time 7")),
        kem=wanted.one_time_kem[0],
        left=PreKeyCounts(one_time=1, one_time_kem=0, signed_id=1, last_resort_kem_id=900, highest_id=900),
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


# --- the highest id ---------------------------------------------------------------


def test_highest_id_is_that_of_all_kinds(peopled: Store) -> None:
    assert highest(peopled) is None
    publish(peopled, publication())
    assert highest(peopled) == 1, "of the signed prekey"
    publish(peopled, publication([7]))
    assert highest(peopled) == 7
    publish(peopled, publication((), [20]))
    assert highest(peopled) == 20
    publish(peopled, publication([30], last_resort=True))
    assert highest(peopled) == 900, "of the last resort"
    publish(peopled, replacing(signed_id=901))
    assert highest(peopled) == 901


def test_highest_id_stays_when_the_key_was_handed_out(peopled: Store) -> None:
    publish(peopled, publication([7], [9]))
    assert take(peopled).left.highest_id == 9
    assert highest(peopled) == 9


def test_highest_ids_of_two_owners_do_not_mix(peopled: Store) -> None:
    publish(peopled, publication([500]))
    publish(peopled, publication([4]), CAROL)
    assert (highest(peopled), highest(peopled, CAROL), highest(peopled, BOB)) == (500, 4, None)


@pytest.mark.parametrize("wanted", [publication(range(2, 203)), publication([1, 2])], ids=["refused", "not above"])
def test_key_that_is_left_out_does_not_raise_the_highest_id(peopled: Store, wanted: Publication) -> None:
    publish(peopled, publication([2]))
    publish(peopled, wanted)
    assert highest(peopled) == 2


# --- replacing --------------------------------------------------------------------


def test_only_new_keys_are_handed_out_after_a_replacement(peopled: Store) -> None:
    publish(peopled, publication([1, 2, 3], [1, 2], last_resort=True))
    counts = publish(peopled, replacing([4, 5], [6], signed_id=7))
    assert counts == PreKeyCounts(one_time=2, one_time_kem=1, signed_id=7, last_resort_kem_id=900, highest_id=900)
    bundles = [take(peopled) for _ in range(4)]
    assert [bundle.one_time and bundle.one_time.id for bundle in bundles] == [4, 5, None, None]
    assert [bundle.kem and bundle.kem.id for bundle in bundles] == [6, 900, 900, 900]
    assert {bundle.signed.id for bundle in bundles} == {7}


def test_replacement_takes_both_kinds_whatever_it_brings(peopled: Store) -> None:
    publish(peopled, publication([1, 2], [3, 4]))
    counts = publish(peopled, replacing())
    assert counts is not None
    assert (counts.one_time, counts.one_time_kem) == (0, 0)


def test_ids_must_rise_over_a_replacement(peopled: Store) -> None:
    publish(peopled, publication([5, 6], [8]))
    assert one_time_ids(peopled, 1) == [5]
    counts = publish(peopled, replacing([5, 6, 7], [8, 9]))
    assert counts is not None
    assert (counts.one_time, counts.one_time_kem, counts.highest_id) == (1, 1, 9)
    publish(peopled, publication([6]))
    assert one_time_ids(peopled, 4) == [7]


def test_replacement_of_nothing_is_a_publication(peopled: Store) -> None:
    counts = publish(peopled, replacing([1, 2], [3]))
    assert counts == PreKeyCounts(one_time=2, one_time_kem=1, signed_id=1, last_resort_kem_id=None, highest_id=3)
    assert one_time_ids(peopled, 3) == [1, 2]


def test_publication_after_a_replacement_adds_again(peopled: Store) -> None:
    publish(peopled, publication([1]))
    publish(peopled, replacing([2]))
    publish(peopled, publication([3]))
    assert one_time_ids(peopled, 3) == [2, 3]


def test_replacement_sent_again_takes_no_key_back(peopled: Store) -> None:
    """An answer that got lost: its keys are known already, and what was there of them goes."""
    wanted = replacing([1, 2, 3])
    publish(peopled, wanted)
    assert one_time_ids(peopled, 1) == [1]
    publish(peopled, wanted)
    assert one_time_ids(peopled, 3) == []


def test_200_keys_may_take_the_place_of_200(peopled: Store) -> None:
    publish(peopled, publication(range(1, 201), range(1, 201)))
    counts = publish(peopled, replacing(range(201, 401), range(201, 401)))
    assert counts is not None
    assert (counts.one_time, counts.one_time_kem) == (200, 200)
    assert one_time_ids(peopled, 1) == [201]


def test_replacement_leaves_the_keys_of_others(peopled: Store) -> None:
    publish(peopled, publication([1]))
    publish(peopled, publication([1]), CAROL)
    publish(peopled, replacing())
    assert take(peopled, CAROL).one_time == OneTimeKey(1, key_text("one-time 1"))


def test_replacement_does_not_lift_the_limit_of_an_hour(peopled: Store) -> None:
    publish(peopled, publication(range(1, 21)))
    assert len(one_time_ids(peopled, 10)) == 10
    publish(peopled, replacing(range(21, 41)))
    assert one_time_ids(peopled, 1) == []
    assert one_time_ids(peopled, 1, now=NOW + HOUR) == [21]


@pytest.mark.parametrize("error", [ZeroDivisionError(), apsw.FullError()], ids=["a job", "a batch"])
def test_undone_replacement_leaves_the_keys(peopled: Store, error: Exception) -> None:
    publish(peopled, publication([1, 2], [3]))
    before = run(peopled, lambda tx: tx.prekeys.counts(ALICE))
    peopled.run([failing(lambda tx: tx.prekeys.publish(ALICE, replacing([4], [5], signed_id=6)), error=error)])
    peopled.scrub()
    assert run(peopled, lambda tx: tx.prekeys.counts(ALICE)) == before
    assert one_time_ids(peopled, 3) == [1, 2]


def test_public_keys_that_were_replaced_are_gone_from_the_rows(peopled: SQLiteStore) -> None:
    publish(peopled, publication([1, 2], [3]))
    publish(peopled, replacing([4]))
    assert peopled._connection.execute("SELECT id FROM one_time_prekeys").fetchall() == [(4,)]


def test_highest_id_does_not_fall(peopled: SQLiteStore) -> None:
    wanted = publication()
    run(peopled, lambda tx: tx.prekeys.publish(ALICE, replace(wanted, signed=replace(wanted.signed, id=50))))
    counts = run(peopled, lambda tx: tx.prekeys.publish(ALICE, publication([3])))
    assert counts is not None
    assert counts.highest_id == 50


def test_replacement_by_too_many_keys_changes_nothing(peopled: SQLiteStore) -> None:
    run(peopled, lambda tx: tx.prekeys.publish(ALICE, publication([1, 2])))
    before = run(peopled, lambda tx: tx.prekeys.counts(ALICE))
    too_many = replace(publication(range(3, 204)), replace=True)
    assert run(peopled, lambda tx: tx.prekeys.publish(ALICE, too_many)) is None
    assert run(peopled, lambda tx: tx.prekeys.counts(ALICE)) == before
