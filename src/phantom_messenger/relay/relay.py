"""The relay without input and output: what an adapter calls when something happens outside."""

import base64
from collections.abc import Callable, Iterable

from msgspec import UNSET

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.events import Event, log
from phantom_messenger.relay import handlers, names
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.login import refuse_login
from phantom_messenger.relay.permissions import Act, watchers
from phantom_messenger.relay.pipeline import Submission
from phantom_messenger.relay.ports import (
    Clock,
    Connection,
    Helpers,
    KeptLimits,
    Randomness,
    Scheduler,
    Verification,
    Writer,
)
from phantom_messenger.relay.reference import Lenience, Letter
from phantom_messenger.relay.rules import RULES, State
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import codec, frames, limits, signing
from phantom_messenger.wire.codes import CloseCode, Reason, Refused

SWEEP_LIMIT = 256
"""Expired messages removed in one step, so that a sweep never holds up the batch behind it."""

IDLE_LIMIT = 64
"""Accounts that are looked at in one step, whether they are still used."""

IDLE_EVERY_MS = 3_600_000
"""How often all of them are."""

SWEEP_AGAIN_MS = 10_000
"""When to sweep again after it failed."""

PRUNE_MS = 60_000
OVERLOAD_RETRY_MS = 1_000
OVERLOAD_STEPS = 16
OVERLOAD_STEP_MS = 250
OVERLOAD_OVER_MS = 5_000
STATUS_MS = 60_000
KEEP_TIME_MS = 60_000
"""How often steady time is saved while the wall clock runs as it should."""

CLOCK_STEP_MS = 1_000
"""How far the wall clock moves by itself before it counts as set."""

PROTOCOL_VERSION = 1


