"""What was said in groups before a device was linked goes over to it, as what was said between two persons does."""

from random import Random
from typing import Final

import pytest
from client_samples import Device, Town, pass_time
from device_samples import link
from group_people import group_of, said, unread, write
from msgspec import msgpack
from msgspec.structs import replace

from phantom_messenger.client.devices import chunks
from phantom_messenger.client.devices.kinds import MAX_CHUNK_BYTES
from phantom_messenger.client.devices.records import GroupTexts, Texts
from phantom_messenger.client.groups import handed_over, naming
from phantom_messenger.client.groups.past import GroupPast
from phantom_messenger.client.groups.records import GroupHeldRecord, GroupPastRecord, GroupTextRecord
from phantom_messenger.client.groups.store import written
from phantom_messenger.client.records import GROUP_PAST, GROUP_PAST_PAGE, IntValue
from phantom_messenger.client.status import GroupMessageEvent, LinkingEvent, LinkingStep
from phantom_messenger.crypto.errors import InvalidMessage
from support.amounts import amount

People = tuple[Device, Device, Device, Device]
"""Alice's phone and laptop, Bob and Carol, who are in a group of Bob's with Alice; the laptop is not linked yet."""

SINCE: Final = "said after it was linked"
DAY: Final = 86_400_000


@pytest.fixture
def people(town: Town) -> People:
    bob, alice, carol = (town.device(name).login() for name in ("bob", "alice", "carol"))
    laptop = town.device("laptop", strangers="ask").login()
    for one, other in ((bob, alice), (bob, carol)):
        one.messenger.contacts.add(other.name, other.id)
        other.messenger.contacts.add(one.name, one.id)
    group_of(bob, alice, carol)
    write(bob, "from Bob")
    pass_time(6_000, bob, alice, carol, laptop)
    write(alice, "from Alice")
    pass_time(6_000, bob, alice, carol, laptop)
    write(carol, "from Carol")
    pass_time(6_000, bob, alice, carol, laptop)
    for one in (bob, alice, carol):
        unread(one)
    pass_time(30_000, bob, alice, carol, laptop)
    return alice, laptop, bob, carol


def fill(device: Device, writers: list[str], count: int, *, seed: str = "texts", words: int = 10) -> None:
    """So many texts in the group, as if they had been said: of these writers in turn, '' for the device's own."""
    random, store = Random(seed), device.messenger._stores.groups  # noqa: S311 - so that a run can be repeated
    group, begin = store.named("Tea")[0], device.world.clock.wall
    with device.vault.transaction() as tx:
        for turn in range(count):
            sender = writers[turn % len(writers)]
            store.put_text(tx, group, text_of(turn, sender, random, begin=begin, words=words))


def text_of(turn: int, sender: str, random: Random, *, begin: int = 1, words: int = 10) -> GroupTextRecord:
    number = f"{random.getrandbits(128):032x}"
    return GroupTextRecord(
        message_id=f"{number[:8]}-{number[8:12]}-4{number[13:16]}-8{number[17:20]}-{number[20:]}",
        sender=sender,
        text=f"{turn}: " + " ".join(f"{random.getrandbits(24):x}" for _ in range(words)),
        sent_at=begin + turn,
        kept_at=begin + turn,
        read=True,
        state=0 if sender else 3,
    )


def shown(device: Device) -> list[tuple[str, bool, str | None]]:
    """What was said, oldest first: by whom, whether that is oneself, and the text."""
    return [(one.sender.label, one.is_own, one.text) for one in device.messenger.groups.history("Tea")]


def shown_without_labels(device: Device) -> list[tuple[str, bool, str | None]]:
    """The same with ids."""
    return [(one.sender.user_id, one.is_own, one.text) for one in device.messenger.groups.history("Tea")]


def steps(device: Device) -> list[LinkingEvent]:
    return [one for one in device.heard(LinkingEvent) if one.step in {LinkingStep.HISTORY, LinkingStep.COMPLETE}]


def test_new_device_shows_what_was_said_before_in_its_order_and_before_what_is_said_since(people: People) -> None:
    alice, laptop, bob, carol = people
    fill(alice, [bob.id, "", carol.id], 3_000)
    alice.send(bob, "and to Bob alone")
    pass_time(3_000, *people)
    link(alice, laptop, bob, carol)
    write(bob, SINCE)
    pass_time(20_000, *people)
    assert len(shown(laptop)) == 3_004
    assert shown_without_labels(laptop) == shown_without_labels(alice)
    assert [entry.text for entry in laptop.messenger.groups.history("Tea", limit=2)][1] == SINCE
    assert [entry.text for entry in laptop.messenger.groups.history("Tea", search="from carol")] == ["from Carol"]
    assert not any(entry.is_waiting for entry in laptop.messenger.groups.history("Tea")[:-1])
    assert unread(laptop) == [SINCE]
    assert not laptop.messenger.handover.is_coming
    assert not alice.messenger.handover.is_going


