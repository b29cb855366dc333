"""How the SDK opens its connection: one place, so that what is tested is what is used."""

from typing import Final

from websockets.asyncio.client import connect

from phantom_messenger.wire.limits import MAX_TRANSPORT_BYTES

OPEN_TIMEOUT: Final = 10.0
"""Seconds until a relay that does not answer is given up."""

CLOSE_TIMEOUT: Final = 3.0
"""Seconds that a relay has to answer a close frame."""


def dial(url: str, *, max_bytes: int = MAX_TRANSPORT_BYTES) -> connect:
    """Connect to a relay: no compression, no proxy, no name of this program, no pings but the protocol's own.

    Args:
        url: ``ws://`` or ``wss://``.
        max_bytes: of a message; a relay that sends more is left with 1009.
    """
    return connect(
        url,
        compression=None,
        max_size=max_bytes,
        open_timeout=OPEN_TIMEOUT,
        close_timeout=CLOSE_TIMEOUT,
        ping_interval=None,
        user_agent_header=None,
        proxy=None,
    )
