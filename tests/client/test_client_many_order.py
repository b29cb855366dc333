"""Messages to many that bring a revision: the relay takes one, and who was refused hears it and has sent nothing."""

from collections.abc import Sequence

import pytest
from client_samples import Device, Town, pass_time, settle
from many_copies import older_relay, order, reached, refusing, to_many

from phantom_messenger.client.many.listener import OrderDenied, Ordered, OrderRefused, OrderStale, OrderTaken
from phantom_messenger.client.many.outgoing import Options
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.records import OrderRecord
from phantom_messenger.client.status import DeliveryState, Event
from phantom_messenger.client.vault import Transaction
from phantom_messenger.wire.codes import ErrorCode
from phantom_messenger.wire.orders import digest
from support.people import Frame
from support.simulated import MINUTE, SECOND


class Heard:
    """A part of the client that remembers what it hears."""

    def __init__(self) -> None:
        self.outcomes: list[Ordered] = []
        self.copies: list[tuple[str, DeliveryState]] = []

    def advanced(self, tx: Transaction, message_id: str, peer: str, state: DeliveryState, now: Moment) -> list[Event]:  # noqa: ARG002 - as every listener
        self.copies.append((peer, state))
        return []

    def ordered(
        self,
        tx: Transaction,  # noqa: ARG002 - as every listener
        message_id: str,  # noqa: ARG002
        outcome: Ordered,
        peers: Sequence[str],  # noqa: ARG002
        now: Moment,  # noqa: ARG002
    ) -> list[Event]:
        self.outcomes.append(outcome)
        return []


def listening(device: Device) -> Heard:
    heard = Heard()
    device.messenger.many.listen("test", heard)
    return heard


def ordered(record: OrderRecord) -> Options:
    return Options(group=True, order=record, purpose="test")


