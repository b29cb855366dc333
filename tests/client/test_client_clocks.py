"""A device's own persistent time: what expires does so after its time there, whatever relays and wall clocks say."""

from typing import Any

import pytest
from client_samples import DAY, YEAR, Device, Town, settle

from phantom_messenger.client import records
from phantom_messenger.client.expiry import KEEP_MS, ExpiryClock
from phantom_messenger.client.link import Link
from phantom_messenger.client.records import ClockRecord, IntValue, PreKeyRecord, ReceivedRecord
from phantom_messenger.client.status import WarningEvent
from support.people import Frame
from support.simulated import HOUR, MINUTE, SECOND

MONTH = 30 * DAY


@pytest.fixture
def friends(town: Town) -> tuple[Device, Device]:
    alice, bob = town.friends("alice", "bob")
    return alice, bob


def kept(device: Device) -> list[str | None]:
    """The texts of others that are on the device's disk, but for what the two said before."""
    found = [record.text for _, record in device.vault.all(records.RECEIVED, ReceivedRecord)]
    return [text for text in found if text not in {None, "hello"}]


def last_received(device: Device) -> ReceivedRecord:
    return [record for _, record in device.vault.all(records.RECEIVED, ReceivedRecord)][-1]


def own(device: Device, number: str) -> str | None:
    sent = device.messenger._stores.outbox.sent(number)
    return None if sent is None else sent.text


def with_time(frame: Frame, time: int) -> Frame:
    return {**frame, "payload": {**frame["payload"], "serverTime": time}}


def ticks(*devices: Device, seconds: int = 6) -> None:
    for device in devices:
        device.world.clock.advance(seconds * SECOND)
        device.messenger.tick()
        device.hear()


# --- what a relay says ------------------------------------------------------------


def lies_unasked(device: Device, time: int) -> None:
    error = {"code": 1001, "message": "x", "details": {"reason": "clock", "serverTime": time}}
    device.tamper = lambda frame: [frame, {"type": "ERROR", "payload": error, "timestamp": 1}]
    device.messenger.ask_presence(device.id)
    settle(device)


def lies_in_its_greeting(device: Device, time: int, *then: Frame) -> None:
    """Its client is let in, however wrong the timestamps are that it now signs, and told what follows."""
    session = {"type": "AUTH_SUCCESS", "payload": {"sessionId": "s", "serverTime": time}, "timestamp": 1}

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] == "CONNECTION_ACK":
            return [with_time(frame, time)]
        return [session, *then] if frame["type"] == "AUTH_FAILURE" else []

    device.tamper = tamper
    if device.is_connected:
        device.cut()
    device.connect()
    for _ in range(4):
        device.fetch()
        device.step_up()
        device.step_down()
        device.messenger.tick()


def lies_in_an_answer(device: Device, time: int) -> None:
    """It refuses the timestamp of whatever is signed."""
    details = {"reason": "clock", "serverTime": time}

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] != "MESSAGE_ACK" or "id" not in frame:
            return [frame]
        error = {"code": 1001, "message": "x", "details": details}
        return [{"type": "ERROR", "payload": error, "timestamp": 1, "id": frame["id"]}]

    device.tamper = tamper
    device.messenger.send_text(device.messenger.contacts.everybody()[0].user_id, "what time is it?")
    settle(device)


LIES = [lies_unasked, lies_in_its_greeting, lies_in_an_answer]


def after_a_lie(friends: tuple[Device, Device], lie: Any, ahead: int) -> tuple[Device, str]:
    """Bob, to whom the relay has named a time, and who has a text that lives for a month and one of his own."""
    alice, bob = friends
    alice.send(bob, "for a month", expires_in=MONTH)
    (number,) = bob.send(alice, "for a month too", expires_in=MONTH)
    settle(alice, bob)
    bob.read_all()
    lie(bob, bob.world.clock.wall_ms() + ahead)
    ticks(bob)
    return bob, number


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("ahead", [YEAR, -YEAR])
def test_time_that_a_relay_names_erases_nothing(friends: tuple[Device, Device], lie: Any, ahead: int) -> None:
    bob, number = after_a_lie(friends, lie, ahead)
    assert kept(bob) == ["for a month"]
    assert own(bob, number) == "for a month too"


