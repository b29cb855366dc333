"""Makes the vectors of canonical JSON and of the signatures of envelopes."""

import base64
import json
from typing import Any, Final

from maker_base import ALICE, BOB, MALLORY, NOW, Json, Person, drawn, file_of, named

from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.prekeys import sign_bundle
from phantom_messenger.wire import codec, frames, signing, splice
from phantom_messenger.wire.canonical import canonical, parse_strictly

MESSAGE_ID: Final = "0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f"


def b64(data: bytes) -> str:
    """Standard base64, padded."""
    return base64.b64encode(data).decode()


VALUES: Final = {
    "members-sorted": ('{"b": 1, "a": {"d": 2, "c": 3}, "": 0}', "members are sorted on every level"),
    "white-space-removed": (" [ 1 ,\t2 ,\r\n{ } , [ ] ] ", "white space goes"),
    "escapes-undone": (
        '"\\u0041\\/\\u20ac\\ud83d\\ude00\\u007f"',
        "only what must be escaped is: not the slash, not what is beyond ASCII, not U+007F",
    ),
    "escapes-kept": (
        '"\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001F\\u000b"',
        "two-character escapes where JSON has them, else small hexadecimal digits",
    ),
    "names-by-utf-16": (
        '{"\\ufb33": 1, "\\ud83d\\ude00": 2, "\\u20ac": 3, "1": 4, "\\u0080": 5, "\\r": 6}',
        "members are sorted by UTF-16 code units: a surrogate pair (D83D) before U+FB33",
    ),
    "not-normalised": ('["\\u00e9", "e\\u0301"]', "strings are not normalised"),
    "literals": ("[true , false , null]", "the three literals"),
    "integers": ("[0, -0, 9007199254740991, -9007199254740991, 10]", "up to 2^53-1; minus zero is zero"),
    "floats": (
        "[1.0, 1e2, 0.1, 1E-6, 1e-7, 123456.789e-3, 4.50, 1e21, 1.5e300, 5e-324, -0.0, 333333333.33333329]",
        "as ECMAScript's Number::toString writes them",
    ),
    "deep": ("[[[[[[[[]]]]]]]]", "8 levels, the most that a frame may have"),
}


def _value_cases() -> list[Json]:
    return [
        {"name": name, "description": description, "text": text, "expect": {"canonical": made.decode()}}
        for name, (text, description) in VALUES.items()
        for made in [canonical(parse_strictly(text.encode()))]
    ]


def _binding() -> Json:
    return {"challenge": b64(drawn("canonical/challenge", 32)), "audience": "relay.example:8443"}


def _publish(*, full: bool) -> Json:
    payload: Json = {
        **_binding(),
        "signedPreKey": {
            "id": BOB.signed.id,
            "key": b64(BOB.signed.pair.public),
            "signature": b64(BOB.signed.signature),
        },
        "oneTimePreKeys": [{"id": BOB.one_time.id, "key": b64(BOB.one_time.pair.public)}] if full else [],
        "kemPreKeys": [],
    }
    if full:
        kems = [
            {"id": kem.id, "key": b64(kem.public), "signature": b64(kem.signature)}
            for kem in (BOB.kem, BOB.last_resort)
        ]
        payload |= {"kemPreKeys": kems[:1], "lastResortKemPreKey": kems[1], "replace": True}
    return payload


def _response(*, full: bool) -> Json:
    payload: Json = {
        "targetId": b64(ALICE.id),
        "identityKey": b64(BOB.identity.peer.public),
        "signedPreKey": b64(BOB.signed.pair.public),
        "preKeySignature": b64(BOB.signed.signature),
    }
    if full:
        payload |= {
            "signedPreKeyId": BOB.signed.id,
            "oneTimePreKey": b64(BOB.one_time.pair.public),
            "oneTimePreKeyId": BOB.one_time.id,
            "kemPreKey": b64(BOB.kem.public),
            "kemPreKeyId": BOB.kem.id,
            "kemPreKeySignature": b64(BOB.kem.signature),
        }
    return payload


def _dating() -> Json:
    """When Bob's prekeys that last were signed together, and the signature."""
    signature = sign_bundle(BOB.identity, BOB.signed, BOB.last_resort, NOW, user_id=BOB.identity.peer.user_id)
    return {"madeAt": NOW, "bundleSignature": b64(signature)}


def _dated_response() -> Json:
    last_resort = {"id": BOB.last_resort.id, "digest": b64(primitives.sha256(BOB.last_resort.public))}
    return {**_response(full=True), **_dating(), "lastResortKemPreKey": last_resort}


def _init(*, full: bool) -> Json:
    payload: Json = {
        "targetId": b64(BOB.id),
        "identityKey": b64(ALICE.identity.peer.public),
        "ephemeralKey": b64(drawn("canonical/ephemeral", 32)),
    }
    if full:
        payload["preKeyBundle"] = {
            "signedPreKey": b64(ALICE.signed.pair.public),
            "signature": b64(ALICE.signed.signature),
            "oneTimePreKey": b64(ALICE.one_time.pair.public),
        }
    return payload


