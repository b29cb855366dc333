"""Who may do what: one table, which the handlers ask and docs/authorisation.md shows.

A session is a user who has proved a key (``rules.RULES``: before that, AUTH and PING alone).
Beyond that, all that counts is what a user is to the other one. What is one's own (a
mailbox, prekeys, an account) is never named by a frame: it is the session's.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from phantom_messenger.relay.ports import Directory


class Relation(IntEnum):
    """What a user is to another one, from the least trusted."""

    BLOCKED = 0
    """The other has blocked the user."""
    STRANGER = 1
    """The other has never written to the user, or not since a block."""
    ANSWERED = 2
    """The other has once sent the user a MESSAGE or KEY_EXCHANGE."""
    CONTACT = 3
    """Each has written to the other."""
    OWNER = 4
    """The user is the other."""


class Act(Enum):
    """What can be done to, or learnt of, another user's things."""

    WRITE = "send a message or key exchange into a user's mailbox"
    FILL = "fill more than 100 places of it, more than strangers together have, and keep them"
    REPLACE = "replace a message that waits there, under its id"
    COLLECT = "receive what is in the mailbox; mark a message delivered, read or burned; remove it"
    LEARN_FATE = "learn that a message was delivered, read, burned or has expired"
    TAKE_BUNDLE = "take the prekeys of a user, at most 10 one-time ones an hour"
    PUBLISH = "publish prekeys, learn how many are left"
    SEE_PRESENCE = "see a user come, go, be away, be seen last"
    SEE_TYPING = "see a user type in a conversation that both have used"
    BLOCK = "block somebody, end it, take back that one has written to them"
    DELETE = "delete the account and all that hangs on it"


@dataclass(frozen=True, slots=True)
class Permission:
    """Who may (towards the user whose thing it is), and what everybody else meets."""

    who: Relation
    others: str


PERMISSIONS: Final[dict[Act, Permission]] = {
    Act.WRITE: Permission(Relation.STRANGER, "what a stranger meets, and nothing is kept"),
    Act.FILL: Permission(Relation.ANSWERED, "ERROR 1003 `backlog`"),
    Act.REPLACE: Permission(Relation.STRANGER, "the same id of another sender is another message"),
    Act.COLLECT: Permission(Relation.OWNER, "silence, as for an id that does not exist"),
    Act.LEARN_FATE: Permission(Relation.CONTACT, "silence after `accepted`"),
    Act.TAKE_BUNDLE: Permission(Relation.BLOCKED, "-"),
    Act.PUBLISH: Permission(Relation.OWNER, "no frame names another's prekeys"),
    Act.SEE_PRESENCE: Permission(Relation.CONTACT, "silence; to a question, `offline` without `lastSeen`"),
    Act.SEE_TYPING: Permission(Relation.CONTACT, "silence"),
    Act.BLOCK: Permission(Relation.OWNER, "no frame names another's blocks"),
    Act.DELETE: Permission(Relation.OWNER, "no frame names another's account"),
}


def may(act: Act, user: str, other: str, directory: Directory) -> bool:
    """Whether ``user`` may do this to ``other``.

    Args:
        act: what.
        user: who asks; has proved its key.
        other: whose mailbox, message, prekeys or presence it is.
        directory: knows who has written to whom.
    """
    match PERMISSIONS[act].who:
        case Relation.BLOCKED:
            return True
        case Relation.STRANGER:
            return not directory.has_blocked(other, user)
        case Relation.ANSWERED:
            return directory.has_written(other, user)
        case Relation.CONTACT:
            return directory.has_written(other, user) and directory.has_written(user, other)
        case Relation.OWNER:
            return user == other


def watchers(act: Act, user: str, directory: Directory, conversation: str | None = None) -> list[str]:
    """Everybody who may see this of ``user``, in a conversation if one is given; nobody but contacts ever does."""
    if PERMISSIONS[act].who is not Relation.CONTACT:
        return []
    return directory.contacts(user) if conversation is None else directory.participants(user, conversation)
