"""What a report tells of other domains."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segtune.core.files import read_json, write_json
from segtune.evaluation.results import Difference, Drop, Row, Unseen, read_results, write_results
from segtune.report.page import write_report
from segtune.report.unseen import build_unseen, tell_unseen


def _unseen():
    rows = tuple(
        Row(model, mode, "iou", mean, mean - 0.02, mean + 0.02, mean, 24)
        for mode, before, after in (("click", 0.4, 0.35), ("box", 0.6, 0.61))
        for model, mean in (("pretrained", before), ("tuned", after))
    )
    gain = Difference("tuned", "pretrained", "click", "iou", -0.05, -0.08, -0.02, 0.001, 24)
    drops = (
        Drop("tuned", "click", "iou", -0.31, -0.36, -0.27),
        Drop("tuned", "box", "iou", -0.01, -0.05, 0.04),
    )
    return Unseen("other_clinic", "data/other_clinic", 24, 30, rows, (gain,), drops, {"images": 2}, "It falls there.")


@pytest.fixture
def elsewhere(small_folder):
    """A folder whose models were scored on another domain too."""
    path = small_folder / "metrics.json"
    write_results(path, replace(read_results(path), unseen=(_unseen(),)))
    return small_folder


def test_metrics_keep_it(elsewhere):
    """Written and read again it is the same; a file of before it was looked at reads as well."""
    path = elsewhere / "metrics.json"
    assert read_results(path).unseen == (_unseen(),)
    content = read_json(path)
    del content["unseen"]
    write_json(path, content)
    assert read_results(path).unseen == ()


def test_each_domain_has_a_line_for_every_model(elsewhere):
    """The first data first; a drop is told with its tone, and where it is not known the cell is without one."""
    table = build_unseen(read_results(elsewhere / "metrics.json"))
    assert [(line.model, len(line.cells)) for line in table.lines] == [
        ("Pretrained", len(table.modes)), ("Tuned", len(table.modes)),
    ] * 2  # fmt: skip
    cells = {line.domain + line.model: line.cells for line in table.lines}
    click, box = (cells["other_clinicTuned"][table.modes.index(mode)] for mode in ("1 centre click", "Tight box"))
    assert (click.mean, click.drop.mean, click.drop.tone) == (".350", "−.310", "bad")
    assert (box.drop.interval, box.drop.tone) == ("−.050 to +.040", "")
    assert cells["other_clinicPretrained"][table.modes.index("Tight box")].drop is None


def test_the_command_line_tells_it(elsewhere):
    """The verdict, a table whose clear drops have a star, and how many images were left out."""
    verdict, table, left_out = tell_unseen(read_results(elsewhere / "metrics.json"))
    assert verdict == "It falls there."
    (drops,) = (line for line in table.splitlines() if line.split()[:1] == ["change"])
    assert drops.split()[1:] == ["−.310*", "−.010"]
    assert left_out.startswith("2 images were left out of other_clinic")


def test_the_page_shows_it(elsewhere):
    """In a section of its own, and as Markdown beside the page."""
    page = write_report(elsewhere).read_text(encoding="utf-8")
    assert 'id="unseen"' in page
    assert "It falls there." in page
    assert "2 images were left out of other\\_clinic" not in page
    told = (elsewhere / "report.md").read_text(encoding="utf-8")
    assert "| other\\_clinic | Tuned | .350 −.310 (−.360 to −.270) |" in told


def test_nothing_is_told_of_what_was_not_looked_at(small_folder):
    """No section, no table."""
    assert build_unseen(read_results(small_folder / "metrics.json")) is None
    assert tell_unseen(read_results(small_folder / "metrics.json")) == []
    assert 'id="unseen"' not in write_report(small_folder).read_text(encoding="utf-8")
