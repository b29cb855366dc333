"""Several sessions of suite 2: the production code does what is listed, and so does a computation from the document."""

import copy
import hashlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest
import vector_reference2 as reference
import vector_sessions2
from client_samples import fast_folder
from test_vectors_document2 import KEYS, Signed
from vector_controls import spoilt
from vector_replay import OTHER, Json, Person, arrived, encapsulation, people, raw, vectors
from vector_session_side import Owner, Side
from vector_sessions2 import Named, Sessions

from phantom_messenger.client import conversations
from phantom_messenger.crypto import ratchet, session2
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import PreKeyBundle

TRANSCRIPTS: Final[dict[str, Json]] = {one["name"]: one for one in vectors("suite2-sessions.json")["transcripts"]}
MADE_AT: Final = 1_770_000_000_000
EVERYBODY: Final = people(vectors("prekeys.json"))
EACH: Final = pytest.mark.parametrize("name", TRANSCRIPTS)


def signer_of(step: Json, message: bytes) -> OwnIdentity:
    """Who has signed the envelope: the key in the header if it is somebody's of ``prekeys.json``, else the sender."""
    keys = {one.identity.peer.public: one.identity for one in EVERYBODY.values()}
    return keys.get(message[2:34], EVERYBODY[OTHER[step["by"]]].identity)


# --- the production code ----------------------------------------------------------


class Play:
    """A transcript that is being played through the production code."""

    def __init__(self, transcript: Json, folder: Path) -> None:
        ids = {who: raw(one) for who, one in transcript["user_ids"].items()}
        owners = {who: self._owner(EVERYBODY[who], ids[who]) for who in OTHER}
        self._step: Json = {}
        self._messages: dict[str, bytes] = {}
        self._labels: dict[bytes, str] = {}
        self._owners = owners
        self.sides = {who: Side(folder / who, owners[who], owners[OTHER[who]], self._draw) for who in OTHER}
        try:
            for number, step in enumerate(transcript["steps"]):
                self._step = step
                try:
                    found = getattr(self, f"_{step['op'].replace('-', '_')}")(step, self.sides[step["by"]])
                except BaseException as error:
                    error.add_note(f"transcript {transcript['name']}, step {number}")
                    raise
                order = [self._labels[one.id] for one in self.sides[step["by"]].sessions()]
                assert {**found, "order": order} == {"order": order, **step["expect"]}, (transcript["name"], number)
        finally:
            for side in self.sides.values():
                side.close()

    @staticmethod
    def _owner(one: Person, user_id: bytes) -> Owner:
        return Owner(one.identity, user_id, one.signed, one.kems["last-resort"])

    def _draw(self, purpose: str, size: int) -> bytes:
        if self._step["op"] == "lose":
            return bytes(size)
        assert purpose in self._step, "randomness is asked for that is not listed"
        value = raw(self._step[purpose])
        assert len(value) == size
        return value

    def _start(self, step: Json, side: Side) -> Json:
        peer = self._owners[OTHER[step["by"]]]
        lasting: Json = {
            "identity": peer.identity.peer,
            "user_id": peer.user_id,
            "made_at": MADE_AT,
            "signed_prekey": peer.signed.pair.public,
            "signed_prekey_id": peer.signed.id,
            "kem_prekey": peer.last_resort.public,
            "kem_prekey_id": peer.last_resort.id,
        }
        unsigned = DatedBundle(**lasting, signature=b"")
        dated = DatedBundle(**lasting, signature=peer.identity.sign(unsigned.signed_bytes()))
        bundle = PreKeyBundle(
            identity=peer.identity.peer,
            signed_prekey=peer.signed.pair.public,
            signed_prekey_signature=peer.signed.signature,
            dated=dated,
        )
        ephemeral = KeyPair.from_private(raw(step["ephemeral_private"]))
        self._labels[ephemeral.public] = step["session"]
        start, m = session2.start, encapsulation(step["kem_m"])
        with patch.object(session2, "start", lambda *given, **named: start(*given, encapsulate=m, **named)):
            side.begin(bundle, ephemeral, step["now"])
        return {}

    def _send(self, step: Json, side: Side) -> Json:
        used, content, message = side.write(step["message"], MADE_AT)
        self._messages[step["message"]] = message
        assert content.hex() == step["content"]
        return {"session": self._labels[used], "message_sha256": hashlib.sha256(message).hexdigest()}

    def _lose(self, step: Json, side: Side) -> Json:
        for _ in range(step["count"]):
            side.write("", MADE_AT)
        return {}

    def _receive(self, step: Json, side: Side) -> Json:
        message = arrived(step, self._messages[step["message"]])
        try:
            read, padded = side.read(message, signer_of(step, message), step["now"])
        except CryptoError as error:
            return {"error": type(error).__name__}
        return {"session": self._labels[read], "plaintext_sha256": hashlib.sha256(padded).hexdigest()}

    def _lose_sessions(self, _: Json, side: Side) -> Json:
        side.lose_sessions()
        return {}


