"""The wheel that users install: everything the package reads is in it, and it works where the checkout is not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

LARGEST = 40 << 20
"""Bytes: nano's weights stay under 15 MB, the rest is text."""


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without the network by the build backend at hand."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_it_holds_every_file_of_the_package(wheel: Path, checkout: Path) -> None:
    """Weights, templates and the typing mark travel along, not the modules alone."""
    source = checkout / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "segtune").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".tmp"
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wanted <= names
    assert "segtune/py.typed" in names


def test_it_holds_nothing_else(wheel: Path) -> None:
    """No tests, no runs, no data: the package and its description."""
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"segtune"}
    assert wheel.stat().st_size < LARGEST


def test_it_carries_the_licence(wheel: Path) -> None:
    """Apache-2.0, in full, as the licence asks."""
    archive = zipfile.ZipFile(wheel)
    licence = next(name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
    assert "Version 2.0, January 2004" in archive.read(licence).decode()


def test_it_works_by_itself(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, the command starts from the wheel's own files."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = "import segtune, segtune.cli; print(segtune.__file__); raise SystemExit(segtune.cli.main(['--help']))"
    result = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={"PYTHONPATH": str(tmp_path), "COLUMNS": "100"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(tmp_path))
    assert "fit" in result.stdout
