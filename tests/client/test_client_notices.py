"""What users are warned of: each sentence as it is shown, and how often one that goes on is repeated."""

import dataclasses
import subprocess

import pytest

from phantom_messenger.client import notices
from phantom_messenger.client.names import command_word
from phantom_messenger.client.notices import NOTICED_PAUSE_MS, WARN_AGAIN_MS, PauseNotices
from phantom_messenger.client.records import Strength
from phantom_messenger.client.status import Contact, Trust, WarningEvent
from support.cases import each

BOB = Contact(name="bob", user_id="id of bob", trust=Trust.UNVERIFIED, key=b"key")
CLASSICAL_BOB = dataclasses.replace(BOB, classical=True)
ANNA = dataclasses.replace(BOB, name="Anna Maria")
NAMELESS = dataclasses.replace(BOB, name="")
STRANGER = dataclasses.replace(BOB, key=None)

WARNINGS: dict[str, tuple[WarningEvent, Contact | None, str, str]] = {
    "changed key": (
        notices.key_changed(BOB),
        BOB,
        "key-changed",
        "the key of bob has changed: nothing is sent until you verify it with 'phantom contacts verify bob'"
        " or accept it with 'phantom contacts accept bob'",
    ),
    "changed key of somebody without a name": (
        notices.key_changed(NAMELESS),
        NAMELESS,
        "key-changed",
        "the key of id of bob… has changed: nothing is sent until you verify it with"
        " 'phantom contacts verify id of bob' or accept it with 'phantom contacts accept id of bob'",
    ),
    "changed key of somebody with two names": (
        notices.key_changed(ANNA),
        ANNA,
        "key-changed",
        "the key of Anna Maria has changed: nothing is sent until you verify it with"
        " 'phantom contacts verify \"Anna Maria\"' or accept it with 'phantom contacts accept \"Anna Maria\"'",
    ),
    "no post-quantum key": (
        notices.weak_bundle(BOB, Strength.CLASSICAL, had_better=False),
        BOB,
        "classical",
        "the relay offers no post-quantum key; nothing is sent to bob until you allow it with"
        " 'phantom contacts accept bob --classical'",
    ),
    "no post-quantum key any more": (
        notices.weak_bundle(NAMELESS, Strength.CLASSICAL, had_better=True),
        NAMELESS,
        "downgrade",
        "the relay no longer offers a post-quantum key, which can be an attack; nothing is sent to id"
        " of bob… until you allow it with 'phantom contacts accept id of bob --classical'",
    ),
    "no newer keys": (
        notices.weak_bundle(BOB, Strength.SUITE_1, had_better=False),
        BOB,
        "older",
        "the relay offers no newer keys for bob: their program or the relay is outdated, or the relay is hiding them;"
        " nothing is sent to bob until you allow it with 'phantom contacts accept bob --older'",
    ),
    "no newer keys any more": (
        notices.weak_bundle(NAMELESS, Strength.SUITE_1, had_better=True),
        NAMELESS,
        "downgrade",
        "the relay no longer offers the newer keys for id of bob…, which can be an attack; nothing is sent to id"
        " of bob… until you allow it with 'phantom contacts accept id of bob --older'",
    ),
    "keys of another time": (
        notices.stale_bundle(BOB),
        BOB,
        "stale-keys",
        "the keys that the relay has of bob are too old, or from the future: check this machine's clock; if it is"
        " right, theirs is wrong, or they have not been online for months, or the relay holds back newer keys",
    ),
    "older session": (
        notices.weak_session(BOB, Strength.SUITE_1, had_better=False),
        BOB,
        "older",
        "a message from bob is in the older encryption; nothing is sent to them that way",
    ),
    "older session of somebody who had a better one": (
        notices.weak_session(BOB, Strength.SUITE_1, had_better=True),
        BOB,
        "downgrade",
        "a message from bob is in the older encryption again, by an older program or an attack: nothing is sent to them"
        " that way until you allow it with 'phantom contacts accept bob --older'",
    ),
    "weak session": (
        notices.weak_session(BOB, Strength.CLASSICAL, had_better=False),
        BOB,
        "classical",
        "a message from bob has no post-quantum protection; nothing is sent to them that way",
    ),
    "weak session of somebody who had a better one": (
        notices.weak_session(BOB, Strength.CLASSICAL, had_better=True),
        BOB,
        "downgrade",
        "a message from bob has no post-quantum protection any more, by an older program or an attack: nothing is sent"
        " to them that way until you allow it with 'phantom contacts accept bob --classical'",
    ),
    "session as allowed": (
        notices.allowed_session(CLASSICAL_BOB, Strength.CLASSICAL)[0],
        CLASSICAL_BOB,
        "classical",
        "messages with bob have no post-quantum protection, as you allowed",
    ),
    "unknown user": (
        notices.unknown_user(STRANGER),
        STRANGER,
        "unknown-user",
        "the relay does not know bob yet; messages wait until they have connected once",
    ),
    "user who is gone": (
        notices.unknown_user(BOB),
        BOB,
        "unknown-user",
        "the relay does not know bob any more: the account was deleted, or moved to another relay;"
        " messages wait in case it comes back",
    ),
    "device that is gone": (
        notices.unknown_device("laptop", is_first=False),
        None,
        "unknown-device",
        "the relay does not know your device 'laptop' any more: its account was deleted, or moved to another relay;"
        " if you use it no more, remove it on your first device",
    ),
    "full mailbox": (
        notices.backlog(BOB),
        BOB,
        "backlog",
        "the mailbox of bob is full; the message will be sent when there is room",
    ),
    "rejected message": (
        notices.refused(BOB, "no\x1b"),
        BOB,
        "refused",
        "the relay rejected a message to bob: the relay said 'no<001B>'",
    ),
    "wrong prekeys": (
        notices.wrong_bundle(BOB, "a signature is wrong"),
        BOB,
        "key-exchange",
        "the relay handed out a wrong key for bob: a signature is wrong",
    ),
    "late": (notices.late(BOB), BOB, "late", "a message from bob arrived after ones that were written later"),
    "one sent again": (
        notices.resent(BOB, 1),
        BOB,
        "resent",
        "bob could not read 1 message of yours; it is sent again",
    ),
    "two sent again": (
        notices.resent(BOB, 2),
        BOB,
        "resent",
        "bob could not read 2 messages of yours; they are sent again",
    ),
    "of a newer version": (
        notices.unreadable(BOB, is_known=True, is_recoverable=False, is_newer=True),
        BOB,
        "newer",
        "a message from bob needs a newer version; update this program",
    ),
    "unreadable for good": (
        notices.unreadable(BOB, is_known=True, is_recoverable=False, is_newer=False),
        BOB,
        "unreadable",
        "a message from bob cannot be decrypted; ask for it again",
    ),
    "unreadable for now": (
        notices.unreadable(BOB, is_known=True, is_recoverable=True, is_newer=False),
        BOB,
        "waiting",
        "a message from bob cannot be decrypted: waiting for it to be sent again",
    ),
    "unreadable of a stranger": (
        notices.unreadable(BOB, is_known=False, is_recoverable=True, is_newer=False),
        BOB,
        "unreadable",
        "a message from bob cannot be decrypted; add them with 'phantom contacts add' to ask for it again",
    ),
    "mixed-up mailboxes": (
        notices.misdirected(),
        None,
        "misdirected",
        "the relay delivers messages that are for somebody else; tell its operator",
    ),
    "too many blocked": (
        notices.blocks_full(),
        None,
        "block",
        "the relay accepts no more blocked users; what they send is dropped unread on this device",
    ),
    "rejected prekeys": (
        notices.prekeys_refused("no\x1b"),
        None,
        "prekeys",
        "the relay rejected the prekeys: the relay said 'no<001B>'",
    ),
    "clock that is slow": (
        notices.clock(1),
        None,
        "clock",
        "this machine's clock is 1 second behind the relay's; check its date and time",
    ),
    "clock that is fast": (
        notices.clock(-240_000),
        None,
        "clock",
        "this machine's clock is 4 minutes ahead of the relay's; check its date and time",
    ),
}


