"""Why a device list is not taken up, or a link ends, as a tree.

CryptoError
 +-- InvalidMessage, InvalidKey, InvalidSignature    the bytes themselves are not in order
 +-- ListNotTaken        a list that its person has signed, and that is not taken up
 |    +-- NewerList      of a version that is not known here
 |    +-- ForeignList    of another person than it should be
 |    +-- EarlyList      of the future
 |    +-- StaleList      of a lower revision than the one that is known
 |    +-- ForkedList     another one of the same revision, or not made from the one that is known
 +-- LinkEnded           this link can not go on; a new code is needed
"""

from phantom_messenger.crypto.errors import CryptoError


class ListNotTaken(CryptoError):
    """The root of what speaks against a list that is in order by itself."""


class NewerList(ListNotTaken):
    """A list of a version that is not known here."""


class ForeignList(ListNotTaken):
    """A list of another person."""


class EarlyList(ListNotTaken):
    """A list that was made more than a day from now."""


class StaleList(ListNotTaken):
    """A list that is older than the one that is known."""


class ForkedList(ListNotTaken):
    """A list beside the one that is known: their person has signed both, or somebody who has the key."""


class LinkEnded(CryptoError):
    """A link can not go on: it is too late, the digits were wrong too often, or somebody else knows the code."""
