"""One connection to the relay, without input and output: fed with texts and times, drained of texts.

It logs in, keeps the relay's clock, signs, watches with PING, and names requests so that
answers find them. What the frames are for is not its business.
"""

import base64
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET

from phantom_messenger.client.sanitize import quoted
from phantom_messenger.crypto.keys import OwnIdentity
from phantom_messenger.wire import codec, frames, signing
from phantom_messenger.wire.codes import ErrorCode, Reason, RequestError
from phantom_messenger.wire.frames import Feature
from phantom_messenger.wire.limits import MAX_SAFE_INTEGER, RATES, RateClass

PING_MS: Final = 25_000
"""Quiet time after which PING is sent: well below the relay's idle timeout and that of most NATs."""

SPEAK_MS: Final = 240_000
"""Time without sending anything after which PING is sent: the relay closes after 300 s, whatever it sends itself."""

PONG_MS: Final = 10_000
"""How long the relay has to say anything before the connection counts as dead."""

LONGEST_PONG_MS: Final = 120_000
"""How long it may leave a PING unanswered while it says other things: a slow line takes a minute for what is before."""

LOOK_MS: Final = 400
LATER_LOOK_MS: Final = 2_000
EAGER: Final = 6
"""How often a PING asks whether the mailbox is empty, while somebody wants to know: the first few times, and then; the
relay takes 60 of them a minute."""

LOOKS: Final = 3
"""How many in a row must be answered without anything of the mailbox in between: the relay sends a mailbox page by
page, each once the one before has left it, and an answer may stand between two of them."""

MOST_UNREAD: Final = 100_000
"""Frames that wait for a relay that reads nothing: it is left when it says something more."""

LOGIN_MS: Final = 15_000
LIMITED_MS: Final = 10_000
"""How long to stay away after a login was refused for a limit that does not say how long."""

PROTOCOL_VERSION: Final = 1

_OF_THIS_IDENTITY: Final = frozenset({Reason.IDENTITY, Reason.SIGNATURE, Reason.KEY, Reason.UNSIGNED})
"""Why a login is refused for good. Whatever else the reason is, known or not, it passes, or somebody repairs it."""

MAX_SIGNED: Final = 1_000
"""Signed frames remembered whose refusal may bring the relay's time."""

FEATURES: Final[list[str]] = [Feature.ACK, Feature.SUITE2, Feature.MANY, Feature.DEVICES, Feature.ALLOWANCE]

F = TypeVar("F", bound=frames.SignedFrame)


class LinkState(Enum):
    """Where the connection stands."""

    WAITING = "waiting"
    """For CONNECTION_ACK."""
    AUTHENTICATING = "authenticating"
    OPEN = "open"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """AUTH_SUCCESS has come."""


@dataclass(frozen=True, slots=True)
class LoginFailed:
    """AUTH_FAILURE has come, or a relay that this client cannot talk to.

    ``reason`` is a sentence for people, in which the relay's words are quoted; ``code`` is ``details.reason``, '' if
    the relay does not say; ``retry_after`` milliseconds, if it was named.
    ``is_final``: it is this identity that is refused, and nothing passes; None if the relay does not tell.
    """

    reason: str
    code: str
    retry_after: int | None
    is_final: bool | None


