"""The loss of the quality head, which predicts each mask's IoU."""

from __future__ import annotations

from torch import Tensor


def quality_loss(predicted: Tensor, actual: Tensor) -> Tensor:
    """Return the squared error [N] between predicted and actual IoU, both [N] (SAM, appendix A).

    `actual` counts as a constant: no gradient flows through it.
    """
    return (predicted - actual.detach().to(predicted.dtype)).square()
