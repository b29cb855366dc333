"""The rules of groups: one chain whatever admins do at once, and nothing that no admin has signed.

G2: 1,000 schedules of two to four admins who change a group at once (100 in the short form). G3: 10,000 mutations of
changes and 1,000 forks (1,000 and 100).
"""

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import msgspec
import pytest
from group_samples import GROUP, NOW, added, applied, begun, following, id_of, someone

from phantom_messenger import labels
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups.chain import Chain, Standing, Verdict
from phantom_messenger.client.groups.change import (
    MAX_OPS,
    Add,
    Change,
    Close,
    Op,
    RefusedChange,
    Remove,
    SetName,
    SetRights,
    SetRole,
    SetTimer,
)
from phantom_messenger.client.groups.state import MAX_ADMINS, MAX_MEMBERS, GroupState, Role, digits_of, still_to_say
from phantom_messenger.crypto.errors import InvalidMessage
from phantom_messenger.crypto.keys import OwnIdentity, PeerIdentity
from support.amounts import seeds

SCHEDULES: Final = seeds(100, 1_000)
MUTATIONS: Final = seeds(1_000, 10_000)
FORKS: Final = seeds(100, 1_000)
MOST_REFUSALS: Final = 3
"""How many times the relay refuses a change that an admin wants, as others were first: 4 of 6,992 so often."""
PEOPLE: Final = [someone(f"person {number}") for number in range(12)]
BY_ID: Final = {id_of(person): person for person in PEOPLE}
ADA, BEN, CLEO = PEOPLE[:3]


# --- G2: several admins at once ------------------------------------------------------


@dataclass
class Order:
    """What the relay knows of a group's changes. Without ``compares`` it takes whatever comes."""

    compares: bool
    revision: int = 0
    writers: tuple[bytes, ...] = ()

    def takes(self, author: bytes, revision: int, writers: list[bytes]) -> bool:
        """Whether a change is stored for everybody."""
        if self.compares and self.revision and (author not in self.writers or revision <= self.revision):
            return False
        self.revision, self.writers = revision, tuple(writers)
        return True


@dataclass
class Member:
    """A client: what it knows, what waits in its mailbox, and what its user wants."""

    person: OwnIdentity
    chain: Chain | None = None
    mailbox: deque[tuple[bytes, bytes, bytes]] = field(default_factory=deque)
    wishes: deque[Op] = field(default_factory=deque)
    refused: int = 0
    waits_for: int = 0
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def id(self) -> bytes:
        return id_of(self.person)

    def is_member(self) -> bool:
        return self.chain is not None and self.id in self.chain.state.members

    def read(self) -> None:
        """The next item of the mailbox."""
        state, base, change = self.mailbox.popleft()
        if not self.is_member():
            self.chain = Chain.joined(state, base, change)
            return
        assert self.chain is not None
        judged = self.chain.judge(change)
        self.verdicts.append(judged.verdict)
        self.chain = judged.chain


