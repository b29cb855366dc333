"""Which suite is written in: suite 2 with whoever has it, and suite 1 with others only as their users say."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from client_samples import (
    DATED_FIELDS,
    DAY,
    KEM_FIELDS,
    Device,
    Party,
    Town,
    acquainted,
    moved,
    pass_time,
    settle,
    without_field,
)
from msgspec.structs import replace
from recovery_faults import FaultyDevice

from phantom_messenger.client import link, records
from phantom_messenger.client.key_exchanges import WEAK_AGAIN_MS
from phantom_messenger.client.records import ContactRecord, Strength
from phantom_messenger.client.sessions import MAX_SESSION_AGE_MS
from phantom_messenger.client.status import WarningEvent
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.suites import suite_of
from phantom_messenger.wire import frames
from support.people import Frame
from support.simulated import HOUR, MINUTE, SECOND


@contextmanager
def older() -> Iterator[None]:
    """Who connects meanwhile says nothing of suite 2, so the relay hands it no dates and takes none from it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link, "FEATURES", ["ack"])
        yield


def device(town: Town, name: str) -> FaultyDevice:
    made = FaultyDevice(town.world, town.folder / name, name)
    town.made.append(made)
    return made


def newcomer(town: Town, name: str) -> FaultyDevice:
    made = device(town, name)
    made.login()
    return made


def old(town: Town, name: str) -> FaultyDevice:
    """Somebody whose program is of version 0.1.0."""
    made = device(town, name)
    with older():
        made.login()
    return made


def acquaint(*devices: Device) -> None:
    for one in devices:
        for other in devices:
            if other is not one:
                one.messenger.contacts.add(other.name, other.id)


def knows_no_better(one: Device, *others: Device) -> None:
    """The program of ``one`` is older: what it may send in to these is nothing that it would ask about."""
    for other in others:
        one.messenger.contacts.allow_older(other.id)


def as_of_0_1_0(one: Device) -> None:
    """The contacts as a program wrote them that knew one suite."""
    with one.vault.transaction() as tx:
        for contact in one.messenger.contacts.everybody():
            record = one.messenger._stores.book.get(contact.user_id)
            one.messenger._stores.book.put(tx, replace(record, suite=0, newest=0, allows_older=False, asked_at=None))


def old_friends(town: Town) -> tuple[FaultyDevice, FaultyDevice]:
    """Two who have talked with version 0.1.0, and whose profiles a newer program has just opened, offline."""
    alice, bob = old(town, "alice"), old(town, "bob")
    acquaint(alice, bob)
    knows_no_better(alice, bob)
    knows_no_better(bob, alice)
    alice.send(bob, "hello")
    settle(alice, bob)
    bob.send(alice, "hello yourself")
    pass_time(5 * SECOND, alice, bob)
    assert (alice.read_all(), bob.read_all()) == (["hello yourself"], ["hello"])
    pass_time(5 * SECOND, alice, bob)
    for one in (alice, bob):
        one.cut()
        as_of_0_1_0(one)
        one.kill()
        one.sent.clear()
        one.events.clear()
    return alice, bob


def suites_of(one: Device) -> list[int]:
    """The suites of what left."""
    return [base64.b64decode(frame["payload"]["encrypted"])[0] for frame in one.frames_sent("MESSAGE")]


def record_of(one: Device, other: Device) -> ContactRecord:
    return one.messenger._stores.book.get(other.id)


def undated(frame: Frame) -> list[Frame]:
    """What a relay makes of bundles that wants suite 1."""
    return [without_field(frame, *DATED_FIELDS) if frame["type"] == "KEY_EXCHANGE_RESPONSE" else frame]


# --- whoever is new ---------------------------------------------------------------


def test_newcomers_talk_in_suite_2_alone(town: Town) -> None:
    alice, bob = newcomer(town, "alice"), newcomer(town, "bob")
    acquaint(alice, bob)
    alice.send(bob, "hello")
    settle(alice, bob)
    bob.send(alice, "hello yourself")
    pass_time(5 * SECOND, alice, bob)
    assert (alice.read_all(), bob.read_all()) == (["hello yourself"], ["hello"])
    pass_time(5 * SECOND, alice, bob)
    assert set(suites_of(alice) + suites_of(bob)) == {2}
    assert alice.troubles() == bob.troubles() == []
    assert record_of(alice, bob).newest > 0


