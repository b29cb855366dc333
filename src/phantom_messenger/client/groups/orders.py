"""Changes of this user on their way: signed anew from the newest state, until the relay has put one in order.

One change of a group is under way at a time. The relay stores it for everybody or for nobody; if somebody else was
first, what is still to be said is said again once theirs has been read.
"""

from collections.abc import Sequence
from typing import Final

from phantom_messenger.client.content import time_of
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups import naming, wish_ops, words
from phantom_messenger.client.groups.arrivals import Arrivals
from phantom_messenger.client.groups.change import Add, Change, RefusedChange
from phantom_messenger.client.groups.contents import GroupChange
from phantom_messenger.client.groups.duties import Duties
from phantom_messenger.client.groups.speaking import CHANGE, Speaking
from phantom_messenger.client.groups.state import MAX_AHEAD, GroupState, Role, order_of, still_to_say
from phantom_messenger.client.groups.store import MEMBER, Group, unpacked_ops, written
from phantom_messenger.client.many.listener import OrderDenied, Ordered, OrderRefused, OrderStale, OrderTaken
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.records import OrderRecord
from phantom_messenger.client.status import DeliveryState, Event, GroupEvent, GroupNews
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.crypto.keys import OwnIdentity

TRY_AGAIN_MS: Final = 2_000
"""When a change is tried again whose place was taken, if the one that took it does not come."""


