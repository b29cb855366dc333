from collections.abc import Iterator
from pathlib import Path

import pytest
from client_samples import DAY, KEY, Party, publication_of, randomness, raw_rows

from phantom_messenger.client import records
from phantom_messenger.client.prekey_store import (
    KEM_REFILL_BELOW,
    KEM_TARGET,
    MAX_KEPT,
    ONE_TIME_TARGET,
    REFILL_BELOW,
    PreKeyStore,
    Publication,
)
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import handshake
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.errors import InvalidSignature, UnknownPreKey
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.labels import KEM_PREKEY, SIGNED_PREKEY
from phantom_messenger.wire.limits import MAX_KEM_PREKEYS_PER_PUBLISH, MAX_ONE_TIME_PREKEYS
from support.structs import replace

WEEK = 7 * DAY


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Party]:
    party = Party(tmp_path, "owner")
    yield party
    party.vault.close()


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[PreKeyStore]:
    """A chain that has made nothing yet."""
    vault = Vault(tmp_path / "chain.vault", KEY)
    yield PreKeyStore(vault, OwnIdentity(bytes(32)), randomness("chain"))
    vault.close()


def consume(chain: PreKeyStore, used: HandshakeHeader) -> None:
    with chain._vault.transaction() as tx:
        chain.consume(tx, used)


def ids(publication: Publication) -> tuple[list[int], list[int]]:
    return [key.id for key in publication.one_time], [key.id for key in publication.kem]


def is_due(chain: PreKeyStore, publication: Publication, now: int, *, one_time: int = 100, kem: int = 25) -> bool:
    """Whether to publish again when the relay has this publication with so many keys left."""
    signed, last_resort = publication.signed.id, publication.last_resort.id
    return chain.due(one_time=one_time, kem=kem, signed_id=signed, last_resort_id=last_resort, now=now)


def header(publication: Publication, *, place: int | None = None) -> HandshakeHeader:
    """A handshake that names the keys of a publication; one-time ones if there is a place."""
    kem = publication.last_resort if place is None else publication.kem[place]
    return HandshakeHeader(
        identity=OwnIdentity(bytes(range(32))).peer,
        ephemeral=bytes(32),
        signed_prekey_id=publication.signed.id,
        one_time_prekey_id=0 if place is None else publication.one_time[place].id,
        kem_prekey_id=kem.id,
        kem_ciphertext=bytes(1_088),
    )


# --- how many ---------------------------------------------------------------------

COUNTS = [(0, 0, 100, 25), (24, 25, 76, 0), (99, 24, 1, 1), (100, 25, 0, 0), (150, 30, 0, 0)]


@pytest.mark.parametrize(("one_time", "kem", "new_one_time", "new_kem"), COUNTS)
def test_publication_fills_up_what_the_relay_has(
    chain: PreKeyStore, one_time: int, kem: int, new_one_time: int, new_kem: int
) -> None:
    publication = publication_of(chain, one_time=one_time, kem=kem, now=0)
    assert (len(publication.one_time), len(publication.kem)) == (new_one_time, new_kem)


def test_publication_fits_what_a_relay_takes() -> None:
    assert (ONE_TIME_TARGET, KEM_TARGET, REFILL_BELOW, KEM_REFILL_BELOW) == (100, 25, 25, 10)
    assert KEM_TARGET <= MAX_KEM_PREKEYS_PER_PUBLISH
    assert ONE_TIME_TARGET <= MAX_ONE_TIME_PREKEYS


def test_every_prekey_has_an_id_of_its_own_and_a_signature(chain: PreKeyStore) -> None:
    publication = publication_of(chain, one_time=0, kem=0, now=0)
    one_time, kem = ids(publication)
    numbers = [*one_time, *kem, publication.signed.id, publication.last_resort.id]
    assert len(set(numbers)) == 127
    assert all(0 < number < 2**32 for number in numbers)
    peer = OwnIdentity(bytes(32)).peer
    peer.verify(publication.signed.signature, SIGNED_PREKEY + publication.signed.pair.public)
    for key in (*publication.kem, publication.last_resort):
        peer.verify(key.signature, KEM_PREKEY + key.public)


