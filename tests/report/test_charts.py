"""The charts, and their way into a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from segtune.report.charts import draw_distribution, draw_iou_curves, draw_loss_curves, draw_paired, spread
from segtune.report.log import read_log
from segtune.report.run import read_run


def test_spread_keeps_order_and_distance():
    """Labels never overlap, never change places, and stay where there is room."""
    places = [0.5, 0.51, 0.1, 0.52, 0.9]
    apart = spread(places, 0.06)
    assert np.argsort(apart).tolist() == np.argsort(places).tolist()
    assert np.diff(np.sort(apart)).min() >= 0.06 - 1e-9
    assert apart[[2, 4]].tolist() == pytest.approx([0.1, 0.9])
    assert apart[[0, 1, 3]].mean() == pytest.approx(0.51)


@pytest.mark.parametrize("draw", [draw_iou_curves, draw_loss_curves])
def test_curves_take_the_colours_of_the_page(run_folder, draw):
    """Inline, no fixed colour, outside name or unprefixed id is left; standalone, it is a whole file."""
    chart = draw(read_log(run_folder / "log.jsonl"))
    inline = chart.inline("key")
    assert "var(--series-1)" in inline
    assert not re.search("#0101", inline + chart.standalone())
    assert "http" not in inline
    assert not re.search(r'\bid="(?!key-)|url\(#(?!key-)|href="#(?!key-)', inline)
    ElementTree.fromstring(chart.standalone())
    ElementTree.fromstring(inline)


def test_the_same_run_draws_the_same(run_folder):
    """Charts are the same bytes each time, so that a report can be compared."""
    log = read_log(run_folder / "log.jsonl")
    assert draw_iou_curves(log) == draw_iou_curves(log)


def test_all_models_are_in_the_distribution(run_folder):
    """Each model and baseline of the mode has its curve, told by the legend."""
    run = read_run(run_folder)
    svg = draw_distribution(run, run.scores, "box").svg
    assert all(name in svg for name in ("Pretrained", "Tuned", "Box itself", "Ellipse in box"))
    assert "Box itself" not in draw_distribution(run, run.scores, "click").svg


def test_the_pairs_are_counted(run_folder):
    """The scatter says how many images gained and lost."""
    run = read_run(run_folder)
    gain = run.scores.of("tuned", "click") - run.scores.of("pretrained", "click")
    chart = draw_paired(run, run.scores, "click")
    assert f"{(gain > 0).sum()} better" in chart.svg
    assert f"{(gain < 0).sum()} worse" in chart.svg


def test_thousands_of_points_stay_small(tmp_path, drawn_run):
    """A scatter or a distribution of many images takes no more of the page than one of a few hundred."""
    run = read_run(drawn_run(images=4000, epochs=1, modes=("click",)).write(tmp_path / "run"))
    assert len(draw_paired(run, run.scores, "click").svg) < 120_000
    assert len(draw_distribution(run, run.scores, "click").svg) < 40_000


def test_nothing_to_draw_draws_nothing(run_folder):
    """A mode that nobody was scored in has no chart."""
    run = read_run(run_folder)
    assert draw_distribution(run, run.scores, "mask") is None
    assert draw_paired(run, run.scores, "mask") is None
