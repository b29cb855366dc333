"""What the rows of the database's answers are, to commands."""

from collections.abc import Sequence
from typing import Any, Final

from phantom_messenger.engines.postgres.statements import Row
from phantom_messenger.relay.commands import ACCOUNT_GONE, Accepted, AppendRefusal
from phantom_messenger.relay.records import Bundle, Dating, Item, NewItem, OneTimeKey, PreKeyCounts, SignedKey

REFUSALS: Final = {
    1: AppendRefusal.DUPLICATE,
    2: AppendRefusal.FULL,
    3: AppendRefusal.NO_ACCOUNT,
    4: AppendRefusal.SIGNED_ONLY,
}
"""Outcomes of an item, as the functions number them."""
STORED: Final = 0
_UNWANTED: Final = 5
GONE: Final = 6
"""The actor, whose account it was."""


def item_of(item: NewItem, seq: int) -> Item:
    """The item that was stored under this number."""
    text = b"%b%d%b" % (item.head, seq, item.tail)
    return Item(seq, item.kind, item.sender, item.name, text, item.expires_at)


def accepted(item: NewItem, outcome: int, seq: int, became_contacts: bool) -> Any:
    """The result for a message."""
    if outcome == STORED:
        return Accepted(item_of(item, seq), became_contacts)
    if outcome == _UNWANTED:
        return Accepted(None, became_contacts=False)
    return ACCOUNT_GONE if outcome == GONE else REFUSALS[outcome]


def counts_of(row: Row) -> PreKeyCounts:
    """A row of ``prekey_counts``."""
    one_time, kem, signed_id, last_resort, highest = row
    return PreKeyCounts(
        one_time=one_time,
        one_time_kem=kem,
        signed_id=signed_id,
        last_resort_kem_id=last_resort,
        highest_id=highest,
    )


def bundle_of(row: Sequence[Any]) -> Bundle | None:
    """A row of ``bundle``, with its counts as columns of their own; None if it is empty."""
    identity_key, signed_id, signed_key, signature, one_id, one_key, kem_id, kem_key, kem_signature, *more = row
    made_at, bundle_signature, last_id, last_key, last_signature, device_list, _, *counts = more
    if identity_key is None:
        return None
    is_dated = made_at is not None
    return Bundle(
        identity_key=identity_key,
        signed=SignedKey(signed_id, signed_key, signature),
        one_time=None if one_id is None else OneTimeKey(one_id, one_key),
        kem=None if kem_id is None else SignedKey(kem_id, kem_key, kem_signature),
        left=counts_of(tuple(counts)),
        dating=Dating(made_at, bundle_signature) if is_dated else None,
        last_resort_kem=SignedKey(last_id, last_key, last_signature) if is_dated else None,
        device_list=device_list,
    )
