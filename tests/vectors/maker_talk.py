"""Two people who write to each other, step by step, and all that an implementer may want to see of it."""

import hashlib
from collections.abc import Callable
from typing import Final

from maker_base import ALICE, BOB, NOW, PEOPLE, Json, drawn, encapsulated
from maker_handshakes import begun, described

from phantom_messenger.client import conversations
from phantom_messenger.client.records import Strength
from phantom_messenger.crypto import handshake, padding, ratchet, session
from phantom_messenger.crypto.errors import CryptoError, UndecryptableMessage
from phantom_messenger.crypto.session import Parsed, Session

MAX_LISTED: Final = 8
"""Skipped keys that are listed one by one; of more there are the number and a hash."""

OTHER: Final = {"alice": "bob", "bob": "alice"}


def described_state(state: Session) -> Json:
    """The ratchet of a session, secrets too."""
    inner = state.ratchet
    skipped = [(dh, n, kept.mk) for (dh, n), kept in inner.mkskipped.items()]
    joined = b"".join(dh + n.to_bytes(4, "big") + mk for dh, n, mk in skipped)
    listed = {"skipped": [{"dh": dh.hex(), "n": n, "mk": mk.hex()} for dh, n, mk in skipped]}
    return {
        "dhs": inner.dhs.public.hex(),
        "dhr": None if inner.dhr is None else inner.dhr.hex(),
        "rk": inner.rk.hex(),
        "cks": None if inner.cks is None else inner.cks.hex(),
        "ckr": None if inner.ckr is None else inner.ckr.hex(),
        "ns": inner.ns,
        "nr": inner.nr,
        "pn": inner.pn,
        "skipped_count": len(skipped),
        "skipped_sha256": hashlib.sha256(joined).hexdigest(),
        **(listed if len(skipped) <= MAX_LISTED else {}),
    }


class Draw:
    """A source that gives one value, of any size, and remembers whether it was asked."""

    def __init__(self, label: str) -> None:
        self._label = label
        self.given = b""

    def __call__(self, size: int) -> bytes:
        self.given = drawn(self._label, size)
        return self.given


