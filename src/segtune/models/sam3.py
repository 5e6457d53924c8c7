"""SAM 3 on single images, by points, boxes and masks: its tracker, through transformers (extra `hf`).

The detector of SAM 3, which takes phrases, is a model of its own (`models.sam3_concepts`); this answers prompts.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from segtune.models.blockwise import BlockwiseModel
from segtune.models.preparation import Preparation
from segtune.models.pyramid import FINE_RENAMED, MEMORY, PyramidModel, assembler
from segtune.models.transformers_family import BorrowedModel, as_buffers
from segtune.models.transformers_files import Layout, build, draw_weights, family_of


class Sam3VitModel(BlockwiseModel):
    """A model with SAM 3's image encoder: a plain ViT with a pyramid behind it.

    Attributes:
        backbone: the ViT's name in the model.
        after: beginnings of the names of what comes behind it.
    """

    backbone: ClassVar[str]
    after: ClassVar[tuple[str, ...]]
    network_config: Any

    @property
    def encoder_stages(self) -> tuple[tuple[str, ...], ...]:
        """Patch and position embeddings, each block, the pyramid."""
        blocks = tuple((f"{self.backbone}.layers.{number}.",) for number in range(len(self.block_shapes)))
        return ((f"{self.backbone}.embeddings.", f"{self.backbone}.layer_norm."), *blocks, self.after)

    @property
    def block_list(self) -> tuple[nn.Module, str]:
        """The blocks of its ViT."""
        return self.get_submodule(self.backbone), "layers"

    @property
    def block_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Tokens [grid, grid, width]."""
        sizes = self.network_config.vision_config.backbone_config
        return ((self._grid, self._grid, int(sizes.hidden_size)),) * int(sizes.num_hidden_layers)

    @property
    def read_later(self) -> frozenset[int]:
        """None: the pyramid is made of the last block's tokens."""
        return frozenset()

    @property
    def _grid(self) -> int:
        sizes = self.network_config.vision_config.backbone_config
        return int(sizes.image_size) // int(sizes.patch_size)


class Sam3(Sam3VitModel, PyramidModel):
    """The tracker of SAM 3 behind the contract.

    Its pyramid's fourth level is for other parts of SAM 3: it is kept and written, neither trained nor read. The
    no-memory embedding is added to the third, as the published predictor does.
    """

    family: ClassVar[str] = "sam3"
    network = "SAM 3"
    backbone = "image_encoder.vision_encoder.backbone"
    after = ("image_encoder.vision_encoder.neck.", "image_encoder.conv_s", "image_encoder.no_memory_embedding")

    def __init__(self, network: Any, *, preparation: Preparation) -> None:
        for layer in network.vision_encoder.neck.fpn_layers[3:]:
            as_buffers(layer)
        super().__init__(network, preparation=preparation)


LAYOUT = Layout(
    network="SAM 3",
    model_type="sam3_tracker",
    opened=("sam3_tracker_video", "sam3_video"),
    network_class="Sam3TrackerModel",
    config_class="Sam3TrackerConfig",
    processor_class="Sam3ImageProcessor",
    usual=Preparation.to_both_signs,
    assemble=assembler(Sam3),
    renamed=FINE_RENAMED,
    set_aside=(*MEMORY, r"detector_model\."),
    moved=(
        ("detector_model.vision_encoder.backbone.", "vision_encoder.backbone."),
        ("tracker_neck.", "vision_encoder.neck."),
        ("tracker_model.", ""),
    ),
    within="tracker_config",
)

TINY = {
    "vision_config": {
        "model_type": "sam3_vision_model",
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 7,
            "window_size": 3,
            "global_attn_indexes": [1],
            "pretrain_image_size": 28,
        },
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 56, "patch_size": 7, "mask_input_channels": 4},
    "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 2, "iou_head_hidden_dim": 24},
}
"""Windows that stick out over the image, tiled positions and a block that sees it whole, for tests."""


def tiny(generator: torch.Generator) -> BorrowedModel:
    """Return a random model for tests."""
    return draw_weights(build(LAYOUT, TINY), generator)


SAM3 = family_of(LAYOUT, Sam3, tiny)
"""SAM 3 behind the contract of `models.family`."""
