"""How long it takes until a new device has what was said before: ``make bench-linking``, one to four minutes.

A relay with its usual limits; two clients, each in this process, of which one has so many texts and links the other.
With ``--rate-alone`` the relay says nothing of ALLOWANCE, as older ones do.
"""

import argparse
import asyncio
import os
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from relays import CORES, Relay, machine

from phantom_messenger import Client
from phantom_messenger.client import records
from phantom_messenger.client.records import ReceivedRecord, SentRecord
from phantom_messenger.client.status import LinkingEvent, LinkingStep

PASSPHRASE: Final = "a passphrase of the bench"  # noqa: S105 - of profiles that are deleted
PATIENCE: Final = 120.0
LONGEST: Final = 900.0
_AT_ONCE: Final = 5_000
_RATE_ALONE: Final = """
from phantom_messenger.relay.handlers import login
_genuine = login._become_user
def _without(session, frame):
    _genuine(session, frame)
    session.takes_allowances = False
login._become_user = _without
"""


def fill(client: Client, peer: str, count: int) -> None:
    """So many texts with somebody of ten random numbers each, as if they had been exchanged."""
    random = Random("texts")  # noqa: S311 - the same in every run
    vault = client._messenger._stores.vault  # noqa: SLF001 - no application can do it
    for begin in range(0, count, _AT_ONCE):
        with vault.transaction() as tx:
            for turn in range(begin, min(count, begin + _AT_ONCE)):
                number = f"{random.getrandbits(128):032x}"
                message_id = f"{number[:8]}-{number[8:12]}-4{number[13:16]}-8{number[17:20]}-{number[20:]}"
                text = f"{turn}: " + " ".join(f"{random.getrandbits(24):x}" for _ in range(10))
                if turn % 2:
                    sent = SentRecord(message_id=message_id, peer=peer, text=text, made_at=turn, burn=False, state=3)
                    tx.put(records.SENT, message_id, sent)
                else:
                    tx.put(records.RECEIVED, records.key(peer, message_id), _received(message_id, peer, text, turn))


def _received(message_id: str, peer: str, text: str, at: int) -> ReceivedRecord:
    return ReceivedRecord(
        message_id=message_id,
        sender=peer,
        text=text,
        sent_at=at,
        received_at=at,
        burn=False,
        expires_at=None,
        read=True,
    )


class Watch:
    """How far linking has come on one device.

    Args:
        client: of the device.
    """

    def __init__(self, client: Client) -> None:
        self.reached: dict[LinkingStep, float] = {}
        self.digits = ""
        self.chunks: list[tuple[float, int, int]] = []
        self._client = client
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for event in self._client.events():
            if isinstance(event, LinkingEvent):
                now = time.perf_counter()
                self.reached.setdefault(event.step, now)
                self.digits = event.digits or self.digits
                if event.step is LinkingStep.HISTORY:
                    self.chunks.append((now, event.texts, event.left))

    async def until(self, step: LinkingStep, patience: float = PATIENCE) -> float:
        """When it was reached."""
        until = time.perf_counter() + patience
        while step not in self.reached:
            if time.perf_counter() > until:
                raise SystemExit(f"'{step.value}' was not reached; {len(self.chunks)} chunks have come")
            await asyncio.sleep(0.01)
        return self.reached[step]

    def stop(self) -> None:
        """Listen no more."""
        self._task.cancel()


async def measure(relay: Relay, home: Path, texts: int) -> None:
    """Link a device and print what it took."""

    def opened(name: str) -> Client:
        return Client.open(name, server=relay.url, home=home, passphrase=PASSPHRASE)

    async with opened("first") as first, opened("new") as new, opened("somebody") as somebody:
        for client in (first, new, somebody):
            await client.wait_published(PATIENCE)
        first.contacts.add("somebody", somebody.user_id)
        fill(first, somebody.user_id, texts)
        watches = Watch(first), Watch(new)
        first.devices.link(new.devices.show_code("laptop"), history=True)
        await watches[0].until(LinkingStep.ANSWERED)
        await watches[1].until(LinkingStep.DIGITS)
        first.devices.confirm(watches[1].digits)
        spent, began = (time.process_time(), relay.cpu_seconds()), time.perf_counter()
        new.devices.agree()
        end = await watches[1].until(LinkingStep.COMPLETE, LONGEST)
        busy = time.process_time() - spent[0], relay.cpu_seconds() - spent[1]
        chunks = watches[1].chunks
        print(f"{texts:,} texts, {len(chunks) + 1} chunks: {end - began:.1f} s until all of it is there")
        for part in (4, 2, 1):
            at, count, left = chunks[(len(chunks) - 1) // part] if chunks else (end, texts, 0)
            print(f"  after {at - began:.1f} s: {count:,} texts, and about {left:,} to come")
        print(f"  processor time: both clients {busy[0]:.1f} s, the relay {busy[1]:.1f} s")
        for watch in watches:
            watch.stop()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000, help="what was said before (100,000)")
    parser.add_argument("--rate-alone", action="store_true", help="at a relay that knows no ALLOWANCE")
    options = parser.parse_args()
    if len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[1]})
    print(*machine(), f"load {os.getloadavg()[0]:.1f}", sep="\n")
    patch = _RATE_ALONE if options.rate_alone else ""
    with TemporaryDirectory(prefix="phantom-bench-") as home, Relay(patch, options=["--limits", "on"]) as relay:
        asyncio.run(measure(relay, Path(home), options.texts))


if __name__ == "__main__":
    main()
