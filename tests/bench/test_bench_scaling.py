"""The picture of several relays shows what its file holds, and what is a model says so."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from beyond import Costs, Machine
from scaling import Point, model, scaling

ROOT = Path(__file__).parents[2]
MEASURED: Point = {"relays": 2, "cores": 2, "msgs_per_s": 5_000, "kind": "measured"}
SVG = "{http://www.w3.org/2000/svg}"


def words(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}text")]  # noqa: S314 - our own


def spots(picture: str, fill: str) -> int:
    """Of points, without the one in the legend."""
    circles = ET.fromstring(picture).iter(f"{SVG}circle")  # noqa: S314 - our own
    found = [circle for circle in circles if (circle.get("fill") == "none") == (fill == "none")]
    return max(len(found) - 1, 0)


def test_nothing_is_drawn_that_is_not_there() -> None:
    assert "nothing has been measured yet" in words(scaling([]))
    assert not list(ET.fromstring(scaling([])).iter(f"{SVG}polyline"))  # noqa: S314 - our own
    picture = scaling([MEASURED])
    assert spots(picture, "full") == 1
    assert spots(picture, "none") == 0
    assert not any("model" in text for text in words(picture))


def test_model_is_marked_as_one() -> None:
    picture = scaling([MEASURED, *(model(relays, Costs(), Machine()) for relays in (1, 2, 4))])
    assert (spots(picture, "full"), spots(picture, "none")) == (1, 3)
    assert "model: arithmetic on the processor time of a message, not measured" in words(picture)
    assert picture.count("stroke-dasharray") == 1


def test_model_grows_with_relays_until_the_primary_is_the_limit() -> None:
    rates = [model(relays, Costs(), Machine())["msgs_per_s"] for relays in range(1, 20)]
    assert rates == sorted(rates)
    assert rates[1] == 2 * rates[0]
    assert rates[-1] == rates[-2]


def test_model_is_made_anew_and_what_was_measured_stays(tmp_path: Path) -> None:
    file = tmp_path / "cluster-scaling.json"
    file.write_text(json.dumps([MEASURED, {**MEASURED, "kind": "model", "msgs_per_s": 1}]))
    subprocess.run(
        [sys.executable, "bench/scaling.py", "--model", "--docs", tmp_path], cwd=ROOT, check=True, timeout=60
    )
    first, *others = json.loads(file.read_text())
    assert first == MEASURED
    assert others[0] == model(1, Costs(), Machine())
    assert {point["kind"] for point in others} == {"model"}


def test_documentation_shows_the_picture_of_its_file() -> None:
    points = json.loads((ROOT / "docs" / "cluster-scaling.json").read_text())
    assert (ROOT / "docs" / "cluster-scaling.svg").read_text() == scaling(points)
    models = [point for point in points if point["kind"] == "model"]
    assert models == [model(point["relays"], Costs(), Machine()) for point in models]
