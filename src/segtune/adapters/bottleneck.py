"""Bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751): a narrow MLP after each attention and each MLP.

The Medical SAM Adapter (arXiv 2304.12620) puts the same into SAM's blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from segtune.adapters.beside import put_beside
from segtune.adapters.injection import LinearOptions
from segtune.adapters.parts import linear_layers
from segtune.adapters.way import BESIDE, Installed, Way

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel


class BottleneckOptions(LinearOptions):
    """Of "bottleneck"."""

    width: int = Field(16, ge=1, description="Channels of the narrow place.")


class Bottleneck(nn.Module):
    """Down, GELU, up; it answers zero until it has learned.

    Args:
        layer: the layer whose output it changes.
        width: channels of the narrow place.
    """

    def __init__(self, layer: nn.Linear, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(layer.out_features, width)
        self.up = nn.Linear(width, layer.out_features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, layer: nn.Linear, answer: Tensor, tokens: Tensor) -> Tensor:
        """Map the layer's answer [..., C] to what is added to it."""
        added: Tensor = self.up(F.gelu(self.down(answer)))
        return added


def _bottleneck(model: PromptableModel, options: BottleneckOptions, fresh: bool) -> Installed:
    """After the last linear layer of each attention and each MLP, before the block adds what came before them."""
    last: dict[str, tuple[str, nn.Linear]] = {}
    for name, layer in linear_layers(model, options.parts, options.targets).items():
        last[name.rpartition(".")[0]] = name, layer  # of layers beside each other the last one stays
    # What is no wider than the narrow place needs none: heads that answer four numbers.
    layers = {name: layer for name, layer in last.values() if layer.out_features > options.width}
    spec = f"bottleneck:{options.text()}"
    return put_beside(model, spec, layers, lambda layer: Bottleneck(layer, options.width), whole=options.whole)


BOTTLENECK = Way(BottleneckOptions, _bottleneck, rate=BESIDE)
