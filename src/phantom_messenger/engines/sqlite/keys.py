"""Commands about prekeys and key exchanges."""

from phantom_messenger.engines.sqlite.messages import add_item
from phantom_messenger.engines.sqlite.tables import Tables
from phantom_messenger.relay.commands import (
    AppendRefusal,
    Exchanged,
    ExchangeKeys,
    FetchPreKeys,
    PublishPreKeys,
    PublishRefusal,
)
from phantom_messenger.relay.records import Bundle, PreKeyCounts


def exchange_keys(tables: Tables, command: ExchangeKeys) -> Exchanged | AppendRefusal:
    """See ``ExchangeKeys``."""
    requester, target = command.actor.user_id, command.target
    added = add_item(tables, target, command.item, is_loose=command.is_loose, now=command.now)
    if added is AppendRefusal.NO_ACCOUNT or added is AppendRefusal.SIGNED_ONLY:
        return added
    bundle = tables.prekeys.hand_out(target, requester, command.now) if command.wants_bundle else None
    if added is AppendRefusal.UNWANTED:
        return Exchanged(None, bundle, became_contacts=False)
    if isinstance(added, AppendRefusal) and bundle is None:
        return added
    became_contacts = tables.directory.record_written(requester, target, "")
    return Exchanged(None if isinstance(added, AppendRefusal) else added, bundle, became_contacts)


def fetch_prekeys(tables: Tables, command: FetchPreKeys) -> list[Bundle | None]:
    """See ``FetchPreKeys``."""
    requester, now = command.actor.user_id, command.now
    return [tables.prekeys.hand_out(target, requester, now) for target in command.targets]


def publish_prekeys(tables: Tables, command: PublishPreKeys) -> PreKeyCounts | PublishRefusal:
    """See ``PublishPreKeys``."""
    return tables.prekeys.publish(command.actor.user_id, command.publication)
