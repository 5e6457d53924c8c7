"""Coarse masks: the truth with its outline pushed in and out, down to a set IoU with it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from segtune.core.rle import BoolMask
from segtune.metrics.overlap import Overlap, iou
from segtune.prompts.objects import ObjectPrompt, counted, distance_inside, distance_outside, window
from segtune.prompts.points import centre_click

_Floats = npt.NDArray[np.float32]

LOWEST, HIGHEST = 0.60, 0.80
"""IoU of a coarse mask with the truth."""

_ATTEMPTS = 16
_WAVES = 4
"""Grid points of the noise per object side: bulges about a quarter of the object wide."""


def mask(truth: BoolMask, rng: np.random.Generator, *, ignore: BoolMask | None = None) -> ObjectPrompt:
    """Give a coarse mask and nothing else, made from the truth alone.

    The outline is moved along its normal by smooth seeded noise, as far as brings the IoU with the truth to what was
    drawn from 0.60 to 0.80. An object of one pixel cannot have such an IoU: it gets the nearest there is. Without an
    object, click the image's centre.
    """
    pixels = counted(truth, ignore)
    around = window(pixels)
    if around is None:
        return centre_click(truth)
    region = _roomy(around, truth.shape)
    cut = pixels[region]
    # Away from the range's ends, so that one pixel of a small object does not cross them.
    target = float(rng.uniform(LOWEST + 0.02, HIGHEST - 0.02))
    best = _Warped(cut, 1.0, 0.0)
    for _ in range(_ATTEMPTS):
        warped = _warp(cut, _noise(cut.shape, rng), target)
        best = min(best, warped, key=lambda one: abs(one.iou - target))
        if LOWEST <= best.iou <= HIGHEST:
            break
    coarse = np.zeros_like(truth)
    coarse[region] = best.mask
    return ObjectPrompt(mask=coarse, drawn={"target_iou": target, "iou": best.iou, "strength": best.strength})


@dataclass(frozen=True)
class _Warped:
    mask: BoolMask
    iou: float
    strength: float


def _warp(truth: BoolMask, noise: _Floats, target: float) -> _Warped:
    """Move the outline by strength × noise pixels, with the strength that brings the IoU nearest to `target`.

    A pixel changes side once strength × |noise| reaches its depth. Taken in the order of those strengths the IoU falls
    step by step, so the best step is found at once, exactly.
    """
    changing = np.flatnonzero(truth == (noise < 0))
    depth = np.where(truth, distance_inside(truth), distance_outside(truth)) - np.float32(0.5)
    needed = depth.ravel()[changing] / np.maximum(np.abs(noise.ravel()[changing]), np.float32(1e-6))
    order = np.argsort(needed, kind="stable")
    leaving = torch.from_numpy(truth.ravel()[changing[order]])
    area = torch.tensor(np.count_nonzero(truth))
    kept = area - leaving.cumsum(0)
    scores = iou(Overlap(kept, kept + (~leaving).cumsum(0), area)).numpy()
    if not len(scores):
        return _Warped(truth, 1.0, 0.0)
    last = int(np.abs(scores - target).argmin())
    warped = truth.copy()
    warped.ravel()[changing[order[: last + 1]]] ^= True
    return _Warped(warped, float(scores[last]), float(needed[order[last]]))


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> _Floats:
    """Return smooth noise of mean 0 over an area: bulges and dents in equal number."""
    knots = rng.normal(size=(2 * _WAVES, 2 * _WAVES)).astype(np.float32)
    smooth = np.asarray(cv2.resize(knots, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
    centred: _Floats = smooth - smooth.mean()
    return centred


def _roomy(around: tuple[slice, slice], size: tuple[int, ...]) -> tuple[slice, slice]:
    """Widen a window by half its larger side plus two pixels, within the image: room for bulges."""
    margin = max(side.stop - side.start for side in around) // 2 + 2
    rows, columns = (
        slice(max(0, side.start - margin), min(length, side.stop + margin))
        for side, length in zip(around, size, strict=True)
    )
    return rows, columns
