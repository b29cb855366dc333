"""What each command does to the tables, inside a transaction."""

from typing import Any, assert_never

from phantom_messenger.engines.sqlite import accounts, keys, messages, presence
from phantom_messenger.engines.sqlite.tables import Tables
from phantom_messenger.relay import commands
from phantom_messenger.relay.commands import ACCOUNT_GONE, AnyCommand, UserCommand


def execute(tables: Tables, command: AnyCommand) -> Any:  # noqa: C901, PLR0911, PLR0912 - one case a command
    """Run a command; returns the result that its class names, or ``ACCOUNT_GONE``.

    Raises:
        Exception: it could not be run; the transaction is to be rolled back to where it was before.
    """
    if isinstance(command, UserCommand) and not tables.directory.is_current(command.actor):
        return ACCOUNT_GONE
    match command:  # the most frequent ones first
        case commands.AcceptMessage():
            return messages.accept_message(tables, command)
        case commands.Acknowledge():
            return messages.acknowledge(tables, command)
        case commands.Confirm():
            return tables.mailboxes.confirm(command.actor.user_id, command.seqs)
        case commands.AcceptMany():
            return messages.accept_many(tables, command)
        case commands.ReadMailbox():
            return tables.mailboxes.read(command.actor.user_id, command.after, command.max_bytes, command.now)
        case commands.LogIn():
            return accounts.log_in(tables, command)
        case commands.ExchangeKeys():
            return keys.exchange_keys(tables, command)
        case commands.Barrier():
            return None
        case commands.AcknowledgeHidden():
            return messages.acknowledge_hidden(tables, command)
        case commands.StoreReceipts():
            return messages.store_receipts(tables, command)
        case commands.Expire():
            return messages.expire(tables, command)
        case commands.FetchPreKeys():
            return keys.fetch_prekeys(tables, command)
        case commands.PublishPreKeys():
            return keys.publish_prekeys(tables, command)
        case commands.CountPreKeys():
            return tables.prekeys.counts(command.actor.user_id)
        case commands.ForgetHandouts():
            return tables.prekeys.forget_handouts(command.now)
        case commands.ForgetOrders():
            return tables.orders.forget(command.written_before)
        case commands.FindWatchers():
            return presence.find_watchers(tables, command)
        case commands.FindTypingWatchers():
            return presence.find_typing_watchers(tables, command)
        case commands.FindDeparture():
            return presence.find_departure(tables, command)
        case commands.AskPresence():
            return presence.ask_presence(tables, command)
        case commands.RecordDeparture():
            return accounts.record_departure(tables, command)
        case commands.RecordActivity():
            return tables.directory.record_activity(command.user_id, command.now)
        case commands.CheckSessions():
            return commands.CheckedSessions([], [])  # the folder is locked: no other relay works on it
        case commands.ShareClock():
            return command.snapshot.persistent
        case commands.SeePresence():
            return commands.SeenPresence(0, is_new=False, users=[])
        case commands.EndSession():
            return None
        case commands.KeepRelay() | commands.SeeContacts():
            return []
        case commands.Block():
            return accounts.block(tables, command)
        case commands.Unblock():
            return accounts.unblock(tables, command)
        case commands.DeleteAccount():
            return accounts.delete_account(tables, command)
        case commands.FindIdleAccounts():
            return accounts.find_idle_accounts(tables, command)
        case commands.DeleteIdleAccount():
            return tables.directory.delete_idle(command.user_id, command.active_before)
        case commands.SaveClock():
            return tables.time.save(command.snapshot)
        case commands.LoadClock():
            return tables.time.load()
        case commands.SaveLimits():
            return tables.limits.save(command.limits)
        case commands.TakeLimits():
            return tables.limits.take()
        case _ as unreachable:
            assert_never(unreachable)
