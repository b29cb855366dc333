"""What members of groups call themselves, on devices that were linked after they had said it."""

from typing import Any, Final

import msgspec
import pytest
from client_samples import Device, Town, pass_time, settle
from device_samples import link
from group_people import info, known, tell, write
from test_client_group_names import called, labels, strangers

from phantom_messenger.client import content2
from phantom_messenger.client.content import BetweenDevices, Claim, Ends, Marks
from phantom_messenger.client.devices import in_step, kinds
from phantom_messenger.client.devices.in_step import InStep
from phantom_messenger.client.devices.kinds import NamedMember, SyncGroup
from phantom_messenger.client.devices.records import SyncedRecord
from phantom_messenger.client.groups import naming
from phantom_messenger.client.groups.contents import GroupHello
from phantom_messenger.client.groups.records import GroupRecord
from phantom_messenger.client.groups.store import raw_of, written
from phantom_messenger.client.ids import short_id
from phantom_messenger.crypto import body, padding
from support.simulated import SECOND

ENDS: Final = Ends(bytes(32), bytes(32), b"", b"")


def with_tablet(town: Town, alice: Device, bob: Device, carol: Device) -> Device:
    """A device that is linked to Bob's now."""
    tablet = town.device("tablet", strangers="ask").login()
    link(bob, tablet, alice, carol)
    pass_time(5 * SECOND, alice, bob, carol, tablet)
    return tablet


def take(tablet: Device, *names: tuple[bytes, str], **changed: Any) -> None:
    """Bob's first device tells the tablet these names, and what it knows of the group else."""
    group = known(tablet)
    fields: dict[str, Any] = {
        "group": group.record.group,
        "relation": "member",
        "state": group.state.encode(),
        "digest": group.chain.digest,
        "names": [NamedMember(id=one, name=name) for one, name in sorted(names)],
    }
    with tablet.vault.transaction() as tx:
        tablet.messenger.groups.arrivals.synced(tx, SyncGroup(**{**fields, **changed}), tablet.messenger._now())


def forget_names(tablet: Device) -> None:
    with tablet.vault.transaction() as tx:
        tablet.messenger._stores.groups.put(tx, known(tablet).with_record(names={}))


def test_new_device_knows_what_members_call_themselves(town: Town) -> None:
    alice, bob, carol = strangers(town, "Alice A.", "Bobby", "Carol C.")
    tablet = with_tablet(town, alice, bob, carol)
    assert labels(tablet) == labels(bob) == {alice.id: "alice", carol.id: called("Carol C.", carol)}
    assert info(tablet).own_name == "Bobby"
    assert not any(b"Carol" in str(frame).encode() for frame in bob.sent), "the relay was told"


def test_control_told_by_a_first_device_of_before_it_waits_until_they_say_it_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "of_others", lambda _: [])
    alice, bob, carol = strangers(town, "", "", "Carol C.")
    tablet = with_tablet(town, alice, bob, carol)
    assert labels(bob)[carol.id] == called("Carol C.", carol)
    assert labels(tablet)[carol.id] == short_id(carol.id)
    write(carol, "hello")
    settle(alice, bob, carol, tablet)
    assert labels(tablet)[carol.id] == called("Carol C.", carol)


def test_device_of_before_learns_a_name_with_the_next_change(town: Town) -> None:
    alice, bob, carol = strangers(town, "", "", "Carol C.")
    tablet = with_tablet(town, alice, bob, carol)
    forget_names(tablet)
    name, in_step = f"group {info(bob).group}", bob.messenger.device_parts.in_step
    in_step._known[name] = SyncedRecord(user_id=name, at=0)
    assert labels(tablet)[carol.id] == short_id(carol.id)
    alice.messenger.groups.rename("Tea", "Cake")
    pass_time(10 * SECOND, alice, bob, carol, tablet)
    assert known(tablet, "Cake").record.names == {carol.id: "Carol C."}


def test_name_that_a_device_has_heard_itself_stays(town: Town) -> None:
    alice, bob, carol = strangers(town, "", "", "Carol C.")
    tablet = with_tablet(town, alice, bob, carol)
    bob.cut()
    bob.may_reconnect = False
    carol.messenger.groups.call_me("Tea", "Caroline")
    pass_time(5 * SECOND, alice, carol, tablet)
    assert known(bob).record.names == {carol.id: "Carol C."}
    take(tablet, *((one.id, one.name) for one in naming.of_others(known(bob))))
    assert labels(tablet)[carol.id] == called("Caroline", carol)
    forget_names(tablet)
    take(tablet, *((one.id, one.name) for one in naming.of_others(known(bob))))
    assert labels(tablet)[carol.id] == called("Carol C.", carol), "the control: of whom it knows none, it takes it"


