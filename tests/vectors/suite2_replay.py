"""Plays the vectors of suite 2 through the production code. It shares nothing with what made them."""

import hashlib
from collections.abc import Callable
from typing import Any, Final

from vector_replay import OTHER, Json, Person, Watched, arrived, encapsulation, raw

from phantom_messenger.crypto import body, handshake2, head, padding, primitives, ratchet, session2
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.errors import CryptoError, InvalidMessage, UnknownPreKey
from phantom_messenger.crypto.handshake import Agreement, HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity, PeerIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, SignedPreKey
from phantom_messenger.crypto.session2 import Session2

MADE_AT: Final = 1_770_000_000_000
"""When the bundles of the transcripts were made."""


def sha256(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()


def bundle_of(given: Json) -> DatedBundle:
    """A bundle that is listed in full."""
    return DatedBundle(
        identity=PeerIdentity(raw(given["identity"])),
        user_id=raw(given["user_id"]),
        made_at=given["made_at"],
        signed_prekey=raw(given["signed_prekey"]),
        signed_prekey_id=given["signed_prekey_id"],
        kem_prekey=raw(given["kem_prekey"]),
        kem_prekey_id=given["kem_prekey_id"],
        kem_prekey_signature=raw(given["kem_prekey_signature"]),
        last_resort_digest=None if given["last_resort_digest"] is None else raw(given["last_resort_digest"]),
        last_resort_id=given["last_resort_id"],
        signature=raw(given["bundle_signature"]),
        one_time_prekey=None if given["one_time_prekey"] is None else raw(given["one_time_prekey"]),
        one_time_prekey_id=given["one_time_prekey_id"],
    )


def respond(own: Person, header: HandshakeHeader, own_id: bytes, peer_id: bytes) -> Agreement:
    """Take part in a handshake, with the prekeys that it names."""
    kems = {key.id: key for key in own.kems.values()}
    if header.kem_prekey_id not in kems:
        raise UnknownPreKey("there is no such KEM prekey")
    return handshake2.respond(
        own.identity,
        header,
        signed_prekey=own.signed,
        one_time_prekey=own.one_time if header.one_time_prekey_id else None,
        kem_prekey=kems[header.kem_prekey_id],
        own_id=own_id,
        peer_id=peer_id,
    )


def play_handshake(case: Json) -> None:
    """A case of ``suite2-handshakes.json``, on both sides."""
    one, other, expect = case["initiator"], case["responder"], case["expect"]
    initiator, responder = OwnIdentity(raw(one["seed"])), OwnIdentity(raw(other["seed"]))
    bundle = bundle_of(case["bundle"])
    assert bundle.identity == responder.peer
    assert sha256(bundle.signed_bytes()) == expect["signed_bytes_sha256"]
    watched, answering = Watched(), Watched()
    with watched.watch():
        header, agreement = handshake2.initiate(
            initiator,
            KeyPair.from_private(raw(one["ephemeral_private"])),
            bundle,
            own_id=raw(one["user_id"]),
            now=case["now"],
            newest=case["newest"],
            encapsulate=encapsulation(one["kem_m"]),
        )
    watched.assert_agrees(expect)
    assert header.ephemeral.hex() == expect["ephemeral_public"]
    assert header.kem_ciphertext.hex() == expect["kem_ciphertext"]
    assert sha256(header.encode()) == expect["header_sha256"]
    assert (agreement.secret.hex(), agreement.associated_data.hex()) == (expect["sk"], expect["ad"])
    signed = KeyPair.from_private(raw(other["signed_prekey_private"]))
    one_time = other["one_time_prekey_private"]
    with answering.watch():
        answered = handshake2.respond(
            responder,
            HandshakeHeader.decode(header.encode(), has_kem=True)[0],
            signed_prekey=SignedPreKey(bundle.signed_prekey_id, signed, b""),
            one_time_prekey=one_time and PreKey(bundle.one_time_prekey_id, KeyPair.from_private(raw(one_time))),
            kem_prekey=KemPreKey.make(responder, header.kem_prekey_id, raw(other["kem_prekey_seed"])),
            own_id=raw(other["user_id"]),
            peer_id=raw(one["user_id"]),
        )
    answering.assert_agrees(expect)
    assert answered == agreement


def play_body(case: Json) -> None:
    """A body of ``suite2-bodies.json``."""
    expect, key = case["expect"], raw(case["key"])
    made = body.seal(padding.pad(raw(case["content"]), most=body.MAX_PADDED), key)
    assert made.hex() == expect["body"]
    assert tuple(part.hex() for part in body._derive(key)) == (expect["commitment"], expect["body_key"])
    body.check_form(made)
    assert padding.unpad(body.open_sealed(made, key)) == raw(case["content"])


def play_length(case: Json) -> None:
    """A length of ``suite2-bodies.json``."""
    bare = b"a" * case["length"]
    padded = padding.pad(bare, most=body.MAX_PADDED)
    assert len(padded) == case["expect"]["padded_length"]
    assert sha256(padded) == case["expect"]["padded_sha256"]
    assert padding.unpad(body.open_sealed(body.seal(padded, bytes(32)), bytes(32))) == bare


# --- refusals ---------------------------------------------------------------------------


class Refusals2:
    """Does what the refusals of suite 2 list."""

    def __init__(self, everybody: dict[str, Person]) -> None:
        self._bob = everybody["bob"]
        self.operations: dict[str, Callable[[Json], object]] = {
            "initiate": self._initiate,
            "respond": self._respond,
            "open-body": self._open_body,
            "pad": lambda given: padding.pad(bytes(given["length"]), most=body.MAX_PADDED),
        }

    def error_of(self, case: Json) -> str | None:
        """How the case ends."""
        try:
            self.operations[case["operation"]](case["input"])
        except CryptoError as error:
            return type(error).__name__
        except ValueError:
            return "TooLong"
        return None

    @staticmethod
    def _initiate(given: Json) -> object:
        return handshake2.initiate(
            OwnIdentity(raw(given["initiator"])),
            KeyPair.from_private(raw(given["ephemeral_private"])),
            bundle_of(given["bundle"]),
            own_id=raw(given["initiator_id"]),
            now=given["now"],
            newest=given["newest"],
        )

    def _respond(self, given: Json) -> object:
        message = b"\2\1" + raw(given["header"]) + bytes(100) + body.seal(bytes(256), bytes(32))
        header = head.parse(message).handshake
        assert header is not None
        return respond(self._bob, header, self._bob.id, raw(given["initiator_id"]))

    @staticmethod
    def _open_body(given: Json) -> object:
        body.check_form(raw(given["body"]))
        return body.open_sealed(raw(given["body"]), raw(given["key"]))


# --- transcripts --------------------------------------------------------------------------


class Source2:
    """Gives what a step lists, in place of random bytes, and nothing that it does not."""

    def __init__(self, step: Json) -> None:
        self._listed = {32: raw(step.get("ratchet_private")), 64: raw(step.get("offer_seed"))}
        self._m = step.get("kem_m")

    def __call__(self, size: int) -> bytes:
        assert len(self._listed[size]) == size, "randomness is asked for that is not listed"
        return self._listed[size]

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """With the m that is listed."""
        primitives.kem_encapsulate(public)
        return encapsulation(self._m)(public)


def assert_state(state: Session2, expect: Json) -> None:
    """Compare a whole session."""
    loaded = session2.load(session2.dump(state))
    inner, kem, carried = loaded.ratchet, loaded.kem, head.begin(loaded.kem.carried)
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
        "skipped_sha256": sha256(b"".join(dh + n.to_bytes(4, "big") + mk for dh, n, mk in skipped)),
        "part": carried[1],
        "carried_sha256": sha256(carried[2:]),
        "messages": kem.messages,
        "at": kem.at,
    }
    if "skipped" in expect:
        found["skipped"] = [{"dh": dh.hex(), "n": n, "mk": mk.hex()} for dh, n, mk in skipped]
    assert found == expect


