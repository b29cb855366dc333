"""Makes the transcripts of several sessions of suite 2: which one a message belongs to, and which one is used."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

from client_samples import MEMORY
from maker_base import ALICE, BOB, MALLORY, NOW, PEOPLE, Json, Person, drawn, encapsulated, file_of, flipped, named
from maker_talk2 import OTHER, change_of, dated_bundle, sha256
from vector_session_side import Owner, Side

from phantom_messenger.crypto import session2
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.prekeys import PreKeyBundle

SHORT_IDS: Final = {name: drawn(f"suite 2/sessions/short id of {name}", 16) for name in OTHER}


class Talk:
    """A transcript in the making; ``ids`` are the users', where they are not the certified ones."""

    def __init__(self, name: str, description: str, folder: Path, *, ids: dict[str, bytes], variant: int = 0) -> None:
        self.name, self.description, self.ids, self.variant = name, description, ids, variant
        self.steps: list[Json] = []
        self.now = NOW
        self._draws: dict[str, bytes] = {}
        self._messages: dict[str, bytes] = {}
        self._contents: dict[str, bytes] = {}
        self._labels: dict[bytes, str] = {}
        self.sides = {who: Side(folder / who, self._owner(who), self._owner(OTHER[who]), self.draw) for who in OTHER}

    def transcript(self) -> Json:
        """All of it."""
        ids = {name: one.hex() for name, one in self.ids.items()}
        return {"name": self.name, "description": self.description, "user_ids": ids, "steps": self.steps}

    def _owner(self, who: str) -> Owner:
        own = PEOPLE[who]
        return Owner(own.identity, self.ids[who], own.signed, own.last_resort)

    def close(self) -> None:
        """Give back the files."""
        for side in self.sides.values():
            side.close()

    def started(self) -> list[str]:
        """All sessions by name, the one with the smallest ephemeral key first."""
        return [label for _, label in sorted(self._labels.items())]

    def draw(self, purpose: str, size: int) -> bytes:
        """What stands for randomness; it is listed in the step."""
        label = f"suite 2/sessions/{self.name}/{self.variant}/step {len(self.steps)}/{purpose}"
        self._draws[purpose] = drawn(label, size)
        return self._draws[purpose]

    def _order(self, who: str) -> list[str]:
        return [self._labels[one.id] for one in self.sides[who].sessions()]

    def _add(self, op: str, who: str, given: Json, expect: Json) -> None:
        drawn_now = {name: value.hex() for name, value in self._draws.items()}
        self._draws.clear()
        if op in {"start", "receive", "lose-sessions"}:
            expect = {**expect, "order": self._order(who)}
        self.steps.append({"op": op, "by": who, **given, **drawn_now, "expect": expect})

    def start(self, label: str, who: str = "alice") -> None:
        """Begin a session with what lasts of the other one's prekeys."""
        peer = PEOPLE[OTHER[who]]
        dated = dated_bundle(peer, one_time=False, one_time_kem=False, user_id=self.ids[peer.name])
        bundle = PreKeyBundle(
            identity=peer.identity.peer,
            signed_prekey=peer.signed.pair.public,
            signed_prekey_signature=peer.signed.signature,
            dated=dated,
        )
        ephemeral = KeyPair.from_private(self.draw("ephemeral_private", 32))
        self._labels[ephemeral.public] = label
        self.sides[who].begin(bundle, ephemeral, self.now)
        self._add("start", who, {"session": label, "now": self.now}, {})

    def send(self, who: str, name: str) -> bytes:
        """Write a message; nobody gets it by this."""
        used, content, message = self.sides[who].write(name, self.now)
        self._messages[name], self._contents[name] = message, content
        self._add(
            "send",
            who,
            {"message": name, "content": content.hex()},
            {"session": self._labels[used], "message_sha256": sha256(message)},
        )
        return message

    def lose(self, who: str, count: int) -> None:
        """Write so many messages that nobody will ever see."""
        for _ in range(count):
            self.sides[who].write("", self.now)
        self._draws.clear()
        self._add("lose", who, {"count": count}, {})

    def receive(self, who: str, name: str, changed: bytes | None = None, signer: Person | None = None) -> None:
        """Read a message, as it was sent or as it was changed on the way."""
        message = self._messages[name] if changed is None else changed
        given: Json = {"message": name, "now": self.now}
        if changed is not None:
            given |= change_of(self._messages[name], changed)
        signing = PEOPLE[OTHER[who]] if signer is None else signer
        try:
            read, plaintext = self.sides[who].read(message, signing.identity, self.now)
        except CryptoError as error:
            expect: Json = {"error": type(error).__name__}
            self._draws.clear()
        else:
            expect = {"session": self._labels[read], "plaintext_sha256": sha256(plaintext)}
        self._add("receive", who, given, expect)

    def receive_changed(self, who: str, name: str, places: Sequence[int]) -> None:
        """Read a message again and again, each time with a bit changed at another place."""
        for place in places:
            self.receive(who, name, flipped(self._messages[name], place, 4))

    def deliver(self, who: str, *names: str) -> None:
        """Write messages, which the other one reads in order."""
        for name in names:
            self.send(who, name)
        for name in names:
            self.receive(OTHER[who], name)

    def lose_sessions(self, who: str) -> None:
        """The disk has lost all sessions; what else it knows is there."""
        self.sides[who].lose_sessions()
        self._add("lose-sessions", who, {}, {})


