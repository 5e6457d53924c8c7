"""The matrix as tables."""

from __future__ import annotations

import json

import pytest

from segtune.core.files import read_json, write_json
from segtune.evaluation.results import Difference
from segtune.report.matrix import build_tables, change_of
from segtune.report.numbers import decimal
from segtune.report.run import read_run


@pytest.mark.parametrize(
    ("metric", "low", "high", "tone"),
    [("iou", 0.01, 0.2, "good"), ("iou", -0.2, -0.01, "bad"), ("iou", -0.1, 0.1, ""), ("loss", -0.2, -0.1, "good"),
     ("loss", 0.1, 0.2, "bad"), ("iou", None, None, "")],
)  # fmt: skip
def test_colour_follows_the_interval(metric, low, high, tone):
    """Only an interval on one side of zero is called good or bad, and a falling loss is good."""
    assert change_of(Difference("tuned", "pretrained", "box", metric, 0.05, low, high, 0.01, 9)).tone == tone


def test_cells_are_the_results(run_folder):
    """Every cell shows the mean, interval and pooled value of its row."""
    run = read_run(run_folder)
    tables = {table.metric: table for table in build_tables(run)}
    line = next(line for line in tables["dice"].lines if line.mode == "box")
    for cell in line.cells:
        row = run.results.row(cell.model, "box", "dice")
        assert cell.mean == decimal(row.mean)
        assert cell.interval == f"{decimal(row.low)}–{decimal(row.high)}"
        assert cell.pooled == decimal(row.pooled)


def test_baselines_are_in_box_modes_only(run_folder):
    """A mode without a box has an empty cell for the box itself, and no mark drawn."""
    table = build_tables(read_run(run_folder))[0]
    by_mode = {line.mode: line for line in table.lines}
    assert [cell.mean for cell in by_mode["click"].cells if cell.model.startswith("baseline")] == ["", ""]
    assert {mark.model for mark in by_mode["click"].marks} == {"tuned", "pretrained"}
    assert len(by_mode["box"].marks) == 4


def test_models_that_read_alike_have_no_best(run_folder):
    """A run that kept its pretrained weights has two equal columns."""
    path = run_folder / "metrics.json"
    content = read_json(path)
    means = {(row["mode"], row["metric"]): row["mean"] for row in content["rows"] if row["model"] == "tuned"}
    for row in content["rows"]:
        row["mean"] = means.get((row["mode"], row["metric"]), row["mean"])
    write_json(path, content)
    tables = build_tables(read_run(run_folder))
    assert not any(cell.best for table in tables for line in table.lines for cell in line.cells)


def test_the_best_model_is_the_one_of_least_loss(run_folder):
    """What is printed bold follows the direction of the metric."""
    tables = {table.metric: table for table in build_tables(read_run(run_folder))}
    for metric in ("iou", "loss"):
        assert {cell.model for line in tables[metric].lines for cell in line.cells if cell.best} == {"tuned"}


def test_other_comparisons_stand_apart(run_folder):
    """Differences from baselines are listed, the main one is in the table."""
    table = build_tables(read_run(run_folder))[0]
    assert {one.against for one in table.others} == {"Box itself", "Ellipse in box"}
    assert all(line.change for line in table.lines)


def test_missing_figures_are_dashes(run_folder):
    """A null mean or interval, as of a single image, breaks nothing."""
    path = run_folder / "metrics.json"
    content = json.loads(path.read_text())
    for entry in (*content["rows"], *content["differences"]):
        entry.update(low=None, high=None, mean=None if entry["mode"] == "click" else entry["mean"])
    path.write_text(json.dumps(content))
    click, box = build_tables(read_run(run_folder))[0].lines
    assert (click.cells[0].mean, click.marks, click.change.mean) == ("–", (), "–")
    assert (box.cells[0].interval, box.change.interval, box.change.tone) == ("", "", "")


def test_marks_lie_on_the_axis(run_folder):
    """Drawn intervals are shares of the axis, in losses too."""
    for table in build_tables(read_run(run_folder)):
        for mark in (mark for line in table.lines for mark in line.marks):
            assert 0 <= mark.low <= mark.mean <= mark.high <= 1.001
