"""Makes the vectors of groups: chains of changes, and what must be refused."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from maker_base import NOW, Json, drawn, file_of, flipped, named

from phantom_messenger import labels
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups.chain import Chain, Verdict
from phantom_messenger.client.groups.change import (
    NONE,
    Add,
    Change,
    Close,
    Op,
    Remove,
    SetName,
    SetPicture,
    SetRights,
    SetRole,
    SetTimer,
)
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.state import (
    MAX_ADMINS,
    MAX_AHEAD,
    MAX_MEMBERS,
    GroupState,
    conversation_of,
    digits_of,
    order_of,
)
from phantom_messenger.client.ids import written_id
from phantom_messenger.crypto.errors import InvalidMessage
from phantom_messenger.crypto.keys import OwnIdentity

NAMES: Final = ("ada", "ben", "cleo", "dan", "eve")
PEOPLE: Final = {name: OwnIdentity(drawn(f"groups/{name}", 32)) for name in NAMES}
IDS: Final = {name: identity.peer.user_id for name, identity in PEOPLE.items()}
pack: Final = msgspec.msgpack.encode


def group_of(name: str) -> bytes:
    """The group of a case."""
    return drawn(f"groups/group/{name}", 32)


def add(name: str, role: str = "member") -> Add:
    """Somebody is added."""
    return Add(person=IDS[name], role=role)


def many_members(count: int, role: str = "member") -> list[Op]:
    """People who do nothing but be there."""
    return [Add(person=drawn(f"groups/crowd/{number}", 32), role=role) for number in range(count)]


@dataclass
class Story:
    """A chain as it grows, and what is told of it."""

    name: str
    description: str
    chain: Chain = field(init=False)
    steps: list[Json] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chain = Chain(GroupState(group=group_of(self.name)))

    def change(self, author: str, ops: Sequence[Op], **given: Any) -> Change:
        """A change that follows what is there, or as ``given`` says."""
        fields = {
            "group": self.chain.state.group,
            "revision": self.chain.state.revision + 1,
            "previous": self.chain.head,
            "at": NOW + 1_000 * len(self.steps),
        }
        return changes.write(PEOPLE[author], ops=ops, **{**fields, **given})

    def judge(self, encoded: bytes, expected: Verdict, *, by: str | None = None, note: str = "") -> None:
        """The next change that arrives; ``by``: who has written it, if it can be written anew from its fields."""
        judged = self.chain.judge(encoded)
        if judged.verdict is not expected:
            raise ValueError(f"{self.name}: {judged.verdict} ({judged.code})")
        self.chain = judged.chain
        expect: Json = {"verdict": judged.verdict.value, "code": judged.code}
        if judged.verdict is Verdict.APPLIED:
            expect |= {"state": self.chain.state.encode().hex(), "head": self.chain.head.hex()}
        step: Json = {"note": note, "change": encoded.hex(), "expect": expect}
        self.steps.append({**step, **({} if by is None else {"author": by})})

    def write(self, author: str, *ops: Op, expected: Verdict = Verdict.APPLIED, note: str = "", **given: Any) -> Change:
        """Write a change and judge it."""
        made = self.change(author, ops, **given)
        self.judge(made.encoded, expected, by=author, note=note)
        return made

    def begin(self, *others: Op) -> "Story":
        """Ada creates the group."""
        self.write("ada", add("ada", "admin"), SetName(text="Tea"), *others, note="Ada creates the group")
        return self

    def told(self) -> Json:
        """The whole case."""
        return {
            "name": self.name,
            "description": self.description,
            "group": self.chain.state.group.hex(),
            "steps": self.steps,
        }


def picture(name: str, size: int = 60) -> bytes:
    """What passes for a picture: nobody decodes it."""
    return b"\x89PNG\r\n\x1a\n" + drawn(f"groups/picture/{name}", size - 8)


# --- chains -----------------------------------------------------------------------


def _members() -> list[Story]:
    life = Story("life", "a group from its first change to its last").begin(add("ben"), add("cleo", "admin"))
    life.write("cleo", add("dan"), SetTimer(ms=86_400_000), note="Cleo adds Dan, texts expire after a day")
    life.write("ada", SetRole(person=IDS["ben"], role="admin"), note="Ben becomes an admin")
    life.write("ben", Remove(person=IDS["ada"]), note="Ben removes Ada")
    life.write("cleo", SetRights(invite="member", write="admin"), SetName(text="Coffee ☕"), note="rights and a name")
    life.write("cleo", Close(), note="the end")
    life.write("ben", SetName(text="more"), expected=Verdict.SKIPPED, note="closed is closed")
    life.write("ben", SetName(text="more"), expected=Verdict.SKIPPED, revision=9, previous=NONE, note="and stays so")
    alone = Story("alone", "one person, who cannot leave without closing").begin()
    alone.write("ada", Remove(person=IDS["ada"]), expected=Verdict.SKIPPED, note="no admin would be left")
    alone.write("ada", Close(), note="this works")
    self_removed = Story("leaves", "an admin removes themselves while there is another one").begin(add("ben", "admin"))
    self_removed.write("ada", Remove(person=IDS["ada"]))
    self_removed.write("ada", SetName(text="x"), expected=Verdict.SKIPPED, note="she is no admin any more")
    self_removed.write("ben", add("ada"), note="Ben adds her again")
    return [life, alone, self_removed]


def _pictures() -> list[Story]:
    shown = Story("picture", "a group gets a picture, another one, and none").begin(add("ben", "admin"))
    png, jpeg = picture("png"), b"\xff\xd8\xff" + drawn("groups/picture/jpeg", 9)
    shown.write("ada", SetPicture(data=png), note="a PNG")
    shown.write("ben", SetPicture(data=jpeg), SetName(text="Coffee"), note="a JPEG as small as may be, and a name")
    shown.write("ada", add("cleo"), note="the picture stays")
    webp = b"RIFF" + drawn("groups/picture/length", 4) + b"WEBP" + drawn("groups/picture/webp", 4_084)
    shown.write("ada", SetPicture(data=webp), note="a WebP as large as may be")
    shown.write("ada", SetPicture(data=b""), note="none any more")
    shown.write("ada", SetPicture(data=b""), note="and still none")
    member = Story("picture-by-a-member", "a member signs a picture").begin(add("ben"))
    member.write("ben", SetPicture(data=png), expected=Verdict.SKIPPED)
    return [shown, member]


def _authors() -> list[Story]:
    member = Story("member-may-not", "a member signs what only admins may").begin(add("ben"))
    for op in (SetName(text="Ben's"), add("cleo"), Remove(person=IDS["ada"]), Close()):
        member.write("ben", op, expected=Verdict.SKIPPED)
    outsider = Story("outsider-may-not", "somebody who is no member signs a change").begin()
    outsider.write("eve", add("eve", "admin"), expected=Verdict.SKIPPED)
    demoted = Story("demoted", "an admin who was made a member is none any more").begin(add("ben", "admin"))
    demoted.write("ada", SetRole(person=IDS["ben"], role="member"))
    demoted.write("ben", SetRole(person=IDS["ben"], role="admin"), expected=Verdict.SKIPPED)
    down = Story("steps-down", "an admin gives their role back").begin(add("ben", "admin"))
    down.write("ben", SetRole(person=IDS["ben"], role="member"))
    first = Story("first-needs-its-author", "a first change that does not make its author an admin")
    first.write("ada", add("ada"), add("ben", "admin"), expected=Verdict.SKIPPED)
    first.write("ada", add("ben", "admin"), expected=Verdict.SKIPPED)
    first.write("ada", SetName(text="x"), expected=Verdict.SKIPPED)
    first.begin()
    return [member, outsider, demoted, down, first]


def _places() -> list[Story]:
    gap = Story("skipped", "garbage has a revision; the next change leaves it out").begin()
    gap.judge(drawn("groups/garbage", 100), Verdict.SKIPPED, note="random bytes")
    gap.write("ada", SetName(text="Three"), revision=3, note="it names the head of revision 1")
    gap.write("ada", SetName(text="Far"), revision=3 + MAX_AHEAD, note="as far as it may")
    gap.write("ada", SetName(text="x"), revision=4 + 2 * MAX_AHEAD, expected=Verdict.SKIPPED, note="too far")
    again = Story("repeated", "what is known is known, however often it comes").begin(add("ben", "admin"))
    made = again.write("ben", SetName(text="Two"))
    again.write("ada", SetName(text="Three"))
    for change in (made, made):
        again.judge(change.encoded, Verdict.KNOWN)
    behind = Story("behind", "changes come in another order").begin(add("ben", "admin"))
    ahead = Story("behind", "").begin(add("ben", "admin"))
    second = ahead.write("ben", SetName(text="Two"))
    third = ahead.write("ada", SetName(text="Three"))
    behind.judge(third.encoded, Verdict.BEHIND, by="ada")
    behind.judge(second.encoded, Verdict.APPLIED, by="ben")
    behind.judge(third.encoded, Verdict.APPLIED, by="ada")
    old = Story("old-head", "a change that follows a head which others have followed").begin(add("ben", "admin"))
    head = old.chain.head
    old.write("ben", SetName(text="Two"))
    old.write("ada", SetName(text="x"), previous=head, expected=Verdict.FORK)
    old.write("ada", SetName(text="x"), previous=head, revision=7, expected=Verdict.FORK)
    old.write("ada", SetName(text="x"), previous=head, revision=2 + MAX_AHEAD, expected=Verdict.SKIPPED, note="too far")
    old.write("eve", SetName(text="x"), previous=head, expected=Verdict.SKIPPED, note="by no admin of then")
    other = Story("other-group", "a change of another group").begin()
    other.write("ada", SetName(text="x"), group=group_of("elsewhere"), expected=Verdict.SKIPPED)
    return [gap, again, behind, old, other]


def _forks() -> list[Story]:
    both = Story("fork", "two admins sign in one place: the first that came stays").begin(add("ben", "admin"))
    rival = both.change("ben", [SetName(text="Ben's")])
    both.write("ada", SetName(text="Ada's"))
    both.judge(rival.encoded, Verdict.FORK, by="ben")
    both.write("ada", SetName(text="goes on"), note="our head is followed again")
    both.judge(rival.encoded, Verdict.FORK, by="ben", note="it divides the group later, too")
    elsewhere = Story("fork-ahead", "the next change follows a head that is not known").begin(add("ben", "admin"))
    elsewhere.write("ben", SetName(text="x"), previous=drawn("groups/other head", 32), expected=Verdict.FORK)
    no_fork = Story("no-fork", "rivals that nobody would have taken up divide nothing").begin(add("ben"))
    member = no_fork.change("ben", [SetName(text="x")])
    twice = no_fork.change("ada", [add("ben")])
    wrong = no_fork.change("ada", [SetName(text="x")], previous=drawn("groups/other head", 32))
    no_fork.write("ada", SetName(text="Two"))
    for change in (member, twice, wrong):
        no_fork.judge(change.encoded, Verdict.SKIPPED)
    hole = Story("fork-in-a-hole", "a rival for a revision that was left out").begin(add("ben", "admin"))
    rival = hole.change("ben", [SetName(text="x")], revision=2)
    hole.write("ada", SetName(text="Three"), revision=3)
    hole.judge(rival.encoded, Verdict.FORK, by="ben")
    over = Story("fork-over-others", "a rival that leaves out the revisions of those who went on").begin(
        add("ben", "admin")
    )
    rivals = [over.change("ben", [SetName(text=f"at {number}")], revision=number) for number in (3, 5, 40)]
    twice = over.change("ben", [add("ben")], revision=41)
    over.write("ada", SetName(text="Two"))
    for change in rivals:
        over.judge(change.encoded, Verdict.FORK, by="ben", note="the next one, or any behind it")
    over.judge(twice.encoded, Verdict.SKIPPED, by="ben", note="nobody would have taken it up")
    over.write("ada", Remove(person=IDS["ben"]), revision=4, note="our head is followed again")
    for change in rivals:
        over.judge(change.encoded, Verdict.FORK, by="ben", note="its author was an admin there")
    over.write("ada", Close(), revision=6)
    over.judge(rivals[1].encoded, Verdict.FORK, by="ben", note="it might have been taken up before the end")
    over.judge(rivals[2].encoded, Verdict.SKIPPED, by="ben", note="a closed group takes up nothing")
    return [both, elsewhere, no_fork, hole, over]


def _versions() -> list[Story]:
    newer = Story("newer", "a change of a later version, by an admin").begin(add("ben"))
    newer.judge(_signed("ada", newer, {"version": 2, "ops": [], "more": 1}), Verdict.NEWER)
    newer.judge(_signed("ben", newer, {"version": 2, "ops": []}), Verdict.SKIPPED, note="by a member")
    return [newer]


def _bounds() -> list[Story]:
    full = Story("full", "as many members as there can be").begin(*many_members(40))
    full.write("ada", *many_members(MAX_MEMBERS - 1)[40:])
    full.write("ada", add("ben"), expected=Verdict.SKIPPED, note="one more")
    full.write("ada", add("ben"), Remove(person=drawn("groups/crowd/0", 32)), note="one for another")
    admins = Story("admins", "as many admins as there can be").begin(*many_members(MAX_ADMINS - 1, "admin"))
    admins.write("ada", add("ben", "admin"), expected=Verdict.SKIPPED, note="one more")
    return [full, admins]


def _signed(author: str, story: Story, fields: Json) -> bytes:
    """A change of these fields, signed as it is."""
    state = story.chain.state
    given = {
        "version": 1,
        "group": state.group,
        "revision": state.revision + 1,
        "previous": story.chain.head,
        "at": NOW,
        "author": IDS[author],
        "authorKey": PEOPLE[author].peer.public,
        "ops": [{"op": "close"}],
        **fields,
    }
    signed = pack({name: value for name, value in given.items() if value is not None})
    return signed + PEOPLE[author].sign(labels.GROUP_CHANGE + signed)


# --- refused ----------------------------------------------------------------------


def _refused() -> list[Json]:
    story = Story("refused", "").begin(add("ben"))
    good = story.change("ada", [SetName(text="Two")]).encoded
    ben = IDS["ben"]

    def with_ops(*ops: Json) -> bytes:
        return _signed("ada", story, {"ops": list(ops)})

    def with_field(**fields: Any) -> bytes:
        return _signed("ada", story, {name.replace("_key", "Key"): value for name, value in fields.items()})

    signed = good[:-64]
    a_float = pack(1.5)
    cases: dict[str, tuple[str, bytes]] = {
        "empty": ("nothing", b""),
        "signature-alone": ("64 bytes", good[-64:]),
        "too-long": ("8,193 bytes", _signed("ada", story, {"ops": [{"op": "name", "text": "x" * 7_950}]})),
        "no-map": ("an array", _resigned("ada", pack([1]))),
        "behind-the-map": ("a byte behind the map", _resigned("ada", signed + b"\xc0")),
        "cut": ("the map is cut short", _resigned("ada", signed[:-1])),
        "twice": ("a field twice", _resigned("ada", bytes((signed[0] + 1,)) + signed[1:] + b"\xa7version\x01")),
        "float": ("a float", _resigned("ada", bytes((signed[0] + 1,)) + signed[1:] + b"\xa1x" + a_float)),
        "unknown-field": ("a field that is not listed", with_field(more=1)),
        "unknown-op": ("an op that is not listed", with_ops({"op": "song"})),
        "unknown-role": ("a role that is not listed", with_ops({"op": "role", "person": ben, "role": "owner"})),
        "op-with-more": ("an op with a field that is not listed", with_ops({"op": "close", "why": "x"})),
        "op-with-less": ("an op that lacks a field", with_ops({"op": "add", "person": ben})),
        "no-ops": ("no op at all", with_field(ops=[])),
        "many-ops": ("65 ops", with_ops(*[{"op": "close"}] * 65)),
        "empty-name": ("an empty name", with_ops({"op": "name", "text": ""})),
        "long-name": ("a name of 129 bytes", with_ops({"op": "name", "text": "x" * 127 + "é"})),
        "long-timer": ("a timer of more than a year", with_ops({"op": "timer", "ms": 31_536_000_001})),
        "negative-timer": ("a timer below 0", with_ops({"op": "timer", "ms": -1})),
        "half-rights": ("rights that name one of the two", with_ops({"op": "rights", "invite": "admin"})),
        "long-picture": ("a picture of 4,097 bytes", with_ops({"op": "picture", "data": picture("long", 4_097)})),
        "short-picture": ("a picture of 11 bytes", with_ops({"op": "picture", "data": picture("short", 11)})),
        "gif": ("a picture of another kind", with_ops({"op": "picture", "data": b"GIF89a" + bytes(20)})),
        "svg": ("a picture that is a text", with_ops({"op": "picture", "data": b"<svg xmlns='http://www.w3.org/'/>"})),
        "almost-webp": ("a sound", with_ops({"op": "picture", "data": b"RIFF\x20\x00\x00\x00WAVEfmt " + bytes(16)})),
        "text-as-picture": ("a picture in base64", with_ops({"op": "picture", "data": "iVBORw0KGgoAAAANSUhEUg=="})),
        "short-person": ("a person of 31 bytes", with_ops({"op": "remove", "person": ben[1:]})),
        "text-as-person": ("a person in base64", with_ops({"op": "remove", "person": "A" * 44})),
        "revision-0": ("revision 0", with_field(revision=0)),
        "revision-true": ("a revision that is true", with_field(revision=True)),
        "revision-large": ("revision 2^32", with_field(revision=2**32)),
        "version-0": ("version 0", with_field(version=0)),
        "no-time": ("no time", with_field(at=None)),
        "late": ("a time after the last one", with_field(at=253_370_764_800_001)),
        "short-previous": ("a head of 31 bytes", with_field(previous=bytes(31))),
        "other-key": ("the key of somebody else", with_field(author_key=PEOPLE["ben"].peer.public)),
        "other-author": ("the id of somebody else", with_field(author=ben)),
        "other-signature": ("signed by somebody else", signed + PEOPLE["ben"].sign(labels.GROUP_CHANGE + signed)),
        "other-label": ("signed under another label", signed + PEOPLE["ada"].sign(labels.ENVELOPE + signed)),
        "flipped": ("one bit of what is signed", flipped(good, signed.index(b"Two"))),
        "large-s": ("the signature's S with L added", _with_large_s(good)),
        "added-twice": ("a member is added", with_ops({"op": "add", "person": ben, "role": "admin"})),
        "not-there": ("somebody is removed who is not there", with_ops({"op": "remove", "person": IDS["dan"]})),
        "no-role": (
            "a role for somebody who is not there",
            with_ops({"op": "role", "person": IDS["dan"], "role": "admin"}),
        ),
        "in-and-out": (
            "somebody is added and removed",
            with_ops({"op": "add", "person": IDS["dan"], "role": "member"}, {"op": "remove", "person": IDS["dan"]}),
        ),
        "two-names": ("two names", with_ops({"op": "name", "text": "a"}, {"op": "name", "text": "b"})),
        "two-pictures": (
            "two pictures",
            with_ops({"op": "picture", "data": picture("one")}, {"op": "picture", "data": b""}),
        ),
        "two-closes": ("closed twice", with_ops({"op": "close"}, {"op": "close"})),
        "no-admin": ("no admin is left", with_ops({"op": "role", "person": IDS["ada"], "role": "member"})),
    }
    found = []
    for name, (description, encoded) in cases.items():
        judged = story.chain.judge(encoded)
        if judged.verdict is not Verdict.SKIPPED:
            raise ValueError(f"{name}: {judged.verdict}")
        found.append(
            {"name": name, "description": description, "change": encoded.hex(), "expect": {"code": judged.code}}
        )
    start = {"state": story.chain.state.encode().hex(), "digest": story.chain.digest.hex()}
    return [{**start, **case} for case in found[:1]] + found[1:]


def _resigned(author: str, signed: bytes) -> bytes:
    return signed + PEOPLE[author].sign(labels.GROUP_CHANGE + signed)


def _with_large_s(change: bytes) -> bytes:
    order = 2**252 + 27742317777372353535851937790883648493
    large = int.from_bytes(change[-32:], "little") + order
    return change[:-32] + large.to_bytes(32, "little")


# --- states, invitations, heads, links ---------------------------------------------


def _states() -> list[Json]:
    good = Story("states", "").begin(add("ben"), SetTimer(ms=1)).chain.state.encode()
    count_at = good.index(b"Tea") + 3
    ada, ben = good[count_at + 1 : count_at + 34], good[count_at + 34 :]
    shown = b"\2" + good[1:count_at] + drawn("groups/picture name", 32) + good[count_at:]
    cases: dict[str, tuple[str, bytes]] = {
        "good": ("a state", good),
        "empty": ("nothing", b""),
        "with-picture": ("a state with a picture", shown),
        "form-0": ("another first byte", b"\0" + good[1:]),
        "form-3": ("another first byte", b"\3" + shown[1:]),
        "no-picture": ("form 2 without a picture", b"\2" + good[1:]),
        "picture-in-form-1": ("form 1 with a picture", b"\1" + shown[1:]),
        "short-picture": ("a picture's name of 31 bytes", shown[:count_at] + shown[count_at + 1 :]),
        "cut": ("a byte less", good[:-1]),
        "longer": ("a byte more", good + b"\0"),
        "other-order": ("members in another order", good[: count_at + 1] + ben + ada),
        "twice": ("a member twice", good[: count_at + 1] + ada + ada),
        "role-0": ("a role that there is not", good[:-1] + b"\0"),
        "role-3": ("another one", good[:-1] + b"\3"),
        "no-admin": ("no admin", good.replace(ada, ada[:-1] + b"\1").replace(ben, ben[:-1] + b"\1")),
        "no-members": ("no members", good[:count_at] + b"\0"),
        "closed-2": ("closed is neither 0 nor 1", good[:47] + b"\2" + good[48:]),
        "right-3": ("a right that there is not", good[:45] + b"\3" + good[46:]),
        "bad-name": ("a name that is not UTF-8", good.replace(b"Tea", b"T\xffa")),
        "revision-0": ("revision 0", good[:33] + bytes(4) + good[37:]),
        "long-timer": ("a timer of more than a year", good[:37] + (31_536_000_001).to_bytes(8) + good[45:]),
    }
    return [
        {
            "name": name,
            "description": said,
            "state": state.hex(),
            "expect": {"is_state": name in {"good", "with-picture"}},
        }
        for name, (said, state) in cases.items()
    ]


def _invitations() -> list[Json]:
    story = Story("invitations", "").begin(add("ben"))
    before = story.chain
    second = story.write("ada", add("cleo"), SetName(text="Two"))
    state, base = before.state.encode(), before.digest
    lied = msgspec.structs.replace(before.state, name="Lie").encode()
    member = story.change("ben", [add("dan")], revision=2, previous=before.head)
    shown = Story("invitations-picture", "").begin(SetPicture(data=picture("shown")))
    seen = shown.chain
    third = shown.write("ada", add("cleo"))
    unseen = msgspec.structs.replace(seen.state, picture=b"").encode()
    first = Story("invited-first", "").change("ada", [add("ada", "admin"), add("cleo")])
    cases: dict[str, tuple[str, bytes, bytes, bytes]] = {
        "good": ("the state before, and the change that adds somebody", state, base, second.encoded),
        "picture": ("the state names a picture", seen.state.encode(), seen.digest, third.encoded),
        "picture-left-out": ("the state lacks the picture", unseen, seen.digest, third.encoded),
        "first": ("the first change needs no state", b"", b"", first.encoded),
        "other-state": ("the state is another one than the author had", lied, base, second.encoded),
        "other-base": ("the digest is another one", state, drawn("groups/base", 32), second.encoded),
        "no-state": ("a later change without a state", b"", b"", second.encoded),
        "by-a-member": ("the change does not apply", state, base, member.encoded),
        "broken-state": ("no state", state[:-1], base, second.encoded),
        "state-with-first": ("a first change with a state", state, base, first.encoded),
    }
    found = []
    for name, (description, given, digest, change) in cases.items():
        try:
            head: str | None = Chain.joined(given, digest, change).head.hex()
        except InvalidMessage:
            head = None
        fields = {"state": given.hex(), "base": digest.hex(), "change": change.hex(), "expect": {"head": head}}
        found.append({"name": name, "description": description, **fields})
    return found


def _heads() -> Json:
    story = Story("heads", "").begin(add("ben", "admin"))
    heads = [story.chain.head]
    story.write("ben", SetName(text="Two"))
    heads.append(story.chain.head)
    story.write("ada", SetName(text="Four"), revision=4)
    other = drawn("groups/other head", 32)
    named_heads = {
        "same": (4, story.chain.head),
        "other": (4, other),
        "first": (1, heads[0]),
        "second": (2, heads[1]),
        "first-other": (1, other),
        "hole": (3, heads[1]),
        "ahead": (5, other),
        "far-ahead": (2**32 - 1, story.chain.head),
        "another-of-ours": (4, heads[1]),
    }
    cases = [
        {"name": name, "revision": number, "head": head.hex(), "expect": story.chain.compare(number, head).value}
        for name, (number, head) in named_heads.items()
    ]
    return {**story.told(), "named": cases}


def _links() -> list[Json]:
    link = JoinLink("wss://relay.example:8443/ws", _id("ada"), drawn("groups/token", 16)).text
    written = written_id(_id("ada"))
    cases: dict[str, tuple[str, Callable[[str], str], bool]] = {
        "good": ("a link", lambda text: text, True),
        "other-version": ("another version", lambda text: text.replace("v=1", "v=2"), False),
        "other-order": ("fields in another order", lambda text: text.replace("v=1&", "") + "&v=1", False),
        "more": ("a field more", lambda text: text + "&x=1", False),
        "short-token": ("a token that is too short", lambda text: text[:-1], False),
        "odd-token": ("a token whose last character has bits too many", lambda text: text[:-1] + "_", False),
        "wrong-id": ("a wrong character in the id", lambda text: text.replace(written[10], _other(written[10])), False),
        "http": ("a relay that is none", lambda text: text.replace("wss%3A", "https%3A"), False),
        "other-scheme": ("another scheme", lambda text: text.replace("phantom:", "phantom2:"), False),
    }
    found = []
    for name, (description, changed, is_good) in cases.items():
        expect = {"admin": IDS["ada"].hex(), "relay": "wss://relay.example:8443/ws", "token": link_token()}
        found.append(
            {"name": name, "description": description, "link": changed(link), "expect": expect if is_good else None}
        )
    return found


def _asked() -> list[Json]:
    """What is said of links: who has opened one, and that it serves no more."""
    token, peer = drawn("groups/token", 16), PEOPLE["ben"].peer
    cases: dict[str, tuple[str, Json]] = {}
    for kind, what in (("group-join", "who has opened a link"), ("group-refuse", "a link serves no more")):
        cases |= {
            kind: (what, {"token": token}),
            f"{kind}-short": (f"{what}; the token is too short", {"token": token[1:]}),
            f"{kind}-long": (f"{what}; the token is too long", {"token": token + b"x"}),
            f"{kind}-text": (f"{what}; the token is a text", {"token": "x" * 16}),
            f"{kind}-none": (f"{what}; there is no token", {}),
        }
    found = []
    for name, (description, fields) in cases.items():
        kind = "group-refuse" if name.startswith("group-refuse") else "group-join"
        common = {"kind": kind, "version": 2, "sentAt": NOW, "sender": peer.user_id, "senderKey": peer.public}
        content = msgspec.msgpack.encode({**common, **fields})
        expect = {"kind": kind, "token": token.hex()} if name == kind else None
        found.append({"name": name, "description": description, "content": content.hex(), "expect": expect})
    return found


def link_token() -> str:
    """The token of the link, in hex."""
    return drawn("groups/token", 16).hex()


def _other(character: str) -> str:
    return "q" if character != "q" else "p"


def _id(name: str) -> str:
    return base64.b64encode(IDS[name]).decode()


def _names() -> list[Json]:
    group, head = group_of("names"), drawn("groups/some head", 32)
    return [
        {
            "name": "names",
            "group": group.hex(),
            "head": head.hex(),
            "expect": {
                "conversation": conversation_of(group).hex(),
                "order": order_of(group).hex(),
                "digits": digits_of(head),
            },
        }
    ]


def groups_json() -> Json:
    """The whole file."""
    stories = [*_members(), *_pictures(), *_authors(), *_places(), *_forks(), *_versions(), *_bounds()]
    people = [
        {"name": name, "seed": one.seed.hex(), "id": one.peer.user_id.hex(), "key": one.peer.public.hex()}
        for name, one in PEOPLE.items()
    ]
    return file_of(
        "groups: chains of changes, states, invitations, heads and links, and what must be refused",
        people=people,
        names=_names(),
        chains=named([story.told() for story in stories]),
        refused=named(_refused()),
        states=named(_states()),
        invitations=named(_invitations()),
        heads=[_heads()],
        links=named(_links()),
        asked=named(_asked()),
    )
