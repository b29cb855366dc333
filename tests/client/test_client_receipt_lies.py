"""What senders are told of their texts is the recipients' word alone: not another peer's, and not the relay's."""

from collections.abc import Callable, Iterator

import pytest
from client_samples import Device, Town, claim, pass_time, settle, with_field
from device_samples import two_of_alice
from receipt_samples import UNKNOWN, receipt_batches, repeat, states, tell, told

from phantom_messenger.client import inbox
from phantom_messenger.client.content import Ends, Receipt
from phantom_messenger.client.content2 import encode
from phantom_messenger.client.conversations import conversation_id
from phantom_messenger.client.link import Link
from phantom_messenger.client.many.outgoing import Options
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.client.recovery import MAX_RESENDS
from phantom_messenger.client.status import DeliveryEvent, DeliveryState, Event
from phantom_messenger.wire import frames
from support.people import Frame, canonical
from support.simulated import HOUR, MINUTE, SECOND

# --- lies of a peer ---------------------------------------------------------------


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
def test_receipt_for_a_text_to_somebody_else_changes_nothing(town: Town, status: str) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    bob.cut()
    (number,) = alice.send(bob, "for Bob alone", burn=True)
    settle(alice, carol)
    tell(carol, alice, number, status)
    pass_time(SECOND, alice, carol)
    assert len(receipt_batches(carol)) == 1
    assert states(alice, number) == [DeliveryState.ACCEPTED]
    assert alice.own_text(number) == "for Bob alone"
    # The control: of its recipient the same is believed.
    bob.login()
    tell(bob, alice, number, status)
    pass_time(SECOND, alice, bob)
    assert states(alice, number)[1:] == [DeliveryState[status.upper()]]


