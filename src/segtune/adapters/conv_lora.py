"""Conv-LoRA (Zhong et al. 2024, arXiv 2401.17868): LoRA with convolutions at several scales in its narrow place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from segtune.adapters.beside import put_beside
from segtune.adapters.injection import LinearOptions
from segtune.adapters.parts import linear_layers
from segtune.adapters.way import BESIDE, Installed, Part, Way

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel


class ConvOptions(LinearOptions):
    """Of "conv_lora"."""

    # A prompt has no places to convolve over, and the decoder's image side comes without its rows and columns.
    parts: tuple[Part, ...] = Field(("encoder",), alias="in", description="Where: encoder alone has a grid of tokens.")
    r: int = Field(8, ge=1, description="Rank: channels that are convolved.")
    alpha: float | None = Field(None, gt=0, description="What is added is scaled by alpha / r; not given: 2 r.")
    experts: int = Field(4, ge=1, le=8, description="Convolutions, at scales 1, 2, 3, …; a gate picks one by map.")

    @model_validator(mode="after")
    def _encoder_alone(self) -> ConvOptions:
        if self.parts != ("encoder",):
            raise ValueError("conv_lora convolves over the image encoder's grid of tokens, so 'in' must be encoder")
        return self


class ConvLora(nn.Module):
    """x → B (z + E(z)), z = A x, where E is the convolution that a gate picks for each map (equations 2 to 4).

    Each expert enlarges the map by its scale, convolves it 3 × 3 and brings it back, so that a token learns of its
    surroundings at that scale: the local prior a plain vision transformer lacks.

    Args:
        layer: the linear layer it stands beside.
        rank: channels of the narrow place.
        scale: by which the answer is multiplied.
        experts: how many convolutions there are.
    """

    strength: Tensor

    def __init__(self, layer: nn.Linear, rank: int, scale: float, experts: int) -> None:
        super().__init__()
        self.down = nn.Linear(layer.in_features, rank, bias=False)
        self.up = nn.Linear(rank, layer.out_features, bias=False)
        self.gate = nn.Linear(rank, experts, bias=False)
        self.convolutions = nn.ModuleList(nn.Conv2d(rank, rank, 3, padding=1, bias=False) for _ in range(experts))
        # With the weights, so that whatever knows an encoder by those knows the strength too.
        self.register_buffer("strength", torch.tensor(scale))
        nn.init.zeros_(self.up.weight)

    def forward(self, layer: nn.Linear, answer: Tensor, tokens: Tensor) -> Tensor:
        """Map the layer's input, [B, rows, columns, C] or [B, side · side, C], to what is added to its answer."""
        narrow = self.down(tokens)
        maps = _as_maps(narrow)  # [B, r, rows, columns]
        chances = self.gate(maps.mean((2, 3))).softmax(-1)  # [B, experts]
        best = chances.argmax(-1)
        convolved = torch.zeros_like(maps)
        for number in best.unique().tolist():
            rows = best == number
            # The gate's chance weighs its choice, and so it learns.
            weight = chances[rows, number][:, None, None, None]
            convolved[rows] = (weight * self._expert(number, maps[rows])).to(convolved.dtype)
        changed = narrow + convolved.flatten(2).transpose(1, 2).reshape(narrow.shape)
        added: Tensor = self.up(changed) * self.strength
        return added

    def _expert(self, number: int, maps: Tensor) -> Tensor:
        convolution = self.convolutions[number]
        if number == 0:
            return F.gelu(convolution(maps))
        size = maps.shape[2:]
        enlarged = F.interpolate(maps, scale_factor=number + 1, mode="bilinear", align_corners=False)
        return F.interpolate(F.gelu(convolution(enlarged)), size=size, mode="bilinear", align_corners=False)


def _as_maps(tokens: Tensor) -> Tensor:
    """Bring [B, rows, columns, C], or [B, side · side, C], to [B, C, rows, columns]."""
    if tokens.ndim == 3:
        side = round(tokens.shape[1] ** 0.5)
        tokens = tokens.reshape(len(tokens), side, -1, tokens.shape[-1])
    return tokens.permute(0, 3, 1, 2)


def _conv_lora(model: PromptableModel, options: ConvOptions, fresh: bool) -> Installed:
    """Beside the encoder's linear layers."""
    scale = 2.0 if options.alpha is None else options.alpha / options.r
    layers = linear_layers(model, options.parts, options.targets)
    return put_beside(
        model, f"conv_lora:{options.text()}", layers,
        lambda layer: ConvLora(layer, options.r, scale, options.experts), whole=options.whole,
    )  # fmt: skip


CONV_LORA = Way(ConvOptions, _conv_lora, rate=BESIDE)
