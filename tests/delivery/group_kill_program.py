"""A member of a group that dies at one of its own writes: it writes numbered texts and, if it may, changes the group.

Run as ``group_kill_program.py HOME URL NAME JOURNAL POINT [forget]``. It ends itself as ``kill -9`` does at its
POINT-th choice: 1 before the first transaction is committed, 2 behind it, 3 before the second, and so on. With POINT 0
it writes nothing more, waits until all it wanted has been done, and tells what it knows. With ``forget`` what is to be
sent is not on its disk, and it dies when it has written a text that has not left.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdk_kill_program import PASSPHRASE, PAUSE, Journal

from phantom_messenger import Client
from phantom_messenger.client import records
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.vault import Transaction, Vault


def die_at(point: int) -> None:
    """End the process at this choice of it."""
    genuine, count = Vault.transaction, 0

    @contextmanager
    def transaction(vault: Vault) -> Iterator[Transaction]:
        nonlocal count
        count += 2
        with genuine(vault) as tx:
            yield tx
            if count - 1 == point:
                os.kill(os.getpid(), signal.SIGKILL)
        if count == point:
            os.kill(os.getpid(), signal.SIGKILL)

    Vault.transaction = transaction  # type: ignore[method-assign, assignment] # the fault of this program


def forget() -> None:
    """The fault of the control: what is to be sent is in memory alone."""
    put = Transaction.put

    def forgetful(tx: Transaction, kind: str, name: str, value: object, *, due: int | None = None) -> None:
        if kind not in {records.MANY, records.COPIES}:
            put(tx, kind, name, value, due=due)

    Transaction.put = forgetful  # type: ignore[method-assign, assignment] # the fault of this program


async def live(me: Client, name: str, group: str, journal: Journal) -> None:
    """Write, and change the group in between, without end; a number is tried once."""
    while True:
        number = journal.next
        journal.next += 1
        journal.note("try", number)
        delivery = await me.groups.send(group, f"{name} {number}")
        journal.note("sent", number, delivery.message_id)
        if "forget" in sys.argv:
            os.kill(os.getpid(), signal.SIGKILL)
        if me.groups.find(group).is_admin and number % 3 == 0:
            try:
                me.groups.rename(group, f"Tea {number} of {name}")
            except UsageError:  # so many wait to be put in order
                journal.note("full")
        await asyncio.sleep(PAUSE)


async def read(me: Client, journal: Journal) -> None:
    """Handle what comes; a third is marked as read."""
    count = 0
    async for message in me.groups.messages():
        journal.note("got", message.id, message.text)
        count += 1
        if count % 3 == 0:
            await message.mark_read()


async def finish(me: Client, group: str) -> None:
    """Wait until all that was wanted is done, then tell what is known on every line that asks."""
    await me.flush()
    await me.groups.settled()
    while await asyncio.to_thread(sys.stdin.readline) == "tell\n":
        texts = [entry.text for entry in me.groups.history(group)]
        info = me.groups.find(group)
        told = {"digits": me.groups.digits(group), "texts": texts, "doubt": info.doubt, "behind": info.is_behind}
        print("known", json.dumps(told), flush=True)  # noqa: T201 - for whoever has asked


async def main(home: str, url: str, name: str, journal_file: str, point: str) -> None:
    journal = Journal(Path(journal_file))
    journal.note("life")
    async with Client.open(name, server=url, home=home, passphrase=PASSPHRASE) as me:
        [info] = me.groups.all()
        reading = asyncio.create_task(read(me, journal))
        working = live(me, name, info.group, journal) if int(point) else finish(me, info.group)
        await asyncio.wait({reading, asyncio.create_task(working)}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        reading.cancel()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from support.passphrases import LEAST, stretch

    stretch(LEAST)  # as in the process that has made the profile
    if "forget" in sys.argv:
        forget()
    elif int(sys.argv[5]):
        die_at(int(sys.argv[5]))
    asyncio.run(main(*sys.argv[1:6]))
