"""Members say what they are called: to those who have not added them, beside what tells them apart."""

import re
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest
from client_samples import WORDS, Device, Town, pass_time, settle
from group_people import info, known, news, restored, said, tell, unread, write

from phantom_messenger.client.backup import export_profile
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import naming
from phantom_messenger.client.groups.contents import GroupHello
from phantom_messenger.client.groups.naming import MAX_NAMES
from phantom_messenger.client.ids import short_id
from phantom_messenger.client.names import skeleton
from phantom_messenger.client.sanitize import cut
from phantom_messenger.client.status import (
    SAID_COLUMNS,
    Contact,
    GroupEvent,
    GroupMessageEvent,
    GroupNews,
    Trust,
)
from support.simulated import SECOND


def strangers(town: Town, *own_names: str) -> list[Device]:
    """Alice, Bob and Carol in a group that Alice has made: she knows both, and they know her alone."""
    alice, bob, carol = (town.device(name).login() for name in ("alice", "bob", "carol"))
    for other, name in ((bob, "bob"), (carol, "carol")):
        alice.messenger.contacts.add(name, other.id)
        other.messenger.contacts.add("alice", alice.id)
    settle(alice, bob, carol)
    named = dict(zip(("alice", "bob", "carol"), own_names, strict=False))
    alice.messenger.groups.create("Tea", [bob.id, carol.id], named.get("alice", ""))
    settle(alice, bob, carol)
    for other, name in ((bob, "bob"), (carol, "carol")):
        other.messenger.groups.accept("Tea", named.get(name, ""))
        settle(alice, bob, carol)
    pass_time(10 * SECOND, alice, bob, carol)
    return [alice, bob, carol]


def labels(device: Device) -> dict[str, str]:
    """What members are called, by user id."""
    return {member.contact.user_id: member.contact.label for member in info(device).members if not member.is_you}


def called(name: str, device: Device) -> str:
    return f"~{name} ({short_id(device.id)})"


def test_whoever_has_not_added_a_member_sees_what_they_call_themselves(town: Town) -> None:
    alice, bob, carol = strangers(town, "Alice A.", "Bobby", "Carol C.")
    assert labels(bob) == {alice.id: "alice", carol.id: called("Carol C.", carol)}
    assert labels(carol) == {alice.id: "alice", bob.id: called("Bobby", bob)}
    assert labels(alice) == {bob.id: "bob", carol.id: "carol"}, "a name that the user gave comes first"
    assert not any(b"Bobby" in str(frame).encode() for frame in bob.sent), "the relay was told"


def test_member_without_a_name_is_their_id(town: Town) -> None:
    _, bob, carol = strangers(town)
    assert labels(bob)[carol.id] == short_id(carol.id)


def test_text_says_it_to_who_came_later(town: Town) -> None:
    alice, bob, carol = strangers(town, "", "Bobby")
    dave = town.device("dave").login()
    dave.messenger.contacts.add("alice", alice.id)
    alice.messenger.groups.add("Tea", [dave.id])
    settle(alice, bob, carol, dave)
    dave.messenger.groups.accept("Tea", "Dave")
    pass_time(5 * SECOND, alice, bob, carol, dave)
    assert labels(dave)[bob.id] == called("Bobby", bob), "who is there tells a newcomer"
    assert labels(bob)[dave.id] == called("Dave", dave)
    (joined,) = [event for event in bob.heard(GroupEvent) if event.news is GroupNews.JOINED]
    assert joined.message == f"{called('Dave', dave)} has joined 'Tea'"
    assert joined.by is not None
    assert (joined.by.name, joined.by.says) == ("", "Dave")
    del dave.messenger._stores.groups.get(info(dave).group).record.names[bob.id]  # type: ignore[union-attr]
    assert labels(dave)[bob.id] == short_id(bob.id)
    write(bob, "hello")
    pass_time(5 * SECOND, alice, bob, carol, dave)
    (heard,) = dave.heard(GroupMessageEvent)
    assert heard.peer.label == called("Bobby", bob)


def test_name_is_changed_and_withdrawn(town: Town) -> None:
    alice, bob, carol = strangers(town, "", "Bobby")
    bob.messenger.groups.call_me("Tea", "Robert")
    settle(alice, bob, carol)
    assert labels(carol)[bob.id] == called("Robert", bob)
    assert info(bob).own_name == "Robert"
    write(bob, "one")
    settle(alice, bob, carol)
    bob.messenger.groups.call_me("Tea", "")
    settle(alice, bob, carol)
    assert labels(carol)[bob.id] == short_id(bob.id)
    write(bob, "two")
    settle(alice, bob, carol)
    assert (labels(carol)[bob.id], said(carol)) == (short_id(bob.id), ["one", "two"])
    assert (info(bob).own_name, news(alice)[-1:]) == ("", [GroupNews.JOINED])


