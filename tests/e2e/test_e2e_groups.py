"""Groups on the command line, at a real relay."""

import asyncio
import base64
from contextlib import closing
from pathlib import Path

import click
import pytest
from e2e_people import NOWHERE, make_tea, meet, meet_offline, rows

from phantom_messenger import written_id
from phantom_messenger.cli import group_commands, send
from phantom_messenger.cli.chat import HELP
from phantom_messenger.cli.group_lines import is_group
from phantom_messenger.cli.status_line import StatusLine
from phantom_messenger.cli.talk import talk_with
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import PhantomError
from phantom_messenger.client.groups.contents import GroupText
from phantom_messenger.client.groups.state import digits_of
from phantom_messenger.client.status import DeliveryState, WarningEvent
from support.command_line import Running, phantom
from support.relay_process import StartRelay
from support.sdk_clients import PATIENCE, event, opened, run


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


def test_group_from_its_beginning_to_its_end(home: Path) -> None:
    made = phantom(home, "groups", "create", "-p", "alice", "Tea", "bob")
    assert (made.returncode, made.stdout, made.stderr) == (0, "made the group Tea\n", "")
    accepted = phantom(home, "groups", "accept", "-p", "bob", "Tea")
    assert (accepted.returncode, accepted.stderr) == (0, "")
    assert accepted.stdout == "you are in Tea; write with: phantom chat -p bob Tea\n"
    again = phantom(home, "groups", "accept", "-p", "bob", "Tea")
    assert (again.returncode, again.stderr) == (2, "phantom: you are in 'Tea' already\n")
    sent = phantom(home, "send", "-p", "alice", "Tea", "hello, all")
    assert (sent.returncode, sent.stderr in {"", "phantom: bob has joined 'Tea'\n"}) == (0, True), "if that has come"
    assert sent.stdout.startswith("accepted: ")
    heard = phantom(home, "listen", "-p", "bob", "--json", "--count", "1")
    (row,) = rows(heard.stdout)
    assert (row["type"], row["groupName"], row["name"], row["text"]) == ("group-message", "Tea", "alice", "hello, all")
    past = phantom(home, "history", "-p", "bob", "Tea")
    assert past.stdout.endswith(" alice: hello, all\n")
    listed = phantom(home, "groups", "-p", "alice")
    assert listed.stdout == "Tea: 2 members, you are an admin\n"
    mine, yours = (phantom(home, "groups", "members", "-p", name, "Tea").stdout for name in ("alice", "bob"))
    assert mine.splitlines()[-1] == yours.splitlines()[-1]
    assert mine.splitlines()[-1].startswith("digits: ")
    assert mine.splitlines()[-1].endswith(" equal digits mean the same group)")
    assert phantom(home, "groups", "rename", "-p", "alice", "Tea", "Coffee").stdout == "renamed\n"
    assert phantom(home, "groups", "role", "-p", "alice", "Coffee", "bob", "admin").returncode == 0
    assert phantom(home, "groups", "leave", "-p", "alice", "--yes", "Coffee").stdout == "left Coffee\n"
    (row,) = rows(phantom(home, "groups", "list", "-p", "alice", "--json").stdout)
    assert (row["name"], row["relation"]) == ("Coffee", "left")


def test_chat_in_a_group_of_two_programs(tea: Path) -> None:
    alice, bob = Running(tea, "chat", "-p", "alice", "Tea"), Running(tea, "chat", "-p", "bob", "Tea")
    alice.type("one")
    assert bob.wait_for(1)[0].endswith(" alice: one")
    bob.type("two")
    assert alice.wait_for(1)[0].endswith(" bob: two")
    alice.type("/help")
    assert (alice.finish(), bob.finish()) == (0, 0)
    assert alice.errors == [line for line in HELP.splitlines() if "/burn" not in line and "/expire" not in line]


