"""The code on the documentation's pages runs as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import pytest

from segtune.adapters import WAYS
from segtune.adapters.scopes import train_only
from segtune.models.open import open_model

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from docs_pictures import DOCS, PAGE, pictures, run_code, run_commands

TUNING = (DOCS / "tuning.md").read_text(encoding="utf-8")


def test_the_code_leaves_what_the_page_says(tmp_path):
    names = run_code(PAGE, tmp_path)
    assert len(names["clicked"].masks) == 3
    assert len(names["boxed"].masks) == 1
    assert len(names["answers"]) == 3
    (((theirs,),),) = names["masks"]
    assert (theirs.numpy() != names["boxed"].mask.array).mean() < 1e-3
    assert names["work"].answer is not None
    assert names["zoomed"].mask.size == names["session"].size
    assert len(names["found"]) > 0
    assert (names["alike"].masks, names["named"].masks) == (1, 1)
    assert (tmp_path / "named" / "annotations.json").exists()
    for name in pictures(PAGE):
        assert cv2.imread(str(tmp_path / name)).shape[1] == 3 * names["image"].shape[1]
        assert (DOCS / "pictures" / name).exists()


def test_the_front_page_s_line_writes_all_settings(tmp_path, monkeypatch):
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r'`python -c "([^"]+)"`', readme)
    monkeypatch.chdir(tmp_path)
    exec(line, {})
    assert "training.optimizer.lr:" in (tmp_path / "settings.yaml").read_text()


def test_every_command_ends_well(tmp_path):
    codes = run_commands(tmp_path)
    assert len(codes) == 7
    assert set(codes.values()) == {0}, codes
    assert len(list((tmp_path / "masks").glob("*.json"))) == 3
    assert len(list((tmp_path / "tiled").glob("*.json"))) == 3
    assert len(list((tmp_path / "zoomed").glob("*.png"))) == 3
    assert (tmp_path / "more" / "annotations.json").exists()
    assert (tmp_path / "clicks" / "clicks.svg").exists()


def test_the_code_about_everything_mode_finds_masks(tmp_path, capsys):
    page = DOCS / "everything.md"
    names = run_code(page, tmp_path)
    assert len(capsys.readouterr().out.splitlines()) == len(names["found"]) > 5
    (picture,) = pictures(page)
    assert cv2.imread(str(tmp_path / picture)).shape[1] == 2 * names["image"].shape[1]
    assert (DOCS / "pictures" / picture).exists()


@pytest.mark.parametrize(("way", "count"), re.findall(r"^\| `([^`]+)` \| ([\d,]+) \|", TUNING, re.MULTILINE))
def test_the_table_of_ways_counts_what_trains(way, count):
    """Of nano, as it comes with the package; also how many parameters it has, in front of the table."""
    pytest.importorskip("peft", reason="the extra peft is not installed")
    model = open_model("nano")
    total = sum(each.numel() for each in model.parameters())
    assert f"{train_only(model, way).parameters:,}" == count
    assert f"`nano` ({total:,} parameters)" in TUNING


def test_the_table_of_ways_has_them_all():
    told = {way.partition(":")[0] for way in re.findall(r"^\| `([^`]+)` \| [\d,]+ \|", TUNING, re.MULTILINE)}
    assert told >= set(WAYS)
