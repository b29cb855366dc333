"""The groups of a profile, on disk: what they are, what was said in them, and what is still to be said.

Chains are held in memory, and follow the disk when a transaction is through. Times are milliseconds of the device's
persistent clock.
"""

import base64
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.devices import early as marks
from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups.chain import Chain, Judged, Step, Verdict
from phantom_messenger.client.groups.holding import KEPT, Early, Holding
from phantom_messenger.client.groups.joins import Joins
from phantom_messenger.client.groups.past import GroupPast
from phantom_messenger.client.groups.records import (
    GroupCountsRecord,
    GroupEarlyRecord,
    GroupHeldRecord,
    GroupInboxRecord,
    GroupRecord,
    GroupStepRecord,
    GroupTextRecord,
    GroupTokenRecord,
    GroupToldRecord,
    group_inbox,
    group_texts,
)
from phantom_messenger.client.groups.state import GroupState, conversation_of
from phantom_messenger.client.names import normal_name
from phantom_messenger.client.records import Seen
from phantom_messenger.client.vault import Transaction, Vault

KEPT_STEPS: Final = 1_000
"""Changes of a group that are kept, to judge by and to answer who asks."""

KEPT_INVITED: Final = 64
"""The same of a group to which this user is only invited: no more are taken up, and the rest is asked for later."""

MAX_INVITATIONS: Final = 50
"""Groups to which a user can be invited at once; further ones are not shown."""

MAX_INVITATIONS_OF_ONE: Final = 10
"""Of these, those of one person."""

MAX_MISSING: Final = 200
"""Numbers of texts of one member that are remembered as missing."""

KEEP_TOKENS_MS: Final = 30 * 86_400_000
"""How long a link is known that is too old: who opens it is told."""

INVITED, MEMBER, LEFT, REMOVED, CLOSED = "invited", "member", "left", "removed", "closed"
LEAST_OF_ID: Final = 8
"""Characters of an id that stand for all of it, if they fit a single group."""

RELATIONS: Final = frozenset({INVITED, MEMBER, LEFT, REMOVED, CLOSED})
FORKED, NEWER = "forked", "newer"


def written(raw: bytes) -> str:
    """Bytes in base64: how groups and users are named outside of contents."""
    return base64.b64encode(raw).decode()


def raw_of(text: str) -> bytes:
    """The bytes of a user id; they need not be 32."""
    return base64.b64decode(text)


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it is known here."""

    record: GroupRecord
    chain: Chain

    @property
    def id(self) -> str:
        """Its id in base64."""
        return written(self.record.group)

    @property
    def state(self) -> GroupState:
        """What it is now."""
        return self.chain.state

    @property
    def people(self) -> list[str]:
        """User ids of all members."""
        return [written(person) for person in self.state.members]

    @property
    def is_live(self) -> bool:
        """Whether what comes for it is taken in."""
        return self.record.relation in {INVITED, MEMBER}

    def is_adding(self, person: bytes) -> bool:
        """Whether a change is under way that adds somebody: they may have heard of it before this user does."""
        return bool(self.record.flying) and changes.read_own(self.record.flying).adds(person)

    @property
    def is_full(self) -> bool:
        """Whether no more changes are taken up until this user has accepted: somebody can make them without end."""
        return self.record.relation == INVITED and len(self.chain.steps) >= KEPT_INVITED

    def judge(self, encoded: bytes) -> Judged:
        """What comes of a change that has arrived."""
        judged = self.chain.judge(encoded)
        is_beyond = judged.verdict is Verdict.APPLIED and self.is_full
        return Judged(Verdict.BEHIND, self.chain) if is_beyond else judged

    @property
    def lacks_picture(self) -> bool:
        """Whether it has a picture which is not here."""
        return bool(self.state.picture) and not self.record.picture

    def with_record(self, **changed: object) -> "Group":
        """The same with other fields of its record."""
        return replaced(self, record=replace(self.record, **changed))

    def with_wishes(self, wishes: Sequence[bytes], asked: Sequence[bytes] | None = None) -> "Group":
        """The same with other wishes; ``asked``: those that others have asked for, as before if it is None."""
        asked = self.record.asked if asked is None else asked
        return self.with_record(wishes=list(wishes), asked=[one for one in asked if one in wishes])

    @property
    def own_wishes(self) -> list[bytes]:
        """Those of its wishes that are this user's own."""
        return [wish for wish in self.record.wishes if wish not in self.record.asked]


