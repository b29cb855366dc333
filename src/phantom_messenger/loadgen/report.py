"""The figures of a run, in columns of plain text."""

from collections.abc import Mapping
from typing import Final

from phantom_messenger.loadgen.stats import Stats

SHARES: Final = ("p50", "p90", "p99", "p99.9", "max")


def latencies(stats: Stats) -> dict[str, dict[str, float]]:
    """The figures of an open loop, in milliseconds from when a message was due; ``late`` is the generator's share."""
    return {
        "ack_ms": stats.acks.figures(),
        "delivery_ms": stats.deliveries.figures(),
        "late_ms": stats.lateness.figures(),
    }


def latency_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """One line for each kind of latency."""
    head = f"{'milliseconds':<24}" + "".join(f"{name:>10}" for name in SHARES)
    return "\n".join(
        [head, *(f"{label:<24}" + "".join(f"{row[name]:>10.2f}" for name in SHARES) for label, row in rows.items())]
    )
