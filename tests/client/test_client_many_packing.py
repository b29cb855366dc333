"""Recipients are divided into as few frames as the relay's limits allow."""

import base64
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from phantom_messenger.client.many import packing
from phantom_messenger.client.many.packing import Sizes, base64_chars
from phantom_messenger.client.pacing import PACE_SPAN_MS, Pacing
from phantom_messenger.crypto import head
from phantom_messenger.wire import codec, frames
from phantom_messenger.wire.limits import MAX_MANY_CHARS, MAX_MESSAGE_BYTES, MAX_RECIPIENTS, RateClass

PLAIN = Sizes(head=136, recipient=44)
HEADS = st.sampled_from(sorted(head.HEAD_BYTES.values())).map(base64_chars)
SIZES = st.builds(Sizes, head=HEADS, recipient=st.just(44))


def frame_of(parts: list[Sizes], common: int) -> frames.MessageMany:
    recipients = [
        frames.ManyRecipientPart(head="A" * part.head, recipient_id="B" * part.recipient, signature="C" * 88)
        for part in parts
    ]
    payload = frames.MessageManyPayload(
        common="D" * common, conversation_id="c", message_id="m", recipients=recipients, metadata=UNSET
    )
    return frames.MessageMany(payload=payload, signature="S" * 88, timestamp=0)


@given(parts=st.lists(SIZES, max_size=500), common=st.sampled_from([700, 5_000, 30_000, 59_456]))
def test_frames_hold_all_in_order_and_stay_within_the_limits(parts: list[Sizes], common: int) -> None:
    fixed = len(codec.encode(frame_of([], common)))
    found = packing.pack([(part, part) for part in parts], fixed=fixed, common=common)
    assert [part for frame in found for part in frame] == parts
    for frame in found:
        assert frame
        assert len(frame) <= MAX_RECIPIENTS
        assert len(codec.encode(frame_of(frame, common))) <= MAX_MESSAGE_BYTES
        assert sum(common + part.head for part in frame) <= MAX_MANY_CHARS


@given(parts=st.lists(SIZES, min_size=2, max_size=500), common=st.sampled_from([700, 5_000, 30_000, 59_456]))
def test_no_frame_could_take_the_first_of_the_next(parts: list[Sizes], common: int) -> None:
    fixed = len(codec.encode(frame_of([], common)))
    found = packing.pack([(part, part) for part in parts], fixed=fixed, common=common)
    for frame, following in pairwise(found):
        more = [*frame, following[0]]
        assert (
            len(more) > MAX_RECIPIENTS
            or len(codec.encode(frame_of(more, common))) > MAX_MESSAGE_BYTES
            or sum(common + part.head for part in more) > MAX_MANY_CHARS
        )


def test_short_message_for_two_hundred_fits_one_frame() -> None:
    found = packing.pack([(number, PLAIN) for number in range(200)], fixed=1_100, common=748)
    assert [len(frame) for frame in found] == [200]


def test_each_limit_divides() -> None:
    assert [len(frame) for frame in packing.pack([(0, PLAIN)] * 201, fixed=0, common=4)] == [200, 1]
    assert [len(frame) for frame in packing.pack([(0, PLAIN)] * 40, fixed=60_000, common=60_000)] == [17, 17, 6]
    assert [len(frame) for frame in packing.pack([(0, PLAIN)] * 40, fixed=0, common=60_000)] == [34, 6]


def test_base64_is_as_long_as_was_said() -> None:
    assert [base64_chars(size) for size in range(7)] == [len(base64.b64encode(bytes(size))) for size in range(7)]


# --- how many recipients in a minute ----------------------------------------------


def test_recipients_are_counted_all_or_none() -> None:
    pacing = Pacing()
    assert pacing.acquire_several(RateClass.RECIPIENTS, 10, 6, 0)
    assert pacing.acquire_several(RateClass.RECIPIENTS, 10, 3, 5_000)
    assert not pacing.acquire_several(RateClass.RECIPIENTS, 10, 2, 6_000)
    assert pacing.free(RateClass.RECIPIENTS, 10, 6_000) == 1
    assert pacing.until(RateClass.RECIPIENTS) == PACE_SPAN_MS
    assert not pacing.acquire_several(RateClass.RECIPIENTS, 10, 1, 6_000), "nobody overtakes who waits"
    assert pacing.acquire_several(RateClass.RECIPIENTS, 10, 2, PACE_SPAN_MS)


def test_recipients_wait_until_enough_count_no_more() -> None:
    pacing = Pacing()
    assert pacing.acquire_several(RateClass.RECIPIENTS, 10, 6, 0)
    assert pacing.acquire_several(RateClass.RECIPIENTS, 10, 4, 5_000)
    assert not pacing.acquire_several(RateClass.RECIPIENTS, 10, 8, 6_000)
    assert pacing.until(RateClass.RECIPIENTS) == 5_000 + PACE_SPAN_MS


def test_without_limits_nothing_is_counted() -> None:
    assert Pacing().acquire_several(RateClass.RECIPIENTS, None, 10**6, 0)