FIELDS: Final = (0, 1, 2, 37, 38, 41, 42, 53, 54, 86, 101, 102, 103, 134, 135, 662)
"""A byte, or two, of each field of a message with a short text, whose head carries nothing."""

FIRST_FIELDS: Final = (2, 34, 69, 73, 77, 78, 1_165, 1_166, 1_201, 1_205, 1_206, 1_218, 1_265, 1_266, 1_267, 1_826)
"""The same of a message that begins a session."""


# --- the transcripts ------------------------------------------------------------------


def _both_begin(talk: Talk) -> None:
    for who in ("alice", "bob"):
        talk.start(f"{who}'s", who)
        talk.send(who, f"first of {who}")
    for who in ("alice", "bob"):
        talk.receive(OTHER[who], f"first of {who}")
    for name in ("second", "third"):
        for who in ("alice", "bob"):
            talk.deliver(who, f"{name} of {who}")


def _one_lost(talk: Talk) -> None:
    for who in ("bob", "alice"):
        talk.start(f"{who}'s", who)
        talk.send(who, f"first of {who}")
    talk.receive("bob", "first of alice")
    talk.deliver("bob", "second of bob")
    talk.deliver("alice", "second of alice")


def _current(talk: Talk) -> None:
    talk.start("older")
    talk.deliver("alice", "a1")
    for name in ("b1", "b2", "b3", "b4"):
        talk.send("bob", name)
    talk.receive("alice", "b2")
    talk.start("newer")
    talk.send("alice", "a2")
    talk.receive("alice", "b3")
    talk.send("alice", "a3")
    talk.receive("bob", "a2")
    talk.receive("bob", "a3")
    talk.deliver("bob", "b5")
    talk.receive("alice", "b1")
    talk.receive("alice", "b4")
    talk.receive("alice", "b4")


def _tries(talk: Talk) -> None:
    for number in range(1, 6):
        talk.start(f"s{number}")
        talk.deliver("alice", f"a{number}")
        talk.send("bob", f"b{number}")
        if number == 1:
            talk.send("bob", "b1, its second")
    for name in ("b1", "b2", "b3", "b2", "b1, its second", "b1", "b1"):
        talk.receive("alice", name)


def _most_sessions(talk: Talk) -> None:
    for number in range(1, 7):
        talk.start(f"s{number}")
        if number < 3:
            talk.deliver("alice", f"a{number}")
            talk.send("bob", f"b{number}")
    talk.send("alice", "a6")
    talk.receive("alice", "b1")
    talk.receive("bob", "a6")
    talk.deliver("bob", "b6")


def _seen_before(talk: Talk) -> None:
    talk.start("s1")
    talk.send("alice", "a1")
    talk.send("alice", "a2")
    talk.receive("bob", "a1")
    talk.receive("bob", "a1")
    talk.lose_sessions("bob")
    talk.receive("bob", "a1")
    talk.receive("bob", "a2")
    talk.start("s2")
    talk.deliver("alice", "a3")


def _another_key(talk: Talk) -> None:
    talk.start("s1")
    message = talk.send("alice", "a1")
    talk.receive("bob", "a1", message[:2] + MALLORY.identity.peer.public + message[34:], MALLORY)
    talk.receive("bob", "a1", message[:2] + (2).to_bytes(32, "little") + message[34:])
    talk.receive("bob", "a1")
    talk.receive("bob", "a1", message[:2] + MALLORY.identity.peer.public + message[34:], MALLORY)
    talk.deliver("alice", "a2")


