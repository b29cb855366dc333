"""What of a stranger's words about groups is taken in, instead of waiting as a request.

The conversation id of a group, or of a link, is no secret: the relay sees it, and whoever was removed knows it. Taking
in what somebody says costs a session, a record of them and a place; so it is taken in if they are known to the group,
or if there is room for what has to wait. Everything else waits as what strangers write does, which is bounded; it is
looked at again with a change of a group, once its sender is in that.
"""

from collections.abc import Callable
from typing import Final

from phantom_messenger.client import notices
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import doubts
from phantom_messenger.client.groups.chain import Verdict
from phantom_messenger.client.groups.change import Add, Change
from phantom_messenger.client.groups.contents import (
    GroupChange,
    GroupChanges,
    GroupJoin,
    GroupPropose,
    GroupRefuse,
    GroupSaid,
    GroupText,
)
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.records import GroupTokenRecord
from phantom_messenger.client.groups.state import Role
from phantom_messenger.client.groups.store import MEMBER, Group, packed_ops, raw_of, written
from phantom_messenger.client.groups.turning_away import TurningAway
from phantom_messenger.client.ids import is_user_id
from phantom_messenger.client.looks import LinkLooks
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.status import Event
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.wire import frames

MAX_ASKED: Final = 40
"""Changes that others ask an admin's client for at once."""


