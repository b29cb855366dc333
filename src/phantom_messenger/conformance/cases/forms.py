"""What frames must look like: JSON, members, forms, sizes."""

from collections.abc import Callable
from typing import Any, Final

from phantom_messenger.conformance import wire
from phantom_messenger.conformance.client import Client
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Failure, Group, Play
from phantom_messenger.conformance.wire import Frame, base64_text, new_uuid, random_text

forms: Final = Group("frames", "Frames", "Message Envelope")

_JSON: Final = "no duplicate name in an object, no lone surrogate, no NaN, no integer beyond ±(2^53-1)"
_UNKNOWN: Final = "**Unknown members** are ERROR 1001 `field`, in the envelope and in `payload`"
_NULL: Final = "`null` is rejected (except for `expiresIn`)"
_TYPE: Final = "| 1001 | `type` | Unknown or missing message type. | or one that only the relay sends | no |"
_BASE64: Final = (
    "| base64 | standard alphabet, padded, no white space, no stray bits, at least 1 byte; else 1001 `base64` |"
)
_FIELD: Final = "| 1001 | `field` | A field is missing, unknown or of the wrong form. | `details.field` | no |"
_DEPTH: Final = "at most 8 levels of nesting (the envelope is the first)"
_SOMEBODY: Final = wire.Identity().id
"""Has no account: a MESSAGE in its form is refused for that, later than any other would be."""


def _refused_text(text: bytes, *reasons: str) -> Play:
    async def play(stage: Stage) -> None:
        alice = await stage.anyone()
        await alice.socket.send_text(text)
        await alice.refused(*reasons)

    return play


_PING: Final = '"type":"PING","timestamp":1'

_TEXTS: Final[dict[str, tuple[str, bytes, tuple[str, ...]]]] = {
    "what-is-not-json": (_JSON, b'{"type":', ("json",)),
    "array": ("A frame of this protocol is one JSON object", b"[]", ("json",)),
    "text": ("A frame of this protocol is one JSON object", b'"PING"', ("json",)),
    "nothing": ("A frame of this protocol is one JSON object", b"", ("json",)),
    "byte-order-mark": ("UTF-8 without byte order mark", b"\xef\xbb\xbf{%b}" % _PING.encode(), ("json",)),
    "two-objects": ("A frame of this protocol is one JSON object", b"{%b}{}" % _PING.encode(), ("json",)),
    "trailing-comma": (_JSON, b"{%b,}" % _PING.encode(), ("json",)),
    "single-quotes": (_JSON, b"{'type':'PING','timestamp':1}", ("json",)),
    "name-twice": (_JSON, b'{%b,"id":"1","id":"2"}' % _PING.encode(), ("duplicate-name",)),
    "escaped-name-twice": (_JSON, b'{%b,"id":"1","i\\u0064":"2"}' % _PING.encode(), ("duplicate-name",)),
    "lone-surrogate": (_JSON, b'{%b,"id":"\\ud800"}' % _PING.encode(), ("json", "field")),
    "nan": (_JSON, b'{"type":"PING","timestamp":NaN}', ("json", "number", "field")),
    "timestamp-beyond-2-53": (_JSON, b'{"type":"PING","timestamp":9007199254740992}', ("field", "number")),
    "timestamp-with-a-fraction": (
        "Integers have no fraction and no exponent.",
        b'{"type":"PING","timestamp":1.0}',
        ("field",),
    ),
    "timestamp-with-an-exponent": (
        "Integers have no fraction and no exponent.",
        b'{"type":"PING","timestamp":1e3}',
        ("field",),
    ),
    "timestamp-below-0": (_FIELD, b'{"type":"PING","timestamp":-1}', ("field",)),
    "timestamp-as-text": (_FIELD, b'{"type":"PING","timestamp":"1"}', ("field",)),
    "no-timestamp": (_FIELD, b'{"type":"PING"}', ("field",)),
    "no-type": (_TYPE, b'{"timestamp":1}', ("type",)),
    "type-that-is-a-number": (_TYPE, b'{"type":1,"timestamp":1}', ("type",)),
    "type-in-small-letters": (_TYPE, b'{"type":"ping","timestamp":1}', ("type",)),
    "unknown-type": (_TYPE, b'{"type":"HELLO","timestamp":1}', ("type",)),
    "payload-that-is-null": (_NULL, b'{%b,"payload":null}' % _PING.encode(), ("field",)),
    "id-that-is-null": (_NULL, b'{%b,"id":null}' % _PING.encode(), ("field",)),
    "payload-that-is-an-array": (_FIELD, b'{%b,"payload":[]}' % _PING.encode(), ("field",)),
}
"""By what stands in a message: the rule, the text, and the reasons that are right."""

