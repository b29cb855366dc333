"""How far a text to a group has come with all of its recipients."""

from collections.abc import Iterable
from typing import Final

from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.records import CopyRecord
from phantom_messenger.client.status import DeliveryState

_RANK: Final = {
    DeliveryState.QUEUED: 0,
    DeliveryState.ACCEPTED: 1,
    DeliveryState.EXPIRED: 1,
    DeliveryState.DELIVERED: 2,
    DeliveryState.READ: 3,
    DeliveryState.BURNED: 3,
}


def reached_by_each(copies: Iterable[CopyRecord], devices: DeviceBook) -> dict[str, DeliveryState]:
    """How far a text has come with each person but oneself: as far as with the device that is furthest."""
    found: dict[str, DeliveryState] = {}
    for copy in copies:
        person, state = devices.person_of(copy.peer), DeliveryState(copy.state)
        if person != devices.person and (person not in found or _rank(found[person]) < _rank(state)):
            found[person] = state
    return found


def _rank(state: DeliveryState) -> int:
    return _RANK.get(state, -1)


def reached_by_all(states: Iterable[DeliveryState]) -> DeliveryState:
    """How far a text has come with all: accepted as soon as it is for one, and what all have reached beyond that."""
    known = [state for state in states if state is not DeliveryState.FAILED]
    if not known:
        return DeliveryState.FAILED
    least = min(_RANK[state] for state in known)
    if least >= _RANK[DeliveryState.DELIVERED]:
        return DeliveryState.READ if least >= _RANK[DeliveryState.READ] else DeliveryState.DELIVERED
    return DeliveryState.ACCEPTED if any(_RANK[state] for state in known) else DeliveryState.QUEUED
