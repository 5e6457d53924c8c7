"""The two-way transformer: prompt tokens attend to the image and the image to them (paper, appendix A)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from segtune.models.sam.layers import MLPBlock
from segtune.models.sam.plain_attention import attention

Spread = Callable[[Tensor], Tensor]
"""Brings rows of S sources to the P prompts that ask about them."""


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the tokens'."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, exists: Tensor | None = None) -> Tensor:
        """Attend from query [P, n, width] to key and value [P, m, width]; bool [P, m] tells the keys that exist."""
        return self.attend(self.queries(query), self.keys(key), self.values(value), exists)

    def queries(self, tokens: Tensor) -> Tensor:
        """Project [S, n, width] to queries [S, heads, n, inner / heads]."""
        return self._heads(self.q_proj(tokens))

    def keys(self, tokens: Tensor) -> Tensor:
        """Project [S, n, width] to keys [S, heads, n, inner / heads]."""
        return self._heads(self.k_proj(tokens))

    def values(self, tokens: Tensor) -> Tensor:
        """Project [S, n, width] to values [S, heads, n, inner / heads]."""
        return self._heads(self.v_proj(tokens))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, exists: Tensor | None = None) -> Tensor:
        """Attend with projected queries, keys and values; return [P, n, width]."""
        mask = None if exists is None else exists[:, None, None, :]  # [P, 1, 1, m]
        attended = attention(query, key, value, mask)  # [P, heads, n, inner / heads]
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class TwoWayBlock(nn.Module):
    """Tokens to themselves, tokens to image, an MLP on the tokens, image to tokens."""

    def __init__(
        self, width: int, heads: int, mlp_width: int, downsample: int, *, first: bool, norm_eps: float
    ) -> None:
        super().__init__()
        self._first = first
        self.self_attn = Attention(width, width, heads)
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.cross_attn_token_to_image = Attention(width, width // downsample, heads)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = MLPBlock(width, mlp_width, F.relu)
        self.norm3 = nn.LayerNorm(width, eps=norm_eps)
        self.norm4 = nn.LayerNorm(width, eps=norm_eps)
        self.cross_attn_image_to_token = Attention(width, width // downsample, heads)

    def forward(
        self, tokens: Tensor, places: Tensor, exists: Tensor | None, image: Tensor, positions: Tensor, spread: Spread
    ) -> tuple[Tensor, Tensor]:
        """Run the block.

        Args:
            tokens: [P, T, width].
            places: [P, T, width], the tokens as they came from the prompt, which say where they are.
            exists: bool [P, T], or None when all do.
            image: [S, N, width], of the S sources that the prompts share.
            positions: [N, width] of the image's tokens.
            spread: from S sources to P prompts.

        Returns:
            Tokens [P, T, width] and image [P, N, width].
        """
        # Places go into queries and keys, never into values.
        located = image + positions
        if self._first:
            # The first layer's tokens are their own places; it has no residual either, as published.
            tokens = self.self_attn(tokens, tokens, tokens, exists)
        else:
            tokens = tokens + self.self_attn(tokens + places, tokens + places, tokens, exists)
        tokens = self.norm1(tokens)
        # Projected before they are spread: what does not depend on the prompt is computed once per source.
        look = self.cross_attn_token_to_image
        keys, values = spread(look.keys(located)), spread(look.values(image))
        tokens = self.norm2(tokens + look.attend(look.queries(tokens + places), keys, values))
        tokens = self.norm3(tokens + self.mlp(tokens))
        answer = self.cross_attn_image_to_token
        queries = spread(answer.queries(located))
        change = answer.attend(queries, answer.keys(tokens + places), answer.values(tokens), exists)
        return tokens, self.norm4(spread(image) + change)


class TwoWayTransformer(nn.Module):
    """Blocks, then a last look of the tokens at the image."""

    def __init__(self, layers: Iterable[TwoWayBlock], width: int, heads: int, downsample: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.final_attn_token_to_image = Attention(width, width // downsample, heads)
        self.norm_final_attn = nn.LayerNorm(width)  # 1e-5 in both layouts, whatever norm_eps is

    def forward(
        self, tokens: Tensor, exists: Tensor | None, image: Tensor, positions: Tensor, spread: Spread
    ) -> tuple[Tensor, Tensor]:
        """Run the transformer; arguments and result as of `TwoWayBlock.forward`."""
        places = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, places, exists, image, positions, spread)
            spread = _already_spread  # from here on the image differs by prompt
        change = self.final_attn_token_to_image(tokens + places, image + positions, image)
        return self.norm_final_attn(tokens + change), image


def _already_spread(rows: Tensor) -> Tensor:
    return rows
