"""Export and import: a profile in one file, encrypted with a passphrase; protocol/encryption.md, Exported file.

It holds the identity, contacts and history, and messages and receipts that still wait to be sent. Never in it:
sessions and prekeys, so that no key and nonce can be used twice, and no thief of the file reads what the relay or the
network kept; and messages that burn or expire, for a file cannot forget. After an import conversations recover.
"""

import base64
import os
import secrets
import struct
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from phantom_messenger.client import passphrase as passphrases
from phantom_messenger.client import past, records, vault
from phantom_messenger.client.errors import BackupError, ProfileExists, UsageError, VaultError, WrongPassphrase
from phantom_messenger.client.groups import copying
from phantom_messenger.client.groups.copying import GroupCopy
from phantom_messenger.client.many.store import due_of, unsealed
from phantom_messenger.client.profile import is_there
from phantom_messenger.client.receipts import KEEP_MS, UNDECRYPTABLE
from phantom_messenger.client.records import (
    BlockRecord,
    ContactRecord,
    CopiesRecord,
    DeviceRecord,
    DevicesRecord,
    IdentityRecord,
    InboxRecord,
    IntValue,
    ManyRecord,
    NewerRecord,
    OutboxRecord,
    PersonRecord,
    ReceiptRecord,
    ReceivedRecord,
    RequestRecord,
    Seen,
    SentRecord,
    SettingsRecord,
    UnansweredRecord,
)
from phantom_messenger.client.status import DeliveryState, Trust
from phantom_messenger.client.vault import Secret, Transaction, Vault
from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.errors import UndecryptableMessage
from phantom_messenger.crypto.keys import OwnIdentity

MAGIC: Final = b"phantom/1 backup\n"
VERSION: Final = 1
SALT_BYTES: Final = 16
STEP_BYTES: Final = 65_536
"""The content is padded to a multiple of this, so that the file's size says little about it."""

MAX_FILE_BYTES: Final = 256 * 2**20
MAX_MEMORY_KIB: Final = 2**18
MAX_PASSES: Final = 10
MAX_LANES: Final = 16
"""What a file may ask Argon2id for: 256 MiB, a second or two; a hostile one must not take all of the machine."""

_FILE: Final = "the file"
_TRUSTS: Final = frozenset(map(str, Trust))
_STATES: Final = frozenset(map(int, DeliveryState))
_STATUSES: Final = frozenset({"delivered", "read", "burned", UNDECRYPTABLE})
_HEADER: Final = struct.Struct(f">{len(MAGIC)}sBIII{SALT_BYTES}s")


