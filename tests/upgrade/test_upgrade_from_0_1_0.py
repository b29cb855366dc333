"""Files that version 0.1.0 left open with the present code and go on; tests/fixtures_0_1_0/make.py made them."""

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from phantom_messenger import Client
from phantom_messenger.client import records
from phantom_messenger.client.profile import vault_path
from phantom_messenger.client.records import ContactRecord, ReceivedRecord, SentRecord
from phantom_messenger.client.status import DeliveryState, Trust
from phantom_messenger.client.vault import Secret, Vault
from support.relay_process import RelayProcess, patched
from support.sdk_clients import PASSPHRASE, PATIENCE, run

pytestmark = pytest.mark.usefixtures("real_passphrases")

FILES: Final = Path(__file__).parents[1] / "fixtures_0_1_0"
STORY: Final[dict[str, Any]] = json.loads((FILES / "story.json").read_text())
FILE_PASSPHRASE: Final = "battery staple"
MADE_AT: Final[int] = STORY["made_at"]

UNREAD: Final = ["bob burns, unread", "bob for a year, unread", "bob, unread", "bob, the early one"]
"""In Alice's profile; the last of them waits at the relay too, behind one that she has never got."""

WRITTEN: Final = ["alice, encrypted and never accepted", "alice, written offline", "alice burns, written offline"]
SAID_BY_ALICE: Final = ["alice 1", "alice 2", "alice 3"]
SAID_BY_BOB: Final = ["bob 1", "bob 2"]
STRANGER: Final = ["a stranger, unread", "a stranger, who waits"]

CLOCK: Final = f"""
import time
real, began = time.time_ns, time.time_ns()
time.time_ns = lambda: {MADE_AT} * 1_000_000 + real() - began
time.time = lambda: time.time_ns() / 1e9
"""
"""It is the day on which the files were made: what has a life is not over."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with both profiles."""
    folder = tmp_path / "home" / "profiles"
    folder.mkdir(parents=True, mode=0o700)
    for name in ("alice", "bob"):
        shutil.copy(FILES / f"{name}.vault", folder)
    return folder.parent


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A relay's data folder."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    shutil.copy(FILES / "relay.db", folder)
    return folder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``CLOCK``, in this process."""
    real, began = time.time_ns, time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: MADE_AT * 1_000_000 + real() - began)
    monkeypatch.setattr(time, "time", lambda: time.time_ns() / 1e9)


@pytest.fixture
def old_relay(tmp_path: Path, data: Path, clock: None) -> Iterator[RelayProcess]:  # noqa: ARG001 - their clocks agree
    """The relay on that folder."""
    assert data == tmp_path / "data"
    process = RelayProcess(tmp_path, "--rate-auth", "60", command=patched(CLOCK))
    yield process
    process.kill()


def opened(home: Path, name: str, relay: RelayProcess) -> Client:
    return Client.open(name, server=relay.url, home=home, passphrase=PASSPHRASE)


async def received(client: Client, count: int, sender: str) -> list[str]:
    """The next texts of somebody, each marked as read; then it is waited for one too many."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        async for message in client.messages(sender):
            await message.mark_read()
            found.append(message.text)
            if len(found) == count:
                break
    return found


async def state(client: Client, message_id: str, wanted: DeliveryState) -> None:
    async with asyncio.timeout(PATIENCE):
        while client._messenger.state_of(message_id) != wanted:  # noqa: ASYNC110 - a few turns
            await asyncio.sleep(0.02)


def texts(home: Path, name: str) -> tuple[list[str], list[str]]:
    """What a profile keeps of received and of sent texts, without those that are gone."""
    vault = Vault(vault_path(name, home), Secret(PASSPHRASE), create=False)
    got = [record.text for _, record in vault.all(records.RECEIVED, ReceivedRecord)]
    sent = [record.text for _, record in vault.all(records.SENT, SentRecord)]
    vault.close()
    return [text for text in got if text is not None], [text for text in sent if text is not None]


# --- as they lie there ------------------------------------------------------------


def test_old_profile_opens_with_its_identity_contacts_and_history(home: Path) -> None:
    client = Client.open("alice", home=home, passphrase=PASSPHRASE, create=False)
    assert client.user_id == STORY["alice"]
    bob, desk = client.contacts.find("bob"), client.contacts.find("help desk")
    assert (bob.user_id, bob.trust) == (STORY["bob"], Trust.VERIFIED)
    assert (desk.user_id, desk.key) == (STORY["help desk"], bytes(range(32)))
    assert len(client.contacts.safety_number("bob").replace(" ", "")) == 60
    client.close()
    got, sent = texts(home, "alice")
    assert sorted(got) == sorted([*SAID_BY_BOB, *UNREAD, STRANGER[0]])
    assert sent == [*SAID_BY_ALICE, *WRITTEN]


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_old_export_is_imported_with_its_history(tmp_path: Path, name: str) -> None:
    done = Client.import_from(
        FILES / f"{name}.export", FILE_PASSPHRASE, profile=name, home=tmp_path, passphrase=PASSPHRASE
    )
    assert done.contacts == {"alice": 2, "bob": 1}[name]
    client = Client.open(name, home=tmp_path, passphrase=PASSPHRASE, create=False)
    assert client.user_id == STORY[name]
    client.close()
    got, sent = texts(tmp_path, name)
    lasting = [*SAID_BY_BOB, UNREAD[2], STRANGER[0], UNREAD[3]]
    assert sorted(got) == sorted(lasting if name == "alice" else SAID_BY_ALICE)
    assert sent[:3] == (SAID_BY_ALICE if name == "alice" else [*SAID_BY_BOB, UNREAD[2]])


