"""Plays the frozen vectors through the production code. It shares nothing with what made them.

Whoever plays a transcript draws the listed randomness in place of random bytes, and compares all that is listed under
``expect``. An assertion fails where the code does something else.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from kyber_py.ml_kem import ML_KEM_768

from phantom_messenger.client import conversations
from phantom_messenger.client.records import Strength
from phantom_messenger.crypto import handshake, padding, primitives, ratchet, session
from phantom_messenger.crypto.errors import CryptoError, UndecryptableMessage, UnknownPreKey
from phantom_messenger.crypto.handshake import Agreement, HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity, PeerIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, PreKeyBundle, SignedPreKey
from phantom_messenger.crypto.session import Parsed, Session

FOLDER: Final = Path(__file__).parents[2] / "protocol/vectors"
OTHER: Final = {"alice": "bob", "bob": "alice"}

Json = dict[str, Any]


def vectors(name: str) -> Json:
    """A file of vectors."""
    found: Json = json.loads((FOLDER / name).read_text())
    return found


def transcripts(name: str) -> list[Json]:
    """The transcripts of a file, each with all of its steps."""
    found: dict[str, Json] = {}
    for one in vectors(name)["transcripts"]:
        before = found[one["after"]]["steps"] if "after" in one else []
        whole = {**one, "steps": [*before, *one["steps"]]}
        whole.pop("after", None)
        found[one["name"]] = whole
    return list(found.values())


def raw(text: str | None) -> bytes:
    """Bytes in hex; none where there are none."""
    return b"" if text is None else bytes.fromhex(text)


def arrived(step: Json, sent: bytes) -> bytes:
    """The message of a ``receive``, as it was sent or as it was changed on the way."""
    if "flipped" in step:
        at, mask = step["flipped"]["at"], step["flipped"]["mask"]
        return sent[:at] + bytes((sent[at] ^ mask,)) + sent[at + 1 :]
    return raw(step["bytes"]) if "bytes" in step else sent


def encoded_in(case: Json) -> bytes:
    """What a recipient gets, where a long run of the same bytes may be listed apart."""
    encoded = raw(case["encoded"])
    if "repeated" not in case:
        return encoded
    at: int = case["repeated"]["at"]
    run = b"".join([raw(case["repeated"]["bytes"])] * case["repeated"]["times"])
    return encoded[:at] + run + encoded[at:]


def encapsulation(m: str | None) -> Callable[[bytes], tuple[bytes, bytes]]:
    """ML-KEM with its 32 random bytes given."""

    return lambda public: encapsulated(public, raw(m))


@cache
def encapsulated(public: bytes, m: bytes) -> tuple[bytes, bytes]:
    """The secret and the ciphertext; in plain Python it takes longer than all else."""
    shared, ciphertext = ML_KEM_768._encaps_internal(public, m)
    return bytes(shared), bytes(ciphertext)


def bundle_of(given: Json) -> PreKeyBundle:
    """A bundle that is listed in full."""
    return PreKeyBundle(
        identity=PeerIdentity(raw(given["identity"])),
        signed_prekey=raw(given["signed_prekey"]),
        signed_prekey_signature=raw(given["signed_prekey_signature"]),
        signed_prekey_id=given["signed_prekey_id"],
        one_time_prekey=None if given["one_time_prekey"] is None else raw(given["one_time_prekey"]),
        one_time_prekey_id=given["one_time_prekey_id"],
        kem_prekey=None if given["kem_prekey"] is None else raw(given["kem_prekey"]),
        kem_prekey_signature=raw(given["kem_prekey_signature"]),
        kem_prekey_id=given["kem_prekey_id"],
    )


class Person:
    """Somebody of ``prekeys.json``, from the secrets alone."""

    def __init__(self, listed: Json) -> None:
        keys = listed["expect"]
        self.identity = OwnIdentity(raw(keys["identity"]["seed"]))
        self.id = self.identity.peer.user_id
        signed, one_time = keys["signed_prekey"], keys["one_time_prekey"]
        self.signed = SignedPreKey.make(self.identity, signed["id"], raw(signed["private"]))
        self.one_time = PreKey(one_time["id"], KeyPair.from_private(raw(one_time["private"])))
        self.kems = {
            name: KemPreKey.make(self.identity, keys[member]["id"], raw(keys[member]["seed"]))
            for name, member in (("one-time", "kem_prekey"), ("last-resort", "last_resort_kem_prekey"))
        }

    def bundle(self, *, one_time: bool, kem: str | None) -> PreKeyBundle:
        """What the relay hands out of these prekeys."""
        kem_prekey = None if kem is None else self.kems[kem]
        return PreKeyBundle(
            identity=self.identity.peer,
            signed_prekey=self.signed.pair.public,
            signed_prekey_signature=self.signed.signature,
            signed_prekey_id=self.signed.id,
            one_time_prekey=self.one_time.pair.public if one_time else None,
            one_time_prekey_id=self.one_time.id if one_time else 0,
            kem_prekey=None if kem_prekey is None else kem_prekey.public,
            kem_prekey_signature=b"" if kem_prekey is None else kem_prekey.signature,
            kem_prekey_id=0 if kem_prekey is None else kem_prekey.id,
        )

    def respond(self, header: HandshakeHeader, own_id: bytes, peer_id: bytes) -> Agreement:
        """Take part in a handshake, with the prekeys that it names."""
        kems = {key.id: key for key in self.kems.values()}
        if header.kem_prekey_id and header.kem_prekey_id not in kems:
            raise UnknownPreKey("there is no such KEM prekey")
        return handshake.respond(
            self.identity,
            header,
            signed_prekey=self.signed,
            one_time_prekey=self.one_time if header.one_time_prekey_id else None,
            kem_prekey=kems.get(header.kem_prekey_id),
            own_id=own_id,
            peer_id=peer_id,
        )


def people(listed: Json) -> dict[str, Person]:
    """Everybody of ``prekeys.json``."""
    return {one["name"]: Person(one) for one in listed["people"]}


class Source:
    """Gives what is listed, in place of random bytes, and nothing that is not."""

    def __init__(self, text: str | None) -> None:
        self._value = raw(text)

    def __call__(self, size: int) -> bytes:
        assert len(self._value) == size, "randomness is asked for that is not listed"
        return self._value


class Side:
    """One person's sessions with the other, the current one first."""

    def __init__(self, person: Person, own_id: bytes, peer_id: bytes) -> None:
        self.person, self.own_id, self.peer_id = person, own_id, peer_id
        self.sessions: list[Session] = []

    def sending(self) -> Session:
        """What the next message is written with."""
        return next(one for one in self.sessions if one.ratchet.cks is not None)

    def renew(self, before: Session, after: Session) -> None:
        """Put a session in its own place."""
        self.sessions = [after if one is before else one for one in self.sessions]

    def read(self, message: Parsed, source: Source, now: int) -> tuple[Session, bytes, Agreement | None]:
        """Read a message as ``protocol/encryption.md`` says under "Several sessions"."""
        agreement, known = None, self.sessions
        header = message.handshake
        if header is not None and all(one.id != header.ephemeral for one in known):
            agreement = self.person.respond(header, self.own_id, self.peer_id)
            fresh = session.answer(header, agreement, self.person.signed.pair)
            known = conversations._ordered(fresh, known, Strength.SUITE_1)
        before, after, plaintext = _first_that_opens(known, message, source, now)
        first = not conversations._stays(known[0], before)
        self.sessions = conversations._renewed(known, before, after, first=first)
        return after, plaintext, agreement


