"""What the operating system still holds of what was written to a socket."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios
from typing import Final

_DISCARD: Final = struct.pack("ii", 1, 0)


def unacked_bytes(transport: asyncio.Transport) -> int:
    """What was written and is not acknowledged by the other end yet."""
    handle = transport.get_extra_info("socket").fileno()
    queued = int.from_bytes(fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return transport.get_write_buffer_size() + queued


def abort(transport: asyncio.Transport) -> None:
    """Close a socket and drop what was written."""
    # Otherwise the operating system keeps offering it to a client that does not read.
    with contextlib.suppress(OSError):  # closed already
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
    transport.abort()
