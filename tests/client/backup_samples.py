"""What is in an exported file, and how it comes to hold something else."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from client_samples import (
    WORDS,
)

from phantom_messenger.client import backup
from phantom_messenger.crypto import primitives


def opened(file: Path, words: str = WORDS) -> bytes:
    """What is encrypted in an exported file, without the code that reads it."""
    data = file.read_bytes()
    memory, passes, lanes = (int.from_bytes(data[at : at + 4]) for at in (18, 22, 26))
    key = primitives.argon2id(words.encode(), salt=data[30:46], memory_kib=memory, passes=passes, lanes=lanes)
    plain = primitives.unseal(key, data[46:58], data[58:], data[:46])
    return plain.rstrip(b"\0")[:-1]


def changed(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Let exported files hold something else than the profile does."""
    gather = backup._gather
    monkeypatch.setattr(backup, "_gather", lambda opened: msgspec.structs.replace(gather(opened), **fields))
