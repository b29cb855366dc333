"""Bytes to frames and back.

``decode_client`` is what the relay uses, ``decode_relay`` what a client uses.
Both return a frame that is valid in form, or raise ``RequestError`` with the answer.

Duplicate names are the one thing that the fast parser cannot see: it keeps the last
member. ``_check_names`` finds them by comparing the text with the canonical form of what was
read from it; only texts with escapes still pay for the strict parser.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from operator import attrgetter
from types import UnionType
from typing import Annotated, Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Raw, Struct

from phantom_messenger.wire import frames, limits, splice
from phantom_messenger.wire.base64_text import decode_base64
from phantom_messenger.wire.canonical import canonical_within, commas, parse_strictly
from phantom_messenger.wire.codes import Reason, RequestError
from phantom_messenger.wire.limits import (
    MAX_DEPTH,
    MAX_DEVICE_LIST_BYTES,
    MAX_ENCRYPTED_CHARS,
    MAX_MANY_CHARS,
    MAX_MESSAGE_BYTES,
    MAX_METADATA_BYTES,
    MAX_USER_ID_BYTES,
    MIN_USER_ID_BYTES,
)

encode: Final[Callable[[frames.Frame], bytes]] = msgspec.json.Encoder(order="deterministic").encode
"""Writes a frame as canonical JSON in UTF-8. Its fields are sorted already; the names of an error's details are not."""


class Head(Struct):
    """What must be readable for an answer to name its request."""

    type: str = ""
    id: frames.EnvelopeId | msgspec.UnsetType = UNSET


class _Kind(Struct):
    type: str = ""


class _AnyHead(Struct):
    type: Raw = Raw(b"null")
    id: Raw = Raw(b"null")


class Request(NamedTuple):
    """What an answer needs to know of a message that was refused."""

    type: str | None
    id: str | msgspec.UnsetType


_HEAD: Final = msgspec.json.Decoder(Head)
_KIND: Final = msgspec.json.Decoder(_Kind)
_ANY_HEAD: Final = msgspec.json.Decoder(_AnyHead)
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoders raise."""
_METADATA: Final = msgspec.json.Decoder(frames.Metadata)
_TEXT: Final = msgspec.json.Decoder(str)
_MOST_ESCAPED: Final = 6
"""The most bytes JSON can use for what canonical form writes in one: an ASCII character as ``\\u0041``."""
_CLIENT: Final = {name: msgspec.json.Decoder(kind) for name, kind in frames.CLIENT_FRAMES.items()}
_RELAY: Final = {name: msgspec.json.Decoder(kind) for name, kind in frames.RELAY_FRAMES.items()}

_ROUTED: Final[dict[type[Struct], tuple[type[Struct], type[Struct]]]] = {
    frames.Message: (frames.RoutedMessage, frames.RoutedMessagePayload),
    frames.KeyExchangeInit: (frames.RoutedKeyExchangeInit, frames.RoutedKeyExchangeInitPayload),
    frames.KeyExchangeResponse: (frames.RoutedKeyExchangeResponse, frames.RoutedKeyExchangeResponsePayload),
}
_ORIGINAL: Final[dict[type[Struct], tuple[type[Any], type[Struct]]]] = {
    frames.RoutedMessage: (frames.Message, frames.MessagePayload),
    frames.RoutedKeyExchangeInit: (frames.KeyExchangeInit, frames.KeyExchangeInitPayload),
    frames.RoutedKeyExchangeResponse: (frames.KeyExchangeResponse, frames.KeyExchangeResponsePayload),
}
_BYTES: Final[dict[Any, range]] = {
    frames.DeviceList: range(1, MAX_DEVICE_LIST_BYTES + 1),
    frames.Triples: range(3, MAX_ENCRYPTED_CHARS, 3),
    frames.Base64: range(1, MAX_ENCRYPTED_CHARS),
    frames.Key32: range(32, 33),
    frames.KemKey: range(1184, 1185),
    frames.Signature: range(64, 65),
    frames.UserId: range(MIN_USER_ID_BYTES, MAX_USER_ID_BYTES + 1),
}
"""How many bytes each kind of base64 text may hold."""

_METADATA_DEPTH: Final = 2
"""Levels around ``metadata``: the envelope and the payload."""

_PATH: Final = re.compile(r"`\$\.?([A-Za-z0-9_.\[\]]{1,80})`$")
_NAMED_FIELD: Final = re.compile(r"field `([A-Za-z0-9_]{1,40})`")
_ID_FORM: Final = re.compile(r"[\x21-\x7e]{1,64}\Z")

F = TypeVar("F", bound=frames.Frame)


class Decoded(Struct, frozen=True):
    """A client's frame, and its text in canonical form without the signature."""

    frame: frames.ClientFrame
    signed_text: bytes