def test_ids_rise_over_all_publications_and_lives_of_the_program(tmp_path: Path) -> None:
    path, identity = tmp_path / "chain.vault", OwnIdentity(bytes(32))
    highest = 0
    # Time passes, stands still, and goes back.
    for now in (1_750_000_000_000, 1_750_000_000_000, 1_750_600_000_000, 1_700_000_000_000):
        vault = Vault(path, KEY)
        chain = PreKeyStore(vault, identity, randomness(f"{now}"))
        publication = publication_of(chain, one_time=0, kem=0, now=now)
        chain.published(publication)
        numbers = sorted([*ids(publication)[0], *ids(publication)[1]])
        assert numbers[0] > highest
        highest = numbers[-1]
        assert highest < 2**32
        vault.close()


def test_ids_after_a_restored_backup_are_above_those_that_were_lost_with_it(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "chain.vault", KEY)
    chain = PreKeyStore(vault, OwnIdentity(bytes(32)), randomness("chain"))
    old = publication_of(chain, one_time=0, kem=0, now=1_750_000_000_000)
    chain.published(old)
    vault.close()
    backup = vault.path.read_bytes()
    vault = Vault(vault.path, KEY)
    chain = PreKeyStore(vault, OwnIdentity(bytes(32)), randomness("later"))
    lost = publication_of(chain, one_time=0, kem=0, now=1_750_000_600_000)
    vault.close()
    vault.path.write_bytes(backup)
    vault = Vault(vault.path, KEY)
    chain = PreKeyStore(vault, OwnIdentity(bytes(32)), randomness("again"))
    fresh = publication_of(chain, one_time=0, kem=0, now=1_750_086_400_000)
    assert fresh.signed == old.signed
    assert min(ids(fresh)[0]) > max(ids(lost)[0] + ids(lost)[1])
    vault.close()


@pytest.mark.parametrize("now", [2**32 * 1_000, 2**53 - 1])
def test_clock_that_was_wrong_once_does_not_spoil_the_ids_for_ever(chain: PreKeyStore, now: int) -> None:
    chain.published(publication_of(chain, one_time=0, kem=0, now=now))
    publication = publication_of(chain, one_time=0, kem=0, now=1_750_000_000_000)
    numbers = [*ids(publication)[0], *ids(publication)[1], publication.signed.id, publication.last_resort.id]
    assert max(numbers) < 2**32


DUE = {
    "as published": ({}, False),
    "just enough": ({"one_time": 25, "kem": 10}, False),
    "too few one-time keys": ({"one_time": 24}, True),
    "too few KEM keys": ({"kem": 9}, True),
    "none": ({"one_time": 0, "kem": 0}, True),
}


@pytest.mark.parametrize(("left", "due"), DUE.values(), ids=DUE)
def test_publication_is_due_when_few_are_left(chain: PreKeyStore, left: dict[str, int], due: bool) -> None:
    assert is_due(chain, publication_of(chain, one_time=0, kem=0, now=0), 0, **left) is due


def test_publication_is_due_when_the_relay_has_another_or_none(chain: PreKeyStore) -> None:
    assert chain.due(one_time=100, kem=25, signed_id=None, last_resort_id=None, now=0)
    publication = publication_of(chain, one_time=0, kem=0, now=0)
    signed, last_resort = publication.signed.id, publication.last_resort.id
    for found in ((None, last_resort), (signed, None), (signed + 1, last_resort), (signed, last_resort + 1)):
        assert chain.due(one_time=100, kem=25, signed_id=found[0], last_resort_id=found[1], now=0)


# --- what is not confirmed --------------------------------------------------------


def test_keys_that_were_not_confirmed_are_used_again(chain: PreKeyStore) -> None:
    first = publication_of(chain, one_time=0, kem=0, now=0)
    second = publication_of(chain, one_time=0, kem=0, now=1)
    assert ids(first) == ids(second)
    assert (first.signed, first.last_resort.public) == (second.signed, second.last_resort.public)
    assert ids(publication_of(chain, one_time=60, kem=20, now=2)) == (ids(first)[0][:40], ids(first)[1][:5])


