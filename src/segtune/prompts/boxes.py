"""Boxes around an object: tight, loose, and with the noise of a hasty hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask
from segtune.prompts.objects import ObjectPrompt, counted, distance_inside, window
from segtune.prompts.points import centre_click

_Box = npt.NDArray[np.float32]
_SIDES = ("left", "top", "right", "bottom")


def box(truth: BoolMask, rng: np.random.Generator, *, ignore: BoolMask | None = None) -> ObjectPrompt:
    """Draw the tight box; nothing is drawn from `rng`. Without an object, click the image's centre."""
    tight = tight_box(counted(truth, ignore))
    return centre_click(truth) if tight is None else ObjectPrompt(box=tight)


def loose_box(
    truth: BoolMask, rng: np.random.Generator, *, ignore: BoolMask | None = None, reach: float = 0.2
) -> ObjectPrompt:
    """Draw a box each of whose sides lies outward of the tight one by 0 to `reach` of the box, within the image."""
    tight = tight_box(counted(truth, ignore))
    if tight is None:
        return centre_click(truth)
    shares = rng.uniform(0.0, reach, 4)
    outward = np.array([-1, -1, 1, 1]) * shares * _lengths(tight)
    return ObjectPrompt(box=_within(tight + outward, truth.shape), drawn=_record("outward", shares))


def jittered_box(
    truth: BoolMask,
    rng: np.random.Generator,
    *,
    ignore: BoolMask | None = None,
    deviation: float = 0.1,
    limit: float = 20.0,
) -> ObjectPrompt:
    """Draw the tight box with SAM's noise on each coordinate (Kirillov et al. 2023, appendix A).

    Args:
        truth: bool [H, W].
        rng: gives the noise.
        ignore: bool [H, W], taken out of the object first.
        deviation: the noise's standard deviation, as a share of the box's side.
        limit: most pixels a coordinate moves.

    Returns:
        A box within the image that keeps at least the middle pixel of the tight one, so that it is never inverted.
    """
    tight = tight_box(counted(truth, ignore))
    if tight is None:
        return centre_click(truth)
    moves = np.clip(rng.normal(0.0, deviation, 4) * _lengths(tight), -limit, limit)
    noisy = tight + moves
    middle = np.tile((tight[:2] + tight[2:]) / 2, 2)
    noisy[:2] = np.minimum(noisy[:2], middle[:2] - 0.5)
    noisy[2:] = np.maximum(noisy[2:], middle[2:] + 0.5)
    return ObjectPrompt(box=_within(noisy, truth.shape), drawn=_record("moved", moves))


def inner_box(truth: BoolMask, rng: np.random.Generator, *, ignore: BoolMask | None = None) -> ObjectPrompt:
    """Draw a box that lies wholly inside: around any of the mask's pixels, as large as fits there or less.

    Of the background, this is a box on nothing; of an object, one that cuts a piece out of it.
    """
    inside = counted(truth, ignore)
    pixels = np.flatnonzero(inside)
    if not len(pixels):
        return centre_click(truth)
    rank = int(rng.integers(len(pixels)))
    row, column = divmod(int(pixels[rank]), truth.shape[1])
    # The farthest pixel in a box of half sides h has its centre less than √2 (h + ½) away.
    room = float(distance_inside(inside)[row, column]) / np.sqrt(2) - 0.5
    shares = rng.uniform(0.3, 1.0, 2)
    half = np.maximum(0.5, shares * room)
    middle = np.array([column, row]) + 0.5
    corners = np.concatenate([middle - half, middle + half])
    drawn = {"pixel_rank": float(rank), "width": float(shares[0]), "height": float(shares[1])}
    return ObjectPrompt(box=_within(corners, truth.shape), drawn=drawn)


def tight_box(mask: BoolMask) -> _Box | None:
    """Return the tight box of a mask [H, W] as float32 x0, y0, x1, y1, or None when it is empty."""
    around = window(mask)
    if around is None:
        return None
    rows, columns = around
    return np.array([columns.start, rows.start, columns.stop, rows.stop], dtype=np.float32)


def _lengths(tight: _Box) -> _Box:
    width, height = tight[2] - tight[0], tight[3] - tight[1]
    return np.array([width, height, width, height], dtype=np.float32)


def _within(corners: npt.NDArray[np.floating], size: tuple[int, ...]) -> _Box:
    height, width = size
    # Corners are edges, not pixels: the image's width and height themselves are allowed.
    clipped: _Box = np.clip(corners, 0, [width, height, width, height]).astype(np.float32)
    return clipped


def _record(name: str, values: npt.NDArray[np.floating]) -> dict[str, float]:
    return {f"{name}_{side}": float(value) for side, value in zip(_SIDES, values, strict=True)}
