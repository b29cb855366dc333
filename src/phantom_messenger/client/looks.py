"""How many messages of strangers are looked into before anybody has accepted them: that has a client compute."""

from typing import Final

LOOKS: Final = 60
"""In ``LOOKS_MS``."""

LOOKS_MS: Final = 3_600_000


class Looks:
    """Counts them, in memory; times are monotonic milliseconds."""

    def __init__(self) -> None:
        self._times: list[int] = []

    def take(self, now: int) -> bool:
        """Whether one more may be looked into; it is counted."""
        self._times = [at for at in self._times if now - at < LOOKS_MS]
        if len(self._times) >= LOOKS:
            return False
        self._times.append(now)
        return True
