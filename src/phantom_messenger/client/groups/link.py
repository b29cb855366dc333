"""Invitations by link: a text that names a relay, an admin and a token, for others to ask to be added.

See protocol/groups.md, "Links". The token says nothing of the group; the admin's client knows which it is for.
"""

import base64
import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.ids import is_user_id, plain_id, written_id
from phantom_messenger.wire.base64_text import decode_base64

TOKEN_BYTES: Final = 16
MAX_LINK: Final = 600
"""Characters of a link."""

MAX_USES: Final = 100
MAX_LIFE_MS: Final = 30 * 86_400_000
"""How long a token serves at most."""

_START: Final = "phantom:join?"
_LINK: Final = re.compile(
    r"phantom:join\?v=1&relay=(?P<relay>[A-Za-z0-9%._~-]+)&admin=(?P<admin>ph1[a-z0-9]+)&token=(?P<token>[A-Za-z0-9_-]{22})"
)

_PAGE: Final = re.compile(r"https?://[^\s#]*#g=(?P<link>[^&\s]+)", re.IGNORECASE)
"""What the page in the browser gives out: its address, and behind ``#`` the link as ``g``."""


class JoinLink(NamedTuple):
    """What a link says. ``relay``: its URL. ``admin``: user id in base64. ``token``: 16 bytes."""

    relay: str
    admin: str
    token: bytes

    def __repr__(self) -> str:
        return f"JoinLink(admin={self.admin})"

    @property
    def text(self) -> str:
        """The link."""
        token = base64.urlsafe_b64encode(self.token).decode().rstrip("=")
        return f"{_START}v=1&relay={quote(self.relay, safe='')}&admin={written_id(self.admin)}&token={token}"

    @classmethod
    def parse(cls, text: str) -> "JoinLink":
        """Read a link.

        Raises:
            UsageError: it is none, or has a wrong character.
        """
        text = _plain(text)
        found = _LINK.fullmatch(text) if len(text) <= MAX_LINK else None
        if found is None:
            raise UsageError("this is not an invitation to a group; ask for the whole link, 'phantom:join?...'")
        admin, token = plain_id(found["admin"]), decode_base64(found["token"].translate(_PLAIN) + "==")
        relay = unquote(found["relay"])
        if not is_user_id(admin) or token is None or not relay.startswith(("wss://", "ws://")):
            raise UsageError("this invitation is damaged; copy the link again")
        return cls(relay, admin, token)


_PLAIN: Final = str.maketrans("-_", "+/")


def is_link(text: str) -> bool:
    """Whether a text can only be meant as such a link."""
    return _plain(text).startswith(_START)


def _plain(text: str) -> str:
    """The link in what somebody gave: it, or the address of a page with it."""
    text = text.strip()
    return unquote(page["link"]) if (page := _PAGE.fullmatch(text)) else text
