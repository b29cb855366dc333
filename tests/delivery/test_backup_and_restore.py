"""What docs/operating.md and docs/cli.md say of backups, done as they say it."""

import asyncio
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from phantom_messenger import Client
from support.command_line import phantom
from support.relay_process import RelayProcess, serve
from support.sdk_clients import PATIENCE, friends, opened, run

DOCS = Path(__file__).parents[2] / "docs"
STOPPED, RUNNING, RESTORED = re.findall(
    r"```sh\n(.+?)```", (DOCS / "operating.md").read_text().partition("## Backup and restore")[2], re.DOTALL
)[:3]
[PROFILE] = re.findall(
    r"```sh\n(rm .+?)```", (DOCS / "cli.md").read_text().partition("## A new machine, or a backup")[2], re.DOTALL
)
LOG_OF_ANOTHER = "is the log of another state of"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    process = RelayProcess(tmp_path, "--limits", "off")
    yield process
    process.kill()


def do(commands: str, folder: Path) -> None:
    """Run commands of a document in a folder with the data folder ``data``."""
    subprocess.run(["sh", "-e", "-c", commands.replace("DATA", "data")], cwd=folder, check=True, timeout=100)


async def write(home: Path, relay: RelayProcess, *texts: str) -> None:
    """Bob writes to Alice, who is away."""
    async with opened(home, "bob", relay) as bob:
        for text in texts:
            await bob.send("alice", text)
        assert not await bob.flush(PATIENCE)


async def read(home: Path, relay: RelayProcess, count: int) -> list[str]:
    async with opened(home, "alice", relay) as alice, asyncio.timeout(PATIENCE):
        found: list[str] = []
        async for message in alice.messages():
            found.append(message.text)
            if len(found) == count:
                break
        await asyncio.sleep(0.5)
        extra = alice._messenger.next_received(0)
        assert extra is None or extra[1].text == found[-1]
        return found


async def meet(home: Path, relay: RelayProcess) -> None:
    async with friends(home, relay):
        """They know each other."""


@pytest.mark.parametrize("way", ["stopped", "running"])
def test_relay_is_restored_as_the_document_says(tmp_path: Path, relay: RelayProcess, way: str) -> None:
    if way == "running" and shutil.which("sqlite3") is None:
        pytest.skip("the sqlite3 program is not here")
    home = tmp_path / "home"
    run(meet(home, relay))
    run(write(home, relay, "before"))
    if way == "stopped":
        relay.stop()
        do(STOPPED, tmp_path)
        relay.restart()
    else:
        do(RUNNING, tmp_path)
    assert stat.S_IMODE((tmp_path / "BACKUP").stat().st_mode) == 0o600
    run(write(home, relay, "later 1", "later 2"))
    relay.kill()
    backup = (tmp_path / "BACKUP").read_bytes()

    # Put back alone, beside the log of the killed relay.
    whole = shutil.copytree(relay.data, tmp_path / "whole")
    shutil.copy(tmp_path / "BACKUP", relay.data / "relay.db")
    done = serve("--data", str(relay.data), "--port", "0")
    assert done.returncode == 1
    assert LOG_OF_ANOTHER in done.stderr
    assert "; move that log away and start again" in done.stderr
    assert (relay.data / "relay.db").read_bytes() == backup
    (relay.data / "relay.db-wal").rename(tmp_path / "away")
    relay.restart()
    relay.stop()

    # As the document has it.
    shutil.rmtree(relay.data)
    shutil.copytree(whole, relay.data)
    do(RESTORED, tmp_path)
    assert [file.name for file in relay.data.iterdir()] == ["relay.db"]
    assert {file.name for file in (tmp_path / "data.old").iterdir()} >= {"relay.db", "relay.db-wal", "lock", "reserve"}
    relay.restart()
    assert run(read(home, relay, 1)) == ["before"]
    assert all("limits-off" in line for line in relay.doubts)


def test_control_the_killed_relay_itself_has_all(tmp_path: Path, relay: RelayProcess) -> None:
    home = tmp_path / "home"
    run(meet(home, relay))
    run(write(home, relay, "before"))
    run(write(home, relay, "later"))
    relay.kill()
    relay.restart()
    assert run(read(home, relay, 2)) == ["before", "later"]


def test_profile_is_restored_as_the_document_says(tmp_path: Path) -> None:
    home = tmp_path / "home"
    client = Client.open("NAME", home=home, passphrase="correct horse", server="ws://127.0.0.1:9/ws")
    user_id = client.user_id
    client.close()
    profiles = home / "profiles"
    shutil.copy(profiles / "NAME.vault", tmp_path / "COPY")
    client = Client.open("NAME", home=home, passphrase="correct horse")
    client.contacts.add("later", "z2AqYYYiV3EnBBZxXMu5SST7h/4YpmXBPXc3pxwXOT0=")
    killed = tmp_path / "killed"
    subprocess.run(["cp", "-r", profiles, killed], check=True)
    client.close()
    shutil.rmtree(profiles)
    killed.rename(profiles)
    (profiles / "NAME.vault-shm").unlink()
    shutil.copy(tmp_path / "COPY", profiles / "NAME.vault")

    done = phantom(home, "contacts", "list", "-p", "NAME")
    assert done.returncode == 1
    assert LOG_OF_ANOTHER in done.stderr
    assert (profiles / "NAME.vault").read_bytes() == (tmp_path / "COPY").read_bytes()

    do(PROFILE.replace("PROFILES", str(profiles)), tmp_path)
    client = Client.open("NAME", home=home, passphrase="correct horse", create=False)
    assert client.user_id == user_id
    assert client.contacts.everybody() == []
    client.close()
