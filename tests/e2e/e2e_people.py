"""Alice and Bob on the command line."""

from pathlib import Path

from support.relay_process import RelayProcess
from support.sdk_clients import friends, opened, run

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
