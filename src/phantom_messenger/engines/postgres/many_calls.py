"""Calls for one message to many, and what goes with it. See ``calls``."""

from collections.abc import Callable
from typing import Any, Final

from phantom_messenger.engines.postgres.answers import GONE, accepted, bundle_of
from phantom_messenger.engines.postgres.arrays import Blobs, Texts
from phantom_messenger.engines.postgres.statements import Call, Row, Setting, Statement, done
from phantom_messenger.relay import commands
from phantom_messenger.relay.commands import ACCOUNT_GONE, OrderRefusal
from phantom_messenger.wire.limits import (
    MAX_ORDER_AGAIN,
    MAX_ORDER_STEP,
    PREKEY_HOUR_PER_REQUESTER,
    PREKEY_HOUR_PER_TARGET,
)

DAY_MS: Final = 86_400_000

_NO_WRITER: Final = 7
_DOES_NOT_FOLLOW: Final = 8
"""Outcomes of an order, beside those of its actor."""

_FORGOTTEN_AT_ONCE: Final = 4_096


def _accept_many(command: commands.AcceptMany, setting: Setting) -> Call:
    items = [item for _, item in command.copies]
    first, order = next(iter(items), None), command.order
    statement = Statement(
        "SELECT * FROM accept_many(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %b, %s, %b, %b, %b, %s, %s)",
        (
            *command.actor.account,
            Texts([recipient for recipient, _ in command.copies]),
            first and first.name,
            Blobs([item.head for item in items]),
            Blobs([item.tail for item in items]),
            Blobs([item.content for item in items]),
            first and first.expires_at,
            first and first.mark,
            command.conversation_id,
            first is not None and first.is_group,
            command.now,
            setting.bounds,
            *((None,) * 5 if order is None else _columns(order)),
            MAX_ORDER_STEP,
            MAX_ORDER_AGAIN,
        ),
    )

    def results(rows: list[list[Row]]) -> list[Any]:
        (outcome, revision, _, author), *copies = rows[0]
        if outcome == GONE:
            return [ACCOUNT_GONE]
        if outcome in {_NO_WRITER, _DOES_NOT_FOLLOW}:
            return [OrderRefusal(revision, author)]
        return [[accepted(item, *row[:-1]) for item, row in zip(items, copies, strict=True)]]

    return Call([statement], results)


def _columns(order: commands.Order) -> tuple[bytes, int, bytes, bytes, bytes]:
    return order.name, order.revision, order.author, b"".join(order.writers), order.last


def _fetch_prekeys(command: commands.FetchPreKeys, _: Setting) -> Call:
    statement = Statement(
        "SELECT b.*, (b.counts).* FROM fetch_prekeys(%s, %s, %s, %s, %s, %s, %s) AS b",
        (
            *command.actor.account,
            Texts(command.targets),
            command.now,
            PREKEY_HOUR_PER_TARGET,
            PREKEY_HOUR_PER_REQUESTER,
        ),
    )
    return Call([statement], lambda rows: [[bundle_of(row) for row in rows[0]] if rows[0] else ACCOUNT_GONE])


def _forget_orders(command: commands.ForgetOrders, _: Setting) -> Call:
    return done("forget_orders(%s, %s)", command.written_before // DAY_MS, _FORGOTTEN_AT_ONCE)


ALONE: Final[dict[Any, Callable[[Any, Setting], Call]]] = {
    commands.AcceptMany: _accept_many,
    commands.FetchPreKeys: _fetch_prekeys,
    commands.ForgetOrders: _forget_orders,
}
"""What makes the call for each kind of command."""