def test_message_to_an_older_program_waits_until_the_user_allows_it(town: Town) -> None:
    alice, bob = newcomer(town, "alice"), old(town, "bob")
    acquaint(alice, bob)
    knows_no_better(bob, alice)
    alice.send(bob, "hello")
    pass_time(WEAK_AGAIN_MS + 2 * MINUTE, alice, bob, step=10 * SECOND)
    assert suites_of(alice) == []
    (warning,) = alice.heard(WarningEvent)
    assert warning.code == "older"
    assert "phantom contacts accept bob --older" in warning.message
    alice.messenger.contacts.allow_older("bob")
    pass_time(5 * SECOND, alice, bob)
    assert bob.read_all() == ["hello"]
    assert set(suites_of(alice)) == {1}


def test_message_of_an_older_program_is_read_and_not_answered_until_the_user_allows_it(town: Town) -> None:
    alice, bob = newcomer(town, "alice"), old(town, "bob")
    acquaint(alice, bob)
    knows_no_better(bob, alice)
    bob.send(alice, "hello")
    pass_time(5 * SECOND, alice, bob)
    assert alice.read_all() == ["hello"]
    assert alice.troubles()[0] == "older"
    pass_time(MINUTE, alice, bob)
    assert suites_of(alice) == [], "not a receipt either"
    alice.messenger.contacts.allow_older("bob")
    alice.send(bob, "hello yourself")
    pass_time(5 * SECOND, alice, bob)
    assert bob.read_all() == ["hello yourself"]
    assert set(suites_of(alice)) == {1}


def test_the_users_word_holds_until_the_program_is_seen_with_suite_2(town: Town) -> None:
    alice, bob = newcomer(town, "alice"), old(town, "bob")
    acquaint(alice, bob)
    knows_no_better(bob, alice)
    alice.messenger.contacts.allow_older("bob")
    alice.send(bob, "in suite 1")
    pass_time(5 * SECOND, alice, bob)
    bob.kill()
    bob.login()
    pass_time(DAY + MINUTE, alice, bob, step=10 * MINUTE, reconnect=True)
    alice.send(bob, "asks")
    pass_time(5 * SECOND, alice, bob)
    assert record_of(alice, bob).floor is Strength.SUITE_2
    alice.sent.clear()
    alice.send(bob, "in suite 2")
    pass_time(5 * SECOND, alice, bob)
    assert bob.read_all() == ["in suite 1", "asks", "in suite 2"]
    assert set(suites_of(alice)) == {2}


# --- whoever was known ------------------------------------------------------------


def test_friends_of_before_go_on_in_suite_1_and_ask_once_a_day(town: Town) -> None:
    alice, bob = old_friends(town)
    alice.login()
    with older():
        bob.login()
    for day in range(2):
        if day:
            pass_time(DAY, alice, bob, step=2 * MINUTE)
        for number in range(3):
            alice.send(bob, f"{day} {number}")
            pass_time(5 * SECOND, alice, bob)
        assert len(alice.frames_sent("KEY_EXCHANGE_INIT")) == day + 1
    assert len(bob.read_all()) == 6
    assert set(suites_of(alice)) == {1}
    assert alice.troubles() == []


def test_relay_that_keeps_no_dates_is_not_asked_for_any(town: Town) -> None:
    alice, bob = old_friends(town)
    with older():  # the relay says to nobody that it keeps them
        alice.login()
        bob.login()
    alice.send(bob, "hello again")
    pass_time(5 * SECOND, alice, bob)
    assert bob.read_all() == ["hello again"]
    assert alice.frames_sent("KEY_EXCHANGE_INIT") == []


@pytest.mark.parametrize("first", ["alice", "bob", "both"])
def test_upgrade_amid_a_conversation_loses_and_doubles_nothing(town: Town, first: str) -> None:
    alice, bob = old_friends(town)
    people = {"alice": alice, "bob": bob}
    got: dict[str, list[str]] = {"alice": [], "bob": []}
    written: dict[str, list[str]] = {"alice": [], "bob": []}

    def talk(stage: str) -> None:
        for number in range(4):
            for name, other in (("alice", "bob"), ("bob", "alice")):
                text = f"{stage} {number} of {name}"
                people[name].send(people[other], text)
                written[other].append(text)
            if number % 2:
                settle(alice, bob)
        pass_time(5 * SECOND, alice, bob)
        for name, one in people.items():
            got[name] += one.read_all()

    for name, one in people.items():
        if first in {name, "both"}:
            one.login()
        else:
            with older():
                one.login()
    talk("one new")
    for name, one in people.items():
        if first not in {name, "both"}:
            one.kill()  # with what is under way
            one.login()
    pass_time(DAY + MINUTE, alice, bob, step=10 * MINUTE, reconnect=True)
    talk("both new")
    talk("later")
    assert got == written
    for one, other in ((alice, bob), (bob, alice)):
        assert record_of(one, other).suite == 2
        assert suites_of(one)[-1] == 2
        assert not {"downgrade", "older", "unreadable", "waiting", "newer"} & set(one.troubles())


