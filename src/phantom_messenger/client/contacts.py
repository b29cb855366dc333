"""The people one talks to: names for ids, and what is known of their keys."""

import base64
from collections.abc import Callable

import msgspec

from phantom_messenger.client import records
from phantom_messenger.client.border import guarded
from phantom_messenger.client.errors import ContactExists, InvalidUserId, NoKeyYet, UnknownContact
from phantom_messenger.client.ids import ID_BYTES, decoded_id, is_user_id, plain_id
from phantom_messenger.client.names import checked_name, normal_name, skeleton
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.client.status import Contact, Trust
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import safety
from phantom_messenger.wire.limits import MAX_USER_ID_BYTES, MIN_USER_ID_BYTES


@guarded
class Contacts:
    """The address book of a profile.

    Args:
        vault: holds it.
        own_id: one's user id, base64.
        own_key: one's public identity key, 32 bytes.
        added: called with the id of a contact that was added, or is to be treated otherwise than before.
        remove: called with the id of one who is to be forgotten, and whether what was said goes too.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        own_id: str,
        own_key: bytes,
        added: Callable[[str], None],
        remove: Callable[[str, bool], None] = lambda _id, _history: None,
    ) -> None:
        self._vault = vault
        self._own_id = own_id
        self._own_key = own_key
        self._added = added
        self._remove = remove
        self._index: _Names | None = None

    def everybody(self) -> list[Contact]:
        """Everybody, in the order in which they came."""
        return [_public(record) for _, record in self._vault.all(records.CONTACT, ContactRecord)]

    def find(self, who: str) -> Contact:
        """The contact of a name, or of a user id.

        Raises:
            UnknownContact: no such name; and it is no user id.
            InvalidUserId: an id with a wrong character.
        """
        user_id = plain_id(who)
        found = self._names().by_name.get(normal_name(who), user_id) if who else ""
        if found and found.isascii() and self._vault.has(records.CONTACT, found):
            return self.of(found)
        if is_user_id(user_id):
            return Contact(name="", user_id=user_id, trust=Trust.UNVERIFIED, key=None)
        raise UnknownContact(f"there is no contact '{who}'; add one with 'phantom contacts add NAME ID'")

    def of(self, user_id: str) -> Contact:
        """The contact with this id, known or not."""
        record = self._vault.find(records.CONTACT, user_id, ContactRecord)
        return _public(record or ContactRecord(user_id=user_id))

    def add(self, name: str, user_id: str, *, claimed: bool = False, alike: bool = False) -> Contact:
        """Give an id a name; another one, if it has one already.

        Args:
            name: 1 to 64 printable characters; kept composed (NFC).
            user_id: as ``phantom id`` prints it, or base64.
            claimed: take an id, too, that does not certify its key: the first key that is seen counts.
            alike: take a name that looks like another contact's, too.

        Raises:
            InvalidUserId: not an id, or one's own.
            ContactExists: the name belongs to another id, or looks like one that does.
            UsageError: the name cannot be used.
        """
        user_id = plain_id(user_id)
        self._check_id(user_id, claimed=claimed)
        name = checked_name(name)
        names = self._names()
        if names.by_name.get(normal_name(name), user_id) != user_id:
            raise ContactExists(
                f"'{name}' is another contact already; choose another name, or use --replace if they have a new id"
            )
        twin = next((other for one, other in names.alike(name) if one != user_id), "")
        if twin and not alike:
            raise ContactExists(
                f"'{name}' looks like your contact '{twin}'; choose another name, or use --yes to have both"
            )
        record = self._vault.find(records.CONTACT, user_id, ContactRecord) or ContactRecord(user_id=user_id)
        record = msgspec.structs.replace(record, name=name)
        with self._vault.transaction():
            self._vault.put(records.CONTACT, user_id, record)
            self._vault.when_kept(lambda: names.put(user_id, name))
        self._added(user_id)
        return _public(record)

    def safety_number(self, who: str) -> str:
        """The 60 digits that the contact sees too if nobody stands between.

        Raises:
            UnknownContact: no such contact.
            NoKeyYet: its key has not been seen.
        """
        contact = self.find(who)
        if contact.key is None:
            raise NoKeyYet(
                f"the key of {contact.label} has not been seen yet; run 'phantom listen' or exchange a text first"
            )
        return safety.safety_number(
            self._own_key, base64.b64decode(self._own_id), contact.key, base64.b64decode(contact.user_id)
        )

    def set_trust(self, who: str, trust: Trust) -> Contact:
        """Note that the safety numbers were compared, or are to be compared again.

        Raises:
            UnknownContact, NoKeyYet: as ``safety_number``.
        """
        contact = self.find(who)
        record = self._vault.find(records.CONTACT, contact.user_id, ContactRecord)
        if record is None or not record.key:
            raise NoKeyYet(f"the key of {contact.label} has not been seen yet; exchange a text first")
        if record.offered and trust is not Trust.VERIFIED:
            return _public(record)  # it stays changed
        record = _settled(record, trust)
        with self._vault.transaction():
            self._vault.put(records.CONTACT, contact.user_id, record)
        self._added(contact.user_id)
        return _public(record)

    def accept(self, who: str) -> Contact:
        """Take a changed key for the contact's, without having compared it; does nothing if it has not changed.

        Raises:
            UnknownContact: no such contact.
        """
        contact = self.find(who)
        record = self._vault.find(records.CONTACT, contact.user_id, ContactRecord)
        if record is None or record.trust != Trust.CHANGED:
            return contact
        record = _settled(record, Trust.UNVERIFIED)
        with self._vault.transaction():
            self._vault.put(records.CONTACT, contact.user_id, record)
        self._added(contact.user_id)
        return _public(record)

    def allow_classical(self, who: str) -> Contact:
        """Let texts to somebody go without a post-quantum secret, until their program gives a key for one again.

        Raises:
            UnknownContact: no such contact.
        """
        contact = self.find(who)
        record = self._vault.find(records.CONTACT, contact.user_id, ContactRecord)
        record = msgspec.structs.replace(record or ContactRecord(user_id=contact.user_id), allows_classical=True)
        with self._vault.transaction():
            self._vault.put(records.CONTACT, contact.user_id, record)
        self._added(contact.user_id)
        return _public(record)

    def replace(self, name: str, user_id: str) -> Contact:
        """Give a name to another id: its owner has a new identity. Nothing is sent until that was verified or accepted.

        Raises:
            UnknownContact: nobody has that name.
            InvalidUserId, ContactExists: as ``add``.
        """
        user_id = plain_id(user_id)
        old = self.find(name)
        if not old.name:
            raise UnknownContact(f"there is no contact '{name}'; add one with 'phantom contacts add NAME ID'")
        if old.user_id == user_id:
            return old
        self._check_id(user_id, claimed=is_claimed_id(old.user_id))
        if there := self.of(user_id).name:
            raise ContactExists(f"that id is '{there}' already; use that name")
        before = self._vault.find(records.CONTACT, old.user_id, ContactRecord) or ContactRecord(user_id=old.user_id)
        record = self._vault.find(records.CONTACT, user_id, ContactRecord) or ContactRecord(user_id=user_id)
        record = msgspec.structs.replace(record, name=old.name, trust=str(Trust.CHANGED))
        with self._vault.transaction():
            self._vault.put(records.CONTACT, old.user_id, msgspec.structs.replace(before, name=""))
            self._vault.put(records.CONTACT, user_id, record)
            self._vault.when_kept(self._look_again)
        self._added(user_id)
        return _public(record)

    def _names(self) -> "_Names":
        if self._index is None:
            self._index = _Names()
            for contact in self.everybody():
                self._index.put(contact.user_id, contact.name)
        return self._index

    def _look_again(self) -> None:
        self._index = None

    def _check_id(self, user_id: str, *, claimed: bool) -> None:
        if not is_user_id(user_id) and not (claimed and is_claimed_id(user_id)):
            raise InvalidUserId(f"'{user_id}' is not a user id; ask your contact for the output of 'phantom id'")
        if user_id == self._own_id:
            raise InvalidUserId("this is your own id; ask your contact for theirs")

    def can_be(self, user_id: str) -> bool:
        """Whether this is the id of somebody else: one that certifies its key, or a contact's."""
        known = is_user_id(user_id) or self._vault.has(records.CONTACT, user_id)
        return known and user_id != self._own_id

    def may_tell(self, user_id: str) -> bool:
        """Whether somebody may learn that we are there: they were added or written to, and have the key we know."""
        record = self._vault.find(records.CONTACT, user_id, ContactRecord)
        return record is not None and record.is_known and not record.blocked and record.trust != Trust.CHANGED

    def is_known(self, user_id: str) -> bool:
        """Whether the user has added them, written to them or let them in; else they are a stranger."""
        record = self._vault.find(records.CONTACT, user_id, ContactRecord)
        return record is not None and record.is_known

    def let_in(self, user_id: str) -> Contact:
        """They are no stranger any more."""
        record = self._vault.find(records.CONTACT, user_id, ContactRecord) or ContactRecord(user_id=user_id)
        if not record.is_known:
            record = msgspec.structs.replace(record, accepted=True)
            with self._vault.transaction():
                self._vault.put(records.CONTACT, user_id, record)
            self._added(user_id)
        return _public(record)

    def ungreeted(self) -> list[str]:
        """Ids of those let in whom the relay does not yet know as such."""
        return [record.user_id for _, record in self._vault.all(records.CONTACT, ContactRecord) if record.is_ungreeted]

    def is_ungreeted(self, user_id: str) -> bool:
        """Whether this is one of ``ungreeted``."""
        record = self._vault.find(records.CONTACT, user_id, ContactRecord)
        return record is not None and record.is_ungreeted

    def moved(self) -> None:
        """Another relay was chosen, which knows nobody: all are to be greeted again; call it inside a transaction."""
        for _, record in list(self._vault.all(records.CONTACT, ContactRecord)):
            if record.greeted and not record.moved:
                self._vault.put(records.CONTACT, record.user_id, msgspec.structs.replace(record, moved=True))

    def blocked(self) -> list[str]:
        """Ids of those whose messages are dropped unread."""
        return [record.user_id for _, record in self._vault.all(records.CONTACT, ContactRecord) if record.blocked]

    def is_blocked(self, user_id: str) -> bool:
        """Whether what this user sends is dropped unread."""
        record = self._vault.find(records.CONTACT, user_id, ContactRecord)
        return record is not None and record.blocked

    def note_blocked(self, user_id: str, *, blocked: bool) -> None:
        """Note it, and that the relay forgets that we wrote to them; call it inside a transaction."""
        record = self._vault.find(records.CONTACT, user_id, ContactRecord) or ContactRecord(user_id=user_id)
        record = msgspec.structs.replace(record, blocked=blocked, greeted=False, moved=False)
        if record == ContactRecord(user_id=user_id):
            self._vault.delete(records.CONTACT, user_id)
        else:
            self._vault.put(records.CONTACT, user_id, record)
        self._vault.when_kept(lambda: self._added(user_id))

    def forget(self, user_id: str) -> None:
        """Forget all but that they are blocked, if they are; call it inside a transaction."""
        if self.is_blocked(user_id):
            self._vault.put(records.CONTACT, user_id, ContactRecord(user_id=user_id, blocked=True))
        else:
            self._vault.delete(records.CONTACT, user_id)
        self._vault.when_kept(self._look_again)
        self._vault.when_kept(lambda: self._added(user_id))

    def remove(self, who: str, *, history: bool = False) -> Contact:
        """Forget somebody: name, key, sessions, what waits to be sent. They are a stranger then; blocked ones stay so.

        Args:
            who: a name or an id.
            history: erase what was said, too.

        Returns:
            Who it was.

        Raises:
            UnknownContact: no such contact.
        """
        contact = self.find(who)
        self._remove(contact.user_id, history)
        return contact

    def greeted(self, user_id: str) -> None:
        """The relay has seen us write to this contact; call it inside a transaction."""
        record = self._vault.find(records.CONTACT, user_id, ContactRecord) or ContactRecord(user_id=user_id)
        if not record.greeted or record.moved:
            self._vault.put(records.CONTACT, user_id, msgspec.structs.replace(record, greeted=True, moved=False))


