"""The SDK: everything a client does, around a core that is fed and drained.

``Client`` is the asyncio front; ``messenger`` the synchronous whole behind it; ``link``
one connection; ``conversations`` the encrypted sessions; ``vault`` the disk. The SDK
knows nothing of how a relay works inside.
"""

from phantom_messenger.client.client import Client
from phantom_messenger.client.delivery import Delivery, Message

__all__ = ["Client", "Delivery", "Message"]
