"""Valid frames of every type, and ways to look at and bend their JSON.

Each type has a sample with its required fields only and one with every field. Their
base64 values all end in padding, so that each of them can be spoilt in every way.
"""

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any, Final

from msgspec import Raw

from phantom_messenger.wire import frames
from phantom_messenger.wire.codec import encode

Path = tuple[str | int, ...]
"""Names and indices from the envelope to a member; ``()`` is the envelope itself."""

NOW: Final = 1_750_000_000_123
METADATA: Final = Raw(b'{"burnAfterRead":true,"expiresIn":60000,"x":[{"y":"z"}]}')
MESSAGE_ID: Final = "0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f"


def base64_of(size: int, *, seed: int = 0) -> str:
    """Some bytes of this number, in base64."""
    return base64.b64encode(bytes((seed + 7 * index) % 256 for index in range(size))).decode()


ALICE: Final = base64_of(32, seed=1)
BOB: Final = base64_of(32, seed=2)
KEY: Final = base64_of(32, seed=3)
KEM_KEY: Final = base64_of(1184, seed=4)
SIGNATURE: Final = base64_of(64, seed=5)
PREKEY_SIGNATURE: Final = base64_of(64, seed=6)
CIPHERTEXT: Final = base64_of(40, seed=7)
TRIPLES: Final = base64_of(39, seed=8)
DEVICE_LIST: Final = base64_of(200, seed=9)

_BUNDLE: Final = frames.OfferedBundle(one_time_pre_key=KEY, signature=PREKEY_SIGNATURE, signed_pre_key=KEY)
_SIGNED_PREKEY: Final = frames.SignedPreKeyPart(id=1, key=KEY, signature=PREKEY_SIGNATURE)
_KEM_PREKEY: Final = frames.KemPreKeyPart(id=2**32 - 1, key=KEM_KEY, signature=PREKEY_SIGNATURE)
_LAST_RESORT: Final = frames.LastResortPart(digest=KEY, id=2**32 - 1)

MESSAGE: Final = frames.Message(
    id="m-1",
    payload=frames.MessagePayload(
        conversation_id="conversation 1",
        encrypted=CIPHERTEXT,
        message_id=MESSAGE_ID,
        metadata=METADATA,
        recipient_id=BOB,
    ),
    signature=SIGNATURE,
    timestamp=NOW,
)
KEY_EXCHANGE_INIT: Final = frames.KeyExchangeInit(
    id="k-1",
    payload=frames.KeyExchangeInitPayload(ephemeral_key=KEY, identity_key=KEY, pre_key_bundle=_BUNDLE, target_id=BOB),
    signature=SIGNATURE,
    timestamp=NOW,
)
KEY_EXCHANGE_RESPONSE: Final = frames.KeyExchangeResponse(
    id="k-2",
    payload=frames.KeyExchangeResponsePayload(
        identity_key=KEY,
        kem_pre_key=KEM_KEY,
        kem_pre_key_id=1,
        kem_pre_key_signature=PREKEY_SIGNATURE,
        last_resort_kem_pre_key=_LAST_RESORT,
        made_at=NOW,
        bundle_signature=PREKEY_SIGNATURE,
        one_time_pre_key=KEY,
        one_time_pre_key_id=2,
        pre_key_signature=PREKEY_SIGNATURE,
        signed_pre_key=KEY,
        signed_pre_key_id=3,
        target_id=ALICE,
    ),
    signature=SIGNATURE,
    timestamp=NOW,
)
AUTH: Final = frames.Auth(
    id="a-1",
    payload=frames.AuthPayload(
        audience="relay.example:8443", challenge=KEY, features=["ack", "later"], public_key=KEY, user_id=ALICE
    ),
    signature=SIGNATURE,
    timestamp=NOW,
)
ACCOUNT_DELETE: Final = frames.AccountDeletePayload(audience="relay.example:8443", challenge=KEY)
PREKEY_PUBLISH: Final = frames.PreKeyPublish(
    id="p-1",
    payload=frames.PreKeyPublishPayload(
        audience="relay.example:8443",
        challenge=KEY,
        device_list=DEVICE_LIST,
        kem_pre_keys=[_KEM_PREKEY],
        last_resort_kem_pre_key=_KEM_PREKEY,
        made_at=NOW,
        bundle_signature=PREKEY_SIGNATURE,
        one_time_pre_keys=[frames.OneTimePreKeyPart(id=4, key=KEY)],
        replace=True,
        signed_pre_key=_SIGNED_PREKEY,
    ),
    signature=SIGNATURE,
    timestamp=NOW,
)

