"""Two persons in the simulation, one or both with two devices, who write to each other from any of them.

What they do is decided by a generator of its own, and what must be so of it is checked here: all devices of a person
have the same texts, each once, and what was read on one waits on no other.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import apsw
from simulation_checks import Change, Checker, Owner, Sent
from simulation_device import DevicePart
from simulation_extra import Acting, copies_stored
from simulation_network import Setting

from phantom_messenger.client import records
from phantom_messenger.client.errors import VaultError
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.records import ReceivedRecord, SentRecord
from phantom_messenger.client.status import (
    DeliveryEvent,
    DeliveryState,
    Event,
    LinkingEvent,
    MessageEvent,
    WarningEvent,
)
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire.frames import Status
from support.simulated import HOST, SECOND

RELAY: Final = f"wss://{HOST}/ws"
EXPLAINED: Final = {"unknown-user", "unknown-device", "prekeys", "backlog", "storage", "clock", "paused", "devices"}
"""Troubles that faults make, and what is told of devices."""


@dataclass(slots=True)
class PersonText:
    """A text of one person to the other, written on one of their devices."""

    number: str
    sender: str
    recipient: str
    body: str
    handed_in: dict[str, int] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    is_read: bool = False
    is_early: bool = False
    """It was written before devices were linked, who get it with what was said before."""


class DeviceBook:
    """The book of what persons write; see ``simulation_checks.ExtraBook``.

    Args:
        setting: the run's.
        checker: of the run.
    """

    def __init__(self, setting: Setting, checker: Checker) -> None:
        self._setting = setting
        self._checker = checker
        self.texts: dict[str, PersonText] = {}
        self.links: dict[str, LinkingEvent] = {}
        """What each device has said last of being linked."""
        self._copies: dict[tuple[str, str, str], Sent] = {}

    def watch(self, messenger: Messenger) -> None:
        """Nothing: all is seen at the store."""

    def committed(self, change: Change) -> bool:
        """Whatever is stored is of these persons; nothing may be there twice."""
        if change.what == "receipt dropped":
            return True
        place = change.sender, change.recipient, change.name
        copy = self._copies.setdefault(place, Sent(change.name, change.sender, change.recipient))
        if change.what == "kept":
            self._checker.kept(copy, f"a message of {self._checker.names[change.sender]}")
        elif change.what in {"taken", "expired", "gave way"}:
            copy.is_stored, copy.left_at, copy.left_in = False, self._setting.now, self._checker.relay_lives
        elif change.what == "full":
            self._setting.happened("mailbox full for a device")
        return True

    def relay_wrote(self, frame: bytes) -> bool:
        """Whether it is an answer to a message; the relay may not tell of what it has not stored."""
        if f'"{Status.ACCEPTED}"'.encode() not in frame:
            return False
        number, told = copies_stored(frame)
        stored = sum(copy.was_stored for (_, _, name), copy in self._copies.items() if name == number)
        if stored < told:
            self._checker.wrong("the relay told how many have a message before it was stored for them")
        return True

    def heard(self, user: str, event: Event) -> bool:
        """Whether what a device has told its application is of these persons."""
        match event:
            case MessageEvent():
                text = self.texts[event.message_id]
                if user in text.announced:
                    self._checker.wrong(f"{text.body} was announced twice at {self._checker.names[user]}")
                text.announced.add(user)
            case LinkingEvent():
                self.links[user] = event
                self._setting.happened(f"link: {event.step}", self._checker.names[user])
            case WarningEvent():
                self._setting.happened(f"trouble: {event.code}")
                if event.code not in EXPLAINED:
                    self._checker.wrong(f"{self._checker.names[user]} has trouble: {event.code}: {event.message}")
            case DeliveryEvent():
                pass
            case _:
                return False
        return True

    def compare(self, user: str, messenger: Messenger, vault: Vault) -> None:
        """Nothing more."""

    def unsettled(self, owners: list[Owner]) -> list[str]:
        """What is still under way, in words."""
        return [
            f"{self._checker.names[owner.id]} has to tell other devices what was read"
            for owner in owners
            if owner.vault.has_kind(records.SYNC)
        ]


class DevicesPart(Acting):
    """What the two persons do.

    Args:
        setting: the run's.
        checker: of the run.
        devices: the first devices of both, and then one or two further ones; filled later.
    """

    steps = 30
    is_beside = False

    def __init__(self, setting: Setting, checker: Checker, devices: list[DevicePart]) -> None:
        super().__init__(setting, random.Random(f"{setting.seed} devices"), "")  # noqa: S311 - the same in every run
        self._checker = checker
        self.book = DeviceBook(setting, checker)
        checker.extra = self.book
        self._devices = devices
        self._positions: dict[tuple[str, int], int] = {}

    @property
    def _persons(self) -> tuple[list[DevicePart], list[DevicePart]]:
        return self._devices[::2], self._devices[1::2]

    def _person_of(self, device: DevicePart) -> DevicePart:
        return next(own[0] for own in self._persons if device in own)

    def _other_of(self, device: DevicePart) -> DevicePart:
        return next(own[0] for own in self._persons if device not in own)

    # --- the beginning ------------------------------------------------------------------

    def begin(self, pass_time: Callable[[int], None]) -> None:
        """They know each other, and their further devices are linked, before anything breaks."""
        self._setting.is_calm = True
        pass_time(5 * SECOND)
        one, other = (own[0] for own in self._persons)
        for first, second in ((one, other), (other, one)):
            first.messenger.contacts.add(second.name, second.id)
            self._write(first)
        pass_time(5 * SECOND)
        for text in self.book.texts.values():
            text.is_early = True
        for first, *further in self._persons:
            for new in further:
                self._link(first, new, pass_time)
        self._setting.is_calm = False

    def _link(self, first: DevicePart, new: DevicePart, pass_time: Callable[[int], None]) -> None:
        code = new.messenger.linking.show(RELAY, new.name)
        first.messenger.linking.begin(code)
        first._changed()
        pass_time(5 * SECOND)
        first.messenger.linking.type(self.book.links[new.id].digits)
        new.messenger.linking.agree()
        for device in (first, new):
            device._changed()
        pass_time(20 * SECOND)
        if new.messenger.person != first.id:
            self._checker.wrong(f"{new.name} was not linked, and nothing had broken")

    # --- life ---------------------------------------------------------------------------

    def acts(self) -> bool:
        """All that people do here is between persons."""
        return True

    def act(self, device: DevicePart) -> None:
        """Somebody does something on a device."""
        if self._chance.random() < 0.6:
            for _ in range(self._chance.choice((1, 1, 2, 3))):
                self._write(device)
        else:
            self.read(device, self._chance.choice((1, 2, 10)))

    def _write(self, device: DevicePart) -> None:
        body = f"text {len(self.book.texts)} on {device.name}"
        to = self._other_of(device).id
        with self._trying(device) as messenger:
            number = messenger.send_text(to, body).message_id
            sender = self._person_of(device).id
            self.book.texts[number] = PersonText(number, sender, to, body)
            self._setting.note(f"{body} is written")

    def _take_next(self, device: DevicePart) -> "partial[None] | None":
        place = device.id, device.life
        try:
            found = device.messenger.next_received(self._positions.get(place, 0))
        except VaultError:
            return None
        if found is None:
            return None
        self._positions[place], record = found
        text = self.book.texts.get(record.message_id)
        if text is None or (text.sender, text.body) != (record.sender, record.text):
            self._checker.wrong(f"{device.name} was handed a text that nobody wrote")
            return None
        if device.id in text.done or text.handed_in.get(device.id) == device.life:
            self._checker.wrong(f"{text.body} was handed out twice at {device.name}")
        text.handed_in[device.id] = device.life
        self._setting.counts["text handed out at a device"] += 1
        return partial(self._finish, device, device.life, text, record.sender, read=self._chance.random() < 0.8)

    def _finish(self, device: DevicePart, life: int, text: PersonText, sender: str, *, read: bool) -> None:
        if life != device.life or not device.is_running:
            return
        with self._trying(device) as messenger:
            if read:
                messenger.mark_read(sender, text.number)
            else:
                messenger.handled(sender, text.number)
            text.done.add(device.id)
            text.is_read = text.is_read or read

    # --- the end ------------------------------------------------------------------------

    def read_all(self) -> None:
        """Everything that waits is read."""
        for device in self._devices:
            while device.is_running and (done := self._take_next(device)) is not None:
                done()

    def last_words(self) -> None:
        """Every device writes."""
        for device in self._devices:
            self._write(device)

    def finish(self, owners: list[Owner], connection: apsw.Connection) -> None:
        """All are online and nothing is under way: all devices of a person know the same."""
        del owners, connection
        for text in self.book.texts.values():
            for device in self._devices:
                self._check(text, device)

    def _check(self, text: PersonText, device: DevicePart) -> None:
        about = f"{text.body} at {device.name}"
        self._setting.counts["text that had to be on a device"] += 1
        peer = self._other_of(device).id
        shown = [entry.text for entry in device.messenger.history(peer) if entry.message_id == text.number]
        if shown != [text.body]:
            self._checker.wrong(f"{about} is lost, or doubled")
        if text.is_early:
            return
        if self._person_of(device).id == text.sender:
            sent = device.vault.get(records.SENT, text.number, SentRecord)
            state = None if sent is None else DeliveryState(sent.state)
            least = DeliveryState.READ if text.is_read else DeliveryState.DELIVERED
            if state is not least:
                self._checker.wrong(f"{about} is {state} in the end, not {least}")
            return
        got = device.vault.get(records.RECEIVED, records.key(text.sender, text.number), ReceivedRecord)
        if text.is_read and (got is None or not got.read):
            self._checker.wrong(f"{about} is not read, and was on another device")
        elif not text.is_read and device.id not in text.done and text.handed_in.get(device.id) != device.life:
            self._checker.wrong(f"{about} was never handed out")
