"""Groups as applications see them: frozen values that hold no secret."""

from dataclasses import dataclass

from phantom_messenger.client.groups.picture import type_of
from phantom_messenger.client.status import Contact, DeliveryState, Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """Somebody in a group.

    ``contact``: what is known of them; of yourself, only the id. ``role``: 'admin' or 'member'. ``is_you``: whether
    that is you. ``has_joined``: False of somebody who was added and has not said yet that they accept. ``is_leaving``:
    they have said that they leave, and an admin's program is to remove them.
    """

    contact: Contact
    role: str
    is_you: bool
    has_joined: bool
    is_leaving: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInfo:
    """A group.

    ``group``: its id, in base64. ``name``: '' if it has none. ``relation``: what you are to it: 'invited', 'member',
    'left', 'removed' or 'closed'. ``doubt``: '' or why nothing can be sent to it: 'forked' or 'newer'; ``rival``: who
    has shown that. ``is_behind``: changes of it are missing, and asked for. ``inviter``: who has added you, None if you
    have created it; ``was_no_admin``: you are invited back, and they were no admin when you were a member. ``timer``:
    milliseconds after which messages expire, 0 if they stay. ``invite``, ``write``: who may, 'member' or 'admin'.
    ``unread``: messages that were not handled yet. ``revision``: how often it has changed. ``picture``: a PNG, JPEG or
    WebP that nobody has decoded yet; empty if it has none, or it is not here yet. ``own_name``: what you call yourself
    there, for members who have not added you; '' if nothing.
    """

    group: str
    name: str
    relation: str
    doubt: str
    rival: Contact | None
    is_behind: bool
    inviter: Contact | None
    was_no_admin: bool
    members: tuple[GroupMember, ...]
    timer: int
    invite: str
    write: str
    muted: bool
    unread: int
    revision: int
    picture: bytes
    own_name: str

    @property
    def is_admin(self) -> bool:
        """Whether you may change it."""
        return any(one.is_you and one.role == "admin" for one in self.members)

    @property
    def picture_type(self) -> str:
        """Its media type: 'image/png', 'image/jpeg' or 'image/webp'; '' if it has none."""
        return type_of(self.picture)

    @property
    def label(self) -> str:
        """Its name, or the start of its id."""
        return self.name or f"{self.group[:8]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLink:
    """A link of one's own with which others can join a group.

    ``link``: the link itself. ``uses``: how many people it still lets in. ``until``: when it ends, in milliseconds
    since 1970.
    """

    link: str
    uses: int
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInvitation:
    """What a stranger's invitation to a group says, before anything of theirs was let in.

    ``group``: its id, in base64. ``name``: '' if it has none. ``members``: how many there are, with you; ``admins``:
    how many of them can change it. ``known``: those who are contacts of yours. ``timer``: milliseconds after which
    messages expire, 0 if they stay.
    """

    group: str
    name: str
    inviter: Contact
    members: int
    admins: int
    known: tuple[Contact, ...]
    timer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEntry:
    """A past message to a group, or what is left of one.

    ``sender``: who has written it; of an own one, yourself. ``text``: None if it has expired. ``sent_at``: when it was
    written, as its sender says; ``kept_at``: when this device got it; ``expires_at``: when it is erased, or None; all
    in milliseconds since 1970. ``state``: of an own one, how far it has come with all; else None. ``is_waiting``: it
    was not handled yet.
    """

    message_id: str
    sender: Contact
    is_own: bool
    text: str | None
    sent_at: int
    kept_at: int
    expires_at: int | None
    state: DeliveryState | None
    is_waiting: bool


def contact_of(group: str, name: str) -> Contact:
    """A group in the place of a contact, in events."""
    return Contact(name=name, user_id=group, trust=Trust.UNVERIFIED, key=None)
