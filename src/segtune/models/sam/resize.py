"""The same network at another input side: positions are enlarged or shrunk, everything else is kept."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from segtune.core.errors import UsageError
from segtune.models.sam.build import build_sam
from segtune.models.sam.model import Sam


def resized(model: Sam, side: int) -> Sam:
    """Return a copy of `model` for a square input of `side` pixels.

    Absolute positions are resampled in two dimensions (bicubic, antialiased), the relative positions of the blocks
    that attend to the whole image in one (linear, as the published code does it); windows keep theirs. The copy
    computes something near, not the same: it wants training.

    Raises:
        UsageError: `side` is no multiple of the patch.
    """
    check_side(side, model.sizes.patch)
    sizes = replace(model.sizes, side=side)
    other = build_sam(sizes, preparation=replace(model.preparation, side=side))
    other.encoder_precision, other.variant = model.encoder_precision, model.variant
    other.thresholds, other.quality_map = model.thresholds, model.quality_map
    wanted = other.state_dict()
    state = {name: _fitted(name, value, wanted[name].shape) for name, value in model.state_dict().items()}
    other.load_state_dict(state, strict=True)
    return other.to(next(model.parameters()).device).train(model.training)


def check_side(side: int, patch: int) -> None:
    """Refuse a side of the input that patches of `patch` pixels do not fill.

    Raises:
        UsageError: it is no positive multiple of the patch.
    """
    if side <= 0 or side % patch:
        raise UsageError(
            f"The side of the input must be a positive multiple of the patch of {patch} pixels, but is {side}. "
            f"Take {max(1, round(side / patch)) * patch}."
        )


def _fitted(name: str, value: Tensor, shape: torch.Size) -> Tensor:
    if value.shape == shape:  # also tables of windows, whose size stays
        return value
    if name.endswith("pos_embed"):
        maps = value.permute(0, 3, 1, 2)  # [1, width, h, w]
        return F.interpolate(maps, shape[1:3], mode="bicubic", antialias=True).permute(0, 2, 3, 1)
    return F.interpolate(value.T[None], shape[0], mode="linear")[0].T