_SECTIONS: Final = {
    _TYPE: "Errors",
    _FIELD: "Errors",
    _BASE64: "Forms",
    "A frame of this protocol is one JSON object": "Transport",
}

for _name, (_rule, _text, _reasons) in _TEXTS.items():
    forms.add(f"{_name}-is-refused", _rule, _refused_text(_text, *_reasons), section=_SECTIONS.get(_rule, ""))

for _kind in ("CONNECTION_ACK", "AUTH_SUCCESS", "AUTH_FAILURE", "ERROR", "PONG"):
    forms.add(
        f"{_kind.lower().replace('_', '-')}-of-a-client-is-refused",
        _TYPE,
        _refused_text(b'{"type":"%b","timestamp":1,"payload":{}}' % _kind.encode(), "type"),
        section="Errors",
    )

Make = Callable[[Client], Frame]
"""Makes a frame that must be refused."""


def _refused(make: Make, *reasons: str, field: str = "") -> Play:
    async def play(stage: Stage) -> None:
        alice = await stage.anyone()
        frame = make(alice)
        await alice.send_frame(frame)
        await alice.refused(*reasons, field=field)

    return play


def _message(**members: Any) -> Make:
    return lambda alice: alice.make("MESSAGE", alice.message(_SOMEBODY, **members))


def _bare(kind: str, payload: Frame | None = None, **members: Any) -> Make:
    return lambda alice: alice.make(kind, payload, **members)


def _without(kind: str, member: str) -> Make:
    """A whole frame of this type but for one member of its payload."""

    def make(alice: Client) -> Frame:
        whole = {
            "MESSAGE": alice.message(_SOMEBODY),
            "KEY_EXCHANGE_INIT": alice.init(_SOMEBODY),
            "KEY_EXCHANGE_RESPONSE": alice.response(_SOMEBODY),
            "PREKEY_PUBLISH": alice.publication(1),
            "ACCOUNT_DELETE": alice.binding,
            "BLOCK": {"userId": _SOMEBODY, "blocked": True},
        }[kind]
        return alice.make(kind, {name: value for name, value in whole.items() if name != member})

    return make


_FRAMES: Final[dict[str, tuple[str, Make, tuple[str, ...], str]]] = {
    "unknown-member-of-an-envelope": (_UNKNOWN, _bare("PING", x=1), ("field",), "x"),
    "unknown-member-of-a-payload": (_UNKNOWN, _bare("PING", {"x": 1}), ("field",), "payload.x"),
    "unknown-member-of-a-message": (_UNKNOWN, _message(x=1), ("field",), "payload.x"),
    "unknown-member-of-a-presence": (_UNKNOWN, _bare("PRESENCE", {"status": "idle", "x": 1}), ("field",), "payload.x"),
    "seq-of-a-client": (_UNKNOWN, _bare("PING", seq=1), ("field",), "seq"),
    "signature-of-a-ping": (_UNKNOWN, _bare("PING", signature=random_text(64)), ("field",), "signature"),
    "member-that-is-null": (_NULL, _message(metadata=None), ("field",), "payload.metadata"),
    "id-of-65-characters": (_FIELD, _bare("PING", id="x" * 65), ("field",), "id"),
    "id-with-a-space": (_FIELD, _bare("PING", id="a b"), ("field",), "id"),
    "id-that-is-empty": (_FIELD, _bare("PING", id=""), ("field",), "id"),
    "id-beyond-ascii": (_FIELD, _bare("PING", id="é"), ("field",), "id"),
    "id-that-is-a-number": (_FIELD, _bare("PING", id=1), ("field",), "id"),
    "payload-missing": (_FIELD, _bare("PRESENCE"), ("field",), "payload"),
}
"""By what is wrong with a frame: the rule, the frame, the reasons that are right, and the field that is to blame."""

