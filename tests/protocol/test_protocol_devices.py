"""protocol/devices.md names the limits and sizes that the code uses."""

import re
from pathlib import Path
from typing import Final

import pytest

from phantom_messenger.client.devices import device_list, kinds, known_list, link_code, linking

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = re.sub(r"\s+", " ", (ROOT / "protocol/devices.md").read_text())
DAY_MS: Final = 86_400_000


@pytest.mark.parametrize(
    "sentence",
    [
        f"version (1 byte, 0x{device_list.VERSION:02x})",
        f"A list has 1 to {device_list.MAX_DEVICES} devices",
        f"at most {device_list.LIFE_MS // DAY_MS} days after it",
        f"at most {device_list.LAST_TIME_MS:,}",
        f"after {known_list.RENEW_MS // DAY_MS} days one with the same devices",
        f"{known_list.RESTORE_STEP:,} revisions further",
        f"revision {known_list.RESTORE_STEP + 1:,}, `previous` zero",
        f"nothing has come for {known_list.ASLEEP_MS // DAY_MS} days",
        f"connected for {known_list.HERE_MS // DAY_MS} days without writing",
        f"{link_code.SECRET_BYTES} random bytes, in base64url",
        f"more than {link_code.MAX_CODE_CHARS:,} characters",
        f"`nonce` ({linking.NONCE_BYTES})",
        f"modulo {10**linking.DIGITS:,}: six digits",
        f"at most {kinds.MAX_LIST_BYTES:,} bytes",
        f"array of at most {kinds.MAX_CONTACTS} maps",
        f"arrays of at most {kinds.MAX_READ} maps each",
        f"array of at most {kinds.MAX_MUTED} maps of `group`",
        f"`chunks`: 0 to {kinds.MAX_CHUNKS}",
        f"at most {kinds.MAX_CHUNK_BYTES:,} bytes: zlib",
        f"A *place* is 1 to {kinds.MAX_PLACE_BYTES} bytes",
        f"1 to {kinds.MAX_NAME_CHARS} characters",
    ],
)
def test_number_is_that_of_the_code(sentence: str) -> None:
    assert sentence in DOCUMENT


def test_words_for_small_numbers_are_those_of_the_code() -> None:
    assert known_list.MAX_AHEAD_MS == DAY_MS
    assert "more than one day ahead" in DOCUMENT
    assert linking.LINK_MS == 5 * 60_000
    assert "for five minutes" in DOCUMENT
    assert linking.MAX_WRONG == 3
    assert "Wrong digits three times" in DOCUMENT


def fields_of_kinds(document: str) -> dict[str, set[str]]:
    """Of both tables of kinds: their fields, by name."""
    rows = [row for row in document.splitlines() if row.startswith("|")]
    found = {}
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        for place, cell in enumerate(cells[:2]):
            name = re.fullmatch(r"`((?:sync|link|history)-[a-z]+|history)`", cell)
            if name:
                fields = cells[place + 1].split(":")[0] if name[1] in PARTS else cells[place + 1]
                found[name[1]] = set(re.findall(r"`([a-zA-Z]+)`", fields))
    return found


PARTS: Final = {"sync-read", "sync-contacts", "sync-devices", "sync-muted"}
"""Kinds whose fields are arrays of maps, which are described behind them."""


def test_fields_of_kinds_are_those_of_the_code() -> None:
    written = fields_of_kinds((ROOT / "protocol/devices.md").read_text())
    assert written == {name: set(kind.__struct_encode_fields__) for name, kind in kinds.KINDS.items()}


def test_control_field_that_differs_is_noticed() -> None:
    document = (ROOT / "protocol/devices.md").read_text()
    assert fields_of_kinds(document.replace("`commitment` (32)", "`commitments` (32)")) != fields_of_kinds(document)