MESSAGE_MANY: Final = frames.MessageMany(
    id="m-2",
    payload=frames.MessageManyPayload(
        common=TRIPLES,
        conversation_id="conversation 1",
        group=True,
        message_id=MESSAGE_ID,
        metadata=METADATA,
        order=frames.OrderPart(name=KEY, revision=2**32 - 1, writers=[ALICE, BOB]),
        recipients=[
            frames.ManyRecipientPart(head=TRIPLES, recipient_id=ALICE, signature=SIGNATURE),
            frames.ManyRecipientPart(head=TRIPLES, recipient_id=BOB, signature=SIGNATURE),
        ],
    ),
    signature=SIGNATURE,
    timestamp=NOW,
)

FULL_CLIENT: Final[dict[str, frames.ClientFrame]] = {
    "AUTH": AUTH,
    "ACCOUNT_DELETE": frames.AccountDelete(id="d-1", payload=ACCOUNT_DELETE, signature=SIGNATURE, timestamp=NOW),
    "KEY_EXCHANGE_INIT": KEY_EXCHANGE_INIT,
    "KEY_EXCHANGE_RESPONSE": KEY_EXCHANGE_RESPONSE,
    "PREKEY_PUBLISH": PREKEY_PUBLISH,
    "PREKEY_STATUS": frames.PreKeyStatusQuery(id="q-1", payload=frames.Empty(), timestamp=NOW),
    "MESSAGE": MESSAGE,
    "MESSAGE_ACK": frames.MessageAck(
        id="c-1",
        payload=frames.MessageAckPayload(message_id=MESSAGE_ID, sender_id=ALICE, seq=7, status="read", timestamp=NOW),
        timestamp=NOW,
    ),
    "MESSAGE_MANY": MESSAGE_MANY,
    "PREKEY_FETCH": frames.PreKeyFetch(
        id="f-1", payload=frames.PreKeyFetchPayload(targets=[ALICE, BOB]), timestamp=NOW
    ),
    "PRESENCE": frames.Presence(
        id="s-1",
        payload=frames.PresencePayload(
            conversation_id="conversation 1", status=frames.PresenceStatus.TYPING, user_id=ALICE
        ),
        timestamp=NOW,
    ),
    "BLOCK": frames.Block(id="b-1", payload=frames.BlockPayload(blocked=True, user_id=ALICE), timestamp=NOW),
    "ALLOWANCE": frames.Allowance(id="a-2", payload=frames.AllowancePayload(sender_id=ALICE), timestamp=NOW),
    "PING": frames.Ping(id="h-1", payload=frames.Empty(), timestamp=NOW),
}

