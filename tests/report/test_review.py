"""What a report tells of labels worth a second look."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segtune.core.files import read_json, write_json
from segtune.evaluation.results import Suspect, read_results, write_results
from segtune.evaluation.review import MOST_SUSPECTS
from segtune.report import gallery
from segtune.report.gallery import LISTED_SUSPECTS, choose_pictures, store_pictures
from segtune.report.page import write_report
from segtune.report.review import build_review
from segtune.report.run import read_run


def _suspect(image, number, doubt):
    return Suspect(image, number, "polyp", "click", "box", 0.31, 0.84, 0.95, doubt, "the label seems shifted")


@pytest.fixture
def doubted(small_folder):
    """A folder with more doubted labels than a report lists."""
    path = small_folder / "metrics.json"
    results = read_results(path)
    names = read_run(small_folder).scores.images
    review = tuple(_suspect(names[0], number, 0.9 - number / 100) for number in range(LISTED_SUSPECTS + 3))
    write_results(path, replace(results, review=review))
    return small_folder


def test_metrics_keep_it(doubted):
    """Written and read again it is the same; a file of before it was looked for says so."""
    path = doubted / "metrics.json"
    assert len(read_results(path).review) == LISTED_SUSPECTS + 3
    content = read_json(path)
    del content["review"]
    write_json(path, content)
    assert read_results(path).review is None
    assert build_review(read_run(doubted)) is None


def test_each_object_is_told_with_its_figures(doubted):
    """Those of most doubt, as many as a report lists; the verdict counts all and says where those trained on are."""
    found = build_review(read_run(doubted))
    assert len(found.lines) == LISTED_SUSPECTS
    first = found.lines[0]
    assert (first.rank, first.object, first.iou, first.doubt) == ("1", "0", ".310", ".900")
    assert found.verdict.startswith(
        f"{LISTED_SUSPECTS + 3} of 78 objects have a label that the tuned model sees otherwise"
    )
    assert "--part train" in found.verdict


def test_a_list_that_is_full_says_so(doubted):
    """Beyond its end there may be more."""
    path = doubted / "metrics.json"
    review = tuple(_suspect("a.png", number, 0.5) for number in range(MOST_SUSPECTS))
    write_results(path, replace(read_results(path), review=review))
    verdict = build_review(read_run(doubted)).verdict
    assert verdict.startswith("At least 200 of 78 objects have")
    assert "The list ends there" in verdict


def test_nothing_doubted_is_told_too(doubted):
    """That it was looked for and nothing found is an answer."""
    path = doubted / "metrics.json"
    write_results(path, replace(read_results(path), review=()))
    assert "none has a label" in build_review(read_run(doubted)).verdict
    page = write_report(doubted).read_text(encoding="utf-8")
    assert "Of 78 objects none has a label" in page


def test_pictures_show_the_object_alone(doubted, pictures):
    """Asked for by its number; its IoU is its own, and the picture is found again in a later report."""
    run = read_run(doubted)
    asked = [place for place in choose_pictures(run) if len(place) == 3]
    assert [place[2] for place in asked] == [int(line.object) for line in build_review(run).lines]
    stored = store_pictures(run, lambda image, mode, only=None: pictures(image, mode))
    assert {place for place in stored if len(place) == 3} == set(asked)
    page = write_report(doubted).read_text(encoding="utf-8")
    assert page.count(f'href="#{stored[asked[0]].collage.removesuffix(".jpg")}"') == 1
    assert "the label seems shifted" in page
    told = (doubted / "report.md").read_text(encoding="utf-8")
    assert "## Worth a second look" in told
    assert stored[asked[0]].collage in told
    assert all(one.collage in told for place, one in stored.items() if len(place) == 3)


def test_pictures_of_a_long_list_are_light(doubted, pictures, monkeypatch):
    """A label's picture takes half of what an example may, and all together what a page may."""
    monkeypatch.setattr(gallery, "_PAGE_BYTES", 400_000)
    noise = np.random.default_rng(0).integers(0, 256, (440, 440, 3)).astype(np.uint8)

    def hard(image, mode, only=None):
        return replace(pictures(image, mode), image=noise)

    sizes = {True: [], False: []}
    for place, stored in store_pictures(read_run(doubted), hard).items():
        files = (doubted / "figures" / panel.file for panel in stored.panels)
        sizes[len(place) == 3].append(sum(file.stat().st_size for file in files))
    assert len(sizes[True]) == LISTED_SUSPECTS
    assert max(sizes[True]) < 0.6 * max(sizes[False])
    assert sum(sizes[True] + sizes[False]) <= 400_000
