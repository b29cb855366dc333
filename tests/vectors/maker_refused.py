"""Makes the refusals: inputs that nobody may accept, and controls that differ from them as little as can be."""

import json
from typing import Any, Final

import maker_content as inside
import maker_points as points
from maker_base import ALICE, BOB, MALLORY, Json, drawn, file_of, flipped, named
from maker_content import Letters, delivered
from maker_refused_keys import (
    KEY,
    MESSAGE,
    PREKEY,
    SIGNATURE,
    badly_signed_bundles,
    bare_keys,
    bundles_of_bad_keys,
    case,
    headers,
    kem_bundles,
    signatures,
)
from maker_talk import Talk, nonce_place
from maker_wire import b64

from phantom_messenger.crypto import padding, session

GONE: Final = "UndecryptableMessage"
SUITE: Final = "UnknownSuite"

HANDSHAKE_ROWS: Final = (
    ("suite", 0, 1, SUITE, "the suite is 0"),
    ("suite-2", 0, 3, SUITE, "the suite is 2"),
    ("flag-handshake", 1, 1, MESSAGE, "a KEM ciphertext without a handshake"),
    ("flag-kem", 1, 2, MESSAGE, "the id of a KEM prekey, but no flag of a ciphertext"),
    ("flag-4", 1, 4, MESSAGE, "a flag that does not exist"),
    ("flag-128", 1, 128, MESSAGE, "a flag that does not exist"),
    ("ephemeral", 34, 1, GONE, "one bit of EK_A"),
    ("ephemeral-top", 65, 128, KEY, "the highest bit of EK_A, which RFC 7748 would ignore: it is not canonical"),
    ("signed-id", 69, 1, PREKEY, "one bit of the signed prekey's id"),
    ("one-time-id", 73, 1, PREKEY, "one bit of the one-time prekey's id"),
    ("kem-id", 77, 4, PREKEY, "one bit of the KEM prekey's id"),
    ("kem-id-other", 77, 1, GONE, "one bit of the KEM prekey's id: now it is the last-resort key"),
    ("kem-ciphertext", 78, 1, GONE, "one bit of the KEM ciphertext: decapsulation gives an unrelated secret"),
    ("kem-ciphertext-end", 1165, 128, GONE, "one bit at the end of the KEM ciphertext"),
    ("ratchet-key", 1166, 1, GONE, "one bit of DHs"),
    ("ratchet-key-top", 1197, 128, KEY, "the highest bit of DHs: it is not canonical"),
    ("pn", 1201, 1, GONE, "one bit of PN"),
    ("n", 1205, 1, GONE, "one bit of N"),
    ("n-top", 1202, 128, GONE, "the highest bit of N: a jump too far"),
    ("nonce", 1206, 1, GONE, "one bit of the nonce"),
    ("ciphertext", 1218, 1, GONE, "one bit of the ciphertext"),
    ("tag", -1, 1, GONE, "one bit of the tag"),
)
"""Name, place, bits, error, description: changes of a first message with a KEM ciphertext."""


def first() -> Talk:
    """Alice has begun; Bob has nothing."""
    talk = Talk("first", "Alice has begun with PQXDH and written a1, which is under way")
    talk.start()
    talk.send("alice", "a1")
    return talk


def answered() -> Talk:
    """A message each way, and some under way."""
    talk = Talk("answered", "Alice and Bob have written once each; a2, a3 and b2 are under way")
    talk.start(one_time=False, kem=None)
    talk.send("alice", "a1")
    talk.receive("bob", "a1")
    talk.send("bob", "b1")
    talk.receive("alice", "b1")
    for who, name in (("alice", "a2"), ("alice", "a3"), ("bob", "b2")):
        talk.send(who, name)
    return talk


def _receive(talk: Talk, name: str, description: str, error: str | None, message: bytes, *, by: str = "bob") -> Json:
    return case(
        f"receive-{talk.name}-{name}",
        "receive",
        description,
        error,
        conversation=talk.name,
        by=by,
        bytes=message.hex(),
        ratchet_private=drawn("refused/ratchet", 32).hex(),
    )


