"""Every frozen vector of suite 2 is what the production code does, and follows from the document."""

import hashlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any, Final

import pytest
from suite2_replay import Play2, Refusals2, play_body, play_handshake, play_length, respond
from vector_controls import spoilt
from vector_reference import Refusal, ed25519_public
from vector_reference import padded as padded_in_suite_1
from vector_reference2 import (
    Draws,
    Ratchet2,
    body_keys,
    bundle_bytes,
    initiate,
    open_body,
    padded,
    seal_body,
)
from vector_reference2 import respond as computed_respond
from vector_replay import OTHER, Json, people, raw, vectors

from phantom_messenger.crypto import body, bundle, handshake2, ratchet2
from phantom_messenger.crypto.handshake import HandshakeHeader

EVERYBODY: Final = people(vectors("prekeys.json"))
HANDSHAKES: Final = vectors("suite2-handshakes.json")
BODIES: Final = vectors("suite2-bodies.json")
TRANSCRIPTS: Final = vectors("suite2-ratchet.json")["transcripts"]
REFUSED: Final = [*HANDSHAKES["refused"], *BODIES["refused"]]
SMALL: Final = [
    *((play_handshake, case) for case in HANDSHAKES["cases"]),
    *((play_body, case) for case in BODIES["bodies"]),
    *((play_length, case) for case in BODIES["lengths"]),
]
EACH: Final = pytest.mark.parametrize(("play", "case"), SMALL, ids=[case["name"] for _, case in SMALL])
EACH_TRANSCRIPT: Final = pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda one: one["name"])
LOOKED_AT: Final = ("one-message", "handshake-repeated", "offer-by-time", "restored-before-offer", "jump-too-far")
"""Transcripts of which each value is spoilt."""


def errors_of(transcript: Json) -> list[str]:
    return [step["expect"]["error"] for step in transcript["steps"] if "error" in step.get("expect", {})]


# --- what there is ----------------------------------------------------------------


def test_there_are_20_transcripts_and_as_many_refusals_as_good_cases() -> None:
    assert len(TRANSCRIPTS) >= 20
    received = [step for one in TRANSCRIPTS for step in one["steps"] if step["op"] == "receive"]
    kinds = Counter(error for one in TRANSCRIPTS for error in errors_of(one))
    assert set(kinds) == {"InvalidMessage", "UndecryptableMessage", "InvalidKey", "UnknownSuite"}
    assert sum(kinds.values()) >= 50
    assert len(received) - sum(kinds.values()) >= 50
    assert len(HANDSHAKES["refused"]) >= len(HANDSHAKES["cases"])
    assert len(BODIES["refused"]) >= len(BODIES["bodies"])
    assert {case["expect"]["error"] for case in REFUSED} == {
        "InvalidKey",
        "InvalidMessage",
        "InvalidSignature",
        "StaleBundle",
        "TooLong",
        "UndecryptableMessage",
        "UnknownPreKey",
    }


def test_transcripts_have_every_part_from_both_sides() -> None:
    parts = {
        (step["by"], step["expect"]["head"][2:4])
        for one in TRANSCRIPTS
        for step in one["steps"]
        if step["op"] == "send"
    }
    everything = {(who, f"0{part}") for who in ("alice", "bob") for part in range(4)}
    assert everything - parts == {("bob", "01")}


# --- replay -----------------------------------------------------------------------


@EACH
def test_vector_is_what_the_code_does(play: Callable[[Json], None], case: Json) -> None:
    play(case)


@EACH_TRANSCRIPT
def test_transcript_is_what_the_code_does(transcript: Json) -> None:
    Play2(EVERYBODY, transcript)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["name"])
def test_it_is_refused(case: Json) -> None:
    assert Refusals2(EVERYBODY).error_of(case) == case["expect"]["error"]


# --- from the document alone ------------------------------------------------------


def in_bytes(value: Any) -> Any:
    """A listing without any text but hex."""
    if isinstance(value, dict):
        return {name: in_bytes(one) for name, one in value.items()}
    return bytes.fromhex(value) if isinstance(value, str) else value


