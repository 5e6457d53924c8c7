"""Weights between two models of one network: what tuning changed, taken in part."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from segtune.core.errors import ModelError


def interpolate(start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Return (1 - alpha) · start + alpha · end, weight by weight (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903).

    Bit-equal to `start` at 0 and to `end` at 1, and where the two do not differ.

    Args:
        start: all weights of one model by name.
        end: those of another.
        alpha: 0 to 1.

    Raises:
        ModelError: the two are not of one network.
    """
    odd = sorted(set(start) ^ set(end)) or sorted(name for name in start if start[name].shape != end[name].shape)
    if odd:
        raise ModelError(
            f"Only models of one network can be blended, and these two are not: {len(odd)} of their weights differ in "
            f"name or shape, the first is '{odd[0]}'. Blend a model with the very one it was tuned from."
        )
    return {name: _between(value, end[name].to(value), alpha) for name, value in start.items()}


def _between(start: Tensor, end: Tensor, alpha: float) -> Tensor:
    # Counters and tables of indices have nothing in between.
    if not start.is_floating_point():
        return (start if alpha < 0.5 else end).clone()
    return torch.lerp(start, end, alpha)
