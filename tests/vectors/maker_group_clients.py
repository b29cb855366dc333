"""Makes ``group-clients.json``: three clients in one group, at a relay that may keep back, lose or divide."""

from typing import Any, Final
from unittest.mock import patch

from client_samples import pass_time, settle
from maker_base import Json, file_of
from maker_scene import Play, Scene, Witness, played

from phantom_messenger.client.groups.duties import ASK_AGAIN_MS
from phantom_messenger.client.many.sending import WAITS_MS, SendingMany
from phantom_messenger.engines.sqlite.orders import SQLiteOrders
from support.people import Frame
from support.simulated import MINUTE, SECOND

RECEIPTS: Final = 6 * SECOND
"""In which receipts of a group have been gathered and sent."""


class Member(Witness):
    """Somebody who is in groups; all that they do is about the scene's."""

    @property
    def group(self) -> str:
        """Its id."""
        [found] = self.messenger.groups.all()
        return found.group

    def _does(self, what: str, act: Any, /, **step: Any) -> Any:
        with self.step({"do": f"group-{what}", "group": self.group, **step}):
            return act(*(value for value in (self.group, *step.values())))

    def create(self, title: str, *others: Witness) -> None:
        """Make the group."""
        people = [other.id for other in others]
        with self.step({"do": "group-create", "title": title, "people": people}):
            self.messenger.groups.create(title, people)

    def join(self) -> None:
        """Accept the invitation."""
        self._does("accept", self.messenger.groups.accept)

    def say(self, text: str) -> str:
        """Write to the group; the message id."""
        number: str = self._does("write", self.messenger.groups.send_text, body=text)
        return number

    def see(self, other: Witness, number: str) -> None:
        """Read a text."""
        self._does("read", self.messenger.groups.mark_read, user_id=other.id, message=number)

    def invite(self, *others: Witness) -> None:
        """Have others added."""
        self._does("add", self.messenger.groups.add, people=[other.id for other in others])

    def dismiss(self, *others: Witness) -> None:
        """Have others removed."""
        self._does("remove", self.messenger.groups.remove, people=[other.id for other in others])

    def make(self, other: Witness, role: str) -> None:
        """Give somebody a role."""
        self._does("role", self.messenger.groups.set_role, user_id=other.id, role=role)

    def rename(self, title: str) -> None:
        """Give the group another name."""
        self._does("title", self.messenger.groups.rename, title=title)

    def time(self, milliseconds: int) -> None:
        """Have texts expire."""
        self._does("timer", self.messenger.groups.set_timer, expires_in=milliseconds)

    def call_me(self, name: str) -> None:
        """Say what members are to call one."""
        self._does("call-me", self.messenger.groups.call_me, name=name)

    def leave(self) -> None:
        """Leave the group."""
        self._does("leave", self.messenger.groups.leave)

    def end(self) -> None:
        """End the group for all."""
        self._does("close", self.messenger.groups.close)

    def go_on(self) -> None:
        """Write to it again, whatever others know."""
        self._does("go-on", self.messenger.groups.go_on)


def member(scene: Scene, name: str) -> Member:
    """Somebody whose client has not connected yet."""
    return scene.enter(Member(scene, name))


def greetings(scene: Scene) -> None:
    alice, bob, carol = (member(scene, name) for name in ("alice", "bob", "carol"))
    for one in (alice, bob, carol):
        one.login()
    for one in (bob, carol):
        alice.add(one)
        one.add(alice)
    alice.create("Tea", bob, carol)
    settle(alice, bob, carol)
    bob.join()
    settle(alice, bob, carol)
    carol.join()
    settle(alice, bob, carol)
    first = alice.say("hello, all")
    settle(alice, bob, carol)
    bob.see(alice, first)
    bob.say("hello, Alice and Carol")
    settle(alice, bob, carol)
    pass_time(RECEIPTS, alice, bob, carol)


def friends(scene: Scene, *listed: str) -> tuple[Member, Member, Member]:
    """The three after ``greetings``; what others than those listed do is not written down."""
    alice, bob, carol = scene.go_on("group-greetings", greetings)
    assert isinstance(alice, Member)
    assert isinstance(bob, Member)
    assert isinstance(carol, Member)
    for one in (alice, bob, carol):
        one.is_listed = one.name in listed
    return alice, bob, carol


def two_admins(scene: Scene) -> None:
    alice, bob, carol = friends(scene, "alice", "bob")
    alice.make(bob, "admin")
    settle(alice, bob, carol)
    alice.rename("Coffee")
    bob.rename("Cocoa")
    settle(alice, bob, carol)
    pass_time(3 * SECOND, alice, bob, carol)
    carol.say("Cocoa it is")
    settle(alice, bob, carol)
    pass_time(RECEIPTS, alice, bob, carol)


