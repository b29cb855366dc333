"""What an identity key signs and hashes, told apart by a label in front of the bytes.

Every use has a label of its own, so that nothing signed for one purpose verifies for another.
``wire`` and ``crypto`` do not know each other; both read the labels here.
"""

from typing import Final

ENVELOPE: Final = b"phantom/1 envelope\n"
SIGNED_PREKEY: Final = b"phantom/1 signed-prekey\n"
KEM_PREKEY: Final = b"phantom/1 kem-prekey\n"
USER_ID: Final = b"phantom/1 user-id\n"
