"""What somebody can do who is an admin for a minute: make up other admins, and sign what only later versions know."""

import msgspec
import pytest
from client_samples import Device, Town, pass_time
from group_people import group_of, info, known, news, said, tell, write
from group_samples import added, following, id_of, someone

from phantom_messenger import labels
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups import doubts
from phantom_messenger.client.groups.change import Change, Remove, SetName
from phantom_messenger.client.groups.contents import GroupChange, GroupHello
from phantom_messenger.client.groups.store import FORKED, NEWER
from phantom_messenger.client.status import GroupEvent, GroupNews
from phantom_messenger.crypto.keys import OwnIdentity
from support.simulated import MINUTE, SECOND

MADE_UP = doubts.MAX_SHOWN + 2


def bring(device: Device, to: Device, rival: Change) -> None:
    """Show somebody a change, and have it read; whoever shows it may be a stranger."""
    said_ = GroupChange(group=rival.group, change=rival.encoded)
    device.messenger.groups._speaking.say(rival.group, [to.id], said_, device.messenger._now())
    pass_time(SECOND, device, to)


def is_stopped(device: Device) -> bool:
    """Whether nothing is sent; the user goes on."""
    doubt = info(device).doubt
    device.messenger.groups.go_on("Tea")
    return doubt != ""


def later(author: OwnIdentity, device: Device, *, text: str = "") -> Change:
    """A change of a later version, which follows what the device knows."""
    group = known(device)
    fields = {
        "version": changes.VERSION + 1,
        "group": group.record.group,
        "revision": group.state.revision + 1,
        "previous": group.chain.head,
        "at": 1,
        "author": author.peer.user_id,
        "authorKey": author.peer.public,
        "something": text,
    }
    signed = msgspec.msgpack.encode(fields)
    return changes.read(signed + author.sign(labels.GROUP_CHANGE + signed))


def made_up(town: Town) -> tuple[Device, Device, Device, list[Change]]:
    """Ben was an admin for a minute, and has made up others, who were removed; each has signed a change before."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    (stranger,) = town.devices("stranger")
    group_of(ada, ben, cleo, admins=2)
    rivals: list[Change] = []
    people = [someone(f"made up {number}") for number in range(MADE_UP)]
    for part in (people[: MADE_UP // 2], people[MADE_UP // 2 :]):
        ben.messenger.groups._want(known(ben), [added(person, "admin") for person in part])
        pass_time(5 * SECOND, ada, ben, cleo)
        group = known(ben)
        rivals += [following(group.chain, person, [SetName(text="theirs")]) for person in part]
        ben.messenger.groups._want(known(ben), [Remove(person=id_of(person)) for person in part])
        pass_time(5 * SECOND, ada, ben, cleo)
    ada.messenger.groups.remove("Tea", [ben.id])
    pass_time(5 * SECOND, ada, ben, cleo)
    assert (len(info(cleo).members), info(cleo).doubt) == (2, "")
    return ada, cleo, stranger, rivals


def stops_of_made_up_admins(town: Town) -> tuple[int, int]:
    """How often a stranger stops a member with those changes, each twice; and with each again, after a true change."""
    ada, cleo, stranger, rivals = made_up(town)
    stops = []
    for rounds in (2, 1):
        found = 0
        for rival in rivals * rounds:
            bring(stranger, cleo, rival)
            found += is_stopped(cleo)
        stops.append(found)
        ada.messenger.groups.set_timer("Tea", MINUTE)
        pass_time(5 * SECOND, ada, cleo)
    write(cleo, "to the two of us")
    pass_time(5 * SECOND, ada, cleo)
    assert said(ada)[-1] == "to the two of us"
    return stops[0], stops[1]


def test_whoever_has_made_up_admins_stops_a_group_sixteen_times_and_no_more(town: Town) -> None:
    assert stops_of_made_up_admins(town) == (doubts.MAX_SHOWN, 0)


def test_control_if_the_first_is_forgotten_for_the_last_it_is_without_end(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_old, late = doubts.is_old, 1 - doubts.MAX_SHOWN
    monkeypatch.setattr(
        doubts, "is_old", lambda group, rival: is_old(group.with_record(shown=group.record.shown[late:]), rival)
    )
    assert stops_of_made_up_admins(town) == (2 * MADE_UP, MADE_UP)


# --- changes of a later version -------------------------------------------------------------------


def with_admin(town: Town) -> tuple[Device, Device, Device, Device]:
    """Ada, Ben, who is an admin as well, and Cleo; and somebody whom nobody knows."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    (stranger,) = town.devices("stranger")
    group_of(ada, ben, cleo, admins=2)
    return ada, ben, cleo, stranger


def stops_of_a_later_version(town: Town) -> list[int]:
    """How often Ben, then a stranger stop Cleo with the same change of a later version, and Ben with another one."""
    _, ben, cleo, stranger = with_admin(town)
    one, other = (later(ben.messenger._identity, ben, text=text) for text in ("one", "other"))
    stops = []
    for who, change in ((ben, one), (stranger, one), (ben, other)):
        found = 0
        for _ in range(3):
            bring(who, cleo, change)
            found += is_stopped(cleo)
        stops.append(found)
    return stops


