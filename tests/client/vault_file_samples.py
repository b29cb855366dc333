"""A profile's file with some history in it, in a home of its own, and what can be read of it."""

from pathlib import Path

import pytest

from phantom_messenger.client import records
from phantom_messenger.client.client import Client
from phantom_messenger.client.records import ReceivedRecord, SentRecord
from phantom_messenger.client.vault import Secret, Vault

PAGE = 4_096
FRIEND = "z2AqYYYiV3EnBBZxXMu5SST7h/4YpmXBPXc3pxwXOT0="
TEXTS = 120


@pytest.fixture(name="_passphrase", autouse=True)
def passphrase_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHANTOM_PASSPHRASE", "p")


@pytest.fixture(name="whole", scope="module")
def whole_profile(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A profile of some 40 pages, with a contact and a history."""
    home = tmp_path_factory.mktemp("whole")
    client = Client.open("a", server="ws://127.0.0.1:9/ws", home=home, passphrase="p")
    client.contacts.add("friend", FRIEND)
    vault = client._vault
    with vault.transaction() as tx:
        for number in range(TEXTS):
            text = f"text {number} " * (400 if number % 40 == 3 else 20)
            sent = SentRecord(message_id=f"{number}", peer=FRIEND, text=text, made_at=number, burn=False, state=1)
            tx.put(records.SENT, sent.message_id, sent, due=number if number % 3 else None)
            got = ReceivedRecord(
                message_id=f"{number}",
                sender=FRIEND,
                text=text,
                sent_at=1,
                received_at=1,
                burn=False,
                expires_at=None,
            )
            tx.put(records.RECEIVED, records.key(FRIEND, f"{number}"), got)
    client.close()
    return (home / "profiles" / "a.vault").read_bytes()


@pytest.fixture(name="path")
def path_of_profile(tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That profile, in a home of its own."""
    monkeypatch.setenv("PHANTOM_HOME", str(tmp_path))
    monkeypatch.setenv("PHANTOM_PROFILE", "a")
    place = tmp_path / "profiles" / "a.vault"
    place.parent.mkdir(mode=0o700)
    place.write_bytes(whole)
    return place


def opened(path: Path) -> Client:
    return Client.open("a", home=path.parents[1], passphrase="p", create=False)


def texts(path: Path) -> set[str]:
    vault = Vault(path, Secret("p"), create=False)
    found = {f"sent {record.message_id}" for _, record in vault.all(records.SENT, SentRecord)}
    found |= {f"got {record.message_id}" for _, record in vault.all(records.RECEIVED, ReceivedRecord)}
    vault.close()
    return found


ALL = {f"{way} {number}" for way in ("sent", "got") for number in range(TEXTS)}
