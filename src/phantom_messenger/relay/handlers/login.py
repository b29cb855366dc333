"""AUTH: what a login must prove, whose it is, and what it counts for."""

import base64
from collections.abc import Generator
from typing import Any, Final

from msgspec import UNSET

from phantom_messenger.events import Event, log
from phantom_messenger.rate_window import Window
from phantom_messenger.relay import elsewhere, public_keys
from phantom_messenger.relay.commands import Actor, CommandFailed, LoggedIn, LogIn, LoginConflict
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.other_relays import Login
from phantom_messenger.relay.outbox import PAGE
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps
from phantom_messenger.relay.prekey_status import is_low, status_of
from phantom_messenger.relay.public_names import ANY, normal_or_none
from phantom_messenger.relay.reference import MAX_MALFORMED, has_proper_form
from phantom_messenger.relay.rules import State
from phantom_messenger.relay.session import Session, Strikes
from phantom_messenger.wire import frames, signing
from phantom_messenger.wire.codes import CloseCode, ErrorCode, Reason, RequestError
from phantom_messenger.wire.frames import ANNOUNCED, Feature
from phantom_messenger.wire.limits import CONNECTION_TIMEOUT_MS, RateClass

LOGIN_AGAIN_MS: Final = 1_000
"""When to log in again after one that came too late for its challenge, or whose time was wrong."""


ACCOUNT_BYTES: Final = 4_096
"""About what a new account takes in the store."""


_CONFLICTS: Final[dict[LoginConflict, Reason]] = {
    LoginConflict.TAKEN: Reason.IDENTITY,
    LoginConflict.SIGNED: Reason.UNSIGNED,
}


def authenticate(core: Core, admitted: AdmittedFrame, frame: frames.Auth) -> Steps:
    """AUTH: the key proves itself on this connection's challenge, then owns or takes its id.

    What has proved itself counts for its user, and what has not, or makes an account, for its address: so
    neighbours cannot lock each other out, nor somebody else use up a user's logins.
    """
    session, user = admitted.session, frame.payload.user_id
    certified_id = _check_proof(core, session, frame)
    if certified_id == user:  # whose it is needs no look into the store, and nothing there has changed yet
        _refuse_limited(core, user)
    # What other relays tell of this user while the store is asked finds no session yet; it is done afterwards.
    with core.arrivals.of(user) as heard:
        yield from _authenticate(core, admitted, frame, certified_id)
    if core.hub.of(user) is session:
        if heard.is_woken:
            core.mailboxes.look(session)
        if heard.login is not None:
            elsewhere.hear(core, heard.login)


def _authenticate(core: Core, admitted: AdmittedFrame, frame: frames.Auth, certified_id: str) -> Steps:
    session, signed = admitted.session, frame.signature is not UNSET
    has_counted = False
    try:
        found = yield from _log_in(core, session, frame, certified_id, may_create=False)
        if isinstance(found, LoginConflict):  # the keys of accounts were checked when they were made
            _check_key(base64.b64decode(frame.payload.public_key))
        if found is LoginConflict.NEW and session.state is not State.CLOSED:
            _count_login(core, session.address)
            has_counted = not signed
            core.admission.spend(admitted, ACCOUNT_BYTES)
            found = yield from _log_in(core, session, frame, certified_id, may_create=True)
            if isinstance(found, LoginConflict):
                core.admission.give_back(admitted)
            admitted.spent = None  # the account stays, whatever becomes of this login
    except CommandFailed as failed:
        core.admission.give_back(admitted)
        core.replies.reply_failure(session, failed, frame.id)
        core.replies.close(session, CloseCode.SERVER_ERROR, "the login could not be stored")
        return
    if session.state is State.CLOSED:
        if isinstance(found, LoggedIn) and core.hub.of(frame.payload.user_id) is None:
            _leave(core, frame, found)
        return
    if found is LoginConflict.OLDER:
        core.replies.close(session, CloseCode.POLICY_VIOLATION, "replaced by a newer connection")
        return
    if isinstance(found, LoginConflict):
        raise RequestError(_CONFLICTS[found])
    if not has_counted:  # where no signature is asked for, a login is let in and proves nothing
        try:
            _count_login(core, frame.payload.user_id if signed else session.address)
        except RequestError:
            if not core.others.is_alone and core.hub.of(frame.payload.user_id) is None:
                _leave(core, frame, found)
            raise
    _become_user(session, frame)
    _open(core, session, frame, found)


