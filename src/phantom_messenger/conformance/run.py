"""Plays the cases against a relay, several at a time, and deletes what they made."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from phantom_messenger.conformance.socket import Socket, Target
from phantom_messenger.conformance.stage import Accounts, Addresses, Stage
from phantom_messenger.conformance.verdict import (
    Case,
    Failure,
    NotJudgedError,
    Outcome,
    Result,
    Score,
    UnreachableError,
)

AT_ONCE: Final = 16
"""Cases at a time, if each has an address of its own."""

MANY_FAILURES: Final = 8
"""After so many cases have failed without a break, it is seen whether the relay is still there."""

AT_ONCE_ON_ONE_ADDRESS: Final = 2
"""No case needs more than four of the ten connections of an address, but for those that are played alone."""

Progress = Callable[[Result, int], None]
"""Called with each result, and the number of those that are still to come."""


class Run:
    """One run against one relay.

    Args:
        target: the relay.
        progress: called after each case.
    """

    def __init__(self, target: Target, progress: Progress) -> None:
        self._target = target
        self._progress = progress
        self._results: dict[str, Result] = {}
        self._accounts = Accounts(target, Addresses())
        self._failures = 0
        self._ended = ""

    @property
    def accounts_left(self) -> int:
        """How many accounts of the run are at the relay now."""
        return len(self._accounts)

    async def is_slow(self) -> bool:
        """Whether the relay is there, and all cases must come from one address, where they wait for each other."""
        if (await Addresses.found(self._target)).are_many:
            return False
        socket = Socket(self._target)
        try:
            await socket.dial()
        except UnreachableError:
            return False
        await socket.drop()
        return True

    async def play(self, cases: Sequence[Case], *, with_long: bool = False) -> Score:
        """Play these cases; the score has one result for each of them.

        Args:
            cases: what to judge.
            with_long: also those that take minutes; otherwise they are not judged.
        """
        addresses = await Addresses.found(self._target)
        self._accounts = Accounts(self._target, addresses)
        trouble = ""
        try:
            if trouble := await self._trouble(addresses):
                for case in cases:
                    self._judged(Result(case, Outcome.NOT_JUDGED, trouble), 0)
            else:
                await self._play_all(cases, addresses, with_long=with_long)
        finally:
            await self._accounts.delete_all()
        return Score([self._results[case.full_name] for case in cases], self.accounts_left, trouble)

    async def _trouble(self, addresses: Addresses) -> str:
        """Why nothing can be judged here: '' if one user can log in."""
        stage = Stage(self._target, addresses, self._accounts)
        try:
            await stage.user()
        except (UnreachableError, Failure) as error:
            return str(error)
        finally:
            await stage.close()
        return ""

    async def _play_all(self, cases: Sequence[Case], addresses: Addresses, *, with_long: bool) -> None:
        played = [case for case in cases if with_long or not case.is_long]
        for case in cases:
            if case.is_long and not with_long:
                self._judged(Result(case, Outcome.NOT_JUDGED, "it takes minutes: --long"), len(played))
        # The longest come first, so that the others are played meanwhile.
        together = sorted((case for case in played if not case.is_alone), key=lambda case: -case.lasts)
        left = len(played)
        room = asyncio.Semaphore(AT_ONCE if addresses.are_many else AT_ONCE_ON_ONE_ADDRESS)

        async def play_one(case: Case) -> None:
            nonlocal left
            async with room:
                result = await self._play_while_there(case, addresses)
            left -= 1
            self._judged(result, left)

        async with asyncio.TaskGroup() as tasks:
            for case in together:
                tasks.create_task(play_one(case))
        await self._accounts.delete_idle()
        for case in played:
            if case.is_alone:
                await play_one(case)

    async def _play_while_there(self, case: Case, addresses: Addresses) -> Result:
        """Play a case, unless the relay has gone away meanwhile."""
        if self._ended:
            return Result(case, Outcome.NOT_JUDGED, f"the relay is not there any more: {self._ended}")
        result = await self._play(case, addresses)
        self._failures = self._failures + 1 if result.outcome is Outcome.FAILED else 0
        if self._failures and self._failures % MANY_FAILURES == 0:
            self._ended = self._ended or await self._trouble(addresses)
        return result

    async def _play(self, case: Case, addresses: Addresses) -> Result:
        stage = Stage(self._target, addresses, self._accounts)
        try:
            await case.play(stage)
            why = next(stage.problems(), "")
            return Result(case, Outcome.FAILED if why else Outcome.PASSED, why)
        except (Failure, UnreachableError) as failure:
            return Result(case, Outcome.FAILED, str(failure))
        except NotJudgedError as reason:
            return Result(case, Outcome.NOT_JUDGED, str(reason))
        except Exception as error:  # noqa: BLE001 - the boundary: whatever a relay sends, the run goes on
            return Result(case, Outcome.FAILED, f"what the relay sends cannot be judged: {type(error).__name__}")
        finally:
            await stage.close()

    def _judged(self, result: Result, left: int) -> None:
        self._results[result.case.full_name] = result
        self._progress(result, left)
