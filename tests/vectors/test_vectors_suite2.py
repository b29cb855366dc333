"""Every frozen vector of suite 2 is what the production code does; see ``test_vectors_document2`` for the document."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Final

import pytest
from suite2_replay import Play2, Refusals2, play_body, play_handshake, play_length, respond
from vector_controls import spoilt
from vector_replay import Json, people, raw, transcripts, vectors

from phantom_messenger.crypto import body, bundle, handshake2, ratchet, ratchet2
from phantom_messenger.crypto.handshake import HandshakeHeader
from support.amounts import amount
from support.cases import each

EVERYBODY: Final = people(vectors("prekeys.json"))
HANDSHAKES: Final = vectors("suite2-handshakes.json")
BODIES: Final = vectors("suite2-bodies.json")
TRANSCRIPTS: Final = transcripts("suite2-ratchet.json")
REFUSED: Final = [*HANDSHAKES["refused"], *BODIES["refused"]]
SMALL: Final = [
    *((play_handshake, case) for case in HANDSHAKES["cases"]),
    *((play_body, case) for case in BODIES["bodies"]),
    *((play_length, case) for case in BODIES["lengths"]),
]
EACH: Final = pytest.mark.parametrize(("play", "case"), SMALL, ids=[case["name"] for _, case in SMALL])
EACH_TRANSCRIPT: Final = pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda one: one["name"])
LOOKED_AT: Final = ("one-message", "restored-before-offer", "offer-by-time", "handshake-repeated", "jump-too-far")
"""Transcripts of which each value is spoilt: the first two in the short form."""


def errors_of(transcript: Json) -> list[str]:
    return [step["expect"]["error"] for step in transcript["steps"] if "error" in step.get("expect", {})]


# --- what there is ----------------------------------------------------------------


def test_there_are_20_transcripts_and_as_many_refusals_as_good_cases() -> None:
    assert len(TRANSCRIPTS) >= 20
    received = [step for one in TRANSCRIPTS for step in one["steps"] if step["op"] == "receive"]
    kinds = Counter(error for one in TRANSCRIPTS for error in errors_of(one))
    assert set(kinds) == {"InvalidMessage", "UndecryptableMessage", "InvalidKey", "UnknownSuite", "UnknownPreKey"}
    assert sum(kinds.values()) >= len(received) - sum(kinds.values()) >= 150
    assert len(HANDSHAKES["refused"]) >= len(HANDSHAKES["cases"])
    assert len(BODIES["refused"]) >= len(BODIES["bodies"] + BODIES["lengths"] + BODIES["controls"])
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


@each("case", REFUSED, ids=lambda case: case["name"])
def test_it_is_refused(case: Json) -> None:
    assert Refusals2(EVERYBODY).error_of(case) == case["expect"]["error"]


@pytest.mark.parametrize("case", BODIES["controls"], ids=lambda case: case["name"])
def test_it_is_accepted(case: Json) -> None:
    assert case["expect"] == {"accepted": True}
    assert Refusals2(EVERYBODY).error_of(case) is None


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


@pytest.mark.parametrize("name", LOOKED_AT[: amount(2, 5)])
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


def red_names(among: set[str]) -> set[str]:
    """What of these the code does not do as listed."""
    found = set()
    refusals = Refusals2(EVERYBODY)
    for case in REFUSED:
        if case["name"] in among and refusals.error_of(case) != case["expect"]["error"]:
            found.add(case["name"])
    plays: list[tuple[Callable[[Json], object], Json]] = [*SMALL, *((_play, one) for one in TRANSCRIPTS)]
    for play, case in plays:
        if case["name"] not in among:
            continue
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
        (ratchet, "MAX_SKIPPED_KEYS", 257, {"most-skipped"}),
        (ratchet, "MAX_RECEIVING_CHAINS", 6, {"several-chains"}),
        (ratchet, "MAX_SKIPPED_AGE_MS", 30 * 86_400_000 + 1, {"forgotten"}),
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
    assert red_names(red) == red


def test_control_responder_with_other_prekeys_is_noticed() -> None:
    """The refusals of ``respond`` hang on the header alone: the true one is taken."""
    header = next(step["expect"]["header"] for step in TRANSCRIPTS[0]["steps"] if step["op"] == "start")
    parsed = HandshakeHeader.decode(raw(header), has_kem=True)[0]
    bob = EVERYBODY["bob"]
    respond(bob, parsed, bob.id, EVERYBODY["alice"].id)
