"""Other people's implementations of the specifications, with this protocol's parameters.

``doubleratchet`` and ``x3dh`` (Syndace, MIT) know the classical specifications; nothing here uses this room's code
but its labels. Both have an asynchronous interface that never waits.
"""

import os
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from doubleratchet import AEAD, AuthenticationFailedException, DoubleRatchet, EncryptedMessage, Header
from doubleratchet.recommended import (
    HashFunction,
    diffie_hellman_ratchet_curve25519,
    kdf_hkdf,
    kdf_separate_hmacs,
)
from x3dh import Bundle, IdentityKeyFormat, State

Result = TypeVar("Result")

ROOT_LABEL: Final = b"phantom/1 ratchet root\n"
MESSAGE_LABEL: Final = b"phantom/1 message key\n"
SIGNED_PREKEY_LABEL: Final = b"phantom/1 signed-prekey\n"
X3DH_LABEL: Final = b"phantom/1 X3DH X25519 SHA-256\n"
LIMIT: Final = 256


def done(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The result of something that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    coroutine.close()
    raise AssertionError("it waits")


# --- Double Ratchet ---------------------------------------------------------------


class RootKDF(kdf_hkdf.KDF):
    """HKDF-SHA-256 with the root key as salt."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return ROOT_LABEL


class ChainKDF(kdf_separate_hmacs.KDF):
    """HMAC-SHA-256 over each byte of the constant: first the chain key, then the message key."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


CHAIN_CONSTANT: Final = b"\x02\x01"


class Gcm(AEAD):
    """AES-256-GCM under a key derived from the message key; the nonce is random and stands first."""

    @staticmethod
    def _cipher(message_key: bytes) -> AESGCM:
        return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=bytes(32), info=MESSAGE_LABEL).derive(message_key))

    @staticmethod
    async def encrypt(plaintext: bytes, key: bytes, associated_data: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + Gcm._cipher(key).encrypt(nonce, plaintext, associated_data)

    @staticmethod
    async def decrypt(ciphertext: bytes, key: bytes, associated_data: bytes) -> bytes:
        try:
            return Gcm._cipher(key).decrypt(ciphertext[:12], ciphertext[12:], associated_data)
        except InvalidTag:
            raise AuthenticationFailedException from None


class OracleRatchet(DoubleRatchet):
    """The header behind the associated data: key, length of the previous chain, number."""

    @staticmethod
    def _build_associated_data(associated_data: bytes, header: Header) -> bytes:
        return associated_data + encoded(header)


def encoded(header: Header) -> bytes:
    """As it stands in a message: 32 bytes and two big-endian numbers."""
    numbers = (header.previous_sending_chain_length, header.sending_chain_length)
    return header.ratchet_pub + b"".join(number.to_bytes(4, "big") for number in numbers)


def decoded(data: bytes) -> Header:
    """Undo ``encoded``."""
    return Header(data[:32], int.from_bytes(data[32:36], "big"), int.from_bytes(data[36:40], "big"))


PARAMETERS: Final[dict[str, Any]] = {
    "diffie_hellman_ratchet_class": diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet,
    "root_chain_kdf": RootKDF,
    "message_chain_kdf": ChainKDF,
    "message_chain_constant": CHAIN_CONSTANT,
    "dos_protection_threshold": LIMIT,
    "max_num_skipped_message_keys": LIMIT,
    "aead": Gcm,
}


class OracleSide:
    """One side of a ratchet; the initiator's exists from its first message on, the responder's from the other's.

    Args:
        secret: of the handshake.
        peer_key: the responder's signed prekey, if this is the initiator.
        own_key: its private half, if this is the responder.
    """

    def __init__(self, secret: bytes, *, peer_key: bytes = b"", own_key: bytes = b"") -> None:
        self.secret, self.peer_key, self.own_key = secret, peer_key, own_key
        self.ratchet: OracleRatchet | None = None

    def encrypt(self, plaintext: bytes, associated: bytes) -> tuple[bytes, bytes]:
        """The encoded header and the ciphertext."""
        if self.ratchet is None:
            self.ratchet, message = done(
                OracleRatchet.encrypt_initial_message(
                    **PARAMETERS,
                    shared_secret=self.secret,
                    recipient_ratchet_pub=self.peer_key,
                    message=plaintext,
                    associated_data=associated,
                )
            )
        else:
            message = done(self.ratchet.encrypt_message(plaintext, associated))
        return encoded(message.header), message.ciphertext

    def decrypt(self, header: bytes, ciphertext: bytes, associated: bytes) -> bytes:
        """The plaintext, or what the library raises."""
        message = EncryptedMessage(decoded(header), ciphertext)
        if self.ratchet is None:
            self.ratchet, plaintext = done(
                OracleRatchet.decrypt_initial_message(
                    **PARAMETERS,
                    shared_secret=self.secret,
                    own_ratchet_priv=self.own_key,
                    message=message,
                    associated_data=associated,
                )
            )
            return plaintext
        return done(self.ratchet.decrypt_message(message, associated))

    def restart(self) -> None:
        """Store and load."""
        if self.ratchet is not None:
            self.ratchet = OracleRatchet.from_json(self.ratchet.json, **PARAMETERS)


# --- X3DH -------------------------------------------------------------------------


class OracleState(State):
    """X3DH over Ed25519 identities.

    The library signs, and puts into the associated data, what this encoding makes of a key: with our label
    before a prekey its signatures are ours.
    """

    @staticmethod
    def _encode_public_key(key_format: IdentityKeyFormat, pub: bytes) -> bytes:
        return pub if key_format is IdentityKeyFormat.ED_25519 else SIGNED_PREKEY_LABEL + pub

    def _publish_bundle(self, bundle: Bundle) -> None:
        pass
