"""Controls: relays that break one rule each. The cases that judge the rule find it, and no others do."""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest

from phantom_messenger.conformance.cases import CASES
from phantom_messenger.conformance.run import Run
from phantom_messenger.conformance.socket import Target
from phantom_messenger.conformance.verdict import Outcome, Score
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay import admission, handlers, http, public_keys, session, signatures, websocket
from phantom_messenger.relay.commands import DeletedAccount
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.handlers import account, keys, login, presence
from phantom_messenger.relay.hub import Hub
from phantom_messenger.relay.server import RelayServer
from phantom_messenger.relay.websocket import WebSocketConnection
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import CloseCode

PATIENCE: Final = (0.5, 5.0, 30.0)
"""Seconds for what a relay must send. On a machine that is slower than the first, others count."""

Patch = Callable[[pytest.MonkeyPatch], object]
"""Breaks a rule in this process, whose relay is judged."""


def judge(config: Config, names: frozenset[str], patience: float) -> Score:
    """What the kit finds of a relay with these settings: of the cases with these names, or of these groups."""

    async def main() -> Score:
        server = RelayServer(config, SQLiteStore(None))
        await server.start()
        try:
            cases = [case for case in CASES if {case.group, case.full_name} & names]
            assert cases
            return await Run(Target(server.url, patience), lambda *_: None).play(cases)
        finally:
            await server.stop()

    return asyncio.run(main())


def failed(score: Score) -> set[str]:
    return {result.case.full_name for result in score.results if result.outcome is Outcome.FAILED}


# --- how a rule is broken -----------------------------------------------------------


def sets(target: object, name: str, value: object) -> Patch:
    return lambda patch: patch.setattr(target, name, value)


def handles(kind: type[frames.Frame], handler: Callable[..., Any]) -> Patch:
    return lambda patch: patch.setitem(handlers.HANDLERS, kind, handler)


def writes(change: Callable[[list[bytes]], list[bytes]]) -> Patch:
    """Alters the frames that the relay sends, as a proxy between it and its clients would."""
    genuine = WebSocketConnection.write

    def write(self: WebSocketConnection, texts: Sequence[bytes]) -> None:
        genuine(self, change(list(texts)))

    return lambda patch: patch.setattr(WebSocketConnection, "write", write)