class DevicesContent(msgspec.Struct, frozen=True, kw_only=True):
    """In it: whose device this is, the device lists that were taken up, and one's own devices."""

    person: PersonRecord
    lists: list[DevicesRecord] = []
    own: list[DeviceRecord] = []


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What is encrypted: a MessagePack map of the records of ``client.records``."""

    identity: IdentityRecord
    last_prekey_id: int
    contacts: list[ContactRecord]
    sent: list[SentRecord]
    received: list[ReceivedRecord]
    outbox: list[OutboxRecord]
    unanswered: list[UnansweredRecord]
    inbox: list[InboxRecord]
    receipts: list[ReceiptRecord]
    settings: SettingsRecord = SettingsRecord()
    blocks: list[BlockRecord] = []
    requests: list[RequestRecord] = []
    many: list[ManyRecord] | UnsetType = UNSET
    copies: list[CopiesRecord] | UnsetType = UNSET
    groups: list[GroupCopy] | UnsetType = UNSET
    devices: DevicesContent | UnsetType = UNSET

    def __repr__(self) -> str:
        return "Content(...)"


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """What an exported file contains: contacts with a name, messages, and damaged records that were left out."""

    contacts: int
    messages: int
    damaged: int = 0


def export_profile(opened: Vault, path: Path, passphrase: str, *, replace: bool = False) -> BackupSummary:
    """Write an encrypted copy of a profile; on disk, whole, when this returns.

    Args:
        opened: the profile.
        path: of the new file, readable by its owner alone.
        passphrase: opens it.
        replace: overwrite a file that is there.

    Raises:
        BackupError: it could not be written, or is there already.
        UsageError: the passphrase is empty, or no text.
        VaultError: the profile cannot be read.
    """
    check_target(path, replace=replace)
    words = passphrases.chosen(passphrase, what=_FILE)
    before = opened.unreadable
    content = _gather(opened)
    damaged = opened.unreadable - before
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(primitives.NONCE_BYTES)
    cost = (vault.ARGON2_MEMORY_KIB, vault.ARGON2_PASSES, vault.ARGON2_LANES)
    header = _HEADER.pack(MAGIC, VERSION, *cost, salt)
    key = primitives.argon2id(words, salt=salt, memory_kib=cost[0], passes=cost[1], lanes=cost[2])
    plain = _packed(content) + b"\x80"
    plain += bytes(-len(plain) % STEP_BYTES)
    sealed = header + nonce + primitives.seal(key, nonce, plain, header)
    if len(sealed) > MAX_FILE_BYTES:
        raise BackupError(f"the profile is larger than {MAX_FILE_BYTES >> 20} MiB, the limit of an exported file")
    _write(path, sealed, replace=replace)
    return replaced(_summary(content), damaged=damaged)


def _packed(content: Content) -> bytes:
    """The content, packed record by record: at no time are other threads kept waiting for all of it."""
    members: dict[str, msgspec.Raw | list[msgspec.Raw]] = {}
    for name in content.__struct_fields__:
        value = getattr(content, name)
        if isinstance(value, list):
            members[name] = [_packed_record(record) for record in value]
        elif value is not UNSET:
            members[name] = _packed_record(value)
    return msgspec.msgpack.encode(members)


def _packed_record(record: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(msgspec.to_builtins(record, builtin_types=(bytes,))))


def check_target(path: Path, *, replace: bool) -> None:
    """Look whether an export may go there, before anybody types a passphrase in vain.

    Raises:
        BackupError: there is such a file and it is not to be replaced, or there cannot be one.
    """
    try:
        is_there = path.exists()
    except OSError as error:
        raise BackupError(f"cannot write {path}: {error.strerror}; choose another place") from None
    if is_there and not replace:
        raise _is_there(path)


def check_source(path: Path) -> None:
    """Look whether a file can be an exported profile, before anybody types a passphrase in vain.

    Raises:
        BackupError: it cannot.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(len(MAGIC))
    except OSError as error:
        raise BackupError(f"cannot read {path}: {error.strerror}") from None
    if begin != MAGIC:
        raise BackupError(f"{path} is not an exported profile; choose a file that 'phantom export' has written")


def import_profile(
    path: Path, passphrase: str, profile: Path, secret: Secret, *, server: str | None = None
) -> BackupSummary:
    """Make a profile from an exported file; all of it, or nothing.

    Args:
        path: the file.
        passphrase: opens it.
        profile: the vault to make.
        secret: closes that.
        server: the relay's URL, if it is another one than before.

    Raises:
        ProfileExists: there is a profile of that name.
        WrongPassphrase: the passphrase does not open the file, or that is damaged.
        BackupError: it is no such file, or of a newer version.
        UsageError: the passphrase is empty, or no text.
        VaultError: the profile cannot be made.
    """
    there = ProfileExists(f"profile '{profile.stem}' already exists; choose another name with --profile NAME")
    if is_there(profile):
        raise there
    if not passphrase:
        raise UsageError("the file needs a passphrase; use the one that it was written with")
    content = _read(path, passphrases.candidates(passphrase, what=_FILE))
    # Under another name until it is whole: a vault without an identity would get a new one from the next command,
    # and a profile that somebody makes meanwhile is theirs.
    part = profile.with_name(f".{profile.stem}.{secrets.token_hex(4)}.vault")
    try:
        _make(part, secret, content, server)
        _give_name(part, profile, replace=False)
    except FileExistsError:
        raise there from None
    except OSError as error:
        raise VaultError(f"cannot create {profile}: {error.strerror}; set PHANTOM_HOME to another folder") from None
    finally:
        for left in profile.parent.glob(f"{part.name}*"):
            left.unlink(missing_ok=True)
    return _summary(content)


