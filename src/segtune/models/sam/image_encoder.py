"""The image encoder: a plain vision transformer with windows and decomposed relative positions (paper, appendix A)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtune.models.sam.layers import LayerNorm2d, MLPBlock
from segtune.models.sam.relative_attention import relative_attention


class PatchEmbedding(nn.Module):
    """Cut an image into patches and project each to a token."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels [B, 3, side, side] to tokens [B, h, w, width]."""
        tokens: Tensor = self.proj(pixels)
        return tokens.permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Multi-head self-attention over a grid of tokens, with decomposed relative positions."""

    def __init__(self, width: int, heads: int, extent: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * extent - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * extent - 1, width // heads))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, rows, columns, width] to the same shape."""
        B, rows, columns, width = tokens.shape
        projected = self.qkv(tokens).reshape(B, rows * columns, 3, self.heads, width // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each [B, heads, N, width / heads]
        attended = relative_attention(query, key, value, self.rel_pos_h, self.rel_pos_w, (rows, columns))
        out: Tensor = self.proj(attended.transpose(1, 2).reshape(B, rows, columns, width))
        return out


class Block(nn.Module):
    """A transformer block; `window` 0 attends to the whole image.

    Attributes:
        drop_path: share of the images, in training mode, for which a branch is left out (`models.drop_path`).
    """

    drop_path: float = 0.0

    def __init__(self, width: int, heads: int, mlp_width: int, window: int, grid: int) -> None:
        super().__init__()
        self.window = window
        # 1e-6 in the image encoder (published build_sam.py), torch's own 1e-5 in the decoder's transformer.
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, window or grid)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLPBlock(width, mlp_width, F.gelu)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, h, w, width] to the same shape."""
        normed = self.norm1(tokens)
        if self.window:
            height, width = tokens.shape[1:3]
            # Cut after the norm, as published, so that the padding enters q, k and v as 0.
            attended = join_windows(self.attn(split_windows(normed, self.window)), self.window, (height, width))
        else:
            attended = self.attn(normed)
        tokens = tokens + self._kept(attended)
        return tokens + self._kept(self.mlp(self.norm2(tokens)))

    def _kept(self, branch: Tensor) -> Tensor:
        """Leave a branch [B, h, w, width] out for a share of the images, with the mean over all of them as it was."""
        if not self.training or self.drop_path == 0:
            return branch
        kept = torch.rand(len(branch), 1, 1, 1, device=branch.device) >= self.drop_path
        return branch * (kept / (1 - self.drop_path)).to(branch.dtype)


def split_windows(tokens: Tensor, window: int) -> Tensor:
    """Cut [B, h, w, C] into windows [B · windows, window, window, C], with zeros where the last ones stick out.

    Those zeros take part in the attention, as in the published code.
    """
    B, height, width, C = tokens.shape
    # F.pad names the last axis first: channels, columns, rows.
    padded = F.pad(tokens, (0, 0, 0, -width % window, 0, -height % window))
    # [B, rows of windows, window, columns of windows, window, C]
    cut = padded.reshape(B, padded.shape[1] // window, window, padded.shape[2] // window, window, C)
    return cut.transpose(2, 3).reshape(-1, window, window, C)


def join_windows(windows: Tensor, window: int, size: tuple[int, int]) -> Tensor:
    """Undo `split_windows` for maps of `size` (height, width)."""
    rows, columns = (-(-length // window) for length in size)  # rounded up
    cut = windows.reshape(-1, rows, columns, window, window, windows.shape[-1])
    whole = cut.transpose(2, 3).reshape(-1, rows * window, columns * window, windows.shape[-1])
    return whole[:, : size[0], : size[1]]


class ImageEncoder(nn.Module):
    """Patches, position embeddings, transformer blocks, and a convolutional neck down to the prompt's width.

    Args:
        patch_embed: finished patch embedding.
        blocks: finished transformer blocks.
        grid: tokens along one side of the image.
        width: the blocks' width.
        out: channels of the embedding.
    """

    def __init__(self, patch_embed: PatchEmbedding, blocks: Iterable[Block], grid: int, width: int, out: int) -> None:
        super().__init__()
        self.patch_embed = patch_embed
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        self.blocks = nn.ModuleList(blocks)
        self.neck = nn.Sequential(
            nn.Conv2d(width, out, kernel_size=1, bias=False),
            LayerNorm2d(out, eps=1e-6),
            nn.Conv2d(out, out, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(out, eps=1e-6),
        )

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """Prefixes of parameter names by depth: patch and position embeddings, each block, the neck."""
        blocks = tuple((f"blocks.{number}.",) for number in range(len(self.blocks)))
        return (("patch_embed.", "pos_embed"), *blocks, ("neck.",))

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels [B, 3, side, side] to features [B, out, h, w]."""
        return self.finish(self.begin(pixels, 0), 0)

    def begin(self, pixels: Tensor, blocks: int) -> Tensor:
        """Run the patch embedding and the first `blocks` blocks: tokens [B, h, w, width]."""
        tokens: Tensor = self.patch_embed(pixels) + self.pos_embed
        for block in self.blocks[:blocks]:
            tokens = block(tokens)
        return tokens

    def finish(self, tokens: Tensor, blocks: int) -> Tensor:
        """Run what follows the first `blocks` blocks: features [B, out, h, w]."""
        for block in self.blocks[blocks:]:
            tokens = block(tokens)
        # Tokens that were kept lie otherwise in memory than fresh ones, and a convolution's rounding depends on that.
        features: Tensor = self.neck(tokens.permute(0, 3, 1, 2).contiguous())
        return features
