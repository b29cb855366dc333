"""What the relay is told of users who are kept away, step by step, on a line without a relay."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_samples import fast_folder
from msgspec import UNSET
from sending_desk import RATE, Desk, Refusal, codes

from phantom_messenger.client import records
from phantom_messenger.client.blocking import Blocking
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode
from phantom_messenger.wire.limits import RateClass

AGAIN_MS = 60_000


class Doorkeeper(Desk):
    """Alice, who keeps people away."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.blocking = Blocking(self.stores, self.sending)

    def asks(self, now: int = 0) -> list[tuple[str, bool]]:
        """What the relay is asked for now."""
        before = len(self.line.sent)
        self.blocking.tick(self.line, now)
        found = self.line.sent[before:]
        assert all(frame == frames.Block(payload=frame.payload, timestamp=0) for frame in found)
        return [(frame.payload.user_id, frame.payload.blocked) for frame in found]

    def done(self, request: Any, peer: str, *, blocked: bool, now: int = 0) -> None:
        payload = frames.BlockPayload(user_id=peer, blocked=blocked)
        self.blocking.done(frames.BlockDone(payload=payload, timestamp=0, id=request), now)

    def refused(self, request: Any, code: int, reason: str = "", *, retry_after: Any = UNSET, now: int = 0) -> Any:
        payload = frames.ErrorPayload(
            code=code, message="x", details={"reason": reason} if reason else UNSET, retry_after=retry_after
        )
        return self.blocking.refused(frames.Error(payload=payload, timestamp=0, id=request), now)

    def is_held(self) -> bool:
        return not self.sending._pacing.may_reach(self.bob.id, 10**9)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Doorkeeper]:
    with fast_folder(tmp_path) as folder:
        made = Doorkeeper(folder)
        yield made
        made.close()


def test_block_is_asked_for_once_a_connection_until_it_is_confirmed(keeper: Doorkeeper) -> None:
    bob = keeper.bob.id
    assert (len(keeper.blocking), keeper.asks()) == (0, [])
    keeper.blocking.block(bob)
    assert [len(keeper.blocking), keeper.is_held()] == [1, True]
    assert [keeper.asks(), keeper.asks()] == [[(bob, True)], []]
    keeper.blocking.connected()
    assert keeper.asks() == [(bob, True)]
    assert len(Blocking(keeper.stores, keeper.sending)) == 1
    for request in (UNSET, "unknown", "1"):
        keeper.done(request, bob, blocked=True)
    assert len(keeper.blocking) == 1, "that was no answer to what was asked on this connection"
    keeper.done("2", bob, blocked=True)
    assert (len(keeper.blocking), keeper.is_held(), keeper.asks()) == (0, False, [])
    assert len(Blocking(keeper.stores, keeper.sending)) == 0
    keeper.blocking.unblock(bob)
    assert keeper.asks() == [(bob, False)]


def test_nothing_waits_of_or_for_somebody_who_is_blocked(keeper: Doorkeeper) -> None:
    stores, bob = keeper.stores, keeper.bob.id
    keeper.change(accepted=False, greeted=False)
    assert stores.requests.receive(keeper.bob.write(keeper.alice, "hello"), 0, 0)
    keeper.write("1")
    keeper.receive("2")
    keeper.sending.exchanges.renew(bob)
    with keeper.vault.transaction() as tx:
        stores.recovery.note(tx, bob, "3", 0, recoverable=True)
        stores.acks.put(tx, bob, "4", "read")
        for sender in (bob, "carol"):
            tx.put(records.INBOX, records.key(sender, "5"), records.InboxRecord(message_id="5", sender=sender))
    keeper.blocking.block(bob)
    assert stores.requests.senders() == stores.recovery.senders() == stores.receipts.senders() == []
    assert (stores.outbox.texts(), len(stores.acks), keeper.sending.exchanges.to_renew()) == (0, 0, [])
    kept = [marker.sender for _, marker in keeper.vault.all(records.INBOX, records.InboxRecord)]
    assert "carol" in kept
    assert bob not in kept
    sent = keeper.vault.get(records.SENT, "1", records.SentRecord)
    assert sent is not None
    assert sent.state == DeliveryState.FAILED


