"""``phantom`` whose ``send`` says that it has begun, and waits to be told to go on, by files in the home folder."""

import asyncio
import os
import runpy
from pathlib import Path
from typing import Any

from phantom_messenger.client.client import Client

HOME = Path(os.environ["PHANTOM_HOME"])
send = Client.send


async def slow_send(self: Client, *arguments: Any, **options: Any) -> Any:
    (HOME / "sending").touch()
    while not (HOME / "go-on").exists():  # noqa: ASYNC110 - another process says so
        await asyncio.sleep(0.01)
    return await send(self, *arguments, **options)


if __name__ == "__main__":
    Client.send = slow_send  # type: ignore[method-assign]
    runpy.run_path(str(Path(__file__).with_name("quick_phantom.py")), run_name="__main__")
