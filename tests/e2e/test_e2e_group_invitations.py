"""Invitations and links into groups on the command line, at a real relay."""

import json
from pathlib import Path

import pytest
from e2e_people import make_tea, meet, rows

from phantom_messenger.cli import joining
from phantom_messenger.client.errors import PhantomError
from phantom_messenger.client.status import GroupEvent, GroupNews
from support.command_line import Running, phantom
from support.relay_process import StartRelay
from support.sdk_clients import PATIENCE, event, opened, run
from support.waiting import eventually

HEARD = 0.2
"""For which an answer is waited for that does not come, in seconds."""


@pytest.fixture
def home(tmp_path: Path, start_relay: StartRelay) -> Path:
    """Where Alice and Bob have profiles and know each other."""
    folder = tmp_path / "home"
    meet(folder, start_relay("--limits", "off"))
    return folder


@pytest.fixture
def tea(home: Path) -> Path:
    """The same, once Alice has made the group Tea and Bob has accepted."""
    make_tea(home)
    return home


def test_link_lets_somebody_in(home: Path) -> None:
    assert phantom(home, "groups", "create", "-p", "alice", "Tea").returncode == 0
    made = phantom(home, "groups", "invite", "-p", "alice", "Tea", "--link")
    link = made.stdout.splitlines()[-1]
    assert link.startswith("phantom:join?v=1&")
    assert "; they run: phantom groups join 'LINK', or paste it in the page" in made.stderr
    alice = Running(home, "listen", "-p", "alice")
    asked = phantom(home, "groups", "join", "-p", "bob", link)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert eventually(lambda: "phantom: 'Tea': bob joins by your link" in alice.errors)
    assert alice.stop() == 0
    assert phantom(home, "send", "-p", "alice", "Tea", "welcome").returncode == 0
    (row,) = rows(phantom(home, "listen", "-p", "bob", "--json", "--count", "1").stdout)
    assert (row["groupName"], row["text"]) == ("Tea", "welcome")
    assert phantom(home, "groups", "list", "-p", "alice").stdout == "Tea: 2 members, you are an admin\n"


def test_links_are_listed_and_ended(home: Path) -> None:
    assert phantom(home, "groups", "create", "-p", "alice", "Tea").returncode == 0
    none = phantom(home, "groups", "links", "-p", "alice", "Tea")
    assert (none.stdout, none.stderr.count("phantom groups invite -p alice Tea --link")) == ("", 1)
    made = phantom(home, "groups", "invite", "-p", "alice", "Tea", "--link", "--uses", "100", "--days", "30")
    link = made.stdout.splitlines()[-1]
    [listed] = phantom(home, "groups", "links", "-p", "alice", "Tea").stdout.splitlines()
    assert listed.startswith(f"{link}  lets in 100 people, until ")
    (row,) = rows(phantom(home, "groups", "links", "-p", "alice", "Tea", "--json").stdout)
    assert (row["link"], row["uses"]) == (link, 100)
    ended = phantom(home, "groups", "links", "-p", "alice", "Tea", "--end")
    assert ended.stdout == "ended 1 link; nobody can join by it any more\n"
    assert phantom(home, "groups", "links", "-p", "alice", "Tea", "--json").stdout == ""
    alice = Running(home, "listen", "-p", "alice")
    refused = phantom(home, "groups", "join", "-p", "bob", link)
    assert refused.returncode == 1
    assert "does not work any more" in refused.stderr
    assert alice.stop() == 0


@pytest.mark.parametrize("has_written", [False, True], ids=["stranger", "control: she was written to before"])
def test_link_that_is_refused_leaves_no_contact_without_a_name(home: Path, has_written: bool) -> None:
    relay = json.loads(phantom(home, "id", "-p", "alice", "--json").stdout)
    assert phantom(home, "init", "-p", "carol", "--server", relay["server"]).returncode == 0
    assert phantom(home, "groups", "create", "-p", "alice", "Tea").returncode == 0
    link = phantom(home, "groups", "invite", "-p", "alice", "Tea", "--link").stdout.splitlines()[-1]
    assert phantom(home, "groups", "links", "-p", "alice", "Tea", "--end").returncode == 0
    alice = Running(home, "listen", "-p", "alice")
    if has_written:
        assert phantom(home, "send", "-p", "carol", relay["id"], "hello").returncode == 0
    refused = phantom(home, "groups", "join", "-p", "carol", link)
    assert (refused.returncode, refused.stderr.count("does not work any more")) == (1, 1)
    assert (relay["id"] in phantom(home, "contacts", "-p", "carol").stdout) is has_written
    again = phantom(home, "groups", "join", "-p", "carol", link)
    assert (again.returncode, again.stderr.count("does not work any more")) == (2, 1)
    assert phantom(home, "requests", "list", "-p", "carol", "--json").stdout == "", (
        "nor does it wait as a stranger's message"
    )
    assert alice.stop() == 0


