"""``protocol/encryption.md`` suffices to compute the vectors: a second computation finds every value in them."""

import hashlib
from typing import Any, Final

import pytest
from vector_reference import Person, Refusal, initiate, padded, respond
from vector_replay import OTHER, Json, raw, vectors

from support.cases import each

HANDSHAKES: Final = vectors("handshakes.json")["cases"]
TRANSCRIPTS: Final = [one for name in ("ratchet.json", "ratchet-limits.json") for one in vectors(name)["transcripts"]]


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


PEOPLE: Final = {one["name"]: in_bytes(one["expect"]) for one in vectors("prekeys.json")["people"]}


def bundle_of(keys: Json, *, one_time: bool, kem: str | None) -> Json:
    """What the relay hands out, as ``handshakes.json`` names it."""
    kems = {"one-time": keys["kem_prekey"], "last-resort": keys["last_resort_kem_prekey"], None: None}
    return {
        "identity": keys["identity"]["public"],
        "signed_prekey": keys["signed_prekey"]["public"],
        "signed_prekey_id": keys["signed_prekey"]["id"],
        "one_time_prekey": keys["one_time_prekey"]["public"] if one_time else None,
        "one_time_prekey_id": keys["one_time_prekey"]["id"] if one_time else 0,
        "kem_prekey": kems[kem] and kems[kem]["public"],
        "kem_prekey_id": 0 if kem is None else kems[kem]["id"],
    }


# --- handshakes -------------------------------------------------------------------


def compute_handshake(case: Json) -> None:
    """Both sides of one."""
    one, other = case["initiator"], case["responder"]
    ids = (raw(one["user_id"]), raw(other["user_id"]))
    bundle = in_bytes(case["bundle"])
    found = initiate(raw(one["seed"]), ids, raw(one["ephemeral_private"]), raw(one["kem_m"]), bundle)
    absent = dict.fromkeys(("dh4", "ss"))
    assert in_hex(absent | found) == case["expect"]
    private = {
        "signed": raw(other["signed_prekey_private"]),
        "one_time": raw(other["one_time_prekey_private"]) or None,
        "kem": raw(other["kem_prekey_seed"]) or None,
    }
    answered = in_hex(respond(found["header"], raw(other["seed"]), ids, private))
    assert answered == {name: case["expect"][name] for name in answered}


@pytest.mark.parametrize("case", HANDSHAKES, ids=lambda case: case["name"])
def test_handshake_follows_from_the_document(case: Json) -> None:
    compute_handshake(case)


# --- transcripts ------------------------------------------------------------------


class Computed:
    """A transcript, computed and compared step by step."""

    def __init__(self, transcript: Json) -> None:
        ids = {name: raw(one) for name, one in transcript["user_ids"].items()}
        self.people = {name: Person(PEOPLE[name], ids[name], ids[OTHER[name]]) for name in OTHER}
        self.padded = transcript["is_padded"]
        self.labels: dict[bytes, str] = {}
        self.messages: dict[str, bytes] = {}
        self.plaintexts: dict[str, bytes] = {}
        self.copies: dict[str, list[Any]] = {}
        for step in transcript["steps"]:
            getattr(self, step["op"])(step, self.people[step["by"]], step.get("expect", {}))

    def order(self, person: Person) -> list[str]:
        return [self.labels[one.name] for one in person.sessions]

    def start(self, step: Json, person: Person, expect: Json) -> None:
        peer = self.people[OTHER[step["by"]]]
        bundle = bundle_of(peer.keys, one_time=step["with_one_time_prekey"], kem=step["with_kem_prekey"])
        ephemeral, m, fresh = (raw(step[name]) for name in ("ephemeral_private", "kem_m", "ratchet_private"))
        begun, found = person.start(ephemeral, m, fresh, bundle)
        self.labels[begun.name] = step["session"]
        state = begun.ratchet.listed(with_skipped=True)
        absent = dict.fromkeys(("dh4", "ss"))
        assert in_hex({**absent, **found, "state": state, "order": self.order(person)}) == expect

    def send(self, step: Json, person: Person, expect: Json) -> None:
        content = raw(step["content"])
        plaintext = padded(content) if self.padded else content
        sender = person.sending()
        sent = {"dh": sender.ratchet.listed(with_skipped=False)["dhs"], "pn": sender.ratchet.pn, "n": sender.ratchet.ns}
        made = sender.seal(plaintext, raw(step["nonce"]))
        found = {**sent, **made, "plaintext": plaintext, "session": self.labels[sender.name]}
        self.compare_state(sender.ratchet, expect, found)
        self.messages[step["message"]], self.plaintexts[step["message"]] = made["bytes"], plaintext

    def lose(self, step: Json, person: Person, expect: Json) -> None:
        sender = person.sending()
        for _ in range(step["count"]):
            sender.seal(b"", bytes(12))
        self.compare_state(sender.ratchet, expect, {})

    def receive(self, step: Json, person: Person, expect: Json) -> None:
        message = raw(step["bytes"]) if "bytes" in step else self.messages[step["message"]]
        try:
            reader, plaintext, begins = person.read(message, raw(step.get("ratchet_private")), step["now"])
        except Refusal:
            assert expect == {"error": "UndecryptableMessage", "order": self.order(person)}
            return
        assert plaintext == self.plaintexts[step["message"]]
        found: Json = {
            "session": self.labels[reader.name],
            "plaintext_sha256": hashlib.sha256(plaintext).digest(),
            "order": self.order(person),
        }
        if begins is not None:
            found["begins"] = {"sk": begins["sk"], "ad": begins["ad"]}
        self.compare_state(reader.ratchet, expect, found)

    def copy(self, step: Json, person: Person, _: Json) -> None:
        self.copies[step["as"]] = person.copied()

    def restore(self, step: Json, person: Person, expect: Json) -> None:
        person.sessions = self.copies[step["from"]]
        assert {"order": self.order(person)} == expect

    def forget(self, step: Json, person: Person, expect: Json) -> None:
        for one in person.sessions:
            one.ratchet.forget(step["now"])
        self.compare_state(person.sessions[0].ratchet, expect, {})

    @staticmethod
    def compare_state(ratchet: Any, expect: Json, found: Json) -> None:
        state = ratchet.listed(with_skipped="skipped" in expect["state"])
        assert in_hex({**found, "state": state}) == expect


@each("transcript", TRANSCRIPTS, ids=lambda one: one["name"])
def test_transcript_follows_from_the_document(transcript: Json) -> None:
    Computed(transcript)