def _first_that_opens(
    known: list[Session], message: Parsed, source: Source, now: int
) -> tuple[Session, Session, bytes]:
    last: CryptoError = UndecryptableMessage("there is no session")
    for before in known:
        if message.handshake is None or message.handshake.ephemeral == before.id:
            try:
                return before, *session.decrypt(before, message, random=source, now=now)
            except CryptoError as error:
                last = error
    raise last


def assert_state(state: Session, expect: Json) -> None:
    """Compare a whole ratchet."""
    inner = session.load(session.dump(state)).ratchet
    skipped = [(dh, n, kept.mk) for (dh, n), kept in inner.mkskipped.items()]
    found: Json = {
        "dhs": inner.dhs.public.hex(),
        "dhr": inner.dhr and inner.dhr.hex(),
        "rk": inner.rk.hex(),
        "cks": inner.cks and inner.cks.hex(),
        "ckr": inner.ckr and inner.ckr.hex(),
        "ns": inner.ns,
        "nr": inner.nr,
        "pn": inner.pn,
        "skipped_count": len(skipped),
        "skipped_sha256": hashlib.sha256(b"".join(dh + n.to_bytes(4, "big") + mk for dh, n, mk in skipped)).hexdigest(),
    }
    if "skipped" in expect:
        found["skipped"] = [{"dh": dh.hex(), "n": n, "mk": mk.hex()} for dh, n, mk in skipped]
    assert found == expect


