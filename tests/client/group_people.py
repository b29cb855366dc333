"""Whole clients in groups: what tests make them say, and what they see."""

from pathlib import Path

from client_samples import KEY, WORDS, Device, pass_time, settle

from phantom_messenger.client.backup import import_profile
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups.change import Op
from phantom_messenger.client.groups.contents import GroupSaid
from phantom_messenger.client.groups.speaking import CHANGE
from phantom_messenger.client.groups.store import Group
from phantom_messenger.client.groups.views import GroupInfo
from phantom_messenger.client.records import OrderRecord
from phantom_messenger.client.status import GroupEvent, GroupNews
from support.people import Frame
from support.simulated import SECOND


def info(device: Device, name: str = "Tea") -> GroupInfo:
    """The group as this device knows it."""
    return device.messenger.groups.find(name)


def names(device: Device, name: str = "Tea") -> set[str]:
    """User ids of the members."""
    return {member.contact.user_id for member in info(device, name).members}


def said(device: Device, name: str = "Tea") -> list[str | None]:
    """What was said in the group, oldest first."""
    return [entry.text for entry in device.messenger.groups.history(name)]


def write(device: Device, *texts: str, group: str = "Tea") -> list[str]:
    """Write to the group; the message ids."""
    return [device.messenger.groups.send_text(group, text) for text in texts]


def unread(device: Device, group: str | None = None) -> list[str]:
    """Read everything that waits; the texts."""
    found, position = [], 0
    while (following := device.messenger.groups.next_text(position, group)) is not None:
        position, about, entry = following
        device.messenger.groups.mark_read(about.group, entry.sender.user_id, entry.message_id)
        found.append(entry.text or "")
    return found


def news(device: Device) -> list[GroupNews]:
    """What has happened to groups, as the device has told it."""
    return [event.news for event in device.heard(GroupEvent)]


def digits(*devices: Device, name: str = "Tea") -> set[str]:
    """The digits that these devices show."""
    return {device.messenger.groups.digits(name) for device in devices}


def group_of(*devices: Device, name: str = "Tea", admins: int = 1) -> None:
    """The first makes a group with the others, who accept; so many of them are admins."""
    first, *others = devices
    first.messenger.groups.create(name, [other.id for other in others])
    settle(*devices)
    for other in others:
        other.messenger.groups.accept(name)
        settle(*devices)
    for other in others[: admins - 1]:
        first.messenger.groups.set_role(name, other.id, "admin")
        settle(*devices)
    pass_time(10 * SECOND, *devices)
    for device in devices:
        device.events.clear()
        assert len(info(device, name).members) == len(devices)


def restored(device: Device, file: Path) -> Device:
    """The device's owner imports an exported file, and goes on with that."""
    if device.is_connected:
        device.cut()
    path = device.folder / "restored.vault"
    device.vault.close()
    import_profile(file, WORDS, path, KEY)
    device._lives += 1
    device._start(path)
    device.events.clear()
    return device


def known(device: Device, name: str = "Tea") -> Group:
    """The group as the device holds it."""
    group = device.messenger._stores.groups.get(info(device, name).group)
    assert group is not None
    return group


def signed(device: Device, *ops: Op, name: str = "Tea", more: int = 1, previous: bytes = b"") -> changes.Change:
    """A change that follows what the device knows, signed by it whether it may or not.

    ``more``: revisions on; ``previous``: the head that it names instead.
    """
    group = known(device, name)
    return changes.write(
        device.messenger._identity,
        group=group.record.group,
        revision=group.state.revision + more,
        previous=previous or group.chain.head,
        at=1,
        ops=ops,
    )


def tell(device: Device, to: list[Device], said_: GroupSaid, order: OrderRecord | None = None) -> None:
    """Say something that the device's own client would not."""
    messenger = device.messenger
    about: bytes = said_.group  # type: ignore[attr-defined]
    messenger.groups._speaking.say(
        about, [other.id for other in to], said_, messenger._now(), order=order, purpose=CHANGE if order else ""
    )


def keep_back(device: Device, other: Device) -> list[Frame]:
    """The relay does not deliver what somebody has sent to it; those messages."""
    late: list[Frame] = []

    def later(frame: Frame) -> list[Frame]:
        is_theirs = frame["type"] == "MESSAGE" and frame["payload"]["senderId"] == other.id
        late.extend([frame] if is_theirs else [])
        return [] if is_theirs else [frame]

    device.tamper = later
    return late