def test_chat_says_that_texts_expire(home: Path) -> None:
    client = opened(home, "alice")
    with closing(client):
        client.groups.create("Tea", [])
        assert talk_with(client, "Tea").label == "Tea (group)"
        client.groups.set_timer("Tea", 60)
        talk = talk_with(client, "Tea")
        assert (talk.label, talk.expires()) == ("Tea (group; messages expire after 1 minute)", True)
        line = StatusLine(talk.contact, about=talk.about)
        assert line.show() == "you: connecting   Tea: 1 member, you are an admin, messages expire after 1 minute"
        person = talk_with(client, "bob")
        assert (person.expires(), StatusLine(person.contact, about=person.about).show()) == (
            *(False, "you: connecting   bob: presence unknown   unverified"),
        )


def test_picture_of_a_group_is_given_and_saved(home: Path, tmp_path: Path) -> None:
    data = b"\x89PNG\r\n\x1a\n" + bytes(100)
    (tmp_path / "tea.png").write_bytes(data)
    (tmp_path / "large.png").write_bytes(data + bytes(5_000))
    assert phantom(home, "groups", "create", "-p", "alice", "Tea", "bob").returncode == 0
    given = phantom(home, "groups", "picture", "-p", "alice", "Tea", str(tmp_path / "tea.png"))
    assert (given.returncode, given.stdout, given.stderr) == (0, "changed\n", "")
    assert phantom(home, "groups", "accept", "-p", "bob", "Tea").returncode == 0
    (row,) = rows(phantom(home, "groups", "list", "-p", "bob", "--json").stdout)
    assert row["picture"] == "image/png"
    saved = phantom(home, "groups", "picture", "-p", "bob", "Tea", "--save", str(tmp_path / "saved"))
    assert (saved.returncode, saved.stdout, (tmp_path / "saved").read_bytes()) == (0, "saved: image/png\n", data)
    again = phantom(home, "groups", "picture", "-p", "bob", "Tea", "--save", str(tmp_path / "saved"))
    assert (again.returncode, again.stderr) == (1, f"phantom: {tmp_path / 'saved'}: File exists\n")
    large = phantom(home, "groups", "picture", "-p", "alice", "Tea", str(tmp_path / "large.png"))
    assert (large.returncode, large.stdout) == (2, "")
    assert large.stderr.startswith(
        "phantom: this picture is larger than the 4,096 bytes that a group's picture may have"
    )
    (tmp_path / "tea.gif").write_bytes(b"GIF89a" + bytes(100))
    other = phantom(home, "groups", "picture", "-p", "alice", "Tea", str(tmp_path / "tea.gif"))
    assert other.stderr == "phantom: a picture of a group is a PNG, JPEG or WebP of at most 4,096 bytes\n", "control"
    none = phantom(home, "groups", "picture", "-p", "alice", "Tea", "none")
    assert none.stdout == "the group has none now\n"
    assert phantom(home, "groups", "picture", "-p", "alice", "Tea", "--save", str(tmp_path / "no")).returncode == 2


def test_whoever_may_not_close_a_group_is_refused_before_anything_is_asked(tea: Path) -> None:
    refused = phantom(tea, "groups", "close", "-p", "bob", "Tea")
    assert (refused.returncode, refused.stderr) == (2, "phantom: only admins can do that; ask one of them\n")
    asked = phantom(tea, "groups", "close", "-p", "alice", "Tea", stdin="n\n")
    assert asked.stderr.startswith("Close Tea for everybody? [y/N]: "), "control"
    assert phantom(tea, "groups", "role", "-p", "alice", "Tea", "bob", "admin").returncode == 0
    new = phantom(tea, "groups", "close", "-p", "bob", "Tea", stdin="n\n")
    assert new.returncode == 1
    assert new.stderr.endswith("Close Tea for everybody? [y/N]: phantom: nothing was done\n")
    assert phantom(tea, "groups", "close", "-p", "bob", "Tea", stdin="y\n").stdout == "closed\n"
    over = phantom(tea, "groups", "close", "-p", "bob", "Tea")
    assert (over.returncode, over.stderr) == (2, "phantom: 'Tea' is closed\n")


def test_change_that_is_refused_is_not_said_to_be_made(tea: Path) -> None:
    own = phantom(tea, "id", "-p", "alice").stdout.strip()
    done = phantom(tea, "groups", "role", "-p", "alice", "Tea", own, "member")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("phantom: 'Tea' could not be changed: "), done.stderr
    assert done.stderr.endswith("; whoever is the last one makes another first\n")


