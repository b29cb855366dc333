"""protocol/encryption.md names every limit and size that the code uses, and no other; labels, all of protocol/."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from phantom_messenger.client import (
    batching,
    content,
    content1,
    content2,
    conversations,
    prekey_store,
    receipts,
    recovery,
    sessions,
    unanswered,
)
from phantom_messenger.client.devices import kinds
from phantom_messenger.client.groups import contents
from phantom_messenger.crypto import body, bundle, head, padding, primitives, ratchet, ratchet2, safety, session
from phantom_messenger.wire import limits
from support.cases import each

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = (ROOT / "protocol/encryption.md").read_text()
DOCUMENTS: Final = "\n".join(path.read_text() for path in sorted((ROOT / "protocol").glob("*.md")))
SOURCES: Final = sorted((ROOT / "src/phantom_messenger").rglob("*.py"))
DAY_MS: Final = 86_400_000


def labels_in_code() -> set[str]:
    """Every bytes literal of the sources that is a label."""
    return {
        node.value.decode()
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and node.value.startswith(b"phantom/")
    }


def labels_in(document: str) -> set[str]:
    """Every quoted label, over line breaks too."""
    found = re.findall(r'"(phantom/[^"]*)"', document)
    return {re.sub(r"\s+", " ", label).replace("\\n", "\n") for label in found}


def test_labels_are_those_of_the_code() -> None:
    assert labels_in(DOCUMENTS) == labels_in_code()
    assert len(labels_in_code()) >= 13


@pytest.mark.parametrize("old", ['"phantom/1 ratchet root\\n"', '"phantom/1 PQXDH X25519 SHA-256 ML-KEM-768\\n"'])
def test_control_label_that_differs_is_noticed(old: str) -> None:
    assert old in DOCUMENTS
    assert labels_in(DOCUMENTS.replace(old, old.replace("phantom/1 ", "phantom/1  x"))) != labels_in_code()


def test_every_label_ends_with_a_line_feed_and_is_the_beginning_of_no_other() -> None:
    found = labels_in_code()
    assert all(label.endswith("\n") for label in found)
    assert not [(one, other) for one in found for other in found if one != other and other.startswith(one)]


UNITS: Final = {"": 1, "s": 1_000, "minute": 60_000, "hour": 3_600_000, "day": DAY_MS}
LIMITS: Final = {
    "MAX_SKIP": ratchet.MAX_SKIP,
    "MAX_SKIPPED_KEYS": ratchet.MAX_SKIPPED_KEYS,
    "MAX_RECEIVING_CHAINS": ratchet.MAX_RECEIVING_CHAINS,
    "MAX_SKIPPED_AGE_MS": ratchet.MAX_SKIPPED_AGE_MS,
    "MAX_SESSIONS": conversations.MAX_SESSIONS,
    "MAX_STRANGER_SESSIONS": conversations.MAX_STRANGER_SESSIONS,
    "MAX_STRANGER_SKIPPED_KEYS": conversations.MAX_STRANGER_SKIPPED_KEYS,
    "MAX_SESSION_AGE_MS": sessions.MAX_SESSION_AGE_MS,
    "MAX_TRIES": conversations.MAX_TRIES,
    "MAX_KEPT": recovery.MAX_KEPT,
    "MAX_KEPT_OF_STRANGER": recovery.MAX_KEPT_OF_STRANGER,
    "MAX_REMEMBERED": recovery.MAX_REMEMBERED,
    "SETTLE_MS": recovery.SETTLE_MS,
    "MAX_SESSIONS_PER_HOUR": recovery.MAX_SESSIONS_PER_HOUR,
    "MAX_ASKS": recovery.MAX_ASKS,
    "ASK_AGAIN_MS": recovery.ASK_AGAIN_MS,
    "MAX_RESENDS": recovery.MAX_RESENDS,
    "LOST_MS": unanswered.LOST_MS,
    "OFFER_AFTER_MESSAGES": ratchet2.OFFER_AFTER_MESSAGES,
    "OFFER_AFTER_MS": ratchet2.OFFER_AFTER_MS,
    "MAX_BUNDLE_AGE_MS": bundle.MAX_BUNDLE_AGE_MS,
    "MAX_BUNDLE_AHEAD_MS": bundle.MAX_BUNDLE_AHEAD_MS,
}


def test_limits_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \| ([\d,]+)(?: (\w+))? \|", DOCUMENT, re.MULTILINE)
    written = {name: int(value.replace(",", "")) * UNITS[unit.removesuffix("s") or unit] for name, value, unit in rows}
    assert written == LIMITS


@each(
    "sentence",
    [
        f"suite (1 byte, 0x{session.SUITE:02x})",
        f"CT ({primitives.KEM_CIPHERTEXT_BYTES})",
        f"{primitives.KEM_PUBLIC_BYTES}-byte key",
        f"its {primitives.KEM_SEED_BYTES}-byte seed",
        f"nonce ({primitives.NONCE_BYTES}, random)",
        f"at most {limits.MAX_ENCRYPTED_CHARS:,} characters",
        f"clients send at most {content.MAX_TEXT_BYTES:,} bytes",
        f"clients send at most {content.MAX_RECEIPTS} together",
        f"at most {content.LAST_TIME_MS:,}",
        f"up to {padding.MIN_PADDED}, 512, 1,024, ... 32,768 or {padding.MAX_PADDED:,} bytes",
        f"message = suite (1 byte, 0x{session.SUITE:02x})",
        f"head = 0x{head.SUITE:02x}",
        f"body = 0x{body.SUITE:02x} || commitment ({body.COMMITMENT_BYTES})",
        f"at least {body.PADDED_STEP} and at most {body.MAX_PADDED:,}",
        f"EK ({primitives.KEM_PUBLIC_BYTES})",
        f"SHA-256(last-resort KEM prekey) ({bundle.DIGEST_BYTES})",
        f"then {safety.ITERATIONS:,} times",
        f"new after {prekey_store.ROTATE_MS // DAY_MS} days",
        f"private half kept {prekey_store.KEEP_RETIRED_MS // DAY_MS} days more",
        f"{prekey_store.ONE_TIME_TARGET} at the relay, refilled below {prekey_store.REFILL_BELOW}",
        f"{prekey_store.KEM_TARGET} at the relay, refilled below {prekey_store.KEM_REFILL_BELOW}",
        f"are erased after {prekey_store.KEEP_HANDED_OUT_MS // DAY_MS} days",
        f"gathered: {batching.GATHER_MS} ms",
        f"Beyond {recovery.MAX_KEPT} unreadable messages of a contact, "
        f"or {recovery.MAX_KEPT_OF_STRANGER} of a stranger",
        f"up to {recovery.MAX_REMEMBERED})",
        f"unanswered {unanswered.LOST_MS // 60_000} minutes later",
        f"less than {recovery.SETTLE_MS // 1000} s ago, or three in the last hour",
    ],
)
def test_number_is_that_of_the_code(sentence: str) -> None:
    assert sentence in re.sub(r"\s+", " ", DOCUMENT)


def test_words_for_small_numbers_are_those_of_the_code() -> None:
    assert recovery.MAX_SESSIONS_PER_HOUR == recovery.MAX_ASKS == recovery.MAX_RESENDS == 3
    assert recovery.ASK_AGAIN_MS == 3_600_000
    assert receipts.UNDECRYPTABLE == "undecryptable"


def test_fields_of_content_are_those_of_the_code() -> None:
    rows = re.search(r"## Content\n.*?\n\n(\|.*?)\n\n", DOCUMENT, re.DOTALL)
    assert rows is not None
    written = set(re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in rows[1].splitlines())))
    names = {"kind"} | {name for kind in (content1.Text, content1.Receipt) for name in kind.__struct_encode_fields__}
    assert written == names


def fields_of_content_2(document: str) -> dict[str, set[str]]:
    """Its table, by kind; what all kinds have stands under ''."""
    rows = document.split("**Suite 2 carries content 2**")[1].split("\n\n")[1]
    common = {name for row in rows.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    kinds = re.findall(r"((?:`\w+`(?:, )?)+) of a `(\w+)`", rows)
    return {"": common} | {kind: set(re.findall(r"\w+", fields)) for fields, kind in kinds}


def test_fields_of_content_2_are_those_of_the_code() -> None:
    others = {*contents.KINDS, *kinds.KINDS}  # which stand in groups.md and devices.md
    here = {"": content2.CommonFields, **{name: of for name, of in content2.KINDS.items() if name not in others}}
    assert fields_of_content_2(DOCUMENT) == {kind: set(of.__struct_encode_fields__) for kind, of in here.items()}


@pytest.mark.parametrize(
    "old", ["`body` of a `text`", "`undecryptable` of a `receipt`", "| `sentAt` | as in content 1"]
)
def test_control_field_of_content_2_that_differs_is_noticed(old: str) -> None:
    assert old in DOCUMENT
    other = DOCUMENT.replace(old, old.replace("`", "`other", 1))
    assert fields_of_content_2(other) != fields_of_content_2(DOCUMENT)


def test_lengths_of_heads_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d) \| .* \| ([\d,]+) \|$", DOCUMENT, re.MULTILINE)
    assert {int(part): int(length.replace(",", "")) for part, length in rows} == head.HEAD_BYTES
