"""Signed Nostr events (NIP-01), made by a process that has their library: ``nostr_signer.py PAIRS COUNT BODY``.

The first line is the recipients' keys, each further one an event as a client sends it.
"""

import hashlib
import json
import os
import sys
import time

from coincurve import PrivateKey  # type: ignore[import-not-found, unused-ignore] # it is there where this runs

_ENCRYPTED_MESSAGE = 4


def main() -> None:
    """Print them."""
    pairs, count, body = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    keys = [PrivateKey(os.urandom(32)) for _ in range(pairs)]
    authors = [key.public_key.format()[1:].hex() for key in keys]
    recipients = [PrivateKey(os.urandom(32)).public_key.format()[1:].hex() for _ in range(pairs)]
    print(json.dumps(recipients))
    at = int(time.time())
    for number in range(count):
        index = number % pairs
        content = f"{body[:-8]}{number:08}"  # each has an id of its own
        tags = [["p", recipients[index]]]
        form = [0, authors[index], at, _ENCRYPTED_MESSAGE, tags, content]
        digest = hashlib.sha256(json.dumps(form, separators=(",", ":")).encode()).digest()
        event = {
            "id": digest.hex(),
            "pubkey": authors[index],
            "created_at": at,
            "kind": _ENCRYPTED_MESSAGE,
            "tags": tags,
            "content": content,
            "sig": keys[index].sign_schnorr(digest, os.urandom(32)).hex(),
        }
        print(json.dumps(["EVENT", event], separators=(",", ":")))


if __name__ == "__main__":
    main()