def each(change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Patch:
    """The same for one frame at a time; None drops it."""

    def changed(texts: list[bytes]) -> list[bytes]:
        found = [change(json.loads(text)) for text in texts]
        return [json.dumps(frame, sort_keys=True, separators=(",", ":")).encode() for frame in found if frame]

    return writes(changed)


def closes(code: CloseCode, instead: CloseCode) -> Patch:
    genuine = WebSocketConnection.close

    def close(self: WebSocketConnection, given: int, reason: str, *, wait_for_close: bool = True) -> None:
        genuine(self, instead if given == code else given, reason, wait_for_close=wait_for_close)

    return lambda patch: patch.setattr(WebSocketConnection, "close", close)


def without_id(frame: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in frame.items() if name != "id" or frame["type"] != "PONG"}


def with_more(frame: dict[str, Any]) -> dict[str, Any]:
    return {**frame, "payload": {**frame["payload"], "avatar": ""}} if frame["type"] == "PRESENCE" else frame


def with_another_text(frame: dict[str, Any]) -> dict[str, Any]:
    if frame["type"] != "ERROR" or frame["payload"]["code"] != 1004:
        return frame
    return {**frame, "payload": {**frame["payload"], "message": "Nobody of this name."}}


def with_another_id(frame: dict[str, Any]) -> dict[str, Any]:
    if frame["type"] != "MESSAGE" or "id" not in frame:
        return frame
    return {**frame, "id": frame["id"] + "-1"}


def no_receipts(frame: dict[str, Any]) -> dict[str, Any] | None:
    is_receipt = frame["type"] == "MESSAGE_ACK" and frame["payload"]["status"] == "read"
    return None if is_receipt else frame


def to_the_millisecond(frame: dict[str, Any]) -> dict[str, Any]:
    if "lastSeen" not in frame.get("payload", {}):
        return frame
    return {**frame, "payload": {**frame["payload"], "lastSeen": frame["payload"]["lastSeen"] + 1}}


def twice(texts: list[bytes]) -> list[bytes]:
    return [text for text in texts for _ in range(2 if b'"type":"MESSAGE"}' in text else 1)]


def with_greeting(texts: list[bytes]) -> list[bytes]:
    greeting = b'{"timestamp":1750000000000,"type":"PONG"}'
    return [more for text in texts for more in ([text, greeting] if b'"AUTH_SUCCESS"' in text else [text])]


def with_spaces(texts: list[bytes]) -> list[bytes]:
    return [re.sub(rb',"type":"PONG"', b', "type":"PONG"', text) for text in texts]


def only_the_challenge(core: Any, session_: Any, challenge: str, audience: str) -> None:
    genuine_binding(core, session_, challenge, min(core.names) if audience else audience)


def only_the_audience(core: Any, session_: Any, challenge: str, audience: str) -> None:
    genuine_binding(core, session_, session_.challenge if challenge else challenge, audience)


genuine_binding = login.check_binding


def binds_as(check: Callable[..., None]) -> Patch:
    return lambda patch: [patch.setattr(module, "check_binding", check) for module in (login, keys, account)]


def never_replaced(self: Hub, session_: Any, now: int) -> Any:
    return None, genuine_login(self, session_, now)[1]


genuine_login = Hub.login


def block_that_does_nothing(core: Any, admitted: Any, frame: Any) -> Any:
    yield from ()
    core.replies.send(
        admitted.session, frames.BlockDone(id=frame.id, payload=frame.payload, timestamp=core.clock.wall_ms())
    )


def deletion_that_only_closes(core: Any, admitted: Any, frame: Any) -> Any:
    login.check_binding(core, admitted.session, frame.payload.challenge, frame.payload.audience)
    yield from ()
    core.hub.forget(admitted.session.user_id)
    core.replies.close(admitted.session, CloseCode.NORMAL, "account deleted")
    return DeletedAccount([], is_complete=True)


def presence_for_everybody(core: Any, admitted: Any, other: str) -> Any:
    there = core.hub.of(other)
    yield from ()
    status = frames.PresenceStatus.OFFLINE if there is None else there.presence
    core.presence.show(admitted.session, other, status, request=admitted.frame.id)


FORGED: Final = (
    "random-signature",
    "signature-of-another-key",
    "changed-timestamp",
    "changed-id",
    "changed-content",
    "changed-conversation",
    "added-metadata",
    "signature-without-a-prefix",
    "signature-of-another-purpose",
    "signature-of-the-payload-alone",
    "signature-with-s-beyond-l",
)


@dataclass(frozen=True, kw_only=True)
class Control:
    """A relay that breaks a rule.

    Attributes:
        breaks: the rule; None: a setting does.
        judged: the groups, or cases, that are played.
        found: the cases that must fail; all others must pass.
        settings: of the relay.
    """

    breaks: Patch | None
    judged: frozenset[str]
    found: frozenset[str]
    settings: dict[str, Any]


def control(breaks: Patch | None, found: str, *, beside: str = "", **settings: Any) -> Control:
    """A control whose ``found`` cases, as ``group/name``, are played with those that are named ``beside`` them."""
    names = frozenset(found.split())
    return Control(breaks=breaks, judged=names | set(beside.split()), found=names, settings=settings)


CONTROLS: Final = {
    "pings are not counted": control(
        None,
        "limits/sixty-first-ping-is-refused limits/another-connection-begins-no-new-minute "
        "limits/sixty-first-ping-of-an-address-before-login-is-refused",
        beside="limits/thirty-first-presence-is-refused",
        rate_ping=1_000,
    ),
    "eleven connections": control(
        None,
        "limits/eleventh-connection-of-an-address-is-closed",
        beside="limits/sixth-new-account-of-an-address-is-refused",
        connections_per_address=11,
    ),
    "one login more": control(
        None,
        "limits/sixth-failed-login-of-an-address-is-refused limits/sixth-new-account-of-an-address-is-refused",
        beside="limits/eleventh-connection-of-an-address-is-closed",
        rate_auth=6,
    ),
    "the eleventh malformed message closes": control(
        sets(session, "MAX_STRIKES", 11),
        "errors/tenth-malformed-message-closes errors/tenth-bad-signature-closes "
        "errors/tenth-refusal-for-the-rate-closes",
        beside="errors",
    ),
    "another close code": control(
        closes(CloseCode.AUTHENTICATION_REQUIRED, CloseCode.POLICY_VIOLATION),
        "login/presence-before-login-closes login/message-before-login-closes",
        beside="login/text-without-a-type-before-login-does-not-close login/later-login-closes-the-earlier-one",
    ),
    "no signature is checked": control(
        sets(signatures, "verify", lambda batch: [True for _ in batch]),
        " ".join(f"signatures/{name}-is-refused" for name in FORGED)
        + " signatures/captured-message-is-refused-on-the-session-of-somebody-else login/wrong-signature-is-refused",
        beside="signatures",
    ),
    "any audience will do": control(
        binds_as(only_the_challenge),
        "signatures/publication-with-another-challenge-or-audience-is-refused "
        "signatures/deletion-with-another-challenge-or-audience-is-refused login/audience-of-another-relay-is-refused",
        beside="login/challenge-of-another-connection-is-refused",
    ),
    "any challenge will do": control(
        binds_as(only_the_audience),
        "signatures/publication-with-another-challenge-or-audience-is-refused "
        "signatures/deletion-with-another-challenge-or-audience-is-refused "
        "signatures/frames-of-an-earlier-connection-are-refused login/challenge-of-another-connection-is-refused",
        beside="login/audience-of-another-relay-is-refused",
    ),
    "several sessions": control(
        sets(Hub, "login", never_replaced),
        "login/later-login-closes-the-earlier-one",
        beside="login/login-on-an-older-connection-is-closed",
    ),
    "any time will do": control(
        sets(admission, "CLOCK_TOLERANCE_MS", 10**15),
        "frames/signed-frame-of-another-time-is-refused login/login-of-another-time-is-refused-and-told-the-time "
        "errors/clock-is-never-the-tenth",
        beside="frames",
    ),
    "large messages before login": control(
        sets(session, "MAX_EARLY_BYTES", 65_536),
        "websocket/more-than-4-kib-before-login-closes",
        beside="websocket/message-of-64-kib-is-read",
    ),
    "what is not UTF-8 is read": control(
        sets(websocket, "_is_utf8", lambda _: True),
        "websocket/text-that-is-not-utf-8-closes",
        beside="websocket/unknown-opcode-closes",
    ),
    "many fields": control(sets(http, "MAX_FIELDS", 200), "http/sixty-fifth-field-is-431", beside="http"),
    "any key will do": control(
        sets(public_keys, "is_usable_x25519", lambda _: True),
        "prekeys/one-time-prekey-of-small-order-is-refused prekeys/signed-prekey-of-small-order-is-refused "
        "key-exchange/keys-of-small-order-are-refused",
        beside="key-exchange",
    ),
    "prekeys are not checked": control(
        sets(keys, "_check_signatures", lambda *_: None),
        "prekeys/signed-prekey-with-a-wrong-signature-is-refused prekeys/kem-prekey-with-a-wrong-signature-is-refused "
        "prekeys/last-resort-with-a-wrong-signature-is-refused prekeys/prekey-signed-without-a-prefix-is-refused "
        "key-exchange/prekeys-with-a-wrong-signature-are-refused",
        beside="prekeys",
    ),
    "replays are obeyed": control(
        sets(admission.SeenExchanges, "add", lambda *_: True),
        "key-exchange/exchange-that-is-sent-again-is-refused",
        beside="key-exchange",
    ),
    "nothing expires": control(
        sets(frames.MessagePayload, "options", property(lambda _: frames.Metadata())),
        "mailbox/expired-message-does-not-come-and-its-sender-is-told mailbox/message-expires-although-it-was-received",
        beside="messages mailbox/message-that-has-not-expired-comes",
    ),
    "everything comes twice": control(
        writes(twice),
        "mailbox/nothing-is-sent-twice-on-one-connection messages/one-id-of-two-senders-is-two-messages",
        beside="messages/message-is-accepted",
    ),
    "messages overtake each other": control(
        writes(lambda texts: texts[::-1]),
        "mailbox/messages-wait-for-who-is-away",
        beside="messages/message-is-accepted",
    ),
    "a frame that nobody asked for": control(
        writes(with_greeting), "dialogues/login dialogues/ping", beside="login/challenges-differ"
    ),
    "read is not passed on": control(
        each(no_receipts),
        "receipts/newer-status-replaces-the-one-that-waits receipts/contact-is-told-delivered-read-and-burned "
        "receipts/without-ack-read-and-burned-are-passed-on",
        beside="receipts",
    ),
    "the request is not named": control(
        each(without_id),
        "frames/time-of-an-unsigned-frame-is-not-checked frames/answer-carries-the-id-of-its-request "
        "frames/escapes-are-read frames/payload-of-a-ping-may-be-empty",
        beside="frames/nesting-of-9-levels-is-refused",
    ),
    "messages are changed on the way": control(
        each(with_another_id),
        "signatures/forwarded-frames-still-verify messages/message-arrives-as-it-was-written-with-sender-and-seq",
        beside="messages",
    ),
    "an unknown member": control(
        each(with_more), "presence/update-reaches-a-contact-and-holds", beside="presence/update-is-not-answered"
    ),
    "another text": control(each(with_another_text), "messages/message-to-nobody-is-refused", beside="messages"),
    "the exact time": control(
        each(to_the_millisecond),
        "presence/user-who-appears-offline-is-offline-since-then",
        beside="presence/contact-who-is-connected-is-online",
    ),
    "JSON that is not canonical": control(
        writes(with_spaces), "login/ping-is-answered-before-login", beside="login/challenges-differ"
    ),
    "strangers ask with success": control(
        sets(presence, "_answer", presence_for_everybody),
        "presence/stranger-and-nobody-are-offline",
        beside="presence/contact-who-is-connected-is-online",
    ),
    "blocking does nothing": control(
        handles(frames.Block, block_that_does_nothing),
        "block/after-a-block-the-two-are-strangers-until-both-write block/what-waited-of-a-blocked-user-is-gone "
        "block/message-of-a-blocked-user-is-accepted-and-does-not-come "
        "block/who-was-a-contact-is-told-offline-and-no-more block/nobody-blocks-themselves "
        "block/key-exchange-of-a-blocked-user-is-not-forwarded",
        beside="block",
    ),
    "deletion only closes": control(
        handles(frames.AccountDelete, deletion_that_only_closes),
        "account/deleted-account-is-nobody account/later-login-creates-a-new-account "
        "account/contacts-of-a-deleted-account-are-told-offline",
        beside="account",
    ),
}


@pytest.mark.parametrize("broken", CONTROLS.values(), ids=list(CONTROLS))
def test_broken_rule_is_found_by_the_cases_that_judge_it(broken: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    if broken.breaks is not None:
        broken.breaks(monkeypatch)
    for patience in PATIENCE:
        found = failed(judge(Config(port=0, verify_workers=0, **broken.settings), broken.judged, patience))
        if found == broken.found:
            return
    assert found == broken.found
