"""What happens at the other relays on the same store, as far as it concerns sessions of this one.

They tell each other what they do, and whatever got lost of it is found in the store within seconds.
"""

from collections.abc import Sequence
from typing import Final

from phantom_messenger.relay.allowance_notices import tell_sender
from phantom_messenger.relay.commands import CheckedSessions, CheckSessions, GoneUser, KeepRelay, OwnSession, ShareClock
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.other_relays import Allow, Login, NewContacts, Notice, Pass, Wake
from phantom_messenger.relay.pipeline import Steps
from phantom_messenger.relay.presence_notices import MINUTE_MS
from phantom_messenger.relay.rules import State
from phantom_messenger.relay.session import Session
from phantom_messenger.wire.frames import PresenceStatus

CHECK_MS: Final = 5_000
"""How often this relay looks in the store for what it was not told."""

CHECKED_AT_ONCE: Final = 1_000
"""Sessions that are compared with the store in one command."""


def hear(core: Core, notice: Notice) -> None:
    """Do what another relay's notice asks for."""
    match notice:
        case Wake():
            for user in notice.users:
                core.arrivals.wake(user)
                if session := core.hub.of(user):
                    core.mailboxes.look(session)
        case Pass():
            for user in notice.users:
                session = core.hub.of(user)
                if session is not None and not core.presence.is_known(session, notice.of, notice.status):
                    core.presence.send(session, notice.text.encode(), notice.of, notice.status)
        case Login():
            core.arrivals.login(notice)
            session = core.hub.of(notice.user)
            if session is None or session.connected_at < notice.connected_at:
                if replaced := core.hub.forget(notice.user):
                    core.replies.replace(replaced)
                if notice.is_visible:
                    core.receipts.show(notice.user)
        case NewContacts():
            core.presence.announce_own(notice.one, notice.other)
        case Allow():
            now = core.clock.monotonic_ms()
            found = core.admission.allowances.heard(
                notice.recipient, notice.sender, left=notice.left, expires_in=notice.expires_in, now=now
            )
            if found is not None:
                tell_sender(core, notice.recipient, found, now)


def check(core: Core) -> None:
    """Compare all sessions with the store, and see whether other relays have died."""
    own = [session for session in core.hub if session.state is State.OPEN and core.hub.of(session.user_id) is session]
    for first in range(0, len(own), CHECKED_AT_ONCE):
        core.pipeline.run(_check(core, own[first : first + CHECKED_AT_ONCE]))
    core.pipeline.run(_keep(core))
    core.pipeline.run(_share_clock(core))


def _check(core: Core, sessions: Sequence[Session]) -> Steps:
    checked: CheckedSessions = yield CheckSessions(
        sessions=[
            OwnSession(
                session.user_id,
                session.connected_at,
                session.presence,
                session.cursor.last_pushed if session.cursor.caught_up else None,
            )
            for session in sessions
        ],
        now=core.clock.persistent_ms(),
    )
    by_user = {session.user_id: session for session in sessions}
    for user in checked.replaced:
        if core.hub.of(user) is by_user[user]:
            core.replies.replace(by_user[user])
    for user in checked.behind:
        if core.hub.of(user) is by_user[user]:
            core.mailboxes.look(by_user[user])


def _share_clock(core: Core) -> Steps:
    shared: int = yield ShareClock(snapshot=core.clock.snapshot())
    core.clock.catch_up(shared)  # less than it is by now, for the answer has taken a while: never too far


def _keep(core: Core) -> Steps:
    alive = KeepRelay(last_seen=core.clock.wall_ms() // MINUTE_MS * MINUTE_MS)
    gone: list[GoneUser] = yield alive
    while gone:
        for user, contacts, last_seen in gone:
            core.presence.notify(user, contacts, PresenceStatus.OFFLINE, last_seen=last_seen)
        gone = yield alive
