"""MobileSAM's image encoder: TinyViT (Wu et al. 2022, arXiv:2207.10666), convolutions first, then attention in windows.

Its convolutions carry batch norms. Their running statistics are part of the published weights and stay as they are,
in training too: an image's embedding then depends on no other image of its batch, nothing but parameters changes in
training, so that checkpoints and several processes need nothing more, and a step on one image is as good as one on a
hundred. Their scales and shifts are parameters and train like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtune.models.sam.image_encoder import join_windows, split_windows
from segtune.models.sam.layers import LayerNorm2d
from segtune.models.sam.plain_attention import attention


class BatchNorm(nn.Module):
    """Batch norm by kept statistics, whatever the mode.

    Args:
        width: channels.
        weight: what the scale begins as.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, width: int, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), weight))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        # Nothing counts here any more, but the original layout has it.
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise `maps` [B, width, H, W]."""
        return F.batch_norm(maps, self.running_mean, self.running_var, self.weight, self.bias, training=False)


class ConvNorm(nn.Module):
    """A convolution and its batch norm; `depthwise` has one filter a channel."""

    def __init__(
        self, width: int, out: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False, weight: float = 1.0
    ) -> None:
        super().__init__()
        groups = width if depthwise else 1
        self.c = nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = BatchNorm(out, weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Map [B, width, H, W] to [B, out, H / stride, W / stride]."""
        out: Tensor = self.bn(self.c(maps))
        return out


class PatchEmbedding(nn.Module):
    """Two convolutions of stride 2, to a quarter of the image's side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, width // 2, 3, 2), nn.GELU(), ConvNorm(width // 2, width, 3, 2))

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels [B, 3, side, side] to maps [B, width, side / 4, side / 4]."""
        maps: Tensor = self.seq(pixels)
        return maps


class ConvBlock(nn.Module):
    """An inverted bottleneck (MobileNetV2): widen, filter each channel, narrow, add."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, depthwise=True)
        self.conv3 = ConvNorm(hidden, width, weight=0.0)  # a fresh block passes its input on

    def forward(self, maps: Tensor) -> Tensor:
        """Map [B, width, H, W] to the same shape."""
        inner = F.gelu(self.conv2(F.gelu(self.conv1(maps))))
        return F.gelu(maps + self.conv3(inner))


class Merging(nn.Module):
    """What lies between two stages: other channels, and with stride 2 half the side."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, out)
        self.conv2 = ConvNorm(out, out, 3, stride, depthwise=True)
        self.conv3 = ConvNorm(out, out)

    def forward(self, maps: Tensor) -> Tensor:
        """Map [B, width, H, W] to [B, out, H / stride, W / stride]."""
        out: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(maps)))))
        return out


