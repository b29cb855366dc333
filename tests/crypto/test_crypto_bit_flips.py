"""2,400 messages in which one bit is turned: each is refused, nothing changes, and the true one is read afterwards."""

import random
from collections.abc import Callable
from typing import Final

import crypto_samples as samples
import pytest
from crypto_samples import BOB, NOW, begin, decrypt, encrypt, established, flipped
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from phantom_messenger.crypto import handshake, padding, primitives, session
from phantom_messenger.crypto.errors import CryptoError, UnknownPreKey
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey
from phantom_messenger.crypto.session import Session

FLIPS: Final = 800
"""Of each of the three kinds of messages."""

TEXT: Final = padding.pad(b"pay 10 to carol")


class Bob:
    """Reads as the caller of this room does: what a message used up goes, if it could be read."""

    def __init__(self, state: Session | None = None) -> None:
        self.state = state
        self.one_time: dict[int, PreKey] = {BOB.one_time.id: BOB.one_time}
        self.kem: dict[int, KemPreKey] = {BOB.kem.id: BOB.kem}

    def read(self, message: bytes) -> bytes:
        parsed = session.parse(message)
        if self.state is not None:
            self.state, text = decrypt(self.state, message)
            return text
        header = parsed.handshake
        if header is None:
            raise UnknownPreKey("there is no session")
        try:
            one_time = self.one_time[header.one_time_prekey_id] if header.one_time_prekey_id else None
            kem = self.kem[header.kem_prekey_id] if header.kem_prekey_id else None
        except KeyError:
            raise UnknownPreKey("no such key") from None
        agreement = handshake.respond(
            BOB.identity,
            header,
            signed_prekey=BOB.signed,
            one_time_prekey=one_time,
            kem_prekey=kem,
            own_id=BOB.id,
            peer_id=samples.ALICE.id,
        )
        self.state, text = decrypt(session.answer(header, agreement, BOB.signed.pair), message)
        self.one_time.pop(header.one_time_prekey_id, None)
        self.kem.pop(header.kem_prekey_id, None)
        return text

    def everything(self) -> tuple[bytes | None, list[int], list[int]]:
        """What he holds."""
        return None if self.state is None else session.dump(self.state), list(self.one_time), list(self.kem)


def first_message() -> tuple[Bob, bytes]:
    return Bob(), encrypt(begin(BOB.bundle()), TEXT)[1]


def later_message() -> tuple[Bob, bytes]:
    alice, bob = established()
    alice, _ = encrypt(alice, b"lost")
    return Bob(bob), encrypt(alice, TEXT)[1]


def late_message() -> tuple[Bob, bytes]:
    """Its key was skipped."""
    alice, bob = established()
    alice, late = encrypt(alice, TEXT)
    bob, _ = decrypt(bob, encrypt(alice, b"there")[1], NOW)
    assert len(bob.ratchet.mkskipped) == 1
    return Bob(bob), late


KINDS: Final[dict[str, Callable[[], tuple[Bob, bytes]]]] = {
    "first message": first_message,
    "later message": later_message,
    "late message": late_message,
}


def bits(message: bytes) -> list[int]:
    """Which bits are turned: at most one of each byte, until there are more flips than bytes."""
    dice = random.Random(len(message))  # noqa: S311 - the same in every run
    every = list(range(8 * len(message)))
    one_each = [8 * place + dice.randrange(8) for place in range(len(message))]
    dice.shuffle(one_each)
    rest = sorted(set(every) - set(one_each))
    dice.shuffle(rest)
    return (one_each + rest)[:FLIPS]


def refuses_every_flip(make: Callable[[], tuple[Bob, bytes]]) -> int:
    """How many were tried."""
    bob, message = make()
    before = bob.everything()
    tried = bits(message)
    for bit in tried:
        with pytest.raises(CryptoError):
            bob.read(flipped(message, bit // 8, bit % 8))
        assert bob.everything() == before
    assert bob.read(message) == TEXT
    assert bob.everything() != before
    return len(set(tried))


@pytest.mark.parametrize("kind", KINDS)
def test_each_of_800_flips_is_refused_and_nothing_changes(kind: str) -> None:
    assert refuses_every_flip(KINDS[kind]) == FLIPS


def test_flips_are_2400() -> None:
    assert len(KINDS) * FLIPS == 2_400


@pytest.mark.parametrize("kind", KINDS)
def test_flips_reach_every_field(kind: str) -> None:
    """All its bytes, or at least a quarter of them if the message has more bytes than there are flips."""
    _, message = KINDS[kind]()
    places = {bit // 8 for bit in bits(message)}
    parsed = session.parse(message)
    lengths = [2, 40, 12, len(parsed.ciphertext) - 28, 16]
    if parsed.handshake is not None:
        lengths[1:1] = [32, 32, 4, 4, 4, len(parsed.handshake.kem_ciphertext)]
    assert sum(lengths) == len(message)
    start = 0
    for length in lengths:
        hit = len(places & set(range(start, start + length)))
        assert hit == length if len(message) <= FLIPS else hit >= length / 4
        start += length


def test_one_time_keys_are_used_up_by_the_true_message_alone() -> None:
    bob, message = first_message()
    with pytest.raises(CryptoError):
        bob.read(flipped(message, len(message) - 1, 0))
    assert (list(bob.one_time), list(bob.kem)) == ([22], [33])
    bob.read(message)
    assert (list(bob.one_time), list(bob.kem)) == ([], [])
    bob.state = None
    with pytest.raises(UnknownPreKey):
        bob.read(message)


# --- the same without a protection ------------------------------------------------


def _unseal_anything(key: bytes, nonce: bytes, ciphertext: bytes, _: bytes) -> bytes:
    """GCM without its tag (NIST SP 800-38D section 7.2, without step 8)."""
    decryptor = Cipher(AES256(key), CTR(nonce + (2).to_bytes(4))).decryptor()
    return decryptor.update(ciphertext[: -primitives.TAG_BYTES])


@pytest.mark.parametrize("kind", KINDS)
def test_control_cipher_that_does_not_authenticate_is_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitives, "unseal", _unseal_anything)
    with pytest.raises(pytest.fail.Exception):
        refuses_every_flip(KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_control_unauthenticated_header_is_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands before the ciphertext is then only as safe as what it changes."""
    seal, unseal = primitives.seal, primitives.unseal
    monkeypatch.setattr(primitives, "seal", lambda key, nonce, text, _: seal(key, nonce, text, b""))
    monkeypatch.setattr(primitives, "unseal", lambda key, nonce, text, _: unseal(key, nonce, text, b""))
    with pytest.raises(pytest.fail.Exception):
        refuses_every_flip(KINDS[kind])


def test_control_reader_that_keeps_the_state_of_a_failure_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Bob.read

    def read(self: Bob, message: bytes) -> bytes:
        try:
            return real(self, message)
        except CryptoError:
            self.one_time.clear()
            raise

    monkeypatch.setattr(Bob, "read", read)
    with pytest.raises(AssertionError):
        refuses_every_flip(first_message)
