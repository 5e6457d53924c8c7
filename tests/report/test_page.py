"""The page as a whole."""

from __future__ import annotations

import csv
import html
import json
import re
from html.parser import HTMLParser

import pytest

from segtune.report.numbers import decimal, signed
from segtune.report.page import write_report

SECTIONS = ("matrix", "training", "images", "examples", "failures", "sizes", "data", "made", "reading")
_VOID = {"meta", "input", "img", "br", "link", "hr"}


class _Reader(HTMLParser):
    """Checks that elements are closed in order, and gathers ids, links, sources and text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.sources, self.texts, self.alts = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.sources += [found[name] for name in ("src", "href", "action", "srcset") if found.get(name)]
        self.alts += [found["alt"]] if "alt" in found else []
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(reported):
    """The page of a fit, as text."""
    return (reported / "report.html").read_text(encoding="utf-8")


def _sections(text):
    return tuple(re.findall(r'<section id="(\w+)">', text))


def test_every_section_is_there(page):
    """A finished fit tells of everything, in order, and the contents lead there."""
    assert _sections(page) == SECTIONS
    assert set(re.findall(r'<a href="#(\w+)">', page.split("<nav")[1].split("</nav>")[0])) == set(SECTIONS)


def test_no_other_host_is_named(page):
    """Nothing is loaded from anywhere: all sources are inline or point into the page."""
    reader = _Reader(page)
    assert reader.sources
    assert all(source.startswith(("#", "data:image/")) for source in reader.sources)
    assert not re.search(r"(?:src|href)=[\"']?\s*(?:https?:)?//|url\(\s*[\"']?(?:https?:)?//|@import", page)
    assert "<script" not in page


def test_ids_are_unique_and_links_arrive(page):
    """Charts and pictures share one page without sharing names."""
    reader = _Reader(page)
    assert len(set(reader.ids)) == len(reader.ids)
    assert {source[1:] for source in reader.sources if source.startswith("#")} <= set(reader.ids)


def test_the_matrix_is_that_of_the_results(reported, page):
    """Every mean, interval and difference of `metrics.json` is on the page in its metric's table."""
    results = json.loads((reported / "metrics.json").read_text())
    tables = re.findall(r'<div class="tab" id="table-\d+">.*?</table>', page, flags=re.DOTALL)
    metrics = list(dict.fromkeys(row["metric"] for row in results["rows"]))
    assert len(tables) == len(metrics)
    for metric, table in zip(metrics, tables, strict=True):
        lines = dict(zip(re.findall(r"<code>(\w+)</code>", table), table.split("<tr>")[2:], strict=True))
        places = 4 if metric == "loss" else 3
        for row in (row for row in results["rows"] if row["metric"] == metric):
            assert f">{decimal(row['mean'], places)}<" in lines[row["mode"]]
            assert f"{decimal(row['low'], places)}–{decimal(row['high'], places)}" in lines[row["mode"]]
        for one in (one for one in results["differences"] if (one["metric"], one["against"]) == (metric, "pretrained")):
            assert f">{signed(one['mean'], places)}<" in lines[one["mode"]]


def test_the_first_table_is_chosen_without_a_script(page):
    """The switch of metrics is radio buttons and style alone, with the first one on."""
    switches = re.findall(r'<input type="radio" name="metric" id="metric-(\d)"( checked)?>', page)
    assert [number for number, checked in switches if checked] == ["1"]
    for number, _ in switches:
        assert f"#metric-{number}:checked ~ #table-{number}" in page


def test_how_it_was_made_is_told(page):
    """The command as a shell takes it, settings with their origin, versions and hashes."""
    text = html.unescape(page)
    assert "segtune fit data/lumps --out 'runs/my lumps' --train full" in text
    assert re.search(r"training\.epochs</code></td><td[^>]*>20</td><td[^>]*>--set<", page)
    assert "2.13.0" in text
    assert "9f2c" * 16 in text
    assert "nano on lumps" in text


def test_pictures_have_their_scores_and_words(page):
    """Each panel is inlined with its title as text for those who cannot see it."""
    reader = _Reader(page)
    inlined = [source for source in reader.sources if source.startswith("data:image/jpeg")]
    assert len(inlined) == len(reader.alts)
    assert any(alt.startswith("Tuned of images/case_") for alt in reader.alts)
    assert re.search(r"Tuned<b>IoU \.\d{3}</b>", page)


