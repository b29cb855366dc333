"""An event loop in a thread of its own, while the main thread does what takes its time and starts processes."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Self, TypeVar

Result = TypeVar("Result")


class Aside:
    """A context: its end cancels what still runs in the loop."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._began = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._began.wait()
        return self

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._began.set()
        await self._over.wait()

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Have it done there, and wait."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @contextmanager
    def within(self, context: AbstractAsyncContextManager[None]) -> Iterator[None]:
        """Be in a context of the loop; what its end raises is raised here."""
        self.do(context.__aenter__())
        try:
            yield
        finally:
            self.do(_leave(context))


async def _leave(context: AbstractAsyncContextManager[None]) -> None:
    await context.__aexit__(None, None, None)