def test_confirmed_keys_are_not_published_again(chain: PreKeyStore) -> None:
    first = publication_of(chain, one_time=0, kem=0, now=0)
    chain.published(first)
    second = publication_of(chain, one_time=20, kem=5, now=1)
    assert set(ids(first)[0]).isdisjoint(ids(second)[0])
    assert set(ids(first)[1]).isdisjoint(ids(second)[1])
    assert (len(second.one_time), len(second.kem)) == (80, 20)


def test_confirming_one_publication_leaves_another_unconfirmed(chain: PreKeyStore) -> None:
    part = publication_of(chain, one_time=90, kem=20, now=0)
    whole = publication_of(chain, one_time=0, kem=0, now=1)
    chain.published(part)
    again = publication_of(chain, one_time=0, kem=0, now=2)
    assert ids(again)[0][:90] == ids(whole)[0][10:]
    assert set(ids(part)[0]).isdisjoint(ids(again)[0])


def test_prekeys_survive_the_program(tmp_path: Path) -> None:
    path, identity, source = tmp_path / "chain.vault", OwnIdentity(bytes(32)), randomness("chain")
    vault = Vault(path, KEY)
    first = publication_of(PreKeyStore(vault, identity, source), one_time=0, kem=0, now=0)
    vault.close()
    vault = Vault(path, KEY)
    chain = PreKeyStore(vault, identity, source)
    assert ids(publication_of(chain, one_time=0, kem=0, now=0)) == ids(first)
    signed, one_time, kem = chain.named_in(header(first, place=3))
    assert signed == first.signed
    assert one_time == first.one_time[3]
    assert kem is not None
    assert kem.public == first.kem[3].public
    vault.close()


# --- rotation ---------------------------------------------------------------------


def test_signed_prekey_and_last_resort_are_renewed_after_seven_days(chain: PreKeyStore) -> None:
    first = publication_of(chain, one_time=0, kem=0, now=0)
    assert not is_due(chain, first, WEEK)
    same = publication_of(chain, one_time=100, kem=25, now=WEEK)
    assert (same.signed.id, same.last_resort.id) == (first.signed.id, first.last_resort.id)
    assert is_due(chain, first, WEEK + 1)
    second = publication_of(chain, one_time=100, kem=25, now=WEEK + 1)
    assert second.signed.id != first.signed.id
    assert second.signed.pair != first.signed.pair
    assert second.last_resort.public != first.last_resort.public
    assert not is_due(chain, second, WEEK + 1)
    assert is_due(chain, first, WEEK + 1)


def test_retired_prekeys_are_kept_seven_days_more_and_then_erased(chain: PreKeyStore) -> None:
    first = publication_of(chain, one_time=0, kem=0, now=0)
    retired_at = WEEK + 1
    publication_of(chain, one_time=100, kem=25, now=retired_at)
    publication_of(chain, one_time=100, kem=25, now=retired_at + WEEK)
    signed, _, kem = chain.named_in(header(first))
    assert signed == first.signed
    assert kem is not None
    assert kem.public == first.last_resort.public
    publication_of(chain, one_time=100, kem=25, now=retired_at + WEEK + 1)
    with pytest.raises(UnknownPreKey):
        chain.named_in(header(first))
    for sort, number in (("signed", first.signed.id), ("last-resort", first.last_resort.id)):
        assert not chain._vault.has(records.PREKEY, f"{sort}:{number}")


def test_one_time_keys_are_kept_as_long_as_the_relay_may_hand_them_out(chain: PreKeyStore) -> None:
    first = publication_of(chain, one_time=0, kem=0, now=0)
    chain.published(first)
    latest = first
    for week in range(1, 20):
        # Nobody asks for keys, so the relay still has all of them.
        latest = publication_of(chain, one_time=100, kem=25, now=week * (WEEK + 1))
        chain.published(latest)
    handed_out = replace(header(latest), one_time_prekey_id=first.one_time[0].id, kem_prekey_id=first.kem[0].id)
    _, one_time, kem = chain.named_in(handed_out)
    assert one_time == first.one_time[0]
    assert kem is not None
    assert kem.public == first.kem[0].public


# --- dates ------------------------------------------------------------------------

WALL = 1_760_000_000_000


def dated(chain: PreKeyStore, made_at: int, *, now: int = 0) -> Publication:
    """A publication with a date, which the relay has."""
    publication = publication_of(chain, one_time=100, kem=25, now=now, made_at=made_at)
    chain.published(publication)
    return publication


