"""Suite 2 talks with a second computation of it, written from the document, with another ML-KEM."""

import random
from typing import Final

import pytest
from crypto_samples import ALICE, BOB, EPHEMERAL, NOW, randomness
from suite2_samples import LAST_RESORT, bundle
from vector_reference2 import Bundle, Owner, Rejected, Session, initiate, pad, respond, unpad

from phantom_messenger.crypto import body, handshake2, head, padding, ratchet2, session2
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.session2 import Session2
from support.amounts import amount

TRANSCRIPTS: Final = amount(6, 200)
MESSAGES: Final = 60
DAY_MS: Final = 86_400_000


def bundle_of(given: DatedBundle) -> Bundle:
    """As the second computation names its parts."""
    return Bundle(
        identity=given.identity.public,
        user_id=given.user_id,
        made_at=given.made_at,
        signed_prekey=given.signed_prekey,
        signed_prekey_id=given.signed_prekey_id,
        kem_prekey=given.kem_prekey,
        kem_prekey_id=given.kem_prekey_id,
        kem_prekey_signature=given.kem_prekey_signature,
        last_resort_digest=given.last_resort_digest,
        last_resort_id=given.last_resort_id,
        bundle_signature=given.signature,
        one_time_prekey=given.one_time_prekey,
        one_time_prekey_id=given.one_time_prekey_id,
    )


class Own:
    """Our side."""

    def __init__(self, state: Session2, name: str) -> None:
        self.state = state
        self.fresh = randomness(name)

    def write(self, content: bytes) -> bytes:
        self.state, message = session2.encrypt(self.state, padding.pad(content, most=body.MAX_PADDED), self.fresh)
        return message

    def read(self, message: bytes, now: int) -> bytes:
        self.state, found = session2.decrypt(self.state, head.parse(message), random=self.fresh, now=now)
        return padding.unpad(found)

    def restart(self) -> None:
        self.state = session2.load(session2.dump(self.state))


class Other:
    """The second computation."""

    def __init__(self, state: Session, name: str) -> None:
        self.state = state
        self.fresh = randomness(name)

    def write(self, content: bytes) -> bytes:
        made = self.state.write(self.fresh(32), pad(content), self.fresh(12))
        return made.head + made.body

    def read(self, message: bytes, now: int) -> bytes:
        sizes = {"ratchet_private": 32, "offer_seed": 64, "kem_m": 32}
        draws = {name: self.fresh(size) for name, size in sizes.items()}
        return unpad(self.state.read(message, draws, now))

    def restart(self) -> None:
        """Nothing to do."""


Side = Own | Other


def own_begins(seed: int) -> tuple[Side, Side]:
    fresh = randomness(f"own {seed}")
    state = session2.start(
        ALICE.identity,
        bundle(),
        EPHEMERAL,
        own_id=ALICE.id,
        now=NOW,
        persistent_now=NOW,
        newest=0,
        random=fresh,
    )
    assert state.pending is not None
    owner = Owner(
        BOB.identity.seed,
        BOB.id,
        {BOB.signed.id: BOB.signed.pair.private},
        {BOB.one_time.id: BOB.one_time.pair.private},
        {BOB.kem.id: BOB.kem.seed},
    )
    found = respond(owner, ALICE.id, state.pending.encode())
    return Own(state, f"a {seed}"), Other(Session.joined(*found, NOW), f"b {seed}")


def other_begins(seed: int) -> tuple[Side, Side]:
    fresh = randomness(f"other {seed}")
    given = bundle_of(bundle(one_time_kem=False))
    alice = Owner(ALICE.identity.seed, ALICE.id)
    found = initiate(alice, given, ephemeral=fresh(32), kem_m=fresh(32), now=NOW, newest=0)
    header, _ = HandshakeHeader.decode(found.header, has_kem=True)
    agreement = handshake2.respond(
        BOB.identity,
        header,
        signed_prekey=BOB.signed,
        one_time_prekey=BOB.one_time,
        kem_prekey=LAST_RESORT[BOB.id],
        own_id=BOB.id,
        peer_id=ALICE.id,
    )
    begun = Session.begun(found, given, fresh(32), NOW)
    return Other(begun, f"a {seed}"), Own(session2.answer(header, agreement, BOB.signed.pair, now=NOW), f"b {seed}")


