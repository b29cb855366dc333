"""All cases, in the order in which the protocol tells of what they judge."""

from typing import Final

from phantom_messenger.conformance.cases.accounts import blocking, deleting
from phantom_messenger.conformance.cases.allowance import allowance
from phantom_messenger.conformance.cases.dated import dated
from phantom_messenger.conformance.cases.dialogues import dialogues
from phantom_messenger.conformance.cases.forms import forms
from phantom_messenger.conformance.cases.forms import messages as message_forms
from phantom_messenger.conformance.cases.http import http
from phantom_messenger.conformance.cases.keys import exchange, prekeys
from phantom_messenger.conformance.cases.limits import errors, limits
from phantom_messenger.conformance.cases.login import login
from phantom_messenger.conformance.cases.many import devices, fetching, many, order
from phantom_messenger.conformance.cases.messages import mailbox, messages
from phantom_messenger.conformance.cases.presence import presence
from phantom_messenger.conformance.cases.receipts import receipts
from phantom_messenger.conformance.cases.signatures import signatures
from phantom_messenger.conformance.cases.websocket import websocket
from phantom_messenger.conformance.verdict import Case

GROUPS: Final = (
    dialogues,
    http,
    websocket,
    login,
    forms,
    message_forms,
    signatures,
    prekeys,
    dated,
    exchange,
    messages,
    mailbox,
    many,
    order,
    fetching,
    devices,
    receipts,
    presence,
    blocking,
    allowance,
    deleting,
    errors,
    limits,
)

CASES: Final[tuple[Case, ...]] = tuple(case for group in GROUPS for case in group.cases)
