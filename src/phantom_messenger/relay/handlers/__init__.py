"""What each frame does, one function each, begun in the order of arrival.

A handler is a generator. It checks a frame, yields what it wants stored, and answers from the result: nobody is
answered before the store has it. It raises ``Refused`` for what it does not obey.
"""

from typing import assert_never

from phantom_messenger.relay.core import Core
from phantom_messenger.relay.handlers import account, keys, login, messages, presence
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps
from phantom_messenger.relay.rules import State
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import Reason, Refused


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
        _check_verdict(core, admitted, verdict)
        yield from _handler(core, admitted)
    except Exception as error:  # noqa: BLE001 - the boundary: one client's failure is not the others'
        core.admission.give_back(admitted)
        if isinstance(frame, frames.Auth) and isinstance(error, Refused):
            login.refuse_login(core, session, error, frame.id)
        else:
            core.replies.reply_failure(session, error, frame.id)


def _check_verdict(core: Core, admitted: AdmittedFrame, verdict: bool | Exception) -> None:
    if isinstance(verdict, Exception):
        raise verdict
    if admitted.letter is not None and admitted.check is not None:
        verdict, admitted.loose = admitted.letter.judged(admitted.frame, admitted.check, verdict, core.verify)
    if not verdict:
        raise Refused(Reason.SIGNATURE)


def _handler(core: Core, admitted: AdmittedFrame) -> Steps:
    match admitted.frame:
        case frames.Message() as frame:
            return messages.message(core, admitted, frame)
        case frames.MessageAck() as frame:
            return messages.message_ack(core, admitted, frame)
        case frames.Auth() as frame:
            return login.authenticate(core, admitted, frame)
        case frames.KeyExchangeInit() as frame:
            return keys.key_exchange_init(core, admitted, frame)
        case frames.KeyExchangeResponse() as frame:
            return keys.key_exchange_response(core, admitted, frame)
        case frames.PreKeyPublish() as frame:
            return keys.prekey_publish(core, admitted, frame)
        case frames.PreKeyStatusQuery() as frame:
            return keys.prekey_status(core, admitted, frame)
        case frames.Presence() as frame:
            return presence.presence(core, admitted, frame)
        case frames.Block() as frame:
            return account.block(core, admitted, frame)
        case frames.Ping() as frame:
            return account.ping(core, admitted, frame)
        case frames.AccountDelete() as frame:
            return account.account_delete(core, admitted, frame)
        case _ as unreachable:
            assert_never(unreachable)
