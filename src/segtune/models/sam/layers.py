"""The two small layers that more than one part of Segment Anything is made of."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of a [B, C, H, W] map."""

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise `maps` [B, C, H, W] over C."""
        # The published code writes mean and variance out; over the last axis it is one kernel, the same up to rounding.
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MLPBlock(nn.Module):
    """Two linear layers with an activation between them, as transformer blocks have."""

    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self._activation = activation

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [..., width] to [..., width]."""
        out: Tensor = self.lin2(self._activation(self.lin1(tokens)))
        return out


class MLP(nn.Module):
    """A head of `depth` linear layers with ReLU between them."""

    def __init__(self, width: int, hidden: int, out: int, depth: int) -> None:
        super().__init__()
        widths = [width, *[hidden] * (depth - 1), out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [..., width] to [..., out]."""
        *hidden, last = self.layers
        for layer in hidden:
            tokens = F.relu(layer(tokens))
        out: Tensor = last(tokens)  # no sigmoid: a predicted IoU may leave 0 to 1
        return out
