"""Whether what somebody serves is the page of this release: every file and the header fields that matter.

It shows what was sent to whoever asked, at that moment. To others, or later, something else may be sent.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from phantom_messenger.web.fetch import Fetched, NotFetched
from phantom_messenger.web.files import PageFile

_OK: Final = 200
_NEVER_SENT: Final = ("Clear-Site-Data", "Link", "Refresh")
"""Fields of no file of ours that make a browser forget its keys, apply another style, or show something else."""

_SAME_TYPES: Final = {
    "application/javascript": "text/javascript",
    "application/x-javascript": "text/javascript",
    "image/vnd.microsoft.icon": "image/x-icon",
}
"""Other words that servers have for types of ours; browsers treat them alike."""


class Outcome(StrEnum):
    """What was found at the path of a file."""

    SAME = "same"
    DIFFERENT = "different"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file.

    Args:
        name: the file's.
        expected: SHA-256 in hex of what it should be.
        outcome: what was found.
        found: SHA-256 in hex of what is there instead, or ''.
        detail: the rest of a sentence that starts with the name, or ''.
        fields: header fields that are not as they should be: name and what is there, '' for nothing.
    """

    name: str
    expected: str
    outcome: Outcome
    found: str = ""
    detail: str = ""
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether content and header fields are those of this release."""
        return self.outcome is Outcome.SAME and not self.fields


def compare(
    get: Callable[[str], Fetched], files: Iterable[PageFile], fields: Mapping[str, str]
) -> tuple[FileResult, ...]:
    """Fetch every file and compare it.

    Args:
        get: fetches a path; see ``Site.get``.
        files: what is expected.
        fields: the header fields that each must have.
    """
    return tuple(_compared(get, file, fields) for file in files)


def _compared(get: Callable[[str], Fetched], file: PageFile, fields: Mapping[str, str]) -> FileResult:
    try:
        found = get(file.path)
    except NotFetched as error:
        return FileResult(file.name, file.digest, Outcome.UNREADABLE, detail=str(error))
    if found.status != _OK:
        where = "".join(f", to {place}" for place in found.values("Location"))
        return FileResult(file.name, file.digest, Outcome.MISSING, detail=f"is not there (HTTP {found.status}{where})")
    odd = (*_odd_fields(found, fields), *_odd_type(found, file))
    if found.content == file.content:
        return FileResult(file.name, file.digest, Outcome.SAME, fields=odd)
    at = _first_difference(found.content, file.content)
    detail = f"is another one from byte {at:,} on ({len(found.content):,} bytes instead of {len(file.content):,})"
    return FileResult(
        file.name, file.digest, Outcome.DIFFERENT, sha256(found.content).hexdigest(), detail=detail, fields=odd
    )


def _odd_fields(found: Fetched, fields: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for name, value in fields.items():
        # A proxy may add a policy: a browser then obeys both.
        values = found.values(name)
        is_right = value in values if name == "Content-Security-Policy" else values == [value]
        if not is_right:
            yield name, ", ".join(values)
    for name in _NEVER_SENT:
        for value in found.values(name):
            yield name, value


def _odd_type(found: Fetched, file: PageFile) -> Iterable[tuple[str, str]]:
    """A type, or a reading of its bytes as text, that a browser would treat otherwise than ours."""
    values = found.values("Content-Type")
    kind, _, rest = ", ".join(values).lower().partition(";")
    kind = _SAME_TYPES.get(kind.strip(), kind.strip())
    charsets = [part.strip().strip('"') for part in re.findall(r"charset\s*=([^;]*)", rest)]
    if kind != file.media_type.partition(";")[0] or any(charset != "utf-8" for charset in charsets):
        yield "Content-Type", ", ".join(values)


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