@pytest.mark.parametrize("lie", LIES)
def test_client_that_goes_by_its_relay_loses_texts(
    friends: tuple[Device, Device], lie: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: persistent time is the relay's clock, as it is known, and any error may set that."""

    def take_clock(self: Link, error: Any, now: int) -> None:
        self._set_clock(error.payload.details["serverTime"], now)

    monkeypatch.setattr(Link, "_take_clock", take_clock)
    bob = friends[1]
    genuine = ExpiryClock.now

    def now(self: ExpiryClock) -> int:
        link = bob.messenger._link
        is_bobs = self is bob.messenger._clock and link is not None
        return link.relay_time(bob.world.clock.monotonic_ms()) if is_bobs and link is not None else genuine(self)

    monkeypatch.setattr(ExpiryClock, "now", now)
    _, number = after_a_lie(friends, lie, YEAR)
    assert kept(bob) == []
    assert own(bob, number) is None


def test_text_goes_in_its_time_although_the_relays_clock_stands_still(friends: tuple[Device, Device]) -> None:
    alice, bob = friends
    alice.send(bob, "for five seconds", expires_in=5 * SECOND)
    settle(alice, bob)
    still = bob.world.clock.wall_ms()
    for _ in range(3):
        lies_unasked(bob, still)
        ticks(bob, seconds=2)
    ticks(bob, seconds=5)
    assert kept(bob) == []
    assert bob.waiting() == []


def test_text_goes_in_its_time_while_there_is_no_relay(friends: tuple[Device, Device]) -> None:
    alice, bob = friends
    alice.send(bob, "for a minute", expires_in=MINUTE)
    settle(alice, bob)
    bob.cut()
    ticks(bob, seconds=59)
    assert kept(bob) == ["for a minute"]
    bob.world.clock.advance(SECOND)
    assert bob.waiting() == []
    ticks(bob)
    assert kept(bob) == []


def test_time_counts_from_when_a_text_was_received_here(friends: tuple[Device, Device]) -> None:
    alice, bob = friends
    bob.cut()
    alice.send(bob, "for an hour", expires_in=HOUR)
    settle(alice)
    alice.world.clock.advance(50 * MINUTE)
    bob.login()
    ticks(bob, seconds=59 * 60)
    assert kept(bob) == ["for an hour"]
    ticks(bob, seconds=2 * 60)
    assert kept(bob) == []


def test_relay_whose_clock_jumps_by_a_hundred_days_has_no_keys_renewed(friends: tuple[Device, Device]) -> None:
    bob = friends[1]

    def keys() -> list[tuple[str, int]]:
        return [(record.sort, record.id) for _, record in bob.vault.all(records.PREKEY, PreKeyRecord)]

    before = keys()
    bob.cut()
    bob.login()
    (status,) = [frame for frame in bob.received if frame["type"] == "PREKEY_STATUS"]
    for jump in range(1, 5):
        lies_in_its_greeting(bob, bob.world.clock.wall_ms() + jump * 100 * DAY, status)
    assert keys() == before


@pytest.mark.parametrize(("ahead", "told"), [(0, 0), (2 * MINUTE, 0), (-2 * MINUTE, 0), (HOUR, 1), (-HOUR, 1)])
def test_clock_that_is_wrong_is_told_once(town: Town, ahead: int, told: int) -> None:
    bob = town.device("bob", wall_error=ahead).login()
    for _ in range(2):
        bob.cut()
        bob.login()
    assert bob.troubles().count("clock") == told
    if told:
        (warning,) = [event for event in bob.heard(WarningEvent) if event.code == "clock"]
        way = "ahead of" if ahead > 0 else "behind"
        assert warning.message == f"this machine's clock is 60 minutes {way} the relay's; check its date and time"


# --- what is done to the wall clock -----------------------------------------------

STEPS = {"back": -YEAR, "on": YEAR, "a little on": HOUR}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("when", ["while it runs", "while it does not run", "before a restart"])
def test_setting_the_wall_clock_makes_nothing_older_or_younger(
    friends: tuple[Device, Device], step: int, when: str
) -> None:
    alice, bob = friends
    alice.send(bob, "for a day", expires_in=DAY)
    settle(alice, bob)
    if when == "before a restart":
        bob.kill()
    bob.wall_error += step
    if when == "while it does not run":
        bob.kill()
    ticks(bob, seconds=23 * 3_600)
    assert kept(bob) == ["for a day"]
    bob.wall_error -= 2 * step
    ticks(bob, seconds=2 * 3_600)
    assert kept(bob) == []


def test_clock_that_was_set_before_a_reboot_is_not_taken_for_time_that_passed(friends: tuple[Device, Device]) -> None:
    alice, bob = friends
    alice.send(bob, "for a day", expires_in=DAY)
    settle(alice, bob)
    bob.wall_error += YEAR
    ticks(bob)
    reboot(bob, off=HOUR)
    ticks(bob)
    assert kept(bob) == ["for a day"]
    reboot(bob, off=24 * HOUR)
    ticks(bob)
    assert kept(bob) == []


def test_client_that_keeps_no_moments_takes_a_set_clock_for_time(
    friends: tuple[Device, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(ExpiryClock, "keep", lambda *_: None)
    alice, bob = friends
    alice.send(bob, "for a day", expires_in=DAY)
    settle(alice, bob)
    bob.wall_error += YEAR
    ticks(bob)
    reboot(bob, off=HOUR)
    ticks(bob)
    assert kept(bob) == []


def reboot(device: Device, *, off: int) -> None:
    """The machine is off for a while, and starts again."""
    device.world.clock.advance(off)
    device.boot = f"after {device.boot}"
    device.booted_at = device.world.clock.monotonic
    device.kill()


@pytest.mark.parametrize("off", [0, 10 * HOUR])
def test_clock_that_has_gone_back_over_a_reboot_makes_nothing_older(friends: tuple[Device, Device], off: int) -> None:
    alice, bob = friends
    alice.send(bob, "for a day", expires_in=DAY)
    settle(alice, bob)
    bob.wall_error -= YEAR
    reboot(bob, off=off)
    ticks(bob, seconds=23 * 3_600)
    assert kept(bob) == ["for a day"]
    ticks(bob, seconds=2 * 3_600)
    assert kept(bob) == []


def test_sleep_of_the_machine_counts(friends: tuple[Device, Device]) -> None:
    alice, bob = friends
    alice.send(bob, "for an hour", expires_in=HOUR)
    settle(alice, bob)
    bob.world.clock.advance(2 * HOUR)  # the time since boot goes on; nothing ran meanwhile
    assert bob.waiting() == []
    ticks(bob)
    assert kept(bob) == []


def test_moment_is_kept_seldom(friends: tuple[Device, Device]) -> None:
    bob = friends[1]

    def moment() -> ClockRecord:
        found = bob.vault.get(records.CLOCK, "", ClockRecord)
        assert found is not None
        return found

    first = moment()
    ticks(bob)
    bob.kill()
    ticks(bob)
    assert moment() == first
    ticks(bob, seconds=KEEP_MS // SECOND)
    assert moment().steady >= first.steady + KEEP_MS


# --- profiles of version 0.1.0 ----------------------------------------------------


@pytest.mark.parametrize("offset", [0, 2 * HOUR, -400 * DAY])
def test_profile_of_0_1_0_goes_on_in_the_time_that_it_was_written_in(
    friends: tuple[Device, Device], offset: int
) -> None:
    """Its times are those of its relay's clock, which was so far ahead of its own."""
    alice, bob = friends
    alice.send(bob, "for a day", expires_in=DAY)
    settle(alice, bob)
    bob.wall_error = -offset
    with bob.vault.transaction() as tx:
        tx.delete(records.CLOCK, "")
        tx.put(records.CLOCK_OFFSET, "", IntValue(offset))
        record = last_received(bob)
        relay_time = bob.world.clock.wall_ms()
        name = records.key(record.sender, record.message_id)
        values = {field: getattr(record, field) for field in record.__struct_fields__}
        tx.put(
            records.RECEIVED, name, ReceivedRecord(**{**values, "expires_at": relay_time + DAY}), due=relay_time + DAY
        )
    bob.kill()
    assert not bob.vault.has(records.CLOCK_OFFSET, "")
    ticks(bob, seconds=23 * 3_600)
    assert kept(bob) == ["for a day"]
    ticks(bob, seconds=2 * 3_600)
    assert kept(bob) == []


def test_times_are_shown_by_the_wall_clock(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "for a day", expires_in=DAY)
    settle(alice, bob)
    record = last_received(bob)
    assert record.expires_at is not None
    bob.wall_error += HOUR
    assert bob.messenger.shown(record.expires_at) == bob.world.clock.wall_ms() + HOUR + DAY


def test_history_shows_when_a_text_expires_by_the_wall_clock(friends: tuple[Device, Device]) -> None:
    alice, bob = friends
    alice.send(bob, "for a day", expires_in=DAY)
    settle(alice, bob)
    bob.wall_error += HOUR
    (last,) = bob.messenger.history(alice.id, limit=1)
    assert last.expires_at == bob.world.clock.wall_ms() + HOUR + DAY
