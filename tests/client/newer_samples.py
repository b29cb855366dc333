"""Clients whose sessions carry content 2, and what a newer version might send them."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from client_samples import Device, settle

from phantom_messenger.client import content2, content_suites, conversations, records, strict_map
from phantom_messenger.client.content import Ends, Receipt, Text
from phantom_messenger.client.records import NewerRecord, ReceivedRecord


@contextmanager
def content_2() -> Iterator[None]:
    """All sessions are of a suite that carries content 2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversations, "suite_of", lambda _: content_suites.FIRST_SUITE + 1)
        yield


@contextmanager
def older() -> Iterator[None]:
    """Whoever receives something now does not know texts yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(content2.KINDS, "text")
        yield


@contextmanager
def pictures(**changes: object) -> Iterator[None]:
    """What is sent as a text is a picture with that caption, of a version to come."""
    encode = content2.encode

    def drawn(said: Text | Receipt, ends: Ends) -> bytes:
        if isinstance(said, Receipt):
            return encode(said, ends)
        members = strict_map.decode(encode(said, ends))
        return msgspec.msgpack.encode({**members, "kind": "picture", "caption": said.body, **changes})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content2, "encode", drawn)
        yield


def sent_to_older(sender: Device, to: Device, *texts: str, **options: object) -> list[str]:
    """Texts that arrive where texts are not known; their message ids."""
    numbers = sender.send(to, *texts, **options)
    with older():
        settle(sender, to)
    return numbers


def received(device: Device, sender: Device, number: str) -> ReceivedRecord | None:
    """What there is of a received message."""
    return device.vault.get(records.RECEIVED, records.key(sender.id, number), ReceivedRecord)


def markers(device: Device) -> list[str]:
    """Messages that are to be read again at the next opening."""
    return [marker.message_id for _, marker in device.vault.all(records.NEWER, NewerRecord)]
