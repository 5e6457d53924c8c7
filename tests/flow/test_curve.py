"""`segtune curve` through the real command line: nested fits, told, drawn, and gone on with."""

import json

import pytest
from disc_data import SMALL, write_discs

FEW = (*SMALL, "--set", "validation.modes=[box]", "--set", "evaluation.modes=[box]", "--set", "evaluation.general=none")


@pytest.fixture(scope="module")
def few_discs(tmp_path_factory):
    """Eighteen images: a fit of a second or two."""
    return write_discs(tmp_path_factory.mktemp("data") / "discs", 18)


def test_a_curve_is_measured_and_gone_on_with(few_discs, micro, tmp_path, answer, segtune):
    """Nested training images, one validation and test for all; done fits are left alone, and a size can be added."""
    out = tmp_path / "curve"
    words = ("curve", few_discs, "--out", out, "--model", micro, "--epochs", "1", "--seeds", "1", *FEW)
    code, found = answer(*words, "--sizes", "3")
    assert code == 0
    assert "takes 3 sizes at least; 2 are done" in found["verdict"]
    whole = found["sizes"][-1]
    assert [point["images"] for point in found["points"]] == [3, whole]
    splits = {size: json.loads((out / f"images={size}" / "seed-0" / "split.json").read_text()) for size in (3, whole)}
    assert set(splits[3]["train"]) < set(splits[whole]["train"])
    assert splits[3]["test"] == splits[whole]["test"]
    before = (out / "images=3" / "seed-0" / "run.json").read_bytes()
    code, text, _ = segtune(*words, "--sizes", "3,6")
    assert code == 0
    assert "Doubling the labels" in text
    assert before == (out / "images=3" / "seed-0" / "run.json").read_bytes()
    assert (out / "curve.svg").read_text().startswith("<svg")
    assert "| 6 |" in (out / "curve.md").read_text(encoding="utf-8")
    assert json.loads((out / "curve.json").read_text())["doubled"]["low"] is not None


def test_a_curve_needs_a_folder_of_its_own(few_discs, micro, tmp_path, segtune):
    """A folder with other things is refused before anything is read; --set does not say how many images train."""
    (tmp_path / "mine.txt").write_text("kept")
    code, _, err = segtune("curve", few_discs, "--out", tmp_path, "--model", micro)
    assert code == 2
    assert "other things" in err
    words = ("curve", few_discs, "--out", tmp_path / "new", "--model", micro, "--set", "data.train_images=5")
    code, _, err = segtune(*words)
    assert code == 2
    assert "--sizes" in err
    assert not (tmp_path / "new").exists()
