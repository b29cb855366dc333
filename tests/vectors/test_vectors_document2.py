"""Suite 2 and content 2 can be written from ``protocol/encryption.md`` alone: a second computation passes every vector.

It must also refuse what the vectors refuse, with the same error.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any, Final

import pytest
import vector_content2 as content
import vector_reference2 as reference
from vector_controls import spoilt
from vector_reference import ed25519_public, message_key, u32, x25519_public
from vector_reference import padded as padded_in_suite_1
from vector_reference2 import Bundle, Owner, Rejected, Session, pad, unpad
from vector_replay import OTHER, Json, arrived, encoded_in, raw, transcripts, vectors

from support.cases import each

HANDSHAKES: Final = vectors("suite2-handshakes.json")
BODIES: Final = vectors("suite2-bodies.json")
TRANSCRIPTS: Final = transcripts("suite2-ratchet.json")
CONTENTS: Final = vectors("content-2.json")
KEYS: Final = {one["name"]: one["expect"] for one in vectors("prekeys.json")["people"]}
MADE_AT: Final = 1_770_000_000_000
"""When the bundles of transcripts were made."""


def error_of(play: Callable[[], object]) -> str | None:
    """How a computation ends."""
    try:
        play()
    except Rejected as error:
        return error.kind
    return None


# --- handshakes -------------------------------------------------------------------


def bundle_of(given: Json) -> Bundle:
    """A bundle that is listed in full."""
    members: Json = {name: bytes.fromhex(one) if isinstance(one, str) else one for name, one in given.items()}
    return Bundle(**members)


def owner_of(name: str) -> Owner:
    """Somebody with all prekeys of ``prekeys.json``."""
    keys = KEYS[name]
    signed, one_time = ({keys[kind]["id"]: raw(keys[kind]["private"])} for kind in ("signed_prekey", "one_time_prekey"))
    kems = {keys[kind]["id"]: raw(keys[kind]["seed"]) for kind in ("kem_prekey", "last_resort_kem_prekey")}
    return Owner(raw(keys["identity"]["seed"]), raw(keys["user_id"]), signed, one_time, kems)


def play_handshake(case: Json) -> None:
    """Both sides."""
    one, other, expect = case["initiator"], case["responder"], case["expect"]
    bundle, alice = bundle_of(case["bundle"]), Owner(raw(one["seed"]), raw(one["user_id"]))
    reference.check_certified(bundle.user_id, bundle.identity)
    made = reference.initiate(
        alice,
        bundle,
        ephemeral=raw(one["ephemeral_private"]),
        kem_m=raw(one["kem_m"]),
        now=case["now"],
        newest=case["newest"],
    )
    found: Json = {name: getattr(made, name).hex() for name in ("ss", "ikm", "info", "sk", "ad")}
    found |= {f"dh{place}": secret.hex() for place, secret in enumerate(made.dhs, 1)}
    found["ephemeral_public"], found["kem_ciphertext"] = made.header[32:64].hex(), made.header[76:].hex()
    found["header_sha256"] = reference.sha256(made.header).hex()
    found["signed_bytes_sha256"] = reference.sha256(bundle.signed_bytes()).hex()
    assert {"dh4": None} | found == expect
    one_time = raw(other["one_time_prekey_private"])
    bob = Owner(
        raw(other["seed"]),
        raw(other["user_id"]),
        {bundle.signed_prekey_id: raw(other["signed_prekey_private"])},
        {bundle.one_time_prekey_id: one_time} if one_time else {},
        {bundle.kem_prekey_id: raw(other["kem_prekey_seed"])},
    )
    reference.check_certified(alice.user_id, made.header[:32])
    assert reference.respond(bob, alice.user_id, made.header)[0] == made


def do_initiate(given: Json) -> object:
    """``initiate`` of the refusals."""
    return reference.initiate(
        Owner(raw(given["initiator"]), raw(given["initiator_id"])),
        bundle_of(given["bundle"]),
        ephemeral=raw(given["ephemeral_private"]),
        kem_m=bytes(32),
        now=given["now"],
        newest=given["newest"],
    )


def do_respond(given: Json) -> object:
    """``respond``: the header arrives as the part of a head."""
    message = b"\2\1" + raw(given["header"]) + bytes(100) + reference.seal_body(bytes(32), pad(b""))
    return reference.respond(owner_of("bob"), raw(given["initiator_id"]), reference.parse(message).carried)


# --- bodies and contents ----------------------------------------------------------


def play_body(case: Json) -> None:
    """A body, made and opened."""
    key, padded, expect = raw(case["key"]), pad(raw(case["content"])), case["expect"]
    assert [part.hex() for part in reference.body_keys(key)] == [expect["commitment"], expect["body_key"]]
    assert reference.seal_body(key, padded).hex() == expect["body"]
    assert unpad(reference.open_body(key, raw(expect["body"]))) == raw(case["content"])


def play_length(case: Json) -> None:
    """Padding."""
    padded = pad(b"a" * case["length"])
    assert len(padded) == case["expect"]["padded_length"]
    assert reference.sha256(padded).hex() == case["expect"]["padded_sha256"]
    assert (padded == padded_in_suite_1(b"a" * case["length"])) is (len(padded) < 44_544)


def play_content(case: Json) -> None:
    """A content, written and read."""
    members = {**case["content"], **{name: raw(case["content"][name]) for name in ("sender", "senderKey")}}
    assert content.write(members).hex() == case["expect"]["encoded"]
    assert pad(content.write(members), reference.SIZES[1:]).hex() == case["expect"]["padded"]
    read = content.read(unpad(raw(case["expect"]["padded"])), raw(case["sender"]), raw(case["sender_key"]))
    assert read == case["said"]


def do_read(case: Json) -> Json:
    """What a listed content says."""
    return content.read(encoded_in(case), raw(case["sender"]), raw(case["sender_key"]))


def play_read(case: Json) -> None:
    """A content that is only read."""
    assert do_read(case) == case["expect"]["said"]


OPERATIONS: Final[dict[str, Callable[[Json], object]]] = {
    "initiate": do_initiate,
    "respond": do_respond,
    "open-body": lambda given: reference.open_body(raw(given["key"]), raw(given["body"])),
    "pad": lambda given: pad(b"a" * given["length"]),
}


def play_refused(case: Json) -> None:
    """Something that must be refused."""
    play = (lambda: OPERATIONS[case["operation"]](case["input"])) if "operation" in case else (lambda: do_read(case))
    assert error_of(play) == case["expect"]["error"]


def play_accepted(case: Json) -> None:
    """Something that differs only slightly from what must be refused."""
    assert case["expect"] == {"accepted": True}
    assert error_of(lambda: OPERATIONS[case["operation"]](case["input"])) is None


# --- transcripts ------------------------------------------------------------------


class Watched(dict[str, bytes]):
    """The random values that a step lists, and which of them were asked for."""

    def __init__(self, step: Json) -> None:
        names = ("ratchet_private", "offer_seed", "kem_m")
        super().__init__({name: raw(step[name]) for name in names if name in step})
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> bytes:
        self.asked.add(name)
        return super().__getitem__(name)


class Talk:
    """A transcript, computed and compared step by step."""

    def __init__(self, transcript: Json) -> None:
        self.sessions: dict[str, Session] = {}
        self.messages: dict[str, bytes] = {}
        self.padded: dict[str, bytes] = {}
        self.copies: dict[str, Session] = {}
        for number, step in enumerate(transcript["steps"]):
            try:
                getattr(self, step["op"])(step, step["by"], step.get("expect", {}))
            except BaseException as error:
                error.add_note(f"transcript {transcript['name']}, step {number}")
                raise

    def start(self, step: Json, who: str, expect: Json) -> None:
        bundle = self.bundle(OTHER[who], step)
        ephemeral, m = raw(step["ephemeral_private"]), raw(step["kem_m"])
        made = reference.initiate(owner_of(who), bundle, ephemeral=ephemeral, kem_m=m, now=step["now"], newest=0)
        assert {name: getattr(made, name).hex() for name in ("sk", "ad", "header")} == {
            name: expect[name] for name in ("sk", "ad", "header")
        }
        self.sessions[who] = Session.begun(made, bundle, raw(step["ratchet_private"]), step["now"])
        self.compare(who, expect)

    @staticmethod
    def bundle(who: str, step: Json) -> Bundle:
        """What a relay would hand out; its signature is not listed."""
        keys, last = KEYS[who], KEYS[who]["last_resort_kem_prekey"]
        given: Json = {"identity": raw(keys["identity"]["public"]), "user_id": raw(keys["user_id"]), "made_at": MADE_AT}
        for kind in ["signed_prekey"] + ["one_time_prekey"] * step["with_one_time_prekey"]:
            given |= {kind: raw(keys[kind]["public"]), f"{kind}_id": keys[kind]["id"]}
        kem = keys["kem_prekey"] if step["with_one_time_kem_prekey"] else last
        given |= {"kem_prekey": raw(kem["public"]), "kem_prekey_id": kem["id"]}
        given["kem_prekey_signature"] = raw(kem["signature"])
        if step["with_one_time_kem_prekey"]:
            given |= {"last_resort_digest": reference.sha256(raw(last["public"])), "last_resort_id": last["id"]}
        return Signed(**given, bundle_signature=b"")

    def send(self, step: Json, who: str, expect: Json) -> None:
        padded = pad(raw(step["content"]))
        made = self.sessions[who].write(raw(step["key"]), padded, raw(step["nonce"]))
        found = {"mk": made.mk, "message_key": message_key(made.mk), "head": made.head}
        found |= {"aad_sha256": reference.sha256(made.aad), "body_sha256": reference.sha256(made.body)}
        assert {name: value.hex() for name, value in found.items()} == {name: expect[name] for name in found}
        self.compare(who, expect)
        self.messages[step["message"]], self.padded[step["message"]] = made.head + made.body, padded

    def lose(self, step: Json, who: str, expect: Json) -> None:
        for _ in range(step["count"]):
            self.sessions[who].write(bytes(32), bytes(256), bytes(12))
        self.compare(who, expect)

    def receive(self, step: Json, who: str, expect: Json) -> None:
        message = arrived(step, self.messages[step["message"]])
        draws, before, found = Watched(step), deepcopy(self.sessions), list[bytes]()
        error = error_of(lambda: found.append(self.read(who, message, draws, step["now"])))
        assert error == expect.get("error")
        if error is not None:
            assert self.sessions == before
            return
        assert found == [self.padded[step["message"]]]
        assert reference.sha256(found[0]).hex() == expect["plaintext_sha256"]
        assert draws.asked == set(draws)
        self.compare(who, expect)

    def read(self, who: str, message: bytes, draws: Watched, now: int) -> bytes:
        """The padded content; a first message begins the session."""
        session = self.sessions.get(who)
        if session is None:
            header, peer_id = reference.parse(message).carried, raw(KEYS[OTHER[who]]["user_id"])
            reference.check_certified(peer_id, header[:32])
            session = Session.joined(*reference.respond(owner_of(who), peer_id, header), now)
        padded = session.read(message, draws, now)
        self.sessions[who] = session
        return padded

    def copy(self, step: Json, who: str, _: Json) -> None:
        self.copies[step["as"]] = deepcopy(self.sessions[who])

    def restore(self, step: Json, who: str, expect: Json) -> None:
        self.sessions[who] = deepcopy(self.copies[step["from"]])
        self.compare(who, expect)

    def forget(self, step: Json, who: str, expect: Json) -> None:
        self.sessions[who].forget(step["now"])
        self.compare(who, expect)

    def compare(self, who: str, expect: Json) -> None:
        """The whole state."""
        state = self.sessions[who]
        rows = [(chain, n, mk) for (chain, n), (mk, _) in state.skipped.items()]
        found: Json = {name: value and value.hex() for name, value in vars(state).items() if isinstance(value, bytes)}
        found |= {name: getattr(state, name) for name in ("ns", "nr", "pn", "part", "messages", "at")}
        found["dhs"] = x25519_public(state.private).hex()
        found["carried_sha256"] = reference.sha256(state.carried).hex()
        found["skipped_count"] = len(rows)
        found["skipped_sha256"] = reference.sha256(b"".join(chain + u32(n) + mk for chain, n, mk in rows)).hex()
        found["skipped"] = [{"dh": chain.hex(), "n": n, "mk": mk.hex()} for chain, n, mk in rows]
        assert {name: found.get(name) for name in expect["state"]} == expect["state"]


class Signed(Bundle):
    """A bundle whose signature is not listed: it is not checked."""

    def check(self, now: int, newest: int) -> None:
        """Nothing."""


# --- all of them ------------------------------------------------------------------

Play = Callable[[Json], object]

CASES: Final[list[tuple[str, Play, Json]]] = [
    (f"{kind} {case['name']}", play, case)
    for kind, play, cases in (
        ("handshake", play_handshake, HANDSHAKES["cases"]),
        ("handshake", play_refused, HANDSHAKES["refused"]),
        ("body", play_body, BODIES["bodies"]),
        ("body", play_length, BODIES["lengths"]),
        ("body", play_refused, BODIES["refused"]),
        ("body", play_accepted, BODIES["controls"]),
        ("talk", Talk, TRANSCRIPTS),
        ("content", play_content, CONTENTS["contents"]),
        ("content", play_read, CONTENTS["read"]),
        ("content", play_refused, CONTENTS["refused"]),
    )
    for case in cases
]


@each(("play", "case"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_vector_follows_from_the_document(play: Play, case: Json) -> None:
    play(case)


# --- controls: another reading of the document ------------------------------------


def red(names: set[str]) -> set[str]:
    """Which of these cases do not follow any more."""
    found = set()
    for name, play, case in CASES:
        if name in names:
            try:
                play(case)
            except Exception:  # noqa: BLE001 - red is red
                found.add(name)
    return found


@pytest.mark.parametrize(
    ("label", "case"),
    [
        ("user id", "handshake one-time"),
        ("bundle", "handshake least"),
        ("KEM prekey", "handshake no-one-time"),
        ("handshake", "handshake least"),
        ("associated data", "handshake least"),
        ("root", "talk one-message"),
        ("body", "body empty"),
    ],
)
def test_control_another_label_goes_red(label: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reference.LABELS, label, reference.LABELS[label][:-1])
    assert red({case}) == {case}


def _swapped_ids(key_a: bytes, key_b: bytes, id_a: bytes, id_b: bytes, real: Any = reference.associated_data) -> bytes:
    made: bytes = real(key_a, key_b, id_b, id_a)
    return made


def _secret_first(
    rk: bytes, shared: bytes, ss: bytes = b"", pq: bytes = b"", real: Any = reference.kdf_rk
) -> tuple[bytes, bytes]:
    made: tuple[bytes, bytes] = real(rk, ss, shared, pq)
    return made


def _secret_alone(
    rk: bytes, shared: bytes, ss: bytes = b"", _: bytes = b"", real: Any = reference.kdf_rk
) -> tuple[bytes, bytes]:
    made: tuple[bytes, bytes] = real(rk, shared, ss)
    return made


def _reversed(dhs: list[bytes], *others: Any, real: Any = reference.agree) -> reference.Agreement:
    made: reference.Agreement = real(dhs[::-1], *others)
    return made


CHANGES: Final[dict[str, tuple[object, str, object, set[str]]]] = {
    "ids in another order": (reference, "associated_data", _swapped_ids, {"handshake least", "talk one-message"}),
    "Diffie-Hellman results in another order": (reference, "agree", _reversed, {"handshake least"}),
    "KEM secret before the Diffie-Hellman result": (reference, "kdf_rk", _secret_first, {"talk offer-by-time"}),
    "KEM secret without what was exchanged": (reference, "kdf_rk", _secret_alone, {"talk offer-by-time"}),
    "no zeros": (reference, "zeros", lambda _: b"", {"body empty", "talk offer-by-time"}),
    "bundles of any age": (reference, "MAX_BUNDLE_AGE_MS", 91 * 86_400_000, {"handshake initiate-old"}),
    "one message more before an offer": (reference, "OFFER_AFTER_MESSAGES", 51, {"talk offer-by-count"}),
    "one message more that is skipped": (reference, "MAX_SKIP", 257, {"talk jump-too-far", "talk jump-over-an-end"}),
    "one skipped key more": (reference, "MAX_SKIPPED_KEYS", 257, {"talk most-skipped"}),
    "one receiving chain more": (reference, "MAX_RECEIVING_CHAINS", 6, {"talk several-chains"}),
    "skipped keys a millisecond longer": (reference, "MAX_SKIPPED_AGE_MS", 30 * 86_400_000 + 1, {"talk forgotten"}),
    "KEM keys unchecked": (reference, "check_kem_key", lambda _: None, {"handshake initiate-malformed-kem"}),
    "signatures unchecked": (reference, "verify", lambda *_: None, {"handshake initiate-unsigned"}),
    "nine levels": (content, "MAX_LEVELS", 9, {"content nine-levels"}),
    "seven levels": (content, "MAX_LEVELS", 7, {"content eight-levels"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_control_another_order_or_limit_goes_red(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, value, expected = CHANGES[change]
    monkeypatch.setattr(module, name, value)
    assert red(expected) == expected


LOOKED_AT: Final = ("handshake one-time", "body short", "talk one-message", "content receipt")


def unseen(play: Play, case: Json) -> Iterator[str]:
    """Values that can be spoilt without being noticed."""
    for path, changed in spoilt(case):
        with suppress(Exception):  # red is red
            play(changed)
            yield ".".join(map(str, path))


@pytest.mark.parametrize("name", LOOKED_AT)
def test_control_each_value_is_looked_at(name: str) -> None:
    play, case = next(row[1:] for row in CASES if row[0] == name)
    assert list(unseen(play, case)) == []


def test_control_people_are_who_they_are() -> None:
    for name in ("alice", "bob"):
        assert ed25519_public(owner_of(name).seed).hex() == KEYS[name]["identity"]["public"]
