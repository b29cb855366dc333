"""What the operating system and asyncio hold of a connection's bytes."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios
from typing import Final

TLS_HELD: Final = 16_384
"""Encrypted bytes, a record's worth, at which asyncio's TLS takes no more out of a socket that is not read."""

_HUNG_UP: Final = {7, 8, 9}
"""Of Linux's states of a TCP socket: closed, waiting to be closed here, and closed here as well."""

_DISCARD: Final = struct.pack("ii", 1, 0)


def unacked_bytes(transport: asyncio.Transport) -> int:
    """What was written and is not acknowledged by the other end yet."""
    handle = transport.get_extra_info("socket").fileno()
    queued = int.from_bytes(fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return transport.get_write_buffer_size() + queued


def has_hung_up(transport: asyncio.Transport) -> bool:
    """Whether the other end has closed its half, or all of it; known also while nothing is read."""
    with contextlib.suppress(OSError):  # closed already, or no TCP
        return transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _HUNG_UP
    return False


def abort(transport: asyncio.Transport) -> None:
    """Close a socket and drop what was written."""
    # Otherwise the operating system keeps offering it to a client that does not read.
    with contextlib.suppress(OSError):  # closed already
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
    transport.abort()


def bound_tls(transport: asyncio.Transport) -> None:
    """If there is TLS, keep asyncio from holding 256 KiB of what a client has sent."""
    if transport.get_extra_info("ssl_object") is not None:
        # asyncio documents it for streams of its own only; the transport of each TLS connection has it.
        transport.set_read_buffer_limits(TLS_HELD, 0)  # type: ignore[attr-defined]
