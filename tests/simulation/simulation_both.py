"""Two persons in the simulation, one or both with two devices, who are also in a group, and write to it from any.

Nobody leaves the group, so all devices of both have all that is said in it, each text once. What was read on one of a
person's devices is read on all of them, and the group is muted on all or none.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import apsw
from simulation_checks import Checker, Owner
from simulation_device import DevicePart
from simulation_devices import DeviceBook, DevicesPart
from simulation_network import Setting

from phantom_messenger.client.errors import VaultError
from phantom_messenger.client.status import Event, GroupEvent, GroupMessageEvent, GroupNews
from support.simulated import SECOND


@dataclass(slots=True)
class SharedText:
    """A text to the group, written on one of a person's devices."""

    body: str
    writer: str
    announced: set[str] = field(default_factory=set)
    handed_in: dict[str, int] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    is_read: bool = False


class BothBook(DeviceBook):
    """What persons write, to each other and to their group."""

    def __init__(self, setting: Setting, checker: Checker) -> None:
        super().__init__(setting, checker)
        self.shared: dict[str, SharedText] = {}

    def heard(self, user: str, event: Event) -> bool:
        """Whether what a device has told its application is of these persons, or of their group."""
        match event:
            case GroupMessageEvent():
                text = self.shared[event.message_id]
                if user in text.announced:
                    self._checker.wrong(f"{text.body} was announced twice at {self._checker.names[user]}")
                text.announced.add(user)
            case GroupEvent():
                self._setting.happened(f"group: {event.news}")
                if event.news is GroupNews.FORKED:
                    self._checker.wrong(f"{self._checker.names[user]} knows another history: {event.message}")
            case _:
                return super().heard(user, event)
        return True


class BothPart(DevicesPart):
    """What the two persons do who have a group as well."""

    book: BothBook

    def __init__(self, setting: Setting, checker: Checker, devices: list[DevicePart]) -> None:
        super().__init__(setting, checker, devices)
        self.book = checker.extra = BothBook(setting, checker)
        self._group = ""
        self._places: dict[tuple[str, int], int] = {}

    def begin(self, pass_time: Callable[[int], None]) -> None:
        """They are in a group of which both are admins, before or after their devices are linked."""
        is_before = self._chance.random() < 0.5
        if is_before:
            self._setting.is_calm = True
            self._meet(pass_time)
        super().begin(pass_time)
        if not is_before:
            self._setting.is_calm = True
            self._meet(pass_time)
            self._setting.is_calm = False

    def _meet(self, pass_time: Callable[[int], None]) -> None:
        pass_time(5 * SECOND)
        first, other = (own[0] for own in self._persons)
        self._group = first.messenger.groups.create("Tea", [other.id])
        first._changed()
        pass_time(10 * SECOND)
        other.messenger.groups.accept(self._group)
        other._changed()
        pass_time(5 * SECOND)
        first.messenger.groups.set_role(self._group, other.id, "admin")
        first._changed()
        pass_time(10 * SECOND)

    # --- life ---------------------------------------------------------------------------

    def act(self, device: DevicePart) -> None:
        """Somebody does something on a device, in the group or not."""
        kind = self._chance.random()
        if kind < 0.4:
            super().act(device)
        elif kind < 0.7:
            self._write_to_group(device)
        elif kind < 0.9:
            self._read_group(device, self._chance.choice((1, 2, 10)))
        elif kind < 0.95:
            with self._trying(device) as messenger:
                messenger.groups.rename(self._group, f"Tea {self._chance.randrange(100)}")
        else:
            with self._trying(device) as messenger:
                messenger.groups.mute(self._group, muted=self._chance.random() < 0.5)
                self._setting.counts["group muted or not any more"] += 1

    def _write_to_group(self, device: DevicePart) -> None:
        body = f"group text {len(self.book.shared)} on {device.name}"
        with self._trying(device) as messenger:
            number = messenger.groups.send_text(self._group, body)
            self.book.shared[number] = SharedText(body, self._person_of(device).id)
            self._setting.note(f"{body} is written")

    def _read_group(self, device: DevicePart, most: int) -> None:
        for _ in range(most):
            done = self._take_next_of_group(device)
            if done is None:
                return
            if self._chance.random() < 0.75:
                done()
            else:
                self._setting.after(self._chance.randint(1, 20_000), done)

    def _take_next_of_group(self, device: DevicePart) -> "partial[None] | None":
        place = device.id, device.life
        try:
            found = device.messenger.groups.next_text(self._places.get(place, 0), self._group)
        except VaultError:
            return None
        if found is None:
            return None
        self._places[place], _, entry = found
        text = self.book.shared.get(entry.message_id)
        if text is None or (text.writer, text.body) != (entry.sender.user_id, entry.text):
            self._checker.wrong(f"{device.name} was handed a group text that nobody wrote")
            return None
        if device.id in text.done or text.handed_in.get(device.id) == device.life:
            self._checker.wrong(f"{text.body} was handed out twice at {device.name}")
        text.handed_in[device.id] = device.life
        self._setting.counts["group text handed out at a device"] += 1
        read = self._chance.random() < 0.8
        return partial(self._finish_of_group, device, device.life, text, entry.message_id, read=read)

    def _finish_of_group(self, device: DevicePart, life: int, text: SharedText, number: str, *, read: bool) -> None:
        if life != device.life or not device.is_running:
            return
        with self._trying(device) as messenger:
            if read:
                messenger.groups.mark_read(self._group, text.writer, number)
            else:
                messenger.groups.handled(self._group, text.writer, number)
            text.done.add(device.id)
            text.is_read = text.is_read or read

    # --- the end ------------------------------------------------------------------------

    def read_all(self) -> None:
        """Everything that waits is read."""
        super().read_all()
        for device in self._devices:
            while device.is_running and (done := self._take_next_of_group(device)) is not None:
                done()

    def last_words(self) -> None:
        """Every device writes to the other person and to the group."""
        super().last_words()
        for device in self._devices:
            self._write_to_group(device)

    def finish(self, owners: list[Owner], connection: apsw.Connection) -> None:
        """All are online and nothing is under way: all devices know one group, and all that was said in it."""
        super().finish(owners, connection)
        heads = {device.messenger.groups.digits(self._group) for device in self._devices}
        if len(heads) != 1:
            self._checker.wrong("devices know different histories of the group")
        for device in self._devices:
            shown = [entry.text for entry in device.messenger.groups.history(self._group)]
            for text in self.book.shared.values():
                self._setting.counts["group text that had to be on a device"] += 1
                if shown.count(text.body) != 1:
                    self._checker.wrong(f"{text.body} at {device.name} is lost, or doubled")
        for own in self._persons:
            self._check_marks(own)

    def _check_marks(self, own: list[DevicePart]) -> None:
        """All devices of a person show the same as read, and the group as muted or not."""
        if len({device.messenger.groups.find(self._group).muted for device in own}) != 1:
            self._checker.wrong("the group is muted on some devices of a person")
        for device in own:
            store = device.messenger._stores.groups
            group = store.get(self._group)
            for number, text in self.book.shared.items():
                if group is None or text.writer == own[0].id or not text.is_read:
                    continue
                self._setting.counts["group text that had to be read on a device"] += 1
                got = store.text(group, text.writer, number)
                if got is None or not got.read or store.is_waiting(self._group, text.writer, number):
                    self._checker.wrong(f"{text.body} at {device.name} is not read, and was on another device")
