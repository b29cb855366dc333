"""What a removed member reads, and what is shown of theirs (G4)."""

import pytest
from client_samples import Device, Town, pass_time, settle
from group_people import group_of, info, known, said, tell, write

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.contents import GroupText
from phantom_messenger.client.groups.store import Group
from support.simulated import SECOND


def remove_cleo(town: Town) -> tuple[Device, Device, Device]:
    """One text is read by all three, then Cleo is removed, and the others have seen it."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    write(ada, "before")
    settle(ada, ben, cleo)
    ada.messenger.groups.remove("Tea", [cleo.id])
    settle(ada, ben, cleo)
    assert info(cleo).relation == "removed"
    cleo.received.clear()
    return ada, ben, cleo


def test_removed_member_reads_nothing_that_is_written_afterwards(town: Town) -> None:
    ada, ben, cleo = remove_cleo(town)
    write(ada, "after")
    settle(ada, ben, cleo)
    write(ben, "after, too")
    pass_time(10 * SECOND, ada, ben, cleo)
    assert not [frame for frame in cleo.received if frame["type"] == "MESSAGE"]
    assert said(cleo) == ["before"]
    assert said(ben) == ["before", "after", "after, too"]
    with pytest.raises(UsageError, match="no longer a member"):
        write(cleo, "me, too")


def test_control_member_who_writes_to_whoever_was_removed_is_heard_by_them(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben, cleo = remove_cleo(town)
    monkeypatch.setattr(Group, "people", property(lambda _: [one.id for one in (ada, ben, cleo)]))
    write(ada, "after")
    settle(ada, ben, cleo)
    assert [frame for frame in cleo.received if frame["type"] == "MESSAGE"]


def test_text_of_a_removed_member_is_not_shown(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    cleo.cut()
    ada.messenger.groups.remove("Tea", [cleo.id])
    settle(ada, ben)
    write(cleo, "I am still here")
    cleo.login()
    settle(ada, ben, cleo)
    assert info(cleo).relation == "removed"
    assert said(ada) == said(ben) == []


def kept_for_good(device: Device) -> int:
    """How many ids of messages a device remembers without end."""
    ((count,),) = device.messenger._vault._run("SELECT count(*) FROM records WHERE kind = 'seen' AND due IS NULL")
    return int(count)


@pytest.mark.parametrize("is_kept", [False, True], ids=["of a removed member", "control: of a member"])
def test_id_of_a_text_that_nobody_is_shown_is_kept_for_a_while(town: Town, is_kept: bool) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    chain = known(ada).chain
    if not is_kept:
        ada.messenger.groups.remove("Tea", [cleo.id])
        pass_time(10 * SECOND, ada, ben, cleo)
    before = kept_for_good(ben)
    for n in range(5):
        text = GroupText(group=chain.state.group, revision=chain.state.revision, head=chain.head, n=n + 1, body="again")
        tell(cleo, [ben], text)
        settle(ben, cleo)
    assert len(said(ben)) == kept_for_good(ben) - before == (5 if is_kept else 0)
