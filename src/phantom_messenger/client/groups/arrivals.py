"""What arrives about groups: changes are judged, texts kept, and what others want is done if they may want it.

Everything here happens in the transaction that keeps what has arrived. What is to be sent because of it is left to
``duties``.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from phantom_messenger.client.devices.kinds import SyncGroup
from phantom_messenger.client.faults import NO_FAULTS, Aside
from phantom_messenger.client.groups import doubts, handed_over, invitations, naming, outcomes, rivals, wish_ops, words
from phantom_messenger.client.groups import picture as pictures
from phantom_messenger.client.groups.chain import Chain, Judged, Standing, Verdict
from phantom_messenger.client.groups.change import Add, Op, Remove
from phantom_messenger.client.groups.contents import (
    GroupAsk,
    GroupChange,
    GroupChanges,
    GroupHello,
    GroupJoin,
    GroupLeave,
    GroupPropose,
    GroupReceipt,
    GroupRefuse,
    GroupSaid,
    GroupText,
)
from phantom_messenger.client.groups.duties import Duties
from phantom_messenger.client.groups.followed import followed
from phantom_messenger.client.groups.holding import KEPT
from phantom_messenger.client.groups.records import GroupHeldRecord, GroupRecord
from phantom_messenger.client.groups.speaking import CHANGE, MAX_TOLD
from phantom_messenger.client.groups.state import conversation_of
from phantom_messenger.client.groups.store import (
    CLOSED,
    FORKED,
    INVITED,
    MEMBER,
    NEWER,
    REMOVED,
    Group,
    raw_of,
    written,
)
from phantom_messenger.client.groups.strangers import Strangers
from phantom_messenger.client.groups.texts import Texts, held, held_word
from phantom_messenger.client.many.outgoing import Outgoing
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.status import Contact, Event, GroupEvent, GroupNews
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.unusable import CHANGE as CHANGED
from phantom_messenger.client.unusable import INVITATION, Unusable
from phantom_messenger.client.vault import Transaction
from phantom_messenger.wire import frames

MAX_WISHES: Final = 50
"""Changes that an admin's client is still to make; ``MAX_ASKED`` of them may be others': the rest is the user's own."""