def test_after_the_upgrade_suite_1_is_not_gone_back_to(town: Town) -> None:
    alice, bob = old_friends(town)
    alice.login()
    bob.login()
    alice.send(bob, "asks")
    pass_time(5 * SECOND, alice, bob)
    alice.send(bob, "in suite 2")
    pass_time(5 * SECOND, alice, bob)
    assert suites_of(alice)[-1] == 2
    alice.cut()
    alice.lose(records.SESSIONS)
    alice.sent.clear()
    alice.events.clear()
    alice.tamper = undated
    alice.login()
    alice.send(bob, "secret")
    pass_time(WEAK_AGAIN_MS + 2 * MINUTE, alice, bob, step=10 * SECOND)
    assert suites_of(alice) == []
    assert alice.troubles() == ["downgrade"]
    alice.tamper = None
    pass_time(WEAK_AGAIN_MS + MINUTE, alice, bob, step=10 * SECOND)
    assert "secret" in bob.read_all()
    assert set(suites_of(alice)) == {2}
    # What comes after better keys is said again.
    alice.tamper = undated
    alice.messenger._sending.exchanges.renew(bob.id)
    pass_time(WEAK_AGAIN_MS + 2 * MINUTE, alice, bob, step=10 * SECOND)
    assert alice.troubles() == ["downgrade"] * 2


def test_peer_whose_program_is_older_again_is_written_to_in_suite_1_once_the_user_allows_it(
    town: Town, tmp_path: Path
) -> None:
    alice, bob = newcomer(town, "alice"), newcomer(town, "bob")
    acquaint(alice, bob)
    alice.send(bob, "hello")
    settle(alice, bob)
    bob.send(alice, "hello yourself")
    pass_time(5 * SECOND, alice, bob)
    assert (alice.read_all(), bob.read_all()) == (["hello yourself"], ["hello"])
    pass_time(5 * SECOND, alice, bob)
    imported = moved(bob, tmp_path / "file")
    knows_no_better(imported, alice)
    imported.tamper = without_suite_2
    with older():
        imported.login()
    alice.send(bob, "before the warning")
    imported.send(alice, "from an older program")
    pass_time(5 * SECOND, alice, imported)
    assert alice.read_all() == ["from an older program"]
    (warning,) = alice.heard(WarningEvent)
    assert warning.code == "downgrade"
    assert "'phantom contacts accept bob --older'" in warning.message
    alice.sent.clear()
    alice.send(imported, "nothing goes in suite 1 yet")
    pass_time(5 * SECOND, alice, imported)
    assert set(suites_of(alice)) == {2}
    alice.sent.clear()
    alice.messenger.contacts.allow_older("bob")
    alice.send(imported, "as allowed")
    pass_time(5 * SECOND, alice, imported)
    assert imported.read_all() == ["as allowed"]
    assert set(suites_of(alice)) == {1}
    pass_time(15 * MINUTE, alice, imported, step=10 * SECOND, reconnect=True)
    assert imported.read_all() == ["before the warning", "nothing goes in suite 1 yet"], "they count as lost"


@pytest.mark.parametrize(("wait", "told"), [(MINUTE, []), (DAY, ["downgrade"])])
def test_message_that_may_be_from_before_the_first_in_suite_2_is_no_downgrade(
    town: Town, wait: int, told: list[str]
) -> None:
    alice, bob = newcomer(town, "alice"), old(town, "bob")
    acquaint(alice, bob)
    knows_no_better(alice, bob)
    knows_no_better(bob, alice)
    alice.cut()
    bob.send(alice, "from before")
    settle(bob)
    bob.kill()
    bob.login()
    alice.tamper = lambda frame: [] if frame["type"] == "MESSAGE" else [frame]
    alice.login()
    alice.send(bob, "in suite 2")
    pass_time(5 * SECOND, alice, bob)
    assert suites_of(alice) == [2]
    pass_time(wait, alice, step=MINUTE, reconnect=True)
    if alice.is_connected:
        alice.cut()
    alice.tamper = None
    alice.login()
    assert alice.read_all() == ["from before"]
    assert [code for code in alice.troubles() if code != "older"] == told


