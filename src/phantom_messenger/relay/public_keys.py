"""Public keys that nobody should use: the relay refuses them before a client has to."""

from typing import Final

from nacl.bindings import crypto_core_ed25519_is_valid_point

_P: Final = 2**255 - 19
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)
"""u-coordinates of order 1, 2, 4 and 8 on Curve25519 and its twist (RFC 7748 section 6.1 warns of them)."""


def is_usable_x25519(key: bytes) -> bool:
    """Whether Diffie-Hellman with this 32-byte public key yields a secret at all."""
    u = int.from_bytes(key, "little") & (2**255 - 1)
    return u % _P not in _SMALL_ORDER


def is_usable_ed25519(key: bytes) -> bool:
    """Whether these 32 bytes are a canonical point of the prime-order group."""
    return crypto_core_ed25519_is_valid_point(key)