@pytest.mark.parametrize("is_member", [True, False], ids=["was a member", "control: was none"])
def test_name_that_is_told_of_a_member_of_before_is_known_once_they_are_one_again(town: Town, is_member: bool) -> None:
    alice, bob, carol = strangers(town, "", "", "Carol C.")
    tablet = with_tablet(town, alice, bob, carol)
    forget_names(tablet)
    before = known(tablet)
    bob.cut()
    bob.may_reconnect = False
    alice.messenger.groups.remove("Tea", [carol.id])
    pass_time(5 * SECOND, alice, carol, tablet)
    told = before if is_member else known(tablet)
    take(tablet, (raw_of(carol.id), "Carol C."), state=told.state.encode(), digest=told.chain.digest)
    alice.messenger.groups.add("Tea", [carol.id])
    pass_time(5 * SECOND, alice, carol, tablet)
    assert labels(tablet)[carol.id] == (called("Carol C.", carol) if is_member else short_id(carol.id))


def names_told(town: Town) -> list[list[str]]:
    """The names that Bob's first device tells: as a device is linked, with four changes, and as another one is.

    Before the second change Carol calls herself something else, and before the third nothing any more.
    """
    alice, bob, carol = strangers(town, "Alice A.", "Bobby", "Carol C.")
    group, found = info(bob).group, list[list[str]]()
    desk, say = bob.messenger.desk, bob.messenger.desk.say_to_own

    def heard(said: Any, **options: Any) -> None:
        found.extend([[one.name for one in said.names]] if isinstance(said, SyncGroup) else [])
        say(said, **options)

    desk.say_to_own = heard  # type: ignore[method-assign]
    tablet, laptop = (town.device(name, strangers="ask").login() for name in ("tablet", "laptop"))
    people = (alice, bob, carol, tablet, laptop)
    link(bob, tablet, alice, carol)
    for title, name in (("Cake", "Carol C."), ("Pie", "Caroline"), ("Bread", ""), ("Salt", "")):
        carol.messenger.groups.call_me(group, name)
        pass_time(5 * SECOND, *people)
        alice.messenger.groups.rename(group, title)
        pass_time(5 * SECOND, *people)
    link(bob, laptop, alice, carol, tablet)
    pass_time(5 * SECOND, *people)
    return [sorted(names) for names in found]


def test_names_are_told_to_a_new_device_and_when_they_have_changed(town: Town) -> None:
    assert names_told(town) == [["Alice A.", "Carol C."], [], ["Caroline"], [], [], ["Alice A."]]


def test_control_if_it_were_not_known_what_was_told_all_were_told_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgets(own: InStep, tx: Any, before: GroupRecord | None, after: GroupRecord) -> None:
        is_news = before is None or in_step._differs(before, after)
        if is_news and own._stores.devices.is_first and own._stores.devices.own_others():
            own._put(tx, SyncedRecord(user_id=f"group {written(after.group)}", at=0, waits=True))

    monkeypatch.setattr(InStep, "group_changed", forgets)
    both, alone = ["Alice A.", "Carol C."], ["Alice A."]
    assert names_told(town) == [both, both, ["Alice A.", "Caroline"], alone, alone, alone]


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "control: not kept"])
def test_name_that_was_withdrawn_does_not_come_back_with_what_was_told_before(town: Town, is_kept: bool) -> None:
    alice, bob, carol = strangers(town, "", "", "Carol C.")
    tablet = with_tablet(town, alice, bob, carol)
    carol.messenger.groups.call_me("Tea", "")
    pass_time(5 * SECOND, alice, bob, carol, tablet)
    assert labels(bob)[carol.id] == labels(tablet)[carol.id] == short_id(carol.id)
    if not is_kept:
        forget_names(tablet)
    take(tablet, (raw_of(carol.id), "Carol C."))
    assert labels(tablet)[carol.id] == (short_id(carol.id) if is_kept else called("Carol C.", carol))
    write(carol, "hello")
    carol.messenger.groups.call_me("Tea", "Carol again")
    pass_time(5 * SECOND, alice, bob, carol, tablet)
    assert labels(bob)[carol.id] == labels(tablet)[carol.id] == called("Carol again", carol)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Carol C.", "Carol C."),
        ("~Carol (C.)", "Carol C."),
        ("Rene\u0301", "Ren\u00e9"),
        ("ph1qqqqqqqqqqqqqqq", ""),
        ("Carol (ph1qqqqqqqqq)", ""),
        ("a\nb", ""),
        ("\u202ebob", ""),
        (" ", ""),
    ],
    ids=["control", "brackets", "composed", "id", "with an id", "lines", "direction", "blank"],
)
def test_name_that_a_first_device_tells_is_made_safe(town: Town, name: str, shown: str) -> None:
    alice, bob, carol = strangers(town)
    tablet = with_tablet(town, alice, bob, carol)
    assert known(tablet).record.names == {}
    group = known(carol)
    hello = GroupHello(group=group.record.group, revision=group.state.revision, head=group.chain.head, name=name)
    tell(carol, [alice], hello)
    settle(alice, carol)
    take(tablet, (raw_of(carol.id), name))
    assert known(tablet).record.names == known(alice).record.names == {carol.id: shown}