def _changed(talk: Talk) -> None:
    """Whichever of three sessions a message is of, with another byte it is read in none, and nothing changes."""
    for number in (1, 2, 3):
        talk.start(f"s{number}")
        talk.deliver("alice", f"a{number}")
        talk.send("bob", f"b{number}")
    for name in ("b1", "b2", "b3"):
        talk.receive_changed("alice", name, FIELDS)
        talk.receive("alice", name)


def _changed_first(talk: Talk) -> None:
    """A first message with another byte begins no session beside the one that is there."""
    talk.start("s1")
    talk.deliver("alice", "a1")
    talk.start("s2")
    talk.send("alice", "a2")
    talk.receive_changed("bob", "a2", FIRST_FIELDS)
    talk.receive("bob", "a2")


def _jump(count: int) -> Callable[[Talk], None]:
    def play(talk: Talk) -> None:
        talk.start("s1")
        talk.deliver("alice", "a1")
        talk.deliver("bob", "b1")
        talk.send("alice", "a2")
        talk.start("s2")
        talk.deliver("alice", "a3")
        talk.deliver("bob", "b2")
        talk.receive("bob", "a2")
        talk.lose("bob", count)
        talk.deliver("bob", "far ahead")

    return play


Make = tuple[str, str, Callable[[Talk], None], str, dict[str, bytes]]

CERTIFIED: Final = {"alice": ALICE.id, "bob": BOB.id}
TRANSCRIPTS: Final[list[Make]] = [
    ("both-begin-alice", "both begin at once, and Alice's key is smaller", _both_begin, "alice's", CERTIFIED),
    ("both-begin-bob", "both begin at once, and Bob's key is smaller", _both_begin, "bob's", CERTIFIED),
    (
        "one-lost-alice",
        "the same, Bob's first message is lost, Alice's key is smaller",
        _one_lost,
        "alice's",
        CERTIFIED,
    ),
    ("one-lost-bob", "the same, and Bob's key is smaller", _one_lost, "bob's", CERTIFIED),
    ("current", "the session that was read in last is used; late messages name theirs", _current, "older", CERTIFIED),
    ("current-stays", "the same, but the newer one has the smaller key", _current, "newer", CERTIFIED),
    ("tries", "a message is tried on three of five sessions", _tries, "s1", CERTIFIED),
    ("tries-stays", "the same, and the newest has the smallest key", _tries, "s5", CERTIFIED),
    ("most-sessions", "six sessions: the first is gone", _most_sessions, "", CERTIFIED),
    ("seen-before", "a handshake that was seen before begins no second session", _seen_before, "", CERTIFIED),
    ("another-key", "a key that does not fit the certified id", _another_key, "", CERTIFIED),
    ("another-key-claimed", "the same with ids that certify nothing", _another_key, "", SHORT_IDS),
    ("changed", "messages of three sessions, one bit changed in each field", _changed, "", CERTIFIED),
    ("changed-first", "a message that begins a second session, the same", _changed_first, "", CERTIFIED),
    ("changed-first-claimed", "the same with ids that certify nothing", _changed_first, "", SHORT_IDS),
    ("jump", "120 messages ahead, in the second session that it is tried on", _jump(120), "", CERTIFIED),
    ("jump-too-far", "129: together more than 256", _jump(129), "", CERTIFIED),
]


def _made(make: Make, folder: Path) -> Json:
    name, description, play, smallest, ids = make
    begin = session2.start
    for variant in range(200):
        (folder / f"{name} {variant}").mkdir()
        talk = Talk(name, description, folder / f"{name} {variant}", ids=ids, variant=variant)

        def start(*given: Any, talk: Talk = talk, **named: Any) -> session2.Session2:
            return begin(*given, encapsulate=lambda public: encapsulated(public, talk.draw("kem_m", 32)), **named)

        try:
            with patch.object(session2, "start", start):
                play(talk)
        finally:
            talk.close()
        if not smallest or talk.started()[0] == smallest:
            return talk.transcript()
    raise ValueError(f"no variant of {name} is like this")


def suite2_sessions_json() -> Json:
    """``suite2-sessions.json``."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        transcripts = named([_made(make, Path(folder)) for make in TRANSCRIPTS])
    return file_of(
        "Several sessions of suite 2 between two users: which one a message is of, which one is used, which are kept.",
        transcripts=transcripts,
    )
