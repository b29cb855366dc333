"""Plays what is no conversation through the production code: canonical JSON, ids, keys, handshakes, padding, digits."""

import base64
import hashlib

import msgspec
import pytest
from vector_replay import Json, Watched, assert_handshake, bundle_of, encapsulation, raw

from phantom_messenger.client import content, content1, content2, content_suites
from phantom_messenger.client.content import LEAST_PADDED, NO_MARKS, Ends, Newer
from phantom_messenger.client.content1 import Receipt, Text
from phantom_messenger.client.conversations import conversation_id
from phantom_messenger.client.errors import InvalidUserId
from phantom_messenger.client.ids import plain_id, written_id
from phantom_messenger.crypto import handshake, padding, prekeys
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, SignedPreKey
from phantom_messenger.crypto.safety import grouped, safety_number
from phantom_messenger.wire import codec, frames, signing
from phantom_messenger.wire.canonical import canonical, parse_strictly


def b64(text: str) -> str:
    """Base64 of bytes in hex."""
    return base64.b64encode(raw(text)).decode()


def play_value(case: Json) -> None:
    """A value of ``canonical.json``."""
    assert canonical(parse_strictly(case["text"].encode())).decode() == case["expect"]["canonical"]


def play_frame(case: Json) -> None:
    """A frame of ``canonical.json``: signed, sent, passed on, checked."""
    expect = case["expect"]
    identity = OwnIdentity(raw(case["seed"]))
    assert identity.peer.public.hex() == case["public"]
    decoded = codec.decode_client(case["text"].encode())
    assert decoded.frame.type == case["type"]
    signed = signing.envelope_bytes(decoded.signed_text)
    assert decoded.signed_text.decode() == expect["canonical"]
    assert signed.hex() == expect["signed_bytes"]
    assert identity.sign(signed).hex() == expect["signature"]
    identity.peer.verify(raw(expect["signature"]), signed)
    assert codec.encode(decoded.frame).decode() == expect["sent"]
    assert isinstance(
        decoded.frame,
        frames.Auth
        | frames.AccountDelete
        | frames.KeyExchangeInit
        | frames.KeyExchangeResponse
        | frames.PreKeyPublish
        | frames.Message,
    )
    assert decoded.frame.signature == b64(expect["signature"])
    passed_on = expect["passed_on"]
    routed = isinstance(decoded.frame, frames.Message | frames.KeyExchangeInit | frames.KeyExchangeResponse)
    assert routed is (passed_on is not None)
    if passed_on is not None:
        got = codec.decode_relay(passed_on["text"].encode())
        assert isinstance(got, frames.RoutedMessage | frames.RoutedKeyExchangeInit | frames.RoutedKeyExchangeResponse)
        assert (got.payload.sender_id, got.seq) == (passed_on["sender"], passed_on["seq"])
        assert codec.encode(got).decode() == passed_on["text"]
        assert codec.signed_text(codec.original(got)) == decoded.signed_text


def play_identity(case: Json) -> None:
    """An identity of ``user-ids.json``."""
    identity = OwnIdentity(raw(case["seed"]))
    public = identity.peer.public
    assert case["expect"] == {
        "public": public.hex(),
        "x25519_private": identity.agreement_key.hex(),
        "x25519_public": identity.peer.agreement_key.hex(),
        "hashed": (b"phantom/1 user-id\n" + public).hex(),
        "user_id": identity.peer.user_id.hex(),
        "user_id_base64": signing.certified_user_id(public),
    }
    assert KeyPair.from_private(identity.agreement_key).public == identity.peer.agreement_key
    assert b64(case["expect"]["user_id"]) == signing.certified_user_id(public)


def play_pair(case: Json) -> None:
    """A pair of ``user-ids.json``."""
    one, other = case["ids"]
    assert conversation_id(b64(one), b64(other)) == case["expect"]["conversation_id"]


