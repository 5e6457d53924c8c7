"""Which images are shown, and how their pictures are kept."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from segtune.report import gallery
from segtune.report.gallery import (
    FAILURES,
    PICTURED_FAILURES,
    choose_examples,
    choose_failures,
    choose_pictures,
    encode_jpeg,
    read_gallery,
    store_pictures,
)  # fmt: skip
from segtune.report.run import read_run


def test_examples_are_best_median_and_worst_gain(run_folder):
    """The three stand at the ends and in the middle of the images ordered by gain."""
    run = read_run(run_folder)
    gain = np.sort(run.scores.scored("tuned", "box") - run.scores.scored("pretrained", "box"))[::-1]
    best, median, worst = choose_examples(run, "box")
    assert [one.title for one in (best, median, worst)] == ["Best gain", "Median", "Worst"]
    assert np.allclose([one.gain for one in (best, median, worst)], gain[[0, 5, 11]], atol=1e-6)


def test_failures_rise_in_iou(run_folder):
    """The worst is first, by the tuned model's own IoU."""
    run = read_run(run_folder)
    found = choose_failures(run, "click")
    assert [one.after for one in found] == sorted(run.scores.scored("tuned", "click").tolist())[:FAILURES]


def test_few_images_are_shown_once(tmp_path, drawn_run):
    """With two images best and worst are not the same picture, with one there is one."""
    for images, titles in ((2, ["Best gain", "Worst"]), (1, ["Best gain"])):
        folder = drawn_run(images=images, epochs=1, modes=("box",)).write(tmp_path / str(images))
        assert [one.title for one in choose_examples(read_run(folder), "box")] == titles


def test_stored_pictures_come_back(small_folder, pictures):
    """A second report shows the same pictures without asking for one."""
    run = read_run(small_folder)
    asked = []
    stored = store_pictures(run, lambda image, mode: asked.append((image, mode)) or pictures(image, mode))
    assert tuple(asked) == choose_pictures(run)
    assert len(set(asked)) == len(asked) <= 2 * (3 + PICTURED_FAILURES)
    assert read_gallery(small_folder) == stored
    assert all(
        (small_folder / "figures" / panel.file).stat().st_size for one in stored.values() for panel in one.panels
    )


def test_pictures_carry_the_scores_of_the_tables(small_folder, pictures):
    """A picture may show some of an image's objects; the IoU above it is that of all, as everywhere else."""
    run = read_run(small_folder)
    for (image, mode), stored in store_pictures(run, pictures).items():
        row = run.scores.images.index(image)
        for panel in stored.panels[2:]:
            assert panel.iou == run.scores.of(panel.kind, mode)[row]
        assert [panel.iou for panel in stored.panels[:2]] == [None, None]


def test_pictures_of_many_models_share_the_page(small_folder, pictures, monkeypatch):
    """More panels take fewer bytes each, so that the page is not larger."""
    monkeypatch.setattr(gallery, "_PAGE_BYTES", 250_000)

    def crowd(image, mode):
        collage = pictures(image, mode)
        return replace(collage, answers=[replace(collage.answers[0], model=f"m{number}") for number in range(5)])

    stored = store_pictures(read_run(small_folder), crowd)
    files = [small_folder / "figures" / panel.file for one in stored.values() for panel in one.panels]
    assert len(files) == 7 * len(stored)
    assert sum(file.stat().st_size for file in files) <= 250_000


def test_pictures_of_other_scores_are_not_shown(small_folder, pictures):
    """When the images were scored anew, old pictures would lie."""
    store_pictures(read_run(small_folder), pictures)
    with (small_folder / "per_image.csv").open("a") as file:
        file.write("more.png,,1,tuned,box,.5,.5,.5,.5,.5,.5,\n")
    assert read_gallery(small_folder) == {}


def test_new_pictures_replace_old_ones(small_folder, pictures):
    """No file of an earlier report is left behind, and none but its own is removed."""
    store_pictures(read_run(small_folder), pictures)
    own = small_folder / "figures" / "mine.jpg"
    own.write_bytes(b"x")
    store_pictures(read_run(small_folder), lambda image, mode: pictures(image, mode) if mode == "box" else None)
    kept = {path.name for path in (small_folder / "figures").glob("*.jpg")}
    index = json.loads((small_folder / "figures" / "pictures.json").read_text())
    named = {
        name for one in index["pictures"] for name in (one["collage"], *(panel["file"] for panel in one["panels"]))
    }
    assert kept == named | {"mine.jpg"}
    assert {one["mode"] for one in index["pictures"]} == {"box"}


def test_a_picture_that_lost_its_file_is_left_out(small_folder, pictures):
    """A report made anew does without what somebody deleted."""
    stored = store_pictures(read_run(small_folder), pictures)
    gone = next(iter(stored.values()))
    (small_folder / "figures" / gone.panels[0].file).unlink()
    assert len(read_gallery(small_folder)) == len(stored) - 1


def test_pictures_of_noise_stay_within_their_share():
    """The hardest picture to compress is made coarser until it fits."""
    noise = np.random.default_rng(0).integers(0, 256, (440, 440, 3)).astype(np.uint8)
    for most in (80_000, 20_000):
        assert 0.2 * most < len(encode_jpeg(noise, most)) <= most
