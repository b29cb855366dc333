"""What was seen, in columns of plain text."""

from collections.abc import Mapping
from typing import Final

from phantom_messenger.bench.ledger import Ledger

SHARES: Final = ("p50", "p90", "p99", "p99.9", "max")


def latencies(ledger: Ledger) -> dict[str, dict[str, float]]:
    """The figures of an open loop, in milliseconds from when a message was due; ``late`` is the load's own part."""
    return {
        "ack_ms": ledger.acks.figures(),
        "delivery_ms": ledger.deliveries.figures(),
        "late_ms": ledger.lateness.figures(),
    }


def latency_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """A line for each kind of latency."""
    head = f"{'milliseconds':<24}" + "".join(f"{name:>10}" for name in SHARES)
    return "\n".join(
        [head, *(f"{what:<24}" + "".join(f"{row[name]:>10.2f}" for name in SHARES) for what, row in rows.items())]
    )
