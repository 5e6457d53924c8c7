"""Metrics: pure functions, one value per object, at original size; the only definition of IoU in the house.

To add one, write `metrics/<metric>.py` with a function (predicted, truth, ignore) → float64 [n], higher better, and put
its line into `METRICS`. Other packages add theirs through the entry-point group `segtune.metrics`. An evaluation scores
by all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from segtune.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


class Metric(Protocol):
    """Score n predicted masks against their truths."""

    def __call__(self, predicted: Tensor, truth: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Return float64 [n] for bool [n, H, W] masks; `ignore` is bool [H, W] or [n, H, W].

        In an evaluation H and W are those of a window of the image, at original size, that holds both masks.
        """
        ...


METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "iou": "segtune.metrics.region:mask_iou",
        "dice": "segtune.metrics.region:mask_dice",
        "precision": "segtune.metrics.region:mask_precision",
        "recall": "segtune.metrics.region:mask_recall",
        "boundary_iou": "segtune.metrics.boundary:boundary_iou",
    },
    "segtune.metrics",
)
