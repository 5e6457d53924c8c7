"""What the report tells of how far masks follow the prompt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segtune.evaluation.results import Sensitivity, read_results, write_results
from segtune.report.page import write_report
from segtune.report.run import read_run
from segtune.report.sensitivity import describe_sensitivity, sensitivity_lines

FOUND = (
    Sensitivity("tuned", "box", None, None, None, 0.0, 0.0, 1.0, 12, 20, 8),
    Sensitivity("tuned", "click", 0.25, 0.2, 0.31, 0.8, 0.6, 0.7, 12, 20, 8),
    Sensitivity("pretrained", "click", 0.95, None, None, 0.6, 0.03, 0.02, 12, 20, 8),
)


@pytest.fixture
def told(run_folder):
    """A run of which it is known how far its models follow the prompt."""
    path = run_folder / "metrics.json"
    write_results(path, replace(read_results(path), sensitivity=FOUND))
    return run_folder


def test_lines_come_by_prompt_and_then_by_model(told):
    """The pretrained model above the tuned one; no interval: a dot; no figure: no mark."""
    lines = sensitivity_lines(read_run(told))
    assert [(one.mode, one.label) for one in lines] == [
        ("1 centre click", "Pretrained"), ("1 centre click", "Tuned"), ("Tight box", "Tuned"),
    ]  # fmt: skip
    assert (lines[0].low, lines[0].at, lines[0].high, lines[0].interval) == (0.95, 0.95, 0.95, "")
    assert (lines[1].value, lines[1].interval) == (".250", ".200–.310")
    assert (lines[2].value, lines[2].at) == ("–", None)


def test_what_was_asked_is_told(told):
    """How many objects, by which prompts."""
    text = "20 objects on 12 images, 8 by the prompt of another object and 12 by one on the background."
    assert describe_sensitivity(read_run(told)) == text


def test_page_and_markdown_have_the_section(told, run_folder):
    """With the figures in both; a run without them has no such section."""
    page = write_report(told).read_text()
    assert 'id="prompted"' in page
    assert "Does it follow the prompt?" in page
    text = (told / "report.md").read_text()
    assert "| 1 centre click | Tuned | .250 (.200–.310) | .800 | .600 | .700 |" in text
    path = run_folder / "metrics.json"
    write_results(path, replace(read_results(path), sensitivity=()))
    assert 'id="prompted"' not in write_report(run_folder).read_text()
    assert "follow the prompt" not in (run_folder / "report.md").read_text()
