"""What was said before a device was linked goes over to it, in chunks: on the first device, and on the new one.

Both sides know on disk how far they are, so that either may die and go on; see protocol/devices.md, History.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.devices.chunks import ChunkMaker, pack, place_of, position_at, unpack
from phantom_messenger.client.devices.desk import DeviceDesk
from phantom_messenger.client.devices.kinds import MAX_CHUNKS, History, HistoryAsk
from phantom_messenger.client.devices.records import HISTORY_IN, HISTORY_OUT, HistoryInRecord, HistoryOutRecord, Texts
from phantom_messenger.client.groups import handed_over
from phantom_messenger.client.link import Link
from phantom_messenger.client.many.listener import Ordered
from phantom_messenger.client.many.outgoing import Outgoing
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.status import DeliveryState, Event, LinkingEvent, LinkingStep
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.wire import frames
from phantom_messenger.wire.frames import Feature
from phantom_messenger.wire.limits import RateClass

PURPOSE: Final = "history"
"""Of the messages that carry chunks: they are forgotten as soon as the relay has them, for they are asked for again."""

MAX_TEXTS: Final = 1_000_000
ANSWERS_MS: Final = 30 * 86_400_000
"""For how long a device may ask."""

QUIET_MS: Final = 60_000
LONGEST_QUIET_MS: Final = 3_600_000
"""When it is asked again, if nothing comes while one is connected; the wait doubles."""

KEEP_FREE: Final = 10
"""Messages of a minute that are left to what the user writes."""

MUCH: Final = 2 * MAX_CHUNKS
"""Chunks: a new device of which more than so many are to come allows its first device messages beside the rate."""

LOOK_AGAIN_MS: Final = 1_000
_NOTHING: Final = pack(Texts())


class _Came(NamedTuple):
    """What has come since the program was started, and how many texts the first device says are left."""

    chunks: int = 0
    texts: int = 0
    left: int = 0

    def and_one(self, texts: int, left: int) -> "_Came":
        """With one more chunk."""
        return _Came(self.chunks + 1, self.texts + texts, left)

    @property
    def chunks_left(self) -> int:
        """About how many chunks are to come; 0 if nothing tells."""
        return self.left * self.chunks // self.texts if self.texts else 0


class Handover:
    """One of each kind at most, or of the first, one for each device.

    Args:
        stores: of the profile.
        sending: knows how much the relay takes now.
        outgoing: forgets chunks that the relay has.
        desk: says something to devices.
        moment: what the clocks show.
    """

    def __init__(
        self, stores: Stores, sending: Sending, outgoing: Outgoing, desk: DeviceDesk, moment: Callable[[], Moment]
    ) -> None:
        self._stores = stores
        self._sending = sending
        self._outgoing = outgoing
        self._desk = desk
        self._moment = moment
        self._maker = ChunkMaker(stores.vault, stores.groups)
        self._out = {one.device: one for _, one in stores.vault.all(HISTORY_OUT, HistoryOutRecord)}
        self._in = stores.vault.find(HISTORY_IN, "", HistoryInRecord)
        self._events: list[Event] = []
        self._is_running = False
        self._since: int | None = None
        """Since when nothing has come while one was connected."""
        self._quiet = QUIET_MS
        self._came = _Came()
        outgoing.listen(PURPOSE, self)

    @property
    def is_coming(self) -> bool:
        """Whether this device is still getting what was said before."""
        return self._in is not None

    @property
    def is_going(self) -> bool:
        """Whether another device is still getting it from this one."""
        return bool(self._out)

    # --- the first device ---------------------------------------------------------

    def here(self) -> bytes:
        """The place after everything until now."""
        return place_of(self._stores.vault.last_position() + 1)

    def promise(self, tx: Transaction, device: str, place: bytes) -> None:
        """A device that is being linked may ask for everything before a place."""
        vault, first = self._stores.vault, position_at(place) or 0
        left = vault.count(records.SENT) + vault.count(records.RECEIVED) + self._stores.groups.count_texts()
        until = self._moment().persistent + ANSWERS_MS
        self._put_out(tx, HistoryOutRecord(device=device, first=first, below=first, until=until, left=left))

    def asked(self, tx: Transaction, device: str, said: HistoryAsk, now: Moment) -> None:
        """A device asks for chunks, or says that it wants no more."""
        known, below = self._out.get(device), position_at(said.place)
        if not said.chunks:
            self.drop(tx, device)
        elif known is None or below is None or now.persistent > known.until:
            self.drop(tx, device)
            end = History(place=said.place, texts=_NOTHING)
            tx.on_commit(lambda: self._desk.later(lambda: self._desk.say([device], end)))
        else:
            self._put_out(tx, replace(known, below=min(below, known.first), chunks=said.chunks))

    def drop(self, tx: Transaction, device: str) -> None:
        """A device gets nothing more."""
        if device in self._out:
            tx.delete(HISTORY_OUT, device)
            tx.on_commit(lambda: self._forget_out(device))

    def _forget_out(self, device: str) -> None:
        known = self._out.pop(device, None)
        if known is not None:
            self._events.append(LinkingEvent(step=LinkingStep.COMPLETE, person=device, texts=known.texts))

    def _put_out(self, tx: Transaction, record: HistoryOutRecord) -> None:
        tx.put(HISTORY_OUT, record.device, record)
        tx.on_commit(lambda: self._out.__setitem__(record.device, record))

    def _give(self, link: Link, now: Moment) -> None:
        """Send the next chunk to each device that waits for one, if there is none under way to it."""
        own = self._stores.devices.own_others()
        for known in list(self._out.values()):
            if known.device not in own:  # it was removed
                with self._stores.vault.transaction() as tx:
                    self.drop(tx, known.device)
            elif known.chunks and self._may_give(link, known.device, now):
                self._give_to(known)

    def _may_give(self, link: Link, device: str, now: Moment) -> bool:
        is_free = self._sending.has_room_for(link, device, now.monotonic, keep=KEEP_FREE)
        return is_free and not self._stores.many.count(device)

    def _give_to(self, known: HistoryOutRecord) -> None:
        chunk = self._maker.chunk(known.below)
        texts, is_last = known.texts + chunk.texts, chunk.below is None
        left = 0 if is_last else max(0, known.left - chunk.texts)
        after = replace(
            known,
            below=known.below if chunk.below is None else chunk.below,
            chunks=0 if is_last else known.chunks - 1,
            texts=texts,
            left=left,
        )
        said = History(
            place=place_of(known.below),
            texts=chunk.data,
            next=UNSET if chunk.below is None else place_of(chunk.below),
            left=left,
        )
        self._desk.say([known.device], said, purpose=PURPOSE, also=lambda tx: self._put_out(tx, after))
        self._events.append(LinkingEvent(step=LinkingStep.HISTORY, person=known.device, texts=texts, left=left))

    def advanced(self, tx: Transaction, message_id: str, peer: str, state: DeliveryState, now: Moment) -> list[Event]:  # noqa: ARG002 - as every listener
        """The relay has a chunk, or will not take it: it is asked for again if it is lost."""
        self._outgoing.forget(tx, message_id)
        return []

    def ordered(
        self,
        tx: Transaction,  # noqa: ARG002 - as every listener
        message_id: str,  # noqa: ARG002
        outcome: Ordered,  # noqa: ARG002
        peers: Sequence[str],  # noqa: ARG002
        now: Moment,  # noqa: ARG002
    ) -> list[Event]:
        """Nothing: a chunk has no order."""
        return []

    # --- the new device -----------------------------------------------------------

    def begin(self, tx: Transaction, place: bytes, now: Moment) -> None:
        """This device was linked, and may ask from there on."""
        self._put_in(tx, HistoryInRecord(place=place, until=now.persistent + ANSWERS_MS))

    def came(self, tx: Transaction, said: History, now: Moment) -> None:
        """A chunk has come from one's first device; stored at once with what is asked for next."""
        known = self._in
        if known is None or said.place != known.place:
            return
        tx.on_commit(self._heard)
        try:
            texts = unpack(said.texts)
        except CryptoError:
            self._end(tx, known.texts)
            return
        came, stores = self._came.and_one(len(texts), said.left), self._stores
        tx.on_commit(lambda: setattr(self, "_came", came))
        count = known.texts + stores.past.put(tx, texts)
        count += handed_over.take(stores.groups, tx, texts.groups, stores.devices.person)
        if said.next is UNSET or count > MAX_TEXTS or now.persistent > known.until:
            self._end(tx, count)
            return
        left, chunks = said.left, max(0, known.chunks - 1)
        self._put_in(tx, HistoryInRecord(place=said.next, until=known.until, chunks=chunks, texts=count))
        event = LinkingEvent(step=LinkingStep.HISTORY, person=stores.devices.person, texts=count, left=left)
        tx.on_commit(lambda: self._events.append(event))

    def _heard(self) -> None:
        self._since, self._quiet = None, QUIET_MS

    def _put_in(self, tx: Transaction, record: HistoryInRecord) -> None:
        tx.put(HISTORY_IN, "", record)
        tx.on_commit(lambda: self._set_in(record))

    def _set_in(self, record: HistoryInRecord | None) -> None:
        self._in = record

    def _end(self, tx: Transaction, texts: int) -> None:
        """Nothing more is wanted, and the first device is told so."""
        tx.delete(HISTORY_IN, "")
        self._stores.past.ended(tx)
        place, person = b"\0" if self._in is None else self._in.place, self._stores.devices.person
        end = HistoryAsk(place=place, chunks=0)
        event = LinkingEvent(step=LinkingStep.COMPLETE, person=person, texts=texts)
        tx.on_commit(lambda: self._set_in(None))
        tx.on_commit(lambda: self._events.append(event))
        tx.on_commit(lambda: self._desk.later(lambda: self._desk.say([person], end)))

    def _allow(self, link: Link, now: Moment) -> None:
        """Let the first device send more than the rate, if much is to come.

        It is said each time that chunks are asked for: either of the two may have connected again since.
        """
        if self._came.chunks_left <= MUCH or not link.is_limited or Feature.ALLOWANCE not in link.relay_features:
            return
        if self._sending.may_send(link, RateClass.BLOCK, now.monotonic):
            payload = frames.AllowancePayload(sender_id=self._stores.devices.person)
            link.send(frames.Allowance(payload=payload, timestamp=0), now.monotonic)

    def _ask(self, link: Link, known: HistoryInRecord, now: Moment) -> None:
        """Ask for the next chunks, if none is to come, or for the same again, if they do not."""
        if self._since is None:
            self._since = now.monotonic
        is_quiet = now.monotonic - self._since >= self._quiet
        if known.chunks and not is_quiet:
            return
        if is_quiet:
            self._quiet = min(LONGEST_QUIET_MS, 2 * self._quiet)
        self._since = now.monotonic
        if now.persistent > known.until:
            with self._stores.vault.transaction() as tx:
                self._end(tx, known.texts)
            return
        self._allow(link, now)
        asking = HistoryInRecord(place=known.place, until=known.until, chunks=MAX_CHUNKS, texts=known.texts)
        said = HistoryAsk(place=known.place, chunks=MAX_CHUNKS)
        self._desk.say([self._stores.devices.person], said, also=lambda tx: self._put_in(tx, asking))

    # --- both ---------------------------------------------------------------------

    def run(self, link: Link | None, now: Moment) -> Iterator[Event]:
        """Go on, and say how far it is."""
        if not (self._out or self._in or self._events):
            return
        if link is None:
            self._since = None
        elif not self._is_running:
            self._is_running = True
            try:
                self._give(link, now)
                if self._in is not None:
                    self._ask(link, self._in, now)
            finally:
                self._is_running = False
        events, self._events = self._events, []
        yield from events

    def waits(self, now: int) -> list[int]:
        """Milliseconds until there is something to do."""
        waits = [LOOK_AGAIN_MS] if any(one.chunks for one in self._out.values()) else []
        if self._in is not None and self._since is not None:
            waits.append(max(0, self._since + self._quiet - now))
        return waits