def is_due_for_a_date(chain: PreKeyStore, publication: Publication, *, now: int = 0) -> bool:
    signed, last_resort = publication.signed.id, publication.last_resort.id
    return chain.due(one_time=100, kem=25, signed_id=signed, last_resort_id=last_resort, now=now, takes_dates=True)


def test_date_is_signed_together_with_the_prekeys_that_last(chain: PreKeyStore) -> None:
    made, peer = publication_of(chain, one_time=0, kem=0, now=0, made_at=WALL), OwnIdentity(bytes(32)).peer
    bundle = DatedBundle(
        identity=peer,
        user_id=peer.user_id,
        made_at=made.made_at,
        signed_prekey=made.signed.pair.public,
        signed_prekey_id=made.signed.id,
        kem_prekey=made.last_resort.public,
        kem_prekey_id=made.last_resort.id,
        signature=made.bundle_signature,
    )
    bundle.verify(now=WALL, newest=WALL)
    with pytest.raises(InvalidSignature):
        replace(bundle, made_at=WALL - 1).verify(now=WALL, newest=0)


def test_publication_without_a_date_has_no_signature_of_one(chain: PreKeyStore) -> None:
    made = publication_of(chain, one_time=100, kem=25, now=0)
    assert (made.made_at, made.bundle_signature) == (0, b"")


def test_prekeys_that_are_there_without_a_date_are_due_for_one_once(tmp_path: Path) -> None:
    path, identity = tmp_path / "chain.vault", OwnIdentity(bytes(32))
    vault = Vault(path, KEY)
    chain = PreKeyStore(vault, identity, randomness("chain"))
    first = publication_of(chain, one_time=0, kem=0, now=0)
    chain.published(first)
    assert not is_due(chain, first, 0)
    assert is_due_for_a_date(chain, first)
    second = dated(chain, WALL)
    assert (second.signed, second.last_resort.public) == (first.signed, first.last_resort.public)
    vault.close()
    vault = Vault(path, KEY)
    assert not is_due_for_a_date(PreKeyStore(vault, identity, randomness("later")), second)
    vault.close()


def test_date_that_was_not_confirmed_is_still_due(chain: PreKeyStore) -> None:
    chain.published(publication_of(chain, one_time=0, kem=0, now=0))
    made = publication_of(chain, one_time=100, kem=25, now=0, made_at=WALL)
    assert is_due_for_a_date(chain, made)


def test_prekeys_that_were_renewed_at_a_relay_without_dates_are_due_for_one(chain: PreKeyStore) -> None:
    dated(chain, WALL)
    renewed = dated(chain, 0, now=WEEK + 1)
    assert not is_due(chain, renewed, WEEK + 1)
    assert is_due_for_a_date(chain, renewed, now=WEEK + 1)


def test_more_keys_for_a_relay_without_dates_leave_the_date(chain: PreKeyStore) -> None:
    dated(chain, WALL)
    assert not is_due_for_a_date(chain, dated(chain, 0))


def test_date_is_that_of_the_wall_clock_and_never_falls(chain: PreKeyStore) -> None:
    assert chain.date(WALL) == WALL
    dated(chain, WALL)
    for wall, date in ((WALL + 5, WALL + 5), (WALL, WALL), (WALL - 5, WALL), (WALL - DAY, WALL)):
        assert chain.date(wall) == date
        assert not chain.is_ahead(wall)
    dated(chain, WALL, now=WEEK + 1)
    assert chain.date(WALL - 5) == WALL, "of prekeys that were renewed too"


def test_date_of_a_clock_that_was_wrong_is_given_up(chain: PreKeyStore) -> None:
    """Nobody has accepted a bundle that was more than a day ahead."""
    dated(chain, WALL + DAY + 1)
    assert chain.is_ahead(WALL)
    assert chain.date(WALL) == WALL
    dated(chain, WALL)
    assert not chain.is_ahead(WALL)
    assert chain.date(WALL - 1) == WALL
    dated(chain, WALL + 3 * DAY, now=WEEK + 1)
    dated(chain, WALL, now=2 * WEEK + 2)
    assert not chain.is_ahead(WALL), "that of prekeys that were retired does not count"


