"""Texts of others, made safe to show: a peer or a relay must not write to a terminal."""

import unicodedata
from typing import Final

MAX_LINE: Final = 300
"""Characters of a relay's sentence that are shown."""

_HIDDEN: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINERS: Final = "\u200c\u200d"
"""Which emoji and some scripts need."""


def printable(text: str) -> str:
    """A text with control characters and those that turn the direction of writing as code points.

    Line breaks and tabs stay.
    """
    return "".join(
        character if character in "\n\t" or _is_shown(character) else f"<{ord(character):04X}>" for character in text
    )


def one_line(text: str) -> str:
    """As ``printable``, in one line of bounded length: for names and for sentences of a relay."""
    line = "".join(character if _is_shown(character) else f"<{ord(character):04X}>" for character in text[:MAX_LINE])
    return line + ("…" if len(text) > MAX_LINE else "")


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in _HIDDEN or character in _JOINERS