for _name, (_rule, _make, _reasons, _where) in _FRAMES.items():
    forms.add(f"{_name}-is-refused", _rule, _refused(_make, *_reasons, field=_where), section=_SECTIONS.get(_rule, ""))

messages: Final = Group("message-forms", "Forms", "MESSAGE")
"""Forms, as far as a MESSAGE has them."""

_MESSAGE: Final = (
    "`burnAfterRead`: bool; `expiresIn`: integer from 1 to a year in milliseconds, or `null`; any other members"
)
_UUID: Final = "| uuid | 8-4-4-4-12 hexadecimal digits; compared as text, so clients SHOULD write small letters |"
_CONVERSATION: Final = "| conversation | 1 to 128 characters from U+0020 to U+007E |"
_ENCRYPTED_SIZE: Final = "| `encrypted` | base64 | must | must | at most 61,440 characters |"
_METADATA_SIZE: Final = "| metadata | object of at most 1,024 bytes in canonical form, see [MESSAGE](#message) |"
_SENDER: Final = "added by the relay; a client that sends it gets 1001 `field`"
_USER_ID: Final = "| user-id | base64 of 16 to 64 bytes |"
_SIGNATURE: Final = "| signature | base64 of the 64 bytes of an Ed25519 signature |"
_YEAR_MS: Final = 31_536_000_000

_IN_MESSAGE: Final[dict[str, tuple[str, Make, tuple[str, ...], str]]] = {
    "encrypted-that-is-empty": (_BASE64, _message(encrypted=""), ("base64", "field"), "payload.encrypted"),
    "encrypted-in-the-url-alphabet": (_BASE64, _message(encrypted="-_-_"), ("base64",), "payload.encrypted"),
    "encrypted-without-padding": (_BASE64, _message(encrypted="QUI"), ("base64", "field"), "payload.encrypted"),
    "encrypted-with-a-line-feed": (_BASE64, _message(encrypted="QUJD\n"), ("base64",), "payload.encrypted"),
    "encrypted-with-stray-bits": (_BASE64, _message(encrypted="QUJ="), ("base64",), "payload.encrypted"),
    "encrypted-of-61-444-characters": (_ENCRYPTED_SIZE, _message(encrypted="A" * 61_444), ("encrypted-size",), ""),
    "message-id-that-is-no-uuid": (_UUID, _message(messageId="1"), ("field",), "payload.messageId"),
    "message-id-in-braces": (_UUID, _message(messageId="{" + new_uuid() + "}"), ("field",), "payload.messageId"),
    "conversation-of-129-characters": (
        _CONVERSATION,
        _message(conversationId="x" * 129),
        ("field",),
        "payload.conversationId",
    ),
    "conversation-that-is-empty": (_CONVERSATION, _message(conversationId=""), ("field",), "payload.conversationId"),
    "conversation-beyond-ascii": (_CONVERSATION, _message(conversationId="é"), ("field",), "payload.conversationId"),
    "recipient-of-15-bytes": (
        _USER_ID,
        _message(recipientId=random_text(15)),
        ("field", "base64"),
        "payload.recipientId",
    ),
    "recipient-of-65-bytes": (
        _USER_ID,
        _message(recipientId=random_text(65)),
        ("field", "base64"),
        "payload.recipientId",
    ),
    "sender-named-by-a-client": (_SENDER, _message(senderId=_SOMEBODY), ("field",), "payload.senderId"),
    "burn-after-read-that-is-a-number": (
        _MESSAGE,
        _message(metadata={"burnAfterRead": 1}),
        ("field",),
        "payload.metadata.burnAfterRead",
    ),
    "expiry-of-0": (_MESSAGE, _message(metadata={"expiresIn": 0}), ("field",), "payload.metadata.expiresIn"),
    "expiry-of-more-than-a-year": (
        _MESSAGE,
        _message(metadata={"expiresIn": _YEAR_MS + 1}),
        ("field",),
        "payload.metadata.expiresIn",
    ),
    "expiry-as-text": (_MESSAGE, _message(metadata={"expiresIn": "1"}), ("field",), "payload.metadata.expiresIn"),
    "metadata-that-is-an-array": (_METADATA_SIZE, _message(metadata=[]), ("field",), "payload.metadata"),
    "metadata-of-1025-bytes": (_METADATA_SIZE, _message(metadata={"x": "y" * (1_025 - 8)}), ("metadata-size",), ""),
    "signature-of-63-bytes": (
        _SIGNATURE,
        lambda alice: alice.make("MESSAGE", alice.message(_SOMEBODY), signature=random_text(63)),
        ("base64", "field"),
        "signature",
    ),
    "signature-in-the-url-alphabet": (
        _SIGNATURE,
        lambda alice: alice.make("MESSAGE", alice.message(_SOMEBODY), signature="-_" * 43 + "=="),
        ("base64",),
        "signature",
    ),
}
"""As ``_FRAMES``."""

