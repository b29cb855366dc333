"""Profiles of years: many contacts, and what was said with them."""

import base64
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from client_samples import KEY, fast_folder, randomness

from phantom_messenger.client import records
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.records import ContactRecord, InboxRecord, ReceivedRecord, SentRecord
from phantom_messenger.client.vault import Transaction, Vault


def some_id(number: int) -> str:
    return base64.b64encode(hashlib.sha256(f"somebody {number}".encode()).digest()).decode()


def fill(vault: Vault, contacts: int, texts: int, *, waiting: bool = False) -> None:
    """As after years: everybody has been written to, and has answered; ``waiting``: nothing of it was handled."""
    with vault.transaction() as tx:
        for number in range(contacts):
            user_id = some_id(number)
            record = ContactRecord(user_id=user_id, name=f"friend {number}", key=bytes(32), greeted=True)
            tx.put(records.CONTACT, user_id, record)
    for start in range(0, texts, 20_000):
        with vault.transaction() as tx:
            for number in range(start, min(texts, start + 20_000)):
                put_text(tx, number, some_id(number % contacts), waiting=waiting)


def put_text(tx: Transaction, number: int, peer: str, *, waiting: bool = False) -> None:
    name = f"00000000-0000-4000-8000-{number:012d}"
    if number % 2:
        sent = SentRecord(message_id=name, peer=peer, text="a few words", made_at=number, burn=False, state=3)
        tx.put(records.SENT, name, sent)
        return
    received = ReceivedRecord(
        message_id=name,
        sender=peer,
        text="a few words",
        sent_at=number,
        received_at=number,
        burn=False,
        expires_at=None,
    )
    tx.put(records.RECEIVED, records.key(peer, name), received)
    tx.put(records.SEEN, records.key(peer, name), records.Seen(number))
    if waiting:
        tx.put(records.INBOX, records.key(peer, name), InboxRecord(message_id=name, sender=peer))


def opened(vault: Vault) -> Messenger:
    return Messenger(
        vault, wall=lambda: 1_750_000_000_000, monotonic=lambda: 0, random=randomness("anybody"), strangers="ask"
    )


def enter_all(messenger: Messenger) -> None:
    """As after some time: what was said is entered in the index."""
    position = -1
    while messenger._stores.index.position != position:
        position = messenger._stores.index.position
        with messenger._vault.transaction() as tx:
            messenger._stores.index.extend(tx, lambda: True)


def made(folder: Path, contacts: int, texts: int, *, waiting: bool = False, entered: bool = False) -> Path:
    """A folder of its own with such a profile; ``entered``: in the index."""
    place = folder / f"{contacts} {texts} {waiting} {entered}"
    place.mkdir()
    with closing(Vault(place / "alice.vault", KEY)) as vault:
        opened(vault)
        fill(vault, contacts, texts, waiting=waiting)
        if entered:
            enter_all(opened(vault))
    return place


def copied(made: Path, tmp_path: Path) -> Iterator[Vault]:
    with fast_folder(tmp_path) as folder:
        shutil.copytree(made, folder, dirs_exist_ok=True)
        with closing(Vault(folder / "alice.vault", KEY)) as vault:
            yield vault
