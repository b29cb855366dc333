"""One's own devices, as applications see and change them."""

from dataclasses import dataclass
from typing import Final

from phantom_messenger.client.connection_loop import ConnectionLoop
from phantom_messenger.client.devices.book import text
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.ids import plain_id, written_id
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.names import checked_name
from phantom_messenger.client.translate import guarded
from phantom_messenger.crypto.errors import CryptoError

_LEAST_OF_ID: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDevice:
    """One of your devices.

    ``user_id``: its own id, in base64; the first one's is yours. ``name``: what it is called, '' if that is not known
    here. ``added``: when it was linked, in milliseconds since 1970 by the first device's clock. ``is_first``: it links
    and removes the others. ``is_this``: this one.
    """

    user_id: str
    name: str
    added: int
    is_first: bool
    is_this: bool


@guarded
class Devices:
    """Your devices: see protocol/devices.md. ``LinkingEvent`` tells how linking goes on.

    Contacts, settings, which groups are muted, and what was read, in groups too, are the same on all of them.

    Args:
        messenger: has the parts that know, change and link them.
        loop: is told after something was done.
    """

    def __init__(self, messenger: Messenger, loop: ConnectionLoop) -> None:
        self._messenger = messenger
        self._parts = messenger.device_parts
        self._book = self._parts.book
        self._desk = messenger.desk
        self._linking = messenger.linking
        self._handover = messenger.handover
        self._loop = loop

    def everybody(self) -> list[OwnDevice]:
        """All devices, the first one first; empty if there never was a second one."""
        own, names = self._book.own, self._book.names()
        found = () if own is None else own.newest.devices
        return [
            OwnDevice(
                user_id=(user_id := text(device.id)),
                name=names[user_id].name if user_id in names else "",
                added=device.added,
                is_first=place == 0,
                is_this=user_id == self._book.device,
            )
            for place, device in enumerate(found)
        ]

    @property
    def is_linking(self) -> bool:
        """Whether linking has begun, here, and not ended."""
        return self._linking.is_open

    def show_code(self, name: str) -> str:
        """On a new device: the code to give to the first one, as a line or a QR code. It is good for five minutes.

        ``LinkingEvent`` with the step ``digits`` follows; show its digits and ask whether this device is to belong to
        its ``person``, then ``agree`` or ``cancel``.

        Args:
            name: what this device is called on the others, 1 to 64 printable characters.

        Raises:
            UsageError: the profile is in use already, or no relay is known.
        """
        if not self._messenger.server:
            raise UsageError("no relay is known; give its URL with 'phantom init --server URL'")
        code = self._linking.show(self._messenger.server, checked_name(name))
        self._loop.changed()
        return code

    def agree(self) -> None:
        """On a new device: its user agrees that it will belong to the person who was shown.

        Raises:
            UsageError: nobody was, or it is too late.
        """
        self._linking.agree()
        self._loop.changed()

    @property
    def is_history_coming(self) -> bool:
        """On a new device: whether it is still getting what was said before."""
        return self._handover.is_coming

    @property
    def is_history_going(self) -> bool:
        """On the first device: whether another one is still getting what was said before."""
        return self._handover.is_going

    def link(self, code: str, *, history: bool = True) -> None:
        """On the first device: link the new one that shows this code.

        It gets your contacts and settings, and what is sent and received from then on. ``LinkingEvent`` with the step
        ``answered`` follows; ask for the digits that the new device shows, and ``confirm`` them.

        Args:
            code: as the new device shows it.
            history: it also gets what was said before, with persons and in groups, but for messages that burn or
                expire, the newest first, while both are connected. ``LinkingEvent`` with the steps ``history`` and
                ``complete`` says how far it is.

        Raises:
            UsageError: it cannot be linked, or not here.
        """
        self._linking.begin(code, history=history)
        self._loop.changed()

    def confirm(self, digits: str) -> bool:
        """On the first device: the digits that the new one shows; whether they are right. Three wrong ones end it.

        Args:
            digits: six; spaces do not matter.

        Raises:
            UsageError: they were wrong three times, or it is too late, or nothing is being linked.
        """
        try:
            return self._linking.type(digits)
        finally:
            self._loop.changed()

    def cancel(self) -> None:
        """On either device: it will not be linked."""
        self._linking.cancel()
        self._loop.changed()

    @property
    def is_restored(self) -> bool:
        """Whether this first device was restored from a backup, and others may know of later changes than it does."""
        return self._book.own is not None and self._book.is_first and self._book.is_restored

    def renew(self) -> None:
        """On a first device that was restored: these are your devices, whatever you have changed since the backup.

        Raises:
            UsageError: this is not the first device, or the only one.
        """
        try:
            self._desk.renew()
        except CryptoError as error:
            raise UsageError(str(error)) from None
        self._loop.changed()

    def find(self, device: str) -> OwnDevice:
        """One of your devices.

        Args:
            device: its user id or at least 8 characters with which that begins, or its name if no other one has that.

        Raises:
            UsageError: there is none, or there are several.
        """
        begin = device.strip().removesuffix("…")
        user_id = plain_id(device) if len(begin) >= _LEAST_OF_ID else ""
        found = [
            one
            for one in self.everybody()
            if user_id == one.user_id
            or (one.name and one.name == device)
            or (user_id and written_id(one.user_id).startswith(begin))
        ]
        if len(found) > 1:
            raise UsageError(
                f"several devices are called '{device}'; name one by its ID, which 'phantom devices' shows"
            )
        if not found:
            raise UsageError(f"there is no device '{device}'; 'phantom devices' lists them")
        return found[0]

    def look(self) -> None:
        """Find out whether anything waits at the relay: see ``Client.fetch``."""
        self._parts.look()
        self._loop.changed()

    def has_fetched(self) -> bool:
        """Whether what waited at the relay is here: what other devices have sent, too."""
        return self._parts.has_fetched()

    def remove(self, device: str) -> OwnDevice:
        """On the first device: remove another one. Nothing is sent to it any more, and it erases its profile.

        What it has sent before and waits at the relay is lost here; ``Client.fetch`` takes it in.

        Args:
            device: as ``find``.

        Raises:
            UsageError: there is no such device, or this is not the first one.
        """
        found = self.find(device)
        try:
            self._desk.remove(found.user_id)
        except CryptoError as error:
            raise UsageError(str(error)) from None
        self._loop.changed()
        return found


def label(device: OwnDevice) -> str:
    """How a device is named to people."""
    return device.name or f"{written_id(device.user_id)[:11]}…"