def test_change_without_a_relay_waits_and_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(group_commands, "PATIENCE", 0.1)
    meet_offline(tmp_path)
    with closing(opened(tmp_path, "alice", NOWHERE)) as alice, click.Context(group_commands.create) as context:
        context.params["profile"] = "alice"
        group_commands.changed(alice, lambda: alice.groups.create("Tea", ["bob"]), "made the group Tea")
    assert capsys.readouterr().out == (
        "made the group Tea; the relay will be told the next time you connect,"
        " for example with: phantom listen -p alice\n"
    )


def test_texts_expire_and_stay_again(home: Path) -> None:
    assert phantom(home, "groups", "create", "-p", "alice", "Tea").returncode == 0
    for time, said, shown in (("1h", "expire after 1 hour", ", messages expire after 1 hour"), ("0", "stay", "")):
        done = phantom(home, "groups", "timer", "-p", "alice", "Tea", time)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"messages that are written from now on {said}\n", "")
        assert phantom(home, "groups", "-p", "alice").stdout == f"Tea: 1 member, you are an admin{shown}\n"
    wrong = phantom(home, "groups", "timer", "-p", "alice", "Tea", "soon")
    assert (wrong.returncode, "is not a time" in wrong.stderr) == (2, True)


def test_text_that_nobody_would_be_shown_is_refused(tea: Path) -> None:
    assert phantom(tea, "send", "-p", "bob", "Tea", "one").returncode == 0, "control: members may write"
    assert phantom(tea, "groups", "rights", "-p", "alice", "Tea", "--write", "admin").stdout == "changed\n"
    refused = phantom(tea, "send", "-p", "bob", "Tea", "two")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[-1] == "phantom: only admins write to this group"
    assert "two" not in phantom(tea, "history", "-p", "bob", "Tea").stdout


@pytest.mark.parametrize(
    ("who", "fetches", "said"), [("Tea", 1, "nobody else is in this group yet"), ("bob", 0, "it is saved")]
)
def test_only_a_text_to_a_group_waits_for_what_others_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str, fetches: int, said: str
) -> None:
    meet_offline(tmp_path)
    fetched: list[float] = []

    async def fetch(_: Client, seconds: float) -> bool:
        fetched.append(seconds)
        return False

    monkeypatch.setattr(Client, "fetch", fetch)
    alice = opened(tmp_path, "alice", NOWHERE)
    alice.groups.create("Tea", [])
    options = {"burn": False, "expires": None, "timeout": 0.5, "as_json": False, "later": "it is saved"}
    with closing(alice), click.Context(click.Command("send")), pytest.raises(PhantomError, match=said):
        run(send._send(alice, who, "hi", wait=DeliveryState.ACCEPTED, **options))  # type: ignore[arg-type] # as named
    assert len(fetched) == fetches
    assert all(seconds <= 0.25 for seconds in fetched)


@pytest.mark.parametrize("command", ["send -p bob alice hi", "contacts unblock -p bob alice"])
def test_news_of_a_group_are_told_by_the_command_that_fetches_them(tea: Path, command: str) -> None:
    assert phantom(tea, "groups", "rename", "-p", "alice", "Tea", "Coffee").returncode == 0
    done = phantom(tea, *command.split())
    assert (done.returncode, done.stderr) == (0, "phantom: 'Tea': alice has renamed the group to 'Coffee'\n")
    assert phantom(tea, *command.split()).stderr == "", "control: once"


def test_rights_are_shown_and_said(home: Path) -> None:
    assert phantom(home, "groups", "create", "-p", "alice", "Tea").returncode == 0
    assert phantom(home, "groups", "rights", "-p", "alice", "Tea").stdout == "members write, admins invite\n"
    assert phantom(home, "groups", "rights", "-p", "alice", "Tea", "--write", "admin").stdout == "changed\n"
    assert phantom(home, "groups", "rights", "-p", "alice", "Tea").stdout == "admins write, admins invite\n"