def _make(part: Path, secret: Secret, content: Content, server: str | None) -> None:
    made = Vault(part, secret)
    try:
        with made.transaction() as tx:
            _put(tx, content, server)
    finally:
        made.close()
    if part.with_name(f"{part.name}-wal").exists():
        raise VaultError(f"cannot write to {part.parent}; free some disk space")  # the log was not written back


def _gather(opened: Vault) -> Content:
    def every(kind: str, type_: type[vault.S]) -> list[vault.S]:
        return [record for _, record in opened.all(kind, type_)]

    identity = opened.get(records.IDENTITY, "", IdentityRecord)
    if identity is None:
        raise BackupError("the profile has no identity yet; create it with 'phantom init'")
    last = opened.find(records.LAST_PREKEY_ID, "", IntValue)
    before = past.everything(opened)
    received = [_kept(text) for text in (*before.received, *every(records.RECEIVED, ReceivedRecord))]
    there = {(text.sender, text.message_id) for text in received if text.is_there}
    many = [one for one in every(records.MANY, ManyRecord) if not one.burn and one.expires_in is None]
    kept = {one.message_id for one in many}
    return Content(
        identity=identity,
        last_prekey_id=0 if last is None else last.value,
        contacts=every(records.CONTACT, ContactRecord),
        sent=[_kept(text) for text in (*before.sent, *every(records.SENT, SentRecord))],
        received=received,
        outbox=[
            msgspec.structs.replace(entry, sealed=b"")
            for entry in every(records.OUTBOX, OutboxRecord)
            if entry.text is not None and not entry.burn and entry.expires_in is None
        ],
        unanswered=every(records.UNANSWERED, UnansweredRecord),
        inbox=[marker for marker in every(records.INBOX, InboxRecord) if (marker.sender, marker.message_id) in there],
        receipts=[msgspec.structs.replace(told, carrier="") for told in every(records.RECEIPT, ReceiptRecord)],
        blocks=every(records.BLOCK, BlockRecord),
        settings=opened.get(records.SETTINGS, "", SettingsRecord) or SettingsRecord(),
        requests=every(records.REQUEST, RequestRecord),
        many=many or UNSET,
        copies=[unsealed(one) for one in every(records.COPIES, CopiesRecord) if one.message_id in kept] or UNSET,
        groups=copying.gather(opened) or UNSET,
        devices=_gather_devices(opened, identity),
    )


M = TypeVar("M", ManyRecord, CopiesRecord)


def _there(member: list[M] | UnsetType) -> list[M]:
    """A member that is left out where it would be empty: files of those who have none are as they always were."""
    return [] if member is UNSET else member


T = TypeVar("T", SentRecord, ReceivedRecord)


def _kept(text: T) -> T:
    """The record of a message; without its text if that is to go."""
    is_short_lived = text.burn or text.expires_at is not None
    if isinstance(text, ReceivedRecord):
        return text.erased() if is_short_lived else text
    is_short_lived = is_short_lived or text.expires_in is not None
    return msgspec.structs.replace(text, text=None) if is_short_lived else text


