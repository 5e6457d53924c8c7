"""The front door: what `segtune` offers, and that opening it costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import segtune

HEAVY = ("torch", "numpy", "cv2", "scipy", "matplotlib", "transformers", "pydantic", "typer", "rich")


@pytest.mark.parametrize("name", segtune.__all__)
def test_every_name_opens(name: str) -> None:
    """A name on the list is there and is the very thing of that name inside the package."""
    thing = getattr(segtune, name)
    assert thing.__name__ == name
    assert thing.__module__.startswith("segtune.")


def test_every_place_is_on_the_list() -> None:
    """What is importable, what is listed and what `dir` shows are the same names."""
    assert set(segtune._PLACES) == set(segtune.__all__) == set(dir(segtune)) - {"__version__"}


def test_unknown_name_lists_the_known() -> None:
    """A misspelt name is an AttributeError, as Python has it, that says which names there are."""
    with pytest.raises(AttributeError, match="open_dataset"):
        _ = segtune.open_data


def test_version_is_that_of_the_package() -> None:
    """The version is the installed distribution's."""
    assert segtune.__version__.count(".") >= 1


@pytest.mark.parametrize("module", ["segtune", "segtune.cli"])
def test_import_loads_nothing_heavy(module: str) -> None:
    """Neither the front door nor the command line's parser pulls in torch and its like."""
    allowed = {"typer", "pydantic", "rich"} if module == "segtune.cli" else set()
    program = f"import sys, {module}; print(*(set({HEAVY}) & sys.modules.keys()) - {allowed!r})"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
