"""Every warning that a user can get, in one place; one that goes on is repeated now and then."""

from typing import Final

from phantom_messenger.client.names import command_word
from phantom_messenger.client.pacing import about, span
from phantom_messenger.client.records import Strength
from phantom_messenger.client.sanitize import quoted
from phantom_messenger.client.status import Contact, WarningEvent

NOTICED_PAUSE_MS: Final = 3_000
"""Shorter pauses for a limit are not worth a warning."""

WARN_AGAIN_MS: Final = 60_000
"""How often a user is warned about something that goes on."""


class PauseNotices:
    """Warnings that messages wait for the relay. Times are monotonic milliseconds."""

    def __init__(self) -> None:
        self._paused_at: int | None = None
        self._storage_at: int | None = None
        self._refused_since: dict[str, int] = {}
        """Users for whom the relay accepts nothing at the moment, and since when."""

    def accepted(self, peer: str) -> None:
        """The relay has accepted something for this user."""
        self._refused_since.pop(peer, None)

    def paused(self, waiting: int, wait: int, now: int) -> list[WarningEvent]:
        """This many messages wait because of a limit."""
        return self._warn(waiting, wait, now) if wait >= NOTICED_PAUSE_MS else []

    def refused(self, peer: str, waiting: int, wait: int, now: int) -> list[WarningEvent]:
        """The relay accepts nothing for this user now: a warning if it lasts, in one wait or in many."""
        since = self._refused_since.setdefault(peer, now)
        return self._warn(waiting, wait, now) if now + wait - since >= NOTICED_PAUSE_MS else []

    def storage(self, peer: Contact, now: int) -> list[WarningEvent]:
        """The relay cannot store messages."""
        if self._storage_at is not None and now - self._storage_at < WARN_AGAIN_MS:
            return []
        self._storage_at = self._paused_at = now  # no second warning about the same wait
        return [_warning(peer, "storage", "the relay cannot store messages now; they will be sent as soon as it can")]

    def _warn(self, waiting: int, wait: int, now: int) -> list[WarningEvent]:
        if not waiting or (self._paused_at is not None and now - self._paused_at < WARN_AGAIN_MS):
            return []
        self._paused_at = now
        what = "1 message waits" if waiting == 1 else f"{waiting} messages wait"
        return [_warning(None, "paused", f"rate-limited: {what}; the relay accepts the next one in {span(wait)}")]


def key_changed(peer: Contact) -> WarningEvent:
    """The user has to look at a changed key."""
    who = command_word(peer.name, peer.user_id)
    return _warning(
        peer,
        "key-changed",
        f"the key of {peer.label} has changed: nothing is sent until you verify it with 'phantom contacts verify {who}'"
        f" or accept it with 'phantom contacts accept {who}'",
    )


def weak_bundle(peer: Contact, strength: Strength, *, had_better: bool) -> WarningEvent:
    """The user has to decide whether messages may be sent with weaker keys; ``had_better``: there were other ones."""
    if strength is Strength.CLASSICAL:
        lack = "no longer offers a post-quantum key" if had_better else "offers no post-quantum key"
    elif had_better:
        lack = f"no longer offers the newer keys for {peer.label}"
    else:
        who = peer.label
        lack = f"offers no newer keys for {who}: their program or the relay is outdated, or the relay is hiding them"
    attack = ", which can be an attack" if had_better else ""
    what = f"the relay {lack}{attack}; nothing is sent to {peer.label} until you allow it with"
    code = _weak_code(strength, had_better=had_better)
    return _warning(peer, code, f"{what} '{_allowing(peer, strength)}'")


def weak_session(peer: Contact, strength: Strength, *, had_better: bool) -> WarningEvent:
    """A peer writes in a session that is weaker than it must be: it is read, but not used to answer."""
    lack = "has no post-quantum protection" if strength is Strength.CLASSICAL else "is in the older encryption"
    what = f"a message from {peer.label} {lack}; nothing is sent to them that way"
    if had_better:
        # Of others the bundle says it, when they are written to; here there may be a session that they have lost.
        again = "has no post-quantum protection any more" if strength is Strength.CLASSICAL else f"{lack} again"
        what = (
            f"a message from {peer.label} {again}, by an older program or an attack: nothing is sent to them that way "
            f"until you allow it with '{_allowing(peer, strength)}'"
        )
    return _warning(peer, _weak_code(strength, had_better=had_better), what)


