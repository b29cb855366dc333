"""Whether a message can be sent as its user wants it: what is said otherwise says what to do."""

from collections.abc import Container

from phantom_messenger.client import content
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.errors import InvalidUserId, KeyChanged, UsageError
from phantom_messenger.client.names import command_word
from phantom_messenger.client.status import Trust
from phantom_messenger.wire.limits import MAX_EXPIRES_IN_MS


def check_text(
    book: AddressBook, peer: str, text: str, expires_in: int | None, *, user_id: str, own: Container[str]
) -> None:
    """Refuse what cannot be sent.

    Args:
        book: knows the recipient.
        peer: user id of the recipient.
        text: what is to be said.
        expires_in: milliseconds, if it expires.
        user_id: of this device.
        own: all ids that are one's own.

    Raises:
        InvalidUserId, MessageTooLong, UsageError: it cannot be sent as it is.
        KeyChanged: the user must look at the key of this contact first.
    """
    if peer in own:
        raise InvalidUserId("this is your own ID; ask your contact for theirs")
    if not book.can_be(peer, user_id):
        raise InvalidUserId(f"'{peer}' is not the ID of another user; ask them for the output of 'phantom id'")
    try:
        content.check_length(text)
    except UnicodeEncodeError:
        raise UsageError("the message contains half a character (a lone surrogate); remove it") from None
    if expires_in is not None and not 1 <= expires_in <= MAX_EXPIRES_IN_MS:
        raise UsageError("a message can expire after 1 millisecond to 365 days; choose a time in between")
    contact = book.contact(peer)
    who = command_word(contact.name, peer)
    if contact.blocked:
        raise UsageError(f"{contact.label} is blocked; unblock them first with 'phantom contacts unblock {who}'")
    if contact.trust is Trust.CHANGED:
        raise KeyChanged(
            f"the key of {contact.label} has changed; verify it with 'phantom contacts verify {who}'"
            f" or accept it with 'phantom contacts accept {who}', then send again"
        )
