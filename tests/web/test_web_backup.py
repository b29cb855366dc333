"""An exported file goes from the SDK to the page and back, and says the same."""

import asyncio
import base64
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from phantom_messenger import Client
from phantom_messenger.client import records
from phantom_messenger.client.ids import written_id
from phantom_messenger.client.records import InboxRecord, ReceivedRecord, RequestRecord
from support.node import NODE_TIMEOUT, run_web_tests

PASSPHRASE: Final = "of the profile"
BOB: Final = base64.b64encode(b"B" * 32).decode()
EVE: Final = base64.b64encode(b"E" * 32).decode()


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHANTOM_HOME", str(tmp_path))
    monkeypatch.setenv("PHANTOM_PASSPHRASE", PASSPHRASE)


async def fill(client: Client) -> None:
    """Something of every sort that is exported."""
    client.contacts.add("Böb 🦊", written_id(BOB))
    await client.send(BOB, "plain, ä 你好 \u202e \0")
    await client.send(BOB, "burns", burn_after_read=True)
    await client.send(BOB, "expires", expires_in=60)
    client.change_settings(typing=False)
    client.block(EVE)
    vault = client._vault
    with vault.transaction() as tx:
        texts: list[tuple[str | None, bytes | msgspec.UnsetType]] = [
            ("hello", msgspec.UNSET),
            (None, b"\x83newer"),
            (None, msgspec.UNSET),
        ]
        for number, (text, newer) in enumerate(texts):
            received = ReceivedRecord(
                message_id=f"00000000-0000-4000-8000-00000000000{number}",
                sender=BOB,
                text=text,
                sent_at=1_770_000_000_000,
                received_at=1_770_000_000_000 + number,
                burn=False,
                expires_at=None,
                read=number == 0,
                newer=newer,
            )
            tx.put(records.RECEIVED, records.key(BOB, received.message_id), received)
        unread = InboxRecord(message_id="00000000-0000-4000-8000-000000000001", sender=BOB)
        tx.put(records.INBOX, records.key(BOB, unread.message_id), unread)
        waits = RequestRecord(
            message_id="m", sender="c3RyYW5nZXIncyBpZCE=", at=1, due=2**45, since=3, size=5, frame=b"frame"
        )
        tx.put(records.REQUEST, records.key(waits.sender, waits.message_id), waits, due=waits.due)


def everything(client: Client) -> dict[str, list[Any]]:
    """All records that an export is made of, but when the clock was read."""
    kinds: dict[str, Any] = {
        records.IDENTITY: records.IdentityRecord,
        records.CONTACT: records.ContactRecord,
        records.SENT: records.SentRecord,
        records.RECEIVED: ReceivedRecord,
        records.OUTBOX: records.OutboxRecord,
        records.INBOX: InboxRecord,
        records.SETTINGS: records.SettingsRecord,
        records.BLOCK: records.BlockRecord,
        records.REQUEST: RequestRecord,
        records.NEWER: records.NewerRecord,
    }
    return {
        kind: [msgspec.structs.asdict(one) for _, one in client._vault.all(kind, type_)]
        for kind, type_ in kinds.items()
    }


@pytest.mark.timeout(NODE_TIMEOUT)
def test_a_file_of_the_sdk_goes_through_the_page_and_comes_back(tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    first = Client.open("first", server="ws://127.0.0.1:9/ws")
    asyncio.run(fill(first))
    first.export_to(exported, "of the SDK")
    first.close()
    printed = run_web_tests("tests/client/backup.test.ts", PHANTOM_EXPORTED=str(exported))
    assert "# skipped 0" in printed
    again = tmp_path / "exported.again"
    Client.import_from(exported, "of the SDK", profile="direct")
    Client.import_from(again, "of the page", profile="through")
    direct, through = Client.open("direct"), Client.open("through")
    try:
        assert everything(direct) == everything(through)
        assert len(everything(direct)[records.RECEIVED]) == 3
        assert [entry.text for entry in through.history(BOB) if entry.is_own] == ["plain, ä 你好 \u202e \0", None, None]
    finally:
        direct.close()
        through.close()
