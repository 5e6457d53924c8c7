"""Every size of every Segment Anything variant, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class SamSizes:
    """The sizes of one Segment Anything network.

    Attributes:
        width, depth, heads, mlp_width: the image encoder's tokens, blocks, attention heads and MLP.
        global_blocks: numbers of the blocks that attend to the whole image, from 0; the others attend in windows.
        window: side of a window in tokens.
        side: side of the square input in pixels.
        patch: side of a patch in pixels.
        prompt_width: channels of the embedding, the prompts and the mask decoder.
        mask_channels: inner channels of the convolutions over mask prompts.
        decoder_depth, decoder_heads, decoder_mlp_width: the two-way transformer.
        decoder_downsample: by how much its attention between tokens and image is narrower than the tokens.
        decoder_norm_eps: of the norms in its layers; files of transformers say 1e-6, the published code 1e-5.
        quality_width, quality_depth: the head that predicts a mask's IoU.
        masks: how many masks answer an ambiguous prompt.
    """

    width: int
    depth: int
    heads: int
    mlp_width: int
    global_blocks: tuple[int, ...]
    window: int = 14
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


# width, depth, heads, mlp_width, global_blocks, as in the published build_sam.py
VIT_B: Final = SamSizes(768, 12, 12, 3072, (2, 5, 8, 11))
VIT_L: Final = SamSizes(1024, 24, 16, 4096, (5, 11, 17, 23))
VIT_H: Final = SamSizes(1280, 32, 16, 5120, (7, 15, 23, 31))

NANO: Final = SamSizes(
    192, 8, 6, 768, (2, 5, 7), window=8, side=256,
    prompt_width=128, decoder_heads=4, decoder_mlp_width=512, quality_width=128,
)  # fmt: skip
"""The built-in base: 4.8 M parameters, 256 tokens."""

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
