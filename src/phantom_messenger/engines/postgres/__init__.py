"""The store on PostgreSQL, for more than one core or machine."""

from phantom_messenger.engines.postgres.connect import Durability, durability_of
from phantom_messenger.engines.postgres.link import PostgresLink
from phantom_messenger.engines.postgres.store import PostgresStore

__all__ = ["Durability", "PostgresLink", "PostgresStore", "durability_of"]
