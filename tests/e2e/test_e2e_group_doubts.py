"""What the command line says of a group that a later version has changed."""

from pathlib import Path

import msgspec
from e2e_people import meet

from phantom_messenger import labels
from phantom_messenger.client.groups.chain import Chain
from phantom_messenger.client.groups.change import VERSION
from phantom_messenger.client.groups.contents import GroupChange
from phantom_messenger.client.status import GroupEvent, GroupNews
from phantom_messenger.crypto.keys import OwnIdentity
from support.command_line import phantom
from support.relay_process import StartRelay
from support.sdk_clients import PATIENCE, event, opened, run


def later_change(author: OwnIdentity, chain: Chain) -> bytes:
    """A change of a later version, which follows what is known."""
    fields = {"group": chain.state.group, "revision": chain.state.revision + 1, "previous": chain.head, "at": 1}
    known = {"version": VERSION + 1, "author": author.peer.user_id, "authorKey": author.peer.public}
    signed = msgspec.msgpack.encode(known | fields)
    return signed + author.sign(labels.GROUP_CHANGE + signed)


async def change_as_bob(home: Path) -> None:
    """Bob, an admin of Alice's group, writes to it, and has changed it with a later version."""
    async with opened(home, "bob") as bob:
        async with opened(home, "alice") as alice:
            alice.groups.create("Tea", ["bob"])
            assert await bob.groups.wait_known("Tea", PATIENCE)
            await event(alice, GroupEvent, lambda: bob.groups.accept("Tea"), news=GroupNews.JOINED)
            await event(bob, GroupEvent, lambda: alice.groups.set_role("Tea", "bob", "admin"), news=GroupNews.CHANGED)
            assert not await alice.flush(PATIENCE)
        core = bob._messenger
        group = core._stores.groups.get(bob.groups.find("Tea").group)
        assert group is not None
        said = GroupChange(group=group.record.group, change=later_change(core._identity, group.chain))
        core.groups._speaking.say(said.group, [bob.contacts.find("alice").user_id], said, core._now())
        await bob.groups.send("Tea", "from a later version")
        assert not await bob.flush(PATIENCE)


def test_change_of_a_later_version_is_told_with_what_a_user_can_do(tmp_path: Path, start_relay: StartRelay) -> None:
    home = tmp_path / "home"
    meet(home, start_relay("--limits", "off"))
    run(change_as_bob(home))
    heard = phantom(home, "listen", "-p", "alice", "--json", "--count", "1")
    assert (
        "phantom: bob has changed 'Tea' with a newer version of this program, so nothing is sent to it" in heard.stderr
    )
    refused = phantom(home, "send", "-p", "alice", "Tea", "x")
    assert (refused.returncode, "or run 'phantom groups go-on -p alice'" in refused.stderr) == (2, True)
    shown = phantom(home, "groups", "members", "-p", "alice", "Tea").stdout.splitlines()
    assert shown[-1].startswith("bob has changed this group with a newer version of this program")
    assert "run: phantom groups go-on -p alice Tea (" in shown[-1]
    assert phantom(home, "groups", "go-on", "-p", "alice", "Tea").returncode == 0
    assert phantom(home, "send", "-p", "alice", "Tea", "x").returncode == 0
