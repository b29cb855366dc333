"""A new device lets its first device send what was said before faster, and nobody else; and what comes without it."""

from typing import Any, Final

import pytest
from client_samples import Device, Town, pass_time, settle
from device_samples import link
from test_client_devices_history import before_linking, fill, said

from phantom_messenger.client.devices import chunks
from phantom_messenger.client.devices.handover import KEEP_FREE, MUCH
from phantom_messenger.client.pacing import Pacing
from phantom_messenger.relay import allowances
from phantom_messenger.relay.handlers import login
from phantom_messenger.wire.limits import ALLOWANCE_EVERY_MS, ALLOWANCE_MS, ALLOWED_MESSAGES, RATES, RateClass
from support.people import Frame, canonical

LONG: Final = 5_000
"""Texts, which are some 190 of the small chunks here."""

RATE: Final = RATES[RateClass.MESSAGE]
SECOND: Final = 1_000
genuine_login = login._become_user


@pytest.fixture
def limited(limited: Town, monkeypatch: pytest.MonkeyPatch) -> Town:
    """The same, with small chunks."""
    small_chunks(monkeypatch)
    return limited


def small_chunks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(chunks, "MAX_CHUNK_BYTES", 2_000)
    patch.setattr(chunks, "_FIRST_GUESS", 4_000)  # to look at what never fits would take longer than all the rest


def older_relay(patch: pytest.MonkeyPatch) -> None:
    def become_user(session: Any, frame: Any) -> None:
        genuine_login(session, frame)
        session.takes_allowances = False

    patch.setattr(login, "_become_user", become_user)


def linked(town: Town, texts: int = LONG) -> tuple[Device, Device, Device]:
    """Alice, her new laptop, which is still getting what was said before, and Bob."""
    alice, laptop, bob = before_linking(town)
    fill(alice, bob, texts)
    link(alice, laptop, bob)
    return alice, laptop, bob


def chunks_sent(alice: Device, laptop: Device) -> int:
    """Messages to the laptop alone, of which all but a few carry a chunk."""
    return sum([part["recipientId"] for part in frame["payload"]["recipients"]] == [laptop.id] for frame in many(alice))


def many(device: Device) -> list[Frame]:
    return device.frames_sent("MESSAGE_MANY")


def refusals(device: Device) -> list[Frame]:
    return [one for one in device.received if one["type"] == "ERROR"]


def seconds_until_all_is_there(alice: Device, laptop: Device, bob: Device, *, most: int) -> int:
    for second in range(most):
        if not laptop.messenger.handover.is_coming:
            return second
        pass_time(SECOND, alice, laptop, bob)
    raise AssertionError(f"not all has come after {most} seconds")


def test_long_history_comes_in_seconds(limited: Town) -> None:
    alice, laptop, bob = linked(limited)
    assert seconds_until_all_is_there(alice, laptop, bob, most=30) < 30
    assert chunks_sent(alice, laptop) > 3 * RATE
    assert said(laptop, bob) == said(alice, bob)
    assert refusals(alice) == refusals(laptop) == []


