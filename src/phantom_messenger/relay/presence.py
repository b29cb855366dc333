"""PRESENCE: what a client says of itself, and what it asks of a contact."""

from typing import Any

from msgspec import UNSET

from phantom_messenger.relay.core import Core, Id
from phantom_messenger.relay.permissions import Act, may, watchers
from phantom_messenger.relay.ports import Transaction
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import Reason, Refused


def presence(core: Core, session: Session, frame: frames.Presence) -> None:
    """PRESENCE: an update for contacts, typing for one conversation, or a question about a contact."""
    payload, user = frame.payload, session.user_id
    if payload.user_id is not UNSET and (payload.status is UNSET or session.reference is None):
        if payload.status is not UNSET or payload.conversation_id is not UNSET:
            raise Refused(Reason.FIELD, field="payload.userId")
        _answer_presence(core, session, payload.user_id, frame.id)
        return
    if payload.status is UNSET:
        raise Refused(Reason.FIELD, field="payload.status")
    status = payload.status
    if status is frames.PresenceStatus.TYPING:
        if payload.conversation_id is UNSET and session.reference is None:
            raise Refused(Reason.FIELD, field="payload.conversationId")
        conversation = payload.conversation_id
        core.store(
            session,
            frame.id,
            lambda tx: _see_typing(tx, user, conversation, is_loose=session.reference is not None),
            lambda others: core.tell_contacts(user, others, status, conversation=conversation),
            size=1,
        )
    else:
        did_look_absent, session.presence = session.looks_absent, status
        if session.looks_absent:
            if did_look_absent:
                return  # to say it again would show that somebody is there
            core.note_departure(user)
        elif did_look_absent:
            core.hub.returned(user)
            core.show(user)
        core.store(
            session,
            frame.id,
            lambda tx: watchers(Act.SEE_PRESENCE, user, tx.directory),
            lambda contacts: core.tell_contacts(user, contacts, status),
            size=1,
        )


def _see_typing(tx: Transaction, user: str, conversation: Id, *, is_loose: bool) -> list[str]:
    """Who sees a user type: contacts in this conversation, and of a reference client all contacts of its kind."""
    others = [] if conversation is UNSET else watchers(Act.SEE_TYPING, user, tx.directory, str(conversation))
    if not is_loose:
        return others
    contacts = watchers(Act.SEE_PRESENCE, user, tx.directory)
    return [contact for contact in contacts if contact in others or not tx.directory.signs(contact)]


def _answer_presence(core: Core, session: Session, other: str, request: Any) -> None:
    user = session.user_id

    def job(tx: Transaction) -> tuple[bool, int | None]:
        known = may(Act.SEE_PRESENCE, user, other, tx.directory)
        return known, tx.directory.last_seen(other) if known else None

    def then(result: tuple[bool, int | None]) -> None:
        known, last_seen = result
        there = core.hub.of(other) if known else None
        if known and there is None:
            core.hub.missed(other)
        status = frames.PresenceStatus.OFFLINE if there is None else there.presence
        if status is not frames.PresenceStatus.OFFLINE:
            last_seen = None
        core.send(session, core.presence(other, status, last_seen=last_seen, request=request))

    core.store(session, request, job, then, size=1)
