"""Running a model on one image, without gradients: what evaluation and use share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from segtune.core.types import Embedding, Image
from segtune.models.family import PromptableModel

_TOKENS_AT_ONCE = 4096
"""Encoded in one batch on a CPU: one image of ViT-B, 16 of nano; larger batches only take memory."""

_GPU_BATCHES = 8


def encode_image(model: PromptableModel, image: Image) -> Embedding:
    """Run the image encoder on one image, uint8 [H, W, 3], on the model's device."""
    pixels, frames = model.prepare([image])
    return model.encode(pixels.to(device_of(model)), frames)


def device_of(model: PromptableModel) -> torch.device:
    """Return the device that the model's weights are on."""
    return next(model.parameters()).device


def batch_size(model: PromptableModel, device: str) -> int:
    """Return how many images are encoded at once on a kind of device ("cpu", "cuda")."""
    tokens = math.prod(model.mask_size) // 16
    return max(1, _TOKENS_AT_ONCE // tokens) * (1 if device == "cpu" else _GPU_BATCHES)


@contextmanager
def evaluating(models: Sequence[PromptableModel]) -> Iterator[None]:
    """Switch models to evaluation, without gradients, and back."""
    # Remembered one by one: models that are compared need not agree, nor a model's parts. Where nothing trains, as
    # between the clicks of a session, they are only looked at: to set them all takes a fifth of a click of nano.
    training = [part for model in models for part in model.modules() if part.training]
    for part in training:
        part.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True