def test_change_that_would_change_nothing_is_refused(tea: Path, tmp_path: Path) -> None:
    with closing(opened(tmp_path, "carol", NOWHERE)) as carol:
        stranger = written_id(carol.user_id)
    for arguments, said in (
        (("invite", "-p", "alice", "Tea", "bob"), "bob is already a member of Tea"),
        (("remove", "-p", "alice", "Tea", stranger), f"{stranger} is not a member of Tea"),
    ):
        done = phantom(tea, "groups", *arguments)
        known = "as far as is known here; what is new is fetched by: phantom listen -p alice"
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"phantom: {said}, {known}\n")
    assert phantom(tea, "groups", "remove", "-p", "alice", "Tea", "bob").stdout == "removed\n"  # as a control


def test_leaving_asks_only_what_can_be_done_and_says_what_was_done(tea: Path) -> None:
    for arguments, said in (
        (
            ("leave", "-p", "alice", "Tea"),
            "you are the last admin of Tea; make somebody else one with 'phantom groups role -p alice Tea WHO admin',"
            " or close it",
        ),
        (("close", "-p", "bob", "Tea", "--yes"), "only admins can do that; ask one of them"),
    ):
        refused = phantom(tea, "groups", *arguments)
        assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", f"phantom: {said}\n")
    assert phantom(tea, "groups", "leave", "-p", "bob", "Tea", stdin="n\n").stderr.startswith("Leave Tea? [y/N]: ")
    assert phantom(tea, "groups", "leave", "-p", "bob", "Tea", "--yes").stdout == "left Tea\n"
    assert phantom(tea, "groups", "-p", "bob").stdout == "Tea: you have left\n"
    digits = phantom(tea, "groups", "members", "-p", "bob", "Tea").stdout.splitlines()[-1]
    assert digits.endswith(" changes; this is how you last saw it, for you are not in it any more)")
    again = phantom(tea, "groups", "leave", "-p", "bob", "Tea")
    assert (again.returncode, again.stderr) == (
        *(2, "phantom: you are not in Tea any more; to take it off the list, add --forget\n"),
    )
    assert phantom(tea, "groups", "leave", "-p", "bob", "Tea", "--forget", "--yes").stdout == (
        "erased what was said in Tea\n"
    )
    assert phantom(tea, "groups", "-p", "bob").stdout == ""


def test_what_others_have_changed_is_known_before_a_change_is_made(tea: Path) -> None:
    assert phantom(tea, "groups", "role", "-p", "alice", "Tea", "bob", "admin").stdout == "bob is now an admin\n"
    renamed = phantom(tea, "groups", "rename", "-p", "bob", "Tea", "Coffee")
    assert (renamed.returncode, renamed.stdout, renamed.stderr) == (0, "renamed\n", "")
    assert phantom(tea, "groups", "leave", "-p", "alice", "Tea", "--yes").stdout == "left Tea\n"
    last = phantom(tea, "groups", "leave", "-p", "bob", "Coffee", "--yes")
    assert (last.returncode, last.stdout) == (0, "left Coffee\n"), "alice has left, so nobody else is there"


def test_admin_who_leaves_after_the_other_one_is_the_last(tea: Path) -> None:
    async def main() -> None:
        async with opened(tea, "alice") as alice, opened(tea, "carol", alice.server) as carol:
            alice.contacts.add("carol", carol.user_id)
            carol.contacts.add("alice", alice.user_id)
            alice.groups.set_role("Tea", "bob", "admin")
            alice.groups.invite("Tea", ["carol"])
            assert await carol.groups.wait_known("Tea", PATIENCE)
            carol.groups.accept("Tea")
            assert await carol.flush(PATIENCE) == 0

    run(main())
    assert phantom(tea, "groups", "leave", "-p", "alice", "Tea", "--yes").stdout == "left Tea\n"
    last = phantom(tea, "groups", "leave", "-p", "bob", "Tea", "--yes")
    assert (last.returncode, last.stdout) == (2, ""), last.stderr
    role = "make somebody else one with 'phantom groups role -p bob Tea WHO admin', or close it"
    assert f"phantom: you are the last admin of Tea; {role}\n" in last.stderr, "as if nothing had to be fetched"


