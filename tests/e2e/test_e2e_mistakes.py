"""Mistakes that new users make, and what they are told to do."""

import re
import shlex
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from e2e_people import meet, meet_offline
from e2e_terminal import Terminal

from support.command_line import Running, phantom
from support.relay_process import RelayProcess
from support.sdk_clients import opened
from support.waiting import eventually


@pytest.fixture
def friends(tmp_path: Path) -> Path:
    meet_offline(tmp_path)
    return tmp_path


def said(home: Path, *arguments: str, code: int, stdin: str | None = None) -> str:
    """The last line of what a command that fails says."""
    done = phantom(home, *arguments, stdin=stdin)
    assert done.returncode == code, done.stderr
    return done.stderr.splitlines()[-1]


# --- passphrases ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This process")  # a thread of a test before may live on; the child only execs
def test_new_passphrase_is_asked_for_until_it_will_do_and_was_typed_twice(friends: Path) -> None:
    asked = Terminal(friends, "export", str(friends / "file"), "-p", "alice")
    question, again = "New passphrase for the file (at least 8 characters):", "Type it again:"
    typed = [(question, "short"), (question, "correct horse"), (again, "correct house"), (question, "correct horse")]
    for number, (prompt, words) in enumerate([*typed, (again, "correct horse")]):
        asked.wait_for(re.compile(rf"(?s)\A(?:.*:){{{number}}}.*{re.escape(prompt)}\Z"))
        asked._write(f"{words}\n")
    asked.wait_for("exported")
    assert "phantom: a new passphrase needs at least 8 characters; use several unrelated words" in asked.shown
    assert "phantom: the two passphrases differ; type it twice again" in asked.shown
    assert asked.ended() == 0
    words_of_file = {"PHANTOM_EXPORT_PASSPHRASE": "correct horse"}
    assert phantom(friends, "import", str(friends / "file"), "-p", "again", more=words_of_file).returncode == 0


def test_wrong_passphrase_is_said_of_the_profile_and_not_of_its_file(friends: Path) -> None:
    wrong = phantom(friends, "id", "-p", "alice", more={"PHANTOM_PASSPHRASE": "others"})
    assert (wrong.returncode, wrong.stderr) == (
        1,
        "phantom: the passphrase in PHANTOM_PASSPHRASE does not open the profile 'alice'; try again\n",
    )


# --- questions that nobody answers ---------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "options"),
    [("contacts remove -p alice bob", "--yes"), ("destroy -p alice", "--yes")],
)
def test_who_cannot_be_asked_is_told_how_to_answer(friends: Path, command: str, options: str) -> None:
    last = said(friends, *command.split(), code=1, stdin="")
    assert last == f"phantom: nothing was done: there is nobody to answer; answer with {options}"


@pytest.mark.filterwarnings("ignore:This process")
def test_control_who_could_answer_is_not_told(friends: Path) -> None:
    asked = Terminal(friends, "contacts", "remove", "-p", "alice", "bob")
    asked.wait_for("[y/N]:")
    asked._write("\x04")
    asked.wait_for("phantom: nothing was done")
    assert "there is nobody" not in asked.shown
    assert asked.ended() == 1


# --- names and ids -------------------------------------------------------------------------


def test_name_of_another_contact_is_refused_with_a_command_that_there_is(tmp_path: Path, relay: RelayProcess) -> None:
    meet(tmp_path, relay)
    assert phantom(tmp_path, "init", "-p", "carol", "--server", relay.url).returncode == 0
    alice, carol = (phantom(tmp_path, "id", "-p", name).stdout.strip() for name in ("alice", "carol"))
    assert phantom(tmp_path, "send", "-p", "carol", alice, "Bob here").returncode == 0
    heard = Running(tmp_path, "listen", "-p", "alice")
    assert eventually(lambda: "message request" in "".join(heard.errors))
    assert heard.stop() == 0
    refused = said(tmp_path, "requests", "accept", "-p", "alice", carol[:11], "bob", code=2)
    command = f"phantom contacts add -p alice bob {carol} --replace"
    assert refused == (
        "phantom: 'bob' is another contact already; choose another name, or, if bob has a new ID, run: " + command
    )
    assert phantom(tmp_path, *command.split()[1:]).returncode == 0
    assert phantom(tmp_path, "requests", "-p", "alice").stdout == ""


def test_id_before_the_name_is_told_the_order(friends: Path) -> None:
    bob = phantom(friends, "id", "-p", "bob").stdout.strip()
    refused = said(friends, "contacts", "add", "-p", "alice", bob, "old bob", code=2)
    command = f"phantom contacts add -p alice 'old bob' {bob}"
    assert refused == f"phantom: the name comes first, then the ID: {command}"
    assert "renamed bob to old bob" in phantom(friends, *shlex.split(command)[1:]).stdout
    twice = said(friends, "contacts", "add", "-p", "alice", bob, bob, code=2)
    assert "a name needs" in twice, "control: there is no name to put first"


