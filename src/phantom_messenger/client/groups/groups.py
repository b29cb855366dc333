"""Everything that a user does with groups, without I/O: on disk when a method returns, sent as soon as may be."""

from collections.abc import Callable, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from phantom_messenger.client import content
from phantom_messenger.client.errors import UnknownContact, UsageError
from phantom_messenger.client.groups import invitations, naming, rivals, wish_ops, words
from phantom_messenger.client.groups.arrivals import MAX_WISHES, Arrivals
from phantom_messenger.client.groups.chain import Chain
from phantom_messenger.client.groups.change import (
    Add,
    Close,
    Op,
    Remove,
    SetName,
    SetPicture,
    SetRights,
    SetRole,
    SetTimer,
    write,
)
from phantom_messenger.client.groups.contents import GroupJoin, GroupLeave, GroupPropose, GroupText
from phantom_messenger.client.groups.duties import Duties
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.links import Links
from phantom_messenger.client.groups.orders import Orders
from phantom_messenger.client.groups.picture import MAX_PICTURE_BYTES, type_of
from phantom_messenger.client.groups.reach import reached_by_all, reached_by_each
from phantom_messenger.client.groups.records import GroupRecord, GroupTextRecord
from phantom_messenger.client.groups.speaking import CHANGE, TEXT, Speaking
from phantom_messenger.client.groups.state import MAX_MEMBERS, GroupState, Role, digits_of
from phantom_messenger.client.groups.stepping import Stepping
from phantom_messenger.client.groups.store import FORKED, INVITED, LEFT, MEMBER, Group, packed_ops, raw_of, written
from phantom_messenger.client.groups.views import GroupEntry, GroupInfo, GroupInvitation, GroupMember, contact_of
from phantom_messenger.client.many.outgoing import Outgoing
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.names import normal_name
from phantom_messenger.client.presence import Presence
from phantom_messenger.client.status import Contact, DeliveryEvent, DeliveryState, Event
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.told import Told
from phantom_messenger.client.vault import Transaction
from phantom_messenger.crypto.keys import OwnIdentity
from phantom_messenger.wire.limits import MAX_EXPIRES_IN_MS