class WindowAttention(nn.Module):
    """Multi-head self-attention inside a window, with a learned bias for each distance in rows and columns (LeViT)."""

    attention_bias_idxs: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.register_buffer("attention_bias_idxs", _distances(window), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map windows [B, window, window, width] to the same shape."""
        B, rows, columns, width = tokens.shape
        # A head's query, key and value lie side by side, unlike in Segment Anything's own encoder.
        projected = self.qkv(self.norm(tokens)).view(B, rows * columns, self.heads, 3 * width // self.heads)
        query, key, value = projected.transpose(1, 2).chunk(3, dim=-1)  # each [B, heads, N, width / heads]
        bias = self.attention_biases[:, self.attention_bias_idxs].to(query.dtype)  # [heads, N, N]
        attended = attention(query, key, value, bias[None])
        out: Tensor = self.proj(attended.transpose(1, 2).reshape(B, rows, columns, width))
        return out


def _distances(window: int) -> Tensor:
    """Return which of the window² biases a pair of tokens has: rows apart times `window` plus columns apart, [N, N]."""
    places = torch.arange(window)
    apart = (places[:, None] - places).abs()  # [window, window]
    table = window * apart[:, None, :, None] + apart[None, :, None, :]
    return table.reshape(window * window, window * window)


class Perceptron(nn.Module):
    """The norm and two linear layers of a transformer block."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [..., width] to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(self.norm(tokens))))
        return out


class TransformerBlock(nn.Module):
    """Attention in windows, a depthwise convolution over the whole map, and a perceptron."""

    def __init__(self, width: int, heads: int, window: int, mlp_width: int, kernel: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.mlp = Perceptron(width, mlp_width)
        self.local_conv = ConvNorm(width, width, kernel, depthwise=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Map [B, width, H, W] to the same shape."""
        height, width = maps.shape[2:]
        tokens: Tensor = maps.permute(0, 2, 3, 1)  # [B, H, W, width]
        # Cut before the norm, as published, so that the padding enters q, k and v as the norm's own shift.
        windows = self.attn(split_windows(tokens, self.window))
        tokens = tokens + join_windows(windows, self.window, (height, width))
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        tokens = tokens + self.mlp(tokens)
        return tokens.permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Blocks of one width, and the way to the next stage, which the last has not."""

    def __init__(self, blocks: Iterable[ConvBlock | TransformerBlock], downsample: Merging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


class Unread(nn.Module):
    """Weights of the classifier that TinyViT was pretrained as: in every checkpoint, read by nothing, never trained."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(shape))
        self.register_buffer("bias", torch.zeros(shape[0]))


class TinyViT(nn.Module):
    """Patch embedding, stages, and Segment Anything's neck down to the prompt's width.

    Args:
        patch_embed: finished patch embedding.
        stages: finished stages.
        width: the last stage's width.
        out: channels of the embedding.
        classes: of the classifier whose weights are carried along.
    """

    def __init__(
        self, patch_embed: PatchEmbedding, stages: Sequence[Stage], *, width: int, out: int, classes: int
    ) -> None:
        super().__init__()
        self.patch_embed = patch_embed
        self.layers = nn.ModuleList(stages)
        self.norm_head = Unread(width)
        self.head = Unread(classes, width)
        self.neck = nn.Sequential(
            nn.Conv2d(width, out, kernel_size=1, bias=False),
            LayerNorm2d(out, eps=1e-6),
            nn.Conv2d(out, out, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(out, eps=1e-6),
        )
        # What lies between two stages goes with the block before it, as in the published layer-wise learning rates.
        self._steps = tuple(
            tuple(f"layers.{number}.{name}" for name in names)
            for number, stage in enumerate(stages)
            for names in _steps_of(stage)
        )

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """Prefixes of parameter names by depth: the patch embedding, each block, the neck."""
        blocks = tuple(tuple(f"{name}." for name in names) for names in self._steps)
        return (("patch_embed.",), *blocks, ("neck.",))

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels [B, 3, side, side] to features [B, out, side / 16, side / 16]."""
        return self.finish(self.begin(pixels, 0), 0)

    def begin(self, pixels: Tensor, blocks: int) -> Tensor:
        """Run the patch embedding and the first `blocks` blocks: maps [B, C, h, w] of a size that depends on them."""
        # Channels last in memory: tokens and maps are then views of each other.
        maps: Tensor = self.patch_embed(pixels.contiguous(memory_format=torch.channels_last))
        return self._run(maps, self._steps[:blocks])

    def finish(self, maps: Tensor, blocks: int) -> Tensor:
        """Run what follows the first `blocks` blocks: features [B, out, side / 16, side / 16]."""
        # Maps that were kept may lie otherwise, and a convolution's rounding depends on that. So does a sum's on their
        # type: in mixed precision what comes out of a block is half, and may have been kept as fp32.
        maps = maps.contiguous(memory_format=torch.channels_last)
        if torch.is_autocast_enabled(maps.device.type):
            maps = maps.to(torch.get_autocast_dtype(maps.device.type))
        features: Tensor = self.neck(self._run(maps, self._steps[blocks:]))
        return features

    def _run(self, maps: Tensor, steps: Iterable[tuple[str, ...]]) -> Tensor:
        for names in steps:
            for name in names:
                maps = self.get_submodule(name)(maps)
        return maps


def _steps_of(stage: Stage) -> list[tuple[str, ...]]:
    steps: list[tuple[str, ...]] = [(f"blocks.{number}",) for number in range(len(stage.blocks))]
    if stage.downsample is not None:
        steps[-1] = (*steps[-1], "downsample")
    return steps
