"""The embedded engine: SQLite in one folder, or in memory."""

from phantom_messenger.engines.sqlite.folder import FolderUnusable, StoreError
from phantom_messenger.engines.sqlite.store import SQLiteStore

__all__ = ["FolderUnusable", "SQLiteStore", "StoreError"]