def read_kind(text: bytes) -> str:
    """The type of a message whose other contents are not looked at; '' if that cannot be read."""
    try:
        return _KIND.decode(text).type
    except _UNREADABLE:
        return ""


def decode_client(text: bytes, kind: str = "") -> Decoded:
    """Read what a client sent.

    Args:
        text: one WebSocket text message, UTF-8, of any size.
        kind: its type, if that was read already.

    Raises:
        RequestError: 1001 or 1006 with the reason; ``details`` name the field.
    """
    if len(text) > MAX_MESSAGE_BYTES:
        raise RequestError(Reason.MESSAGE_SIZE, details={"limit": MAX_MESSAGE_BYTES})
    decoder = _CLIENT.get(kind or _kind(text))
    if decoder is None:
        raise RequestError(Reason.TYPE)
    frame, written = _read(decoder, text)
    is_signed = getattr(frame, "signature", UNSET) is not UNSET
    return Decoded(frame, splice.without_signature(written) if is_signed else written)


def decode_relay(text: bytes) -> frames.RelayFrame | None:
    """Read what a relay sent; ``None`` for a type this version does not know.

    Raises:
        RequestError: the relay broke the protocol.
    """
    kind = _kind(text)
    if not kind:
        raise RequestError(Reason.TYPE)
    decoder = _RELAY.get(kind)
    return None if decoder is None else _read(decoder, text)[0]


def request_head(text: bytes) -> Request:
    """Type and ``id`` of a message that may otherwise be broken, for the ERROR frame."""
    try:
        found = _ANY_HEAD.decode(text)
    except _UNREADABLE:
        return Request(None, UNSET)
    kind, name = _short_text(found.type, limits.MAX_ID_CHARS), _short_text(found.id, limits.MAX_ID_CHARS)
    return Request(kind, UNSET if name is None or not _ID_FORM.match(name) else name)


def _short_text(written: Raw, most: int) -> str | None:
    """A JSON string of at most so many characters; anything longer, or not a string, is not even decoded."""
    text = bytes(written)
    if text[:1] != b'"' or len(text) > most * _MOST_ESCAPED + 2:
        return None
    try:
        return _TEXT.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def signed_text(frame: frames.Frame) -> bytes:
    """The canonical text that a frame's signature covers, without the purpose prefix."""
    return encode(msgspec.structs.replace(frame, signature=UNSET)) if hasattr(frame, "signature") else encode(frame)


def expanded(frame: frames.MessageMany) -> list[bytes]:
    """The messages that it comes to, one for each recipient in their order: what their inner signatures cover.

    Each is the canonical text of a MESSAGE without ``id`` and ``signature``.
    """
    payload = frame.payload
    conversation = msgspec.json.encode(payload.conversation_id).decode()
    metadata = "" if payload.metadata is UNSET else f',"metadata":{bytes(payload.metadata).decode()}'
    start = f'{{"payload":{{"conversationId":{conversation},"encrypted":"'
    middle = f'{payload.common}","messageId":"{payload.message_id}"{metadata},"recipientId":"'
    end = f'"}},"timestamp":{frame.timestamp},"type":"MESSAGE"}}'
    return [f"{start}{part.head or ''}{middle}{part.recipient_id}{end}".encode() for part in payload.recipients]


def route(frame: frames.Message | frames.KeyExchangeInit | frames.KeyExchangeResponse, sender_id: str) -> Any:
    """Turn a client's frame into what its recipient gets: with ``senderId``, and a ``seq`` of 0."""
    kind, payload_kind = _ROUTED[type(frame)]
    payload = payload_kind(sender_id=sender_id, **_fields(frame.payload))
    return kind(**{**_fields(frame), "payload": payload, "seq": 0})


def original(frame: frames.RoutedFrame) -> frames.SignedFrame:
    """Remove what the relay added, so that the sender's signature can be verified."""
    kind, payload_kind = _ORIGINAL[type(frame)]
    payload = payload_kind(**_fields(frame.payload, payload_kind))
    found: frames.SignedFrame = kind(**{**_fields(frame, kind), "payload": payload})
    return found


