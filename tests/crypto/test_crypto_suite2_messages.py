"""Heads and bodies of suite 2: their lengths, what they are bound to, and 10,000 changes of which each is refused."""

import hmac
import random
from collections.abc import Callable
from typing import Final

import pytest
from crypto_samples import NOW, flipped, randomness
from suite2_samples import accept, answer, answered_offer, begin, bundle, decrypt, encrypt, established

from phantom_messenger.crypto import body, head, padding, primitives, session, session2
from phantom_messenger.crypto.errors import CryptoError, InvalidMessage, UndecryptableMessage, UnknownSuite
from phantom_messenger.crypto.head import HEAD_BYTES, PartKind
from phantom_messenger.crypto.session2 import Session2
from phantom_messenger.wire import limits
from support.structs import replace

CHANGES: Final = 2_000
"""Of each of five kinds of messages."""

TEXT: Final = b"pay 10 to carol"
MAX_BYTES: Final = limits.MAX_ENCRYPTED_CHARS // 4 * 3


# --- five kinds of messages -----------------------------------------------------------


def first_message() -> tuple[Session2, bytes]:
    """With a handshake header."""
    _, message = encrypt(begin(), TEXT)
    return answer(message), message


def later_message() -> tuple[Session2, bytes]:
    alice, bob = established()
    alice, _ = encrypt(alice, b"lost")
    return bob, encrypt(alice, TEXT)[1]


def late_message() -> tuple[Session2, bytes]:
    """Its key was skipped."""
    alice, bob = established()
    alice, late = encrypt(alice, TEXT)
    bob, _ = decrypt(bob, encrypt(alice, b"there")[1])
    return bob, late


def offer() -> tuple[Session2, bytes]:
    """A new chain with an offer."""
    alice, bob = established()
    bob = replace(bob, kem=replace(bob.kem, at=0))
    bob, _ = decrypt(bob, encrypt(alice, b"text")[1])
    alice, _ = encrypt(alice, b"lost")
    bob, message = encrypt(bob, TEXT)
    assert message[1] == PartKind.KEM_KEY
    return alice, message


def answer_to_an_offer() -> tuple[Session2, bytes]:
    bob, alice, _ = answered_offer()
    alice, message = encrypt(alice, TEXT)
    assert message[1] == PartKind.KEM_CIPHERTEXT
    return bob, message


KINDS: Final[dict[str, Callable[[], tuple[Session2, bytes]]]] = {
    "first message": first_message,
    "later message": later_message,
    "late message": late_message,
    "offer": offer,
    "answer": answer_to_an_offer,
}


# --- changes --------------------------------------------------------------------------


def changes(message: bytes, dice: random.Random) -> list[bytes]:
    """As many different messages that are not this one: bits turned, parts exchanged, bytes lost and added."""
    made: dict[bytes, None] = {}
    for place in range(len(message)):
        made[flipped(message, place, dice.randrange(8))] = None
    for kind in PartKind:
        made[message[:1] + bytes((kind,)) + message[2:]] = None
        size = HEAD_BYTES[kind] - HEAD_BYTES[PartKind.NOTHING]
        made[bytes((2, kind)) + bytes(size) + message[HEAD_BYTES[PartKind(message[1])] - 100 :]] = None
    made |= {message[:end]: None for end in (0, 1, 2, 3, 50, 101, 102, 103, 1_191, len(message) - 3, len(message) - 1)}
    made |= {message + extra: None for extra in (b"\0", b"\0\0\0", bytes(256), bytes(255), b"\x80\0\0")}
    del made[message]
    while len(made) < CHANGES:
        changed = bytearray(message)
        for _ in range(dice.randrange(1, 4)):
            changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
        made.setdefault(bytes(changed))
    made.pop(message, None)
    return list(made)[:CHANGES]


