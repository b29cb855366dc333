"""Protections of the SDK, taken off for controls."""

import pytest

from phantom_messenger.client.link import Link
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.wire import frames


def acknowledge_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is acknowledged, with a PING, and stored when the PONG has come."""
    take, receive = Messenger._take_message, Messenger.receive
    later: dict[Link, list[frames.RoutedMessage]] = {}

    def hasty(messenger: Messenger, frame: frames.RoutedMessage) -> None:
        link = messenger._link
        assert link is not None
        delivered = frames.MessageAckPayload(
            message_id=frame.payload.message_id, sender_id=frame.payload.sender_id, status="delivered"
        )
        messenger._acks.confirm(link, delivered, messenger._monotonic())
        link.ping(messenger._monotonic())
        later.setdefault(link, []).append(frame)

    def late(messenger: Messenger, text: str | bytes) -> None:
        receive(messenger, text)
        if '"PONG"' in str(text) and messenger._link is not None:
            for frame in later.pop(messenger._link, []):
                take(messenger, frame)

    monkeypatch.setattr(Messenger, "_take_message", hasty)
    monkeypatch.setattr(Messenger, "receive", late)