class Arrivals:
    """Takes in what others say about groups.

    Args:
        stores: of the profile.
        duties: does what follows, later.
        outgoing: notes how far the copy of a message to many has come.
    """

    def __init__(self, stores: Stores, duties: Duties, outgoing: Outgoing) -> None:
        self._stores = stores
        self._store = stores.groups
        self._duties = duties
        self.texts = Texts(stores)
        self._aside = Aside()
        self.strangers = Strangers(stores)
        self._unusable = Unusable(stores)
        self._outgoing = outgoing

    @property
    def _own_id(self) -> str:
        """This user as a member: the person, whichever device this is."""
        return self._stores.devices.person

    @property
    def _own(self) -> bytes:
        return raw_of(self._own_id)

    def _person(self, device: str) -> bytes:
        """Whose a message of a device is."""
        return raw_of(self._stores.devices.person_of(device))

    def receive(
        self, tx: Transaction, payload: frames.RoutedMessagePayload, said: GroupSaid, now: Moment
    ) -> list[Event]:
        """Take in what somebody says about a group; what is of no concern says nothing.

        Args:
            tx: stores what follows from it.
            payload: of the frame that it came in; its sender is believed.
            said: what they say.
            now: this moment.
        """
        sender = self._stores.devices.person_of(payload.sender_id)
        if isinstance(said, GroupJoin):
            return self._join(tx, sender, said, now) if sender == payload.sender_id else []
        if isinstance(said, GroupRefuse):
            return self.strangers.refused(tx, sender, said, now)
        group = self._store.get(written(said.group))  # type: ignore[attr-defined]
        if sender == self._own_id:
            return self._of_own_device(tx, group, payload, said, now)
        if isinstance(said, GroupChange) and (group is None or not group.is_live):
            return self._invited(tx, group, sender, said, now) or self._not_invited(sender, said, now)
        if group is None or not group.is_live:
            if isinstance(said, GroupText):
                self._store.hold_early(tx, group, held(payload, said, now))
            return []
        return self._in_group(tx, group, payload, said, now)

    def _in_group(
        self, tx: Transaction, group: Group, payload: frames.RoutedMessagePayload, said: GroupSaid, now: Moment
    ) -> list[Event]:
        """Somebody says something about a group in which this user is."""
        device = payload.sender_id
        sender = self._stores.devices.person_of(device)
        match said:
            case GroupChange():
                events = self._take(tx, group, [said.change], sender, now, invites=said)
                return events or self._invited_elsewhere(tx, group, sender, said, now)
            case GroupChanges():
                self._duties.answered(group, device, said, now)
                # A linked device may know a group from a later state on than its person does.
                is_first = sender == device
                return self._take(tx, group, said.changes, sender, now, picture=said.picture, answers=is_first)
            case GroupText():
                return self._text(tx, group, held(payload, said, now), said, now)
            case GroupHello() | GroupLeave():
                return self._word(tx, group, held_word(payload, said, now), now)
            case _ if raw_of(sender) not in group.state.members:
                return []
            case GroupReceipt():
                return followed(self._stores, self._outgoing, tx, device, said, now)
            case GroupAsk():
                self._duties.asked(group.id, device, said, now)
                return []
            case GroupPropose() if sender == device and self.strangers.is_proposed(group, sender, said):
                self._store.put(tx, self._wished(group, Add(person=said.person, role="member")))
                return []
            case _:
                return []

    def _of_own_device(
        self,
        tx: Transaction,
        group: Group | None,
        payload: frames.RoutedMessagePayload,
        said: GroupSaid,
        now: Moment,
    ) -> list[Event]:
        """What another device of this user's says, or has said to all."""
        if group is None or not group.is_live:
            if isinstance(said, GroupText):
                self._store.hold_early(tx, group, held(payload, said, now))
            return []
        match said:
            case GroupChange():
                return self._take(tx, group, [said.change], self._own_id, now)
            case GroupChanges():
                return self._take(tx, group, said.changes, self._own_id, now, picture=said.picture)
            case GroupText():
                events: list[Event] = []
                self.texts.keep_own(tx, group, held(payload, said, now), said.body, now, events)
                return events
            case GroupAsk():
                self._duties.asked(group.id, payload.sender_id, said, now)
                return []
            case _:
                return []

    def synced(self, tx: Transaction, said: SyncGroup, now: Moment) -> list[Event]:
        """On a linked device: the first one says what a group is to this user now."""
        chain, group = handed_over.chain_of(said), self._store.get(written(said.group))
        is_in = said.relation == MEMBER
        if chain is None or (is_in and self._own not in chain.state.members):
            return []
        if not is_in:
            handed_over.no_longer_in(self._store, tx, group, chain, said)
            return []
        is_known = group is not None and group.record.relation == MEMBER
        if group is None or not is_known:
            number = self._store.new_number() if group is None else group.record.number
            record = GroupRecord(
                group=said.group, number=number, relation=MEMBER, state=b"", digest=b"", ordered=chain.state.revision
            )
            early = [one for one in self._store.held(written(said.group)) if one.revision >= chain.state.revision]
            group = self._store.put(tx, Group(record, chain), afresh=True)
        elif chain.state.revision >= group.state.revision and chain.head != group.chain.head:
            early, before = self._store.held(group.id), set(group.people)
            stays = pictures.name_of(group.record.picture) == chain.state.picture
            picture = group.record.picture if stays else b""
            group = Group(replace(group.record, doubt="", rival="", rivals=[], picture=picture), chain)
            self._withdraw(tx, group, before)
            tx.on_commit(partial(self._duties.caught_up, group.id, chain.state.revision))
        else:
            early = []
        there = (said.picture, group.record.picture)
        picture = next((one for one in there if pictures.name_of(one) == group.state.picture), b"")
        group = naming.taken_over(group.with_record(picture=picture), said, self._own_id, chain.state.members)
        if not is_known:
            group = handed_over.with_names(self._store, group)
        events: list[Event] = []
        if early:
            group = self._take_held(tx, group, events, now, waiting=early)
        self._store.put(tx, group)
        if not is_known:
            events.append(self._event(group, GroupNews.JOINED, "", f"you are in {self._title(group)} now"))
        return events

    def devices_changed(self, tx: Transaction, now: Moment) -> list[Event]:
        """Devices are known of whom nothing was known: what they have said waits, and may be a member's."""
        events: list[Event] = []
        for group in self._store.all():
            if group.is_live and self._store.holds_of_members(group):
                self._store.put(tx, self._take_held(tx, group, events, now))
        return events

    # --- invitations ------------------------------------------------------------------

    def _invited(
        self,
        tx: Transaction,
        before: Group | None,
        sender: str,
        said: GroupChange,
        now: Moment,
        *,
        waiting: Sequence[GroupHeldRecord] | None = None,
    ) -> list[Event]:
        """Somebody invites; ``waiting``: what is kept for such a group, if it is not what is stored."""
        chain = invitations.read(said, sender, self._own)
        is_person = self._stores.book.has(written(said.group))  # whoever chose that id wants to be taken for them
        if chain is None or is_person or not self._stores.devices.is_first or outcomes.is_over(before, said.change):
            return []
        join = self._store.joins.take(tx, sender, now.persistent)
        if join is None and not self._store.may_be_invited(sender):
            return []
        number = self._store.new_number() if before is None else before.record.number
        held = self._store.held(written(said.group)) if waiting is None else waiting
        early = [one for one in held if not one.change and one.revision >= chain.state.revision]
        others = [one for one in held if one.kind == KEPT and one.sender != sender]
        record = invitations.begun(chain, number, before, join, invitations.written_at(said, now))
        record = replace(record, inviters=[one.sender for one in others])
        group = self._store.put(tx, Group(record, chain), afresh=True)
        for one in others:
            self._store.hold(tx, one)
        events: list[Event] = []
        if record.relation == MEMBER:
            self._store.joins.decided(tx, chain.state)
            tx.on_commit(lambda: self._duties.greet(group.id))
            events.append(self._event(group, GroupNews.JOINED, sender, f"you are in {self._title(group)} now"))
        else:
            label, was_no_admin = self._contact(group, sender).label, invitations.was_no_admin(record)
            said_so = words.invites(label, self._title(group), was_no_admin=was_no_admin)
            events.append(self._event(group, GroupNews.INVITED, sender, said_so))
        after = group
        for one in early:
            after = self._held_said(tx, after, one, events, now)
        if after is not group:
            self._store.put(tx, after)
        return events

    def _not_invited(self, sender: str, said: GroupChange, now: Moment) -> list[Event]:
        """Nothing has come of it; what waited, and is looked at again, is not told: others' may be behind it."""
        why = invitations.fault(said, sender, self._own) if self._stores.devices.is_first else ""
        return self._unusable.tell(sender, INVITATION, why, now)

    def _invited_elsewhere(
        self, tx: Transaction, group: Group, sender: str, said: GroupChange, now: Moment
    ) -> list[Event]:
        is_stranger = self._stores.requests.holds(sender)  # whose invitation waits as a request
        if is_stranger or not rivals.heard(tx, self._store, group, sender, said, own=self._own, now=now):
            return []
        self._store.put(tx, group.with_record(inviters=[*group.record.inviters, sender]))
        who, first = (self._contact(group, one).label for one in (sender, group.record.inviter))
        return [self._event(group, GroupNews.FORKED, sender, words.invites_elsewhere(who, self._title(group), first))]

    def left(self, tx: Transaction, group: Group, now: Moment) -> list[Event]:
        """The user has left a group, or declined it: who invites to another one of that id is heard now."""
        self._store.joins.decided(tx, group.state)
        return self._invited_back(tx, group, group, self._store.held(group.id), now)

    def _join(self, tx: Transaction, sender: str, said: GroupJoin, now: Moment) -> list[Event]:
        found = self.strangers.joining(sender, said, now)
        if found is None:
            self.strangers.turn_away(tx, sender, said, now)
            return []
        token, group = found
        after = self._wished(group, Add(person=raw_of(sender), role="member"))
        if after is not group:
            self._store.put(tx, after)
            self._store.put_token(tx, replace(token, uses=token.uses - 1))
            self.strangers.let_in(tx, group.id, raw_of(sender))
        return []

    # --- changes ----------------------------------------------------------------------

    def _take(
        self,
        tx: Transaction,
        group: Group,
        encoded: list[bytes],
        sender: str,
        now: Moment,
        *,
        picture: bytes = b"",
        invites: GroupChange | None = None,
        answers: bool = False,
    ) -> list[Event]:
        """Judge changes in a row, then what was held back for want of them.

        ``picture``: it may be the group's. ``invites``: the change may invite this user back. ``answers``: whoever
        knows others than these tells it by that.
        """
        events: list[Event] = []
        start, before, found = group.chain.head, set(group.people), list[Judged]()
        for one in encoded:
            group, judged = self._judge(tx, group, one, sender, events)
            found.append(judged)
            events += self._unusable.tell(sender, CHANGED, words.unusable(judged.code), now, group)
            if judged.verdict is Verdict.BEHIND:
                self._hold_change(tx, group, one, sender, now, invites=invites)
        if answers and not group.is_full and (rival := doubts.shown_by_answer(group, sender, encoded, found)):
            group = self._fork(group, rival, events)
        held: list[GroupHeldRecord] = []
        if group.chain.head != start:
            held = self._store.held(group.id)
            group = self._take_held(tx, group, events, now, waiting=list(held))
        if group.lacks_picture and pictures.name_of(picture) == group.state.picture and pictures.type_of(picture):
            group = group.with_record(picture=picture)
        self._withdraw(tx, group, before)
        # A group that is closed has no use for what was held for it; where one was removed, that waits on.
        waiting = [] if group.is_live else held if group.record.relation == CLOSED else self._store.held(group.id)
        if group.record.fresh and not group.is_live:
            # Invited and removed again, however often somebody does it: nothing of it is left.
            self._store.erase(tx, group)
        else:
            self._store.put(tx, group)
        if group.is_live:
            return events
        return events + self._invited_back(tx, None if group.record.fresh else group, group, waiting, now)

    def _invited_back(
        self, tx: Transaction, before: Group | None, group: Group, waiting: list[GroupHeldRecord], now: Moment
    ) -> list[Event]:
        """Whoever adds somebody again may be heard before whoever has removed them; ``before``: what is stored."""
        mates, holds = set(group.people), self._stores.requests.holds  # what others who are strangers say is a request
        invite = (one for one in waiting if one.state and not outcomes.is_over(group, one.change))
        for one in (one for one in invite if one.sender in mates or not holds(one.sender)):
            if events := self._invited(tx, before, one.sender, rivals.said_in(one), now, waiting=waiting):
                return events
        return []

    def _withdraw(self, tx: Transaction, group: Group, before: set[str]) -> None:
        """Who is no member any more is sent nothing that still waits for them, but the changes themselves."""
        gone = before - set(group.people)
        if gone:
            conversation = written(conversation_of(group.record.group))
            devices = [device for person in sorted(gone) for device in self._stores.devices.devices_of(person)]
            self._stores.many.withdraw(tx, conversation, devices, but=CHANGE)

    def take_own(self, tx: Transaction, group: Group, encoded: bytes, now: Moment) -> list[Event]:
        """A change of this user that the relay has put in order; what others say in it may have come before."""
        events: list[Event] = []
        before = set(group.people)
        group, judged = self._judge(tx, group, encoded, self._own_id, events)
        if judged.verdict not in {Verdict.APPLIED, Verdict.KNOWN}:  # the relay has told others something else
            group = self._fork(group, doubts.THE_RELAY, events)
        elif judged.verdict is Verdict.APPLIED:
            group = self._take_held(tx, group, events, now)
        self._withdraw(tx, group, before)
        self._store.put(tx, group)
        if group.is_live:
            return events
        return events + self._invited_back(tx, group, group, self._store.held(group.id), now)

    def _judge(
        self, tx: Transaction, group: Group, encoded: bytes, sender: str, events: list[Event]
    ) -> tuple[Group, Judged]:
        judged = group.judge(encoded)
        match judged.verdict:
            case Verdict.APPLIED:
                group = self._applied(tx, group, judged.chain, events)
            case Verdict.FORK:
                group = self._fork(group, doubts.shown_by(group, sender, encoded, judged.rival), events)
            case Verdict.NEWER:
                group = self._fork(group, doubts.shown_by(group, "", encoded), events, NEWER)
            case _:
                pass
        return group, judged

    def _applied(self, tx: Transaction, group: Group, chain: Chain, events: list[Event]) -> Group:
        change, record = chain.steps[-1].change, group.record
        after = outcomes.applied(group, chain, self._own_id)
        relation = after.record.relation
        tx.on_commit(partial(self._duties.caught_up, after.id, chain.state.revision))
        by_link = self.strangers.is_by_link(tx, group.id, change)
        said = words.done(change, partial(self._label, after), record, by_link=by_link)
        message = f"{self._title(group)}: {said}"
        news = {REMOVED: GroupNews.REMOVED, CLOSED: GroupNews.CLOSED}.get(relation, GroupNews.CHANGED)
        if relation != record.relation and relation == INVITED:
            news = GroupNews.INVITED
        events.append(self._event(after, news, written(change.author), message))
        return wish_ops.with_leaves(after, self._signer)

    def _fork(self, group: Group, rival: doubts.Rival, events: list[Event], doubt: str = FORKED) -> Group:
        """Nothing is sent any more, until that is cleared up or the user goes on."""
        if group.record.doubt in {FORKED, doubt} or doubts.is_old(group, rival):
            return group
        who = self._contact(group, rival.who).label if rival.who else "the relay"
        say, news = (words.newer, GroupNews.NEWER) if doubt == NEWER else (words.forked, GroupNews.FORKED)
        events.append(self._event(group, news, rival.who, say(who, self._title(group))))
        return doubts.doubted(group, rival, doubt)

    def _hold_change(
        self, tx: Transaction, group: Group, encoded: bytes, sender: str, now: Moment, *, invites: GroupChange | None
    ) -> None:
        state, base = (b"", b"") if invites is None else (invites.state, invites.base)
        held = GroupHeldRecord(group=group.id, at=now.persistent, sender=sender, change=encoded, state=state, base=base)
        if state or not self._store.is_held(held):  # else it may be an invitation, of which only a part has come again
            self._store.hold(tx, held)
        self._duties.behind(group, sender, group.state.revision + 1, now)

    def _take_held(
        self,
        tx: Transaction,
        group: Group,
        events: list[Event],
        now: Moment,
        *,
        waiting: list[GroupHeldRecord] | None = None,
    ) -> Group:
        """What came too early may be in time now; ``waiting``: that, if it is not what is stored."""
        waiting = self._store.held(group.id) if waiting is None else waiting
        is_new = True
        while is_new:
            is_new = False
            for one in [one for one in waiting if one.change and one.kind != KEPT]:
                group, judged = self._judge(tx, group, one.change, one.sender, events)
                events += self._unusable.tell(one.sender, CHANGED, words.unusable(judged.code), now, group)
                if judged.verdict is not Verdict.BEHIND:
                    waiting.remove(one)
                    is_new = is_new or judged.verdict is Verdict.APPLIED
        self._store.drop_held(tx, group.id)
        for one in waiting:
            try:
                group = group if one.change else self._held_said(tx, group, one, events, now)
            except NO_FAULTS:
                raise
            except Exception as error:  # noqa: BLE001 - the change that it waited for counts all the same
                events += self._aside.failed(error)
                self._store.hold(tx, one)
            if one.change:
                self._store.hold(tx, one)
        return group

    # --- texts ------------------------------------------------------------------------

    def _text(self, tx: Transaction, group: Group, held: GroupHeldRecord, said: GroupText, now: Moment) -> list[Event]:
        """A text; ``held``: the same, as it is kept if it comes too early."""
        sender = self._stores.devices.person_of(held.sender)
        events: list[Event] = []
        person = raw_of(sender)
        standing = group.chain.compare(said.revision, said.head)
        if standing is Standing.AHEAD:
            self._duties.behind(group, sender, said.revision, now)
        if person not in group.state.members:
            if standing in outcomes.MAY_BE_A_DEVICE:
                self._store.hold(tx, held)
            self._duties.tell_removed(group, sender, said.revision, now)
            return events
        before, group = group, naming.noted(group, sender, said.name)
        if standing is Standing.FORK:
            group = self._fork(group, doubts.Rival(sender, said.head), events)
        if group is not before:
            self._store.put(tx, group)
        if group.state.may_write(person):
            self.texts.keep(tx, group, held, said, now, events)
        return events

    def _held_text(
        self, tx: Transaction, group: Group, held: GroupHeldRecord, events: list[Event], now: Moment
    ) -> Group:
        said = GroupText(
            group=group.record.group,
            revision=held.revision,
            head=held.head,
            n=held.n,
            body=held.content.decode(),
            sent_at=held.sent_at,
            name=held.name,
        )
        person, standing = self._person(held.sender), group.chain.compare(said.revision, said.head)
        if person == self._own:
            self.texts.keep_own(tx, group, held, said.body, now, events)
            return group
        if person in group.state.members:
            group = naming.noted(group, written(person), held.name)
            if standing is Standing.FORK:
                group = self._fork(group, doubts.Rival(written(person), held.head), events)
        if group.state.may_write(person):
            self.texts.keep(tx, group, held, said, now, events)
        elif standing in outcomes.MAY_BE_A_DEVICE and person not in group.state.members:
            self._store.hold(tx, held)
        return group

    # --- what else members say ----------------------------------------------------------

    def _word(self, tx: Transaction, group: Group, held: GroupHeldRecord, now: Moment) -> list[Event]:
        """Somebody says that they are there, or leave; ``held``: that, as it is kept if it comes too early."""
        events: list[Event] = []
        after = self._held_said(tx, group, held, events, now)
        if after is not group:
            self._store.put(tx, after)
        return events

    def _held_said(
        self, tx: Transaction, group: Group, held: GroupHeldRecord, events: list[Event], now: Moment
    ) -> Group:
        if not held.kind:
            return self._held_text(tx, group, held, events, now)
        person, is_leaving = self._person(held.sender), held.kind == "leave"
        if is_leaving and held.sender != written(person):
            return group  # what changes who is in it is said by their first device alone
        if person in group.state.members:
            return self._leaves(group, held, events) if is_leaving else self._hello(tx, group, held, events, now)
        is_ahead = not is_leaving and group.chain.compare(held.revision, held.head) is Standing.AHEAD
        if is_ahead or group.is_adding(person):
            self._store.hold(tx, held)
        if not is_leaving:
            self._duties.tell_removed(group, written(person), held.revision, now)
        return group

    def _hello(self, tx: Transaction, group: Group, said: GroupHeldRecord, events: list[Event], now: Moment) -> Group:
        sender, standing = written(self._person(said.sender)), group.chain.compare(said.revision, said.head)
        told: list[Event] = []
        group = naming.noted(group, sender, said.name)
        if standing is Standing.FORK:
            group = self._fork(group, doubts.Rival(sender, said.head), told)
        elif standing is Standing.AHEAD:
            self._duties.behind(group, sender, said.revision, now)
        if sender in group.record.absent:
            group = group.with_record(absent=[one for one in group.record.absent if one != sender])
            if group.record.own_name and len(group.state.members) <= MAX_TOLD:
                tx.on_commit(lambda: self._duties.welcome(group.id, sender))
            message = f"{self._contact(group, sender).label} has joined {self._title(group)}"
            told.append(self._event(group, GroupNews.JOINED, sender, message))
        events += told if group.record.relation == MEMBER else []
        return group

    def _leaves(self, group: Group, said: GroupHeldRecord, events: list[Event]) -> Group:
        sender, is_known = said.sender, said.sender in group.record.leaving
        group = group if is_known else group.with_record(leaving=[*group.record.leaving, sender])
        if not is_known and group.record.relation == MEMBER:
            message = f"{self._contact(group, sender).label} has left {self._title(group)}"
            events.append(self._event(group, GroupNews.LEFT, sender, message))
        return self._wished(group, Remove(person=raw_of(sender)))

    @property
    def _signer(self) -> bytes:
        """This user, if this device may sign what changes a group."""
        return self._own if self._stores.devices.is_first else b""

    def _wished(self, group: Group, op: Op) -> Group:
        return wish_ops.wished(group, op, self._signer)

    # --- words ------------------------------------------------------------------------

    def _contact(self, group: Group, user_id: str) -> Contact:
        return naming.member_of(group, user_id, self._stores.book)

    def _label(self, group: Group, person: bytes) -> str:
        return "you" if person == self._own else self._contact(group, written(person)).label

    @staticmethod
    def _title(group: Group) -> str:
        return words.title(group.state.name)

    def _event(self, group: Group, news: GroupNews, by: str, message: str) -> GroupEvent:
        who = self._contact(group, by) if by and by != self._own_id else None
        return GroupEvent(group=group.id, name=group.state.name, news=news, by=who, message=message)
