"""Written ids: what a slip of the hand makes of one is refused."""

import base64
import hashlib
import random
from urllib.parse import quote

import pytest

from phantom_messenger.client import ids
from phantom_messenger.client.errors import InvalidUserId
from phantom_messenger.client.ids import decode, encode, looks_written, plain_id, short_id, written_id

LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
SOME = [base64.b64encode(hashlib.sha256(name).digest()).decode() for name in (b"one", b"two", b"three")]


def slips(written: str) -> list[str]:
    """Every text with one other character, and with two neighbours swapped."""
    others = [
        written[:place] + letter + written[place + 1 :]
        for place in range(3, len(written))
        for letter in LETTERS
        if letter != written[place]
    ]
    swapped = [
        written[:place] + written[place + 1] + written[place] + written[place + 2 :]
        for place in range(3, len(written) - 1)
        if written[place] != written[place + 1]
    ]
    return others + swapped


def passes(text: str) -> bool:
    try:
        plain_id(text)
    except InvalidUserId:
        return False
    return True


@pytest.mark.parametrize("user_id", SOME)
def test_no_wrong_and_no_swapped_character_passes(user_id: str) -> None:
    written = written_id(user_id)
    assert plain_id(written) == user_id
    assert [text for text in slips(written) if passes(text)] == []


def test_control_without_a_checksum_wrong_characters_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    written = written_id(SOME[0])
    monkeypatch.setattr(ids, "_polymod", lambda _: ids._BECH32M)
    assert sum(map(passes, slips(written))) > 1_500


@pytest.mark.parametrize("user_id", SOME)
def test_four_wrong_characters_never_pass(user_id: str) -> None:
    draw = random.Random(user_id)  # noqa: S311 - chooses where a text is wrong
    written = written_id(user_id)
    for _ in range(2_000):
        text = list(written)
        for place in draw.sample(range(3, len(text)), 4):
            text[place] = draw.choice(LETTERS.replace(text[place], ""))
        assert not passes("".join(text))


@pytest.mark.parametrize("user_id", SOME)
def test_id_that_was_copied_with_its_surroundings_or_in_capitals_is_read(user_id: str) -> None:
    written = written_id(user_id)
    assert plain_id(f" {written}\n") == plain_id(written.upper()) == user_id
    assert looks_written(written)


@pytest.mark.parametrize("form", ["https://chat.example.org/#c={}&n=Alice", " http://127.0.0.1:8080/#n=A%20B&c={}\n"])
def test_link_of_the_page_is_read_as_the_id_in_it(form: str) -> None:
    for user_id in SOME:
        assert plain_id(form.format(written_id(user_id))) == user_id
        assert plain_id(form.format(quote(user_id, safe=""))) == user_id
    with pytest.raises(InvalidUserId, match="wrong character"):
        plain_id(form.format(written_id(SOME[0])[:-1] + "b"))
    assert plain_id("https://chat.example.org/#n=Alice") == "https://chat.example.org/#n=Alice"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (written_id(SOME[0])[:-1], "fewer than 61"),
        (written_id(SOME[0]) + "q", "more than 61"),
        (written_id(SOME[0])[:-1] + "b", "this ID has a wrong character"),
        (written_id(SOME[0])[:-6] + written_id(SOME[0])[-6:].upper().replace("0", "O"), "wrong character"),
    ],
)
def test_sentence_says_to_copy_it_again(text: str, sentence: str) -> None:
    with pytest.raises(InvalidUserId, match=sentence) as refused:
        plain_id(text)
    assert "copy it again" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["bob", "ph1", "ph1lip", "phantom", "", SOME[0], f" {SOME[0]}", "ph1 is no id at all, but words of a person"],
)
def test_what_is_no_written_id_comes_back_as_it_is(text: str) -> None:
    assert plain_id(text) == text
    assert not looks_written(text)


def test_claimed_id_has_no_written_form() -> None:
    claimed = base64.b64encode(bytes(16)).decode()
    assert written_id(claimed) == claimed
    assert written_id("no base64") == "no base64"
    assert short_id(SOME[0]) == written_id(SOME[0])[:11] + "…"


def test_id_of_another_length_or_filled_up_with_ones_is_refused() -> None:
    groups = decode(written_id(SOME[0]))[1]
    assert not passes(encode("ph", [*groups[:-1], groups[-1] | 1]))
    assert passes(encode("ph", groups))


@pytest.mark.parametrize("count", [0, 32, 43])
def test_id_of_another_program_that_is_as_long_is_refused(count: int) -> None:
    text = encode("ph1" + "q" * (51 - count), [0] * count)
    assert len(text) == len(written_id(SOME[0]))
    with pytest.raises(InvalidUserId, match="not a user ID"):
        plain_id(text)


# BIP 350, Test vectors for Bech32m
VALID = [
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
    encode("!~", [31]),
]
INVALID = [
    "\x201xj0phk",
    "\x7f1g6xzxy",
    "\x801vctc34",
    "qyrz8wqd2c9m",
    "1qyrz8wqd2c9m",
    "y1b0jsk6g",
    "lt1igcx5c0",
    "in1muywd",
    "mm1crxm3i",
    "au1s5cgom",
    "M1VUXWEZ",
    "16plkw9",
    "1p2gdwpf",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
    encode("", [1]),
    encode("\x7f", [1]),
]


@pytest.mark.parametrize("text", VALID)
def test_valid_vector_of_bip_350_is_read_and_written(text: str) -> None:
    prefix, groups = decode(text)
    assert encode(prefix, groups) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_invalid_vector_of_bip_350_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(text)
