"""The body of a message of suite 2: the content, encrypted once under a key of its own.

A body is ``suite || commitment || AES-256-GCM(body key, content) || zeros``, and says nothing of who may read it: its
32-byte key travels in a head for each recipient (``head``). The commitment fixes the key: AES-GCM alone would let a
sender make one body that says different things under different keys ("invisible salamanders", Dodis, Grubbs,
Ristenpart, Woodage, CRYPTO 2018). Committing by a key derivation: Albertini et al., USENIX Security 2022, section 5.
"""

import hmac
from typing import Final

from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.errors import InvalidMessage, UndecryptableMessage

SUITE: Final = 2
BODY_INFO: Final = b"phantom/1 body\n"

KEY_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32
PREFIX_BYTES: Final = 1 + COMMITMENT_BYTES
_FIXED_BYTES: Final = PREFIX_BYTES + primitives.TAG_BYTES

PADDED_STEP: Final = 256
"""Padded content is a multiple of this, so that the zeros at the end can be told from the ciphertext."""

MAX_PADDED: Final = 44_544
"""Largest padded content in bytes: with the largest head it still fits the 46,080 bytes of ``encrypted``."""

_ONCE: Final = bytes(primitives.NONCE_BYTES)
"""The nonce. It may be fixed because a key encrypts one body and no other: it is drawn anew for each, also after a
state was restored from a copy, and not taken from the ratchet."""

_TRIPLE: Final = 3
"""Heads and bodies are multiples of 3 bytes, so that their base64 texts can be joined."""


def seal(content: bytes, key: bytes) -> bytes:
    """Encrypt a content.

    Args:
        content: padded to a multiple of 256 bytes, at most ``MAX_PADDED``.
        key: 32 random bytes, for this body alone.

    Raises:
        ValueError: the content is not padded, or too long.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key of a body has {KEY_BYTES} bytes")
    if not content or len(content) % PADDED_STEP or len(content) > MAX_PADDED:
        raise ValueError(f"a body holds a multiple of {PADDED_STEP} bytes, at most {MAX_PADDED}")
    commitment, body_key = _derive(key)
    prefix = bytes((SUITE,)) + commitment
    sealed = prefix + primitives.seal(body_key, _ONCE, content, prefix)
    return sealed + bytes(-len(sealed) % _TRIPLE)


def length(padded: int) -> int:
    """How many bytes the body of a padded content of so many bytes has."""
    return _FIXED_BYTES + padded + -(_FIXED_BYTES + padded) % _TRIPLE


def check_form(body: bytes) -> None:
    """Refuse what cannot be a body, whatever the key is.

    Raises:
        InvalidMessage: another suite, another length, or something else than zeros at the end.
    """
    if len(body) % _TRIPLE or not PADDED_STEP <= _content_bytes(body) <= MAX_PADDED:
        raise InvalidMessage("a body has a length that none has")
    if body[0] != SUITE:
        raise InvalidMessage("a body is of another suite than its head")
    rest = body[_FIXED_BYTES + _content_bytes(body) :]
    if rest.strip(b"\0") or len(rest) >= _TRIPLE:
        raise InvalidMessage("a body does not end with its zeros")


def open_sealed(body: bytes, key: bytes) -> bytes:
    """Undo ``seal``; the caller has called ``check_form``.

    Raises:
        UndecryptableMessage: the body was made with another key, or changed.
    """
    commitment, body_key = _derive(key)
    prefix = body[:PREFIX_BYTES]
    if not hmac.compare_digest(prefix[1:], commitment):
        raise UndecryptableMessage("the body was made with another key")
    sealed = body[PREFIX_BYTES : _FIXED_BYTES + _content_bytes(body)]
    return primitives.unseal(body_key, _ONCE, sealed, prefix)


def _content_bytes(body: bytes) -> int:
    """How long the padded content is, by the length alone."""
    return (len(body) - _FIXED_BYTES) // PADDED_STEP * PADDED_STEP


def _derive(key: bytes) -> tuple[bytes, bytes]:
    """The commitment and the key of AES-256-GCM."""
    out = primitives.hkdf(key, salt=bytes(32), info=BODY_INFO, length=COMMITMENT_BYTES + primitives.KEY_BYTES)
    return out[:COMMITMENT_BYTES], out[COMMITMENT_BYTES:]
