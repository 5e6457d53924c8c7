"""Losses: pure functions of logits and truth, one value per object; weights and reduction are the caller's.

To add one, write `losses/<loss>.py` with a function (logits, truth, valid) → [N] and put its line into `LOSSES`.
Other packages add theirs through the entry-point group `segtune.losses`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from segtune.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Protocol):
    """Measure how far logits are from the truth, one value per object, differentiable in the logits."""

    def __call__(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Return [N] for [N, h, w] maps: logits, truth in 0 to 1, bool valid (neither padding nor ignored)."""
        ...


LOSSES: Registry[Loss] = Registry(
    "loss",
    {
        "focal": "segtune.losses.focal:focal",
        "dice": "segtune.losses.dice:dice",
        "bce": "segtune.losses.bce:bce",
        "iou": "segtune.losses.iou:iou",
        "lovasz": "segtune.losses.lovasz:lovasz",
        "boundary": "segtune.losses.boundary:boundary",
        "focal_tversky": "segtune.losses.tversky:focal_tversky",
        "unified_focal": "segtune.losses.tversky:unified_focal",
        "cldice": "segtune.losses.cldice:cldice",
        "hard_pixel": "segtune.losses.hard_pixel:hard_pixel",
        "points_bce": "segtune.losses.points:points_bce",
        "points_dice": "segtune.losses.points:points_dice",
        "pseudo_label": "segtune.losses.pseudo_label:pseudo_label",
    },
    "segtune.losses",
)
