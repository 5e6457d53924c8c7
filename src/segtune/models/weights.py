"""Names of Segment Anything's weights in two layouts, and what their shapes say of the sizes.

The original layout is that of the published `.pth` files and our own modules; the other is that of
`transformers.SamModel` in safetensors. Every name has exactly one counterpart, so a missing key or one left over is an
error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from segtune.core.errors import ModelError
from segtune.models.sam.sizes import SamSizes

State = Mapping[str, Tensor]

_HEAD_WIDTH = 32
"""Width of a head of the mask decoder's self-attention in every published size; shapes alone do not tell it."""

_RENAMED: tuple[tuple[str, str], ...] = (
    (r"^image_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
    (r"^image_encoder\.blocks\.(\d+)\.norm(\d)\.", r"vision_encoder.layers.\1.layer_norm\2."),
    (r"^image_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^image_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^image_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^image_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^image_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"^image_encoder\.", "vision_encoder."),
    (
        r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$",
        "shared_image_embedding.positional_embedding",
    ),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    # In the two stacks below, the numbers left out are activations and have no weights.
    (r"^prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^mask_decoder\.transformer\.layers\.(\d+)\.norm(\d)\.", r"mask_decoder.transformer.layers.\1.layer_norm\2."),
    (r"^mask_decoder\.transformer\.norm_final_attn\.", "mask_decoder.transformer.layer_norm_final_attn."),
    (r"^mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
)
"""Patterns over original names and their counterparts; the first that fits is taken, names that fit none are equal."""

_HEADS = re.compile(r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.(\d+)\.(.+)$")

_TIED = "prompt_encoder.shared_embedding.positional_embedding"
"""transformers may hold the Fourier frequencies a second time under this name."""


def transformers_name(name: str, sizes: SamSizes) -> str:
    """Return the name that the weight `name` of the original layout has in `transformers.SamModel`."""
    if head := _HEADS.match(name):
        prefix, number, rest = head[1], int(head[2]), head[3]
        last = (sizes.quality_depth if "iou_prediction_head" in prefix else 3) - 1
        layer = "proj_in" if number == 0 else "proj_out" if number == last else f"layers.{number - 1}"
        return f"{prefix}.{layer}.{rest}"
    for pattern, replacement in _RENAMED:
        renamed, found = re.subn(pattern, replacement, name)
        if found:
            return renamed
    return name


def to_transformers(state: State, sizes: SamSizes) -> dict[str, Tensor]:
    """Return a state in the original layout under transformers' names."""
    return {transformers_name(name, sizes): value for name, value in state.items()}


def from_transformers(state: State, sizes: SamSizes, expected: Iterable[str]) -> dict[str, Tensor]:
    """Return a state in transformers' layout under the original names.

    Args:
        state: as `transformers.SamModel` saves it.
        sizes: of the network.
        expected: every name of the original layout.

    Raises:
        ModelError: a name is missing or left over.
    """
    given = dict(state)
    shared = given.get("shared_image_embedding.positional_embedding")
    tied = given.pop(_TIED, shared)
    if shared is None and tied is not None:
        given["shared_image_embedding.positional_embedding"] = tied
    names = {transformers_name(name, sizes): name for name in expected}
    require_same_names(given, names, "transformers' layout of Segment Anything")
    return {names[name]: value for name, value in given.items()}


def require_same_names(given: Iterable[str], expected: Iterable[str], layout: str) -> None:
    """Check that weights are complete and nothing else.

    Raises:
        ModelError: a name is missing or left over; the message names the first of each.
    """
    missing, left_over = set(expected) - set(given), set(given) - set(expected)
    if not missing and not left_over:
        return
    found = [
        f"{len(names)} {kind} ({', '.join(sorted(names)[:3])}{', …' if len(names) > 3 else ''})"
        for kind, names in (("missing", missing), ("left over", left_over))
        if names
    ]
    raise ModelError(
        f"These weights do not fit {layout}: {' and '.join(found)}. Nothing was loaded; check that the file holds the "
        "whole model and no other one."
    )


def load_strictly(model: nn.Module, state: State) -> None:
    """Load weights of the model's own names, complete and nothing else; halves rise to fp32.

    Raises:
        ModelError: a weight has another shape.
    """
    # Checked here for an error of two lines: torch's lists every weight that differs.
    expected = model.state_dict()
    for name, value in state.items():
        if value.shape != expected[name].shape:
            raise ModelError(
                f"The weight '{name}' has the shape {tuple(value.shape)} where this model has "
                f"{tuple(expected[name].shape)}. Nothing was loaded: the file and its configuration do not fit."
            )
    model.load_state_dict(dict(state), strict=True)  # it copies into the model's own types


def sizes_of_state(state: State) -> SamSizes:
    """Return the sizes that the shapes of a state in the original layout have.

    Two things no shape tells: attention heads of the mask decoder (32 channels each, as in every published size) and
    whether a window as large as the image is a window (then it makes no difference).

    Raises:
        ModelError: a weight by which the sizes are known is missing.
    """
    try:
        return _read_sizes(state)
    except KeyError as error:
        raise ModelError(
            f"This is no Segment Anything checkpoint in its original layout with a ViT image encoder: the weight "
            f"{error} is missing. Known are the published sam_vit_b, sam_vit_l and sam_vit_h, MedSAM, and models "
            "saved from them whole."
        ) from None


def _read_sizes(state: State) -> SamSizes:
    _, grid, _, width = state["image_encoder.pos_embed"].shape  # [1, grid, grid, width]
    depth = count_of(state, r"image_encoder\.blocks\.(\d+)\.")
    # A table of relative positions over n tokens has 2 n - 1 rows, one for each distance.
    extents = [(state[f"image_encoder.blocks.{n}.attn.rel_pos_h"].shape[0] + 1) // 2 for n in range(depth)]
    windows = {extent for extent in extents if extent != grid}
    if len(windows) > 1:
        raise ModelError(f"The image encoder has windows of several sizes ({sorted(windows)}), which no SAM has.")
    patch = state["image_encoder.patch_embed.proj.weight"].shape[-1]
    return SamSizes(
        width=width,
        depth=depth,
        heads=width // state["image_encoder.blocks.0.attn.rel_pos_h"].shape[1],  # a row of it is as wide as one head
        mlp_width=state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0],
        global_blocks=tuple(number for number, extent in enumerate(extents) if extent == grid),
        window=next(iter(windows), grid),
        side=grid * patch,
        patch=patch,
        **prompt_sizes_of_state(state),
    )


def prompt_sizes_of_state(state: State) -> dict[str, int]:
    """Return the sizes of prompt encoder and mask decoder by their names in `PromptSizes`; heads are as published.

    Raises:
        KeyError: a weight by which they are known is missing.
    """
    prompt_width = state["prompt_encoder.no_mask_embed.weight"].shape[1]
    inner = state["mask_decoder.transformer.final_attn_token_to_image.q_proj.weight"].shape[0]
    # No shape tells decoder_norm_eps; its default is the published code's, which wrote such files.
    return {
        "prompt_width": prompt_width,
        "mask_channels": state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        "decoder_depth": count_of(state, r"mask_decoder\.transformer\.layers\.(\d+)\."),
        "decoder_heads": max(1, prompt_width // _HEAD_WIDTH),
        "decoder_mlp_width": state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        "decoder_downsample": prompt_width // inner,
        "quality_width": state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
        "quality_depth": count_of(state, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
        "masks": state["mask_decoder.mask_tokens.weight"].shape[0] - 1,  # less the single mask
    }


def count_of(state: State, pattern: str) -> int:
    """Return how many modules there are of those whose number `pattern` catches.

    Raises:
        KeyError: none.
    """
    numbers = {int(found[1]) for name in state if (found := re.match(pattern, name))}
    if not numbers:
        raise KeyError(pattern.replace("\\", "").replace("(d+)", "0"))
    return max(numbers) + 1
