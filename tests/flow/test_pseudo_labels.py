"""A model's probabilities as labels, through the real command line: segment, check, fit."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import torch
from disc_data import SMALL, write_discs

from segtune.training.batches import Collate

FEW = (
    "--train", "decoder", "--epochs", "1", *SMALL, "--set", "training.loss.weights={pseudo_label: 1}",
    "--set", "evaluation.modes=[box]", "--set", "validation.modes=[box]", "--set", "evaluation.general=none",
    "--set", "evaluation.sensitivity_images=0",
)  # fmt: skip
"""A fit of a few steps by the loss for a model's labels."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Twelve images with a disc each and its mask."""
    return write_discs(tmp_path_factory.mktemp("drawn") / "discs", 12)


@pytest.fixture
def truths(monkeypatch):
    """What is handed to the steps of a fit for truth, [P, h, w] each."""
    seen = []
    collate = Collate.__call__

    def seeing(self, examples):
        batch = collate(self, examples)
        seen.append(batch.truth)
        return batch

    monkeypatch.setattr(Collate, "__call__", seeing)
    return seen


def test_probabilities_become_labels(segtune, answer, drawn, micro, truths, tmp_path):
    """What nano says of a box in each image is looked over, and trains another model by how sure it is."""
    data = tmp_path / "labelled"
    shutil.copytree(drawn / "images", data / "images")
    words = ("--boxes", "10,8,54,40", "--format", "probability")
    code, facts = answer("segment", "nano", data / "images", "--out", data / "masks", *words)
    assert (code, facts["masks"]) == (0, 12)
    assert np.unique(cv2.imread(str(data / "masks" / "000.png"), cv2.IMREAD_UNCHANGED)).size > 3

    code, facts = answer("check", data, "--encoding", "probability", "--out", tmp_path / "checked")
    assert (code, facts["images"]) == (0, 12)
    assert "read as probability, as told. Inside is above 1/2" in facts["notes"][0]
    assert "as told" in next(one["title"] for one in facts["findings"] if one["rule"] == "soft_masks")

    run = ("fit", data, "--out", tmp_path / "run", "--model", micro, *FEW, "--set", "data.encoding=probability")
    code, _, err = segtune(*run)
    assert code in (0, 3), err
    assert "plain bce" not in err
    values = torch.cat([one.flatten() for one in truths])
    assert values.min() >= 0
    assert values.max() <= 1
    assert ((values > 0.02) & (values < 0.98)).float().mean() > 0.2


def test_of_masks_that_are_certain_the_loss_says_so(segtune, drawn, micro, truths, tmp_path):
    """Before it trains: nothing would tell it from bce."""
    code, _, err = segtune("fit", drawn, "--out", tmp_path / "run", "--model", micro, *FEW)
    assert code in (0, 3), err
    assert "it is plain bce" in err
    assert "--set data.encoding=probability" in err
