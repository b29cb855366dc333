"""What a relay says of an ALLOWANCE: to whoever gave it, and to whoever has it."""

from msgspec import UNSET, UnsetType

from phantom_messenger.relay.allowances import Allowed
from phantom_messenger.relay.core import Core
from phantom_messenger.wire import frames

Id = str | UnsetType


def tell_sender(core: Core, recipient: str, allowed: Allowed, now: int) -> None:
    """Tell the sender, if they are connected here; once on each connection, so that nobody can pester them with it."""
    session = core.hub.of(allowed.sender)
    if session is not None and session.takes_allowances and allowed.told != session.order:
        allowed.told = session.order
        core.replies.send(session, notice(core, allowed, now, recipient=recipient))


def notice(
    core: Core, allowed: Allowed | None, now: int, *, request: Id = UNSET, sender: Id = UNSET, recipient: Id = UNSET
) -> frames.AllowanceNotice:
    """Build a notice; None: there is none."""
    return frames.AllowanceNotice(
        id=request,
        payload=frames.AllowanceNoticePayload(
            expires_in=0 if allowed is None else allowed.until - now,
            messages=0 if allowed is None else allowed.left,
            recipient_id=recipient,
            sender_id=sender,
        ),
        timestamp=core.clock.wall_ms(),
    )
