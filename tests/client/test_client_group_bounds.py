"""How much of groups others can have a client keep, and read, whose user has said yes to nothing of it."""

from contextlib import suppress
from typing import Any

import pytest
from client_samples import Device, Town, pass_time, settle
from group_people import digits, group_of, info, known, names, said, signed, tell, unread, write
from group_samples import id_of, someone

from phantom_messenger.client import records
from phantom_messenger.client.groups import arrivals, holding, store, wish_ops
from phantom_messenger.client.groups.change import SetName
from phantom_messenger.client.groups.contents import GroupChanges, GroupPropose, GroupText
from phantom_messenger.client.groups.holding import MAX_HELD_OF_ONE, MAX_INVITED_OF_ONE, ROWS_BYTES, Early, Holding
from phantom_messenger.client.groups.records import group_inbox, group_texts
from phantom_messenger.client.groups.store import KEPT_INVITED, GroupStore
from phantom_messenger.client.status import WarningEvent
from phantom_messenger.client.vault import Vault
from support.simulated import MINUTE, SECOND

FAR = 2**32 - 1

# --- what waits is not read to know that there is no room ----------------------------------------


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of all records that are decrypted from now on."""
    found, read = list[str](), Vault._read

    def counting(vault: Vault, kind: str, *given: Any) -> Any:
        found.append(kind)
        return read(vault, kind, *given)

    monkeypatch.setattr(Vault, "_read", counting)
    return found


def with_held(town: Town) -> tuple[Device, Device, Device]:
    """A member, the admin, and somebody who is none, of whom as much is held as may be."""
    ada, ben, mal = town.friends("ada", "ben", "mal")
    group_of(ada, ben)
    group = known(ben).record.group
    for n in range(MAX_HELD_OF_ONE + 2):
        tell(mal, [ben], GroupText(group=group, revision=FAR, head=bytes(32), n=n + 1, body="I know more"))
    settle(ben, mal)
    assert len(ben.messenger._stores.groups.held(info(ben).group)) == MAX_HELD_OF_ONE
    return ben, ada, mal


def say_changes_that_follow_nothing(ben: Device, ada: Device, mal: Device) -> None:
    follow_nothing = [
        signed(ada, SetName(text="?"), more=9 + n, previous=n.to_bytes(32, "big")).encoded for n in range(1, 65)
    ]
    tell(mal, [ben], GroupChanges(group=known(ben).record.group, changes=follow_nothing))
    settle(ben, mal)


def know_devices(ben: Device) -> None:
    with ben.vault.transaction() as tx:
        ben.messenger.groups.arrivals.devices_changed(tx, ben.messenger._now())


def test_nothing_that_waits_is_read_for_what_it_has_no_part_in(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    ben, ada, mal = with_held(town)
    found = counted(monkeypatch)
    say_changes_that_follow_nothing(ben, ada, mal)
    know_devices(ben)
    assert found.count(records.GROUP_HELD) == 0
    ada.messenger.groups.rename("Tea", "Coffee")
    settle(ada, ben)
    assert found.count(records.GROUP_HELD) == MAX_HELD_OF_ONE, "with a change, each once"


def test_control_it_is_where_room_is_looked_for_in_the_vault(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    ben, ada, mal = with_held(town)
    found = counted(monkeypatch)
    monkeypatch.setattr(Holding, "has_room", lambda self, group, _: len(self.of(group)) < MAX_HELD_OF_ONE)
    say_changes_that_follow_nothing(ben, ada, mal)
    assert found.count(records.GROUP_HELD) >= 64 * MAX_HELD_OF_ONE


def test_what_is_known_of_what_waits_is_what_is_stored(town: Town) -> None:
    ben, _, mal = with_held(town)
    held, group = ben.messenger._stores.groups.held, info(ben).group
    before = held(group)

    class Failed(Exception):
        pass

    with suppress(Failed), ben.vault.transaction() as tx:
        ben.messenger._stores.groups.drop_held(tx, group)
        assert held(group) == []
        raise Failed
    assert held(group) == before
    ben.kill()
    ben.login()
    assert ben.messenger._stores.groups.held(group) == before
    with ben.vault.transaction() as tx:
        ben.messenger._stores.groups.forget_expired(tx, before[0].at + holding.HELD_MS)
    assert ben.messenger._stores.groups.held(group) == [one for one in before if one.at > before[0].at]
    assert mal.id


# --- what is said in a group to which one is only invited ----------------------------------------


def invited(town: Town, count: int, text: str = "hello") -> tuple[Device, Device, Device]:
    """Ben is only invited to a group in which Cleo writes so much; Ada has invited them."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    ada.messenger.groups.create("Tea", [ben.id, cleo.id])
    settle(ada, ben, cleo)
    cleo.messenger.groups.accept("Tea")
    settle(ada, ben, cleo)
    for n in range(count):
        write(cleo, f"{text} {n}")
        pass_time(2 * SECOND, ada, ben, cleo)
    return ada, ben, cleo


