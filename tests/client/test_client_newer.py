"""What a newer version has sent is kept whole, shown as that, and read once the program knows it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from client_samples import WORDS, Device, Town, found_in_files, moved, pass_time, settle
from newer_samples import content_2, markers, older, pictures, received, sent_to_older

from phantom_messenger.cli.history import history_line, history_row
from phantom_messenger.cli.listen import message_line, message_row
from phantom_messenger.client import content2, content_suites, records
from phantom_messenger.client.backup import export_profile
from phantom_messenger.client.client import Client
from phantom_messenger.client.content import MAX_RECEIPTS, MAX_TEXT_BYTES, Ends, Newer, Receipt, Text
from phantom_messenger.client.delivery import Message
from phantom_messenger.client.errors import VaultFull
from phantom_messenger.client.inbox import Inbox
from phantom_messenger.client.status import DeliveryState, MessageEvent
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import body, padding
from phantom_messenger.crypto.errors import InvalidMessage
from support.sdk_clients import conversation_of
from support.simulated import HOUR, MINUTE, SECOND


@pytest.fixture(autouse=True)
def _content_2() -> Iterator[None]:
    with content_2():
        yield


def shown(device: Device, other: Device) -> list[tuple[str | None, str]]:
    """What is shown of a conversation behind the greetings of friends."""
    return [(entry.text, entry.gone) for entry in device.messenger.history(other.id)][2:]


# --- the seam ---------------------------------------------------------------------

ENDS = Ends(b"a" * 32, b"b" * 32, b"c" * 32, b"d" * 32)


@pytest.mark.parametrize("said", [Text(sent_at=1, body="hello"), Receipt(sent_at=1, read=["x" * 36])])
def test_suite_of_the_session_decides_on_the_content(said: Text | Receipt) -> None:
    for suite in (1, 2, 3):
        padded = content_suites.encode(said, ENDS, suite=suite)
        assert content_suites.decode(padded, ENDS, suite=suite) == said
        members = msgspec.msgpack.decode(padding.unpad(padded))
        assert members["version"] == min(suite, 2)
        assert ("recipient" in members) is (suite == 1)


@pytest.mark.parametrize("character", ["x", "\0", "👻"])
def test_longest_text_fits_a_body_of_suite_2(character: str) -> None:
    text = character * (MAX_TEXT_BYTES // len(character.encode()))
    padded = content_suites.encode(Text(sent_at=1, body=text), ENDS, suite=2)
    assert len(body.open_sealed(body.seal(padded, bytes(32)), bytes(32))) == body.MAX_PADDED
    lists: dict[str, Any] = {
        status: ["x" * 36] * MAX_RECEIPTS for status in ("delivered", "read", "burned", "undecryptable")
    }
    assert body.seal(content_suites.encode(Receipt(sent_at=1, **lists), ENDS, suite=2), bytes(32))


@pytest.mark.parametrize(("written", "read"), [(1, 2), (2, 1)])
def test_content_of_another_suite_is_refused(written: int, read: int) -> None:
    padded = content_suites.encode(Text(sent_at=1, body="hello"), ENDS, suite=written)
    with pytest.raises(InvalidMessage):
        content_suites.decode(padded, ENDS, suite=read)


def test_two_clients_talk_in_content_2(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    settle(alice, bob)
    assert bob.read_all() == ["hello"]
    pass_time(3 * SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.READ


# --- kept and shown ---------------------------------------------------------------


def test_unknown_kind_is_kept_whole_acknowledged_and_handed_out_as_newer(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.events.clear()
    with pictures(colors=[1, 2]):
        (number,) = alice.send(bob, "a lake")
    settle(alice, bob)
    (event,) = bob.heard(MessageEvent)
    assert event.message_id == number
    (record,) = bob.waiting()
    assert (record.message_id, record.text, record.is_there) == (number, None, True)
    assert isinstance(record.newer, bytes)
    kept = msgspec.msgpack.decode(record.newer)
    assert (kept["kind"], kept["caption"], kept["colors"]) == ("picture", "a lake", [1, 2])
    assert record.sent_at == kept["sentAt"]
    assert shown(bob, alice) == [(None, "newer")]
    assert town.world.peek(lambda tx: tx.mailboxes.read(bob.id, 0, 1 << 30, 0).items) == []


def test_its_sender_learns_that_it_was_delivered_and_not_that_it_was_read(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    with pictures():
        (number,) = alice.send(bob, "a lake", burn=True)
    settle(alice, bob)
    assert bob.read_all() == [""]
    pass_time(MINUTE, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.DELIVERED
    assert alice.own_text(number) == "a lake"


def test_looking_at_the_notice_shows_nobody_that_one_is_there(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger.change_settings(presence=False)
    settle(alice, bob)
    with pictures():
        (number,) = alice.send(bob, "a lake")
    settle(alice, bob)
    bob.read_all()
    pass_time(MINUTE, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.ACCEPTED
    alice.send(bob, "hello")
    settle(alice, bob)
    bob.read_all()
    pass_time(MINUTE, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.DELIVERED, "the control: reading a text shows it"


def test_it_is_handed_out_once(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    with pictures():
        alice.send(bob, "a lake")
    settle(alice, bob)
    assert bob.read_all() == [""]
    assert bob.waiting() == []
    bob.kill()
    assert bob.waiting() == []
    assert shown(bob, alice) == [(None, "newer")]


def test_version_3_of_a_text_is_newer_too(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    with pictures(kind="text", version=3):
        alice.send(bob, "hello")
    settle(alice, bob)
    assert shown(bob, alice) == [(None, "newer")]


def test_unknown_kind_that_arrives_again_is_not_shown_again(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    with pictures():
        (number,) = alice.send(bob, "a lake")
        settle(alice, bob)
        with alice.vault.transaction() as tx:
            alice.messenger._stores.outbox.resend(tx, bob.id, [number], 0, b"")
        pass_time(MINUTE, alice, bob)
    assert len(bob.waiting()) == 1


def test_content_that_names_another_sender_is_not_kept(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    with pictures(sender=b"m" * 32):
        (number,) = alice.send(bob, "a lake")
    settle(alice, bob)
    assert received(bob, alice, number) is None
    assert bob.troubles() == ["unreadable"]
    assert bob.waiting() == []


def test_it_is_shown_as_what_it_is_in_every_command(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    with pictures():
        alice.send(bob, "a lake", burn=True)
    settle(alice, bob)
    contact = bob.messenger.contacts.of(alice.id)
    (record,) = bob.waiting()
    talk = conversation_of(alice.id)
    message = Message(record, contact, lambda _: None, Client.send, talk)  # type: ignore[arg-type] # nobody answers
    assert (message.is_newer, message.text, message.burn_after_read) == (True, "", True)
    notice = "[sent with a newer version of Phantom; update this program to read it]"
    assert message_line(message).endswith(f" alice (burns): {notice}")
    row = message_row(message)
    assert (row["type"], row["text"], row["newer"]) == ("message", "", True)
    entry = bob.messenger.history(alice.id)[-1]
    assert history_line(entry, contact).endswith(f" alice (unread): {notice}")
    past = history_row(entry, contact)
    assert (past["text"], past["gone"], past["waiting"]) == (None, "newer", True)
    alice.send(bob, notice)
    settle(alice, bob)
    last = bob.waiting()[-1]
    known = Message(last, contact, lambda _: None, Client.send, talk)  # type: ignore[arg-type] # nobody answers
    assert (known.is_newer, message_row(known)["newer"], known.text) == (False, False, notice)


# --- read again -------------------------------------------------------------------


def test_newer_version_reads_what_an_older_one_has_kept(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = sent_to_older(alice, bob, "hello")
    assert [record.text for record in bob.waiting()] == [None]
    bob.kill()
    (record,) = bob.waiting()
    assert (record.text, record.newer) == ("hello", msgspec.UNSET)
    assert shown(bob, alice) == [("hello", "")]
    assert markers(bob) == []
    bob.login()
    assert bob.read_all() == ["hello"]
    pass_time(3 * SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.READ


def test_control_without_reading_again_it_stays_newer(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inbox, "read_newer", lambda *_: {})
    alice, bob = town.friends("alice", "bob")
    sent_to_older(alice, bob, "hello")
    bob.kill()
    assert shown(bob, alice) == [(None, "newer")]


def test_what_is_still_not_known_stays_and_is_tried_again(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = sent_to_older(alice, bob, "hello")
    with older():
        for _ in range(2):
            bob.kill()
            assert shown(bob, alice) == [(None, "newer")]
            assert markers(bob) == [number]
    bob.kill()
    assert shown(bob, alice) == [("hello", "")]


def test_nothing_is_read_again_while_no_kind_is_new(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = town.friends("alice", "bob")
    with pictures():
        alice.send(bob, "a lake")
    settle(alice, bob)
    tried: list[bytes] = []
    read_again = content2.read_again

    def counted(whole: bytes) -> object:
        tried.append(whole)
        return read_again(whole)

    monkeypatch.setattr(content2, "read_again", counted)
    for _ in range(3):
        bob.kill()
    assert len(tried) == 1
    monkeypatch.setitem(content2.KINDS, "picture", content2.TextFields)
    for _ in range(2):
        bob.kill()
    assert len(tried) == 2


def test_what_lacks_its_fields_once_it_is_known_stays_as_it_is(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    with older(), pictures(kind="text", body=7):
        alice.send(bob, "hello")
        settle(alice, bob)
    for _ in range(2):
        bob.kill()
        assert shown(bob, alice) == [(None, "newer")]


@pytest.mark.parametrize("indexed", [False, True])
def test_what_was_handled_is_handed_out_again_in_the_order_of_arrival(town: Town, indexed: bool) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    carol.send(bob, "from carol")
    settle(carol, bob)
    first = sent_to_older(alice, bob, "one", "two")
    alice.send(bob, "three")
    settle(alice, bob)
    sent_to_older(alice, bob, "four")
    for record in bob.waiting()[1:3]:
        bob.messenger.mark_read(record.sender, record.message_id)
    if indexed:
        pass_time(MINUTE, alice, bob, carol)
    bob.kill()
    if indexed:
        bob.login()
        pass_time(MINUTE, alice, bob, carol)
    assert [record.text for record in bob.waiting()] == ["from carol", "one", "two", "three", "four"]
    found, position = [], 0
    while (following := bob.messenger.next_received(position, alice.id)) is not None:
        position, record = following
        found.append(record.text)
    assert found == ["one", "two", "three", "four"]
    assert {received(bob, alice, number) is None for number in first} == {False}


def test_burning_message_burns_once_it_could_be_read(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = sent_to_older(alice, bob, "a secret of ours", burn=True)
    bob.read_all()
    assert shown(bob, alice) == [(None, "newer")], "nobody has seen it"
    bob.kill()
    assert shown(bob, alice) == [(None, "sealed")]
    bob.login()
    assert bob.read_all() == ["a secret of ours"]
    pass_time(MINUTE, alice, bob)
    assert shown(bob, alice) == [(None, "burned")]
    assert alice.messenger.state_of(number) is DeliveryState.BURNED
    assert alice.own_text(number) is None


def test_full_disk_does_not_keep_a_profile_from_opening(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = town.friends("alice", "bob")
    sent_to_older(alice, bob, "hello")
    with monkeypatch.context() as full:

        def fail(*_: object) -> None:
            raise VaultFull("no room")

        full.setattr(Inbox, "wait_again", fail)
        bob.kill()
        assert shown(bob, alice) == [(None, "newer")]
    bob.kill()
    assert shown(bob, alice) == [("hello", "")]


# --- strangers and those who are kept away ----------------------------------------


def test_strangers_unknown_kind_is_looked_at_and_let_in_like_a_text(town: Town) -> None:
    mallory, bob = town.device("mallory").login(), town.device("bob", strangers="ask").login()
    (number,) = mallory.send(bob, "hello")
    settle(mallory, bob)
    with older():
        (record,) = bob.messenger.look(mallory.id)
        assert (record.text, record.is_there) == (None, True)
    bob.kill()
    assert bob.waiting() == [], "they have not been let in"
    assert [record.text for record in bob.messenger.look(mallory.id)] == ["hello"]
    bob.login()
    bob.messenger.contacts.let_in(mallory.id)
    settle(mallory, bob)
    assert [record.message_id for record in bob.waiting()] == [number]
    assert bob.read_all() == ["hello"]


@pytest.mark.parametrize("kept_away", ["block", "remove"])
def test_nothing_is_handed_out_again_of_those_who_are_kept_away(town: Town, kept_away: str) -> None:
    alice, bob = town.devices("alice", "bob")
    bob.strangers = "ask"
    bob.kill()
    bob.login()
    for one, other in ((alice, bob), (bob, alice)):
        one.messenger.contacts.add(other.name, other.id)
    settle(alice, bob)
    sent_to_older(alice, bob, "hello")
    assert len(bob.waiting()) == 1
    if kept_away == "block":
        bob.messenger.block(alice.id)
    else:
        bob.messenger.contacts.remove("alice")
    bob.kill()
    assert bob.waiting() == []


# --- erased -----------------------------------------------------------------------


def test_it_expires_like_any_other_message(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    with pictures():
        (number,) = alice.send(bob, "a lake", expires_in=HOUR)
    settle(alice, bob)
    pass_time(HOUR - MINUTE, alice, bob, step=MINUTE)
    assert shown(bob, alice) == [(None, "newer")]
    town.world.clock.advance(2 * MINUTE)
    assert shown(bob, alice) == [(None, "expired")], "though it was not erased yet"
    pass_time(10 * SECOND, alice, bob)
    record = received(bob, alice, number)
    assert record is not None
    assert (record.text, record.newer) == (None, msgspec.UNSET)
    assert bob.waiting() == []
    bob.kill()
    assert markers(bob) == []


def test_it_is_erased_with_the_conversation(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = sent_to_older(alice, bob, "hello")
    bob.messenger.contacts.remove("alice", history=True)
    assert received(bob, alice, number) is None
    bob.kill()
    assert markers(bob) == []
    assert bob.waiting() == []


def test_request_that_was_looked_at_and_has_expired_leaves_nothing(town: Town) -> None:
    mallory, bob = town.device("mallory").login(), town.device("bob", strangers="ask").login()
    with pictures():
        (number,) = mallory.send(bob, "a lake", expires_in=HOUR)
    settle(mallory, bob)
    assert len(bob.messenger.look(mallory.id)) == 1
    pass_time(2 * HOUR, mallory, bob, step=MINUTE)
    record = received(bob, mallory, number)
    assert record is None or not record.is_there


def test_nothing_of_it_can_be_read_in_the_files(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    with pictures():
        alice.send(bob, "a lake that nobody else knows")
    settle(alice, bob)
    assert not found_in_files(bob.folder, b"nobody else knows")
    assert not found_in_files(bob.folder, b"picture")


# --- export and import ------------------------------------------------------------


def test_it_goes_along_with_an_export_and_is_read_where_it_is_known(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    sent_to_older(alice, bob, "handled", "waiting")
    bob.messenger.mark_read(alice.id, bob.waiting()[0].message_id)
    with older():
        summary = export_profile(bob.vault, tmp_path / "a copy", WORDS)
        moved(bob, tmp_path / "bob.phantom")
        assert shown(bob, alice) == [(None, "newer"), (None, "newer")]
        assert len(bob.waiting()) == 1
    assert summary.messages == 4, "both, and the greetings"
    bob.kill()
    assert shown(bob, alice) == [("handled", ""), ("waiting", "")]
    assert [record.text for record in bob.waiting()] == ["handled", "waiting"]


@pytest.mark.parametrize("options", [{"burn": True}, {"expires_in": HOUR}], ids=["burn", "expires"])
def test_what_burns_or_expires_is_not_exported(town: Town, tmp_path: Path, options: dict[str, object]) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = sent_to_older(alice, bob, "hello", **options)
    assert export_profile(bob.vault, tmp_path / "a copy", WORDS).messages == 2, "the greetings"
    moved(bob, tmp_path / "bob.phantom")
    record = received(bob, alice, number)
    assert record is not None
    assert not record.is_there
    assert bob.waiting() == []


def test_record_of_a_message_that_is_known_is_written_as_before(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    settle(alice, bob)
    record = received(bob, alice, number)
    assert "newer" not in msgspec.to_builtins(record)


def test_vault_with_a_newer_message_opens_where_that_is_not_known_at_all(town: Town) -> None:
    """Version 0.1.0 has no such member: it sees a message of which nothing is left."""

    class Old(msgspec.Struct, kw_only=True):
        message_id: str
        text: str | None

    alice, bob = town.friends("alice", "bob")
    (number,) = sent_to_older(alice, bob, "hello")
    vault: Vault = bob.vault
    old = vault.get(records.RECEIVED, records.key(alice.id, number), Old)
    assert old is not None
    assert old.text is None


def test_newer_is_the_same_for_whoever_decodes_it() -> None:
    whole = msgspec.msgpack.encode(
        {"kind": "x", "version": 2, "sentAt": 1, "sender": ENDS.sender, "senderKey": ENDS.sender_key}
    )
    assert content2.decode(whole, ENDS) == content2.read_again(whole) == Newer(sent_at=1, whole=whole)