def _auth(*, full: bool) -> Json:
    payload: Json = {
        "userId": b64(ALICE.id),
        "publicKey": b64(ALICE.identity.peer.public),
        **_binding(),
    }
    return payload | ({"features": ["ack", "later"]} if full else {})


def _message(metadata: Any = None) -> Json:
    payload: Json = {
        "recipientId": b64(BOB.id),
        "conversationId": "c1 ~",
        "messageId": MESSAGE_ID,
        "encrypted": b64(drawn("canonical/encrypted", 40)),
    }
    return payload | ({} if metadata is None else {"metadata": metadata})


def _frames() -> list[tuple[str, str, Person, str, Json, str | None]]:
    """Name, description, signer, type, payload, id."""
    odd = {"\ufb33": 1.0, "\U0001f600": [1e21, 0.1, True, None], "a/\u20ac": "\u000b\u007f", "expiresIn": 1, "": {}}
    return [
        ("auth", "every member", ALICE, "AUTH", _auth(full=True), "a-1"),
        ("auth-least", "what must be there", ALICE, "AUTH", _auth(full=False), None),
        ("account-delete", "every member", ALICE, "ACCOUNT_DELETE", _binding(), "d-1"),
        ("account-delete-least", "without an id", ALICE, "ACCOUNT_DELETE", _binding(), None),
        ("init", "with the initiator's own prekeys", ALICE, "KEY_EXCHANGE_INIT", _init(full=True), "k-1"),
        ("init-least", "what must be there", ALICE, "KEY_EXCHANGE_INIT", _init(full=False), None),
        ("response", "every member", BOB, "KEY_EXCHANGE_RESPONSE", _response(full=True), "k-2"),
        ("response-least", "what must be there", BOB, "KEY_EXCHANGE_RESPONSE", _response(full=False), None),
        ("publish", "every kind of prekey", BOB, "PREKEY_PUBLISH", _publish(full=True), "p-1"),
        ("publish-least", "what must be there", BOB, "PREKEY_PUBLISH", _publish(full=False), None),
        (
            "message",
            "with metadata",
            ALICE,
            "MESSAGE",
            _message({"expiresIn": 86_400_000, "burnAfterRead": True}),
            "m-1",
        ),
        ("message-least", "what must be there", ALICE, "MESSAGE", _message(), None),
        ("message-odd-metadata", "metadata that only RFC 8785 can settle", ALICE, "MESSAGE", _message(odd), "m-2"),
        ("message-null-expiry", "expiresIn may be null", MALLORY, "MESSAGE", _message({"expiresIn": None}), "~" * 64),
        ("publish-dated", "prekeys with a date", BOB, "PREKEY_PUBLISH", _publish(full=True) | _dating(), "p-2"),
        ("response-dated", "prekeys with a date", BOB, "KEY_EXCHANGE_RESPONSE", _dated_response(), "k-3"),
    ]


def _frame_case(number: int, row: tuple[str, str, Person, str, Json, str | None]) -> Json:
    name, description, signer, kind, payload, request_id = row
    # The members in an order that is not canonical.
    envelope: Json = {"type": kind, "timestamp": NOW + number} | ({} if request_id is None else {"id": request_id})
    envelope["payload"] = payload
    signed = canonical(envelope)
    signature = signer.identity.sign(signing.envelope_bytes(signed))
    sent = canonical({**envelope, "signature": b64(signature)})
    decoded = codec.decode_client(sent)
    if decoded.signed_text != signed:
        raise ValueError(f"the codec signs another text of {name}")
    written = json.dumps({"signature": b64(signature), **envelope}, indent=1).replace("/", "\\/")
    return {
        "name": name,
        "description": f"{kind}: {description}",
        "type": kind,
        "seed": signer.identity.seed.hex(),
        "public": signer.identity.peer.public.hex(),
        "text": written,
        "expect": {
            "canonical": signed.decode(),
            "signed_bytes": signing.envelope_bytes(signed).hex(),
            "signature": signature.hex(),
            "sent": sent.decode(),
            "passed_on": _passed_on(decoded.frame, signer),
        },
    }


def _passed_on(frame: frames.ClientFrame, signer: Person) -> Json | None:
    if not isinstance(frame, frames.Message | frames.KeyExchangeInit | frames.KeyExchangeResponse):
        return None
    head, tail = splice.split_at_seq(codec.encode(codec.route(frame, b64(signer.id))))
    return {"sender": b64(signer.id), "seq": 7, "text": (head + b"7" + tail).decode()}


def canonical_json() -> Json:
    """``canonical.json``."""
    return file_of(
        "Canonical JSON (RFC 8785) and the signatures of envelopes.",
        values=named(_value_cases()),
        frames=named([_frame_case(number, row) for number, row in enumerate(_frames())]),
    )
