"""Former name of ``sqlite.log_pairing``, until nobody uses it."""

from phantom_messenger.sqlite.log_pairing import begin, end, is_own_log

__all__ = ["begin", "end", "is_own_log"]
