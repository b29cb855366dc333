"""Former names of ``sqlite.errors``, until nobody uses them."""

from phantom_messenger.sqlite.errors import is_corruption as is_damage
from phantom_messenger.sqlite.errors import is_out_of_space as is_no_room

__all__ = ["is_damage", "is_no_room"]