def _leave(core: Core, frame: frames.Auth, login: LoggedIn) -> None:
    """There will be no session, and the store takes the user for connected here, not where they were before."""
    user, presence = frame.payload.user_id, core.presence
    if _looks_absent(frame):
        presence.end_hidden(user)
    elif core.others.is_alone:
        presence.record_departure(user)
    elif login.seen_as is frames.PresenceStatus.OFFLINE:
        presence.record_departure(user, is_connected=True)
        presence.end_hidden(user)
    else:
        core.hub.depart(user, login.seen_as, core.clock.monotonic_ms())
        presence.record_departure(user)


def _check_proof(core: Core, session: Session, frame: frames.Auth) -> str:
    """Refuse what proves nothing.

    Returns:
        The id that is the hash of the key.

    Raises:
        RequestError: ``UNSIGNED``, ``CHALLENGE``, ``AUDIENCE``, ``KEY`` or ``IDENTITY``.
    """
    payload = frame.payload
    signed = frame.signature is not UNSET
    if not signed:
        if session.reference is None:
            raise RequestError(Reason.UNSIGNED)
    else:
        session.reference = None
        age = core.clock.monotonic_ms() - session.opened_at
        if payload.challenge is UNSET or age > CONNECTION_TIMEOUT_MS:
            raise RequestError(Reason.CHALLENGE, retry_after=LOGIN_AGAIN_MS)
        check_binding(core, session, payload.challenge, "" if payload.audience is UNSET else payload.audience)
    public_key = base64.b64decode(payload.public_key)
    certified_id = signing.certified_user_id(public_key)
    certified = certified_id == payload.user_id
    if certified and not signed:
        _check_key(public_key)
        raise RequestError(Reason.UNSIGNED)
    if signed and not certified and len(base64.b64decode(payload.user_id)) == signing.CERTIFIED_BYTES:
        # Everybody takes it for certified, and would refuse the key: it cannot be claimed, or kept from before.
        _check_key(public_key)
        raise RequestError(Reason.IDENTITY)
    return certified_id


def _check_key(public_key: bytes) -> None:
    """Refuse a key that nobody should use: it takes as long as checking a signature."""
    if not public_keys.is_usable_ed25519(public_key):
        raise RequestError(Reason.KEY)


def _log_in(
    core: Core, session: Session, frame: frames.Auth, certified_id: str, *, may_create: bool
) -> Generator[LogIn, Any, LoggedIn | LoginConflict]:
    found: LoggedIn | LoginConflict = LoginConflict.UNFINISHED
    while found is LoginConflict.UNFINISHED:
        found = yield LogIn(
            user_id=frame.payload.user_id,
            public_key=frame.payload.public_key,
            certified_id=certified_id,
            is_signed=frame.signature is not UNSET,
            may_create=may_create,
            now=core.clock.persistent_ms(),
            page_bytes=PAGE,
            connected_at=session.connected_at,
            presence=frames.PresenceStatus.OFFLINE if _looks_absent(frame) else frames.PresenceStatus.ONLINE,
        )
    return found


def _looks_absent(frame: frames.Auth) -> bool:
    return Feature.ABSENT in _features(frame)


def _refuse_limited(core: Core, user: str) -> None:
    """Refuse a login that would be one too many, before the store takes the user for connected."""
    if wait := core.admission.limiter.wait(RateClass.AUTH, user, core.clock.monotonic_ms()):
        raise RequestError(Reason.RATE, retry_after=wait)


def _count_login(core: Core, key: str) -> None:
    if wait := core.admission.limiter.acquire(RateClass.AUTH, key, core.clock.monotonic_ms()):
        raise RequestError(Reason.RATE, retry_after=wait)


def check_binding(core: Core, session: Session, challenge: str, audience: str) -> None:
    """Refuse what was signed for another connection, or for another relay.

    The challenge names the connection. The audience is what the client dialled: if this relay's challenge was
    passed on by another one, the client has signed that one's name.
    """
    if challenge != session.challenge:
        raise RequestError(Reason.CHALLENGE, retry_after=None if session.user_id else LOGIN_AGAIN_MS)
    names = {session.host} if ANY in core.names else core.names
    if not audience or (audience not in names and normal_or_none(audience) not in names):
        log(Event.AUDIENCE_REFUSED, count=1)
        raise RequestError(Reason.AUDIENCE)


def _become_user(session: Session, frame: frames.Auth) -> None:
    """The connection is this user's from now on."""
    payload = frame.payload
    session.user_id = payload.user_id
    session.public_key = base64.b64decode(payload.public_key)
    session.actor = Actor(
        payload.user_id,
        payload.public_key,
        is_unsigned=session.reference is not None,
        connected_at=session.connected_at,
    )
    features = _features(frame)
    session.acks = Feature.ACK in features
    session.takes_dates = Feature.SUITE2 in features
    session.takes_devices = Feature.DEVICES in features
    session.takes_many = Feature.MANY in features and session.reference is None
    session.takes_allowances = Feature.ALLOWANCE in features and session.reference is None
    if Feature.ABSENT in features:
        session.presence = frames.PresenceStatus.OFFLINE
    if session.reference is not None:
        session.reference.has_proper_id = has_proper_form(payload.user_id)
        session.strikes = Strikes(malformed=Window(MAX_MALFORMED - 1))


