"""What was said before a device was linked goes over to it: all of it, once, whoever dies, and to nobody else."""

import zlib
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import pytest
from client_samples import KEY, WORDS, Device, Town, pass_time
from device_samples import link, two_of_alice

from phantom_messenger.client import records
from phantom_messenger.client.backup import export_profile, import_profile
from phantom_messenger.client.devices import chunks
from phantom_messenger.client.devices.kinds import MAX_CHUNK_BYTES, History, HistoryAsk
from phantom_messenger.client.devices.records import PAST_ERASED, HistoryInRecord, Texts
from phantom_messenger.client.records import ReceivedRecord, SentRecord
from phantom_messenger.client.status import LinkingEvent, LinkingStep
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto.errors import InvalidMessage
from phantom_messenger.relay import allowances
from support.amounts import amount

Pair = tuple[Device, Device, Device]
LATER: Final = "said after it was linked"


def before_linking(town: Town) -> Pair:
    """Alice and Bob, who know each other, and a device that is to be Alice's."""
    alice, bob = town.device("alice").login(), town.device("bob").login()
    laptop = town.device("laptop", strangers="ask").login()
    alice.messenger.contacts.add("bob", bob.id)
    bob.messenger.contacts.add("alice", alice.id)
    alice.send(bob, "hello")
    pass_time(2_000, alice, laptop, bob)
    bob.send(alice, "hello yourself")  # at another time: what is handed over stands in the order of times
    pass_time(2_000, alice, laptop, bob)
    alice.read_all()
    bob.read_all()
    return alice, laptop, bob


def fill(device: Device, peer: Device, count: int, *, seed: str = "texts") -> list[str]:
    """So many texts with somebody, as if they had been exchanged; their texts, oldest first."""
    random, texts = Random(seed), []  # noqa: S311 - so that a run can be repeated
    begin = device.world.clock.wall
    with device.vault.transaction() as tx:
        for turn in range(count):
            number = f"{random.getrandbits(128):032x}"
            message_id = f"{number[:8]}-{number[8:12]}-4{number[13:16]}-8{number[17:20]}-{number[20:]}"
            said = f"{turn}: " + " ".join(f"{random.getrandbits(24):x}" for _ in range(10))
            texts.append(said)
            if turn % 2:
                sent = SentRecord(
                    message_id=message_id,
                    peer=peer.id,
                    text=said,
                    made_at=begin + turn,
                    burn=False,
                    state=3,
                    key=b"k" * 32,
                )
                tx.put(records.SENT, message_id, sent)
            else:
                received = ReceivedRecord(
                    message_id=message_id,
                    sender=peer.id,
                    text=said,
                    sent_at=begin + turn,
                    received_at=begin + turn,
                    burn=False,
                    expires_at=None,
                    read=True,
                )
                tx.put(records.RECEIVED, records.key(peer.id, message_id), received)
    return texts


def said(device: Device, peer: Device) -> list[str | None]:
    return [one.text for one in device.messenger.history(peer.id)]


def steps(device: Device) -> list[LinkingStep]:
    return [one.step for one in device.heard(LinkingEvent)]


def test_new_device_shows_what_was_said_before_in_the_same_order(town: Town) -> None:
    alice, laptop, bob = before_linking(town)
    fill(alice, bob, 3_000)
    link(alice, laptop, bob)
    bob.send(alice, LATER)
    pass_time(20_000, alice, laptop, bob)
    shown = said(laptop, bob)
    assert shown == said(alice, bob)
    assert len(shown) == 3_003
    assert steps(laptop)[-1] is steps(alice)[-1] is LinkingStep.COMPLETE
    assert not laptop.messenger.handover.is_coming
    assert not alice.messenger.handover.is_going
    assert [one.text for one in laptop.waiting()] == [LATER]


def test_texts_that_go_stay_where_they_are(town: Town) -> None:
    alice, laptop, bob = before_linking(town)
    alice.send(bob, "burns", burn=True)
    alice.send(bob, "expires", expires_in=3_600_000)
    bob.send(alice, "burns too", burn=True)
    bob.send(alice, "expires too", expires_in=3_600_000)
    pass_time(3_000, alice, laptop, bob)
    link(alice, laptop, bob)
    pass_time(10_000, alice, laptop, bob)
    assert said(laptop, bob) == ["hello", "hello yourself"]