class World:
    """A group of twelve people, some of whom are admins, and a relay."""

    def __init__(self, seed: int, *, compares: bool) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a schedule
        self.order = Order(compares)
        self.members = {id_of(person): Member(person) for person in PEOPLE}
        first = self.members[id_of(ADA)]
        others = [added(person, "admin") for person in PEOPLE[1 : self.random.randint(2, 4)]]
        start = Chain(GroupState(group=GROUP))
        self.publish(first, start, following(start, ADA, [added(ADA, "admin"), *others, added(PEOPLE[5])]))
        for member in self.members.values():
            while member.mailbox:
                member.read()
        self.refusals: list[int] = []

    def publish(self, author: Member, before: Chain, change: Change) -> bool:
        """Send a change, as MESSAGE_MANY does: to everybody in one transaction, or to nobody."""
        after = applied(before, change)
        if not self.order.takes(author.id, change.revision, after.state.admins):
            return False
        state = before.state.encode() if before.state.revision else b""
        for person in before.state.members | after.state.members:
            if person != author.id:
                self.members[person].mailbox.append((state, before.digest, change.encoded))
        author.chain = self.last = after
        return True

    def wish(self, member: Member) -> None:
        person = self.random.choice(PEOPLE)
        role = self.random.choice(["member", "admin"])
        ops: list[Op] = [
            Add(person=id_of(person), role=role),
            Remove(person=id_of(person)),
            SetRole(person=id_of(person), role=role),
            SetName(text=f"name {self.random.randrange(1_000)}"),
            SetTimer(ms=self.random.randrange(1_000)),
        ]
        member.wishes.append(self.random.choice(ops))

    def act(self, member: Member) -> None:
        """An admin's client does what its user wants, by what it knows; once refused, it reads first what is there."""
        if not member.is_member() or not member.wishes:
            return
        chain = member.chain
        assert chain is not None
        if chain.state.members[member.id] is not Role.ADMIN:
            member.wishes.clear()
            return
        if chain.state.revision < member.waits_for:
            return
        wish = member.wishes[0]
        ops = still_to_say([wish], chain.state)
        try:
            change = following(chain, member.person, ops, revision=chain.state.revision + 1)
            chain.state.after(change)
        except RefusedChange:
            assert says_nothing(wish, chain.state), wish
            self.settled(member)
            return
        if self.publish(member, chain, change):
            assert says_nothing(wish, self.last.state), wish
            self.settled(member)
        else:
            member.refused += 1
            member.waits_for = self.order.revision

    def settled(self, member: Member) -> None:
        """What was wished for is so, or cannot be any more."""
        member.wishes.popleft()
        self.refusals.append(member.refused)
        member.refused = 0

    def run(self) -> None:
        """Everybody in any order, then until all is read."""
        for _ in range(120):
            member = self.random.choice([*self.members.values()])
            match self.random.randrange(4):
                case 0 if member.mailbox:
                    member.read()
                case 1 if member.is_member():
                    self.wish(member)
                case _:
                    self.act(member)
        while any(member.mailbox or (member.wishes and member.is_member()) for member in self.members.values()):
            for member in self.members.values():
                while member.mailbox:
                    member.read()
                self.act(member)

    def heads(self) -> set[bytes]:
        return {member.chain.head for member in self.members.values() if member.chain and member.is_member()}

    def verdicts(self) -> set[Verdict]:
        return {verdict for member in self.members.values() for verdict in member.verdicts}


def says_nothing(wish: Op, state: GroupState) -> bool:
    """Whether a wish is what a state is already, or cannot be in it."""
    match wish:
        case Add(person=person):
            return person in state.members or len(state.members) == MAX_MEMBERS
        case Remove(person=person):
            return person not in state.members or state.admins == [person]
        case SetRole(person=person, role=role):
            is_so = person in state.members and (state.members[person] is Role.ADMIN) == (role == "admin")
            return is_so or person not in state.members or state.admins == [person]
        case SetName(text=text):
            return state.name == text
        case SetTimer(ms=ms):
            return state.timer == ms
        case _:
            return False


def test_admins_at_once_make_one_chain_with_one_head() -> None:
    refusals: list[int] = []
    for seed in range(SCHEDULES):
        world = World(seed, compares=True)
        world.run()
        assert len(world.heads()) == 1, seed
        assert world.verdicts() <= {Verdict.APPLIED}, seed
        last = next(member.chain for member in world.members.values() if member.chain and member.is_member())
        assert {person for person, one in world.members.items() if one.is_member()} == set(last.state.members), seed
        refusals += world.refusals
    assert sum(refusals) > SCHEDULES / 2  # they were in each other's way
    assert max(refusals) <= MOST_REFUSALS


def divides(seed: int) -> bool:
    """Whether a group falls apart at a relay that takes whatever comes."""
    world = World(seed, compares=False)
    try:
        world.run()
    except InvalidMessage:
        return True  # somebody was invited to what others do not know
    return len(world.heads()) > 1 or Verdict.FORK in world.verdicts()


def test_control_without_the_relays_order_groups_fall_apart() -> None:
    tried = range(min(SCHEDULES, 50))
    assert sum(divides(seed) for seed in tried) > len(tried) / 2


# --- G3: what nobody has signed ------------------------------------------------------


def start() -> Chain:
    """Two admins and a member."""
    return begun(ADA, added(BEN, "admin"), added(CLEO), SetName(text="Tea"))


def mutated(encoded: bytes, chance: random.Random) -> bytes:
    """The same bytes with a change somewhere."""
    at = chance.randrange(len(encoded))
    match chance.randrange(5):
        case 0:
            return encoded[:at] + bytes((encoded[at] ^ 1 << chance.randrange(8),)) + encoded[at + 1 :]
        case 1:
            return encoded[:at] + encoded[at + 1 :]
        case 2:
            return encoded[:at] + chance.randbytes(1) + encoded[at:]
        case 3:
            return encoded[:at]
        case _:
            other = chance.randrange(len(encoded))
            return encoded[: min(at, other)] + encoded[max(at, other) :] + encoded[min(at, other) : max(at, other)]


