"""The embedded engine: SQLite in one folder, or in memory."""

from phantom_messenger.engines.errors import StoreError, StoreUnusable
from phantom_messenger.engines.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore", "StoreError", "StoreUnusable"]
