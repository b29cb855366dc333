"""Messages to many at a simulated relay, and what tests say and see of them."""

from typing import Final

from client_samples import Device, Tamper

from phantom_messenger.client import content2, records
from phantom_messenger.client.content import Ends, Text
from phantom_messenger.client.many.outgoing import Options
from phantom_messenger.client.records import CopiesRecord, ManyRecord, OrderRecord
from phantom_messenger.client.status import DeliveryEvent, DeliveryState
from support.people import Frame

CONVERSATION: Final = "a conversation of many"
PLAIN: Final = Options()
NAME: Final = b"the name of an order, 32 bytes.."


def said(sender: Device, text: str) -> bytes:
    """A text as content 2."""
    identity = sender.messenger._identity.peer
    return content2.encode(Text(sent_at=1, body=text), Ends(identity.user_id, identity.public, b"", b""))


def to_many(sender: Device, recipients: list[Device], *texts: str, options: Options = PLAIN) -> list[str]:
    """Put texts to many into the outbox; their message ids."""
    ids = [to.id for to in recipients]
    send = sender.messenger.many.send
    return [send(ids, said(sender, text), options, conversation_id=CONVERSATION) for text in texts]


def order(revision: int, *writers: Device) -> OrderRecord:
    """The next revision of the one order of these tests."""
    return OrderRecord(name=NAME, revision=revision, writers=[writer.id for writer in writers])


def reached(sender: Device, number: str) -> dict[str, list[DeliveryState]]:
    """How far each copy has come, in the order in which it was told, by name of the recipient."""
    found: dict[str, list[DeliveryState]] = {}
    for event in sender.heard(DeliveryEvent):
        if event.message_id == number:
            found.setdefault(event.peer.name, []).append(event.state)
    return found


def older_relay(frame: Frame) -> list[Frame]:
    """Tamper: the relay knows nothing of messages to many."""
    if frame["type"] != "AUTH_SUCCESS":
        return [frame]
    features = [word for word in frame["payload"].get("features", []) if word != "many"]
    return [{**frame, "payload": {**frame["payload"], "features": features}}]


def refusing(times: int, *refused: Frame) -> Tamper:
    """Tamper: the relay says of its first answers that these were refused; what it has stored it does not say."""
    left = [times]

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] != "MANY_RESULT" or not left[0]:
            return [frame]
        left[0] -= 1
        named = {part["recipientId"] for part in refused}
        kept = [part for part in frame["payload"]["refused"] if part["recipientId"] not in named]
        accepted = frame["payload"]["accepted"] - len(refused)
        return [{**frame, "payload": {**frame["payload"], "accepted": accepted, "refused": [*kept, *refused]}}]

    return tamper


def kept(device: Device) -> tuple[list[ManyRecord], list[CopiesRecord]]:
    """What is stored of messages to many."""
    vault = device.vault
    return (
        [record for _, record in vault.all(records.MANY, ManyRecord)],
        [record for _, record in vault.all(records.COPIES, CopiesRecord)],
    )
