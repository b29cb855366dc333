"""Ids of which more than one thing is true: a member who is another's device, and one whose id certifies no key."""

from base64 import b64decode

import msgspec
import pytest
from client_samples import Device, Town, claim, pass_time, settle
from device_samples import link, two_of_alice
from group_people import group_of, info, known, names, said, signed, tell, unread, write

from phantom_messenger.client import content2
from phantom_messenger.client.content import Claim
from phantom_messenger.client.devices.device_list import LIFE_MS, DeviceList, consent
from phantom_messenger.client.devices.device_list import Device as Listed
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.change import Add
from phantom_messenger.client.groups.contents import GroupChange, GroupPropose, GroupText
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.store import packed_ops, raw_of
from phantom_messenger.crypto.errors import InvalidMessage
from support.people import Frame
from support.simulated import MINUTE, SECOND


def list_of(first: Device, *others: Device) -> DeviceList:
    """A list of these devices, whose owners have all agreed."""
    identity = first.messenger._identity
    at = first.messenger._now().wall
    own_id = identity.peer.user_id
    made = tuple(
        Listed(one.messenger._identity.peer.public, at, consent(one.messenger._identity, own_id))
        for one in (first, *others)
    )
    return DeviceList.sign(identity, revision=1, previous=bytes(32), at=at, until=at + LIFE_MS, devices=made)


def four(town: Town) -> tuple[Device, Device, Device, Device]:
    """Ada and Vic, who are admins, and Mal and Dol, of whom Vic does not know the second."""
    vic, mal, ada = town.friends("vic", "mal", "ada")
    dol = town.device("dol").login()
    ada.messenger.contacts.add("dol", dol.id)
    dol.messenger.contacts.add("ada", ada.id)
    ada.send(dol, "hi")
    dol.send(ada, "hi")
    settle(ada, dol, vic, mal)
    return ada, vic, mal, dol


