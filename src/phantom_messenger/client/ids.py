"""User ids as people copy them: bech32m, in which no wrong or swapped character passes.

Base64, the form of the protocol, has no checksum, and its ``+`` and ``/`` end a double click. The written
form is bech32m (BIP 350 over BIP 173): the human-readable part ``ph``, the 32 bytes, six characters of
checksum. Within 90 characters it finds any four wrong ones; this one has 61. It guards against slips of the
hand, not against people: it is no cryptography.
"""

import base64
import re
from typing import Final
from urllib.parse import unquote

from phantom_messenger.client.errors import InvalidUserId
from phantom_messenger.wire.base64_text import decode_base64

PREFIX: Final = "ph"
ID_BYTES: Final = 32

_CHARACTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M: Final = 0x2BC830A3
_CHECKSUM: Final = 6
_BITS: Final = 5
"""Of one character."""

_LONGEST: Final = 90
_LENGTH: Final = len(PREFIX) + 1 + -(-ID_BYTES * 8 // _BITS) + _CHECKSUM

_MEANT: Final = re.compile(rf"{PREFIX}1[0-9A-Za-z]{{30,}}\Z", re.IGNORECASE)
"""What can only have been meant as a written id, right or wrong: no name is so long without a space."""

_LINK: Final = re.compile(r"https?://\S*#(?:\S*&)?c=(?P<id>[^&\s]+)\S*", re.IGNORECASE)
"""What the page in the browser gives out: its address, and behind ``#`` the id as ``c`` and the name as ``n``."""

_SHOWN: Final = 11
"""Characters of a written id that stand for a stranger."""


def written_id(user_id: str) -> str:
    """The written form of a certified id (32 bytes in base64); anything else as it is."""
    try:
        raw = base64.b64decode(user_id, validate=True)
    except ValueError:
        return user_id
    if len(raw) != ID_BYTES:
        return user_id
    return encode(PREFIX, _regrouped(raw, 8, _BITS))


def short_id(user_id: str) -> str:
    """The beginning of an id, to name a stranger by."""
    return f"{written_id(user_id)[:_SHOWN]}…"


def looks_written(text: str) -> bool:
    """Whether a text can only be meant as a written id, right or wrong."""
    return _MEANT.match(text) is not None


def plain_id(text: str) -> str:
    """The base64 of a user id in either form or in a link; a text that is no written id comes back as it is.

    Raises:
        InvalidUserId: it was meant as a written id and has a wrong, missing or superfluous character.
    """
    if link := _LINK.fullmatch(text.strip()):
        text = unquote(link["id"])
    if not looks_written(text.strip()):
        return text
    text = text.strip()
    if len(text) != _LENGTH:
        more = "more" if len(text) > _LENGTH else "fewer"
        raise InvalidUserId(f"this ID has {more} than {_LENGTH} characters; copy it again")
    try:
        prefix, groups = decode(text)
        raw = _ungrouped(groups)
    except ValueError:
        raise InvalidUserId("this ID has a wrong character; copy it again") from None
    if prefix != PREFIX:  # else its length says that it has 32 bytes
        raise InvalidUserId("this is not a user ID; ask your contact for the output of 'phantom id'")
    return base64.b64encode(raw).decode()


def is_user_id(text: str) -> bool:
    """Whether a text is an id that certifies its key, as this SDK makes them: 32 bytes in canonical base64."""
    return len(decoded_id(text)) == ID_BYTES


def decoded_id(text: str) -> bytes:
    """The bytes of canonical base64, none of anything else."""
    return decode_base64(text) or b""


def encode(prefix: str, groups: list[int]) -> str:
    """Bech32m of groups of five bits (BIP 350)."""
    checked = _polymod([*_expanded(prefix), *groups, *[0] * _CHECKSUM]) ^ _BECH32M
    checksum = [checked >> 5 * (_CHECKSUM - 1 - place) & 31 for place in range(_CHECKSUM)]
    return f"{prefix}1" + "".join(_CHARACTERS[group] for group in [*groups, *checksum])


def decode(text: str) -> tuple[str, list[int]]:
    """Prefix and groups of five bits of a bech32m text (BIP 350).

    Raises:
        ValueError: it is none.
    """
    if text not in {text.lower(), text.upper()}:
        raise ValueError("both cases are mixed")
    prefix, separator, rest = text.lower().rpartition("1")
    is_plain = all("!" <= character <= "~" for character in prefix)
    if not (prefix and separator and is_plain and len(rest) >= _CHECKSUM and len(text) <= _LONGEST):
        raise ValueError("it has not the form of bech32m")
    groups = [_CHARACTERS.index(character) for character in rest]
    if _polymod([*_expanded(prefix), *groups]) != _BECH32M:
        raise ValueError("the checksum is wrong")
    return prefix, groups[:-_CHECKSUM]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for place, factor in enumerate(_GENERATOR):
            check ^= factor if top >> place & 1 else 0
    return check


def _expanded(prefix: str) -> list[int]:
    return [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]


def _regrouped(values: bytes | list[int], before: int, after: int) -> list[int]:
    """Groups of ``before`` bits as groups of ``after``, filled up with zeros."""
    bits = "".join(f"{value:0{before}b}" for value in values)
    bits += "0" * (-len(bits) % after)
    return [int(bits[start : start + after], 2) for start in range(0, len(bits), after)]


def _ungrouped(groups: list[int]) -> bytes:
    """The bytes of groups of five bits.

    Raises:
        ValueError: what fills up the last group is not zeros.
    """
    rest = len(groups) * _BITS % 8
    if rest and groups[-1] & ((1 << rest) - 1):
        raise ValueError("it is filled up wrongly")
    return bytes(_regrouped(groups, _BITS, 8)[: len(groups) * _BITS // 8])