_IN_SECTIONS: Final = {_MESSAGE: "MESSAGE", _ENCRYPTED_SIZE: "MESSAGE", _SENDER: "MESSAGE"}

for _name, (_rule, _make, _reasons, _where) in _IN_MESSAGE.items():
    messages.add(
        f"{_name}-is-refused", _rule, _refused(_make, *_reasons, field=_where), section=_IN_SECTIONS.get(_rule, "")
    )

_DEMANDED: Final = {
    "MESSAGE": ("conversationId", "encrypted", "messageId", "recipientId"),
    "KEY_EXCHANGE_INIT": ("ephemeralKey", "identityKey", "targetId"),
    "KEY_EXCHANGE_RESPONSE": ("identityKey", "preKeySignature", "signedPreKey", "targetId"),
    "PREKEY_PUBLISH": ("audience", "challenge", "kemPreKeys", "oneTimePreKeys", "signedPreKey"),
    "ACCOUNT_DELETE": ("audience", "challenge"),
    "BLOCK": ("blocked", "userId"),
}
"""The members that each payload must have."""


def _incomplete(kind: str, members: tuple[str, ...]) -> Play:
    async def play(stage: Stage) -> None:
        alice = await stage.user()
        for member in members:
            await alice.send_frame(_without(kind, member)(alice))
            await alice.refused("field")

    return play


for _kind, _needed in _DEMANDED.items():
    forms.add(
        f"{_kind.lower().replace('_', '-')}-without-a-member-that-it-must-have-is-refused",
        "`to` says whether a client MUST or MAY send a member",
        _incomplete(_kind, _needed),
        section="Forms",
        reference="Message Envelope",
    )


def _unsigned(kind: str) -> Play:
    async def play(stage: Stage) -> None:
        alice = await stage.anyone()
        frame = _without(kind, "")(alice)
        del frame["signature"]
        await alice.send_frame(frame)
        await alice.refused("field", "signature")

    return play


for _kind in ("MESSAGE", "KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE", "PREKEY_PUBLISH", "ACCOUNT_DELETE"):
    forms.add(
        f"{_kind.lower().replace('_', '-')}-without-a-signature-is-refused",
        "must: ACCOUNT_DELETE, KEY_EXCHANGE_INIT, KEY_EXCHANGE_RESPONSE, PREKEY_PUBLISH, MESSAGE, MESSAGE_MANY;"
        " may: AUTH",
        _unsigned(_kind),
    )


# --- what is in its form ----------------------------------------------------------


@forms.case(_DEPTH)
async def nesting_of_9_levels_is_refused(stage: Stage) -> None:
    alice = await stage.anyone()
    for depth, reason in ((6, "user"), (7, "too-deep")):
        nested: Any = 1
        for _ in range(depth - 1):
            nested = [nested]
        await alice.send_frame(alice.make("MESSAGE", alice.message(_SOMEBODY, metadata={"x": nested})))
        await alice.refused(reason)


