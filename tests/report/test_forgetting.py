"""What a report tells of general images and of a blend."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from segtune.core.files import read_json, write_json
from segtune.evaluation.results import Difference, General, Row, read_results, write_results
from segtune.report.blend import blend_rows, draw_blend, tell_blend
from segtune.report.forgetting import build_forgetting, change_tick, draw_forgetting
from segtune.report.page import write_report
from segtune.report.run import read_run


def _general():
    rows = tuple(
        Row(model, mode, "iou", mean, mean - 0.02, mean + 0.02, mean, 24)
        for mode, before, after in (("click", 0.4, 0.35), ("box", 0.6, 0.61))
        for model, mean in (("pretrained", before), ("tuned", after))
    )
    differences = (
        Difference("tuned", "pretrained", "click", "iou", -0.05, -0.08, -0.02, 0.001, 24),
        Difference("tuned", "pretrained", "box", "iou", 0.01, -0.02, 0.03, 0.4, 24),
    )
    return General("drawn suite", 24, 516, ("click", "box"), rows, differences, 0, "On general images it fell.")


CURVE = {
    "alpha": 0.5, "run": "runs/lumps",
    "rule": "the least lost on general images with at least 90 % of the highest gain kept",
    "base": "nano", "keep": 0.9, "chosen_by": {"general": "drawn suite", "images": 24, "same_as_reported": False},
    "kept": {"gain_tuned": 0.1, "gain_blended": 0.095, "general_tuned": -0.08, "general_blended": -0.03},
    "curve": [
        {"alpha": alpha, "gain": {"mean": gain, "low": gain - 0.01, "high": gain + 0.01},
         "general": {"mean": general, "low": general - 0.01, "high": general + 0.01}}
        for alpha, gain, general in ((0.0, 0.0, 0.0), (0.5, 0.094, -0.028), (1.0, 0.102, -0.081))
    ],
}  # fmt: skip


@pytest.fixture
def forgetful(small_folder):
    """A finished fit whose general images were scored."""
    path = small_folder / "metrics.json"
    write_results(path, replace(read_results(path), general=_general()))
    return small_folder


def test_metrics_keep_it(forgetful):
    """Written and read again it is the same; a file of before it was looked at reads as well."""
    path = forgetful / "metrics.json"
    assert read_results(path).general == _general()
    content = read_json(path)
    del content["general"]
    write_json(path, content)
    assert read_results(path).general is None


def test_gain_stands_beside_loss(forgetful):
    """By mode: both models on general images, the change, and the gain on the user's own."""
    run = read_run(forgetful)
    table = build_forgetting(run)
    assert table.models == ("Pretrained", "Tuned")
    assert table.compared == ("Tuned",)
    click, box = table.lines
    assert (click.label, *click.means) == ("1 centre click", ".400", ".350")
    assert (click.changes[0].mean, click.changes[0].tone) == ("−.050", "bad")
    assert box.changes[0].tone == ""
    assert click.gain.mean.startswith("+")
    assert "516 objects" in table.note


def test_the_page_shows_it(forgetful):
    """In a section of its own with its drawing; beside the page lie the same as Markdown and the picture alone."""
    page = write_report(forgetful).read_text(encoding="utf-8")
    assert 'id="general"' in page
    assert "On general images it fell." in page
    assert "Change of IoU on your images and on general ones: 1 centre click" in page
    told = (forgetful / "report.md").read_text(encoding="utf-8")
    assert "| 1 centre click | .400 | .350 | −.050 (−.080 to −.020) |" in told
    assert (forgetful / "figures" / "general.svg").read_text().startswith("<svg")
    assert "blend.svg" not in told


@pytest.mark.parametrize(("low", "high", "hinted"), [(-0.08, -0.02, True), (-0.08, 0.02, False)])
def test_a_blend_is_proposed_where_something_was_lost(small_folder, low, high, hinted):
    """Only then is there anything to take back."""
    path, general = small_folder / "metrics.json", _general()
    changed = replace(general.differences[0], low=low, high=high)
    general = replace(general, differences=(changed, general.differences[1]))
    write_results(path, replace(read_results(path), general=general))
    page = write_report(small_folder).read_text(encoding="utf-8")
    assert ("<code>segtune blend</code>" in page) == hinted


def test_nothing_is_told_of_what_was_not_looked_at(small_folder):
    """Neither section nor picture nor curve."""
    run = read_run(small_folder)
    assert build_forgetting(run) is draw_forgetting(run) is draw_blend(run) is None
    assert tell_blend(run) == ""
    assert 'id="general"' not in write_report(small_folder).read_text(encoding="utf-8")


def test_the_curve_of_a_blend_is_told(forgetful):
    """The choice, why, what it came to, every point with its intervals, and a drawing that marks it."""
    (forgetful / "blend.json").write_text(json.dumps(CURVE))
    run = read_run(forgetful)
    assert blend_rows(run)[1] == (".5", "+.094", "+.084 to +.104", "−.028", "−.038 to −.018")
    told = tell_blend(run)
    assert "Alpha 0.5 between nano and runs/lumps" in told
    assert "+.100 tuned, +.095 blended" in told
    drawn = draw_blend(run).svg
    assert "chosen: .5" in drawn
    assert "90 % of the highest gain" in drawn
    write_report(forgetful)
    assert "| .5 | +.094 |" in (forgetful / "report.md").read_text(encoding="utf-8")
    assert (forgetful / "figures" / "blend.svg").is_file()


@pytest.mark.parametrize(("value", "text"), [(0.05, "+.05"), (-0.1, "−.1"), (0.0, "0"), (-0.025, "−.025")])
def test_an_axis_of_changes_has_signs(value, text):
    """As short as they can be, and a real minus."""
    assert change_tick(value, 0) == text
