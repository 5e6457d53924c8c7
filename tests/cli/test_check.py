"""`segtune check` on small drawn data sets, good and bad."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from segtune.cli import main
from segtune.core.errors import DataError, UsageError
from segtune.data.demo import write_demo


@pytest.fixture
def lumps(tmp_path: Path) -> Path:
    """Eight drawn images with masks."""
    folder = tmp_path / "lumps"
    write_demo(folder, count=8, seed=0)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    """Return the content of each file by hash."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_it_writes_both_pages_and_leaves_the_data_alone(
    lumps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page for people and its like for programs lie where asked; not a byte of the source has changed."""
    before = hashes(lumps)
    assert main(["check", str(lumps), "--out", str(tmp_path / "out")]) == 0
    assert hashes(lumps) == before
    assert json.loads((tmp_path / "out" / "check.json").read_text())["images"] == 8
    assert "<html" in (tmp_path / "out" / "check.html").read_text()
    shown = capsys.readouterr().out
    assert "8 images" in shown
    assert str(tmp_path / "out" / "check.html") in shown


def test_the_default_folder_has_the_name_of_the_data(
    lumps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Also where the data is named by a dot."""
    monkeypatch.chdir(tmp_path)
    assert main(["check", "lumps"]) == 0
    monkeypatch.chdir(lumps)
    assert main(["check", ".", "--objects", "parts"]) == 0
    assert (tmp_path / "segtune-check" / "lumps" / "check.html").is_file()
    assert (lumps / "segtune-check" / "lumps" / "check.html").is_file()


def test_for_programs_it_is_check_json(lumps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `--json` prints is what the file holds, and where that is."""
    assert main(["check", str(lumps), "--out", str(tmp_path / "out"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer.pop("folder") == str(tmp_path / "out")
    assert answer == json.loads((tmp_path / "out" / "check.json").read_text())


def test_images_are_checked_as_a_fit_would_read_them(lumps: Path, tmp_path: Path, capsys) -> None:
    """Bands, a window, whose centre may be below zero, and the limit of pixels are passed on."""
    words = ["check", str(lumps), "--out", str(tmp_path / "out")]
    assert main([*words, "--bands", "4", "3", "2", "--window", "-600", "1500", "--json"]) == 0
    assert "bands ((4, 3, 2)) and window ((-600.0, 1500.0))" in json.loads(capsys.readouterr().out)["notes"][-1]
    assert main([*words, "--pixel-limit", "9"]) == DataError.exit_code
    assert "allow more: --pixel-limit N with check, --set data.pixel_limit=N with fit" in capsys.readouterr().err


def test_an_empty_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the folder and says what is understood; nothing is written."""
    (tmp_path / "empty").mkdir()
    assert main(["check", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == DataError.exit_code
    shown = capsys.readouterr().err
    assert "empty" in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt path is a mistake of the user's, not a fault of the program."""
    assert main(["check", str(tmp_path / "lumsp")]) == DataError.exit_code
    assert "lumsp" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--objects", "part"], ["--format", "cocoa"]])
def test_a_misspelt_choice_is_answered_with_the_nearest(words: list[str], lumps: Path, capsys) -> None:
    """Choices are those of the data room, and so is the message."""
    assert main(["check", str(lumps), *words]) == UsageError.exit_code
    assert "Did you mean" in capsys.readouterr().err


def test_a_text_file_called_png_is_set_aside(lumps: Path, tmp_path: Path, capsys) -> None:
    """One broken file neither stops the check nor goes unsaid."""
    (lumps / "images" / "lump_0003.jpg").write_text("not an image")
    assert main(["check", str(lumps), "--out", str(tmp_path / "out"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["images"] == 7
    assert "lump_0003" in json.dumps([answer["set_aside"], answer["findings"]])
