"""One end of a conversation, for whichever version of the SDK is imported: 0.1.0 and the present one.

    python tests/upgrade/beside_program.py NAME URL HOME PASSPHRASE OTHER

It sends each line of its input to OTHER and reads whatever comes; what it has read it prints, one line a message.
"""

import asyncio
import sys

from phantom_messenger import Client


async def read(client: Client) -> None:
    """Read what comes."""
    async for message in client.messages():
        await message.mark_read()
        print(message.text, flush=True)  # noqa: T201 - this is its output


async def write(client: Client, other: str) -> None:
    """Send each line of the input, until it ends."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        await client.send(other, line.rstrip("\n"))
    await client.flush(60)


async def main(name: str, url: str, home: str, passphrase: str, other: str) -> None:
    """Talk."""
    async with Client.open(name, server=url, home=home, passphrase=passphrase) as client:
        await client.wait_online(60)
        print("online", flush=True)  # noqa: T201 - this is its output
        reading = asyncio.create_task(read(client))
        await write(client, other)
        reading.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
