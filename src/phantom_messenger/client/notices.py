"""What a person should know of sending, as warnings: each is given once, or now and then if it goes on."""

from typing import Final

from phantom_messenger.client.pacing import span
from phantom_messenger.client.sanitize import one_line
from phantom_messenger.client.status import Contact, WarningEvent

NOTICED_PAUSE_MS: Final = 3_000
"""Pauses for a limit that are worth a warning: of one that is shorter nobody need hear."""

WARN_AGAIN_MS: Final = 60_000
"""How often a person is warned of something that goes on."""


class PauseNotices:
    """Warnings that messages wait for the relay. Times are monotonic milliseconds."""

    def __init__(self) -> None:
        self._paused_at: int | None = None
        self._storage_at: int | None = None
        self._refused_since: dict[str, int] = {}
        """Users for whom the relay takes nothing just now, and since when."""

    def accepted(self, peer: str) -> None:
        """The relay has taken something for this user."""
        self._refused_since.pop(peer, None)

    def paused(self, waiting: int, wait: int, now: int) -> list[WarningEvent]:
        """So many messages wait for a limit."""
        return self._warn(waiting, wait, now) if wait >= NOTICED_PAUSE_MS else []

    def refused(self, peer: str, waiting: int, wait: int, now: int) -> list[WarningEvent]:
        """The relay takes nothing for this user now: a warning if it lasts, in one wait or in many."""
        since = self._refused_since.setdefault(peer, now)
        return self._warn(waiting, wait, now) if now + wait - since >= NOTICED_PAUSE_MS else []

    def storage(self, peer: Contact, now: int) -> list[WarningEvent]:
        """The relay cannot store messages."""
        if self._storage_at is not None and now - self._storage_at < WARN_AGAIN_MS:
            return []
        self._storage_at = self._paused_at = now  # they wait, and it is known why
        return [_warning(peer, "storage", "the relay cannot store texts now; they are sent as soon as it can")]

    def _warn(self, waiting: int, wait: int, now: int) -> list[WarningEvent]:
        if not waiting or (self._paused_at is not None and now - self._paused_at < WARN_AGAIN_MS):
            return []
        self._paused_at = now
        what = "a text waits" if waiting == 1 else f"{waiting} texts wait"
        return [_warning(None, "paused", f"{what}: the relay takes the next in {span(wait)}")]


def key_changed(peer: Contact) -> WarningEvent:
    """A person must look at a changed key."""
    who = peer.name or peer.user_id
    return _warning(
        peer,
        "key-changed",
        f"the key of {peer.label} has changed: nothing is sent until you compare it with 'phantom contacts verify "
        f"{who}' or take it with 'phantom contacts accept {who}'",
    )


def classical(peer: Contact, *, had_kem: bool) -> WarningEvent:
    """A person must decide whether messages may go without a post-quantum secret."""
    lack = "gives no post-quantum key any more, which can be an attack" if had_kem else "gives no post-quantum key"
    return _warning(
        peer,
        "downgrade" if had_kem else "classical",
        f"the relay {lack}: nothing is sent to {peer.label}; 'phantom contacts accept "
        f"{peer.name or peer.user_id} --classical' sends without",
    )


def weak_session(peer: Contact, *, had_kem: bool) -> WarningEvent:
    """Somebody began a session without a post-quantum secret: it is read, and not answered in."""
    what = "is not safe from a quantum computer; nothing is sent to them like that"
    return _warning(peer, "downgrade" if had_kem else "classical", f"a message of {peer.label} {what}")


def classical_session(peer: Contact) -> WarningEvent:
    """The session in use has no post-quantum secret, as the user has allowed."""
    return _warning(peer, "classical", f"texts with {peer.label} are not safe from a quantum computer: no KEM prekey")


def unknown_user(peer: Contact) -> WarningEvent:
    """The relay does not know whom a message is for."""
    if peer.key is None:
        what = f"the relay does not know {peer.label} yet; texts wait until they have connected once"
    else:
        what = (
            f"the relay does not know {peer.label} any more: the account was deleted, or is at another relay; "
            "texts wait in case it comes back"
        )
    return _warning(peer, "unknown-user", what)


def backlog(peer: Contact) -> WarningEvent:
    """A mailbox is full."""
    what = f"the mailbox of {peer.label} is full; the text is sent when there is room"
    return _warning(peer, "backlog", what)


def refused(peer: Contact, reason: str) -> WarningEvent:
    """The relay will never take a message; ``reason`` is its sentence."""
    return _warning(peer, "refused", f"the relay refused a text to {peer.label}: {one_line(reason)}")


def wrong_bundle(peer: Contact, reason: str) -> WarningEvent:
    """The relay's prekeys are not those of whom they should be."""
    return _warning(peer, "key-exchange", f"the relay's key for {peer.label} is wrong: {reason}")


def late(peer: Contact) -> WarningEvent:
    """A message came out of order."""
    return _warning(peer, "late", f"a text of {peer.label} came after ones that were written later")


def resent(peer: Contact, count: int) -> WarningEvent:
    """Somebody could not read messages."""
    return _warning(peer, "resent", f"{peer.label} could not read {count} text(s) of yours; they are sent again")


def unreadable(peer: Contact, *, is_known: bool, is_recoverable: bool, is_newer: bool) -> WarningEvent:
    """A message cannot be decrypted."""
    if is_newer:
        code, what = "newer", "is of a newer version; update this program"
    elif not is_recoverable:
        code, what = "unreadable", "cannot be decrypted; ask for it again"
    elif is_known:
        code, what = "waiting", "cannot be decrypted: waiting for it to be sent again"
    else:
        code, what = "unreadable", "cannot be decrypted; add them with 'phantom contacts add' to ask for it again"
    return _warning(peer, code, f"a message of {peer.label} {what}")


def misdirected() -> WarningEvent:
    """The relay mixes up its mailboxes."""
    return _warning(None, "misdirected", "the relay delivers what is for somebody else; tell its operator")


def blocks_full() -> WarningEvent:
    """The relay takes no more blocked users."""
    what = "the relay keeps no more blocked users; what they send is dropped on this device, unread"
    return _warning(None, "block", what)


def prekeys_refused(reason: str) -> WarningEvent:
    """The relay has not taken the prekeys; ``reason`` is its sentence."""
    return _warning(None, "prekeys", f"the relay refused the prekeys: {one_line(reason)}")


def clock(ahead: int) -> WarningEvent:
    """The relay's clock is so many milliseconds ahead of this machine's."""
    way = "behind" if ahead > 0 else "ahead of"
    what = f"this machine's clock is {span(abs(ahead))} {way} the relay's; check its date and time"
    return _warning(None, "clock", what)


def _warning(peer: Contact | None, code: str, message: str) -> WarningEvent:
    return WarningEvent(peer=peer, code=code, message=message)