def test_names_outlive_the_program_and_a_backup(town: Town, tmp_path: Path) -> None:
    alice, bob, carol = strangers(town, "", "Bobby", "Carol C.")
    bob.kill()
    bob.login()
    assert (labels(bob)[carol.id], info(bob).own_name) == (called("Carol C.", carol), "Bobby")
    export_profile(bob.vault, tmp_path / "file", WORDS)
    bob = restored(bob, tmp_path / "file").login()
    assert (labels(bob)[carol.id], info(bob).own_name) == (called("Carol C.", carol), "Bobby")
    write(bob, "again")
    settle(alice, bob, carol)
    assert "again" in unread(carol)


WORDS_LIKE_ONE: Final = (
    *("Phlegmatic", "Phlegmatiker", "PHLEGMATIKER", "Phlox Anne", "Phlox-Annette", "phlogiston", "Phlebotomist"),
    *("Philipp", "Phillip", "Philippa", "PHILIPPA", "Philadelphia", "PHILADELPHIA", "Phil2000", "PHIL2000", "\u03a6il"),
    *("Joseph 1980s", "Ph. Langenfeld", "P. H. Lautensack", "Camp H1 2000", "Ph. Lang 77", "Ralph 12345", "PhD 2001"),
    *("Phil Lambert 2", "Josephlein", "Rudolphlangenfeld", "Ph1", "Ph. 1", "Joseph 1980", "Joseph I. Lee"),
)


@pytest.mark.parametrize("name", WORDS_LIKE_ONE)
def test_who_is_called_nearly_like_an_id_may_be(name: str) -> None:
    assert naming.shown(name) == naming.checked(name) == name


def test_control_the_rule_of_before_kept_people_from_their_names() -> None:
    """Four letters after what looks like the beginning; 'i' counted as 'l', as between two names."""
    refused = [name for name in WORDS_LIKE_ONE if re.search("phl[-_.:/]*[a-z0-9]{4}", skeleton(name))]
    assert {"Phlegmatic", "Phlox Anne", "Philipp", "Philippa", "Philadelphia"} <= set(refused)


@cache
def ids(count: int) -> list[str]:
    """As strangers are shown, among them some whose first characters are all letters."""
    made = [short_id(b64encode(sha256(b"%d" % number).digest()).decode()) for number in range(count)]
    assert any(shown[3:-1].isalpha() for shown in made)
    return made


@pytest.mark.parametrize(
    "imitated",
    [
        lambda shown: shown,
        lambda shown: f"Bob {shown}",
        lambda shown: f"{shown[:-1]} Bob",
        lambda shown: shown.replace("1", "l", 1),
        lambda shown: shown.replace("1", "I", 1),
        lambda shown: shown.replace("1", "|", 1),
        lambda shown: shown.replace("1", "\u0131", 1),
        lambda shown: shown.replace("1", "l", 1).replace("0", "o"),
        lambda shown: shown.replace("1", "l", 1).replace("l", "I"),
        lambda shown: shown.replace("p", "\u0440").replace("h", "\u04bb").replace("1", "\u0406"),
        lambda shown: shown.replace("a", "\u0430").replace("e", "\u0435").replace("1", "l", 1),
        "\u200b".join,
        lambda shown: "\u200a".join(shown.replace("1", "l", 1)),
        lambda shown: "".join(chr(ord(one) + 0xFEE0) if one != "\u2026" else one for one in shown),
        lambda shown: f"{shown[:3]} {shown[3:]}",
        lambda shown: f"{shown[:2]} {shown[2:]}",
        lambda shown: f"{shown[:1]} {shown[1:]}",
        " ".join,
        lambda shown: f"{shown[:5]}-{shown[5:]}",
        lambda shown: f"{shown[:3]}\u2013{shown[3:]}".replace("1", "l", 1),
        lambda shown: shown.upper(),
    ],
    ids=[
        *("as it is", "behind a name", "before one", "l", "I", "stroke", "dotless", "l and o", "all I", "Cyrillic"),
        *(
            "some Cyrillic",
            "zero width",
            "hair spaces",
            "wide",
            "space",
            "before the one",
            "behind p",
            "all apart",
            "dash later",
            "dash",
            "capitals",
        ),
    ],
)
def test_nobody_can_be_called_like_an_id(imitated: Callable[[str], str]) -> None:
    assert [naming.shown(imitated(shown)) for shown in ids(500)] == [""] * 500


