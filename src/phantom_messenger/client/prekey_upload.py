"""Prekeys at the relay: asked for after login and now and then, published when they run low or grow old."""

import base64
from collections.abc import Callable, Generator
from typing import Final

from msgspec import UNSET

from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.link import Link
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.pacing import SOON_MS, asked, reason_of
from phantom_messenger.client.prekey_store import PreKeyStore, Publication
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode, Reason

QUERY_MS: Final = 6 * 3_600_000
"""How often the relay is asked what is left; prekeys are renewed then too."""

MOST_AT_ONCE: Final = 2
"""Publications on one connection: the first may hold keys that the relay has already, the second none."""

MOST_AN_HOUR: Final = 20
"""Publications in an hour, over all connections: a relay can name any reason for one."""

_HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 61_000
"""Longer than the time over which the relay counts."""


class PreKeyUpload:
    """The conversation with the relay about one's prekeys.

    Args:
        prekeys: one's own.
        devices: knows one's own device list, which is published with them.
    """

    def __init__(self, prekeys: PreKeyStore, devices: DeviceBook) -> None:
        self._prekeys = prekeys
        self._devices = devices
        self._being_made: tuple[Generator[None, None, Publication], bool] | None = None
        """The steps that are left, and whether it replaces what the relay has."""
        self._under_way: tuple[str, Publication] | None = None
        self._query_at = 0
        self._query = ""
        self._left = MOST_AT_ONCE
        self._begun_at: list[int] = []
        """When publications of the last hour were begun."""
        self._takes_dates = False
        self._list_under_way = b""
        self._list_asked: bytes | None = None
        """The list that was new when the relay was asked last."""
        self._takes_lists = False
        self._is_outdated = False
        """Whether the relay has refused a date: it has a later one, which is replaced with all that it has."""
        self.confirmed = False
        """Whether the relay has said that it has enough."""

    def connected(self, now: int, *, takes_dates: bool = False, takes_lists: bool = False) -> None:
        """A login is through: ask.

        Args:
            now: monotonic.
            takes_dates: the relay keeps dates of prekeys; others do not know them.
            takes_lists: the same of device lists.
        """
        self._takes_dates, self._takes_lists = takes_dates, takes_lists
        self._list_asked = None
        self._being_made = self._under_way = None
        self._query_at = now
        self._left = MOST_AT_ONCE
        self.confirmed = False

    def tick(self, link: Link, now: int) -> None:
        """Ask if it is time."""
        wanted = self._list()
        if now >= self._query_at or (wanted is not None and wanted != self._list_asked):
            self._list_asked = wanted
            self._query_at = now + QUERY_MS
            self._left = MOST_AT_ONCE
            self._query = link.send(frames.PreKeyStatusQuery(timestamp=0), now)

    def wait(self, now: int) -> int:
        """Milliseconds until there is something to do."""
        return 0 if self._being_made is not None else max(0, self._query_at - now)

    def handle(self, frame: frames.PreKeyStatus, now: Moment) -> bytes:
        """The relay says what it has; ``publish`` what it lacks. The device list that it has taken, b'' if none."""
        taken = b""
        if self._under_way is not None and frame.id == self._under_way[0]:
            self._prekeys.published(self._under_way[1])
            self._under_way = None
            self._is_outdated = False
            taken = self._list_under_way
        self._begun_at = [at for at in self._begun_at if now.monotonic - at < _HOUR_MS]
        may_publish = self._left > 0 and len(self._begun_at) < MOST_AN_HOUR
        payload = frame.payload
        one_time, kem = payload.one_time_pre_keys, payload.kem_pre_keys
        signed_id = None if payload.signed_pre_key_id is UNSET else payload.signed_pre_key_id
        highest_id = None if payload.highest_pre_key_id is UNSET else payload.highest_pre_key_id
        self._prekeys.note_highest(highest_id)
        is_ahead = self._takes_dates and self._prekeys.is_ahead(now.wall)
        is_behind = self._prekeys.is_behind(signed_id=signed_id, highest_id=highest_id)
        replace = is_behind or is_ahead or self._is_outdated
        if replace and may_publish:
            self._prekeys.catch_up(highest_id, now.persistent)
            one_time = kem = 0
        is_late = self._takes_dates and self._prekeys.is_late(now.wall)
        lacks_something = self._prekeys.due(
            one_time=one_time,
            kem=kem,
            signed_id=signed_id,
            last_resort_id=None if payload.last_resort_kem_pre_key_id is UNSET else payload.last_resort_kem_pre_key_id,
            now=now.persistent,
            takes_dates=self._takes_dates,
        )
        is_due = replace or is_late or lacks_something or self._list() not in {None, taken}
        self.confirmed = not is_due
        if is_due and may_publish:
            self._left -= 1
            self._begun_at.append(now.monotonic)
            made_at = self._prekeys.date(now.wall) if self._takes_dates else 0
            steps = self._prekeys.publication(one_time=one_time, kem=kem, now=now.persistent, made_at=made_at)
            self._being_made = steps, replace
        return taken

    def publish(self, link: Link, now: int, has_time: Callable[[], bool]) -> None:
        """Make what the relay lacks: something, and more while there is time; and send it once it is whole.

        All at once if it hands out prekeys that are lost: nobody can be read who begins a session with one of those.
        """
        if self._being_made is None:
            return
        steps, replace = self._being_made
        self._being_made = None
        publication = _next_steps(steps, (lambda: True) if replace else has_time)
        if publication is None:
            self._being_made = steps, replace
            return
        self._list_under_way = self._list() or b""
        payload = _payload(publication, link, replace=replace, device_list=self._list_under_way)
        frame = frames.PreKeyPublish(payload=payload, signature="", timestamp=0)
        self._under_way = link.send_signed(frame, now), publication

    def _list(self) -> bytes | None:
        """One's own device list, if the relay does not have it, and keeps such."""
        found = self._devices.to_publish() if self._takes_lists else None
        return None if found is None else found.encoded

    def refused(self, error: frames.Error, now: int) -> bool:
        """An error has come; whether it was for a publication, and nothing here can repair it."""
        is_publication = self._under_way is not None and error.id == self._under_way[0]
        if not is_publication and error.id != self._query:
            return False
        self._under_way = None
        wait = asked(error.payload.retry_after, SOON_MS)
        if error.payload.code == ErrorCode.RATE_LIMITED:
            # The question and the publication behind it need two places, and the relay's time frees one.
            self._query_at = now + max(wait, MINUTE_MS)
        elif error.payload.code == ErrorCode.INTERNAL_ERROR or reason_of(error) == Reason.CLOCK:
            self._query_at = now + max(wait, SOON_MS)
        elif reason_of(error) == Reason.OUTDATED and not self._is_outdated:
            self._is_outdated = True
            self._query_at = now + SOON_MS
            return False
        return is_publication


