"""What a new device shows, so that the first device can find it and be sure of it: a QR code, and a line to paste.

Its id certifies its key, so nobody who passes the code on can put another key behind it without changing the code; the
secret shows the new device that whoever writes to it has seen the code.
"""

import base64
import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote, unquote, urlsplit

from phantom_messenger.crypto.errors import InvalidMessage

SECRET_BYTES: Final = 16
ID_BYTES: Final = 32
MAX_CODE_CHARS: Final = 1_024

_PREFIX: Final = "phantom:link?"
_SCHEMES: Final = frozenset({"ws", "wss"})
_NAME: Final = re.compile(r"[a-z]{1,16}\Z")
_SHOWN: Final = re.compile(r"[!-~]*\Z")


@dataclass(frozen=True, slots=True)
class LinkCode:
    """``relay``: the URL of the new device's relay; ``id``: its raw user id, 32 bytes; ``secret``: 16 random bytes."""

    relay: str
    id: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"LinkCode(id={self.id.hex()})"

    def text(self) -> str:
        """The code as one line."""
        relay = quote(self.relay, safe=":/")
        return f"{_PREFIX}v=1&relay={relay}&id={_written(self.id)}&s={_written(self.secret)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a code.

        Raises:
            InvalidMessage: it is none, or one of a later version.
        """
        text = text.strip()
        if not text.startswith(_PREFIX) or len(text) > MAX_CODE_CHARS or not _SHOWN.match(text):
            raise InvalidMessage("this is not the code that a new device shows")
        members: dict[str, str] = {}
        for pair in text.removeprefix(_PREFIX).split("&"):
            name, separator, value = pair.partition("=")
            if not separator or not _NAME.match(name) or name in members:
                raise InvalidMessage("the code of a new device has a part that it cannot have")
            members[name] = value
        if members.get("v") != "1":
            raise InvalidMessage("the code of a new device is of a version that is not known here")
        relay = unquote(members.get("relay", ""))
        if not _is_relay(relay):
            raise InvalidMessage("the code of a new device names no relay")
        return cls(relay, _read(members.get("id", ""), ID_BYTES), _read(members.get("s", ""), SECRET_BYTES))


def _is_relay(text: str) -> bool:
    try:
        found = urlsplit(text)
        return _SHOWN.match(text) is not None and found.scheme in _SCHEMES and bool(found.hostname) and found.port != 0
    except ValueError:
        return False


def _written(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _read(text: str, size: int) -> bytes:
    """Bytes of a length in base64url without padding.

    Raises:
        InvalidMessage: they are not, or in another form than the one that there is.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        data = b""
    if len(data) != size or _written(data) != text:
        raise InvalidMessage("the code of a new device has a wrong or a missing character")
    return data