LEAST_CLIENT: Final[dict[str, frames.ClientFrame]] = {
    "AUTH": frames.Auth(payload=frames.AuthPayload(public_key=KEY, user_id=ALICE), timestamp=NOW),
    "ACCOUNT_DELETE": frames.AccountDelete(payload=ACCOUNT_DELETE, signature=SIGNATURE, timestamp=NOW),
    "KEY_EXCHANGE_INIT": frames.KeyExchangeInit(
        payload=frames.KeyExchangeInitPayload(ephemeral_key=KEY, identity_key=KEY, target_id=BOB),
        signature=SIGNATURE,
        timestamp=NOW,
    ),
    "KEY_EXCHANGE_RESPONSE": frames.KeyExchangeResponse(
        payload=frames.KeyExchangeResponsePayload(
            identity_key=KEY, pre_key_signature=PREKEY_SIGNATURE, signed_pre_key=KEY, target_id=ALICE
        ),
        signature=SIGNATURE,
        timestamp=NOW,
    ),
    "PREKEY_PUBLISH": frames.PreKeyPublish(
        payload=frames.PreKeyPublishPayload(
            audience="a", challenge=KEY, kem_pre_keys=[], one_time_pre_keys=[], signed_pre_key=_SIGNED_PREKEY
        ),
        signature=SIGNATURE,
        timestamp=NOW,
    ),
    "PREKEY_STATUS": frames.PreKeyStatusQuery(timestamp=NOW),
    "MESSAGE": frames.Message(
        payload=frames.MessagePayload(
            conversation_id="c", encrypted=CIPHERTEXT, message_id=MESSAGE_ID, recipient_id=BOB
        ),
        signature=SIGNATURE,
        timestamp=NOW,
    ),
    "MESSAGE_ACK": frames.MessageAck(payload=frames.MessageAckPayload(status="delivered"), timestamp=NOW),
    "MESSAGE_MANY": frames.MessageMany(
        payload=frames.MessageManyPayload(
            common=TRIPLES,
            conversation_id="c",
            message_id=MESSAGE_ID,
            recipients=[frames.ManyRecipientPart(recipient_id=BOB, signature=SIGNATURE)],
        ),
        signature=SIGNATURE,
        timestamp=NOW,
    ),
    "PREKEY_FETCH": frames.PreKeyFetch(payload=frames.PreKeyFetchPayload(targets=[BOB]), timestamp=NOW),
    "PRESENCE": frames.Presence(payload=frames.PresencePayload(), timestamp=NOW),
    "BLOCK": frames.Block(payload=frames.BlockPayload(blocked=False, user_id=ALICE), timestamp=NOW),
    "ALLOWANCE": frames.Allowance(payload=frames.AllowancePayload(sender_id=BOB), timestamp=NOW),
    "PING": frames.Ping(timestamp=NOW),
}

ROUTED_MESSAGE: Final = frames.RoutedMessage(
    id="m-1",
    payload=frames.RoutedMessagePayload(
        conversation_id="conversation 1",
        encrypted=CIPHERTEXT,
        message_id=MESSAGE_ID,
        metadata=METADATA,
        recipient_id=BOB,
        sender_id=ALICE,
    ),
    seq=0,
    signature=SIGNATURE,
    timestamp=NOW,
)
ROUTED_KEY_EXCHANGE_INIT: Final = frames.RoutedKeyExchangeInit(
    id="k-1",
    payload=frames.RoutedKeyExchangeInitPayload(
        ephemeral_key=KEY, identity_key=KEY, pre_key_bundle=_BUNDLE, sender_id=ALICE, target_id=BOB
    ),
    seq=0,
    signature=SIGNATURE,
    timestamp=NOW,
)
ROUTED_KEY_EXCHANGE_RESPONSE: Final = frames.RoutedKeyExchangeResponse(
    id="k-2",
    payload=frames.RoutedKeyExchangeResponsePayload(
        identity_key=KEY,
        kem_pre_key=KEM_KEY,
        kem_pre_key_id=1,
        kem_pre_key_signature=PREKEY_SIGNATURE,
        last_resort_kem_pre_key=_LAST_RESORT,
        made_at=NOW,
        bundle_signature=PREKEY_SIGNATURE,
        device_list=DEVICE_LIST,
        one_time_pre_key=KEY,
        one_time_pre_key_id=2,
        pre_key_signature=PREKEY_SIGNATURE,
        sender_id=BOB,
        signed_pre_key=KEY,
        signed_pre_key_id=3,
        target_id=ALICE,
    ),
    seq=0,
    signature=SIGNATURE,
    timestamp=NOW,
)
RECEIPT: Final = frames.Receipt(
    id="m-1",
    payload=frames.ReceiptPayload(message_id=MESSAGE_ID, recipient_id=BOB, status=frames.Status.BURNED, timestamp=NOW),
    seq=0,
    timestamp=NOW,
)
_STORED_RESPONSE: Final = frames.RoutedKeyExchangeResponsePayload(
    bundle_signature=PREKEY_SIGNATURE,
    device_list=DEVICE_LIST,
    identity_key=KEY,
    kem_pre_key=KEM_KEY,
    kem_pre_key_id=1,
    kem_pre_key_signature=PREKEY_SIGNATURE,
    last_resort_kem_pre_key=_LAST_RESORT,
    made_at=NOW,
    one_time_pre_key=KEY,
    one_time_pre_key_id=2,
    pre_key_signature=PREKEY_SIGNATURE,
    sender_id=BOB,
    signed_pre_key=KEY,
    signed_pre_key_id=3,
    target_id=ALICE,
)
_LIMITS: Final = frames.LimitsPart(
    backlog=1000,
    encrypted_chars=61_440,
    message_bytes=65_536,
    messages_per_minute=60,
    metadata_bytes=1024,
)

