"""A conversation in suite 2 that is written down step by step, as a transcript."""

import hashlib
from collections.abc import Callable
from typing import Any, Final

from maker_base import NOW, PEOPLE, Json, Person, drawn, encapsulated

from phantom_messenger.crypto import body, handshake2, head, padding, primitives, ratchet, session2
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.crypto.handshake import Agreement, HandshakeHeader
from phantom_messenger.crypto.head import Part
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.session2 import Session2
from support.structs import replace

OTHER: Final = {"alice": "bob", "bob": "alice"}
LISTED_SKIPPED: Final = 8
"""Up to so many skipped keys are listed one by one."""


def sha256(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()


def dated_bundle(
    own: Person, *, one_time: bool = True, one_time_kem: bool = True, made_at: int = NOW, user_id: bytes | None = None
) -> DatedBundle:
    """What the relay hands out of somebody."""
    unsigned = DatedBundle(
        identity=own.identity.peer,
        user_id=own.id if user_id is None else user_id,
        made_at=made_at,
        signed_prekey=own.signed.pair.public,
        signed_prekey_id=own.signed.id,
        kem_prekey=(own.kem if one_time_kem else own.last_resort).public,
        kem_prekey_id=(own.kem if one_time_kem else own.last_resort).id,
        signature=b"",
        one_time_prekey=own.one_time.pair.public if one_time else None,
        one_time_prekey_id=own.one_time.id if one_time else 0,
        kem_prekey_signature=own.kem.signature if one_time_kem else b"",
        last_resort_digest=primitives.sha256(own.last_resort.public) if one_time_kem else None,
        last_resort_id=own.last_resort.id if one_time_kem else 0,
    )
    return signed(own, unsigned)


def signed(own: Person, bundle: DatedBundle) -> DatedBundle:
    """The bundle with its owner's signature."""
    return replace(bundle, signature=own.identity.sign(bundle.signed_bytes()))


def responded(own: Person, header: HandshakeHeader, own_id: bytes, peer_id: bytes) -> Agreement:
    """Take part in a handshake, with the prekeys that its header names."""
    return handshake2.respond(
        own.identity,
        header,
        signed_prekey=own.signed,
        one_time_prekey=own.one_time if header.one_time_prekey_id else None,
        kem_prekey=own.kem if header.kem_prekey_id == own.kem.id else own.last_resort,
        own_id=own_id,
        peer_id=peer_id,
    )


def described_state(state: Session2) -> Json:
    """A session as the vectors list it."""
    inner, kem = state.ratchet, state.kem
    skipped = [(dh, n, kept.mk) for (dh, n), kept in inner.mkskipped.items()]
    carried = head.begin(kem.carried)
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
        "skipped_sha256": sha256(b"".join(dh + n.to_bytes(4) + mk for dh, n, mk in skipped)),
        "part": carried[1],
        "carried_sha256": sha256(carried[2:]),
        "messages": kem.messages,
        "at": kem.at,
    }
    if len(skipped) <= LISTED_SKIPPED:
        found["skipped"] = [{"dh": dh.hex(), "n": n, "mk": mk.hex()} for dh, n, mk in skipped]
    return found


def change_of(sent: bytes, arrived: bytes) -> Json:
    """What was done to a message on its way: bits of one byte, or all of it."""
    if len(sent) == len(arrived):
        places = [place for place, (one, other) in enumerate(zip(sent, arrived, strict=True)) if one != other]
        if len(places) == 1:
            return {"flipped": {"at": places[0], "mask": sent[places[0]] ^ arrived[places[0]]}}
    return {"bytes": arrived.hex()}