def test_the_page_stays_small(reported):
    """A page with all its pictures can be mailed."""
    assert (reported / "report.html").stat().st_size < 6_000_000


def test_the_matrix_is_written_as_csv(reported):
    """`matrix.csv` holds the rows of the results."""
    with (reported / "matrix.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    results = json.loads((reported / "metrics.json").read_text())["rows"]
    assert len(rows) == len(results)
    assert float(rows[0]["mean"]) == pytest.approx(results[0]["mean"])


def test_a_report_can_be_made_again_without_the_model(small_folder, pictures):
    """Made anew from the folder alone, the page is the same, pictures included."""
    first = write_report(small_folder, pictures).read_bytes()
    assert write_report(small_folder).read_bytes() == first
    assert b"data:image/jpeg" in first


def test_an_evaluation_has_no_training(run_folder):
    """Without log, settings, split, check and record, what is left is told and nothing is pretended."""
    for name in ("log.jsonl", "settings.yaml", "split.json", "check.json", "run.json"):
        (run_folder / name).unlink()
    _edit(run_folder, crowned=None, split=None)
    page = write_report(run_folder).read_text(encoding="utf-8")
    assert _sections(page) == ("matrix", "images", "failures", "sizes", "data", "made", "reading")
    assert '<span class="badge">evaluation</span>' in page
    _Reader(page)


def test_the_matrix_alone_is_enough(run_folder):
    """With `metrics.json` and nothing else there is still a report."""
    for path in run_folder.iterdir():
        if path.name != "metrics.json":
            path.unlink()
    page = write_report(run_folder).read_text(encoding="utf-8")
    assert _sections(page) == ("matrix", "sizes", "data", "made", "reading")


def test_nothing_scored_is_told(run_folder):
    """A matrix without a row, of images that all lack objects, gives a page and no error."""
    _edit(run_folder, rows=[], differences=[], buckets=[], verdict="Nothing was scored.")
    (run_folder / "per_image.csv").unlink()
    assert "Nothing was scored." in write_report(run_folder).read_text(encoding="utf-8")


def test_a_run_that_gained_nothing_says_so(run_folder):
    """Not crowned is written where the eye falls first, and not in green."""
    _edit(run_folder, crowned=False, verdict="No epoch beat the pretrained model.")
    page = write_report(run_folder).read_text(encoding="utf-8")
    assert '<span class="badge warning">not crowned</span>' in page
    assert 'class="verdict warning"' in page
    assert "**Not crowned.**" in (run_folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"leaks": 7, "part": "train"}, "7 of the images scored here"),
        ({"part": "val"}, "no test images"),
        ({"leaks": 0}, ""),
    ],
)
def test_an_unfair_test_is_told_in_red(run_folder, fields, said):
    """When the scored images are known to a model, the report warns before any figure."""
    _edit(run_folder, data=json.loads((run_folder / "metrics.json").read_text())["data"] | fields)
    page = write_report(run_folder).read_text(encoding="utf-8")
    assert ('id="warning"' in page) == bool(said)
    if said:
        assert page.index('class="alarm"') < page.index('<dl class="facts">')
        assert said in page
        assert re.search(rf"> \[!CAUTION\]\n> .*{said}", (run_folder / "report.md").read_text(encoding="utf-8"))


def test_images_that_could_not_be_scored_are_named(run_folder):
    """An unreadable image is told with its reason."""
    unread = [{"name": "torn.png", "reason": "truncated", "remedy": "copy it again"}]
    _edit(run_folder, data={"images": 12, "set_aside": unread})
    assert "<dt>torn.png</dt><dd>truncated</dd>" in write_report(run_folder).read_text(encoding="utf-8")


def test_names_are_shown_as_they_are(tmp_path, drawn_run, pictures):
    """A file name with markup in it is text on the page and in Markdown, never markup."""
    name = '<b>&"|`*[x].png'
    folder = drawn_run(images=3, epochs=2, modes=("box",), names=[name, "b.png", "c.png"]).write(tmp_path / "run")
    page = write_report(folder, pictures).read_text(encoding="utf-8")
    reader = _Reader(page)
    assert name in "".join(reader.texts)
    assert f"Truth of {name}" in reader.alts
    assert "<b>&" not in page
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;" in markdown
    assert "<b>" not in markdown


def _edit(folder, **fields):
    path = folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
