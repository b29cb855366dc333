"""The process that verifies signatures for a relay; ``verify_pool`` starts it and is the other end.

It imports little, since there is one for every core that the relay uses.
"""

import marshal
import signal
import socket
import sys
from typing import Final

from phantom_messenger.relay.signatures import verify

LENGTH_BYTES: Final = 4
READY: Final = bytes(LENGTH_BYTES)
"""An answer without verdicts: the process has started."""


def main() -> None:
    """Check what comes until the relay is gone; it alone says when to stop."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as relay, relay.makefile("rb") as source:
        relay.sendall(READY)
        while len(head := source.read(LENGTH_BYTES)) == LENGTH_BYTES:
            checks = marshal.loads(source.read(int.from_bytes(head)))  # noqa: S302 - of the relay itself
            verdicts = verify(checks)
            relay.sendall(len(verdicts).to_bytes(LENGTH_BYTES) + bytes(verdicts))


if __name__ == "__main__":
    main()
