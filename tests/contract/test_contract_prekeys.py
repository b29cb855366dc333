"""Prekeys: published, counted, handed out once, never again."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from phantom_messenger.relay.commands import (
    AppendRefusal,
    Block,
    CountPreKeys,
    DeleteAccount,
    Exchanged,
    ForgetHandouts,
    PublishPreKeys,
    PublishRefusal,
)
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.records import Bundle, Dating, OneTimeKey, PreKeyCounts, Publication, SignedKey
from support.people import key_text
from support.store_user import HOUR, NOW, StoreUser, run
from support.stores import publication


def publish(user: StoreUser, wanted: Publication) -> PreKeyCounts | PublishRefusal:
    return run(user.store, PublishPreKeys(actor=user.actor, publication=wanted))


def counts_of(user: StoreUser) -> PreKeyCounts:
    return run(user.store, CountPreKeys(actor=user.actor))


def ask(target: StoreUser, requester: StoreUser, now: int = NOW) -> Bundle | None:
    """The target's bundle; the mailbox refuses nothing, for each requester has one key exchange in it."""
    result = requester.exchange(target, wants_bundle=True, now=now)
    assert isinstance(result, Exchanged)
    return result.bundle


def take(target: StoreUser, requester: StoreUser, now: int = NOW) -> Bundle:
    bundle = ask(target, requester, now)
    assert bundle is not None
    return bundle


def one_time_ids(target: StoreUser, count: int, requester: StoreUser, now: int = NOW) -> list[int]:
    bundles = [take(target, requester, now) for _ in range(count)]
    return [bundle.one_time.id for bundle in bundles if bundle.one_time is not None]


def replacing(one_time: Sequence[int] = (), kem: Sequence[int] = (), *, signed_id: int = 1) -> Publication:
    """A publication before which all one-time keys go."""
    wanted = publication(one_time, kem)
    return replace(wanted, signed=replace(wanted.signed, id=signed_id), replace=True)


def highest(user: StoreUser) -> int | None:
    return counts_of(user).highest_id


def test_nothing_published_is_no_bundle(alice: StoreUser, bob: StoreUser) -> None:
    assert ask(alice, bob) is None
    assert counts_of(alice) == PreKeyCounts(one_time=0, one_time_kem=0, signed_id=None, last_resort_kem_id=None)


def test_bundle_holds_what_was_published(alice: StoreUser, bob: StoreUser) -> None:
    wanted = publication([7, 8], [3], last_resort=True)
    assert publish(alice, wanted) == PreKeyCounts(
        one_time=2, one_time_kem=1, signed_id=1, last_resort_kem_id=900, highest_id=900
    )
    assert take(alice, bob) == Bundle(
        identity_key=alice.key,
        signed=wanted.signed,
        one_time=OneTimeKey(7, key_text("one-time 7")),
        kem=wanted.one_time_kem[0],
        left=PreKeyCounts(one_time=1, one_time_kem=0, signed_id=1, last_resort_kem_id=900, highest_id=900),
    )
    assert take(alice, bob).kem == wanted.last_resort_kem


def test_keys_are_handed_out_oldest_first_and_once(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication([3, 5]))
    publish(alice, publication([7]))
    assert one_time_ids(alice, 5, bob) == [3, 5, 7]


def test_key_published_again_is_not_handed_out_again(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication([1, 2], [1, 2], last_resort=True))
    first = take(alice, bob)
    assert first.one_time is not None
    publish(alice, publication([1, 2], [1, 2]))
    rest = [take(alice, bob) for _ in range(3)]
    assert first.one_time.id not in [bundle.one_time.id for bundle in rest if bundle.one_time is not None]
    assert first.kem not in [bundle.kem for bundle in rest]


def test_key_published_again_while_it_is_there_counts_once(alice: StoreUser) -> None:
    publish(alice, publication(range(1, 151)))
    counts = publish(alice, publication(range(1, 151)))
    assert isinstance(counts, PreKeyCounts)
    assert counts.one_time == 150


@pytest.mark.parametrize("kind", ["one_time", "one_time_kem"])
def test_200_keys_of_a_kind_are_kept(alice: StoreUser, kind: str) -> None:
    def wanted(numbers: range) -> Publication:
        return publication(numbers) if kind == "one_time" else publication((), numbers)

    counts = publish(alice, wanted(range(1, 201)))
    assert isinstance(counts, PreKeyCounts)
    assert getattr(counts, kind) == 200
    assert publish(alice, wanted(range(201, 202))) is PublishRefusal.FULL
    assert getattr(counts_of(alice), kind) == 200


