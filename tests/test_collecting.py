"""What each process of a run does before its first test."""

import itertools
import sys
from pathlib import Path
from typing import Final

import pytest

from support.collecting import import_ahead, modules, turned

HERE: Final = Path(__file__).parent


@pytest.mark.parametrize("processes", range(1, 9))
def test_each_process_begins_elsewhere_and_leaves_nothing_out(processes: int) -> None:
    files = [f"test_{number}.py" for number in range(20)]
    orders = [turned(files, number, processes) for number in range(processes)]
    assert [sorted(order) for order in orders] == [sorted(files)] * processes
    assert len({order[0] for order in orders}) == processes
    for order, following in itertools.pairwise(orders):  # it goes on where the next one has been
        place = order.index(following[0])
        assert order[place:] == following[: len(files) - place]


def test_what_is_imported_is_what_is_asked_for() -> None:
    whole = list(modules([str(HERE)], []))
    assert sorted(whole) == sorted(HERE.rglob("test_*.py"))
    web, wire = HERE / "web", HERE / "wire"
    assert set(whole) - set(modules([str(HERE)], [str(web)])) == set(web.rglob("test_*.py")) != set()
    assert list(modules([str(wire)], [])) == sorted(wire.glob("test_*.py"))
    assert list(modules([f"{__file__}::test_one[a]"], [])) == [Path(__file__)]


def test_module_that_cannot_be_imported_is_left_to_pytest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    bodies = {
        "fails": "1 / 0",
        "skips": "import pytest; pytest.skip('all of it', allow_module_level=True)",
        "warns": "import warnings; warnings.warn('as pytest has it, an error')",
        "works": "HERE = 1",
    }
    files = [tmp_path / f"test_that_{name}.py" for name in bodies]
    for file, body in zip(files, bodies.values(), strict=True):
        file.write_text(body)
    import_ahead(files)
    assert [file.stem for file in files if file.stem in sys.modules] == ["test_that_works"]
    del sys.modules["test_that_works"]
