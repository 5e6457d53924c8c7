"""The architecture check, on small packages with one fault each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LAYERS = "core,data|models,cli"


@pytest.fixture
def measure(tmp_path: Path, checkout: Path):
    """Write a package of the given modules and run the tool on it."""

    def run(modules: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
        package = tmp_path / "house"
        for name, source in {"__init__": "", **modules}.items():
            path = package / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        command = [sys.executable, str(checkout / "tools" / "style_numbers.py"), str(tmp_path), "house", *options]
        return subprocess.run(command, capture_output=True, text=True)

    return run


@pytest.mark.parametrize(
    ("modules", "fault"),
    [
        ({"core/a": "import house.cli.b", "cli/b": ""}, "house.core.a (floor 0) imports house.cli.b (floor 2)"),
        ({"data/a": "from house.models import b", "models/b": ""}, "imports house.models.b (floor 1)"),
        ({"core/a": "def f():\n    import house.data.b\n", "data/b": ""}, "imports house.data.b"),
        ({"cli/a": "import house\n"}, "the front door"),
        ({"attic/a": "import house.core.b", "core/b": ""}, "room not in --layers"),
    ],
    ids=["upwards", "same floor", "lazy", "front door", "no room"],
)
def test_a_broken_layer_fails(measure, modules: dict[str, str], fault: str) -> None:
    """An import that points upwards, sideways or to the front door ends the check with the two names."""
    result = measure(modules, "--layers", LAYERS)
    assert result.returncode == 1
    assert fault in result.stderr


def test_imports_downwards_pass(measure) -> None:
    """What the layers allow is not complained about; imports for type checkers alone do not count."""
    upwards_for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.cli.a\n"
    result = measure({"cli/a": "import house.core.b", "core/b": upwards_for_types}, "--layers", LAYERS)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_cycle_fails(measure) -> None:
    """Two modules that import each other are one cycle too many."""
    modules = {"core/a": "import house.core.b", "core/b": "import house.core.a"}
    assert measure(modules, "--max-cycles", "0").returncode == 1
    assert measure(modules, "--max-cycles", "1").returncode == 0


def test_the_numbers(measure) -> None:
    """Lengths count code lines alone; a public function without annotation or docstring lowers the shares."""
    source = 'def f(a):\n    """Do.\n\n    """\n    # why\n    b = a\n\n    return b\n\ndef g() -> None: ...\n'
    report = json.loads(measure({"core/a": source}, "--json").stdout)
    assert report["function length max"] == 3
    assert report["public documented"] == 0.5
    assert report["annotated"] == 0.5