def without_seq(frame: F) -> F:
    """The same frame as it is sent without going through the mailbox."""
    return msgspec.structs.replace(frame, seq=UNSET)


def _fields(part: Struct, kind: type[Struct] | None = None) -> dict[str, Any]:
    return {name: getattr(part, name) for name in (kind or type(part)).__struct_fields__}


def _kind(text: bytes) -> str:
    """As ``read_kind``, but says what is wrong if there is none."""
    try:
        return _HEAD.decode(text).type
    except _UNREADABLE as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> RequestError:
    """What is said of a text because a decoder has raised this."""
    if isinstance(error, RecursionError):
        return RequestError(Reason.TOO_DEEP)
    if not isinstance(error, msgspec.ValidationError):
        return RequestError(Reason.JSON)
    message = str(error)
    if path := _PATH.search(message):
        field = path[1]
        if unknown := _NAMED_FIELD.search(message):
            field = f"{field}.{unknown[1]}"
    elif unknown := _NAMED_FIELD.search(message):
        field = unknown[1]
    else:
        return RequestError(Reason.JSON if message.startswith("Expected `object`") else Reason.FIELD)
    return RequestError(Reason.TYPE if field == "type" else Reason.FIELD, field=field)


def _read(decoder: msgspec.json.Decoder[F], text: bytes) -> tuple[F, bytes]:
    """Read a frame and check what the types cannot say: sizes, duplicate names, depth, base64.

    Returns:
        The frame, with its metadata in canonical form, and its canonical text.
    """
    try:
        frame = decoder.decode(text)
    except _UNREADABLE as error:
        raise _unreadable(error) from None
    if isinstance(frame, (frames.Message, frames.RoutedMessage)):
        payload = frame.payload
        if len(payload.encrypted) > MAX_ENCRYPTED_CHARS:
            raise RequestError(Reason.ENCRYPTED_SIZE, details={"limit": MAX_ENCRYPTED_CHARS})
        if payload.metadata is not UNSET:
            payload = msgspec.structs.replace(payload, metadata=Raw(_canonical_metadata(bytes(payload.metadata))))
            frame = msgspec.structs.replace(frame, payload=payload)
    elif isinstance(frame, frames.MessageMany):
        frame = msgspec.structs.replace(frame, payload=_checked_many(frame.payload))
    elif isinstance(frame, frames.PreKeyFetch):
        _check_different(frame.payload.targets, "payload.targets[{}]")
    written = encode(frame)
    if written != text:
        _check_names(frame, text, written)
    _check_base64(frame, "")
    return frame, written


def _checked_many(payload: frames.MessageManyPayload) -> frames.MessageManyPayload:
    """Sizes of the messages that it comes to, and its recipients; metadata becomes canonical."""
    if not payload.recipients and payload.order is UNSET:
        raise RequestError(Reason.FIELD, field="payload.recipients")
    common = len(payload.common)
    sizes = [common + len(part.head or "") for part in payload.recipients]
    if max(sizes, default=common) > MAX_ENCRYPTED_CHARS:
        raise RequestError(Reason.ENCRYPTED_SIZE, details={"limit": MAX_ENCRYPTED_CHARS})
    if sum(sizes) > MAX_MANY_CHARS:
        raise RequestError(Reason.MANY_SIZE, details={"limit": MAX_MANY_CHARS})
    _check_different([part.recipient_id for part in payload.recipients], "payload.recipients[{}].recipientId")
    if payload.metadata is UNSET:
        return payload
    return msgspec.structs.replace(payload, metadata=Raw(_canonical_metadata(bytes(payload.metadata))))


def _check_different(users: list[str], field: str) -> None:
    """Refuse a user who is named twice."""
    if len(set(users)) < len(users):
        again = next(index for index, user in enumerate(users) if user in users[:index])
        raise RequestError(Reason.FIELD, field=field.format(again))


def _check_names(frame: frames.Frame, text: bytes, written: bytes) -> None:
    """Refuse a text that names a member twice; ``written`` is the canonical form of what was read from it.

    Unknown members were refused, metadata was parsed strictly, and what was read has every
    element of every array. So the two differ in their commas only if a member was dropped, which
    is what the fast parser does with the first of two.
    """
    if text.count(b",") > written.count(b","):
        raise RequestError(Reason.DUPLICATE_NAME)
    # An escape can hide a comma of a string, and the details of an error can hold anything.
    if b"\\" in text or isinstance(frame, frames.Error | frames.AuthFailure):
        parse_strictly(text)