def play_written(case: Json) -> None:
    """An id of ``written-ids.json``."""
    written = case["expect"]["written"]
    assert written_id(b64(case["user_id"])) == written
    assert plain_id(written) == plain_id(written.upper()) == plain_id(f" {written}\n") == b64(case["user_id"])


def play_mistaken(case: Json) -> None:
    """A text of ``written-ids.json`` that is no id."""
    assert case["expect"] == {"accepted": False}
    with pytest.raises(InvalidUserId, match="copy it again"):
        plain_id(case["written"])


def play_person(case: Json) -> None:
    """Somebody of ``prekeys.json``."""
    expect = case["expect"]
    identity = OwnIdentity(raw(expect["identity"]["seed"]))
    assert identity.peer.public.hex() == expect["identity"]["public"]
    assert identity.agreement_key.hex() == expect["identity"]["x25519_private"]
    assert identity.peer.agreement_key.hex() == expect["identity"]["x25519_public"]
    assert identity.peer.user_id.hex() == expect["user_id"]
    signed = SignedPreKey.make(identity, expect["signed_prekey"]["id"], raw(expect["signed_prekey"]["private"]))
    assert signed.pair.public.hex() == expect["signed_prekey"]["public"]
    assert signed.signature.hex() == expect["signed_prekey"]["signature"]
    assert signing.signed_prekey_bytes(signed.pair.public).hex() == expect["signed_prekey"]["signed_bytes"]
    one_time = KeyPair.from_private(raw(expect["one_time_prekey"]["private"]))
    assert one_time.public.hex() == expect["one_time_prekey"]["public"]
    for name in ("kem_prekey", "last_resort_kem_prekey"):
        kem = KemPreKey.make(identity, expect[name]["id"], raw(expect[name]["seed"]))
        assert kem.public.hex() == expect[name]["public"]
        assert kem.signature.hex() == expect[name]["signature"]
        assert signing.kem_prekey_bytes(kem.public).hex() == expect[name]["signed_bytes"]
        prekeys.PreKeyBundle(
            identity=identity.peer,
            signed_prekey=signed.pair.public,
            signed_prekey_signature=signed.signature,
            kem_prekey=kem.public,
            kem_prekey_signature=kem.signature,
        ).verify()


def play_handshake(case: Json) -> None:
    """A case of ``handshakes.json``, on both sides."""
    one, other = case["initiator"], case["responder"]
    initiator, responder = OwnIdentity(raw(one["seed"])), OwnIdentity(raw(other["seed"]))
    ids = raw(one["user_id"]), raw(other["user_id"])
    bundle = bundle_of(case["bundle"])
    assert bundle.identity == responder.peer
    watched, answering = Watched(), Watched()
    with watched.watch():
        header, agreement = handshake.initiate(
            initiator,
            KeyPair.from_private(raw(one["ephemeral_private"])),
            bundle,
            own_id=ids[0],
            peer_id=ids[1],
            encapsulate=encapsulation(one["kem_m"]),
        )
    watched.assert_agrees(case["expect"])
    assert_handshake(header, agreement, case["expect"])
    received, rest = handshake.HandshakeHeader.decode(header.encode(), has_kem=bool(header.kem_ciphertext))
    assert (received, rest) == (header, b"")
    one_time, kem = other["one_time_prekey_private"], other["kem_prekey_seed"]
    signed = KeyPair.from_private(raw(other["signed_prekey_private"]))
    one_time_id, kem_id = case["bundle"]["one_time_prekey_id"], case["bundle"]["kem_prekey_id"]
    with answering.watch():
        answered = handshake.respond(
            responder,
            received,
            signed_prekey=SignedPreKey(case["bundle"]["signed_prekey_id"], signed, b""),
            one_time_prekey=one_time and PreKey(one_time_id, KeyPair.from_private(raw(one_time))),
            kem_prekey=kem and KemPreKey.make(responder, kem_id, raw(kem)),
            own_id=ids[1],
            peer_id=ids[0],
        )
    answering.assert_agrees(case["expect"])
    assert answered == agreement


