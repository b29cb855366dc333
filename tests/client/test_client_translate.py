"""Nothing but the SDK's own errors leaves it, whatever its libraries and the system raise."""

import asyncio
import contextlib
import errno
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from phantom_messenger import Client
from phantom_messenger.client.contacts import Contacts
from phantom_messenger.client.delivery import Message
from phantom_messenger.client.errors import PhantomError, UsageError, VaultDamaged, VaultError
from phantom_messenger.client.records import ReceivedRecord
from phantom_messenger.client.status import Contact, Trust
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto.errors import InvalidKey
from support.sdk_clients import NOBODY, conversation_of, opened, run

NOWHERE = "ws://127.0.0.1:9/ws"

FAULTS: dict[str, tuple[Callable[[], Exception], type[PhantomError]]] = {
    "a damaged page": (lambda: apsw.CorruptError("malformed"), VaultDamaged),
    "no database": (lambda: apsw.NotADBError("no"), VaultDamaged),
    "a full disk": (lambda: apsw.FullError("full"), VaultError),
    "a broken disk": (lambda: apsw.IOError("disk I/O error"), VaultError),
    "somebody who holds it": (lambda: apsw.BusyError("locked"), VaultError),
    "a permission": (lambda: PermissionError(errno.EACCES, "Permission denied"), VaultError),
    "no files left": (lambda: OSError(errno.EMFILE, "Too many open files"), VaultError),
    "bytes that are no record": (lambda: msgspec.DecodeError("no"), VaultDamaged),
    "a key that is none": (lambda: InvalidKey("no"), VaultDamaged),
    "a path with a NUL": (lambda: ValueError("embedded null byte"), UsageError),
    "half a character": (lambda: UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), UsageError),
    "stored text that is none": (lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), VaultDamaged),
}
SITES = ["get", "has", "all", "position", "newest", "oldest", "transaction"]
LAST = ("aclose", "close", "connect", "destroy")


async def nowhere(*_: Any, **__: Any) -> Any:
    """Sends nothing."""


def message() -> Message:
    record = ReceivedRecord(
        message_id="1", sender=NOBODY, text="x", sent_at=0, received_at=0, burn=False, expires_at=None
    )
    contact = Contact(name="bob", user_id=NOBODY, trust=Trust.UNVERIFIED, key=None)
    return Message(record, contact, lambda _: None, nowhere, conversation_of(NOBODY))


def arguments(function: Any, folder: Path) -> dict[str, Any]:
    """Something for each argument that has to be given, and a short time for all that take one."""
    known: dict[str, Any] = {
        "who": "bob",
        "user_id": NOBODY,
        "name": "carol",
        "text": "hello",
        "path": folder / "exported",
        "message": message(),
        "status": "idle",
        "url": NOWHERE,
        "trust": Trust.VERIFIED,
        "timeout": 0.02,
    }
    found = list(inspect.signature(function).parameters.values())[1:]
    return {
        one.name: known.get(one.name, "x")
        for one in found
        if one.name == "timeout"
        or (one.default is one.empty and one.kind in {one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY})
    }


def public(kind: type) -> list[str]:
    names = [
        name
        for name in dir(kind)
        if not name.startswith("_")
        and (inspect.isfunction(found := inspect.getattr_static(kind, name)) or isinstance(found, property))
    ]
    return sorted(names, key=lambda name: name in LAST)


async def call(owner: Any, name: str, folder: Path) -> None:
    """Use a public method or property as an application would."""
    found = inspect.getattr_static(owner, name)
    if isinstance(found, property):
        getattr(owner, name)
        return
    result = getattr(owner, name)(**arguments(found, folder))
    if inspect.isasyncgen(result):
        async with contextlib.aclosing(result), asyncio.timeout(0.02):
            await anext(result)
    elif inspect.isawaitable(result):
        async with asyncio.timeout(1):
            await result


def failing(fault: Callable[[], Exception]) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise fault()

    return fail


async def foreign(folder: Path, fault: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What else than errors of the SDK comes out of its public methods while its profile fails so."""
    client = opened(folder, "alice", NOWHERE)
    client.contacts.add("bob", NOBODY)
    found = []
    with monkeypatch.context() as patch:
        for site in SITES:
            patch.setattr(Vault, site, failing(fault))
        for owner, name in [
            *((client.contacts, name) for name in public(Contacts)),
            *((client, name) for name in public(Client)),
        ]:
            try:
                await call(owner, name, folder)
            except (PhantomError, TimeoutError):
                pass
            except Exception as error:  # noqa: BLE001 - this is what is looked for
                found.append(f"{type(owner).__name__}.{name}: {error!r}")
    client._vault.close()
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_foreign_leaves_any_public_method(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(foreign(tmp_path, FAULTS[fault][0], monkeypatch)) == []


def test_methods_that_are_not_guarded_let_it_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    for kind in (Client, Contacts):
        for name in public(kind):
            found = inspect.getattr_static(kind, name)
            bare: Any = inspect.unwrap(found.fget) if isinstance(found, property) and found.fget else None
            bare = inspect.unwrap(found) if bare is None else property(bare)
            monkeypatch.setattr(kind, name, bare)
    leaks = run(foreign(tmp_path, FAULTS["a damaged page"][0], monkeypatch))
    assert len(leaks) >= 8, leaks


@pytest.mark.parametrize("kind", [Client, Contacts])
def test_what_is_guarded_keeps_its_name_and_its_words(kind: type) -> None:
    for name in public(kind):
        found = inspect.getattr_static(kind, name)
        assert found.__doc__, name
        assert isinstance(found, property) or (found.__name__ == name and inspect.unwrap(found) is not found)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_of_its_kind(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, kind = FAULTS[fault]
    with contextlib.closing(opened(tmp_path, "alice", NOWHERE)) as client:
        with monkeypatch.context() as patch:
            for site in SITES:
                patch.setattr(Vault, site, failing(make))
            with pytest.raises(kind) as caught:
                client.contacts.add("bob", NOBODY)
        assert type(caught.value) is kind
        assert "bug" not in str(caught.value)
        assert "report" not in str(caught.value)


@pytest.mark.parametrize("text", ["\ud800", "a\udcff"])
def test_half_a_character_is_a_usage_error_wherever_it_stands(tmp_path: Path, text: str) -> None:
    with contextlib.closing(opened(tmp_path, "alice", NOWHERE)) as client:
        for act in (client.contacts.find, client.contacts.remove, client.set_typing, client.history):
            with pytest.raises(UsageError):
                act(text)


def test_mistakes_of_the_program_stay_what_they_are(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path, "alice", NOWHERE)) as client, pytest.raises(TypeError):
        client.contacts.find()  # type: ignore[call-arg] # that is the mistake


@pytest.mark.parametrize("fault", ["a permission", "no files left"])
def test_profile_that_the_system_refuses_is_no_bug(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", failing(FAULTS[fault][0]))
    with pytest.raises(VaultError):
        opened(tmp_path, "alice", create=False)
