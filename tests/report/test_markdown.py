"""The report as Markdown."""

from __future__ import annotations

import json
import re

import pytest

from segtune.report.markdown import escape
from segtune.report.numbers import decimal
from segtune.report.page import write_report


@pytest.fixture(scope="module")
def markdown(reported):
    """The Markdown of a fit."""
    return (reported / "report.md").read_text(encoding="utf-8")


def test_tables_are_rectangular(markdown):
    """GitHub renders a table only when every row has as many cells as its head."""
    blocks = re.findall(r"(?:^\|.*\|\n?)+", markdown, flags=re.MULTILINE)
    assert len(blocks) >= 8
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.strip().splitlines()}) == 1


def test_the_matrix_is_that_of_the_results(reported, markdown):
    """The first table holds every mean IoU."""
    table = markdown.split("## The prompt matrix")[1].split("<details>")[0]
    for row in json.loads((reported / "metrics.json").read_text())["rows"]:
        if row["metric"] == "iou":
            line = next(line for line in table.splitlines() if f"`{row['mode']}`" in line)
            assert decimal(row["mean"]) in line


def test_pictures_are_there(reported, markdown):
    """Every picture that is named lies beside the report."""
    named = re.findall(r"!\[.*?\]\((.*?)\)", markdown)
    assert {"figures/iou.svg", "figures/loss.svg"} < set(named)
    assert sum(name.endswith(".jpg") for name in named) == 6
    assert all((reported / name).is_file() for name in named)


def test_special_characters_are_escaped():
    """Text from files cannot end a cell or start markup."""
    assert escape("a|b*c_d<e>\nf") == "a\\|b\\*c\\_d&lt;e&gt; f"


def test_names_of_models_and_missing_intervals_break_no_table(run_folder):
    """A model is called by its path, which may hold anything; one image has no interval, and no empty brackets."""
    path = run_folder / "metrics.json"
    text = path.read_text(encoding="utf-8").replace('"pretrained"', '"x<b>|y"')
    content = json.loads(text)
    for entry in (*content["rows"], *content["differences"]):
        entry |= {"low": None, "high": None}
    path.write_text(json.dumps(content), encoding="utf-8")
    write_report(run_folder)
    table = (
        (run_folder / "report.md").read_text(encoding="utf-8").split("## The prompt matrix")[1].split("<details>")[0]
    )
    assert "x&lt;b&gt;\\|y" in table
    assert "()" not in table
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines() if row.startswith("|")}) == 1
