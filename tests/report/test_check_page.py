"""The page of the data doctor: complete in itself, true to the findings, safe with strange names."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.check import check_dataset
from segtune.data.dataset import Dataset, SetAside
from segtune.report.check_charts import Axis, bars, count_axis, heat_map, named_bars, scatter
from segtune.report.check_page import MOSAIC, build_check_page, choose_mosaic, write_check_page
from segtune.report.check_pictures import outlined


def picture(seed, height=60, width=80):
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.random((5, 6, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(60 + 120 * ground + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def sample(name, seed, sides=(12,), *, ignore=False):
    image = picture(seed)
    masks = []
    for number, side in enumerate(sides):
        mask = np.zeros(image.shape[:2], dtype=bool)
        mask[10 + 20 * number : 10 + 20 * number + side, 10 + seed % 9 : 10 + seed % 9 + side] = True
        masks.append(RunLengths.encode(mask))
    band = np.zeros(image.shape[:2], dtype=bool)
    band[-8:] = True
    return Sample(
        name, image.shape[:2], tuple(masks), ("object",) * len(masks), read=lambda: image,
        ignore=RunLengths.encode(band) if ignore else None,
    )  # fmt: skip


def page_of(samples, **kwargs):
    data = Dataset.of(samples, **kwargs)
    return build_check_page(check_dataset(data), data)


def test_the_page_asks_no_host(tmp_path):
    """One file, without a single address outside itself, a script or a linked style."""
    data = Dataset.of(sample(f"{number}.png", number, (4 + number % 8,)) for number in range(30))
    write_check_page(check_dataset(data), data, tmp_path / "new" / "check.html")
    page = (tmp_path / "new" / "check.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"data:image/\w+;base64,[\w+/=]+", "", page))
    assert "<script" not in page
    assert "<link" not in page


def test_findings_come_with_remedy_and_pictures():
    """Each finding shows its title, its remedy and pictures of the images concerned."""
    samples = [sample(f"{number}.png", number) for number in range(25)] + [
        sample("again.png", 3),
        sample("bare.png", 90, ()),
    ]
    page = page_of(samples)
    for words in ("1 picture stored more than once.", "Keep one of each.", "1 image with an empty mask."):
        assert words in page
    card = page[page.index('id="exact_duplicates"') :]
    card = card[: card.index("</section>")]
    assert card.count("data:image/jpeg") == 2
    assert "again.png" in card


def test_the_mosaic_spans_the_sizes():
    """The mosaic holds a bounded number of images, the smallest and the largest objects among them."""
    data = Dataset.of(sample(f"{number:03d}.png", number % 7, (1 + number // 4,)) for number in range(100))
    chosen = choose_mosaic(check_dataset(data).measured)
    assert len(chosen) == MOSAIC
    assert (chosen[0], chosen[-1]) == ("000.png", "099.png")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_images_make_a_page(count):
    """Very small data sets have a page too."""
    page = page_of([sample(f"{number}.png", number) for number in range(count)])
    assert "Images and masks" in page


def test_images_without_any_object_make_a_page():
    """Without objects there are no charts of them, and the verdict says it."""
    page = page_of([sample(f"{number}.png", number, ()) for number in range(3)])
    assert "No image has an object" in page or "no image has an object" in page
    assert "Where objects lie" not in page
    assert "no object" in page


def test_names_are_escaped():
    """A name with angle brackets and quotes cannot break the page."""
    page = page_of([sample('<b>&"x".png', 1), sample("plain.png", 2)])
    assert "<b>&" not in page
    assert "&lt;b&gt;" in page


def test_a_sound_data_set_has_no_warnings():
    """Where nothing is wrong the page says so in green."""
    samples = [sample(f"{number}.png", number, (10 + number // 9,)) for number in range(24)]
    page = page_of(samples)
    assert 'class="verdict good"' in page
    assert "Nothing that would distort" in page


def test_files_left_out_are_listed():
    """Each file that was set aside stands in a table with its reason and remedy."""
    data = Dataset.of([sample(f"{number}.png", number) for number in range(20)])
    data._source.set_aside = (SetAside("images/x.png", "it is truncated", "Export it again."),)
    page = build_check_page(check_dataset(data), data)
    table = page[page.index("<h2>Left out") :]
    for words in ("images/x.png", "it is truncated", "Export it again."):
        assert words in table


def test_outlines_are_drawn_where_the_objects_are():
    """Inside and along an object the picture changes, far from it it does not."""
    one = sample("a.png", 0, (20,))
    drawn, plain = outlined(one, one.image, 80).astype(int), one.image.astype(int)
    changed = np.abs(drawn - plain).max(axis=2)
    assert drawn.shape == (60, 80, 3)
    assert changed[10, 12:28].min() > 25
    assert changed[45:, 50:].max() < 40
    assert changed[10:30, 10:30].mean() > 4 * changed[40:, 45:].mean()


def test_touching_objects_keep_their_border():
    """Two objects side by side are told apart by a line between them."""
    left, right = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
    left[20:40, 20:40], right[20:40, 40:60] = True, True
    grey = np.full((60, 80, 3), 100, np.uint8)
    masks = tuple(map(RunLengths.encode, (left, right)))
    drawn = outlined(Sample("a", (60, 80), masks, ("object",) * 2, read=lambda: grey), grey, 80).astype(int)
    assert drawn[30, 39:41, 1].max() > drawn[30, 28:32, 1].max() + 40


def test_ignored_pixels_are_hatched_and_said():
    """An ignored band is visible, and the page explains the hatching."""
    one = sample("a.png", 5, (20,), ignore=True)
    rows = outlined(one, one.image, 160)[108:118].astype(int)
    assert (rows.min(axis=2) > 170).mean() > 0.1
    assert "hatched pixels do not count" in page_of([one, *(sample(f"{n}.png", n) for n in range(3))])


def test_many_objects_are_all_drawn():
    """Three hundred objects get an outline each, within the range of their numbers."""
    masks = []
    for number in range(300):
        mask = np.zeros((100, 150), bool)
        mask[5 * (number // 15) + 1 : 5 * (number // 15) + 4, 10 * (number % 15) + 1 : 10 * (number % 15) + 7] = True
        masks.append(RunLengths.encode(mask))
    black = np.zeros((100, 150, 3), np.uint8)
    drawn = outlined(Sample("a", (100, 150), tuple(masks), ("object",) * 300, read=lambda: black), black, 600)
    bright = (drawn.max(axis=2) > 120).astype(np.uint8)
    assert cv2.connectedComponents(bright, connectivity=8)[0] - 1 == 300


def test_bars_have_the_heights_of_their_counts():
    """A bar of twice the count is twice as high."""
    axis = Axis(0, 2, ((0, "0"), (2, "2")), "things")
    heights = [float(found) for found in re.findall(r'class="bar"[^>]* height="([\d.]+)"', bars([5, 10], axis, "d"))]
    assert heights[1] == pytest.approx(2 * heights[0], rel=0.01)


def test_logarithmic_axes_place_decades_evenly():
    """On a logarithmic axis equal factors are equal steps, and values outside stay at its ends."""
    axis = Axis(0.001, 1, (), "share", logarithmic=True)
    assert axis.place(0.01) == pytest.approx(1 / 3)
    assert axis.place(0.1) == pytest.approx(2 / 3)
    assert (axis.place(0), axis.place(5)) == (0, 1)


@pytest.mark.parametrize(("most", "top"), [(0, 1), (1, 1), (3, 4), (37, 40), (1000, 1000), (1001, 2000)])
def test_count_axes_end_at_round_numbers(most, top):
    """The axis of counts ends at the next round number."""
    assert count_axis(most).high == top


def test_charts_escape_their_words():
    """Class names go into the chart as text, never as elements."""
    assert "<script>" not in named_bars([("<script>", 3)], "<classes>")


def test_charts_of_nothing():
    """Empty charts are drawn without fuss."""
    axis = Axis(0, 1, (), "x")
    assert bars([], axis, "d").endswith("</svg>")
    assert scatter(np.zeros((0, 3)), axis, axis, "d").endswith("</svg>")
    assert heat_map(np.zeros((4, 4)), 1.0, "d").endswith("</svg>")