def kept(device: Device, name: str = "Tea") -> int:
    return device.vault.count(group_texts(known(device, name).record.number))


def missing(device: Device) -> list[str]:
    return [event.message for event in device.heard(WarningEvent) if event.code == "missing"]


def test_of_a_group_to_which_one_is_only_invited_so_much_is_kept_of_one_person(town: Town) -> None:
    ada, ben, cleo = invited(town, MAX_INVITED_OF_ONE + 5)
    assert kept(ben) == MAX_INVITED_OF_ONE
    ben.kill()
    ben.login()
    write(cleo, "still")
    write(ada, "Ada's")
    pass_time(5 * SECOND, ada, ben, cleo)
    assert kept(ben) == MAX_INVITED_OF_ONE + 1, "others find room"
    ben.messenger.groups.accept("Tea")
    pass_time(5 * SECOND, ada, ben, cleo)
    write(cleo, "now")
    pass_time(5 * SECOND, ada, ben, cleo)
    assert said(ben) == [*(f"hello {n}" for n in range(MAX_INVITED_OF_ONE)), "Ada's", "now"]
    (message,) = missing(ben)
    assert message.startswith("6 "), "the others are missing"
    assert ben.vault.count(records.GROUP_EARLY) == 0


def test_control_without_that_bound_all_of_it_is_kept(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Early, "has_room", lambda *_: True)
    _, ben, _ = invited(town, MAX_INVITED_OF_ONE + 5)
    assert kept(ben) == MAX_INVITED_OF_ONE + 5


def test_all_of_them_have_so_many_bytes(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "MAX_INVITED_BYTES", 3 * (ROWS_BYTES + len("hello 1")))
    ada, ben, cleo = invited(town, 2)
    ada.messenger.groups.create("Coffee", [ben.id, cleo.id])
    settle(ada, ben, cleo)
    for n in range(3):
        write(ada, f"hello {n}", group="Coffee")
        pass_time(2 * SECOND, ada, ben, cleo)
    assert (kept(ben), kept(ben, "Coffee")) == (2, 1)
    ben.messenger.groups.accept("Tea")
    write(ada, "hello 3", group="Coffee")
    pass_time(5 * SECOND, ada, ben, cleo)
    assert kept(ben, "Coffee") == 2, "what was accepted leaves its room"


def test_text_that_is_not_kept_is_missing_though_it_is_the_first(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "MAX_INVITED_BYTES", 0)
    ada, ben, cleo = invited(town, 2)
    ben.messenger.groups.accept("Tea")
    settle(ada, ben, cleo)
    write(cleo, "now")
    pass_time(5 * SECOND, ada, ben, cleo)
    assert (said(ben), len(missing(ben))) == (["now"], 1)


def left_after_declining(town: Town) -> list[int]:
    """What is left of texts in a group once an invitation to it was declined; one was held back."""
    _, ben, _ = invited(town, 3)
    dol = town.device("dol").login()
    for one, other in ((dol, ben), (ben, dol)):
        one.messenger.contacts.add(other.name, other.id)
    dol.send(ben, "hello")
    settle(dol, ben)
    group, number = known(ben).record.group, known(ben).record.number
    tell(dol, [ben], GroupText(group=group, revision=9, head=bytes(32), n=1, body="ahead"))
    settle(dol, ben)
    assert [ben.vault.count(kind) for kind in (group_texts(number), records.GROUP_HELD)] == [3, 1]
    ben.messenger.groups.leave("Tea")
    kinds = (group_texts(number), group_inbox(number), records.GROUP_EARLY, records.GROUP_HELD)
    counts = [ben.vault.count(kind) for kind in kinds]
    assert info(ben).unread == counts[1]
    return counts


def test_who_declines_keeps_nothing_of_what_was_said(town: Town) -> None:
    assert left_after_declining(town) == [0, 0, 0, 0]


def test_control_all_of_it_stays_unless_it_is_erased(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GroupStore, "_end_invitation", lambda *_: None)
    assert left_after_declining(town) == [3, 3, 3, 1]