class Strangers:
    """Judges it.

    Args:
        stores: of the profile.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._store = stores.groups
        self.turning_away = TurningAway()
        self._links = LinkLooks()
        self._by_link: set[tuple[str, bytes]] = set()
        """Groups, and who is on their way into one by a link: what is lost with the program is told in other words."""

    def is_under_link(self, frame: frames.RoutedMessage) -> bool:
        """Whether a message is under the conversation id of a link of this user's."""
        conversation = frame.payload.conversation_id
        return self._store.any_of_conversation(conversation) is None and self._store.is_of_token(conversation)

    def expects(self, frame: frames.RoutedMessage, now: Moment, take: Callable[[], bool] = lambda: False) -> bool:
        """Whether a message of a stranger is looked into, as it may be about a group of this user.

        Args:
            frame: the message.
            now: this moment.
            take: whether one more may be looked into of somebody who is no member, and was none.
        """
        sender = frame.payload.sender_id
        if self.is_under_link(frame):
            return self._links.take(sender, frame.payload.message_id, now.monotonic)
        self._links.passed_over()
        group = self._store.any_of_conversation(frame.payload.conversation_id)
        if group is None:
            return False
        person = raw_of(self._stores.devices.person_of(sender))
        is_known = person in group.state.members or group.is_adding(person)
        return is_known or group.chain.removal_of(person, 0) is not None or take()

    def concerns(self, sender: str, said: GroupSaid, now: Moment) -> bool:
        """Whether what a stranger says is taken in.

        What is said in a group that was left is of no interest, and no request either, unless it may be an invitation.
        """
        if isinstance(said, GroupJoin):
            if self.opened(sender, said, now) is not None:
                self._links.asks_to_join()
            return self.joining(sender, said, now) is not None or self.is_late(sender, said, now)
        if isinstance(said, GroupRefuse):
            return False
        group = self._store.get(written(said.group))  # type: ignore[attr-defined]
        if group is None or (not group.is_live and isinstance(said, GroupChange)):
            return False
        person = raw_of(self._stores.devices.person_of(sender))
        is_known = person in group.state.members or group.is_adding(person)
        if is_known or group.chain.removal_of(person, 0) is not None:
            return True
        if isinstance(said, GroupText):
            return self._store.has_room(group.id, sender)
        found = said.changes if isinstance(said, GroupChanges) else []
        return group.is_live and self._moves(group, [said.change] if isinstance(said, GroupChange) else found, sender)

    def _moves(self, group: Group, encoded: list[bytes], sender: str) -> bool:
        """Whether something follows from changes that anybody may pass on: they prove themselves."""
        record = group.record
        for one in encoded:
            judged = group.judge(one)
            match judged.verdict:
                case Verdict.APPLIED:
                    return True
                case Verdict.BEHIND if self._store.has_room(group.id, sender):
                    return True
                case Verdict.FORK | Verdict.NEWER if not record.doubt:
                    if not doubts.is_old(group, doubts.shown_by(group, sender, one)):
                        return True
                case _:
                    pass
        return False

    def joining(self, sender: str, said: GroupJoin, now: Moment) -> tuple[GroupTokenRecord, Group] | None:
        """The link that somebody has opened, and its group; None if they are not to be added to one now."""
        found = self.opened(sender, said, now)
        if found is None:
            return None
        has_room = len(found[1].record.wishes) < MAX_ASKED or self._lets_in(found[1], sender)
        return found if has_room else None

    def opened(self, sender: str, said: GroupJoin, now: Moment) -> tuple[GroupTokenRecord, Group] | None:
        """The same, also if there is no room for it now; None if nothing will ever come of it."""
        token = self._store.token(said.token)
        group = None if token is None else self._store.get(token.group)
        if token is None or group is None or not self._serves(token, group, now):
            return None
        can_be_in = is_user_id(sender) and raw_of(sender) not in group.state.members
        return (token, group) if can_be_in else None

    def is_proposed(self, group: Group, sender: str, said: GroupPropose) -> bool:
        """Whether a member may have somebody added, who is no device of a person."""
        person = written(said.person)
        return group.state.may_invite(raw_of(sender)) and self._stores.devices.person_of(person) == person

    def _serves(self, token: GroupTokenRecord, group: Group, now: Moment) -> bool:
        is_admin = group.state.members.get(raw_of(self._stores.devices.person)) is Role.ADMIN
        return token.uses > 0 and token.until > now.persistent and group.record.relation == MEMBER and is_admin

    @staticmethod
    def _lets_in(group: Group, person: str) -> bool:
        """Whether they are on their way into the group."""
        return packed_ops([Add(person=raw_of(person), role="member")]) in group.record.wishes

    def let_in(self, tx: Transaction, group: str, person: bytes) -> None:
        """Somebody is to be added because they have opened a link."""
        tx.on_commit(lambda: self._by_link.add((group, person)))

    def is_by_link(self, tx: Transaction, group: str, change: Change) -> bool:
        """Whether a change of this user's does nothing else than add one of them; it is asked once."""
        match change.ops:
            case [Add(person=person)]:
                tx.on_commit(lambda: self._by_link.discard((group, person)))
                return (group, person) in self._by_link and change.author == raw_of(self._stores.devices.person)
            case _:
                return False

    def is_late(self, sender: str, said: GroupJoin, now: Moment) -> bool:
        """Whether somebody has opened a link of this user's that serves no more, and can be told."""
        token = self._store.token(said.token)
        group = None if token is None else self._store.get(token.group)
        if token is None or group is None or self._serves(token, group, now):
            return False
        is_in = raw_of(sender) in group.state.members or self._lets_in(group, sender)
        return not is_in and self.turning_away.has_room(sender, said.token, now.monotonic)

    def turn_away(self, tx: Transaction, sender: str, said: GroupJoin, now: Moment) -> None:
        """Have somebody told that the link serves no more, if that is so."""
        if self.is_late(sender, said, now):
            self.turning_away.note(tx, sender, said.token)

    def check_link(self, link: JoinLink) -> None:
        """Refuse to open a link that cannot serve.

        Raises:
            UsageError: it is one's own, or its admin has said that it serves no more.
        """
        if link.admin == self._stores.devices.person:
            raise UsageError("this is a link of your own; give it to others")
        if self._store.joins.was_refused(link.token):
            raise UsageError(notices.link_refused(self._stores.book.contact(link.admin)).message)

    def refused(self, tx: Transaction, admin: str, said: GroupRefuse, now: Moment) -> list[Event]:
        """The link that this user has opened serves no more."""
        join = self._store.joins.find(admin, now.persistent)
        if join is None or join.token != said.token:
            return []
        self._store.joins.refused(tx, join, now.persistent)
        return [notices.link_refused(self._stores.book.contact(admin))]
