"""What strangers write waits unread, is bounded, and tells nobody anything, until the user lets them in."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from client_samples import Device, Town, fast_folder, moved, pass_time, raw_rows, settle, with_field
from erasure_watch import Watch

from phantom_messenger.client import records, requests
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.client.records import ReceivedRecord, RequestRecord
from phantom_messenger.client.requests import KEEP_MS, MAX_MESSAGES, Requests
from phantom_messenger.client.status import DeliveryState, MessageEvent, RequestEvent, Trust
from phantom_messenger.crypto import ratchet
from support.people import Frame, base64_text, canonical, flipped
from support.simulated import HOUR, MINUTE, SECOND


def strangers(town: Town) -> tuple[Device, Device]:
    """Mallory, and Bob who does not know her and asks."""
    return town.device("mallory").login(), town.device("bob", strangers="ask").login()


def waiting_at_relay(town: Town, device: Device) -> int:
    return len(town.world.peek(lambda tx: tx.mailboxes.read(device.id, 0, 1 << 30, 0).items))


def told(device: Device) -> list[Frame]:
    """What others, or the relay on their behalf, can learn of a device."""
    kinds = {"MESSAGE", "PRESENCE", "KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE"}
    words = {"read", "burned"}
    return [frame for frame in device.sent if frame["type"] in kinds or frame.get("payload", {}).get("status") in words]


def test_strangers_text_waits_unread_and_tells_nobody_anything(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    mallory, bob = strangers(town)
    bob.sent.clear()
    derived: list[int] = []
    step = ratchet.kdf_ck
    (number,) = mallory.send(bob, "buy my coins")
    pass_time(SECOND, mallory)
    monkeypatch.setattr(ratchet, "kdf_ck", lambda ck: derived.append(1) or step(ck))  # type: ignore[func-returns-value] # counts
    settle(bob)
    assert derived == [], "nothing is decrypted"
    pass_time(HOUR, mallory, bob, step=MINUTE)
    assert bob.waiting() == []
    assert bob.heard(MessageEvent) == []
    (event,) = bob.heard(RequestEvent)
    assert (event.peer.user_id, event.waiting) == (mallory.id, 1)
    (request,) = bob.messenger.requests()
    assert (request.contact.user_id, request.waiting) == (mallory.id, 1)
    assert request.since <= town.world.clock.wall_ms()
    assert told(bob) == []
    assert mallory.messenger.state_of(number) is DeliveryState.ACCEPTED
    assert waiting_at_relay(town, bob) == 0, "the mailbox stays open for others"
    assert bob.troubles() == []


def test_control_without_requests_it_is_decrypted_and_shown_at_once(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Requests, "holds", lambda *_: False)
    mallory, bob = strangers(town)
    mallory.send(bob, "buy my coins")
    settle(mallory, bob)
    assert bob.read_all() == ["buy my coins"]


def test_looking_shows_the_texts_and_tells_nobody(town: Town) -> None:
    mallory, bob = strangers(town)
    numbers = mallory.send(bob, "one", "two", "three")
    settle(mallory, bob)
    bob.sent.clear()
    for _ in range(2):
        assert [record.text for record in bob.messenger.look(mallory.id)] == ["one", "two", "three"]
        pass_time(10 * MINUTE, mallory, bob, step=10 * SECOND)
    assert told(bob) == []
    assert mallory.states(numbers) == {DeliveryState.ACCEPTED}
    assert bob.waiting() == []
    assert [request.waiting for request in bob.messenger.requests()] == [3]


def let_in(how: str, bob: Device, mallory: Device) -> None:
    match how:
        case "accepted":
            bob.messenger.contacts.let_in(mallory.id)
        case "added":
            bob.messenger.contacts.add("mallory", mallory.id)
        case _:
            bob.send(mallory, "who are you?")


@pytest.mark.parametrize("how", ["accepted", "added", "written to"])
@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("restarts", [False, True])
def test_texts_of_somebody_let_in_come_in_order_and_receipts_go(
    town: Town, how: str, looks: bool, restarts: bool
) -> None:
    mallory, bob = strangers(town)
    numbers = mallory.send(bob, "one", "two")
    settle(mallory, bob)
    if looks:
        bob.messenger.look(mallory.id)
    numbers += mallory.send(bob, "three")
    settle(mallory, bob)
    if restarts:
        bob.kill()
        bob.login()
        assert bob.waiting() == []
    let_in(how, bob, mallory)
    bob.hear()
    assert [event.message_id for event in bob.heard(MessageEvent)] == numbers
    assert bob.messenger.requests() == []
    numbers += mallory.send(bob, "four")
    pass_time(5 * SECOND, mallory, bob)
    assert bob.read_all() == ["one", "two", "three", "four"]
    pass_time(5 * SECOND, mallory, bob)
    assert mallory.states(numbers) == {DeliveryState.READ}
    assert list(bob.vault.all(records.REQUEST, RequestRecord)) == []


def test_request_is_the_only_copy_and_is_on_disk_before_it_is_acknowledged(town: Town) -> None:
    mallory, bob = strangers(town)
    mallory.send(bob, "hello")
    settle(mallory)
    genuine = bob.messenger._stores.acks.confirm
    kept: list[int] = []

    def confirm(*found: Any) -> None:
        kept.append(len(list(bob.vault.all(records.REQUEST, RequestRecord))))
        genuine(*found)

    bob.messenger._stores.acks.confirm = confirm  # type: ignore[method-assign,assignment] # looks on
    settle(bob)
    assert kept[-1] == 1
    bob.kill()
    bob.login()
    bob.messenger.contacts.let_in(mallory.id)
    assert bob.read_all() == ["hello"]


def test_program_that_dies_after_letting_in_hands_out_the_texts_all_the_same(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    mallory, bob = strangers(town)
    mallory.send(bob, "hello")
    settle(mallory, bob)
    with monkeypatch.context() as patch:
        patch.setattr(Receiving, "open_requests", lambda *_: iter(()))
        bob.messenger.contacts.let_in(mallory.id)
        bob.kill()
    bob.login()
    pass_time(10 * SECOND, mallory, bob)
    assert bob.read_all() == ["hello"]


@pytest.mark.parametrize("how", ["classical", "verified", "control: added"])
def test_judging_the_key_of_a_stranger_lets_nobody_in(town: Town, how: str) -> None:
    mallory, bob = strangers(town)
    mallory.send(bob, "open the door")
    settle(mallory, bob)
    assert bob.messenger.look(mallory.id)
    mallory.send(bob, "and read this")
    settle(mallory, bob)
    match how:
        case "classical":
            bob.messenger.contacts.allow_classical(mallory.id)
        case "verified":
            bob.messenger.contacts.set_trust(mallory.id, Trust.VERIFIED)
        case _:
            bob.messenger.contacts.add("mallory", mallory.id)
    pass_time(MINUTE, mallory, bob)
    is_in = how == "control: added"
    assert bool(bob.waiting()) is is_in
    assert bool(bob.heard(MessageEvent)) is is_in
    assert bool(bob.messenger.requests()) is not is_in


def test_texts_that_come_while_one_is_let_in_stay_behind_the_older_ones(town: Town) -> None:
    mallory, bob = strangers(town)
    mallory.send(bob, "one")
    settle(mallory, bob)
    with bob.vault.transaction() as tx:
        bob.messenger._stores.book.admit(tx, mallory.id)
    mallory.send(bob, "two")
    settle(mallory, bob)
    assert bob.read_all() == ["one", "two"]


# --- bounds -----------------------------------------------------------------------


def test_one_stranger_has_twenty_places_and_the_first_ones_stay(town: Town) -> None:
    mallory, bob = strangers(town)
    mallory.send(bob, *(f"text {number}" for number in range(MAX_MESSAGES + 5)))
    settle(mallory, bob)
    (request,) = bob.messenger.requests()
    assert request.waiting == MAX_MESSAGES
    assert waiting_at_relay(town, bob) == 0
    assert len(bob.heard(RequestEvent)) == MAX_MESSAGES
    bob.messenger.contacts.let_in(mallory.id)
    pass_time(5 * SECOND, mallory, bob)
    assert bob.read_all() == [f"text {number}" for number in range(MAX_MESSAGES)]
    # The rest is not lost: it was passed over, and is sent again once a later text was answered.
    mallory.send(bob, "later")
    pass_time(15 * MINUTE, mallory, bob, step=5 * SECOND)
    assert sorted(bob.read_all()) == sorted(["later", *(f"text {number}" for number in range(20, 25))])


def test_large_messages_are_fewer(town: Town) -> None:
    mallory, bob = strangers(town)
    mallory.send(bob, *("x" * 40_000 for _ in range(10)))
    settle(mallory, bob)
    (request,) = bob.messenger.requests()
    assert 3 <= request.waiting <= 5
    kept = [record for _, record in bob.vault.all(records.REQUEST, RequestRecord)]
    assert sum(len(record.frame) for record in kept) <= requests.MAX_BYTES


def test_beyond_the_bounds_of_all_the_oldest_of_the_fullest_gives_way(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_STRANGERS", 3)
    mallory, bob = strangers(town)
    mallory.send(bob, "a", "b", "c")
    settle(mallory, bob)
    for number in range(2):
        town.device(f"stranger {number}").login().send(bob, "hello")
        settle(*town.made)
    assert sorted(request.waiting for request in bob.messenger.requests()) == [1, 1, 3]
    town.device("one more").login().send(bob, "hello")
    settle(*town.made)
    assert sorted(request.waiting for request in bob.messenger.requests()) == [1, 1, 1], "Mallory has given way"


@pytest.mark.parametrize("end", ["gives way", "grows old", "stays"])  # the last one is the control
def test_nothing_stays_of_a_request_that_was_looked_at_and_is_gone(
    make_world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    with fast_folder(tmp_path) as folder:
        town = Town(make_world(), folder)
        mallory, bob = strangers(town)
        mallory.send(bob, "words to be gone")
        settle(mallory, bob)
        assert [record.text for record in bob.messenger.look(mallory.id)] == ["words to be gone"]
        watch = Watch(bob.vault)
        watch.look()
        match end:
            case "gives way":
                monkeypatch.setattr(requests, "MAX_STRANGERS", 0)
                town.device("newcomer").login().send(bob, "hello")
                settle(*town.made)
            case "grows old":
                town.world.clock.advance(KEEP_MS)
        pass_time(10 * SECOND, bob)
        readable = repr([(kind, str(record)) for kind, record in decrypted(bob)])
        assert ("words to be gone" in readable) is (end == "stays")
        assert [entry.text for entry in bob.messenger.history(mallory.id)] == ["words to be gone"] * (end == "stays")
        if end != "stays":
            assert watch.leftovers() == []
        (again,) = [frame for frame in bob.received if frame["type"] == "MESSAGE"][:1]
        bob.down.append(canonical(again))
        bob.step_down()
        assert [one.contact.user_id for one in bob.messenger.requests()] == [mallory.id] * (end == "stays")
        town.close()


def decrypted(device: Device) -> list[tuple[str, object]]:
    """All that a profile holds, by kind."""
    kinds = {row[0] for row in device.vault._connection.execute("SELECT DISTINCT kind FROM records")}
    return [(kind, record) for kind in sorted(kinds) for _, record in device.vault.all(kind, object)]


@pytest.mark.parametrize("is_counted", [True, False], ids=["as it is", "control"])
def test_newcomer_is_not_the_one_who_gives_way_to_requests_that_were_looked_at(
    town: Town, monkeypatch: pytest.MonkeyPatch, is_counted: bool
) -> None:
    monkeypatch.setattr(requests, "MAX_STRANGERS", 2)
    bob = town.device("bob", strangers="ask").login()
    for name in ("first", "second"):
        stranger = town.device(name).login()
        stranger.send(bob, "hello, hello and hello" * 100)
        settle(*town.made)
        assert len(bob.messenger.look(stranger.id)) == 1
    if not is_counted:
        for kept in bob.messenger._stores.requests._kept.values():
            for name, record in kept.items():
                kept[name] = msgspec.structs.replace(record, size=0)
    newcomer = town.device("newcomer").login()
    newcomer.send(bob, "hello")
    settle(*town.made)
    waiting = {request.contact.user_id for request in bob.messenger.requests()}
    assert len(waiting) == 2
    assert (newcomer.id in waiting) is is_counted


def test_control_without_its_bound_one_stranger_fills_the_disk(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_MESSAGES", 1_000)
    mallory, bob = strangers(town)
    mallory.send(bob, *(f"text {number}" for number in range(MAX_MESSAGES + 5)))
    settle(mallory, bob)
    assert [request.waiting for request in bob.messenger.requests()] == [MAX_MESSAGES + 5]


def test_request_goes_after_thirty_days_and_an_expiring_one_when_it_is_time(town: Town) -> None:
    mallory, bob = strangers(town)
    mallory.send(bob, "short", expires_in=MINUTE)
    mallory.send(bob, "long")
    settle(mallory, bob)
    assert [request.waiting for request in bob.messenger.requests()] == [2]
    pass_time(2 * MINUTE, bob, step=10 * SECOND)
    assert [request.waiting for request in bob.messenger.requests()] == [1]
    bob.cut()
    town.world.clock.advance(KEEP_MS)
    bob.messenger.tick()
    assert bob.messenger.requests() == []
    assert list(bob.vault.all(records.REQUEST, RequestRecord)) == []


def test_text_that_expires_and_was_looked_at_goes_when_it_is_time(town: Town) -> None:
    mallory, bob = strangers(town)
    mallory.send(bob, "short", expires_in=MINUTE)
    settle(mallory, bob)
    assert [record.text for record in bob.messenger.look(mallory.id)] == ["short"]
    pass_time(2 * MINUTE, bob, step=10 * SECOND)
    assert bob.messenger.look(mallory.id) == []
    (kept,) = [record for _, record in bob.vault.all(records.RECEIVED, ReceivedRecord)]
    assert kept.text is None
    bob.messenger.contacts.let_in(mallory.id)
    assert bob.waiting() == []


# --- what is wrong ----------------------------------------------------------------

UNSIGNED = {
    "another signature": lambda frame: {**frame, "signature": flipped(frame["signature"])},
    "another ciphertext": lambda frame: with_field(frame, encrypted=flipped(frame["payload"]["encrypted"])),
    "no message at all": lambda frame: with_field(frame, encrypted=base64_text(b"abc")),
    "another sender": lambda frame: with_field(frame, senderId=base64_text(bytes(32))),
}


@pytest.mark.parametrize("change", UNSIGNED.values(), ids=UNSIGNED)
def test_what_no_stranger_has_signed_is_acknowledged_and_dropped(town: Town, change: Any) -> None:
    mallory, bob = strangers(town)
    bob.messenger.tick()  # which keeps something of its own
    mallory.send(bob, "hello")
    bob.tamper = lambda frame: [change(frame)] if frame["type"] == "MESSAGE" else [frame]
    settle(mallory)
    before = len(raw_rows(bob.vault))
    settle(bob)
    pass_time(MINUTE, mallory, bob)
    assert len(raw_rows(bob.vault)) == before
    assert bob.messenger.requests() == []
    assert bob.troubles() == []
    assert [ack["payload"]["status"] for ack in bob.frames_sent("MESSAGE_ACK") if "messageId" in ack["payload"]] == [
        "delivered"
    ]


def test_repeated_request_is_kept_once(town: Town) -> None:
    mallory, bob = strangers(town)
    bob.tamper = lambda frame: [frame, frame, frame] if frame["type"] == "MESSAGE" else [frame]
    mallory.send(bob, "hello")
    settle(mallory, bob)
    assert [request.waiting for request in bob.messenger.requests()] == [1]
    bob.messenger.contacts.let_in(mallory.id)
    assert bob.read_all() == ["hello"]


def test_request_that_cannot_be_read_is_asked_for_once_its_sender_was_let_in(town: Town) -> None:
    mallory, bob = strangers(town)
    mallory.send(bob, "hello")
    settle(mallory, bob)
    with bob.vault.transaction():
        bob.vault._connection.execute("DELETE FROM records WHERE kind = ?", (records.PREKEY,))
    assert bob.messenger.look(mallory.id) == []
    assert [request.waiting for request in bob.messenger.requests()] == [1], "it goes on waiting"
    bob.cut()
    pass_time(11 * MINUTE, mallory, step=10 * SECOND)  # until then the relay takes it for a double
    bob.login()
    bob.messenger.contacts.let_in(mallory.id)
    bob.hear()
    assert bob.troubles() == ["waiting"]
    pass_time(10 * SECOND, mallory, bob)
    assert bob.read_all() == ["hello"]


@pytest.mark.parametrize("looks", [False, True])
def test_requests_outlive_a_move_to_another_machine(town: Town, tmp_path: Path, looks: bool) -> None:
    mallory, bob = strangers(town)
    mallory.send(bob, "hello")
    settle(mallory, bob)
    if looks:
        bob.messenger.look(mallory.id)
    moved(bob, tmp_path / "file")
    pass_time(11 * MINUTE, mallory, step=10 * SECOND)
    bob.login()
    assert [request.waiting for request in bob.messenger.requests()] == [1]
    bob.messenger.contacts.let_in(mallory.id)
    pass_time(10 * SECOND, mallory, bob)
    assert bob.read_all() == ["hello"], "asked for again if its keys did not come along"


def test_contact_of_version_0_1_0_is_known_by_name_or_by_having_been_written_to(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    book = bob.messenger._stores.book
    assert book.is_known(alice.id)
    assert not book.is_known(base64.b64encode(bytes(32)).decode())


def test_word_for_strangers_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'ask' or 'accept'"):
        Client.open("bob", home=tmp_path, passphrase="words", strangers="maybe")
