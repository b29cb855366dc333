"""Names that people give each other: one form of each, and which can be taken for another."""

import re
import shlex
import unicodedata
from typing import Final

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.ids import is_user_id, looks_written
from phantom_messenger.client.sanitize import is_blank, one_line

MAX_NAME: Final = 64
"""Characters of a name."""

_TWICE_QUOTED: Final = frozenset('"$`\\!')
"""What a shell takes for more than itself between double quotes."""

_OTHER_SCRIPTS: Final = {
    # Cyrillic
    **dict(zip("АВЕКМНОРСТУХЅІЈԌЗаеорсухіјѕһԁԛԝьвкмнтгп", "ABEKMHOPCTYXSIJG3aeopcyxijshdqwbbkmhtrn", strict=True)),
    # Greek
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαονρικυτγχω", "ABEZHIKMNOPTYXaovpikutyxw", strict=True)),
}
_LATIN: Final = str.maketrans(_OTHER_SCRIPTS)
_ONE: Final = str.maketrans({**_OTHER_SCRIPTS, **dict(zip("0I\u01311|", "olill", strict=True))})
"""With Latin and digits among themselves."""
_GROUPS: Final = (("rn", "m"), ("vv", "w"), ("i", "l"), ("j", "l"))
_IGNORED: Final = re.compile(r"[\s\u00ad\u034f\u061c\u200b-\u200f\u2060-\u206f\ufe00-\ufe0f]")
_NARROW: Final = re.compile(r"[\u00ad\u034f\u061c\u2004-\u2006\u2008-\u200f\u202f\u205f-\u206f\ufe00-\ufe0f]")
"""Nothing to see, or a space so narrow that it parts no words."""

_CAPITAL_I: Final = re.compile("I+")
_STROKES: Final = str.maketrans("|\u0131", "ll")
_BETWEEN: Final = "[-_.:/ \u2010-\u2015]*"
_ONE_AND_FOUR: Final = (
    f"(?:1{_BETWEEN}(?:[ac-hj-z0-9]{_BETWEEN}){{4}}|l{_BETWEEN}(?=[ac-hj-z]{{0,7}}[0-9])[ac-hj-z0-9]{{4}})"
)
_LIKE_ID: Final = re.compile(
    # with a digit among what is shown of one: four characters, as nobody compares all eight
    f"ph{_ONE_AND_FOUR}|(?:^|[^a-z0-9])p{_BETWEEN}h{_BETWEEN}{_ONE_AND_FOUR}"
    # without: as many as are shown, in a word of its own
    f"|(?:^|[^a-z0-9])phl{_BETWEEN}[ac-hj-z]{{8}}"
)
"""The beginning of a written id (``ids``): small letters and digits stand in one, all but 'b', 'i', 'o' and '1', of
which the last two look like '0' and 'l'."""


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


def command_word(name: str, user_id: str) -> str:
    """What a suggested command calls a user: their name, in quotes if a shell would take it apart, or their id."""
    if not name or name.startswith("-"):
        return user_id
    if shlex.quote(name) == name:
        return name
    return user_id if _TWICE_QUOTED & set(name) else f'"{name}"'


def skeleton(name: str) -> str:
    """What is left of a name to the eye: names with the same are taken for each other.

    A small part of UTS 39 (Confusable Detection): compatibility forms, case, and the letters and digits of
    Latin, Greek and Cyrillic that look alike; not those of other scripts.
    """
    text = unicodedata.normalize("NFKC", _IGNORED.sub("", name)).translate(_ONE).casefold().translate(_ONE)
    for many, one in _GROUPS:
        text = text.replace(many, one)
    return text


def is_like_id(name: str) -> bool:
    """Whether somebody may take a part of a name for the beginning of a written id, as strangers are shown by.

    Letters of other scripts count as what they look like, so do 'l', 'I' and '|' as '1', and 'o' as '0'. What cannot
    stand in an id, or is too short, is none: Philipp and a Phlegmatic may be called that.
    """
    text = unicodedata.normalize("NFKC", _NARROW.sub("", name)).translate(_LATIN)
    return _LIKE_ID.search(_CAPITAL_I.sub(_stroke, text).translate(_STROKES).casefold()) is not None


def _stroke(found: re.Match[str]) -> str:
    """Capital 'I': beside another capital it is seen to be a letter, else it is a stroke, as 'l' and '1' are."""
    text, (start, end) = found.string, found.span()
    beside = text[max(0, start - 1) : start] + text[end : end + 1]
    return ("i" if re.search("[A-Z]", beside) else "l") * (end - start)