def first_messages(talk: Talk) -> list[Json]:
    """Of ``receive``, where a session would begin."""
    good = talk.messages["a1"]
    no_one_time = good[:70] + bytes(4) + good[74:]
    small = good[:1166] + points.SMALL_X25519[2] + good[1198:]
    return [
        _receive(talk, "good", "the message as it was sent", None, good),
        *(
            _receive(talk, name, text, error, flipped(good, place % len(good), bits))
            for name, place, bits, error, text in HANDSHAKE_ROWS
        ),
        _receive(talk, "no-one-time", "the one-time prekey is not named any more", GONE, no_one_time),
        _receive(talk, "small-ratchet-key", "DHs has small order", KEY, small),
        _receive(talk, "small-ephemeral", "EK_A has small order", KEY, good[:34] + bytes(32) + good[66:]),
        _receive(talk, "small-identity", "IK_A has small order", KEY, good[:2] + points.ORDER_8 + good[34:]),
        _receive(
            talk, "another-identity", "IK_A is Mallory's", GONE, good[:2] + MALLORY.identity.peer.public + good[34:]
        ),
        _receive(talk, "longer", "a byte more at the end", GONE, good + b"\0"),
    ]


def later_messages(talk: Talk) -> list[Json]:
    """Of ``receive``, where the session is there."""
    good, back = talk.messages["a3"], talk.messages["b2"]
    place = nonce_place(good)
    other = Talk("other", "another conversation")
    other.start(one_time=False, kem=None)
    other.send("alice", "a1")
    other_later = other.messages["a1"][78:]
    rows = [
        ("good", "a3 as it was sent", None, good),
        ("replayed", "a1 again", GONE, talk.messages["a1"]),
        ("reflected", "Bob's own message", GONE, back),
        ("ratchet-key", "one bit of DHs", GONE, flipped(good, 2)),
        ("ratchet-key-top", "the highest bit of DHs: it is not canonical", KEY, flipped(good, 33, 128)),
        ("small-ratchet-key", "DHs has small order", KEY, good[:2] + points.SMALL_X25519[0] + good[34:]),
        ("pn", "one bit of PN", GONE, flipped(good, 37)),
        ("n", "one bit of N", GONE, flipped(good, 41)),
        ("n-most", "N is 2^32-1", GONE, good[:38] + b"\xff" * 4 + good[42:]),
        ("pn-most", "PN is 2^32-1", GONE, good[:34] + b"\xff" * 4 + good[38:]),
        ("swapped", "the header of a2 before the ciphertext of a3", GONE, talk.messages["a2"][:place] + good[place:]),
        ("nonce", "one bit of the nonce", GONE, flipped(good, place)),
        ("ciphertext", "one bit of the ciphertext", GONE, flipped(good, place + 12)),
        ("tag", "one bit of the tag", GONE, flipped(good, len(good) - 1)),
        ("longer", "a byte more at the end", GONE, good + b"\0"),
        ("shorter", "a byte less at the end", GONE, good[:-1]),
        ("no-ciphertext", "nothing behind the ratchet header", GONE, good[:place]),
        ("no-nonce", "half a nonce", GONE, good[: place + 6]),
        ("no-tag", "a nonce and 15 bytes", GONE, good[: place + 27]),
        (
            "handshake-taken-away",
            "a message of another session without its handshake header",
            GONE,
            b"\x01\x00" + other_later,
        ),
        ("suite", "the suite is 2", SUITE, b"\x02" + good[1:]),
    ]
    cases = [_receive(talk, name, text, error, message) for name, text, error, message in rows]
    cases += [
        _receive(talk, "back-good", "b2 as it was sent", None, back, by="alice"),
        _receive(talk, "back-replayed", "b1 again", GONE, talk.messages["b1"], by="alice"),
        _receive(talk, "back-flipped", "one bit of the tag of b2", GONE, flipped(back, len(back) - 1), by="alice"),
    ]
    return cases