def _put(tx: Transaction, content: Content, server: str | None) -> None:
    identity = content.identity if server is None else msgspec.structs.replace(content.identity, server=server)
    tx.put(records.IDENTITY, "", identity)
    tx.put(records.LAST_PREKEY_ID, "", IntValue(content.last_prekey_id))
    tx.put(records.SETTINGS, "", content.settings)
    for block in content.blocks:
        tx.put(records.BLOCK, block.user_id, block)
    for contact in content.contacts:
        # The sessions are gone; that there was a post-quantum key is not to be forgotten with them.
        kept = msgspec.structs.replace(contact, classical=False, post_quantum=contact.had_kem, asked_at=None)
        tx.put(records.CONTACT, contact.user_id, kept)
    waiting = {entry.message_id for entry in content.outbox}
    for sent in content.sent:
        # What burns or expires and still waited is not in the file, so nobody will send it.
        is_left = sent.state == DeliveryState.QUEUED and sent.message_id not in waiting
        state = int(DeliveryState.FAILED) if is_left else sent.state
        tx.put(records.SENT, sent.message_id, msgspec.structs.replace(sent, state=state))
    for received in content.received:
        name = records.key(received.sender, received.message_id)
        tx.put(records.RECEIVED, name, received)
        # What its sender's program sends again, for want of a receipt, is no new message here.
        tx.put(records.SEEN, name, Seen(received.received_at))
        if received.newer is not UNSET:
            tx.put(records.NEWER, name, NewerRecord(message_id=received.message_id, sender=received.sender))
    tx.put(records.IN_ORDER, "", IntValue(0))
    for entry in content.outbox:
        tx.put(records.OUTBOX, entry.message_id, entry)
    for message in _there(content.many):
        tx.put(records.MANY, message.message_id, message)
    for copies in _there(content.copies):
        tx.put(records.COPIES, copies.message_id, copies, due=due_of(copies))
    if content.groups is not UNSET:
        copying.put(tx, content.groups)
    _put_devices(tx, content)
    for unanswered in content.unanswered:
        tx.put(records.UNANSWERED, unanswered.message_id, unanswered)
    for marker in content.inbox:
        tx.put(records.INBOX, records.key(marker.sender, marker.message_id), marker)
    for told in content.receipts:
        tx.put(records.RECEIPT, records.key(told.sender, told.message_id), told, due=told.at + KEEP_MS)
    for waits in content.requests:
        # Its keys have stayed behind: it is asked for again once its sender was let in.
        name = records.key(waits.sender, waits.message_id)
        tx.put(records.REQUEST, name, waits, due=waits.due)


def _person_of(identity: IdentityRecord) -> PersonRecord:
    """Whose device this is if nothing else is known: it is the person."""
    return PersonRecord(person=base64.b64encode(OwnIdentity(identity.seed).peer.user_id).decode())


def _gather_devices(opened: Vault, identity: IdentityRecord) -> DevicesContent | UnsetType:
    person = opened.get(records.PERSON, "", PersonRecord)
    lists = [record for _, record in opened.all(records.DEVICES, DevicesRecord)]
    if not lists:
        return UNSET
    return DevicesContent(
        person=person or _person_of(identity),
        lists=lists,
        own=[record for _, record in opened.all(records.DEVICE, DeviceRecord)],
    )


def _put_devices(tx: Transaction, content: Content) -> None:
    """Of a person's devices. The first one may have signed lists since, so its next one goes far ahead."""
    found = content.devices or DevicesContent(person=_person_of(content.identity))
    tx.put(records.PERSON, "", msgspec.structs.replace(found.person, is_restored=True, published=b""))
    for known in found.lists:
        tx.put(records.DEVICES, known.person, known)
    for device in found.own:
        tx.put(records.DEVICE, device.user_id, device)


