"""What commands suggest can be copied: it names the profile, and means what it is said of."""

import re
import shlex
import subprocess
from contextlib import closing
from pathlib import Path

import click
import pytest
from e2e_people import NOWHERE, meet_offline

from phantom_messenger.cli.common import sentence, shell_word
from phantom_messenger.cli.group_lines import called, group_summary
from phantom_messenger.client.client import Client
from support.command_line import phantom
from support.sdk_clients import opened


def said(text: str, profile: str) -> str:
    with click.Context(click.Command("x"), info_name="x") as context:
        context.params["profile"] = profile
        return sentence(text)


@pytest.mark.parametrize(
    ("suggested", "expected"),
    [
        ("run 'phantom listen'", "run 'phantom listen -p bob'"),
        ("'phantom groups' lists yours", "'phantom groups -p bob' lists yours"),
        ("'phantom groups accept'", "'phantom groups accept -p bob'"),
        ("'phantom contacts' and 'phantom groups'", "'phantom contacts -p bob' and 'phantom groups -p bob'"),
        ("'phantom devices' lists them", "'phantom devices -p bob' lists them"),
        ("phantom groups accept -p bob Tea", "phantom groups accept -p bob Tea"),
        ("phantom groups create -p bob NAME", "phantom groups create -p bob NAME"),
        ("ask them for the output of 'phantom id'", "ask them for the output of 'phantom id'"),
    ],
)
def test_suggested_commands_name_the_profile(suggested: str, expected: str) -> None:
    assert said(suggested, "bob") == expected
    assert said(suggested, "default") == suggested


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Tea", "Tea"),
        ("Ben's party", '"Ben\'s party"'),
        ("two words", "'two words'"),
        ("it's $HOME", "'it'\"'\"'s $HOME'"),
        ("it's `id`", "'it'\"'\"'s `id`'"),
        ("it's \\", "'it'\"'\"'s \\'"),
    ],
)
def test_names_are_quoted_as_people_do_and_mean_themselves(name: str, expected: str) -> None:
    assert shell_word(name) == expected
    shown = subprocess.run(
        ["/bin/sh", "-c", f"printf %s {shell_word(name)}"], capture_output=True, text=True, check=True
    )
    assert (shown.stdout, shlex.split(shell_word(name))) == (name, [name])


@pytest.fixture
def alice(tmp_path: Path) -> Client:
    meet_offline(tmp_path)
    return opened(tmp_path, "alice", NOWHERE)


def test_groups_of_one_name_show_what_tells_them_apart(alice: Client) -> None:
    with closing(alice):
        one, other = (alice.groups.create("Tea", []) for _ in range(2))
        alone = alice.groups.create("Choir", [])
        names = [called(alice, info) for info in (one, other, alone)]
        assert names == [one.group[:8], other.group[:8], "Choir"]
        assert group_summary(one, names[0]) == f"Tea ({one.group[:8]}): 1 member, you are an admin"
        assert [alice.groups.find(name).group for name in names] == [one.group, other.group, alone.group]


@pytest.mark.parametrize("name", ["bob", "--forget", ""])
def test_group_whose_name_does_not_mean_it_shows_its_id(alice: Client, name: str) -> None:
    with closing(alice):
        info = alice.groups.create(name or "x", [])
        if not name:
            info = alice.groups.create("x", [])
        assert called(alice, info) == info.group[:8]
        assert alice.groups.find(called(alice, info)) == info


def test_name_like_that_of_another_is_refused_until_it_is_wanted(tmp_path: Path) -> None:
    meet_offline(tmp_path)
    with closing(opened(tmp_path, "alice", NOWHERE)) as client:
        client.groups.create("Tea", [])
        carol = opened(tmp_path, "carol", NOWHERE)
        with closing(carol):
            theirs = carol.user_id
    for arguments, whose in (
        (("groups", "create", "-p", "alice", "tea"), "'tea' looks like your group 'Tea'"),
        (("groups", "create", "-p", "alice", "bob"), "'bob' is the name of a contact of yours"),
        (("contacts", "add", "-p", "alice", "Tea", theirs), "'Tea' is the name of a group of yours"),
        (("groups", "create", "-p", "alice", "Tea"), "'Tea' is the name of a group of yours"),
        (("contacts", "add", "-p", "alice", "Bob", theirs), "'Bob' looks like your contact 'bob'"),
    ):
        refused = phantom(tmp_path, *arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == f"phantom: {whose}; choose another name, or use --yes to keep both\n"
    assert phantom(tmp_path, "contacts", "add", "-p", "alice", "Tea", theirs, "--yes").returncode == 0
    again = phantom(tmp_path, "contacts", "add", "-p", "alice", "Tea", theirs)
    assert (again.returncode, again.stderr) == (0, "")  # it has this name already
    listed = phantom(tmp_path, "groups", "-p", "alice")
    assert re.fullmatch(r"Tea \(.{8}\): 1 member, you are an admin\n", listed.stdout)
