"""The relay without input and output: what an adapter calls when something happens outside."""

import binascii
from collections.abc import Callable, Iterable
from functools import partial

from msgspec import UNSET

from phantom_messenger import labels
from phantom_messenger.events import report
from phantom_messenger.relay import elsewhere, handlers, other_relays, public_names
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.handlers.login import refuse_login
from phantom_messenger.relay.housekeeping import Housekeeping
from phantom_messenger.relay.pipeline import AdmittedFrame
from phantom_messenger.relay.ports import (
    Clock,
    Connection,
    Helpers,
    Randomness,
    RelayLink,
    Scheduler,
    SignatureCheck,
    Verification,
    Writer,
)
from phantom_messenger.relay.records import KeptLimits
from phantom_messenger.relay.reference import LooseFrame, ReferenceMode
from phantom_messenger.relay.rules import NEEDED, REFUSED, RULES, State
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import codec, frames, limits
from phantom_messenger.wire.codes import CloseCode, Reason, RequestError

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
        link: RelayLink | None = None,
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
            link=link,
        )
        self._config = config
        self._clock = clock
        if kept_limits is not None:
            self._core.admission.limiter.restore(kept_limits, clock.monotonic_ms(), clock.persistent_ms())
        self._housekeeping = Housekeeping(self._core)
        self._is_stopping = False

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
        self._core.names = frozenset(self._config.public_names) or public_names.names_of(addresses)

    def connect(self, connection: Connection, *, address: str, host: str) -> Session:
        """A WebSocket handshake was completed; the answer is CONNECTION_ACK.

        Args:
            connection: the way to the client.
            address: whom limits count.
            host: the Host header.
        """
        core = self._core
        session = Session(
            connection,
            connection_id=core.token(16),
            address=address,
            mark=core.admission.mark(address),
            host=public_names.normal_or_none(host) or "" if public_names.ANY in core.names else "",
            challenge=core.token(limits.CHALLENGE_BYTES),
            now=self._clock.monotonic_ms(),
        )
        session.connected_at = self._clock.persistent_ms()
        if self._config.reference_clients:
            session.reference = ReferenceMode()
        count = core.hub.add(session)
        if self._is_stopping:
            core.replies.close(session, CloseCode.GOING_AWAY, "the relay is stopping")
        elif self._config.max_connections and count > self._config.max_connections:
            core.replies.close(session, CloseCode.RATE_LIMITED, "too many connections from this address")
        else:
            core.replies.send(session, self._connection_ack(session))
        return session

    def _connection_ack(self, session: Session) -> frames.ConnectionAck:
        now = self._clock.wall_ms()
        return frames.ConnectionAck(
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
        )

    def receive(self, session: Session, text: bytes) -> None:
        """A text message has arrived: decode and admit it, and put it into the pipeline."""
        if session.state is State.CLOSED or self._is_stopping:
            return
        core, now = self._core, self._clock.monotonic_ms()
        session.heard_at = now
        as_sent = None
        # What is longer than most may be is read once: a mebibyte of nothing takes a millisecond and a half.
        head = codec.request_head(text) if len(text) > limits.MAX_MESSAGE_BYTES else None
        try:
            kind = codec.read_kind(text) if head is None else head.type or ""
            reason = REFUSED[session.state].get(kind)
            if reason and not (reason is Reason.TYPE and session.has(NEEDED[kind])):  # its contents need not be read
                raise RequestError(reason)
            if kind == "MESSAGE_MANY" and session.takes_many:
                core.admission.admit_many(len(text), now)
            if session.reference is None:
                decoded = codec.decode_client(text, kind)
            else:
                decoded, as_sent = session.reference.read(text)
            core.admission.admit(session, decoded.frame, now)
        except RequestError as refused:
            self._refuse(session, refused, head or codec.request_head(text))
            return
        frame = decoded.frame
        check = _signature_check(session, decoded, as_sent) if RULES[type(frame)].signed else None
        admitted = AdmittedFrame(session, frame, decoded.signed_text, check, as_sent)
        if kind == "MESSAGE_MANY":
            _note_parts(admitted)
        core.pipeline.submit(admitted)

    def receive_binary(self, session: Session, data: bytes) -> None:  # noqa: ARG002 - nothing is made of it
        """A binary message has arrived; the protocol has none."""
        if session.state is State.CLOSED:
            return
        self._core.replies.reply_error(session, RequestError(Reason.BINARY), UNSET)
        self._core.replies.close(session, CloseCode.INVALID_MESSAGE, "binary message")

    def hear(self, text: str) -> None:
        """Another relay on the same store has told something."""
        for notice in other_relays.read(text):
            try:
                elsewhere.hear(self._core, notice)
            except Exception as error:  # noqa: BLE001 - the boundary: whoever listens must go on listening
                report(error)

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the store that one frame of each read is enough for now."""
        return self._core.pipeline.is_behind

    def writable(self, session: Session) -> None:
        """The socket can be written to again."""
        self._core.writable(session)

    def disconnected(self, session: Session) -> None:
        """The connection is gone, whichever side closed it."""
        # First: steps of this session may still wait for the store, and look at its state when they go on.
        session.state = State.CLOSED
        if self._core.hub.remove(session, self._clock.monotonic_ms()):
            if session.looks_absent:
                self._core.presence.end_hidden(session.user_id)
            else:
                self._core.presence.record_departure(session.user_id)

    def tick(self) -> None:
        """Time has passed: call it about once a second."""
        core, now = self._core, self._clock.monotonic_ms()
        for session in core.hub:
            try:
                self._check_times(session, now)
            except Exception as error:  # noqa: BLE001 - the boundary: one client's failure is not the others'
                core.replies.fail(session, error)
        self._housekeeping.tick(now)

    def stop(self, stopped: Callable[[], None]) -> None:
        """Finish what is on its way, close every connection with 1001, then call ``stopped``; may be called again."""
        if not self._is_stopping:
            # First: what arrives from now on is dropped, so that what is on its way comes to an end.
            self._is_stopping = True
            self._housekeeping.stop()

        def close_all() -> None:
            self.close_all()
            stopped()

        self._core.pipeline.when_idle(close_all)

    def close_all(self) -> None:
        """Close every connection with 1001."""
        for session in self._core.hub:
            self._core.replies.close(session, CloseCode.GOING_AWAY, "the relay is stopping")

    def _refuse(self, session: Session, refused: RequestError, request: codec.Request) -> None:
        core = self._core
        if session.state is not State.OPEN:
            if request.type == "AUTH" and session.state is State.CONNECTED:
                refuse_login(core, session, refused, request.id)
                return
            if request.type not in (None, "AUTH", "PING"):
                core.replies.reply_error(session, RequestError(Reason.NOT_AUTHENTICATED), request.id)
                core.replies.close(session, CloseCode.AUTHENTICATION_REQUIRED, "authentication required")
                return
        core.replies.reply_error(session, refused, request.id)

    def _check_times(self, session: Session, now: int) -> None:
        core = self._core
        if session.state is State.CLOSED:
            return
        if session.outbox.overflows() or session.outbox.is_stalled(now):
            core.replies.drop(session)
        elif session.state is not State.OPEN:
            if now - session.opened_at >= limits.CONNECTION_TIMEOUT_MS:
                core.replies.close(
                    session, CloseCode.AUTHENTICATION_REQUIRED, "authentication required", wait_for_close=False
                )
        elif now - session.heard_at >= limits.IDLE_TIMEOUT_MS and not session.connection.buffered():
            # Nothing is read meanwhile from a client that takes slowly: that is no silence.
            core.replies.close(session, CloseCode.GOING_AWAY, "idle")
        else:
            core.writable(session)


def _note_parts(admitted: AdmittedFrame) -> None:
    frame = admitted.frame
    assert isinstance(frame, frames.MessageMany)  # noqa: S101 - it was read as one
    admitted.parts = len(frame.payload.recipients)
    admitted.expand = partial(_inner_checks, admitted.session.public_key, frame)


def _inner_checks(key: bytes, frame: frames.MessageMany) -> list[SignatureCheck]:
    """Of the messages that one to many comes to."""
    return [
        (key, binascii.a2b_base64(part.signature), labels.ENVELOPE + text)
        for part, text in zip(frame.payload.recipients, codec.expanded(frame), strict=True)
    ]


def _signature_check(session: Session, decoded: codec.Decoded, as_sent: LooseFrame | None) -> SignatureCheck | None:
    frame = decoded.frame
    signature = getattr(frame, "signature", UNSET)
    if signature is UNSET:
        return None  # an AUTH without signature; its handler decides
    key = binascii.a2b_base64(frame.payload.public_key) if isinstance(frame, frames.Auth) else session.public_key
    text = labels.ENVELOPE + decoded.signed_text if as_sent is None else as_sent.likely_text
    return key, binascii.a2b_base64(signature), text
