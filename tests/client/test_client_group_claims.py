"""Who is no member of a group and says that there are later changes: nothing waits for it, and little is asked."""

from typing import Any

import pytest
from client_samples import Device, Town, pass_time, settle
from group_people import group_of, info, known, tell

from phantom_messenger.client.groups.contents import GroupText
from phantom_messenger.client.groups.duties import CLAIMED_ASKS, Duties
from support.simulated import MINUTE, SECOND

HOUR = 60 * MINUTE


def believed(self: Duties, group: Any, whom: str, revision: int, now: Any) -> None:
    """As if they were a member."""
    self._believe(group.id, whom, revision, now)


def people(town: Town, *, was_removed: bool) -> tuple[Device, Device, Device]:
    """An admin, a member, and somebody who is none: perhaps any more."""
    ada, ben, eve = town.friends("ada", "ben", "eve")
    group_of(ada, ben, *([eve] if was_removed else []))
    if was_removed:
        ada.messenger.groups.remove("Tea", [eve.id])
        pass_time(10 * SECOND, ada, ben, eve)
    return ada, ben, eve


def claim(eve: Device, ada: Device, n: int = 1) -> None:
    group = known(ada).record.group
    tell(eve, [ada], GroupText(group=group, revision=90 + n, head=bytes(32), n=n, body="I know more"))
    settle(ada, eve)


@pytest.mark.parametrize("was_removed", [False, True], ids=["a stranger", "somebody who was removed"])
@pytest.mark.parametrize("is_believed", [False, True], ids=["as it is", "control: they are believed"])
def test_who_is_no_member_delays_no_change(
    town: Town, monkeypatch: pytest.MonkeyPatch, was_removed: bool, is_believed: bool
) -> None:
    if is_believed:
        monkeypatch.setattr(Duties, "behind", believed)
    ada, ben, eve = people(town, was_removed=was_removed)
    claim(eve, ada)
    assert info(ada).is_behind is is_believed
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(MINUTE, ada, ben, eve, step=5 * SECOND)
    assert {info(one).name for one in (ada, ben)} == {"Tea"} if is_believed else info(ada, "Coffee").is_admin
    if not is_believed:
        assert info(ben, "Coffee").revision == info(ada, "Coffee").revision


def test_member_who_says_the_same_is_waited_for(town: Town) -> None:
    ada, ben, eve = people(town, was_removed=False)
    claim(eve, ada)
    claim(ben, ada, 2)
    assert info(ada).is_behind
    lack = ada.messenger.groups._duties._lacks[info(ada).group]
    assert (lack.revision, lack.whom) == (92, [ben.id]), "whatever others have claimed before"


@pytest.mark.parametrize(
    ("is_believed", "asks"), [(False, 2 * CLAIMED_ASKS), (True, 20)], ids=["as it is", "control: they are believed"]
)
def test_members_are_asked_seldom_for_what_who_is_no_member_claims(
    town: Town, monkeypatch: pytest.MonkeyPatch, is_believed: bool, asks: int
) -> None:
    if is_believed:
        monkeypatch.setattr(Duties, "behind", believed)
    ada, ben, eve = people(town, was_removed=True)
    heard: list[str] = []
    monkeypatch.setattr(Duties, "asked", lambda _, group, *__: heard.append(group))
    for n in range(8):
        claim(eve, ada, n + 1)
        pass_time(14 * MINUTE, ada, ben, eve, step=30 * SECOND)
    assert len(heard) <= asks if not is_believed else len(heard) > asks
    assert len(heard) >= CLAIMED_ASKS, "they may have been added by a change that was lost"
