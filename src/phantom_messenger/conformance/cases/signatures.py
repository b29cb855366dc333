"""What a signature covers, how strictly it is checked, and where a bound frame is valid."""

import base64
from collections.abc import Callable
from typing import Any, Final

from phantom_messenger.conformance import wire
from phantom_messenger.conformance.client import Client
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Failure, Group, Play
from phantom_messenger.conformance.wire import Frame, Identity, canonical

signatures: Final = Group("signatures", "Signatures", "Security Considerations")

_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""L, the order of Ed25519's group (RFC 8032 section 5.1)."""

_COVERS: Final = (
    "An envelope's signature covers everything that its sender wrote: `type`, `payload`, `timestamp`, and `id`"
)
_PREFIX: Final = "A signature is Ed25519 (RFC 8032) over the prefix of its purpose"
_WRONG: Final = "A signature that does not verify is ERROR 1002 `signature`."

Forge = Callable[[Client, Frame], Frame]
"""Makes of a signed MESSAGE one whose signature does not verify."""


def _changed(**members: Any) -> Forge:
    return lambda _, frame: {**frame, **members}


def _changed_payload(**members: Any) -> Forge:
    return lambda _, frame: {**frame, "payload": {**frame["payload"], **members}}


def _signed_as(prefix: bytes) -> Forge:
    def forge(alice: Client, frame: Frame) -> Frame:
        bare = {name: value for name, value in frame.items() if name != "signature"}
        return {**frame, "signature": alice.identity.sign(prefix + canonical(bare))}

    return forge


def _of_the_payload_alone(alice: Client, frame: Frame) -> Frame:
    return {**frame, "signature": alice.identity.sign(wire.ENVELOPE + canonical(frame["payload"]))}


def _by_another(_: Client, frame: Frame) -> Frame:
    bare = {name: value for name, value in frame.items() if name != "signature"}
    return Identity().signed(bare)


def _second_spelling(_: Client, frame: Frame) -> Frame:
    """The same signature with S + L: it satisfies the equation, and is not canonical."""
    raw = base64.b64decode(frame["signature"])
    beyond = int.from_bytes(raw[32:], "little") + _ORDER
    return {**frame, "signature": wire.base64_text(raw[:32] + beyond.to_bytes(32, "little"))}


_FORGED: Final[dict[str, tuple[str, Forge]]] = {
    "random-signature": (_WRONG, lambda _, frame: {**frame, "signature": wire.random_text(64)}),
    "signature-of-another-key": ("and the key of the login afterwards", _by_another),
    "changed-timestamp": (_COVERS, lambda _, frame: {**frame, "timestamp": frame["timestamp"] + 1}),
    "changed-id": (_COVERS, _changed(id="other")),
    "changed-content": (_COVERS, _changed_payload(encrypted="QUJD")),
    "changed-conversation": (_COVERS, _changed_payload(conversationId="c2")),
    "added-metadata": (_COVERS, _changed_payload(metadata={"burnAfterRead": True})),
    "signature-without-a-prefix": (_PREFIX, _signed_as(b"")),
    "signature-of-another-purpose": (_PREFIX, _signed_as(wire.SIGNED_PREKEY)),
    "signature-of-the-payload-alone": (_COVERS, _of_the_payload_alone),
    "signature-with-s-beyond-l": (
        "Verification, including that of prekeys, MUST be strict: `S >= L` is rejected",
        _second_spelling,
    ),
}
"""By what is wrong: the rule, and how it is forged."""


def _forged(forge: Forge) -> Play:
    async def play(stage: Stage) -> None:
        alice, bob = await stage.users()
        frame = alice.make("MESSAGE", alice.message(bob.id), id="1")
        forged = forge(alice, frame)
        await alice.send_frame(forged)
        await alice.refused("signature", id=forged["id"])
        await bob.hears_nothing("MESSAGE")
        await alice.send_frame(frame)
        await alice.accepted(frame)

    return play


for _name, (_rule, _forge) in _FORGED.items():
    signatures.add(f"{_name}-is-refused", _rule, _forged(_forge))