def play(name: str, usual: Path) -> None:
    with fast_folder(usual) as folder:
        Play(TRANSCRIPTS[name], folder)


@EACH
def test_transcript_is_what_the_code_does(name: str, tmp_path: Path) -> None:
    play(name, tmp_path)


# --- a computation from the document ----------------------------------------------


class Computed:
    """A transcript that is being computed."""

    def __init__(self, transcript: Json) -> None:
        self._ids = {who: raw(one) for who, one in transcript["user_ids"].items()}
        self._messages: dict[str, bytes] = {}
        self._labels: dict[bytes, str] = {}
        self.sessions = {who: Sessions(self._owner(who), self._ids[OTHER[who]]) for who in OTHER}
        for number, step in enumerate(transcript["steps"]):
            found = getattr(self, f"_{step['op'].replace('-', '_')}")(step, self.sessions[step["by"]])
            order = [self._labels[one.name] for one in self.sessions[step["by"]].all]
            assert {**found, "order": order} == {"order": order, **step["expect"]}, (transcript["name"], number)

    def _owner(self, who: str) -> reference.Owner:
        keys = KEYS[who]
        signed, last = keys["signed_prekey"], keys["last_resort_kem_prekey"]
        return reference.Owner(
            raw(keys["identity"]["seed"]),
            self._ids[who],
            signed={signed["id"]: raw(signed["private"])},
            kem={last["id"]: raw(last["seed"])},
        )

    def _start(self, step: Json, sessions: Sessions) -> Json:
        peer = OTHER[step["by"]]
        keys = KEYS[peer]
        signed, last = keys["signed_prekey"], keys["last_resort_kem_prekey"]
        bundle = Signed(
            identity=raw(keys["identity"]["public"]),
            user_id=self._ids[peer],
            made_at=MADE_AT,
            signed_prekey=raw(signed["public"]),
            signed_prekey_id=signed["id"],
            kem_prekey=raw(last["public"]),
            kem_prekey_id=last["id"],
            kem_prekey_signature=b"",
            bundle_signature=b"",
        )
        ephemeral, m = raw(step["ephemeral_private"]), raw(step["kem_m"])
        owner = self._owner(step["by"])
        made = reference.initiate(owner, bundle, ephemeral=ephemeral, kem_m=m, now=step["now"], newest=0)
        session = Named.begun(made, bundle, raw(step["ratchet_private"]), step["now"])
        session.name, session.is_own = made.header[32:64], True
        self._labels[session.name] = step["session"]
        sessions.put_first(session)
        return {}

    def _send(self, step: Json, sessions: Sessions) -> Json:
        used = sessions.sending()
        padded = reference.pad(raw(step["content"]), reference.SIZES[1:])
        made = used.write(raw(step["key"]), padded, raw(step["nonce"]))
        self._messages[step["message"]] = made.head + made.body
        digest = reference.sha256(made.head + made.body).hex()
        return {"session": self._labels[used.name], "message_sha256": digest}

    @staticmethod
    def _lose(step: Json, sessions: Sessions) -> Json:
        for _ in range(step["count"]):
            sessions.sending().write(bytes(32), bytes(512), bytes(12))
        return {}

    def _receive(self, step: Json, sessions: Sessions) -> Json:
        message = arrived(step, self._messages[step["message"]])
        signed_by = signer_of(step, message).peer.public

        def verify(keys: set[bytes]) -> None:
            if signed_by not in keys:
                raise reference.Rejected("InvalidSignature")

        draws = {"ratchet_private": raw(step.get("ratchet_private"))}
        try:
            read, padded = sessions.read(message, verify, draws, step["now"])
        except reference.Rejected as error:
            return {"error": error.kind}
        return {"session": self._labels[read.name], "plaintext_sha256": reference.sha256(padded).hex()}

    @staticmethod
    def _lose_sessions(_: Json, sessions: Sessions) -> Json:
        sessions.all = []
        return {}


