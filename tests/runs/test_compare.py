"""A grid of fits: which are run, which go on, which are left; stand-ins for the fits write what a run leaves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from segtune.core.errors import ModelError, ResourceError, UsageError
from segtune.core.files import read_json, write_json
from segtune.runs.compare import plan_comparison, run_comparison
from segtune.runs.folder import RunFolder


def plan(out, *vary, seeds=1, **given):
    """A grid over the loss on data that nobody opens."""
    return plan_comparison(vary or ("loss=dice,bce",), seeds, out, preset="default", data="cells", **given)


class Fits:
    """Stands for a fit and its report: writes what a finished run leaves, or does as it is told for a run's folder."""

    def __init__(self, **behaviour):
        self.behaviour = behaviour
        self.ran = []

    def __call__(self, settings, resume):
        """Leave a finished run."""
        folder = RunFolder(Path(settings.settings.out))
        loss = next(iter(settings.settings.training.loss.weights))
        self.ran.append((loss, settings.settings.training.seed, resume))
        told = self.behaviour.get(loss)
        if isinstance(told, Exception):
            raise told
        folder.path.mkdir(parents=True, exist_ok=True)
        settings.write(folder.settings)
        stopped = told == "stopped"
        images = told if isinstance(told, tuple) else ("a", "b", "c")
        rows = [
            f"{image},{group},{model},{mode},{0.5 + 0.1 * (model == 'tuned') + 0.05 * (loss == 'bce')}"
            for image, group in zip(images, ("", "g", "g"), strict=True)
            for model in ("pretrained", "tuned")
            for mode in ("box", "click")
        ]
        (folder.path / "per_image.csv").write_text(
            "\n".join(["image,group,model,mode,iou", *rows, "none,,tuned,empty,"]) + "\n"
        )
        write_json(folder.metrics, {"data": {"part": "test"}})
        training = {"validation_score": 0.9 if loss == "dice" else 0.8}
        folder.write_record(stopped=stopped, crowned=True, training=training, model={"parameters_trained": 5})
        folder.report.write_text("<html>")
        return SimpleNamespace(stopped=stopped, interrupted=stopped or told == "too late")


def test_all_fits_run_and_are_compared(tmp_path):
    """Two losses and two seeds are four runs in folders of their own; an image without objects counts nowhere."""
    fits = Fits()
    found = run_comparison(plan(tmp_path / "c", seeds=2), fits)
    assert fits.ran == [("dice", 0, False), ("dice", 1, False), ("bce", 0, False), ("bce", 1, False)]
    assert (tmp_path / "c" / "loss=bce" / "seed-1" / "settings.yaml").is_file()
    assert found.ablation.winner.setting == {"loss": "dice"}
    assert found.ablation.images == 3
    assert found.ablation.standings[1].behind.mean == pytest.approx(0.05)
    stored = read_json(tmp_path / "c" / "comparison.json")
    assert stored["standings"][0]["validation"] == pytest.approx(0.9)
    assert len(stored["done"]) == 4


def test_what_is_done_is_not_run_again_and_the_grid_may_grow(tmp_path):
    """The same command runs nothing; with a seed and a loss more, only the new ones run."""
    run_comparison(plan(tmp_path), Fits())
    again = Fits()
    run_comparison(plan(tmp_path), again)
    assert again.ran == []
    run_comparison(plan(tmp_path, "loss=dice,bce,iou", seeds=2), again)
    assert again.ran == [("dice", 1, False), ("bce", 1, False), ("iou", 0, False), ("iou", 1, False)]


def test_a_fit_that_was_killed_before_its_report_goes_on(tmp_path):
    """Each fit has a report of its own: all figures are there, but it is not done."""
    (cut, _) = plan(tmp_path).cells
    run_comparison(plan(tmp_path), Fits())
    cut.folder.report.unlink()
    again = Fits()
    found = run_comparison(plan(tmp_path), again)
    assert again.ran == [("dice", 0, True)]
    assert cut.folder.report.is_file()
    assert len(found.done) == 2


