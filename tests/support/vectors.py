"""Test vectors from outside the project, which a user's checkout does not have."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "../shared/vectors"


def vectors(name: str) -> Any:
    """The content of a JSON file of vectors; skips the test, or in CI fails it, if it is not there."""
    file = FOLDER / name
    if not file.exists():
        reason = f"no vectors at ../shared/vectors/{name}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return json.loads(file.read_text())