def cut_off(talk: Talk) -> list[Json]:
    """Of ``parse``."""
    good = talk.messages["a1"]
    lengths = {
        "nothing": 0,
        "suite-alone": 1,
        "flags-alone": 2,
        "in-identity": 33,
        "in-ephemeral": 65,
        "in-ids": 77,
        "ids-alone": 78,
        "in-kem-ciphertext": 1165,
        "no-ratchet-header": 1166,
        "in-ratchet-header": 1205,
    }
    return [
        case("parse-good", "parse", "a message that is not cut off", None, bytes=good.hex()),
        case("parse-least", "parse", "the least that can be taken apart", None, bytes=(b"\x01\x00" + bytes(40)).hex()),
        *(
            case(f"parse-{name}", "parse", f"cut off after {length} bytes", MESSAGE, bytes=good[:length].hex())
            for name, length in lengths.items()
        ),
        *(
            case(
                f"parse-flags-{flags}",
                "parse",
                "flags that do not exist",
                MESSAGE,
                bytes=bytes([1, flags, *bytes(1300)]).hex()[:400],
            )
            for flags in (2, 4, 8, 16, 32, 64, 128, 255)
        ),
        *(
            case(
                f"parse-suite-{suite}",
                "parse",
                "a suite that is not known",
                SUITE,
                bytes=bytes([suite, 0, *bytes(68)]).hex(),
            )
            for suite in (0, 2, 255)
        ),
    ]


def paddings() -> list[Json]:
    """Of ``unpad`` and ``pad``."""
    rows: list[tuple[str, str, str | None, bytes]] = [
        ("good", "padded content", None, padding.pad(b"hello")),
        ("empty", "no bytes", MESSAGE, b""),
        ("zeros", "zeros alone", MESSAGE, bytes(256)),
        ("none", "content without a mark", MESSAGE, b"hello".ljust(256, b"a")),
        ("not-zero", "a one among the zeros behind the mark", MESSAGE, padding.pad(b"hello")[:-1] + b"\x01"),
        ("another-mark", "0x01 as the mark", MESSAGE, b"hello\x01".ljust(256, b"\0")),
    ]
    return [
        *(case(f"unpad-{name}", "unpad", text, error, padded=padded.hex()) for name, text, error, padded in rows),
        case("pad-most", "pad", "as many bytes 0x61 as fit", None, length=padding.MAX_PADDED - 1),
        case("pad-too-long", "pad", "one byte more than fits", "TooLong", length=padding.MAX_PADDED),
    ]


def _twice(written: bytes) -> bytes:
    """A map of fewer than 15 entries with its last one, of a short name and text, twice."""
    plain = padding.unpad(written)
    last = plain[plain.rindex(b"\xa4body") :]
    return bytes((plain[0] + 1,)) + plain[1:] + last


def contents() -> list[Json]:
    """Of ``content``."""
    text, receipt = inside.text, inside.receipt
    without = {name: value for name, value in text().items() if name != "body"}
    unburned = {name: value for name, value in receipt().items() if name != "burned"}
    bad_utf_8 = inside.written(text("x" * 3)).replace(b"xxx", b"x\xff\xfe")
    rows: list[tuple[str, str, str | None, bytes]] = [
        ("good", "a text", None, inside.written(text())),
        ("version-2", "version 2", MESSAGE, inside.written(text(version=2))),
        ("version-true", "version true", MESSAGE, inside.written(text(version=True))),
        ("unknown-kind", "a kind that is not known", MESSAGE, inside.written(text(kind="picture"))),
        ("no-body", "a text without its body", MESSAGE, inside.written(without)),
        ("unknown-member", "a member that does not exist", MESSAGE, inside.written(text(more=1))),
        ("negative-time", "a time before 1970", MESSAGE, inside.written(text(sentAt=-1))),
        ("far-time", "a time after the first day of 9999", MESSAGE, inside.written(text(sentAt=253_370_764_800_001))),
        ("not-utf-8", "a body that is not UTF-8", MESSAGE, bad_utf_8),
        ("text-id", "an id as text", MESSAGE, inside.written(text(sender=b64(ALICE.id)))),
        (
            "receipt-short-id",
            "a receipt with an id of 35 characters",
            MESSAGE,
            inside.written(receipt(read=["a" * 35])),
        ),
        ("receipt-too-many", "a receipt with 201 ids", MESSAGE, inside.written(receipt(read=[inside.IDS[0]] * 201))),
        ("float-time", "a time as a float", MESSAGE, inside.written(text(sentAt=float(text()["sentAt"])))),
        ("twice", "a field twice, with the same value", MESSAGE, padding.pad(_twice(inside.written(text())))),
        ("receipt-no-array", "a receipt without `burned`", MESSAGE, inside.written(unburned)),
        ("array", "no map", MESSAGE, padding.pad(b"\x90")),
        ("cut-off", "a map that is cut off", MESSAGE, padding.pad(padding.unpad(inside.written(text()))[:-1])),
        ("more-behind", "a byte behind the map", MESSAGE, padding.pad(padding.unpad(inside.written(text())) + b"\x01")),
        ("empty", "nothing", MESSAGE, padding.pad(b"")),
        ("unpadded", "a map without padding", MESSAGE, padding.unpad(inside.written(text("hello")))),
    ]
    return [
        case(f"content-{name}", "content", description, error, padded=padded.hex())
        for name, description, error, padded in rows
    ]