def _canonical_metadata(written: bytes) -> bytes:
    # Whatever follows a comma takes at least a byte, however it is written.
    if len(written) > MAX_METADATA_BYTES * _MOST_ESCAPED or 2 * commas(written) > MAX_METADATA_BYTES:
        raise _metadata_size()
    text = canonical_within(parse_strictly(written, levels=MAX_DEPTH - _METADATA_DEPTH), MAX_METADATA_BYTES)
    if text is None:
        raise _metadata_size()
    try:
        # As it was written: 1000.0 is not an integer, although its canonical form looks like one.
        _METADATA.decode(written)
    except msgspec.ValidationError as error:
        found = _PATH.search(str(error))
        raise RequestError(Reason.FIELD, field="payload.metadata" + (f".{found[1]}" if found else "")) from None
    return text


def _metadata_size() -> RequestError:
    return RequestError(Reason.METADATA_SIZE, details={"limit": MAX_METADATA_BYTES})


def _check_base64(part: Struct, path: str) -> None:
    """Refuse base64 that is not canonical or has the wrong length, anywhere in a frame."""
    for get, written, length, of_items in _plan(type(part)):
        value = get(part)
        if value is UNSET:
            continue
        if length is not None:
            raw = decode_base64(value)
            if raw is None or len(raw) not in length:
                raise RequestError(Reason.BASE64, field=path + written)
        elif isinstance(value, Struct):
            _check_base64(value, f"{path}{written}.")
        elif isinstance(value, list):
            _check_list(value, of_items, path + written)


def _check_list(items: list[Any], length: range | None, path: str) -> None:
    """As ``_check_base64``, for parts of which there are several; ``length`` of texts, None if they are no base64."""
    if items and isinstance(items[0], frames.ManyRecipientPart) and _are_canonical(items):
        return
    for index, item in enumerate(items):
        if isinstance(item, Struct):
            _check_base64(item, f"{path}[{index}].")
        elif length is not None and ((raw := decode_base64(item)) is None or len(raw) not in length):
            raise RequestError(Reason.BASE64, field=f"{path}[{index}]")


def _are_canonical(parts: list[frames.ManyRecipientPart]) -> bool:
    """Whether ``_check_base64`` would find nothing: of 200 recipients, without 200 times its work."""
    heads = [part.head for part in parts if part.head is not UNSET]
    together = "".join(heads)
    if {len(head) & 3 for head in heads} - {0} or "=" in together or decode_base64(together) is None:
        return False
    if not _SIGNATURES.fullmatch("".join([part.signature for part in parts])):
        return False
    users, most = [part.recipient_id for part in parts], MAX_USER_ID_BYTES
    return all((raw := decode_base64(user)) is not None and MIN_USER_ID_BYTES <= len(raw) <= most for user in users)


_SIGNATURES: Final = re.compile(r"(?:[A-Za-z0-9+/]{85}[AQgw]==)+")
"""Of 64 bytes each, one behind the other."""


@cache
def _plan(kind: type[Struct]) -> list[tuple[Callable[[Struct], Any], str, range | None, range | None]]:
    """Where in a frame base64 stands, or lists of it, with its length in bytes; and parts that may be absent."""
    return [(attrgetter(name), written, *lengths) for name, written, lengths in _fields_to_check(kind)]


def _fields_to_check(kind: type[Struct]) -> Iterator[tuple[str, str, tuple[range | None, range | None]]]:
    for field in msgspec.structs.fields(kind):
        choices = _choices(field.type)
        length = next((_BYTES[choice] for choice in choices if choice in _BYTES), None)
        parts = [bare for choice in choices if _is_part(bare := _bare(choice))]
        if parts == [field.type] and get_origin(field.type) is not list:  # always there
            for name, written, lengths in _fields_to_check(field.type):
                yield f"{field.name}.{name}", f"{field.encode_name}.{written}", lengths
        elif length or parts:
            listed = [get_args(part)[0] for part in parts if get_origin(part) is list]
            yield field.name, field.encode_name, (length, _BYTES.get(listed[0]) if listed else None)


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _is_part(bare: Any) -> bool:
    return get_origin(bare) is list or (isinstance(bare, type) and issubclass(bare, Struct))
