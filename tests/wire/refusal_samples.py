"""Where in the samples a kind of value stands, and how frames with another value there are refused."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import wire_samples as samples
from msgspec import Raw
from wire_samples import Path, dotted, members, replaced, written

from phantom_messenger.wire import frames
from phantom_messenger.wire.codec import decode_client, decode_relay, encode
from phantom_messenger.wire.codes import Reason, RequestError

Decode = Callable[[bytes], object]
FULL: Final[list[tuple[Decode, frames.Frame]]] = [
    *((decode_client, frame) for frame in samples.FULL_CLIENT.values()),
    *((decode_relay, frame) for frame in samples.FULL_RELAY.values()),
]
LEAST: Final[list[tuple[Decode, frames.Frame]]] = [
    *((decode_client, frame) for frame in samples.LEAST_CLIENT.values()),
    *((decode_relay, frame) for frame in samples.LEAST_RELAY.values()),
]
Case = tuple[Decode, Any, Path]


def refusal_of(decode: Decode, text: bytes) -> RequestError:
    """The error with which a text is refused; a failure shows the text."""
    try:
        decode(text)
    except RequestError as refusal:
        return refusal
    raise AssertionError(f"accepted: {text[:1_000]!r}")


def client_reason(text: bytes) -> Reason:
    return refusal_of(decode_client, text).reason


def label(case: object) -> str | None:
    if not isinstance(case, tuple):
        return None
    decode, value, path = case
    return f"{decode.__name__}-{value['type']}-{dotted(path) or 'envelope'}"


def places(rows: list[tuple[Decode, frames.Frame]], wanted: Callable[[Path, Any], bool]) -> list[Case]:
    """Where in the samples a kind of value stands."""
    return [
        (reader, value, path)
        for reader, frame in rows
        for value in (samples.as_json(frame),)
        for path, member in members(value)
        if wanted(path, member)
    ]


MESSAGE_JSON: Final = samples.as_json(samples.MESSAGE)


def message_with(metadata: bytes) -> bytes:
    payload = msgspec.structs.replace(samples.MESSAGE.payload, metadata=Raw(metadata))
    return encode(msgspec.structs.replace(samples.MESSAGE, payload=payload))


def with_text(value: Any, path: Path, text: bytes) -> bytes:
    """The value as JSON with this text, whatever it is, at the path."""
    return written(replaced(value, path, "\0")).replace(b'"\\u0000"', text)
