"""One message to many, its order, its groups; prekeys of several users; lists of devices."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from phantom_messenger.relay.commands import (
    ACCOUNT_GONE,
    Accepted,
    AcceptMany,
    AcknowledgeHidden,
    Actor,
    AppendRefusal,
    Block,
    Copy,
    DeleteAccount,
    FetchPreKeys,
    FindWatchers,
    ForgetOrders,
    MessageName,
    Order,
    OrderRefusal,
    PublishPreKeys,
    Unblock,
)
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.records import Bundle, Item, ItemKind, NewItem
from phantom_messenger.wire.frames import Status
from phantom_messenger.wire.limits import MAX_GROUP_BACKLOG, MAX_STRANGER_BACKLOG
from phantom_messenger.wire.orders import digest
from support.store_user import DAY, HOUR, NOW, StoreUser, expire, run
from support.stores import publication

NAME = b"n" * 32
LIST = "bGlzdA=="


def copy(sender: StoreUser, to: StoreUser | str, name: str, content: str = "", *, group: bool, **more: Any) -> Copy:
    item = NewItem(
        kind=ItemKind.MESSAGE,
        sender=sender.id,
        name=name,
        head=f"<{name} {content} ".encode(),
        tail=b">",
        content=content.encode(),
        is_group=group,
        **more,
    )
    return Copy(to if isinstance(to, str) else to.id, item)


def many(
    sender: StoreUser,
    to: Sequence[StoreUser | str],
    name: str,
    content: str = "",
    *,
    group: bool = False,
    order: Order | None = None,
    now: int = NOW,
    **more: Any,
) -> AcceptMany:
    copies = [copy(sender, user, name, content, group=group, **more) for user in to]
    return AcceptMany(actor=sender.actor, copies=copies, conversation_id="c", order=order, now=now)


def accepted(sender: StoreUser, to: Sequence[StoreUser | str], name: str, *more: str, **options: Any) -> list[Any]:
    """For each recipient the item, None if nothing was kept, or why there is none."""
    results = run(sender.store, many(sender, to, name, *more, **options))
    assert not isinstance(results, OrderRefusal)
    return [result.item if isinstance(result, Accepted) else result for result in results]


def first_of(results: Sequence[Accepted | AppendRefusal] | OrderRefusal) -> Accepted:
    """What became of the only copy, which was taken."""
    assert not isinstance(results, OrderRefusal)
    [result] = results
    assert isinstance(result, Accepted)
    return result


def order(revision: int, author: StoreUser, *writers: StoreUser, message: str = "m", name: bytes = NAME) -> Order:
    return Order(
        name=name,
        revision=revision,
        author=digest(name, author.id),
        writers=tuple(digest(name, writer.id) for writer in writers or (author,)),
        last=digest(name, author.id, message, str(revision)),
    )


def refusal(revision: int, author: StoreUser) -> OrderRefusal:
    """That a revision does not follow this one, which somebody has written."""
    return OrderRefusal(revision, digest(NAME, author.id))


def contacts(user: StoreUser) -> list[str]:
    return run(user.store, FindWatchers(actor=user.actor))


# --- copies ---------------------------------------------------------------------------


def test_each_recipient_has_a_copy_in_a_mailbox_of_their_own(
    alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    found = accepted(alice, [bob, carol], "m", "text")
    assert [item.text for item in found] == [b"<m text %d>" % item.seq for item in found]
    assert (bob.mailbox(), carol.mailbox()) == ([found[0]], [found[1]])
    assert all(isinstance(item, Item) and item.kind is ItemKind.MESSAGE for item in found)


def test_one_who_is_refused_does_not_keep_the_others_back(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    carol = StoreUser(store, "carol")
    for number in range(MAX_STRANGER_BACKLOG):
        alice.write(carol, str(number))
    found = accepted(alice, ["nobody", bob, carol], "m")
    assert (found[0], found[2]) == (AppendRefusal.NO_ACCOUNT, AppendRefusal.FULL)
    assert bob.names() == ["m"]


def test_copies_are_duplicates_and_replace_as_messages_do(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    accepted(alice, [bob, carol], "m", "text")
    carol.acknowledge(alice, "m")
    assert accepted(alice, [bob, carol], "m", "text") == [AppendRefusal.DUPLICATE] * 2
    [again, gone] = accepted(alice, [bob, carol], "m", "other")
    assert gone is AppendRefusal.DUPLICATE
    assert bob.mailbox() == [again]
    assert alice.write(bob, "m", "other") is AppendRefusal.DUPLICATE
    assert isinstance(alice.write(bob, "m", "third"), Item)
    assert len(bob.mailbox()) == 1


def test_to_many_and_to_no_group_it_makes_contacts_and_receipts(alice: StoreUser, bob: StoreUser) -> None:
    bob.write(alice, "hello")
    result = first_of(run(alice.store, many(alice, [bob], "m")))
    assert result.became_contacts
    assert contacts(alice) == [bob.id]
    assert [receipt.sender for receipt in bob.acknowledge(alice, "m")] == [alice.id]


def test_who_has_blocked_the_sender_gets_nothing_and_says_nothing(
    alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    run(bob.store, Block(actor=bob.actor, other=alice.id))
    [kept, other] = accepted(alice, [bob, carol], "m", group=True)
    assert kept is None
    assert isinstance(other, Item)
    assert bob.names() == []


def test_frames_of_a_deleted_account_store_nothing(alice: StoreUser, bob: StoreUser) -> None:
    frame = many(alice, [bob], "m", order=order(1, alice))
    run(alice.store, DeleteAccount(actor=alice.actor))
    assert alice.store.run([frame]) == [ACCOUNT_GONE]
    assert bob.names() == []


# --- groups ---------------------------------------------------------------------------


def test_group_makes_no_contacts(alice: StoreUser, bob: StoreUser) -> None:
    accepted(alice, [bob], "1", group=True)
    accepted(bob, [alice], "2", group=True)
    assert contacts(alice) == contacts(bob) == []
    bob.write(alice, "3")
    assert contacts(alice) == []
    alice.write(bob, "4")
    assert contacts(alice) == [bob.id]


def test_group_counts_as_an_answer_until_a_block(alice: StoreUser, bob: StoreUser) -> None:
    def written() -> int:
        return len([name for name in range(150) if isinstance(alice.write(bob, f"{name}"), Item)])

    accepted(bob, [alice], "g", group=True)
    assert written() == 150
    run(bob.store, Block(actor=bob.actor, other=alice.id))
    assert bob.names() == []
    run(bob.store, Unblock(actor=bob.actor, other=alice.id))
    assert sum(isinstance(alice.write(bob, f"again {name}"), Item) for name in range(150)) == MAX_STRANGER_BACKLOG


@pytest.mark.parametrize("status", [Status.DELIVERED, Status.READ, Status.BURNED])
def test_group_leads_to_no_receipts(alice: StoreUser, bob: StoreUser, status: Status) -> None:
    alice.meet(bob)
    accepted(alice, [bob], "m", group=True)
    alice.write(bob, "n")
    assert bob.acknowledge(alice, "m", status=status) == []
    assert len(bob.acknowledge(alice, "n", status=status)) == 1, "the control"
    assert bob.names() == []


def test_group_leads_to_no_hidden_receipt(alice: StoreUser, bob: StoreUser) -> None:
    alice.meet(bob)
    accepted(alice, [bob], "m", group=True)
    alice.write(bob, "n")
    names = [MessageName(alice.id, name) for name in ("m", "n")]
    command = AcknowledgeHidden(actor=bob.actor, messages=names, status=Status.READ, now=NOW, mail_life_ms=DAY)
    assert [name.message_id for name, _ in run(bob.store, command)] == ["n"]
    assert bob.names() == []


def test_group_message_that_expires_is_not_told(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    alice.meet(bob)
    accepted(alice, [bob], "m", group=True, expires_at=NOW + 10)
    accepted(alice, [bob], "n", expires_at=NOW + 10)
    found = expire(store, NOW + 10)
    assert found.deleted == 2
    assert len(found.receipts) == 1
    assert bob.names(now=NOW + 10) == []


def test_300_of_one_sender_to_groups_may_wait(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    for user in (alice, carol):
        user.meet(bob)
    commands = [many(alice, [bob], str(number), group=True) for number in range(MAX_GROUP_BACKLOG)]
    assert all(isinstance(result[0], Accepted) for result in alice.store.run(commands))
    assert accepted(alice, [bob], "more", group=True) == [AppendRefusal.FULL]
    assert accepted(alice, [bob], "7", "again", group=True) != [AppendRefusal.FULL], "it replaces one"
    assert isinstance(alice.write(bob, "alone"), Item)
    assert isinstance(accepted(carol, [bob], "of another", group=True)[0], Item)
    bob.acknowledge(alice, "8")
    assert isinstance(accepted(alice, [bob], "more", group=True)[0], Item)


def test_what_takes_the_place_of_one_to_no_group_counts_among_the_300(alice: StoreUser, bob: StoreUser) -> None:
    alice.meet(bob)
    assert isinstance(alice.write(bob, "alone"), Item)
    commands = [many(alice, [bob], str(number), group=True) for number in range(MAX_GROUP_BACKLOG - 1)]
    alice.store.run(commands)
    assert isinstance(accepted(alice, [bob], "alone", "again", group=True)[0], Item)
    assert accepted(alice, [bob], "more", group=True) == [AppendRefusal.FULL]


# --- order ----------------------------------------------------------------------------


def test_revision_is_stored_with_the_copies_or_nothing_is(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    first = many(alice, [carol], "1", order=order(1, alice, alice, bob, message="1"))
    mine = many(alice, [carol], "2", order=order(2, alice, alice, bob, message="2"))
    others = many(bob, [carol], "3", order=order(2, bob, alice, bob, message="3"))
    results = alice.store.run([first, mine, others])
    assert results[2] == refusal(2, alice)
    assert carol.names() == ["1", "2"]


def test_refusal_names_who_has_written_the_stored_one(alice: StoreUser, bob: StoreUser) -> None:
    run(alice.store, many(alice, [], "1", order=order(1, alice, alice, bob, message="1")))
    assert run(bob.store, many(bob, [], "2", order=order(1, bob, message="2"))) == refusal(1, alice)
    run(bob.store, many(bob, [], "3", order=order(2, bob, alice, bob, message="3")))
    assert run(alice.store, many(alice, [], "4", order=order(2, alice, message="4"))) == refusal(2, bob)
    assert run(alice.store, many(alice, [], "1", order=order(1, alice, alice, bob, message="1"))) == []
    assert run(bob.store, many(bob, [], "5", order=order(2, bob, message="5"))) == refusal(2, bob), "nothing was stored"


def test_only_stored_writers_go_on(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    assert run(alice.store, many(alice, [carol], "0", order=order(7, alice, bob))) == OrderRefusal(None)
    run(alice.store, many(alice, [carol], "1", order=order(7, alice, bob, alice, message="1")))
    assert run(carol.store, many(carol, [bob], "2", order=order(8, carol))) == OrderRefusal(None)
    assert run(bob.store, many(bob, [carol], "3", order=order(7, bob))) == refusal(7, alice)
    assert accepted(bob, [carol], "4", order=order(8, bob))
    assert run(alice.store, many(alice, [carol], "5", order=order(9, alice))) == OrderRefusal(None)
    assert carol.names() == ["1", "4"]


@pytest.mark.parametrize(("revision", "is_taken"), [(4, False), (5, False), (6, True), (1_029, True), (1_030, False)])
def test_revision_is_ahead_by_1_to_1024(alice: StoreUser, bob: StoreUser, revision: int, is_taken: bool) -> None:
    run(alice.store, many(alice, [bob], "1", order=order(5, alice, message="1")))
    found = run(alice.store, many(alice, [bob], "2", order=order(revision, alice, message="2")))
    assert isinstance(found, OrderRefusal) is not is_taken
    if not is_taken:
        assert found == refusal(5, alice)


def test_same_revision_of_the_same_message_is_taken_again(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    run(alice.store, many(alice, [carol], "l", order=order(2, alice, message="l")))
    frame = many(alice, [carol], "m", order=order(3, alice, bob, message="m"))
    assert isinstance(first_of(run(alice.store, frame)), Accepted)
    assert run(alice.store, frame) == [AppendRefusal.DUPLICATE]
    assert run(alice.store, many(alice, [carol], "n", order=order(3, alice, bob, message="n"))) == OrderRefusal(None)


def test_each_of_the_last_16_revisions_is_taken_again_and_changes_nothing(
    alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    """Its answer was lost, and somebody else has written the next one meanwhile."""
    frames = [
        many(writer, [carol], f"{number}", order=order(number, writer, alice, bob, message=f"{number}"))
        for number, writer in enumerate([alice, bob] * 9, 1)
    ]
    for frame in frames:
        run(carol.store, frame)
    for frame in frames[-16:]:
        assert run(carol.store, frame) == [AppendRefusal.DUPLICATE]
    assert [run(carol.store, frame) for frame in frames[:-16]] == [refusal(18, bob)] * 2
    last = many(bob, [carol], "19", order=order(19, bob, bob, message="19"))
    assert isinstance(run(carol.store, last)[0], Accepted)
    assert run(carol.store, frames[-14]) == [AppendRefusal.DUPLICATE], "who is no writer any more, too"
    late = many(alice, [carol], "20", order=order(20, alice, message="20"))
    assert run(carol.store, late) == OrderRefusal(None), "and is none by that"


def test_message_is_taken_again_with_its_own_revision_alone(alice: StoreUser, bob: StoreUser) -> None:
    run(alice.store, many(alice, [bob], "m", order=order(3, alice, message="m")))
    run(alice.store, many(alice, [bob], "n", order=order(4, alice, message="n")))
    assert run(alice.store, many(alice, [bob], "m", order=order(2, alice, message="m"))) == refusal(4, alice)


def test_names_are_apart(alice: StoreUser, bob: StoreUser) -> None:
    run(alice.store, many(alice, [bob], "1", order=order(9, alice, message="1")))
    other = b"o" * 32
    assert accepted(alice, [bob], "2", order=order(1, alice, message="2", name=other))


def test_revision_without_recipients_is_stored(alice: StoreUser) -> None:
    assert run(alice.store, many(alice, [], "1", order=order(4, alice, message="1"))) == []
    assert run(alice.store, many(alice, [], "2", order=order(4, alice, message="2"))) == refusal(4, alice)


def test_orders_are_forgotten_when_nobody_has_changed_them_for_long(store: Store, alice: StoreUser) -> None:
    for number, name in enumerate((b"a" * 32, b"b" * 32)):
        run(store, many(alice, [], "1", order=order(4, alice, message="1", name=name), now=NOW + number * DAY))
    run(store, ForgetOrders(written_before=NOW + DAY))
    assert run(store, many(alice, [], "2", order=order(1, alice, message="2", name=b"a" * 32))) == []
    found = run(store, many(alice, [], "2", order=order(1, alice, message="2", name=b"b" * 32)))
    assert isinstance(found, OrderRefusal)
    assert found.revision == 4


# --- prekeys --------------------------------------------------------------------------


def fetch(requester: StoreUser, *targets: StoreUser | str, now: int = NOW) -> list[Bundle | None]:
    users = [target if isinstance(target, str) else target.id for target in targets]
    found = run(requester.store, FetchPreKeys(actor=requester.actor, targets=users, now=now))
    return list(found)


def test_bundles_are_those_of_key_exchanges_and_nobody_is_told(
    alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    wanted = publication([1, 2, 3], [7], last_resort=True)
    run(bob.store, PublishPreKeys(actor=bob.actor, publication=wanted))
    found = fetch(alice, carol, bob, "nobody")
    assert (found[0], found[2]) == (None, None)
    bundle = found[1]
    assert bundle is not None
    exchanged = carol.exchange(bob, wants_bundle=True)
    assert not isinstance(exchanged, AppendRefusal)
    assert exchanged.bundle is not None
    assert (bundle.one_time, exchanged.bundle.one_time) == (wanted.one_time[0], wanted.one_time[1])
    assert bundle.kem == wanted.one_time_kem[0]
    assert (bundle.left.one_time, bundle.left.one_time_kem) == (2, 0)
    assert replace(bundle, one_time=None, kem=None, left=exchanged.bundle.left) == replace(
        exchanged.bundle, one_time=None, kem=None
    )
    assert [item.sender for item in bob.mailbox()] == [carol.id]
    bob.write(alice, "m")
    assert contacts(bob) == []


def test_hourly_limits_count_both_ways_of_asking(alice: StoreUser, bob: StoreUser) -> None:
    run(bob.store, PublishPreKeys(actor=bob.actor, publication=publication(range(1, 31))))
    for _ in range(5):
        alice.exchange(bob, wants_bundle=True)
        fetch(alice, bob)
    [bundle] = fetch(alice, bob)
    assert bundle is not None
    assert bundle.one_time is None
    [bundle] = fetch(alice, bob, now=NOW + HOUR)
    assert bundle is not None
    assert bundle.one_time is not None
    assert bundle.one_time.id == 11


def test_list_of_devices_stays_until_another_one_comes(alice: StoreUser, bob: StoreUser) -> None:
    def lists(*publications: Any) -> list[str | None]:
        found = []
        for one in publications:
            run(bob.store, PublishPreKeys(actor=bob.actor, publication=one))
            [bundle] = fetch(alice, bob)
            assert bundle is not None
            found.append(bundle.device_list)
        return found

    plain = publication([1])
    assert lists(plain, replace(plain, device_list=LIST), plain, replace(plain, device_list="eA==")) == [
        None,
        LIST,
        LIST,
        "eA==",
    ]
    run(bob.store, DeleteAccount(actor=bob.actor))
    bob.log_in()
    assert lists(plain) == [None]


def test_session_that_is_not_its_users_any_more_gets_nothing(alice: StoreUser, bob: StoreUser) -> None:
    run(bob.store, PublishPreKeys(actor=bob.actor, publication=publication([1])))
    stranger = Actor(alice.id, "another key")
    assert bob.store.run([FetchPreKeys(actor=stranger, targets=[bob.id], now=NOW)]) == [ACCOUNT_GONE]
    [bundle] = fetch(alice, bob)
    assert bundle is not None
    assert bundle.one_time is not None
