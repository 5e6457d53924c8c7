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
_HALVINGS = 48
_MAP_SIDE = 256
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
    best = _Warped(cut, 1.0, 0.0)  # the truth itself, should nothing come nearer
    for _ in range(_ATTEMPTS):
        warped = _warp(cut, target, rng)
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


def _warp(truth: BoolMask, target: float, rng: np.random.Generator) -> _Warped:
    """Move the outline by strength × noise pixels, with the strength that brings the IoU nearest to `target`.

    A pixel changes side once strength × |noise| reaches its depth, so the IoU only falls as the strength grows.
    """
    half = np.float32(0.5)
    # Signed, positive inside: the outline runs half a pixel before the other side's first centre.
    depth = np.where(truth, distance_inside(truth) - half, half - distance_outside(truth))
    push = _push(depth, rng)
    changing = truth == (push < 0)  # inside and pushed in, or outside and pushed out
    needed = np.abs(depth) / np.maximum(np.abs(push), np.float32(1e-3))
    leaving, joining = needed[changing & truth], needed[changing & ~truth]
    area = int(np.count_nonzero(truth))

    def iou_at(strength: float) -> float:
        kept = area - int(np.count_nonzero(leaving <= strength))
        predicted = kept + int(np.count_nonzero(joining <= strength))
        return float(iou(Overlap(torch.tensor(kept), torch.tensor(predicted), torch.tensor(area))))

    low, high = 0.0, float(needed.max())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if iou_at(middle) > target else (low, middle)
    # The IoU falls in steps of whole pixels, so that no strength need hit the target.
    strength = min(low, high, key=lambda one: abs(iou_at(one) - target))
    return _Warped(truth ^ (changing & (needed <= strength)), iou_at(strength), strength)


def _push(depth: _Floats, rng: np.random.Generator) -> _Floats:
    """Return how far, relative to the others, each pixel's nearest point of the outline moves; outward is positive.

    The depth (negative outside) grows by one a pixel straight away from the outline, so its nearest point lies depth ×
    gradient back. Smooth noise is read there: a whole normal is pushed alike, which avoids islands and spikes.
    All of this varies slowly and is found on a small map.
    """
    height, width = depth.shape
    shrink = max(1.0, max(height, width) / _MAP_SIDE)
    small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    coarse = cv2.resize(depth, small, interpolation=cv2.INTER_AREA) / np.float32(shrink)
    # Continued in a straight line beyond the rim, where a repeated rim would halve the gradient.
    wider = np.pad(coarse, 1, mode="reflect", reflect_type="odd")
    # Sobel's weights bring out eight times the slope.
    across = cv2.Sobel(wider, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)[1:-1, 1:-1]
    down = cv2.Sobel(wider, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)[1:-1, 1:-1]
    rows, columns = np.indices(coarse.shape, dtype=np.float32)
    # The window is about twice as wide as the object (`_roomy`), hence twice the knots.
    knots = rng.normal(size=(2 * _WAVES, 2 * _WAVES)).astype(np.float32)
    noise = cv2.resize(knots, small, interpolation=cv2.INTER_CUBIC)
    # Of mean 0 over the area: bulges and dents in equal number.
    push = cv2.remap(
        noise - noise.mean(),
        columns - coarse * across,
        rows - coarse * down,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(cv2.resize(push, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _roomy(around: tuple[slice, slice], size: tuple[int, ...]) -> tuple[slice, slice]:
    """Widen a window by half its larger side plus two pixels, within the image: room for bulges."""
    margin = max(side.stop - side.start for side in around) // 2 + 2
    rows, columns = (
        slice(max(0, side.start - margin), min(length, side.stop + margin))
        for side, length in zip(around, size, strict=True)
    )
    return rows, columns
