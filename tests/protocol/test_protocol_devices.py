"""protocol/devices.md names the limits and sizes that the code uses."""

import re
from pathlib import Path
from typing import Final

import pytest

from phantom_messenger.client.devices import device_list, known_list, link_code, linking

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
        f"nothing has come during {known_list.ASLEEP_MS // DAY_MS} days",
        f"connected for {known_list.HERE_MS // DAY_MS} days without writing",
        f"{link_code.SECRET_BYTES} random bytes, in base64url",
        f"more than {link_code.MAX_CODE_CHARS:,} characters",
        f"`nonce` ({linking.NONCE_BYTES})",
        f"modulo {10**linking.DIGITS:,}: six digits",
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
