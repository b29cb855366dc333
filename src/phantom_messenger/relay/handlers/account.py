"""PING, BLOCK and ACCOUNT_DELETE."""

from typing import Final

from phantom_messenger.relay.commands import Barrier, Block, Blocked, DeleteAccount, DeletedAccount, Unblock
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.handlers.login import check_binding
from phantom_messenger.relay.handlers.messages import BACKLOG_RETRY_MS
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps
from phantom_messenger.relay.rules import State
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import CloseCode, Reason, RequestError

BLOCK_BYTES: Final = 256
"""About what a block takes in the store."""


def ping(core: Core, admitted: AdmittedFrame, frame: frames.Ping) -> Steps:
    """PING: answered after everything that came before it on this connection was stored or refused."""
    if admitted.session.state is State.OPEN:
        yield Barrier()
    core.replies.send(admitted.session, frames.Pong(id=frame.id, timestamp=core.clock.wall_ms()))


def block(core: Core, admitted: AdmittedFrame, frame: frames.Block) -> Steps:
    """BLOCK: begin or end it; answered once it is on disk and nothing of theirs waits any more.

    A user who is blocked cannot distinguish it from being a stranger.
    """
    session, other = admitted.session, frame.payload.user_id
    if other == session.user_id:
        raise RequestError(Reason.FIELD, field="payload.userId")
    if frame.payload.blocked:
        core.admission.spend(admitted, BLOCK_BYTES)
        yield from _block(core, admitted, other)
    else:
        yield Unblock(actor=session.actor, other=other)
    core.replies.send(session, frames.BlockDone(id=frame.id, payload=frame.payload, timestamp=core.clock.wall_ms()))


def _block(core: Core, admitted: AdmittedFrame, other: str) -> Steps:
    session, is_complete = admitted.session, False
    while not is_complete:  # what waits of theirs is deleted part by part
        blocked: Blocked | None = yield Block(actor=session.actor, other=other)
        if blocked is None:
            raise RequestError(Reason.BACKLOG, retry_after=BACKLOG_RETRY_MS)
        admitted.spent = None  # the block stays, whatever becomes of what waits
        is_complete = blocked.is_complete
        if blocked.was_contact and core.hub.visible_presence(session.user_id) is not frames.PresenceStatus.OFFLINE:
            # As if the user had set it: what they believed would stay for ever.
            core.presence.notify(session.user_id, [other], frames.PresenceStatus.OFFLINE)


def account_delete(core: Core, admitted: AdmittedFrame, frame: frames.AccountDelete) -> Steps:
    """ACCOUNT_DELETE: everything of this user is deleted, then the connection is closed."""
    session = admitted.session
    check_binding(core, session, frame.payload.challenge, frame.payload.audience)
    user, contacts, is_complete = session.user_id, dict[str, None](), False
    while not is_complete:  # a part at a time, after which some are no contacts any more
        deleted: DeletedAccount = yield DeleteAccount(actor=session.actor)
        contacts.update(dict.fromkeys(deleted.contacts))
        is_complete = deleted.is_complete
    core.presence.notify(user, list(contacts), frames.PresenceStatus.OFFLINE)
    current = core.hub.forget(user)
    core.receipts.hidden.pop(user)
    core.replies.close(session, CloseCode.NORMAL, "account deleted")
    if current is not None:
        core.replies.close(current, CloseCode.NORMAL, "account deleted")