@signatures.case("The canonical form of a frame is its JSON according to RFC 8785: members sorted, no white space")
async def signature_is_over_the_canonical_form_however_it_was_sent(stage: Stage) -> None:
    alice, bob = await stage.users()
    frame = alice.make("MESSAGE", alice.message(bob.id, metadata={"b": "é", "a": ["\u2028", "/", "\x7f"]}), id="1")
    shuffled = {name: frame[name] for name in sorted(frame, reverse=True)}
    text = canonical(shuffled).decode()
    members = [f'"{name}": {canonical(value).decode()}' for name, value in shuffled.items()]
    written = "{" + " , ".join(members).replace("é", "\\u00e9").replace("/", "\\/") + "}"
    if written == text:
        raise AssertionError("it is in canonical form already")
    await alice.socket.send_text(written.encode())
    await alice.accepted(frame)
    got = await bob.take("MESSAGE")
    if not wire.verifies(alice.identity.public, got):
        raise Failure("the signature does not verify when the message arrives")


@signatures.case("strings and numbers as ECMAScript writes them")
async def numbers_are_signed_as_ecmascript_writes_them(stage: Stage) -> None:
    alice, bob = await stage.users()
    numbers = "[1e+30,1e-7,0.000001,100,0.1,5e-324,4.5]"
    payload = alice.message(bob.id, metadata={"x": "numbers"})
    bare: Frame = {"type": "MESSAGE", "timestamp": alice.now(), "payload": payload, "id": "1"}
    text = canonical(bare).replace(b'"numbers"', numbers.encode())
    signature = alice.identity.sign(wire.ENVELOPE + text)
    sent = canonical({**bare, "signature": signature})
    as_sent = "[1e30,1E-7,1e-6,1.0e2,0.10,5e-324,45e-1]"
    await alice.socket.send_text(sent.replace(b'"numbers"', as_sent.encode()))
    await alice.accepted(bare)
    await bob.expect("MESSAGE", {"messageId": payload["messageId"]})


@signatures.case(
    "To check a forwarded frame, remove `payload.senderId`, `seq` and `signature`; recipients MUST check it."
)
async def forwarded_frames_still_verify(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.send("KEY_EXCHANGE_INIT", alice.init(bob.id), id="1")
    init = await bob.expect("KEY_EXCHANGE_INIT", id="1")
    await bob.send("KEY_EXCHANGE_RESPONSE", bob.response(alice.id), id="2")
    response = await alice.expect("KEY_EXCHANGE_RESPONSE", id="2")
    await alice.write(bob, metadata={"x": [1, "y"]})
    message = await bob.take("MESSAGE")
    for sender, frame in ((alice, init), (bob, response), (alice, message)):
        if not wire.verifies(sender.identity.public, frame):
            raise Failure(f"the signature of the forwarded {frame['type']} does not verify")


_BOUND: Final = (
    "their `payload` has the `challenge` of its CONNECTION_ACK and the `audience` that was dialled, "
    "and a different one is ERROR 1002 `challenge` or `audience`"
)


@signatures.case(_BOUND, section="Bound frames")
async def publication_with_another_challenge_or_audience_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    await alice.send("PREKEY_PUBLISH", alice.publication(2, challenge=wire.random_text(32)))
    await alice.refused("challenge")
    await alice.send("PREKEY_PUBLISH", alice.publication(2, audience="relay.invalid"))
    await alice.refused("audience")
    await alice.send("PREKEY_STATUS")
    await alice.expect("PREKEY_STATUS", {"oneTimePreKeys": 0})


@signatures.case(_BOUND, section="Bound frames")
async def deletion_with_another_challenge_or_audience_is_refused(stage: Stage) -> None:
    alice = await stage.user()
    await alice.send("ACCOUNT_DELETE", {**alice.binding, "challenge": wire.random_text(32)})
    await alice.refused("challenge")
    await alice.send("ACCOUNT_DELETE", {**alice.binding, "audience": "relay.invalid"})
    await alice.refused("audience")
    await alice.ping()


@signatures.case("So nobody can send them again later, or at another relay.", section="Bound frames")
async def frames_of_an_earlier_connection_are_refused(stage: Stage) -> None:
    before = await stage.user()
    published = before.make("PREKEY_PUBLISH", before.publication(2))
    deleted = before.make("ACCOUNT_DELETE", before.binding)
    await before.leave()
    alice = await stage.user(identity=before.identity)
    for frame in (published, deleted):
        await alice.send_frame(frame)
        await alice.refused("challenge")
    await alice.ping()


@signatures.case(
    "a relay accepts them only on a session of their signer, which nobody else can open", section="Bound frames"
)
async def captured_message_is_refused_on_the_session_of_somebody_else(stage: Stage) -> None:
    alice, bob, mallory = await stage.users(3)
    sent = await alice.write(bob)
    await bob.expect("MESSAGE", {"senderId": alice.id})
    await mallory.send_frame(sent)
    await mallory.refused("signature")
    await bob.hears_nothing("MESSAGE")
