"""Messages a second against the number of relays on one database, as a picture: what was measured, and a model beyond.

Draws ``docs/cluster-scaling.svg`` from ``docs/cluster-scaling.json``: a list of points, each with ``relays``, ``cores``
(of relays and database together), ``msgs_per_s`` and ``kind``, ``measured`` or ``model``. Only what the file holds is
drawn. ``--model`` puts the model's points into it anew, and leaves the measured ones alone.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from beyond import Costs, Load, Machine, most_per_second
from picture import FAINT, PAINT, WIDTH, text

Point = dict[str, Any]
DOCS: Final = Path(__file__).parents[1] / "docs"
RELAYS: Final = (1, 2, 4, 6, 8, 10, 12)
_LEFT: Final = 90
_TOP: Final = 60
_HEIGHT: Final = 260
_KINDS: Final = {
    "measured": "measured",
    "model": "model: arithmetic on the processor time of a message, not measured",
}


def model(relays: int, costs: Costs, machine: Machine) -> Point:
    """What so many relays carry, a core each, on one primary: the relays' processors are the limit, or the primary."""
    alone = Load(crossing=0, us=costs.life_us, most=1, served=0)
    rate = min(relays * machine.busy * 1e6 / costs.relay_us, most_per_second(alone, costs, machine))
    database = math.ceil(rate * costs.life_us / machine.busy / 1e6)
    return {"relays": relays, "cores": relays + database, "msgs_per_s": round(rate), "kind": "model"}


def _round_up(value: float) -> float:
    """To one digit, for a scale."""
    unit: float = 10.0 ** math.floor(math.log10(max(value, 1)))
    return math.ceil(value / unit) * unit


def scaling(points: Sequence[Point]) -> str:
    """The picture."""
    parts = [
        text(20, 28, "accepted and delivered, messages a second, by the number of relays on one database", size=15)
    ]
    bottom, right = _TOP + _HEIGHT, WIDTH - 40
    if not points:
        parts.append(text(_LEFT, _TOP + 20, "nothing has been measured yet"))
    most = _round_up(max((point["msgs_per_s"] for point in points), default=1))
    last = max((point["relays"] for point in points), default=1)

    def spot(point: Point) -> tuple[float, float]:
        return _LEFT + point["relays"] / last * (right - _LEFT), bottom - point["msgs_per_s"] / most * _HEIGHT

    for part in range(5 if points else 0):
        y = bottom - part / 4 * _HEIGHT
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{FAINT}"/>')
        parts.append(text(_LEFT - 10, y + 4, f"{most * part / 4:,.0f}", anchor="end"))
    for relays in sorted({point["relays"] for point in points}):
        parts.append(text(_LEFT + relays / last * (right - _LEFT), bottom + 20, f"{relays}", anchor="middle"))
    kinds = [kind for kind in _KINDS if any(point["kind"] == kind for point in points)]
    for row, kind in enumerate(kinds):
        parts += _series(kind, [(*spot(point), point["cores"]) for point in _of(kind, points)])
        y = bottom + 48 + row * 22
        parts.append(_mark(kind, _LEFT + 6, y - 4))
        parts.append(text(_LEFT + 20, y, _KINDS[kind]))
    body = "\n".join(parts)
    height = bottom + 48 + 22 * len(kinds)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#fdfdfb"/>\n{body}\n</svg>\n'
    )


def _of(kind: str, points: Sequence[Point]) -> list[Point]:
    return sorted((point for point in points if point["kind"] == kind), key=lambda point: point["relays"])


def _mark(kind: str, x: float, y: float) -> str:
    """A full spot for what was measured, an empty one for the model."""
    fill = PAINT[0] if kind == "measured" else "none"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{PAINT[0]}" stroke-width="2"/>'


def _series(kind: str, spots: Sequence[tuple[float, float, int]]) -> list[str]:
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in spots)
    dash = "" if kind == "measured" else ' stroke-dasharray="6 4"'
    parts = [f'<polyline points="{line}" fill="none" stroke="{PAINT[0]}" stroke-width="2"{dash}/>']
    away = 22 if kind == "measured" else -12  # the labels of two lines that lie on each other
    for x, y, cores in spots:
        parts += [_mark(kind, x, y), text(x, y + away, f"{cores} cores", anchor="middle", size=11)]
    return parts


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="store_true", help="make the model's points anew")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of JSON and picture")
    options = parser.parse_args()
    file = options.docs / "cluster-scaling.json"
    points: list[Point] = json.loads(file.read_text()) if file.exists() else []
    if options.model:
        points = _of("measured", points) + [model(relays, Costs(), Machine()) for relays in RELAYS]
        file.write_text("[\n" + ",\n".join(f"  {json.dumps(point)}" for point in points) + "\n]\n")
    file.with_suffix(".svg").write_text(scaling(points))


if __name__ == "__main__":
    main()