def judged_after_mutations() -> list[Verdict]:
    """What comes of changes that an admin has signed, and somebody else has altered."""
    chance = random.Random(1)  # noqa: S311 - a schedule
    chain = start()
    good = [
        following(chain, BEN, [SetName(text="Two"), added(PEOPLE[4])]).encoded,
        following(chain, ADA, [Remove(person=id_of(CLEO))]).encoded,
        following(chain, ADA, [SetRole(person=id_of(CLEO), role="admin"), SetTimer(ms=1_000)]).encoded,
    ]
    found: list[Verdict] = []
    while len(found) < MUTATIONS:
        encoded = chance.choice(good)
        changed = mutated(encoded, chance)
        if changed == encoded:
            continue
        judged = chain.judge(changed)
        assert (judged.chain == chain) == (judged.verdict is not Verdict.APPLIED)
        found.append(judged.verdict)
    return found


def test_mutated_changes_do_nothing() -> None:
    assert set(judged_after_mutations()) == {Verdict.SKIPPED}


def test_control_without_signatures_mutated_changes_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeerIdentity, "verify", lambda *_: None)
    assert Verdict.APPLIED in judged_after_mutations()


def test_control_the_changes_themselves_apply() -> None:
    chain = start()
    assert chain.judge(following(chain, BEN, [SetName(text="Two")]).encoded).verdict is Verdict.APPLIED


def test_forks_are_noticed_with_the_first_message_and_the_first_change() -> None:
    for seed in range(FORKS):
        chance = random.Random(seed)  # noqa: S311 - a schedule
        common = start()
        for number in range(chance.randrange(4)):
            common = applied(common, following(common, chance.choice([ADA, BEN]), [SetName(text=f"{number}")]))
        one = applied(common, following(common, ADA, [SetTimer(ms=1 + seed)]))
        other = applied(common, following(common, BEN, [added(PEOPLE[4 + seed % 8])]))
        for _ in range(chance.randrange(3)):
            one = applied(one, following(one, ADA, [SetTimer(ms=1_000_000 + one.state.revision)]))
        is_far = one.state.revision >= other.state.revision
        mine, theirs = (one, other) if is_far else (other, one)
        assert mine.compare(theirs.state.revision, theirs.head) is Standing.FORK
        judged = mine.judge(theirs.steps[-1].change.encoded)
        assert (judged.verdict, judged.chain) == (Verdict.FORK, mine)


def test_nobody_signs_for_somebody_else() -> None:
    chain = start()
    change = following(chain, CLEO, [SetName(text="Cleo's")])
    fields = msgspec.msgpack.decode(change.encoded[:-64])
    fields |= {"author": id_of(ADA), "authorKey": ADA.peer.public}
    signed = msgspec.msgpack.encode(fields)
    for author in (CLEO, PEOPLE[7]):
        judged = chain.judge(signed + author.sign(labels.GROUP_CHANGE + signed))
        assert (judged.verdict, judged.code) == (Verdict.SKIPPED, "signature")


def test_a_removed_admin_changes_nothing_even_with_the_last_head() -> None:
    chain = start()
    chain = applied(chain, following(chain, ADA, [Remove(person=id_of(BEN))]))
    judged = chain.judge(following(chain, BEN, [added(BEN, "admin")]).encoded)
    assert (judged.verdict, judged.code) == (Verdict.SKIPPED, "author")


# --- heads ---------------------------------------------------------------------------


def test_newcomer_who_is_told_another_state_has_another_head() -> None:
    chain = start()
    change = following(chain, ADA, [added(PEOPLE[5])])
    after = applied(chain, change)
    honest = Chain.joined(chain.state.encode(), chain.digest, change.encoded)
    assert honest.compare(after.state.revision, after.head) is Standing.SAME
    assert honest.head == after.head
    lied = msgspec.structs.replace(chain.state, name="Coffee")
    with pytest.raises(RefusedChange):
        Chain.joined(lied.encode(), chain.digest, change.encoded)
    false = following(Chain(lied, chain.digest), ADA, [added(PEOPLE[5])])
    fooled = Chain.joined(lied.encode(), chain.digest, false.encoded)
    assert fooled.compare(after.state.revision, after.head) is Standing.FORK
    assert digits_of(fooled.head) != digits_of(after.head)


def test_digits_are_four_groups_of_five() -> None:
    groups = digits_of(start().head).split(" ")
    assert [len(group) for group in groups] == [5] * 4
    assert all(group.isdecimal() for group in groups)


