"""Predictions made again for the pictures of a real evaluation."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.dataset import Dataset
from segtune.data.drawn import drawn_dataset
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO
from segtune.report.collage import draw_panels
from segtune.report.page import write_report
from segtune.report.pictures import SHOWN, pictures_of
from segtune.runs.proof import prove


@pytest.fixture(scope="module")
def proof(tmp_path_factory):
    """Two fresh models scored on two drawn scenes, and the folder."""
    models = {
        name: build_sam(MICRO, generator=torch.Generator().manual_seed(seed))
        for seed, name in enumerate(("tuned", "pretrained"))
    }
    folder = tmp_path_factory.mktemp("evaluation")
    return prove(models, drawn_dataset(2, side=96), folder, modes=["click", "box"], seed=0), folder


def test_pictures_show_what_was_scored(proof):
    """The masks drawn have the IoU that `per_image.csv` holds, and the judged model stands last."""
    evaluated, folder = proof
    with (folder / "per_image.csv").open(newline="") as file:
        scores = {(row["image"], row["model"], row["mode"]): row["iou"] for row in csv.DictReader(file)}
    picture = pictures_of(evaluated)
    name = evaluated.dataset.names[0]
    for mode in ("click", "box"):
        collage = picture(name, mode)
        assert [answer.model for answer in collage.answers] == ["pretrained", "tuned"]
        for answer in collage.answers:
            assert answer.mean_iou == pytest.approx(float(scores[name, answer.model, mode]), abs=2e-6)
            assert len(answer.masks) == len(collage.truth) == len(answer.prompts)


def test_pictures_can_be_drawn(proof):
    """What the models answered becomes panels, the image as it was read among them."""
    evaluated, _ = proof
    panels = draw_panels(pictures_of(evaluated)(evaluated.dataset.names[1], "box"), side=96)
    assert [panel.kind for panel in panels] == ["image", "truth", "pretrained", "tuned"]
    assert np.ptp(panels[0].pixels) > 0


def test_an_evaluation_becomes_a_report(proof):
    """From the files an evaluation leaves and its models, a page with pictures."""
    evaluated, folder = proof
    page = write_report(folder, pictures_of(evaluated)).read_text(encoding="utf-8")
    assert evaluated.results.verdict.split(";")[0].replace("'", "&#39;")[:30] in page
    assert page.count("data:image/jpeg") >= 4


def test_pictures_of_cached_embeddings_show_what_was_scored_on_them(tmp_path):
    """Handed the evaluation's own embeddings, the pictures make none: a fresh one may differ from a cached one."""
    data = drawn_dataset(2, side=96)  # of fewer objects than are shown at most
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(0))
    asked = []

    def embed(model, sample, index):
        # Of another image's pixels, so that a fresh embedding would answer otherwise.
        asked.append((sample.name, index))
        frame = model.frame(sample.size)
        noise = torch.randn(1, 3, MICRO.side, MICRO.side, generator=torch.Generator().manual_seed(index))
        with torch.no_grad():
            return model.encode(noise, (frame,))

    scored = prove({"tuned": model}, data, tmp_path, modes=["box"], seed=0, embed=embed)
    with (tmp_path / "per_image.csv").open(newline="") as file:
        scores = {row["image"]: float(row["iou"]) for row in csv.DictReader(file) if row["model"] == "tuned"}
    asked.clear()
    for name in (data.names[1], data.names[0]):
        (answer,) = pictures_of(scored)(name, "box").answers
        (fresh,) = pictures_of(replace(scored, embed=None))(name, "box").answers
        assert answer.mean_iou == pytest.approx(scores[name], abs=2e-6)
        assert list(answer.iou) != list(fresh.iou)
    assert asked == [(data.names[1], 1), (data.names[0], 0)]


def test_a_crowd_is_drawn_in_part_and_what_is_ignored_is_not(tmp_path):
    """The first objects that have a pixel that counts: truth, masks and prompts are of the same ones."""
    masks = np.zeros((30, 48, 64), dtype=np.bool_)
    for number, mask in enumerate(masks):
        mask[8 * (number // 6) : 8 * (number // 6) + 6, 10 * (number % 6) : 10 * (number % 6) + 7] = True
    ignore, image = masks[1] | masks[4], np.full((48, 64, 3), 90, np.uint8)
    objects = tuple(RunLengths.encode(mask) for mask in masks)
    data = Dataset.of([Sample("crowd", (48, 64), objects, ("object",) * 30, lambda: image, RunLengths.encode(ignore))])
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(0))
    collage = pictures_of(prove({"m": model}, data, tmp_path, modes=["box"], seed=0))("crowd", "box")
    shown = [number for number in range(30) if number not in (1, 4)][:SHOWN]
    assert list(collage.truth) == [objects[number] for number in shown]
    (answer,) = collage.answers
    assert len(answer.masks) == len(answer.iou) == len(answer.prompts) == SHOWN
    for prompt, number in zip(answer.prompts, shown, strict=True):
        rows, columns = np.nonzero(masks[number])
        assert prompt.box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_without_a_tuned_model_the_first_is_judged(tmp_path):
    """Of an evaluation it is the model that was named first, and it stands last in a picture."""
    models = {name: build_sam(MICRO, generator=torch.Generator().manual_seed(1)) for name in ("mine", "a", "b")}
    data = drawn_dataset(1, side=96)
    collage = pictures_of(prove(models, data, tmp_path, modes=["box"], seed=0))(data.names[0], "box")
    assert [answer.model for answer in collage.answers] == ["a", "b", "mine"]
