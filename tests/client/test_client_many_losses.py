"""Messages to many over losses, deaths, restarts and time: each copy arrives once, and is kept as long as it may."""

import pytest
from client_samples import DAY, Town, moved, pass_time, settle
from many_copies import kept, older_relay, reached, to_many

from phantom_messenger.client import records
from phantom_messenger.client.many.outgoing import Options
from phantom_messenger.client.many.sending import SendingMany
from phantom_messenger.client.many.store import KEEP_MS
from phantom_messenger.client.records import CopyRecord
from phantom_messenger.client.status import DeliveryEvent, DeliveryState
from phantom_messenger.client.vault import Transaction
from support.amounts import amount
from support.simulated import MINUTE, SECOND

ACCEPTED, DELIVERED, READ, FAILED = (
    DeliveryState.ACCEPTED,
    DeliveryState.DELIVERED,
    DeliveryState.READ,
    DeliveryState.FAILED,
)


# --- what is lost on the way ------------------------------------------------------


def _through_losses(town: Town, point: int, *, kills: bool, older: bool) -> bool:
    """Break after so many frames, in either direction; whether there were as many."""
    alice, bob, carol, dave = (town.device(f"{name} {point}") for name in ("alice", "bob", "carol", "dave"))
    others = [bob, carol, dave]
    alice.tamper = older_relay if older else None
    for device in (alice, *others):
        device.login()
    alice.send(bob, "a text")
    settle(alice, bob)
    to_many(alice, others, "one", "two")
    alice.send(carol, "a text")
    to_many(alice, [carol, dave], "three")
    done = 0
    while done < point:
        alice.fetch()
        if alice.step_up() or alice.step_down():
            done += 1
        elif sum(device.step_up() + device.step_down() for device in others) == 0:
            break
        for device in others:
            device.fetch()
    if done < point:
        return False
    if kills:
        alice.kill()
    else:
        alice.cut()
    alice.login()
    settle(alice, *others)
    pass_time(25 * SECOND, alice, *others, step=5 * SECOND)
    assert bob.read_all() == ["a text", "one", "two"], point
    texts = carol.read_all()
    assert [text for text in texts if text != "a text"] == ["one", "two", "three"], point
    assert (texts.count("a text"), dave.read_all()) == (1, ["one", "two", "three"]), point
    assert (alice.messenger.waiting, [trouble for device in others for trouble in device.troubles()]) == (0, []), point
    for device in (alice, *others):
        device.cut()
    return True


@pytest.mark.parametrize("older", [False, True], ids=["this relay", "older relay"])
@pytest.mark.parametrize("kills", [False, True], ids=["cut", "killed"])
def test_breaking_after_every_single_frame_loses_and_doubles_nothing(town: Town, kills: bool, older: bool) -> None:
    """In the short form a connection is cut after every other frame, and programs are killed after those between.

    An older relay differs in what becomes of one frame: there the short form breaks after every sixth.
    """
    points = amount(int(kills), 0)
    while _through_losses(town, points, kills=kills, older=older):
        points += amount(6 if older else 2, 1)
    assert points >= 8


