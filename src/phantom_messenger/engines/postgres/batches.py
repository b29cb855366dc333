"""How a batch of commands is put in order: which can be run together, and whose mailboxes they touch."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from phantom_messenger.relay import commands
from phantom_messenger.relay.commands import Actor, AnyCommand

EVERYBODY = None
"""Of a command of which nobody knows beforehand whom it concerns."""


class Group(NamedTuple):
    """Commands of one kind, in order, and where their results go."""

    kind: type[Any]
    members: list[Any]
    positions: list[int]
    users: set[str]


def users_of(command: AnyCommand) -> set[str] | None:  # noqa: PLR0911 - one case a kind
    """All whose account, mailbox or contacts it reads or changes; ``EVERYBODY`` if that is not known."""
    match command:
        case commands.AcceptMessage():
            return {command.actor.user_id, command.recipient}
        case commands.AcceptMany():
            return {command.actor.user_id, *(copy.recipient for copy in command.copies)}
        case commands.FetchPreKeys():
            return {command.actor.user_id, *command.targets}
        case commands.Acknowledge() | commands.AcknowledgeHidden():
            return {command.actor.user_id, *(name.sender for name in command.messages)}
        case commands.StoreReceipts():
            return {command.recipient, *(name.sender for name, _ in command.outcomes)}
        case commands.ExchangeKeys():
            return {command.actor.user_id, command.target}
        case commands.Block() | commands.Unblock() | commands.AskPresence():
            return {command.actor.user_id, command.other}
        case commands.LogIn():
            return {command.user_id, command.certified_id}
        case (
            commands.RecordDeparture()
            | commands.RecordActivity()
            | commands.EndSession()
            | commands.FindDeparture()
            | commands.DeleteIdleAccount()
        ):
            return {command.user_id}
        case (
            commands.Expire()
            | commands.FindIdleAccounts()
            | commands.ForgetHandouts()
            | commands.ForgetOrders()
            | commands.CheckSessions()
            | commands.SeeContacts()
            | commands.SeePresence()
            | commands.KeepRelay()
            | commands.Barrier()
            | commands.SaveClock()
            | commands.LoadClock()
            | commands.ShareClock()
            | commands.SaveLimits()
            | commands.TakeLimits()
        ):
            return EVERYBODY
        case _:
            return {command.actor.user_id}


def locked_by(command: AnyCommand) -> set[str]:
    """Whose mailboxes are locked for it: those into which it puts an item, and all whose contacts or keys it changes.

    Deleting needs no lock, nor does reading: whoever numbers an item holds the lock until it is committed, so what is
    seen of a mailbox has no gap.
    """
    match command:
        case commands.AcceptMessage():
            return {command.recipient}
        case commands.Acknowledge() if command.may_notify:
            return {name.sender for name in command.messages}
        case (
            commands.Acknowledge()
            | commands.AcknowledgeHidden()
            | commands.AskPresence()
            | commands.Confirm()
            | commands.CountPreKeys()
            | commands.FindDeparture()
            | commands.FindTypingWatchers()
            | commands.ReadMailbox()
        ):
            return set()
        case commands.StoreReceipts():
            return {name.sender for name, _ in command.outcomes}
        case _:
            return users_of(command) or set()


def session_of(command: AnyCommand) -> Actor | None:
    """Who acts, if the session must be theirs still; None if that does not matter."""
    if not isinstance(command, commands.UserCommand) or command.actor.connected_at is None:
        return None
    return command.actor


def grouped(batch: Sequence[AnyCommand]) -> list[Group]:
    """Commands that give the same results in this order as in the batch's, with as many together as can be.

    A command may go ahead of others that concern none of the users whom it concerns.
    """
    groups: list[Group] = []
    for position, command in enumerate(batch):
        users = users_of(command)
        group = _group_for(type(command), users, groups)
        if group is None:
            group = Group(type(command), [], [], set())
            groups.append(group)
        group.members.append(command)
        group.positions.append(position)
        group.users.update(users or ())
    return groups


def _group_for(kind: type[Any], users: set[str] | None, groups: list[Group]) -> Group | None:
    for number in range(len(groups) - 1, -1, -1):
        group = groups[number]
        if group.kind is kind:
            return group
        if users is EVERYBODY or not group.users or not users.isdisjoint(group.users):
            return None
    return None