def test_muted_group_stays_unread_until_it_is_looked_at(tea: Path) -> None:
    muted = phantom(tea, "groups", "mute", "-p", "bob", "Tea")
    assert muted.stdout == "muted Tea; to read it, run: phantom chat -p bob Tea\n"
    assert phantom(tea, "send", "-p", "alice", "Tea", "in the group").returncode == 0
    assert phantom(tea, "send", "-p", "alice", "bob", "to you").returncode == 0
    heard = phantom(tea, "listen", "-p", "bob", "--json", "--count", "1")
    assert [row["text"] for row in rows(heard.stdout)] == ["to you"]
    assert phantom(tea, "groups", "-p", "bob").stdout == "Tea: 2 members, 1 unread, muted\n"
    assert phantom(tea, "groups", "unmute", "-p", "bob", "Tea").stdout == "Tea is not muted any more\n"
    heard = phantom(tea, "listen", "-p", "bob", "--json", "--count", "1")
    assert [row["text"] for row in rows(heard.stdout)] == ["in the group"]


def test_group_that_is_called_like_a_user_gets_no_text_that_is_for_them(tmp_path: Path) -> None:
    alice, bob = (opened(tmp_path, name, NOWHERE) for name in ("alice", "bob"))
    with closing(alice), closing(bob):
        for name in (bob.user_id, written_id(bob.user_id), "carol"):
            alice.groups.create(name, [])
            assert alice.groups.has(name)  # by name alone, the group would be meant
        alice.contacts.add("carol", bob.user_id)
        assert [is_group(alice, name) for name in (bob.user_id, written_id(bob.user_id), "carol", "carol ")] == [
            False
        ] * 4
        tea = alice.groups.create("Tea", [])
        assert is_group(alice, "Tea")
        assert is_group(alice, tea.group)


def test_fork_is_told_with_what_a_user_can_do(tea: Path) -> None:

    async def lie() -> None:
        async with opened(tea, "bob") as bob:
            group = base64.b64decode(bob.groups.find("Tea").group)
            said = GroupText(group=group, revision=2, head=bytes(32), n=1, body="I know others")
            to = bob.contacts.find("alice").user_id
            core = bob._messenger.groups
            core._speaking.say(group, [to], said, bob._messenger._now())
            await bob.wait_online(PATIENCE)
            assert not await bob.flush(PATIENCE)

    run(lie())
    heard = phantom(tea, "listen", "-p", "alice", "--json", "--count", "1")
    assert "phantom: bob knows another history of 'Tea' than you: its members may not be who you think" in heard.stderr
    refused = phantom(tea, "send", "-p", "alice", "Tea", "x")
    assert (refused.returncode, "two histories" in refused.stderr) == (2, True)
    shown = phantom(tea, "groups", "members", "-p", "alice", "Tea").stdout.splitlines()
    assert shown[-2] == f"digits: {digits_of(bytes(32))}  (those of bob)"
    assert shown[-1].startswith("bob knows another history of this group, so nothing is sent to it. Ask the members")
    assert shown[-1].endswith("run: phantom groups go-on -p alice Tea")
    row = rows(phantom(tea, "groups", "members", "-p", "alice", "--json", "Tea").stdout)[-1]
    assert row["rivalDigits"] == digits_of(bytes(32)) != row["digits"]
    assert phantom(tea, "groups", "go-on", "-p", "alice", "Tea").returncode == 0
    assert phantom(tea, "send", "-p", "alice", "Tea", "x").returncode == 0