def test_a_change_of_a_later_version_stops_nobody_again_who_has_gone_on(town: Town) -> None:
    assert stops_of_a_later_version(town) == [1, 0, 0]


def test_control_if_it_is_not_kept_it_stops_them_each_time(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    is_old = doubts.is_old
    monkeypatch.setattr(
        doubts,
        "is_old",
        lambda group, rival: is_old(group.with_record(rival="", rivals=[], shown=[]), rival),
    )
    assert stops_of_a_later_version(town) == [3, 3, 3]


def test_made_up_admins_stop_a_group_with_it_once_each(town: Town) -> None:
    ada, ben, cleo, stranger = with_admin(town)
    people = [someone(f"made up {number}") for number in range(4)]
    ben.messenger.groups._want(known(ben), [added(person, "admin") for person in people])
    pass_time(5 * SECOND, ada, ben, cleo)
    all_ = [later(person, ben, text=text) for text in ("one", "other") for person in people]
    stops = 0
    for change in all_ * 2:
        bring(stranger, cleo, change)
        stops += is_stopped(cleo)
    assert stops == len(people)
    gone = [id_of(person) for person in people]
    ada.messenger.groups._want(
        known(ada), [Remove(person=person) for person in [*gone, id_of(ben.messenger._identity)]]
    )
    pass_time(5 * SECOND, ada, ben, cleo)
    for change in all_:
        bring(stranger, cleo, change)
        assert not is_stopped(cleo)


def test_it_says_what_a_user_can_do(town: Town) -> None:
    _, ben, cleo, _ = with_admin(town)
    bring(ben, cleo, later(ben.messenger._identity, ben))
    with pytest.raises(UsageError, match=r"a newer version has changed 'Tea'; update this program, or run '.* go-on'"):
        write(cleo, "to all")
    (event,) = [event for event in cleo.heard(GroupEvent) if event.news is GroupNews.NEWER]
    assert event.by is not None
    assert event.by.user_id == ben.id
    assert event.message.startswith("ben has changed 'Tea' with a newer version of this program")
    assert "phantom groups go-on" in event.message
    cleo.messenger.groups.go_on("Tea")
    write(cleo, "to those whom I see")
    pass_time(5 * SECOND, ben, cleo)
    assert said(ben)[-1] == "to those whom I see"


@pytest.mark.parametrize(
    ("is_removal", "doubt"),
    [(True, ""), (False, FORKED)],
    ids=["removal of its author", "another one: others live in what its author has made"],
)
def test_a_change_of_a_known_version_that_follows(town: Town, is_removal: bool, doubt: str) -> None:
    ada, ben, cleo, stranger = with_admin(town)
    change = later(ben.messenger._identity, ben)
    for reader in (ada, cleo):
        bring(ben, reader, change)
        assert info(reader).doubt == NEWER
    ada.messenger.groups.go_on("Tea")
    if is_removal:
        ada.messenger.groups.remove("Tea", [ben.id])
    else:
        ada.messenger.groups.set_timer("Tea", MINUTE)
    pass_time(5 * SECOND, ada, ben, cleo)
    assert (info(cleo).revision, info(cleo).doubt) == (info(ada).revision, doubt)
    rival = info(cleo).rival
    assert (rival.user_id if rival else "") == (ben.id if doubt else "")
    cleo.messenger.groups.go_on("Tea")
    for who in (ben, stranger):
        bring(who, cleo, change)
        assert info(cleo).doubt == ""
    assert news(cleo).count(GroupNews.NEWER) == 1
    assert GroupNews.FORKED not in news(cleo)


def test_whoever_lives_in_what_it_has_made_is_noticed_by_their_heads(town: Town) -> None:
    ada, ben, cleo, _ = with_admin(town)
    bring(ben, ada, later(ben.messenger._identity, ben))
    assert is_stopped(ada)
    ada.messenger.groups.set_timer("Tea", MINUTE)
    pass_time(5 * SECOND, ada, cleo)
    revision = info(ada).revision
    tell(cleo, [ada], GroupHello(group=known(ada).record.group, revision=revision, head=bytes(32)))
    pass_time(5 * SECOND, ada, cleo)
    rival = info(ada).rival
    assert rival is not None
    assert (info(ada).doubt, rival.user_id) == (FORKED, cleo.id)


def test_two_histories_are_not_made_less_by_it(town: Town) -> None:
    _, ben, cleo, _ = with_admin(town)
    group = known(cleo)
    tell(ben, [cleo], GroupHello(group=group.record.group, revision=group.state.revision, head=bytes(32)))
    pass_time(5 * SECOND, ben, cleo)
    bring(ben, cleo, later(ben.messenger._identity, ben))
    assert info(cleo).doubt == FORKED
    assert GroupNews.NEWER not in news(cleo)