def test_who_was_a_member_keeps_what_is_from_then(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    write(ada, "from then")
    settle(ada, ben)
    for step in (ada.messenger.groups.remove, ada.messenger.groups.add):
        step("Tea", [ben.id])
        pass_time(5 * SECOND, ada, ben)
    write(ada, "since")
    settle(ada, ben)
    assert (info(ben).relation, kept(ben)) == ("invited", 2)
    ben.messenger.groups.leave("Tea")
    assert (said(ben), unread(ben), ben.vault.count(records.GROUP_EARLY)) == (["from then"], ["from then"], 0)


# --- changes of a group to which one is only invited ---------------------------------------------


def with_changes(town: Town, count: int) -> tuple[Device, Device]:
    """Ben is only invited to a group of Ada's, who changes it so often."""
    ada, ben = town.friends("ada", "ben")
    ada.messenger.groups.create("Tea 0", [ben.id])
    settle(ada, ben)
    for n in range(count):
        ada.messenger.groups.rename(f"Tea {n}", f"Tea {n + 1}")
        pass_time(2 * SECOND, ada, ben)
    return ada, ben


def test_so_few_changes_are_taken_up_before_one_accepts_and_the_rest_then(town: Town) -> None:
    ada, ben = with_changes(town, KEPT_INVITED + 10)
    (group,) = ben.messenger.groups.all()
    assert ben.vault.count(records.GROUP_STEP) == KEPT_INVITED
    assert ben.messenger._stores.groups.get(group.group).record.doubt == ""  # type: ignore[union-attr]
    ben.kill()
    ben.login()
    ben.messenger.groups.accept(group.group)
    pass_time(MINUTE, ada, ben)
    name = f"Tea {KEPT_INVITED + 10}"
    assert len(digits(ada, ben, name=name)) == 1
    assert (known(ada, name).record.doubt, known(ben, name).record.doubt) == ("", "")
    assert not info(ben, name).is_behind


def test_control_without_that_bound_all_are(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "KEPT_INVITED", store.KEPT_STEPS)
    _, ben = with_changes(town, KEPT_INVITED + 3)
    assert ben.vault.count(records.GROUP_STEP) == KEPT_INVITED + 4


def test_who_was_removed_beyond_them_learns_it_once_they_accept(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "KEPT_INVITED", 3)
    ada, ben = with_changes(town, 5)
    ada.messenger.groups.remove("Tea 5", [ben.id])
    pass_time(5 * SECOND, ada, ben)
    (group,) = ben.messenger.groups.all()
    assert group.relation == "invited"
    ben.messenger.groups.accept(group.group)
    pass_time(MINUTE, ada, ben)
    assert ben.messenger.groups.find(group.group).relation == "removed"


def test_what_was_changed_while_one_was_a_member_does_not_count(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "KEPT_INVITED", 4)
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    for n in range(5):
        ada.messenger.groups.rename("Tea" if not n else f"Tea {n}", f"Tea {n + 1}")
        pass_time(2 * SECOND, ada, ben)
    assert ben.vault.count(records.GROUP_STEP) > store.KEPT_INVITED, "the control: there are more than so many"
    ben.cut()
    ada.messenger.groups.remove("Tea 5", [ben.id])
    settle(ada)
    ada.messenger.groups.add("Tea 5", [ben.id])
    settle(ada)
    ada.messenger.groups.rename("Tea 5", "Tea 6")
    settle(ada)
    missed = [step.change.encoded for step in known(ada, "Tea 6").chain.steps[-3:]]
    with ben.vault.transaction() as tx:  # all of it in one answer
        ben.messenger.groups.arrivals._take(tx, known(ben, "Tea 5"), missed, ada.id, ben.messenger._now())
    assert info(ben, "Tea 6").relation == "invited"
    assert len(digits(ada, ben, name="Tea 6")) == 1


# --- who leaves while there is no room ------------------------------------------------------------


def left_while_full(town: Town) -> set[str]:
    """The members once a member had the admin's client asked for all that it takes, and another one left then."""
    ada, mal, cleo = town.friends("ada", "mal", "cleo")
    group_of(ada, mal, cleo)
    ada.messenger.groups.set_rights("Tea", invite="member", write=None)
    pass_time(10 * SECOND, ada, mal, cleo)
    ada.cut()
    group = known(ada).record.group
    for n in range(arrivals.MAX_WISHES):
        tell(mal, [ada], GroupPropose(group=group, person=id_of(someone(f"nobody {n}"))))
    pass_time(2 * MINUTE, mal, cleo)
    cleo.messenger.groups.leave("Tea")
    pass_time(10 * SECOND, mal, cleo)
    ada.login()
    pass_time(10 * MINUTE, ada, mal, cleo)
    assert known(ada).record.wishes == []
    return names(ada) & {ada.id, mal.id, cleo.id} - {ada.id, mal.id}


def test_who_leaves_while_there_is_no_room_for_it_is_removed_later(town: Town) -> None:
    assert left_while_full(town) == set()


def test_control_they_stay_if_nobody_looks_again(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wish_ops, "with_leaves", lambda group, _: group)
    assert len(left_while_full(town)) == 1
