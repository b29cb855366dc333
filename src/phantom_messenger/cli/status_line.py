"""The status line of a chat: who is connected, and how far the last message has come."""

import math
import time
from collections.abc import Callable
from typing import Final

from prompt_toolkit.utils import get_cwidth

from phantom_messenger.cli.common import one_line, sentence, shell_word
from phantom_messenger.cli.group_lines import MARKS as WORDS
from phantom_messenger.cli.listen import request_line
from phantom_messenger.cli.times import moment
from phantom_messenger.client.ids import written_id
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    Contact,
    DeliveryEvent,
    DeliveryState,
    Event,
    GroupEvent,
    GroupMessageEvent,
    LinkingEvent,
    MessageEvent,
    PresenceEvent,
    RequestEvent,
    WarningEvent,
    WrittenEvent,
)

MARKS: Final = {
    DeliveryState.QUEUED: "· waiting",
    DeliveryState.ACCEPTED: "✓ sent",
    DeliveryState.DELIVERED: "✓✓ delivered",
    DeliveryState.READ: "✓✓ read",
    DeliveryState.BURNED: "✓✓ read and burned",
    DeliveryState.EXPIRED: "✗ expired",
    DeliveryState.FAILED: "✗ failed",
}
OBSTACLES: Final = {
    "paused": "rate-limited by the relay",
    "backlog": "their mailbox is full",
    "unknown-user": "unknown to the relay",
    "storage": "the relay is out of space",
    "clock": "clocks differ",
    "key-changed": "their key has changed",
    "downgrade": "their keys are weaker than before",
    "classical": "no post-quantum key",
    "older": "no newer keys",
    "stale-keys": "their keys are old",
}
"""Warnings that say why a message is still here, in a few words."""

GAP: Final = "   "
LEAST_FIRST: Final = ("trust", "about", "classical")
"""What a narrow terminal does without, before how far the last message is."""

TYPING_SHOWN: Final = 6.0
"""Seconds after which somebody who has stopped typing is no longer shown as typing."""


class StatusLine:
    """What the line below the prompt shows.

    Args:
        contact: the other side.
        flag: see ``profile_flag``.
        about: what is said in the place of presence and trust, if it is not ''.
    """

    def __init__(self, contact: Contact, flag: str = "", about: Callable[[], str] = str) -> None:
        self._contact = contact
        self._about = about
        self._flag = flag
        self._connection = "connecting"
        self._outage = ""
        self._presence = ""
        self._typing_until = 0.0
        self._last: tuple[str, DeliveryState] | None = None
        self._sent_at = 0.0
        self._obstacle = ""
        self._unsent: dict[str, str] = {}

    def waits(self, unsent: dict[str, str]) -> None:
        """Past messages are shown as waiting; see ``Talk.unsent``. The last of them is the last message."""
        self._unsent = dict(unsent)
        if unsent:
            self._last = (list(unsent)[-1], DeliveryState.QUEUED)
            self._sent_at = math.inf  # since long before this chat

    def sent(self, message_id: str) -> None:
        """A message has been typed and is queued."""
        self._last = (message_id, DeliveryState.QUEUED)
        self._sent_at = time.monotonic()

    def written(self, message_id: str, state: DeliveryState) -> None:
        """The last message is one that was written on another device."""
        self._last = (message_id, state)

    def update(self, event: Event) -> str:
        """Apply an event; returns a line to print for it, or ''."""
        match event:
            case DeliveryEvent():
                return self._delivery(event)
            case PresenceEvent():
                return self._presence_of(event)
            case ConnectionEvent():
                return self._connected(event)
            case MessageEvent():
                return self._message(event)
            case WarningEvent():
                return self._warning(event)
            case RequestEvent():
                return request_line(event, self._flag)
            case GroupEvent() | GroupMessageEvent() | LinkingEvent() | WrittenEvent():
                return ""

    def show(self, columns: int | None = None) -> str:
        """The line itself; in so many columns what matters least is left out, and last of all how far a text is."""
        whole = GAP.join(self._parts(is_short=False).values())
        if columns is None or get_cwidth(whole) <= columns:
            return whole
        parts = self._parts(is_short=True)
        is_said = self._connection == ConnectionState.ONLINE or self._wait() != ""
        for least in ("you", *LEAST_FIRST) if is_said else (*LEAST_FIRST, "you"):
            if get_cwidth(GAP.join(parts.values())) <= columns:
                break
            parts.pop(least, None)
        return GAP.join(parts.values())

    def _parts(self, *, is_short: bool) -> dict[str, str]:
        """What it says, in the order in which it is shown."""
        is_typing = time.monotonic() < self._typing_until
        known = self._presence.partition(",")[0] if is_short else self._presence or "presence unknown"
        presence = "typing…" if is_typing else known
        person = f"{one_line(self._contact.label)}: {presence}" if presence else one_line(self._contact.label)
        about = self._about()
        parts = {"you": f"you: {self._connection}", "about": about or person}
        if not about:
            parts["trust"] = str(self._contact.trust)
        if self._contact.classical:
            parts["classical"] = "classical"
        if self._last is not None:
            parts["last"] = f"{'' if is_short else 'last message '}{MARKS[self._last[1]]}{self._wait()}"
        return parts

    def _wait(self) -> str:
        """How long the last message has been waiting, and why."""
        if self._last is None or self._last[1] is not DeliveryState.QUEUED:
            return ""
        seconds = time.monotonic() - self._sent_at
        offline = "" if self._connection == ConnectionState.ONLINE else "not connected"
        why = offline or OBSTACLES.get(self._obstacle, "")
        return (f" {seconds:.0f} s" if seconds >= 1 else "") + (f": {why}" if why else "")

    def _delivery(self, event: DeliveryEvent) -> str:
        if self._last is not None and self._last[0] == event.message_id:
            self._last = (event.message_id, event.state)
            self._obstacle = ""
        shown = "" if event.state is DeliveryState.QUEUED else self._unsent.pop(event.message_id, "")
        return f"{WORDS[event.state]} now: {shown}" if shown else ""

    def _presence_of(self, event: PresenceEvent) -> str:
        if event.peer.user_id == self._contact.user_id:
            is_typing = event.status == "typing"
            self._typing_until = time.monotonic() + TYPING_SHOWN if is_typing else 0.0
            if not is_typing:
                self._presence = event.status + _since(event.last_seen)
        return ""

    def _connected(self, event: ConnectionEvent) -> str:
        self._connection = str(event.state)
        before = self._outage
        if event.state is ConnectionState.ONLINE:
            self._outage = ""
            return "online again" if before else ""
        self._presence, self._typing_until = "", 0.0
        self._outage = event.reason or before
        return "" if self._outage == before else f"{event.state}: {one_line(event.reason)}"

    def _message(self, event: MessageEvent) -> str:
        peer = event.peer
        if peer.user_id == self._contact.user_id:
            self._typing_until = 0.0
            return ""
        chat = f"phantom chat{self._flag} {shell_word(peer.name or written_id(peer.user_id))}"
        return f"new message from {one_line(peer.label)}; read it with: {chat}"

    def _warning(self, event: WarningEvent) -> str:
        if event.peer is not None and event.peer.user_id == self._contact.user_id:
            self._contact = event.peer  # a changed key, or no post-quantum one
        if event.code in OBSTACLES and event.peer in {None, self._contact}:
            self._obstacle = event.code
        return sentence(event.message)


def _since(last_seen: int | None) -> str:
    return "" if last_seen is None else f", last seen {moment(last_seen)}"