def test_text_to_somebody_else_is_not_sent_again_to_whoever_asks(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    (number,) = alice.send(bob, "for Bob alone")
    settle(alice, bob)
    tell(carol, alice, number, "undecryptable")
    tell(carol, alice, UNKNOWN, "undecryptable")
    pass_time(SECOND, alice, carol)
    assert len(receipt_batches(carol)) == 2
    assert len(alice.frames_sent("MESSAGE")) == 1
    assert alice.troubles() == []
    # The control: to its recipient it is.
    tell(bob, alice, number, "undecryptable")
    pass_time(SECOND, alice, bob)
    assert [frame["payload"]["recipientId"] for frame in alice.frames_sent("MESSAGE")] == [bob.id, bob.id]
    assert alice.troubles() == ["resent"]


@pytest.mark.parametrize("status", ["delivered", "read", "burned", "undecryptable"])
@pytest.mark.parametrize("number", [UNKNOWN, "x" * 36, "\0" * 36])
def test_receipt_for_an_unknown_id_changes_nothing(town: Town, status: str, number: str) -> None:
    alice, bob, known = told(town)
    alice.events.clear()
    alice.sent.clear()
    tell(bob, alice, number, status)
    pass_time(SECOND, alice, bob)
    assert len(receipt_batches(bob)) == 3
    assert alice.events == []
    assert alice.frames_sent("MESSAGE") == []
    assert alice.messenger.state_of(number) is None
    assert alice.messenger.state_of(known) is DeliveryState.READ


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
def test_receipt_for_a_text_of_its_own_sender_changes_nothing(town: Town, status: str) -> None:
    alice, bob, _ = told(town)
    (number,) = bob.send(alice, "of Bob")
    settle(alice, bob)
    alice.events.clear()
    tell(bob, alice, number, status)
    pass_time(SECOND, alice, bob)
    assert alice.events == []
    assert [record.text for record in alice.waiting()] == ["of Bob"]


def test_older_receipt_that_comes_later_changes_nothing(town: Town) -> None:
    alice, bob, number = told(town)
    tell(bob, alice, number, "delivered")
    pass_time(SECOND, alice, bob)
    assert len(receipt_batches(bob)) == 3
    assert states(alice, number)[2:] == [DeliveryState.READ]
    assert alice.messenger.state_of(number) is DeliveryState.READ


# --- lies of the relay ------------------------------------------------------------


def acknowledgement(number: str, recipient: Device, status: str) -> Frame:
    payload = {"messageId": number, "recipientId": recipient.id, "status": status, "timestamp": 1}
    return {"type": "MESSAGE_ACK", "payload": payload, "timestamp": 1}


def believing(receiving: Receiving, _: Link, frame: frames.Receipt, now: Moment) -> Iterator[Event]:
    """What was done with the relay's word before receipts were encrypted."""
    sent = receiving._stores.outbox.sent(frame.payload.message_id, frame.payload.recipient_id)
    if sent is not None:
        with receiving._stores.vault.transaction() as tx:
            yield from receiving._advance(tx, sent, DeliveryState[frame.payload.status.name], now)


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
@pytest.mark.parametrize("online", [False, True])
def test_relay_cannot_forge_what_a_recipient_did(
    town: Town, monkeypatch: pytest.MonkeyPatch, status: str, online: bool
) -> None:
    alice, bob = town.friends("alice", "bob")
    if not online:
        bob.cut()
    (number,) = alice.send(bob, "hello", burn=True)
    settle(alice)
    forged = acknowledgement(number, bob, status)
    repeat(alice, forged)
    pass_time(MINUTE, alice)
    assert states(alice, number) == [DeliveryState.ACCEPTED]
    assert alice.own_text(number) == "hello"
    # The control: the same frame would have been believed under the old rule.
    monkeypatch.setattr(Receiving, "_relay_receipt", believing)
    repeat(alice, forged)
    assert states(alice, number)[1:] == [DeliveryState[status.upper()]]


@pytest.mark.parametrize("burn", [False, True])
def test_what_the_recipient_told_the_relay_is_not_shown_while_it_keeps_the_receipts(town: Town, burn: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    kept: list[Frame] = []

    def keep(frame: Frame) -> list[Frame]:
        if frame["type"] != "MESSAGE":
            return [frame]
        kept.append(frame)
        return []

    last = DeliveryState.BURNED if burn else DeliveryState.READ
    alice.tamper = keep
    (number,) = alice.send(bob, "hello", burn=burn)
    settle(alice, bob)
    bob.read_all()
    pass_time(MINUTE, alice, bob)
    of_relay = [frame["payload"]["status"] for frame in alice.received if frame["type"] == "MESSAGE_ACK"]
    assert of_relay == ["accepted", "delivered", str(last)], "as the protocol demands"
    assert states(alice, number) == [DeliveryState.ACCEPTED]
    alice.tamper = None
    repeat(alice, *kept)
    assert states(alice, number) == [DeliveryState.ACCEPTED, last]


def test_relay_cannot_expire_a_text_that_does_not_expire(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.cut()
    for_ever, for_a_while = alice.send(bob, "for ever")[0], alice.send(bob, "for a while", expires_in=MINUTE)[0]
    settle(alice)
    repeat(alice, *[acknowledgement(number, bob, "expired") for number in (for_ever, for_a_while)])
    assert states(alice, for_ever) == [DeliveryState.ACCEPTED]
    assert alice.own_text(for_ever) == "for ever"
    # The control: what does expire has expired if the relay says so.
    assert states(alice, for_a_while) == [DeliveryState.ACCEPTED, DeliveryState.EXPIRED]


def test_recipient_knows_better_than_a_relay_that_calls_a_text_expired(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "for a while", expires_in=HOUR)
    settle(alice, bob)
    repeat(alice, acknowledgement(number, bob, "expired"))
    assert alice.messenger.state_of(number) is DeliveryState.EXPIRED
    bob.read_all()
    pass_time(SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.READ
    repeat(alice, acknowledgement(number, bob, "expired"))
    assert alice.messenger.state_of(number) is DeliveryState.READ


def of_bob(alice: Device) -> list[Frame]:
    """The receipts that have come to Alice, as the relay delivered them."""
    return [frame for frame in alice.received if frame["type"] == "MESSAGE"]


@pytest.mark.parametrize("dies", [False, True])
def test_receipt_that_the_relay_repeats_changes_nothing(town: Town, dies: bool) -> None:
    alice, bob, number = told(town)
    repeated = of_bob(alice)
    assert len(repeated) == 2
    if dies:
        alice.kill()
        alice.login()
    alice.events.clear()
    alice.sent.clear()
    repeat(alice, *repeated, *reversed(repeated), *[{**frame, "seq": frame["seq"] + 50} for frame in repeated])
    pass_time(MINUTE, alice, bob)
    assert alice.events == []
    assert alice.frames_sent("MESSAGE") == []
    assert alice.messenger.state_of(number) is DeliveryState.READ


CHANGES: dict[str, Callable[[Frame], Frame]] = {
    "another id": lambda frame: with_field(frame, messageId=UNKNOWN),
    "another conversation": lambda frame: with_field(frame, conversationId="another"),
    "another time": lambda frame: {**frame, "timestamp": frame["timestamp"] + 1},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("first", [False, True])
def test_receipt_in_another_envelope_is_not_believed(town: Town, change: Callable[[Frame], Frame], first: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "one")
    settle(alice, bob)
    alice.tamper = lambda frame: [
        *([change(frame)] if frame["type"] == "MESSAGE" and first else []),
        *([] if frame["type"] == "MESSAGE" and first else [frame]),
        *([change(frame)] if frame["type"] == "MESSAGE" and not first else []),
    ]
    bob.read_all()
    pass_time(SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.ACCEPTED if first else DeliveryState.READ}
    assert len(alice.heard(DeliveryEvent)) == (1 if first else 2)


def test_receipt_is_not_believed_from_somebody_to_whom_the_relay_gives_it(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    for other in (bob, carol):
        alice.send(other, "hello")
    settle(alice, bob, carol)
    bob.read_all()
    alice.tamper = lambda frame: [with_field(frame, senderId=carol.id)] if frame["type"] == "MESSAGE" else [frame]
    pass_time(SECOND, bob, alice)
    for event in alice.heard(DeliveryEvent):
        assert event.state is DeliveryState.ACCEPTED


def test_question_that_the_relay_repeats_is_answered_once(town: Town) -> None:
    alice, bob, number = told(town)
    alice.received.clear()
    tell(bob, alice, number, "undecryptable")
    pass_time(SECOND, alice, bob)
    assert alice.troubles() == ["resent"]
    sent = len(alice.frames_sent("MESSAGE"))
    for _ in range(5):
        repeat(alice, *of_bob(alice)[:1])
        pass_time(SECOND, alice, bob)
    assert alice.troubles() == ["resent"]
    assert len(alice.frames_sent("MESSAGE")) == sent == 2


def test_receipts_that_their_reader_never_understands_are_sent_again_three_times(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "hello")
    settle(alice, bob)
    bob.tamper = lambda frame: [] if frame.get("payload", {}).get("status") == "delivered" else [frame]
    bob.read_all()
    pass_time(SECOND, alice, bob)
    number = receipt_batches(bob)[-1]["payload"]["messageId"]
    for _ in range(6):
        tell(alice, bob, number, "undecryptable")
        pass_time(5 * SECOND, alice, bob)
    copies = [frame for frame in receipt_batches(bob) if frame["payload"]["messageId"] == number]
    assert len(copies) == 1 + MAX_RESENDS


# --- texts that come again --------------------------------------------------------


def replayed(town: Town, times: int) -> int:
    """How many receipts a relay gets out of somebody by delivering one text again, once a second."""
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "hello")
    settle(alice, bob)
    pass_time(5 * SECOND, alice, bob)
    (frame,) = [frame for frame in bob.received if frame["type"] == "MESSAGE"]
    bob.sent.clear()
    for _ in range(times):
        bob.down.append(canonical(frame))
        pass_time(SECOND, alice, bob)
    return len(bob.frames_sent("MESSAGE"))


def test_text_that_comes_again_is_answered_once_a_minute(town: Town) -> None:
    assert 1 <= replayed(town, 200) <= 5


def test_control_without_the_bound_it_costs_many_messages(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "ACKNOWLEDGE_AGAIN_MS", 0)
    assert replayed(town, 200) > 20


def test_what_was_told_again_is_remembered_for_a_bounded_number_of_texts(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MAX_ACKNOWLEDGED_AGAIN", 3)
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, *(f"text {number}" for number in range(10)))
    bob.tamper = lambda frame: [frame, frame]
    settle(alice, bob)
    assert len(bob.messenger._stores.inbox._acknowledged_again) == 3


# --- what a recipient says of a text that was never to burn ---


def say_burned(liar: Device, to: list[Device], message_id: str) -> None:
    """Tell all devices of somebody that a text of theirs was burned."""
    messenger = liar.messenger
    own = messenger._identity.peer
    said = encode(Receipt(sent_at=1, burned=[message_id]), Ends(own.user_id, own.public, b"", b""))
    conversation = conversation_id(liar.id, to[0].id)
    messenger.desk._outgoing.send([one.id for one in to], said, Options(), conversation_id=conversation)


@pytest.mark.parametrize("burn", [False, True])
def test_only_what_was_to_burn_is_erased_because_its_recipient_says_that_it_burned(town: Town, burn: bool) -> None:
    alice, laptop, bob = two_of_alice(town)
    (number,) = alice.send(bob, "my address", burn=burn)
    pass_time(3 * SECOND, alice, laptop, bob)
    say_burned(bob, [alice, laptop], number)
    pass_time(3 * SECOND, alice, laptop, bob)
    kept = None if burn else "my address"  # as a control it goes, if it was to burn
    for device in (alice, laptop):
        (entry,) = [one for one in device.messenger.history(bob.id) if one.message_id == number]
        assert (entry.text, entry.state) == (kept, DeliveryState.BURNED if burn else DeliveryState.READ)


def test_text_to_somebody_whose_id_certifies_no_key_is_read_though_its_sender_has_two_devices(town: Town) -> None:
    alice, laptop, _ = two_of_alice(town)
    mal = claim(town.device("mal")).login()
    mal.messenger.contacts.add("alice", alice.id)
    alice.messenger.contacts.add("mal", mal.id, claimed=True)
    alice.send(mal, "answer")
    pass_time(30 * SECOND, alice, laptop, mal)
    assert mal.read_all() == ["answer"]
    assert laptop.troubles() == []
