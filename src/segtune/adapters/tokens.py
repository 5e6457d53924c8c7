"""Learned prompt tokens, for a handful of images: what the decoder's own tokens find beside the prompt's.

Tokens that join a self-attention as keys and values (prefix tuning, Li and Liang 2021, arXiv 2101.00190), with values
of zero at the start (as LLaMA-Adapter, arXiv 2303.16199, begins), so that the pretrained model is where it begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor, nn

from segtune.adapters.beside import put_beside
from segtune.adapters.parts import part_prefixes
from segtune.adapters.way import FEW, Installed, Options, Way

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel


class TokenOptions(Options):
    """Of "tokens"."""

    count: int = Field(8, ge=1, description="Learned tokens in each self-attention of the mask decoder.")


class LearnedTokens(nn.Module):
    """Keys and values that every prompt finds.

    Args:
        attention: a self-attention of the mask decoder, with a linear layer `q_proj`.
        count: how many.
    """

    def __init__(self, attention: nn.Module, count: int) -> None:
        super().__init__()
        width, inner = _sides(attention)
        self.token_keys = nn.Parameter(torch.randn(count, inner))
        self.token_values = nn.Parameter(torch.zeros(count, width))

    def forward(self, attention: nn.Module, answer: Tensor, query: Tensor, *others: object, **named: object) -> Tensor:
        """Return what the queries [..., T, width] take of the learned tokens, [..., T, width]."""
        wanted: Tensor = attention.get_submodule("q_proj")(query)
        shares = (wanted @ self.token_keys.T * self.token_keys.shape[1] ** -0.5).softmax(-1)  # [..., T, count]
        taken: Tensor = shares @ self.token_values
        return taken


def _tokens(model: PromptableModel, options: TokenOptions, fresh: bool) -> Installed:
    """In every self-attention among the mask decoder's tokens."""
    prefix = part_prefixes(model, ["decoder"])[0]
    layers = {
        name: module
        for name, module in model.named_modules()
        if name.startswith(prefix)
        and name.endswith("self_attn")
        and isinstance(getattr(module, "q_proj", None), nn.Linear)
    }
    return put_beside(
        model, f"tokens:{options.text()}", layers, lambda attention: LearnedTokens(attention, options.count)
    )


def _sides(attention: nn.Module) -> tuple[int, int]:
    projection = attention.get_submodule("q_proj")
    weight: Tensor = projection.get_parameter("weight")  # [inner, width]
    return weight.shape[1], weight.shape[0]


TOKENS = Way(TokenOptions, _tokens, bare="count", rate=FEW)
