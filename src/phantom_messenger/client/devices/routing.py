"""To which devices something goes, and whose is what comes from one.

All ids are raw user ids. A person is named by the id of their first device, and most persons have no other.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Routing:
    """What is known of devices, at one moment.

    ``person``: one's own person; ``device``: this device; the same on a first device. ``usable``: the usable devices of
    everybody of whom a list is known, one's own person among them, in the order in which they were first known.
    ``people``: those whom the user knows as persons by their own right.
    """

    person: bytes
    device: bytes
    usable: Mapping[bytes, tuple[bytes, ...]]
    people: Container[bytes]

    def devices_of(self, person: bytes) -> tuple[bytes, ...]:
        """What a message to a person is encrypted for, their first device first; never one that counts as another's."""
        return tuple(one for one in self.usable.get(person, (person,)) if self.person_of(one) == person)

    def own_others(self) -> tuple[bytes, ...]:
        """One's other devices."""
        return tuple(one for one in self.usable.get(self.person, ()) if one != self.device)

    def recipients(self, person: bytes) -> tuple[bytes, ...]:
        """Everybody to whom a message for a person goes: their devices, then one's own others."""
        return (*self.devices_of(person), *self.own_others())

    def person_of(self, sender: bytes) -> bytes:
        """Whose a message of this sender is.

        One's own devices come first, then who is known as a person: a list of somebody else can take nobody away. Of
        two lists that name a device, the one that was known first counts. Whoever is in none is a person.
        """
        if sender == self.device or sender in self.usable.get(self.person, ()):
            return self.person
        if sender in self.people or sender in self.usable:
            return sender
        return next((person for person, devices in self.usable.items() if sender in devices), sender)

    def is_own(self, sender: bytes) -> bool:
        """Whether a message is a copy of one's own, or something to bring one's devices in step."""
        return self.person_of(sender) == self.person

    def conversation_of(self, sender: bytes, to: bytes | None) -> bytes | None:
        """The person with whom a text was exchanged; None if it is to be refused.

        Args:
            sender: the device that wrote it.
            to: for whom it is, as it says itself; None if it does not, as where nobody has a second device.
        """
        whose = self.person_of(sender)
        if whose == self.person:
            return to if to is not None and self.person_of(to) == to and to != self.person else None
        return whose if to in {None, self.person} else None
