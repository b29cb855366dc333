"""What each frame does, one function each, begun in the order of arrival.

A handler is a generator. It checks a frame, yields what it wants stored, and answers from the result: nobody is
answered before the store has it. It raises ``RequestError`` for what it does not obey.
"""

from collections.abc import Callable
from typing import Any, Final

from phantom_messenger.relay.commands import CommandFailed
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.handlers import account, allowance, keys, login, many, messages, presence
from phantom_messenger.relay.pipeline import AdmittedFrame, NotCurrentError, Steps
from phantom_messenger.relay.rules import State
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import Reason, RequestError

HANDLERS: Final[dict[type[frames.Frame], Callable[[Core, AdmittedFrame, Any], Steps]]] = {
    frames.Auth: login.authenticate,
    frames.Ping: account.ping,
    frames.Message: messages.message,
    frames.MessageMany: many.message_many,
    frames.MessageAck: messages.message_ack,
    frames.KeyExchangeInit: keys.key_exchange_init,
    frames.KeyExchangeResponse: keys.key_exchange_response,
    frames.PreKeyFetch: many.prekey_fetch,
    frames.PreKeyPublish: keys.prekey_publish,
    frames.PreKeyStatusQuery: keys.prekey_status,
    frames.Presence: presence.presence,
    frames.Block: account.block,
    frames.Allowance: allowance.allowance,
    frames.AccountDelete: account.account_delete,
}
"""By frame; a frame has a handler if it has a rule (``rules.RULES``)."""


def handle(core: Core, admitted: AdmittedFrame, verdict: bool | Exception) -> Steps:
    """Obey one admitted frame, or answer why not.

    Args:
        core: the relay's state.
        admitted: the frame.
        verdict: whether its signature has verified, or what went wrong.
    """
    session, frame = admitted.session, admitted.frame
    if session.state is State.CLOSED:
        return
    try:
        if isinstance(verdict, Exception):
            raise verdict
        if admitted.as_sent is not None and admitted.check is not None:
            verdict, admitted.loose = admitted.as_sent.judged(frame, admitted.check, verdict, core.verify)
        if not verdict:
            raise RequestError(Reason.SIGNATURE)
        yield from HANDLERS[type(frame)](core, admitted, frame)
    except Exception as error:  # noqa: BLE001 - the boundary: one client's failure is not the others'
        if isinstance(error, (RequestError, CommandFailed, NotCurrentError)):  # else it may have been stored
            core.admission.give_back(admitted)
        if isinstance(frame, frames.Auth) and isinstance(error, RequestError):
            login.refuse_login(core, session, error, frame.id)
        else:
            core.replies.reply_failure(session, error, frame.id)
