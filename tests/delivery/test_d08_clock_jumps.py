"""The clock of the relay's machine is set by an hour or a year: mail ages by what time has really passed.

Here on a machine whose clocks the test sets; ``test_d08_clock_jumps_outside.py`` sets a real relay's.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest
from delivery_clocks import DAY, Household, Machine, MakeHousehold, OneClock, WallSteady, on
from hypothesis import given, settings
from hypothesis import strategies as st

from phantom_messenger import clock
from phantom_messenger.clock import ClockSnapshot, SystemClock, resumed
from phantom_messenger.relay.housekeeping import Housekeeping
from support.amounts import seeds
from support.people import Frame, Person
from support.simulated import HOUR, MINUTE, SECOND

JUMPS = {"an hour back": -HOUR, "an hour on": HOUR, "400 days on": 400 * DAY}
LIFE = HOUR
GONE_WITHIN = MINUTE

Plan = Sequence[tuple[str, int]]
"""What happens, with milliseconds: the clock is ``set`` by so much, so much time may ``pass``, the
relay is ``off`` for so long, or the machine is, in a ``reboot``."""


@pytest.fixture
def household(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHousehold]:
    """Makes households; at most one at a time keeps time."""
    with ExitStack() as stack:

        def make(machine: type[Machine] = Machine, **options: object) -> Household:
            made = Household(on(machine(), monkeypatch), **options)
            stack.callback(made.close)
            return made

        yield make


# --- taking up persistent time --------------------------------------------------------

KEPT = ClockSnapshot("this boot", 500_000, 9_000_000, 7_000_000)


@pytest.mark.parametrize(
    ("kept", "boot", "since_boot", "wall", "expected"),
    [
        (None, "this boot", 5, 9_000_000, 9_000_000),
        (KEPT, "this boot", 500_000, 9_000_000, 7_000_000),
        (KEPT, "this boot", 560_000, 9_060_000, 7_060_000),
        (KEPT, "this boot", 560_000, 9_060_000 - HOUR, 7_060_000),
        (KEPT, "this boot", 560_000, 9_060_000 + 400 * DAY, 7_060_000),
        (KEPT, "this boot", 499_000, 9_060_000, 7_000_000),
        (KEPT, "another boot", 5, 9_060_000, 7_060_000),
        (KEPT, "another boot", 900_000, 9_060_000, 7_060_000),
        (KEPT, "another boot", 5, 9_000_000 - HOUR, 7_000_000),
        (KEPT, "", 560_000, 9_060_000, 7_060_000),
        (ClockSnapshot("", 500_000, 9_000_000, 7_000_000), "", 560_000, 9_000_000 - HOUR, 7_000_000),
    ],
    ids=[
        "a first start",
        "at once",
        "a minute later",
        "a minute later, the clock set back",
        "a minute later, the clock set on",
        "a boot that goes back",
        "after a reboot",
        "after a reboot, up for longer",
        "after a reboot, the clock set back",
        "a boot without a name",
        "neither has a name, the clock set back",
    ],
)
def test_persistent_time_is_taken_up(
    kept: ClockSnapshot | None, boot: str, since_boot: int, wall: int, expected: int
) -> None:
    assert resumed(kept, boot=boot, since_boot=since_boot, wall=wall) == expected


MOMENT = st.integers(0, 2**45)


@given(wall=MOMENT, since_boot=MOMENT, starts=st.lists(st.tuples(st.integers(0, 400 * DAY), MOMENT), max_size=8))
@settings(derandomize=True, max_examples=seeds(25, 2_000))
def test_in_one_boot_persistent_time_is_exact(wall: int, since_boot: int, starts: list[tuple[int, int]]) -> None:
    found = began = resumed(None, boot="this boot", since_boot=since_boot, wall=wall)
    passed = 0
    for pause, shown in starts:
        kept = ClockSnapshot("this boot", since_boot + passed, wall, found)
        passed += pause
        wall = shown
        found = resumed(kept, boot="this boot", since_boot=since_boot + passed, wall=wall)
        assert found == began + passed


@given(
    kept=st.builds(ClockSnapshot, st.sampled_from(["", "a", "b"]), MOMENT, MOMENT, MOMENT), wall=MOMENT, since=MOMENT
)
@settings(derandomize=True, max_examples=seeds(25, 2_000))
def test_persistent_time_never_goes_back(kept: ClockSnapshot, wall: int, since: int) -> None:
    for boot in ("", "a"):
        found = resumed(kept, boot=boot, since_boot=since, wall=wall)
        assert found >= kept.persistent >= 0
        assert found <= kept.persistent + max(0, wall - kept.wall, since - kept.since_boot)


def test_clock_of_this_machine_goes_on_where_it_was_kept() -> None:
    first = SystemClock()
    kept = first.snapshot()
    second = SystemClock(ClockSnapshot(kept.boot, kept.since_boot, kept.wall - 400 * DAY, kept.persistent))
    assert kept.boot == clock.boot_id()
    assert first.persistent_ms() <= second.persistent_ms() <= first.persistent_ms()


# --- the life of a message --------------------------------------------------------


class Letters:
    """Two messages that wait for Bob, one of which lives for an hour, and what is wrong with them.

    Args:
        home: where the relay runs.
        before: what happens before they are sent.
        connected: whether Bob is there when they come; he acknowledges nothing.
        late: by how many milliseconds the relay may find the hour too short.
        ticked: whether the relay has run for a second by then.
    """

    def __init__(
        self, home: Household, before: Plan = (), *, connected: bool = False, late: int = 0, ticked: bool = True
    ) -> None:
        self.home = home
        self.late = late
        self.faults: list[str] = []
        self.passed = 0
        self.alice, self.bob = home.person("alice"), home.person("bob")
        self._meet()
        if ticked:
            home.world.tick()
        self.live(before)
        self.passed = 0
        sender = home.world.login(self.alice)
        recipient = home.world.login(self.bob)
        if not connected:
            recipient.drop()
        timed = self.alice.message(self.bob, metadata={"expiresIn": LIFE})
        plain = self.alice.message(self.bob)
        accepted = [frame["payload"]["status"] for frame in sender.send(timed, plain) if frame["type"] == "MESSAGE_ACK"]
        assert accepted == ["accepted", "accepted"]
        self.timed, self.plain = name_of(timed), name_of(plain)
        if connected:
            self._expect([name_of(frame) for frame in recipient.take("MESSAGE")], "at once")
        sender.drop()

    def _meet(self) -> None:
        world = self.home.world
        one, other = world.login(self.alice), world.login(self.bob)
        world.make_contacts(one, other)
        one.drop()
        other.drop()

    def live(self, plan: Plan) -> None:
        """Go through a plan; after each step Bob looks into his mailbox."""
        for what, milliseconds in plan:
            if what == "set":
                self.home.machine.jump(milliseconds)
            elif what == "pass":
                self.home.pass_time(milliseconds)
                self.passed += milliseconds
            else:
                self.home.machine.advance(milliseconds)
                self.passed += milliseconds
                (self.home.reboot if what == "reboot" else self.home.start)()
            if hasattr(self, "timed"):
                self.look(f"after {what} {milliseconds}")

    def look(self, when: str) -> None:
        """Bob logs in, acknowledges nothing, and goes."""
        client = self.home.world.login(self.bob)
        self._expect([name_of(frame) for frame in client.take("MESSAGE")], when)
        client.drop()

    def _expect(self, found: list[str], when: str) -> None:
        if self.plain not in found:
            self.faults.append(f"lost {when}")
        if self.passed < LIFE and self.timed not in found:
            self.faults.append(f"expired {when}, {self.passed} ms old")
        if self.passed >= LIFE + self.late and self.timed in found:
            self.faults.append(f"delivered {when}, {self.passed} ms old")
        if len(found) != len(set(found)) or not set(found) <= {self.plain, self.timed}:
            self.faults.append(f"doubled or invented {when}")

    def end(self, *, sender_is_there: bool) -> list[str]:
        """Live on to the end of the hour and a minute longer; all faults."""
        self.live([("pass", LIFE - self.passed - 1), ("pass", self.late)])
        sender = self.home.world.login(self.alice) if sender_is_there else None
        self.home.machine.advance(1)
        self.passed += 1
        self.look("before the sweep")
        self.live([("pass", GONE_WITHIN)])
        bob = self.bob.id
        kept = [item.name for item in self.home.world.peek(lambda tx: tx.mailboxes.read(bob, 0, 10**9, 0)).items]
        if kept != [self.plain]:
            self.faults.append(f"in the store a minute later: {len(kept)} messages")
        told = (sender or self.home.world.login(self.alice)).take("MESSAGE_ACK")
        expired = [name_of(frame) for frame in told if frame["payload"]["status"] == "expired"]
        if expired != [self.timed]:
            self.faults.append(f"its sender was told {len(expired)} times that it expired")
        return self.faults


def name_of(message: Frame) -> str:
    found: str = message["payload"]["messageId"]
    return found


def plans(jump: int) -> dict[str, tuple[Plan, Plan]]:
    """What happens before and after a message is sent, with a clock that is set by ``jump``."""
    a_while = 10 * MINUTE
    return {
        "before": ([("set", jump)], [("pass", a_while)]),
        "after": ([], [("set", jump), ("pass", a_while)]),
        "there and back": ([], [("pass", a_while), ("set", jump), ("pass", a_while), ("set", -jump), ("pass", SECOND)]),
        "again and again": ([("set", jump)], [("set", other) for other in (*JUMPS.values(), jump, -2 * jump)]),
        "before the relay starts again": ([("pass", SECOND)], [("set", jump), ("off", 0), ("pass", a_while)]),
        "while it is off": ([("off", MINUTE)], [("off", a_while), ("set", jump), ("off", a_while), ("set", -jump)]),
        "then a reboot": ([], [("set", jump), ("pass", SECOND), ("reboot", a_while), ("pass", a_while)]),
        "between reboots": ([("reboot", a_while)], [("set", jump), ("pass", SECOND), ("reboot", a_while), ("off", 0)]),
        "noticed while off, then a reboot": ([], [("off", 0), ("set", jump), ("pass", SECOND), ("reboot", a_while)]),
    }


PLANS = list(plans(HOUR))
THREE_JUMPS = pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)


def faults(home: Household, plan: str, jump: int, *, connected: bool, sender_is_there: bool) -> list[str]:
    before, after = plans(jump)[plan]
    letters = Letters(home, before, connected=connected)
    letters.live(after)
    return letters.end(sender_is_there=sender_is_there)


@THREE_JUMPS
@pytest.mark.parametrize("plan", PLANS)
def test_message_lives_for_an_hour(household: MakeHousehold, plan: str, jump: int) -> None:
    for connected in (False, True):
        home = household()
        assert faults(home, plan, jump, connected=connected, sender_is_there=not connected) == []


@THREE_JUMPS
@pytest.mark.parametrize("plan", ["after", "again and again", "before the relay starts again", "between reboots"])
def test_relay_that_goes_by_the_wall_is_caught(household: MakeHousehold, plan: str, jump: int) -> None:
    """The control."""
    assert faults(household(WallSteady), plan, jump, connected=False, sender_is_there=True)


@pytest.mark.parametrize("plan", ["then a reboot", "between reboots", "noticed while off, then a reboot"])
def test_relay_that_keeps_no_time_is_caught(
    household: MakeHousehold, monkeypatch: pytest.MonkeyPatch, plan: str
) -> None:
    """The control of what is kept: without it a reboot makes a year of the set clock."""
    monkeypatch.setattr(Housekeeping, "_keep_clock", lambda *_: None)
    assert faults(household(), plan, 400 * DAY, connected=False, sender_is_there=True)


STEPS = st.one_of(
    st.tuples(
        st.just("set"), st.integers(-400 * DAY // (2 * SECOND), 400 * DAY // (2 * SECOND)).map(lambda n: 2_000 * n)
    ),
    st.tuples(st.sampled_from(["pass", "off", "reboot"]), st.integers(0, 10 * MINUTE)),
)
"""The clock is set by at least two seconds: what is set by less may go unnoticed."""


@given(before=st.lists(STEPS, max_size=4), after=st.lists(STEPS, max_size=5), connected=st.booleans())
@settings(derandomize=True, max_examples=seeds(20, 2_000))
def test_message_lives_for_an_hour_whatever_happens(before: Plan, after: Plan, connected: bool) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        home = Household(on(Machine(), monkeypatch))
        letters = Letters(home, noticed(before), connected=connected)
        letters.live(noticed(after))
        assert letters.end(sender_is_there=connected) == []
        home.close()


def noticed(plan: Plan) -> Plan:
    """The relay, where it runs, has a second to notice that the clock was set."""
    return [step for what in plan for step in ([what, ("pass", SECOND)] if what[0] == "set" else [what])]


def test_clock_set_back_during_a_reboot_loses_nothing_early(household: MakeHousehold) -> None:
    """Nobody can know then how long it took: a message lives longer, by no more than was kept an hour ago."""
    letters = Letters(household(), late=HOUR)
    letters.live([("pass", 20 * MINUTE)])
    letters.home.machine.jump(-HOUR)
    letters.live([("reboot", 0)])
    assert letters.end(sender_is_there=True) == []


@THREE_JUMPS
def test_relay_that_ended_in_its_first_second_knows_the_time(household: MakeHousehold, jump: int) -> None:
    letters = Letters(household(), ticked=False)
    letters.live([("set", jump), ("off", SECOND)])
    assert letters.end(sender_is_there=True) == []


# --- limits and timeouts ----------------------------------------------------------

Check = Callable[[Household, int], list[str]]
"""Sets the clock by so much in the middle of a limit or timeout, and tells what that has changed."""


def rate_limit(home: Household, jump: int) -> list[str]:
    client = home.world.login(home.person("alice"))
    pings = [client.ask(client.person.ping())["type"] for _ in range(60)]
    home.machine.jump(jump)
    refused = client.ask(client.person.ping())
    home.machine.advance(MINUTE - 1)
    still = client.ask(client.person.ping())["type"]
    home.machine.advance(1)
    return differences(
        pings=(pings, ["PONG"] * 60),
        too_many=(
            (refused["type"], refused["payload"].get("retryAfter") if "payload" in refused else 0),
            ("ERROR", MINUTE),
        ),
        still=(still, "ERROR"),
        later=(client.ask(client.person.ping())["type"], "PONG"),
    )


def login_timeout(home: Household, jump: int) -> list[str]:
    slow, silent = (home.world.connect(home.person(name)) for name in ("slow", "silent"))
    home.machine.jump(jump)
    home.world.tick()
    home.machine.advance(30 * SECOND - 1)
    home.world.tick()
    codes = [client.close_code() for client in (slow, silent)]
    answers = [frame["type"] for frame in slow.send(slow.auth())] if codes == [None, None] else []
    home.machine.advance(1)
    home.world.tick()
    return differences(
        before=(codes, [None, None]), login=(answers, ["AUTH_SUCCESS"]), after=(silent.close_code(), 4000)
    )


def idle_timeout(home: Household, jump: int) -> list[str]:
    client = home.world.login(home.person("alice"))
    home.machine.jump(jump)
    home.world.tick()
    home.machine.advance(5 * MINUTE - 1)
    home.world.tick()
    before = client.close_code()
    home.machine.advance(1)
    home.world.tick()
    return differences(before=(before, None), after=(client.close_code(), 1001))


def duplicates(home: Household, jump: int) -> list[str]:
    alice, bob = friends(home)
    message = alice.message(bob)
    first = exchanged(home, alice, bob, message)
    home.machine.jump(jump)
    at_once = exchanged(home, alice, bob, message)
    home.machine.advance(10 * MINUTE - 1)
    still = exchanged(home, alice, bob, message)
    home.machine.advance(1)
    return differences(
        first=(first, 1), at_once=(at_once, 0), still=(still, 0), later=(exchanged(home, alice, bob, message), 1)
    )


def friends(home: Household) -> tuple[Person, Person]:
    one, other = home.world.login(home.person("alice")), home.world.login(home.person("bob"))
    home.world.make_contacts(one, other)
    return one.person, other.person


def exchanged(home: Household, sender: Person, recipient: Person, message: Frame) -> int:
    """Send it, signed anew; how many came, each of which is acknowledged."""
    one, other = home.world.login(sender), home.world.login(recipient)
    one.send(sender.signed({**message, "timestamp": sender.now()}))
    found = other.take("MESSAGE")
    other.send(*(recipient.ack(frame) for frame in found))
    return len(found)


def prekey_limit(home: Household, jump: int) -> list[str]:
    owner = home.world.login(home.person("owner"))
    owner.send(owner.person.publish(range(1, 51)))
    first = handed_out(home, 12)
    home.machine.jump(jump)
    at_once = handed_out(home, 2)
    home.machine.advance(HOUR - 1)
    still = handed_out(home, 2)
    home.machine.advance(1)
    return differences(first=(first, 10), at_once=(at_once, 0), still=(still, 0), later=(handed_out(home, 2), 2))


def handed_out(home: Household, count: int) -> int:
    """How many one-time prekeys of the owner so many requests get."""
    asking = home.world.login(home.person("asking"))
    owner = home.person("owner")
    found = []
    for _ in range(count):
        found += asking.send(
            asking.person.init(owner, name=f"{asking.person.new_message_id()} {home.machine.monotonic}")
        )
    return len([frame for frame in found if "oneTimePreKeyId" in frame.get("payload", {})])


def differences(**pairs: tuple[object, object]) -> list[str]:
    """Where what was found is not what was expected."""
    return [f"{name}: {found}, not {expected}" for name, (found, expected) in pairs.items() if found != expected]


CHECKS: dict[str, tuple[Check, bool]] = {
    "rates": (rate_limit, True),
    "login timeout": (login_timeout, True),
    "idle timeout": (idle_timeout, True),
    "duplicates": (duplicates, False),
    "prekeys": (prekey_limit, False),
}
"""Each with whether the relay's limits on rates are on."""

ALL_CHECKS = pytest.mark.parametrize(("check", "limits"), CHECKS.values(), ids=CHECKS)


@THREE_JUMPS
@ALL_CHECKS
def test_limits_and_timeouts_are_unmoved(household: MakeHousehold, check: Check, limits: bool, jump: int) -> None:
    assert check(household(limits=limits), jump) == []


@THREE_JUMPS
@ALL_CHECKS
def test_limits_by_the_wall_are_caught(household: MakeHousehold, check: Check, limits: bool, jump: int) -> None:
    """The control."""
    assert check(household(OneClock, limits=limits), jump)
