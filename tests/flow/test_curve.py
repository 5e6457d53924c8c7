"""`segtune curve` through the real command line: nested fits, told, drawn, and gone on with."""

import json

import pytest
from disc_data import SMALL, write_discs

from segtune.core.errors import UsageError
from segtune.data.splits import read_split
from segtune.runs.curve import plan_curve
from segtune.runs.rehearsal import open_rehearsal

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


def test_what_was_split_before_a_mistake_is_split_anew(few_discs, micro, tmp_path):
    """Sizes are known to be wrong after the split alone: the command put right splits by its own seed and data."""
    given = {"preset": "default", "model": str(micro), "epochs": 1}
    out = tmp_path / "curve"
    with pytest.raises(UsageError, match="500: the training part has"):
        plan_curve("500", 1, out, data=few_discs, **given)
    other = write_discs(tmp_path / "other", 12)
    for data, images, seed in ((few_discs, 18, 3), (other, 12, 0)):
        plan_curve("3", 1, out, data=data, overrides=(f"data.seed={seed}",), **given)
        split = read_split(out / "split" / "split.json")
        assert (len(split.part("all")), split.seed) == (images, seed)


def test_once_a_fit_has_begun_the_split_stays(few_discs, micro, tmp_path):
    """Another seed, or other data, is refused, and nothing is touched."""
    given = {"preset": "default", "model": str(micro), "epochs": 1}
    plan = plan_curve("3", 1, tmp_path / "curve", data=few_discs, **given)
    begun = plan.cells[0]
    begun.folder.start()
    begun.settings.write(begun.folder.settings)
    before = (plan.folder / "split" / "split.json").read_bytes()
    with pytest.raises(UsageError, match=r"data\.seed = 0"):
        plan_curve("3", 1, plan.folder, data=few_discs, overrides=("data.seed=3",), **given)
    with pytest.raises(UsageError, match=r"data\.path = "):
        plan_curve("3", 1, plan.folder, data=write_discs(tmp_path / "other", 12), **given)
    assert (plan.folder / "split" / "split.json").read_bytes() == before


def test_what_any_fit_rehearses_from_a_folder_is_not_tested_on(few_discs, micro, tmp_path):
    """Each seed rehearses a draw of its own from a copy of half the images; all their like trains."""
    half = write_discs(tmp_path / "half", 9)  # the same first nine
    told = (f"training.rehearsal.source={half}", "training.rehearsal.share=0.2", "training.rehearsal.images=7")
    given = {"data": few_discs, "preset": "default", "model": str(micro), "epochs": 1, "overrides": told}
    plan = plan_curve("3", 2, tmp_path / "curve", **given)
    rehearsed = {name for cell in plan.cells for name in open_rehearsal(cell.settings.settings, 64).names}
    assert len(rehearsed) > 7
    assert rehearsed <= set(read_split(plan.folder / "split" / "split.json").train)


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
