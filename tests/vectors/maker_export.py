"""Makes ``export.json``: an exported profile, with the passphrase and all that comes between it and the file."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

import msgspec
from maker_base import ALICE, BOB, MALLORY, NOW, Json, drawn, file_of
from maker_content import IDS
from maker_wire import b64

from phantom_messenger.client import backup, records, vault
from phantom_messenger.client.status import DeliveryState, Trust
from phantom_messenger.client.vault import Secret, Vault

PASSPHRASE: Final = "correct horse battery staple"
MEMORY_KIB: Final = 64
PASSES: Final = 1
LANES: Final = 1
"""As little as Argon2 allows with a margin: the file shows its form, and is not to be kept secret."""


def kept() -> dict[str, list[tuple[str, object]]]:
    """The records of the profile, by kind."""
    bob, mallory = b64(BOB.id), b64(MALLORY.id)
    pair = records.key(bob, IDS[1])
    text: dict[str, Any] = {"message_id": IDS[1], "sender": bob}
    sent: dict[str, Any] = {"message_id": IDS[0], "peer": bob, "text": "hello", "made_at": NOW, "burn": False}
    return {
        records.IDENTITY: [("", records.IdentityRecord(seed=ALICE.identity.seed, server="wss://relay.example/ws"))],
        records.LAST_PREKEY_ID: [("", records.IntValue(1_770_000_123))],
        records.CONTACT: [
            (
                bob,
                records.ContactRecord(
                    user_id=bob,
                    name="Bob",
                    key=BOB.identity.peer.public,
                    trust=str(Trust.VERIFIED),
                    greeted=True,
                    post_quantum=True,
                ),
            ),
            (mallory, records.ContactRecord(user_id=mallory)),
        ],
        records.SENT: [
            (IDS[0], records.SentRecord(**sent, state=int(DeliveryState.ACCEPTED), key=BOB.identity.peer.public))
        ],
        records.RECEIVED: [
            (
                pair,
                records.ReceivedRecord(
                    **text, text="hello yourself", sent_at=NOW, received_at=NOW + 5, burn=False, expires_at=None
                ),
            )
        ],
        records.UNANSWERED: [(IDS[0], records.UnansweredRecord(message_id=IDS[0], peer=bob))],
        records.INBOX: [(pair, records.InboxRecord(**text))],
        records.RECEIPT: [(pair, records.ReceiptRecord(**text, status="delivered", at=NOW + 5))],
    }


def export_json() -> Json:
    """The whole file."""
    salt, nonce = drawn("export/salt", backup.SALT_BYTES), drawn("export/nonce", 12)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "exported"
        opened = Vault(Path(folder) / "alice.vault", Secret("a key", stretched=False))
        try:
            with opened.transaction() as tx:
                for kind, found in kept().items():
                    for name, record in found:
                        tx.put(kind, name, record)
            with (
                patch("os.urandom", lambda size: salt if size == len(salt) else nonce),
                patch.multiple(vault, ARGON2_MEMORY_KIB=MEMORY_KIB, ARGON2_PASSES=PASSES, ARGON2_LANES=LANES),
            ):
                backup.export_profile(opened, path, PASSPHRASE)
        finally:
            opened.close()
        content = msgspec.to_builtins(backup._read(path, [PASSPHRASE.encode()]), builtin_types=(bytes,))
        whole = path.read_bytes()
    return file_of(
        "An exported profile: the passphrase, the header, and the map that is encrypted.",
        cases=[
            {
                "name": "profile",
                "description": "a contact who is verified and one who is not named, a text of each side",
                "passphrase": PASSPHRASE,
                "salt": salt.hex(),
                "nonce": nonce.hex(),
                "memory_kib": MEMORY_KIB,
                "passes": PASSES,
                "lanes": LANES,
                "content": shown(content),
                "expect": {"header": whole[: backup._HEADER.size].hex(), "bytes": whole.hex()},
            }
        ],
    )


def shown(value: Any) -> Any:
    """The same with bytes in hex."""
    match value:
        case dict():
            return {name: shown(member) for name, member in value.items()}
        case list():
            return [shown(member) for member in value]
        case bytes():
            return value.hex()
        case _:
            return value
