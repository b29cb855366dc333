"""Former name of ``sqlite.scrub``, until nobody uses it."""

from phantom_messenger.sqlite.scrub import Scrubber as Erasure

__all__ = ["Erasure"]
