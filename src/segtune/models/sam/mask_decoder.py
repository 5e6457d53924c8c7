"""The mask decoder: from image and prompt tokens to masks and their predicted quality (paper, appendix A)."""

from __future__ import annotations

from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtune.models.decoding import choose_slots
from segtune.models.sam.layers import MLP, LayerNorm2d
from segtune.models.sam.two_way import Spread, TwoWayTransformer

_Up: TypeAlias = nn.ConvTranspose2d


class MaskDecoder(nn.Module):
    """Predict one mask, or whole, part and sub-part, for each prompt.

    Args:
        transformer: finished two-way transformer.
        width: channels of a token.
        masks: how many masks answer an ambiguous prompt.
        quality_width: hidden width of the quality head.
        quality_depth: layers of the quality head.
    """

    def __init__(
        self, transformer: TwoWayTransformer, width: int, masks: int, quality_width: int, quality_depth: int
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, width)
        # Token 0 is the single mask, the others are the masks of an ambiguous prompt.
        self.mask_tokens = nn.Embedding(masks + 1, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, kernel_size=2, stride=2),
            LayerNorm2d(width // 4, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(width, width, width // 8, 3) for _ in range(masks + 1))
        self.iou_prediction_head = MLP(width, quality_width, masks + 1, quality_depth)

    def forward(
        self,
        image: Tensor,
        positions: Tensor,
        prompt_tokens: Tensor,
        exists: Tensor,
        multimask: Tensor,
        spread: Spread,
    ) -> tuple[Tensor, Tensor]:
        """Decode P prompts.

        Args:
            image: [S, N, width], embeddings of the S sources that the prompts share, N = grid · grid.
            positions: [N, width].
            prompt_tokens: [P, T, width].
            exists: bool [P, T], which of them exist.
            multimask: bool [P].
            spread: from S sources to P prompts.

        Returns:
            Logits [P, M, 4·grid, 4·grid] and quality [P, M]; where a mask is absent, logits 0 and quality -inf.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])  # [1 + masks + 1, width]
        tokens = torch.cat([own.expand(len(prompt_tokens), -1, -1), prompt_tokens], dim=1)
        # The decoder's own tokens always exist, so that no softmax runs over nothing. Where all exist no mask is given:
        # attention has faster kernels without one.
        seen = F.pad(exists, (len(own), 0), value=True)
        tokens, image = self.transformer(tokens, None if bool(seen.all()) else seen, image, positions, spread)
        # tokens [P, own + T, width], image [P, N, width]
        slots, present = choose_slots(multimask, self.mask_tokens.num_embeddings - 1)
        quality = self.iou_prediction_head(tokens[:, 0]).gather(1, slots)
        # All four, as published; only those asked for meet the large map.
        weights = [mlp(tokens[:, 1 + number]) for number, mlp in enumerate(self.output_hypernetworks_mlps)]
        chosen = torch.stack(weights, dim=1).take_along_dim(slots[..., None], dim=1)  # [P, M, width / 8]
        return self._masks(image, chosen * present[..., None]), quality.masked_fill(~present, float("-inf"))

    def _masks(self, image: Tensor, weights: Tensor) -> Tensor:
        """Enlarge the image's tokens four times and weigh their channels: [P, M, 4·grid, 4·grid]."""
        first, norm, _, second, _ = cast(tuple[_Up, LayerNorm2d, nn.GELU, _Up, nn.GELU], tuple(self.output_upscaling))
        fine = _enlarge(image, first)  # [P, N, 4, width / 4]
        fine = F.gelu(F.layer_norm(fine, norm.normalized_shape, norm.weight, norm.bias, norm.eps))
        fine = F.gelu(_enlarge(fine, second))  # [P, N, 4, 4, width / 8]
        logits = fine.flatten(1, 3) @ weights.transpose(1, 2)  # [P, N · 16, M]
        P, masks, grid = *weights.shape[:2], round(image.shape[1] ** 0.5)
        # Rows of a cell: its token's row, the first enlarging's, the second's; columns alike.
        cells = logits.reshape(P, grid, grid, 2, 2, 2, 2, masks).permute(0, 7, 1, 3, 5, 2, 4, 6)
        return cells.reshape(P, masks, 4 * grid, 4 * grid)


def _enlarge(tokens: Tensor, convolution: nn.ConvTranspose2d) -> Tensor:
    """Apply a 2 × 2 transposed convolution of stride 2 to tokens [..., C]: four tokens each, [..., 4, out].

    Its patches do not overlap, so it is one linear map; as such it needs no change of memory layout.
    """
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)  # [4 · out, C]
    bias = None if convolution.bias is None else convolution.bias.repeat(4)
    return F.linear(tokens, weight, bias).reshape(*tokens.shape[:-1], 4, -1)
