"""Names and sizes of SAM 2's published checkpoints (`sam2_hiera_*.pt`, `sam2.1_hiera_*.pt`), read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from segtune.core.errors import ModelError

_RENAMED: Final[tuple[tuple[str, str], ...]] = (
    (r"^image_encoder\.trunk\.patch_embed\.proj\.", "vision_encoder.backbone.patch_embed.projection."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (
        r"^sam_prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$",
        "shared_image_embedding.positional_embedding",
    ),
    # In the two stacks below, the numbers left out are activations and have no weights.
    (r"^sam_prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^sam_prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^sam_prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^sam_prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^sam_prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^sam_mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^sam_mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"^no_mem_embed$", "no_memory_embedding"),
)
"""Patterns over published names and transformers' counterparts; the first that fits is taken."""

_WITHIN: Final[tuple[tuple[str, str], ...]] = (
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"\.out_proj\.", ".o_proj."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    # The heads: three layers each.
    (r"(_mlps\.\d+|_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(_mlps\.\d+|_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(_mlps\.\d+|_head)\.layers\.2\.", r"\1.proj_out."),
)
"""Then every one of these that fits."""

_ASIDE: Final = re.compile(
    r"memory_attention\.|memory_encoder\.|mask_downsample\.|obj_ptr_proj\.|obj_ptr_tpos_proj\.|"
    r"(maskmem_tpos_enc|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial)$"
)
"""What follows objects through a video, which no single image needs."""

_POINTS: Final = tuple(f"prompt_encoder.point_embeddings.{kind}.weight" for kind in range(4))

_KNOWN: Final = {
    # width of the first stage and depth: name, stages, global blocks, heads, windows, background of positions
    (96, 12): ("tiny", (1, 2, 7, 2), (5, 7, 9), 1, (8, 4, 14, 7), 7),
    (96, 16): ("small", (1, 2, 11, 2), (7, 10, 13), 1, (8, 4, 14, 7), 7),
    (112, 24): ("base+", (2, 3, 16, 3), (12, 16, 20), 2, (8, 4, 14, 7), 14),
    (144, 48): ("large", (2, 6, 36, 4), (23, 33, 43), 2, (8, 4, 16, 8), 7),
}
"""The published Hieras. Shapes tell neither which blocks attend to the whole image nor how large windows are."""

_PATCH: Final = "image_encoder.trunk.patch_embed.proj.weight"


def owns_original(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a checkpoint is one of SAM 2 with a Hiera encoder."""
    return _PATCH in state


def transformers_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the image part of a published checkpoint under transformers' names; the video's is set aside."""
    renamed = {_transformers_name(name): value for name, value in state.items() if not _ASIDE.match(name)}
    if all(name in renamed for name in _POINTS):
        # Four tables of one row there, one of four rows here.
        renamed["prompt_encoder.point_embed.weight"] = torch.cat([renamed.pop(name) for name in _POINTS])
    return renamed


def config_of_state(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what transformers' `config.json` says of a published checkpoint.

    Raises:
        ModelError: it is none of the published sizes.
    """
    width = state[_PATCH].shape[0]
    blocks = {int(found[1]) for name in state if (found := re.match(r"image_encoder\.trunk\.blocks\.(\d+)\.", name))}
    if (width, len(blocks)) not in _KNOWN:
        sizes = ", ".join(f"{name} ({w} channels, {d} blocks)" for (w, d), (name, *_) in _KNOWN.items())
        raise ModelError(
            f"This SAM 2 checkpoint has an image encoder of {width} channels and {len(blocks)} blocks, which is none "
            f"of the published: {sizes}. Give a folder in transformers' layout, whose config.json says its sizes."
        )
    _, stages, whole, heads, windows, background = _KNOWN[width, len(blocks)]
    widths = [width * 2**stage for stage in range(4)]
    return {
        "vision_config": {
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": width,
                "num_attention_heads": heads,
                "blocks_per_stage": list(stages),
                "embed_dim_per_stage": widths,
                "num_attention_heads_per_stage": [heads * 2**stage for stage in range(4)],
                "window_size_per_stage": list(windows),
                "window_positional_embedding_background_size": [background, background],
                "global_attention_blocks": list(whole),
            },
            "backbone_channel_list": widths[::-1],
        }
    }


def _transformers_name(name: str) -> str:
    for pattern, replacement in _RENAMED:
        renamed, found = re.subn(pattern, replacement, name)
        if found:
            name = renamed
            break
    for pattern, replacement in _WITHIN:
        name = re.sub(pattern, replacement, name)
    return name
