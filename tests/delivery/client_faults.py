"""Protections of the SDK, taken off for controls."""

from collections.abc import Iterator

import pytest

from phantom_messenger.client.link import Link
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.client.status import Event
from phantom_messenger.wire import frames


def acknowledge_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is acknowledged, with a PING, and stored when the PONG has come."""
    handle, receive = Receiving._message, Messenger.receive
    later: dict[Link, list[tuple[Receiving, frames.RoutedMessage]]] = {}

    def hasty(receiving: Receiving, link: Link, frame: frames.RoutedMessage, now: Moment) -> Iterator[Event]:
        receiving._confirm_message(link, frame.payload.sender_id, frame.payload.message_id, now)
        link.ping(now.monotonic)
        later.setdefault(link, []).append((receiving, frame))
        return iter(())

    def late(messenger: Messenger, text: str | bytes) -> None:
        receive(messenger, text)
        if '"PONG"' in str(text) and messenger._link is not None:
            for receiving, frame in later.pop(messenger._link, []):
                messenger._report(handle(receiving, messenger._link, frame, messenger._now()))

    monkeypatch.setattr(Receiving, "_message", hasty)
    monkeypatch.setattr(Messenger, "receive", late)
