"""An application of the SDK, to be killed: it sends numbered texts and notes what it gets.

Each line of its journal is on disk before it goes on, and is printed too. Run it as
``sdk_kill_program.py HOME URL PEER JOURNAL [finish] [fault] [many:USER]``; with ``many`` each text goes to PEER and to
this user, as one message to many.
"""

import asyncio
import os
import random
import sys
from pathlib import Path
from typing import Any

from phantom_messenger import Client, Delivery
from phantom_messenger.client import content2, records
from phantom_messenger.client.content import Ends, Text
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.status import WarningEvent
from phantom_messenger.client.vault import Transaction

PASSPHRASE = "correct horse"
PAUSE = 0.02
BURST = 10
"""Texts that are sent at once: more than have left when the next ones follow."""


class Journal:
    """Lines that are synced to disk, over all lives of the program."""

    def __init__(self, path: Path) -> None:
        before = path.read_text().splitlines() if path.exists() else []
        tried = [int(line.split()[1]) for line in before if line.startswith("try ")]
        self.next = max(tried, default=-1) + 1
        self._file = path.open("a")

    def note(self, *words: object) -> None:
        line = " ".join(map(str, words))
        self._file.write(f"{line}\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        print(line, flush=True)  # noqa: T201 - for whoever decides when it is to be killed


async def send_one(me: Client, peer: str, text: str, others: list[str]) -> Delivery:
    """Send a text: to one, or to many."""
    if not others:
        return await me.send(peer, text)
    identity = me._messenger._identity.peer
    said = content2.encode(Text(sent_at=1, body=text), Ends(identity.user_id, identity.public, b"", b""))
    number = me._messenger.many.send([peer, *others], said, conversation_id="many")
    delivery = me._hub.track(number, me.contacts.find(peer))
    me._changed()
    await asyncio.sleep(0)
    return delivery


async def send_all(me: Client, peer: str, journal: Journal, others: list[str]) -> None:
    """Send numbered texts without end; a number is tried once."""
    told = set()

    async def tell(delivery: Delivery) -> None:
        await delivery.wait()
        journal.note("accepted", delivery.message_id)

    while True:
        for _ in range(BURST):
            journal.note("try", journal.next)
            delivery = await send_one(me, peer, f"a {journal.next}", others)
            journal.note("sent", journal.next, delivery.message_id)
            told.add(asyncio.create_task(tell(delivery)))
            journal.next += 1
        await asyncio.sleep(PAUSE)


async def receive_all(me: Client, journal: Journal) -> None:
    """Handle what comes; some of it is marked as read, the rest counts as handled when the next is asked for."""
    chance = random.Random()  # noqa: S311 - how long the work takes
    async for message in me.messages():
        journal.note("work", message.id)
        await asyncio.sleep(chance.uniform(0, PAUSE / 2))
        journal.note("got", message.id, message.text)
        if chance.random() < 0.3:
            await message.mark_read()
            journal.note("read", message.id)
        await asyncio.sleep(chance.uniform(0, PAUSE / 4))


async def hear_troubles(me: Client, journal: Journal) -> None:
    """Note what a person would be told: nobody loses anything here, so that should be nothing."""
    async for event in me.events():
        if isinstance(event, WarningEvent):
            journal.note("trouble", event.code)


async def finish(me: Client, journal: Journal) -> None:
    """Send no more; once everything has left, wait for the word to end."""
    await me.flush()
    journal.note("flushed")
    await asyncio.to_thread(sys.stdin.readline)


async def main(home: str, url: str, peer: str, journal_file: str, *modes: str) -> None:
    journal = Journal(Path(journal_file))
    journal.note("life")
    async with Client.open("alice", server=url, home=home, passphrase=PASSPHRASE) as me:
        hearing = asyncio.create_task(hear_troubles(me, journal))
        receiving = asyncio.create_task(receive_all(me, journal))
        others = [mode.removeprefix("many:") for mode in modes if mode.startswith("many:")]
        working = finish(me, journal) if "finish" in modes else send_all(me, peer, journal, others)
        await asyncio.wait({receiving, asyncio.create_task(working)}, return_when=asyncio.FIRST_COMPLETED)
        if receiving.done():
            receiving.result()
        receiving.cancel()
        hearing.cancel()


# --- faults, for controls ---------------------------------------------------------


def forget_the_outbox() -> None:
    """Texts wait in memory alone."""
    put = Transaction.put

    def forgetful(tx: Transaction, kind: str, name: str, value: object, *, due: int | None = None) -> None:
        if kind not in {records.OUTBOX, records.COPIES}:
            put(tx, kind, name, value, due=due)

    Transaction.put = forgetful  # type: ignore[method-assign, assignment] # a fault of its own


def handle_early() -> None:
    """A text counts as handled as soon as it is handed out; the work on each takes long."""
    global PAUSE  # noqa: PLW0603 - a fault of its own
    PAUSE = 1.0
    following = Messenger.next_received

    def early(messenger: Messenger, after: int, sender: str | None = None) -> Any:
        found = following(messenger, after, sender)
        if found is not None:
            messenger.handled(found[1].sender, found[1].message_id)
        return found

    Messenger.next_received = early  # type: ignore[method-assign, assignment] # a fault of its own


FAULTS = {"forget-the-outbox": forget_the_outbox, "handle-early": handle_early}

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from support.passphrases import LEAST, stretch

    stretch(LEAST)  # as in the process that has made the profile
    for name in FAULTS.keys() & set(sys.argv):
        FAULTS[name]()
    asyncio.run(main(*sys.argv[1:]))