def test_a_fit_that_was_stopped_ends_the_comparison_and_goes_on_later(tmp_path):
    """Ctrl-C in the first of two: nothing is compared yet; the same command takes it up where it was."""
    found = run_comparison(plan(tmp_path), Fits(dice="stopped"))
    assert found.stopped
    assert found.ablation is None
    fits = Fits()
    found = run_comparison(plan(tmp_path), fits)
    assert fits.ran == [("dice", 0, True), ("bce", 0, False)]
    assert not found.stopped
    assert len(found.done) == 2


def test_ctrl_c_at_a_fit_s_end_ends_the_comparison(tmp_path):
    """Its training was over, so that fit is done; the next is not begun, and the same command begins it."""
    found = run_comparison(plan(tmp_path), Fits(dice="too late"))
    assert found.stopped
    assert len(found.done) == 1
    fits = Fits()
    run_comparison(plan(tmp_path), fits)
    assert fits.ran == [("bce", 0, False)]


def test_a_fit_that_fails_is_told_and_the_others_go_on(tmp_path):
    """Of three one runs out of memory; the next time it is tried again."""
    fits = Fits(bce=RuntimeError("CUDA out of memory.\nTried to allocate"))
    found = run_comparison(plan(tmp_path, "loss=dice,bce,iou"), fits)
    assert found.failed == {"loss=bce  seed 0": "RuntimeError: CUDA out of memory."}
    assert len(found.done) == 2
    assert run_comparison(plan(tmp_path, "loss=dice,bce,iou"), Fits()).failed == {}


def test_where_all_fits_fail_the_first_error_is_raised(tmp_path):
    """Nothing can be compared, and the command ends as that fit would have."""
    with pytest.raises(ModelError, match="no such model"):
        run_comparison(plan(tmp_path), Fits(dice=ModelError("no such model"), bce=ResourceError("disk")))


def test_fits_scored_on_other_images_are_left_out(tmp_path):
    """They cannot be paired, and the reason is told."""
    found = run_comparison(plan(tmp_path), Fits(bce=("a", "b", "d")))
    assert "other images" in found.failed["loss=bce  seed 0"]
    assert [cell.combination.values["loss"] for cell in found.done] == ["dice"]


def test_changed_settings_are_refused_before_anything_runs(tmp_path):
    """Said or left out: fits made differently would be compared as if they were alike."""
    run_comparison(plan(tmp_path, epochs=3), Fits())
    for changed in ({"epochs": 4}, {}, {"epochs": 3, "overrides": ["lr=1e-3"]}):
        with pytest.raises(UsageError, match=r"nothing was touched") as told:
            plan(tmp_path, **changed)
        assert "training.epochs" in str(told.value) or "training.optimizer.lr" in str(told.value)


def test_a_comparison_of_something_else_is_refused(tmp_path):
    """Its result would be replaced: by one of another setting, and by one of other data."""
    out = tmp_path / "c"
    run_comparison(plan(out), Fits())
    before = (out / "comparison.json").read_text()
    with pytest.raises(UsageError, match=r"varies loss on .*cells, and this one varies train on"):
        plan(out, "train=decoder,full")
    with pytest.raises(UsageError, match=r"varies loss on .*elsewhere"):
        plan_comparison(("loss=focal",), 1, out, preset="default", data="elsewhere/cells")
    plan(out, "loss=dice,bce,focal")
    assert (out / "comparison.json").read_text() == before


def test_other_folders_are_refused(tmp_path, monkeypatch):
    """Neither a run nor anybody's files become a comparison; nor one process of several."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.yaml").write_text("")
    for name in ("mine", "run"):
        with pytest.raises(UsageError, match="nothing was touched"):
            plan(tmp_path / name)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="torchrun"):
        plan(tmp_path / "new")


def test_presets_and_bases_vary_with_all_that_follows_from_them(tmp_path):
    """A preset brings its own settings, and a seed's fit has that seed."""
    cells = plan(tmp_path, "preset=default,slides", seeds=2).cells
    assert [cell.settings.settings.training.epochs for cell in cells] == [20, 20, 60, 60]
    assert [cell.settings.settings.training.seed for cell in cells] == [0, 1, 0, 1]
    cells = plan(tmp_path, "model=nano,some/base").cells
    assert [cell.settings.settings.model.train for cell in cells] == ["full", "decoder+prompt"]
