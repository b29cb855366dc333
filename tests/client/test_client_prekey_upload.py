"""The conversation with a relay about one's prekeys, on a line without a relay."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_samples import DAY, KEY, fast_folder, publication_of, randomness
from msgspec import UNSET

from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.prekey_store import ONE_TIME_TARGET, PreKeyStore
from phantom_messenger.client.prekey_upload import MINUTE_MS, MOST_AN_HOUR, MOST_AT_ONCE, QUERY_MS, PreKeyUpload
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.keys import OwnIdentity, PeerIdentity
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode


class Line:
    """A connection; each frame gets the next number."""

    audience = "relay.example"
    challenge = "a challenge"

    def __init__(self) -> None:
        self.queries = 0
        self.published: list[frames.PreKeyPublishPayload] = []

    def send(self, frame: frames.PreKeyStatusQuery, _: int) -> str:
        self.queries += frame.type == "PREKEY_STATUS"
        return f"query {self.queries}"

    def send_signed(self, frame: frames.PreKeyPublish, _: int) -> str:
        self.published.append(frame.payload)
        return f"publication {len(self.published)}"


WALL = 1_760_000_000_000


def at(milliseconds: int, wall: int = WALL) -> Moment:
    return Moment(milliseconds, 10**12 + milliseconds, wall)


class Upload:
    """The prekeys of a profile, and a connection on which the relay says what it has."""

    def __init__(self, vault: Vault) -> None:
        identity = OwnIdentity(bytes(32))
        self.store = PreKeyStore(vault, identity, randomness("upload"))
        self.upload = PreKeyUpload(self.store, DeviceBook(vault, AddressBook(vault), identity))
        self.line: Any = Line()
        self.upload.connected(0)

    def hear(
        self, *, one_time: int = 0, kem: int = 0, answers: str = "", now: int = 0, wall: int = WALL, **payload: Any
    ) -> None:
        """The relay says what it has, and answers a request if one is named."""
        status = frames.PreKeyStatusPayload(one_time_pre_keys=one_time, kem_pre_keys=kem, **payload)
        frame = frames.PreKeyStatus(payload=status, timestamp=0, id=answers or UNSET)
        self.upload.handle(frame, at(now, wall))
        self.upload.publish(self.line, now, lambda: True)

    def has_last(self, *, one_time: int = 100, kem: int = 25, **options: Any) -> None:
        """The relay has the last publication."""
        last = self.line.published[-1]
        highest = max(key.id for key in [last.signed_pre_key, *last.one_time_pre_keys, *last.kem_pre_keys])
        self.hear(
            one_time=one_time,
            kem=kem,
            **{
                "highest_pre_key_id": highest,
                "signed_pre_key_id": last.signed_pre_key.id,
                "last_resort_kem_pre_key_id": last.last_resort_kem_pre_key.id,
                **options,
            },
        )

    def refuse(self, request: str, code: int, reason: str = "", *, retry_after: Any = UNSET, now: int = 0) -> bool:
        details: Any = {"reason": reason} if reason else UNSET
        payload = frames.ErrorPayload(code=code, message="x", details=details, retry_after=retry_after)
        return self.upload.refused(frames.Error(payload=payload, timestamp=0, id=request), now)


@pytest.fixture
def upload(tmp_path: Path) -> Iterator[Upload]:
    with fast_folder(tmp_path) as folder:
        vault = Vault(folder / "a.vault", KEY)
        yield Upload(vault)
        vault.close()


def test_relay_is_asked_after_a_login_and_every_six_hours(upload: Upload) -> None:
    upload.upload.connected(1_000)
    assert [upload.upload.wait(now) for now in (0, 999, 1_000, 1_001)] == [1_000, 1, 0, 0]
    upload.upload.tick(upload.line, 999)
    assert upload.line.queries == 0
    for now in (1_000, 1_001, 999 + QUERY_MS):
        upload.upload.tick(upload.line, now)
        assert upload.line.queries == 1
    assert upload.upload.wait(1_000) == QUERY_MS
    upload.upload.tick(upload.line, 1_000 + QUERY_MS)
    assert upload.line.queries == 2


def test_what_is_missing_is_published_and_then_confirmed(upload: Upload) -> None:
    upload.hear(one_time=40, kem=5)
    (payload,) = upload.line.published
    assert (payload.audience, payload.challenge, payload.replace) == ("relay.example", "a challenge", UNSET)
    assert (len(payload.one_time_pre_keys), len(payload.kem_pre_keys)) == (ONE_TIME_TARGET - 40, 20)
    confirmed = [upload.upload.confirmed]
    made = upload.upload._under_way
    assert made is not None
    for part, key in ((payload.signed_pre_key, made[1].signed), (payload.one_time_pre_keys[0], made[1].one_time[0])):
        assert (part.id, base64.b64decode(part.key)) == (key.id, key.pair.public)
    for part, kem in (
        (payload.last_resort_kem_pre_key, made[1].last_resort),
        (payload.kem_pre_keys[0], made[1].kem[0]),
    ):
        assert (part.id, base64.b64decode(part.key), base64.b64decode(part.signature)) == (
            kem.id, kem.public, kem.signature,
        )  # fmt: skip
    assert base64.b64decode(payload.signed_pre_key.signature) == made[1].signed.signature
    upload.has_last(answers="publication 1")
    confirmed.append(upload.upload.confirmed)
    assert len(upload.line.published) == 1
    again = publication_of(upload.store, one_time=40, kem=5, now=at(0).persistent)
    assert again.one_time[0].id != made[1].one_time[0].id, "what the relay has is not published again"
    upload.upload.connected(5)
    assert [*confirmed, upload.upload.confirmed] == [False, True, False]


@pytest.mark.parametrize("answers", ["", "query 1", "publication 2"])
def test_publication_that_never_arrived_is_made_of_the_same_keys_again(upload: Upload, answers: str) -> None:
    upload.hear()
    upload.hear(answers=answers)
    assert upload.line.published[1] == upload.line.published[0]


@pytest.mark.parametrize("answers", ["", "query 1", "publication 2"])
def test_publication_that_arrived_and_was_not_answered_is_not_made_again(upload: Upload, answers: str) -> None:
    upload.hear()
    upload.has_last(answers=answers)
    assert upload.upload.confirmed
    last = max(key.id for key in upload.line.published[0].kem_pre_keys)
    assert publication_of(upload.store, one_time=0, kem=0, now=at(0).persistent).one_time[0].id > last


def test_key_whose_publication_was_not_answered_still_opens_what_was_begun_with_it(dating: Upload) -> None:
    """The device died before the answer, its clock was set back, and so the relay refuses its next date."""
    dating.hear(wall=WALL + 60_000)
    first = dating.line.published[0]
    dating.upload.connected(0, takes_dates=True)
    dating.has_last(one_time=99, kem=24)
    outdated(dating, "publication 2")
    dating.upload.tick(dating.line, 1_000)
    dating.has_last(one_time=99, kem=24, now=1_000)
    assert dating.line.published[-1].replace is True
    begun = HandshakeHeader(
        identity=PeerIdentity(bytes(32)),
        ephemeral=bytes(32),
        signed_prekey_id=first.signed_pre_key.id,
        one_time_prekey_id=first.one_time_pre_keys[0].id,
        kem_prekey_id=first.kem_pre_keys[0].id,
        kem_ciphertext=bytes(1088),
    )
    signed, one_time, kem = dating.store.named_in(begun)
    assert (signed.id, one_time and one_time.id) == (begun.signed_prekey_id, begun.one_time_prekey_id)
    assert kem is not None
    assert kem.id == begun.kem_prekey_id


def test_relay_that_has_what_is_lost_here_gets_all_anew_twice_at_most_until_it_is_asked_again(upload: Upload) -> None:
    lost: dict[str, Any] = {"one_time": 100, "kem": 25, "highest_pre_key_id": 10**9 + 5, "signed_pre_key_id": 3}
    for count in (1, 2, 2):
        upload.hear(**lost)
        assert len(upload.line.published) == count
        assert not upload.upload.confirmed
    assert MOST_AT_ONCE == 2
    for payload in upload.line.published:
        assert payload.replace is True
        assert (len(payload.one_time_pre_keys), len(payload.kem_pre_keys)) == (100, 25)
        assert payload.signed_pre_key.id > 10**9 + 5
    upload.upload.tick(upload.line, QUERY_MS)
    upload.hear(**lost)
    assert len(upload.line.published) == 3


def test_old_keys_are_renewed_by_persistent_time(upload: Upload) -> None:
    upload.hear()
    upload.has_last(answers="publication 1")
    upload.has_last(now=7 * DAY)
    assert upload.upload.confirmed
    upload.has_last(now=7 * DAY + 1)
    first, second = upload.line.published
    assert second.signed_pre_key.id > first.signed_pre_key.id
    assert second.last_resort_kem_pre_key.id > first.last_resort_kem_pre_key.id


def test_publication_is_made_in_steps_and_sent_once_it_is_whole(upload: Upload) -> None:
    status = frames.PreKeyStatusPayload(one_time_pre_keys=0, kem_pre_keys=0)
    upload.upload.publish(upload.line, 0, lambda: True)
    upload.upload.tick(upload.line, 0)
    upload.upload.handle(frames.PreKeyStatus(payload=status, timestamp=0), at(0))
    steps = 0
    while not upload.line.published:
        assert upload.upload.wait(0) == 0
        upload.upload.publish(upload.line, 0, lambda: False)
        steps += 1
    assert steps > 2
    assert upload.upload.wait(0) == QUERY_MS
    upload.upload.publish(upload.line, 0, lambda: True)
    assert len(upload.line.published) == 1
    upload.upload.handle(frames.PreKeyStatus(payload=status, timestamp=0), at(0))
    upload.upload.connected(7)
    upload.upload.publish(upload.line, 7, lambda: True)
    assert len(upload.line.published) == 1, "what was begun on another connection is not sent on this one"


@pytest.mark.parametrize("left", [{"one_time": 24}, {"kem": 9}, {"last_resort_kem_pre_key_id": UNSET}])
def test_relay_that_runs_low_gets_more(upload: Upload, left: dict[str, Any]) -> None:
    upload.hear()
    upload.has_last(answers="publication 1")
    upload.has_last(**left)
    assert len(upload.line.published) == 2


RATE, INTERNAL, INVALID = ErrorCode.RATE_LIMITED, ErrorCode.INTERNAL_ERROR, ErrorCode.INVALID_MESSAGE


REFUSALS: list[tuple[int, str, Any, int]] = [
    (RATE, "rate", 5_000, MINUTE_MS),
    (RATE, "rate", 70_000, 70_000),
    (INTERNAL, "storage", 5_000, 5_000),
    (INTERNAL, "storage", UNSET, 1_000),
    (INTERNAL, "storage", 10, 1_000),
    (INVALID, "clock", 2_000, 2_000),
    (INVALID, "field", 2_000, QUERY_MS),
]
"""Code, reason and ``retryAfter`` of a refusal, and when the relay is asked again."""


@pytest.mark.parametrize("number", ["query 1", "publication 1"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_refused_request_is_made_again_in_time(upload: Upload, number: str, refusal: tuple[int, str, Any, int]) -> None:
    code, reason, retry_after, wait = refusal
    upload.upload.tick(upload.line, 0)
    upload.hear()
    assert not upload.refuse("of others", code, reason, retry_after=retry_after)
    assert upload.upload.wait(0) == QUERY_MS
    assert upload.refuse(number, code, reason, retry_after=retry_after) is number.startswith("publication")
    assert upload.upload.wait(0) == wait
    assert not upload.refuse("publication 1", code, reason), "it is not under way any more"


# --- dates ------------------------------------------------------------------------


@pytest.fixture
def dating(upload: Upload) -> Upload:
    """The same at a relay that keeps dates."""
    upload.upload.connected(0, takes_dates=True)
    return upload


def test_relay_that_keeps_dates_is_sent_one_and_others_are_not(upload: Upload) -> None:
    upload.hear()
    upload.has_last(answers="publication 1")
    upload.upload.connected(1, takes_dates=True)
    upload.has_last(now=1, wall=WALL + 1)
    old, new = upload.line.published
    assert (old.made_at, old.bundle_signature) == (UNSET, UNSET)
    assert new.made_at == WALL + 1
    assert len(base64.b64decode(new.bundle_signature)) == 64
    assert (new.signed_pre_key, new.last_resort_kem_pre_key) == (old.signed_pre_key, old.last_resort_kem_pre_key)
    assert (new.one_time_pre_keys, new.kem_pre_keys, new.replace) == ([], [], UNSET)


def test_date_is_published_once_for_prekeys_that_have_none(upload: Upload) -> None:
    upload.hear()
    upload.has_last(answers="publication 1")
    upload.upload.connected(1, takes_dates=True)
    upload.has_last(now=1)
    assert not upload.upload.confirmed
    upload.has_last(now=1, answers="publication 2")
    for later in (2, 3):
        upload.upload.connected(later, takes_dates=later == 3)
        upload.has_last(now=later)
        assert upload.upload.confirmed
    assert len(upload.line.published) == 2


def test_more_one_time_keys_have_a_date_of_their_own(dating: Upload) -> None:
    dating.hear()
    dating.has_last(answers="publication 1")
    dating.has_last(one_time=24, wall=WALL + 7)
    assert [payload.made_at for payload in dating.line.published] == [WALL, WALL + 7]


def outdated(upload: Upload, request: str, now: int = 0) -> bool:
    return upload.refuse(request, ErrorCode.INVALID_MESSAGE, "outdated", now=now)


def test_relay_that_has_a_later_date_gets_all_anew(dating: Upload) -> None:
    """Of another device with the same profile, whose clock is ahead, say."""
    dating.hear(one_time=50, kem=12)
    assert not outdated(dating, "publication 1"), "nobody has to be told"
    assert dating.upload.wait(0) == 1_000
    dating.upload.tick(dating.line, 1_000)
    dating.hear(one_time=50, kem=12, now=1_000)
    again = dating.line.published[-1]
    assert (again.replace, len(again.one_time_pre_keys), len(again.kem_pre_keys)) == (True, 100, 25)
    dating.has_last(answers="publication 2", now=1_000)
    assert dating.upload.confirmed
    dating.has_last(one_time=24, now=1_000)
    assert dating.line.published[-1].replace is UNSET


def test_relay_that_refuses_every_date_is_not_asked_at_once_for_ever(dating: Upload) -> None:
    dating.hear()
    outdated(dating, "publication 1")
    dating.upload.tick(dating.line, 1_000)
    dating.hear(now=1_000)
    assert outdated(dating, "publication 2", now=1_000), "this has to be told"
    assert dating.upload.wait(1_000) == QUERY_MS


def test_date_of_a_clock_that_was_wrong_is_replaced(dating: Upload) -> None:
    dating.hear(wall=WALL + 2 * DAY)
    dating.has_last(answers="publication 1", wall=WALL + 2 * DAY)
    assert dating.upload.confirmed
    dating.has_last(wall=WALL)
    again = dating.line.published[-1]
    assert (again.made_at, again.replace, len(again.one_time_pre_keys)) == (WALL, True, 100)
    dating.has_last(answers="publication 2", wall=WALL)
    assert dating.upload.confirmed
    assert len(dating.line.published) == 2


def test_date_of_a_clock_that_was_months_behind_is_replaced_and_one_of_a_quiet_month_is_not(dating: Upload) -> None:
    dating.hear(wall=WALL - 46 * DAY)
    dating.has_last(answers="publication 1", wall=WALL - 2 * DAY)
    assert dating.upload.confirmed
    dating.has_last(wall=WALL)
    again = dating.line.published[-1]
    assert (again.made_at, again.replace, again.one_time_pre_keys) == (WALL, UNSET, [])
    dating.has_last(answers="publication 2", wall=WALL)
    assert dating.upload.confirmed
    assert len(dating.line.published) == 2


def test_relay_that_has_lost_all_keys_at_each_login_gets_a_bounded_number_in_an_hour(upload: Upload) -> None:
    for minute in range(60):
        upload.upload.connected(minute * 59_000)
        for _ in range(3):
            upload.hear(now=minute * 59_000)
    assert len(upload.line.published) == MOST_AN_HOUR
    upload.upload.connected(2 * 3_600_000)
    upload.hear(now=2 * 3_600_000)
    assert len(upload.line.published) == MOST_AN_HOUR + 1
