"""More messages than the rate, which their recipient allows. A relay need not know it."""

from typing import Final

from phantom_messenger.conformance.client import Client
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Failure, Group, NotJudgedError
from phantom_messenger.conformance.wire import Frame, Identity, show

allowance: Final = Group("allowance", "ALLOWANCE")

_ALLOWED: Final = 256
_RATE: Final = 60
_TAKEN_AT_ONCE: Final = 50


async def _knowing(stage: Stage, identity: Identity | None = None) -> Client:
    """A user whose client and relay know the feature.

    Raises:
        NotJudgedError: the relay does not.
    """
    alice = await stage.user("ack", "allowance", identity=identity)
    if "allowance" not in alice.features:
        raise NotJudgedError("this relay does not know allowance")
    return alice


async def _asked(bob: Client, sender: str) -> Frame:
    """What the relay says is left of what somebody allows."""
    name = bob.new_id()
    await bob.send("ALLOWANCE", {"senderId": sender}, id=name)
    payload: Frame = (await bob.expect("ALLOWANCE", {"senderId": sender, "recipientId": None}, id=name))["payload"]
    return payload


async def _allowed(bob: Client, sender: str) -> Frame:
    """The same for a first time.

    Raises:
        NotJudgedError: there is none, for others from this address may have all that there are.
    """
    found = await _asked(bob, sender)
    if not found["messages"]:
        raise NotJudgedError("the relay has given as many allowances as it has; come again in ten minutes")
    return found


async def _let_through(alice: Client, bob: Client, most: int) -> int:
    """How many messages are, if so many are sent one after the other; Bob takes them."""
    for number in range(most):
        name = alice.new_id()
        await alice.send("MESSAGE", alice.message(bob.id), id=name)
        answer = await alice.next()
        while answer.get("id") != name:
            answer = await alice.next()
        if answer["type"] == "ERROR" and answer["payload"]["details"]["reason"] == "rate":
            return number
        if answer["type"] != "MESSAGE_ACK":
            raise Failure(f"MESSAGE_ACK accepted is expected, and this comes: {show(answer)}")
        await bob.acknowledge(await bob.take("MESSAGE"))
        if number % _TAKEN_AT_ONCE == 0:
            await bob.ping()
    return most


@allowance.case("ALLOWANCE to one without the feature `allowance`.", section="Rules and rates")
async def clients_without_the_feature_send_an_unknown_type(stage: Stage) -> None:
    await _knowing(stage)
    alice = await stage.user()
    await alice.send("ALLOWANCE", {"senderId": Identity().id}, id="unknown")
    await alice.refused("type", id="unknown")


@allowance.case("The client's own id is 1001 `field`")
async def own_id_is_refused(stage: Stage) -> None:
    alice = await _knowing(stage)
    await alice.send("ALLOWANCE", {"senderId": alice.id}, id="own")
    await alice.refused("field", id="own", field="payload.senderId")


@allowance.case("Nobody can give one for somebody else's mailbox, for it is that of the session.")
async def client_names_no_recipient(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await _knowing(stage)
    await bob.send("ALLOWANCE", {"senderId": alice.id, "recipientId": Identity().id}, id="other")
    await bob.refused("field", id="other", field="payload.recipientId")
    await alice.hears_nothing("ALLOWANCE")


@allowance.case("is the same whether or not the sender is connected, or exists.")
async def answer_tells_nothing_of_the_sender(stage: Stage) -> None:
    there, bob, carol = await _knowing(stage), await _knowing(stage), await _knowing(stage)
    answers = [await _allowed(bob, there.id), await _allowed(carol, Identity().id)]
    if len({answer["messages"] for answer in answers}) > 1:
        raise Failure(f"the answers differ: {show(answers[0])} and {show(answers[1])}")


@allowance.case("do not count as MESSAGE")
async def so_many_more_are_let_through_and_no_more(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await _knowing(stage)
    await _allowed(bob, alice.id)
    if (found := await _let_through(alice, bob, _ALLOWED + _RATE + 1)) != _ALLOWED + _RATE:
        raise Failure(f"{_ALLOWED + _RATE} messages are to be let through, and {found} are")


@allowance.case("of the sender to this recipient")
async def messages_to_others_count_as_ever(stage: Stage) -> None:
    alice, bob, carol = await _knowing(stage), await _knowing(stage), await stage.user()
    await _allowed(bob, alice.id)
    if (found := await _let_through(alice, carol, _RATE + 1)) != _RATE:
        raise Failure(f"{_RATE} messages to another user are to be let through, and {found} are")
    if await _let_through(alice, bob, 1) != 1:
        raise Failure("a message to the one who allows it is refused")


@allowance.case("is told, once on each connection.")
async def sender_is_told_once_on_each_connection(stage: Stage) -> None:
    alice, bob = await _knowing(stage), await _knowing(stage)
    left = (await _allowed(bob, alice.id))["messages"]
    await alice.expect("ALLOWANCE", {"recipientId": bob.id, "senderId": None, "messages": left}, id=None)
    await _asked(bob, alice.id)
    await alice.hears_nothing("ALLOWANCE")
    await alice.leave()
    alice = await _knowing(stage, alice.identity)
    await _asked(bob, alice.id)
    await alice.expect("ALLOWANCE", {"recipientId": bob.id, "messages": left}, id=None)


@allowance.case("changes nothing: not what is left, and not how long.")
async def saying_it_again_renews_nothing(stage: Stage) -> None:
    alice, bob, carol = await _knowing(stage), await _knowing(stage), await _knowing(stage)
    first = await _allowed(bob, alice.id)
    await _let_through(alice, bob, 3)
    again = await _asked(bob, alice.id)
    if again["messages"] != first["messages"] - 3 or again["expiresIn"] > first["expiresIn"]:
        raise Failure(f"after three messages of {first['messages']} this is left: {show(again)}")
    if (other := await _asked(bob, carol.id))["messages"]:
        raise Failure(f"a second sender is allowed {other['messages']}")