def in_hex(value: Any) -> Any:
    """What was found, as it is listed."""
    if isinstance(value, dict):
        return {name: in_hex(one) for name, one in value.items()}
    if isinstance(value, list):
        return [in_hex(one) for one in value]
    return value.hex() if isinstance(value, bytes) else value


@pytest.mark.parametrize("case", HANDSHAKES["cases"], ids=lambda case: case["name"])
def test_handshake_follows_from_the_document(case: Json) -> None:
    one, other, given = case["initiator"], case["responder"], in_bytes(case["bundle"])
    found = initiate(raw(one["seed"]), raw(one["user_id"]), raw(one["ephemeral_private"]), raw(one["kem_m"]), given)
    header = found.pop("header")
    found |= {
        "header_sha256": hashlib.sha256(header).digest(),
        "signed_bytes_sha256": hashlib.sha256(bundle_bytes(given)).digest(),
    }
    assert {"dh4": None} | in_hex(found) == case["expect"]
    private = {
        "signed": raw(other["signed_prekey_private"]),
        "one_time": raw(other["one_time_prekey_private"]) or None,
        "kem": raw(other["kem_prekey_seed"]),
    }
    ids = (raw(one["user_id"]), raw(other["user_id"]))
    answered = in_hex(computed_respond(header, raw(other["seed"]), ids, private))
    assert answered == {name: case["expect"][name] for name in answered}


@pytest.mark.parametrize("case", BODIES["bodies"], ids=lambda case: case["name"])
def test_body_follows_from_the_document(case: Json) -> None:
    key, content = raw(case["key"]), raw(case["content"])
    made = seal_body(key, padded(content))
    assert made.hex() == case["expect"]["body"]
    assert tuple(part.hex() for part in body_keys(key)) == (case["expect"]["commitment"], case["expect"]["body_key"])
    assert open_body(key, made) == padded(content)


@pytest.mark.parametrize("case", BODIES["lengths"], ids=lambda case: case["name"])
def test_padding_follows_from_the_document(case: Json) -> None:
    found = padded(b"a" * case["length"])
    assert len(found) == case["expect"]["padded_length"]
    assert hashlib.sha256(found).hexdigest() == case["expect"]["padded_sha256"]
    assert (found == padded_in_suite_1(b"a" * case["length"])) is (len(found) < 44_544)


KEYS: Final = {one["name"]: in_bytes(one["expect"]) for one in vectors("prekeys.json")["people"]}