def own_with_laptop(town: Town) -> tuple[Device, Device, Device, Device]:
    """Ada and Ben, who are admins, and Cleo with her laptop."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    laptop = town.device("laptop", strangers="ask").login()
    group_of(ada, ben, cleo, admins=2)
    link(cleo, laptop, ada, ben)
    pass_time(5 * SECOND, ada, ben, cleo, laptop)
    return ada, ben, cleo, laptop


def test_member_who_is_on_another_members_list_stops_nobody(town: Town) -> None:
    ada, vic, mal, dol = people = four(town)
    mal.messenger.desk.tell_list(list_of(mal, dol), [vic.id])
    pass_time(10 * SECOND, *people)
    group_of(ada, vic, mal, dol, admins=2)
    devices = vic.messenger._stores.devices
    assert names(vic) == {ada.id, vic.id, mal.id, dol.id}
    assert dol.id in devices.devices_of(mal.id), "each of the two would get it twice"
    write(vic, "hello")
    pass_time(10 * SECOND, *people)
    assert said(ada) == said(mal) == said(dol) == ["hello"]
    vic.messenger.groups.remove("Tea", [dol.id, mal.id])
    pass_time(10 * SECOND, *people)
    assert names(vic) == names(ada) == {ada.id, vic.id}


def test_message_to_somebody_twice_is_refused_before_it_is_stored(town: Town) -> None:
    ada, ben, _ = town.friends("ada", "ben", "cleo")
    with pytest.raises(UsageError, match="each recipient once"):
        ada.messenger.groups._speaking._outgoing.send([ben.id, ben.id], b"", conversation_id="x")


def test_device_of_a_member_that_an_admin_adds_stops_nobody(town: Town) -> None:
    ada, ben, cleo, laptop = people = own_with_laptop(town)
    group, change = known(ben), signed(ben, Add(person=raw_of(laptop.id), role="member"))
    state, base = group.state.encode(), group.chain.digest
    about = group.record.group
    tell(ben, [ada, cleo], GroupChange(group=about, change=change.encoded, state=state, base=base))
    pass_time(10 * SECOND, *people)
    assert laptop.id in names(ada)
    write(ada, "from ada")
    write(cleo, "from cleo")
    pass_time(10 * SECOND, *people)
    assert set(said(ada)) == set(said(cleo)) == {"from ada", "from cleo"}
    ada.messenger.groups.remove("Tea", [laptop.id])
    pass_time(10 * SECOND, ada, cleo, laptop)
    assert names(ada) == names(cleo) == {ada.id, ben.id, cleo.id}


def test_nobody_is_asked_to_add_a_device_and_nobody_does(town: Town) -> None:
    ada, ben, cleo, laptop = people = own_with_laptop(town)
    ada.messenger.groups.set_role("Tea", ben.id, "member")
    ada.messenger.groups.set_rights("Tea", invite="member", write="member")
    pass_time(10 * SECOND, *people)
    tell(ben, [ada], GroupPropose(group=known(ben).record.group, person=raw_of(laptop.id)))
    pass_time(10 * SECOND, *people)
    assert names(ada) == {ada.id, ben.id, cleo.id}
    for add in (ada.messenger.groups.create, ada.messenger.groups.add):
        with pytest.raises(UsageError, match=r"a device of cleo; add their own ID"):
            add("Tea", [laptop.id])


def test_text_of_somebody_who_becomes_a_device_is_read_once(town: Town) -> None:
    ada, vic, mal, dol = people = four(town)
    group_of(ada, vic, mal, dol, admins=2)
    write(mal, "one")
    write(dol, "two")
    pass_time(10 * SECOND, *people)
    mal.messenger.desk.tell_list(list_of(mal, dol), [vic.id])
    pass_time(10 * SECOND, *people)
    assert dol.id in vic.messenger._stores.devices.devices_of(mal.id)
    assert unread(vic) == ["one", "two"]
    assert unread(vic) == []
    (entry, *_) = [entry for entry in vic.messenger.groups.history("Tea") if entry.text == "two"]
    assert not entry.is_waiting


def test_somebody_whose_id_certifies_no_key_cannot_be_added_by_a_link(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben = town.friends("ada", "ben")
    mal = claim(town.device("mal")).login()
    group_of(ada, ben)
    opened = JoinLink.parse(ada.messenger.groups.link("Tea", "wss://relay.test/ws"))
    encode = content2.encode_for_group
    own, claimed = mal.messenger._identity.peer.user_id, b64decode(mal.id)

    def as_claimed(*args: object, sender: bytes, **others: object) -> bytes:
        return encode(*args, sender=claimed if sender == own else sender, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(content2, "encode_for_group", as_claimed)
    mal.messenger.contacts.add("ada", ada.id)
    mal.messenger.groups.join(opened)
    pass_time(20 * SECOND, ada, ben, mal)
    assert known(ada).record.wishes == []
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(10 * SECOND, ada, ben, mal)
    assert (info(ada, "Coffee").revision, info(ben, "Coffee").revision) == (3, 3)


@pytest.mark.parametrize("wish", [b"", b"\x91\x83", packed_ops([Add(person=b"an id of 20 bytes...", role="member")])])
def test_wish_that_no_change_can_be_made_of_is_dropped(town: Town, wish: bytes) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    stores, group = ada.messenger._stores, known(ada)
    with stores.vault.transaction() as tx:
        stores.groups.put(tx, group.with_record(wishes=[wish]))
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(10 * SECOND, ada, ben)
    assert info(ben, "Coffee").revision == 3


def test_list_that_a_message_names_is_asked_for_by_those_with_one_device(town: Town) -> None:
    alice, laptop, bob = two_of_alice(town)

    def keep_back(frame: Frame) -> list[Frame]:
        is_hers = frame["type"] == "MESSAGE" and frame["payload"]["senderId"] == alice.id
        return [] if is_hers else [frame]

    bob.tamper = keep_back  # with the new list, which is in a receipt
    alice.messenger.desk.remove(laptop.id)
    pass_time(30 * SECOND, alice, laptop, bob)
    bob.tamper = None
    assert len(bob.messenger._stores.devices.devices_of(alice.id)) == 2
    alice.send(bob, "after that")
    pass_time(2 * MINUTE, alice, laptop, bob, step=SECOND)
    assert bob.messenger._stores.devices.devices_of(alice.id) == [alice.id]


def test_device_that_is_a_member_itself_asks_nobody_but_others(town: Town) -> None:
    vic, mal = town.friends("vic", "mal")
    laptop = town.device("laptop", strangers="ask").login()
    group_of(mal, vic)
    link(vic, laptop, mal)
    pass_time(5 * SECOND, vic, mal, laptop)
    group, change = known(mal), signed(mal, Add(person=raw_of(laptop.id), role="member"))
    state, base = group.state.encode(), group.chain.digest
    about = group.record.group
    tell(mal, [vic], GroupChange(group=about, change=change.encoded, state=state, base=base))
    pass_time(10 * SECOND, vic, mal, laptop)
    assert len(info(laptop).members) == 3
    for number in range(4):
        tell(mal, [vic], GroupText(group=about, revision=50 + number, head=bytes(32), n=1 + number, body="x"))
        pass_time(130 * SECOND, vic, mal, laptop, step=5 * SECOND)
    write(laptop, "from here")
    pass_time(10 * SECOND, vic, mal, laptop)
    assert "from here" in said(vic)


@pytest.mark.parametrize("other", [{"to": True}, {"deviceList": 7}, {}])
def test_content_about_a_group_says_one_thing_of_devices(other: dict[str, object]) -> None:
    claim = {"revision": 3, "hash": bytes(32)}
    content = msgspec.msgpack.encode({"devices": claim, **other})
    assert content2.claim_of(content) == Claim(revision=3, hash=bytes(32))
    with pytest.raises(InvalidMessage):
        content2.claim_of(msgspec.msgpack.encode({"devices": {**claim, "revision": 0}, **other}))