class Orders:
    """Has this user's changes put in order; listens to what becomes of them.

    Args:
        stores: of the profile.
        speaking: sends them.
        arrivals: takes them up.
        duties: knows whether something is missing.
        identity: signs them.
    """

    def __init__(
        self,
        stores: Stores,
        speaking: Speaking,
        arrivals: Arrivals,
        duties: Duties,
        identity: OwnIdentity,
    ) -> None:
        self._stores = stores
        self._store = stores.groups
        self._speaking = speaking
        self._arrivals = arrivals
        self._duties = duties
        self._identity = identity
        self._own = identity.peer.user_id
        self._told: dict[str, tuple[int, bool]] = {}
        """Of which revision of the relay, by group, the user was told that it is waited for, and if by their own."""
        self._not_before: dict[str, tuple[int, int]] = {}
        """When a group is tried again, in monotonic milliseconds, unless its revision has risen above the second."""

    def waits(self, now: int) -> list[int]:
        """Milliseconds until each thing that waits for a time."""
        # What waits for something else, too, once its time has come, is not looked at again and again until then.
        return [at - now for at, _ in self._not_before.values() if at > now]

    def step(self, now: Moment) -> list[Event]:
        """Send what may be sent now."""
        events: list[Event] = []
        if not self._stores.devices.is_first:
            return events  # only that device signs
        for group in self._store.all():
            if group.record.wishes and not self._is_under_way(group):
                is_time = self._is_time(group, now)
                events += self._go_on(self._in_turn(group), now) if is_time else self._waiting(group, now)
        return events

    def _waiting(self, group: Group, now: Moment) -> list[Event]:
        """Tell the user, once, that somebody else's change is waited for: by theirs, or before who has left is removed.

        Of what else others want nothing is told: they can want something again and again.
        """
        ordered, wants = group.record.ordered, bool(group.own_wishes)
        is_told = self._told.get(group.id) in {(ordered, True), (ordered, wants)}
        if is_told or not (wants or group.record.leaving) or not self._duties.waits_long(group, now):
            return []
        self._told[group.id] = ordered, wants
        author, title = self._duties.missing_author(group), words.title(group.state.name)
        is_own = author == written(self._own)
        by = naming.member_of(group, author, self._stores.book) if author and not is_own else None
        message = words.waiting("you" if is_own else "somebody" if by is None else by.label, title, is_own=wants)
        return [GroupEvent(group=group.id, name=group.state.name, news=GroupNews.WAITING, by=by, message=message)]

    def _is_under_way(self, group: Group) -> bool:
        """Whether a change is on its way; it is not if all who were to get it were blocked before it left."""
        return bool(group.record.carrier) and self._stores.many.waiting(group.record.carrier) is not None

    def _is_time(self, group: Group, now: Moment) -> bool:
        if group.record.relation != MEMBER or group.record.doubt or self._duties.is_silent(group.id):
            return False
        at, revision = self._not_before.get(group.id, (0, 0))
        if now.monotonic < at and group.state.revision <= revision:
            return False
        self._not_before.pop(group.id, None)
        return len(group.state.members) == 1 or self._duties.knows_all(group, now)

    def _in_turn(self, group: Group) -> Group:
        """The group, if its user appears offline with what they want themselves before what others want."""
        own = group.own_wishes
        others = [wish for wish in group.record.wishes if wish not in own]
        return group.with_wishes([*own, *others]) if self._duties.is_hidden else group

    def _go_on(self, group: Group, now: Moment) -> list[Event]:
        """Sign what is wanted first, and send it."""
        ops = still_to_say(unpacked_ops(group.record.wishes[0]), group.state)
        if not ops or group.state.members.get(self._own) is not Role.ADMIN:
            return self._drop_wish(group, "")
        if group.record.ordered >= group.state.revision + MAX_AHEAD:
            # Nothing is missing (see ``_is_time``), and nobody would take up what the relay would.
            return self._give_up(group.with_record(ordered=0), "the relay has counted further than changes may go")
        revision = max(group.state.revision, group.record.ordered) + 1
        try:
            change = changes.write(
                self._identity,
                group=group.record.group,
                revision=revision,
                previous=group.chain.head,
                at=time_of(now.wall),
                ops=ops,
            )
            after = group.state.after(change)
        except RefusedChange as refused:
            return self._drop_wish(group, _WHY.get(refused.code, "it is not possible"))
        people = {*group.state.members, *after.members} - {self._own}
        if not people:
            return self._apply_alone(group, change, now)
        self._send(group, change, after, [written(person) for person in sorted(people)], now)
        return []

    def _apply_alone(self, group: Group, change: Change, now: Moment) -> list[Event]:
        """Nobody else is there to be told, or to be in the way."""
        with self._stores.vault.transaction() as tx:
            return self._arrivals.take_own(tx, _without_wish(group), change.encoded, now)

    def _send(self, group: Group, change: Change, after: GroupState, people: list[str], now: Moment) -> None:
        adds = any(isinstance(op, Add) for op in change.ops or ())
        said = GroupChange(
            group=group.record.group,
            change=change.encoded,
            state=group.state.encode() if adds else b"",
            base=group.chain.digest if adds else b"",
        )
        order = OrderRecord(
            name=order_of(group.record.group),
            revision=change.revision,
            writers=[written(person) for person in after.admins] or [written(self._own)],
        )
        carrier = self._speaking.new_id()

        def note(tx: Transaction) -> None:
            self._store.put(tx, group.with_record(flying=change.encoded, carrier=carrier))

        self._speaking.say(
            group.record.group, people, said, now, purpose=CHANGE, order=order, message_id=carrier, also=note
        )

    def _drop_wish(self, group: Group, why: str) -> list[Event]:
        """It is done already, or cannot be done, and leaves room; ``why``: '' if nobody need know."""
        return self._put(wish_ops.with_leaves(_without_wish(group), self._own), why)

    def _give_up(self, group: Group, why: str) -> list[Event]:
        """It could be done, and the relay does not let it; what is made anew of what was said would fare as badly."""
        return self._put(_without_wish(group), why)

    def _put(self, group: Group, why: str) -> list[Event]:
        with self._stores.vault.transaction() as tx:
            self._store.put(tx, group)
        return [self._refused(group, why)] if why else []

    def _refused(self, group: Group, why: str) -> GroupEvent:
        message = f"{words.title(group.state.name)} could not be changed: {why}"
        return GroupEvent(group=group.id, name=group.state.name, news=GroupNews.REFUSED, by=None, message=message)

    def waits_for(self, conversation_id: str, peer: str) -> bool:
        """Whether somebody whom the relay does not know is to learn of changes once it does: a member, or their device.

        Whoever was removed, and whose account is gone, is not waited for. Somebody of whom nothing was ever seen has
        none yet: what they were invited by may wait for them with others, and they are to learn that it is over.
        """
        group = self._store.any_of_conversation(conversation_id)
        person = self._stores.devices.person_of(peer)
        return group is not None and (person in group.people or not self._stores.book.get(person).key)

    # --- what becomes of them ---------------------------------------------------------

    def advanced(self, tx: Transaction, message_id: str, peer: str, state: DeliveryState, now: Moment) -> list[Event]:
        """See ``Listener``; of a change only its order counts."""
        del tx, message_id, peer, state, now
        return []

    def ordered(
        self, tx: Transaction, message_id: str, outcome: Ordered, peers: Sequence[str], now: Moment
    ) -> list[Event]:
        """See ``Listener``."""
        del peers
        group = next((one for one in self._store.all() if one.record.carrier == message_id), None)
        if group is None:
            return []
        encoded = group.record.flying
        landed = group.with_record(flying=b"", carrier="")
        match outcome:
            case OrderTaken():
                return self._arrivals.take_own(tx, _without_wish(landed), encoded, now)
            case OrderStale(revision=revision, author=author):
                if revision is not None and revision >= landed.record.ordered:
                    landed = landed.with_record(ordered=revision, ordered_by=author)
                self._store.put(tx, landed)
                at = now.monotonic + TRY_AGAIN_MS
                tx.on_commit(lambda: self._wait(group.id, at, group.state.revision))
                return []
            case OrderDenied():
                self._store.put(tx, _without_wish(landed))
                return [self._refused(group, "the relay knows other admins than you do")]
            case OrderRefused(reason=reason):
                self._store.put(tx, _without_wish(landed))
                return [self._refused(group, reason)]

    def _wait(self, group: str, at: int, revision: int) -> None:
        self._not_before[group] = (at, revision)


_WHY: Final = {
    "bounds": "a group has at most 100 members, and from 1 to 16 admins; whoever is the last one makes another first",
    "closed": "it is closed",
    "author": "you are no admin of it",
}


def _without_wish(group: Group) -> Group:
    return group.with_wishes(group.record.wishes[1:])
