"""Names of SAM-HQ's published checkpoints (`sam_hq_vit_*.pth`): those of SAM, and of what SAM-HQ adds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from segtune.models.sam.configuration import config_of_sizes
from segtune.models.weights import sizes_of_state, transformers_name

TOKEN: Final = "mask_decoder.hf_token.weight"
"""The weight that SAM has not."""

_ADDED: Final[tuple[tuple[str, str], ...]] = (
    (r"^mask_decoder\.hf_token\.", "mask_decoder.hq_token."),
    (r"^mask_decoder\.hf_mlp\.layers\.0\.", "mask_decoder.hq_mask_mlp.proj_in."),
    (r"^mask_decoder\.hf_mlp\.layers\.1\.", "mask_decoder.hq_mask_mlp.layers.0."),
    (r"^mask_decoder\.hf_mlp\.layers\.2\.", "mask_decoder.hq_mask_mlp.proj_out."),
    # In the three stacks below, number 2 is an activation and has no weights.
    (r"^mask_decoder\.compress_vit_feat\.0\.", "mask_decoder.compress_vit_conv1."),
    (r"^mask_decoder\.compress_vit_feat\.1\.", "mask_decoder.compress_vit_norm."),
    (r"^mask_decoder\.compress_vit_feat\.3\.", "mask_decoder.compress_vit_conv2."),
    (r"^mask_decoder\.embedding_encoder\.0\.", "mask_decoder.encoder_conv1."),
    (r"^mask_decoder\.embedding_encoder\.1\.", "mask_decoder.encoder_norm."),
    (r"^mask_decoder\.embedding_encoder\.3\.", "mask_decoder.encoder_conv2."),
    (r"^mask_decoder\.embedding_maskfeature\.0\.", "mask_decoder.mask_conv1."),
    (r"^mask_decoder\.embedding_maskfeature\.1\.", "mask_decoder.mask_norm."),
    (r"^mask_decoder\.embedding_maskfeature\.3\.", "mask_decoder.mask_conv2."),
)
"""Patterns over published names and transformers' counterparts; what fits none is SAM's own."""


def owns_original(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a checkpoint is one of SAM-HQ with a ViT encoder."""
    return TOKEN in state and "image_encoder.pos_embed" in state


def transformers_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a published checkpoint under transformers' names.

    Raises:
        ModelError: a weight by which the sizes are known is missing.
    """
    sizes = sizes_of_state(state)
    return {_added_name(name) or transformers_name(name, sizes): value for name, value in state.items()}


def config_of_state(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what transformers' `config.json` says of a published checkpoint; the sizes are those of its shapes.

    Raises:
        ModelError: a weight by which the sizes are known is missing.
    """
    sizes = sizes_of_state(state)
    config = config_of_sizes(sizes)
    config["mask_decoder_config"]["vit_dim"] = sizes.width
    # The parts of SAM-HQ go by types of their own.
    for part in ("vision_config", "prompt_encoder_config", "mask_decoder_config"):
        config[part].pop("model_type")
    return config


def _added_name(name: str) -> str | None:
    for pattern, replacement in _ADDED:
        renamed, found = re.subn(pattern, replacement, name)
        if found:
            return renamed
    return None
