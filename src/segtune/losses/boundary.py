"""Boundary loss: wrong pixels cost by their distance from the true outline."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segtune.core.distance import to_nearest_zero
from segtune.losses.pixels import rows


def boundary(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the boundary loss of Kervadec et al. (MIDL 2019), moved and scaled to 0 for perfect, 1 for all wrong.

    Σ |p − t| d / Σ d over the valid pixels, with d the distance to the true outline. Since t is fixed this is the
    paper's Σ p φ (φ = −d inside, d outside) up to a constant and a factor per object. Where the truth has no outline,
    being empty or everything, each pixel weighs the same. The distances are found on the CPU.

    Args:
        logits: [N, h, w].
        truth: [N, h, w] in 0 to 1; object above a half.
        valid: bool [N, h, w]. The rim of the valid region is no outline.

    Returns:
        [N] in 0 to 1.
    """
    x, t, v = rows(logits, truth, valid)
    inside = (t > 0.5).reshape(logits.shape)
    distance = outline_distance(inside, valid.expand_as(logits)).flatten(1).to(x.dtype)
    wrong = torch.where(inside.flatten(1), (-x).sigmoid(), x.sigmoid())
    weight = distance * v
    return (wrong * weight).sum(1) / weight.sum(1).clamp(min=torch.finfo(x.dtype).tiny)


def outline_distance(inside: Tensor, valid: Tensor) -> Tensor:
    """Return how far each pixel's centre is from the objects' outlines.

    Args:
        inside: bool [N, h, w], the objects.
        valid: bool [N, h, w]; invalid pixels are neither object nor background.

    Returns:
        float32 [N, h, w] in pixels, ≥ 0.5; 1 everywhere for an object without an outline.
    """
    # A GPU waits here: OpenCV measures on the CPU, in every step anew.
    objects, known = inside.cpu().numpy(), valid.cpu().numpy()
    maps = [_outline_distance(one, region) for one, region in zip(objects, known, strict=True)]
    stacked = np.stack(maps) if maps else np.zeros(tuple(inside.shape), dtype=np.float32)
    return torch.from_numpy(stacked).to(inside.device)


def _outline_distance(inside: npt.NDArray[np.bool_], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    background = valid & ~inside
    if not inside.any() or not background.any():
        return np.ones(inside.shape, dtype=np.float32)
    # From centre to centre; the outline runs half a pixel before the other side's first centre.
    to_background, to_object = (to_nearest_zero((~mask).view(np.uint8)) for mask in (background, inside))
    return np.where(inside, to_background, to_object) - np.float32(0.5)