def test_control_in_other_letters_it_is_another_name() -> None:
    """Without the look at them, what is written in letters that look alike would stand."""
    plain = re.compile("ph1[ac-hj-z0-9]{4}")
    assert not any(plain.search(shown.replace("1", "l", 1)) for shown in ids(500))
    assert all(plain.search(shown) for shown in ids(500))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Bob (x)", "Bob x"),
        ("[Bob] {x} \u2768y\u2769 \uff3bz\uff3d \u239dw\u23a0 <v>", "Bob x y z w v"),
        ("Bob (ph1qqqqqqq…)", ""),
        ("Bob P\uff481qqqqqqq", ""),
        ("Bob \u0440h1q7w2e3r", ""),
        ("Bob phlq7w2", ""),
        ("Bob ph1-q7w2", ""),
        ("Bob \u02c2x\u02c3 \u23b0y\u23b1", "Bob x y"),
        ("~Bob", "Bob"),
        ("a\nb", ""),
        ("\u202eevil", ""),
        (" \u200b ", ""),
        ("", ""),
        ("~", ""),
        ("Bob\uff09 \uff08x", "Bob x"),
        ("x" * 64, "x" * 64),
        ("O\u2019Brien & S\u00f8n", "O\u2019Brien & S\u00f8n"),
        ("ph1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", ""),
        ("Ren\u0065\u0301", "Ren\u00e9"),
    ],
    ids=[
        *(
            "brackets",
            "other brackets",
            "with an id",
            "with an id in other letters",
            "Cyrillic",
            "l",
            "dash",
            "signs",
            "tilde",
            "lines",
            "direction",
        ),
        *("blank", "empty", "only", "wide", "long", "quote", "id", "composed"),
    ],
)
def test_what_others_say_is_made_safe(town: Town, name: str, shown: str) -> None:
    alice, bob, carol = strangers(town, "", "Bobby")
    group = known(bob)
    hello = GroupHello(group=group.record.group, revision=group.state.revision, head=group.chain.head, name=name)
    tell(bob, [alice, carol], hello)
    settle(alice, bob, carol)
    assert known(carol).record.names.get(bob.id, "") == shown
    assert labels(carol)[bob.id] == (called(cut(shown, SAID_COLUMNS), bob) if shown else short_id(bob.id))


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("x" * 24, "x" * 24),
        ("x" * 25, "x" * 23 + "…"),
        ("\u6f22" * 12, "\u6f22" * 12),
        ("\u6f22" * 13, "\u6f22" * 11 + "…"),
        ("a" * 20 + " " * 20 + "b", "a" * 20 + "…"),
    ],
    ids=["fits", "does not", "wide, fits", "wide, does not", "spaces"],
)
def test_long_name_does_not_push_the_id_out_of_sight(said: str, seen: str) -> None:
    contact = Contact(name="", user_id="A" * 43 + "=", trust=Trust.UNVERIFIED, key=None, says=said)
    assert contact.label == f"~{seen} ({short_id(contact.user_id)})"


def test_control_only_what_somebody_says_of_themselves_is_cut() -> None:
    contact = Contact(name="x" * 64, user_id="A" * 43 + "=", trust=Trust.UNVERIFIED, key=None)
    assert contact.label == "x" * 64


def test_stranger_says_no_name_in_a_group(town: Town) -> None:
    alice, bob, carol = strangers(town, "", "Bobby")
    alice.messenger.groups.remove("Tea", [carol.id])
    pass_time(5 * SECOND, alice, bob, carol)
    group = known(bob)
    hello = GroupHello(group=group.record.group, revision=2, head=group.chain.head, name="bob")
    tell(carol, [alice, bob], hello)
    settle(alice, bob, carol)
    assert carol.id not in known(bob).record.names


@pytest.mark.parametrize(
    "name", ["x" * 65, "a\nb", "(x)", "~x", "\u200b"], ids=["long", "lines", "brackets", "~", "blank"]
)
def test_own_name_that_nobody_could_be_shown_is_refused(town: Town, name: str) -> None:
    alice, *_ = strangers(town)
    with pytest.raises(UsageError, match="a name needs 1 to 64 printable characters"):
        alice.messenger.groups.call_me("Tea", name)
    assert info(alice).own_name == ""


def test_names_of_those_who_have_gone_are_bounded(town: Town) -> None:
    _, bob, carol = strangers(town, "", "", "Carol C.")
    group = known(bob)
    for number in range(MAX_NAMES + 20):
        group = naming.noted(group, f"{number}", "Somebody")
    assert len(group.record.names) == MAX_NAMES
    assert group.record.names[carol.id] == "Carol C.", "who is there stays"
