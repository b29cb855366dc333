"""Makes the samples of stored sessions in ``state_samples``, once for each version of their format.

Run it with the code of a new version, from the root: ``.venv/bin/python tests/crypto/make_state_samples.py``.
A sample that is there is never made again: it stands for sessions that people have.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import crypto_samples as samples
from crypto_samples import BOB, begin, decrypt, encrypt

from phantom_messenger.crypto import session
from phantom_messenger.crypto.session import Session

FOLDER: Final = Path(__file__).parent / "state_samples"


class Talk:
    """Alice and Bob, what is under way between them, and what was read."""

    def __init__(self, alice: Session, bob: Session | None) -> None:
        self.state = {"alice": alice} if bob is None else {"alice": alice, "bob": bob}
        self.under_way: list[dict[str, str]] = []
        self.read_already: list[dict[str, str]] = []

    def say(self, sender: str, text: str, *, arrives: bool = False) -> None:
        to = "bob" if sender == "alice" else "alice"
        self.state[sender], message = encrypt(self.state[sender], text.encode())
        said = {"to": to, "text": text, "message": message.hex()}
        if not arrives:
            self.under_way.append(said)
            return
        self.state[to], got = decrypt(self.state[to], message)
        assert got.decode() == text
        self.read_already.append(said)

    def sample(self) -> dict[str, Any]:
        stored = {name: session.dump(state).hex() for name, state in self.state.items()}
        return {"stored": stored, "under_way": self.under_way, "read_already": self.read_already}


def pending(*, kem: bool) -> Talk:
    """Alice has written twice, Bob has read nothing."""
    talk = Talk(begin(BOB.bundle(kem=kem)), None)
    talk.say("alice", "first")
    talk.say("alice", "second")
    return talk


def answered(*, kem: bool) -> Talk:
    """Both have read each other, and each has said something more."""
    talk = Talk(*samples.established(kem=kem))
    talk.say("alice", "how are you", arrives=True)
    talk.say("bob", "well", arrives=True)
    talk.say("alice", "under way to bob")
    talk.say("bob", "under way to alice")
    return talk


def skipped() -> Talk:
    """Both have missed messages, in this chain and in earlier ones."""
    talk = answered(kem=True)
    for turn in range(3):
        for sender in ("alice", "bob"):
            talk.say(sender, f"late {turn} from {sender}")
            talk.say(sender, f"there {turn} from {sender}", arrives=True)
    return talk


def private_keys() -> dict[str, Any]:
    """What Bob needs to read a first message; he exists only here."""
    return {
        "identity": BOB.identity.seed.hex(),
        "signed": [BOB.signed.id, BOB.signed.pair.private.hex()],
        "one_time": [BOB.one_time.id, BOB.one_time.pair.private.hex()],
        "kem": [BOB.kem.id, BOB.kem.seed.hex()],
    }


def main() -> None:
    file = FOLDER / f"version-{session.STATE_VERSION}.json"
    if file.exists():
        sys.exit(f"{file.name} is there; samples are never made again")
    talks = {
        "pending PQXDH": pending(kem=True),
        "pending X3DH": pending(kem=False),
        "answered PQXDH": answered(kem=True),
        "answered X3DH": answered(kem=False),
        "with skipped keys": skipped(),
    }
    made = {
        "version": session.STATE_VERSION,
        "made_at": samples.NOW,
        "bob": private_keys(),
        "sessions": {name: talk.sample() for name, talk in talks.items()},
    }
    file.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