class Groups:
    """The groups of a profile.

    Args:
        stores: of the profile.
        outgoing: takes messages to many.
        identity: this user's.
        random: a source of random bytes.
        moment: what the clocks show.
        presence: what others may learn of what this user does.
        told: what the application is to hear.
    """

    def __init__(
        self,
        stores: Stores,
        outgoing: Outgoing,
        identity: OwnIdentity,
        random: Callable[[int], bytes],
        *,
        moment: Callable[[], Moment],
        presence: Presence,
        told: Told,
    ) -> None:
        self._stores = stores
        self._store = stores.groups
        self._identity = identity
        self._random = random
        self._moment = moment
        self._presence = presence
        self._told = told
        self._speaking = Speaking(outgoing, identity, stores.devices)
        self._duties = Duties(stores, self._speaking, presence)
        self.arrivals = Arrivals(stores, self._duties, outgoing)
        self._orders = Orders(stores, self._speaking, self.arrivals, self._duties, identity)
        self.links = Links(stores, random, moment)
        self._stepping = Stepping()
        outgoing.listen(CHANGE, self._orders, self._orders.waits_for)
        outgoing.listen(TEXT, self)

    @property
    def _own_id(self) -> str:
        """This user as a member: the person, whichever device this is."""
        return self._stores.devices.person

    @property
    def _own(self) -> bytes:
        return raw_of(self._own_id)

    def _tells_read(self) -> bool:
        """Whether others may learn what this user has read."""
        return self._presence.settings.read_receipts

    # --- time -------------------------------------------------------------------------

    def step(self) -> None:
        """Do what is due; whoever is told of something sent comes back here, and nothing is done twice."""
        if not len(self._store):
            return
        now, turning_away = self._moment(), self.arrivals.strangers.turning_away
        failure = self._stepping.run(
            lambda: self._told.extend(self._orders.step(now)),
            lambda: self._duties.step(now),
            lambda: turning_away.step(self._speaking, now, is_hidden=self._duties.is_hidden),
        )
        self._told.extend(failure)

    def waits(self, now: int) -> list[int]:
        """Milliseconds until each thing that waits for a time."""
        return [] if self._stepping.has_failed else self._orders.waits(now) + self._duties.waits(now)

    def flush(self) -> None:
        """Send receipts at once: the program is about to leave."""
        self._duties.flush()

    # --- looking ------------------------------------------------------------------------

    def all(self) -> list[GroupInfo]:
        """All groups, the oldest first."""
        return [self._info(group) for group in self._store.all()]

    def find(self, who: str) -> GroupInfo:
        """A group by its id or the beginning of it, or by its name if no other has that name.

        Raises:
            UnknownContact: there is none.
            UsageError: there are several.
        """
        return self._info(self._found(who))

    def has(self, who: str) -> bool:
        """Whether there is a group of this id, with this beginning of it, or of this name."""
        return self._store.get(who) is not None or bool(self._store.named(who))

    def _found(self, who: str, prefer: str = MEMBER) -> Group:
        """One group; ``prefer``: which relation is meant if several have this name: anybody may invite to one."""
        group = self._store.get(who)
        if group is not None:
            return group
        found = self._store.named(who)
        if len(found) > 1:
            found = [one for one in found if one.record.relation == prefer] or [one for one in found if one.is_live]
            if len(found) != 1:
                raise UsageError(f"several groups are called '{who}'; name one by its ID, which 'phantom groups' shows")
        if not found:
            raise UnknownContact(f"there is no group '{who}'; 'phantom groups' lists yours")
        return found[0]

    def _info(self, group: Group) -> GroupInfo:
        record, state = group.record, group.state
        members = tuple(
            GroupMember(
                contact=self._member(group, written(person)),
                role=wish_ops.ROLES[role],
                is_you=person == self._own,
                has_joined=written(person) not in record.absent,
                is_leaving=written(person) in record.leaving,
            )
            for person, role in state.members.items()
        )
        return GroupInfo(
            group=group.id,
            name=state.name,
            relation=record.relation,
            doubt=record.doubt,
            rival=self._member(group, record.rival) if record.doubt and record.rival else None,
            is_behind=self._duties.is_behind(group.id),
            inviter=self._member(group, record.inviter) if record.inviter else None,
            was_no_admin=invitations.was_no_admin(record),
            members=members,
            timer=state.timer,
            invite=wish_ops.ROLES[state.invite],
            write=wish_ops.ROLES[state.write],
            muted=record.muted,
            unread=self._store.waiting(group.id) if record.relation != INVITED else 0,
            revision=state.revision,
            picture=record.picture,
            own_name=record.own_name,
        )

    def _member(self, group: Group, user_id: str) -> Contact:
        return naming.member_of(group, user_id, self._stores.book)

    @property
    def wanted(self) -> int:
        """How many changes of this user wait to be put in order."""
        return sum(len(group.record.wishes) for group in self._store.all() if group.record.relation == MEMBER)

    def invitations_of(self, stranger: str) -> list[GroupInvitation]:
        """To which groups somebody invites whose messages wait as a request; nobody is notified."""
        return invitations.of_stranger(self._stores, stranger, self._own, self._moment())

    def concern(self, stranger: str) -> bool:
        """Whether a stranger says something about groups, and invites to none."""
        return invitations.are_of_others(self._stores, stranger, self._own, self._moment())

    def digits(self, who: str) -> str:
        """The digits of a group's head, for members to compare."""
        return digits_of(self._found(who).chain.head)

    def rival_digits(self, who: str) -> str:
        """Those of the member who knows another history, as they were when that was noticed; '' if unknown."""
        record = self._found(who).record
        return digits_of(record.rival_head) if record.doubt == FORKED and record.rival_head else ""

    # --- changing -----------------------------------------------------------------------

    def create(self, name: str, people: Sequence[str], own_name: str = "") -> str:
        """Make a group, and have people added to it; its id. ``own_name``: see ``call_me``.

        Raises:
            UsageError: it cannot be made like this.
        """
        self._check_device()
        wish_ops.check_persons(people, self._stores.devices, self._stores.book)
        if len(people) >= MAX_MEMBERS:
            raise UsageError(f"a group has at most {MAX_MEMBERS} members")
        group = self._random(32)
        start = Chain(GroupState(group=group))
        ops: list[Op] = [Add(person=self._own, role="admin"), SetName(text=wish_ops.checked_name(name))]
        at = content.time_of(self._moment().wall)
        change = write(self._identity, group=group, revision=1, previous=start.head, at=at, ops=ops)
        chain = start.judge(change.encoded).chain
        record = GroupRecord(
            group=group,
            number=self._store.new_number(),
            relation=MEMBER,
            state=b"",
            digest=b"",
            own_name=naming.checked(own_name),
            wishes=[packed_ops(part) for part in wish_ops.parts(wish_ops.added(people, "member"))],
        )
        with self._stores.vault.transaction() as tx:
            self._store.put(tx, Group(record, chain))
        self.step()
        return written(group)

    def accept(self, who: str, own_name: str = "") -> str:
        """Accept an invitation; the id of the group. ``own_name``: see ``call_me``."""
        self._check_device()
        group = self._found(who, INVITED)
        if group.record.relation != INVITED:
            already = "are in {} already" if group.record.relation == MEMBER else "are not invited to {}"
            raise UsageError(f"you {already.format(words.title(group.state.name))}")
        with self._stores.vault.transaction() as tx:
            self._store.put(tx, invitations.accepted(group, naming.checked(own_name)))
            self._store.joins.decided(tx, group.state)
        self._duties.accepted(group, self._moment())
        self.step()
        return group.id

    def add(self, who: str, people: Sequence[str], role: str = "member") -> None:
        """Have people added; a member who is no admin asks the admins to do so."""
        self._check_device()
        wish_ops.check_persons(people, self._stores.devices, self._stores.book)
        group = self._changeable(who)
        if self._is_admin(group):
            self._want(group, wish_ops.added(people, role))
            return
        if role != "member" or not group.state.may_invite(self._own):
            raise UsageError(f"only admins add {'admins' if role == 'admin' else 'members'} to this group; ask one")
        admins = [written(person) for person in group.state.admins]
        for person in people:
            proposal = GroupPropose(group=group.record.group, person=raw_of(person))
            self._speaking.say(group.record.group, admins, proposal, self._moment())

    def remove(self, who: str, people: Sequence[str]) -> None:
        """Have people removed."""
        wish_ops.check_people(people, self._own_id)
        self._want(self._administered(who), [Remove(person=raw_of(person)) for person in people])

    def set_role(self, who: str, person: str, role: str) -> None:
        """Make somebody an admin, or a member."""
        group = self._administered(who)
        if raw_of(person) not in group.state.members:
            raise UsageError("they are not a member of this group; add them first")
        self._want(group, [SetRole(person=raw_of(person), role=wish_ops.checked_role(role))])

    def rename(self, who: str, name: str) -> None:
        """Give a group another name."""
        self._want(self._administered(who), [SetName(text=wish_ops.checked_name(name))])

    def set_picture(self, who: str, data: bytes) -> None:
        """Give a group another picture; empty: none."""
        if data and not type_of(data):
            raise UsageError(f"a picture of a group is a PNG, JPEG or WebP of at most {MAX_PICTURE_BYTES:,} bytes")
        self._want(self._administered(who), [SetPicture(data=data)])

    def set_timer(self, who: str, milliseconds: int) -> None:
        """Have texts that are written from now on expire; 0: not any more."""
        if not 0 <= milliseconds <= MAX_EXPIRES_IN_MS:
            raise UsageError("messages can expire after at most 365 days; 0 lets them stay")
        self._want(self._administered(who), [SetTimer(ms=milliseconds)])

    def set_rights(self, who: str, *, invite: str | None, write: str | None) -> None:
        """Say who may have others added, and who may write: 'member' or 'admin'; None: as now."""
        group = self._administered(who)
        now_invite, now_write = wish_ops.ROLES[group.state.invite], wish_ops.ROLES[group.state.write]
        rights = SetRights(
            invite=wish_ops.checked_role(invite or now_invite), write=wish_ops.checked_role(write or now_write)
        )
        self._want(group, [rights])

    def close(self, who: str) -> None:
        """End a group, for everybody."""
        self._want(self._administered(who), [Close()])

    def _want(self, group: Group, ops: list[Op]) -> None:
        """Put it behind what is wanted already, and go on."""
        parts = wish_ops.parts(ops)
        if len(group.record.wishes) + len(parts) > MAX_WISHES:
            raise UsageError("many changes of this group still wait to be sent; wait for them first")
        wanted = [packed_ops(part) for part in parts]
        asked = [one for one in group.record.asked if one not in wanted]
        with self._stores.vault.transaction() as tx:
            self._store.put(tx, group.with_wishes([*group.record.wishes, *wanted], asked))
        self.step()

    def leave(self, who: str) -> None:
        """Leave a group, or decline an invitation: nothing is sent to it, or taken in, any more.

        Raises:
            UsageError: you are its last admin, and others are there.
        """
        self._check_device()
        group = self._found(who)
        if not group.is_live:
            raise UsageError(f"you are not a member of {words.title(group.state.name)}")
        wish_ops.check_may_leave(group, self._own_id)
        now, events = self._moment(), list[Event]()

        def note(tx: Transaction) -> None:
            gone = group.with_record(relation=LEFT, wishes=[], asked=[], flying=b"", carrier="")
            events.extend(self.arrivals.left(tx, self._store.put(tx, gone), now))
            if group.record.carrier:
                self._speaking.forget(tx, group.record.carrier)

        if told := rivals.told_of_leaving(group, self._own_id, self._store.held(group.id)):
            self._speaking.say(group.record.group, told, GroupLeave(group=group.record.group), now, also=note)
        else:
            with self._stores.vault.transaction() as tx:
                note(tx)
        self._told.extend(events)

    def forget(self, who: str) -> None:
        """Erase a group that one has left, with all that was said in it."""
        group = self._found(who)
        if group.is_live:
            raise UsageError("leave this group first")
        with self._stores.vault.transaction() as tx:
            self._store.erase(tx, group)

    def mute(self, who: str, *, muted: bool) -> None:
        """Note whether the user wants to be told of texts."""
        group = self._found(who)
        with self._stores.vault.transaction() as tx:
            self._store.put(tx, group.with_record(muted=muted))

    def call_me(self, who: str, name: str) -> None:
        """Say to a group's members what one is called there; '' for nothing any more."""
        self._check_device()
        group = self._changeable(who)
        after = group.with_record(own_name=naming.checked(name))
        others = [person for person in group.people if person != self._own_id]

        def note(tx: Transaction) -> None:
            self._store.put(tx, after)

        if others:
            self._speaking.greet(after, others, after.record.own_name, self._moment(), also=note)
            self._duties.show(group.id)
        else:
            with self._stores.vault.transaction() as tx:
                note(tx)

    def go_on(self, who: str) -> None:
        """Write to a group again whose history is in doubt, with the members that are known here.

        Changes no longer wait, either, for one of somebody else's that has not come.
        """
        group = self._found(who)
        with self._stores.vault.transaction() as tx:
            self._store.put(tx, group.with_record(doubt="", rival_head=b"", passed=group.record.ordered))
        self._duties.goes_on(group.id)
        self.step()

    # --- links --------------------------------------------------------------------------

    def link(self, who: str, server: str, *, uses: int = 1, life: int = 7 * 86_400_000) -> str:
        """A link with which others ask to be added: see ``Links.make``."""
        return self.links.make(self._administered(who).id, server, uses=uses, life=life)

    def join(self, link: JoinLink, own_name: str = "") -> None:
        """Ask to be added; the invitation that comes is accepted. ``own_name``: see ``call_me``."""
        self._check_device()
        self.arrivals.strangers.check_link(link)
        now, name = self._moment(), naming.checked(own_name)

        def note(tx: Transaction) -> None:
            self._stores.book.admit(tx, link.admin)
            self._store.joins.put(tx, link.admin, link.token, now.persistent, name)

        self._speaking.say(link.token, [link.admin], GroupJoin(token=link.token), now, also=note)

    # --- texts --------------------------------------------------------------------------

    def send_text(self, who: str, text: str) -> str:
        """Write to a group; the message id.

        Raises:
            UsageError, MessageTooLong: it cannot be sent.
        """
        group = self._changeable(who)
        try:
            content.check_length(text)
        except UnicodeEncodeError:
            raise UsageError("the message contains half a character (a lone surrogate); remove it") from None
        if not group.state.may_write(self._own):
            raise UsageError("only admins write to this group")
        others = [person for person in group.people if person != self._own_id]
        if not others:
            raise UsageError("nobody else is in this group yet")
        now, state = self._moment(), group.state
        counts = self._store.counts(group.id)
        message_id = self._speaking.new_id()
        said = GroupText(
            group=group.record.group,
            revision=state.revision,
            head=group.chain.head,
            n=counts.own + 1,
            body=text,
            name=group.record.own_name or UNSET,
        )
        record = GroupTextRecord(
            message_id=message_id,
            sender="",
            text=text,
            sent_at=content.time_of(now.wall),
            kept_at=content.time_of(now.wall),
            expires_in=state.timer or None,
        )

        def keep(tx: Transaction) -> None:
            self._store.put_text(tx, group, record)
            self._store.put_counts(tx, group.id, replace(counts, own=said.n))

        self._duties.show(group.id)
        return self._speaking.say(
            group.record.group,
            others,
            said,
            now,
            purpose=TEXT,
            expires_in=state.timer or None,
            message_id=message_id,
            also=keep,
        )

    def next_text(self, after: int, who: str | None, *, muted: bool = True) -> tuple[int, GroupInfo, GroupEntry] | None:
        """The first text behind a position that was not handled; of a group, if one is named."""
        name = None if who is None else self._found(who).id
        now = self._moment()
        found = self._store.next(after, name, now.persistent, muted=muted)
        if found is None:
            return None
        position, group, record = found
        return position, self._info(group), self._entry(group, record, now)

    def history(
        self, who: str, *, since: int | None = None, search: str | None = None, limit: int | None = None
    ) -> list[GroupEntry]:
        """What was said in a group, oldest first; arguments as ``History.with_peer``."""
        group, now = self._found(who), self._moment()
        if group.record.relation == INVITED:
            return []
        wanted = None if search is None else normal_name(search).casefold()
        found: list[GroupEntry] = []
        for record in self._store.all_texts(group):
            entry = self._entry(group, record, now)
            is_wanted = wanted is None or (entry.text is not None and wanted in normal_name(entry.text).casefold())
            if is_wanted and (since is None or entry.kept_at >= since):
                found.append(entry)
                if limit is not None and len(found) >= limit:
                    break
        return found[: limit if limit is not None else None][::-1]

    def _entry(self, group: Group, record: GroupTextRecord, now: Moment) -> GroupEntry:
        is_over = record.expires_at is not None and record.expires_at <= now.persistent
        is_own = not record.sender
        return GroupEntry(
            message_id=record.message_id,
            sender=self._member(group, record.sender or self._own_id),
            is_own=is_own,
            text=None if is_over else record.text,
            sent_at=record.sent_at,
            kept_at=record.kept_at,
            expires_at=None if record.expires_at is None else now.wall_at(record.expires_at),
            state=DeliveryState(record.state) if is_own else None,
            is_waiting=not is_own and self._store.is_waiting(group.id, record.sender, record.message_id),
        )

    def handled(self, group: str, sender: str, message_id: str) -> None:
        """The application is done with a text."""
        with self._stores.vault.transaction() as tx:
            self._store.handled(tx, group, sender, message_id)

    def mark_read(self, group: str, sender: str, message_id: str) -> None:
        """The user has read a text: it is handled, and its sender is told if that is allowed. Idempotent."""
        self.arrivals.texts.mark_read(group, sender, message_id, tells=self._tells_read())

    def progress(self, message_id: str) -> dict[str, DeliveryState]:
        """How far an own text has come with each member, by user id; nothing once that is 30 days ago."""
        message = self._stores.many.get(message_id)
        return {} if message is None else reached_by_each(message.copies.values(), self._stores.devices)

    # --- what becomes of texts ------------------------------------------------------------

    def advanced(self, tx: Transaction, message_id: str, peer: str, state: DeliveryState, now: Moment) -> list[Event]:
        """See ``Listener``."""
        del peer, state
        message = self._stores.many.get(message_id)
        group = None if message is None else self._store.any_of_conversation(message.record.conversation_id)
        record = None if group is None else self._store.text(group, "", message_id)
        if message is None or group is None or record is None:
            return []
        reached = reached_by_all(reached_by_each(message.copies.values(), self._stores.devices).values())
        expires_at = record.expires_at
        if expires_at is None and record.expires_in is not None and reached is not DeliveryState.QUEUED:
            expires_at = now.persistent + record.expires_in
        if reached == record.state and expires_at == record.expires_at:
            return []
        self._store.put_text(tx, group, replace(record, state=int(reached), expires_at=expires_at))
        if reached == record.state:
            return []
        return [DeliveryEvent(message_id=message_id, peer=contact_of(group.id, group.state.name), state=reached)]

    def ordered(self, *_: object) -> list[Event]:
        """See ``Listener``; texts have no order."""
        return []

    # --- checks -------------------------------------------------------------------------

    def _changeable(self, who: str) -> Group:
        group = self._found(who)
        title = words.title(group.state.name)
        if group.record.relation == INVITED:
            raise UsageError(words.undecided(group.state.name, group.id))
        if group.record.relation != MEMBER:
            raise UsageError(words.over(title, group.record.relation))
        if group.record.doubt == "forked":
            raise UsageError(f"{title} has two histories; compare 'phantom groups members' with the others first")
        if group.record.doubt:
            raise UsageError(f"a newer version has changed {title}; update this program, or run 'phantom groups go-on'")
        return group

    def _check_device(self) -> None:
        """Only a person's first device can say or sign what changes a group."""
        if not self._stores.devices.is_first:
            raise UsageError("groups are changed on your first device; run this there")

    def _administered(self, who: str) -> Group:
        self._check_device()
        group = self._changeable(who)
        if not self._is_admin(group):
            raise UsageError("only admins can do that; ask one of them")
        return group

    def _is_admin(self, group: Group) -> bool:
        return group.state.members.get(self._own) is Role.ADMIN
