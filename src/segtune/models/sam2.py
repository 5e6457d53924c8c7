"""SAM 2 and 2.1 on single images (Ravi et al. 2024): a Hiera image encoder, through transformers (extra `hf`)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor, nn

from segtune.models.blockwise import BlockwiseModel
from segtune.models.preparation import Preparation
from segtune.models.pyramid import FINE_RENAMED, MEMORY, PyramidModel, assembler
from segtune.models.sam2_original import config_of_state, owns_original, transformers_state
from segtune.models.transformers_family import BorrowedModel
from segtune.models.transformers_files import Layout, build, draw_weights, family_of, load_state


class Sam2(BlockwiseModel, PyramidModel):
    """SAM 2 behind the contract."""

    family: ClassVar[str] = "sam2"
    network = "SAM 2"

    @property
    def encoder_stages(self) -> tuple[tuple[str, ...], ...]:
        """Patch and position embeddings, each block of Hiera, the pyramid."""
        lead = "image_encoder.vision_encoder."
        depth = sum(self.network_config.vision_config.backbone_config.blocks_per_stage)
        blocks = tuple((f"{lead}backbone.blocks.{number}.",) for number in range(depth))
        first = (f"{lead}backbone.patch_embed.", f"{lead}backbone.pos_embed")
        return (first, *blocks, (f"{lead}neck.", "image_encoder.conv_s", "image_encoder.no_memory_embedding"))

    @property
    def block_list(self) -> tuple[nn.Module, str]:
        """Hiera's blocks."""
        return self.image_encoder.get_submodule("vision_encoder.backbone"), "blocks"

    @property
    def block_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Maps [h, w, C], of half the side and twice the channels from stage to stage."""
        sizes = self.network_config.vision_config.backbone_config
        side, shapes = self.side // sizes.patch_stride[0], []
        for stage, (blocks, width) in enumerate(zip(sizes.blocks_per_stage, sizes.embed_dim_per_stage, strict=True)):
            if 0 < stage <= sizes.num_query_pool_stages:
                side //= sizes.query_stride[0]
            shapes += [(side, side, int(width))] * blocks
        return tuple(shapes)

    @property
    def read_later(self) -> frozenset[int]:
        """The last block of each stage: the pyramid is made of their maps."""
        depths = self.network_config.vision_config.backbone_config.blocks_per_stage
        return frozenset(end - 1 for end in accumulate(depths))


LAYOUT = Layout(
    network="SAM 2",
    model_type="sam2",
    opened=("sam2_video",),
    network_class="Sam2Model",
    config_class="Sam2Config",
    processor_class="Sam2ImageProcessor",
    usual=Preparation.stretched_normalized,
    assemble=assembler(Sam2),
    renamed=FINE_RENAMED,
    set_aside=MEMORY,
)

TINY = {
    "vision_config": {
        "model_type": "sam2_vision_model",
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "blocks_per_stage": [1, 2, 2, 1],
            "embed_dim_per_stage": [8, 16, 32, 64],
            "num_attention_heads_per_stage": [1, 2, 2, 4],
            "window_size_per_stage": [8, 4, 2, 2],
            "window_positional_embedding_background_size": [4, 4],
            "global_attention_blocks": [4],
            "image_size": [64, 64],
        },
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "mask_input_channels": 4},
    "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 2, "iou_head_hidden_dim": 24},
}
"""Every kind of layer, in a few milliseconds, for tests."""


def tiny(generator: torch.Generator) -> BorrowedModel:
    """Return a random model for tests."""
    return draw_weights(build(LAYOUT, TINY), generator)


def read_original(state: Mapping[str, Tensor], preparation: Preparation | None) -> BorrowedModel:
    """Build the model of a published checkpoint (`.pt`): its image part; the video's memory is set aside.

    Raises:
        ModelError: a weight is missing, left over or of another shape, or the size is none of the published.
    """
    model = build(LAYOUT, config_of_state(state), preparation)
    load_state(LAYOUT, model, transformers_state(state))
    return model


SAM2 = family_of(LAYOUT, Sam2, tiny, owns_original=owns_original, read_original=read_original)
"""SAM 2 behind the contract of `models.family`. Originals are read only: their video part is not kept."""
