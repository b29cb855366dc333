"""Signatures of key exchanges are remembered as long as they could be fresh."""

import pytest

from phantom_messenger.relay import admission
from phantom_messenger.relay.admission import SEEN_EXCHANGE_MS, SeenExchanges


def test_exchange_is_seen_once_until_it_cannot_be_fresh() -> None:
    seen = SeenExchanges()
    assert seen.add("signature", 0)
    assert not seen.add("signature", SEEN_EXCHANGE_MS - 1)
    assert seen.add("signature", SEEN_EXCHANGE_MS)


def test_exchange_that_was_not_obeyed_may_be_sent_again() -> None:
    seen = SeenExchanges()
    assert seen.add("signature", 0)
    seen.discard("signature")
    assert seen.add("signature", 1)


def test_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_SEEN_EXCHANGES", 2)
    seen = SeenExchanges()
    assert all(seen.add(name, 0) for name in "abc")
    assert len(seen) == 2
    assert not seen.add("c", 1)
    assert seen.add("a", 1)
