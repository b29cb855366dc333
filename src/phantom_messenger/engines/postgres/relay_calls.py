"""Calls for what relays share: who is connected where and what contacts see of it, the clock, kept limits."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.engines.postgres.arrays import Texts
from phantom_messenger.engines.postgres.statements import Call, Row, Setting, Statement, columns, done
from phantom_messenger.relay import commands
from phantom_messenger.relay.commands import (
    ACCOUNT_GONE,
    CheckedSessions,
    Departure,
    GoneUser,
    KnownPresence,
    SeenPresence,
    SeenUser,
)
from phantom_messenger.relay.records import KeptLimits
from phantom_messenger.wire.frames import PresenceStatus

# --- presence ------------------------------------------------------------------------------------------------


def _find_watchers(command: commands.FindWatchers, setting: Setting) -> Call:
    parameters = (*command.actor.account, None if command.status is None else setting.relay, command.status)
    statement = Statement("SELECT find_watchers(%s, %s, %s, %s, %s)", parameters)
    return Call([statement], lambda rows: [_or_gone(rows[0][0][0])])


def _find_typing_watchers(command: commands.FindTypingWatchers, _: Setting) -> Call:
    statement = Statement(
        "SELECT find_typing_watchers(%s, %s, %s, %s)", (*command.actor.account, command.conversation_id)
    )
    return Call([statement], lambda rows: [_or_gone(rows[0][0][0])])


def _or_gone(found: Any) -> Any:
    return ACCOUNT_GONE if found is None else found


def _find_departure(command: commands.FindDeparture, setting: Setting) -> Call:
    def results(rows: list[list[Row]]) -> list[Any]:
        contacts, seen = rows[0][0]
        return [Departure(contacts or [], seen)]

    return Call([Statement("SELECT * FROM find_departure(%s, %s)", (command.user_id, setting.relay))], results)


def _ask_presence(command: commands.AskPresence, setting: Setting) -> Call:
    def results(rows: list[list[Row]]) -> list[Any]:
        if not rows[0]:
            return [ACCOUNT_GONE]
        is_contact, seen, elsewhere = rows[0][0]
        return [KnownPresence(is_contact, seen, None if elsewhere is None else PresenceStatus(elsewhere))]

    parameters = (*command.actor.account, command.other, setting.relay)
    return Call([Statement("SELECT * FROM ask_presence(%s, %s, %s, %s, %s)", parameters)], results)


# --- several relays ------------------------------------------------------------------------------------------


def _end_session(command: commands.EndSession, setting: Setting) -> Call:
    return done("end_session(%s, %s)", command.user_id, setting.relay)


def _check_sessions(command: commands.CheckSessions, setting: Setting) -> Call:
    users, connected, presences, pushed = columns(command.sessions, 4)
    statement = Statement(
        "SELECT * FROM check_sessions(%s, %s::text[], %s::bigint[], %s::text[], %s::bigint[], %s)",
        (setting.relay, users, connected, [each.value for each in presences], pushed, command.now),
    )
    return Call([statement], lambda rows: [CheckedSessions(*rows[0][0])])


def _see_presence(command: commands.SeePresence, setting: Setting) -> Call:
    statements = [
        Statement("SELECT * FROM begin_look(%s, %s)", (setting.relay, command.since)),
        Statement("SELECT * FROM see_presence(%s, %s)", (setting.relay, command.since)),
    ]

    def results(rows: list[list[Row]]) -> list[Any]:
        [(since, is_new)] = rows[0]
        return [SeenPresence(since, is_new, _seen(rows[1]))]

    return Call(statements, results)


def _see_contacts(command: commands.SeeContacts, setting: Setting) -> Call:
    statement = Statement("SELECT * FROM see_contacts(%s, %s)", (setting.relay, Texts(command.users)))
    return Call([statement], lambda rows: [_seen(rows[0])])


def _seen(rows: list[Row]) -> list[SeenUser]:
    return [
        SeenUser(user, None if shown is None else PresenceStatus(shown), last_seen, watchers)
        for user, shown, last_seen, watchers in rows
    ]


def _keep_relay(command: commands.KeepRelay, setting: Setting) -> Call:
    statement = Statement("SELECT * FROM keep_relay(%s, %s)", (setting.relay, command.last_seen))
    return Call([statement], lambda rows: [[GoneUser(*row) for row in rows[0]]])


# --- upkeep --------------------------------------------------------------------------------------------------


def _save_clock(command: commands.SaveClock, _: Setting) -> Call:
    kept = command.snapshot
    return done("save_clock(%s, %s, %s, %s)", kept.boot, kept.since_boot, kept.wall, kept.persistent)


def _share_clock(command: commands.ShareClock, _: Setting) -> Call:
    own = command.snapshot
    statement = Statement("SELECT share_clock(%s, %s, %s, %s)", (own.boot, own.since_boot, own.wall, own.persistent))
    return Call([statement], lambda rows: [rows[0][0][0]])


def _load_clock(_: commands.LoadClock, __: Setting) -> Call:
    statement = Statement("SELECT boot, since_boot, wall, persistent FROM relay_time")
    return Call([statement], lambda rows: [ClockSnapshot(*rows[0][0]) if rows[0] else None])


def _save_limits(command: commands.SaveLimits, _: Setting) -> Call:
    statement = Statement(
        "INSERT INTO relay_limits (hash_key, times) VALUES (%b, %b) ON CONFLICT (is_only)"
        " DO UPDATE SET hash_key = excluded.hash_key, times = excluded.times",
        (command.limits.key, msgspec.msgpack.encode(command.limits.times)),
    )
    return Call([statement], lambda _: [None])


def _take_limits(_: commands.TakeLimits, __: Setting) -> Call:
    def results(rows: list[list[Row]]) -> list[Any]:
        if not rows[0]:
            return [None]
        key, times = rows[0][0]
        return [KeptLimits(key, msgspec.msgpack.decode(times, type=dict[bytes, list[int]]))]

    return Call([Statement("DELETE FROM relay_limits RETURNING hash_key, times")], results)


def _barrier(_: commands.Barrier, __: Setting) -> Call:
    return Call([], lambda _: [None])


ALONE: Final[dict[Any, Callable[[Any, Setting], Call]]] = {
    commands.AskPresence: _ask_presence,
    commands.Barrier: _barrier,
    commands.CheckSessions: _check_sessions,
    commands.EndSession: _end_session,
    commands.FindDeparture: _find_departure,
    commands.FindTypingWatchers: _find_typing_watchers,
    commands.FindWatchers: _find_watchers,
    commands.KeepRelay: _keep_relay,
    commands.LoadClock: _load_clock,
    commands.SaveClock: _save_clock,
    commands.SaveLimits: _save_limits,
    commands.SeeContacts: _see_contacts,
    commands.SeePresence: _see_presence,
    commands.ShareClock: _share_clock,
    commands.TakeLimits: _take_limits,
}
"""What makes the call for each kind of command."""
