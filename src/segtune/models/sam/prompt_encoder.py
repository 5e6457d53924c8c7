"""The prompt encoder: points and boxes to tokens, masks to maps (paper, section 3 and appendix A)."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtune.core.types import POINT_NOT_A_POINT
from segtune.models.decoding import existing_tokens
from segtune.models.sam.layers import LayerNorm2d


class PositionEncoding(nn.Module):
    """Random Fourier features of places in the unit square (Tancik et al. 2020)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(2, width // 2))

    def forward(self, places: Tensor) -> Tensor:
        """Map places [..., 2], x and y in 0 to 1, to [..., width]."""
        along_x, along_y = self.positional_encoding_gaussian_matrix  # each [width / 2]
        centred = 2 * places - 1
        # Written without a matrix product: mixed precision would round the angle.
        angle = 2 * math.pi * (centred[..., :1] * along_x + centred[..., 1:] * along_y)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Turn prompts in the model's frame into what the mask decoder reads.

    Args:
        pe_layer: finished position encoding, shared by prompts and image.
        side: side of the square input in pixels.
        grid: tokens along one side of the image's embedding.
        width: channels of a token.
        mask_channels: inner channels of the mask's convolutions.
    """

    def __init__(self, pe_layer: PositionEncoding, side: int, grid: int, width: int, mask_channels: int) -> None:
        super().__init__()
        self.side = side
        self.grid = grid
        self.pe_layer = pe_layer
        # Not object, object, a box's first corner, its second.
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels // 4, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(mask_channels, width, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def forward(self, points: Tensor, labels: Tensor, boxes: Tensor, has_box: Tensor) -> tuple[Tensor, Tensor]:
        """Embed points and boxes given in the model's frame.

        Args:
            points: [P, K, 2].
            labels: int64 [P, K]: 1 object, 0 not, -1 not-a-point, anything else no token at all.
            boxes: [P, 4], read where `has_box`.
            has_box: bool [P].

        Returns:
            Tokens [P, T, width] and bool [P, T], which of them exist. A prompt without a box has the not-a-point
            token exactly once, as the published code pads clicks. One of a mask alone has it too: there the published
            code gives no token at all, which no training of it has seen either.
        """
        # [P, K + 1 + 2, width]: clicks, not-a-point, a box's corners
        tokens = torch.cat([self._points(points, labels), self._not_a_point(len(points)), self._corners(boxes)], dim=1)
        exists = existing_tokens(labels, has_box)
        # A place no prompt uses would only cost time.
        used = exists.any(dim=0)
        exists = exists[:, used]
        return torch.where(exists[..., None], tokens[:, used], 0.0), exists

    def masks(self, logits: Tensor) -> Tensor:
        """Embed mask prompts: logits [n, 4·grid, 4·grid] to maps [n, width, grid, grid]."""
        maps: Tensor = self.mask_downscaling(logits[:, None])
        return maps

    def dense_positions(self) -> Tensor:
        """Return the position encoding of the image's tokens, [grid · grid, width]."""
        centres = (torch.arange(self.grid, device=self.no_mask_embed.weight.device) + 0.5) / self.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        encoded: Tensor = self.pe_layer(torch.stack([x, y], dim=-1)).flatten(0, 1)
        return encoded

    def _places(self, points: Tensor) -> Tensor:
        # The half pixel that moves an index to the pixel's centre is added here and nowhere else.
        encoded: Tensor = self.pe_layer((points + 0.5) / self.side)
        return encoded

    def _points(self, points: Tensor, labels: Tensor) -> Tensor:
        # Fillers are clamped to a label they do not have; `exists` drops them.
        tokens = self._places(points) + F.embedding(labels.clamp(0, 1), self._kinds()[:2])
        return torch.where(labels[..., None] == POINT_NOT_A_POINT, self.not_a_point_embed.weight, tokens)

    def _not_a_point(self, prompts: int) -> Tensor:
        return self.not_a_point_embed.weight.expand(prompts, 1, -1)

    def _corners(self, boxes: Tensor) -> Tensor:
        # Corners get the half pixel too, as published, though they are edges and no centres.
        return self._places(boxes.reshape(-1, 2, 2)) + self._kinds()[2:]

    def _kinds(self) -> Tensor:
        return torch.cat([cast(nn.Embedding, embedding).weight for embedding in self.point_embeddings])  # [4, width]
