"""A second computation of several sessions in suite 2: ``protocol/encryption.md`` and nothing of ours."""

from collections.abc import Callable
from typing import Final

from vector_reference2 import (
    HANDSHAKE,
    MAX_SKIP,
    Draws,
    Message,
    Owner,
    Rejected,
    Session,
    check_certified,
    parse,
    respond,
    sha256,
)

MAX_SESSIONS: Final = 5
MAX_TRIES: Final = 3


class Named(Session):
    """A session with its name, EK_A, and whether this side began it."""

    name: bytes
    is_own: bool

    @property
    def is_unanswered(self) -> bool:
        """ "begun by this client, is unanswered" """
        return self.is_own and self.part == HANDSHAKE


def distance(session: Session, message: Message) -> int | None:
    """How many keys would be skipped; none if the session cannot be the message's."""
    if (message.dhs, message.n) in session.skipped:
        return 0
    if message.dhs == session.dhr:
        return message.n - session.nr if session.ckr is not None and message.n >= session.nr else None
    can_follow = message.pn >= session.nr and (session.ckr is not None or message.pn == 0)
    return message.pn - session.nr + message.n if can_follow else None


class Sessions:
    """All sessions of a user with a peer, the current one first."""

    def __init__(self, owner: Owner, peer_id: bytes) -> None:
        self._owner, self._peer_id = owner, peer_id
        self.all: list[Named] = []
        self._seen: set[bytes] = set()

    def put_first(self, session: Named) -> None:
        """A session that was begun, or read in."""
        rest = [one for one in self.all if one is not session]
        self.all = [session, *rest][:MAX_SESSIONS]

    def sending(self) -> Named:
        """ "Clients send with the current session"; one that a peer began can when a message of it was read."""
        return next(one for one in self.all if one.cks is not None)

    def read(
        self, encrypted: bytes, verify: Callable[[set[bytes]], None], draws: Draws, now: int
    ) -> tuple[Named, bytes]:
        """The session and the padded content; ``verify``: checks the envelope under any of some keys."""
        message, sessions, header = parse(encrypted), list(self.all), None
        if message.part == HANDSHAKE:
            header = message.carried
            check_certified(self._peer_id, header[:32])
            verify({header[:32]})
            tried = [one for one in sessions if one.name == header[32:64]]
            if not tried:
                tried = [self._joined(header, now)]
                place = 1 if sessions and self._stays(sessions[0], tried[0]) else 0
                sessions.insert(place, tried[0])
        else:
            keys = {one.peer for one in sessions}
            if not keys:
                raise Rejected("UndecryptableMessage")
            verify(keys)
            tried = self._candidates(message)
        read, padded = self._opened(tried, message, encrypted, draws, now)
        if not self._stays(sessions[0], read):
            sessions = [read, *(one for one in sessions if one is not read)]
        self.all = sessions[:MAX_SESSIONS]
        self._seen |= {sha256(header)} if header is not None else set()
        return read, padded

    def _joined(self, header: bytes, now: int) -> Named:
        if sha256(header) in self._seen:
            raise Rejected("UndecryptableMessage")
        joined = Named.joined(*respond(self._owner, self._peer_id, header), now)
        joined.name, joined.is_own = header[32:64], False
        return joined

    def _candidates(self, message: Message) -> list[Named]:
        for one in self.all:
            if message.dhs == one.dhr or (message.dhs, message.n) in one.skipped:
                return [one]
        return [one for one in self.all if distance(one, message) is not None][:MAX_TRIES]

    @staticmethod
    def _opened(tried: list[Named], message: Message, encrypted: bytes, draws: Draws, now: int) -> tuple[Named, bytes]:
        left, last = MAX_SKIP, Rejected("UndecryptableMessage")
        for one in tried:
            skipped = distance(one, message)
            if skipped is None or skipped > left:
                last = Rejected("UndecryptableMessage")
                continue
            left -= skipped
            try:
                return one, one.read(encrypted, draws, now)
            except Rejected as error:
                last = error
        raise last

    @staticmethod
    def _stays(current: Named, other: Named) -> bool:
        return current.is_unanswered and current.name < other.name