def _next_steps(steps: Generator[None, None, Publication], has_time: Callable[[], bool]) -> Publication | None:
    """Take at least one; what they have come to, if that was the last."""
    try:
        next(steps)
        while has_time():
            next(steps)
    except StopIteration as end:
        made: Publication = end.value
        return made
    return None


def _payload(publication: Publication, link: Link, *, replace: bool, device_list: bytes) -> frames.PreKeyPublishPayload:
    signed, last_resort = publication.signed, publication.last_resort
    return frames.PreKeyPublishPayload(
        audience=link.audience,
        bundle_signature=_text(publication.bundle_signature) if publication.made_at else UNSET,
        challenge=link.challenge,
        device_list=_text(device_list) if device_list else UNSET,
        kem_pre_keys=[
            frames.KemPreKeyPart(id=key.id, key=_text(key.public), signature=_text(key.signature))
            for key in publication.kem
        ],
        last_resort_kem_pre_key=frames.KemPreKeyPart(
            id=last_resort.id, key=_text(last_resort.public), signature=_text(last_resort.signature)
        ),
        made_at=publication.made_at or UNSET,
        one_time_pre_keys=[
            frames.OneTimePreKeyPart(id=key.id, key=_text(key.pair.public)) for key in publication.one_time
        ],
        replace=True if replace else UNSET,
        signed_pre_key=frames.SignedPreKeyPart(
            id=signed.id, key=_text(signed.pair.public), signature=_text(signed.signature)
        ),
    )


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
