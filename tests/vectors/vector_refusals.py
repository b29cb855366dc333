"""Gives the inputs of ``refused.json`` to the production code, one function for each operation."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Final

from client_samples import KEY
from vector_replay import Json, Person, Play, Source, bundle_of, raw
from vector_small_replay import described

from phantom_messenger.client import content1, prekey_store, records
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.content import Ends, Newer, Receipt, Said, Text
from phantom_messenger.client.conversations import Conversations
from phantom_messenger.client.groups.contents import GroupSaid
from phantom_messenger.client.prekey_store import PreKeyStore
from phantom_messenger.client.records import PreKeyRecord
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import handshake, padding, primitives, session
from phantom_messenger.crypto.errors import (
    CryptoError,
    InvalidKey,
    InvalidMessage,
    InvalidSignature,
    UndecryptableMessage,
    UnknownPreKey,
    UnknownSuite,
)
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair, PeerIdentity
from phantom_messenger.wire import codec, frames
from phantom_messenger.wire.codes import RequestError

NOW: Final = 1_770_000_000_000

KINDS: Final[dict[str, type[Exception]]] = {
    "InvalidKey": InvalidKey,
    "InvalidSignature": InvalidSignature,
    "InvalidMessage": InvalidMessage,
    "UndecryptableMessage": UndecryptableMessage,
    "UnknownPreKey": UnknownPreKey,
    "UnknownSuite": UnknownSuite,
    "Refused": RequestError,
    "TooLong": ValueError,
}
"""The kinds of refusal and what they are here."""


class Device:
    """Somebody with a vault, the prekeys of ``prekeys.json`` and nothing else."""

    def __init__(self, person: Person, path: Path) -> None:
        self.vault = Vault(path, KEY)
        chain = PreKeyStore(self.vault, person.identity, unwatched)
        self.conversations = Conversations(self.vault, AddressBook(self.vault), person.identity, chain, unwatched)
        rows = [
            (prekey_store.SIGNED, person.signed.id, person.signed.pair.private),
            (prekey_store.ONE_TIME, person.one_time.id, person.one_time.pair.private),
            (prekey_store.KEM, person.kems["one-time"].id, person.kems["one-time"].seed),
            (prekey_store.LAST_RESORT, person.kems["last-resort"].id, person.kems["last-resort"].seed),
        ]
        with self.vault.transaction() as tx:
            for sort, number, private in rows:
                record = PreKeyRecord(sort=sort, id=number, private=private, made_at=NOW)
                tx.put(records.PREKEY, f"{sort}:{number}", record)

    def open(self, text: str, now: int) -> Said | Newer | GroupSaid:
        """Read a MESSAGE as the relay delivers it."""
        frame = codec.decode_relay(text.encode())
        assert isinstance(frame, frames.RoutedMessage)
        signed = codec.signed_text(codec.original(frame))
        with self.vault.transaction() as tx:
            return self.conversations.open(tx, frame, signed, now).content

    def prepare(self, steps: list[Json]) -> None:
        """What happens before the input."""
        for step in steps:
            match step:
                case {"deliver": text}:
                    self.open(text, NOW)
                case {"lose_sessions": peer}:
                    with self.vault.transaction() as tx:
                        tx.delete(records.SESSIONS, peer)
                case _:
                    raise AssertionError(step)


def unwatched(size: int) -> bytes:
    """A new ratchet key; which one, nothing here looks at."""
    return b"\x2a" * size


class Refusals:
    """All operations.

    Args:
        everybody: of ``prekeys.json``.
        listed: the whole ``refused.json``.
        folder: for vaults.
    """

    def __init__(self, everybody: dict[str, Person], listed: Json, folder: Path) -> None:
        self._everybody = everybody
        self._conversations = {one["name"]: one for one in listed["conversations"]}
        self._folder = folder
        self._devices = 0
        self.operations: dict[str, Callable[[Json], None]] = {
            "verify": self._verify,
            "x25519": self._x25519,
            "agreement-key": self._agreement_key,
            "initiate": self._initiate,
            "respond": self._respond,
            "parse": self._parse,
            "receive": self._receive,
            "unpad": self._unpad,
            "pad": self._pad,
            "content": self._content,
            "open": self._open,
            "decode-frame": self._decode_frame,
        }

    def give(self, case: Json) -> None:
        """Do what a case says.

        Raises:
            Exception: the refusal.
        """
        self.operations[case["operation"]](case["input"])

    def _verify(self, given: Json) -> None:
        PeerIdentity(raw(given["public"])).verify(raw(given["signature"]), raw(given["signed_bytes"]))

    def _x25519(self, given: Json) -> None:
        primitives.x25519(raw(given["private"]), raw(given["public"]))

    def _agreement_key(self, given: Json) -> None:
        assert len(PeerIdentity(raw(given["public"])).agreement_key) == 32

    def _initiate(self, given: Json) -> None:
        own = self._everybody[given["initiator"]]
        ephemeral = KeyPair.from_private(raw(given["ephemeral_private"]))
        responder_id = raw(given["responder_id"])
        handshake.initiate(own.identity, ephemeral, bundle_of(given["bundle"]), own_id=own.id, peer_id=responder_id)

    def _respond(self, given: Json) -> None:
        header, rest = HandshakeHeader.decode(raw(given["header"]), has_kem=given["has_kem"])
        assert rest == b""
        own = self._everybody[given["responder"]]
        own.respond(header, own.id, raw(given["initiator_id"]))

    def _parse(self, given: Json) -> None:
        session.parse(raw(given["bytes"]))

    def _receive(self, given: Json) -> None:
        side = Play(self._everybody, self._conversations[given["conversation"]]).sides[given["by"]]
        before = list(side.sessions), [session.dump(one) for one in side.sessions]
        source = Source(given["ratchet_private"])
        try:
            side.read(session.parse(raw(given["bytes"])), source, NOW)
        except CryptoError:
            assert (side.sessions, [session.dump(one) for one in side.sessions]) == before
            raise

    def _unpad(self, given: Json) -> None:
        padding.unpad(raw(given["padded"]))

    def _pad(self, given: Json) -> None:
        padding.pad(b"a" * given["length"])

    def _content(self, given: Json) -> None:
        content1.decode(raw(given["padded"]))

    def _open(self, given: Json) -> None:
        self._devices += 1
        device = Device(self._everybody[given["recipient"]], self._folder / f"{self._devices}.vault")
        try:
            try:
                device.prepare(given["before"])
            except Exception as error:
                raise AssertionError("what comes before is to be accepted") from error
            device.open(given["text"], NOW)
        finally:
            device.vault.close()

    def _decode_frame(self, given: Json) -> None:
        codec.decode_client(given["text"].encode())


def play_deliveries(everybody: dict[str, Person], case: Json, folder: Path) -> None:
    """A conversation of ``content.json``."""
    recipient = everybody[case["recipient"]]
    device = Device(recipient, folder / "deliveries.vault")
    try:
        for delivery in case["deliveries"]:
            found = device.open(delivery["text"], case["now"])
            expected = delivery["expect"]["content"]
            ends = Ends(
                raw(expected["sender"]), raw(expected["senderKey"]), recipient.id, recipient.identity.peer.public
            )
            assert isinstance(found, Text | Receipt)
            assert described(content1.of(found, ends)) == expected
            assert base64.b64encode(ends.sender).decode() in delivery["text"]
    finally:
        device.vault.close()
