"""Passphrases in one form, so that the same one opens a file whatever machine it is typed on.

The form is that of RFC 8265, section 4.2 (OpaqueString): other spaces are U+0020, then Unicode's NFC. A line end behind
it, as files with secrets have, does not belong to it.
"""

import unicodedata

from phantom_messenger.client.errors import UsageError


def chosen(text: str, *, what: str) -> bytes:
    """The bytes of a passphrase for something new.

    Args:
        text: as it was given.
        what: it is for, in the error.

    Raises:
        UsageError: it is empty, or no text that can be typed again.
    """
    normal = _normal(text)
    if not normal:
        raise UsageError(f"{what} needs a passphrase; choose one")
    if any(unicodedata.category(char) == "Cc" for char in normal):
        raise UsageError(f"the passphrase of {what} contains a control character; choose one without")
    return _encoded(normal, what)


def candidates(text: str, *, what: str) -> list[bytes]:
    """What may have been meant when something is opened, most likely first; arguments as ``chosen``.

    The form above; then, for what was made before it was asked for: as it was given, without the line end, and as
    some keyboards give it, decomposed (NFD). Mostly all are the same, and there is one to try.

    Raises:
        UsageError: it is no text.
    """
    line = _line(text)
    found = [_normal(text), text, line, unicodedata.normalize("NFD", line)]
    return [_encoded(one, what) for one in dict.fromkeys(found)]


def _normal(text: str) -> str:
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in _line(text))
    return unicodedata.normalize("NFC", spaced)


def _line(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _encoded(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"the passphrase of {what} is not UTF-8 text; use another one") from None
