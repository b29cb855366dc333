"""Commands as calls of functions in the database: one call for all commands of a kind that stand together."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from phantom_messenger.engines.postgres import many_calls, relay_calls
from phantom_messenger.engines.postgres.answers import GONE, REFUSALS, STORED, accepted, bundle_of, counts_of, item_of
from phantom_messenger.engines.postgres.arrays import Array, Blobs, Flags, Numbers, Texts
from phantom_messenger.engines.postgres.statements import Call, Row, Setting, Statement, columns, done
from phantom_messenger.relay import commands
from phantom_messenger.relay.commands import (
    ACCOUNT_GONE,
    Actor,
    AnyCommand,
    Blocked,
    DeletedAccount,
    DeliveryOutcome,
    Exchanged,
    LoggedIn,
    LoginConflict,
    MessageName,
    PublishRefusal,
    StoredReceipt,
)
from phantom_messenger.relay.receipts import receipt_item
from phantom_messenger.relay.records import (
    Item,
    ItemKind,
    NewItem,
    Page,
)
from phantom_messenger.wire.frames import PresenceStatus, Status
from phantom_messenger.wire.limits import (
    MAX_BACKLOG,
    MAX_BLOCKED,
    MAX_GROUP_BACKLOG,
    MAX_KEY_EXCHANGE_BACKLOG,
    MAX_ONE_TIME_PREKEYS,
    MAX_RECEIPT_BACKLOG,
    MAX_STRANGER_BACKLOG,
    MAX_STRANGERS_BACKLOG,
    PREKEY_HOUR_PER_REQUESTER,
    PREKEY_HOUR_PER_TARGET,
)

DAY_MS: Final = 86_400_000

_CONFLICTS: Final = {
    1: LoginConflict.NEW,
    2: LoginConflict.TAKEN,
    3: LoginConflict.SIGNED,
    4: LoginConflict.OLDER,
    5: LoginConflict.UNFINISHED,
}
_NO_ACCOUNT: Final = -1
_ALL_DONE: Final = 2
_X25519: Final = 1
_ML_KEM: Final = 2


def bounds(mailbox_bytes: int | None) -> Array:
    """What a mailbox holds, in the order in which the functions expect it."""
    return Numbers(
        [
            MAX_BACKLOG,
            MAX_STRANGER_BACKLOG,
            MAX_STRANGERS_BACKLOG,
            MAX_KEY_EXCHANGE_BACKLOG,
            MAX_RECEIPT_BACKLOG,
            mailbox_bytes,
            MAX_GROUP_BACKLOG,
        ]
    )


def call(kind: type[AnyCommand], some: Sequence[Any], setting: Setting) -> Call:
    """The call for commands of one kind, which are run in order."""
    if kind in _TOGETHER:
        return _TOGETHER[kind](some, setting)
    calls = [_ALONE[kind](one, setting) for one in some]
    return Call([statement for each in calls for statement in each.statements], lambda rows: _split(calls, rows))


def _split(calls: Sequence[Call], rows: list[list[Row]]) -> list[Any]:
    """The results of calls one after another."""
    results: list[Any] = []
    for each in calls:
        count = len(each.statements)
        results += each.results(rows[:count])
        rows = rows[count:]
    return results


def _actors(some: Sequence[Any]) -> tuple[Array, Array, Array]:
    users, keys, unsigned = columns((command.actor.account for command in some), 3)
    return Texts(users), Texts(keys), Flags(unsigned)


# --- messages ------------------------------------------------------------------------------------------------


def _accept(some: Sequence[commands.AcceptMessage], setting: Setting) -> Call:
    items = [command.item for command in some]
    statement = Statement(
        "SELECT * FROM accept_messages(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, false, %s)",
        (
            *_actors(some),
            Texts([command.recipient for command in some]),
            Texts([item.name for item in items]),
            Blobs([item.head for item in items]),
            Blobs([item.tail for item in items]),
            Blobs([item.content for item in items]),
            Numbers([item.expires_at for item in items]),
            Numbers([item.mark for item in items]),
            Texts([command.conversation_id for command in some]),
            Flags([command.is_loose for command in some]),
            Numbers([command.now for command in some]),
            setting.bounds,
        ),
    )

    def results(rows: list[list[Row]]) -> list[Any]:
        return [accepted(item, *row) for item, row in zip(items, rows[0], strict=True)]

    return Call([statement], results)


class _Acknowledgement(NamedTuple):
    """One message of a command."""

    command: int
    """Which, from 1."""
    name: MessageName
    status: Status
    receipt: NewItem | None
    now: int


def _acknowledge_all(some: Sequence[Any], acknowledgements: Sequence[_Acknowledgement], setting: Setting) -> Statement:
    receipts = [each.receipt for each in acknowledgements]
    return Statement(
        "SELECT * FROM acknowledge(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            *_actors(some),
            Numbers([each.command for each in acknowledgements]),
            Texts([each.name.sender for each in acknowledgements]),
            Texts([each.name.message_id for each in acknowledgements]),
            Flags([each.status is Status.DELIVERED for each in acknowledgements]),
            Flags([receipt is not None for receipt in receipts]),
            Blobs([b"" if receipt is None else receipt.head for receipt in receipts]),
            Blobs([b"" if receipt is None else receipt.tail for receipt in receipts]),
            Numbers([each.now for each in acknowledgements]),
            setting.bounds,
            setting.remembers,
        ),
    )


def _acknowledge(some: Sequence[commands.Acknowledge], setting: Setting) -> Call:
    acknowledgements = [
        _Acknowledgement(
            number,
            name,
            command.status,
            receipt_item(command.actor.user_id, name.message_id, command.status, command.wall_ms)
            if command.may_notify
            else None,
            command.now,
        )
        for number, command in enumerate(some, 1)
        for name in command.messages
    ]

    def results(rows: list[list[Row]]) -> list[Any]:
        found: list[Any] = [[] for _ in some]
        for number, _, _, seq in rows[0]:
            if number < 0:
                found[-number - 1] = ACCOUNT_GONE
            elif seq is not None:
                each = acknowledgements[number - 1]
                assert each.receipt is not None  # noqa: S101 - none was asked for without it
                found[each.command - 1].append(StoredReceipt(each.name.sender, item_of(each.receipt, seq)))
        return found

    return Call([_acknowledge_all(some, acknowledgements, setting)], results)


def _acknowledge_hidden(command: commands.AcknowledgeHidden, setting: Setting) -> Call:
    acknowledgements = [_Acknowledgement(1, name, command.status, None, command.now) for name in command.messages]
    senders = list({name.sender for name in command.messages})
    visible = Statement("SELECT * FROM may_see_delivery(%s, %s)", (command.actor.user_id, Texts(senders)))

    def results(rows: list[list[Row]]) -> list[Any]:
        hidden: list[tuple[MessageName, DeliveryOutcome]] = []
        may_see = {row[0] for row in rows[1]}
        for number, stored_at, expires_at, _ in rows[0]:
            if number < 0:
                return [ACCOUNT_GONE]
            name = command.messages[number - 1]
            last = None if stored_at is None else stored_at + command.mail_life_ms
            if name.sender in may_see:
                ends = last if expires_at is None or last is None else min(expires_at, last)
                hidden.append((name, DeliveryOutcome(command.status, command.now, ends)))
        return [hidden]

    return Call([_acknowledge_all([command], acknowledgements, setting), visible], results)


def store_receipts(command: commands.StoreReceipts, setting: Setting) -> Call:
    """Receipts for messages that are gone already."""
    receipts = [
        receipt_item(command.recipient, name.message_id, status, command.wall_ms) for name, status in command.outcomes
    ]
    statement = Statement(
        "SELECT * FROM store_receipts(%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            command.recipient,
            Texts([name.sender for name, _ in command.outcomes]),
            Texts([name.message_id for name, _ in command.outcomes]),
            Flags([status is Status.DELIVERED for _, status in command.outcomes]),
            Blobs([receipt.head for receipt in receipts]),
            Blobs([receipt.tail for receipt in receipts]),
            command.now,
            setting.bounds,
        ),
    )

    def results(rows: list[list[Row]]) -> list[Any]:
        stored = zip(command.outcomes, receipts, rows[0], strict=True)
        return [[StoredReceipt(name.sender, item_of(item, row[0])) for (name, _), item, row in stored if row[0]]]

    return Call([statement], results)


def _confirm(some: Sequence[commands.Confirm], _: Setting) -> Call:
    pairs = [(number, seq) for number, command in enumerate(some, 1) for seq in command.seqs]
    numbers, seqs = columns(pairs, 2)
    statement = Statement(
        "SELECT * FROM confirm(%s, %s, %s, %s, %s)", (*_actors(some), Numbers(numbers), Numbers(seqs))
    )

    def results(rows: list[list[Row]]) -> list[Any]:
        gone = {row[0] for row in rows[0]}
        return [ACCOUNT_GONE if number in gone else None for number in range(1, len(some) + 1)]

    return Call([statement], results)


def _read_statement(actor: Actor, after: int, max_bytes: int, now: int) -> Statement:
    return Statement("SELECT * FROM read_mailbox(%s, %s, %s, %s, %s, %s)", (*actor.account, after, max_bytes, now))


def _page(rows: list[Row]) -> Page | None:
    """None if the account is gone."""
    *items, last = rows
    if last[1] == _NO_ACCOUNT:
        return None
    return Page([Item(row[0], ItemKind(row[1]), *row[2:]) for row in items], complete=bool(last[1]))


def _read_mailbox(command: commands.ReadMailbox, _: Setting) -> Call:
    statement = _read_statement(command.actor, command.after, command.max_bytes, command.now)
    return Call([statement], lambda rows: [_page(rows[0]) or ACCOUNT_GONE])


# --- accounts ------------------------------------------------------------------------------------------------


def _log_in(command: commands.LogIn, setting: Setting) -> Call:
    actor = Actor(command.user_id, command.public_key, not command.is_signed)
    statements = [
        Statement(
            "SELECT * FROM log_in(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                command.user_id,
                command.public_key,
                command.certified_id,
                command.is_signed,
                command.may_create,
                command.now,
                setting.relay,
                command.connected_at,
                command.presence.value,
            ),
        ),
        _read_statement(actor, 0, command.page_bytes, command.now),
        Statement("SELECT * FROM count_own_prekeys(%s, %s, %s)", (*actor.account,)),
    ]

    def results(rows: list[list[Row]]) -> list[Any]:
        conflict, contacts, seen_as, others, shown = rows[0][0]
        if conflict is not None:
            return [_CONFLICTS[conflict]]
        page = _page(rows[1])
        assert page is not None  # noqa: S101 - the account was found or made by the statement before
        elsewhere = tuple(zip(others or [], map(PresenceStatus, shown or []), strict=True))
        return [LoggedIn(page, contacts, counts_of(rows[2][0]), elsewhere, PresenceStatus(seen_as))]

    return Call(statements, results)


def _record_departure(command: commands.RecordDeparture, setting: Setting) -> Call:
    statements = [Statement("SELECT record_departure(%s, %s, %s)", (command.user_id, command.last_seen, command.now))]
    if not command.is_connected:
        statements.append(Statement("SELECT leave_session(%s, %s)", (command.user_id, setting.relay)))
    return Call(statements, lambda _: [None])


def _record_activity(command: commands.RecordActivity, _: Setting) -> Call:
    return done("record_activity(%s, %s)", command.user_id, command.now)


def _block(command: commands.Block, _: Setting) -> Call:
    def results(rows: list[list[Row]]) -> list[Any]:
        outcome, was_contact = rows[0][0]
        if outcome == _NO_ACCOUNT:
            return [ACCOUNT_GONE]
        return [Blocked(was_contact, outcome == _ALL_DONE) if outcome else None]

    parameters = (*command.actor.account, command.other, MAX_BLOCKED)
    return Call([Statement("SELECT * FROM block(%s, %s, %s, %s, %s)", parameters)], results)


def _unblock(command: commands.Unblock, _: Setting) -> Call:
    statement = Statement("SELECT unblock(%s, %s, %s, %s)", (*command.actor.account, command.other))
    return Call([statement], lambda rows: [None if rows[0][0][0] else ACCOUNT_GONE])


def _delete_account(command: commands.DeleteAccount, _: Setting) -> Call:
    def results(rows: list[list[Row]]) -> list[Any]:
        outcome, contacts = rows[0][0]
        return [ACCOUNT_GONE if outcome == _NO_ACCOUNT else DeletedAccount(contacts, outcome == _ALL_DONE)]

    return Call([Statement("SELECT * FROM delete_own_account(%s, %s, %s)", (*command.actor.account,))], results)


def _delete_idle(command: commands.DeleteIdleAccount, _: Setting) -> Call:
    parameters = command.user_id, command.active_before // DAY_MS
    statement = Statement("SELECT delete_idle_account(%s, %s)", parameters)
    return Call([statement], lambda rows: [rows[0][0][0]])


# --- keys ----------------------------------------------------------------------------------------------------


def _exchange_keys(command: commands.ExchangeKeys, setting: Setting) -> Call:
    item = command.item
    statement = Statement(
        "SELECT outcome, new_seq, became_contacts, (handed_out).*, ((handed_out).counts).* FROM"
        " exchange_keys(%s, %s, %s, %s, %s, %b, %b, %s, %s, %s, %s, %s, %s, %s)",
        (
            *command.actor.account,
            command.target,
            item.name,
            item.head,
            item.tail,
            item.mark,
            command.is_loose,
            command.wants_bundle,
            command.now,
            setting.bounds,
            PREKEY_HOUR_PER_TARGET,
            PREKEY_HOUR_PER_REQUESTER,
        ),
    )

    def results(rows: list[list[Row]]) -> list[Any]:
        outcome, seq, became_contacts, *found = rows[0][0]
        if outcome == GONE:
            return [ACCOUNT_GONE]
        bundle = bundle_of(found)
        if outcome in REFUSALS and bundle is None:
            return [REFUSALS[outcome]]
        return [Exchanged(item_of(item, seq) if outcome == STORED else None, bundle, became_contacts)]

    return Call([statement], results)


_PUBLISH_REFUSALS: Final = {0: PublishRefusal.FULL, 2: PublishRefusal.OUTDATED}


def _publish(command: commands.PublishPreKeys, _: Setting) -> Call:
    wanted = command.publication
    signed = [(_X25519, wanted.signed)]
    signed += [] if wanted.last_resort_kem is None else [(_ML_KEM, wanted.last_resort_kem)]
    rows = [(kind, key.id, key.key, key.signature) for kind, key in signed]
    rows += [(_X25519, key.id, key.key, "") for key in wanted.one_time]
    rows += [(_ML_KEM, key.id, key.key, key.signature) for key in wanted.one_time_kem]
    kinds, ids, keys, signatures = columns(rows, 4)
    publishing = Statement(
        "SELECT publish_prekeys(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            *command.actor.account,
            Numbers(kinds),
            Numbers(ids),
            Texts(keys),
            Texts(signatures),
            len(signed),
            wanted.highest_id,
            wanted.replace,
            MAX_ONE_TIME_PREKEYS,
            None if wanted.dating is None else wanted.dating.made_at,
            None if wanted.dating is None else wanted.dating.signature,
            wanted.device_list,
        ),
    )
    counting = Statement("SELECT * FROM count_own_prekeys(%s, %s, %s)", (*command.actor.account,))

    def results(rows: list[list[Row]]) -> list[Any]:
        [(outcome,)] = rows[0]
        if outcome == _NO_ACCOUNT:
            return [ACCOUNT_GONE]
        return [_PUBLISH_REFUSALS.get(outcome) or counts_of(rows[1][0])]

    return Call([publishing, counting], results)


def _count_prekeys(command: commands.CountPreKeys, _: Setting) -> Call:
    statement = Statement("SELECT * FROM count_own_prekeys(%s, %s, %s)", (*command.actor.account,))
    return Call([statement], lambda rows: [counts_of(rows[0][0]) if rows[0] else ACCOUNT_GONE])


def _forget_handouts(command: commands.ForgetHandouts, _: Setting) -> Call:
    return done("forget_handouts(%s)", command.now)


_TOGETHER: Final[dict[Any, Callable[[Sequence[Any], Setting], Call]]] = {
    commands.AcceptMessage: _accept,
    commands.Acknowledge: _acknowledge,
    commands.Confirm: _confirm,
}
_ALONE: Final[dict[Any, Callable[[Any, Setting], Call]]] = {
    **many_calls.ALONE,
    **relay_calls.ALONE,
    commands.AcknowledgeHidden: _acknowledge_hidden,
    commands.Block: _block,
    commands.CountPreKeys: _count_prekeys,
    commands.DeleteAccount: _delete_account,
    commands.DeleteIdleAccount: _delete_idle,
    commands.ExchangeKeys: _exchange_keys,
    commands.ForgetHandouts: _forget_handouts,
    commands.LogIn: _log_in,
    commands.PublishPreKeys: _publish,
    commands.ReadMailbox: _read_mailbox,
    commands.RecordActivity: _record_activity,
    commands.RecordDeparture: _record_departure,
    commands.StoreReceipts: store_receipts,
    commands.Unblock: _unblock,
}
"""``Expire`` and ``FindIdleAccounts`` take more than a call: see ``store``."""
