"""Masked images: part of an image's patches is hidden, and the encoder learns to fill them in. No mask is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segtune.core.geometry import Frame
from segtune.core.rle import BoolMask
from segtune.models.sam.masked_images import MaskedImageModel, cut_patches
from segtune.training.batches import Batch
from segtune.training.examples import generator
from segtune.training.objective import Objective, Sums
from segtune.training.recipe import MaskedImageRecipe, Recipe

_LEAST_VARIANCE = 1e-6
"""Of a patch's pixels, so that one of a single colour is divided by something (MAE's published code)."""


@dataclass(frozen=True)
class MaskedImages(Objective):
    """SimMIM's objective: the mean absolute error over hidden patches, of pixels normalised patch by patch (MAE).

    Its objects are images: each counts alike, however many patches of it are hidden.

    Attributes:
        model: in training mode.
        recipe: seed and precision.
        masked: what is hidden.
    """

    model: MaskedImageModel
    recipe: Recipe
    masked: MaskedImageRecipe

    @property
    def names(self) -> tuple[str, ...]:
        """The loss alone."""
        return ("loss",)

    def count(self, batch: Batch) -> int:
        """Return how many images there are."""
        return len(batch.frames)

    def accumulate(self, batch: Batch, *, objects: int, step: int) -> Sums:
        """Add the gradient of a batch to the parameters that train."""
        device = self.model.hidden_token.device
        grid, patch = self.model.pos_embed.shape[1], self.model.patch_embed.proj.kernel_size[0]
        # By the view rather than the step: the same patches wherever, and with how many processes, it is trained on.
        hidden = torch.stack([
            torch.from_numpy(draw_hidden(frame, grid, patch, self.masked, generator(self.recipe.seed, "hidden", *view)))
            for frame, view in zip(batch.frames, batch.views, strict=True)
        ]).to(device)  # bool [B, h, w]  # fmt: skip
        pixels = batch.pixels.to(device)
        precision = self.recipe.optimizer.settled_precision
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            filled = self.model(pixels, hidden)
        losses = patch_losses(filled.float(), cut_patches(pixels, patch), hidden)  # [B]
        torch.autograd.backward(losses.sum() / objects)
        return Sums(len(batch.frames), {"loss": float(losses.detach().sum())})

    def tell(self, means: Mapping[str, float]) -> str:
        """Return the loss in words."""
        return f"loss {means['loss']:.4f}" if means else "no images yet"


def draw_hidden(frame: Frame, grid: int, patch: int, masked: MaskedImageRecipe, rng: np.random.Generator) -> BoolMask:
    """Draw which patches are hidden: bool [grid, grid], whole blocks of patches inside the image.

    What lies beyond the image, where the square is filled up, is never hidden: there is nothing to fill in.
    """
    rows, columns = (max(1, length // patch) for length in frame.resized)
    down, across = -(-rows // masked.block), -(-columns // masked.block)
    count = down * across
    # At least one block is hidden and, where there are several, one seen.
    taken = min(max(1, round(masked.mask_share * count)), max(1, count - 1))
    blocks = np.zeros(count, np.bool_)
    blocks[rng.permutation(count)[:taken]] = True
    hidden: BoolMask = np.zeros((grid, grid), np.bool_)
    large = blocks.reshape(down, across).repeat(masked.block, axis=0).repeat(masked.block, axis=1)
    hidden[:rows, :columns] = large[:rows, :columns]
    return hidden


def patch_losses(filled: Tensor, patches: Tensor, hidden: Tensor) -> Tensor:
    """Return the loss of each image.

    Args:
        filled: [Q, values], the answer for hidden patches.
        patches: [B, h, w, values], the truth of all.
        hidden: bool [B, h, w], Q of them true, at least one in each image.

    Returns:
        [B], means over an image's hidden patches.
    """
    truth = patches[hidden]
    truth = (truth - truth.mean(dim=1, keepdim=True)) / (truth.var(dim=1, keepdim=True) + _LEAST_VARIANCE).sqrt()
    errors = (filled - truth).abs().mean(dim=1)  # [Q]
    images = hidden.nonzero()[:, 0]
    return errors.new_zeros(len(hidden)).index_add(0, images, errors) / hidden.sum(dim=(1, 2))