def test_blocking_somebody_unknown_asks_for_an_id(friends: Path) -> None:
    refused = said(friends, "contacts", "block", "-p", "alice", "carol", code=2)
    assert refused == "phantom: there is no contact 'carol'; to block somebody else, give their ID"


@pytest.mark.parametrize("command", ["remove", "unblock", "accept", "verify"])
def test_mistyped_name_of_a_contact_is_told_the_nearest_and_not_to_add_one(friends: Path, command: str) -> None:
    near = said(friends, "contacts", command, "-p", "alice", "Bobb", code=2)
    known = "'phantom contacts -p alice' lists yours"
    assert near == f"phantom: there is no contact 'Bobb'; did you mean 'bob'? {known}"
    far = said(friends, "contacts", command, "-p", "alice", "carol", code=2)
    assert far == f"phantom: there is no contact 'carol'; {known}", "control"


def test_removing_an_id_that_is_no_contact_is_refused_before_it_is_asked(friends: Path) -> None:
    own = phantom(friends, "id", "-p", "alice").stdout.strip()  # as good as any other that is not in the list
    refused = said(friends, "contacts", "remove", "-p", "alice", own, code=2)
    assert refused == "phantom: nobody of this ID is in your contacts; 'phantom contacts -p alice' lists yours"
    bob = phantom(friends, "id", "-p", "bob").stdout.strip()
    assert "--yes" in said(friends, "contacts", "remove", "-p", "alice", bob, code=1, stdin=""), "control: it is asked"


def test_file_is_not_asked_about_if_the_profile_made_of_it_is_refused(friends: Path) -> None:
    words = {"PHANTOM_EXPORT_PASSPHRASE": "correct horse"}
    assert phantom(friends, "export", str(friends / "file"), "-p", "alice", more=words).returncode == 0
    command = ("import", str(friends / "file"), "-p", "again")
    short = phantom(friends, *command, more={"PHANTOM_PASSPHRASE": "short"})
    assert (short.returncode, "needs at least 8 characters" in short.stderr) == (2, True)
    nowhere = said(friends, *command, "--server", "nowhere", code=2)
    assert "ws://" in nowhere
    asks = said(friends, *command, code=1)
    assert asks.startswith("phantom: the file needs a passphrase"), "control"


def test_option_that_there_is_not_is_said_in_whole_sentences(friends: Path) -> None:
    refused = said(friends, "contacts", "verify", "-p", "alice", "bob", "--json", code=2)
    assert refused == (
        "phantom contacts verify: No such option '--json'. Did you mean '--no'? See 'phantom contacts verify --help'"
    )
    refused = said(friends, "id", "-p", "alice", "--what", code=2)
    assert refused.endswith("; see 'phantom id --help'"), "control"


def test_request_to_join_that_cannot_be_sent_yet_says_why(friends: Path) -> None:
    with closing(opened(friends, "alice")) as alice:
        alice.groups.create("Tea")
        link = alice.groups.link("Tea")
    address = f"http://relay.example/#g={quote(link, safe='')}"
    for given in (address, link):
        asked = phantom(friends, "groups", "join", "-p", "bob", given)
        assert (asked.returncode, asked.stderr) == (0, "")
    of_a_group = said(friends, "contacts", "add", "-p", "bob", "tea", address, code=2)
    assert of_a_group.startswith("phantom: this is a link to a group; to join it, run 'phantom groups join -p bob'")
    damaged = said(friends, "groups", "join", "-p", "bob", address[:-9], code=2)
    assert damaged == "phantom: this is not an invitation to a group; ask for the whole link, 'phantom:join?...'", (
        "control"
    )
    assert "the connection was refused; check that the relay is running and the port is right; the request" in (
        asked.stdout
    )


# --- what a shell has cut ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("devices link -p alice phantom:link?v=1", "the code"),
        ("groups join -p alice phantom:join?v=1", "the link"),
    ],
)
def test_what_was_not_in_quotes_is_to_be_put_in_quotes(friends: Path, command: str, what: str) -> None:
    assert (
        said(friends, *command.split(), code=2)
        == f"phantom: the shell has cut off {what} at its first '&'; put it in quotes"
    )
    whole = said(friends, *command.split()[:-1], f"{command.rsplit(maxsplit=1)[-1]}&x=y", code=2)
    assert "quotes" not in whole, "control"


def test_link_to_a_group_is_no_contact(friends: Path) -> None:
    refused = said(friends, "contacts", "add", "-p", "alice", "x", "phantom:join?v=1&relay=y", code=2)
    assert refused == (
        "phantom: this is a link to a group; to join it, run 'phantom groups join -p alice' with it, in quotes"
    )
