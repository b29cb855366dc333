"""Every frame has a rule and a handler, and each handler is a generator of commands."""

from phantom_messenger.relay.handlers import HANDLERS
from phantom_messenger.relay.rules import RULES
from phantom_messenger.wire.frames import CLIENT_FRAMES


def test_every_frame_of_a_client_has_a_rule_and_a_handler() -> None:
    assert set(HANDLERS) == set(RULES) == set(CLIENT_FRAMES.values())
