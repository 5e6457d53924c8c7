"""A learning curve told in words, drawn, and as Markdown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segtune.evaluation.ablation import Trial, compare_trials
from segtune.evaluation.learning import trace
from segtune.report.curve import build_curve, draw_curve, tell_curve, write_curve
from segtune.runs.compare import Compared, plan_grid
from segtune.runs.curve import Curve
from segtune.runs.grid import Axis

IMAGES = 40


def _curve(folder: Path, sizes=(12, 25, 50), *, scale=1.0, crowned=True, failed=()):
    """Return what a curve came to, without any fit: of known scores."""
    rng = np.random.default_rng(1)
    plan = plan_grid(
        (Axis("images", "data.train_images", tuple(map(str, sizes))),), 2, folder, preset="default", data="nowhere"
    )
    done = tuple(cell for cell in plan.cells if cell.name not in failed)
    before = {"box": np.full(IMAGES, 0.4)}
    trials = []
    for cell in done:
        size = int(cell.combination.values["images"])
        after = {"box": 0.85 - scale * size**-0.5 + rng.normal(0, 0.01, IMAGES)}
        trials.append(Trial(cell.combination.values, cell.seed, 0.7, crowned, after, before))
    scores = {size: [one.after for one in trials if one.setting["images"] == str(size)] for size in sizes}
    ablation = compare_trials(trials, [None] * IMAGES)
    compared = Compared(plan, ablation, done, dict.fromkeys(failed, "No memory."))
    return Curve(compared, trace(scores, before["box"], [None] * IMAGES))


def test_the_verdict_says_what_doubling_brings(tmp_path):
    """Where it is now, what twice and four times the labels would bring, and how sure that is."""
    told = tell_curve(_curve(tmp_path))
    assert told.startswith("With 50 training images the test IoU is .7")
    assert "that of the pretrained model is .400" in told
    assert "Doubling the labels to 100 would bring about +.04 (95 % interval +.0" in told
    assert "four times as many +.07" in told


def test_a_flat_curve_says_that_labels_hardly_help(tmp_path):
    """And where no fit was crowned, that the figures are the pretrained model's."""
    told = tell_curve(_curve(tmp_path, (100, 200, 400), scale=0.0, crowned=False))
    assert "hardly help" in told
    assert "No fit beat the pretrained model" in told


def test_falling_points_are_told_and_drawn_without_a_line(tmp_path):
    """More labels that gave less: what more would bring is not made up."""
    fallen = _curve(tmp_path, scale=-1.0)
    assert "cannot be told: the fits on 50 images lie below those on fewer" in tell_curve(fallen)
    assert "IoU(n)" not in build_curve(fallen)
    assert "extrapolated" not in draw_curve(fallen.curve).standalone()


def test_one_test_group_is_drawn_without_a_band(tmp_path):
    """The line stays; no interval is claimed of a single patient."""
    found = _curve(tmp_path)
    scores = {point.images: [np.full(IMAGES, point.test.mean)] for point in found.curve.points}
    alone = replace(found, curve=trace(scores, np.full(IMAGES, 0.4), ["one"] * IMAGES))
    assert "interval" not in build_curve(alone).split("## How")[0]
    assert "extrapolated" in draw_curve(alone.curve).standalone()


def test_what_is_missing_is_told(tmp_path):
    """Fits that failed, fits that are to come, too few sizes, and no fit at all."""
    whole = _curve(tmp_path, failed=("images=50  seed 1",))
    assert tell_curve(whole).endswith("1 of 6 fits failed.")
    some = replace(whole, compared=replace(whole.compared, done=whole.compared.done[:3], stopped=True))
    assert "2 of 6 fits are still to be run. Stopped before the end" in tell_curve(some)
    assert "takes 3 sizes at least; 2 are done" in tell_curve(_curve(tmp_path, (12, 25)))
    nothing = Curve(replace(whole.compared, ablation=None, done=()), None)
    assert tell_curve(nothing).startswith("No fit is done yet. 1 of 6 fits failed. 5 of 6 fits are still to be run.")
    with pytest.raises(ValueError, match="no report"):
        build_curve(nothing)


def test_the_page_has_a_line_for_each_size(tmp_path):
    """With the interval, the gain, each seed and what trained; beside it the picture with the extrapolated part."""
    page = write_curve(_curve(tmp_path)).read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith(("| 12 |", "| 25 |", "| 50 |"))]
    assert len(lines) == 3
    assert all("`full`" in line for line in lines)
    assert "IoU(n) = ." in page
    assert "extrapolated" in (tmp_path / "curve.svg").read_text(encoding="utf-8")


def test_two_sizes_are_drawn_without_a_line(tmp_path):
    """Points alone: nothing is extrapolated from two."""
    chart = draw_curve(_curve(tmp_path, (12, 25)).curve)
    assert "12 images" in chart.description
    assert "extrapolated" not in chart.standalone()