@forms.case("also in `metadata`", section="Errors")
async def name_twice_in_metadata_is_refused(stage: Stage) -> None:
    alice = await stage.anyone()
    text = wire.canonical(_message(metadata={"x": 1})(alice)).replace(b'{"x":1}', b'{"x":1,"x":1}')
    await alice.socket.send_text(text)
    await alice.refused("duplicate-name")


@forms.case(
    "A number lies beyond what JSON can carry exactly. | in `metadata`; elsewhere it is `field`",
    section="Errors",
)
async def number_beyond_2_53_in_metadata_is_refused(stage: Stage) -> None:
    alice = await stage.anyone()
    await alice.send_frame(_message(metadata={"x": 2**53})(alice))
    await alice.refused("number")


@forms.case("**Answers.** A direct answer carries the `id` of its request, if that had a well-formed one.")
async def answer_carries_the_id_of_its_request(stage: Stage) -> None:
    alice = await stage.anyone()
    name = "!" + "~" * 63
    await alice.send("PING", id=name)
    await alice.expect("PONG", id=name)
    await alice.send("PING")
    await alice.expect("PONG", id=None)
    await alice.send("PING", {"x": 1}, id=name)
    await alice.refused("field", id=name)
    await alice.send("PING", id="a b")
    await alice.refused("field", id=None)


@forms.case("may: PREKEY_STATUS, PING")
async def payload_of_a_ping_may_be_empty(stage: Stage) -> None:
    alice = await stage.anyone()
    await alice.send("PING", {}, id="1")
    await alice.expect("PONG", id="1")


@forms.case("**JSON** MUST be I-JSON (RFC 7493)")
async def escapes_are_read(stage: Stage) -> None:
    alice = await stage.anyone()
    await alice.socket.send_text(b'{"t\\u0079pe":"\\u0050ING","timestamp":1,"id":"\\/"}')
    await alice.expect("PONG", id="/")


@forms.case("The timestamp of an unsigned frame is not checked")
async def time_of_an_unsigned_frame_is_not_checked(stage: Stage) -> None:
    alice = await stage.anyone()
    for at in (0, 2**53 - 1):
        await alice.send("PING", id="1", timestamp=at)
        await alice.expect("PONG", id="1")


@forms.case("MUST lie within 5 minutes of the relay's clock on receipt, otherwise ERROR 1001 `clock`")
async def signed_frame_of_another_time_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    for ahead, reason in ((-330_000, "clock"), (330_000, "clock"), (-270_000, "user"), (270_000, "user")):
        await alice.send("MESSAGE", alice.message(_SOMEBODY), timestamp=alice.now() + ahead)
        await alice.refused(reason)


@messages.case("at most 61,440 characters", section="MESSAGE", reference="Message Size Limits")
async def message_of_all_sizes_at_once_is_accepted(stage: Stage) -> None:
    alice, bob = await stage.users()
    body = base64_text(bytes(46_080))
    metadata = {"x": "y" * (1_024 - 8)}
    members = {"conversationId": " " + "~" * 127, "messageId": new_uuid().upper()}
    sent = await alice.write(bob, encrypted=body, metadata=metadata, **members)
    await bob.expect("MESSAGE", sent["payload"])


@messages.case(_MESSAGE, section="MESSAGE")
async def metadata_may_hold_anything_and_passes_untouched(stage: Stage) -> None:
    alice, bob = await stage.users()
    for metadata in (
        {},
        {"expiresIn": None},
        {"expiresIn": _YEAR_MS, "burnAfterRead": False},
        {"x": [None, {"ü": "😀"}]},
    ):
        sent = await alice.write(bob, metadata=metadata)
        got = await bob.expect("MESSAGE", {"messageId": sent["payload"]["messageId"]})
        if got["payload"].get("metadata") != metadata:
            raise Failure(f"metadata {metadata} arrives as {got['payload'].get('metadata')}")