def test_who_writes_in_suite_1_again_is_reported_once(town: Town) -> None:
    alice, bob = old_friends(town)
    copy = bob.backup()
    bob.login()
    bob.cut()
    alice.login()
    for text in ("asks", "in suite 2"):
        alice.send(bob, text)
        pass_time(5 * SECOND, alice)
    bob.login()
    bob.send(alice, "in suite 2, too")
    pass_time(5 * SECOND, alice, bob)
    assert alice.read_all() == ["in suite 2, too"]
    assert set(suites_of(bob)) == {2}
    bob.restore(copy)
    bob.tamper = without_suite_2
    with older():
        bob.login()
    for number in range(3):
        bob.send(alice, f"{number} of the old program")
        pass_time(5 * SECOND, alice, bob)
    assert len(alice.read_all()) == 3
    assert alice.troubles() == ["downgrade"]


def test_file_holds_what_was_seen_and_allowed_and_not_when_it_was_asked_for(town: Town, tmp_path: Path) -> None:
    alice, bob = town.devices("alice", "bob")
    record = ContactRecord(user_id=bob.id, name="bob", key=b"key", suite=2, newest=7, allows_older=True, asked_at=5)
    with alice.vault.transaction() as tx:
        alice.messenger._stores.book.put(tx, record)
    moved(alice, tmp_path / "file")
    assert record_of(alice, bob) == replace(record, post_quantum=True, asked_at=None)


def without_suite_2(frame: Frame) -> list[Frame]:
    """What a program can read that does not know suite 2."""
    is_message = frame["type"] == "MESSAGE"
    return [] if is_message and base64.b64decode(frame["payload"]["encrypted"])[0] == 2 else [frame]


# --- the floor, row by row --------------------------------------------------------

NOBODY = ContactRecord(user_id="bob")
OF_BEFORE = ContactRecord(user_id="bob", key=b"key")
SUITE_1_NOW, SUITE_2_NOW = (
    NOBODY.seen_with(seen, key=b"key", classical=False) for seen in (Strength.SUITE_1, Strength.SUITE_2)
)


@pytest.mark.parametrize(
    ("record", "floor"),
    [
        (NOBODY, Strength.SUITE_2),
        (SUITE_1_NOW, Strength.SUITE_2),
        (NOBODY.seen_with(Strength.CLASSICAL, key=b"key", classical=True), Strength.SUITE_2),
        (OF_BEFORE, Strength.SUITE_1),
        (OF_BEFORE.seen_with(Strength.SUITE_1, key=b"key", classical=False), Strength.SUITE_1),
        (OF_BEFORE.seen_with(Strength.SUITE_2, key=b"key", classical=False), Strength.SUITE_2),
        (SUITE_2_NOW.seen_with(Strength.SUITE_1, key=b"key", classical=False), Strength.SUITE_2),
    ],
)
def test_floor_is_what_the_peer_has_shown_unless_the_user_allows_less(record: ContactRecord, floor: Strength) -> None:
    def after(seen: Strength, **allowed: bool) -> Strength:
        return replace(record, **allowed).seen_with(seen, key=b"key", classical=False).floor

    assert record.floor is floor
    assert replace(record, allows_older=True).floor is Strength.SUITE_1
    assert after(Strength.SUITE_1, allows_older=True) is Strength.SUITE_1
    assert after(Strength.SUITE_2, allows_older=True) is Strength.SUITE_2
    assert replace(record, allows_classical=True).floor is Strength.CLASSICAL
    assert after(Strength.CLASSICAL, allows_classical=True) is Strength.CLASSICAL
    assert after(Strength.SUITE_1, allows_classical=True) is Strength.SUITE_1
    assert after(Strength.SUITE_2, allows_classical=True) is Strength.SUITE_2


@pytest.mark.parametrize("how", ["a dated bundle", "a message"])
def test_each_sign_of_suite_2_raises_the_floor_for_good(tmp_path: Path, how: str) -> None:
    alice, bob = Party(tmp_path, "alice"), Party(tmp_path, "bob")
    acquainted(alice, bob, dated=False)
    for one, other in ((alice, bob), (bob, alice)):
        with one.vault.transaction() as tx:
            one.book.put(tx, replace(one.book.get(other.id), suite=0, allows_older=False))
        assert one.book.get(other.id).floor is Strength.SUITE_1
    if how == "a dated bundle":
        alice.begin(bob)
    else:
        bob.begin(alice)
        alice.read(bob.write(alice, "in suite 2"))
    assert alice.book.get(bob.id).floor is Strength.SUITE_2
    alice.vault.close()
    bob.vault.close()


