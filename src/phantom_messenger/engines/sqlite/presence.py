"""Commands about presence: who may see whom."""

from phantom_messenger.engines.sqlite.tables import Tables
from phantom_messenger.relay.commands import (
    AskPresence,
    Departure,
    FindDeparture,
    FindTypingWatchers,
    FindWatchers,
    KnownPresence,
)
from phantom_messenger.relay.permissions import Action, audience, is_allowed


def find_watchers(tables: Tables, command: FindWatchers) -> list[str]:
    """See ``FindWatchers``."""
    return audience(Action.SEE_PRESENCE, command.actor.user_id, tables.directory)


def find_typing_watchers(tables: Tables, command: FindTypingWatchers) -> list[str]:
    """See ``FindTypingWatchers``."""
    user, conversation, directory = command.actor.user_id, command.conversation_id, tables.directory
    watching = [] if conversation is None else audience(Action.SEE_TYPING, user, directory, conversation)
    if not command.actor.is_unsigned:
        return watching
    contacts = audience(Action.SEE_PRESENCE, user, directory)
    return [contact for contact in contacts if contact in watching or not directory.signs(contact)]


def find_departure(tables: Tables, command: FindDeparture) -> Departure:
    """See ``FindDeparture``."""
    user, directory = command.user_id, tables.directory
    return Departure(audience(Action.SEE_PRESENCE, user, directory), directory.last_seen(user))


def ask_presence(tables: Tables, command: AskPresence) -> KnownPresence:
    """See ``AskPresence``."""
    if not is_allowed(Action.SEE_PRESENCE, command.actor.user_id, command.other, tables.directory):
        return KnownPresence(is_contact=False, last_seen=None)
    return KnownPresence(is_contact=True, last_seen=tables.directory.last_seen(command.other))
