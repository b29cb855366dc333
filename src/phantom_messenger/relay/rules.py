"""One table: for each frame, when it is legal, what it counts as, whether it is signed.

The documentation's table is made from this one.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import Reason
from phantom_messenger.wire.limits import RateClass


class State(StrEnum):
    """Where a connection stands."""

    CONNECTED = "connected"
    """Has its challenge; may log in."""
    AUTHENTICATING = "authenticating"
    """Its login is being checked and stored."""
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds for one frame type.

    ``anyone``: legal before login too. ``signed``: carries a fresh signature of the
    sender's identity key. ``sheds``: refused when more comes than can be carried; what
    takes something off the relay, or is needed to keep a session, is not.
    """

    rate: RateClass
    signed: bool
    anyone: bool = False
    sheds: bool = False
    counts_recipients: bool = False
    """Its recipients count too: ``RateClass.RECIPIENTS``."""
    feature: frames.Feature | None = None
    """The word that a client has to say in AUTH; to others the type is unknown."""


RULES: Final[dict[type[frames.Frame], Rule]] = {
    frames.Auth: Rule(rate=RateClass.AUTH, signed=True, anyone=True, sheds=True),
    frames.Ping: Rule(rate=RateClass.PING, signed=False, anyone=True),
    frames.Message: Rule(rate=RateClass.MESSAGE, signed=True, sheds=True),
    frames.MessageMany: Rule(
        rate=RateClass.MESSAGE, signed=True, sheds=True, counts_recipients=True, feature=frames.Feature.MANY
    ),
    frames.MessageAck: Rule(rate=RateClass.ACK, signed=False),
    frames.KeyExchangeInit: Rule(rate=RateClass.KEY_EXCHANGE, signed=True, sheds=True),
    frames.KeyExchangeResponse: Rule(rate=RateClass.KEY_EXCHANGE, signed=True, sheds=True),
    frames.PreKeyFetch: Rule(rate=RateClass.KEY_EXCHANGE, signed=False, sheds=True, feature=frames.Feature.MANY),
    frames.PreKeyPublish: Rule(rate=RateClass.PREKEY, signed=True, sheds=True),
    frames.PreKeyStatusQuery: Rule(rate=RateClass.PREKEY, signed=False, sheds=True),
    frames.Presence: Rule(rate=RateClass.PRESENCE, signed=False, sheds=True),
    frames.Block: Rule(rate=RateClass.BLOCK, signed=False),
    frames.Allowance: Rule(rate=RateClass.BLOCK, signed=False, sheds=True, feature=frames.Feature.ALLOWANCE),
    frames.AccountDelete: Rule(rate=RateClass.PREKEY, signed=True),
}


def _refused(state: State) -> dict[str, Reason]:
    found = {}
    for name, kind in frames.CLIENT_FRAMES.items():
        if state is not State.OPEN and not RULES[kind].anyone:
            found[name] = Reason.NOT_AUTHENTICATED
        elif kind is frames.Auth and state is not State.CONNECTED:
            found[name] = Reason.ALREADY_AUTHENTICATED
        elif RULES[kind].feature is not None:
            found[name] = Reason.TYPE
    return found


REFUSED: Final[dict[State, dict[str, Reason]]] = {state: _refused(state) for state in State}
"""By state, the types that are refused whatever they hold: so their contents need not be read.

``TYPE``: to those who have not said the feature.
"""

NEEDED: Final[dict[str, frames.Feature]] = {
    name: feature for name, kind in frames.CLIENT_FRAMES.items() if (feature := RULES[kind].feature) is not None
}
"""By type, the feature that a client has to have said."""