FULL_RELAY: Final[dict[str, frames.RelayFrame]] = {
    "CONNECTION_ACK": frames.ConnectionAck(
        payload=frames.ConnectionAckPayload(
            challenge=KEY,
            connection_id="connection",
            limits=_LIMITS,
            protocol_version=1,
            server_name="a relay",
            server_time=NOW,
            unsigned_auth=True,
        ),
        timestamp=NOW,
    ),
    "AUTH_SUCCESS": frames.AuthSuccess(
        id="a-1",
        payload=frames.AuthSuccessPayload(features=["suite2"], server_time=NOW, session_id="session"),
        timestamp=NOW,
    ),
    "AUTH_FAILURE": frames.AuthFailure(
        id="a-1",
        payload=frames.AuthFailurePayload(code=1002, details={"reason": "audience"}, reason="no", retry_after=5),
        timestamp=NOW,
    ),
    "KEY_EXCHANGE_INIT": ROUTED_KEY_EXCHANGE_INIT,
    "KEY_EXCHANGE_RESPONSE": ROUTED_KEY_EXCHANGE_RESPONSE,
    "PREKEY_STATUS": frames.PreKeyStatus(
        id="q-1",
        payload=frames.PreKeyStatusPayload(
            highest_pre_key_id=10,
            kem_pre_keys=9,
            last_resort_kem_pre_key_id=8,
            one_time_pre_keys=7,
            signed_pre_key_id=6,
        ),
        timestamp=NOW,
    ),
    "MESSAGE": ROUTED_MESSAGE,
    "MESSAGE_ACK": RECEIPT,
    "MANY_RESULT": frames.ManyResult(
        id="m-2",
        payload=frames.ManyResultPayload(
            accepted=199,
            message_id=MESSAGE_ID,
            refused=[frames.ManyRefusalPart(code=1003, reason="backlog", recipient_id=BOB, retry_after=60_000)],
        ),
        timestamp=NOW,
    ),
    "PREKEY_BUNDLES": frames.PreKeyBundles(
        id="f-1", payload=frames.PreKeyBundlesPayload(bundles=[_STORED_RESPONSE], missing=[ALICE]), timestamp=NOW
    ),
    "PRESENCE": frames.PresenceNotice(
        id="s-1",
        payload=frames.PresenceNoticePayload(
            conversation_id="conversation 1",
            last_seen=NOW,
            status=frames.PresenceStatus.OFFLINE,
            user_id=ALICE,
        ),
        timestamp=NOW,
    ),
    "BLOCK": frames.BlockDone(id="b-1", payload=frames.BlockPayload(blocked=True, user_id=ALICE), timestamp=NOW),
    "ALLOWANCE": frames.AllowanceNotice(
        id="a-2",
        payload=frames.AllowanceNoticePayload(expires_in=1, messages=2, recipient_id=ALICE, sender_id=BOB),
        timestamp=NOW,
    ),
    "ERROR": frames.Error(
        id="m-1",
        payload=frames.ErrorPayload(
            code=1003, details={"field": "x", "reason": "rate"}, message="Rate limited", retry_after=30_000
        ),
        timestamp=NOW,
    ),
    "PONG": frames.Pong(id="h-1", payload=frames.Empty(), timestamp=NOW),
}

