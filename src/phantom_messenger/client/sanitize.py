"""Texts of others, made safe to show: a peer or a relay must not write to a terminal.

Whatever changes what is seen elsewhere (control characters, embeddings, overrides and isolates of the
direction of writing) is shown as its code point; so is what nobody would see. What scripts and emoji need stays.
"""

import re
import unicodedata
from typing import Final

MAX_LINE: Final = 300
"""Characters of a name or a sentence that are shown."""

MAX_QUOTED: Final = 160
"""Characters of a relay's own words that are shown."""

_QUOTES: Final = re.compile(
    r"\B[{0}]|[{0}]\B".format(
        "'\"`\u00b4\u2032\u2033\u201a\u201e\u00ab\u00bb\u2018\u2019\u201b\u201c\u201d\u201f\u2039\u203a"
    )
)
"""What looks like the end of a quotation; within a word it is an apostrophe."""

_HIDDEN: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

_FORMATS: Final = frozenset(
    "\u00ad"  # soft hyphen
    "\u061c\u200e\u200f"  # marks of direction: they turn nothing beyond their neighbours
    "\u200b\u200c\u200d\u2060"  # spaces of no width and joiners, in Khmer, Thai, Persian, Indic scripts and emoji
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"  # signs under numbers
) | {chr(code) for code in range(0x13430, 0x13440)}  # how hieroglyphs are arranged
"""Characters of the category Cf that may be shown."""

_BLANK: Final = re.compile(
    r"[\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*\Z"
)
"""White space, and what nobody sees: Unicode's Default_Ignorable_Code_Point, and the empty Braille sign."""

_EMOJI: Final = (range(0x1F000, 0x1FB00), range(0x1FC00, 0x1FFFE))
"""Code points kept for emoji (UTS 51, Extended_Pictographic), of which there are more than this Python knows of."""

_FLAG: Final = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
"""The flag of a part of a country: a black flag, tag letters, the end (UTS 51, ED-14a)."""


def printable(text: str) -> str:
    """A text with control characters and those that turn the direction of writing as code points.

    Line breaks and tabs stay. A text in which there is nothing to see is shown as code points altogether.
    """
    if text.strip() and is_blank(text):
        return _coded(text)
    return _shown(text, keep="\n\t")


def one_line(text: str) -> str:
    """As ``printable``, in one line of bounded length: for names and for sentences of a relay."""
    line = text[:MAX_LINE]
    shown = _coded(line) if line.strip() and is_blank(line) else _shown(line)
    return shown + ("…" if len(text) > MAX_LINE else "")


def quoted(text: str) -> str:
    """What a relay says, as a part of a sentence: its words, and seen to be its words to the last."""
    line = one_line(_QUOTES.sub("", text[:MAX_QUOTED])).rstrip(". ")
    return f"the relay said '{line}{'…' if len(text) > MAX_QUOTED else ''}'"


def cut(text: str, columns: int) -> str:
    """A text in so many columns of a terminal at most, with '…' for what is left out."""
    used = 0
    for end, character in enumerate(text):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > columns - (end + 1 < len(text)):
            return text[:end].rstrip() + "…"
    return text


def is_blank(text: str) -> bool:
    """Whether there is nothing to see in a text."""
    return _BLANK.match(text) is not None


def plain_lines(text: str) -> str:
    """A text from a file, a pipe or a terminal: without a byte order mark, its lines ended by LF alone."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _shown(text: str, *, keep: str = "") -> str:
    parts, last = [], 0
    for flag in _FLAG.finditer(text):
        parts += [_each(text[last : flag.start()], keep), flag[0]]
        last = flag.end()
    return "".join([*parts, _each(text[last:], keep)])


def _each(text: str, keep: str) -> str:
    return "".join(character if character in keep or _is_shown(character) else _code(character) for character in text)


def _coded(text: str) -> str:
    return "".join(character if character == " " else _code(character) for character in text)


def _code(character: str) -> str:
    return f"<{ord(character):04X}>"


def _is_shown(character: str) -> bool:
    category = unicodedata.category(character)
    return (
        category not in _HIDDEN
        or character in _FORMATS
        or (category == "Cn" and any(ord(character) in block for block in _EMOJI))
    )
