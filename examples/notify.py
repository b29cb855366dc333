"""Runs a command, and tells a person or a group how it has ended.

    export PHANTOM_PASSPHRASE='some words of mine'
    phantom contacts add -p notify bob ID
    python examples/notify.py wss://relay.example/ws bob make test

Its exit code is that of the command. If the relay is away, the message waits on disk, and is sent with the next one.
"""

import asyncio
import shlex
import subprocess
import sys
import time

from phantom_messenger import Client, PhantomError, RelayError

PATIENCE = 30.0
"""Seconds to wait for the relay; after that the message waits for the next run."""


async def tell(server: str, who: str, text: str) -> None:
    """Send one message; it is on disk before the relay is asked for anything."""
    async with await Client.open_async("notify", server=server) as me:
        await me.conversation(who).send(text)
        if await me.flush(PATIENCE):
            print("notify: the relay does not have the message yet; the next run sends it", file=sys.stderr)


def main(server: str, who: str, command: list[str]) -> int:
    """Run the command, whose output stays where it goes, and tell of it."""
    begun = time.monotonic()
    try:
        code = subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        print(f"notify: {command[0]}: {error.strerror}", file=sys.stderr)
        code = 127
    how = "is done" if code == 0 else f"has failed with exit code {code}"
    try:
        asyncio.run(tell(server, who, f"{shlex.join(command)[:1_000]} {how} after {time.monotonic() - begun:.0f} s"))
    except RelayError as error:  # for example: the relay does not admit this profile
        print(f"notify: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("notify: not told, or with the next run", file=sys.stderr)
    return code


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
    except PhantomError as failure:
        sys.exit(f"notify: {failure}")
