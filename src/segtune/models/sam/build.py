"""The assembler of Segment Anything: each part is handed its finished parts."""

from __future__ import annotations

from typing import Any, TypeVar

import torch

from segtune.models.preparation import Preparation
from segtune.models.sam.image_encoder import Block, ImageEncoder, PatchEmbedding
from segtune.models.sam.initialization import initialize, unfilled
from segtune.models.sam.mask_decoder import MaskDecoder
from segtune.models.sam.model import MobileSam, Sam
from segtune.models.sam.prompt_encoder import PositionEncoding, PromptEncoder
from segtune.models.sam.sizes import MobileSizes, PromptSizes, SamSizes
from segtune.models.sam.tiny_vit import ConvBlock, Merging, Stage, TinyViT, TransformerBlock
from segtune.models.sam.tiny_vit import PatchEmbedding as TinyPatchEmbedding
from segtune.models.sam.two_way import TwoWayBlock, TwoWayTransformer

AnySam = TypeVar("AnySam", Sam, MobileSam)


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
        model = Sam(_image_encoder(sizes), **_rest(sizes, preparation))
    return _finished(model, generator)


def build_mobile_sam(
    sizes: MobileSizes, *, generator: torch.Generator | None = None, preparation: Preparation | None = None
) -> MobileSam:
    """Assemble a MobileSAM model in evaluation mode, on the CPU; the arguments are those of `build_sam`."""
    with unfilled():
        model = MobileSam(_tiny_vit(sizes), **_rest(sizes, preparation))
    return _finished(model, generator)


def _rest(sizes: PromptSizes, preparation: Preparation | None) -> dict[str, Any]:
    """Return what all kinds are handed beside their image encoder."""
    prompt_encoder = PromptEncoder(
        PositionEncoding(sizes.prompt_width),
        side=sizes.side,
        grid=sizes.grid,
        width=sizes.prompt_width,
        mask_channels=sizes.mask_channels,
    )
    return {
        "prompt_encoder": prompt_encoder,
        "mask_decoder": _mask_decoder(sizes),
        "sizes": sizes,
        "preparation": preparation or Preparation.longest_side(sizes.side),
    }


def _finished(model: AnySam, generator: torch.Generator | None) -> AnySam:
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


def _tiny_vit(sizes: MobileSizes) -> TinyViT:
    last = len(sizes.widths) - 1
    stages = []
    for number, (width, depth) in enumerate(zip(sizes.widths, sizes.depths, strict=True)):
        blocks = [_tiny_vit_block(sizes, number) for _ in range(depth)]
        merging = Merging(width, sizes.widths[number + 1], sizes.strides[number]) if number < last else None
        stages.append(Stage(blocks, merging))
    return TinyViT(
        TinyPatchEmbedding(sizes.widths[0]), stages,
        width=sizes.widths[-1], out=sizes.prompt_width, classes=sizes.classes,
    )  # fmt: skip


def _tiny_vit_block(sizes: MobileSizes, stage: int) -> ConvBlock | TransformerBlock:
    width = sizes.widths[stage]
    if stage == 0:
        return ConvBlock(width, sizes.expansion * width)
    heads, window = sizes.heads[stage - 1], sizes.windows[stage - 1]
    return TransformerBlock(width, heads, window, sizes.mlp_ratio * width, sizes.kernel)


def _mask_decoder(sizes: PromptSizes) -> MaskDecoder:
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
