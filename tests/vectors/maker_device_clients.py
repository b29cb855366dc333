"""Makes ``device-clients.json``: somebody with two devices, and a friend, from linking to the removal."""

from typing import Final

from client_samples import pass_time, settle
from device_samples import RELAY
from maker_base import Json, file_of
from maker_scene import Play, Scene, Witness, played

from phantom_messenger.client.status import LinkingEvent
from support.simulated import SECOND

TOLD: Final = 8 * SECOND
"""In which devices have told each other what was read, and receipts have been sent."""


class Owner(Witness):
    """Somebody's device."""

    def show(self, name: str) -> str:
        """On a new device: show a code."""
        with self.step({"do": "device-show", "name": name, "relay": RELAY}):
            return self.messenger.linking.show(RELAY, name)

    def begin(self, code: str) -> None:
        """On the first device: link the one that shows this code."""
        with self.step({"do": "device-link", "code": code}):
            self.messenger.linking.begin(code, history=False)

    def confirm(self, digits: str) -> None:
        """On the first device: type the digits that the new one shows."""
        with self.step({"do": "device-confirm", "digits": digits}):
            assert self.messenger.linking.type(digits)

    def agree(self) -> None:
        """On the new device: agree that it will be the other one's."""
        with self.step({"do": "device-agree"}):
            self.messenger.linking.agree()

    def dismiss(self, other: Witness) -> None:
        """On the first device: remove another one."""
        with self.step({"do": "device-remove", "user_id": other.id}):
            self.messenger.desk.remove(other.id)


def linking(scene: Scene) -> None:
    phone, laptop, bob = (scene.enter(Owner(scene, name)) for name in ("phone", "laptop", "bob"))
    everybody = (phone, laptop, bob)
    for one in everybody:
        one.login()
    phone.add(bob)
    bob.add(phone)
    phone.write(bob, "before there was a laptop")
    settle(*everybody)
    pass_time(TOLD, *everybody)
    code = laptop.show("laptop")
    phone.begin(code)
    pass_time(2 * SECOND, *everybody)
    phone.confirm(laptop.heard(LinkingEvent)[-1].digits)
    laptop.agree()
    pass_time(TOLD, *everybody)


def friends(scene: Scene, *listed: str) -> tuple[Owner, Owner, Owner]:
    """The three after ``linking``; what others than those listed do is not written down."""
    phone, laptop, bob = scene.go_on("device-linking", linking)
    assert isinstance(phone, Owner)
    assert isinstance(laptop, Owner)
    assert isinstance(bob, Owner)
    for one in (phone, laptop, bob):
        one.is_listed = one.name in listed
    return phone, laptop, bob


def in_step(scene: Scene) -> None:
    phone, laptop, bob = everybody = friends(scene, "phone", "laptop", "bob")
    number = bob.write(phone, "where are you?")
    settle(*everybody)
    laptop.messenger.mark_read(bob.id, number)
    settle(*everybody)
    pass_time(TOLD, *everybody)
    laptop.write(bob, "at the laptop")
    settle(*everybody)
    pass_time(TOLD, *everybody)


def removal(scene: Scene) -> None:
    phone, laptop, bob = everybody = friends(scene, "laptop", "bob")
    phone.dismiss(laptop)
    settle(*everybody)
    pass_time(TOLD, *everybody)
    bob.write(phone, "for the phone alone")
    settle(*everybody)
    pass_time(TOLD, *everybody)


SCENES: Final[dict[str, tuple[str, Play]]] = {
    "device-linking": ("a laptop is linked to Alice's phone, and Bob hears of it; others go on after it", linking),
    "device-in-step": ("what Bob writes is read on the laptop, which answers: the phone knows all of it", in_step),
    "device-removal": ("Alice removes the laptop, which gets nothing more", removal),
}


def device_clients_json() -> Json:
    """The whole file."""
    return file_of(
        "A person with two devices, and a friend, as whole clients: what each gets, sends, stores and tells its user.",
        scenes=played(SCENES, suite=2, many=True, devices=True),
    )
