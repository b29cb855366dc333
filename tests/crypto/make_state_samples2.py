"""Makes the samples of stored sessions of suite 2 in ``state_samples2``, once for each version of their format.

Run it with the code of a new version, from the root: ``.venv/bin/python tests/crypto/make_state_samples2.py``.
A sample that is there is never made again: it stands for sessions that people have.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import suite2_samples as suite2
from crypto_samples import BOB, NOW
from make_state_samples import private_keys

from phantom_messenger.crypto import session2
from phantom_messenger.crypto.session2 import Session2

FOLDER: Final = Path(__file__).parent / "state_samples2"


class Talk:
    """Alice and Bob, and what is under way between them."""

    def __init__(self, alice: Session2, bob: Session2 | None) -> None:
        self.state = {"alice": alice} if bob is None else {"alice": alice, "bob": bob}
        self.under_way: list[dict[str, str]] = []

    def say(self, sender: str, text: str, *, arrives: bool = False) -> None:
        to = "bob" if sender == "alice" else "alice"
        self.state[sender], message = suite2.encrypt(self.state[sender], text.encode())
        if arrives:
            self.state[to], got = suite2.decrypt(self.state[to], message)
            assert got.decode() == text
        else:
            self.under_way.append({"to": to, "text": text, "message": message.hex()})

    def sample(self) -> dict[str, Any]:
        return {
            "stored": {name: session2.dump(state).hex() for name, state in self.state.items()},
            "under_way": self.under_way,
        }


def pending() -> Talk:
    """Alice has written twice, Bob has read nothing."""
    talk = Talk(suite2.begin(), None)
    talk.say("alice", "first")
    talk.say("alice", "second")
    return talk


def answered() -> Talk:
    """Both have read each other, and each has said something more."""
    talk = Talk(*suite2.established())
    talk.say("alice", "under way to bob")
    talk.say("bob", "under way to alice")
    return talk


def offered() -> Talk:
    """Bob has offered a KEM key, which Alice has not seen."""
    talk = Talk(*suite2.offering())
    talk.say("bob", "with an offer")
    talk.say("bob", "with the same offer")
    return talk


def taken_up() -> Talk:
    """Alice has answered Bob's offer, which he has not seen."""
    bob, alice, _ = suite2.answered_offer()
    talk = Talk(alice, bob)
    talk.say("alice", "with the answer")
    talk.say("bob", "in the chain of the offer")
    return talk


def skipped() -> Talk:
    """Both have missed messages, in this chain and in earlier ones."""
    talk = answered()
    for turn in range(3):
        for sender in ("alice", "bob"):
            talk.say(sender, f"late {turn} from {sender}")
            talk.say(sender, f"there {turn} from {sender}", arrives=True)
    return talk


KINDS: Final = {
    "pending": pending,
    "answered": answered,
    "offered": offered,
    "taken up": taken_up,
    "with skipped keys": skipped,
}


def main() -> None:
    file = FOLDER / f"version-{session2.STATE_VERSION}.json"
    if file.exists():
        sys.exit(f"{file.name} is there; samples are never made again")
    last_resort = suite2.LAST_RESORT[BOB.id]
    made = {
        "version": session2.STATE_VERSION,
        "made_at": NOW,
        "bob": private_keys() | {"last_resort": [last_resort.id, last_resort.seed.hex()]},
        "sessions": {name: make().sample() for name, make in KINDS.items()},
    }
    FOLDER.mkdir(exist_ok=True)
    file.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
