"""PREKEY_STATUS: how many of a user's prekeys are left."""

from msgspec import UNSET, UnsetType

from phantom_messenger.relay.records import PreKeyCounts
from phantom_messenger.wire import frames
from phantom_messenger.wire.limits import LOW_PREKEYS


def is_low(counts: PreKeyCounts) -> bool:
    """Whether the owner is to be warned."""
    return counts.one_time < LOW_PREKEYS or (
        counts.last_resort_kem_id is not None and counts.one_time_kem < LOW_PREKEYS
    )


def status_of(counts: PreKeyCounts, request: str | UnsetType, now: int) -> frames.PreKeyStatus:
    """What is left, as its owner is told."""
    return frames.PreKeyStatus(
        id=request,
        payload=frames.PreKeyStatusPayload(
            one_time_pre_keys=counts.one_time,
            kem_pre_keys=counts.one_time_kem,
            highest_pre_key_id=UNSET if counts.highest_id is None else counts.highest_id,
            signed_pre_key_id=UNSET if counts.signed_id is None else counts.signed_id,
            last_resort_kem_pre_key_id=UNSET if counts.last_resort_kem_id is None else counts.last_resort_kem_id,
        ),
        timestamp=now,
    )