def _features(frame: frames.Auth) -> list[str]:
    return [] if frame.payload.features is UNSET else frame.payload.features


def _open(core: Core, session: Session, frame: frames.Auth, login: LoggedIn) -> None:
    """Let the session in, behind whatever it replaces; it gets its mail, and contacts hear of it."""
    current = core.hub.of(session.user_id)
    if current is not None and current.order > session.order:
        # A login that was long under way: whoever sent it has connected again since.
        core.replies.close(session, CloseCode.POLICY_VIOLATION, "replaced by a newer connection")
        return
    session.state = State.OPEN
    replaced, visible = core.hub.login(session, core.clock.monotonic_ms())
    if replaced is not None:
        if session.looks_absent and not replaced.looks_absent:
            core.presence.record_departure(session.user_id, is_connected=True)
        core.replies.close(replaced, CloseCode.POLICY_VIOLATION, "replaced by a newer login")
    core.others.tell(Login(session.user_id, session.connected_at, not session.looks_absent))
    now = core.clock.wall_ms()
    taken_up = {
        Feature.SUITE2: session.takes_dates,
        Feature.MANY: session.takes_many,
        Feature.DEVICES: session.takes_devices,
        Feature.ALLOWANCE: session.takes_allowances,
    }
    announced: list[str] = [word for word in ANNOUNCED if taken_up[word]]
    core.replies.send(
        session,
        frames.AuthSuccess(
            id=frame.id,
            payload=frames.AuthSuccessPayload(features=announced or UNSET, session_id=core.token(16), server_time=now),
            timestamp=now,
        ),
    )
    # The page was read in this login's place in the order of all commands, so what comes after it is new.
    core.mailboxes.push_page(session, login.page)
    if login.prekeys.signed_id is not None and is_low(login.prekeys):
        core.replies.send(session, status_of(login.prekeys, UNSET, now))
    if not session.looks_absent:
        core.receipts.show(session.user_id)
        if frames.PresenceStatus.ONLINE not in (visible, login.seen_as):
            core.presence.notify(session.user_id, login.contacts, frames.PresenceStatus.ONLINE)
    _send_presence_of(core, session, login.contacts)
    for contact, presence in login.elsewhere:
        if core.hub.of(contact) is None and presence is not frames.PresenceStatus.OFFLINE:
            core.presence.show(session, contact, presence)


def _send_presence_of(core: Core, session: Session, contacts: list[str]) -> None:
    for contact in contacts:
        other = core.hub.of(contact)
        if other is None:
            core.hub.absence_seen(contact)
        elif other.presence is not frames.PresenceStatus.OFFLINE:
            core.presence.show(session, contact, other.presence)


def refuse_login(core: Core, session: Session, refused: RequestError, request: Any) -> None:
    """AUTH_FAILURE, then the close code that the reference gives for it.

    What has proved nothing counts for the address; once that has had too many, its answer is to wait.
    """
    is_unproved = refused.reason in _UNPROVED
    if is_unproved and (
        left := core.admission.limiter.acquire(RateClass.AUTH, session.address, core.clock.monotonic_ms())
    ):
        refused = RequestError(Reason.RATE, retry_after=left)
    code = refused.code if refused.code in _LOGIN_CODES else ErrorCode.UNAUTHORIZED
    wait = LOGIN_AGAIN_MS if refused.reason is Reason.CLOCK else refused.retry_after
    core.replies.send(
        session,
        frames.AuthFailure(
            id=request,
            payload=frames.AuthFailurePayload(
                code=code,
                details=refused.details,
                reason=refused.message,
                retry_after=UNSET if wait is None else wait,
            ),
            timestamp=core.clock.wall_ms(),
        ),
    )
    limited = code is ErrorCode.RATE_LIMITED
    if limited and session.reference is not None and not session.reference.signs:
        core.replies.reply_error(session, refused, request)
    core.replies.close(
        session,
        CloseCode.RATE_LIMITED if limited else CloseCode.AUTHENTICATION_FAILED,
        "too many logins" if limited else "authentication failed",
    )


_UNPROVED: Final = {
    Reason.SIGNATURE,
    Reason.UNSIGNED,
    Reason.CHALLENGE,
    Reason.AUDIENCE,
    Reason.IDENTITY,
    Reason.KEY,
}
_LOGIN_CODES: Final = (
    ErrorCode.INVALID_MESSAGE,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.RATE_LIMITED,
)
