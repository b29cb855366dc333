"""Controls of what recipients allow: relays that break one rule of it each, which the cases find that judge it."""

from typing import Any, Final

import pytest
from msgspec import structs
from test_conformance_controls import PATIENCE, Control, Patch, control, failed, handles, judge, sets

from phantom_messenger.relay import allowances
from phantom_messenger.relay.allowances import Allowances
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.handlers import allowance, login
from phantom_messenger.relay.relay import Relay
from phantom_messenger.wire import frames

genuine, genuine_give, genuine_login = allowance.allowance, Allowances.give, login._become_user
genuine_receive = Relay.receive


def for_all(session: Any, frame: Any) -> None:
    genuine_login(session, frame)
    session.takes_allowances = True


def own_id_too(core: Any, admitted: Any, frame: Any) -> Any:
    payload = structs.replace(frame.payload, sender_id="A" * 24)
    is_own = frame.payload.sender_id == admitted.session.user_id
    return genuine(core, admitted, structs.replace(frame, payload=payload) if is_own else frame)


def any_recipient(self: Relay, session: Any, text: bytes) -> None:
    """A relay that passes over the member that a client may not send."""
    if b'"type":"ALLOWANCE"' in text and b'"recipientId"' in text:
        start = text.index(b'"recipientId"')
        text = text[:start] + text[text.index(b",", start) + 1 :]
    genuine_receive(self, session, text)


def only_who_is_there(core: Any, admitted: Any, frame: Any) -> Any:
    if core.hub.of(frame.payload.sender_id) is None:
        core.replies.send(admitted.session, _with(core, frame, 1))
        return iter(())
    return genuine(core, admitted, frame)


def _with(core: Any, frame: Any, messages: int) -> frames.AllowanceNotice:
    payload = frames.AllowanceNoticePayload(expires_in=1, messages=messages, sender_id=frame.payload.sender_id)
    return frames.AllowanceNotice(id=frame.id, payload=payload, timestamp=core.clock.wall_ms())


def without_end(self: Allowances, sender: str, recipient: str, now: int) -> bool:  # noqa: ARG001 - as the genuine one
    found = self._open.get(recipient)
    return found is not None and found.sender == sender


def to_anybody(self: Allowances, sender: str, recipient: str, now: int) -> bool:  # noqa: ARG001 - as the genuine one
    return any(one.sender == sender for one in self._open.values())


def again_and_again(self: Allowances, recipient: str, sender: str, *, address: str, now: int) -> Any:
    self._given.clear()
    self._open.pop(recipient, None)
    return genuine_give(self, recipient, sender, address=address, now=now)


def tells_again(core: Any, admitted: Any, frame: Any) -> Any:
    for one in core.admission.allowances._open.values():
        one.told = 0
    return genuine(core, admitted, frame)


def tells_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(allowance, "tell_sender", lambda *_: None)


def handler(new: Any) -> Patch:
    return handles(frames.Allowance, new)


CONTROLS: Final = {
    "for everybody": control(
        sets(login, "_become_user", for_all),
        "allowance/clients-without-the-feature-send-an-unknown-type",
        beside="allowance/own-id-is-refused",
    ),
    "for oneself": control(
        handler(own_id_too), "allowance/own-id-is-refused", beside="allowance/client-names-no-recipient"
    ),
    "a recipient may be named": control(
        sets(Relay, "receive", any_recipient),
        "allowance/client-names-no-recipient",
        beside="allowance/own-id-is-refused",
    ),
    "it shows who is there": control(
        handler(only_who_is_there),
        "allowance/answer-tells-nothing-of-the-sender",
        beside="allowance/sender-is-told-once-on-each-connection",
    ),
    "without end": control(
        sets(Allowances, "take", without_end),
        "allowance/so-many-more-are-let-through-and-no-more allowance/saying-it-again-renews-nothing",
        beside="allowance/messages-to-others-count-as-ever",
    ),
    "one less": control(
        sets(allowances, "ALLOWED_MESSAGES", 255),
        "allowance/so-many-more-are-let-through-and-no-more dialogues/allowance",
        beside="allowance/saying-it-again-renews-nothing",
    ),
    "to anybody": control(
        sets(Allowances, "take", to_anybody),
        "allowance/messages-to-others-count-as-ever",
        beside="allowance/sender-is-told-once-on-each-connection",
    ),
    "again and again": control(
        sets(Allowances, "give", again_and_again),
        "allowance/saying-it-again-renews-nothing",
        beside="allowance/messages-to-others-count-as-ever",
    ),
    "told each time": control(
        handler(tells_again),
        "allowance/sender-is-told-once-on-each-connection",
        beside="allowance/saying-it-again-renews-nothing",
    ),
    "told to nobody": control(
        tells_nobody,
        "allowance/sender-is-told-once-on-each-connection dialogues/allowance",
        beside="allowance/saying-it-again-renews-nothing",
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