class Play2:
    """A transcript of ``suite2-ratchet.json`` that is being played."""

    def __init__(self, everybody: dict[str, Person], transcript: Json) -> None:
        self._people = everybody
        self.state: dict[str, Session2] = {}
        self._messages: dict[str, bytes] = {}
        self._plaintexts: dict[str, bytes] = {}
        self._copies: dict[str, bytes] = {}
        for number, step in enumerate(transcript["steps"]):
            try:
                getattr(self, f"_{step['op']}")(step, step["by"], step.get("expect", {}))
            except BaseException as error:
                error.add_note(f"transcript {transcript['name']}, step {number}")
                raise

    def _bundle(self, who: str, *, one_time: bool, one_time_kem: bool) -> DatedBundle:
        own = self._people[who]
        last, kem = own.kems["last-resort"], own.kems["one-time" if one_time_kem else "last-resort"]
        parts: dict[str, Any] = {
            "identity": own.identity.peer,
            "user_id": own.id,
            "made_at": MADE_AT,
            "signed_prekey": own.signed.pair.public,
            "signed_prekey_id": own.signed.id,
            "kem_prekey": kem.public,
            "kem_prekey_id": kem.id,
            "kem_prekey_signature": kem.signature,
        }
        if one_time:
            parts |= {"one_time_prekey": own.one_time.pair.public, "one_time_prekey_id": own.one_time.id}
        if one_time_kem:
            parts |= {"last_resort_digest": primitives.sha256(last.public), "last_resort_id": last.id}
        unsigned = DatedBundle(**parts, signature=b"")
        return DatedBundle(**parts, signature=own.identity.sign(unsigned.signed_bytes()))

    def _start(self, step: Json, who: str, expect: Json) -> None:
        own = self._people[who]
        bundle = self._bundle(
            OTHER[who], one_time=step["with_one_time_prekey"], one_time_kem=step["with_one_time_kem_prekey"]
        )
        ends: dict[str, Any] = {"own_id": own.id, "now": step["now"], "newest": 0}
        ends["encapsulate"] = encapsulation(step["kem_m"])
        ephemeral = KeyPair.from_private(raw(step["ephemeral_private"]))
        header, agreement = handshake2.initiate(own.identity, ephemeral, bundle, **ends)
        found = (agreement.secret.hex(), agreement.associated_data.hex(), header.encode().hex())
        assert found == (expect["sk"], expect["ad"], expect["header"])
        self.state[who] = session2.start(
            own.identity, bundle, ephemeral, **ends, persistent_now=step["now"], random=Source2(step)
        )
        assert_state(self.state[who], expect["state"])

    def _send(self, step: Json, who: str, expect: Json) -> None:
        before, drawn = self.state[who], iter((raw(step["key"]), raw(step["nonce"])))
        plaintext = padding.pad(raw(step["content"]))
        self.state[who], message = session2.encrypt(before, plaintext, lambda _: next(drawn))
        parsed = head.parse(message)
        _, _, mk = ratchet.next_key(before.ratchet)
        assert message[: -len(parsed.body)].hex() == expect["head"]
        assert sha256(parsed.body) == expect["body_sha256"]
        assert sha256(parsed.aad(before.associated_data)) == expect["aad_sha256"]
        assert (mk.hex(), ratchet.message_key(mk).hex()) == (expect["mk"], expect["message_key"])
        assert_state(self.state[who], expect["state"])
        self._messages[step["message"]], self._plaintexts[step["message"]] = message, plaintext

    def _lose(self, step: Json, who: str, expect: Json) -> None:
        for _ in range(step["count"]):
            self.state[who], _ = session2.encrypt(self.state[who], bytes(256), bytes)
        assert_state(self.state[who], expect["state"])

    def _receive(self, step: Json, who: str, expect: Json) -> None:
        message = arrived(step, self._messages[step["message"]])
        before = {name: session2.dump(state) for name, state in self.state.items()}
        error = None
        try:
            plaintext = self._read(who, message, Source2(step), step["now"])
        except CryptoError as found:
            error = type(found).__name__
        assert error == expect.get("error")
        if error is not None:
            assert {name: session2.dump(state) for name, state in self.state.items()} == before
            return
        assert plaintext == self._plaintexts[step["message"]]
        assert sha256(plaintext) == expect["plaintext_sha256"]
        assert_state(self.state[who], expect["state"])

    def _read(self, who: str, message: bytes, source: Source2, now: int) -> bytes:
        parsed = head.parse(message)
        state = self.state.get(who)
        if state is None:
            if parsed.handshake is None:
                raise InvalidMessage("nobody has begun")
            own = self._people[who]
            agreement = respond(own, parsed.handshake, own.id, self._people[OTHER[who]].id)
            state = session2.answer(parsed.handshake, agreement, own.signed.pair, now=now)
        self.state[who], plaintext = session2.decrypt(
            state, parsed, random=source, now=now, encapsulate=source.encapsulate
        )
        return plaintext

    def _copy(self, step: Json, who: str, _: Json) -> None:
        self._copies[step["as"]] = session2.dump(self.state[who])

    def _forget(self, step: Json, who: str, expect: Json) -> None:
        self.state[who] = session2.forget_old(self.state[who], step["now"])
        assert_state(self.state[who], expect["state"])

    def _restore(self, step: Json, who: str, expect: Json) -> None:
        self.state[who] = session2.load(self._copies[step["from"]])
        assert_state(self.state[who], expect["state"])
