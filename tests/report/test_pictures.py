"""Predictions made again for the pictures of a real evaluation."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from segtune.data.drawn import drawn_dataset
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO
from segtune.report.collage import draw_panels
from segtune.report.page import write_report
from segtune.report.pictures import pictures_of
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