def test_revision_is_taken_with_the_message(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    heard = listening(alice)
    to_many(alice, [bob, carol], "one", options=ordered(order(1, alice)))
    settle(alice, bob, carol)
    assert heard.outcomes == [OrderTaken()]
    assert heard.copies == [(bob.id, DeliveryState.ACCEPTED), (carol.id, DeliveryState.ACCEPTED)]
    assert bob.read_all() == carol.read_all() == ["one"]
    assert [frame["payload"]["order"]["revision"] for frame in alice.frames_sent("MESSAGE_MANY")] == [1]


def test_of_two_at_once_one_is_stale_and_reaches_nobody(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    first, second = listening(alice), listening(bob)
    to_many(alice, [bob, carol], "of alice", options=ordered(order(1, alice, bob)))
    settle(alice, bob, carol)
    to_many(alice, [carol], "alice again", options=ordered(order(2, alice, bob)))
    to_many(bob, [carol], "bob at once", options=ordered(order(2, alice, bob)))
    settle(alice, bob, carol)
    assert first.outcomes == [OrderTaken(), OrderTaken()]
    refused = [OrderStale(2, digest(order(2, alice).name, alice.id))]
    assert second.outcomes == refused
    assert second.copies == []
    assert carol.read_all() == ["of alice", "alice again"]
    assert (bob.messenger.waiting, bob.troubles()) == (0, [])
    pass_time(MINUTE, alice, bob, carol, step=5 * SECOND)
    assert len(bob.frames_sent("MESSAGE_MANY")) == 1, "it was sent again"
    to_many(bob, [carol], "bob after that", options=ordered(order(3, alice, bob)))
    settle(alice, bob, carol)
    assert (second.outcomes, carol.read_all()) == ([*refused, OrderTaken()], ["bob after that"])


def test_who_is_no_writer_is_denied(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    heard = listening(bob)
    to_many(alice, [carol], "one", options=Options(order=order(1, alice)))
    settle(alice, bob, carol)
    to_many(bob, [carol], "two", options=ordered(order(2, bob)))
    settle(alice, bob, carol)
    assert heard.outcomes == [OrderDenied()]
    assert carol.read_all() == ["one"]


@pytest.mark.parametrize("kills", [False, True], ids=["cut", "killed"])
def test_lost_answer_is_asked_for_under_the_same_id(town: Town, kills: bool) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    to_many(alice, [bob, carol], "one", options=ordered(order(1, alice)))
    alice.fetch()
    alice.step_up()
    (alice.kill if kills else alice.cut)()
    heard = listening(alice)
    alice.login()
    settle(alice, bob, carol)
    assert heard.outcomes == [OrderTaken()]
    assert bob.read_all() == carol.read_all() == ["one"]
    first, second = alice.frames_sent("MESSAGE_MANY")
    assert first["payload"]["order"] == second["payload"]["order"]


def test_recipient_who_is_refused_undoes_nothing(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    heard = listening(alice)
    bob.cut()
    alice.tamper = refusing(1, {"recipientId": bob.id, "code": 1003, "reason": "backlog", "retryAfter": 2_000})
    to_many(alice, [bob, carol], "one", options=ordered(order(1, alice)))
    settle(alice, carol)
    assert (heard.outcomes, heard.copies) == ([OrderTaken()], [(carol.id, DeliveryState.ACCEPTED)])
    pass_time(5 * SECOND, alice, carol)
    first, second = (frame["payload"] for frame in alice.frames_sent("MESSAGE_MANY"))
    assert ("order" in first, "order" in second) == (True, False)
    bob.login()
    settle(alice, bob, carol)
    assert bob.read_all() == ["one"]


def test_whoever_is_without_a_session_is_fetched_first(town: Town) -> None:
    alice, *others = town.devices("alice", "bob", "carol", "dave")
    heard = listening(alice)
    to_many(alice, others, "one", options=ordered(order(1, alice)))
    settle(alice, *others)
    (frame,) = alice.frames_sent("MESSAGE_MANY")
    assert len(frame["payload"]["recipients"]) == 3
    assert heard.outcomes == [OrderTaken()]


def test_one_without_keys_is_waited_for_no_longer_than_the_relay_takes_to_say_so(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    nobody = town.device("nobody")
    heard = listening(alice)
    to_many(alice, [nobody, bob, carol], "one", options=ordered(order(1, alice)))
    settle(alice, bob, carol)
    assert heard.outcomes == [OrderTaken()]
    nobody.login()
    pass_time(3 * MINUTE, alice, bob, carol, nobody, step=5 * SECOND)
    assert nobody.read_all() == ["one"]


def test_one_who_is_busy_is_waited_for_a_while(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    alice.tamper = lambda frame: [] if frame["type"] == "MESSAGE_ACK" else [frame]  # no answer about texts
    bob.cut()
    heard = listening(alice)
    alice.send(bob, "a text")
    to_many(alice, [bob, carol], "one", options=ordered(order(1, alice)))
    settle(alice, carol)
    assert not alice.frames_sent("MESSAGE_MANY")
    pass_time(6 * SECOND, alice, carol)
    (frame,) = alice.frames_sent("MESSAGE_MANY")
    assert [part["recipientId"] for part in frame["payload"]["recipients"]] == [carol.id]
    assert heard.outcomes == [OrderTaken()]


def test_older_relay_keeps_no_order(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.cut()
    alice.tamper = older_relay
    alice.login()
    heard = listening(alice)
    to_many(alice, [bob], "one", options=ordered(order(1, alice)))
    settle(alice, bob)
    assert [type(outcome) for outcome in heard.outcomes] == [OrderRefused]
    assert (bob.read_all(), alice.messenger.waiting) == ([], 0)


def test_passing_refusal_of_an_order_is_tried_again(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    heard = listening(alice)
    left = ["rate"]

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] != "MANY_RESULT" or not left:
            return [frame]
        payload = {"code": int(ErrorCode.RATE_LIMITED), "details": {"reason": left.pop()}, "message": "No."}
        return [{**frame, "type": "ERROR", "payload": payload}]

    alice.tamper = tamper
    to_many(alice, [bob], "one", options=ordered(order(1, alice)))
    settle(alice, bob)
    pass_time(10 * SECOND, alice, bob)
    assert (heard.outcomes, bob.read_all()) == ([OrderTaken()], ["one"])


def test_order_that_the_relay_cannot_read_is_refused_for_good(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    heard = listening(alice)
    payload = {"code": int(ErrorCode.INVALID_MESSAGE), "details": {"reason": "field"}, "message": "No."}
    alice.tamper = lambda frame: [
        {**frame, "type": "ERROR", "payload": payload} if frame["type"] == "MANY_RESULT" else frame
    ]
    to_many(alice, [bob], "one", options=ordered(order(1, alice)))
    settle(alice, bob)
    assert heard.outcomes == [OrderRefused("the relay said 'No'")]
    assert alice.messenger.waiting == 0


def test_refused_order_without_a_listener_has_failed_for_each(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    to_many(alice, [carol], "one", options=Options(order=order(1, alice)))
    settle(alice, bob, carol)
    (number,) = to_many(bob, [alice, carol], "two", options=Options(order=order(2, bob)))
    settle(alice, bob, carol)
    assert reached(bob, number) == {"alice": [DeliveryState.FAILED], "carol": [DeliveryState.FAILED]}


# --- nobody can be written to -----------------------------------------------------------


def alone(device: Device) -> list[bool]:
    """Of each frame to many that was sent, whether it was a revision alone."""
    return [not frame["payload"]["recipients"] for frame in device.frames_sent("MESSAGE_MANY")]


def test_revision_goes_alone_if_the_relay_knows_nobody_of_them(town: Town) -> None:
    alice, bob, nobody = *town.friends("alice", "bob"), town.device("nobody")
    heard = listening(alice)
    to_many(alice, [nobody], "one", options=ordered(order(1, alice)))
    settle(alice, bob)
    assert (heard.outcomes, alone(alice)) == ([OrderTaken()], [True])
    to_many(alice, [nobody, bob], "two", options=ordered(order(2, alice)))
    settle(alice, bob)
    assert (heard.outcomes, bob.read_all()) == ([OrderTaken(), OrderTaken()], ["two"])
    nobody.login()
    pass_time(3 * MINUTE, alice, bob, nobody, step=5 * SECOND)
    assert nobody.read_all() == ["one", "two"]
    assert not any("order" in frame["payload"] for frame in alice.frames_sent("MESSAGE_MANY")[2:])


def test_revision_does_not_wait_behind_what_waits_for_an_account_that_is_gone(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    heard = listening(alice)
    assert bob.messenger.delete_account()
    settle(bob)
    to_many(alice, [bob], "a text")
    settle(alice)
    assert alice.messenger.waiting == 1
    to_many(alice, [bob], "one", options=ordered(order(1, alice)))
    settle(alice)
    assert (heard.outcomes, alone(alice)) == ([OrderTaken()], [False, True])


def test_one_who_may_be_reached_soon_is_waited_for_a_while(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    heard = listening(alice)
    refused = {"recipientId": bob.id, "code": 1003, "reason": "backlog", "retryAfter": 60_000}
    alice.tamper = refusing(1, refused)
    to_many(alice, [bob], "a text")
    settle(alice)
    to_many(alice, [bob], "one", options=ordered(order(1, alice)))
    settle(alice)
    pass_time(4 * SECOND, alice)
    assert (heard.outcomes, alone(alice)) == ([], [False])
    pass_time(2 * SECOND, alice)
    assert (heard.outcomes, alone(alice)) == ([OrderTaken()], [False, True])
    pass_time(2 * MINUTE, alice, bob, step=5 * SECOND)
    assert bob.read_all() == ["a text", "one"]


def test_revision_alone_is_sent_again_when_the_relay_has_time(town: Town) -> None:
    alice, nobody = town.device("alice"), town.device("nobody")
    alice.login()
    heard = listening(alice)
    left = ["rate"]

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] != "MANY_RESULT" or not left:
            return [frame]
        payload = {"code": int(ErrorCode.RATE_LIMITED), "details": {"reason": left.pop()}, "message": "No."}
        return [{**frame, "type": "ERROR", "payload": payload}]

    alice.tamper = tamper
    to_many(alice, [nobody], "one", options=ordered(order(1, alice)))
    settle(alice)
    assert (heard.outcomes, alone(alice)) == ([], [True])
    pass_time(10 * SECOND, alice)
    assert (heard.outcomes, alone(alice)) == ([OrderTaken()], [True, True])


@pytest.mark.parametrize("kills", [False, True], ids=["cut", "killed"])
def test_lost_answer_to_a_revision_alone_is_asked_for_under_the_same_id(town: Town, kills: bool) -> None:
    alice, nobody = town.device("alice"), town.device("nobody")
    alice.login()
    to_many(alice, [nobody], "one", options=ordered(order(1, alice)))
    for _ in range(20):
        alice.fetch()
        if not alone(alice) and not alice.step_up():
            alice.step_down()
    assert alone(alice) == [True]
    (alice.kill if kills else alice.cut)()
    heard = listening(alice)
    alice.login()
    settle(alice)
    assert (heard.outcomes, alone(alice)) == ([OrderTaken()], [True, True])
