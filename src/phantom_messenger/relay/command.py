"""What a command is: a request to the store with its result, and what can become of it. See ``relay.commands``."""

from enum import Enum
from typing import Final, Generic, NamedTuple, TypeVar

from msgspec import Struct

from phantom_messenger.relay.records import Item

R = TypeVar("R")


class Command(Struct, Generic[R], frozen=True, kw_only=True):
    """Base of all commands; ``R`` is the type of the result."""

    @property
    def size(self) -> int:
        """About how many bytes it stores, or 1 if it stores none but counts as load; 0 if it does not count."""
        return 0


class Actor(NamedTuple):
    """The account on whose behalf a command is run, as its session knows it."""

    user_id: str
    public_key: str
    """Base64."""
    is_unsigned: bool = False
    """The login has not proved the key; such an account is gone as soon as somebody has proved it."""
    connected_at: int | None = None
    """When the connection was made, persistent time; None if it does not matter where the user is now."""

    @property
    def account(self) -> tuple[str, str, bool]:
        """What tells the account."""
        return self.user_id, self.public_key, self.is_unsigned


class UserCommand(Command[R], Generic[R], frozen=True, kw_only=True):
    """A command that is run for a logged-in user."""

    actor: Actor


class AccountGone(Enum):
    """The type of ``ACCOUNT_GONE``."""

    ACCOUNT_GONE = "account gone"


ACCOUNT_GONE: Final = AccountGone.ACCOUNT_GONE
"""The result of a ``UserCommand`` that was not run: the session's account does not exist any more."""


class SessionOver(Enum):
    """The type of ``SESSION_OVER``."""

    SESSION_OVER = "session over"


SESSION_OVER: Final = SessionOver.SESSION_OVER
"""The result of a ``UserCommand`` that was not run: its session has been replaced at another relay."""


class CommandFailed(Exception):
    """A command could not be run, and nothing of it was stored.

    Args:
        error: what went wrong.
        is_out_of_space: the disk is full or broken, or too much is waiting: it may succeed later.
    """

    def __init__(self, error: Exception, *, is_out_of_space: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.is_out_of_space = is_out_of_space


class AppendRefusal(Enum):
    """Why an item was not put into a mailbox."""

    DUPLICATE = "it is there, or was until a moment ago"
    FULL = "the mailbox has no room for it"
    NO_ACCOUNT = "the recipient has no account"
    SIGNED_ONLY = "it has a loose form, and the recipient's client is not a reference client"
    UNWANTED = "the recipient has blocked the sender, who must not learn it"


class Accepted(Struct, frozen=True):
    """A message was taken in."""

    item: Item | None
    """What is to be pushed to the recipient. None if nothing was kept, because the recipient has blocked the sender."""
    became_contacts: bool
