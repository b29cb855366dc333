"""What waits in mailboxes goes out to those who are connected.

New items are pushed while a session has caught up with its mailbox. When its client reads too slowly they stay in
the store, and are fetched from there page by page once there is room again. Both moves happen in the order
of the store's results, so nothing is sent twice or left out.
"""

from typing import Final

from msgspec import UNSET

from phantom_messenger.relay.commands import CommandFailed, ReadMailbox
from phantom_messenger.relay.hub import Hub
from phantom_messenger.relay.other_relays import OtherRelays
from phantom_messenger.relay.outbox import HIGH_WATER
from phantom_messenger.relay.pipeline import NotCurrentError, Pipeline, Steps
from phantom_messenger.relay.ports import Clock
from phantom_messenger.relay.records import Item, ItemKind, Page
from phantom_messenger.relay.replies import Replies
from phantom_messenger.relay.rules import State
from phantom_messenger.relay.session import Session

_DATED: Final = b'"bundleSignature":'
"""Stands in a KEY_EXCHANGE_RESPONSE whose prekeys are dated, and in no other: quotes inside a text are escaped."""


class MailboxPush:
    """Moves each session's cursor through its mailbox.

    Args:
        hub: knows who is connected.
        replies: takes what is sent.
        pipeline: reads mailboxes in the order of all that is stored.
        clock: tells what has expired.
        others: hear of what is stored for users who are not connected here.
    """

    def __init__(self, hub: Hub, replies: Replies, pipeline: Pipeline, clock: Clock, others: OtherRelays) -> None:
        self._hub: Final = hub
        self._replies: Final = replies
        self._pipeline: Final = pipeline
        self._clock: Final = clock
        self._others: Final = others

    def deliver(self, recipient: str, item: Item) -> None:
        """Push a stored item to its recipient, if that is connected and has all before it."""
        session = self._hub.of(recipient)
        if session is None:
            self._others.wake(recipient)
            return
        if not session.cursor.caught_up:
            return
        if session.outbox.level() > HIGH_WATER:
            session.cursor.caught_up = False
        elif self._others.is_alone or item.seq == session.cursor.last_pushed + 1:
            self.push(session, item)
        else:  # another relay may have stored what comes before it
            self.look(session)

    def look(self, session: Session) -> None:
        """Something may be stored that this relay does not know of."""
        session.cursor.caught_up = False
        session.cursor.is_outdated = session.cursor.fetching
        self.catch_up(session)

    def push(self, session: Session, item: Item) -> None:
        """Send one item of the mailbox, unless it has expired meanwhile."""
        # Also for what is not sent below: a page that begins with it would be asked for again and again.
        session.cursor.last_pushed = item.seq
        if not session.takes_dates and item.kind is ItemKind.KEY_EXCHANGE and _DATED in item.text:
            return  # it waits for a client that can read it: this one would take the relay for broken
        if item.expires_at is not None and item.expires_at <= self._clock.persistent_ms():
            return
        self._replies.send(session, item.text)
        if not session.acks:
            session.unconfirmed.append((item.kind, item.seq, item.sender, item.name))
        if session.reference is not None:
            session.reference.pushed(item)

    def push_page(self, session: Session, page: Page) -> None:
        """Send the next items of the mailbox; behind its last page new items are pushed as they come."""
        for item in page.items:
            self.push(session, item)
        session.cursor.caught_up = page.complete

    def catch_up(self, session: Session) -> None:
        """Fetch the next page if the session is behind its mailbox and its client can take it."""
        cursor = session.cursor
        if not cursor.caught_up and not cursor.fetching and session.outbox.room():
            self._pipeline.run(self._fetch(session))

    def _fetch(self, session: Session) -> Steps:
        """Page after page, as long as the client takes them: the next one is asked for before anything else is."""
        cursor = session.cursor
        cursor.fetching = True
        try:
            while not cursor.caught_up and (room := session.outbox.room()):
                # Before the question: what another relay tells of from now on may be missing in the answer.
                cursor.is_outdated = False
                page: Page = yield ReadMailbox(
                    actor=session.actor,
                    after=cursor.last_pushed,
                    max_bytes=room,
                    now=self._clock.persistent_ms(),
                )
                if session.state is not State.OPEN:
                    return
                self.push_page(session, page)
                cursor.caught_up = page.complete and not cursor.is_outdated
                session.outbox.flush()
        except CommandFailed:
            return  # the next tick tries again
        except NotCurrentError as gone:
            self._replies.reply_failure(session, gone, UNSET)
        finally:
            cursor.fetching = False
