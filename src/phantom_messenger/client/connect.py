"""How the SDK opens its connection: one place, so that what is tested is what is used."""

from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from phantom_messenger.wire.limits import MAX_TRANSPORT_BYTES

OPEN_TIMEOUT: Final = 10.0
"""Seconds until a relay that does not answer is given up."""

CLOSE_TIMEOUT: Final = 3.0
"""Seconds that a relay has to answer a close frame."""


class Answered(Exception):
    """The address has answered the handshake with something else than 101.

    Args:
        status: of HTTP.
        location: where it sends its visitors, '' if nowhere.
        retry_after: the header of that name, '' if there is none.
    """

    def __init__(self, status: int, location: str, retry_after: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.location = location
        self.retry_after = retry_after


class _Connection(ClientConnection):
    """A connection that goes nowhere else: the library follows redirects, with a login signed for the first name."""

    async def handshake(self, *arguments: Any, **options: Any) -> None:
        try:
            await super().handshake(*arguments, **options)
        except InvalidStatus as refused:
            headers = refused.response.headers
            location, retry_after = (next(iter(headers.get_all(name)), "") for name in ("Location", "Retry-After"))
            raise Answered(refused.response.status_code, location, retry_after) from None


def dial(url: str, *, max_bytes: int = MAX_TRANSPORT_BYTES) -> connect:
    """Connect to a relay: no redirect, no compression, no proxy, no name of this program, no pings but the protocol's.

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
        create_connection=_Connection,
    )