def refuses_every_change(make: Callable[[], tuple[Session2, bytes]]) -> int:
    """How many were tried; the true one is read in the end."""
    reader, message = make()
    before = session2.dump(reader)
    tried = changes(message, random.Random(len(message)))  # noqa: S311 - the same in every run
    for changed in tried:
        with pytest.raises(CryptoError):
            decrypt(reader, changed)
        assert session2.dump(reader) == before
    assert decrypt(reader, message)[1] == TEXT
    return len(set(tried))


@pytest.mark.parametrize("kind", KINDS)
def test_each_of_2000_changes_is_refused_and_nothing_changes(kind: str) -> None:
    assert refuses_every_change(KINDS[kind]) == CHANGES


def test_changes_are_10000() -> None:
    assert len(KINDS) * CHANGES == 10_000


@pytest.mark.parametrize("kind", KINDS)
def test_control_head_that_is_not_authenticated_is_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seal, unseal = primitives.seal, primitives.unseal
    monkeypatch.setattr(primitives, "seal", lambda key, nonce, text, _: seal(key, nonce, text, b""))
    monkeypatch.setattr(primitives, "unseal", lambda key, nonce, text, _: unseal(key, nonce, text, b""))
    monkeypatch.setattr(hmac, "compare_digest", lambda *_: True)
    with pytest.raises((pytest.fail.Exception, AssertionError)):
        refuses_every_change(KINDS[kind])


@pytest.mark.parametrize("kind", ["offer", "answer"])
def test_control_zeros_that_nobody_looks_at_are_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head's own are the only bytes that nothing else protects."""
    real = head.parse

    def parse(message: bytes) -> head.Parsed:
        if len(message) < 2 or message[1] not in (2, 3):
            return real(message)
        end = HEAD_BYTES[PartKind(message[1])]
        return real(message[: end - 1] + b"\0" + message[end:])

    monkeypatch.setattr(head, "parse", parse)
    with pytest.raises((pytest.fail.Exception, AssertionError)):
        refuses_every_change(KINDS[kind])


# --- lengths --------------------------------------------------------------------------


def test_lengths_of_heads_are_fixed_by_the_part() -> None:
    assert [HEAD_BYTES[kind] for kind in PartKind] == [102, 1_266, 1_287, 1_191]
    for make in KINDS.values():
        _, message = make()
        assert len(message) == HEAD_BYTES[PartKind(message[1])] + 49 + 256 + 1
    assert all(size % 3 == 0 for size in HEAD_BYTES.values())


@pytest.mark.parametrize("size", [256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, body.MAX_PADDED])
def test_body_of_every_size_is_a_multiple_of_three_and_is_opened(size: int) -> None:
    content, key = bytes([7]) * size, bytes(range(32))
    made = body.seal(content, key)
    assert body.length(len(content)) == len(made)
    assert len(made) % 3 == 0
    assert 0 <= len(made) - size - 49 < 3
    body.check_form(made)
    assert body.open_sealed(made, key) == content


def test_largest_content_is_the_largest_multiple_of_256_that_fits_a_message_with_the_largest_head() -> None:
    largest = max(HEAD_BYTES.values())
    assert largest + len(body.seal(bytes(body.MAX_PADDED), bytes(32))) <= MAX_BYTES
    assert largest + 49 + body.MAX_PADDED + body.PADDED_STEP > MAX_BYTES
    assert body.MAX_PADDED % body.PADDED_STEP == 0
    # A text of 40,000 bytes, with its fields.
    assert len(padding.pad(bytes(40_500), most=body.MAX_PADDED)) == body.MAX_PADDED