def test_removed_user_is_blocked_at_the_relay_and_then_let_go(keeper: Doorkeeper) -> None:
    bob = keeper.bob.id
    keeper.receive("9")
    keeper.blocking.remove(bob, history=False)
    assert keeper.stores.receipts.senders() == []
    assert not keeper.stores.conversations.has_session(bob)
    assert keeper.asks() == [(bob, True)]
    keeper.done("1", bob, blocked=True)
    assert keeper.asks() == [(bob, False)]
    assert len(keeper.blocking) == 1
    keeper.done("2", bob, blocked=False)
    assert (len(keeper.blocking), keeper.asks()) == (0, [])
    keeper.blocking.block(bob)
    keeper.done("3", bob, blocked=True)
    keeper.asks()
    keeper.done("3", bob, blocked=True)
    keeper.blocking.remove(bob, history=False)
    assert keeper.asks() == [], "who is blocked stays so"


def test_answer_that_is_not_what_was_asked_is_put_off_and_nothing_waits_for_it(keeper: Doorkeeper) -> None:
    bob = keeper.bob.id
    keeper.blocking.block(bob)
    assert keeper.asks(100) == [(bob, True)]
    keeper.done("1", bob, blocked=False, now=100)
    assert not keeper.is_held()
    assert [keeper.blocking.waits(now) for now in (100, 99 + AGAIN_MS, 100 + AGAIN_MS)] == [[AGAIN_MS], [1], []]
    assert [keeper.asks(99 + AGAIN_MS), keeper.asks(100 + AGAIN_MS)] == [[], [(bob, True)]]
    keeper.blocking.connected()
    assert keeper.is_held()
    assert keeper.asks(101) == [(bob, True)]


REFUSALS = {
    "full list": Refusal(RATE, "backlog", UNSET, ["block"], AGAIN_MS),
    "rate": Refusal(RATE, "rate", 5_000, [], 5_000),
    "rate, a moment": Refusal(RATE, "rate", 0, [], 1_000),
    "something else": Refusal(ErrorCode.INTERNAL_ERROR, "backlog", UNSET, [], AGAIN_MS),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_refused_block_is_asked_for_again_in_time(keeper: Doorkeeper, refusal: Refusal) -> None:
    keeper.blocking.block(keeper.bob.id)
    assert len(keeper.asks(100)) == 1
    for request in (UNSET, "unknown"):
        assert keeper.refused(request, refusal.code, refusal.reason) is None
    found = keeper.refused("1", refusal.code, refusal.reason, retry_after=refusal.retry_after, now=100)
    assert codes(found) == refusal.told
    assert keeper.refused("1", refusal.code, refusal.reason) is None, "it was answered"
    assert keeper.blocking.waits(100) == [refusal.wait]
    assert not keeper.is_held()
    assert [len(keeper.asks(now + refusal.wait)) for now in (99, 100)] == [0, 1]


def test_limit_of_blocks_is_kept_and_the_move_to_another_relay_tells_it_anew(keeper: Doorkeeper) -> None:
    bob, carol = keeper.bob.id, keeper.add("carol")
    keeper.line.limits[RateClass.BLOCK] = 1
    keeper.blocking.block(bob)
    keeper.blocking.block(carol)
    assert [keeper.asks(0), keeper.asks(60_999), keeper.asks(61_000)] == [[(bob, True)], [], [(carol, True)]]
    keeper.done("1", bob, blocked=True)
    keeper.done("2", carol, blocked=True)
    with keeper.vault.transaction() as tx:
        keeper.blocking.moved(tx)
    keeper.line.limits.clear()
    assert keeper.asks(200_000) == [(bob, True), (carol, True)]
    assert len(list(keeper.vault.all(records.BLOCK, records.BlockRecord))) == 2