class _Names:
    """Who has which name, and which names look like it: for an address book that is not read for each look."""

    def __init__(self) -> None:
        self.by_name: dict[str, str] = {}
        self._by_look: dict[str, dict[str, str]] = {}
        self._named: dict[str, str] = {}

    def put(self, user_id: str, name: str) -> None:
        """Somebody has this name from now on, '' for none."""
        before = self._named.pop(user_id, "")
        if before:
            self.by_name.pop(normal_name(before), None)
            self._by_look[skeleton(before)].pop(user_id, None)
        if name:
            self._named[user_id] = name
            self.by_name[normal_name(name)] = user_id
            self._by_look.setdefault(skeleton(name), {})[user_id] = name

    def alike(self, name: str) -> list[tuple[str, str]]:
        """Ids and names that look like this one."""
        return list(self._by_look.get(skeleton(name), {}).items())


def is_claimed_id(text: str) -> bool:
    """Whether a text is an id that says nothing of its key: 16 to 64 other bytes in canonical base64."""
    raw = decoded_id(text)
    return MIN_USER_ID_BYTES <= len(raw) <= MAX_USER_ID_BYTES and len(raw) != ID_BYTES


def _public(record: ContactRecord) -> Contact:
    return Contact(
        name=record.name,
        user_id=record.user_id,
        trust=Trust(record.trust),
        key=record.offered or record.key or None,
        classical=record.classical,
        blocked=record.blocked,
    )


def _settled(record: ContactRecord, trust: Trust) -> ContactRecord:
    """A contact whose key the user has judged: an offered one is theirs from now on."""
    if not record.offered:
        return msgspec.structs.replace(record, trust=str(trust))
    return msgspec.structs.replace(
        record, trust=str(trust), key=record.offered, offered=b"", classical=record.offered_classical
    )
