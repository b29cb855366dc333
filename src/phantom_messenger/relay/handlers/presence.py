"""PRESENCE: what a client says of itself, and what it asks of a contact."""

from msgspec import UNSET

from phantom_messenger.relay.core import Core
from phantom_messenger.relay.permissions import Act, may, watchers
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps, as_user
from phantom_messenger.relay.ports import Transaction
from phantom_messenger.relay.presence_notices import Id
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import Reason, Refused
from phantom_messenger.wire.frames import PresenceStatus


def presence(core: Core, admitted: AdmittedFrame, frame: frames.Presence) -> Steps:
    """PRESENCE: an update for contacts, typing for one conversation, or a question about a contact."""
    payload, reference = frame.payload, admitted.session.reference
    if payload.user_id is not UNSET and (payload.status is UNSET or reference is None):
        if payload.status is not UNSET or payload.conversation_id is not UNSET:
            raise Refused(Reason.FIELD, field="payload.userId")
        return _answer(core, admitted, payload.user_id)
    if payload.status is UNSET:
        raise Refused(Reason.FIELD, field="payload.status")
    if payload.status is not PresenceStatus.TYPING:
        return _update(core, admitted, payload.status)
    if payload.conversation_id is UNSET and reference is None:
        raise Refused(Reason.FIELD, field="payload.conversationId")
    return _typing(core, admitted, payload.conversation_id)


def _answer(core: Core, admitted: AdmittedFrame, other: str) -> Steps:
    session = admitted.session
    user = session.user_id

    def job(tx: Transaction) -> tuple[bool, int | None]:
        known = may(Act.SEE_PRESENCE, user, other, tx.directory)
        return known, tx.directory.last_seen(other) if known else None

    is_contact, last_seen = yield as_user(session, job, size=1)
    there = core.hub.of(other) if is_contact else None
    if is_contact and there is None:
        core.hub.absence_seen(other)
    status = PresenceStatus.OFFLINE if there is None else there.presence
    if status is not PresenceStatus.OFFLINE:
        last_seen = None
    core.replies.send(session, core.presence.notice(other, status, last_seen=last_seen, request=admitted.frame.id))


def _update(core: Core, admitted: AdmittedFrame, status: PresenceStatus) -> Steps:
    session = admitted.session
    user = session.user_id
    looked_absent, session.presence = session.looks_absent, status
    if session.looks_absent:
        if looked_absent:
            return  # to say it again would show that a device is there
        core.presence.note_departure(user)
    elif looked_absent:
        core.hub.cancel_departure(user)
        core.receipts.show(user)
    contacts = yield as_user(session, lambda tx: watchers(Act.SEE_PRESENCE, user, tx.directory), size=1)
    core.presence.notify(user, contacts, status)


def _typing(core: Core, admitted: AdmittedFrame, conversation: Id) -> Steps:
    session = admitted.session
    user, is_loose = session.user_id, session.reference is not None
    audience = yield as_user(session, lambda tx: _see_typing(tx, user, conversation, is_loose=is_loose), size=1)
    core.presence.notify(user, audience, PresenceStatus.TYPING, conversation=conversation)


def _see_typing(tx: Transaction, user: str, conversation: Id, *, is_loose: bool) -> list[str]:
    """Who sees a user type: contacts in this conversation, and of a reference client all contacts of its kind."""
    others = [] if conversation is UNSET else watchers(Act.SEE_TYPING, user, tx.directory, str(conversation))
    if not is_loose:
        return others
    contacts = watchers(Act.SEE_PRESENCE, user, tx.directory)
    return [contact for contact in contacts if contact in others or not tx.directory.signs(contact)]