class Fellows:
    """Everybody who is in a group with this user, as a container of user ids."""

    def __init__(self, groups: dict[str, Group]) -> None:
        self._groups = groups

    def __contains__(self, user_id: object) -> bool:
        if not isinstance(user_id, str) or not self._groups:
            return False
        person = raw_of(user_id)
        return any(group.record.relation == MEMBER and person in group.state.members for group in self._groups.values())


class Follower(Protocol):
    """Whoever stores something along with a group: one's other devices are to learn of it."""

    def group_changed(self, tx: Transaction, before: GroupRecord | None, after: GroupRecord | None) -> None:
        """A group is stored, as it was and as it is; or erased."""


class GroupStore:
    """All groups of a profile.

    Args:
        vault: holds them.
        devices: knows whose a device is; None: each is a person.
    """

    def __init__(self, vault: Vault, devices: DeviceBook | None = None) -> None:
        self._vault = vault
        self._devices = devices
        self.joins = Joins(vault)
        self._groups: dict[str, Group] = {}
        self._conversations: dict[str, str] = {}
        """Groups by the conversation ids of their messages."""
        for _, record in vault.all(records.GROUP, GroupRecord):
            self._set(self._loaded(record))
        self._tokens = {one.token: one for _, one in vault.all(records.GROUP_LINK, GroupTokenRecord)}
        self._waiting = {name: vault.count(group_inbox(one.record.number)) for name, one in self._groups.items()}
        """How many texts of each group were not handled yet: counted once, and kept in step."""
        self._told: dict[str, dict[str, GroupToldRecord]] = {}
        """Receipts that are to be sent, by group."""
        for _, told in vault.all(records.GROUP_TOLD, GroupToldRecord):
            self._told.setdefault(told.group, {})[_name_of(told)] = told
        self.fellows: Container[str] = Fellows(self._groups)
        """Who is in a group with this user."""
        self.follower: Follower | None = None
        self._holding = Holding(vault, devices)
        self._early = Early(vault, self._holding)
        """Texts in groups to which this user is only invited."""
        self.past = GroupPast(vault)
        """What was said before this device was linked."""

    def _loaded(self, record: GroupRecord) -> Group:
        group = written(record.group)
        steps: list[Step] = []
        for revision in record.steps:
            found = self._vault.find(records.GROUP_STEP, _step_name(group, revision), GroupStepRecord)
            if found is None:
                steps.clear()  # what is before a hole is of no use
                continue
            before = GroupState.decode(found.before) if found.before else GroupState(group=record.group)
            steps.append(Step(changes.read_own(found.change), before, found.base))
        return Group(record, Chain(GroupState.decode(record.state), record.digest, tuple(steps)))

    def _set(self, group: Group) -> None:
        self._groups[group.id] = group
        self._conversations[written(conversation_of(group.record.group))] = group.id

    # --- groups ---------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._groups)

    def _whose(self, device: str) -> str:
        return device if self._devices is None else self._devices.person_of(device)

    def _is_invited(self, group: str) -> bool:
        found = self._groups.get(group)
        return found is not None and found.record.relation == INVITED

    def all(self) -> list[Group]:
        """All of them, the oldest first."""
        return list(self._groups.values())

    def named(self, who: str) -> list[Group]:
        """Those of a name, and those whose ids begin so: no name takes the place of what is meant as an id."""
        name, begin = normal_name(who), who.strip().removesuffix("…")
        return [
            group
            for group in self.all()
            if (name and normal_name(group.state.name) == name)
            or (len(begin) >= LEAST_OF_ID and group.id.startswith(begin))
        ]

    def get(self, group: str) -> Group | None:
        """One of them, by its id."""
        return self._groups.get(group)

    def any_of_conversation(self, conversation_id: str) -> Group | None:
        """The group whose messages have this conversation id, whatever it is to this user."""
        return self._groups.get(self._conversations.get(conversation_id, ""))

    def is_of_token(self, conversation_id: str) -> bool:
        """Whether messages of this conversation id may ask to be added by a link of this user."""
        return any(conversation_id == written(conversation_of(token)) for token in self._tokens)

    def new_number(self) -> int:
        """The number of the next group."""
        return max((group.record.number for group in self._groups.values()), default=0) + 1

    def put(self, tx: Transaction, group: Group, *, afresh: bool = False) -> Group:
        """Store a group as it is now, with the steps that its chain has gained.

        Args:
            tx: stores it.
            group: as it is now.
            afresh: it was left before and is another one now: nothing of what is known of it stays but texts.
        """
        chain = group.chain.without_steps_before(KEPT_STEPS)
        kept = [step.change.revision for step in chain.steps]
        record = replace(group.record, state=chain.state.encode(), digest=chain.digest, steps=kept)
        before = self._groups.get(group.id)
        had = set() if before is None else set(before.record.steps)
        if afresh:
            self._forget_steps(tx, group.id, had)
            self.drop_held(tx, group.id)
            tx.delete(records.GROUP_COUNTS, group.id)
            had = set()
        for step in chain.steps:
            if step.change.revision not in had:
                state = step.before.encode() if step.before.revision else b""
                stored = GroupStepRecord(change=step.change.encoded, before=state, base=step.base)
                tx.put(records.GROUP_STEP, _step_name(group.id, step.change.revision), stored)
        self._forget_steps(tx, group.id, had - set(kept))
        tx.put(records.GROUP, group.id, record)
        after = Group(record, chain)
        if record.relation != INVITED:
            self._end_invitation(tx, after)
        tx.on_commit(lambda: self._set(after))
        if self.follower is not None:
            self.follower.group_changed(tx, None if before is None else before.record, record)
        return after

    def _end_invitation(self, tx: Transaction, group: Group) -> None:
        """The user has accepted, or never will: nothing that was said since the invitation is shown then."""
        is_declined = group.record.relation != MEMBER and self._is_invited(group.id)
        for held in self.held(group.id) if is_declined else []:
            if held.kind != KEPT:
                self.drop(tx, held)
        if is_declined and group.record.fresh:  # nothing of it is from before
            tx.delete_some(group_inbox(group.record.number), -1)
            tx.delete_some(group_texts(group.record.number), -1)
            tx.delete(records.GROUP_COUNTS, group.id)
            tx.on_commit(lambda: self._waiting.update({group.id: 0}))
        elif group.record.relation != MEMBER:
            for one in self._early.of(group.id):
                self.handled(tx, group.id, one.sender, one.message_id)
                tx.delete(group_texts(group.record.number), records.key(one.sender, one.message_id))
        self._early.drop(tx, group.id)

    @staticmethod
    def _forget_steps(tx: Transaction, group: str, revisions: set[int]) -> None:
        for revision in revisions:
            tx.delete(records.GROUP_STEP, _step_name(group, revision))

    def may_be_invited(self, inviter: str) -> bool:
        """Whether there is room for one more invitation."""
        found = [one.record.inviter for one in self._groups.values() if one.record.relation == INVITED]
        return len(found) < MAX_INVITATIONS and found.count(inviter) < MAX_INVITATIONS_OF_ONE

    def erase(self, tx: Transaction, group: Group) -> None:
        """Forget a group, and all that was said in it."""
        tx.delete(records.GROUP, group.id)
        tx.delete(records.GROUP_COUNTS, group.id)
        self._forget_steps(tx, group.id, set(group.record.steps))
        self.drop_held(tx, group.id)
        self._early.drop(tx, group.id)
        for told in self.told().get(group.id, []):
            self.was_told(tx, told)
        for token in self.tokens_of(group.id):
            self.drop_token(tx, token)
        then = {written(person) for step in group.chain.steps for person in step.before.members}
        for person in then.union(group.people):
            marks.Early.drop(tx, f"{group.id} {person}")
        tx.delete_some(group_inbox(group.record.number), -1)
        tx.delete_some(group_texts(group.record.number), -1)
        self.past.erase(tx, group.id)
        if self.follower is not None:
            self.follower.group_changed(tx, group.record, None)
        tx.on_commit(lambda: self._unset(group.id))

    def _unset(self, group: str) -> None:
        found = self._groups.pop(group, None)
        if found is not None:
            self._conversations.pop(written(conversation_of(found.record.group)), None)
            self._waiting.pop(group, None)

    # --- numbers of texts -------------------------------------------------------------

    def counts(self, group: str) -> GroupCountsRecord:
        """How many texts of whom there were."""
        return self._vault.find(records.GROUP_COUNTS, group, GroupCountsRecord) or GroupCountsRecord()

    def put_counts(self, tx: Transaction, group: str, counts: GroupCountsRecord) -> None:
        """Store them."""
        tx.put(records.GROUP_COUNTS, group, counts)

    # --- texts ------------------------------------------------------------------------

    def put_text(self, tx: Transaction, group: Group, record: GroupTextRecord) -> None:
        """Store a text as it is now."""
        due = None if record.text is None else record.expires_at
        tx.put(group_texts(group.record.number), records.key(record.sender, record.message_id), record, due=due)

    def hand_out(self, tx: Transaction, group: Group, sender: str, message_id: str) -> None:
        """A text waits for the application."""
        kind, name = group_inbox(group.record.number), _text_name(sender, message_id, group.id)
        if not self._vault.has(kind, name):
            tx.on_commit(lambda: self._count(group.id, 1))
        tx.put(kind, name, GroupInboxRecord(group=group.id, sender=sender, message_id=message_id))

    def _count(self, group: str, more: int) -> None:
        self._waiting[group] = self._waiting.get(group, 0) + more

    def text(self, group: Group, sender: str, message_id: str) -> GroupTextRecord | None:
        """A text; ``sender``: '' for an own one."""
        return self._vault.find(group_texts(group.record.number), records.key(sender, message_id), GroupTextRecord)

    def has_text(self, group: Group, text: GroupTextRecord) -> bool:
        """Whether a text is here that has the writer and the id of this one."""
        return self._vault.has(group_texts(group.record.number), records.key(text.sender, text.message_id))

    def has_texts(self, group: Group) -> bool:
        """Whether anything was said that this device has got itself."""
        return self._vault.has_kind(group_texts(group.record.number))

    def texts(self, group: Group) -> Iterator[GroupTextRecord]:
        """What was said that this device has got itself, the newest first."""
        return self._vault.newest(group_texts(group.record.number), GroupTextRecord)

    def all_texts(self, group: Group) -> Iterator[GroupTextRecord]:
        """All that was said, the newest first: what was handed over is older than the rest."""
        yield from self.texts(group)
        yield from self.past.of(group.id)

    def count_texts(self) -> int:
        """How many texts there are that this device has got itself, in all groups."""
        return sum(self._vault.count(group_texts(group.record.number)) for group in self._groups.values())

    def next(
        self, after: int, group: str | None, now: int, *, muted: bool = True
    ) -> tuple[int, Group, GroupTextRecord] | None:
        """The first text behind a position that was not handled, of a group if one is named.

        Args:
            after: the position.
            group: its id, or None for all.
            now: persistent time.
            muted: whether also of groups that are muted.
        """
        named = self._groups.values() if group is None else [found for found in [self._groups.get(group)] if found]
        first = (
            self._next_of(one, after, now)
            for one in named
            if self._waiting.get(one.id) and one.record.relation != INVITED and (muted or not one.record.muted)
        )
        return min((one for one in first if one is not None), key=lambda one: one[0], default=None)

    def _next_of(self, group: Group, after: int, now: int) -> tuple[int, Group, GroupTextRecord] | None:
        for position, marker in self._vault.oldest(group_inbox(group.record.number), GroupInboxRecord, after=after):
            text = self.text(group, marker.sender, marker.message_id)
            if text is not None and text.text is not None and not (text.expires_at and text.expires_at <= now):
                return position, group, text
        return None

    def is_waiting(self, group: str, sender: str, message_id: str) -> bool:
        """Whether a text was not handled yet."""
        found = self._groups.get(group)
        name = _text_name(sender, message_id, group)
        return found is not None and self._vault.has(group_inbox(found.record.number), name)

    def waiting(self, group: str) -> int:
        """How many texts of a group were not handled yet."""
        return self._waiting.get(group, 0)

    def handled(self, tx: Transaction, group: str, sender: str, message_id: str) -> None:
        """A text is not handed out again."""
        if self.is_waiting(group, sender, message_id):
            kind = group_inbox(self._groups[group].record.number)
            tx.delete(kind, _text_name(sender, message_id, group))
            tx.on_commit(lambda: self._count(group, -1))

    def forget_expired(self, tx: Transaction, now: int) -> None:
        """Erase the texts whose time has come, and what is too old to be of use."""
        for group in self._groups.values():
            for record in self._vault.overdue(group_texts(group.record.number), now, GroupTextRecord):
                self.put_text(tx, group, replace(record, text=None))
                self.handled(tx, group.id, record.sender, record.message_id)
        self._holding.forget_overdue(tx, now)
        tx.delete_due(records.GROUP_JOIN, now)
        for token in [one for one in self._tokens.values() if one.until + KEEP_TOKENS_MS <= now]:
            self.drop_token(tx, token)

    # --- receipts ---------------------------------------------------------------------

    def tell(self, tx: Transaction, record: GroupToldRecord) -> None:
        """A sender is to learn what became of a text; in place of what was to be told before."""
        tx.put(records.GROUP_TOLD, _name_of(record), record)
        tx.on_commit(lambda: self._told.setdefault(record.group, {}).__setitem__(_name_of(record), record))

    def told(self) -> dict[str, list[GroupToldRecord]]:
        """What is to be told, by group."""
        return {group: list(found.values()) for group, found in self._told.items() if found}

    def withdraw(self, tx: Transaction, record: GroupToldRecord) -> None:
        """It is not to be told, if that waits."""
        found = self._told.get(record.group, {}).get(_name_of(record))
        if found == record:
            self.was_told(tx, found)

    def was_told(self, tx: Transaction, record: GroupToldRecord) -> None:
        """It is on its way."""
        tx.delete(records.GROUP_TOLD, _name_of(record))
        tx.on_commit(lambda: self._was_told(record))

    def _was_told(self, record: GroupToldRecord) -> None:
        found = self._told.get(record.group, {})
        if found.get(_name_of(record)) is record:  # not what has come in its place meanwhile
            del found[_name_of(record)]

    # --- what came too early ------------------------------------------------------------

    def hold(self, tx: Transaction, record: GroupHeldRecord) -> None:
        """Keep it, if there is room."""
        if self.has_room(record.group, record.sender):
            self._holding.put(tx, record)

    def has_room(self, group: str, sender: str) -> bool:
        """Whether something of this sender would be kept."""
        has_bytes = not self._is_invited(group) or self._early.has_bytes(self._is_invited)
        return has_bytes and self._holding.has_room(group, sender)

    def keep_early(self, tx: Transaction, record: GroupEarlyRecord) -> bool:
        """Whether a text is kept in a group to which this user is only invited, where others write without end."""
        has_room = self._early.has_room(record.sender, record.size, self._is_invited)
        if has_room:
            self._early.note(tx, record)
        return has_room

    def hold_early(self, tx: Transaction, group: Group | None, record: GroupHeldRecord) -> None:
        """Keep a text whose invitation may come later, for others have read theirs before; if there is room.

        Args:
            tx: keeps it.
            group: as it was when this user was in it last; None if it is not known.
            record: the text.
        """
        if group is not None and record.revision <= group.state.revision:
            return
        if self._holding.has_room_early(record.sender, self._is_live):
            self.hold(tx, record)

    def _is_live(self, group: str) -> bool:
        return group in self._groups and self._groups[group].is_live

    def held(self, group: str) -> list[GroupHeldRecord]:
        """What is kept, in the order in which it came."""
        return self._holding.of(group)

    def holds_of_members(self, group: Group) -> bool:
        """Whether something is kept that a member has said."""
        members = group.state.members
        return self._holding.has_said(group.id, lambda device: raw_of(self._whose(device)) in members)

    def drop_held(self, tx: Transaction, group: str) -> None:
        """Keep nothing of it any more."""
        self._holding.drop(tx, group)

    def is_held(self, record: GroupHeldRecord) -> bool:
        """Whether something of this name is kept."""
        return self._holding.has(record)

    def drop(self, tx: Transaction, record: GroupHeldRecord) -> None:
        """Keep this no more."""
        self._holding.drop_one(tx, record)

    # --- links ------------------------------------------------------------------------

    def put_token(self, tx: Transaction, record: GroupTokenRecord) -> None:
        """Store a link's token."""
        tx.put(records.GROUP_LINK, written(record.token), record)
        tx.on_commit(lambda: self._tokens.__setitem__(record.token, record))

    def token(self, token: bytes) -> GroupTokenRecord | None:
        """A token, whether it still serves or not."""
        return self._tokens.get(token)

    def tokens_of(self, group: str) -> list[GroupTokenRecord]:
        """Those of a group."""
        return [one for one in self._tokens.values() if one.group == group]

    def drop_token(self, tx: Transaction, record: GroupTokenRecord) -> None:
        """A token serves no more."""
        tx.delete(records.GROUP_LINK, written(record.token))
        tx.on_commit(lambda: self._drop_token(record.token))

    def _drop_token(self, token: bytes) -> None:
        self._tokens.pop(token, None)

    @staticmethod
    def note_kept(tx: Transaction, sender: str, message_id: str, now: int) -> None:
        """A text is kept: its id is remembered for good, that of one that nobody is shown for a while."""
        tx.put(records.SEEN, records.key(sender, message_id), Seen(now))


def _step_name(group: str, revision: int) -> str:
    return f"{group} {revision}"


def _text_name(sender: str, message_id: str, group: str) -> str:
    return f"{group} {records.key(sender, message_id)}"


def _name_of(told: GroupToldRecord) -> str:
    return _text_name(told.sender, told.message_id, told.group)


def packed_ops(ops: list[changes.Op]) -> bytes:
    """Ops as they are kept in a wish."""
    return msgspec.msgpack.encode(ops)


def unpacked_ops(encoded: bytes) -> list[changes.Op]:
    """Ops of a wish; none, if there can be no change of them."""
    try:
        return msgspec.msgpack.decode(encoded, type=list[changes.Op])
    except msgspec.DecodeError:
        return []
