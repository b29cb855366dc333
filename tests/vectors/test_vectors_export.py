"""The exported file is what protocol/encryption.md says: field by field, and byte by byte in ``export.json``."""

import re
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from vector_replay import FOLDER, Json, raw, vectors

from phantom_messenger.client import records
from phantom_messenger.client.backup import Content, import_profile
from phantom_messenger.client.errors import WrongPassphrase
from phantom_messenger.client.records import IdentityRecord, ReceivedRecord
from phantom_messenger.client.vault import Secret, Vault

[CASE] = vectors("export.json")["cases"]
SECRET: Final = Secret("a key", stretched=False)
BYTES: Final = {"seed", "key", "offered", "sealed", "frame"}
"""Members of the map that are binary; the rest are what JSON has."""


def computed(case: Json, value: Any, name: str = "") -> Any:
    """What MessagePack gets, of what is listed."""
    if isinstance(value, dict):
        return {member: computed(case, inner, member) for member, inner in value.items()}
    if isinstance(value, list):
        return [computed(case, inner) for inner in value]
    return raw(value) if name in BYTES else value


def written(case: Json) -> bytes:
    """The file, from the document alone."""
    header = b"phantom/1 backup\n\x01" + b"".join(
        case[name].to_bytes(4, "big") for name in ("memory_kib", "passes", "lanes")
    )
    header += raw(case["salt"])
    assert header == raw(case["expect"]["header"])
    key = Argon2id(
        salt=raw(case["salt"]),
        length=32,
        iterations=case["passes"],
        lanes=case["lanes"],
        memory_cost=case["memory_kib"],
    ).derive(case["passphrase"].encode())
    plain = msgspec.msgpack.encode(computed(case, case["content"])) + b"\x80"
    plain += bytes(-len(plain) % 65_536)
    return header + raw(case["nonce"]) + AESGCM(key).encrypt(raw(case["nonce"]), plain, header)


def test_file_is_what_the_document_says() -> None:
    assert written(CASE) == raw(CASE["expect"]["bytes"])


@pytest.mark.parametrize("name", ["salt", "nonce", "passphrase"])
def test_control_another_input_makes_another_file(name: str) -> None:
    value = CASE[name]
    changed = {**CASE, name: value[:-2] + ("00" if value[-2:] != "00" else "11")}
    changed["expect"] = {**CASE["expect"], "header": raw(CASE["expect"]["header"])[:-16].hex() + changed["salt"]}
    assert written(changed) != raw(CASE["expect"]["bytes"])


def test_file_is_imported(tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    exported.write_bytes(raw(CASE["expect"]["bytes"]))
    profile = tmp_path / "alice.vault"
    summary = import_profile(exported, CASE["passphrase"], profile, SECRET)
    assert (summary.contacts, summary.messages) == (1, 2)
    opened = Vault(profile, SECRET)
    try:
        identity = opened.get(records.IDENTITY, "", IdentityRecord)
        received = [record for _, record in opened.all(records.RECEIVED, ReceivedRecord)]
    finally:
        opened.close()
    assert identity is not None
    assert identity.seed.hex() == CASE["content"]["identity"]["seed"]
    assert [record.text for record in received] == ["hello yourself"]


def test_control_file_with_another_byte_is_refused(tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    data = raw(CASE["expect"]["bytes"])
    exported.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(WrongPassphrase):
        import_profile(exported, CASE["passphrase"], tmp_path / "alice.vault", SECRET)


# --- the table of the document ----------------------------------------------------


def members() -> dict[str, set[str]]:
    """The members of each kind of record in the file, from the code."""
    found = {}
    for field in msgspec.structs.fields(Content):
        choices = (field.type, *get_args(field.type))
        kinds = [kind for one in choices for kind in (one, *get_args(one)) if isinstance(kind, type)]
        for kind in kinds:
            if issubclass(kind, msgspec.Struct):
                found[field.encode_name] = {inner.encode_name for inner in msgspec.structs.fields(kind)}
    return found


def table() -> dict[str, set[str]]:
    """The same from protocol/encryption.md."""
    page = (FOLDER.parent / "encryption.md").read_text()
    section = page[page.index("## Exported file") :]
    rows = re.findall(r"^\| `(\w+)\[?\]?` \| ((?:`\w+`[^|]*)+)\|", section, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in rows}


def test_every_member_of_the_file_is_in_the_document() -> None:
    assert table() == members()


def test_control_record_with_one_more_member_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Grown(IdentityRecord, frozen=True, kw_only=True):
        more: int = 0

    class Larger(msgspec.Struct):
        identity: Grown

    monkeypatch.setattr("test_vectors_export.Content", Larger)
    assert members()["identity"] - table()["identity"] == {"more"}