class Talk:
    """A transcript in the making.

    Args:
        name: also the label of all its randomness.
        description: what it shows.
        ids: user ids, where they are not the certified ones.
        padded: whether contents are padded; not where a transcript is about numbers alone.
    """

    def __init__(
        self, name: str, description: str, *, ids: dict[str, bytes] | None = None, padded: bool = True
    ) -> None:
        self.name, self.description, self.padded = name, description, padded
        self.ids = ids or {"alice": ALICE.id, "bob": BOB.id}
        self.steps: list[Json] = []
        self.sessions: dict[str, list[Session]] = {"alice": [], "bob": []}
        self.labels: dict[bytes, str] = {}
        self.messages: dict[str, bytes] = {}
        self.now = NOW
        self.variant = 0
        self._plain: dict[bytes, bytes] = {}
        self._copies: dict[str, list[Session]] = {}

    def transcript(self) -> Json:
        """All of it."""
        return {
            "name": self.name,
            "description": self.description,
            "user_ids": {name: one.hex() for name, one in self.ids.items()},
            "is_padded": self.padded,
            "steps": self.steps,
        }

    def _label(self, purpose: str) -> str:
        return f"ratchet/{self.name}/{self.variant}/step {len(self.steps)}/{purpose}"

    def started(self) -> list[str]:
        """All sessions by name, the one with the smallest ephemeral key first."""
        return [label for _, label in sorted(self.labels.items())]

    def _order(self, who: str) -> list[str]:
        return [self.labels[one.id] for one in self.sessions[who]]

    def start(
        self, who: str = "alice", label: str = "s1", *, one_time: bool = True, kem: str | None = "one-time"
    ) -> None:
        """Begin a session with the other one's bundle."""
        own, peer = PEOPLE[who], PEOPLE[OTHER[who]]
        bundle = peer.bundle(one_time=one_time, kem=kem)
        ids = {"own_id": self.ids[who], "peer_id": self.ids[peer.name]}
        made = begun(self._label("start"), bundle, own=own, peer=peer, **ids)
        draw = Draw(self._label("ratchet"))
        state = session.start(
            own.identity,
            bundle,
            made.ephemeral,
            **ids,
            random=draw,
            encapsulate=lambda public: encapsulated(public, made.m),
        )
        self.labels[state.id] = label
        self.sessions[who] = [state, *self.sessions[who]]
        self.steps.append(
            {
                "op": "start",
                "by": who,
                "session": label,
                "with_one_time_prekey": one_time,
                "with_kem_prekey": kem,
                "ephemeral_private": made.ephemeral.private.hex(),
                "kem_m": made.m.hex() if kem else None,
                "ratchet_private": draw.given.hex(),
                "expect": {**described(made), "state": described_state(state), "order": self._order(who)},
            }
        )

    def send(self, who: str, name: str, content: bytes | None = None) -> bytes:
        """Write a message; nobody gets it by this."""
        content = name.encode() if content is None else content
        plaintext = padding.pad(content) if self.padded else content
        before = next(one for one in self.sessions[who] if one.ratchet.cks is not None)
        draw = Draw(self._label("nonce"))
        after, message = session.encrypt(before, plaintext, draw)
        self._renew(who, before, after)
        self.messages[name], self._plain[message] = message, plaintext
        parsed = session.parse(message)
        _, mk = ratchet.kdf_ck(before.ratchet.cks or b"")
        self.steps.append(
            {
                "op": "send",
                "by": who,
                "message": name,
                "content": content.hex(),
                "nonce": draw.given.hex(),
                "expect": {
                    "session": self.labels[before.id],
                    "plaintext": plaintext.hex(),
                    "dh": parsed.header.dh.hex(),
                    "pn": parsed.header.pn,
                    "n": parsed.header.n,
                    "mk": mk.hex(),
                    "message_key": ratchet.message_key(mk).hex(),
                    "aad": (before.associated_data + parsed.prefix + parsed.header.encode()).hex(),
                    "ciphertext": parsed.ciphertext.hex(),
                    "bytes": message.hex(),
                    "state": described_state(after),
                },
            }
        )
        return message

    def lose(self, who: str, count: int) -> None:
        """Write so many messages that nobody gets."""
        before = after = next(one for one in self.sessions[who] if one.ratchet.cks is not None)
        for _ in range(count):
            after, _ = session.encrypt(after, b"", bytes)
        self._renew(who, before, after)
        self.steps.append({"op": "lose", "by": who, "count": count, "expect": {"state": described_state(after)}})

    def receive(
        self, who: str, name: str, *, error: str | None = None, bent: Callable[[bytes], bytes] | None = None
    ) -> None:
        """Read a message, or refuse it; ``bent`` is what was done to it on the way."""
        message = self.messages[name] if bent is None else bent(self.messages[name])
        step: Json = {"op": "receive", "by": who, "message": name, "now": self.now}
        if bent is not None:
            step["bytes"] = message.hex()
        before = list(self.sessions[who])
        draw = Draw(self._label("ratchet"))
        try:
            expect = self._read(who, message, draw)
        except CryptoError as found:
            if type(found).__name__ != error:
                raise
            self.sessions[who] = before
            expect = {"error": error}
        else:
            if error is not None:
                raise ValueError(f"{self.name}: {name} was to be refused")
        if draw.given:
            step["ratchet_private"] = draw.given.hex()
        self.steps.append({**step, "expect": {**expect, "order": self._order(who)}})

    def _read(self, who: str, message: bytes, draw: Draw) -> Json:
        parsed = session.parse(message)
        sessions = self.sessions[who]
        expect: Json = {}
        if parsed.handshake is not None and all(one.id != parsed.handshake.ephemeral for one in sessions):
            fresh, expect = self._answered(who, parsed)
            sessions = conversations._ordered(fresh, sessions, Strength.SUITE_1)
        before, after, plaintext = _opened(sessions, parsed, draw, self.now)
        if plaintext != self._plain[message]:
            raise ValueError(f"{self.name}: another plaintext came out")
        first = not conversations._stays(sessions[0], before)
        self.sessions[who] = conversations._renewed(sessions, before, after, first=first)
        return {
            **expect,
            "session": self.labels[after.id],
            "plaintext_sha256": hashlib.sha256(plaintext).hexdigest(),
            "state": described_state(after),
        }

    def _answered(self, who: str, parsed: Parsed) -> tuple[Session, Json]:
        header, own = parsed.handshake, PEOPLE[who]
        if header is None:
            raise ValueError("there is no handshake")
        kems = {one.id: one for one in (own.kem, own.last_resort)}
        agreement = handshake.respond(
            own.identity,
            header,
            signed_prekey=own.signed,
            one_time_prekey=own.one_time if header.one_time_prekey_id else None,
            kem_prekey=kems.get(header.kem_prekey_id),
            own_id=self.ids[who],
            peer_id=self.ids[OTHER[who]],
        )
        begins = {"sk": agreement.secret.hex(), "ad": agreement.associated_data.hex()}
        return session.answer(header, agreement, own.signed.pair), {"begins": begins}

    def _renew(self, who: str, before: Session, after: Session) -> None:
        self.sessions[who] = [after if one is before else one for one in self.sessions[who]]

    def copy(self, who: str, name: str) -> None:
        """Keep all that somebody has, as a backup does."""
        self._copies[name] = list(self.sessions[who])
        self.steps.append({"op": "copy", "by": who, "as": name})

    def restore(self, who: str, name: str) -> None:
        """Put back what was kept."""
        self.sessions[who] = list(self._copies[name])
        self.steps.append({"op": "restore", "by": who, "from": name, "expect": {"order": self._order(who)}})

    def forget(self, who: str, after_ms: int) -> None:
        """Let time pass and erase what is too old."""
        self.now += after_ms
        self.sessions[who] = [session.forget_old(one, self.now) for one in self.sessions[who]]
        state = described_state(self.sessions[who][0])
        self.steps.append({"op": "forget", "by": who, "now": self.now, "expect": {"state": state}})


def _opened(sessions: list[Session], parsed: Parsed, draw: Draw, now: int) -> tuple[Session, Session, bytes]:
    last: CryptoError = UndecryptableMessage("there is no session")
    for known in sessions:
        if parsed.handshake is not None and known.id != parsed.handshake.ephemeral:
            continue
        try:
            after, plaintext = session.decrypt(known, parsed, random=draw, now=now)
        except CryptoError as error:
            last = error
        else:
            return known, after, plaintext
    raise last


def nonce_place(message: bytes) -> int:
    """Where the ciphertext of a message begins."""
    return len(message) - len(session.parse(message).ciphertext)
