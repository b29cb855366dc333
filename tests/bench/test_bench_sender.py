"""What a text to a group costs its sender's device for one recipient more, counted and not timed.

What is done with keys, records and sessions is counted exactly, and beside it instructions of the interpreter and calls
into C (``support.costs``). What is the same for all recipients costs nothing here.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

import pytest
from client_samples import Device, Town, fast_folder, pass_time, settle
from group_people import group_of, write

from phantom_messenger.client.conversations import Conversations, PeerState
from phantom_messenger.client.link import Link
from phantom_messenger.client.many import packing, sending
from phantom_messenger.client.records import ManyRecord
from phantom_messenger.client.sessions import Sessions
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import primitives, suites
from support.costs import c_calls, instructions, undisturbed
from support.simulated import SECOND, World

FEW, MANY = 3, 11
TOLERANCE = 0.10
STEPS = {"instructions": 2694.0, "c_calls": 101.0}
"""What is cheaper by a tenth is to be recorded, too."""

WORK = {
    "signatures": 1,
    "chain keys": 2,
    "message keys": 1,
    "heads": 1,
    "hashes": 0,
    "bodies": 0,
    "records sealed": 1,
    "records opened": 2,
    "statements": 1,
    "sessions read": 1,
    "sessions written": 1,
}
"""Statements: all are read with two, and each session is stored with one."""

PLACES = (
    ("signatures", primitives, "ed25519_sign"),
    ("chain keys", primitives, "hmac_sha256"),
    ("message keys", primitives, "hkdf"),
    ("heads", primitives, "seal"),
    ("hashes", primitives, "sha256"),
    ("bodies", sending, "_body"),
    ("records sealed", primitives.Cipher, "seal"),
    ("records opened", primitives.Cipher, "unseal"),
    ("sessions read", suites, "load"),
    ("sessions written", suites, "dump"),
)

Act = Callable[[], object]


class Group(NamedTuple):
    """Somebody who is in a small group and in a larger one, and the others."""

    ada: Device
    others: list[Device]

    def write(self, name: str) -> None:
        """Write to a group, until the frame is signed."""
        write(self.ada, "hello everybody", group=name)
        self.ada.fetch()

    def rest(self) -> None:
        """Let what was written arrive."""
        settle(self.ada, *self.others)
        pass_time(5 * SECOND, self.ada, *self.others, step=5 * SECOND)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    world = World()
    with fast_folder(tmp_path_factory.mktemp("group")) as folder:
        town = Town(world, folder)
        ada, *others = town.devices(*(f"p{number}" for number in range(1 + MANY)))
        made = Group(ada, others)
        for name, count in (("few", FEW), ("many", MANY)):
            group_of(ada, *others[:count], name=name)
        for name in ("many", "few") * 2:  # caches and statements are warm
            made.write(name)
            made.rest()
        yield made
        town.close()
    world.close()


def for_one_more(group: Group, measure: Callable[[Act], Counter[str]]) -> dict[str, float]:
    """What one recipient more costs."""
    few, many = Counter[str](), Counter[str]()
    for name, found in (("few", few), ("many", many)):
        found.update(measure(partial(group.write, name)))
        group.rest()
    return {what: (many[what] - few[what]) / (MANY - FEW) for what in few.keys() | many.keys()}


def work(act: Act) -> Counter[str]:
    """What is done with keys, records and sessions meanwhile."""
    counts: Counter[str] = Counter(dict.fromkeys(WORK, 0))

    def counting(what: str, real: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(real)
        def counted(*given: Any, **named: Any) -> Any:
            is_each = what == "statements" and isinstance(given[-1], list)
            counts[what] += len(given[-1]) if is_each else 1
            return real(*given, **named)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        for what, place, name in (*PLACES, ("statements", Vault, "_run")):
            patch.setattr(place, name, counting(what, getattr(place, name)))
        act()
    return counts


def steps(group: Group) -> dict[str, float]:
    """Instructions, and calls into C, of one recipient more."""

    def of(what: str, counter: Callable[[Act], float], act: Act) -> Counter[str]:
        return Counter({what: round(undisturbed(counter, act))})

    return for_one_more(group, partial(of, "instructions", instructions)) | for_one_more(
        group, partial(of, "c_calls", c_calls)
    )


def off(group: Group) -> dict[str, float]:
    """What differs from the record by more than is tolerated."""
    return {what: found for what, found in steps(group).items() if abs(found / STEPS[what] - 1) > TOLERANCE}


def test_everybody_gets_it_in_one_frame(group: Group) -> None:
    group.ada.sent.clear()
    group.write("many")
    group.rest()
    (frame,) = group.ada.frames_sent("MESSAGE_MANY")
    assert len(frame["payload"]["recipients"]) == MANY


def test_one_recipient_more_is_as_much_work_as_it_was(group: Group) -> None:
    assert for_one_more(group, work) == WORK


def test_one_recipient_more_takes_as_many_steps_as_it_did(group: Group) -> None:
    assert off(group) == {}, "repair it, or record it in this file and say why"


def one_by_one(self: Conversations, peers: Sequence[str]) -> list[PeerState]:
    """Sessions are read for each."""
    return [self.load(peer) for peer in peers]


@pytest.mark.parametrize(
    ("what", "control"),
    [
        ("signatures", "signed twice"),
        ("statements", "read one by one"),
        ("sessions written", "session written twice"),
        ("bodies", "body made for each"),
    ],
)
def test_control_more_work_for_each_is_seen(
    group: Group, what: str, control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    match control:
        case "signed twice":
            sign = Link._signature
            monkeypatch.setattr(Link, "_signature", lambda *given: (sign(*given), sign(*given))[1])
        case "read one by one":
            monkeypatch.setattr(Conversations, "load_several", one_by_one)
        case "session written twice":
            several = Sessions.renew_several
            monkeypatch.setattr(Sessions, "renew_several", lambda *given: (several(*given), several(*given))[1])
        case _:
            chars, record = (
                packing.base64_chars,
                ManyRecord(message_id="", conversation_id="", content=b"hello", key=bytes(32)),
            )
            monkeypatch.setattr(packing, "base64_chars", lambda size: (sending._body(record), chars(size))[1])
    assert for_one_more(group, work)[what] > WORK[what]


def test_control_more_steps_for_each_are_seen(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    several = Sessions.renew_several
    monkeypatch.setattr(Sessions, "renew_several", lambda *given: [several(*given) for _ in range(4)][-1])
    assert off(group).keys() == STEPS.keys()