def test_progress_counts_texts_to_groups(people: People) -> None:
    alice, laptop, bob, carol = people
    fill(alice, [bob.id, ""], 1_000)
    alice.send(bob, "and to Bob alone")
    pass_time(3_000, *people)
    link(alice, laptop, bob, carol)
    pass_time(20_000, *people)
    for device in (alice, laptop):
        told = steps(device)
        assert told[-1].step is LinkingStep.COMPLETE
        assert told[-1].texts == 1_004
    assert steps(laptop)[0].texts + (steps(laptop)[0].left or 0) == 1_004


def test_nobody_hears_of_it(people: People) -> None:
    alice, laptop, bob, carol = people
    fill(alice, [bob.id, "", carol.id], 50)
    link(alice, laptop, bob, carol)
    pass_time(1_000, *people)
    told = len(bob.received)
    pass_time(20_000, *people)
    assert not laptop.heard(GroupMessageEvent)
    assert unread(laptop) == []
    assert not [one for one in bob.received[told:] if one["type"] == "MESSAGE"]


def test_texts_that_expire_stay_where_they_are(people: People) -> None:
    alice, laptop, bob, carol = people
    bob.messenger.groups.set_timer("Tea", DAY)
    pass_time(6_000, *people)
    write(bob, "expires")
    write(alice, "expires too")
    pass_time(6_000, *people)
    assert set(said(alice)[-2:]) == {"expires", "expires too"}
    link(alice, laptop, bob, carol)
    pass_time(20_000, *people)
    assert said(laptop) == ["from Bob", "from Alice", "from Carol"]


def test_without_it_nothing_is_handed_over(people: People) -> None:
    alice, laptop, bob, carol = people
    link(alice, laptop, bob, carol, history=False)
    pass_time(20_000, *people)
    assert said(laptop) == []


# --- members, and groups of then ----------------------------------------------------


def test_who_was_a_member_then_is_called_the_same(people: People) -> None:
    alice, laptop, bob, carol = people
    carol.messenger.groups.call_me("Tea", "Caro")
    pass_time(6_000, *people)
    bob.messenger.groups.remove("Tea", [carol.id])
    pass_time(6_000, *people)
    link(alice, laptop, bob, carol)
    pass_time(20_000, *people)
    assert shown(laptop) == shown(alice)
    assert shown(laptop)[-1][0].startswith("~Caro (")
    # A name that was withdrawn here does not come back by it.
    group = laptop.messenger._stores.groups.named("Tea")[0]
    withdrawn = group.with_record(names={carol.id: ""})
    assert naming.handed_over(withdrawn, {carol.id: "Caro"}, alice.id) is withdrawn
    # Nor is one's own person called anything, or somebody who is none.
    assert naming.handed_over(group, {alice.id: "Me", "x": "Nobody"}, alice.id) is group


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("how", ["left", "removed", "closed"])
def test_group_that_one_is_in_no_more_shows_with_what_was_said_in_it(people: People, how: str, history: bool) -> None:
    alice, laptop, bob, carol = people
    groups = bob.messenger.groups
    {
        "left": lambda: alice.messenger.groups.leave("Tea"),
        "removed": lambda: groups.remove("Tea", [alice.id]),
        "closed": lambda: groups.close("Tea"),
    }[how]()
    pass_time(6_000, *people)
    link(alice, laptop, bob, carol, history=history)
    pass_time(20_000, *people)
    known = laptop.messenger._stores.groups.named("Tea")
    if not history:
        assert known == []
        return
    assert laptop.messenger.groups.find("Tea").relation == how
    assert shown_without_labels(laptop) == shown_without_labels(alice)
    laptop.messenger.groups.forget("Tea")
    assert not laptop.vault.has_kind(GROUP_PAST_PAGE)
    assert not laptop.vault.has_kind(GROUP_PAST)


