"""Weighted sums of losses."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from segtune.core.errors import UsageError
from segtune.losses import LOSSES

REFERENCE: Mapping[str, float] = {"focal": 20 / 21, "dice": 1 / 21}
"""SAM's focal : dice = 20 : 1 as shares; also the `loss` of every evaluation."""


class Mixture:
    """A weighted sum of losses, itself a loss: (logits, truth, valid) → [N].

    Args:
        weights: loss name → weight. Weights of 0 leave a loss out.

    Raises:
        UsageError: an unknown name, a weight that is negative or not finite, or no weight above 0.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise UsageError(
                    f"The weight of a loss is a finite number, 0 or above, but '{name}' has {weight}. "
                    "Give 0 to leave a loss out."
                )
        # Looked up for all, so that a misspelt name is an error even at weight 0.
        losses = {name: LOSSES[name] for name in weights}
        self.weights = {name: float(weight) for name, weight in weights.items() if weight > 0}
        if not self.weights:
            raise UsageError(
                f"A mixture needs at least one loss with a weight above 0, but got {dict(weights)}. "
                f"Known losses: {', '.join(sorted(LOSSES))}."
            )
        self._losses = {name: losses[name] for name in self.weights}

    def __call__(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Return the weighted sum per object, [N]."""
        return self.total(self.per_term(logits, truth, valid))

    def per_term(self, logits: Tensor, truth: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Return each loss by name, [N], before weighting: what logs show."""
        return {name: loss(logits, truth, valid) for name, loss in self._losses.items()}

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum [N] of what `per_term` gave, so that a step logs its terms without a second pass."""
        weighted = [self.weights[name] * terms[name] for name in self.weights]
        return sum(weighted[1:], start=weighted[0])