UNANSWERED = (
    "the request is sent, and not answered yet; you will be in the group once the admin's program has answered, unless"
    " the link is used up or too old; to wait for it, run: phantom listen -p bob\n"
)


def test_joining_is_confirmed_once_the_admin_has_answered_and_not_before(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    async def main() -> None:
        async with opened(home, "alice") as alice:
            alice.groups.create("Tea")
            link = alice.groups.link("Tea")
            assert await alice.groups.settled(PATIENCE)
            assert not await alice.flush(PATIENCE)
        monkeypatch.setattr(joining, "PATIENCE", PATIENCE)
        monkeypatch.setattr(joining, "ANSWER", 0.0)  # nobody is there who could
        await joining.join_by(opened(home, "bob"), link, " -p bob")
        assert capsys.readouterr().out == UNANSWERED
        monkeypatch.setattr(joining, "ANSWER", PATIENCE)
        async with opened(home, "alice") as alice:
            link = alice.groups.link("Tea")
            await joining.join_by(opened(home, "bob"), link, " -p bob")
            assert capsys.readouterr().out == "you have joined Tea; write with: phantom chat -p bob Tea\n"
            await joining.join_by(opened(home, "dave", alice.server, create=True), link, "")
            with pytest.raises(PhantomError, match="does not work any more: it is used up"):
                await joining.join_by(opened(home, "eve", alice.server, create=True), link, "")

    run(main())


def test_whoever_opens_a_link_of_an_admin_of_groups_that_they_know_is_told_at_once(
    tea: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    async def main() -> None:
        async with opened(tea, "alice") as alice, opened(tea, "bob") as bob:
            alice.groups.create("Cake", ["bob"])
            assert await bob.groups.wait_known("Cake", PATIENCE)
            assert await alice.groups.settled(PATIENCE)
            assert not await alice.flush(PATIENCE)
        monkeypatch.setattr(joining, "PATIENCE", PATIENCE)
        for group in ("Tea", "Cake"):
            monkeypatch.setattr(joining, "ANSWER", HEARD)
            async with opened(tea, "alice") as alice:
                link = alice.groups.link(group)
                await joining.join_by(opened(tea, "bob"), link, " -p bob")
            said = capsys.readouterr()
            assert said.err == (
                "phantom: you are invited to Cake, of which alice is an admin; if the link is to that group, run:"
                " phantom groups accept -p bob Cake\n"
                "phantom: you are in Tea, of which alice is an admin; if the link is to that group, there is nothing"
                " to do\n"
            )
            assert said.out == UNANSWERED.replace("unless", "unless it is Tea or Cake, or")
        async with opened(tea, "bob") as bob, opened(tea, "dave", bob.server, create=True) as dave:
            await dave.wait_published(PATIENCE)
            dave.groups.create("Jam")
            link = dave.groups.link("Jam")
            assert await dave.groups.settled(PATIENCE)
        await joining.join_by(opened(tea, "bob"), link, " -p bob")
        assert capsys.readouterr().err == "", "control: of an admin of none"

    run(main())


def test_whoever_is_invited_by_a_link_as_it_leads_back_into_no_group_by_itself_hears_of_it(
    tea: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    async def main() -> None:
        async with opened(tea, "alice") as alice, opened(tea, "dave", alice.server, create=True) as dave:
            await dave.wait_published(PATIENCE)
            dave.contacts.add("alice", alice.user_id)
            async with opened(tea, "bob") as bob:
                bob.contacts.add("dave", dave.user_id)
                await event(alice, GroupEvent, lambda: bob.groups.leave("Tea"), news=GroupNews.CHANGED)
                assert not await bob.flush(PATIENCE)
            alice.groups.invite("Tea", [dave.user_id])
            assert await dave.groups.wait_known("Tea", PATIENCE)
            await event(alice, GroupEvent, lambda: dave.groups.accept("Tea"), news=GroupNews.JOINED)
            who = dave.user_id
            await event(dave, GroupEvent, lambda: alice.groups.set_role("Tea", who, "admin"), news=GroupNews.CHANGED)
            monkeypatch.setattr(joining, "PATIENCE", PATIENCE)
            monkeypatch.setattr(joining, "ANSWER", PATIENCE)
            await joining.join_by(opened(tea, "bob"), dave.groups.link("Tea"), " -p bob")

    run(main())
    said = capsys.readouterr().out
    assert said.startswith("dave invites you to 'Tea', in which you were before; dave was no admin of it then")
    assert said.endswith("; to accept, run: phantom groups accept -p bob Tea\n")


def test_invitation_is_told_with_what_accepts_it(home: Path) -> None:
    bob = Running(home, "listen", "-p", "bob")
    assert phantom(home, "groups", "create", "-p", "alice", "Bob's tea", "bob").returncode == 0
    said = "phantom: alice invites you to 'Bob's tea'; to accept, run: phantom groups accept -p bob \"Bob's tea\""
    assert eventually(lambda: said in bob.errors)
    assert bob.stop() == 0


def test_what_a_future_fellow_member_says_is_told_from_a_request(tmp_path: Path, start_relay: StartRelay) -> None:
    """Alice invites Bob and Dave, who know nobody, and Bob is the first to accept."""
    relay = start_relay("--limits", "off")
    for name in ("alice", "bob", "dave"):
        assert phantom(tmp_path, "init", "-p", name, "--server", relay.url).returncode == 0
    bob, dave = (phantom(tmp_path, "id", "-p", name).stdout.split()[0] for name in ("bob", "dave"))
    assert phantom(tmp_path, "groups", "create", "-p", "alice", "Tea", bob, dave).returncode == 0
    alice = phantom(tmp_path, "id", "-p", "alice").stdout.split()[0]
    assert run_until_request(tmp_path, "bob") == 0
    assert phantom(tmp_path, "requests", "accept", "-p", "bob", alice, "alice").returncode == 0
    assert phantom(tmp_path, "groups", "accept", "-p", "bob", "Tea").returncode == 0
    listener = Running(tmp_path, "listen", "-p", "dave")
    assert eventually(lambda: any(bob[:11] in line for line in listener.errors))
    assert listener.stop() == 0
    shown = phantom(tmp_path, "requests", "show", "-p", "dave", bob)
    assert shown.stderr.splitlines()[0].startswith("they are writing in a group that you have not joined")
    assert "nothing can be read yet" not in shown.stderr
    assert "a group that you have not joined" not in phantom(tmp_path, "requests", "show", "-p", "dave", alice).stderr
    blocked = phantom(tmp_path, "requests", "block", "-p", "dave", bob)
    assert "what they write in groups will not be shown to you either\n" in blocked.stderr


def run_until_request(home: Path, name: str) -> int:
    """Listen until somebody whom one does not know has written."""
    listener = Running(home, "listen", "-p", name)
    assert eventually(lambda: any("message request" in line for line in listener.errors))
    return listener.stop()


def test_invitation_of_a_stranger_is_shown_before_anything_is_accepted(tmp_path: Path, start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off")
    for name in ("alice", "bob"):
        assert phantom(tmp_path, "init", "-p", name, "--server", relay.url).returncode == 0
    alice, bob = (phantom(tmp_path, "id", "-p", name).stdout.split()[0] for name in ("alice", "bob"))
    assert phantom(tmp_path, "groups", "create", "-p", "alice", "Tea", bob).returncode == 0
    listener = Running(tmp_path, "listen", "-p", "bob")
    assert eventually(lambda: any("message request" in line for line in listener.errors))
    assert listener.stop() == 0
    shown = phantom(tmp_path, "requests", "show", "-p", "bob", alice)
    said = "invites you to 'Tea' (2 members, you included; none of them is a contact of yours)"
    assert shown.stdout.splitlines() == [f"from {alice}:", said]
    assert shown.stderr.splitlines() == [
        f"to accept, run: phantom requests accept -p bob {alice[:11]} NAME",
        "its members learn nothing before you also run: phantom groups accept -p bob Tea",
    ]
    (row,) = rows(phantom(tmp_path, "requests", "show", "-p", "bob", "--json", alice).stdout)
    assert (row["type"], row["name"], row["members"], row["admins"], row["known"]) == (
        *("group-invitation", "Tea"),
        *(2, 1, []),
    )
    assert phantom(tmp_path, "groups", "list", "-p", "bob").stdout == ""
    assert phantom(tmp_path, "requests", "accept", "-p", "bob", alice, "alice").returncode == 0
    listed = phantom(tmp_path, "groups", "list", "-p", "bob").stdout
    assert listed == "Tea: 2 members, alice invites you: phantom groups accept -p bob Tea\n"