def _open(name: str, description: str, error: str | None, text: str, *before: Any) -> Json:
    return case(f"open-{name}", "open", description, error, recipient="bob", before=list(before), text=text)


def _own(**changes: Any) -> str:
    """The first letter of a session, with something wrong in its content."""
    return Letters().letter(inside.written(inside.text(**changes)))


def people() -> list[Json]:
    """Of ``open``: who a message is from and for."""
    good = inside.written(inside.text())
    message = Letters().message(good)
    mallory_key = MALLORY.identity.peer.public
    changed = json.loads(delivered(ALICE, message))
    changed["payload"]["conversationId"] = "another"
    later_text = changed | {"timestamp": changed["timestamp"] + 1}
    changed_text = json.dumps(changed)
    del later_text["payload"]["conversationId"]
    rival = Letters(MALLORY, "rival")
    rival_text = rival.letter(inside.written({**inside.text(), **inside.fields(MALLORY)}))
    unknown = flipped(message, 69)
    alice = b64(ALICE.id)
    stranger = session.parse(message)
    bare = bytes([1, 0]) + stranger.header.encode() + stranger.ciphertext
    return [
        _open("good", "a text of Alice's", None, delivered(ALICE, message)),
        _open("good-rival", "a text of Mallory's", None, rival_text),
        _open("recipient", "content for Mallory", MESSAGE, _own(recipient=MALLORY.id)),
        _open("recipient-key", "content for Mallory's key", MESSAGE, _own(recipientKey=mallory_key)),
        _open("sender", "content of Mallory's", MESSAGE, _own(sender=MALLORY.id)),
        _open("sender-key", "content of Mallory's key", MESSAGE, _own(senderKey=mallory_key)),
        _open("reversed", "content of Bob's for Alice", MESSAGE, _own(**inside.fields(BOB, ALICE))),
        _open("version", "content of version 2", MESSAGE, _own(version=2)),
        _open("unpadded", "content without padding", MESSAGE, Letters().letter(padding.unpad(good))),
        _open(
            "signed-by-another", "an envelope that Mallory signed", SIGNATURE, delivered(ALICE, message, signer=MALLORY)
        ),
        _open("changed-envelope", "a conversationId that Alice did not sign", SIGNATURE, changed_text),
        _open(
            "another-sender", "the relay says that it is Mallory's", KEY, delivered(ALICE, message, from_id=MALLORY.id)
        ),
        _open("unknown-prekey", "a signed prekey that Bob does not have", PREKEY, delivered(ALICE, unknown)),
        _open("no-session", "no handshake header, and no session", GONE, delivered(ALICE, bare)),
        _open(
            "replayed",
            "the same message again",
            GONE,
            delivered(ALICE, message),
            {"deliver": delivered(ALICE, message)},
        ),
        _open(
            "handshake-replayed",
            "the first message again, after Bob has lost his sessions",
            GONE,
            delivered(ALICE, message),
            {"deliver": delivered(ALICE, message)},
            {"lose_sessions": alice},
        ),
        _open(
            "used-one-time",
            "Mallory's handshake with the one-time prekey that Alice's has used up",
            PREKEY,
            rival_text,
            {"deliver": delivered(ALICE, message)},
        ),
    ]