class Computed2:
    """A transcript, computed and compared step by step."""

    def __init__(self, transcript: Json) -> None:
        self.sides: dict[str, Ratchet2] = {}
        self.messages: dict[str, bytes] = {}
        self.plaintexts: dict[str, bytes] = {}
        self.copies: dict[str, Ratchet2] = {}
        for step in transcript["steps"]:
            getattr(self, step["op"])(step, step["by"], step.get("expect", {}))

    def start(self, step: Json, who: str, expect: Json) -> None:
        own, peer = KEYS[who], KEYS[OTHER[who]]
        kems = {"one_time_kem_prekey": "kem_prekey", "last_resort_kem_prekey": "last_resort_kem_prekey"}
        given: Json = {"identity": peer["identity"]["public"], "user_id": peer["user_id"]}
        listed = {"signed_prekey": "signed_prekey", "one_time_prekey": "one_time_prekey", **kems}
        for name, member in listed.items():
            given |= {name: peer[member]["public"], f"{name}_id": peer[member]["id"]}
        for name in ("one_time_prekey", "one_time_kem_prekey"):
            if not step[f"with_{name}"]:
                given |= {name: None, f"{name}_id": 0}
        m, ephemeral = raw(step["kem_m"]), raw(step["ephemeral_private"])
        found = initiate(own["identity"]["seed"], own["user_id"], ephemeral, m, given)
        self.sides[who] = Ratchet2.begun(found, given["signed_prekey"], raw(step["ratchet_private"]), step["now"])
        assert in_hex({name: found[name] for name in ("sk", "ad", "header")}) == {
            name: expect[name] for name in ("sk", "ad", "header")
        }
        self.compare(who, expect)

    def send(self, step: Json, who: str, expect: Json) -> None:
        plaintext = padded(raw(step["content"]))
        made = self.sides[who].write(raw(step["key"]), plaintext, raw(step["nonce"]))
        found = {name: made[name] for name in ("mk", "message_key", "head")}
        found["aad_sha256"] = hashlib.sha256(made["aad"]).digest()
        found["body_sha256"] = hashlib.sha256(made["body"]).digest()
        assert in_hex(found) == {name: expect[name] for name in found}
        self.compare(who, expect)
        self.messages[step["message"]], self.plaintexts[step["message"]] = made["head"] + made["body"], plaintext

    def lose(self, step: Json, who: str, expect: Json) -> None:
        for _ in range(step["count"]):
            self.sides[who].write(bytes(32), bytes(256), bytes(12))
        self.compare(who, expect)

    def receive(self, step: Json, who: str, expect: Json) -> None:
        message = raw(step["bytes"]) if "bytes" in step else self.messages[step["message"]]
        names = {"ratchet_private": 32, "offer_seed": 64, "kem_m": 32}
        draws = Draws(*(raw(step.get(name)) or bytes(size) for name, size in names.items()))
        try:
            plaintext = self._read(who, message, draws, step["now"])
        except (Refusal, IndexError):
            assert "error" in expect
            return
        assert plaintext == self.plaintexts[step["message"]]
        assert hashlib.sha256(plaintext).hexdigest() == expect["plaintext_sha256"]
        self.compare(who, expect)

    def _read(self, who: str, message: bytes, draws: Draws, now: int) -> bytes:
        if who in self.sides:
            return self.sides[who].read(message, draws, now)
        own, peer = KEYS[who], KEYS[OTHER[who]]
        header = message[2:1_166]
        numbers = [int.from_bytes(header[place : place + 4], "big") for place in (64, 68, 72)]
        kems = {own[name]["id"]: own[name]["seed"] for name in ("kem_prekey", "last_resort_kem_prekey")}
        private = {
            "signed": own["signed_prekey"]["private"],
            "one_time": own["one_time_prekey"]["private"] if numbers[1] else None,
            "kem": kems[numbers[2]],
        }
        assert header[:32] == ed25519_public(peer["identity"]["seed"])
        found = computed_respond(header, own["identity"]["seed"], (peer["user_id"], own["user_id"]), private)
        joined = Ratchet2.joined(found, private["signed"], now)
        plaintext = joined.read(message, draws, now)
        self.sides[who] = joined
        return plaintext

    def copy(self, step: Json, who: str, _: Json) -> None:
        self.copies[step["as"]] = self.sides[who].copied()

    def restore(self, step: Json, who: str, expect: Json) -> None:
        self.sides[who] = self.copies[step["from"]]
        self.compare(who, expect)

    def compare(self, who: str, expect: Json) -> None:
        found = self.sides[who].listed2(with_skipped="skipped" in expect["state"])
        assert in_hex(found) == expect["state"]


@EACH_TRANSCRIPT
def test_transcript_follows_from_the_document(transcript: Json) -> None:
    Computed2(transcript)


# --- controls: one value of a vector is another one -------------------------------


def survivors(play: Callable[[Json], object], case: Json) -> tuple[int, list[str]]:
    """How many values were spoilt, and of which of them nothing was noticed."""
    count, unseen = 0, []
    for path, changed in spoilt(case):
        count += 1
        with suppress(Exception):  # red is red
            play(changed)
            unseen.append(".".join(map(str, path)))
    return count, unseen


@EACH
def test_control_each_value_of_a_vector_is_looked_at(play: Callable[[Json], None], case: Json) -> None:
    count, unseen = survivors(play, case)
    assert count > 0
    assert unseen == []