def allowed_session(peer: Contact, floor: Strength) -> list[WarningEvent]:
    """What to say of the session in use, if the user has allowed it although it is weak."""
    if not peer.classical or floor is not Strength.CLASSICAL:
        return []
    what = f"messages with {peer.label} have no post-quantum protection, as you allowed"
    return [_warning(peer, "classical", what)]


def _allowing(peer: Contact, strength: Strength) -> str:
    option = "--classical" if strength is Strength.CLASSICAL else "--older"
    return f"phantom contacts accept {command_word(peer.name, peer.user_id)} {option}"


def _weak_code(strength: Strength, *, had_better: bool) -> str:
    if had_better:
        return "downgrade"
    return "classical" if strength is Strength.CLASSICAL else "older"


def too_old(peer: Contact) -> WarningEvent:
    """Somebody has no keys of suite 2, and is one of those to whom a message to many goes."""
    what = (
        f"what you send to several people at once cannot reach {peer.label}: their program or the relay is outdated; "
        "it waits until it can"
    )
    return _warning(peer, "older", what)


def unknown_user(peer: Contact) -> WarningEvent:
    """The relay does not know whom a message is for."""
    if peer.key is None:
        what = f"the relay does not know {peer.label} yet; messages wait until they have connected once"
    else:
        what = (
            f"the relay does not know {peer.label} any more: the account was deleted, or moved to another relay; "
            "messages wait in case it comes back"
        )
    return _warning(peer, "unknown-user", what)


def unknown_members(count: int) -> WarningEvent:
    """The relay does not know several people of groups, who are no contacts."""
    what = f"the relay does not know {count} members of your groups; messages wait until they have connected once"
    return _warning(None, "unknown-members", what)


def unknown_device(name: str, *, is_first: bool) -> WarningEvent:
    """The relay does not know another device of this user's; ``name``: what it is called, '' if that is not known."""
    which = "your first device" if is_first else f"your device '{name}'" if name else "a device of yours"
    then = (
        "this device goes on as you, but without that one no device can be linked or removed"
        if is_first
        else "if you use it no more, remove it on your first device"
    )
    why = "its account was deleted, or moved to another relay"
    return _warning(None, "unknown-device", f"the relay does not know {which} any more: {why}; {then}")


def backlog(peer: Contact) -> WarningEvent:
    """A mailbox is full."""
    what = f"the mailbox of {peer.label} is full; the message will be sent when there is room"
    return _warning(peer, "backlog", what)


def refused(peer: Contact, reason: str) -> WarningEvent:
    """The relay has rejected a message for good; ``reason`` is its sentence."""
    return _warning(peer, "refused", f"the relay rejected a message to {peer.label}: {quoted(reason)}")


def wrong_bundle(peer: Contact, reason: str) -> WarningEvent:
    """The relay has handed out prekeys that are not this user's."""
    return _warning(peer, "key-exchange", f"the relay handed out a wrong key for {peer.label}: {reason}")


def stale_bundle(peer: Contact) -> WarningEvent:
    """The relay has handed out prekeys that are signed, but not of this time."""
    what = (
        f"the keys that the relay has of {peer.label} are too old, or from the future: check this machine's clock; "
        "if it is right, theirs is wrong, or they have not been online for months, or the relay holds back newer keys"
    )
    return _warning(peer, "stale-keys", what)


def late(peer: Contact) -> WarningEvent:
    """A message has arrived out of order."""
    return _warning(peer, "late", f"a message from {peer.label} arrived after ones that were written later")


def resent(peer: Contact, count: int) -> WarningEvent:
    """A peer could not read messages of ours."""
    what = "1 message of yours; it is sent again" if count == 1 else f"{count} messages of yours; they are sent again"
    return _warning(peer, "resent", f"{peer.label} could not read {what}")


