#!/usr/bin/env python3
"""Make the files of version 0.1.0 beside this one: two profiles in use, their exports, a relay's data folder.

    python tests/fixtures_0_1_0/make.py

It needs Phantom Messenger 0.1.0, installed for the Python that runs it, and refuses every other version: what later
ones write shows nothing about old files. The keys are random, so each run makes other files that tell the same story.
"""

import asyncio
import base64
import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import msgspec

from phantom_messenger import Client
from phantom_messenger.client import records
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.client.status import DeliveryState, Trust

HERE = Path(__file__).parent
VERSION = "0.1.0"
PASSPHRASE = "correct horse"
FILE_PASSPHRASE = "battery staple"
YEAR = 365 * 86_400.0
PATIENCE = 30.0
HELP_DESK = base64.b64encode(b"the help desk of a firm").decode()
"""An id that certifies no key."""


@contextlib.contextmanager
def serving(data: Path) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
    """A relay on a data folder; it is stopped as SIGTERM stops it, unless it was killed before."""
    phantom = str(Path(sys.executable).with_name("phantom"))
    command = [phantom, "serve", "--data", str(data), "--port", "0", "--rate-auth", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().removeprefix("listening on ").strip(), process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(PATIENCE)


async def take(client: Client, wanted: str) -> Any:
    """Wait for a text that is not handled by being looked at."""
    async with asyncio.timeout(PATIENCE), contextlib.aclosing(cast("Any", client.messages())) as texts:
        async for text in texts:
            if text.text == wanted:
                return text
    raise AssertionError(wanted)


async def arrived(client: Client, wanted: str) -> None:
    """Wait until a text is in the profile, without handling any."""
    async with asyncio.timeout(PATIENCE):
        position = 0
        while True:
            found = client._messenger.next_received(position)
            if found is None:
                await asyncio.sleep(0.05)
            elif found[1].text == wanted:
                return
            else:
                position = found[0]


class Maker:
    """Plays the story.

    Args:
        home: of the profiles.
        data: the relay's folder.
    """

    def __init__(self, home: Path, data: Path) -> None:
        self.home = home
        self.data = data
        self.facts: dict[str, Any] = {"version": VERSION, "help desk": HELP_DESK}

    def client(self, name: str, url: str | None = None) -> Client:
        return Client.open(name, server=url, home=self.home, passphrase=PASSPHRASE)

    async def talk(self, url: str) -> None:
        """Alice and Bob know and have verified each other; Carol, a stranger, writes to Alice."""
        async with (
            self.client("alice", url) as alice,
            self.client("bob", url) as bob,
            self.client("carol", url) as carol,
        ):
            for who in (alice, bob, carol):
                await who.wait_published(PATIENCE)
            self.facts |= {"alice": alice.user_id, "bob": bob.user_id, "carol": carol.user_id}
            alice.contacts.add("bob", bob.user_id)
            bob.contacts.add("alice", alice.user_id)
            alice.contacts.add("help desk", HELP_DESK, claimed=True)
            for who, other in ((alice, "bob"), (bob, "alice")):
                await who.wait_key(other, PATIENCE)
                who.contacts.set_trust(other, Trust.VERIFIED)
            for text in ("bob 1", "bob 2"):
                await bob.send("alice", text)
                await (await take(alice, text)).mark_read()
            for text in ("alice 1", "alice 2", "alice 3"):
                delivery = await alice.send("bob", text)
                await (await take(bob, text)).mark_read()
                async with asyncio.timeout(PATIENCE):
                    while delivery.state < DeliveryState.READ:  # noqa: ASYNC110 - a few turns
                        await asyncio.sleep(0.05)
            await bob.send("alice", "bob burns, and it was read", burn_after_read=True)
            await (await take(alice, "bob burns, and it was read")).mark_read()
            await bob.send("alice", "bob burns, unread", burn_after_read=True)
            await bob.send("alice", "bob for a year, unread", expires_in=YEAR)
            await bob.send("alice", "bob, unread")
            await carol.send(alice.user_id, "a stranger, unread")
            for text in ("bob, unread", "a stranger, unread"):
                await arrived(alice, text)
            for who in (alice, bob, carol):
                await who.settle()  # type: ignore[attr-defined]  # 0.1.0 calls it so

    async def leave_mail(self, url: str, name: str, *texts: str) -> list[str]:
        """Somebody writes to Alice, who is away; the message ids."""
        async with self.client(name, url) as sender:
            found = [(await sender.send(self.facts["alice"], text)).message_id for text in texts]
            assert not await sender.flush(PATIENCE)
            return found

    async def fetch_the_second(self, url: str, relay: "subprocess.Popen[str]") -> None:
        """Alice gets a later text before an earlier one, and her relay dies while she writes."""
        async with self.client("alice", url) as alice:
            await arrived(alice, "bob, the early one")
            await alice.settle()  # type: ignore[attr-defined]  # 0.1.0 calls it so
            relay.send_signal(signal.SIGSTOP)
            await alice.send("bob", "alice, encrypted and never accepted")
            await asyncio.sleep(0.5)
            relay.kill()

    async def write_offline(self) -> None:
        """What Alice writes without a connection; and the help desk's key, which was seen once."""
        alice = self.client("alice")
        await alice.send("bob", "alice, written offline")
        await alice.send("bob", "alice burns, written offline", burn_after_read=True)
        vault = alice._vault
        desk = vault.get(records.CONTACT, HELP_DESK, ContactRecord)
        assert desk is not None
        with vault.transaction() as tx:
            tx.put(records.CONTACT, HELP_DESK, msgspec.structs.replace(desk, key=bytes(range(32))))
        alice.close()

    def export(self) -> None:
        for name in ("alice", "bob"):
            client = self.client(name)
            client.export_to(self.home / f"{name}.export", FILE_PASSPHRASE)
            client.close()

    def play(self) -> None:
        """All of it."""
        with serving(self.data) as (url, _):
            asyncio.run(self.talk(url))
        with serving(self.data) as (url, _):
            late, _ = asyncio.run(self.leave_mail(url, "bob", "bob, the late one", "bob, the early one"))
        copy = self.data.with_name("copy")
        shutil.copytree(self.data, copy)
        with sqlite3.connect(copy / "relay.db") as database:
            assert database.execute("DELETE FROM items WHERE name = ?", (late,)).rowcount == 1
        database.close()
        with serving(copy) as (url, relay):
            asyncio.run(self.fetch_the_second(url, relay))
        with serving(self.data) as (url, _):
            asyncio.run(self.leave_mail(url, "carol", "a stranger, who waits"))
        asyncio.run(self.write_offline())
        self.export()
        self.facts["made_at"] = time.time_ns() // 1_000_000


def main() -> None:
    """Make the files."""
    if metadata.version("phantom-messenger") != VERSION:
        sys.exit(f"this is not version {VERSION} of Phantom Messenger; install that for this Python")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        maker = Maker(place / "home", place / "relay")
        maker.play()
        for name in ("alice", "bob"):
            shutil.copy(place / "home" / "profiles" / f"{name}.vault", HERE)
            shutil.copy(place / "home" / f"{name}.export", HERE)
        shutil.copy(place / "relay" / "relay.db", HERE)
    (HERE / "story.json").write_text(json.dumps(maker.facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