def _read(path: Path, words: list[bytes]) -> Content:
    data = _fetch(path)
    if not data.startswith(MAGIC):
        raise BackupError(f"{path} is not an exported profile; choose a file that 'phantom export' has written")
    if data[len(MAGIC) : len(MAGIC) + 1] > bytes((VERSION,)):
        raise BackupError(f"{path} was written by a newer version of Phantom Messenger; install that version")
    if len(data) < _HEADER.size + primitives.NONCE_BYTES + primitives.TAG_BYTES:
        raise BackupError(f"{path} is incomplete; use another copy")
    if len(data) > MAX_FILE_BYTES:
        raise BackupError(f"{path} is too large to be an exported profile; choose another file")
    _, version, memory, passes, lanes, salt = _HEADER.unpack_from(data)
    if version != VERSION or not passes or not lanes or memory < 8 * lanes:
        raise BackupError(f"{path} is damaged; use another copy")
    if memory > MAX_MEMORY_KIB or passes > MAX_PASSES or lanes > MAX_LANES:
        raise BackupError(
            f"{path} takes {memory >> 10} MiB, {passes} passes and {lanes} lanes to open, and"
            f" {MAX_MEMORY_KIB >> 10} MiB, {MAX_PASSES} and {MAX_LANES} are the most; use another copy of it"
        )
    start = _HEADER.size + primitives.NONCE_BYTES
    plain = None
    for one in words:
        try:
            key = primitives.argon2id(one, salt=salt, memory_kib=memory, passes=passes, lanes=lanes)
        except MemoryError:
            raise BackupError(f"{path} takes {memory >> 10} MiB of memory to open; free some") from None
        with suppress(UndecryptableMessage):
            plain = primitives.unseal(key, data[_HEADER.size : start], data[start:], data[: _HEADER.size])
            break
    if plain is None:
        raise WrongPassphrase(f"the passphrase does not open {path}, or the file is damaged; try again")
    try:
        content = msgspec.msgpack.decode(plain.rstrip(b"\0")[:-1], type=Content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        content = None
    if content is None or not _is_usable(content):
        raise BackupError(f"{path} is of a version that this program does not know; install a newer one")
    return content


def _fetch(path: Path) -> bytes:
    """All of an exported file, and no more of anything else than shows that it is none; a device has no end."""
    try:
        with path.open("rb") as file:
            data = file.read(_HEADER.size)
            return data + file.read(MAX_FILE_BYTES + 1 - len(data)) if data.startswith(MAGIC) else data
    except OSError as error:
        raise BackupError(f"cannot read {path}: {error.strerror}") from None


def _is_usable(content: Content) -> bool:
    """Whether a profile of it could be opened: the words in it are those that this program knows."""
    return (
        len(content.identity.seed) == primitives.KEY_BYTES
        and all(contact.trust in _TRUSTS for contact in content.contacts)
        and all(sent.state in _STATES for sent in content.sent)
        and all(copy.state in _STATES for one in _there(content.copies) for copy in one.copies)
        and {one.message_id for one in _there(content.many)} == {one.message_id for one in _there(content.copies)}
        and all(told.status in _STATUSES for told in content.receipts)
        and (content.groups is UNSET or all(one.is_usable for one in content.groups))
    )


def _write(path: Path, data: bytes, *, replace: bool) -> None:
    """Whole or not at all: under another name, synced, then renamed."""
    if replace and path.exists() and not path.is_file():  # a device, which its owner could replace, too
        raise BackupError(f"{path} is not a file; choose another place")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _give_name(part, path, replace=replace)
        finally:
            part.unlink(missing_ok=True)
    except FileExistsError:
        raise _is_there(path) from None
    except OSError as error:
        raise BackupError(f"cannot write {path}: {error.strerror}; choose another place") from None


def _give_name(part: Path, path: Path, *, replace: bool) -> None:
    """Let a whole file be there under its name, on disk when this returns.

    Raises:
        FileExistsError: there is another one, and it is not to be replaced.
    """
    if replace:
        part.replace(path)
    else:
        try:
            path.hardlink_to(part)  # unlike a rename, it replaces nothing
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if path.exists():
                raise FileExistsError from None
            part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_there(path: Path) -> BackupError:
    return BackupError(f"{path} already exists; choose another name, or use --force to overwrite it")


def _summary(content: Content) -> BackupSummary:
    sent = [one for one in content.sent if one.text is not None]
    received = [one for one in content.received if one.is_there]
    return BackupSummary(
        contacts=len([contact for contact in content.contacts if contact.name]), messages=len(sent) + len(received)
    )