def test_nobody_hears_of_it(town: Town) -> None:
    alice, laptop, bob = before_linking(town)
    fill(alice, bob, 50)
    receipts = len(bob.received)
    link(alice, laptop, bob)
    told = len(bob.received)
    pass_time(20_000, alice, laptop, bob)
    assert laptop.waiting() == []
    assert not [one for one in bob.received[told:] if one["type"] == "MESSAGE"]
    assert receipts < told  # the list


def test_without_it_nothing_is_handed_over_and_nothing_answered(town: Town) -> None:
    alice, laptop, bob = before_linking(town)
    fill(alice, bob, 50)
    link(alice, laptop, bob, history=False)
    pass_time(5_000, alice, laptop, bob)
    assert said(laptop, bob) == []
    ask = HistoryAsk(place=chunks.place_of(2**40), chunks=16)
    laptop.messenger.desk.say([alice.id], ask)
    before = len(laptop.received)
    pass_time(5_000, alice, laptop, bob)
    assert said(laptop, bob) == []
    assert max([len(str(one)) for one in laptop.received[before:] if one["type"] == "MESSAGE"], default=0) < 3_000


def test_device_that_has_all_of_it_can_ask_no_more(town: Town) -> None:
    alice, laptop, bob = before_linking(town)
    link(alice, laptop, bob)
    pass_time(10_000, alice, laptop, bob)
    fill(alice, bob, 50)
    laptop.messenger.handover._in = None
    laptop.messenger.desk.say([alice.id], HistoryAsk(place=chunks.place_of(2**40), chunks=16))
    before = len(laptop.received)
    pass_time(5_000, alice, laptop, bob)
    assert max([len(str(one)) for one in laptop.received[before:] if one["type"] == "MESSAGE"], default=0) < 3_000


@pytest.mark.parametrize("is_over", [True, False])
def test_permission_ends_after_thirty_days(town: Town, is_over: bool) -> None:
    alice, laptop, bob = before_linking(town)
    fill(alice, bob, 50)
    link(alice, laptop, bob, history=False)
    now = alice.messenger._now().persistent
    here = alice.messenger.handover.here()
    with alice.vault.transaction() as tx:
        alice.messenger.handover.promise(tx, laptop.id, here)
    known = alice.messenger.handover._out[laptop.id]
    assert known.until == now + 30 * 86_400_000
    if is_over:
        alice.messenger.handover._out[laptop.id] = msgspec.structs.replace(known, until=now - 1)
    with laptop.vault.transaction() as tx:
        laptop.messenger.handover.begin(tx, here, laptop.messenger._now())
    pass_time(5_000, alice, laptop, bob)
    assert not laptop.messenger.handover.is_coming
    assert len(said(laptop, bob)) == (0 if is_over else 52)


@pytest.mark.parametrize("seed", range(amount(1, 40)))
def test_all_of_it_comes_once_whoever_dies(town: Town, seed: int) -> None:
    random = Random(f"history {seed}")  # noqa: S311 - so that a run can be repeated
    alice, laptop, bob = before_linking(town)
    fill(alice, bob, 6_000)
    link(alice, laptop, bob)
    everybody = (alice, laptop)
    for _ in range(60):
        one = random.choice(everybody)
        for _ in range(random.randrange(4)):
            one.fetch()
            one.step_up()
            one.step_down()
        if random.random() < 0.3:
            dead = random.choice(everybody)
            dead.kill()
            dead.login()
    pass_time(300_000, alice, laptop, bob, step=5_000, reconnect=True)
    assert not laptop.messenger.handover.is_coming
    assert said(laptop, bob) == said(alice, bob)


def test_what_the_user_writes_does_not_wait_for_it(limited: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowances, "ALLOWED_MESSAGES", 0)  # or there is nothing to wait for
    alice, laptop, bob = before_linking(limited)
    fill(alice, bob, 60_000)
    link(alice, laptop, bob)
    pass_time(20_000, alice, laptop, bob)
    assert laptop.messenger.handover.is_coming
    alice.send(bob, "meanwhile")
    pass_time(2_000, alice, laptop, bob)
    assert [one.text for one in bob.waiting()] == ["meanwhile"]