def test_too_many_keys_change_nothing(alice: StoreUser) -> None:
    publish(alice, publication([1]))
    before = counts_of(alice)
    assert publish(alice, publication(range(2, 203), last_resort=True)) is PublishRefusal.FULL
    assert counts_of(alice) == before


def test_ids_of_two_owners_do_not_mix(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    publish(alice, publication([1]))
    publish(carol, publication([1]))
    assert take(alice, bob).one_time == take(carol, bob).one_time
    assert take(alice, bob).one_time is None


def test_requester_gets_10_an_hour_and_all_get_100(store: Store, alice: StoreUser) -> None:
    users = [StoreUser(store, f"user {number}") for number in range(12)]
    publish(alice, publication(range(1, 201)))
    assert one_time_ids(alice, 12, users[0]) == list(range(1, 11))
    found = [number for user in users[1:] for number in one_time_ids(alice, 10, user)]
    assert found == list(range(11, 101))
    assert one_time_ids(alice, 1, users[11], NOW + HOUR - 1) == []
    assert one_time_ids(alice, 1, users[11], NOW + HOUR) == [101]


def test_last_resort_serves_when_one_time_keys_are_limited(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication(range(1, 21), range(1, 21), last_resort=True))
    for _ in range(10):
        take(alice, bob)
    bundle = take(alice, bob)
    assert bundle.one_time is None
    assert bundle.kem is not None
    assert bundle.kem.id == 900
    assert bundle.left.one_time == bundle.left.one_time_kem == 10


def test_exchange_that_asks_for_no_bundle_takes_no_key(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication([1]))
    result = bob.exchange(alice)
    assert isinstance(result, Exchanged)
    assert (result.bundle, counts_of(alice).one_time) == (None, 1)


def test_refused_exchange_takes_no_key(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication([1]))
    assert bob.exchange(alice, wants_bundle=True, is_loose=True) is AppendRefusal.SIGNED_ONLY
    assert counts_of(alice).one_time == 1
    run(store, DeleteAccount(actor=alice.actor))
    assert bob.exchange(alice, wants_bundle=True) is AppendRefusal.NO_ACCOUNT


def test_blocked_requester_gets_a_bundle_like_anybody(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication([1]))
    alice.write(bob, "m")
    run(store, Block(actor=alice.actor, other=bob.id))
    result = bob.exchange(alice, wants_bundle=True)
    assert isinstance(result, Exchanged)
    assert result.bundle is not None
    assert (result.item, result.bundle.one_time, result.became_contacts) == (
        None,
        OneTimeKey(1, key_text("one-time 1")),
        False,
    )
    assert alice.mailbox() == []


def test_mailbox_without_room_refuses_the_exchange_and_not_the_bundle(
    store: Store, alice: StoreUser, bob: StoreUser
) -> None:
    publish(alice, publication([1]))
    for number in range(100):
        StoreUser(store, f"stranger {number}").exchange(alice, mark=1)
    result = bob.exchange(alice, wants_bundle=True, mark=1)
    assert isinstance(result, Exchanged)
    assert result.item is None
    assert result.bundle is not None
    assert result.bundle.one_time is not None
    assert bob.exchange(alice, mark=1) is AppendRefusal.FULL


def test_handouts_are_forgotten_after_an_hour_and_not_before(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication(range(1, 41)))
    assert len(one_time_ids(alice, 10, bob)) == 10
    run(store, ForgetHandouts(now=NOW + HOUR - 1))
    assert one_time_ids(alice, 1, bob, NOW + HOUR - 1) == []
    run(store, ForgetHandouts(now=NOW + HOUR))
    assert one_time_ids(alice, 12, bob, NOW + HOUR) == list(range(11, 21))


# --- the highest id ---------------------------------------------------------------


def test_highest_id_is_that_of_all_kinds(alice: StoreUser) -> None:
    assert highest(alice) is None
    publish(alice, publication())
    assert highest(alice) == 1, "of the signed prekey"
    publish(alice, publication([7]))
    assert highest(alice) == 7
    publish(alice, publication((), [20]))
    assert highest(alice) == 20
    publish(alice, publication([30], last_resort=True))
    assert highest(alice) == 900, "of the last resort"
    publish(alice, replacing(signed_id=901))
    assert highest(alice) == 901


def test_highest_id_stays_when_the_key_was_handed_out(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication([7], [9]))
    assert take(alice, bob).left.highest_id == 9
    assert highest(alice) == 9


def test_highest_ids_of_two_owners_do_not_mix(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    publish(alice, publication([500]))
    publish(carol, publication([4]))
    assert (highest(alice), highest(carol), highest(bob)) == (500, 4, None)


@pytest.mark.parametrize("wanted", [publication(range(2, 203)), publication([1, 2])], ids=["refused", "not above"])
def test_key_that_is_left_out_does_not_raise_the_highest_id(alice: StoreUser, wanted: Publication) -> None:
    publish(alice, publication([2]))
    publish(alice, wanted)
    assert highest(alice) == 2


# --- replacing --------------------------------------------------------------------


def test_only_new_keys_are_handed_out_after_a_replacement(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication([1, 2, 3], [1, 2], last_resort=True))
    counts = publish(alice, replacing([4, 5], [6], signed_id=7))
    assert counts == PreKeyCounts(one_time=2, one_time_kem=1, signed_id=7, last_resort_kem_id=900, highest_id=900)
    bundles = [take(alice, bob) for _ in range(4)]
    assert [bundle.one_time and bundle.one_time.id for bundle in bundles] == [4, 5, None, None]
    assert [bundle.kem and bundle.kem.id for bundle in bundles] == [6, 900, 900, 900]
    assert {bundle.signed.id for bundle in bundles} == {7}


def test_replacement_takes_both_kinds_whatever_it_brings(alice: StoreUser) -> None:
    publish(alice, publication([1, 2], [3, 4]))
    counts = publish(alice, replacing())
    assert isinstance(counts, PreKeyCounts)
    assert (counts.one_time, counts.one_time_kem) == (0, 0)


def test_ids_must_rise_over_a_replacement(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication([5, 6], [8]))
    assert one_time_ids(alice, 1, bob) == [5]
    counts = publish(alice, replacing([5, 6, 7], [8, 9]))
    assert isinstance(counts, PreKeyCounts)
    assert (counts.one_time, counts.one_time_kem, counts.highest_id) == (1, 1, 9)
    publish(alice, publication([6]))
    assert one_time_ids(alice, 4, bob) == [7]


def test_replacement_of_nothing_is_a_publication(alice: StoreUser, bob: StoreUser) -> None:
    counts = publish(alice, replacing([1, 2], [3]))
    assert counts == PreKeyCounts(one_time=2, one_time_kem=1, signed_id=1, last_resort_kem_id=None, highest_id=3)
    assert one_time_ids(alice, 3, bob) == [1, 2]


def test_publication_after_a_replacement_adds_again(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication([1]))
    publish(alice, replacing([2]))
    publish(alice, publication([3]))
    assert one_time_ids(alice, 3, bob) == [2, 3]


def test_replacement_sent_again_takes_no_key_back(alice: StoreUser, bob: StoreUser) -> None:
    """An answer that got lost: its keys are known already, and what was there of them goes."""
    wanted = replacing([1, 2, 3])
    publish(alice, wanted)
    assert one_time_ids(alice, 1, bob) == [1]
    publish(alice, wanted)
    assert one_time_ids(alice, 3, bob) == []


def test_200_keys_may_take_the_place_of_200(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication(range(1, 201), range(1, 201)))
    counts = publish(alice, replacing(range(201, 401), range(201, 401)))
    assert isinstance(counts, PreKeyCounts)
    assert (counts.one_time, counts.one_time_kem) == (200, 200)
    assert one_time_ids(alice, 1, bob) == [201]


def test_replacement_leaves_the_keys_of_others(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    publish(alice, publication([1]))
    publish(carol, publication([1]))
    publish(alice, replacing())
    assert take(carol, bob).one_time == OneTimeKey(1, key_text("one-time 1"))


def test_replacement_does_not_lift_the_limit_of_an_hour(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication(range(1, 21)))
    assert len(one_time_ids(alice, 10, bob)) == 10
    publish(alice, replacing(range(21, 41)))
    assert one_time_ids(alice, 1, bob) == []
    assert one_time_ids(alice, 1, bob, now=NOW + HOUR) == [21]


def test_highest_id_does_not_fall(alice: StoreUser) -> None:
    wanted = publication()
    publish(alice, replace(wanted, signed=replace(wanted.signed, id=50)))
    counts = publish(alice, publication([3]))
    assert isinstance(counts, PreKeyCounts)
    assert counts.highest_id == 50


def test_replacement_by_too_many_keys_changes_nothing(alice: StoreUser) -> None:
    publish(alice, publication([1, 2]))
    before = counts_of(alice)
    too_many = replace(publication(range(3, 204)), replace=True)
    assert publish(alice, too_many) is PublishRefusal.FULL
    assert counts_of(alice) == before


# --- dated prekeys ----------------------------------------------------------------


def dates(target: StoreUser, requester: StoreUser) -> tuple[Dating | None, SignedKey | None]:
    """What a bundle says of when its keys were made known, and the last resort that this is of."""
    bundle = take(target, requester)
    return bundle.dating, bundle.last_resort_kem


def renewed(wanted: Publication, *, signed_id: int = 2) -> Publication:
    """The same with another signed prekey."""
    return replace(wanted, signed=SignedKey(signed_id, key_text("renewed"), wanted.signed.signature))


def test_date_is_handed_out_with_the_last_resort_that_it_is_of(alice: StoreUser, bob: StoreUser) -> None:
    wanted = publication([1], [2], made_at=NOW)
    publish(alice, wanted)
    first, second = take(alice, bob), take(alice, bob)
    assert first.kem == wanted.one_time_kem[0]
    assert second.kem == wanted.last_resort_kem
    for bundle in (first, second):
        assert (bundle.dating, bundle.last_resort_kem) == (wanted.dating, wanted.last_resort_kem)


def test_prekeys_without_a_date_are_handed_out_without(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication([1], last_resort=True))
    assert dates(alice, bob) == (None, None)


@pytest.mark.parametrize("later", [0, 1, 10**12], ids=["the same date", "a later one", "a much later one"])
def test_date_may_stay_or_rise(alice: StoreUser, bob: StoreUser, later: int) -> None:
    publish(alice, publication(made_at=NOW))
    wanted = renewed(publication([1], made_at=NOW + later))
    assert isinstance(publish(alice, wanted), PreKeyCounts)
    assert dates(alice, bob) == (wanted.dating, wanted.last_resort_kem)


def test_earlier_date_changes_nothing(alice: StoreUser, bob: StoreUser) -> None:
    wanted = publication([1], made_at=NOW)
    publish(alice, wanted)
    before = counts_of(alice)
    assert publish(alice, renewed(publication([2], [3], made_at=NOW - 1))) is PublishRefusal.OUTDATED
    assert counts_of(alice) == before
    assert take(alice, bob).signed == wanted.signed
    assert dates(alice, bob) == (wanted.dating, wanted.last_resort_kem)


def test_replacement_may_have_an_earlier_date(alice: StoreUser, bob: StoreUser) -> None:
    """Its owner's clock was wrong."""
    publish(alice, publication([1], made_at=NOW))
    wanted = renewed(publication([2], made_at=1, replace=True))
    assert isinstance(publish(alice, wanted), PreKeyCounts)
    assert dates(alice, bob) == (wanted.dating, wanted.last_resort_kem)
    assert publish(alice, publication(made_at=0)) is PublishRefusal.OUTDATED


def test_other_signed_prekey_without_a_date_ends_the_date(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication(made_at=NOW))
    publish(alice, renewed(publication(last_resort=True)))
    assert dates(alice, bob) == (None, None)
    assert isinstance(publish(alice, publication(made_at=1)), PreKeyCounts), "nothing is later"


def test_other_key_under_the_same_id_ends_the_date(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication(made_at=NOW))
    publish(alice, renewed(publication(), signed_id=1))
    assert dates(alice, bob) == (None, None)


def test_other_last_resort_without_a_date_ends_the_date(alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication(made_at=NOW))
    wanted = publication(last_resort=True)
    assert wanted.last_resort_kem is not None
    publish(alice, replace(wanted, last_resort_kem=replace(wanted.last_resort_kem, id=901)))
    assert dates(alice, bob) == (None, None)


def test_one_time_keys_without_a_date_leave_the_date(alice: StoreUser, bob: StoreUser) -> None:
    """What it is over has not changed."""
    wanted = publication(made_at=NOW)
    publish(alice, wanted)
    publish(alice, publication([5], [6]))
    publish(alice, publication([7], last_resort=True))
    assert dates(alice, bob) == (wanted.dating, wanted.last_resort_kem)


def test_dates_of_two_owners_do_not_mix(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    publish(alice, publication(made_at=NOW))
    publish(carol, publication(made_at=NOW - 5))
    publish(carol, renewed(publication()))
    assert dates(alice, bob)[0] == publication(made_at=NOW).dating
    assert dates(carol, bob) == (None, None)


def test_date_ends_with_the_account(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    publish(alice, publication(made_at=NOW))
    run(store, DeleteAccount(actor=alice.actor))
    alice.log_in()
    publish(alice, publication(last_resort=True))
    assert dates(alice, bob) == (None, None)
