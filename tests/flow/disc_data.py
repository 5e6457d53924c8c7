"""Discs on disk, the smallest data a fit can learn something from, and bases that any fit beats."""

from __future__ import annotations

import re

import cv2
import numpy as np
import torch

SMALL = (
    "--set", "training.prompts.corrections=1", "--set", "training.workers=0", "--set", "training.optimizer.lr=2e-3",
    "--set", "training.optimizer.warmup_steps=2", "--set", "evaluation.general_images=2",
    "--set", "training.optimizer.precision=fp32",
)  # fmt: skip
"""What makes a fit small enough for a test, and end alike on machines that have bfloat16 and that have not."""

CROWNS = (
    *SMALL, "--set", "validation.modes=[box]", "--set", "evaluation.modes=[box]", "--set", "lr=1e-2",
    "--set", "training.optimizer.batch=2", "--set", "training.loss.weights={dice: 1}",
)  # fmt: skip
"""With it a fit on `blank` bases is crowned on any machine: dice knows no way but towards the objects."""

_LAST_OF_HEADS = re.compile(r"(output_hypernetworks_mlps\.\d+|hq_mask_mlp|mask_embedder)\.(layers\.2|proj_out)\.")


def blank(model):
    """Make every mask of a random model empty, in place, so that whatever it finds after training is more.

    The last layers of the heads that weigh the masks' channels become zero, and with them all logits.
    """
    heads = [parameter for name, parameter in model.named_parameters() if _LAST_OF_HEADS.search(name)]
    assert heads, f"{model.family} has other names"
    with torch.no_grad():
        for parameter in heads:
            parameter.zero_()
    return model


def write_discs(folder, count, *, seed=0, empty=()):
    """Write images/ and masks/ with one bright disc an image, none in those numbered in `empty`."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    rows, columns = np.mgrid[:48, :64]
    for number in range(count):
        y, x, radius = rng.uniform(14, 34), rng.uniform(14, 50), rng.uniform(8, 13)
        inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        if number in empty:
            inside[:] = False
        image = cv2.resize(rng.integers(0, 90, (12, 16, 3)).astype(np.uint8), (64, 48))
        image = (image + rng.integers(0, 25, image.shape)).astype(np.uint8)
        image[inside] += 120
        cv2.imwrite(str(folder / "images" / f"{number:03}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{number:03}.png"), inside.astype(np.uint8) * 255)
    return folder


def spoil(path):
    """Leave an image file its header and its end, and nothing in between that can be decoded."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle - 200 : middle + 200] = bytes(400)
    path.write_bytes(content)
