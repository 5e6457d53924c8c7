"""MobileSAM on disk: the original checkpoint, read strictly and written, alone or in a folder of ours.

transformers' SamModel has no such image encoder, so a result is written as the checkpoint that the published code
opens (`sam_model_registry["vit_t"](checkpoint=...)`), beside a config.json that says its sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from segtune.core.errors import ModelError
from segtune.core.files import write_json
from segtune.models.family import Family, PromptableModel
from segtune.models.preparation import Preparation
from segtune.models.sam.build import build_mobile_sam
from segtune.models.sam.files import embedding_shapes
from segtune.models.sam.model import MobileSam
from segtune.models.sam.sizes import MOBILE_MICRO, MobileSizes
from segtune.models.tensors import read_model_json, read_pickle, write_pickle
from segtune.models.weights import count_of, load_strictly, prompt_sizes_of_state, require_same_names

WEIGHTS: Final = "mobile_sam.pt"
"""The weights in a model folder, named as they are published."""

_LAYOUT: Final = "the original layout of MobileSAM"
_FIRST: Final = "image_encoder.patch_embed.seq.0.c.weight"
_TABLE: Final = ".attention_bias_idxs"


def read_folder(folder: Path, preparation: Preparation | None) -> MobileSam:
    """Open a folder that `write_folder` wrote.

    Raises:
        ModelError: a file is missing, or the weights do not fit the sizes.
    """
    model = build_mobile_sam(_sizes_of_config(folder / "config.json"), preparation=preparation)
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"The model folder {folder} holds no {WEIGHTS}, its weights. Copy the whole folder.")
    return _loaded(model, read_pickle(folder / WEIGHTS))


def write_folder(model: PromptableModel, folder: Path, dtype: torch.dtype) -> None:
    """Write mobile_sam.pt, which the published code opens, and config.json."""
    state = original_state(model)
    write_pickle(folder / WEIGHTS, {n: v.to(dtype) if v.is_floating_point() else v for n, v in state.items()})
    # Last, because a folder is taken for a model by it.
    write_json(folder / "config.json", {"model_type": MobileSam.family, "sizes": asdict(_require_mobile(model).sizes)})


def owns_original(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a checkpoint is one of MobileSAM."""
    return _FIRST in state


def read_original(state: Mapping[str, Tensor], preparation: Preparation | None) -> MobileSam:
    """Build the model of a checkpoint in the original layout.

    The sizes are those of its shapes; the input is 1024 pixels wide, which no shape tells and the published code has
    written into it.

    Raises:
        ModelError: a weight is missing, left over, or of another shape than its neighbours ask for.
    """
    return _loaded(build_mobile_sam(sizes_of_state(state), preparation=preparation), state)


def original_state(model: PromptableModel) -> dict[str, Tensor]:
    """Return the weights in the original layout, which is our own."""
    return {name: value.detach().cpu() for name, value in _require_mobile(model).state_dict().items()}


def tiny(generator: torch.Generator) -> MobileSam:
    """Return a random model for tests."""
    return build_mobile_sam(MOBILE_MICRO, generator=generator)


def sizes_of_state(state: Mapping[str, Tensor]) -> MobileSizes:
    """Return the sizes that the shapes of a state in the original layout have.

    Raises:
        ModelError: a weight by which the sizes are known is missing, or of another form.
    """
    try:
        return _read_sizes(state)
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(
            f"This is no MobileSAM checkpoint in its original layout: a weight that tells its sizes is missing or of "
            f"another form ({error}). Known are the published mobile_sam.pt and models saved from it whole."
        ) from None


def _read_sizes(state: Mapping[str, Tensor]) -> MobileSizes:
    encoder = "image_encoder.layers"
    stages = range(count_of(state, r"image_encoder\.layers\.(\d+)\."))
    attending = [f"{encoder}.{number}.blocks.0" for number in stages[1:]]
    # A head has one bias for each distance in rows and columns, so as many as a window has tokens.
    biases = [state[f"{block}.attn.attention_biases"].shape for block in attending]
    widths = tuple(state[f"{encoder}.0.blocks.0.conv3.c.weight"].shape[:1]) + tuple(
        state[f"{block}.attn.proj.weight"].shape[0] for block in attending
    )
    return MobileSizes(
        widths=widths,
        depths=tuple(count_of(state, rf"image_encoder\.layers\.{number}\.blocks\.(\d+)\.") for number in stages),
        heads=tuple(heads for heads, _ in biases),
        windows=tuple(math.isqrt(count) for _, count in biases),
        mlp_ratio=state[f"{attending[0]}.mlp.fc1.weight"].shape[0] // widths[1],
        expansion=state[f"{encoder}.0.blocks.0.conv1.c.weight"].shape[0] // widths[0],
        kernel=state[f"{attending[0]}.local_conv.c.weight"].shape[-1],
        classes=state["image_encoder.head.weight"].shape[0],
        **prompt_sizes_of_state(state),
    )


def _sizes_of_config(path: Path) -> MobileSizes:
    said: dict[str, Any] = dict(read_model_json(path).get("sizes") or {})
    odd = {field.name for field in fields(MobileSizes)} ^ said.keys()
    if odd:
        raise ModelError(
            f"{path} does not say the sizes of a MobileSAM as segtune writes them: {', '.join(sorted(odd))} is missing "
            f"or unknown. Copy the folder again, or give its {WEIGHTS} instead, where the input is 1024 pixels wide."
        )
    # JSON has no tuples.
    given: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in said.items()}
    return MobileSizes(**given)


def _loaded(model: MobileSam, state: Mapping[str, Tensor]) -> MobileSam:
    own = dict(model.named_buffers())
    given = {}
    for name, value in state.items():
        # Follows from the window: not in the published file, but in that of a TinyViT which keeps it.
        if name.endswith(_TABLE) and name in own:
            if not torch.equal(value, own[name]):
                raise ModelError(
                    f"The table '{name}' is not the one that a window of this size has, so the attention biases would "
                    f"be read wrongly. Nothing was loaded; segtune reads {_LAYOUT} as published."
                )
        else:
            given[name] = value
    require_same_names(given, model.state_dict(), _LAYOUT)
    load_strictly(model, given)
    return model


def _require_mobile(model: PromptableModel) -> MobileSam:
    if not isinstance(model, MobileSam):
        raise ModelError(f"A {model.family} model cannot be written in MobileSAM's layout; save it in its own.")
    return model


MOBILE_SAM = Family(
    model=MobileSam,
    model_types=(MobileSam.family,),
    read_folder=read_folder,
    write_folder=write_folder,
    owns_original=owns_original,
    read_original=read_original,
    original_state=original_state,
    embedding_shapes=embedding_shapes,
    tiny=tiny,
    layout=f"{_LAYOUT}, {WEIGHTS}, which transformers cannot open",
)