class Relay:
    """All of the relay's behaviour; arguments as for ``Core``, and the limits of the last stop."""

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        randomness: Randomness,
        schedule: Scheduler,
        verify: Verification,
        writer: Writer,
        helpers: Helpers | None = None,
        kept_limits: KeptLimits | None = None,
    ) -> None:
        self._core = Core(
            config=config,
            clock=clock,
            randomness=randomness,
            schedule=schedule,
            verify=verify,
            helpers=helpers,
            writer=writer,
            handle=handlers.handle,
        )
        self._config = config
        self._clock = clock
        if kept_limits is not None:
            self._core.limiter.restore(kept_limits, clock.monotonic_ms(), clock.persistent_ms())
        self._stopping = False
        self._sweeping = False
        self._sweep_at = 0
        self._removing = False
        self._remove_at = 0
        self._pruned_at = self._told_at = self._shed_at = clock.monotonic_ms()
        self._shedding = 0
        self._time_kept_at: int | None = None
        self._wall_ahead = 0
        self._keep_time(self._pruned_at)

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._core.hub)

    @property
    def names(self) -> frozenset[str]:
        """What logins may be signed for."""
        return self._core.names

    def listens(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Say which addresses and ports lead here; without names of its own, they are the relay's."""
        self._core.names = frozenset(self._config.public_names) or names.names_of(addresses)

    def connect(self, connection: Connection, *, address: str, host: str) -> Session:
        """A WebSocket handshake was completed; the answer is CONNECTION_ACK.

        Args:
            connection: the way to the client.
            address: the party that limits count.
            host: the Host header.
        """
        core, now = self._core, self._clock.wall_ms()
        session = Session(
            connection,
            connection_id=core.token(16),
            address=address,
            mark=core.mark(address),
            host=names.normal_or_none(host) or "" if names.ANY in core.names else "",
            challenge=core.token(limits.CHALLENGE_BYTES),
            now=self._clock.monotonic_ms(),
        )
        if self._config.reference_clients:
            session.reference = Lenience()
        count = core.hub.add(session)
        if self._stopping:
            core.close(session, CloseCode.GOING_AWAY, "the relay is stopping")
        elif self._config.max_connections and count > self._config.max_connections:
            core.close(session, CloseCode.RATE_LIMITED, "too many connections from this address")
        else:
            core.send(
                session,
                frames.ConnectionAck(
                    payload=frames.ConnectionAckPayload(
                        challenge=session.challenge,
                        connection_id=session.connection_id,
                        limits=frames.LimitsPart(
                            backlog=limits.MAX_BACKLOG,
                            encrypted_chars=limits.MAX_ENCRYPTED_CHARS,
                            message_bytes=limits.MAX_MESSAGE_BYTES,
                            messages_per_minute=self._config.rates.get(limits.RateClass.MESSAGE),
                            metadata_bytes=limits.MAX_METADATA_BYTES,
                        ),
                        protocol_version=PROTOCOL_VERSION,
                        server_name=self._config.server_name,
                        server_time=now,
                        unsigned_auth=True if self._config.reference_clients else UNSET,
                    ),
                    timestamp=now,
                ),
            )
        return session

    def receive(self, session: Session, text: bytes) -> None:
        """A text message has come."""
        if session.state is State.CLOSED or self._stopping:
            return
        core, now = self._core, self._clock.monotonic_ms()
        session.heard_at = now
        letter = None
        try:
            kind = codec.read_kind(text)
            session.hear(kind)
            if session.reference is None:
                decoded = codec.decode_client(text, kind)
            else:
                decoded, letter = session.reference.read(text)
            session.admit(decoded.frame, limiter=core.limiter, wall=self._clock.wall_ms(), now=now, shed=self._shed)
        except Refused as refused:
            self._refuse(session, refused, codec.request_head(text))
            return
        core.pipeline.put(Submission(session, decoded, _signature_check(session, decoded, letter), letter))

    def receive_binary(self, session: Session, data: bytes) -> None:  # noqa: ARG002 - nothing is made of it
        """A binary message has come; the protocol has none."""
        if session.state is State.CLOSED:
            return
        self._core.refuse(session, Refused(Reason.BINARY), UNSET)
        self._core.close(session, CloseCode.INVALID_MESSAGE, "binary message")

    def drained(self, session: Session) -> None:
        """The socket has taken what was waiting for it."""
        self._core.drained(session)

    def disconnected(self, session: Session) -> None:
        """The connection is gone, whoever closed it."""
        session.state = State.CLOSED
        if self._core.hub.remove(session, self._clock.monotonic_ms()) and not session.looks_absent:
            self._core.note_departure(session.user_id)

    def tick(self) -> None:
        """Time has passed: call it about once a second."""
        core, now = self._core, self._clock.monotonic_ms()
        for session in core.hub:
            try:
                self._check_times(session, now)
            except Exception as error:  # noqa: BLE001 - the border: one client's failure is not the others'
                core.failed(session, error)
        for user in core.hub.departed(now):
            self._announce_departure(user)
        core.expire_unshown()
        if not self._sweeping and now >= self._sweep_at:
            self._sweep()
        self._keep_time(now)
        self._tell(now)
        if now - self._pruned_at >= PRUNE_MS:
            self._pruned_at = now
            core.limiter.prune(now)
            core.quota.prune(now)
            core.forget_exchanges(now)
            steady = self._clock.persistent_ms()
            core.store_quietly(lambda tx: tx.prekeys.forget_handouts(steady))
        if not self._removing and now >= self._remove_at:
            self._remove_idle()

    def stop(self, stopped: Callable[[], None]) -> None:
        """Finish what is on its way, tell every client 1001, then call ``stopped``; may be called again."""
        if not self._stopping:
            self._stopping = True
            self._save_time(self._clock.snapshot())
            kept = self._core.limiter.keep(self._clock.monotonic_ms(), self._clock.persistent_ms())
            if kept.times:
                self._core.store_quietly(lambda tx: tx.limits.save(kept))

        def close_all() -> None:
            self.close_all()
            stopped()

        self._core.pipeline.when_idle(close_all)

    def close_all(self) -> None:
        """Tell every client 1001."""
        for session in self._core.hub:
            self._core.close(session, CloseCode.GOING_AWAY, "the relay is stopping")

    def _refuse(self, session: Session, refused: Refused, request: codec.Request) -> None:
        core = self._core
        if session.state is not State.OPEN:
            if request.type == "AUTH" and session.state is State.CONNECTED:
                refuse_login(core, session, refused, request.id)
                return
            if request.type not in (None, "AUTH", "PING"):
                core.refuse(session, Refused(Reason.NOT_AUTHENTICATED), request.id)
                core.close(session, CloseCode.AUTHENTICATION_REQUIRED, "authentication required")
                return
        core.refuse(session, refused, request.id)

    def _shed(self) -> int | None:
        """If the pipeline is full: milliseconds after which to send again, spread so that not all come back at once."""
        core = self._core
        if not core.pipeline.is_full:
            return None
        if not self._shedding:
            log(Event.OVERLOADED)
        self._shedding += 1
        self._shed_at = self._clock.monotonic_ms()
        return OVERLOAD_RETRY_MS + self._shedding % OVERLOAD_STEPS * OVERLOAD_STEP_MS

    def _tell(self, now: int) -> None:
        """The log hears of the end of an overload, and once a minute how much there is to do."""
        if self._shedding and now - self._shed_at >= OVERLOAD_OVER_MS:
            log(Event.OVERLOAD_OVER, refused=self._shedding)
            self._shedding = 0
        if now - self._told_at >= STATUS_MS:
            self._told_at = now
            log(Event.STATUS, connections=self.connections, waiting=self._core.pipeline.load)

    def _check_times(self, session: Session, now: int) -> None:
        core = self._core
        if session.state is State.CLOSED:
            return
        if session.outbox.overflows() or session.outbox.stuck(now):
            core.drop(session)
        elif session.state is not State.OPEN:
            if now - session.opened_at >= limits.CONNECTION_TIMEOUT_MS:
                core.close(session, CloseCode.AUTHENTICATION_REQUIRED, "authentication required", patient=False)
        elif now - session.heard_at >= limits.IDLE_TIMEOUT_MS and not session.connection.buffered():
            # Of somebody who takes slowly nothing is read meanwhile: that is no silence.
            core.close(session, CloseCode.GOING_AWAY, "idle")
        else:
            core.drained(session)

    def _keep_time(self, now: int) -> None:
        """Save steady time when the wall clock was set, and now and then: see ``clock.resumed``."""
        mark = self._clock.snapshot()
        ahead = mark.wall - mark.persistent
        due = self._time_kept_at is None or now - self._time_kept_at >= KEEP_TIME_MS
        if due or abs(ahead - self._wall_ahead) > CLOCK_STEP_MS:

            def saved(_: object) -> None:
                self._time_kept_at, self._wall_ahead = now, ahead

            self._save_time(mark, saved)

    def _save_time(self, mark: ClockSnapshot, then: Callable[[object], None] = lambda _: None) -> None:
        self._core.store_quietly(lambda tx: tx.time.save(mark), then)

    def _announce_departure(self, user: str) -> None:
        core = self._core

        def then(result: tuple[list[str], int | None]) -> None:
            contacts, last_seen = result
            if core.hub.believed(user) is frames.PresenceStatus.OFFLINE:
                core.tell_contacts(user, contacts, frames.PresenceStatus.OFFLINE, last_seen=last_seen)

        core.store_quietly(
            lambda tx: (watchers(Act.SEE_PRESENCE, user, tx.directory), tx.directory.last_seen(user)), then
        )

    def _sweep(self) -> None:
        self._sweeping = True

        def then(count: int | None) -> None:
            self._sweeping = False
            if count is None:
                self._sweep_at = self._clock.monotonic_ms() + SWEEP_AGAIN_MS
            elif count and not self._stopping:
                self._sweep()  # there may be more; each step is a job among others

        self._core.expire(SWEEP_LIMIT, then)

    def _remove_idle(self) -> None:
        self._removing = True

        def then(is_more: bool) -> None:
            self._removing = False
            if not is_more:
                self._remove_at = self._clock.monotonic_ms() + IDLE_EVERY_MS

        self._core.remove_idle(IDLE_LIMIT, then)


def _signature_check(
    session: Session, decoded: codec.Decoded, letter: Letter | None
) -> tuple[bytes, bytes, bytes] | None:
    frame = decoded.frame
    if not RULES[type(frame)].signed:
        return None
    signature = getattr(frame, "signature", UNSET)
    if signature is UNSET:
        return None  # an AUTH without signature; its handler decides
    key = base64.b64decode(frame.payload.public_key) if isinstance(frame, frames.Auth) else session.public_key
    text = signing.envelope_bytes(decoded.signed_text) if letter is None else letter.likely_text
    return key, base64.b64decode(signature), text
