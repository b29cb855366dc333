"""What the relay's core needs from the world, each with its contract."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.relay.commands import AnyCommand


class Clock(Protocol):
    """Three clocks: the wall clock for what peers see, persistent time for mail, the monotonic clock for limits."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970; may jump."""

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary moment; never goes back."""

    def persistent_ms(self) -> int:
        """Milliseconds since about 1970; continues across restarts, whatever is done to the wall clock."""

    def catch_up(self, persistent: int) -> None:
        """Persistent time has come so far, by the clock of another relay."""

    def snapshot(self) -> ClockSnapshot:
        """The present moment on all clocks."""


class Randomness(Protocol):
    """A source of unpredictable bytes."""

    def __call__(self, count: int, /) -> bytes:
        """Return ``count`` random bytes."""


class Connection(Protocol):
    """One WebSocket connection, as the core sees it."""

    def write(self, messages: Sequence[bytes]) -> None:
        """Send each as a text message, all in one write; never blocks, never raises."""

    def close(self, code: int, reason: str, *, wait_for_close: bool = True) -> None:
        """Send a close frame behind what was written, then close; idempotent.

        With ``wait_for_close`` the client has a moment to answer it.
        """

    def abort(self) -> None:
        """Drop the connection and what it still has to send."""

    def buffered(self) -> int:
        """Bytes that wait here for the operating system to accept them."""

    def bytes_acked(self) -> int:
        """How many of all bytes written, by the core and by the WebSocket itself, the client's side has acknowledged.

        What the operating system still holds for it does not count.
        """


class Scheduler(Protocol):
    """The event loop."""

    def __call__(self, action: Callable[[], None], /) -> object:
        """Run ``action`` soon, after what is running now, in order."""


class Store(Protocol):
    """Runs commands durably; ``relay.commands`` says what each of them does."""

    def run(self, commands: Sequence[AnyCommand], *, budget_ms: int | None = None) -> list[Any]:
        """Run commands in order, as one transaction if there is room.

        Returns when it is on disk, with one result or ``CommandFailed`` per command. A command that fails
        is undone alone; what was not committed is a failure. After ``budget_ms`` no further command is
        begun: there are then fewer results than commands, at least one.
        """

    @property
    def is_out_of_space(self) -> bool:
        """Whether the disk was full or broken when it was last written to; ``scrub`` may end it."""

    def scrub(self) -> bool:
        """Background work: leave no deleted byte in any file, and see whether a full disk has room again.

        Returns:
            Whether it is done; if not, call it again soon.
        """

    def give_up(self) -> None:
        """The relay ends: let what is being run fail rather than wait for another machine. Called by any thread."""

    def close(self) -> None:
        """Close; the store can be opened again."""


class Writer(Protocol):
    """Where a store's batches are run, so that the core never waits."""

    def __call__(self, commands: Sequence[AnyCommand], done: Callable[[list[Any]], None], /) -> None:
        """Run the batch and then ``done(results)`` where the core runs. One batch at a time.

        There may be fewer results than commands, at least one: the others were not run.
        """


SignatureCheck = tuple[bytes, bytes, bytes]
"""Public key, signature, message."""


class RelayLink(Protocol):
    """A way to the other relays that work on the same store."""

    def __call__(self, text: str, /) -> None:
        """Send a text of at most ``relay.other_relays.MAX_NOTICE`` bytes to all of them.

        It may get lost: whatever depends on it is looked for in the store as well, every few seconds.
        """


class Verification(Protocol):
    """Checks signatures in batches."""

    def __call__(self, batch: Sequence[SignatureCheck], /) -> list[bool]:
        """For each: whether the strict Ed25519 check holds."""


class Helpers(Protocol):
    """Check signatures beside the core, so that it goes on meanwhile."""

    def __call__(self, batch: Sequence[SignatureCheck], done: Callable[[list[bool]], None], /) -> bool:
        """Have the batch checked and then, later, ``done(verdicts)`` where the core runs.

        Returns:
            Whether they do; False if all are busy, and ``done`` will not be called.
        """
