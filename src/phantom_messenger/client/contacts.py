"""The people one talks to: names for ids, and what is known of their keys."""

import base64
from typing import Protocol

import msgspec

from phantom_messenger.client.address_book import AddressBook, public
from phantom_messenger.client.errors import ContactExists, InvalidUserId, NoKeyYet, UnknownContact
from phantom_messenger.client.ids import ID_BYTES, decoded_id, is_user_id, plain_id
from phantom_messenger.client.names import checked_name
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.client.status import Contact, Trust
from phantom_messenger.client.translate import guarded
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import safety, session
from phantom_messenger.wire.limits import MAX_USER_ID_BYTES, MIN_USER_ID_BYTES


class Owner(Protocol):
    """Whose contacts they are: the messenger, which acts on what has changed."""

    def contact_changed(self, user_id: str) -> None:
        """Somebody was added, or is to be treated otherwise than before; on disk already."""

    def remove(self, peer: str, history: bool) -> None:
        """Forget a user, and what was said if ``history``."""

    def may_remove(self, peer: str, *, history: bool) -> bool:
        """Whether there is somebody to remove; ``history``: or something that was said with them."""


@guarded
class Contacts:
    """The address book of a profile.

    Args:
        vault: holds it.
        book: what is known of everybody.
        own_id: one's user id, base64.
        own_key: one's public identity key, 32 bytes.
        owner: acts on changes.
    """

    def __init__(self, vault: Vault, book: AddressBook, *, own_id: str, own_key: bytes, owner: Owner) -> None:
        self._vault = vault
        self._book = book
        self._own_id = own_id
        self._own_key = own_key
        self._owner = owner

    def become(self, own_id: str, own_key: bytes) -> None:
        """The ids and keys to compare are these: those of the person whose device this is."""
        self._own_id, self._own_key = own_id, own_key

    def everybody(self) -> list[Contact]:
        """All contacts, in the order in which they were met; no strangers, unless all are let in (see ``requests``)."""
        return self._book.listed()

    def is_known(self, user_id: str) -> bool:
        """Whether the user has added them, written to them or let them in; of others, a group may have told."""
        return self._book.is_known(user_id)

    def find(self, who: str) -> Contact:
        """The contact with this name or user id.

        Args:
            who: a name, or a user id in either form.

        Raises:
            UnknownContact: no contact has that name, and it is not a user id.
            InvalidUserId: it is meant as a user id, and has a wrong character.
        """
        user_id = plain_id(who)
        found = (self._book.named(who) or user_id) if who else ""
        if self._book.has(found):
            return self.of(found)
        if is_user_id(user_id):
            return Contact(name="", user_id=user_id, trust=Trust.UNVERIFIED, key=None)
        raise UnknownContact(f"there is no contact '{who}'; add one with 'phantom contacts add NAME ID'")

    def of(self, user_id: str) -> Contact:
        """The contact with this user id, whether it is known or not."""
        return self._book.contact(user_id)

    def add(self, name: str, user_id: str, *, claimed: bool = False, alike: bool = False) -> Contact:
        """Give a user id a name, or another name.

        Args:
            name: 1 to 64 printable characters; stored composed (NFC).
            user_id: as ``phantom id`` prints it, or base64.
            claimed: allow an id that does not certify its key; the first key that is seen is then trusted.
            alike: allow a name that looks like another contact's.

        Raises:
            InvalidUserId: not a user id, or your own.
            ContactExists: another contact has the name, or one that looks like it.
            UsageError: the name cannot be used.
        """
        user_id = plain_id(user_id)
        self._check_id(user_id, claimed=claimed)
        name = checked_name(name)
        if self._book.named(name) not in {None, user_id}:
            raise ContactExists(
                f"'{name}' is already another contact; choose another name, or use --replace if they have a new ID"
            )
        twin = next((other for one, other in self._book.alike(name) if one != user_id), "")
        if twin and not alike:
            raise ContactExists(
                f"'{name}' looks like your contact '{twin}'; choose another name, or use --yes to keep both"
            )
        return self._store(msgspec.structs.replace(self._book.get(user_id), name=name))

    def safety_number(self, who: str) -> str:
        """60 digits to compare with the contact, who sees the same ones unless somebody is in the middle.

        Args:
            who: a name or a user id.

        Raises:
            UnknownContact: no such contact.
            NoKeyYet: its key has not been seen.
        """
        contact = self.find(who)
        if contact.key is None:
            raise NoKeyYet(
                f"the key of {contact.label} has not been seen yet; run 'phantom listen', or exchange a message first"
            )
        return safety.safety_number(
            self._own_key, base64.b64decode(self._own_id), contact.key, base64.b64decode(contact.user_id)
        )

    def set_trust(self, who: str, trust: Trust) -> Contact:
        """Record that safety numbers match (``Trust.VERIFIED``), or have to be compared again (``UNVERIFIED``).

        Args:
            who: a name or a user id.
            trust: one of these two.

        Raises:
            UnknownContact, NoKeyYet: as ``safety_number``.
        """
        contact = self.find(who)
        record = self._book.get(contact.user_id)
        if not record.key:
            raise NoKeyYet(f"the key of {contact.label} has not been seen yet; exchange a message first")
        if record.offered and trust is not Trust.VERIFIED:
            return contact  # it stays changed
        return self._store(_settled(record, trust))

    def accept(self, who: str) -> Contact:
        """Accept a contact's changed key without comparing it; does nothing if it has not changed.

        Args:
            who: a name or a user id.

        Raises:
            UnknownContact: no such contact.
        """
        contact = self.find(who)
        if contact.trust is not Trust.CHANGED:
            return contact
        return self._store(_settled(self._book.get(contact.user_id), Trust.UNVERIFIED))

    def allow_classical(self, who: str) -> Contact:
        """Allow messages without post-quantum protection, until the contact's program offers a key for it again.

        Args:
            who: a name or a user id.

        Raises:
            UnknownContact: no such contact.
        """
        contact = self.find(who)
        return self._store(msgspec.structs.replace(self._book.get(contact.user_id), allows_classical=True))

    def allow_older(self, who: str) -> Contact:
        """Allow messages in suite 1, the older encryption, until the contact's program is seen with suite 2.

        Args:
            who: a name or a user id.

        Raises:
            UnknownContact: no such contact.
        """
        contact = self.find(who)
        return self._store(msgspec.structs.replace(self._book.get(contact.user_id), allows_older=True))

    def replace(self, name: str, user_id: str) -> Contact:
        """Give a contact's name to another user id, because they have a new identity.

        Nothing is sent to it until the user has verified or accepted it.

        Args:
            name: the contact's name.
            user_id: the new one.

        Raises:
            UnknownContact: no contact has that name.
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
            raise ContactExists(f"this ID is already '{there}'; use that name")
        before, record = self._book.get(old.user_id), self._book.get(user_id)
        record = msgspec.structs.replace(record, name=old.name, trust=str(Trust.CHANGED))
        with self._vault.transaction() as tx:
            self._book.put(tx, msgspec.structs.replace(before, name=""))
            self._book.put(tx, record)
        self._owner.contact_changed(user_id)
        return public(record)

    def _store(self, record: ContactRecord) -> Contact:
        with self._vault.transaction() as tx:
            self._book.put(tx, record)
        self._owner.contact_changed(record.user_id)
        return public(record)

    def _check_id(self, user_id: str, *, claimed: bool) -> None:
        if not is_user_id(user_id) and not (claimed and is_claimed_id(user_id)):
            raise InvalidUserId(f"'{user_id}' is not a user ID; ask your contact for the output of 'phantom id'")
        if user_id == self._own_id:
            raise InvalidUserId("this is your own ID; ask your contact for theirs")

    def let_in(self, user_id: str) -> Contact:
        """Accept a stranger."""
        if self._book.is_known(user_id):
            return self.of(user_id)
        return self._store(msgspec.structs.replace(self._book.get(user_id), accepted=True))

    def remove(self, who: str, *, history: bool = False) -> Contact:
        """Delete a contact: name, key, sessions and messages that wait to be sent.

        They become a stranger; if they are blocked, they stay blocked.

        Args:
            who: a name or a user id.
            history: also erase the messages exchanged.

        Returns:
            Who it was.

        Raises:
            UnknownContact: as ``check_removable``.
        """
        contact = self.check_removable(who, history=history)
        self._owner.remove(contact.user_id, history)
        return contact

    def check_removable(self, who: str, *, history: bool = False) -> Contact:
        """Who ``remove`` would delete.

        Args:
            who: a name or a user id.
            history: as for ``remove``: somebody can also be meant of whom nothing is left but messages.

        Raises:
            UnknownContact: no contact has that name or user id, and no stranger of it has written.
        """
        contact = self.find(who)
        if self._owner.may_remove(contact.user_id, history=history):
            return contact
        has_texts = not history and self._owner.may_remove(contact.user_id, history=True)
        more = "; the messages exchanged are still here, and --history erases them" if has_texts else ""
        raise UnknownContact(f"nobody of this ID is in your contacts; 'phantom contacts' lists yours{more}")


def is_claimed_id(text: str) -> bool:
    """Whether a text is an id that says nothing of its key: 16 to 64 other bytes in canonical base64."""
    raw = decoded_id(text)
    return MIN_USER_ID_BYTES <= len(raw) <= MAX_USER_ID_BYTES and len(raw) != ID_BYTES


def _settled(record: ContactRecord, trust: Trust) -> ContactRecord:
    """A contact whose key the user has judged: an offered one is theirs from now on, and of somebody new."""
    if not record.offered:
        return msgspec.structs.replace(record, trust=str(trust))
    return msgspec.structs.replace(
        record,
        trust=str(trust),
        key=record.offered,
        offered=b"",
        classical=record.offered_classical,
        allows_classical=False,
        allows_older=False,
        suite=session.SUITE,
        newest=0,
    )
