"""A TCP proxy that cuts one connection after a number of bytes, both directions counted together."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from enum import Enum

CHUNK = 65_536
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class End(Enum):
    """How a connection is cut."""

    FIN = "fin"
    """Both sides read the end of the stream."""
    RST = "rst"
    """Both sides are reset."""


class CuttingProxy:
    """Stands before one address; everything passes, but for the connection that ``cut_next`` is about."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._next: tuple[int, End] | None = None
        self.has_cut = asyncio.Event()
        """Whether the connection of ``cut_next`` has been cut."""

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def marks(self) -> list[int]:
        """How many bytes had passed over the connection that is open now, each time that some have."""
        [connection] = self._open
        return connection.marks

    def cut_next(self, after: int, how: End) -> None:
        """Cut the next connection once ``after`` bytes of it have passed."""
        self._next = after, how
        self.has_cut.clear()

    def let_pass(self) -> None:
        """Take ``cut_next`` back."""
        self._next = None
        for connection in self._open:
            connection.left = None

    def cut_all(self) -> None:
        """Cut what is open now."""
        for connection in list(self._open):
            connection.cut(End.FIN)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.cut(End.RST)
        while self._open:
            await next(iter(self._open)).ended.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wanted, self._next = self._next, None
        far_reader, far_writer = await asyncio.open_connection(*self._target, limit=CHUNK)
        connection = _Connection(writer, far_writer, wanted, self.has_cut)
        self._open.add(connection)
        try:
            await asyncio.gather(connection.carry(reader, far_writer), connection.carry(far_reader, writer))
        finally:
            self._open.discard(connection)
            for each in (writer, far_writer):
                each.close()
            connection.ended.set()


class _Connection:
    def __init__(
        self,
        near: asyncio.StreamWriter,
        far: asyncio.StreamWriter,
        wanted: tuple[int, End] | None,
        has_cut: asyncio.Event,
    ) -> None:
        self.marks = [0]
        self.left: int | None = None if wanted is None else wanted[0]
        self._how = End.FIN if wanted is None else wanted[1]
        self.ended = asyncio.Event()
        self._writers = (near, far)
        self._is_cut = False
        self._has_cut = has_cut
        if self.left == 0:
            self._cut_as_wanted()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction to its end; what comes after the cut is thrown away."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                self._pass(data, writer)
        if not writer.is_closing() and not self._is_cut:
            with contextlib.suppress(OSError):
                writer.write_eof()

    def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            return
        allowed = data if self.left is None else data[: self.left]
        writer.write(allowed)
        self.marks.append(self.marks[-1] + len(allowed))
        if self.left is not None:
            self.left -= len(allowed)
            if self.left == 0:
                self._cut_as_wanted()

    def _cut_as_wanted(self) -> None:
        self.cut(self._how)
        self._has_cut.set()

    def cut(self, how: End) -> None:
        if self._is_cut:
            return
        self._is_cut = True
        for writer in self._writers:
            if how is End.RST:
                held = writer.get_extra_info("socket")
                if held.fileno() >= 0:  # this end may have been reset by itself, and the other one not be done
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                writer.transport.abort()
            else:
                with contextlib.suppress(OSError):
                    writer.write_eof()


@contextlib.asynccontextmanager
async def cutting_proxy(target: tuple[str, int]) -> AsyncIterator[CuttingProxy]:
    """A proxy before an address, for as long as the block."""
    proxy = CuttingProxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
