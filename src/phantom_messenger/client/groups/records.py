"""What is kept of groups: values of the vault, under the kinds and names that their docstrings begin with.

The kinds are named in ``client.records``, with all others.
"""

import msgspec
from msgspec import UNSET, UnsetType

from phantom_messenger.client.records import Record


class GroupRecord(Record, frozen=True, kw_only=True):
    """``GROUP``/id of the group in base64.

    ``number``: names the kind of its texts, see ``group_texts``. ``relation``: invited, member, left, removed or
    closed. ``state``, ``digest``: see ``client.groups``. ``steps``: revisions of the changes that are kept. ``doubt``:
    '' or why nothing is sent: forked or newer; ``rival``: by whom, also once the user has gone on all the same, until
    the next change; ``rival_head``: the head that they have named, if it is known; ``rivals``: all members who have
    named another one since the last change. ``shown``: rival changes of which this user was told, author and digest of
    each, see ``doubts``. ``inviter``: who has added this user. ``ordered``: the greatest revision that the relay is
    known to have, and ``ordered_by`` a digest of who has written it, b"" if that is not known; ``passed``: up to which
    of the relay's revisions this user goes on without what is missing. ``wishes``: ops that this user wants, in turn,
    as MessagePack. ``flying``: a change that was sent to be put in order, and ``carrier`` the message that it is in.
    ``absent``: members who were added and have not said that they are there. ``muted``: this user wants no notice.
    ``picture``: the one that the state names, if it is here. ``own_name``: what this user calls themselves there, '' if
    nothing; ``names``: the same of others, by user id. ``fresh``: this user was invited and has not accepted, nor ever
    been a member before. ``asked``: those of ``wishes`` that others have asked for. ``leaving``: members who have said
    that they leave. ``admins_then``: who were admins when this user was last a member, while somebody invites them back
    or has done so; [] else. ``inviters``: who has invited to another group of this id; of each the user was told.
    ``invited_at``: when the invitation was written, in milliseconds since 1970; 0 if that is not known.
    """

    group: bytes
    number: int
    relation: str
    state: bytes
    digest: bytes
    steps: list[int] = msgspec.field(default_factory=list)
    doubt: str = ""
    rival: str = ""
    rival_head: bytes = b""
    inviter: str = ""
    ordered: int = 0
    ordered_by: bytes = b""
    passed: int = 0
    wishes: list[bytes] = msgspec.field(default_factory=list)
    flying: bytes = b""
    carrier: str = ""
    absent: list[str] = msgspec.field(default_factory=list)
    muted: bool = False
    picture: bytes = b""
    own_name: str = ""
    names: dict[str, str] = msgspec.field(default_factory=dict)
    fresh: bool = False
    asked: list[bytes] = msgspec.field(default_factory=list)
    leaving: list[str] = msgspec.field(default_factory=list)
    rivals: list[str] = msgspec.field(default_factory=list)
    shown: list[bytes] = msgspec.field(default_factory=list)
    admins_then: list[str] = msgspec.field(default_factory=list)
    inviters: list[str] = msgspec.field(default_factory=list)
    invited_at: int = 0


class SenderCount(Record, frozen=True, array_like=True):
    """How many texts of a member there must be: the last number, and numbers before it that have not come."""

    last: int
    missing: list[int] = msgspec.field(default_factory=list)


class GroupCountsRecord(Record, frozen=True, kw_only=True):
    """``GROUP_COUNTS``/id of the group: texts of this user, and of the others by user id."""

    own: int = 0
    others: dict[str, SenderCount] = msgspec.field(default_factory=dict)


class GroupStepRecord(Record, frozen=True, kw_only=True):
    """``GROUP_STEP``/'<group> <revision>': a change that was taken up; the state before it, and what led to that."""

    change: bytes
    before: bytes
    base: bytes


class GroupTextRecord(Record, frozen=True, kw_only=True):
    """``group_texts``/'<sender> <message id>': a text to a group. ``sender``: '' for this user's own.

    ``kept_at``: when this device got it, for display. ``state``: of an own one, a ``DeliveryState``. Else as
    ``RECEIVED``.
    """

    message_id: str
    sender: str
    text: str | None
    sent_at: int
    kept_at: int
    expires_at: int | None = None
    expires_in: int | None = None
    read: bool = False
    state: int = 0


class GroupPastRecord(Record, frozen=True, kw_only=True):
    """``GROUP_PAST_PAGE``/'<group> <number>': texts from before this device was linked, the newest first.

    Those of a page with a greater number are older. ``GROUP_PAST``/id of the group is the number of pages; below zero,
    the user has erased the group, and what is still handed over of it is not kept. ``names``: what their writers call
    themselves, if the group was not known yet.
    """

    texts: list[GroupTextRecord]
    names: dict[str, str] = msgspec.field(default_factory=dict)


class GroupInboxRecord(Record, frozen=True, kw_only=True):
    """``group_inbox``/'<group> <sender> <message id>': a text to a group that the application has not handled yet."""

    group: str
    sender: str
    message_id: str


class GroupToldRecord(Record, frozen=True, kw_only=True):
    """``GROUP_TOLD``/as ``group_inbox``: a receipt that its sender is still to be sent; ``status``: as ``RECEIPT``."""

    group: str
    sender: str
    message_id: str
    status: str


class GroupHeldRecord(Record, frozen=True, kw_only=True):
    """``GROUP_HELD``/'<group> <name>': what came too early: a change, or a text of its ``sender`` (``content``).

    ``state``, ``base``: of a change that may invite this user back, once they are known to be no member any more.
    ``kind``: '', or hello or leave, if it is that of somebody who is no member yet; invitation, if it is one to another
    group of this id, see ``rivals``.
    """

    group: str
    at: int
    sender: str = ""
    change: bytes = b""
    state: bytes = b""
    base: bytes = b""
    message_id: str = ""
    content: bytes = b""
    sent_at: int = 0
    revision: int = 0
    head: bytes = b""
    n: int = 0
    expires_in: int | None = None
    name: str | UnsetType = UNSET
    kind: str = ""


class GroupEarlyRecord(Record, frozen=True, kw_only=True):
    """``GROUP_EARLY``/as ``group_inbox``: a text of a person that was kept while this user is only invited.

    ``size``: the bytes of it.
    """

    group: str
    sender: str
    message_id: str
    size: int


class GroupTokenRecord(Record, frozen=True, kw_only=True):
    """``GROUP_LINK``/token in base64: a link that others may open; ``until`` in persistent time."""

    group: str
    token: bytes
    uses: int
    until: int


class GroupJoinRecord(Record, frozen=True, kw_only=True):
    """``GROUP_JOIN``/user id of an admin: this user has opened a link of theirs; ``at`` in persistent time.

    Under ``refused`` and the token: they have said that it serves no more. ``name``: what they are to be called in the
    group. ``token``: of the link.
    """

    admin: str
    at: int
    name: str = ""
    token: bytes = b""


def group_texts(number: int) -> str:
    """The kind of a group's texts: one for each group, so that they are found without those of others."""
    return f"group-text-{number}"


def group_inbox(number: int) -> str:
    """The kind of what waits of a group, as ``group_texts``."""
    return f"group-inbox-{number}"