LEAST_RELAY: Final[dict[str, frames.RelayFrame]] = {
    "CONNECTION_ACK": frames.ConnectionAck(
        payload=frames.ConnectionAckPayload(
            challenge=KEY,
            connection_id="",
            limits=frames.LimitsPart(
                backlog=0, encrypted_chars=0, message_bytes=0, messages_per_minute=None, metadata_bytes=0
            ),
            protocol_version=1,
            server_name="",
            server_time=0,
        ),
        timestamp=0,
    ),
    "AUTH_SUCCESS": frames.AuthSuccess(
        payload=frames.AuthSuccessPayload(server_time=NOW, session_id=""), timestamp=NOW
    ),
    "AUTH_FAILURE": frames.AuthFailure(payload=frames.AuthFailurePayload(code=1001, reason=""), timestamp=NOW),
    "KEY_EXCHANGE_INIT": frames.RoutedKeyExchangeInit(
        payload=frames.RoutedKeyExchangeInitPayload(
            ephemeral_key=KEY, identity_key=KEY, sender_id=ALICE, target_id=BOB
        ),
        signature=SIGNATURE,
        timestamp=NOW,
    ),
    "KEY_EXCHANGE_RESPONSE": frames.RoutedKeyExchangeResponse(
        payload=frames.RoutedKeyExchangeResponsePayload(
            identity_key=KEY, pre_key_signature=PREKEY_SIGNATURE, sender_id=BOB, signed_pre_key=KEY
        ),
        timestamp=NOW,
    ),
    "PREKEY_STATUS": frames.PreKeyStatus(
        payload=frames.PreKeyStatusPayload(kem_pre_keys=0, one_time_pre_keys=0), timestamp=NOW
    ),
    "MESSAGE": frames.RoutedMessage(
        payload=frames.RoutedMessagePayload(
            conversation_id="c",
            encrypted=CIPHERTEXT,
            message_id=MESSAGE_ID,
            recipient_id=BOB,
            sender_id=ALICE,
        ),
        seq=0,
        signature=SIGNATURE,
        timestamp=NOW,
    ),
    "MESSAGE_ACK": frames.Receipt(
        payload=frames.ReceiptPayload(
            message_id=MESSAGE_ID, recipient_id=BOB, status=frames.Status.ACCEPTED, timestamp=NOW
        ),
        timestamp=NOW,
    ),
    "MANY_RESULT": frames.ManyResult(
        payload=frames.ManyResultPayload(accepted=0, message_id=MESSAGE_ID, refused=[]), timestamp=NOW
    ),
    "PREKEY_BUNDLES": frames.PreKeyBundles(payload=frames.PreKeyBundlesPayload(bundles=[], missing=[]), timestamp=NOW),
    "PRESENCE": frames.PresenceNotice(
        payload=frames.PresenceNoticePayload(status=frames.PresenceStatus.ONLINE, user_id=ALICE),
        timestamp=NOW,
    ),
    "BLOCK": frames.BlockDone(payload=frames.BlockPayload(blocked=False, user_id=ALICE), timestamp=NOW),
    "ALLOWANCE": frames.AllowanceNotice(payload=frames.AllowanceNoticePayload(expires_in=0, messages=0), timestamp=NOW),
    "ERROR": frames.Error(payload=frames.ErrorPayload(code=1007, message=""), timestamp=NOW),
    "PONG": frames.Pong(timestamp=NOW),
}

OPEN: Final = {"metadata", "details"}
"""Members whose content the protocol leaves open."""


def as_json(frame: frames.Frame) -> Any:
    """What another program reads from the frame's text."""
    return json.loads(encode(frame))


def written(value: Any) -> bytes:
    """JSON text in the order of its members, without white space."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def found(value: Any, path: Path) -> Any:
    """The member at a path."""
    for step in path:
        value = value[step]
    return value


def replaced(value: Any, path: Path, new: Any) -> Any:
    """A copy with the member at a path set."""
    if not path:
        return new
    result = copy.deepcopy(value)
    found(result, path[:-1])[path[-1]] = new
    return result


def without(value: Any, path: Path) -> Any:
    """A copy without the member at a path."""
    result = copy.deepcopy(value)
    del found(result, path[:-1])[path[-1]]
    return result


def members(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value with its path, outermost first; not what is inside open members."""
    yield path, value
    if path and path[-1] in OPEN:
        return
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in steps:
        yield from members(item, (*path, step))


def dotted(path: Path) -> str:
    """A path as a refusal names it."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