@dataclass(frozen=True, slots=True)
class Lost:
    """The relay is silent or does not speak the protocol; ``reason`` is a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class PongSeen:
    """The relay has read everything that was sent before the PING with this number."""

    request: int


LinkEvent = LoggedIn | LoginFailed | Lost | PongSeen | frames.RelayFrame


class Link:
    """A connection.

    Args:
        identity: logs in.
        user_id: its id, base64.
        audience: host[:port] as dialled.
        now: monotonic milliseconds.
        wall: the local wall clock in milliseconds, however wrong.
    """

    def __init__(
        self, identity: OwnIdentity, *, user_id: str, audience: str, now: int, wall: int, absent: bool = False
    ) -> None:
        self._identity = identity
        self._user_id = user_id
        self._features = [*FEATURES, Feature.ABSENT] if absent else FEATURES
        self.relay_features: frozenset[str] = frozenset()
        """Which of them the relay has said that it knows; older relays say nothing."""
        self.audience = audience
        self.challenge = ""
        """The relay's, of this connection: it is in every signed frame that must serve nowhere else."""
        self.state = LinkState.WAITING
        self._started_at = now
        self._heard_at = now
        self._spoke_at = now
        self._pinged_at: int | None = None
        self._last_ping_at = now - PING_MS
        self._looks: int | None = None
        """How many have found nothing, in a row; None if nobody wants to know."""
        self._asked = 0
        self._has_fetched = False
        self.offset = 0
        """How far the relay's clock is ahead of this machine's, in milliseconds: for the timestamps of frames alone."""
        self._signed_requests: dict[str, None] = {}
        self._wall = wall
        self._now = now
        self._requests = 0
        self._outgoing: list[str] = []
        self.is_limited = True
        """Whether the relay limits rates at all."""
        self.messages_per_minute = RATES[RateClass.MESSAGE]

    def drain(self) -> list[str]:
        """The texts to be sent, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def limit(self, rate: RateClass) -> int | None:
        """Frames of a class a minute; None if the relay does not limit them."""
        if not self.is_limited:
            return None
        return self.messages_per_minute if rate is RateClass.MESSAGE else RATES[rate]

    def relay_time(self, now: int) -> int:
        """The relay's wall clock, as far as it is known, at a monotonic time."""
        return self._wall + (now - self._now) + self.offset

    def receive(self, text: str | bytes, now: int) -> list[LinkEvent]:
        """A message has come from the relay; binary ones it never sends."""
        self._heard_at = now
        if len(self._outgoing) > MOST_UNREAD:
            return self._lose("the relay does not read what it is sent")
        if isinstance(text, bytes):
            return self._lose("the relay sent something that is not part of the protocol")
        try:
            frame = codec.decode_relay(text.encode())
        except (RequestError, UnicodeEncodeError):
            return self._lose("the relay sent something that is not part of the protocol")
        if frame is None or self.state is LinkState.FAILED:
            return []
        if self.state is not LinkState.OPEN:
            return self._receive_early(frame, now)
        match frame:
            case frames.ConnectionAck() | frames.AuthSuccess() | frames.AuthFailure():
                return []  # of a login that is through
            case frames.Pong():
                self._pinged_at = None
                self._looked()
                answered = "" if frame.id is UNSET else frame.id
                return [PongSeen(int(answered))] if answered.isdecimal() else []
            case frames.Error():
                self._take_clock(frame, now)
                return [frame]
            case frames.RoutedMessage() | frames.Receipt():
                self._looks = None if self._looks is None else 0
                return [frame]
            case _:
                return [frame]

    def _receive_early(self, frame: frames.RelayFrame, now: int) -> list[LinkEvent]:
        """Before the login is through, nothing counts but what belongs to it."""
        is_waiting = self.state is LinkState.WAITING
        match frame:
            case frames.ConnectionAck() if is_waiting and frame.payload.protocol_version != PROTOCOL_VERSION:
                self.state = LinkState.FAILED
                version = frame.payload.protocol_version
                reason = f"the relay speaks version {version} of the protocol; update this program"
                # One that has let this client in before speaks this one: it is somebody on the way, or passes.
                return [LoginFailed(reason, "version", retry_after=None, is_final=None)]
            case frames.ConnectionAck() if is_waiting:
                self._set_clock(frame.payload.server_time, now)
                rate = frame.payload.limits.messages_per_minute
                self.is_limited = rate is not None
                self.messages_per_minute = rate or self.messages_per_minute
                self._authenticate(frame.payload.challenge, now)
                return []
            case frames.AuthSuccess() if not is_waiting:
                self.state = LinkState.OPEN
                if frame.payload.features is not UNSET:
                    self.relay_features = frozenset(frame.payload.features)
                return [LoggedIn()]
            case frames.AuthFailure():
                self.state = LinkState.FAILED
                return [_refusal(frame.payload)]
            case frames.Error() if not is_waiting:
                self._take_clock(frame, now)
        return []

    def tick(self, now: int) -> list[LinkEvent]:
        """Time has passed."""
        if self.state in {LinkState.WAITING, LinkState.AUTHENTICATING}:
            if now - self._started_at >= LOGIN_MS:
                return self._lose("the relay did not answer the login")
        elif self.state is LinkState.OPEN:
            if self._pinged_at is not None and now >= self._pong_until(self._pinged_at):
                return self._lose("the relay has stopped answering")
            quiet = now - self._heard_at >= PING_MS or now - self._spoke_at >= SPEAK_MS
            is_looking = self._looks is not None and self.may_ping(now, self._look_ms)
            self._asked += is_looking
            if self._pinged_at is None and (quiet or is_looking):
                self.ping(now)
        return []

    def _pong_until(self, pinged_at: int) -> int:
        return min(max(pinged_at, self._heard_at) + PONG_MS, pinged_at + LONGEST_PONG_MS)

    def next_tick(self, now: int) -> int:
        """Milliseconds until ``tick`` has something to do."""
        if self.state is not LinkState.OPEN:
            return max(0, self._started_at + LOGIN_MS - now)
        if self._pinged_at is not None:
            return max(0, self._pong_until(self._pinged_at) - now)
        look = [] if self._looks is None else [self._last_ping_at + self._look_ms]
        return max(0, min(self._heard_at + PING_MS, self._spoke_at + SPEAK_MS, *look) - now)

    @property
    def _look_ms(self) -> int:
        return LOOK_MS if self._asked < EAGER else LATER_LOOK_MS

    def look(self) -> None:
        """Find out whether the mailbox is empty."""
        self._looks, self._asked, self._has_fetched = 0, 0, False

    def _looked(self) -> None:
        if self._looks is not None:
            self._looks += 1
            if self._looks >= LOOKS:
                self._looks, self._has_fetched = None, True

    def has_fetched(self) -> bool:
        """Whether everything has come that was in the mailbox; asked for the first time, that is to be found out."""
        if self._looks is None and not self._has_fetched:
            self.look()
        return self._has_fetched

    def may_ping(self, now: int, interval: int) -> bool:
        """Whether no PING is unanswered and the last one is ``interval`` milliseconds ago."""
        return self._pinged_at is None and now - self._last_ping_at >= interval

    def ping(self, now: int) -> int:
        """Ask for a sign of life; returns the number that ``PongSeen`` will carry."""
        self._pinged_at = self._last_ping_at = now
        return int(self.send(frames.Ping(timestamp=0), now))

    def send(self, frame: frames.ClientFrame, now: int) -> str:
        """Send a frame that needs no signature; it gets an id and the relay's time.

        Returns:
            The id, which a direct answer repeats.
        """
        request = self._next_request()
        self._push(msgspec.structs.replace(frame, id=request, timestamp=self.relay_time(now)), now)
        return request

    def send_signed(self, frame: frames.SignedFrame, now: int) -> str:
        """As ``send``, signed by the identity, whatever signature the frame has."""
        request = self._next_request()
        self._signed_requests[request] = None
        if len(self._signed_requests) > MAX_SIGNED:
            del self._signed_requests[next(iter(self._signed_requests))]
        self._push(self._signed(msgspec.structs.replace(frame, id=request, timestamp=self.relay_time(now))), now)
        return request

    def send_many(self, frame: frames.MessageMany, now: int) -> str:
        """As ``send_signed``; what each recipient gets of it is signed, too."""
        frame = msgspec.structs.replace(frame, timestamp=self.relay_time(now))
        recipients = [
            msgspec.structs.replace(part, signature=self._signature(text))
            for part, text in zip(frame.payload.recipients, codec.expanded(frame), strict=True)
        ]
        payload = msgspec.structs.replace(frame.payload, recipients=recipients)
        return self.send_signed(msgspec.structs.replace(frame, payload=payload), now)

    def _authenticate(self, challenge: str, now: int) -> None:
        self.state = LinkState.AUTHENTICATING
        self.challenge = challenge
        self.send_signed(
            frames.Auth(
                payload=frames.AuthPayload(
                    audience=self.audience,
                    challenge=challenge,
                    features=self._features,
                    public_key=base64.b64encode(self._identity.peer.public).decode(),
                    user_id=self._user_id,
                ),
                timestamp=0,
            ),
            now,
        )

    def _signed(self, frame: F) -> F:
        return msgspec.structs.replace(frame, signature=self._signature(codec.signed_text(frame)))

    def _signature(self, text: bytes) -> str:
        return base64.b64encode(self._identity.sign(signing.envelope_bytes(text))).decode()

    def _push(self, frame: Any, now: int) -> None:
        self._spoke_at = now
        self._outgoing.append(codec.encode(frame).decode())

    def _next_request(self) -> str:
        self._requests += 1
        return str(self._requests)

    def _take_clock(self, error: frames.Error, now: int) -> None:
        """The relay's time counts where it refuses the timestamp of a frame of one's own, and nowhere else."""
        details = error.payload.details
        if error.id is UNSET or error.id not in self._signed_requests or details is UNSET:
            return
        del self._signed_requests[error.id]
        time = details.get("serverTime")
        if details.get("reason") == Reason.CLOCK and isinstance(time, int) and 0 <= time <= MAX_SAFE_INTEGER:
            self._set_clock(time, now)

    def _set_clock(self, server_time: int, now: int) -> None:
        self.offset = server_time - (self._wall + (now - self._now))

    def _lose(self, reason: str) -> list[LinkEvent]:
        self.state = LinkState.FAILED
        return [Lost(reason)]


def _refusal(payload: frames.AuthFailurePayload) -> LoginFailed:
    """What AUTH_FAILURE means; a relay of version 0.1.0 names no reason, and its sentences are not to be read."""
    wait = None if payload.retry_after is UNSET else payload.retry_after
    found = None if payload.details is UNSET else payload.details.get("reason")
    code = found if isinstance(found, str) else ""
    if wait is None and payload.code == ErrorCode.RATE_LIMITED:
        wait = LIMITED_MS
    is_final = None if not code and wait is None else code in _OF_THIS_IDENTITY
    return LoginFailed(quoted(payload.reason), code, wait, is_final)
