import base64
import random

import pytest

from phantom_messenger.crypto import padding, session
from phantom_messenger.crypto.errors import InvalidMessage
from phantom_messenger.crypto.padding import MAX_PADDED, MIN_PADDED, pad, padded_size, unpad
from support.cases import each

SIZES = [256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 44_800]
BOUNDARIES = sorted(
    {length for size in SIZES for length in range(size - 2, size + 2) if length < MAX_PADDED} | {0, 1, 2}
)


def test_sizes_are_powers_of_two_from_256_up_to_the_limit() -> None:
    assert sorted({padded_size(length) for length in range(MAX_PADDED)}) == SIZES
    assert (MIN_PADDED, MAX_PADDED) == (256, 44_800)


@each("length", BOUNDARIES)
@each("end", [b"a", b"\0", b"\x80", b"\x80\0", b"\0\x80"])
def test_unpad_gives_back_what_was_padded(length: int, end: bytes) -> None:
    content = (end * length)[:length]
    padded = pad(content)
    assert unpad(padded) == content
    assert len(padded) == padded_size(length)
    assert len(padded) in SIZES


@pytest.mark.parametrize("size", SIZES)
def test_one_byte_of_a_size_is_the_mark(size: int) -> None:
    assert len(pad(bytes(size - 1))) == size
    if size < MAX_PADDED:
        assert len(pad(bytes(size))) > size


@pytest.mark.parametrize("length", [MAX_PADDED, MAX_PADDED + 1, 2 * MAX_PADDED])
def test_content_beyond_the_limit_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=str(length)):
        pad(bytes(length))


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\0", bytes(256), b"\x01" + bytes(255), b"text\x80" + bytes(250) + b"\x01", b"text\x81" + bytes(251)],
    ids=["nothing", "a zero", "zeros", "no mark", "something after the mark", "another mark"],
)
def test_unpad_refuses_what_was_not_padded(garbage: bytes) -> None:
    with pytest.raises(InvalidMessage):
        unpad(garbage)


@each("byte", [byte for byte in range(1, 256) if byte != 0x80])
def test_only_zeros_may_follow_the_mark(byte: int) -> None:
    for place in (5, 100, 255):
        padded = bytearray(pad(b"text"))
        padded[place] = byte
        with pytest.raises(InvalidMessage):
            unpad(bytes(padded))


def test_thousand_chat_messages_show_at_most_eight_sizes() -> None:
    dice = random.Random(1)  # noqa: S311 - the same in every run
    lengths = [min(int(dice.lognormvariate(4, 1.5)) + 1, 16_000) for _ in range(1000)]
    assert len(set(lengths)) > 200
    assert len({len(pad(bytes(length))) for length in lengths}) <= 8


def test_largest_message_fits_the_field() -> None:
    longest = MAX_PADDED + session.MAX_OVERHEAD
    assert longest <= 46_080
    assert len(base64.b64encode(bytes(longest))) <= 61_440
    assert padding.padded_size(MAX_PADDED - 1) == MAX_PADDED
