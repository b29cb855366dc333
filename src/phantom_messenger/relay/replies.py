"""What the relay answers: gathered over a turn, then written at once, one write a connection."""

from collections.abc import Callable

from msgspec import UNSET, UnsetType

from phantom_messenger.events import report
from phantom_messenger.relay.commands import CommandFailed
from phantom_messenger.relay.hub import Hub
from phantom_messenger.relay.pipeline import AccountGoneError, SessionOverError
from phantom_messenger.relay.ports import Clock, Scheduler
from phantom_messenger.relay.rules import State
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import codec, frames
from phantom_messenger.wire.codes import CloseCode, Reason, RequestError

RETRY_STORAGE_MS = 5_000
"""When to try again after the relay could not store: a full disk is not freed faster."""

Id = str | UnsetType


class Replies:
    """Queues frames in the outboxes of sessions, and closes them.

    Args:
        hub: forgets who is at another relay.
        clock: for the timestamps of errors, and to count misbehaviour.
        schedule: runs ``flush`` at the end of the turn.
        writable: called with a session that may be given more, or has taken what is to be confirmed.
    """

    def __init__(self, hub: Hub, clock: Clock, schedule: Scheduler, writable: Callable[[Session], None]) -> None:
        self._hub = hub
        self._clock = clock
        self._schedule = schedule
        self._writable = writable
        self._unwritten: dict[Session, None] = {}

    def send(self, session: Session, frame: frames.Frame | bytes) -> None:
        """Queue a frame, or the text of one, for this turn's write."""
        if session.state is State.CLOSED:
            return
        session.outbox.push(frame if isinstance(frame, bytes) else codec.encode(frame))
        if not self._unwritten:
            self._schedule(self.flush)
        self._unwritten[session] = None

    def flush(self) -> None:
        """Write what was gathered, and cut those who have left too much unread."""
        written, self._unwritten = list(self._unwritten), {}
        kept = []
        for session in written:
            if session.outbox.flush():
                self.drop(session)
            else:
                kept.append(session)
        for session in kept:
            if session.unconfirmed or not session.cursor.caught_up:
                self._writable(session)

    def reply_error(self, session: Session, refused: RequestError, request: Id) -> None:
        """Answer with ERROR and count it; too many of a kind close the connection."""
        self.send(
            session,
            frames.Error(
                id=request,
                payload=frames.ErrorPayload(
                    code=refused.code,
                    message=refused.message,
                    details=refused.details,
                    retry_after=UNSET if refused.retry_after is None else refused.retry_after,
                ),
                timestamp=self._clock.wall_ms(),
            ),
        )
        if code := session.strike(refused, self._clock.monotonic_ms()):
            self.close(session, code, "too many refused messages")

    def reply_failure(self, session: Session, error: Exception, request: Id) -> None:
        """Answer for a handler that has raised this."""
        match error:
            case RequestError():
                self.reply_error(session, error, request)
            case AccountGoneError():
                self.close(session, CloseCode.NORMAL, "account deleted")
            case SessionOverError():
                self.replace(session)
            case CommandFailed():
                if not error.is_out_of_space:
                    report(error.error)
                if session.state is not State.CLOSED:
                    self.reply_error(session, storage_error(error), request)
            case _:
                self.reply_error(session, RequestError(Reason.INTERNAL), request)
                self.fail(session, error)

    def close(self, session: Session, code: CloseCode, reason: str, *, wait_for_close: bool = True) -> None:
        """Close a connection behind what it still has to be sent; nothing it sends counts any more."""
        if session.state is State.CLOSED:
            return
        session.state = State.CLOSED
        session.outbox.flush()
        self._unwritten.pop(session, None)
        session.connection.close(code, reason, wait_for_close=wait_for_close)

    def replace(self, session: Session) -> None:
        """Close a session whose user is at another relay, which has told contacts whatever there is to tell."""
        if self._hub.of(session.user_id) is session:
            self._hub.forget(session.user_id)
        self.close(session, CloseCode.POLICY_VIOLATION, "replaced by a newer login")

    def drop(self, session: Session) -> None:
        """Cut a connection whose client takes nothing; its mail stays in the store."""
        session.state = State.CLOSED
        self._unwritten.pop(session, None)
        session.connection.abort()

    def fail(self, session: Session, error: Exception) -> None:
        """A bug has shown itself: log it, without user data, and end this session."""
        report(error)
        self.close(session, CloseCode.SERVER_ERROR, "internal error")


def storage_error(failed: CommandFailed) -> RequestError:
    """The answer for what could not be stored."""
    return RequestError(Reason.STORAGE if failed.is_out_of_space else Reason.INTERNAL, retry_after=RETRY_STORAGE_MS)
