"""Users of a store, who know nothing of it but its commands."""

from collections.abc import Sequence
from typing import Any, TypeVar

from phantom_messenger.relay.commands import (
    ACCOUNT_GONE,
    Accepted,
    AcceptMessage,
    Acknowledge,
    Actor,
    AnyCommand,
    AppendRefusal,
    Command,
    CommandFailed,
    Confirm,
    Exchanged,
    ExchangeKeys,
    Expire,
    Expired,
    LoggedIn,
    LogIn,
    LoginConflict,
    MessageName,
    ReadMailbox,
    StoredReceipt,
)
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.records import Item, ItemKind, NewItem
from phantom_messenger.wire.frames import Status
from support.people import key_text

NOW = 1_750_000_020_000
WALL = 1_760_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
R = TypeVar("R")


def run(store: Store, command: Command[R]) -> R:
    """Run one command; its result, or the error with which it failed."""
    assert isinstance(command, AnyCommand)
    [result] = store.run([command])
    if isinstance(result, CommandFailed):
        raise result.error
    assert result is not ACCOUNT_GONE
    found: R = result
    return found


class StoreUser:
    """An account, and what a relay asks of the store for it.

    Args:
        store: any engine.
        name: of the user.
        certified: the id is the hash of the key.
        signed: the login proves the key.
    """

    def __init__(self, store: Store, name: str, *, certified: bool = False, signed: bool = True) -> None:
        self.store = store
        self.id, self.key = key_text(name), key_text(f"key of {name}")
        self.certified_id = self.id if certified else key_text(f"certified for {name}")
        self.is_signed = signed
        result = self.log_in()
        assert isinstance(result, LoggedIn)

    @property
    def actor(self) -> Actor:
        return Actor(self.id, self.key, not self.is_signed)

    def log_in(self, *, may_create: bool = True, now: int = NOW, page_bytes: int = 10**6) -> LoggedIn | LoginConflict:
        command = LogIn(
            user_id=self.id,
            public_key=self.key,
            certified_id=self.certified_id,
            is_signed=self.is_signed,
            may_create=may_create,
            now=now,
            page_bytes=page_bytes,
        )
        return run(self.store, command)

    def message(
        self,
        to: "StoreUser",
        name: str,
        content: str = "",
        *,
        size: int = 0,
        expires_at: int | None = None,
        mark: int | None = None,
        conversation: str = "c",
        is_loose: bool = False,
        now: int = NOW,
    ) -> AcceptMessage:
        """The command; ``content`` stands for what was encrypted."""
        item = NewItem(
            kind=ItemKind.MESSAGE,
            sender=self.id,
            name=name,
            head=f"<{name} {content}{'x' * size} ".encode(),
            tail=b">",
            expires_at=expires_at,
            content=content.encode(),
            mark=mark,
        )
        return AcceptMessage(
            actor=self.actor,
            recipient=to.id,
            item=item,
            conversation_id=conversation,
            is_loose=is_loose,
            now=now,
            size=len(item.head) + len(item.tail),
        )

    def write(self, to: "StoreUser", name: str, content: str = "", **more: Any) -> Item | AppendRefusal:
        """Send a message; the item that was stored, or why there is none."""
        result = run(self.store, self.message(to, name, content, **more))
        if isinstance(result, Accepted):
            return result.item or AppendRefusal.UNWANTED
        return result

    def exchange(
        self,
        with_: "StoreUser",
        name: str = "init",
        text: str = "",
        *,
        wants_bundle: bool = False,
        is_loose: bool = False,
        mark: int | None = None,
        now: int = NOW,
    ) -> Exchanged | AppendRefusal:
        return run(
            self.store,
            self.exchanging(with_, name, text, wants_bundle=wants_bundle, is_loose=is_loose, mark=mark, now=now),
        )

    def exchanging(
        self,
        with_: "StoreUser",
        name: str = "init",
        text: str = "",
        *,
        wants_bundle: bool = True,
        is_loose: bool = False,
        mark: int | None = None,
        now: int = NOW,
    ) -> ExchangeKeys:
        item = NewItem(
            kind=ItemKind.KEY_EXCHANGE,
            sender=self.id,
            name=name,
            head=f"[{name}{text} ".encode(),
            tail=b"]",
            mark=mark,
        )
        return ExchangeKeys(
            actor=self.actor, target=with_.id, item=item, wants_bundle=wants_bundle, is_loose=is_loose, now=now
        )

    def meet(self, *others: "StoreUser") -> None:
        """Become contacts: each writes to the other, and nothing of it waits any more."""
        for other in others:
            for one, two in ((self, other), (other, self)):
                name = key_text(f"meeting {one.id} {two.id}")
                assert isinstance(one.write(two, name), Item)
                two.acknowledge(one, name, may_notify=False)

    def acknowledge(
        self,
        sender: "StoreUser",
        *names: str,
        status: Status = Status.DELIVERED,
        may_notify: bool = True,
        now: int = NOW,
    ) -> list[StoredReceipt]:
        messages = [MessageName(sender.id, name) for name in names]
        return run(self.store, self.acknowledging(messages, status=status, may_notify=may_notify, now=now))

    def acknowledging(
        self, messages: Sequence[MessageName], *, status: Status, may_notify: bool, now: int
    ) -> Acknowledge:
        return Acknowledge(
            actor=self.actor, messages=messages, status=status, may_notify=may_notify, wall_ms=WALL, now=now
        )

    def confirm(self, *seqs: int) -> None:
        run(self.store, Confirm(actor=self.actor, seqs=seqs))

    def reading(self, after: int = 0, max_bytes: int = 10**9, now: int = NOW) -> ReadMailbox:
        return ReadMailbox(actor=self.actor, after=after, max_bytes=max_bytes, now=now)

    def mailbox(self, *, now: int = NOW) -> list[Item]:
        page = run(self.store, self.reading(now=now))
        assert page.complete
        return page.items

    def names(self, *, now: int = NOW) -> list[str]:
        """Of the items in the mailbox."""
        return names(self.mailbox(now=now))


def names(items: Sequence[Item]) -> list[str]:
    return [item.name for item in items]


def expire(store: Store, now: int, *, limit: int = 1_000, stored_before: int = 0) -> Expired:
    return run(store, Expire(stored_before=stored_before, limit=limit, wall_ms=WALL, now=now))