def test_file_of_a_linked_device_has_what_was_said_before_too(town: Town, tmp_path: Path) -> None:
    alice, laptop, bob = before_linking(town)
    fill(alice, bob, 500)
    link(alice, laptop, bob)
    pass_time(20_000, alice, laptop, bob)
    shown = said(laptop, bob)
    export_profile(laptop.vault, tmp_path / "file", WORDS)
    import_profile(tmp_path / "file", WORDS, tmp_path / "again.vault", KEY)
    again = Vault(tmp_path / "again.vault", KEY)
    try:
        texts = [one.text for _, one in again.all(records.SENT, SentRecord)]
        texts += [one.text for _, one in again.all(records.RECEIVED, ReceivedRecord)]
    finally:
        again.close()
    assert sorted(map(str, texts)) == sorted(map(str, shown))


def test_erasing_a_conversation_erases_what_was_said_before(town: Town) -> None:
    alice, laptop, bob = before_linking(town)
    fill(alice, bob, 50)
    link(alice, laptop, bob)
    pass_time(20_000, alice, laptop, bob)
    assert said(laptop, bob)
    laptop.messenger.remove(bob.id, True)
    assert said(laptop, bob) == []


def test_text_that_still_waits_on_the_first_device_does_not_wait_for_ever_on_the_new_one(town: Town) -> None:
    alice, laptop, bob = before_linking(town)
    with alice.vault.transaction() as tx:
        tx.put(records.SENT, "waits", sent("waits", peer=bob.id, state=0, message_id=text_id(b"1")))
        tx.put(records.SENT, "read", sent("read", peer=bob.id, message_id=text_id(b"2"), state=3))
    assert [one.state for one in alice.messenger.history(bob.id)][-2:] == [0, 3], "the control: it waits there"
    link(alice, laptop, bob)
    pass_time(20_000, alice, laptop, bob)
    assert [(one.text, one.state) for one in laptop.messenger.history(bob.id) if one.text in {"waits", "read"}] == [
        ("waits", 1),
        ("read", 3),
    ]


@pytest.mark.parametrize("is_erased", [True, False], ids=["erased", "only removed"])
def test_conversation_that_is_erased_while_it_is_handed_over_does_not_come_back(town: Town, is_erased: bool) -> None:
    alice, laptop, bob = before_linking(town)
    carol = town.device("carol").login()
    link(alice, laptop, bob)
    pass_time(20_000, alice, laptop, bob)
    handover, now = laptop.messenger.handover, laptop.messenger._now()
    with laptop.vault.transaction() as tx:
        handover.begin(tx, b"first", now)
    laptop.messenger.remove(bob.id, is_erased)
    kept = said(laptop, bob)
    older = [received("older", bob), received("hers", carol)]
    for place, following in ((b"first", b"second"), (b"second", b"third")):
        chunk = chunks.pack(
            Texts(sent=[sent(f"to him {place!r}", peer=bob.id, message_id=text_id(place))], received=older)
        )
        with laptop.vault.transaction() as tx:
            handover.came(tx, History(place=place, texts=chunk, next=following), now)
        older = []
    assert len(kept) == (0 if is_erased else 2)
    assert len(said(laptop, bob)) == (0 if is_erased else 5)
    assert said(laptop, carol) == ["hers"]
    assert laptop.vault.has_kind(PAST_ERASED) is is_erased
    with laptop.vault.transaction() as tx:
        handover.came(tx, History(place=b"third", texts=chunks.pack(Texts())), now)
    assert not laptop.vault.has_kind(PAST_ERASED)


def text_id(place: bytes) -> str:
    return f"{place.hex():0<36}"


# --- chunks ------------------------------------------------------------------------


def sent(text: str | None = "x", **changes: object) -> SentRecord:
    fields = {"message_id": "m" * 36, "peer": "p", "text": text, "made_at": 1, "burn": False, "state": 1}
    return SentRecord(**{**fields, **changes})  # type: ignore[arg-type]