def test_members_who_do_not_know_each_other_see_what_they_call_themselves(
    tmp_path: Path, start_relay: StartRelay
) -> None:
    relay, ids = start_relay("--limits", "off"), {}
    for name in ("alice", "bob", "carol"):
        assert phantom(tmp_path, "init", "-p", name, "--server", relay.url).returncode == 0
        ids[name] = phantom(tmp_path, "id", "-p", name).stdout.split()[0]
    for name in ("bob", "carol"):
        assert phantom(tmp_path, "contacts", "add", "-p", "alice", name, ids[name]).returncode == 0
        assert phantom(tmp_path, "contacts", "add", "-p", name, "alice", ids["alice"]).returncode == 0
    made = phantom(tmp_path, "groups", "create", "-p", "alice", "--as", "Alice A.", "Tea", "bob", "carol")
    assert made.returncode == 0, made.stderr
    for name, said in (("bob", "Bobby"), ("carol", "alice")):
        assert phantom(tmp_path, "groups", "accept", "-p", name, "--as", said, "Tea").returncode == 0
    assert phantom(tmp_path, "send", "-p", "carol", "Tea", "hello").returncode == 0
    (row,) = rows(phantom(tmp_path, "listen", "-p", "bob", "--json", "--count", "1").stdout)
    assert (row["name"], row["says"], row["text"]) == ("", "alice", "hello")
    shown = phantom(tmp_path, "groups", "members", "-p", "bob", "Tea").stdout.splitlines()
    assert set(shown[:3]) == {
        f"alice (admin)  {ids['alice']}",
        f"you, called Bobby  {ids['bob']}",
        f"~alice ({ids['carol'][:11]}…)  {ids['carol']}",
    }
    listed = phantom(tmp_path, "contacts", "-p", "bob").stdout
    assert (ids["alice"] in listed, ids["carol"] in listed) == (True, False), "she is a member, and no contact"
    assert phantom(tmp_path, "send", "-p", "bob", ids["carol"], "hello").returncode == 0
    assert ids["carol"] in phantom(tmp_path, "contacts", "-p", "bob").stdout, "control: somebody written to"
    assert f" ~alice ({ids['carol'][:11]}…): hello" in phantom(tmp_path, "history", "-p", "bob", "Tea").stdout
    assert phantom(tmp_path, "groups", "me", "-p", "bob", "Tea").stdout == "Bobby\n"
    renamed = phantom(tmp_path, "groups", "me", "-p", "bob", "Tea", "Robert")
    assert (renamed.returncode, renamed.stdout) == (0, "they are told that you are Robert\n")
    assert phantom(tmp_path, "groups", "me", "-p", "bob", "Tea", "--none").stdout == "they are no longer told a name\n"
    assert phantom(tmp_path, "groups", "me", "-p", "bob", "Tea").stdout == "no name\n"
    refused = phantom(tmp_path, "groups", "me", "-p", "bob", "Tea", "(x)")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)


def test_member_whose_account_is_gone_is_removed(tea: Path) -> None:
    assert phantom(tea, "destroy", "-p", "bob", "--yes").returncode == 0

    async def write() -> None:
        async with opened(tea, "alice") as alice:
            sending = asyncio.ensure_future(alice.groups.send("Tea", "are you there?"))
            await event(alice, WarningEvent, lambda: None, code="unknown-user")
            await sending

    run(write())
    removed = phantom(tea, "groups", "remove", "-p", "alice", "Tea", "bob")
    assert (removed.returncode, removed.stdout) == (0, "removed\n"), removed.stderr
    renamed = phantom(tea, "groups", "rename", "-p", "alice", "Tea", "Coffee")
    assert (renamed.returncode, renamed.stdout, renamed.stderr) == (0, "renamed\n", "")
    assert phantom(tea, "groups", "list", "-p", "alice").stdout == "Coffee: 1 member, you are an admin\n"


def test_what_cannot_be_done_is_said_in_one_line(home: Path) -> None:
    assert phantom(home, "groups", "create", "-p", "alice", "Tea", "bob").returncode == 0
    for arguments, said in (
        (("groups", "rename", "-p", "bob", "None", "x"), "phantom: there is no group 'None'"),
        (
            ("groups", "remove", "-p", "alice", "Tea", phantom(home, "id", "-p", "alice").stdout.strip()),
            "phantom: this is your own ID; to leave a group, use 'phantom groups leave -p alice GROUP'\n",
        ),
        (("groups", "invite", "-p", "alice", "Tea"), "phantom groups invite: name whom to invite"),
        (("groups", "join", "-p", "bob", "nonsense"), "phantom: this is not an invitation to a group"),
        (
            ("send", "-p", "alice", "--burn", "Tea", "x"),
            "phantom: not sent: a message to a group neither burns nor expires by itself; all of them do with: "
            "phantom groups timer -p alice Tea TIME\n",
        ),
    ):
        done = phantom(home, *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith(said), done.stderr
        assert len(done.stderr.splitlines()) == 1
