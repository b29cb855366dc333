"""Names that people give each other: one form of each, and which can be taken for another."""

import re
import unicodedata
from typing import Final

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.ids import is_user_id, looks_written
from phantom_messenger.client.sanitize import is_blank, one_line

MAX_NAME: Final = 64
"""Characters of a name."""

_ALIKE: Final = {
    # Cyrillic
    **dict(zip("АВЕКМНОРСТУХЅІЈԌЗаеорсухіјѕһԁԛԝьвкмнтгп", "ABEKMHOPCTYXSIJG3aeopcyxijshdqwbbkmhtrn", strict=True)),
    # Greek
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαονρικυτγχω", "ABEZHIKMNOPTYXaovpikutyxw", strict=True)),
    # Latin and digits among themselves
    **dict(zip("0I\u01311|", "olill", strict=True)),
}
_ONE: Final = str.maketrans(_ALIKE)
_GROUPS: Final = (("rn", "m"), ("vv", "w"), ("i", "l"), ("j", "l"))
_IGNORED: Final = re.compile(r"[\s\u00ad\u034f\u061c\u200b-\u200f\u2060-\u206f\ufe00-\ufe0f]")


def checked_name(name: str) -> str:
    """A name in its one form (NFC, without white space around).

    Raises:
        UsageError: it cannot be a name: empty, blank, too long, of several lines, with what must not be
            shown (the rule of ``plain``), or an id.
    """
    name = normal_name(name)
    is_id = is_user_id(name) or looks_written(name)
    if not name or len(name) > MAX_NAME or is_blank(name) or one_line(name) != name or is_id:
        raise UsageError(f"a name needs 1 to {MAX_NAME} printable characters and cannot be a user ID; choose another")
    return name


def normal_name(name: str) -> str:
    """The form in which names are compared: composed, however they were typed."""
    return unicodedata.normalize("NFC", name).strip()


def skeleton(name: str) -> str:
    """What is left of a name to the eye: names with the same are taken for each other.

    A small part of UTS 39 (Confusable Detection): compatibility forms, case, and the letters and digits of
    Latin, Greek and Cyrillic that look alike; not those of other scripts.
    """
    text = unicodedata.normalize("NFKC", _IGNORED.sub("", name)).translate(_ONE).casefold().translate(_ONE)
    for many, one in _GROUPS:
        text = text.replace(many, one)
    return text
