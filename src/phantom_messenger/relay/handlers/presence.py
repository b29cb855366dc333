"""PRESENCE: what a client says of itself, and what it asks of a contact."""

from msgspec import UNSET

from phantom_messenger.relay.commands import AskPresence, CommandFailed, FindTypingWatchers, FindWatchers, KnownPresence
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps
from phantom_messenger.relay.presence_notices import Id
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import Reason, RequestError
from phantom_messenger.wire.frames import PresenceStatus


def presence(core: Core, admitted: AdmittedFrame, frame: frames.Presence) -> Steps:
    """PRESENCE: an update for contacts, typing for one conversation, or a question about a contact."""
    payload, reference = frame.payload, admitted.session.reference
    if payload.user_id is not UNSET and (payload.status is UNSET or reference is None):
        if payload.status is not UNSET or payload.conversation_id is not UNSET:
            raise RequestError(Reason.FIELD, field="payload.userId")
        return _answer(core, admitted, payload.user_id)
    if payload.status is UNSET:
        raise RequestError(Reason.FIELD, field="payload.status")
    if payload.status is not PresenceStatus.TYPING:
        return _update(core, admitted, payload.status)
    if payload.conversation_id is UNSET and reference is None:
        raise RequestError(Reason.FIELD, field="payload.conversationId")
    return _typing(core, admitted, payload.conversation_id)


def _answer(core: Core, admitted: AdmittedFrame, other: str) -> Steps:
    session = admitted.session
    known: KnownPresence = yield AskPresence(actor=session.actor, other=other)
    there = core.hub.of(other) if known.is_contact else None
    if known.is_contact and there is None:
        core.hub.absence_seen(other)
    elsewhere = known.elsewhere or PresenceStatus.OFFLINE
    status = elsewhere if there is None else there.presence
    last_seen = known.last_seen if status is PresenceStatus.OFFLINE else None
    core.presence.show(session, other, status, last_seen=last_seen, request=admitted.frame.id)


def _update(core: Core, admitted: AdmittedFrame, status: PresenceStatus) -> Steps:
    session = admitted.session
    user, before = session.user_id, session.presence
    looked_absent, session.presence = session.looks_absent, status
    if session.looks_absent:
        if looked_absent:
            return  # to say it again would show that a device is there
        core.presence.record_departure(user, is_connected=True)
    elif looked_absent:
        core.hub.cancel_departure(user)
        core.receipts.show(user)
    try:
        audience: list[str] = yield FindWatchers(actor=session.actor, status=status)
    except CommandFailed:
        session.presence = before  # the client is told to say it again
        raise
    core.presence.notify(user, audience, status)


def _typing(core: Core, admitted: AdmittedFrame, conversation: Id) -> Steps:
    session = admitted.session
    audience: list[str] = yield FindTypingWatchers(
        actor=session.actor, conversation_id=None if conversation is UNSET else str(conversation)
    )
    core.presence.notify(session.user_id, audience, PresenceStatus.TYPING, conversation=conversation)
