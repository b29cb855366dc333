"""The device's persistent clock, by which messages expire and keys age, kept in its vault.

No peer and no relay can move it, and setting the wall clock does not. It starts at about the
milliseconds since 1970, and is never shown: what people see of a time is the wall clock's.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from phantom_messenger.client import records
from phantom_messenger.client.errors import VaultDamaged, VaultError
from phantom_messenger.client.records import ClockRecord, IntValue
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.clock import ClockSnapshot, resumed

KEEP_MS: Final = 3_600_000
"""How often the moment is kept."""

STEP_MS: Final = 2_000
"""How far the wall clock may drift from persistent time before the moment is kept again, so that after a reboot a
clock that was set is not mistaken for time that has passed."""


class ExpiryClock:
    """Persistent time, which goes on across restarts of the program and of the machine.

    Within one boot it is exact, whatever becomes of the wall clock; over a reboot, and on another machine, what the
    wall clock says has passed counts, but never less than nothing.

    Args:
        vault: keeps the moment. In one of version 0.1.0, whose times are those of its relay's clock as far as that
            was known, persistent time begins with that clock: so what is kept there expires when it would have.
        wall: milliseconds since 1970, however wrong.
        since_boot: milliseconds since the machine was started, those in which it slept included.
        boot: what names this boot, '' if unknown.
    """

    def __init__(self, vault: Vault, *, wall: Callable[[], int], since_boot: Callable[[], int], boot: str) -> None:
        self._vault = vault
        self._wall = wall
        self._since_boot = since_boot
        self._boot = boot
        self._kept: ClockSnapshot | None = None
        self._at_boot = self._start() - since_boot()
        with suppress(VaultError), vault.transaction() as tx:  # a full disk: the profile can be read all the same
            self.keep(tx)
            tx.delete(records.CLOCK_OFFSET, "")

    def now(self) -> int:
        """Milliseconds of persistent time."""
        return self._at_boot + self._since_boot()

    def shown(self, moment: int) -> int:
        """The wall clock's time at a moment of persistent time, for people."""
        return moment - self.now() + self._wall()

    def keep(self, tx: Transaction) -> None:
        """Keep the moment if it is time."""
        since_boot = self._since_boot()
        mark, kept = ClockSnapshot(self._boot, since_boot, self._wall(), self._at_boot + since_boot), self._kept
        # After a reboot it is kept at once: nothing that is stored says how much of this boot has passed.
        if kept is not None and kept.boot == mark.boot:
            passed = mark.persistent - kept.persistent
            if passed < KEEP_MS and abs(mark.wall - kept.wall - passed) < STEP_MS:
                return
        record = ClockRecord(boot=mark.boot, since_boot=mark.since_boot, wall=mark.wall, steady=mark.persistent)
        tx.put(records.CLOCK, "", record)
        tx.on_commit(lambda: self._remember(mark))

    def _start(self) -> int:
        wall = self._wall()
        try:
            kept = self._vault.get(records.CLOCK, "", ClockRecord)
            offset = self._vault.get(records.CLOCK_OFFSET, "", IntValue)
        except VaultDamaged:
            return wall
        if kept is None:
            return wall + (0 if offset is None else offset.value)
        self._kept = ClockSnapshot(kept.boot, kept.since_boot, kept.wall, kept.steady)
        return resumed(self._kept, boot=self._boot, since_boot=self._since_boot(), wall=wall)

    def _remember(self, mark: ClockSnapshot) -> None:
        self._kept = mark
