"""The files of the page: a fixed table, read once."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DIST: Final = Path(__file__).parent / "dist"
INDEX: Final = "/"
"""The path of the page itself."""

_HASHED: Final = re.compile(r"\.[0-9a-f]{16}\.[a-z0-9]+", re.ASCII)
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file.

    Args:
        path: what stands in a URL behind the host.
        name: its place in the folder, with ``/`` between.
        content: its bytes.
    """

    path: str
    name: str
    content: bytes

    @property
    def media_type(self) -> str:
        """For Content-Type."""
        return _MEDIA_TYPES[Path(self.name).suffix]

    @property
    def is_named_by_hash(self) -> bool:
        """Whether another content would have another name, so that it may be cached forever."""
        return _HASHED.search(self.name) is not None

    @property
    def digest(self) -> str:
        """SHA-256, in hex."""
        return hashlib.sha256(self.content).hexdigest()


def load(folder: Path = DIST) -> tuple[PageFile, ...]:
    """Read the files of the page, in the order of their names; nothing if it was not built."""
    found = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            name = file.relative_to(folder).as_posix()
            found.append(PageFile(INDEX if name == "index.html" else f"/{name}", name, file.read_bytes()))
    return tuple(found)


def page_hash(files: Iterable[PageFile]) -> str:
    """One hash of all files: SHA-256, in hex, of what ``sha256sum`` prints for their names in order."""
    lines = sorted((file.name, file.digest) for file in files)
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in lines).encode()).hexdigest()
