"""Where the microseconds of a message go, inside the relay and around it."""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from harness import RelayHarness
from scenarios import Settings, say

from phantom_messenger.relay import signatures
from phantom_messenger.relay.commands import AnyCommand
from phantom_messenger.relay.ports import SignatureCheck
from phantom_messenger.relay.session import Session

Figures = dict[str, Any]

STAGES: Final = {
    "read": "read: JSON, fields, base64, limits",
    "signature": "signature: Ed25519, strictly verified",
    "judge": "judge: who may, what to do",
    "store": "store: message and receipt in, both out again, commit",
    "answer": "answer: encode, deliver, account for",
    "around": "around it: sockets, event loop, threads",
}
_PAIRS: Final = 64
_TURN: Final = 256
"""Messages that come in one turn: about as many as under full load."""


class _Timed(RelayHarness):
    """It notes what each stage takes; a turn at a time, so that the noting costs nothing."""

    def __init__(self, pairs: int, *, acks: bool) -> None:
        self.spent = dict.fromkeys(STAGES, 0.0)
        super().__init__(pairs, acks=acks, verify=self._verify)
        pipeline = self.relay._core.pipeline  # noqa: SLF001 - the stages are inside
        verify_arrived = pipeline._verify_arrived  # noqa: SLF001

        def timed() -> None:
            before, began = self.spent["signature"], time.process_time()
            verify_arrived()
            self.spent["judge"] += time.process_time() - began - (self.spent["signature"] - before)

        pipeline._verify_arrived = timed  # type: ignore[method-assign] # noqa: SLF001

    def measure(self, texts: Sequence[tuple[Session, bytes]]) -> dict[str, float]:
        """Microseconds of each stage for a message of these, which come in one turn."""
        self.spent = dict.fromkeys(STAGES, 0.0)
        began = time.process_time()
        for session, text in texts:
            self.relay.receive(session, text)
        self.spent["read"] = time.process_time() - began
        self.run()
        known = sum(self.spent.values())
        self.spent["answer"] = time.process_time() - began - known
        return {stage: spent / len(texts) * 1e6 for stage, spent in self.spent.items()}

    def _verify(self, batch: Sequence[SignatureCheck]) -> list[bool]:
        began = time.process_time()
        found = signatures.verify(batch)
        self.spent["signature"] += time.process_time() - began
        return found

    def _write(self, commands: Sequence[AnyCommand], done: Any) -> None:
        began = time.process_time()
        super()._write(commands, done)
        self.spent["store"] += time.process_time() - began


def stages(settings: Settings, relay_us: float | None) -> Figures:
    """Microseconds of each stage, medians.

    Args:
        settings: how much is measured, and whether users confirm.
        relay_us: what a message costs the real relay in all; None if that is not known.
    """
    rounds: list[dict[str, float]] = []
    with _Timed(min(_PAIRS, settings.sizes.stage_turns), acks=settings.acks) as harness:
        for number in range(settings.sizes.stage_turns):
            say(f"inside: turn {number + 1} of {settings.sizes.stage_turns}")
            found = harness.measure(harness.messages(_TURN))
            harness.clear()
            if number:  # the first warms it up
                rounds.append(found)
    middle = {stage: median(one[stage] for one in rounds) for stage in STAGES}
    if relay_us is not None:
        middle["around"] = max(relay_us - sum(middle.values()), 0.0)
    return {"us": middle, "whole": relay_us is not None}