def test_names_are_taken_of_other_members_of_the_state_alone(town: Town) -> None:
    alice, bob, carol = strangers(town)
    tablet = with_tablet(town, alice, bob, carol)
    take(tablet, (raw_of(bob.id), "Me"), (raw_of(tablet.id), "Tablet"), (bytes(range(32)), "Nobody"))
    assert known(tablet).record.names == {}
    take(tablet, (raw_of(carol.id), "Carol"), relation="left")
    assert known(tablet).record.names == {}
    assert info(tablet).relation == "left"


def test_control_of_a_member_it_is_taken(town: Town) -> None:
    alice, bob, carol = strangers(town)
    tablet = with_tablet(town, alice, bob, carol)
    take(tablet, (raw_of(carol.id), "Carol"), (bytes(range(32)), "Nobody"))
    assert known(tablet).record.names == {carol.id: "Carol"}


def test_names_of_those_who_have_gone_are_not_told(town: Town) -> None:
    alice, bob, carol = strangers(town, "Alice A.", "", "Carol C.")
    alice.messenger.groups.remove("Tea", [carol.id])
    pass_time(5 * SECOND, alice, bob, carol)
    assert known(bob).record.names == {alice.id: "Alice A.", carol.id: "Carol C."}
    assert naming.of_others(known(bob)) == [NamedMember(id=raw_of(alice.id), name="Alice A.")]


def test_names_are_told_in_the_order_of_ids(town: Town) -> None:
    alice, bob, carol = strangers(town)
    group = known(bob)
    for people in ([alice, carol], [carol, alice]):
        told = naming.of_others(group.with_record(names={one.id: one.name for one in people}))
        assert [one.id for one in told] == sorted(raw_of(one.id) for one in people)


def largest(members: int) -> bytes:
    """A content with as much as all of its fields may have."""
    group = SyncGroup(
        group=bytes(32),
        relation="removed",
        state=bytes(kinds.MAX_GROUP_BYTES),
        digest=bytes(32),
        picture=bytes(kinds.MAX_GROUP_BYTES),
        name="\U0001f98a" * kinds.MAX_NAME_CHARS,
        names=[
            NamedMember(id=bytes(31) + bytes((number,)), name="\U0001f98a" * kinds.MAX_NAME_CHARS)
            for number in range(members)
        ],
    )
    claim = Claim(revision=2**32 - 1, hash=bytes(32))
    marks = Marks(to=bytes(32), claim=claim, device_list=bytes(kinds.MAX_LIST_BYTES))
    return content2.encode(BetweenDevices(sent_at=2**47, said=group, marks=marks), ENDS)


def test_largest_of_all_fits_a_content() -> None:
    encoded = largest(kinds.MAX_MEMBERS)
    padding.pad(encoded, most=body.MAX_PADDED)
    found = content2.decode(encoded, ENDS)
    assert isinstance(found, BetweenDevices)
    assert isinstance(found.said, SyncGroup)
    assert len(found.said.names) == kinds.MAX_MEMBERS


def test_control_of_more_members_it_would_not_fit() -> None:
    with pytest.raises(ValueError, match="at most"):
        padding.pad(largest(120), most=body.MAX_PADDED)


def test_names_that_are_in_no_order_are_written_by_nobody() -> None:
    one, other = (NamedMember(id=bytes((number,)) * 32, name="x") for number in range(2))
    fields: dict[str, Any] = {"group": bytes(32), "relation": "member", "state": b"x", "digest": bytes(32)}
    assert SyncGroup(**fields, names=[one, other]).names == [one, other]
    for wrong in ([other, one], [one, one]):
        with pytest.raises(ValueError, match="order"):
            SyncGroup(**fields, names=wrong)


def test_field_that_a_program_does_not_know_is_ignored() -> None:
    """As programs of before do with `names`."""
    group = SyncGroup(group=bytes(32), relation="member", state=b"x", digest=bytes(32))
    members = msgspec.msgpack.decode(content2.encode(BetweenDevices(sent_at=0, said=group), ENDS))
    found = content2.decode(msgspec.msgpack.encode({**members, "further": [{"id": bytes(32)}]}), ENDS)
    assert isinstance(found, BetweenDevices)
    assert found.said == group