def removal(scene: Scene) -> None:
    alice, bob, carol = friends(scene, "alice", "carol")
    carol.cut()
    alice.dismiss(carol)
    settle(alice, bob)
    alice.say("between the two of us")
    settle(alice, bob)
    carol.say("I have not heard yet")
    carol.login()
    settle(alice, bob, carol)
    pass_time(RECEIPTS, alice, bob, carol)
    alice.invite(carol)
    settle(alice, bob, carol)
    carol.join()
    settle(alice, bob, carol)
    carol.say("here again")
    settle(alice, bob, carol)
    pass_time(RECEIPTS, alice, bob, carol)


def behind(scene: Scene) -> None:
    alice, bob, carol = friends(scene, "bob", "carol")

    def keep_back(frame: Frame) -> list[Frame]:
        return [] if frame["type"] == "MESSAGE" else [frame]

    carol.tamper = keep_back
    alice.rename("Coffee")
    settle(alice, bob, carol)
    carol.tamper = None
    bob.say("what a name")
    settle(alice, bob, carol)
    pass_time(8 * SECOND, alice, bob, carol)


def forked(scene: Scene) -> None:
    alice, bob, carol = friends(scene, "alice", "carol")
    alice.make(bob, "admin")
    settle(alice, bob, carol)
    with patch.object(SQLiteOrders, "take", lambda *_: None):
        alice.rename("Coffee")
        bob.rename("Cocoa")
        settle(alice, bob, carol)
    pass_time(2 * SECOND, alice, bob, carol)
    alice.go_on()
    alice.say("for those who drink coffee")
    settle(alice, bob, carol)
    pass_time(RECEIPTS, alice, bob, carol)


def lost_text(scene: Scene) -> None:
    alice, bob, carol = friends(scene, "carol")

    def lose(frame: Frame) -> list[Frame]:
        return [] if frame["type"] == "MESSAGE" else [frame]

    carol.tamper = lose
    alice.say("this one is lost")
    settle(alice, bob, carol)
    carol.tamper = None
    alice.say("have you read it?")
    settle(alice, bob, carol)
    pass_time(RECEIPTS, alice, bob, carol)


def ending(scene: Scene) -> None:
    alice, bob, carol = friends(scene, "alice", "carol")
    alice.time(MINUTE)
    settle(alice, bob, carol)
    bob.say("gone in a minute")
    settle(alice, bob, carol)
    carol.leave()
    settle(alice, bob, carol)
    pass_time(RECEIPTS, alice, bob, carol)
    pass_time(MINUTE, alice, bob, carol, step=10 * SECOND)
    alice.end()
    settle(alice, bob, carol)
    pass_time(RECEIPTS, alice, bob, carol)


def names(scene: Scene) -> None:
    alice, bob, carol = friends(scene, "bob", "carol")
    bob.call_me("Bobby")
    settle(alice, bob, carol)
    carol.say("I have no name")
    settle(alice, bob, carol)
    bob.say("I am Bobby")
    settle(alice, bob, carol)
    carol.call_me("Carol C.")
    settle(alice, bob, carol)
    bob.call_me("")
    settle(alice, bob, carol)
    bob.say("I am nobody")
    settle(alice, bob, carol)
    pass_time(RECEIPTS, alice, bob, carol)


def missing(scene: Scene) -> None:
    alice, bob, carol = friends(scene, "alice", "carol")
    alice.make(bob, "admin")
    settle(alice, bob, carol)
    # The relay has Bob's change in order, and nobody else has it: their mailboxes may be full.
    with patch.object(SendingMany, "_parts", lambda *_: ([], [])):
        bob.rename("Cocoa")
        pass_time(WAITS_MS + SECOND, bob)
    bob.cut()
    alice.rename("Coffee")
    pass_time(8 * SECOND, alice, carol)
    pass_time(ASK_AGAIN_MS, alice, carol, step=10 * SECOND)
    bob.login()
    settle(alice, bob, carol)
    pass_time(8 * SECOND, alice, bob, carol)


SCENES: Final[dict[str, tuple[str, Play]]] = {
    "group-greetings": ("Alice makes a group with two who do not know each other; others go on after it", greetings),
    "group-two-admins": ("two admins name it at once: the relay takes one change, the other is made anew", two_admins),
    "group-removal": ("Carol is removed, writes before she has heard of it, is told, and is added again", removal),
    "group-behind": ("the relay keeps a change from Carol, who asks for it", behind),
    "group-forked": ("the relay lets both changes of one revision pass: all notice, and Alice goes on", forked),
    "group-lost-text": ("the relay loses a text, and the next one shows it", lost_text),
    "group-ending": ("texts expire, Carol leaves, and Alice ends the group", ending),
    "group-missing": (
        "Bob's change is in order at the relay and has come to nobody: Alice, who is refused, asks him, and Carol, who"
        " does not know either, and waits until he is back",
        missing,
    ),
    "group-names": ("Bob and Carol say what they are called, and Bob withdraws it", names),
}


def group_clients_json() -> Json:
    """The whole file."""
    return file_of(
        "A group of whole clients over a relay: what each gets, sends, stores and tells its user.",
        scenes=played(SCENES, suite=2, many=True),
    )
