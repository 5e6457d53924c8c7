"""Correction clicks: where the prediction is wrong, on which side."""

from __future__ import annotations

import torch
from torch import Tensor

from segtune.core.geometry import Frame, frame_scales
from segtune.core.rle import BoolMask
from segtune.core.types import POINT_FILLER, POINT_NEGATIVE, POINT_POSITIVE
from segtune.prompts.objects import window
from segtune.prompts.points import inner_centre

TRUTH_SHARE = 0.1
"""Share of training's correction clicks drawn from the truth instead of the error (SAM 2's training)."""


def center_of_error(
    truth: BoolMask, predicted: BoolMask, ignore: BoolMask | None = None
) -> tuple[float, float, int] | None:
    """Return the click of an evaluation: the centre of the largest error (SAM, appendix D).

    Of the missed and the wrongly added pixels the one farthest from its region's outline, the image border included.
    Equal distances go to the missed pixels.

    Args:
        truth: bool [H, W].
        predicted: bool [H, W].
        ignore: bool [H, W], pixels that are no error and get no click.

    Returns:
        x, y of a pixel and its label (1 missed, 0 wrongly added), or None when there is no error.
    """
    wrong = truth ^ predicted
    if ignore is not None:
        wrong &= ~ignore
    sides = [(wrong & truth, POINT_POSITIVE), (wrong & predicted, POINT_NEGATIVE)]
    # The roomier side first: often the other one cannot hold a distance as large and needs no transform.
    sides.sort(key=lambda side: -_room(side[0]))
    best: tuple[int, int, float] | None = None
    best_label = POINT_POSITIVE
    for mask, label in sides:
        if best is not None and _room(mask) < best[2]:  # an equal distance may still win by its label
            continue
        centre = inner_centre(mask)
        if centre is not None and (best is None or (centre[2], label) > (best[2], best_label)):
            best, best_label = centre, label
    return None if best is None else (float(best[0]), float(best[1]), best_label)


def random_error_clicks(
    truth: Tensor, predicted: Tensor, valid: Tensor, uniforms: Tensor, *, truth_share: float = TRUTH_SHARE
) -> tuple[Tensor, Tensor]:
    """Draw training's correction clicks for P objects at once, each uniform in its object's error.

    Args:
        truth: bool [P, h, w] over the model's square.
        predicted: bool [P, h, w].
        valid: bool [P, h, w], neither padding nor ignored.
        uniforms: float [P, 3] in 0 to 1: rank among the error's cells, whether to click the truth instead, rank
            among the truth's cells.
        truth_share: chance of clicking anywhere in the truth, where both truth and an error exist.

    Returns:
        Cell centres float32 [P, 2] as x, y in cell units (`cells_to_points` brings them to pixels), and labels int64
        [P]: 1 on the object, 0 off it, -10 (filler) where there is no error at all.
    """
    inside = truth & valid
    wrong = (truth ^ predicted) & valid  # [P, h, w]
    in_error = wrong.flatten(1).any(1)
    from_truth = (uniforms[:, 1] < truth_share) & inside.flatten(1).any(1)
    pool = torch.where(from_truth[:, None, None], inside, wrong)
    rank = torch.where(from_truth, uniforms[:, 2], uniforms[:, 0])
    column, row = _ranked_cell(pool, rank)
    on_object = truth[torch.arange(len(truth), device=truth.device), row, column].long()
    labels = torch.where(in_error, on_object, POINT_FILLER)
    return torch.stack([column, row], dim=1).float() + 0.5, labels


def cells_to_points(cells: Tensor, image_index: Tensor, frames: tuple[Frame, ...], map_size: tuple[int, int]) -> Tensor:
    """Bring places on a map over the model's square to pixels of the original images.

    Args:
        cells: float [P, 2], x and y in cell units, cell i reaching from i to i + 1.
        image_index: int64 [P].
        frames: frames of the B images.
        map_size: (h, w) of the map over the square.

    Returns:
        float32 [P, 2], x and y of pixels, within each image.
    """
    side = cells.new_tensor([[frame.side, frame.side] for frame in frames])[image_index]
    size = cells.new_tensor([[frame.original[1], frame.original[0]] for frame in frames])[image_index]
    square = cells * side / cells.new_tensor([map_size[1], map_size[0]])
    # A pixel's index is half a pixel before its centre.
    pixels = square / frame_scales(frames, image_index) - 0.5
    # A small image is enlarged: the first and last cells' centres lie up to half a pixel beyond its pixels' centres.
    # Not rounded, since the prompt encoder takes any place.
    return torch.minimum(pixels.clamp(min=0), size - 1).float()


def _ranked_cell(pool: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """Return column and row, int64 [P], of the floor(rank × count)-th cell of each pool [P, h, w] in reading order.

    Rows are counted first and only the chosen row is looked into. An empty pool gives cell 0, 0.
    """
    per_row = pool.sum(2, dtype=torch.int32).cumsum(1)  # [P, h]
    count = per_row[:, -1]
    number = torch.minimum((rank * count).long(), count - 1).clamp(min=0)  # [P]
    row = torch.searchsorted(per_row, number[:, None], right=True).flatten()  # the first row to reach beyond it
    row = row.clamp(max=pool.shape[1] - 1)
    chosen = torch.arange(len(pool), device=pool.device)
    before = torch.where(row > 0, per_row[chosen, (row - 1).clamp(min=0)], 0)
    within = pool[chosen, row].cumsum(1)  # [P, w]
    column = torch.searchsorted(within, (number - before)[:, None], right=True).flatten()
    empty = count == 0
    return (
        column.clamp(max=pool.shape[2] - 1).masked_fill(empty, 0),
        row.masked_fill(empty, 0),
    )


def _room(mask: BoolMask) -> float:
    """Return a bound on the distance of a mask's pixels from its outline: half the tight box's smaller side."""
    around = window(mask)
    return 0.0 if around is None else (min(side.stop - side.start for side in around) + 1) / 2
