"""What was read here, as one's other devices are told."""

import base64
from collections.abc import Sequence

from phantom_messenger.client.devices.kinds import ID_BYTES, ReadMessage, ReadText, SyncRead
from phantom_messenger.client.records import SyncRecord


def marks_of(found: Sequence[SyncRecord]) -> SyncRead:
    """The content that says so; whose id certifies no key can be named in none.

    Args:
        found: at most ``MAX_READ``.
    """
    named = [(one, raw) for one in found if len(raw := base64.b64decode(one.sender)) == ID_BYTES]
    return SyncRead(
        messages=[ReadMessage(sender=raw, id=one.message_id) for one, raw in named if not one.group],
        in_groups=[
            ReadText(group=base64.b64decode(one.group), sender=raw, id=one.message_id)
            for one, raw in named
            if one.group
        ],
    )
