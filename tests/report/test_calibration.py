"""What the report tells of a model's own judgement."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segtune.evaluation.calibration import ALL, Bin, Calibration
from segtune.evaluation.results import read_results, write_results
from segtune.report.calibration import calibration_lines, calibration_modes, draw_calibration
from segtune.report.page import write_report
from segtune.report.run import read_run

BINS = (Bin(0.5, 0.6, 0.25, 0.55, 0.4), Bin(0.8, 0.9, 0.75, 0.85, 0.8))
CURVE = ((0.5, 0.1), (1.0, 0.3))


def entry(model, mode, refitted=False):
    """Return one entry, with bins and curve where it is of all modes."""
    whole = mode == ALL
    return Calibration(
        model, mode, refitted, 12, 24, 0.775, 0.7, 0.03 if refitted else 0.075, 0.02 if whole else None,
        0.11 if whole else None, 0.18, 0.15, 0.3, BINS if whole else (), CURVE if whole else (),
        0.012 if whole else None,
    )  # fmt: skip


@pytest.fixture
def told(run_folder):
    """A run whose tuned model was calibrated."""
    found = [entry(model, mode) for model in ("tuned", "pretrained") for mode in (ALL, "box", "click")]
    found.append(entry("tuned", ALL, True))
    path = run_folder / "metrics.json"
    write_results(path, replace(read_results(path), calibration=tuple(found)))
    return run_folder


def test_a_line_for_each_model_and_one_for_the_refitted_quality(told):
    """In the order of the matrix, the raw quality first."""
    lines = calibration_lines(read_run(told))
    assert [one.label for one in lines] == ["Pretrained", "Tuned", "Tuned, refitted"]
    assert (lines[0].error, lines[0].interval, lines[0].area, lines[2].error) == (".075", ".020–.110", ".180", ".030")


def test_errors_by_prompt_leave_out_what_there_is_none_of(told):
    """The refitted quality has no figures by mode here."""
    labels, lines = calibration_modes(read_run(told))
    assert labels == ("Pretrained", "Tuned", "Tuned, refitted")
    assert dict(lines)["box"] == (".075", ".075", "")


def test_charts_say_in_words_what_they_show(told):
    """Each has a description with its figures; risk is drawn once per model, for refitting changes no order."""
    charts = draw_calibration(read_run(told))
    assert "Tuned, refitted .030" in charts["reliability"].description
    assert charts["risk"].description.count("Tuned") == 1
    assert "Tuned, refitted" in charts["reliability"].svg
    assert "refitted" not in charts["risk"].svg


def test_the_report_has_the_section_where_there_are_figures(told):
    """On the page and in Markdown, with both charts as files."""
    page = write_report(told).read_text()
    assert 'id="trust"' in page
    assert 'href="#trust"' in page
    text = (told / "report.md").read_text()
    assert "| Tuned, refitted | .775 | .700 | .030 (.020–.110) | .012 | .180 | .150 | .300 |" in text
    for name in ("reliability", "risk"):
        assert f"figures/{name}.svg" in text
        assert (told / "figures" / f"{name}.svg").is_file()


def test_a_run_of_before_has_no_such_section(run_folder):
    """A report of figures without calibration is as it was."""
    page = write_report(run_folder).read_text()
    assert 'id="trust"' not in page
    assert "judgement" not in (run_folder / "report.md").read_text()
    assert draw_calibration(read_run(run_folder)) == {}