ROLES: Final = {"we begin": own_begins, "the other begins": other_begins}


class Transcript:
    """Two sides, and a network that loses, repeats and reorders within a window of ten messages."""

    def __init__(self, roles: str, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - the same in every run
        begins, answers = ROLES[roles](seed)
        self.side: dict[str, Side] = {"a": begins, "b": answers}
        self.has_heard = {"a": True, "b": False}
        self.under_way: list[tuple[str, bytes, bytes]] = []
        self.read: list[tuple[str, bytes]] = []
        self.parts: list[int] = []
        self.now = NOW

    def say(self, number: int) -> None:
        sender = self.dice.choice([name for name, can in self.has_heard.items() if can])
        text = b"%d" % number
        message = self.side[sender].write(text)
        self.parts.append(message[1])
        if number == 0 or self.dice.random() > 0.1:
            self.under_way.append(("b" if sender == "a" else "a", message, text))

    def deliver(self) -> None:
        place = self.dice.randrange(min(10, len(self.under_way)))
        to, message, text = self.under_way.pop(place)
        self.refuses(to, message[:-20] + bytes([message[-20] ^ 1]) + message[-19:])
        assert self.side[to].read(message, self.now) == text
        self.has_heard[to] = True
        self.read.append((to, message))

    def refuses(self, to: str, message: bytes) -> None:
        with pytest.raises((CryptoError, Rejected)):
            self.side[to].read(message, self.now)

    def run(self, messages: int = MESSAGES) -> "Transcript":
        for number in range(messages):
            self.say(number)
            while self.under_way and self.dice.random() < 0.6:
                self.deliver()
            if self.read and self.dice.random() < 0.2:
                self.refuses(*self.dice.choice(self.read))
            if self.dice.random() < 0.1:
                self.side["a"].restart()
                self.side["b"].restart()
            if self.dice.random() < 0.05:
                self.now += 4 * DAY_MS
        while self.under_way:
            self.deliver()
        return self


def run_all(roles: str, number: int) -> list[Transcript]:
    return [Transcript(roles, seed).run() for seed in range(number)]


@pytest.mark.timeout(amount(300, 1_200))
@pytest.mark.parametrize("roles", ROLES)
def test_each_message_of_one_side_is_read_by_the_other(roles: str) -> None:
    made = run_all(roles, TRANSCRIPTS)
    assert sum(len(one.read) for one in made) > TRANSCRIPTS * MESSAGES * 0.8
    # Offers and answers of both sides were among them.
    assert {part for one in made for part in one.parts} == {0, 1, 2, 3}


# --- the same with another parameter ----------------------------------------------

CHANGES: Final[dict[str, tuple[object, str, object]]] = {
    "label of the root": (ratchet2, "ROOT_INFO", b"phantom/1 ratchet root\n"),
    "label of the handshake": (handshake2, "PQXDH_INFO", b"phantom/1 PQXDH X25519 SHA-256 ML-KEM-768\n"),
    "label of the associated data": (handshake2, "ASSOCIATED_DATA", b"phantom/1 associated-data\n"),
    "label of the body": (body, "BODY_INFO", b"phantom/1 bodies\n"),
    "what is bound with a secret": (
        ratchet2,
        "kdf_rk",
        lambda rk, dh, shared=b"", _=b"", real=ratchet2.kdf_rk: real(rk, dh, shared),
    ),
    "secret of the KEM": (
        ratchet2,
        "kdf_rk",
        lambda rk, dh, _=b"", exchanged=b"", real=ratchet2.kdf_rk: real(rk, dh, b"", exchanged),
    ),
}


@pytest.mark.parametrize("roles", ROLES)
@pytest.mark.parametrize("change", CHANGES)
def test_control_another_parameter_of_ours_is_noticed(change: str, roles: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, value = CHANGES[change]
    monkeypatch.setattr(module, name, value)
    with pytest.raises((CryptoError, Rejected)):
        run_all(roles, 4)