@each(("event", "peer", "code", "sentence"), WARNINGS.values(), ids=WARNINGS)
def test_warning_says_what_happened_and_what_to_do(
    event: WarningEvent, peer: Contact | None, code: str, sentence: str
) -> None:
    assert event == WarningEvent(peer=peer, code=code, message=sentence)


def paused(sentence: str) -> list[WarningEvent]:
    return [WarningEvent(peer=None, code="paused", message=f"rate-limited: {sentence}")]


def test_pause_is_told_if_it_is_long_and_again_after_a_minute() -> None:
    pauses = PauseNotices()
    assert pauses.paused(2, NOTICED_PAUSE_MS - 1, 0) == []
    assert pauses.paused(0, NOTICED_PAUSE_MS, 0) == []
    told = paused("1 message waits; the relay accepts the next one in 3 seconds")
    assert pauses.paused(1, NOTICED_PAUSE_MS, 5) == told
    assert pauses.paused(2, 4_000, 5 + WARN_AGAIN_MS - 1) == []
    told = paused("2 messages wait; the relay accepts the next one in 4 seconds")
    assert pauses.paused(2, 4_000, 5 + WARN_AGAIN_MS) == told


def test_refusals_are_told_once_they_have_lasted_and_an_acceptance_ends_them() -> None:
    pauses = PauseNotices()
    assert pauses.refused("bob", 1, NOTICED_PAUSE_MS - 1, 0) == []
    pauses.accepted("bob")
    pauses.accepted("nobody")
    assert pauses.refused("bob", 1, 1_000, 1_500) == []
    assert pauses.refused("carol", 1, 1_000, 3_000) == []
    told = paused("1 message waits; the relay accepts the next one in 1 second")
    assert pauses.refused("bob", 1, 1_000, 1_500 + NOTICED_PAUSE_MS - 1_000) == told


def test_full_disk_of_a_relay_is_told_once_a_minute_and_not_as_a_pause_too() -> None:
    pauses = PauseNotices()
    sentence = "the relay cannot store messages now; they will be sent as soon as it can"
    told = [WarningEvent(peer=BOB, code="storage", message=sentence)]
    assert pauses.storage(BOB, 7) == told
    assert pauses.paused(1, NOTICED_PAUSE_MS, 8) == []
    assert pauses.storage(BOB, 7 + WARN_AGAIN_MS - 1) == []
    assert pauses.storage(BOB, 7 + WARN_AGAIN_MS) == told


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("bob", "bob"),
        ("Anna Maria", '"Anna Maria"'),
        ("Ben's", '"Ben\'s"'),
        ("a&b;*", '"a&b;*"'),
        *((name, "aWQ=") for name in ("", "-p", "$HOME", "it`s", 'the "one"', "wow!", "\\")),
    ],
)
def test_suggested_command_means_whom_it_is_said_of(name: str, word: str) -> None:
    assert command_word(name, "aWQ=") == word
    shown = subprocess.run(["/bin/sh", "-c", f"printf %s {word}"], capture_output=True, text=True, check=True, cwd="/")
    assert shown.stdout == ("aWQ=" if word == "aWQ=" else name)