def test_nothing_goes_over_of_a_group_to_which_one_is_only_invited(people: People) -> None:
    alice, laptop, bob, carol = people
    bob.messenger.groups.create("Cake", [alice.id])
    pass_time(6_000, *people)
    write(bob, "before she accepts", group="Cake")
    pass_time(6_000, *people)
    link(alice, laptop, bob, carol)
    pass_time(20_000, *people)
    assert laptop.messenger._stores.groups.named("Cake") == []
    pages = [page for _, page in laptop.vault.all(GROUP_PAST_PAGE, GroupPastRecord)]
    assert "before she accepts" not in [text.text for page in pages for text in page.texts]


def test_texts_that_come_before_their_group_show_with_it(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, laptop, bob, carol = people
    fill(alice, [bob.id, ""], 100)
    in_step = alice.messenger.linking._in_step
    genuine = in_step._tell_group
    monkeypatch.setattr(in_step, "_tell_group", lambda _: None)  # the relay keeps it back, say
    link(alice, laptop, bob, carol)
    pass_time(20_000, *people)
    assert not laptop.messenger.handover.is_coming
    assert laptop.messenger._stores.groups.named("Tea") == []
    monkeypatch.setattr(in_step, "_tell_group", genuine)
    pass_time(20_000, *people)
    assert shown_without_labels(laptop) == shown_without_labels(alice)
    assert len(shown(laptop)) == 103


@pytest.mark.parametrize("is_kept", [True, False], ids=["", "control: names are not kept"])
@pytest.mark.parametrize("is_in", [True, False], ids=["in the group", "in it no more"])
def test_who_was_a_member_then_is_called_the_same_if_their_group_comes_later(
    people: People, monkeypatch: pytest.MonkeyPatch, is_in: bool, is_kept: bool
) -> None:
    if not is_kept:
        monkeypatch.setattr(GroupPast, "names", lambda *_: {})
    alice, laptop, bob, carol = people
    carol.messenger.groups.call_me("Tea", "Caro")
    pass_time(6_000, *people)
    bob.messenger.groups.remove("Tea", [carol.id])
    pass_time(6_000, *people)
    if not is_in:
        alice.messenger.groups.leave("Tea")
    in_step = alice.messenger.linking._in_step
    genuine = in_step._tell_group
    monkeypatch.setattr(in_step, "_tell_group", lambda _: None)  # the relay keeps it back, say
    link(alice, laptop, bob, carol)
    pass_time(20_000, *people)
    assert laptop.messenger._stores.groups.named("Tea") == []
    monkeypatch.setattr(in_step, "_tell_group", genuine)
    pass_time(20_000, *people)
    assert laptop.messenger.groups.find("Tea").relation == ("member" if is_in else "left")
    assert shown_without_labels(laptop) == shown_without_labels(alice)
    assert (shown(laptop)[-1][0] == shown(alice)[-1][0]) is is_kept
    assert shown(alice)[-1][0].startswith("~Caro (")


# --- each once ------------------------------------------------------------------------


@pytest.mark.parametrize("comes", ["before the history", "after it", "without one"])
def test_text_that_its_writer_sends_as_well_shows_once_and_is_reported(people: People, comes: str) -> None:
    alice, laptop, bob, carol = people
    (number,) = write(bob, "reported under the new list")
    pass_time(1_000, *people)
    assert said(alice)[-1] == "reported under the new list"
    unread(alice)
    there = [carol] if comes == "after it" else [bob, carol]
    if comes == "after it":
        bob.cut()
    link(alice, laptop, *there, history=comes != "without one")  # before the receipt, which is gathered, has left
    pass_time(20_000, alice, laptop, *there)
    assert not laptop.messenger.handover.is_coming
    if comes == "after it":
        assert said(laptop) == said(alice)
        bob.login()
    pass_time(60_000, *people)
    came = [one.message_id for one in laptop.heard(GroupMessageEvent)]
    assert came == ([] if comes == "after it" else [number])
    assert said(laptop) == (said(alice) if comes != "without one" else ["reported under the new list"])
    assert unread(laptop) == ([] if comes == "after it" else ["reported under the new list"])
    assert not bob.messenger._stores.many.count(laptop.id)
    # It is reported as what has come, or its writer would send it again.
    pass_time(30_000, *people)
    told = [one for one in laptop.sent if one["type"] == "MESSAGE_MANY"]
    assert told, "nothing was reported"


def test_text_that_is_here_already_is_left_out(people: People) -> None:
    alice, laptop, bob, carol = people
    link(alice, laptop, bob, carol, history=False)
    write(bob, SINCE)
    pass_time(6_000, *people)
    write(laptop, "from the laptop")
    pass_time(6_000, *people)
    store = laptop.messenger._stores.groups
    (group,) = store.named("Tea")
    here = list(store.texts(group))
    assert len(here) == 2
    other = text_of(1, bob.id, Random("other"))  # noqa: S311
    with laptop.vault.transaction() as tx:
        assert handed_over.take(store, tx, {group.id: GroupTexts(texts=[*here, other])}, alice.id) == 1
    assert said(laptop) == [other.text, SINCE, "from the laptop"]


def test_own_text_that_another_device_sends_as_well_shows_once(people: People) -> None:
    alice, laptop, bob, carol = people
    link(alice, laptop, bob, carol)
    pass_time(20_000, *people)
    before = said(laptop)
    texts = laptop.messenger.groups.arrivals.texts
    store = laptop.messenger._stores.groups
    (group,) = store.named("Tea")
    own = next(one for one in store.past.of(group.id) if not one.sender)
    held = handed_over_again(group.id, alice.id, own.message_id)
    events: list[object] = []
    with laptop.vault.transaction() as tx:
        texts.keep_own(tx, group, held, "again", laptop.messenger._now(), events)  # type: ignore[arg-type]
    assert said(laptop) == before
    assert events == []
    other = replace(held, message_id="0" * 36)
    with laptop.vault.transaction() as tx:
        texts.keep_own(tx, group, other, "again", laptop.messenger._now(), events)  # type: ignore[arg-type]
    assert said(laptop) == [*before, "again"]


def handed_over_again(group: str, sender: str, message_id: str) -> GroupHeldRecord:
    return GroupHeldRecord(group=group, at=1, sender=sender, message_id=message_id, n=1)


@pytest.mark.parametrize("seed", range(amount(1, 40)))
def test_all_of_it_comes_once_whoever_dies(people: People, seed: int) -> None:
    random = Random(f"group history {seed}")  # noqa: S311 - so that a run can be repeated
    alice, laptop, bob, carol = people
    fill(alice, [bob.id, "", carol.id], 6_000)
    link(alice, laptop, bob, carol)
    for _ in range(60):
        for _ in range(random.randrange(4)):
            one = random.choice((alice, laptop))
            one.fetch()
            one.step_up()
            one.step_down()
        if random.random() < 0.3:
            dead = random.choice((alice, laptop))
            dead.kill()
            dead.login()
    pass_time(300_000, *people, step=5_000, reconnect=True)
    assert not laptop.messenger.handover.is_coming
    assert shown_without_labels(laptop) == shown_without_labels(alice)
    assert len(shown(laptop)) == 6_003


@pytest.mark.parametrize("is_coming", [True, False])
def test_group_that_is_erased_while_it_is_handed_over_does_not_come_back(people: People, is_coming: bool) -> None:
    alice, laptop, bob, carol = people
    alice.messenger.groups.leave("Tea")
    pass_time(6_000, *people)
    link(alice, laptop, bob, carol)
    pass_time(20_000, *people)
    store = laptop.messenger._stores.groups
    (group,) = store.named("Tea")
    if is_coming:
        with laptop.vault.transaction() as tx:
            laptop.messenger.handover.begin(tx, b"elsewhere", laptop.messenger._now())
    laptop.messenger.groups.forget("Tea")
    assert not laptop.vault.has_kind(GROUP_PAST_PAGE)
    older = GroupTexts(texts=[text_of(1, bob.id, Random("older"))])  # noqa: S311
    with laptop.vault.transaction() as tx:
        assert handed_over.take(store, tx, {group.id: older}, alice.id) == (0 if is_coming else 1)
    assert laptop.vault.has_kind(GROUP_PAST_PAGE) is not is_coming


# --- chunks ---------------------------------------------------------------------------


def group_text(text: str | None = "x", **changes: object) -> GroupTextRecord:
    fields = {"message_id": "m" * 36, "sender": "", "text": text, "sent_at": 1, "kept_at": 1, "state": 1}
    return GroupTextRecord(**{**fields, **changes})  # type: ignore[arg-type]


def chunk_of(*texts: GroupTextRecord) -> bytes:
    return chunks.pack(Texts(groups={"g": GroupTexts(texts=list(texts))}))


def test_chunk_holds_what_was_packed() -> None:
    texts = Texts(
        groups={"g": GroupTexts(texts=[group_text("one"), group_text("two", sender="s")], names={"s": "Sue"})}
    )
    assert chunks.unpack(chunks.pack(texts)) == texts
    assert len(texts) == 2


@pytest.mark.parametrize(
    "changes", [{"text": None}, {"expires_at": 1}, {"expires_in": 1}, {"state": 99}], ids=lambda one: next(iter(one))
)
def test_chunk_with_a_text_that_does_not_stay_is_refused(changes: dict[str, object]) -> None:
    chunks.unpack(chunk_of(group_text()))
    with pytest.raises(InvalidMessage):
        chunks.unpack(chunk_of(group_text(), group_text(**changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 1),
        ({"sender": "nobody"}, 0),
        ({"sender": "A" * 44}, 0),
        ({"sent_at": -1}, 0),
        ({"kept_at": 253_370_764_800_001}, 0),
    ],
)
def test_what_cannot_be_shown_is_left_out(people: People, changes: dict[str, object], count: int) -> None:
    alice, laptop, bob, carol = people
    link(alice, laptop, bob, carol)
    pass_time(20_000, *people)
    store = laptop.messenger._stores.groups
    group = store.named("Tea")[0].id
    with laptop.vault.transaction() as tx:
        said = {
            "no group": GroupTexts(texts=[group_text()]),
            group: GroupTexts(texts=[replace(group_text(), **changes)]),
        }
        assert handed_over.take(store, tx, said, alice.id) == count
    assert len(laptop.messenger.groups.history("Tea")) == 3 + count


def test_own_text_that_still_waits_on_the_first_device_is_on_its_way(people: People) -> None:
    alice, laptop, bob, carol = people
    link(alice, laptop, bob, carol)
    pass_time(20_000, *people)
    store = laptop.messenger._stores.groups
    group = store.named("Tea")[0].id
    with laptop.vault.transaction() as tx:
        handed_over.take(store, tx, {group: GroupTexts(texts=[group_text(state=0)])}, alice.id)
    state = laptop.messenger.groups.history("Tea")[0].state
    assert state is not None
    assert state == 1


def test_chunks_have_all_texts_and_are_none_too_large(people: People) -> None:
    """Also where many have long names, and what was said can be made much smaller."""
    alice, _, bob, _ = people
    random = Random("writers")  # noqa: S311
    writers = [msg_id(random) for _ in range(199)]
    store = alice.messenger._stores.groups
    (group,) = store.named("Tea")
    with alice.vault.transaction() as tx:
        store.put(tx, group.with_record(names=dict.fromkeys(writers, "\U0001f600" * 64)))
    fill(alice, [*writers, bob.id, ""], 3_000)
    fill(alice, [*writers, ""], 8_000, words=0, seed="short")
    maker = chunks.ChunkMaker(alice.vault, store)
    below, ids = alice.vault.last_position() + 1, []
    while True:
        chunk = maker.chunk(below)
        texts = chunks.unpack(chunk.data)  # refuses one that is too large
        assert len(chunk.data) <= MAX_CHUNK_BYTES
        assert chunk.texts == len(texts)
        ids += [text.message_id for one in texts.groups.values() for text in one.texts]
        for group_texts in texts.groups.values():
            assert set(group_texts.names) == {text.sender for text in group_texts.texts} & set(writers)
        if chunk.below is None:
            break
        below = chunk.below
    assert len(ids) == len(set(ids)) == 11_003
    assert ids == [text.message_id for text in store.texts(group)]


def msg_id(random: Random) -> str:
    return written(random.randbytes(32))


def test_size_of_names_is_no_less_than_they_take() -> None:
    """Or a chunk could inflate to more than its reader takes."""
    name, writer = "\U0001f600" * 64, "A" * 44
    whole = Texts(groups={"g" * 44: GroupTexts(texts=[], names={writer: name})})
    taken = len(msgpack.encode(whole)) - len(msgpack.encode(Texts()))
    group = _Named({writer: name})
    names: set[tuple[str, str]] = set()
    assert handed_over.size_of_names(group, writer, names) >= taken  # type: ignore[arg-type]
    assert handed_over.size_of_names(group, writer, names) == 0  # type: ignore[arg-type]


class _Named:
    """A group, as far as its names are looked at."""

    id = "g" * 44

    def __init__(self, names: dict[str, str]) -> None:
        self.record = self
        self.names = names


def test_count_of_pages_is_below_zero_only_of_what_was_erased(people: People) -> None:
    _, laptop, _, _ = people
    past = laptop.messenger._stores.groups.past
    with laptop.vault.transaction() as tx:
        tx.put(GROUP_PAST, "g", IntValue(-1))
    assert past.is_erased("g")
    assert list(past.of("g")) == []
    assert not past.is_erased("other")
