"""Export and import: everything that is to last, nothing that must not, and conversations that heal."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from client_samples import KEY, Device, Town, cheap_passphrases, fast_folder, pass_time, settle

from phantom_messenger.client import backup, records
from phantom_messenger.client.backup import Content, export_profile, import_profile
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import BackupError, ProfileExists, WrongPassphrase
from phantom_messenger.client.records import PreKeyRecord, SessionsRecord
from phantom_messenger.client.status import DeliveryState, Trust
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import primitives
from support.simulated import HOUR, MINUTE, SECOND, World

WORDS = "a passphrase for the file"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_passphrases(monkeypatch)


@pytest.fixture
def town(world: World, tmp_path: Path) -> Iterator[Town]:
    with fast_folder(tmp_path) as folder:
        made = Town(world, folder)
        yield made
        made.close()


def opened(file: Path, words: str = WORDS) -> bytes:
    """What is encrypted in an exported file, without the code that reads it."""
    data = file.read_bytes()
    memory, passes, lanes = (int.from_bytes(data[at : at + 4]) for at in (18, 22, 26))
    key = primitives.argon2id(words.encode(), salt=data[30:46], memory_kib=memory, passes=passes, lanes=lanes)
    plain = primitives.unseal(key, data[46:58], data[58:], data[:46])
    return plain.rstrip(b"\0")[:-1]


def moved(device: Device, file: Path) -> Device:
    """The device's owner imports the file on a new machine, and goes on there."""
    export_profile(device.vault, file, WORDS)
    if device.is_connected:
        device.cut()
    path = device.folder / "new machine.vault"
    device.vault.close()
    import_profile(file, WORDS, path, KEY)
    device._lives += 1
    device._start(path)
    device.events.clear()
    return device


def changed_bytes(file: Path, at: int, value: bytes) -> None:
    data = bytearray(file.read_bytes())
    data[at : at + len(value)] = value
    file.write_bytes(data)


# --- what goes along --------------------------------------------------------------


