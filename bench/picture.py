"""The results as a picture: bars of messages a second, and curves of latencies, in SVG without a library."""

from typing import Any, Final

WIDTH: Final = 760
INK: Final = "#1b1b1f"
PAINT: Final = ("#3b6fb6", "#c2571a")


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 13) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" fill="{INK}">{words}</text>'


def _bars(found: list[dict[str, Any]], top: float) -> list[str]:
    most = max(run["per_second"] for run in found)
    parts = [_text(20, top, "accepted and delivered, messages a second", size=15)]
    for index, run in enumerate(found):
        y = top + 16 + index * 30
        width = run["per_second"] / most * (WIDTH - 330)
        parts.append(_text(150, y + 16, f"{run['senders']:,} x {run['in_flight']}", anchor="end"))
        parts.append(f'<rect x="160" y="{y:.0f}" width="{width:.0f}" height="22" fill="{PAINT[0]}"/>')
        parts.append(_text(168 + width, y + 16, f"{run['per_second']:,.0f}"))
    return parts


def _latencies(found: list[dict[str, Any]], top: float) -> list[str]:
    names = ("p50", "p90", "p99", "p99.9", "max")
    parts = [_text(20, top, "latency from the moment a message was due, ms (ack blue, delivery orange)", size=15)]
    most = max(run["delivery_ms"]["p99.9"] for run in found) or 1.0
    for index, run in enumerate(found):
        y = top + 24 + index * 44
        parts.append(_text(150, y + 18, f"{run['rate']:,.0f} a second", anchor="end"))
        for row, kind in enumerate(("ack_ms", "delivery_ms")):
            spots = [min(run[kind][name] / most, 1.05) * (WIDTH - 330) for name in names[:4]]
            line = y + 6 + row * 18
            parts.append(f'<line x1="160" y1="{line}" x2="{160 + spots[-1]:.0f}" y2="{line}" stroke="{PAINT[row]}"/>')
            parts += [f'<circle cx="{160 + spot:.0f}" cy="{line}" r="4" fill="{PAINT[row]}"/>' for spot in spots]
            figures = " / ".join(f"{run[kind][name]:.2f}" for name in names[:4])
            parts.append(_text(172 + spots[-1], line + 5, figures, size=12))
    return parts


def curves(found: dict[str, Any]) -> str:
    """The whole picture."""
    parts, top = [_text(20, 28, ", ".join(found["machine"]), size=12)], 60.0
    if runs := found.get("closed"):
        parts += _bars(runs, top)
        top += 50 + 30 * len(runs)
    if runs := found.get("open"):
        parts += _latencies(runs, top)
        top += 50 + 44 * len(runs)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top:.0f}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#fdfdfb"/>\n{body}\n</svg>\n'
    )
