"""ALLOWANCE: a user lets another one send them more messages than the rate, for a while."""

from phantom_messenger.relay.allowance_notices import notice, tell_sender
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.other_relays import Allow
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import Reason, RequestError


def allowance(core: Core, admitted: AdmittedFrame, frame: frames.Allowance) -> Steps:
    """ALLOWANCE: answered alike whether or not the sender is there, or exists."""
    session, sender = admitted.session, frame.payload.sender_id
    if sender == session.user_id:
        raise RequestError(Reason.FIELD, field="payload.senderId")
    now = core.clock.monotonic_ms()
    found = core.admission.allowances.give(session.user_id, sender, address=session.address, now=now)
    core.replies.send(session, notice(core, found, now, request=frame.id, sender=sender))
    if found is not None:
        tell_sender(core, session.user_id, found, now)
        core.others.tell(Allow(session.user_id, sender, found.left, found.until - now))
    yield from ()
