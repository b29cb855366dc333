"""PING, BLOCK and ACCOUNT_DELETE."""

from typing import Final

from phantom_messenger.relay.core import BACKLOG_RETRY_MS, Core
from phantom_messenger.relay.handlers.login import check_binding
from phantom_messenger.relay.permissions import Act, watchers
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps, StoreJob, as_user
from phantom_messenger.relay.ports import Transaction
from phantom_messenger.relay.rules import State
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import CloseCode, Reason, Refused
from phantom_messenger.wire.limits import MAX_BLOCKED

BLOCK_BYTES: Final = 256
"""About what a block takes in the store."""


def ping(core: Core, admitted: AdmittedFrame, frame: frames.Ping) -> Steps:
    """PING: answered after everything that came before it on this connection was stored or refused."""
    if admitted.session.state is State.OPEN:
        yield StoreJob(lambda _: None)
    core.replies.send(admitted.session, frames.Pong(id=frame.id, timestamp=core.clock.wall_ms()))


def block(core: Core, admitted: AdmittedFrame, frame: frames.Block) -> Steps:
    """BLOCK: begin or end it; answered once it is on disk and nothing of theirs waits any more.

    Somebody who is kept away cannot tell it from the fate of a stranger.
    """
    session, blocked = admitted.session, frame.payload.blocked
    user, other = session.user_id, frame.payload.user_id
    if other == user:
        raise Refused(Reason.FIELD, field="payload.userId")
    if blocked:
        core.admission.spend(admitted, BLOCK_BYTES)

    def job(tx: Transaction) -> tuple[bool, bool] | None:
        directory = tx.directory
        if not blocked:
            directory.unblock(user, other)
            return False, True
        blocks = directory.blocks(user)
        if other not in blocks and len(blocks) >= MAX_BLOCKED:
            return None
        parted = directory.has_written(user, other) and directory.has_written(other, user)
        return parted, directory.block(user, other)

    is_complete = False
    while not is_complete:  # what waits of theirs is deleted part by part
        result: tuple[bool, bool] | None = yield as_user(session, job)
        if result is None:
            raise Refused(Reason.BACKLOG, retry_after=BACKLOG_RETRY_MS)
        were_contacts, is_complete = result
        if were_contacts and core.hub.visible_presence(user) is not frames.PresenceStatus.OFFLINE:
            # As if the user had set it: what they believed would stay for ever.
            core.presence.notify(user, [other], frames.PresenceStatus.OFFLINE)
    core.replies.send(session, frames.BlockDone(id=frame.id, payload=frame.payload, timestamp=core.clock.wall_ms()))


def account_delete(core: Core, admitted: AdmittedFrame, frame: frames.AccountDelete) -> Steps:
    """ACCOUNT_DELETE: everything of this user is deleted, then the connection is closed."""
    session = admitted.session
    check_binding(core, session, frame.payload.challenge, frame.payload.audience)
    user = session.user_id

    def job(tx: Transaction) -> tuple[list[str], bool]:
        return watchers(Act.SEE_PRESENCE, user, tx.directory), tx.directory.delete(user)

    contacts: list[str] = []
    is_complete = False
    while not is_complete:
        contacts, is_complete = yield as_user(session, job)
    core.presence.notify(user, contacts, frames.PresenceStatus.OFFLINE)
    current = core.hub.forget(user)
    core.receipts.hidden.pop(user)
    core.replies.close(session, CloseCode.NORMAL, "account deleted")
    if current is not None:
        core.replies.close(current, CloseCode.NORMAL, "account deleted")
