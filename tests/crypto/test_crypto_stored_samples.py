"""Sessions that were stored by every version so far are loaded and go on talking (``state_samples``)."""

import json
from typing import Any, Final

import crypto_samples as samples
import msgspec
import pytest
from crypto_samples import NOW, Person, decrypt, encrypt
from make_state_samples import FOLDER

from phantom_messenger.crypto import ratchet, session
from phantom_messenger.crypto.errors import CryptoError, InvalidMessage, UndecryptableMessage
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, SignedPreKey
from phantom_messenger.crypto.session import Session

FILES: Final = {json.loads(file.read_text())["version"]: file for file in FOLDER.glob("*.json")}
KINDS: Final = ("pending PQXDH", "pending X3DH", "answered PQXDH", "answered X3DH", "with skipped keys")
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
        self.read_already = [(one["to"], bytes.fromhex(one["message"])) for one in found["read_already"]]
        self.bob = _person(file["bob"])
        self.state = {name: session.load(data) for name, data in self.stored.items()}

    def read(self, to: str, message: bytes) -> str:
        if to in self.state:
            self.state[to], got = decrypt(self.state[to], message)
        else:
            self.state[to], got = samples.accept(message, own=self.bob)
        return got.decode()

    def go_on(self) -> None:
        """Each side says something in each of five turns, and it arrives; one of them late."""
        for turn in range(5):
            for sender, to in (("bob", "alice"), ("alice", "bob")):
                self.state[sender], late = encrypt(self.state[sender], b"late %d" % turn)
                self.state[sender], message = encrypt(self.state[sender], b"turn %d" % turn)
                assert self.read(to, message) == f"turn {turn}"
                assert self.read(to, late) == f"late {turn}"

    def everything(self) -> None:
        """What is said at once and what was under way arrives, what was read is refused, and both go on."""
        for sender, to in (("alice", "bob"), ("bob", "alice")):
            if sender in self.state:
                self.state[sender], message = encrypt(self.state[sender], b"at once")
                self.under_way.insert(0, (to, message, "at once"))
        for to, message, text in self.under_way:
            assert self.read(to, message) == text
        for to, message in self.read_already:
            with pytest.raises(UndecryptableMessage):
                self.read(to, message)
        self.go_on()


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
    assert sorted(FILES) == list(range(1, session.STATE_VERSION + 1))


@EVERY
def test_sample_is_what_its_name_says(version: int, kind: str) -> None:
    sample = Sample(version, kind)
    assert {msgspec.msgpack.decode(data)[0] for data in sample.stored.values()} == {version}
    alice = sample.state["alice"]
    assert (alice.pending is not None) == kind.startswith("pending")
    assert (alice.classical, alice.initiated) == ("X3DH" in kind, True)
    assert ("bob" not in sample.state) == kind.startswith("pending")
    kept = [len(state.ratchet.mkskipped) for state in sample.state.values()]
    assert (min(kept) >= 3) == (max(kept) > 0) == (kind == "with skipped keys")
    assert len(sample.under_way) >= 2


@EVERY
def test_stored_session_is_loaded_and_goes_on_talking(version: int, kind: str) -> None:
    Sample(version, kind).everything()


@EVERY
def test_loaded_session_is_stored_in_the_present_form(version: int, kind: str) -> None:
    sample = Sample(version, kind)
    for name, state in sample.state.items():
        data = session.dump(state)
        assert msgspec.msgpack.decode(data)[0] == session.STATE_VERSION
        assert (data == sample.stored[name]) == (version == session.STATE_VERSION)
        assert session.load(data) == state
        sample.state[name] = session.load(data)
    sample.everything()


@EVERY
def test_public_half_of_the_ratchet_key_is_that_of_the_private_half(version: int, kind: str) -> None:
    for state in Sample(version, kind).state.values():
        assert state.ratchet.dhs == KeyPair.from_private(state.ratchet.dhs.private)


@pytest.mark.parametrize("version", sorted(FILES))
def test_skipped_keys_of_version_1_have_no_time_and_later_ones_have(version: int) -> None:
    for state in Sample(version, "with skipped keys").state.values():
        times = {kept.at for kept in state.ratchet.mkskipped.values()}
        assert times == {ratchet.UNDATED if version == 1 else NOW}


def test_skipped_keys_of_version_1_live_30_days_from_when_they_are_first_looked_at() -> None:
    sample = Sample(1, "with skipped keys")
    seen = {name: session.forget_old(state, NOW) for name, state in sample.state.items()}
    for name, state in seen.items():
        assert state.ratchet.mkskipped.keys() == sample.state[name].ratchet.mkskipped.keys()
        assert session.forget_old(state, NOW + ratchet.MAX_SKIPPED_AGE_MS) is state
        assert session.forget_old(state, NOW + ratchet.MAX_SKIPPED_AGE_MS + 1).ratchet.mkskipped == {}
    sample.state = seen
    sample.everything()


# --- the same with a loader that errs ---------------------------------------------


def _without_public_half(data: bytes) -> bytes:
    fields = msgspec.msgpack.decode(data)
    return msgspec.msgpack.encode([*fields[:16], bytes(32)])


def _without_skipped_keys(data: bytes) -> bytes:
    fields = msgspec.msgpack.decode(data)
    return msgspec.msgpack.encode([*fields[:12], [], *fields[13:]])


def _without_handshake(data: bytes) -> bytes:
    fields = msgspec.msgpack.decode(data)
    return msgspec.msgpack.encode([*fields[:13], None, *fields[14:]])


ERRORS: Final = {
    "the public half of the ratchet key": (_without_public_half, "answered PQXDH"),
    "skipped keys": (_without_skipped_keys, "with skipped keys"),
    "the handshake": (_without_handshake, "pending PQXDH"),
}


@pytest.mark.parametrize("version", sorted(FILES))
@pytest.mark.parametrize("lost", ERRORS)
def test_control_session_that_loses_a_part_when_it_is_loaded_does_not_go_on(
    lost: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, kind = ERRORS[lost]
    real = session.load

    def load(data: bytes) -> Session:
        return real(damage(data))

    monkeypatch.setattr(session, "load", load)
    with pytest.raises((AssertionError, CryptoError)):
        Sample(version, kind).everything()


def test_control_loader_that_knows_version_1_alone_refuses_the_sample_of_version_2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "STATE_VERSION", 1)
    Sample(1, "answered PQXDH").everything()
    with pytest.raises(InvalidMessage, match="of another version"):
        Sample(2, "answered PQXDH")