def test_message_that_was_not_on_disk_is_lost_by_a_kill(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: copies are kept in memory alone."""
    alice, bob, carol = town.friends("alice", "bob", "carol")
    put = Transaction.put

    def forgetful(tx: Transaction, kind: str, name: str, value: object, *, due: int | None = None) -> None:
        if kind != records.COPIES:
            put(tx, kind, name, value, due=due)

    monkeypatch.setattr(Transaction, "put", forgetful)
    to_many(alice, [bob, carol], "hello all")
    alice.kill()
    alice.login()
    settle(alice, bob, carol)
    assert bob.read_all() == []


def test_copy_that_was_encrypted_is_sent_as_it_is_after_a_kill(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    to_many(alice, [bob, carol], "hello all")
    alice.fetch()
    alice.step_up()
    alice.kill()  # the relay has it, and its answer is lost
    alice.login()
    settle(alice, bob, carol)
    first, second = (frame["payload"] for frame in alice.frames_sent("MESSAGE_MANY"))
    assert first["messageId"] == second["messageId"]
    assert first["common"] == second["common"]
    assert [part["head"] for part in first["recipients"]] == [part["head"] for part in second["recipients"]]
    assert bob.read_all() == carol.read_all() == ["hello all"]
    assert bob.troubles() == []


def test_recipient_who_lost_everything_gets_it_again(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    bob.cut()
    (number,) = to_many(alice, [bob, carol], "hello all")
    settle(alice, carol)
    moved(bob, town.folder / "file").login()
    settle(alice, bob, carol)
    pass_time(MINUTE, alice, bob, carol, step=SECOND)
    assert "hello all" in bob.read_all()
    assert carol.read_all() == ["hello all"]
    assert "resent" in alice.troubles()
    pass_time(3 * SECOND, alice, bob, carol)
    assert reached(alice, number)["bob"] == [ACCEPTED, DELIVERED, READ]


@pytest.mark.parametrize("kills", [False, True], ids=["", "killed"])
def test_what_is_sent_again_keeps_its_order_and_goes_before_the_rest(town: Town, kills: bool) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    numbers = to_many(alice, [bob, carol], "one", "two", "three")
    settle(alice, bob, carol)
    alice.cut()
    (four,) = to_many(alice, [bob, carol], "four")
    store, key = alice.messenger._stores.many, alice.messenger._stores.book.get(bob.id).key
    with alice.vault.transaction() as tx:
        assert store.resend(tx, bob.id, [numbers[2], numbers[0], "unknown", numbers[0]], 0, key) == 2
    if kills:
        alice.kill()
    alice.sent.clear()
    alice.login()
    settle(alice, bob, carol)
    frames = [frame["payload"] for frame in alice.frames_sent("MESSAGE_MANY")]
    of_bob = [one["messageId"] for one in frames if bob.id in [to["recipientId"] for to in one["recipients"]]]
    assert of_bob == [numbers[0], numbers[2], four]


def test_sender_who_moved_sends_what_waited(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    alice.cut()
    (number,) = to_many(alice, [bob, carol], "hello all")
    to_many(alice, [bob], "not for long", options=Options(burn=True))
    moved(alice, town.folder / "file").login()
    settle(alice, bob, carol)
    pass_time(MINUTE, alice, bob, carol, step=SECOND)
    assert bob.read_all() == carol.read_all() == ["hello all"]
    assert reached(alice, number)["bob"][0] is ACCEPTED


# --- how long it is kept ----------------------------------------------------------


def test_it_is_kept_to_be_sent_again_for_a_month(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    to_many(alice, [bob], "hello")
    settle(alice, bob)
    pass_time(KEEP_MS - DAY, alice, step=DAY, reconnect=True)
    assert [len(found) for found in kept(alice)] == [1, 1]
    pass_time(2 * DAY, alice, step=DAY, reconnect=True)
    assert [len(found) for found in kept(alice)] == [0, 0]


def test_what_expires_is_erased_and_sent_to_nobody_after_its_time(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    dave = town.device("dave")
    (number,) = to_many(alice, [bob, dave], "for a minute", options=Options(expires_in=MINUTE, burn=True))
    settle(alice, bob)
    (frame,) = alice.frames_sent("MESSAGE_MANY")
    assert frame["payload"]["metadata"] == {"burnAfterRead": True, "expiresIn": MINUTE}
    pass_time(2 * MINUTE, alice, bob, carol, step=5 * SECOND)
    assert [len(found) for found in kept(alice)] == [0, 0]
    assert (alice.messenger.waiting, bob.read_all()) == (0, [])
    dave.login()
    pass_time(3 * MINUTE, alice, dave, step=5 * SECOND)
    assert dave.read_all() == []
    assert not alice.messenger._stores.many.has(number)


def test_late_copy_lives_no_longer_than_the_first(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    carol = town.device("carol")
    to_many(alice, [bob, carol], "for an hour", options=Options(expires_in=60 * MINUTE))
    settle(alice, bob)
    carol.login()
    pass_time(4 * MINUTE, alice, bob, carol, step=5 * SECOND)
    first, second = (frame["payload"]["metadata"]["expiresIn"] for frame in alice.frames_sent("MESSAGE_MANY"))
    assert first == 60 * MINUTE
    assert 56 * MINUTE <= second < 60 * MINUTE
    assert carol.read_all() == ["for an hour"]


def test_what_is_forgotten_is_not_sent(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    alice.cut()
    (number,) = to_many(alice, [bob, carol], "hello all")
    with alice.vault.transaction() as tx:
        alice.messenger.many.forget(tx, number)
    assert alice.messenger.waiting == 0
    to_many(alice, [bob], "second")
    alice.login()
    settle(alice, bob, carol)
    assert (bob.read_all(), carol.read_all()) == (["second"], [])


def test_who_is_blocked_gets_nothing_that_waited(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    alice.cut()
    to_many(alice, [bob, carol], "hello all")
    alice.messenger.block(bob.id)
    alice.login()
    settle(alice, bob, carol)
    assert (bob.read_all(), carol.read_all()) == ([], ["hello all"])
    assert alice.messenger.waiting == 0


# --- over connections -------------------------------------------------------------


def test_what_was_written_offline_leaves_at_the_next_login(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    alice.cut()
    numbers = to_many(alice, [bob, carol], "one", "two")
    assert alice.messenger.waiting == 2
    alice.login()
    settle(alice, bob, carol)
    assert bob.read_all() == carol.read_all() == ["one", "two"]
    assert {event.message_id for event in alice.heard(DeliveryEvent)} >= set(numbers)


def test_copy_whose_session_is_lost_while_it_waits_is_encrypted_again(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    to_many(alice, [bob, carol], "hello all")
    alice.cut()
    with alice.vault.transaction() as tx:
        alice.messenger._stores.many.unseal(tx, bob.id)
    _, (copies,) = kept(alice)
    assert [bool(copy.head) for copy in copies.copies] == [False, True]
    alice.login()
    settle(alice, bob, carol)
    assert bob.read_all() == carol.read_all() == ["hello all"]


def test_copy_that_is_asked_for_in_flight_stays(town: Town) -> None:
    """Its recipient asks for it again before the relay's answer is here: the answer is about the old one."""
    alice, bob, carol = town.friends("alice", "bob", "carol")
    (number,) = to_many(alice, [bob, carol], "hello all")
    alice.fetch()
    alice.step_up()
    with alice.vault.transaction() as tx:
        alice.messenger._stores.many.unseal(tx, bob.id)
    settle(alice, bob, carol)
    assert len(alice.frames_sent("MESSAGE_MANY")) == 2
    assert reached(alice, number)["bob"] == [ACCEPTED]
    assert bob.read_all() == carol.read_all() == ["hello all"]
    assert alice.messenger.waiting == 0


def test_damaged_copies_are_left_out(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    to_many(alice, [bob], "hello")
    with alice.vault.transaction() as tx:
        tx.delete(records.MANY, kept(alice)[1][0].message_id)
    alice.kill()
    alice.login()
    settle(alice, bob)
    assert (bob.read_all(), alice.messenger.waiting) == ([], 0)


def test_records_of_another_purpose_are_told_as_deliveries_if_nobody_listens(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = to_many(alice, [bob], "hello", options=Options(purpose="of a later version"))
    settle(alice, bob)
    assert reached(alice, number) == {"bob": [ACCEPTED]}


def test_stored_copies_do_not_print_what_they_hold() -> None:
    assert repr(CopyRecord("bob", head=b"secret")) == "CopyRecord(...)"


def test_sending_many_does_nothing_while_nothing_waits(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = town.friends("alice", "bob")
    monkeypatch.setattr(SendingMany, "_send", lambda *_: pytest.fail("nothing waits"))
    alice.send(bob, "hello")
    settle(alice, bob)
    assert bob.read_all() == ["hello"]
