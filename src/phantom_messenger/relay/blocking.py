"""BLOCK: somebody is kept away, and cannot tell it from the fate of a stranger."""

from phantom_messenger.relay.core import BACKLOG_RETRY_MS, Core
from phantom_messenger.relay.ports import Transaction
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import Reason, Refused
from phantom_messenger.wire.limits import MAX_BLOCKED

BLOCK_BYTES = 256
"""About what a block takes in the store."""


def block(core: Core, session: Session, frame: frames.Block) -> None:
    """BLOCK: begin or end it; answered once it is on disk and nothing of theirs waits any more."""
    user, other = session.user_id, frame.payload.user_id
    if other == user:
        raise Refused(Reason.FIELD, field="payload.userId")
    spent = core.spend(session, BLOCK_BYTES) if frame.payload.blocked else None

    def job(tx: Transaction) -> tuple[bool, bool] | None:
        directory = tx.directory
        if not frame.payload.blocked:
            directory.unblock(user, other)
            return False, True
        blocks = directory.blocks(user)
        if other not in blocks and len(blocks) >= MAX_BLOCKED:
            return None
        parted = directory.has_written(user, other) and directory.has_written(other, user)
        return parted, directory.block(user, other)

    def then(result: tuple[bool, bool] | None) -> None:
        if result is None:
            if spent is not None:
                core.quota.give_back(spent)
            core.refuse(session, Refused(Reason.BACKLOG, retry_after=BACKLOG_RETRY_MS), frame.id)
            return
        parted, is_done = result
        if parted and core.hub.believed(user) is not frames.PresenceStatus.OFFLINE:
            # As if the user had set it: what they believed would stay for ever.
            core.tell_contacts(user, [other], frames.PresenceStatus.OFFLINE)
        if is_done:
            now = core.clock.wall_ms()
            core.send(session, frames.BlockDone(id=frame.id, payload=frame.payload, timestamp=now))
        else:
            core.store(session, frame.id, job, then)  # the next part of what waits

    core.store(session, frame.id, job, then, spent=spent)