@pytest.mark.parametrize("name", LOOKED_AT)
def test_control_each_value_of_a_transcript_is_looked_at(name: str) -> None:
    transcript = next(one for one in TRANSCRIPTS if one["name"] == name)
    count, unseen = survivors(lambda changed: Play2(EVERYBODY, changed), transcript)
    assert count > 40
    assert unseen == []


def test_control_true_inputs_are_not_refused() -> None:
    refusals = Refusals2(EVERYBODY)
    good = HANDSHAKES["cases"][0]
    given = {
        "initiator": good["initiator"]["seed"],
        "initiator_id": good["initiator"]["user_id"],
        "ephemeral_private": good["initiator"]["ephemeral_private"],
        "now": good["now"],
        "newest": 0,
        "bundle": good["bundle"],
    }
    assert refusals.error_of({"operation": "initiate", "input": given}) is None
    made = BODIES["bodies"][0]
    opened = {"body": made["expect"]["body"], "key": made["key"]}
    assert refusals.error_of({"operation": "open-body", "input": opened}) is None
    assert refusals.error_of({"operation": "pad", "input": {"length": body.MAX_PADDED - 1}}) is None


# --- controls: the code is another one --------------------------------------------


def red_names() -> set[str]:
    """What of all this the code does not do as listed."""
    found = set()
    refusals = Refusals2(EVERYBODY)
    for case in REFUSED:
        if refusals.error_of(case) != case["expect"]["error"]:
            found.add(case["name"])
    plays: list[tuple[Callable[[Json], object], Json]] = [*SMALL, *((_play, one) for one in TRANSCRIPTS)]
    for play, case in plays:
        try:
            play(case)
        except Exception:  # noqa: BLE001 - red is red
            found.add(case["name"])
    return found


def _play(transcript: Json) -> object:
    return Play2(EVERYBODY, transcript)


@pytest.mark.parametrize(
    ("module", "name", "value", "red"),
    [
        (ratchet2, "OFFER_AFTER_MESSAGES", 49, {"one-before-count"}),
        (ratchet2, "OFFER_AFTER_MESSAGES", 51, {"offer-by-count"}),
        (ratchet2, "OFFER_AFTER_MS", 7 * 86_400_000 - 1, {"not-yet-due"}),
        (ratchet2, "OFFER_AFTER_MS", 7 * 86_400_000 + 1, {"offer-by-time", "unanswered"}),
        (ratchet2, "ROOT_INFO", b"phantom/1 ratchet root\n", {"one-message"}),
        (ratchet2, "_check_part", lambda *_: None, {"rules"}),
        (handshake2, "PQXDH_INFO", b"phantom/1 PQXDH X25519 SHA-256 ML-KEM-768\n", {"one-time", "one-message"}),
        (handshake2, "ASSOCIATED_DATA", b"phantom/1 associated-data\n", {"one-time", "one-message"}),
        (body, "BODY_INFO", b"phantom/1 bodies\n", {"short", "one-message"}),
        (bundle, "MAX_BUNDLE_AGE_MS", 90 * 86_400_000 - 1, {"oldest"}),
        (bundle, "MAX_BUNDLE_AGE_MS", 90 * 86_400_000 + 1, {"initiate-old"}),
        (bundle, "MAX_BUNDLE_AHEAD_MS", 86_400_000 - 1, {"latest"}),
        (bundle, "MAX_BUNDLE_AHEAD_MS", 86_400_000 + 1, {"initiate-ahead"}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_control_another_limit_or_label_goes_red(
    module: ModuleType, name: str, value: object, red: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, value)
    assert red <= red_names()


def test_control_responder_with_other_prekeys_is_noticed() -> None:
    """The refusals of ``respond`` hang on the header alone: the true one is taken."""
    header = next(step["expect"]["header"] for step in TRANSCRIPTS[0]["steps"] if step["op"] == "start")
    parsed = HandshakeHeader.decode(raw(header), has_kem=True)[0]
    bob = EVERYBODY["bob"]
    respond(bob, parsed, bob.id, EVERYBODY["alice"].id)
