"""`metrics.json` and `matrix.csv`."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

from segtune.core.errors import DataError
from segtune.evaluation.results import (
    Bucket,
    Difference,
    Empty,
    Results,
    Row,
    read_results,
    write_matrix,
    write_results,
)

ROWS = (
    Row("pretrained", "box", "iou", 0.7, 0.6, 0.8, 0.75, 12),
    Row("tuned", "box", "iou", 0.8, 0.7, 0.9, 0.85, 12),
    Row("tuned", "box", "loss", 0.02, None, None, None, 12),
)
RESULTS = Results(
    ROWS,
    (Difference("tuned", "pretrained", "box", "iou", 0.1, 0.05, 0.15, 0.001, 12),),
    (Empty("tuned", 3, 1, 1 / 3),),
    (Bucket("tuned", "box", "small", "iou", 0.5, 4),),
    {"images": 12, "set_aside": []},
    {"sha256": "ab", "seed": 0, "sizes": {"train": 50, "val": 10, "test": 12}},
    True,
    "Tuning raised IoU.",
)


def test_what_is_written_is_read_again(tmp_path):
    """Writing and reading give the same results."""
    write_results(tmp_path / "metrics.json", RESULTS)
    assert read_results(tmp_path / "metrics.json") == RESULTS


def test_the_layout_is_that_of_schema_1():
    """Every name of the schema is there, spelt as programs expect it."""
    content = RESULTS.to_json()
    assert set(content) == {
        "rows", "differences", "empty", "buckets", "data", "split", "crowned", "verdict", "calibration", "sensitivity",
        "general", "unseen", "review", "schema",
    }  # fmt: skip
    assert content["schema"] == 1
    assert set(content["rows"][0]) == {"model", "mode", "metric", "mean", "low", "high", "pooled", "n"}
    assert set(content["differences"][0]) == {
        "model", "against", "mode", "metric", "mean", "low", "high", "p", "n", "groups",
    }  # fmt: skip
    assert set(content["empty"][0]) == {"model", "n", "false_masks", "share"}


def test_figures_that_do_not_exist_are_null():
    """NaN and infinities never reach the file, nor do numpy's own numbers."""
    row = Row("m", "box", "iou", math.nan, -math.inf, np.float64(0.5), None, int(np.int64(3)))
    content = Results((row,), data={"share": np.float32("nan"), "list": (np.int64(1), math.nan)}).to_json()
    assert content["rows"][0] | {"n": 3} == {
        "model": "m", "mode": "box", "metric": "iou", "mean": None, "low": None, "high": 0.5, "pooled": None, "n": 3,
    }  # fmt: skip
    assert content["data"] == {"share": None, "list": [1, None]}
    json.dumps(content, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "not a readable"), ('{"schema": 2}', "schema 1"), ("[]", "schema 1"), ('{"schema": 1}', "lacks")],
)
def test_a_broken_file_is_a_named_error(tmp_path, text, said):
    """A file that is something else is refused with its name and what to do."""
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_results(path)
    assert "metrics.json" in str(caught.value)


def test_a_missing_file_is_a_named_error(tmp_path):
    """No file is a user's mistake, not a crash."""
    with pytest.raises(DataError, match=r"metrics\.json"):
        read_results(tmp_path / "metrics.json")


def test_cells_are_found_by_name():
    """Rows and differences are looked up by model, mode and metric."""
    assert RESULTS.row("tuned", "box").mean == 0.8
    assert RESULTS.row("tuned", "click") is None
    assert RESULTS.difference("tuned", "pretrained", "box").p == 0.001
    assert RESULTS.models == ("pretrained", "tuned")
    assert RESULTS.modes == ("box",)


def test_the_matrix_as_csv_has_blanks_where_there_is_no_figure(tmp_path):
    """One line per cell; None is an empty field."""
    write_matrix(tmp_path / "matrix.csv", ROWS)
    with (tmp_path / "matrix.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert rows[0]["mean"] == "0.7"
    assert rows[2]["low"] == ""


@pytest.mark.parametrize(
    ("metric", "low", "high", "better", "worse"),
    [
        ("iou", 0.01, 0.2, True, False), ("iou", -0.2, -0.01, False, True), ("iou", -0.1, 0.1, False, False),
        ("loss", 0.01, 0.2, False, True), ("loss", -0.2, -0.01, True, False), ("iou", None, None, False, False),
    ],
)  # fmt: skip
def test_better_and_worse_go_by_the_interval(metric, low, high, better, worse):
    """A difference counts when its interval lies on one side of zero; for the loss less is better."""
    one = Difference("a", "b", "box", metric, 0.0, low, high, None, 5)
    assert (one.better, one.worse) == (better, worse)
