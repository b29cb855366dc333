"""Pictures of groups: they come with changes, and who was added since asks for them."""

from pathlib import Path

import pytest
from client_samples import WORDS, Device, Town, pass_time, settle
from group_people import group_of, info, restored

from phantom_messenger.client.backup import export_profile
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.contents import GroupChanges
from phantom_messenger.client.groups.picture import MAX_PICTURE_BYTES, name_of, type_of
from phantom_messenger.client.groups.store import Group, raw_of
from phantom_messenger.client.status import GroupEvent
from support.simulated import MINUTE, SECOND

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
JPEG = b"\xff\xd8\xff\xe0" + bytes(300)


def known(device: Device) -> Group:
    group = device.messenger._stores.groups.get(info(device).group)
    assert group is not None
    return group


def answer(device: Device, to: Device, picture: bytes) -> None:
    """Answer what was never asked, with a picture of one's own choice."""
    said = GroupChanges(group=known(device).record.group, changes=[], picture=picture)
    device.messenger.groups._speaking.say(said.group, [to.id], said, device.messenger._now())


def test_members_see_the_picture_and_that_it_was_taken_away(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    for data, said in ((PNG, "given the group another picture"), (b"", "taken the group's picture away")):
        ada.messenger.groups.set_picture("Tea", data)
        settle(ada, ben, cleo)
        assert [info(one).picture for one in (ada, ben, cleo)] == [data] * 3
        assert ben.heard(GroupEvent)[-1].message == f"'Tea': ada has {said}"
    with pytest.raises(UsageError, match="only admins"):
        ben.messenger.groups.set_picture("Tea", PNG)


@pytest.mark.parametrize("data", [PNG + bytes(MAX_PICTURE_BYTES), b"GIF89a" + bytes(20), b"<svg/>" * 10], ids=range(3))
def test_what_is_no_picture_is_refused(town: Town, data: bytes) -> None:
    (ada,) = town.friends("ada")
    ada.messenger.groups.create("Tea", [])
    with pytest.raises(UsageError, match="a PNG, JPEG or WebP of at most 4,096 bytes"):
        ada.messenger.groups.set_picture("Tea", data)
    assert info(ada).picture == b""


def test_types() -> None:
    webp = b"RIFF\x00\x00\x00\x00WEBPVP8 "
    assert [type_of(data) for data in (PNG, JPEG, webp, webp[:11], b"")] == [
        *("image/png", "image/jpeg", "image/webp", "", "")
    ]


def test_who_is_added_later_asks_once_they_have_accepted(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben)
    ada.messenger.groups.set_picture("Tea", JPEG)
    ada.messenger.groups.add("Tea", [cleo.id])
    settle(ada, ben, cleo)
    cleo.sent.clear()
    pass_time(5 * MINUTE, ada, ben, cleo)
    assert (info(cleo).relation, info(cleo).picture, cleo.frames_sent("MESSAGE_MANY")) == ("invited", b"", [])
    cleo.messenger.groups.accept("Tea")
    settle(ada, ben, cleo)
    assert info(cleo).picture == JPEG
    assert not info(cleo).is_behind


def test_another_member_is_asked_if_the_first_does_not_answer(town: Town) -> None:
    ada, ben, cleo, dan = town.friends("ada", "ben", "cleo", "dan")
    group_of(ada, ben, cleo)
    ada.messenger.groups.set_picture("Tea", PNG)
    ada.messenger.groups.add("Tea", [dan.id])
    settle(ada, ben, cleo, dan)
    first, *others = sorted((ada, ben, cleo), key=lambda one: raw_of(one.id))
    first.cut()
    dan.messenger.groups.accept("Tea")
    settle(*others, dan)
    assert info(dan).picture == b""
    pass_time(2 * MINUTE, *others, dan)
    assert info(dan).picture == PNG


def test_picture_of_another_name_is_not_taken(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben)
    ada.messenger.groups.set_picture("Tea", PNG)
    ada.messenger.groups.add("Tea", [cleo.id])
    settle(ada, ben, cleo)
    ada.cut()
    ben.cut()
    cleo.messenger.groups.accept("Tea")
    settle(cleo)
    ben.connect()
    answer(ben, cleo, JPEG)
    ben.messenger.groups._duties._to_answer.clear()
    settle(ben, cleo)
    assert info(cleo).picture != JPEG
    # Control: with names that are all alike it would be.
    monkeypatch.setattr("phantom_messenger.client.groups.picture.name_of", lambda _: name_of(PNG))
    cleo.messenger._stores.groups._set(known(cleo).with_record(picture=b""))
    answer(ben, cleo, JPEG)
    settle(ben, cleo)
    assert info(cleo).picture == JPEG


def test_picture_that_nobody_asked_for_replaces_none(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    answer(ada, ben, PNG)
    settle(ada, ben)
    assert info(ben).picture == b""
    ada.messenger.groups.set_picture("Tea", PNG)
    settle(ada, ben)
    answer(ada, ben, JPEG)
    settle(ada, ben)
    assert info(ben).picture == PNG


def test_nobody_is_asked_for_ever(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben)
    ada.messenger.groups.set_picture("Tea", PNG)
    ada.messenger.groups.add("Tea", [cleo.id])
    settle(ada, ben, cleo)
    for device in (ada, ben):
        device.messenger._stores.groups._set(known(device).with_record(picture=b"", relation="left"))
    cleo.messenger.groups.accept("Tea")
    settle(ada, ben, cleo)
    cleo.sent.clear()
    for _ in range(20):
        pass_time(MINUTE + SECOND, cleo)
    assert len(cleo.frames_sent("MESSAGE_MANY")) in range(8, 11)


def test_picture_is_in_exported_files(town: Town, tmp_path: Path) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ada.messenger.groups.set_picture("Tea", PNG)
    settle(ada, ben)
    file = tmp_path / "ben.phantom"
    export_profile(ben.vault, file, WORDS)
    assert info(restored(ben, file)).picture == PNG
