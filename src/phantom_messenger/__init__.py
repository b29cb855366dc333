"""Phantom Messenger: end-to-end encrypted messages through a relay that cannot read them.

``Client`` is the SDK. It is loaded when it is asked for, so that a relay never loads it.
"""

from typing import TYPE_CHECKING, Any

from phantom_messenger.version import __version__

__all__ = ["Client", "Delivery", "Message", "__version__"]

if TYPE_CHECKING:
    from phantom_messenger.client import Client, Delivery, Message


def __getattr__(name: str) -> Any:
    if name in {"Client", "Delivery", "Message"}:
        from phantom_messenger import client  # noqa: PLC0415 - see above

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