def test_clock_before_1970_makes_a_date_all_the_same(chain: PreKeyStore) -> None:
    assert (chain.date(0), chain.date(-5)) == (1, 1)


# --- use --------------------------------------------------------------------------


def test_handshake_finds_the_private_halves_that_it_names(owner: Party) -> None:
    for one_time in (True, False):
        bundle = owner.bundle(one_time=one_time)
        identity = OwnIdentity(bytes(range(32)))
        found, agreed = handshake.initiate(
            identity,
            KeyPair.from_private(bytes(range(32, 64))),
            bundle,
            own_id=b"a",
            peer_id=owner.raw_id,
        )
        signed, first, kem = owner.prekeys.named_in(found)
        assert (first is not None) is one_time
        answered = handshake.respond(
            owner.identity,
            found,
            signed_prekey=signed,
            one_time_prekey=first,
            kem_prekey=kem,
            own_id=owner.raw_id,
            peer_id=b"a",
        )
        assert answered.secret == agreed.secret


def test_one_time_keys_are_erased_after_use_and_the_others_stay(chain: PreKeyStore) -> None:
    publication = publication_of(chain, one_time=0, kem=0, now=0)
    used = header(publication, place=0)
    consume(chain, used)
    for one_time, kem in ((used.one_time_prekey_id, 0), (0, used.kem_prekey_id)):
        with pytest.raises(UnknownPreKey):
            chain.named_in(
                replace(
                    used,
                    one_time_prekey_id=one_time,
                    kem_prekey_id=kem,
                    kem_ciphertext=used.kem_ciphertext if kem else b"",
                )
            )
    chain.named_in(header(publication, place=1))
    consume(chain, used)
    before = raw_rows(chain._vault)
    consume(chain, header(publication))
    assert raw_rows(chain._vault) == before
    chain.named_in(header(publication))


@pytest.mark.parametrize("name", ["signed_prekey_id", "one_time_prekey_id", "kem_prekey_id"])
def test_prekey_that_was_never_there_is_refused(chain: PreKeyStore, name: str) -> None:
    named = header(publication_of(chain, one_time=0, kem=0, now=0), place=0)
    changed = {name: getattr(named, name) ^ 0x8000_0000}
    with pytest.raises(UnknownPreKey):
        chain.named_in(replace(named, **changed))


def test_key_of_one_sort_is_not_taken_for_another(chain: PreKeyStore) -> None:
    publication = publication_of(chain, one_time=0, kem=0, now=0)
    named = header(publication, place=0)
    wrong = [
        replace(named, signed_prekey_id=publication.one_time[1].id),
        replace(named, one_time_prekey_id=publication.signed.id),
        replace(named, kem_prekey_id=publication.one_time[1].id),
    ]
    for found in wrong:
        with pytest.raises(UnknownPreKey):
            chain.named_in(found)


def test_keys_that_the_relay_cannot_hold_any_more_go_after_90_days(chain: PreKeyStore) -> None:
    now = 1_750_000_000_000
    for _ in range(6):
        chain.published(publication_of(chain, one_time=0, kem=0, now=now))
    one_time = [record.id for record in chain._all() if record.sort == "one-time"]
    assert len(one_time) == 600
    publication_of(chain, one_time=100, kem=25, now=now + 89 * DAY)
    assert [record.id for record in chain._all() if record.sort == "one-time"] == one_time[-MAX_KEPT:]
    publication_of(chain, one_time=100, kem=25, now=now + 91 * DAY)
    left = [record.id for record in chain._all() if record.sort == "one-time"]
    assert left == one_time[-MAX_ONE_TIME_PREKEYS:]


def test_relay_that_has_lost_all_keys_at_each_login_makes_a_bounded_number_be_kept(chain: PreKeyStore) -> None:
    now = 1_750_000_000_000
    for _ in range(30):
        chain.published(publication_of(chain, one_time=0, kem=0, now=now))
    for sort, made in (("one-time", 100), ("kem", 25)):
        kept = [record.id for record in chain._all() if record.sort == sort]
        assert len(kept) == MAX_KEPT + made
        assert kept == sorted(kept)