@EACH
def test_transcript_can_be_computed_from_the_document(name: str) -> None:
    Computed(TRANSCRIPTS[name])


# --- controls ---------------------------------------------------------------------


def test_more_is_refused_than_read() -> None:
    received = [step for one in TRANSCRIPTS.values() for step in one["steps"] if step["op"] == "receive"]
    errors = Counter(step["expect"].get("error") for step in received)
    assert set(errors) == {
        None,
        "InvalidKey",
        "InvalidMessage",
        "InvalidSignature",
        "UndecryptableMessage",
        "UnknownPreKey",
        "UnknownSuite",
    }
    assert sum(errors.values()) - errors[None] >= errors[None]


def test_control_each_value_of_a_transcript_is_looked_at(tmp_path: Path) -> None:
    """But for the last ratchet keys, with which nobody writes any more."""
    count, unseen = 0, []
    with fast_folder(tmp_path) as folder:
        for path, changed in spoilt(TRANSCRIPTS["both-begin-alice"]):
            count += 1
            (folder / str(count)).mkdir()
            with suppress(Exception):  # red is red
                Play(changed, folder / str(count))
                unseen.append(path)
    assert count > 20
    assert [path[-1] for path in unseen] in (["ratchet_private"], ["ratchet_private"] * 2)


@pytest.mark.parametrize("name", ["both-begin-alice", "another-key"])
@pytest.mark.parametrize("member", ["order", "session"])
def test_control_another_session_goes_red(name: str, member: str, tmp_path: Path) -> None:
    changed = copy.deepcopy(TRANSCRIPTS[name])
    step = next(one for one in reversed(changed["steps"]) if member in one["expect"])
    step["expect"][member] = ["another"] if member == "order" else "another"
    with fast_folder(tmp_path) as folder, pytest.raises(AssertionError):
        Play(changed, folder)
    with pytest.raises(AssertionError):
        Computed(changed)


@pytest.mark.parametrize(
    ("module", "name", "value", "red"),
    [
        (conversations, "MAX_TRIES", 2, {"tries", "tries-stays"}),
        (conversations, "MAX_TRIES", 4, {"tries", "tries-stays"}),
        (conversations, "MAX_SESSIONS", 4, {"tries", "most-sessions"}),
        (conversations, "MAX_SESSIONS", 6, {"most-sessions"}),
        (conversations, "_stays", lambda *_: False, {"both-begin-alice", "current-stays"}),
        (conversations, "_stays", lambda *_: True, {"current"}),
        (conversations, "_check_certified", lambda *_: None, {"another-key"}),
        (ratchet, "MAX_SKIPPED_KEYS", 258, {"jump-too-far"}),
        (ratchet, "MAX_SKIPPED_KEYS", 238, {"jump"}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_control_another_rule_goes_red(module: Any, name: str, value: object, red: set[str], tmp_path: Path) -> None:
    found = set()
    with patch.object(module, name, value):
        for transcript in red:
            try:
                play(transcript, tmp_path / transcript)
            except AssertionError:
                found.add(transcript)
    assert found == red


@pytest.mark.parametrize(("name", "red"), [("MAX_TRIES", "tries"), ("MAX_SESSIONS", "most-sessions")])
def test_control_another_limit_of_the_computation_goes_red(name: str, red: str) -> None:
    for value in (getattr(vector_sessions2, name) - 1, getattr(vector_sessions2, name) + 1):
        with patch.object(vector_sessions2, name, value), pytest.raises(AssertionError):
            Computed(TRANSCRIPTS[red])