def test_control_without_it_that_takes_minutes(limited: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    older_relay(monkeypatch)
    alice, laptop, bob = linked(limited)
    assert seconds_until_all_is_there(alice, laptop, bob, most=300) > 120
    assert said(laptop, bob) == said(alice, bob)
    assert laptop.frames_sent("ALLOWANCE") == []
    assert refusals(alice) == refusals(laptop) == []


def test_what_the_user_writes_meanwhile_has_the_whole_rate_but_what_went_before(
    limited: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "ALLOWED_MESSAGES", 40)
    alice, laptop, bob = linked(limited)
    pass_time(5 * SECOND, alice, laptop, bob)
    assert laptop.messenger.handover.is_coming
    assert chunks_sent(alice, laptop) > 40
    for number in range(KEEP_FREE - 2):
        alice.send(bob, f"meanwhile {number}")
    pass_time(2 * SECOND, alice, laptop, bob)
    assert len(bob.waiting()) == KEEP_FREE - 2


def test_when_it_is_used_up_the_rest_comes_at_the_rate(limited: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowances, "ALLOWED_MESSAGES", 40)
    alice, laptop, bob = linked(limited)
    assert seconds_until_all_is_there(alice, laptop, bob, most=300) > 60
    assert said(laptop, bob) == said(alice, bob)
    assert refusals(alice) == []


def test_relay_that_forgets_it_is_no_harm(limited: Town) -> None:
    alice, laptop, bob = linked(limited)
    box = limited.world.relay._core.admission.allowances
    genuine_take, count = box.take, 0

    def take(sender: str, recipient: str, now: int) -> bool:
        nonlocal count
        count += 1
        return count <= 30 and genuine_take(sender, recipient, now)

    box.take = take  # type: ignore[method-assign]
    seconds_until_all_is_there(alice, laptop, bob, most=600)
    assert said(laptop, bob) == said(alice, bob)
    assert len(refusals(alice)) < 10, "ten in a minute would end the connection"


@pytest.mark.parametrize("who", ["first", "new"])
def test_it_goes_on_when_one_has_connected_again(limited: Town, who: str) -> None:
    alice, laptop, bob = before_linking(limited)
    fill(alice, bob, LONG)
    one = {"first": alice, "new": laptop}[who]
    one.tamper = lambda frame: [] if chunks_sent(alice, laptop) > 70 else [frame]  # the line is dead from then on
    link(alice, laptop, bob)
    assert laptop.messenger.handover.is_coming
    one.cut()
    one.tamper = None
    pass_time(SECOND, alice, laptop, bob, reconnect=True)
    assert seconds_until_all_is_there(alice, laptop, bob, most=130) < 130
    assert said(laptop, bob) == said(alice, bob)


def test_short_history_asks_for_nothing(limited: Town) -> None:
    alice, laptop, bob = linked(limited, LONG * MUCH // 200)
    seconds_until_all_is_there(alice, laptop, bob, most=30)
    assert chunks_sent(alice, laptop) > 16
    assert laptop.frames_sent("ALLOWANCE") == []


def test_new_device_allows_it_to_its_first_device_alone(limited: Town) -> None:
    alice, laptop, bob = linked(limited)
    seconds_until_all_is_there(alice, laptop, bob, most=30)
    assert {frame["payload"]["senderId"] for frame in laptop.frames_sent("ALLOWANCE")} == {alice.id}
    assert alice.frames_sent("ALLOWANCE") == bob.frames_sent("ALLOWANCE") == []


def test_nothing_is_asked_of_a_relay_without_limits(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    small_chunks(monkeypatch)
    alice, laptop, bob = linked(town)
    seconds_until_all_is_there(alice, laptop, bob, most=30)
    assert laptop.frames_sent("ALLOWANCE") == []


def claims(device: Device, **payload: Any) -> None:
    """The relay says of an allowance what it likes."""
    frame = {"type": "ALLOWANCE", "timestamp": 1, "payload": {"messages": 10**15, "expiresIn": 10**15, **payload}}
    device.down.append(canonical(frame))
    settle(device)


def test_relay_is_not_taken_at_its_word(limited: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than there can be nothing is believed, and of others than one's own devices nothing at all."""
    older_relay(monkeypatch)
    alice, laptop, bob = linked(limited)
    pacing, now = alice.messenger._sending._pacing, limited.world.clock.monotonic
    for user in (bob.id, alice.id, "A" * 44, laptop.id):
        claims(alice, recipientId=user)
    claims(alice, senderId=bob.id)
    assert set(pacing._allowed) == {laptop.id}
    left = ALLOWED_MESSAGES - chunks_sent(alice, laptop)
    assert left <= pacing.allowed(laptop.id, now) <= ALLOWED_MESSAGES
    assert pacing.allowed(laptop.id, now + ALLOWANCE_MS) == 0
    alice.cut()
    assert pacing.allowed(laptop.id, now) == 0, "on another connection nothing was told"


def sent_at_a_relay_that_repeats_itself(town: Town, monkeypatch: pytest.MonkeyPatch, *, reconnect: bool) -> int:
    """How many chunks leave in a minute if the relay allows 40, keeps saying so, and lets through whatever comes."""
    monkeypatch.setattr(allowances, "ALLOWED_MESSAGES", 40)
    monkeypatch.setattr(allowances.Allowances, "take", lambda *_: True)
    alice, laptop, bob = linked(town)
    for _ in range(4):
        if reconnect:
            alice.cut()
        pass_time(15 * SECOND, alice, laptop, bob, reconnect=reconnect)
        claims(alice, recipientId=laptop.id, messages=40)
    return chunks_sent(alice, laptop)


@pytest.mark.parametrize("reconnect", [False, True], ids=["one connection", "one after another"])
def test_relay_that_repeats_itself_makes_nobody_send_more(
    limited: Town, monkeypatch: pytest.MonkeyPatch, reconnect: bool
) -> None:
    assert sent_at_a_relay_that_repeats_itself(limited, monkeypatch, reconnect=reconnect) <= 40 + 2 * RATE


@pytest.mark.parametrize("reconnect", [False, True], ids=["one connection", "one after another"])
def test_control_client_that_believes_it_again_sends_more(
    limited: Town, monkeypatch: pytest.MonkeyPatch, reconnect: bool
) -> None:
    genuine = Pacing.allow

    def allow(self: Pacing, peer: str, messages: int, until: int, now: int) -> None:
        self._allowed.pop(peer, None)
        genuine(self, peer, messages, until, now)

    monkeypatch.setattr(Pacing, "allow", allow)
    assert sent_at_a_relay_that_repeats_itself(limited, monkeypatch, reconnect=reconnect) > 40 + 2 * RATE


def test_another_one_counts_when_there_can_be_another() -> None:
    pacing = Pacing()
    pacing.allow("peer", 40, ALLOWANCE_MS, 0)
    for now in (1, ALLOWANCE_MS, ALLOWANCE_EVERY_MS - 1):
        pacing.allow("peer", 200, now + ALLOWANCE_MS, now)
        assert pacing.allowed("peer", now) == (40 if now < ALLOWANCE_MS else 0)
    pacing.allow("peer", 200, ALLOWANCE_EVERY_MS + ALLOWANCE_MS, ALLOWANCE_EVERY_MS)
    assert pacing.allowed("peer", ALLOWANCE_EVERY_MS) == 200


def test_what_nobody_asked_for_counts_for_nothing(limited: Town) -> None:
    """The laptop has got everything: nothing is left to be handed over."""
    alice, laptop, bob = linked(limited, 10)
    pass_time(5 * SECOND, alice, laptop, bob)
    assert not alice.messenger.handover.is_going
    claims(alice, recipientId=laptop.id)
    assert alice.messenger._sending._pacing.allowed(laptop.id, limited.world.clock.monotonic) == 0
