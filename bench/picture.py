"""The results as a picture in SVG, without a library: bars of messages a second, latencies, the stages of a message."""

import math
from typing import Any, Final

from stages import STAGES

WIDTH: Final = 760
INK: Final = "#1b1b1f"
FAINT: Final = "#d5d5da"
PAINT: Final = ("#3b6fb6", "#c2571a", "#8a3fa0", "#2e8b57", "#b08900", "#7a7a86")
_LEFT: Final = 160
_HEIGHT: Final = 260
_SHARES: Final = ("p50", "p90", "p99", "p99.9")

Runs = list[dict[str, Any]]


def text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 13) -> str:
    """Words at a place."""
    escaped = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" fill="{INK}">{escaped}</text>'


def _bars(runs: Runs, top: float) -> list[str]:
    most = max(run["per_second"] for run in runs)
    parts = [text(20, top, "accepted and delivered, messages a second (senders x in flight)", size=15)]
    for index, run in enumerate(runs):
        y = top + 16 + index * 30
        width = run["per_second"] / most * (WIDTH - 330)
        parts.append(text(_LEFT - 10, y + 16, f"{run['senders']:,} x {run['in_flight']}", anchor="end"))
        paint = FAINT if run["doubt"] else PAINT[0]
        parts.append(f'<rect x="{_LEFT}" y="{y:.0f}" width="{width:.0f}" height="22" fill="{paint}"/>')
        words = f"{run['per_second']:,.0f}" + (f" ({run['doubt']})" if run["doubt"] else "")
        parts.append(text(_LEFT + 8, y + 16, words))
    return parts


def _curves(runs: Runs, top: float) -> list[str]:
    """Latency on a logarithmic scale over the share of messages that were faster; a delivery's line is broken."""
    values = [max(run[kind][name], 0.01) for run in runs for kind in ("ack_ms", "delivery_ms") for name in _SHARES]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    bottom, right = top + 20 + _HEIGHT, WIDTH - 150

    def height(value: float) -> float:
        return bottom - (math.log10(max(value, 0.01)) - low) / max(high - low, 1) * _HEIGHT

    parts = [text(20, top, "ms from when a message was due: to the ack (line), to its delivery (broken)", size=15)]
    for power in range(low, high + 1):
        y = height(10.0**power)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{FAINT}"/>')
        parts.append(text(_LEFT - 10, y + 4, f"{10.0**power:g} ms", anchor="end"))
    step = (right - _LEFT) / (len(_SHARES) - 1)
    parts += [text(_LEFT + n * step, bottom + 18, name, anchor="middle") for n, name in enumerate(_SHARES)]
    for index, run in enumerate(runs):
        paint = PAINT[index % len(PAINT)]
        for kind, dash in (("ack_ms", ""), ("delivery_ms", ' stroke-dasharray="6 4"')):
            spots = " ".join(f"{_LEFT + n * step:.1f},{height(run[kind][name]):.1f}" for n, name in enumerate(_SHARES))
            parts.append(f'<polyline points="{spots}" fill="none" stroke="{paint}" stroke-width="2"{dash}/>')
        y = top + 34 + index * 20
        parts.append(f'<rect x="{right + 20}" y="{y - 10:.0f}" width="12" height="12" fill="{paint}"/>')
        parts.append(text(right + 38, y, f"{run['rate']:,.0f}/s ({run['share']:.0%})"))
    return parts


def _stack(spent: dict[str, float], top: float) -> list[str]:
    """One bar of a message's microseconds, in stages, and what each is."""
    whole = sum(spent.values())
    parts = [text(20, top, f"a message: {whole:.0f} us of the relay's processor time", size=15)]
    x = 20.0
    for index, (stage, us) in enumerate(spent.items()):
        width = us / whole * (WIDTH - 40)
        paint = PAINT[index % len(PAINT)]
        parts.append(f'<rect x="{x:.1f}" y="{top + 14:.0f}" width="{width:.1f}" height="34" fill="{paint}"/>')
        x += width
        y = top + 76 + index * 22
        parts.append(f'<rect x="20" y="{y - 11:.0f}" width="12" height="12" fill="{paint}"/>')
        parts.append(text(74, y, f"{us:.0f}", anchor="end"))
        parts.append(text(84, y, STAGES[stage]))
    return parts


def picture(found: dict[str, Any]) -> str:
    """The whole picture."""
    parts, top = (
        [text(20, 24, ", ".join(found["machine"]), size=12), text(20, 42, found["guarantees"], size=12)],
        76.0,
    )
    if runs := [run for run in found.get("closed", []) if "failed" not in run]:
        parts += _bars(runs, top)
        top += 56 + 30 * len(runs)
    if runs := [run for run in found.get("open", []) if "failed" not in run]:
        parts += _curves(runs, top)
        top += 70 + _HEIGHT
    if one := found.get("stages"):
        spent = {stage: us for stage, us in one["us"].items() if us}
        parts += _stack(spent, top)
        top += 86 + 22 * len(spent)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top:.0f}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#fdfdfb"/>\n{body}\n</svg>\n'
    )