def play_padding(case: Json) -> None:
    """A content of ``padding.json``."""
    padded = raw(case["expect"]["padded"])
    assert padding.pad(raw(case["content"])) == padded
    assert padding.unpad(padded) == raw(case["content"])


def play_length(case: Json) -> None:
    """A length of ``padding.json``."""
    bare = b"a" * case["length"]
    padded = padding.pad(bare)
    assert len(padded) == case["expect"]["padded_length"]
    assert hashlib.sha256(padded).hexdigest() == case["expect"]["padded_sha256"]
    assert padding.unpad(padded) == bare


def play_safety(case: Json) -> None:
    """A case of ``safety-numbers.json``, on both sides."""
    own, peer = ((raw(one["key"]), raw(one["id"])) for one in (case["own"], case["peer"]))
    assert safety_number(*own, *peer) == case["expect"]["digits"]
    assert safety_number(*peer, *own) == case["expect"]["digits"]
    assert grouped(case["expect"]["digits"]) == case["expect"]["shown"]


def described(found: Text | Receipt) -> Json:
    """A content as the vectors list it."""
    return in_hex(msgspec.msgpack.decode(msgspec.msgpack.encode(found)))


def in_hex(members: Json) -> Json:
    """A map with its bytes in hex."""
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in members.items()}


def play_content(case: Json) -> None:
    """A content of ``content.json``."""
    found = content1.decode(raw(case["expect"]["padded"]))
    assert described(found) == case["content"]
    assert padding.pad(raw(case["expect"]["encoded"]), LEAST_PADDED) == raw(case["expect"]["padded"])
    assert content1.encode(found) == raw(case["expect"]["padded"])


def said_in(case: Json, encoded: bytes) -> Json:
    """What a recipient takes from content 2, as ``content-2.json`` lists it; the recipient is bound elsewhere."""
    found = content2.decode(encoded, Ends(raw(case["sender"]), raw(case["sender_key"]), b"", b""))
    if isinstance(found, Newer):
        assert found.whole == encoded
        return {"newer": True, "sentAt": found.sent_at}
    fields = msgspec.structs.asdict(found)
    assert fields.pop("marks") == NO_MARKS
    kind = "text" if "body" in fields else "receipt"
    return {"kind": kind, "sentAt": fields.pop("sent_at"), **fields}


def play_content2(case: Json) -> None:
    """A content of ``content-2.json`` that the SDK writes."""
    encoded, said = raw(case["expect"]["encoded"]), case["said"]
    assert padding.unpad(raw(case["expect"]["padded"])) == encoded
    assert said_in(case, encoded) == said
    fields = {name: value for name, value in said.items() if name not in {"kind", "sentAt"}}
    written = (content.Text if said["kind"] == "text" else content.Receipt)(sent_at=said["sentAt"], **fields)
    ends = Ends(raw(case["sender"]), raw(case["sender_key"]), b"", b"")
    assert content_suites.encode(written, ends, suite=2) == raw(case["expect"]["padded"])
    assert in_hex(msgspec.msgpack.decode(encoded)) == case["content"]


PLAYERS = {
    ("canonical.json", "values"): play_value,
    ("canonical.json", "frames"): play_frame,
    ("user-ids.json", "identities"): play_identity,
    ("user-ids.json", "conversations"): play_pair,
    ("written-ids.json", "written"): play_written,
    ("written-ids.json", "mistaken"): play_mistaken,
    ("prekeys.json", "people"): play_person,
    ("handshakes.json", "cases"): play_handshake,
    ("padding.json", "contents"): play_padding,
    ("padding.json", "lengths"): play_length,
    ("safety-numbers.json", "cases"): play_safety,
    ("content.json", "contents"): play_content,
    ("content-2.json", "contents"): play_content2,
}
"""Which function plays which member of which file."""
