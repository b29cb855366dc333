"""Makes the vectors of what is inside a message, and of whole messages as the relay delivers them."""

from typing import Any, Final

import msgspec
from maker_base import ALICE, BOB, MALLORY, NOW, Json, Person, drawn, encapsulated, file_of, named
from maker_wire import b64

from phantom_messenger.client import content1
from phantom_messenger.client.content import LAST_TIME_MS
from phantom_messenger.client.content1 import Receipt, Text
from phantom_messenger.client.conversations import conversation_id
from phantom_messenger.crypto import padding, session
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.session import Session
from phantom_messenger.wire import codec, frames, signing, splice

IDS: Final = ("0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f", "6f0b9c8d-2a1b-4c3d-8e2f-7e6f5a4b3c2d")


def fields(sender: Person = ALICE, recipient: Person = BOB) -> Json:
    """Both ends and the time, with the names of the specification."""
    return {
        "version": 1,
        "sentAt": NOW,
        "sender": sender.id,
        "recipient": recipient.id,
        "senderKey": sender.identity.peer.public,
        "recipientKey": recipient.identity.peer.public,
    }


def text(body: str = "hello", **changes: Any) -> Json:
    """A text as a map."""
    return {**fields(), "kind": "text", "body": body, **changes}


def receipt(**changes: Any) -> Json:
    """A receipt as a map."""
    lists: Json = {"delivered": [], "read": [], "burned": [], "undecryptable": []}
    return {**fields(), "kind": "receipt", **lists, **changes}


def written(members: Json) -> bytes:
    """A map, encoded and padded, whatever it holds."""
    return padding.pad(msgspec.msgpack.encode(members))


def described(members: Json) -> Json:
    """The same map with its bytes in hex."""
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in members.items()}


CONTENTS: Final = {
    "text": ("a text", text()),
    "empty-text": ("a text without any character", text("")),
    "odd-text": (
        "characters of one to four bytes, a line feed, a combining mark",
        text("a\u00e9\u20ac\U0001f600\n e\u0301\0"),
    ),
    "first-time": ("the least time", text(sentAt=0)),
    "last-time": ("the greatest time, the first day of the year 9999", text(sentAt=LAST_TIME_MS)),
    "receipt": (
        "a receipt of each kind",
        receipt(delivered=list(IDS), read=[IDS[0]], burned=[IDS[1]], undecryptable=[IDS[0]]),
    ),
    "empty-receipt": ("a receipt that says nothing", receipt()),
}


def _content(name: str, description: str, members: Json) -> Json:
    found = msgspec.convert(members, Text | Receipt)
    padded = content1.encode(found)
    return {
        "name": name,
        "description": description,
        "content": described(members),
        "expect": {"encoded": padding.unpad(padded).hex(), "padded": padded.hex()},
    }


# --- whole messages ---------------------------------------------------------------


class Letters:
    """Somebody who has begun a session with Bob and writes to him through a relay."""

    def __init__(self, sender: Person = ALICE, label: str = "letters", *, kem: str | None = None) -> None:
        self._label, self._sender, self._count = f"content/{label}", sender, 0
        self._state: Session = session.start(
            sender.identity,
            BOB.bundle(kem=kem),
            KeyPair.from_private(drawn(f"{self._label}/ephemeral", 32)),
            own_id=sender.id,
            peer_id=BOB.id,
            random=lambda size: drawn(f"{self._label}/ratchet", size),
            encapsulate=lambda public: encapsulated(public, drawn(f"{self._label}/KEM m", 32)),
        )

    def message(self, padded: bytes) -> bytes:
        """Encrypt something."""
        number, self._count = self._count, self._count + 1
        self._state, message = session.encrypt(
            self._state, padded, lambda size: drawn(f"{self._label}/nonce {number}", size)
        )
        return message

    def letter(self, padded: bytes) -> str:
        """Encrypt something and let the relay deliver it."""
        return delivered(self._sender, self.message(padded), seq=self._count)


def delivered(
    sender: Person, message: bytes, *, seq: int = 1, signer: Person | None = None, from_id: bytes | None = None
) -> str:
    """The MESSAGE of a sender as Bob gets it."""
    frame = frames.Message(
        payload=frames.MessagePayload(
            conversation_id=conversation_id(b64(sender.id), b64(BOB.id)),
            encrypted=b64(message),
            message_id=IDS[0],
            recipient_id=b64(BOB.id),
        ),
        signature=b64(bytes(64)),
        timestamp=NOW + seq,
    )
    signature = (signer or sender).identity.sign(signing.envelope_bytes(codec.signed_text(frame)))
    frame = msgspec.structs.replace(frame, signature=b64(signature))
    head, tail = splice.split_at_seq(codec.encode(codec.route(frame, b64(sender.id if from_id is None else from_id))))
    return (head + str(seq).encode() + tail).decode()


def _delivery(name: str, description: str, letters: Letters, contents: list[Json]) -> Json:
    return {
        "name": name,
        "description": description,
        "recipient": "bob",
        "now": NOW,
        "deliveries": [
            {"text": letters.letter(written(members)), "expect": {"content": described(members)}}
            for members in contents
        ],
    }


def content_json() -> Json:
    """``content.json``."""
    mallory = {**text("it is me"), **fields(MALLORY)}
    return file_of(
        "What is inside a message (a MessagePack map, padded), and messages as the relay delivers them.",
        note="The order of the members of the map is free; `encoded` is what the SDK writes.",
        contents=named([_content(name, *row) for name, row in CONTENTS.items()]),
        conversations=named(
            [
                _delivery("classical", "Alice begins with X3DH and writes twice", Letters(), [text(), receipt()]),
                _delivery(
                    "pqxdh", "Alice begins with PQXDH", Letters(label="pqxdh", kem="one-time"), [text("a"), text("b")]
                ),
                _delivery(
                    "last-resort",
                    "Mallory begins with the last-resort KEM prekey",
                    Letters(MALLORY, "last resort", kem="last-resort"),
                    [mallory],
                ),
            ]
        ),
    )
