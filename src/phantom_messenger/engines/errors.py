"""Why a store cannot be opened."""


class StoreError(Exception):
    """The store cannot be used; the message says what to do."""


class StoreUnusable(StoreError):
    """Another one must be named, or rights must be granted."""
