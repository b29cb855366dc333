"""The same passphrase opens a profile and an export, however a machine writes it; old files open as ever."""

import re
import struct
import unicodedata
from pathlib import Path

import pytest
from client_samples import KEY

from phantom_messenger.client import backup, passphrase
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import BackupError, UsageError, WrongPassphrase
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.crypto import primitives

DOCUMENT = Path(__file__).parents[2] / "protocol" / "encryption.md"
SAME = [
    "caf\u00e9 au lait",
    "cafe\u0301 au lait",
    "caf\u00e9\u3000au\u00a0lait",
    "caf\u00e9 au lait\n",
    "caf\u00e9 au lait\r\n",
]
OTHER = ["Caf\u00e9 au lait", "caf\u00e9 aulait", "caf\u00e9 au lait ", "cafe au lait", "caf\u00e9 au lait\n\n"]


def as_0_1_0_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made gets the bytes that were given."""
    monkeypatch.setattr(passphrase, "chosen", lambda text, **_: text.encode())


@pytest.mark.parametrize("made", SAME)
@pytest.mark.parametrize("opened", SAME)
def test_profile_opens_with_the_same_passphrase_in_another_form(tmp_path: Path, made: str, opened: str) -> None:
    Vault(tmp_path / "a.vault", Secret(made)).close()
    Vault(tmp_path / "a.vault", Secret(opened), create=False).close()


@pytest.mark.parametrize("other", OTHER)
def test_another_passphrase_does_not_open_it(tmp_path: Path, other: str) -> None:
    Vault(tmp_path / "a.vault", Secret(SAME[0])).close()
    with pytest.raises(WrongPassphrase):
        Vault(tmp_path / "a.vault", Secret(other), create=False)


@pytest.mark.parametrize("opened", SAME)
def test_export_opens_with_the_same_passphrase_in_another_form(tmp_path: Path, opened: str) -> None:
    client = Client.open("a", home=tmp_path, passphrase="p")
    client.export_to(tmp_path / "file", SAME[1])
    client.close()
    Client.import_from(tmp_path / "file", opened, profile="b", home=tmp_path, passphrase="p")


@pytest.mark.parametrize("old", SAME)
def test_old_file_opens_with_what_it_was_closed_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str) -> None:
    with monkeypatch.context() as patch:
        as_0_1_0_did(patch)
        Vault(tmp_path / "a.vault", Secret(old)).close()
    Vault(tmp_path / "a.vault", Secret(old), create=False).close()


def test_old_file_of_a_keyboard_that_decomposes_opens_with_one_that_composes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        as_0_1_0_did(patch)
        Vault(tmp_path / "a.vault", Secret(unicodedata.normalize("NFD", SAME[0]))).close()
    Vault(tmp_path / "a.vault", Secret(SAME[0]), create=False).close()


def test_control_with_the_bytes_that_were_given_another_form_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_0_1_0_did(monkeypatch)
    monkeypatch.setattr(passphrase, "candidates", lambda text, **_: [text.encode()])
    Vault(tmp_path / "a.vault", Secret(SAME[0])).close()
    for other in SAME[1:]:
        with pytest.raises(WrongPassphrase):
            Vault(tmp_path / "a.vault", Secret(other), create=False)


@pytest.mark.parametrize(("text", "tries"), [("correct horse", 1), (SAME[0], 2), (SAME[1], 2), ("correct horse\n", 2)])
def test_each_candidate_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, tries: int) -> None:
    Vault(tmp_path / "a.vault", Secret("something else")).close()
    words: list[bytes] = []
    stretch = primitives.argon2id

    def counting(given: bytes, **options: object) -> bytes:
        words.append(given)
        return stretch(given, **options)  # type: ignore[arg-type] # as they were

    monkeypatch.setattr(primitives, "argon2id", counting)
    with pytest.raises(WrongPassphrase):
        Vault(tmp_path / "a.vault", Secret(text), create=False)
    assert len(words) == len(set(words)) == tries


@pytest.mark.parametrize("text", ["", "\n", "\r\n", "a\nb", "a\x00", "a\tb", "\x1b[A"])
def test_new_passphrase_that_could_not_be_typed_again_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"(a passphrase; choose one|control character; choose one without)$"):
        Vault(tmp_path / "a.vault", Secret(text))
    assert not (tmp_path / "a.vault").exists()
    opened = Vault(tmp_path / "b.vault", KEY)
    with pytest.raises(UsageError, match=r"of the file contains|the file needs a passphrase"):
        backup.export_profile(opened, tmp_path / "file", text)
    opened.close()


def test_document_says_the_same() -> None:
    rows = re.findall(
        r"^\| (`.*) \| `([0-9a-f]+)` \|$", DOCUMENT.read_text().partition("### Passphrases")[2], re.MULTILINE
    )
    assert len(rows) == 3
    for given, wanted in rows:
        text = "".join(
            chr(int(code, 16)) if code else plain for plain, code in re.findall(r"`([^`]*)`|U\+([0-9A-F]{4})", given)
        )
        assert passphrase.chosen(text, what="it").hex() == wanted


# --- what a file may ask for ------------------------------------------------------


def asking(tmp_path: Path, **cost: int) -> Path:
    client = Client.open("a", home=tmp_path, passphrase="p")
    client.export_to(tmp_path / "file", "p")
    client.close()
    data = bytearray((tmp_path / "file").read_bytes())
    for at, name in ((18, "memory"), (22, "passes"), (26, "lanes")):
        if name in cost:
            data[at : at + 4] = struct.pack(">I", cost[name])
    (tmp_path / "file").write_bytes(data)
    return tmp_path / "file"


@pytest.mark.parametrize(
    "cost",
    [{"memory": 2**18 + 1}, {"passes": 11}, {"lanes": 17, "memory": 136}, {"memory": 2**32 - 1, "passes": 2**32 - 1}],
    ids=["memory", "passes", "lanes", "all"],
)
def test_file_that_asks_for_too_much_work_is_refused_before_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: dict[str, int]
) -> None:
    file = asking(tmp_path, **cost)
    monkeypatch.setattr(primitives, "argon2id", None)
    with pytest.raises(BackupError, match=r"passes and .* lanes to open, and 256 MiB, 10 and 16 are the most"):
        Client.import_from(file, "p", profile="b", home=tmp_path, passphrase="p")


@pytest.mark.parametrize("cost", [{"memory": 2**18}, {"passes": 10}, {"lanes": 16, "memory": 128}])
def test_file_that_asks_for_the_most_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: dict[str, int]
) -> None:
    file = asking(tmp_path, **cost)
    asked: list[dict[str, int]] = []

    def instead(_: bytes, *, salt: bytes, **options: int) -> bytes:
        asked.append(options)
        return salt * 2

    monkeypatch.setattr(primitives, "argon2id", instead)
    with pytest.raises(WrongPassphrase):
        Client.import_from(file, "p", profile="b", home=tmp_path, passphrase="p")
    assert len(asked) == 1
    assert {name: asked[0]["memory_kib" if name == "memory" else name] for name in cost} == cost
