"""How much a passphrase is stretched in tests: as little as Argon2 allows, since profiles are opened hundreds of times.

The product takes 64 MiB and half a second. Tests with profiles that were made with it ask for the
fixture ``real_passphrases``.
"""

from collections.abc import Callable

from phantom_messenger.client import vault

REAL = {name: getattr(vault, name) for name in ("ARGON2_MEMORY_KIB", "ARGON2_PASSES", "ARGON2_LANES")}
LEAST = {"ARGON2_MEMORY_KIB": 8, "ARGON2_PASSES": 1, "ARGON2_LANES": 1}


def stretch(cost: dict[str, int], set_attribute: Callable[[object, str, int], None] = setattr) -> None:
    """Stretch passphrases like this from now on."""
    for name, value in cost.items():
        set_attribute(vault, name, value)