def received(text: str, by: Device) -> ReceivedRecord:
    fields = {"sent_at": 1, "received_at": 1, "burn": False, "expires_at": None, "read": True}
    return ReceivedRecord(message_id=text_id(text.encode()), sender=by.id, text=text, **fields)  # type: ignore[arg-type]


def test_chunk_holds_what_was_packed() -> None:
    texts = Texts(sent=[sent("one"), sent("two")])
    assert chunks.unpack(chunks.pack(texts)) == texts


@pytest.mark.parametrize(
    "data",
    {
        "nothing": b"",
        "no-zlib": b"\x80",
        "cut": chunks.pack(Texts(sent=[sent()]))[:-1],
        "longer": chunks.pack(Texts(sent=[sent()])) + b"\0",
        "no-map": zlib.compress(b"\x01"),
        "bomb": zlib.compress(bytes(2_000_000)),
        "large": chunks.pack(Texts(sent=[sent("x" * 1_048_577)])),
        "gone": chunks.pack(Texts(sent=[sent(None)])),
        "burns": chunks.pack(Texts(sent=[sent(burn=True)])),
        "expires": chunks.pack(Texts(sent=[sent(expires_in=1)])),
        "expires-then": chunks.pack(Texts(sent=[sent(expires_at=1)])),
        "state": chunks.pack(Texts(sent=[sent(state=99)])),
        "twice": zlib.compress(msgspec.msgpack.encode({}) * 2),
    }.items(),
    ids=lambda item: item[0],
)
def test_chunk_that_is_none_is_refused(data: tuple[str, bytes]) -> None:
    with pytest.raises(InvalidMessage):
        chunks.unpack(data[1])


def test_chunk_that_is_none_ends_it(town: Town) -> None:
    alice, laptop, bob = before_linking(town)
    link(alice, laptop, bob)
    laptop.messenger.handover._set_in(HistoryInRecord(place=b"here", until=2**50, chunks=1))
    alice.messenger.desk.say([laptop.id], History(place=b"here", texts=b"none"))
    pass_time(3_000, alice, laptop, bob)
    assert not laptop.messenger.handover.is_coming
    assert steps(laptop)[-1] is LinkingStep.COMPLETE


@pytest.mark.parametrize(("place", "is_taken"), [(b"there", False), (b"here", True)])
def test_chunk_that_does_not_continue_is_ignored(town: Town, place: bytes, is_taken: bool) -> None:
    alice, laptop, bob = before_linking(town)
    link(alice, laptop, bob)
    laptop.messenger.handover._set_in(HistoryInRecord(place=b"here", until=2**50, chunks=1))
    other = chunks.pack(Texts(sent=[sent("planted", peer=bob.id)]))
    alice.messenger.desk.say([laptop.id], History(place=place, texts=other, next=b"on"))
    pass_time(3_000, alice, laptop, bob)
    assert is_taken or laptop.messenger.handover.is_coming
    assert ("planted" in said(laptop, bob)) is is_taken


def test_chunks_are_as_large_as_may_be_and_no_larger(town: Town) -> None:
    alice, _, bob = before_linking(town)
    fill(alice, bob, 5_000)
    maker = chunks.ChunkMaker(alice.vault, alice.messenger._stores.groups)
    below, sizes, count = alice.vault.last_position() + 1, [], 0
    while True:
        chunk = maker.chunk(below)
        sizes.append(len(chunk.data))
        count += chunk.texts
        if chunk.below is None:
            break
        below = chunk.below
    assert count == 5_002
    assert max(sizes) <= MAX_CHUNK_BYTES
    assert min(sizes[1:-1]) > MAX_CHUNK_BYTES * 95 // 100


def test_other_person_s_history_is_not_taken(town: Town) -> None:
    alice, laptop, bob = two_of_alice(town)
    planted = chunks.pack(Texts(sent=[sent("planted", peer=alice.id)]))
    laptop.messenger.handover._set_in(HistoryInRecord(place=b"here", until=2**50, chunks=1))
    bob.messenger.desk.say([laptop.id], History(place=b"here", texts=planted, next=b"on"))
    pass_time(3_000, alice, laptop, bob)
    assert "planted" not in said(laptop, alice)
    assert laptop.messenger.handover._in is not None
    assert laptop.messenger.handover._in.place == b"here"
