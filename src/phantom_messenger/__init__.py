"""Phantom Messenger: end-to-end encrypted messages through a relay that cannot read them.

``Client`` is the SDK, with the values that it returns, its events and its errors; docs/sdk.md describes them. They are
loaded when they are asked for, so that a relay never loads them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from phantom_messenger.version import __version__

if TYPE_CHECKING:
    from phantom_messenger.client.backup import BackupSummary
    from phantom_messenger.client.client import Client
    from phantom_messenger.client.contacts import Contacts
    from phantom_messenger.client.conversation_front import Conversation, PastMessage, ReceivedMessage
    from phantom_messenger.client.delivery import Delivery, Message
    from phantom_messenger.client.devices.front import Devices, OwnDevice
    from phantom_messenger.client.errors import (
        BackupError,
        ClientClosed,
        ContactExists,
        DeliveryFailed,
        InvalidUserId,
        KeyChanged,
        LoginRefused,
        MessageTooLong,
        NoKeyYet,
        NoProfile,
        PassphraseNeeded,
        PhantomError,
        ProfileExists,
        RelayBusy,
        RelayError,
        RelayUnreachable,
        Replaced,
        UnknownContact,
        UsageError,
        VaultDamaged,
        VaultError,
        VaultFull,
        VaultInUse,
        WrongPassphrase,
    )
    from phantom_messenger.client.group_front import GroupMessage, Groups
    from phantom_messenger.client.groups.views import GroupEntry, GroupInfo, GroupLink, GroupMember
    from phantom_messenger.client.history import HistoryEntry
    from phantom_messenger.client.ids import plain_id, written_id
    from phantom_messenger.client.requests import MessageRequest
    from phantom_messenger.client.settings import Settings
    from phantom_messenger.client.status import (
        ConnectionEvent,
        ConnectionState,
        Contact,
        DeliveryEvent,
        DeliveryState,
        Event,
        GroupEvent,
        GroupMessageEvent,
        GroupNews,
        LinkingEvent,
        LinkingStep,
        MessageEvent,
        PresenceEvent,
        RequestEvent,
        Trust,
        WarningEvent,
        WrittenEvent,
    )

_PLACES = {
    "backup": ("BackupSummary",),
    "client": ("Client",),
    "contacts": ("Contacts",),
    "conversation_front": ("Conversation", "PastMessage", "ReceivedMessage"),
    "errors": (
        "BackupError",
        "ClientClosed",
        "ContactExists",
        "DeliveryFailed",
        "InvalidUserId",
        "KeyChanged",
        "LoginRefused",
        "NoKeyYet",
        "NoProfile",
        "PassphraseNeeded",
        "PhantomError",
        "ProfileExists",
        "RelayBusy",
        "RelayError",
        "RelayUnreachable",
        "Replaced",
        "MessageTooLong",
        "UnknownContact",
        "UsageError",
        "VaultDamaged",
        "VaultError",
        "VaultFull",
        "VaultInUse",
        "WrongPassphrase",
    ),
    "delivery": ("Delivery", "Message"),
    "group_front": ("GroupMessage", "Groups"),
    "groups.views": ("GroupEntry", "GroupInfo", "GroupLink", "GroupMember"),
    "devices.front": ("Devices", "OwnDevice"),
    "history": ("HistoryEntry",),
    "ids": ("plain_id", "written_id"),
    "requests": ("MessageRequest",),
    "settings": ("Settings",),
    "status": (
        "ConnectionEvent",
        "ConnectionState",
        "Contact",
        "DeliveryEvent",
        "DeliveryState",
        "Event",
        "GroupEvent",
        "GroupMessageEvent",
        "GroupNews",
        "LinkingEvent",
        "LinkingStep",
        "MessageEvent",
        "PresenceEvent",
        "RequestEvent",
        "WarningEvent",
        "WrittenEvent",
        "Trust",
    ),
}
"""Which module of ``client`` has what. A test compares it with the list for type checkers above."""

_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "BackupError",
    "BackupSummary",
    "Client",
    "ClientClosed",
    "ConnectionEvent",
    "ConnectionState",
    "Contact",
    "ContactExists",
    "Contacts",
    "Conversation",
    "Delivery",
    "DeliveryEvent",
    "DeliveryFailed",
    "DeliveryState",
    "Devices",
    "Event",
    "GroupEntry",
    "GroupEvent",
    "GroupInfo",
    "GroupLink",
    "GroupMember",
    "GroupMessage",
    "GroupMessageEvent",
    "GroupNews",
    "Groups",
    "HistoryEntry",
    "InvalidUserId",
    "KeyChanged",
    "LinkingEvent",
    "LinkingStep",
    "LoginRefused",
    "Message",
    "MessageEvent",
    "MessageRequest",
    "MessageTooLong",
    "NoKeyYet",
    "NoProfile",
    "OwnDevice",
    "PassphraseNeeded",
    "PastMessage",
    "PhantomError",
    "PresenceEvent",
    "ProfileExists",
    "ReceivedMessage",
    "RelayBusy",
    "RelayError",
    "RelayUnreachable",
    "Replaced",
    "RequestEvent",
    "Settings",
    "Trust",
    "UnknownContact",
    "UsageError",
    "VaultDamaged",
    "VaultError",
    "VaultFull",
    "VaultInUse",
    "WarningEvent",
    "WrittenEvent",
    "WrongPassphrase",
    "__version__",
    "plain_id",
    "written_id",
]


_RENAMED = {"TroubleEvent": "WarningEvent", "TextTooLong": "MessageTooLong", "HistoryText": "HistoryEntry"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"phantom_messenger.client.{_MODULES[name]}"), name)
    hint = f"; it is called {_RENAMED[name]} now" if name in _RENAMED else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted([*_MODULES, "__version__"])
