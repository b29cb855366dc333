"""What ``maker_devices`` lists of routing: whose a message is, and to whom one goes."""

from typing import Final

from maker_base import Json

from phantom_messenger.client.devices.routing import Routing

P, L, T, B, C, M, X = (bytes((number,)) * 32 for number in range(1, 8))
ROUTINGS: Final = {
    "alone": ("nobody has a list", Routing(P, P, {}, frozenset({B}))),
    "own-two": ("on the first of two own devices", Routing(P, P, {P: (P, L)}, frozenset({B}))),
    "linked": ("on a linked device", Routing(P, L, {P: (P, L, T)}, frozenset({B}))),
    "both": ("both have two", Routing(P, L, {P: (P, L), B: (B, C)}, frozenset({B}))),
    "stranger-list": ("of somebody who is not known the list is", Routing(P, P, {B: (B, C)}, frozenset())),
    "greedy": (
        "a list with people and devices of others",
        Routing(P, P, {P: (P, L), B: (B, C), M: (M, B, C, L, X)}, frozenset({B, M})),
    ),
    "known-first": ("who is known as a person stays one", Routing(P, P, {M: (M, X)}, frozenset({X, M}))),
    "list-first": (
        "who has a list of their own is nobody's device",
        Routing(P, P, {M: (M, X), X: (X, C)}, frozenset()),
    ),
}


def routing_case(name: str, description: str, found: Routing) -> Json:
    """What one device makes of ids."""
    everybody = (P, L, T, B, C, M, X)
    texts = [
        {"sender": one.hex(), "to": None if to is None else to.hex(), "with": _hex(found.conversation_of(one, to))}
        for one in (L, B, C, X)
        for to in (None, P, B, C)
    ]
    return {
        "name": name,
        "description": description,
        "person": found.person.hex(),
        "device": found.device.hex(),
        "usable": [{"person": one.hex(), "ids": [each.hex() for each in ids]} for one, ids in found.usable.items()],
        "people": sorted(one.hex() for one in (P, L, T, B, C, M, X) if one in found.people),
        "expect": {
            "person_of": {one.hex(): found.person_of(one).hex() for one in everybody},
            "recipients": {one.hex(): [each.hex() for each in found.recipients(one)] for one in (B, M)},
            "texts": texts,
        },
    }


def _hex(one: bytes | None) -> str | None:
    return None if one is None else one.hex()