# --- and go on --------------------------------------------------------------------


def test_old_profiles_go_on_at_a_relay_with_the_old_data_and_what_waits_comes_once(
    home: Path, old_relay: RelayProcess
) -> None:
    async def go_on() -> None:
        async with opened(home, "alice", old_relay) as alice, opened(home, "bob", old_relay) as bob:
            await alice.wait_online(PATIENCE)
            await bob.wait_online(PATIENCE)
            # The late text is opened with a key that was skipped; the early one is there already.
            assert await received(alice, 5, bob.user_id) == [*UNREAD, "bob, the late one"]
            assert sorted(await received(bob, 3, alice.user_id)) == sorted(WRITTEN)
            answer = await bob.send("alice", "bob goes on")
            question = await alice.send("bob", "alice goes on")
            assert await received(alice, 1, bob.user_id) == ["bob goes on"]
            assert await received(bob, 1, alice.user_id) == ["alice goes on"]
            await state(bob, answer.message_id, DeliveryState.READ)
            await state(alice, question.message_id, DeliveryState.READ)
            alice.contacts.add("carol", STORY["carol"])
            assert await received(alice, 2, STORY["carol"]) == STRANGER
            assert alice.contacts.find("bob").trust is bob.contacts.find("alice").trust is Trust.VERIFIED
            await alice.flush_receipts()
            await bob.flush_receipts()
            await alice.wait_published(PATIENCE)
            await bob.wait_published(PATIENCE)

    run(go_on())
    got, sent = texts(home, "alice")
    assert sorted(got) == sorted(
        [*SAID_BY_BOB, *UNREAD[1:], "bob, the late one", "bob goes on", *STRANGER]  # and the burning one is gone
    )
    assert len(sent) == len(set(sent))
    assert old_relay.stop() == 0
    with sqlite3.connect(old_relay.data / "relay.db") as database:
        assert database.execute("SELECT count(*) FROM accounts").fetchone() == (3,)
        assert database.execute(
            "SELECT count(*) FROM items WHERE kind = 1 AND sender = ?", (STORY["carol"],)
        ).fetchone() == (0,)
        dated = database.execute("SELECT user_id FROM bundle_signatures JOIN accounts USING (account)").fetchall()
        assert sorted(dated) == sorted([(STORY["alice"],), (STORY["bob"],)]), "and not Carol, who was not there"
    database.close()
    assert old_relay.doubts == []


@pytest.mark.usefixtures("clock")
def test_control_a_text_that_is_taken_from_the_old_data_is_missed(home: Path, tmp_path: Path, data: Path) -> None:
    with sqlite3.connect(data / "relay.db") as database:
        late = database.execute("SELECT name FROM items WHERE sender = ? ORDER BY seq", (STORY["bob"],)).fetchone()
        database.execute("DELETE FROM items WHERE name = ?", late)
    database.close()
    relay = RelayProcess(tmp_path, command=patched(CLOCK))

    async def go_on() -> None:
        async with opened(home, "alice", relay) as alice, opened(home, "bob", relay) as bob:
            await alice.wait_online(PATIENCE)
            await bob.send("alice", "bob goes on")
            assert await received(alice, 5, bob.user_id) == [*UNREAD, "bob goes on"]

    try:
        run(go_on())
    finally:
        relay.kill()


def test_profiles_of_old_exports_talk_at_a_relay_with_the_old_data(tmp_path: Path, old_relay: RelayProcess) -> None:
    for name in ("alice", "bob"):
        Client.import_from(
            FILES / f"{name}.export", FILE_PASSPHRASE, profile=name, home=tmp_path, passphrase=PASSPHRASE
        )

    async def go_on() -> None:
        async with opened(tmp_path, "alice", old_relay) as alice, opened(tmp_path, "bob", old_relay) as bob:
            await alice.wait_published(PATIENCE)
            await bob.wait_published(PATIENCE)
            await bob.send("alice", "bob after the import")
            await alice.send("bob", "alice after the import")
            for who, peer, wanted in ((alice, bob, "bob after the import"), (bob, alice, "alice after the import")):
                while wanted not in await received(who, 1, peer.user_id):
                    """What waited, and what is sent again."""

    run(go_on())


def test_record_of_0_1_0_has_every_field_that_is_asked_for(home: Path) -> None:
    vault = Vault(vault_path("alice", home), Secret(PASSPHRASE), create=False)
    contacts = {record.user_id: record for _, record in vault.all(records.CONTACT, ContactRecord)}
    vault.close()
    assert contacts[STORY["carol"]].name == ""
    assert contacts[STORY["bob"]].greeted
