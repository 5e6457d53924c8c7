"""Sizes as transformers' `config.json` says them, and back; and what `preprocessor_config.json` says of preparation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segtune.core.errors import ModelError
from segtune.models.preparation import Preparation
from segtune.models.sam.sizes import SamSizes

_VISION = {
    "hidden_size": 768, "output_channels": 256, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 1024,
    "patch_size": 16, "mlp_ratio": 4.0, "mlp_dim": None, "window_size": 14, "global_attn_indexes": [2, 5, 8, 11],
}  # fmt: skip
_PROMPT = {"hidden_size": 256, "mask_input_channels": 16, "image_size": None, "patch_size": None}
_DECODER = {
    "hidden_size": 256, "mlp_dim": 2048, "num_hidden_layers": 2, "num_attention_heads": 8,
    "attention_downsample_rate": 2, "num_multimask_outputs": 3, "iou_head_depth": 3, "iou_head_hidden_dim": 256,
    "layer_norm_eps": 1e-6,
}  # fmt: skip
"""What transformers takes a value to be that the file leaves out (`SamConfig` and its parts)."""

_FIXED: dict[str, dict[str, Any]] = {
    "vision_config": {
        "hidden_act": "gelu", "layer_norm_eps": 1e-6, "attention_dropout": 0.0, "qkv_bias": True, "use_abs_pos": True,
        "use_rel_pos": True, "num_channels": 3,
    },
    "prompt_encoder_config": {"hidden_act": "gelu", "layer_norm_eps": 1e-6, "num_point_embeddings": 4},
    "mask_decoder_config": {"hidden_act": "relu"},
}  # fmt: skip
"""What transformers could vary and Segment Anything never does."""


def sizes_of_config(config: Mapping[str, Any]) -> SamSizes:
    """Return the sizes in a `config.json` of `transformers.SamModel`; what it leaves out has transformers' default.

    Raises:
        ModelError: the file asks for what Segment Anything does not have.
    """
    for part, fixed in _FIXED.items():
        # A part may be null as well as absent.
        _require_fixed(part, config.get(part) or {}, fixed)
    vision = {**_VISION, **(config.get("vision_config") or {})}
    prompt = {**_PROMPT, **(config.get("prompt_encoder_config") or {})}
    decoder = {**_DECODER, **(config.get("mask_decoder_config") or {})}
    return SamSizes(
        width=vision["hidden_size"],
        depth=vision["num_hidden_layers"],
        heads=vision["num_attention_heads"],
        mlp_width=vision["mlp_dim"] or int(vision["hidden_size"] * vision["mlp_ratio"]),
        global_blocks=tuple(vision["global_attn_indexes"]),
        window=vision["window_size"],
        side=vision["image_size"],
        patch=vision["patch_size"],
        prompt_width=decoder["hidden_size"],
        mask_channels=prompt["mask_input_channels"],
        decoder_depth=decoder["num_hidden_layers"],
        decoder_heads=decoder["num_attention_heads"],
        decoder_mlp_width=decoder["mlp_dim"],
        decoder_downsample=decoder["attention_downsample_rate"],
        decoder_norm_eps=decoder["layer_norm_eps"],
        quality_width=decoder["iou_head_hidden_dim"],
        quality_depth=decoder["iou_head_depth"],
        masks=decoder["num_multimask_outputs"],
    )


def config_of_sizes(sizes: SamSizes) -> dict[str, Any]:
    """Return the `config.json` with which `transformers.SamModel` builds this network."""
    vision = {
        "hidden_size": sizes.width,
        "output_channels": sizes.prompt_width,
        "num_hidden_layers": sizes.depth,
        "num_attention_heads": sizes.heads,
        "image_size": sizes.side,
        "patch_size": sizes.patch,
        "mlp_dim": sizes.mlp_width,
        "mlp_ratio": sizes.mlp_width / sizes.width,
        "window_size": sizes.window,
        "global_attn_indexes": list(sizes.global_blocks),
        "num_pos_feats": sizes.prompt_width // 2,  # a sine and a cosine of each
    }
    prompt = {
        "hidden_size": sizes.prompt_width,
        "image_size": sizes.side,
        "patch_size": sizes.patch,
        "mask_input_channels": sizes.mask_channels,
    }
    decoder = {
        "hidden_size": sizes.prompt_width,
        "mlp_dim": sizes.decoder_mlp_width,
        "num_hidden_layers": sizes.decoder_depth,
        "num_attention_heads": sizes.decoder_heads,
        "attention_downsample_rate": sizes.decoder_downsample,
        "num_multimask_outputs": sizes.masks,
        "iou_head_depth": sizes.quality_depth,
        "iou_head_hidden_dim": sizes.quality_width,
        "layer_norm_eps": sizes.decoder_norm_eps,
    }
    return {
        "architectures": ["SamModel"],
        "model_type": "sam",
        "dtype": "float32",
        "vision_config": {"model_type": "sam_vision_model"} | vision | _FIXED["vision_config"],
        "prompt_encoder_config": {"model_type": "sam_prompt_encoder"} | prompt | _FIXED["prompt_encoder_config"],
        "mask_decoder_config": {"model_type": "sam_mask_decoder"} | decoder | _FIXED["mask_decoder_config"],
    }


def processor_of(preparation: Preparation, mask_side: int) -> dict[str, Any]:
    """Return the `preprocessor_config.json` nearest to a preparation.

    transformers knows no stretched square: for such a base `segtune.json` alone says it right.
    """
    side = preparation.side
    square = {"height": side, "width": side}
    return {
        "image_processor_type": "SamImageProcessor",
        "processor_class": "SamProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"longest_edge": side},
        "resample": 2,  # Pillow's bilinear
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": preparation.kind == "longest_side",
        # transformers takes the mean out after it has brought values to 0 to 1.
        "image_mean": [value / 255 for value in preparation.mean],
        "image_std": [value / 255 for value in preparation.std],
        "do_pad": True,
        "pad_size": square,
        "mask_size": {"longest_edge": mask_side},
        "mask_pad_size": {"height": mask_side, "width": mask_side},
    }


def _require_fixed(part: str, given: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    for key, value in fixed.items():
        if given.get(key, value) != value:
            raise ModelError(
                f"config.json asks for {part}.{key} = {given[key]!r}, but Segment Anything is {value!r} there and "
                "segtune builds nothing else. Use a base whose config.json is that of a SAM model."
            )