def test_old_steps_are_forgotten_and_what_is_older_is_not_judged() -> None:
    chain = start()
    second = following(chain, ADA, [SetName(text="2")])
    chain = applied(chain, second)
    old_head = chain.head
    for number in range(3, 9):
        chain = applied(chain, following(chain, ADA, [SetName(text=f"{number}")]))
    short = chain.without_steps_before(3)
    assert [step.change.revision for step in short.steps] == [6, 7, 8]
    assert chain.compare(2, old_head) is Standing.OLDER
    assert short.compare(2, old_head) is Standing.UNKNOWN
    assert short.judge(second.encoded).verdict is Verdict.STALE
    assert chain.judge(second.encoded).verdict is Verdict.KNOWN
    assert short.without_steps_before(5) == short


def test_changes_since_are_those_that_a_member_lacks() -> None:
    chain = start()
    first = chain
    for number in range(2, 7):
        chain = applied(chain, following(chain, ADA, [SetName(text=f"{number}")]))
    found = chain.since(1, most=30_000)
    assert first.judge_all(found).chain.head == chain.head
    assert chain.since(4, most=30_000) == found[3:]
    assert chain.since(1, most=sum(map(len, found[:2]))) == found[:2]
    assert chain.judge_all(found).verdict is Verdict.KNOWN


# --- state ---------------------------------------------------------------------------


def test_rights_say_who_may_write_and_invite() -> None:
    chain = start()
    cleo, stranger = id_of(CLEO), id_of(PEOPLE[9])
    assert (chain.state.may_write(cleo), chain.state.may_invite(cleo)) == (True, False)
    chain = applied(chain, following(chain, ADA, [SetRights(invite="member", write="admin")]))
    assert (chain.state.may_write(cleo), chain.state.may_invite(cleo)) == (False, True)
    assert (chain.state.may_write(stranger), chain.state.may_invite(stranger)) == (False, False)
    chain = applied(chain, following(chain, ADA, [Close()]))
    assert not chain.state.may_write(id_of(ADA))


def test_what_others_have_done_is_not_said_again() -> None:
    state = start().state
    ben, cleo, dan = id_of(BEN), id_of(CLEO), id_of(PEOPLE[3])
    said: list[Op] = [
        Add(person=cleo, role="member"),
        Remove(person=dan),
        SetRole(person=ben, role="admin"),
        SetRole(person=dan, role="admin"),
        SetName(text="Tea"),
        SetTimer(ms=0),
        SetRights(invite="admin", write="member"),
    ]
    assert still_to_say(said, state) == []
    unsaid: list[Op] = [
        Add(person=dan, role="member"),
        Remove(person=cleo),
        SetRole(person=cleo, role="admin"),
        SetName(text="Coffee"),
        SetTimer(ms=1),
        SetRights(invite="member", write="member"),
        Close(),
    ]
    assert still_to_say(unsaid, state) == unsaid


def test_largest_state_and_change_fit_their_bounds() -> None:
    added = [Add(person=bytes((number,)) * 32, role="member") for number in range(1, MAX_MEMBERS)]
    chain = begun(ADA, *added[: MAX_OPS - 1])
    change = following(chain, ADA, [*added[MAX_OPS - 1 :], SetName(text="é" * 64)])
    chain = applied(chain, change)
    assert len(chain.state.members) == MAX_MEMBERS
    assert len(chain.state.encode()) <= 3_500
    assert GroupState.decode(chain.state.encode()) == chain.state
    with pytest.raises(RefusedChange, match="form"):
        following(chain, ADA, [])
    with pytest.raises(RefusedChange, match="bounds"):
        chain.state.after(following(chain, ADA, [Add(person=bytes(32), role="member")]))
    promoted = [SetRole(person=op.person, role="admin") for op in added[:MAX_ADMINS]]
    with pytest.raises(RefusedChange, match="bounds"):
        chain.state.after(following(chain, ADA, promoted))


def test_values_do_not_print_who_is_in_a_group() -> None:
    chain = start()
    assert repr(chain.state) == "GroupState(revision=1, members=3)"


def test_what_cannot_be_written_is_refused_by_its_writer() -> None:
    chain = start()
    with pytest.raises(RefusedChange, match="form"):
        following(chain, ADA, [SetName(text="é" * 65)])
    with pytest.raises(RefusedChange, match="form"):
        changes.write(ADA, group=GROUP, revision=0, previous=chain.head, at=NOW, ops=[Close()])