@pytest.mark.parametrize("size", [0, 1, 255, 257, body.MAX_PADDED + 256])
def test_content_that_is_not_padded_makes_no_body(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 256"):
        body.seal(bytes(size), bytes(32))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_key_of_another_length_makes_no_body(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        body.seal(bytes(256), bytes(size))


GOOD: Final = body.seal(bytes(256), bytes(32))
MOST: Final = body.seal(bytes(body.MAX_PADDED), bytes(32))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        bytes(3),
        b"\2" + bytes(50),
        GOOD[:-1],
        GOOD[:-3],
        GOOD + bytes(3),
        GOOD[:-1] + b"\1",
        b"\1" + GOOD[1:],
        b"\3" + GOOD[1:],
        b"\2" + bytes(49 + body.MAX_PADDED + 256 + 1),
        MOST + bytes(3),
        b"\2" + bytes(49 - 1 + 256 + 2),
        GOOD[:-1] + b"X",
        body.seal(bytes(512), bytes(32)) + bytes(3),
    ],
    ids=lambda bad: f"{len(bad)} bytes",
)
def test_what_has_not_the_form_of_a_body_is_refused(bad: bytes) -> None:
    with pytest.raises(InvalidMessage):
        body.check_form(bad)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", InvalidMessage),
        (b"\2", InvalidMessage),
        (b"\1", UnknownSuite),
        (b"\3", UnknownSuite),
        (b"\1\0", UnknownSuite),
        (b"\3\0", UnknownSuite),
        (b"\2\0", InvalidMessage),
        (b"\2\4" + bytes(500), InvalidMessage),
        (b"\2\xff" + bytes(500), InvalidMessage),
    ],
)
def test_what_is_no_message_of_this_suite_is_refused(message: bytes, error: type[CryptoError]) -> None:
    with pytest.raises(error):
        head.parse(message)


def test_head_that_does_not_end_with_its_zero_is_refused() -> None:
    _, message = offer()
    for wrong in (b"\1", b"X", b"\xff"):
        with pytest.raises(InvalidMessage, match="zeros"):
            head.parse(message[:1_286] + wrong + message[1_287:])


def test_suite_1_sees_a_message_of_an_unknown_suite() -> None:
    """As version 0.1.0 does: it leaves it at the relay and tells its user."""
    for make in KINDS.values():
        with pytest.raises(UnknownSuite):
            session.parse(make()[1])


@pytest.mark.parametrize("place", [64, 72], ids=["signed prekey", "KEM prekey"])
def test_handshake_header_without_an_id_is_refused(place: int) -> None:
    _, message = first_message()
    with pytest.raises(InvalidMessage):
        head.parse(message[: 2 + place] + bytes(4) + message[6 + place :])
    without_one_time = message[: 2 + 68] + bytes(4) + message[6 + 68 :]
    parsed = head.parse(without_one_time)
    assert parsed.handshake is not None
    assert parsed.handshake.one_time_prekey_id == 0


# --- what head and body are bound to ---------------------------------------------------


def two_heads() -> tuple[list[Session2], list[bytes], bytes, bytes]:
    """Alice's sessions with two people who read one body: their states, heads, the body, its key."""
    readers, heads = [], []
    key, draws = randomness("key")(32), randomness("heads")
    made = body.seal(padding.pad(TEXT), key)
    for name in ("one", "other"):
        alice, message = encrypt(begin(bundle(one_time=False), name=name), b"hello")
        bob, _ = accept(message)
        _, one = session2.encrypt_head(alice, key, made, draws)
        readers.append(bob)
        heads.append(one)
    return readers, heads, made, key


def test_one_body_is_read_with_two_heads() -> None:
    readers, heads, made, _ = two_heads()
    for reader, one in zip(readers, heads, strict=True):
        assert decrypt(reader, one + made)[1] == TEXT


def test_head_of_somebody_else_opens_nothing() -> None:
    readers, heads, made, _ = two_heads()
    with pytest.raises(UndecryptableMessage):
        decrypt(readers[0], heads[1] + made)


def test_recipient_who_knows_the_key_cannot_exchange_the_body() -> None:
    """The second one knows the key, and would have the first one read something else."""
    readers, heads, _, key = two_heads()
    forged = body.seal(padding.pad(b"pay 1,000 to mallory"), key)
    with pytest.raises(UndecryptableMessage):
        decrypt(readers[0], heads[0] + forged)


def test_control_head_that_is_not_bound_to_the_body_lets_a_recipient_exchange_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(primitives, "sha256", lambda _: bytes(32))
    readers, heads, _, key = two_heads()
    forged = body.seal(padding.pad(b"pay 1,000 to mallory"), key)
    assert decrypt(readers[0], heads[0] + forged)[1] == b"pay 1,000 to mallory"