@pytest.mark.parametrize("is_smaller", [True, False])
def test_session_of_suite_1_is_used_as_soon_as_it_is_allowed_if_the_peer_wrote_in_it_last(
    tmp_path: Path, is_smaller: bool
) -> None:
    alice, bob = Party(tmp_path, "alice"), Party(tmp_path, "bob")
    bob.allow_older(alice)
    bob.begin(alice, dated=False)
    frame = bob.write(alice, "in suite 1")
    pairs = (KeyPair.from_private(alice.random(32)) for _ in range(1_000))
    rival = bob.sessions(alice)[0].id
    alice.begin_with(bob, bob.bundle(), next(pair for pair in pairs if (pair.public < rival) is is_smaller))
    assert alice.read(frame).is_weak
    assert suite_in(alice.write(bob, "in suite 2")) == 2
    alice.allow_older(bob)
    assert suite_in(alice.write(bob, "in suite 1")) == 1
    alice.vault.close()
    bob.vault.close()


def test_session_in_use_stays_though_a_weaker_one_was_read_in_last(tmp_path: Path) -> None:
    alice, bob = Party(tmp_path, "alice"), Party(tmp_path, "bob")
    bob.allow_older(alice)
    bob.begin(alice, dated=False)
    frame = bob.write(alice, "in suite 1")
    alice.begin(bob)
    alice.read(frame)
    before = alice.sessions(bob)
    assert [suite_of(one) for one in before] == [1, 2]
    for now in (DAY, DAY + MAX_SESSION_AGE_MS + 1):
        with alice.vault.transaction() as tx:
            alice.conversations.forget_old(tx, bob.id, now)
    assert alice.sessions(bob) == before
    alice.vault.close()
    bob.vault.close()


def suite_in(frame: frames.RoutedMessage) -> int:
    return base64.b64decode(frame.payload.encrypted)[0]


# --- a relay that wants suite 1 ---------------------------------------------------


def aged(alice: Device) -> Callable[[Frame], list[Frame]]:
    """A relay that hands out the first bundle for ever."""
    kept = next(frame for frame in alice.received if frame["type"] == "KEY_EXCHANGE_RESPONSE")
    names = (*KEM_FIELDS, "signedPreKey", "signedPreKeyId", "preKeySignature")
    old_fields = {name: kept["payload"][name] for name in names}

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] != "KEY_EXCHANGE_RESPONSE":
            return [frame]
        return [{**frame, "payload": {**frame["payload"], **old_fields}}]

    return tamper


def test_keys_of_before_the_newest_that_were_seen_begin_nothing(town: Town) -> None:
    alice, bob = newcomer(town, "alice"), newcomer(town, "bob")
    acquaint(alice, bob)
    alice.send(bob, "hello")
    pass_time(5 * SECOND, alice, bob)
    tamper = aged(alice)
    pass_time(8 * DAY, alice, bob, step=HOUR, reconnect=True)  # Bob renews his prekeys
    alice.cut()
    alice.lose(records.SESSIONS)
    alice.login()
    alice.send(bob, "with newer keys")
    pass_time(MINUTE, alice, bob)
    assert bob.read_all() == ["hello", "with newer keys"]
    alice.cut()
    alice.lose(records.SESSIONS)
    alice.sent.clear()
    alice.events.clear()
    alice.tamper = tamper
    alice.login()
    alice.send(bob, "secret")
    pass_time(WEAK_AGAIN_MS + 2 * MINUTE, alice, bob, step=10 * SECOND)
    assert suites_of(alice) == []
    assert alice.troubles().count("stale-keys") == 1


@pytest.mark.parametrize("how", ["first contact", "imported"])
def test_relay_that_takes_the_date_away_gets_nothing_in_suite_1(town: Town, tmp_path: Path, how: str) -> None:
    alice, bob = newcomer(town, "alice"), newcomer(town, "bob")
    acquaint(alice, bob)
    one: Device = alice
    if how == "imported":
        alice.send(bob, "hello")
        pass_time(5 * SECOND, alice, bob)
        one = moved(alice, tmp_path / "file")
        one.login()
    one.tamper = undated
    one.sent.clear()
    one.send(bob, "secret")
    pass_time(WEAK_AGAIN_MS + 2 * MINUTE, one, bob, step=10 * SECOND)
    assert suites_of(one) == []
    code = "older" if how == "first contact" else "downgrade"
    assert [found for found in one.troubles() if found in {"older", "downgrade"}] == [code]


def test_control_without_the_floor_the_text_leaves_in_suite_1(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContactRecord, "floor", Strength.SUITE_1)
    alice, bob = newcomer(town, "alice"), newcomer(town, "bob")
    acquaint(alice, bob)
    alice.tamper = undated
    alice.send(bob, "secret")
    pass_time(5 * SECOND, alice, bob)
    assert suites_of(alice)[0] == 1
