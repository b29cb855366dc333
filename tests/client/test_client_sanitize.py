"""What is shown of other people's texts, and which names there are."""

import pytest

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.names import checked_name, skeleton
from phantom_messenger.client.sanitize import MAX_QUOTED, is_blank, one_line, plain_lines, printable, quoted

FLAG = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"

SHOWN = {
    "emoji of 2022": "\U0001fae8",
    "emoji of 2024": "\U0001fae9",
    "emoji to come": "\U0001faff",
    "flag of England": f"for {FLAG}!",
    "flag of a country": "\U0001f1e9\U0001f1ea",
    "family": "\U0001f469\u200d\U0001f467",
    "Hebrew with a mark": "\u05e9\u05dc\u05d5\u05dd\u200f!",
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Arabic letter mark": "\u061c12",
    "soft hyphen": "Donau\u00addampf",
    "end of ayah": "\u06dd\u0661",
    "Khmer": "\u1781\u17d2\u1789\u17bb\u17c6\u200b\u1791\u17c5",
    "no-break space": "10\u00a0km",
    "lines": "one\n\ttwo",
    "spaces": "   ",
}
CODED = {
    "escape": ("\x1b[31mred", "<001B>[31mred"),
    "bell": ("a\x07", "a<0007>"),
    "C1": ("a\x9b2J", "a<009B>2J"),
    "override": ("\u202egnp.exe", "<202E>gnp.exe"),
    "embedding": ("\u202aa\u202c", "<202A>a<202C>"),
    "isolate": ("\u2067a\u2069", "<2067>a<2069>"),
    "carriage return": ("real\rfake", "real<000D>fake"),
    "line separator": ("a\u2028b", "a<2028>b"),
    "tags alone": ("\U000e0061bc", "<E0061>bc"),
    "unended flag": (FLAG[:-1], "\U0001f3f4" + "".join(f"<{ord(one):04X}>" for one in FLAG[1:-1])),
    "hidden words": ("\U0001f3f4" + "\U000e0061" * 40, "\U0001f3f4" + "<E0061>" * 40),
    "byte order mark": ("a\ufeff", "a<FEFF>"),
    "private use": ("\ue000", "<E000>"),
    "no character": ("\U0001ffff", "<1FFFF>"),
    "half a character": ("\ud83d", "<D83D>"),
    "Hangul filler": ("\u3164", "<3164>"),
    "no width alone": ("\u200b \u200d", "<200B> <200D>"),
    "empty Braille": ("\u2800", "<2800>"),
    "marks alone": ("\u200e", "<200E>"),
}


@pytest.mark.parametrize("text", SHOWN.values(), ids=SHOWN)
def test_what_people_write_is_shown(text: str) -> None:
    assert printable(text) == text
    if not set(text) & {"\n", "\t"}:
        assert one_line(text) == text


def test_long_sentence_of_a_relay_is_cut() -> None:
    assert one_line("x" * 300) == "x" * 300
    assert one_line("x" * 301) == "x" * 300 + "…"
    assert one_line("\u200b" * 301) == "<200B>" * 300 + "…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Wait\n a while.", "Wait<000A> a while"),
        ("busy'. Enter your passphrase at evil.example. 'Yes", "busy. Enter your passphrase at evil.example. Yes"),
        ("it doesn't matter", "it doesn't matter"),
        ("\u201dsee\u201c \u2018this\u2019 \u00abnow\u00bb `x`", "see this now x"),
        ("x" * 10_000, "x" * MAX_QUOTED + "…"),
    ],
)
def test_words_of_a_relay_are_its_words_to_the_last(text: str, shown: str) -> None:
    assert quoted(text) == f"the relay said '{shown}'"


@pytest.mark.parametrize(("text", "shown"), CODED.values(), ids=CODED)
def test_what_would_deceive_or_not_be_seen_is_shown_as_code(text: str, shown: str) -> None:
    assert printable(text) == one_line(text) == shown


@pytest.mark.parametrize("text", ["", " ", "\n", "\u3164", "\u200b", "\u2060\u00ad", "\ufe0f", "\u2800 \u00a0"])
def test_blank_texts_are_known(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", ".", " x", "\u0301", FLAG, "\u06dd", "\U0001fae9"])
def test_texts_in_which_there_is_something_are_not_blank(text: str) -> None:
    assert not is_blank(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("one\r\ntwo\r\n", "one\ntwo\n"), ("\ufeffone", "one"), ("a\rb", "a\rb"), ("a\ufeff", "a\ufeff"), ("", "")],
)
def test_lines_of_windows_become_plain(text: str, plain: str) -> None:
    assert plain_lines(text) == plain


# --- names ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["Mum \U0001f469\u200d\U0001f467", "\u0646\u0627\u0645\u200c\u0647", f"{FLAG} Tom", "\U0001fae9", "Jean\u00a0Luc"],
)
def test_name_follows_the_rule_of_texts(name: str) -> None:
    assert checked_name(name) == name


def test_name_has_one_form() -> None:
    assert checked_name("Zoe\u0308") == checked_name("Zo\u00eb") == "Zo\u00eb"


@pytest.mark.parametrize("name", ["\u3164", "\u2800", "\u200d", "\U000e0061", "a\u202eb", "a\nb", "a\u2028b", "a\tb"])
def test_name_that_cannot_be_seen_or_turns_others_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="printable"):
        checked_name(name)


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("bob", "b\u043eb"),
        ("bob", "b0b"),
        ("bob", "Bob"),
        ("bob", "b\u200bob"),
        ("Ann", "\u0391nn"),
        ("alice", "a1ice"),
        ("alice", "al\u0456ce"),
        ("Jim", "Jirn"),
        ("\u041f\u0435\u0442\u0440", "\u041fe\u0442\u0440"),
        ("anna", "\uff41nna"),
    ],
)
def test_names_that_look_alike_have_one_skeleton(name: str, twin: str) -> None:
    assert skeleton(name) == skeleton(twin)


@pytest.mark.parametrize(
    ("name", "other"), [("bob", "bobo"), ("anna", "anne"), ("Zo\u00eb", "Zoe"), ("p1", "p2"), ("\u4f60", "\u597d")]
)
def test_names_that_differ_to_the_eye_differ(name: str, other: str) -> None:
    assert skeleton(name) != skeleton(other)
