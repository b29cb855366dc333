"""The only module that touches the cryptographic libraries.

HKDF, AES-GCM, Argon2 and ML-KEM are from ``cryptography``; Ed25519, its map to X25519, and
X25519 are from libsodium (PyNaCl): it verifies strictly, which ``cryptography`` does not, and
multiplies in half the time.
"""

import hashlib
import hmac as _hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_scalarmult,
    crypto_scalarmult_base,
    crypto_sign,
    crypto_sign_BYTES,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError
from nacl.exceptions import RuntimeError as SodiumError

from phantom_messenger.crypto.errors import InvalidKey, InvalidSignature, UndecryptableMessage

KEY_BYTES: Final = 32
_FIELD: Final = 2**255 - 19
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SIGNATURE_BYTES: Final = crypto_sign_BYTES
KEM_SEED_BYTES: Final = 64
KEM_PUBLIC_BYTES: Final = 1_184
KEM_CIPHERTEXT_BYTES: Final = 1_088


def x25519_public(private: bytes) -> bytes:
    """The public key of 32 private bytes (RFC 7748)."""
    if len(private) != KEY_BYTES:  # the library reads 32 bytes, whatever it is given
        raise ValueError("an X25519 private key has 32 bytes")
    return crypto_scalarmult_base(private)


def x25519(private: bytes, public: bytes) -> bytes:
    """Diffie-Hellman (RFC 7748 section 6.1).

    Args:
        private: 32 bytes.
        public: 32 bytes of the peer.

    Returns:
        32 secret bytes, never all zero.

    Raises:
        InvalidKey: the peer's key has small order, so the result would not depend on ``private``;
            or another length; or it is not canonical, which RFC 7748 would accept: here a key has exactly one encoding.
    """
    if len(private) != KEY_BYTES or len(public) != KEY_BYTES:  # as above
        raise InvalidKey("a Diffie-Hellman key has another length than 32 bytes")
    if int.from_bytes(public, "little") >= _FIELD:
        raise InvalidKey("a Diffie-Hellman key is not canonically encoded")
    try:
        return crypto_scalarmult(private, public)
    except SodiumError:
        raise InvalidKey("a Diffie-Hellman key contributes nothing") from None


def ed25519_public(seed: bytes) -> bytes:
    """The public key of a 32-byte seed (RFC 8032 section 5.1.5)."""
    return crypto_sign_seed_keypair(seed)[0]


def ed25519_secret(seed: bytes) -> bytes:
    """The secret that ``ed25519_sign`` needs: 64 bytes, the seed and its public key."""
    return crypto_sign_seed_keypair(seed)[1]


def ed25519_sign(secret: bytes, message: bytes) -> bytes:
    """The 64-byte signature of a message (RFC 8032 section 5.1.6).

    Args:
        secret: of ``ed25519_secret``; with a public key of another seed in it, two signatures would reveal the seed.
        message: what is signed.
    """
    return crypto_sign(message, secret)[:SIGNATURE_BYTES]


def ed25519_verify(public: bytes, signature: bytes, message: bytes) -> None:
    """Check a signature strictly: no small-order or non-canonical key or R, S < L.

    Raises:
        InvalidSignature: it does not verify.
    """
    try:
        # The library takes one string: unchecked lengths would let bytes move between its parts.
        if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
            raise InvalidSignature("a key or signature has the wrong length")
        crypto_sign_open(signature + message, public)
    except (BadSignatureError, ValueError):
        raise InvalidSignature("the signature does not verify") from None


def ed25519_to_x25519_public(public: bytes) -> bytes:
    """The X25519 image of an Ed25519 public key (RFC 7748 section 4.1, birational map).

    Raises:
        InvalidKey: not a canonical point of the prime-order group.
    """
    if len(public) != KEY_BYTES:  # as above
        raise InvalidKey("an identity key has another length than 32 bytes")
    try:
        # It refuses points outside the prime-order group; none of the 38 other encodings is of one inside.
        return crypto_sign_ed25519_pk_to_curve25519(public)
    except SodiumError:
        raise InvalidKey("an identity key is not a usable Ed25519 key") from None


def ed25519_to_x25519_private(seed: bytes) -> bytes:
    """The X25519 private key that belongs to the image of a seed's public key."""
    # The library takes seed and public key, and uses the seed alone.
    return crypto_sign_ed25519_sk_to_curve25519(seed + bytes(KEY_BYTES))


def kem_public(seed: bytes) -> bytes:
    """The 1,184-byte ML-KEM-768 key of a 64-byte seed d || z (FIPS 203 section 7.1)."""
    return MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()


def kem_encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """Make a secret for the owner of a key (FIPS 203 section 7.2).

    Returns:
        The 32-byte shared secret and the 1,088-byte ciphertext that carries it.

    Raises:
        InvalidKey: the key fails the input check of FIPS 203.
    """
    try:
        return MLKEM768PublicKey.from_public_bytes(public).encapsulate()
    except ValueError:
        raise InvalidKey("a KEM key is malformed") from None


def kem_decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    """The secret of a ciphertext (FIPS 203 section 7.3); a forged one gives an unrelated secret."""
    try:
        return MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)
    except ValueError:
        raise InvalidKey("a KEM ciphertext is malformed") from None


def hkdf(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA-256 (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104)."""
    return _hmac.digest(key, message, "sha256")


def sha256(data: bytes) -> bytes:
    """SHA-256 (FIPS 180-4)."""
    return hashlib.sha256(data).digest()


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-256-GCM (NIST SP 800-38D); the caller never uses a pair of key and nonce twice."""
    return AESGCM(key).encrypt(nonce, plaintext, associated)


def unseal(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """Undo ``seal``.

    Raises:
        UndecryptableMessage: something was changed, or the key is another one.
    """
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, associated)
    except InvalidTag:
        raise UndecryptableMessage("does not authenticate") from None


class Cipher:
    """``seal`` and ``unseal`` with one key, which is prepared once.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        """See ``seal``."""
        return self._aead.encrypt(nonce, plaintext, associated)

    def unseal(self, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
        """See ``unseal``."""
        try:
            return self._aead.decrypt(nonce, ciphertext, associated)
        except InvalidTag:
            raise UndecryptableMessage("does not authenticate") from None


def argon2id(passphrase: bytes, *, salt: bytes, memory_kib: int, passes: int, lanes: int) -> bytes:
    """32 bytes from a passphrase (RFC 9106); ``salt`` has at least 16 bytes."""
    return Argon2id(salt=salt, length=KEY_BYTES, iterations=passes, lanes=lanes, memory_cost=memory_kib).derive(
        passphrase
    )
