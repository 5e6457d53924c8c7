"""EdgeTAM on single images (Zhou et al. 2025): SAM 2 with a RepViT encoder for phones, by transformers and timm.

Its encoder comes from timm, which needs torchvision: the extra `edgetam`.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import nn

from segtune.models.preparation import Preparation
from segtune.models.pyramid import FINE_RENAMED, MEMORY, PyramidModel, assembler
from segtune.models.transformers_family import BorrowedModel
from segtune.models.transformers_files import Layout, build, draw_weights, family_of

_LEAD = "image_encoder.vision_encoder."


class EdgeTam(PyramidModel):
    """EdgeTAM behind the contract.

    The batch norms of its encoder keep the statistics of their pretraining, whatever trains: those of a few images
    would be worse, and an encoder that is frozen must not change.
    """

    family: ClassVar[str] = "edgetam"
    network = "EdgeTAM"

    @property
    def encoder_stages(self) -> tuple[tuple[str, ...], ...]:
        """The stem, each block of RepViT with what shrinks the map before it, the pyramid."""
        names = [name for name, _ in self.named_parameters() if name.startswith(f"{_LEAD}backbone.")]
        stages: list[tuple[str, ...]] = []
        before: tuple[str, ...] = ()
        for begun in dict.fromkeys(_block_of(name) for name in names):
            before = (*before, begun)
            if not begun.endswith(".downsample."):
                stages.append(before)
                before = ()
        return (*stages, (f"{_LEAD}neck.", "image_encoder.conv_s", "image_encoder.no_memory_embedding"))

    def train(self, mode: bool = True) -> Self:
        """Switch training mode, but not for batch norms."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        return self


LAYOUT = Layout(
    network="EdgeTAM",
    model_type="edgetam",
    opened=("edgetam_video",),
    network_class="EdgeTamModel",
    config_class="EdgeTamConfig",
    processor_class="Sam2ImageProcessor",
    usual=Preparation.stretched_normalized,
    assemble=assembler(EdgeTam),
    renamed=FINE_RENAMED,
    set_aside=(*MEMORY, r"spatial_perceiver\."),
    extra=("edgetam", "timm"),
)

TINY = {
    "vision_config": {
        "model_type": "edgetam_vision_model",
        "backbone_config": {
            "model_type": "timm_wrapper",
            "architecture": "repvit_m1",
            "num_classes": 1,
            "label_names": ["none"],
            "model_args": {
                "in_chans": 3,
                "features_only": True,
                "out_indices": [0, 1, 2, 3],
                "embed_dim": [8, 16, 24, 32],
                "depth": [1, 1, 1, 1],
            },
        },
        "backbone_channel_list": [32, 24, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "mask_input_channels": 4},
    "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 2, "iou_head_hidden_dim": 24},
}
"""A RepViT of one block a stage, for tests."""


def tiny(generator: torch.Generator) -> BorrowedModel:
    """Return a random model for tests."""
    return draw_weights(build(LAYOUT, TINY), generator)


EDGETAM = family_of(LAYOUT, EdgeTam, tiny)
"""EdgeTAM behind the contract of `models.family`."""


def _block_of(name: str) -> str:
    """Return the beginning of a parameter's name up to its block."""
    words = name.split(".")
    at = next((place for place, word in enumerate(words) if word in {"blocks", "downsample"}), None)
    if at is None:
        return ".".join(words[: words.index("timm_model") + 2]) + "."
    return ".".join(words[: at + (2 if words[at] == "blocks" else 1)]) + "."
