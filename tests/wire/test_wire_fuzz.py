import json
from contextlib import suppress

import wire_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_samples import members, replaced, written

from phantom_messenger.wire import frames
from phantom_messenger.wire.codec import decode_client, decode_relay, encode, request_head
from phantom_messenger.wire.codes import ErrorCode, RequestError

FRAMES = st.sampled_from(
    [
        frame
        for rows in (samples.FULL_CLIENT, samples.LEAST_CLIENT, samples.FULL_RELAY, samples.LEAST_RELAY)
        for frame in rows.values()
    ]
)
TOKENS = st.sampled_from(
    [
        *(bytes([byte]) for byte in b'{}[]",:\\-+.eE0123456789=/ \0\n\xff'),
        *(b"null", b"true", b"NaN", b"Infinity", b"1e999", b"9" * 30, b"{}", b"[" * 9),
        *(b"\\ud800", b"\\u0061", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc3\xa9"),
        *(b'"a":1,', b'"type":"MESSAGE",', b'"timestamp":1,', b'"id":"x",', b'"seq":0,', b'"senderId":"",'),
        b'"metadata":{"a":1,"a":2},',
    ]
)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from([samples.KEY, samples.SIGNATURE, samples.KEM_KEY, *frames.CLIENT_FRAMES]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text("ab\u00e9"), values, max_size=3),
    max_leaves=10,
)
SOUP = st.binary() | st.lists(TOKENS).map(b"".join)
FUZZ = settings(max_examples=500)


@st.composite
def edited_frames(draw: st.DrawFn) -> bytes:
    """The text of a frame with a few bytes put in, taken away or written over."""
    text = encode(draw(FRAMES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.sampled_from([0, 0, 1, 1, 2, 8, 50]))
        text = text[:start] + draw(TOKENS | st.binary(max_size=2)) + text[end:]
    return text


@st.composite
def bent_frames(draw: st.DrawFn) -> bytes:
    """Valid JSON: a frame with some of its values replaced."""
    value = samples.as_json(draw(FRAMES))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path, _ in members(value)]))
        value = replaced(value, path, draw(ANY_JSON))
    return written(value)


def client_obeys_or_refuses(text: bytes) -> None:
    try:
        frame = decode_client(text).frame
    except RequestError as refusal:
        code = refusal.code
    else:
        assert json.loads(encode(frame)) == json.loads(text)
        return
    assert code in {ErrorCode.INVALID_MESSAGE, ErrorCode.MESSAGE_TOO_LARGE}


def relay_frame_is_read_or_refused(text: bytes) -> None:
    try:
        frame = decode_relay(text)
    except RequestError as refusal:
        code = refusal.code
    else:
        assert frame is None or decode_relay(encode(frame)) == frame
        return
    assert code is ErrorCode.INVALID_MESSAGE


@given(SOUP)
@FUZZ
def test_arbitrary_bytes_are_refused_by_the_relay(text: bytes) -> None:
    client_obeys_or_refuses(text)


@given(edited_frames())
@FUZZ
def test_edited_frame_is_understood_as_any_json_reader_would_or_refused(text: bytes) -> None:
    client_obeys_or_refuses(text)


@given(bent_frames())
@FUZZ
def test_frame_with_other_values_is_understood_as_any_json_reader_would_or_refused(text: bytes) -> None:
    client_obeys_or_refuses(text)


@given(SOUP | edited_frames() | bent_frames())
@FUZZ
def test_client_only_ever_refuses_what_a_relay_sends(text: bytes) -> None:
    relay_frame_is_read_or_refused(text)


@given(SOUP | edited_frames() | bent_frames())
@FUZZ
def test_head_of_any_text_is_read_without_an_error(text: bytes) -> None:
    head = request_head(text)
    with suppress(RequestError):
        frame = decode_client(text).frame
        assert (head.type, head.id) == (frame.type, frame.id)
