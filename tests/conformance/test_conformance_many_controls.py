"""Controls of one message to many: relays that break one rule of it each, which the cases find that judge it."""

from types import SimpleNamespace
from typing import Any, Final

import pytest
from msgspec import UNSET, structs
from test_conformance_controls import PATIENCE, Control, Patch, control, each, failed, handles, judge, sets

from phantom_messenger.engines.sqlite import orders
from phantom_messenger.relay import many_commands, signatures
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.handlers import keys, login, many
from phantom_messenger.relay.many_commands import OrderRefusal
from phantom_messenger.wire import codec, frames
from phantom_messenger.wire.codes import Reason, RequestError

genuine_many, genuine_response, genuine_login = many.message_many, keys.response_payload, login._become_user


def without(**members: object) -> Patch:
    """A relay that takes these members of a message to many for others."""

    def handler(core: Any, admitted: Any, frame: Any) -> Any:
        return genuine_many(core, admitted, structs.replace(frame, payload=structs.replace(frame.payload, **members)))

    return handles(frames.MessageMany, handler)


def to_somebody(core: Any, admitted: Any, frame: Any) -> Any:
    if not frame.payload.recipients:
        raise RequestError(Reason.FIELD, field="payload.recipients")
    return genuine_many(core, admitted, frame)


def without_author(refusal: OrderRefusal) -> RequestError:
    if refusal.revision is None:
        return RequestError(Reason.WRITER)
    return RequestError(Reason.ORDER, details={"revision": refusal.revision})


def anybody_writes(order: Any, stored: Any) -> Any:
    refused = many_commands.judge(order, stored)
    return refused if refused is None or refused.revision is not None else None


def lists_for_all(patch: pytest.MonkeyPatch) -> None:
    def response(session: Any, bundle: Any, target: str) -> Any:
        knowing = SimpleNamespace(takes_devices=True, takes_dates=session.takes_dates)
        return genuine_response(knowing, bundle, target)  # type: ignore[arg-type]

    for module in (keys, many):
        patch.setattr(module, "response_payload", response)


def many_for_all(session: Any, frame: Any) -> None:
    genuine_login(session, frame)
    session.takes_many = True


def without_heads(frame: dict[str, Any]) -> dict[str, Any]:
    if frame["type"] != "MESSAGE":
        return frame
    return {**frame, "payload": {**frame["payload"], "encrypted": frame["payload"]["encrypted"][-8:]}}


def nobody_refused(frame: dict[str, Any]) -> dict[str, Any]:
    return {**frame, "payload": {**frame["payload"], "refused": []}} if frame["type"] == "MANY_RESULT" else frame


def in_another_order(frame: dict[str, Any]) -> dict[str, Any]:
    if frame["type"] != "PREKEY_BUNDLES":
        return frame
    return {**frame, "payload": {**frame["payload"], "bundles": frame["payload"]["bundles"][::-1]}}


CONTROLS: Final = {
    "many for everybody": control(
        sets(login, "_become_user", many_for_all),
        "many/clients-without-the-feature-send-an-unknown-type",
        beside="many/repeated-frame-is-accepted-and-comes-once",
    ),
    "signatures of the parts are not checked": control(
        sets(signatures, "verify", lambda batch: [True for _ in batch]),
        "many/one-wrong-signature-rejects-all",
        beside="many/user-twice-or-the-sender-rejects-all",
    ),
    "heads are lost": control(
        each(without_heads),
        "many/each-recipient-gets-an-ordinary-message",
        beside="many/nobody-is-named-and-the-others-get-it",
    ),
    "as many characters as fit": control(
        sets(codec, "MAX_MANY_CHARS", 10**9),
        "many/messages-are-bounded-together",
        beside="many/each-message-is-bounded",
    ),
    "nobody is refused": control(
        each(nobody_refused),
        "many/nobody-is-named-and-the-others-get-it order/revision-is-stored-although-a-recipient-is-refused",
        beside="many/repeated-frame-is-accepted-and-comes-once",
    ),
    "groups are like others": control(
        without(group=UNSET),
        "many/group-makes-no-contacts many/group-leads-to-no-receipt",
        beside="many/repeated-frame-is-accepted-and-comes-once",
    ),
    "recipients are not counted": control(
        None,
        "many/recipient-6001-is-refused",
        beside="many/sixty-first-frame-is-refused",
        rate_recipients=1_000_000,
    ),
    "messages are not counted": control(
        None,
        "many/sixty-first-frame-is-refused",
        beside="many/recipient-6001-is-refused",
        rate_message=1_000,
    ),
    "no order": control(
        without(order=UNSET),
        "order/sender-has-to-be-among-the-first-writers order/revision-has-to-be-above-the-stored-one-by-1-to-1024 "
        "order/stored-writers-go-on-and-nobody-else order/revision-is-stored-although-a-recipient-is-refused "
        "order/revision-needs-no-recipient order/refusal-names-who-has-written-the-stored-revision",
        beside="order",
    ),
    "authors are not named": control(
        sets(many, "_order_error", without_author),
        "order/refusal-names-who-has-written-the-stored-revision",
        beside="order",
    ),
    "an order needs recipients": control(
        handles(frames.MessageMany, to_somebody),
        "order/revision-needs-no-recipient",
        beside="order",
    ),
    "anybody writes": control(
        sets(orders, "judge", anybody_writes),
        "order/sender-has-to-be-among-the-first-writers order/stored-writers-go-on-and-nobody-else",
        beside="order",
    ),
    "any step": control(
        sets(many_commands, "MAX_ORDER_STEP", 10**6),
        "order/revision-has-to-be-above-the-stored-one-by-1-to-1024",
        beside="order",
    ),
    "only the last one again": control(
        sets(orders, "MAX_ORDER_AGAIN", 1), "order/same-revision-of-the-same-message-is-accepted-again", beside="order"
    ),
    "bundles in another order": control(
        each(in_another_order),
        "prekey-fetch/bundles-of-several-users-are-handed-out",
        beside="prekey-fetch",
    ),
    "fetches are not counted": control(
        None, "prekey-fetch/eleventh-fetch-is-refused", beside="prekey-fetch", rate_key_exchange=1_000
    ),
    "lists of devices for everybody": control(
        lists_for_all, "device-lists/list-is-kept-from-clients-that-do-not-know-it", beside="device-lists"
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