def texts() -> list[Json]:
    """Of ``decode-frame``: what the relay answers with an error."""
    key, user = b64(drawn("refused/key", 32)), b64(ALICE.id)
    good = f'{{"type":"AUTH","timestamp":1,"payload":{{"userId":"{user}","publicKey":"{key}"}}}}'
    ping = '{"type":"PING","timestamp":1}'
    message = (
        f'{{"type":"MESSAGE","timestamp":1,"signature":"{b64(bytes(64))}","payload":{{"recipientId":"{user}",'
        f'"conversationId":"c","messageId":"{inside.IDS[0]}","encrypted":"QUJD","metadata":{{"x":1}}}}}}'
    )
    rows: list[tuple[str, str, str | None, str]] = [
        ("good-auth", "AUTH in order", None, good),
        ("good-ping", "PING in order", None, ping),
        ("good-message", "MESSAGE in order", None, message),
        ("duplicate-name", "a name twice", "duplicate-name", ping.replace("{", '{"type":"PING",')),
        (
            "duplicate-in-metadata",
            "a name twice in metadata",
            "duplicate-name",
            message.replace('{"x":1}', '{"x":1,"x":2}'),
        ),
        ("nan", "NaN in metadata", "json", message.replace('"x":1', '"x":NaN')),
        ("large-integer", "2^53 in metadata", "number", message.replace('"x":1', '"x":9007199254740992')),
        ("lone-surrogate", "half a surrogate pair in metadata", "json", message.replace('"x":1', '"x":"\\ud800"')),
        ("too-deep", "9 levels", "too-deep", message.replace('"x":1', '"x":' + "[" * 6 + "]" * 6)),
        ("not-json", "cut off", "json", ping[:-1]),
        ("array", "no object", "json", "[]"),
        ("two", "something behind the object", "json", ping + "{}"),
        ("unknown-type", "a type that does not exist", "type", ping.replace("PING", "PUNG")),
        ("unknown-member", "a member that does not exist", "field", ping.replace("}", ',"more":1}')),
        ("null", "null for what is absent", "field", ping.replace("}", ',"id":null}')),
        ("fraction", "an integer with a fraction", "field", ping.replace(":1}", ":1.0}")),
        ("negative", "a time before 1970", "field", ping.replace(":1}", ":-1}")),
        ("short-key", "a key of 31 bytes", "base64", good.replace(key, b64(bytes(31)))),
        ("stray-bits", "base64 with stray bits", "base64", good.replace(key, b64(bytes(32))[:-2] + "B=")),
        (
            "url-alphabet",
            "base64 of the other alphabet",
            "base64",
            good.replace(key, b64(b"\xff" * 32).replace("/", "_")),
        ),
        ("empty-id", "an id without a character", "field", ping.replace("}", ',"id":""}')),
    ]
    cases = []
    for name, description, reason, text in rows:
        made = case(f"frame-{name}", "decode-frame", description, None if reason is None else "Refused", text=text)
        if reason is not None:
            made["expect"]["reason"] = reason
        cases.append(made)
    return cases


def refused_json() -> Json:
    """``refused.json``."""
    begun, running = first(), answered()
    cases = named(
        [
            *signatures(),
            *bare_keys(),
            *badly_signed_bundles(),
            *bundles_of_bad_keys(),
            *kem_bundles(),
            *headers(),
            *cut_off(begun),
            *first_messages(begun),
            *later_messages(running),
            *paddings(),
            *contents(),
            *people(),
            *texts(),
        ]
    )
    return file_of(
        "Inputs that must be refused, each with the kind of refusal; and controls, which must be accepted.",
        conversations=named([begun.transcript(), running.transcript()]),
        refused=[one for one in cases if "error" in one["expect"]],
        controls=[one for one in cases if "error" not in one["expect"]],
    )