class Draws:
    """Randomness of a reader, and what of it was drawn."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.given: Json = {}

    def __call__(self, size: int) -> bytes:
        name = {32: "ratchet_private", 64: "offer_seed"}[size]
        value = drawn(f"{self.label}/{name}", size)
        self.given[name] = value.hex()
        return value

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """With 32 bytes m, after the check that the production code makes."""
        primitives.kem_encapsulate(public)
        m = drawn(f"{self.label}/kem_m", 32)
        self.given["kem_m"] = m.hex()
        return encapsulated(public, m)


class Talk2:
    """Alice and Bob in one session, and all that they do."""

    def __init__(self, name: str, description: str) -> None:
        self.name, self.description = name, description
        self.steps: list[Json] = []
        self.state: dict[str, Session2] = {}
        self.messages: dict[str, bytes] = {}
        self.now = NOW
        self._copies: dict[str, Session2] = {}
        self._label_name = name
        self._before: str | None = None
        self._steps_before = 0

    def transcript(self) -> Json:
        """All of it, but what another transcript lists."""
        after = {} if self._before is None else {"after": self._before}
        steps = self.steps[self._steps_before :]
        return {"name": self.name, "description": self.description, **after, "steps": steps}

    def go_on(self, name: str, make: Callable[["Talk2"], None]) -> None:
        """Begin after the end of another transcript, whose steps are listed there."""
        own, self._label_name = self._label_name, name
        make(self)
        self._label_name, self._before, self._steps_before = own, name, len(self.steps)

    def _label(self, purpose: str) -> str:
        return f"suite 2/{self._label_name}/step {len(self.steps)}/{purpose}"

    def start(self, who: str = "alice", *, one_time: bool = True, one_time_kem: bool = True) -> None:
        """Begin the session with the other one's bundle."""
        own, peer = PEOPLE[who], PEOPLE[OTHER[who]]
        bundle = dated_bundle(peer, one_time=one_time, one_time_kem=one_time_kem)
        ephemeral = KeyPair.from_private(drawn(self._label("ephemeral"), 32))
        m = drawn(self._label("KEM m"), 32)
        draws = Draws(self._label("ratchet"))

        def encapsulate(public: bytes) -> tuple[bytes, bytes]:
            return encapsulated(public, m)

        ends: dict[str, Any] = {"own_id": own.id, "now": self.now, "newest": 0, "encapsulate": encapsulate}
        header, agreement = handshake2.initiate(own.identity, ephemeral, bundle, **ends)
        state = session2.start(own.identity, bundle, ephemeral, **ends, persistent_now=self.now, random=draws)
        self.state[who] = state
        self.steps.append(
            {
                "op": "start",
                "by": who,
                "now": self.now,
                "with_one_time_prekey": one_time,
                "with_one_time_kem_prekey": one_time_kem,
                "ephemeral_private": ephemeral.private.hex(),
                "kem_m": m.hex(),
                **draws.given,
                "expect": {
                    "sk": agreement.secret.hex(),
                    "ad": agreement.associated_data.hex(),
                    "header": header.encode().hex(),
                    "state": described_state(state),
                },
            }
        )

    def send(self, who: str, name: str) -> bytes:
        """Write a message; nobody gets it by this."""
        before = self.state[who]
        key, nonce = drawn(self._label("key"), 32), drawn(self._label("nonce"), 12)
        made = body.seal(padding.pad(name.encode()), key)
        after, whole_head = session2.encrypt_head(before, key, made, lambda _: nonce)
        message = whole_head + made
        parsed = head.parse(message)
        _, _, mk = ratchet.next_key(before.ratchet)
        self.state[who], self.messages[name] = after, message
        self.steps.append(
            {
                "op": "send",
                "by": who,
                "message": name,
                "content": name.encode().hex(),
                "key": key.hex(),
                "nonce": nonce.hex(),
                "expect": {
                    "mk": mk.hex(),
                    "message_key": ratchet.message_key(mk).hex(),
                    "aad_sha256": sha256(parsed.aad(before.associated_data)),
                    "head": whole_head.hex(),
                    "body_sha256": sha256(made),
                    "state": described_state(after),
                },
            }
        )
        return message

    def carrying(self, who: str, part: Part, content: str = "against the rules") -> bytes:
        """What somebody would send who breaks the rules: their next message with another part. It is not listed."""
        state = self.state[who]
        key, nonce = drawn(self._label("key"), 32), drawn(self._label("nonce"), 12)
        made = body.seal(padding.pad(content.encode()), key)
        wrong = replace(state, kem=replace(state.kem, carried=part))
        _, whole_head = session2.encrypt_head(wrong, key, made, lambda _: nonce)
        return whole_head + made

    def lose(self, who: str, count: int) -> None:
        """Write so many messages that nobody will ever see."""
        for _ in range(count):
            self.state[who], _ = session2.encrypt(self.state[who], bytes(256), bytes)
        self.steps.append(
            {
                "op": "lose",
                "by": who,
                "count": count,
                "expect": {"state": described_state(self.state[who])},
            }
        )

    def receive(self, who: str, name: str, changed: bytes | None = None) -> None:
        """Read a message, as it was sent or as it was changed on the way."""
        message = self.messages[name] if changed is None else changed
        draws = Draws(self._label("drawn"))
        step: Json = {"op": "receive", "by": who, "message": name, "now": self.now}
        if changed is not None:
            step |= change_of(self.messages[name], changed)
        try:
            plaintext = self._read(who, message, draws)
        except CryptoError as error:
            expect: Json = {"error": type(error).__name__}
        else:
            expect = {"plaintext_sha256": sha256(plaintext), "state": described_state(self.state[who])}
        self.steps.append({**step, **draws.given, "expect": expect})

    def _read(self, who: str, message: bytes, draws: Draws) -> bytes:
        parsed = head.parse(message)
        before = self.state.get(who)
        if before is None:
            assert parsed.handshake is not None
            own, peer = PEOPLE[who], PEOPLE[OTHER[who]]
            agreement = responded(own, parsed.handshake, own.id, peer.id)
            before = session2.answer(parsed.handshake, agreement, own.signed.pair, now=self.now)
        self.state[who], plaintext = session2.decrypt(
            before, parsed, random=draws, now=self.now, encapsulate=draws.encapsulate
        )
        return plaintext

    def deliver(self, who: str, *names: str) -> None:
        """Somebody writes messages, and the other one reads them in order."""
        for name in names:
            self.send(who, name)
        for name in names:
            self.receive(OTHER[who], name)

    def copy(self, who: str, name: str) -> None:
        """Make a backup."""
        self._copies[name] = session2.load(session2.dump(self.state[who]))
        self.steps.append({"op": "copy", "by": who, "as": name})

    def restore(self, who: str, name: str) -> None:
        """Come back from one."""
        self.state[who] = self._copies[name]
        self.steps.append(
            {"op": "restore", "by": who, "from": name, "expect": {"state": described_state(self.state[who])}}
        )

    def forget(self, who: str) -> None:
        """Erase what is too old now."""
        self.state[who] = session2.forget_old(self.state[who], self.now)
        state = described_state(self.state[who])
        self.steps.append({"op": "forget", "by": who, "now": self.now, "expect": {"state": state}})
