"""Commands about accounts: login, departure, blocking, deletion."""

from typing import Final

from phantom_messenger.engines.sqlite.tables import Tables
from phantom_messenger.relay.commands import (
    Block,
    Blocked,
    DeleteAccount,
    DeletedAccount,
    FindIdleAccounts,
    IdleAccounts,
    LoggedIn,
    LogIn,
    LoginConflict,
    RecordDeparture,
    Unblock,
)
from phantom_messenger.relay.permissions import Action, audience
from phantom_messenger.relay.records import Page, PreKeyCounts
from phantom_messenger.wire.limits import MAX_BLOCKED

_NO_PREKEYS: Final = PreKeyCounts(one_time=0, one_time_kem=0, signed_id=None, last_resort_kem_id=None)


def log_in(tables: Tables, command: LogIn) -> LoggedIn | LoginConflict:
    """See ``LogIn``."""
    user, directory = command.user_id, tables.directory
    owner = directory.public_key(user)
    is_certified = user == command.certified_id
    if not command.is_signed and directory.signs(command.certified_id):
        return LoginConflict.SIGNED
    if owner != command.public_key and not command.may_create and (owner is None or is_certified):
        return LoginConflict.NEW
    if not directory.bind(user, command.public_key, certified=is_certified, signed=command.is_signed, now=command.now):
        return LoginConflict.SIGNED if owner == command.public_key else LoginConflict.TAKEN
    if owner is None:  # a new account: nothing can be in it
        return LoggedIn(Page([], complete=True), [], _NO_PREKEYS)
    page = tables.mailboxes.read(user, 0, command.page_bytes, command.now)
    return LoggedIn(page, audience(Action.SEE_PRESENCE, user, directory), tables.prekeys.counts(user))


def record_departure(tables: Tables, command: RecordDeparture) -> None:
    """See ``RecordDeparture``."""
    tables.directory.record_last_seen(command.user_id, command.last_seen)
    tables.directory.record_activity(command.user_id, command.now)


def block(tables: Tables, command: Block) -> Blocked | None:
    """See ``Block``."""
    user, other, directory = command.actor.user_id, command.other, tables.directory
    blocks = directory.blocks(user)
    if other not in blocks and len(blocks) >= MAX_BLOCKED:
        return None
    was_contact = directory.has_written(user, other) and directory.has_written(other, user)
    return Blocked(was_contact, directory.block(user, other))


def unblock(tables: Tables, command: Unblock) -> None:
    """See ``Unblock``."""
    tables.directory.unblock(command.actor.user_id, command.other)


def delete_account(tables: Tables, command: DeleteAccount) -> DeletedAccount:
    """See ``DeleteAccount``."""
    user, directory = command.actor.user_id, tables.directory
    contacts = audience(Action.SEE_PRESENCE, user, directory)
    return DeletedAccount(contacts, directory.delete(user))


def find_idle_accounts(tables: Tables, command: FindIdleAccounts) -> IdleAccounts:
    """See ``FindIdleAccounts``."""
    return IdleAccounts(*tables.directory.idle(command.active_before, command.limit, command.now))
