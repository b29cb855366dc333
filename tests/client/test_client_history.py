"""What was said can be seen again, and looking tells nobody anything."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from client_samples import WORDS, Device, Town, pass_time, raw_rows, settle
from group_people import restored

from phantom_messenger.cli.history import history_line
from phantom_messenger.cli.times import Duration, Since, moment
from phantom_messenger.client import conversation_index, records
from phantom_messenger.client.backup import export_profile
from phantom_messenger.client.conversation_index import ConversationIndex
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.history import HistoryEntry
from phantom_messenger.client.records import IntValue, PageRecord
from phantom_messenger.client.status import Contact, DeliveryState, Trust
from phantom_messenger.crypto import primitives
from support.sdk_clients import NOBODY, opened
from support.simulated import HOUR, MINUTE, SECOND


def entries(device: Device, other: Device, **wishes: Any) -> list[HistoryEntry]:
    """What was said since they became friends."""
    return [one for one in device.messenger.history(other.id, **wishes) if one.text != "hello"]


def said(device: Device, other: Device, **wishes: Any) -> list[tuple[bool, str | None]]:
    return [(one.is_own, one.text) for one in entries(device, other, **wishes)]


def read_all(device: Device) -> None:
    for record in device.waiting():
        device.messenger.mark_read(record.sender, record.message_id)


def talk(alice: Device, bob: Device, turns: int) -> list[str]:
    """Texts to and fro, a second apart."""
    for turn in range(turns):
        writer, reader = (alice, bob) if turn % 2 == 0 else (bob, alice)
        writer.send(reader, f"text {turn}")
        pass_time(2 * SECOND, alice, bob)
        read_all(reader)
    return [f"text {turn}" for turn in range(turns)]


def test_sent_and_received_texts_stand_in_the_order_of_time(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    texts = talk(alice, bob, 6)
    assert said(alice, bob) == [(turn % 2 == 0, text) for turn, text in enumerate(texts)]
    assert said(bob, alice) == [(turn % 2 == 1, text) for turn, text in enumerate(texts)]
    (first, *_) = entries(alice, bob)
    assert first.state is DeliveryState.READ


def test_conversation_with_another_is_not_in_it(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    carol = town.device("carol").login()
    alice.send(bob, "to bob")
    alice.send(carol, "to carol")
    settle(alice, bob, carol)
    assert said(alice, bob) == [(True, "to bob")]
    assert said(alice, carol) == [(True, "to carol")]


def test_limit_since_and_search_choose(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    talk(alice, bob, 3)
    later = alice.world.clock.wall_ms()
    alice.send(bob, "Stra\u00dfe und Cafe\u0301")
    pass_time(SECOND, alice, bob)
    assert said(alice, bob, limit=2) == [(True, "text 2"), (True, "Stra\u00dfe und Cafe\u0301")]
    assert said(alice, bob, since=later) == [(True, "Stra\u00dfe und Cafe\u0301")]
    assert said(bob, alice, since=later) == [(False, "Stra\u00dfe und Cafe\u0301")]
    assert said(alice, bob, search="TEXT 1") == [(False, "text 1")]
    for words in ("STRASSE", "caf\u00e9", "CAFE\u0301"):
        assert len(said(alice, bob, search=words)) == 1
    assert said(alice, bob, search="nothing of this") == []


@pytest.mark.parametrize("wishes", [{"since": float("nan")}, {"since": float("inf")}, {"limit": -1}])
def test_numbers_that_are_none_are_refused(tmp_path: Path, wishes: dict[str, Any]) -> None:
    client = opened(tmp_path, "alice")
    try:
        with pytest.raises(UsageError, match="number"):
            client.history(NOBODY, **wishes)
        assert client.history(NOBODY, since=-1e300, limit=2**70) == []  # the control
    finally:
        client.close()


def test_what_is_gone_stands_there_without_its_words(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "burns", burn=True)
    alice.send(bob, "expires", expires_in=MINUTE)
    pass_time(SECOND, alice, bob)
    sealed, expiring = entries(bob, alice)
    assert (sealed.text, sealed.gone, sealed.is_waiting) == (None, "sealed", True)
    assert (expiring.text, expiring.gone) == ("expires", "")
    read_all(bob)
    pass_time(5 * SECOND, alice, bob)
    assert [one.gone for one in entries(bob, alice)] == ["burned", ""]
    assert [one.gone for one in entries(alice, bob)] == ["burned", ""]
    pass_time(2 * MINUTE, alice, bob)
    for device, other in ((alice, bob), (bob, alice)):
        assert [(one.text, one.gone) for one in entries(device, other)] == [
            (None, "burned"),
            (None, "expired"),
        ]
        assert said(device, other, search="expires") == []


def test_looking_tells_nobody_and_writes_nothing(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "unread")
    pass_time(SECOND, alice, bob)
    before = raw_rows(bob.vault)
    (entry,) = entries(bob, alice)
    assert (entry.text, entry.is_waiting) == ("unread", True)
    assert raw_rows(bob.vault) == before
    pass_time(5 * SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.DELIVERED
    assert [record.message_id for record in bob.waiting()] == [number]


def decrypted(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> int:
    """How many records are decrypted for it."""
    counted = SimpleNamespace(n=0)
    unseal = primitives.Cipher.unseal

    def counting(cipher: primitives.Cipher, *values: bytes) -> bytes:
        counted.n += 1
        return unseal(cipher, *values)

    with monkeypatch.context() as patch:
        patch.setattr(primitives.Cipher, "unseal", counting)
        do()
    return int(counted.n)


def test_end_of_a_long_conversation_costs_what_is_shown(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.cut()
    for number in range(500):
        alice.messenger.send_text(bob.id, f"{number}")
    few = decrypted(monkeypatch, lambda: alice.messenger.history(bob.id, limit=5))
    everything = decrypted(monkeypatch, lambda: alice.messenger.history(bob.id))  # the control
    assert few <= 10
    assert 500 <= everything <= 510
    assert [text for _, text in said(alice, bob)] == [f"{number}" for number in range(500)]


# --- as people see it -------------------------------------------------------------

BOB = Contact(name="bob", user_id="", trust=Trust.UNVERIFIED, key=None)
NOON = datetime(2026, 11, 23, 12, 5).astimezone()
AT = round(NOON.timestamp() * 1000)


def entry(**members: Any) -> HistoryEntry:
    usual: dict[str, Any] = {
        "message_id": "",
        "peer": "",
        "sender": Contact(name="", user_id="", trust=Trust.UNVERIFIED, key=None),
        "is_own": False,
        "text": "hi\nthere",
        "gone": "",
        "sent_at": AT,
        "kept_at": AT,
        "state": None,
        "is_waiting": False,
        "burn_after_read": False,
        "expires_at": None,
    }
    return HistoryEntry(**{**usual, **members})


@pytest.mark.parametrize(
    ("members", "line"),
    [
        ({}, "bob: hi\n        there"),
        ({"is_own": True, "state": DeliveryState.DELIVERED}, "you (delivered): hi\n        there"),
        ({"is_own": True, "state": DeliveryState.BURNED, "text": None, "gone": "burned"}, "you: [burned]"),
        ({"is_own": True, "state": DeliveryState.READ, "text": None, "gone": "expired"}, "you (read): [expired]"),
        ({"is_waiting": True}, "bob (unread): hi\n        there"),
        ({"text": "\x1b[2J"}, "bob: <001B>[2J"),
    ],
)
def test_line_says_who_and_how_far(members: dict[str, Any], line: str) -> None:
    assert history_line(entry(**members), BOB) == f"2026-11-23 12:05 {line}"


def test_date_is_said_when_it_is_not_today() -> None:
    assert moment(AT, now=NOON.replace(hour=23)) == "12:05"
    assert moment(AT, now=NOON.replace(day=24, hour=0)) == "2026-11-23 12:05"
    assert moment(AT, now=NOON.replace(year=2027)) == "2026-11-23 12:05"
    assert moment(10**18) == "--:--"


@pytest.mark.parametrize(
    ("text", "seconds"), [("20", 20), ("30s", 30), ("10m", 600), ("1 h", 3_600), ("365d", 31_536_000)]
)
def test_duration_is_a_number_with_a_unit_or_seconds(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5h", "366d", "1w", "soon", "m"])
def test_no_other_duration_is_taken(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_since_is_a_date_or_a_time_that_has_passed() -> None:
    day = datetime(2026, 11, 23).astimezone().timestamp()
    assert Since().convert("2026-11-23", None, None) == day
    assert (
        Since().convert("2026-11-23 12:05", None, None)
        == Since().convert("2026-11-23T12:05", None, None)
        == day + 43_500
    )
    week = Since().convert("7d", None, None)
    assert (
        abs(datetime.now().astimezone().timestamp() - 604_800 - week) < 4_000
    )  # an hour of summer time may lie between
    for garbage in ("", "yesterday", "2026-13-01", "23.11.2026"):
        with pytest.raises(click.BadParameter):
            Since().convert(garbage, None, None)


# --- the index --------------------------------------------------------------------


def long_talk(town: Town, monkeypatch: pytest.MonkeyPatch) -> tuple[Device, Device, list[tuple[bool, str | None]]]:
    """Several pages of the index, and a few messages that are not entered yet."""
    monkeypatch.setattr(conversation_index, "PAGE", 4)
    alice, bob = town.friends("alice", "bob")
    talk(alice, bob, 12)
    pass_time(10 * SECOND, alice, bob)
    alice.send(bob, "not entered yet")
    return alice, bob, said(alice, bob)


def pages(device: Device) -> list[PageRecord]:
    return [page for _, page in device.vault.all(records.PAGE, PageRecord)]


def test_pages_are_what_was_said(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob, before = long_talk(town, monkeypatch)
    assert len(pages(alice)) > 2
    assert before[-1] == (True, "not entered yet")
    alice.kill()
    assert said(alice, bob) == before
    monkeypatch.setattr(ConversationIndex, "names", lambda *_: iter(()))
    assert len(said(alice, bob)) < len(before), "the control: it is the pages that are read"


def test_page_that_is_damaged_or_gone_hides_nothing(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob, before = long_talk(town, monkeypatch)
    newest, older, *_ = [position for position, _ in alice.vault.all(records.PAGE, PageRecord)]
    damage, loss = (
        "UPDATE records SET value = zeroblob(60) WHERE position = ?",
        "DELETE FROM records WHERE position = ?",
    )
    for change, position in ((damage, older), (damage, newest), (loss, older)):
        alice.vault._connection.execute(change, (position,))
        assert said(alice, bob) == before
        talk(alice, bob, 2)
        pass_time(10 * SECOND, alice, bob)
        assert said(alice, bob) == [*before, (True, "text 0"), (False, "text 1")]
        before = said(alice, bob)


def test_index_is_made_again_when_it_is_not_known_how_far_it_goes(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob, before = long_talk(town, monkeypatch)
    for statement in ("UPDATE records SET value = zeroblob(60) WHERE kind = ?", "DELETE FROM records WHERE kind = ?"):
        alice.vault._connection.execute(statement, (records.INDEXED,))
        assert said(alice, bob) == before
        pass_time(10 * SECOND, alice, bob)
        assert said(alice, bob) == before
        entered = [name for page in pages(alice) for name in page.messages]
        assert len(entered) == len(set(entered)) >= len(before)


def test_conversation_that_is_erased_leaves_no_page_and_begins_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, _ = long_talk(town, monkeypatch)
    alice.messenger.contacts.remove("bob", history=True)
    assert alice.messenger.history(bob.id) == []
    assert not [page for page in pages(alice) if page.messages]
    alice.messenger.contacts.add("bob", bob.id)
    alice.send(bob, "once more")
    pass_time(10 * SECOND, alice, bob)
    assert [one.text for one in alice.messenger.history(bob.id)] == ["once more"]


def test_clock_that_was_wrong_changes_no_order(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    texts = talk(alice, bob, 4)
    for ahead in (2 * HOUR, -2 * HOUR):
        alice.world.clock.wall += ahead
        alice.send(bob, f"by {ahead}")
        pass_time(2 * SECOND, alice, bob)
        alice.world.clock.wall -= ahead
        read_all(bob)
        bob.send(alice, f"behind {ahead}")
        pass_time(2 * SECOND, alice, bob)
        read_all(alice)
        texts += [f"by {ahead}", f"behind {ahead}"]
    assert [text for _, text in said(alice, bob)] == texts
    assert [text for _, text in said(alice, bob, limit=5)] == texts[-5:]
    assert len(in_order_of_times(alice, bob)) == len(texts)
    assert in_order_of_times(alice, bob) != texts, "the control: as a profile that a file was imported into has them"


def in_order_of_times(alice: Device, bob: Device) -> list[str | None]:
    """What is shown of a profile into which all of this came from a file."""
    with alice.vault.transaction() as tx:
        tx.delete(records.IN_ORDER, "")
        tx.put(records.IN_ORDER, "", IntValue(0))
    return [text for _, text in said(alice, bob)]


def test_texts_of_a_file_stand_in_the_order_of_their_times_before_those_that_came_since(
    town: Town, tmp_path: Path
) -> None:
    alice, bob = town.friends("alice", "bob")
    texts = talk(alice, bob, 6)
    export_profile(alice.vault, tmp_path / "file", WORDS)
    restored(alice, tmp_path / "file").login()
    assert [text for _, text in said(alice, bob)] == texts
    talk(alice, bob, 3)
    assert [text for _, text in said(alice, bob)] == [*texts, *texts[:3]]


def test_profile_of_an_older_version_stands_in_order_from_now_on(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    texts = talk(alice, bob, 4)
    with alice.vault.transaction() as tx:
        tx.delete(records.IN_ORDER, "")
    alice.kill()
    alice.login()
    assert alice.vault.has(records.IN_ORDER, "")
    alice.world.clock.wall += 2 * HOUR
    alice.send(bob, "ahead")
    pass_time(2 * SECOND, alice, bob)
    alice.world.clock.wall -= 2 * HOUR
    read_all(bob)
    bob.send(alice, "behind")
    pass_time(2 * SECOND, alice, bob)
    assert [text for _, text in said(alice, bob)] == [*texts, "ahead", "behind"]


@pytest.mark.parametrize("of_file", [False, True])
def test_last_texts_cost_what_is_shown_though_one_side_was_silent(
    town: Town, monkeypatch: pytest.MonkeyPatch, of_file: bool
) -> None:
    alice, bob = town.friends("alice", "bob")
    for number in range(60):
        bob.send(alice, f"text {number}")
        pass_time(2 * SECOND, alice, bob)
        read_all(alice)
    if of_file:
        in_order_of_times(alice, bob)
    assert decrypted(monkeypatch, lambda: alice.messenger.history(bob.id, limit=5)) < 20
    assert decrypted(monkeypatch, lambda: alice.messenger.history(bob.id)) > 60, "the control"
