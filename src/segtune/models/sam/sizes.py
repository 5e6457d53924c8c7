"""Every size of every Segment Anything variant, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class PromptSizes:
    """The sizes of all but the image encoder: of the input, the prompt encoder and the mask decoder.

    Attributes:
        side: side of the square input in pixels.
        patch: pixels along the side of what becomes one token of the embedding.
        prompt_width: channels of the embedding, the prompts and the mask decoder.
        mask_channels: inner channels of the convolutions over mask prompts.
        decoder_depth, decoder_heads, decoder_mlp_width: the two-way transformer.
        decoder_downsample: by how much its attention between tokens and image is narrower than the tokens.
        decoder_norm_eps: of the norms in its layers; files of transformers say 1e-6, the published code 1e-5.
        quality_width, quality_depth: the head that predicts a mask's IoU.
        masks: how many masks answer an ambiguous prompt.
    """

    side: int = 1024
    patch: int = 16
    prompt_width: int = 256
    mask_channels: int = 16
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_width: int = 2048
    decoder_downsample: int = 2
    decoder_norm_eps: float = 1e-5
    quality_width: int = 256
    quality_depth: int = 3
    masks: int = 3

    @property
    def grid(self) -> int:
        """Tokens along one side of the image."""
        return self.side // self.patch


@dataclass(frozen=True)
class SamSizes(PromptSizes):
    """The sizes of one Segment Anything network with a plain ViT.

    Attributes:
        width, depth, heads, mlp_width: the image encoder's tokens, blocks, attention heads and MLP.
        global_blocks: numbers of the blocks that attend to the whole image, from 0; the others attend in windows.
        window: side of a window in tokens.
    """

    width: int
    depth: int
    heads: int
    mlp_width: int
    global_blocks: tuple[int, ...]
    window: int = 14


@dataclass(frozen=True)
class MobileSizes(PromptSizes):
    """The sizes of one MobileSAM: Segment Anything with a TinyViT, whose first stage convolves and the others attend.

    A token of the embedding is always 16 pixels wide.

    Attributes:
        widths, depths: channels and blocks of each stage.
        heads, windows: attention heads and the side of a window, of each stage but the first.
        mlp_ratio: how much wider a transformer block's perceptron is than its tokens.
        expansion: how much a block of the first stage widens.
        kernel: side of the depthwise convolution in a transformer block.
        classes: of the classifier TinyViT was pretrained as, whose unread weights every checkpoint has.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    windows: tuple[int, ...]
    mlp_ratio: int = 4
    expansion: int = 4
    kernel: int = 3
    classes: int = 1000

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the way from each stage to the next: the last is 1, so that the embedding is as large as SAM's."""
        return (*(2 for _ in self.widths[2:]), 1)

    @property
    def map_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """[C, h, w] behind the patch embedding and each block, with the way to the next stage where it has one."""
        side = self.side // 4
        shapes = [(self.widths[0], side, side)]
        for number, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            shapes += [(width, side, side)] * depth
            if number < len(self.strides):
                side //= self.strides[number]
                shapes[-1] = (self.widths[number + 1], side, side)
        return tuple(shapes)


# width, depth, heads, mlp_width, global_blocks, as in the published build_sam.py
VIT_B: Final = SamSizes(768, 12, 12, 3072, (2, 5, 8, 11))
VIT_L: Final = SamSizes(1024, 24, 16, 4096, (5, 11, 17, 23))
VIT_H: Final = SamSizes(1280, 32, 16, 5120, (7, 15, 23, 31))

NANO: Final = SamSizes(
    192, 8, 6, 768, (2, 5, 7), window=8, side=384,
    prompt_width=128, decoder_heads=4, decoder_mlp_width=512, quality_width=128,
)  # fmt: skip
"""The built-in base: 4.8 M parameters, 576 tokens."""

TINY: Final = SamSizes(192, 12, 6, 768, (2, 5, 8, 11), window=8, side=512)
"""7 M parameters in the encoder, 1,024 tokens, the published decoder."""

SMALL: Final = SamSizes(384, 12, 6, 1536, (2, 5, 8, 11))
"""22 M parameters in the encoder, at the published size of images."""

MICRO: Final = SamSizes(
    32, 3, 2, 64, (1,), window=3, side=64, patch=8,
    prompt_width=32, mask_channels=4, decoder_heads=1, decoder_mlp_width=32, quality_width=32,
)  # fmt: skip
"""For tests: every kind of layer, with windows that stick out over the image, in a few milliseconds."""

SIZES: Final[dict[str, SamSizes]] = {
    "vit_b": VIT_B, "vit_l": VIT_L, "vit_h": VIT_H, "nano": NANO, "tiny": TINY, "small": SMALL, "micro": MICRO
}  # fmt: skip

MOBILE: Final = MobileSizes((64, 128, 160, 320), (2, 2, 6, 2), (4, 5, 10), (7, 14, 7))
"""The published MobileSAM: TinyViT-5M and SAM's own prompt encoder and mask decoder."""

MOBILE_MICRO: Final = MobileSizes(
    (8, 12, 16, 24), (1, 2, 1, 1), (3, 2, 2), (3, 4, 3), expansion=2, mlp_ratio=2, classes=5, side=64,
    prompt_width=32, mask_channels=4, decoder_heads=1, decoder_mlp_width=32, quality_width=32,
)  # fmt: skip
"""For tests: windows that stick out over the map, one that is all of it, and a stage of two blocks."""