class Watched:
    """What the production code hands to its primitives, in the order of the calls."""

    def __init__(self) -> None:
        self.shared: list[bytes] = []
        self.derived: list[tuple[bytes, bytes]] = []

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Look at the calls that are made meanwhile."""
        x25519, hkdf = primitives.x25519, primitives.hkdf

        def seen_x25519(private: bytes, public: bytes) -> bytes:
            self.shared.append(x25519(private, public))
            return self.shared[-1]

        def seen_hkdf(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
            self.derived.append((secret, info))
            return hkdf(secret, salt=salt, info=info, length=length)

        with patch.object(primitives, "x25519", seen_x25519), patch.object(primitives, "hkdf", seen_hkdf):
            yield

    def assert_agrees(self, expect: Json) -> None:
        """Compare what is between the keys and the secret."""
        names = [name for name in ("dh1", "dh2", "dh3", "dh4") if expect[name] is not None]
        assert dict(zip(names, (one.hex() for one in self.shared), strict=True)) == {
            name: expect[name] for name in names
        }
        [(ikm, info)] = self.derived
        assert (ikm.hex(), info.hex()) == (expect["ikm"], expect["info"])
        assert ikm.endswith(b"".join(self.shared) + raw(expect["ss"]))
        assert (expect["ss"] is None) is (expect["kem_ciphertext"] == "")


def assert_handshake(header: HandshakeHeader, agreement: Agreement, expect: Json) -> None:
    """Compare what comes out of a handshake."""
    assert header.encode().hex() == expect["header"]
    assert hashlib.sha256(header.encode()).hexdigest() == expect["header_sha256"]
    assert header.ephemeral.hex() == expect["ephemeral_public"]
    assert header.kem_ciphertext.hex() == expect["kem_ciphertext"]
    assert agreement.secret.hex() == expect["sk"]
    assert agreement.associated_data.hex() == expect["ad"]
    assert agreement.post_quantum is expect["post_quantum"]


class Play:
    """A transcript that is being played.

    Args:
        everybody: of ``prekeys.json``.
        transcript: of ``ratchet.json``, ``ratchet-limits.json`` or ``refused.json``.
    """

    def __init__(self, everybody: dict[str, Person], transcript: Json) -> None:
        ids = {name: raw(one) for name, one in transcript["user_ids"].items()}
        self.sides = {name: Side(everybody[name], ids[name], ids[OTHER[name]]) for name in OTHER}
        self._padded = transcript["is_padded"]
        self._everybody = everybody
        self._labels: dict[bytes, str] = {}
        self._messages: dict[str, bytes] = {}
        self._plaintexts: dict[str, bytes] = {}
        self._copies: dict[str, list[Session]] = {}
        for number, step in enumerate(transcript["steps"]):
            try:
                getattr(self, f"_{step['op']}")(step, self.sides[step["by"]])
            except BaseException as error:
                error.add_note(f"transcript {transcript['name']}, step {number}")
                raise

    def order(self, side: Side) -> list[str]:
        """The sessions of somebody by name, the current one first."""
        return [self._labels[one.id] for one in side.sessions]

    def _start(self, step: Json, side: Side) -> None:
        own = side.person
        bundle = self._everybody[OTHER[step["by"]]].bundle(
            one_time=step["with_one_time_prekey"], kem=step["with_kem_prekey"]
        )
        ephemeral = KeyPair.from_private(raw(step["ephemeral_private"]))
        encapsulate = encapsulation(step["kem_m"])
        ids = {"own_id": side.own_id, "peer_id": side.peer_id}
        watched = Watched()
        with watched.watch():
            agreed = handshake.initiate(own.identity, ephemeral, bundle, **ids, encapsulate=encapsulate)
        watched.assert_agrees(step["expect"])
        assert_handshake(*agreed, step["expect"])
        source = Source(step["ratchet_private"])
        state = session.start(own.identity, bundle, ephemeral, **ids, random=source, encapsulate=encapsulate)
        assert state.classical is not step["expect"]["post_quantum"]
        self._labels[state.id] = step["session"]
        side.sessions = [state, *side.sessions]
        assert_state(state, step["expect"]["state"])
        assert self.order(side) == step["expect"]["order"]

    def _send(self, step: Json, side: Side) -> None:
        expect, before = step["expect"], side.sending()
        content = raw(step["content"])
        plaintext = padding.pad(content) if self._padded else content
        assert plaintext.hex() == expect["plaintext"]
        after, message = session.encrypt(before, plaintext, Source(step["nonce"]))
        parsed = session.parse(message)
        _, mk = ratchet.kdf_ck(before.ratchet.cks or b"")
        assert self._labels[before.id] == expect["session"]
        assert message.hex() == expect["bytes"]
        assert parsed.ciphertext.hex() == expect["ciphertext"]
        assert (parsed.header.dh.hex(), parsed.header.pn, parsed.header.n) == (expect["dh"], expect["pn"], expect["n"])
        assert (mk.hex(), ratchet.message_key(mk).hex()) == (expect["mk"], expect["message_key"])
        assert (before.associated_data + message[: -len(parsed.ciphertext)]).hex() == expect["aad"]
        side.renew(before, after)
        assert_state(after, expect["state"])
        self._messages[step["message"]], self._plaintexts[step["message"]] = message, plaintext

    def _lose(self, step: Json, side: Side) -> None:
        before = after = side.sending()
        for _ in range(step["count"]):
            after, _ = session.encrypt(after, b"", bytes)
        side.renew(before, after)
        assert_state(after, step["expect"]["state"])

    def _receive(self, step: Json, side: Side) -> None:
        message = raw(step["bytes"]) if "bytes" in step else self._messages[step["message"]]
        expect, before = step["expect"], list(side.sessions)
        source = Source(step.get("ratchet_private"))
        error = None
        try:
            after, plaintext, agreement = side.read(session.parse(message), source, step["now"])
        except CryptoError as found:
            error = type(found).__name__
        assert error == expect.get("error")
        assert self.order(side) == expect["order"]
        if error is not None:
            assert side.sessions == before
            return
        assert plaintext == self._plaintexts[step["message"]]
        assert hashlib.sha256(plaintext).hexdigest() == expect["plaintext_sha256"]
        assert self._labels[after.id] == expect["session"]
        begins = agreement and {"sk": agreement.secret.hex(), "ad": agreement.associated_data.hex()}
        assert begins == expect.get("begins")
        assert_state(after, expect["state"])

    def _copy(self, step: Json, side: Side) -> None:
        self._copies[step["as"]] = [session.load(session.dump(one)) for one in side.sessions]

    def _restore(self, step: Json, side: Side) -> None:
        side.sessions = list(self._copies[step["from"]])
        assert self.order(side) == step["expect"]["order"]

    def _forget(self, step: Json, side: Side) -> None:
        side.sessions = [session.forget_old(one, step["now"]) for one in side.sessions]
        assert_state(side.sessions[0], step["expect"]["state"])
