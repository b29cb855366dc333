"""PRESENCE: what contacts learn, and what strangers do not."""

from typing import Any, Final

from phantom_messenger.conformance.client import ANY, Client
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Group, Play
from phantom_messenger.conformance.wire import Identity

presence: Final = Group("presence", "PRESENCE", "PRESENCE")

_DEPARTURE_SECONDS: Final = 5.0
"""Nobody is told of a departure before 10 s; half of them are left for a slow way, or a slow machine."""

_QUERY: Final = "a stranger, or an unknown user, is `offline` without `lastSeen`"


async def _asked(alice: Client, user_id: str, **expected: Any) -> None:
    """Ask for somebody's presence, which must be as expected."""
    name = alice.new_id()
    await alice.send("PRESENCE", {"userId": user_id}, id=name)
    await alice.expect("PRESENCE", {"userId": user_id, **expected}, id=name)


@presence.case(_QUERY)
async def stranger_and_nobody_are_offline(stage: Stage) -> None:
    alice, bob = await stage.users()
    for user_id in (bob.id, Identity().id):
        await _asked(alice, user_id, status="offline", lastSeen=None)


@presence.case("For a contact the answer is the status")
async def contact_who_is_connected_is_online(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await _asked(alice, bob.id, status="online", lastSeen=None)


@presence.case(
    "`online`, `idle` and `offline` are sent to all contacts who are connected, and hold until the next update"
)
async def update_reaches_a_contact_and_holds(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    for status in ("idle", "online", "idle"):
        await bob.send("PRESENCE", {"status": status})
        await alice.expect("PRESENCE", {"userId": bob.id, "status": status}, id=None)
    await _asked(alice, bob.id, status="idle")


@presence.case("An update is answered only if it is rejected.")
async def update_is_not_answered(stage: Stage) -> None:
    alice = await stage.user()
    await alice.send("PRESENCE", {"status": "idle"}, id="1")
    await alice.hears_nothing()


@presence.case("Strangers learn nothing.")
async def stranger_learns_nothing_of_updates(stage: Stage) -> None:
    alice, bob = await stage.users()
    await alice.write(bob)
    for payload in ({"status": "idle"}, {"status": "typing", "conversationId": "c1"}, {"status": "offline"}):
        await bob.send("PRESENCE", payload)
        await bob.ping()
    await alice.hears_nothing("PRESENCE")


@presence.case("**A user appears offline** while their session's status is `offline`")
async def user_who_appears_offline_is_offline_since_then(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await bob.send("PRESENCE", {"status": "offline"})
    await alice.expect("PRESENCE", {"userId": bob.id, "status": "offline"})
    await _asked(alice, bob.id, status="offline", lastSeen=ANY)
    await bob.send("PRESENCE", {"status": "offline"})
    await bob.ping()
    await alice.hears_nothing("PRESENCE")


@presence.case("a message that it acknowledges leads to no MESSAGE_ACK")
async def delivery_is_told_once_the_user_shows_up(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await bob.send("PRESENCE", {"status": "offline"})
    await alice.expect("PRESENCE", {"status": "offline"})
    sent = await alice.write(bob)
    await bob.acknowledge(await bob.take("MESSAGE"))
    await bob.ping()
    await alice.hears_nothing("MESSAGE_ACK")
    await bob.send("PRESENCE", {"status": "online"})
    await alice.expect("MESSAGE_ACK", {"messageId": sent["payload"]["messageId"], "status": "delivered"})
    await alice.expect("PRESENCE", {"userId": bob.id, "status": "online"})


@presence.case("by a login without `absent`, or by a MESSAGE to that sender")
async def delivery_is_told_once_the_user_writes_to_the_sender(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await bob.send("PRESENCE", {"status": "offline"})
    await alice.expect("PRESENCE", {"status": "offline"})
    sent = await alice.write(bob)
    await bob.acknowledge(await bob.take("MESSAGE"), "read")
    await bob.ping()
    await alice.hears_nothing("MESSAGE_ACK")
    await bob.write(alice)
    await alice.expect("MESSAGE_ACK", {"messageId": sent["payload"]["messageId"], "status": "read"})


@presence.case("or from the start by the feature `absent` in AUTH, a login that nobody is told about")
async def absent_login_is_told_to_nobody(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await bob.send("PRESENCE", {"status": "offline"})
    await alice.expect("PRESENCE", {"userId": bob.id, "status": "offline"})
    await bob.leave()
    hidden = await stage.user("ack", "absent", identity=bob.identity)
    await hidden.ping()
    await alice.hears_nothing("PRESENCE")
    await _asked(alice, bob.id, status="offline")


@presence.case(
    "It is sent to those contacts who are connected and with whom both sides have used that `conversationId` in MESSAGE"
)
async def typing_reaches_a_contact_in_a_shared_conversation(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    for sender, recipient in ((alice, bob), (bob, alice)):
        await sender.write(recipient, conversationId="ours")
        await recipient.take("MESSAGE")
    typing = {"status": "typing", "conversationId": "ours"}
    await bob.send("PRESENCE", typing)
    await alice.expect("PRESENCE", {"userId": bob.id, **typing}, id=None)
    await _asked(alice, bob.id, status="online", conversationId=None)


@presence.case(
    "It is sent to those contacts who are connected and with whom both sides have used that `conversationId` in MESSAGE"
)
async def typing_in_another_conversation_reaches_nobody(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await alice.write(bob, conversationId="hers")
    await bob.take("MESSAGE")
    await bob.write(alice, conversationId="his")
    await alice.take("MESSAGE")
    for name in ("hers", "his", "nobody's"):
        await bob.send("PRESENCE", {"status": "typing", "conversationId": name})
    await bob.ping()
    await alice.hears_nothing("PRESENCE")


@presence.case(
    "contacts who are connected are sent `online` at a login, unless all of them believe it already", lasts=10
)
async def contact_is_told_of_a_departure_after_10_s_and_of_a_login(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await bob.leave()
    await alice.hears_nothing("PRESENCE", seconds=_DEPARTURE_SECONDS)
    await alice.expect("PRESENCE", {"userId": bob.id, "status": "offline", "lastSeen": ANY}, id=None)
    await stage.user(identity=bob.identity)
    await alice.expect("PRESENCE", {"userId": bob.id, "status": "online"}, id=None)


@presence.case(
    "`offline` with `lastSeen` 10 s after the last session ended, unless the user is back or had appeared offline",
    lasts=12,
)
async def short_absence_is_told_to_nobody(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await bob.leave()
    await stage.user(identity=bob.identity)
    await alice.hears_nothing("PRESENCE", seconds=12.0)


@presence.case("A client is sent the status of a contact who is connected and not `offline` at its login")
async def status_of_contacts_comes_at_a_login(stage: Stage) -> None:
    alice, bob = await stage.contacts()
    await bob.send("PRESENCE", {"status": "idle"})
    await alice.expect("PRESENCE", {"status": "idle"})
    await alice.leave()
    back = await stage.user(identity=alice.identity)
    await back.expect("PRESENCE", {"userId": bob.id, "status": "idle"}, id=None)


_STATUS: Final = "| `status` | online/typing/idle/offline | may | must | the client's own status |"
_ALONE: Final = "whose status it is; a client that asks sends this alone"
_OTHER: Final = Identity().id

_REFUSED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "unknown-status": (_STATUS, {"status": "busy"}),
    "neither-status-nor-user": (_STATUS, {}),
    "status-of-another-user": (_ALONE, {"userId": _OTHER, "status": "idle"}),
    "question-about-a-conversation": (_ALONE, {"userId": _OTHER, "conversationId": "c1"}),
    "typing-without-a-conversation": ("with `typing`, which must have it", {"status": "typing"}),
    "last-seen-of-a-client": ("| `lastSeen` | integer | - | may |", {"status": "offline", "lastSeen": 0}),
}
"""By what is wrong: the rule and the payload."""


def _refused(payload: dict[str, Any]) -> Play:
    async def play(stage: Stage) -> None:
        alice = await stage.anyone()
        await alice.send("PRESENCE", payload, id="1")
        await alice.refused("field", id="1")

    return play


for _name, (_rule, _payload) in _REFUSED.items():
    presence.add(f"{_name}-is-refused", _rule, _refused(_payload))
