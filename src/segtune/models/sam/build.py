"""The assembler of Segment Anything: each part is handed its finished parts."""

from __future__ import annotations

import torch

from segtune.models.preparation import Preparation
from segtune.models.sam.image_encoder import Block, ImageEncoder, PatchEmbedding
from segtune.models.sam.initialization import initialize, unfilled
from segtune.models.sam.mask_decoder import MaskDecoder
from segtune.models.sam.model import Sam
from segtune.models.sam.prompt_encoder import PositionEncoding, PromptEncoder
from segtune.models.sam.sizes import SamSizes
from segtune.models.sam.two_way import TwoWayBlock, TwoWayTransformer


def build_sam(
    sizes: SamSizes, *, generator: torch.Generator | None = None, preparation: Preparation | None = None
) -> Sam:
    """Assemble a Segment Anything model in evaluation mode, on the CPU.

    Args:
        sizes: of which shape.
        generator: draws fresh weights, so that a fresh model is reproducible. Without one the weights are
            uninitialised memory, for a state dict to be loaded into.
        preparation: how images are brought to the square; SAM's own by default.
    """
    with unfilled():
        model = Sam(
            image_encoder=_image_encoder(sizes),
            prompt_encoder=PromptEncoder(
                PositionEncoding(sizes.prompt_width),
                side=sizes.side,
                grid=sizes.grid,
                width=sizes.prompt_width,
                mask_channels=sizes.mask_channels,
            ),
            mask_decoder=_mask_decoder(sizes),
            sizes=sizes,
            preparation=preparation or Preparation.longest_side(sizes.side),
        )
    if generator is not None:
        initialize(model, generator)
    return model.eval()


def _image_encoder(sizes: SamSizes) -> ImageEncoder:
    blocks = [
        Block(
            sizes.width,
            sizes.heads,
            sizes.mlp_width,
            window=0 if number in sizes.global_blocks else sizes.window,
            grid=sizes.grid,
        )
        for number in range(sizes.depth)
    ]
    return ImageEncoder(
        PatchEmbedding(sizes.patch, sizes.width), blocks, grid=sizes.grid, width=sizes.width, out=sizes.prompt_width
    )


def _mask_decoder(sizes: SamSizes) -> MaskDecoder:
    width, heads, downsample = sizes.prompt_width, sizes.decoder_heads, sizes.decoder_downsample
    layers = [
        TwoWayBlock(
            width, heads, sizes.decoder_mlp_width, downsample, first=number == 0, norm_eps=sizes.decoder_norm_eps
        )
        for number in range(sizes.decoder_depth)
    ]
    return MaskDecoder(
        TwoWayTransformer(layers, width, heads, downsample),
        width=width,
        masks=sizes.masks,
        quality_width=sizes.quality_width,
        quality_depth=sizes.quality_depth,
    )