# --- one body, two texts ----------------------------------------------------------------


def multiply(one: int, other: int) -> int:
    """In the field of GCM (NIST SP 800-38D section 6.3)."""
    product = 0
    for place in range(128):
        if one >> (127 - place) & 1:
            product ^= other
        other = other >> 1 ^ (0xE1 << 120 if other & 1 else 0)
    return product


def inverse(value: int) -> int:
    """By Fermat: to the power of 2^128 - 2."""
    found, power = 1 << 127, value
    for _ in range(127):
        power = multiply(power, power)
        found = multiply(found, power)
    return found


def hash_key_and_mask(key: bytes) -> tuple[int, int]:
    """H and what the tag is masked with, under the fixed nonce."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES256
    from cryptography.hazmat.primitives.ciphers.modes import ECB

    block = Cipher(AES256(key), ECB()).encryptor()  # noqa: S305 - single blocks of GCM
    first, second = block.update(bytes(16)), block.update(bytes(15) + b"\1")
    return int.from_bytes(first), int.from_bytes(second)


def ghash(hash_key: int, prefix: bytes, ciphertext: bytes) -> int:
    """GHASH over associated data, ciphertext and their lengths."""
    lengths = (8 * len(prefix)).to_bytes(8) + (8 * len(ciphertext)).to_bytes(8)
    data = prefix + bytes(-len(prefix) % 16) + ciphertext + lengths
    found = 0
    for start in range(0, len(data), 16):
        found = multiply(found ^ int.from_bytes(data[start : start + 16]), hash_key)
    return found


def salamander(keys: tuple[bytes, bytes]) -> bytes:
    """A body that AES-GCM opens under two body keys: one block of the ciphertext makes the two tags equal."""
    prefix = b"\2" + body._derive(keys[0])[0]
    hash_keys, masks = zip(*(hash_key_and_mask(body._derive(key)[1]) for key in keys), strict=True)
    ciphertext = randomness("salamander")(256 - 16)
    # The last block counts with H^2 (the lengths come after it): solve tag = tag' for it.
    difference = masks[0] ^ masks[1]
    for hash_key in hash_keys:
        difference ^= ghash(hash_key, prefix, ciphertext + bytes(16))
    squares = [multiply(hash_key, hash_key) for hash_key in hash_keys]
    last = multiply(difference, inverse(squares[0] ^ squares[1]))
    ciphertext += last.to_bytes(16)
    tag = ghash(hash_keys[0], prefix, ciphertext) ^ masks[0]
    made: bytes = prefix + ciphertext + tag.to_bytes(16)
    return made + bytes(-len(made) % 3)


KEYS: Final = (bytes(range(32)), bytes(range(1, 33)))


def test_body_that_gcm_opens_under_two_keys_is_opened_under_the_one_it_commits_to() -> None:
    made = salamander(KEYS)
    body.check_form(made)
    assert len(body.open_sealed(made, KEYS[0])) == 256
    with pytest.raises(UndecryptableMessage, match="another key"):
        body.open_sealed(made, KEYS[1])


def test_control_without_the_commitment_one_body_says_two_things(monkeypatch: pytest.MonkeyPatch) -> None:
    made = salamander(KEYS)
    monkeypatch.setattr(hmac, "compare_digest", lambda *_: True)
    found = [body.open_sealed(made, key) for key in KEYS]
    assert found[0] != found[1]


def test_commitment_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    body.open_sealed(GOOD, bytes(32))
    assert compared == [(GOOD[1:33], GOOD[1:33])]


def test_every_body_has_a_key_of_its_own() -> None:
    alice, bob = established()
    bodies = set()
    for _ in range(20):
        alice, message = encrypt(alice, TEXT)
        bob, _ = decrypt(bob, message, NOW)
        bodies.add(message[HEAD_BYTES[PartKind.NOTHING] :])
    assert len({made[1:33] for made in bodies}) == len({made[33:] for made in bodies}) == 20
