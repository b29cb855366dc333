"""Alice and Bob on the command line."""

import json
from pathlib import Path

from phantom_messenger.client.status import GroupEvent, GroupNews
from support.relay_process import RelayProcess
from support.sdk_clients import PATIENCE, event, friends, opened, run

NOWHERE = "ws://127.0.0.1:9/ws"
"""Where no relay is."""


def meet(home: Path, relay: RelayProcess) -> None:
    """Make Alice and Bob, and each the other's contact, as ``phantom init`` and ``phantom contacts add`` do."""

    async def main() -> None:
        async with friends(home, relay):
            pass

    run(main())


def meet_offline(home: Path) -> None:
    """The same without a relay."""
    alice, bob = (opened(home, name, NOWHERE) for name in ("alice", "bob"))
    alice.contacts.add("bob", bob.user_id)
    bob.contacts.add("alice", alice.user_id)
    alice.close()
    bob.close()


def make_tea(home: Path) -> None:
    """Alice makes the group Tea, and Bob accepts."""

    async def main() -> None:
        async with opened(home, "alice") as alice, opened(home, "bob") as bob:
            alice.groups.create("Tea", ["bob"])
            assert await bob.groups.wait_known("Tea", PATIENCE)
            await event(alice, GroupEvent, lambda: bob.groups.accept("Tea"), news=GroupNews.JOINED)

    run(main())


def rows(text: str) -> list[dict[str, object]]:
    """What a command has printed with ``--json``."""
    return [json.loads(line) for line in text.splitlines()]
