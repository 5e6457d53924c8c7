"""Segment Anything on disk: transformers' folder layout and the original checkpoint, read strictly and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from segtune.core.errors import ModelError
from segtune.core.files import write_json
from segtune.models.family import Family, PromptableModel
from segtune.models.preparation import Preparation
from segtune.models.sam.build import build_sam
from segtune.models.sam.configuration import config_of_sizes, processor_of, sizes_of_config
from segtune.models.sam.model import Sam, SegmentAnything
from segtune.models.sam.resize import resized
from segtune.models.sam.sizes import MICRO
from segtune.models.tensors import read_model_json, read_tensors, write_tensors
from segtune.models.weights import from_transformers, load_strictly, require_same_names, sizes_of_state, to_transformers


def read_folder(folder: Path, preparation: Preparation | None) -> Sam:
    """Open a folder in the layout of `transformers.SamModel`.

    Args:
        folder: holds config.json and the weights.
        preparation: what is known of it; None reads preprocessor_config.json.

    Raises:
        ModelError: the weights do not fit the configuration.
    """
    sizes = sizes_of_config(read_model_json(folder / "config.json"))
    if preparation is None:
        processor = folder / "preprocessor_config.json"
        usual = Preparation.longest_side(sizes.side)
        preparation = usual.with_processor(read_model_json(processor)) if processor.exists() else usual
    model = build_sam(sizes, preparation=preparation)
    load_strictly(model, from_transformers(read_tensors(folder), sizes, model.state_dict()))
    return model


def write_folder(model: PromptableModel, folder: Path, dtype: torch.dtype) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json so that transformers opens the folder."""
    sam = _require_sam(model)
    weights = to_transformers(sam.state_dict(), sam.sizes)
    write_tensors(folder / "model.safetensors", {name: value.to(dtype) for name, value in weights.items()})
    write_json(folder / "preprocessor_config.json", processor_of(sam.preparation, sam.mask_size[0]))
    # Last, because a folder is taken for a model by it.
    write_json(folder / "config.json", config_of_sizes(sam.sizes))


def owns_original(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a checkpoint is one of Segment Anything with a ViT encoder."""
    return "image_encoder.pos_embed" in state and "mask_decoder.hf_token.weight" not in state  # SAM-HQ's


def read_original(state: Mapping[str, Tensor], preparation: Preparation | None) -> Sam:
    """Build the model of a checkpoint in the original layout; the sizes are those of its shapes.

    Raises:
        ModelError: a weight is missing, left over, or of another shape than its neighbours ask for.
    """
    sizes = sizes_of_state(state)
    model = build_sam(sizes, preparation=preparation)
    require_same_names(state, model.state_dict(), "the original layout of Segment Anything")
    load_strictly(model, state)
    return model


def original_state(model: PromptableModel) -> dict[str, Tensor]:
    """Return the weights in the original layout, which is our own."""
    return {name: value.detach().cpu() for name, value in _require_sam(model).state_dict().items()}


def embedding_shapes(model: PromptableModel) -> tuple[tuple[int, ...], ...]:
    """Return the shape of one image's features."""
    if not isinstance(model, SegmentAnything):
        raise ModelError(f"A {model.family} model's embedding is not that of Segment Anything; ask its own family.")
    sizes = model.sizes
    return ((sizes.prompt_width, sizes.grid, sizes.grid),)


def at_side(model: PromptableModel, side: int) -> Sam:
    """Return a copy for a square input of `side` pixels."""
    return resized(_require_sam(model), side)


def tiny(generator: torch.Generator) -> Sam:
    """Return a random model for tests."""
    return build_sam(MICRO, generator=generator)


def _require_sam(model: PromptableModel) -> Sam:
    if not isinstance(model, Sam):
        raise ModelError(f"A {model.family} model is no Segment Anything of the first generation; ask its own family.")
    return model


SAM = Family(
    model=Sam,
    model_types=("sam",),
    read_folder=read_folder,
    write_folder=write_folder,
    owns_original=owns_original,
    read_original=read_original,
    original_state=original_state,
    embedding_shapes=embedding_shapes,
    at_side=at_side,
    tiny=tiny,
)
