"""Who may do what: one table, which the store asks and docs/authorisation.md shows.

A session is a user who has proved a key (``rules.RULES``: before that, AUTH and PING alone).
Beyond that, all that counts is what a user is to the other one. A user's own things (mailbox,
prekeys, account) are never named by a frame: they are the session's.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Protocol


class Relation(IntEnum):
    """What a user is to another one, from the least trusted."""

    BLOCKED = 0
    """The other has blocked the user."""
    STRANGER = 1
    """The other has never written to the user, or not since a block."""
    REPLIED_TO = 2
    """The other has once sent the user a MESSAGE or KEY_EXCHANGE, or a MESSAGE_MANY to a group."""
    CONTACT = 3
    """Each has written to the other, and not only in a group."""
    OWNER = 4
    """The user is the other."""


class Action(StrEnum):
    """What can be done to, or learnt of, another user's things."""

    WRITE = "send a message or key exchange into a user's mailbox"
    EXCEED_STRANGER_QUOTA = "fill more than 100 places of it, exceed the share of all strangers, and keep those places"
    REPLACE = "replace a message that waits there, under the same id"
    COLLECT = "receive what is in the mailbox; mark a message delivered, read or burned; remove it"
    SEE_DELIVERY_STATUS = "learn that a message was delivered, read, burned or has expired"
    TAKE_BUNDLE = "take the prekeys of a user, at most 10 one-time ones an hour"
    PUBLISH = "publish prekeys, learn how many are left"
    SEE_PRESENCE = "see when a user is online, idle or offline, and when they were last seen"
    SEE_TYPING = "see a user typing in a conversation that both have used"
    BLOCK = "block somebody, unblock them, and no longer count as having written to them"
    DELETE = "delete the account and everything that belongs to it"


class Relations(Protocol):
    """What an engine knows of users, in the transaction that asks."""

    def has_blocked(self, blocker: str, user_id: str) -> bool:
        """Whether ``blocker`` has blocked the user."""

    def has_written(self, sender: str, recipient: str) -> bool:
        """Whether ``sender`` ever wrote to ``recipient``, since the last block between them."""

    def has_written_in_group(self, sender: str, recipient: str) -> bool:
        """Likewise in a group."""

    def contacts(self, user_id: str) -> list[str]:
        """Users who wrote to this one and to whom this one wrote."""

    def participants(self, user_id: str, conversation: str) -> list[str]:
        """Contacts who used this conversation with the user, both ways."""


@dataclass(frozen=True, slots=True)
class Permission:
    """Who may (towards the user whose thing it is), and what everybody else meets."""

    who: Relation
    others: str


PERMISSIONS: Final[dict[Action, Permission]] = {
    Action.WRITE: Permission(Relation.STRANGER, "the same answer as a stranger, and nothing is kept"),
    Action.EXCEED_STRANGER_QUOTA: Permission(Relation.REPLIED_TO, "ERROR 1003 `backlog`"),
    Action.REPLACE: Permission(Relation.STRANGER, "the same id of another sender is another message"),
    Action.COLLECT: Permission(Relation.OWNER, "silence, as for an id that does not exist"),
    Action.SEE_DELIVERY_STATUS: Permission(Relation.CONTACT, "silence after `accepted`"),
    Action.TAKE_BUNDLE: Permission(Relation.BLOCKED, "-"),
    Action.PUBLISH: Permission(Relation.OWNER, "no frame names another's prekeys"),
    Action.SEE_PRESENCE: Permission(Relation.CONTACT, "silence; to a question, `offline` without `lastSeen`"),
    Action.SEE_TYPING: Permission(Relation.CONTACT, "silence"),
    Action.BLOCK: Permission(Relation.OWNER, "no frame names another's blocks"),
    Action.DELETE: Permission(Relation.OWNER, "no frame names another's account"),
}


def is_allowed(action: Action, user: str, other: str, relations: Relations) -> bool:
    """Whether ``user`` may do this to ``other``.

    Args:
        action: what.
        user: who asks; has proved its key.
        other: whose mailbox, message, prekeys or presence it is.
        relations: of the users.
    """
    match PERMISSIONS[action].who:
        case Relation.BLOCKED:
            return True
        case Relation.STRANGER:
            return not relations.has_blocked(other, user)
        case Relation.REPLIED_TO:
            return relations.has_written(other, user) or relations.has_written_in_group(other, user)
        case Relation.CONTACT:
            return relations.has_written(other, user) and relations.has_written(user, other)
        case Relation.OWNER:
            return user == other


def audience(action: Action, user: str, relations: Relations, conversation: str | None = None) -> list[str]:
    """Everybody who may see this of ``user``, in a conversation if one is given; nobody but contacts ever does."""
    if PERMISSIONS[action].who is not Relation.CONTACT:
        return []
    return relations.contacts(user) if conversation is None else relations.participants(user, conversation)
