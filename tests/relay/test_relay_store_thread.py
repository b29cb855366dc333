"""The thread of the store: whatever happens there, every batch is answered."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from phantom_messenger.relay.commands import AnyCommand, Barrier, CommandFailed
from phantom_messenger.relay.server import StoreThread
from support.faults import Faults


class DyingStore:
    """A store whose batches and scrubbing fail in a way that nobody foresaw, while ``dying``."""

    def __init__(self, *, is_out_of_space: bool = False) -> None:
        self.dying = True
        self.is_out_of_space = is_out_of_space

    def run(self, commands: Sequence[AnyCommand], *, budget_ms: int | None = None) -> list[Any]:  # noqa: ARG002 - the port has it
        if self.dying:
            raise OSError("secret text")
        return ["done"] * len(commands)

    def scrub(self) -> bool:
        self.run([])
        return True

    def give_up(self) -> None:
        """Nothing is waited for."""

    def close(self) -> None:
        """Nothing is open."""


def test_batch_of_a_dying_store_is_answered_logged_without_its_text_and_told_by_ready(
    caplog: pytest.LogCaptureFixture, faults: Faults
) -> None:
    async def main() -> None:
        store = DyingStore()
        thread = StoreThread(store)

        async def run() -> list[Any]:
            answered: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
            thread([Barrier(), Barrier()], answered.set_result)
            return await asyncio.wait_for(answered, 60)

        assert [type(result) for result in await run()] == [CommandFailed, CommandFailed]
        health = [thread.is_healthy]
        store.dying = False
        assert await run() == ["done", "done"]
        health.append(thread.is_healthy)
        assert health == [False, True]
        await thread.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert faults.take() == ["OSError"]
    assert "secret text" not in caplog.text


@pytest.mark.parametrize(("is_out_of_space", "reason"), [(True, "disk-full"), (False, "failed")])
def test_log_says_whether_a_full_disk_blocks_the_store(
    caplog: pytest.LogCaptureFixture, faults: Faults, is_out_of_space: bool, reason: str
) -> None:
    async def main() -> None:
        thread = StoreThread(DyingStore(is_out_of_space=is_out_of_space))
        answered: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        thread([Barrier()], answered.set_result)
        await asyncio.wait_for(answered, 60)
        await thread.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    faults.take()
    assert [line.split()[-1] for line in caplog.messages if line.startswith("store-blocked:")] == [f"reason={reason}"]
