"""Sessions of suite 2 that were stored by every version so far are loaded and go on talking (``state_samples2``)."""

import json
from typing import Any, Final

import msgspec
import pytest
from crypto_samples import NOW, Person
from make_state_samples2 import FOLDER, KINDS
from suite2_samples import decrypt, encrypt

from phantom_messenger.crypto import handshake2, head, session, session2
from phantom_messenger.crypto.errors import CryptoError, InvalidMessage
from phantom_messenger.crypto.head import KemCiphertext, KemKey
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, SignedPreKey

FILES: Final = {json.loads(file.read_text())["version"]: file for file in FOLDER.glob("*.json")}
EVERY: Final = pytest.mark.parametrize(
    ("version", "kind"), [(version, kind) for version in sorted(FILES) for kind in KINDS]
)


class Sample:
    """What a file holds of one conversation."""

    def __init__(self, version: int, kind: str) -> None:
        file = json.loads(FILES[version].read_text())
        found = file["sessions"][kind]
        self.stored = {name: bytes.fromhex(data) for name, data in found["stored"].items()}
        self.under_way = [(one["to"], bytes.fromhex(one["message"]), one["text"]) for one in found["under_way"]]
        self.bob = _person(file["bob"])
        self.state = {name: session2.load(data) for name, data in self.stored.items()}

    def read(self, to: str, message: bytes) -> str:
        if to not in self.state:
            header = head.parse(message).handshake
            assert header is not None
            agreement = handshake2.respond(
                self.bob.identity,
                header,
                signed_prekey=self.bob.signed,
                one_time_prekey=self.bob.one_time,
                kem_prekey=self.bob.kem,
                own_id=self.bob.id,
                peer_id=header.identity.user_id,
            )
            self.state[to] = session2.answer(header, agreement, self.bob.signed.pair, now=NOW)
        self.state[to], got = decrypt(self.state[to], message)
        return got.decode()

    def everything(self) -> None:
        """What is said at once and what was under way arrives, and then both go on, through more than one offer."""
        for sender, to in (("alice", "bob"), ("bob", "alice")):
            if sender in self.state:
                self.state[sender], message = encrypt(self.state[sender], b"at once")
                self.under_way.insert(0, (to, message, "at once"))
        for to, message, text in self.under_way:
            assert self.read(to, message) == text
        parts = set()
        for turn in range(120):
            sender, to = (("bob", "alice"), ("alice", "bob"))[turn % 2]
            self.state[sender], late = encrypt(self.state[sender], b"late %d" % turn)
            self.state[sender], message = encrypt(self.state[sender], b"turn %d" % turn)
            assert self.read(to, message) == f"turn {turn}"
            assert self.read(to, late) == f"late {turn}"
            parts.add(message[1])
        assert parts >= {0, 2, 3}


def _person(keys: dict[str, Any]) -> Person:
    identity = OwnIdentity(bytes.fromhex(keys["identity"]))
    private = {name: bytes.fromhex(keys[name][1]) for name in ("signed", "one_time", "kem")}
    return Person(
        identity=identity,
        signed=SignedPreKey.make(identity, keys["signed"][0], private["signed"]),
        one_time=PreKey(keys["one_time"][0], KeyPair.from_private(private["one_time"])),
        kem=KemPreKey.make(identity, keys["kem"][0], private["kem"]),
    )


def test_every_version_has_a_sample() -> None:
    assert sorted(FILES) == list(range(3, session2.STATE_VERSION + 1))


def test_versions_are_counted_over_both_suites() -> None:
    """So the first member of what is stored tells which suite it is of."""
    assert min(FILES) > session.STATE_VERSION
    for data in Sample(3, "answered").stored.values():
        assert msgspec.msgpack.decode(data)[0] == 3
        with pytest.raises(InvalidMessage):
            session.load(data)


@EVERY
def test_sample_is_what_its_name_says(version: int, kind: str) -> None:
    sample = Sample(version, kind)
    alice, bob = sample.state["alice"], sample.state.get("bob")
    assert (alice.pending is not None) == (bob is None) == (kind == "pending")
    assert (bob is not None and isinstance(bob.kem.carried, KemKey)) == (kind in {"offered", "taken up"})
    assert isinstance(alice.kem.carried, KemCiphertext) == (kind == "taken up")
    assert bool(alice.ratchet.mkskipped) == (kind == "with skipped keys")


@EVERY
def test_stored_session_is_loaded_and_goes_on_talking(version: int, kind: str) -> None:
    Sample(version, kind).everything()


@EVERY
def test_loaded_session_is_stored_in_the_present_form(version: int, kind: str) -> None:
    sample = Sample(version, kind)
    for name, state in sample.state.items():
        data = session2.dump(state)
        assert (data == sample.stored[name]) == (version == session2.STATE_VERSION)
        assert session2.load(data) == state


def test_what_is_stored_prints_its_name_alone() -> None:
    stored = msgspec.msgpack.decode(Sample(3, "offered").stored["bob"], type=session2._Stored)
    assert repr(stored) == "_Stored(...)"


# --- what cannot be loaded -------------------------------------------------------------

NAMES: Final = session2._Stored.__struct_fields__
DAMAGES: Final[dict[str, Any]] = {
    "version": 4,
    "id": bytes(31),
    "dhr": bytes(33),
    "ns": -1,
    "nr": 2**32,
    "part": 3,
    "carried": b"",
    "seed": bytes(63),
    "messages": -1,
    "skipped": [[bytes(31), 0, bytes(32), 0]],
    "initiated": None,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_session_is_refused(name: str) -> None:
    members = msgspec.msgpack.decode(Sample(3, "offered").stored["bob"])
    members[NAMES.index(name)] = DAMAGES[name]
    with pytest.raises(InvalidMessage):
        session2.load(msgspec.msgpack.encode(members))


@pytest.mark.parametrize("part", [4, 255])
def test_session_with_an_unknown_part_is_refused(part: int) -> None:
    members = msgspec.msgpack.decode(Sample(3, "answered").stored["bob"])
    members[NAMES.index("part")] = part
    with pytest.raises(InvalidMessage):
        session2.load(msgspec.msgpack.encode(members))


def test_session_that_is_cut_short_is_refused() -> None:
    stored = Sample(3, "taken up").stored["alice"]
    for end in range(0, len(stored), 7):
        with pytest.raises(InvalidMessage):
            session2.load(stored[:end])


LOST: Final[dict[str, tuple[str, Any, str, str]]] = {
    "the seed of an offer": ("seed", bytes(64), "offered", "bob"),
    "the answer": ("carried", bytes(1_088), "taken up", "alice"),
    "skipped keys": ("skipped", [], "with skipped keys", "bob"),
    "the public half of the ratchet key": ("dhs_public", bytes(32), "answered", "alice"),
}


@pytest.mark.parametrize("lost", LOST)
def test_control_session_that_has_lost_a_part_does_not_go_on(lost: str) -> None:
    name, value, kind, who = LOST[lost]
    sample = Sample(3, kind)
    members = msgspec.msgpack.decode(sample.stored[who])
    members[NAMES.index(name)] = value
    sample.state[who] = session2.load(msgspec.msgpack.encode(members))
    with pytest.raises((AssertionError, CryptoError)):
        sample.everything()
