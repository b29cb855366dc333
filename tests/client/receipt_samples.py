"""What tests of receipts look at, and how they let a device tell something or hear it again."""

from client_samples import Device, Town, pass_time, settle

from phantom_messenger.client import records
from phantom_messenger.client.records import ReceiptRecord, SentRecord
from phantom_messenger.client.status import DeliveryEvent, DeliveryState
from support.people import Frame, canonical
from support.simulated import SECOND

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def texts(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


def states(device: Device, number: str) -> list[DeliveryState]:
    return [event.state for event in device.heard(DeliveryEvent) if event.message_id == number]


def receipt_batches(device: Device) -> list[Frame]:
    """The messages of a device that are no texts of its own."""
    own = {record.message_id for _, record in device.vault.all(records.SENT, SentRecord)}
    return [frame for frame in device.frames_sent("MESSAGE") if frame["payload"]["messageId"] not in own]


def pending_receipts(device: Device) -> list[str]:
    """The messages whose senders are not known to have heard of them."""
    return [record.message_id for _, record in device.vault.all(records.RECEIPT, ReceiptRecord)]


def told(town: Town) -> tuple[Device, Device, str]:
    """Alice and Bob, and a text of hers that he has read and she knows of."""
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    bob.read_all()
    pass_time(SECOND, alice, bob)
    assert states(alice, number) == [DeliveryState.ACCEPTED, DeliveryState.DELIVERED, DeliveryState.READ]
    return alice, bob, number


def tell(device: Device, to: Device, number: str, status: str) -> None:
    """Let a device say something of a message, whatever the truth may be."""
    receipts = device.messenger._stores.receipts
    with device.vault.transaction() as tx:
        receipts.put(tx, to.id, number, status, device.world.clock.wall_ms())
    device.messenger.tick()


def repeat(device: Device, *repeated: Frame) -> None:
    """The relay delivers something of its own."""
    device.fetch()
    for frame in repeated:
        device.down.append(canonical(frame))
        device.step_down()