def test_identity_contacts_and_history_come_back(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.messenger.contacts.set_trust("bob", Trust.VERIFIED)
    (number,) = alice.send(bob, "to bob")
    bob.send(alice, "to alice")
    pass_time(3 * SECOND, alice, bob)
    bob.read_all()
    pass_time(3 * SECOND, alice, bob)
    before = (alice.id, alice.messenger.contacts.everybody(), alice.messenger.state_of(number), alice.own_text(number))
    moved(alice, tmp_path / "alice.phantom")
    after = (
        alice.messenger.user_id,
        alice.messenger.contacts.everybody(),
        alice.messenger.state_of(number),
        alice.own_text(number),
    )
    assert after == before
    assert before[2:] == (DeliveryState.READ, "to bob")
    assert [record.text for record in alice.waiting()] == ["to alice"]


def test_conversation_goes_on_after_an_import_and_nothing_is_lost_or_doubled(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.send(alice, "before")
    pass_time(3 * SECOND, alice, bob)
    alice.cut()
    bob.send(alice, "under way")
    settle(bob)
    alice.send(bob, "not sent yet")
    moved(alice, tmp_path / "alice.phantom").login()
    pass_time(MINUTE, alice, bob)
    assert sorted(alice.read_all()) == ["before", "under way"]
    assert bob.read_all() == ["not sent yet"]
    alice.send(bob, "and on")
    bob.send(alice, "it goes")
    pass_time(MINUTE, alice, bob)
    assert (alice.read_all(), bob.read_all()) == (["it goes"], ["and on"])


def test_newcomer_reaches_somebody_who_has_imported(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    moved(alice, tmp_path / "alice.phantom").login()
    pass_time(5 * SECOND, alice)
    carol = town.device("carol").login()
    carol.send(alice, "the first one")
    settle(carol, alice)
    assert "the first one" in alice.read_all()
    assert "waiting" not in alice.troubles()


def test_text_that_comes_again_after_an_import_is_not_shown_again(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = bob.send(alice, "once")
    pass_time(3 * SECOND, alice, bob)
    assert alice.read_all() == ["once"]
    moved(alice, tmp_path / "alice.phantom").login()
    assert bob.messenger._outbox.again(alice.id, [number], 0, alice.messenger._identity.peer.public) == 1
    pass_time(15 * MINUTE, alice, bob, step=10 * SECOND)
    assert alice.read_all() == []


# --- what does not ----------------------------------------------------------------


def secrets_in(vault: Vault) -> list[bytes]:
    """Live state: private halves of prekeys, and sessions whole and in part."""
    found = [record.private for _, record in vault.all(records.PREKEY, PreKeyRecord)]
    for _, stored in vault.all(records.SESSIONS, SessionsRecord):
        for data in stored.sessions:
            found.append(data)
            found += [part for part in msgspec.msgpack.decode(data) if isinstance(part, bytes) and len(part) == 32]
    return found


def test_no_session_and_no_prekey_is_in_the_file(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.cut()
    alice.send(bob, "sealed but not accepted")
    live = secrets_in(alice.vault)
    assert len(live) > 100
    export_profile(alice.vault, tmp_path / "file", WORDS)
    public = {alice.messenger._identity.peer.public, bob.messenger._identity.peer.public}
    content = opened(tmp_path / "file")
    assert not [secret for secret in live if secret in content and secret not in public]
    assert all(not entry["sealed"] for entry in msgspec.msgpack.decode(content)["outbox"])


def test_control_secrets_are_found_where_they_are(town: Town) -> None:
    alice, _ = town.friends("alice", "bob")
    live = secrets_in(alice.vault)
    assert b"x" + live[0] + b"y" in b"x" + live[0] + b"y"
    assert len(set(live)) > 100


def test_texts_that_burn_or_expire_are_left_out_and_their_ids_are_not(town: Town, tmp_path: Path) -> None:
    alice, bob = town.friends("alice", "bob")
    for one, other in ((alice, bob), (bob, alice)):
        one.send(other, "burning text", burn=True)
        one.send(other, "fleeting text", expires_in=HOUR)
    pass_time(3 * SECOND, alice, bob)
    alice.cut()
    alice.send(bob, "burning text", burn=True)
    alice.send(bob, "fleeting text", expires_in=HOUR)
    export_profile(alice.vault, tmp_path / "file", WORDS)
    content = opened(tmp_path / "file")
    assert b"burning text" not in content
    assert b"fleeting text" not in content
    assert b"hello" in content
    found: Any = msgspec.msgpack.decode(content)
    assert len(found["received"]) == 3
    assert len(found["sent"]) == 5


def test_every_kind_of_record_is_either_in_the_file_or_live_state() -> None:
    kinds = {value for name, value in vars(records).items() if name.isupper() and isinstance(value, str)}
    live = {"sessions", "prekey", "handshake", "ack", "unreadable", "healed", "clock-offset", "seen"}
    kept = {name.replace("_", "-").removesuffix("-id") for name in Content.__struct_fields__}
    names = {"contacts": "contact", "receipts": "receipt", "last-prekey": "last-prekey-id"}
    assert kinds == live | {names.get(name, name) for name in kept}


# --- the file ---------------------------------------------------------------------


def test_file_is_its_owners_alone_and_a_multiple_of_64_kib(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    found = (tmp_path / "file").stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert (found.st_size - 46 - 12 - 16) % 65_536 == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith("file")] == ["file"]


def test_wrong_passphrase_makes_nothing(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    with pytest.raises(WrongPassphrase):
        import_profile(tmp_path / "file", "another", tmp_path / "new.vault", KEY)
    assert not list(tmp_path.glob("new*"))


def test_no_byte_of_the_file_can_change(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    file = tmp_path / "file"
    export_profile(alice.vault, file, WORDS)
    whole = file.read_bytes()
    for at in [*range(18), *range(30, 80), 1_000, len(whole) - 1]:
        changed_bytes(file, at, bytes((whole[at] ^ 1,)))
        with pytest.raises((WrongPassphrase, BackupError)):
            import_profile(file, WORDS, tmp_path / "new.vault", KEY)
        file.write_bytes(whole)
    import_profile(file, WORDS, tmp_path / "new.vault", KEY)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (17, b"\x02"),
        (17, b"\x00"),
        (18, b"\x00\x10\x00\x01"),
        (18, b"\x00\x00\x00\x00"),
        (22, b"\x00\x00\x00\x41"),
        (22, b"\x00\x00\x00\x00"),
        (26, b"\x00\x00\x00\x41"),
        (26, b"\xff\xff\xff\xff"),
    ],
)
def test_file_that_asks_for_too_much_or_is_newer_is_refused_before_any_work(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, value: bytes
) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    changed_bytes(tmp_path / "file", at, value)

    def work(*_: object, **__: object) -> bytes:
        raise AssertionError("it worked")

    monkeypatch.setattr(primitives, "argon2id", work)
    with pytest.raises(BackupError):
        import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)


@pytest.mark.parametrize("size", [0, 5, 17, 18, 45, 60])
def test_file_that_is_cut_or_another_is_refused(town: Town, tmp_path: Path, size: int) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    (tmp_path / "cut").write_bytes((tmp_path / "file").read_bytes()[:size])
    (tmp_path / "other").write_text("a letter to somebody " * 10)
    for name in ("cut", "other", "absent"):
        with pytest.raises(BackupError):
            import_profile(tmp_path / name, WORDS, tmp_path / "new.vault", KEY)


def test_export_that_fails_leaves_no_half_file(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, _ = town.friends("alice", "bob")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("an older export")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BackupError, match="No space left"):
        export_profile(alice.vault, folder / "file", WORDS, replace=True)
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == "an older export"


def test_file_that_is_there_is_overwritten_only_on_demand(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    (tmp_path / "file").write_text("a letter")
    with pytest.raises(BackupError, match="already"):
        export_profile(alice.vault, tmp_path / "file", WORDS)
    assert (tmp_path / "file").read_text() == "a letter"
    export_profile(alice.vault, tmp_path / "file", WORDS, replace=True)
    import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)


def test_profile_that_is_there_is_left_alone(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    Vault(tmp_path / "new.vault", KEY).close()
    before = (tmp_path / "new.vault").read_bytes()
    with pytest.raises(ProfileExists):
        import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    assert (tmp_path / "new.vault").read_bytes() == before


def test_import_that_fails_half_way_leaves_no_profile(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    put = Vault.put

    def fail(self: Vault, kind: str, *arguments: Any, **options: Any) -> None:
        if kind == records.RECEIVED:
            raise OSError(28, "No space left on device")
        put(self, kind, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "put", fail)
        with pytest.raises(OSError, match="No space"):
            import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    assert not list(tmp_path.glob("new*"))
    import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)


def test_sdk_exports_and_imports(tmp_path: Path) -> None:
    with_words = {"home": tmp_path, "passphrase": "own words"}
    client = Client.open("old", server="ws://127.0.0.1:1/ws", **with_words)  # type: ignore[arg-type] # a home and words
    summary = client.export_to(tmp_path / "file", WORDS)
    user_id = client.user_id
    client.close()
    assert (summary.contacts, summary.texts) == (0, 0)
    Client.import_from(tmp_path / "file", WORDS, profile="new", home=tmp_path, passphrase="other words")
    again = Client.open("new", home=tmp_path, passphrase="other words")
    assert (again.user_id, again.server) == (user_id, "ws://127.0.0.1:1/ws")
    again.close()
    assert backup.VERSION == 1