def unreadable(peer: Contact, *, is_known: bool, is_recoverable: bool, is_newer: bool) -> WarningEvent:
    """A message cannot be decrypted."""
    if is_newer:
        code, what = "newer", "needs a newer version; update this program"
    elif not is_recoverable:
        code, what = "unreadable", "cannot be decrypted; ask for it again"
    elif is_known:
        code, what = "waiting", "cannot be decrypted: waiting for it to be sent again"
    else:
        code, what = "unreadable", "cannot be decrypted; add them with 'phantom contacts add' to ask for it again"
    return _warning(peer, code, f"a message from {peer.label} {what}")


def of_removed(peer: Contact) -> WarningEvent:
    """A device that a peer has removed has sent something."""
    what = f"a message from a device that {peer.label} has removed cannot be read; ask them for it if you miss one"
    return _warning(peer, "unreadable", what)


def misdirected() -> WarningEvent:
    """The relay mixes up its mailboxes."""
    return _warning(None, "misdirected", "the relay delivers messages that are for somebody else; tell its operator")


def blocks_full() -> WarningEvent:
    """The relay accepts no more blocked users."""
    what = "the relay accepts no more blocked users; what they send is dropped unread on this device"
    return _warning(None, "block", what)


def prekeys_refused(reason: str) -> WarningEvent:
    """The relay has rejected the prekeys; ``reason`` is its sentence."""
    return _warning(None, "prekeys", f"the relay rejected the prekeys: {quoted(reason)}")


def clock(ahead: int) -> WarningEvent:
    """The relay's clock is this many milliseconds ahead of this machine's."""
    way = "behind" if ahead > 0 else "ahead of"
    what = f"this machine's clock is {about(abs(ahead))} {way} the relay's; check its date and time"
    return _warning(None, "clock", what)


def devices_changed(peer: Contact, added: int, removed: int, *, is_own: bool) -> WarningEvent:
    """Somebody's devices, or one's own, are others than before."""
    changes = [f"{count} {word}" for count, word in ((added, "added"), (removed, "removed")) if count]
    whose = "your devices have" if is_own else f"the devices of {peer.label} have"
    return _warning(None if is_own else peer, "devices", f"{whose} changed: {' and '.join(changes)}")


def devices_forked(peer: Contact, *, is_own: bool) -> WarningEvent:
    """There are two device lists of one revision: somebody else may have the key."""
    whose = "yours" if is_own else f"those of {peer.label}"
    what = f"there are two lists of devices where there can be one, and both are signed as {whose}"
    return _warning(None if is_own else peer, "devices-forked", f"{what}; somebody else may have the key")


def devices_overdue(peer: Contact, *, is_own: bool) -> WarningEvent:
    """Somebody's list of devices has run out: a removal may be kept back."""
    who = "your first device" if is_own else peer.label
    what = f"{who} has not renewed the list of devices for months; the relay may be holding a newer one back"
    return _warning(None if is_own else peer, "devices-overdue", what)


def unusable(peer: Contact | None, who: str, what: str, why: str) -> WarningEvent:
    """Nothing follows from what somebody has sent; nothing of what that says is in the sentence."""
    return _warning(peer, "unusable", f"{what} from {who} cannot be used: {why}; nothing was changed")


def link_refused(admin: Contact) -> WarningEvent:
    """A link to a group, which this user has opened, serves no more."""
    why = "it is used up, too old, or withdrawn"
    what = f"the link to a group of {admin.label} does not work any more: {why}; ask for another"
    return _warning(admin, "link-refused", what)


def groups_failed(what: str) -> WarningEvent:
    """There was a fault in what the program does for groups by itself."""
    message = (
        f"something failed that should not ({what}), and groups are left alone until this program starts again;"
        " please report it"
    )
    return _warning(None, "groups-failed", message)


def set_aside(what: str) -> WarningEvent:
    """There was a fault at something that has come."""
    message = f"something that came cannot be processed ({what}), and stays where it is; please report it"
    return _warning(None, "aside", message)


def device_removed() -> WarningEvent:
    """One's person has removed this device."""
    return _warning(None, "device-removed", "your first device has removed this one, which can no longer be used")


def _warning(peer: Contact | None, code: str, message: str) -> WarningEvent:
    return WarningEvent(peer=peer, code=code, message=message)
