"""A group with a long past costs no more than one with a short one: what is read from the disk is counted."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from client_samples import Device, Town, pass_time
from group_people import group_of, info, unread, write
from msgspec.structs import replace

from phantom_messenger.client import sessions
from phantom_messenger.client.groups.records import GroupTextRecord
from phantom_messenger.client.groups.store import GroupStore
from phantom_messenger.client.sessions import Sessions, StoredSessions
from phantom_messenger.client.vault import Vault
from support.simulated import SECOND


def fill(device: Device, sender: str, count: int, first: int = 0) -> None:
    """So many texts to the group, none of which was handled."""
    store = device.messenger._stores.groups
    group = store.get(info(device).group)
    assert group is not None
    with device.vault.transaction() as tx:
        for number in range(first, first + count):
            text = GroupTextRecord(
                message_id=f"{number:036d}", sender=sender, text=f"text {number}", sent_at=number, kept_at=number
            )
            store.put_text(tx, group, text)
            store.hand_out(tx, group, sender, text.message_id)


def reads(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> int:
    """How many records are decrypted."""
    count = 0
    original = Vault._read

    def counted(*arguments: object) -> object:
        nonlocal count
        count += 1
        return original(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "_read", counted)
        act()
    return count


def test_what_a_user_does_reads_as_much_of_a_long_past_as_of_a_short_one(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    groups = ben.messenger.groups
    acts: dict[str, Callable[[], object]] = {
        "find": lambda: groups.find("Tea"),
        "send": lambda: groups.send_text("Tea", "hello"),
        "next": lambda: groups.next_text(0, None),
        "step": groups.step,
        "history": lambda: groups.history("Tea", limit=10),
        "open": lambda: GroupStore(ben.vault),
    }
    fill(ben, ada.id, 30)
    groups.send_text("Tea", "the first one makes the group's numbers")
    few = {name: reads(monkeypatch, act) for name, act in acts.items()}
    fill(ben, ada.id, 3_000, first=30)
    assert {name: reads(monkeypatch, act) for name, act in acts.items()} == few
    # Control: what looks at everything does read more.
    assert reads(monkeypatch, lambda: groups.history("Tea", search="nowhere")) > 3_000


def test_texts_that_wait_are_counted_right_over_a_restart_and_a_failure(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    fill(ben, ada.id, 10)
    fill(ben, ada.id, 10)  # the same ones once more
    assert info(ben).unread == 10
    store, group = ben.messenger._stores.groups, info(ben).group

    def fails() -> None:
        with ben.vault.transaction() as tx:
            store.handled(tx, group, ada.id, f"{3:036d}")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert info(ben).unread == GroupStore(ben.vault).waiting(group) == 10
    for _ in range(2):
        ben.messenger.groups.handled(group, ada.id, f"{3:036d}")
    assert info(ben).unread == GroupStore(ben.vault).waiting(group) == 9
    assert len(unread(ben)) == 9
    assert info(ben).unread == GroupStore(ben.vault).waiting(group) == 0


def statements(monkeypatch: pytest.MonkeyPatch, device: Device, act: Callable[[], object]) -> int:
    """How many statements are run on a device's file; of those that are run for a list, each."""
    count = 0
    original = Vault._run

    def counted(vault: Vault, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        nonlocal count
        if vault is device.vault:
            count += len(values) if isinstance(values, list) else 1
        return original(vault, statement, values)

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "_run", counted)
        act()
    return count


def for_each_member(town: Town, monkeypatch: pytest.MonkeyPatch) -> float:
    """How many statements one more member costs when a text is written."""
    ada, ben, cleo, dan = town.friends("ada", "ben", "cleo", "dan")
    found = []
    for name, others in (("Tea", [ben]), ("Coffee", [ben, cleo, dan])):
        group_of(ada, *others, name=name)
        write(ada, "the first one", group=name)
        pass_time(10 * SECOND, ada, ben, cleo, dan)
        found.append(statements(monkeypatch, ada, partial(write, ada, "hello", group=name)))
        pass_time(10 * SECOND, ada, ben, cleo, dan)
    return (found[1] - found[0]) / 2


def test_text_takes_one_statement_for_each_member(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    assert for_each_member(town, monkeypatch) == 1  # what their session is after it; all are read with two


def test_control_one_by_one_it_takes_three(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def singly(self: Sessions, peers: Sequence[str]) -> dict[str, StoredSessions]:
        return {peer: self.load(peer) for peer in peers}

    monkeypatch.setattr(Sessions, "load_several", singly)
    assert for_each_member(town, monkeypatch) == 3  # which sessions there are, and the one in use


def test_control_without_knowing_of_skipped_keys_it_takes_two(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = sessions._bare
    monkeypatch.setattr(sessions, "_bare", lambda peer, one: replace(bare(peer, one), skipped=True))
    assert for_each_member(town, monkeypatch) == 2
