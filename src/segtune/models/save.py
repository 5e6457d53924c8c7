"""Write a model so that it opens again: in transformers' layout with our own record, or as an original checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from segtune.core.errors import ModelError
from segtune.core.files import replacing, write_json
from segtune.models import FAMILIES
from segtune.models.family import PromptableModel

RECORD: Final = "segtune.json"
"""The file beside the weights that says what transformers' files have no place for."""


THRESHOLDS: Final = "everything"
"""Its entry with the thresholds of everything mode."""


BLEND: Final = "blend"
"""Its entry that says of what a blend was made."""


def save_model(
    model: PromptableModel,
    folder: Path,
    *,
    extra: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write config.json, model.safetensors, preprocessor_config.json and segtune.json into `folder`, each durably.

    `transformers.SamModel.from_pretrained(folder)` opens a SAM model written so. segtune.json comes last: a folder
    that has it is whole.

    Args:
        model: any promptable model.
        folder: made if need be; files of the same names are replaced.
        extra: further entries of segtune.json.
        half: keep the weights in half precision, in half the space.

    Raises:
        ResourceError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    FAMILIES[model.family].write_folder(model, folder, torch.float16 if half else torch.float32)
    own = {"schema": 1, "family": model.family, "preparation": model.preparation.to_json()}
    own |= {THRESHOLDS: dict(model.thresholds)} if model.thresholds else {}
    write_json(folder / RECORD, dict(extra or {}) | own)  # ours win


def save_original(model: PromptableModel, path: Path) -> None:
    """Write the weights as a state dict in the family's original layout (`.pth`), durably.

    Raises:
        ModelError: the family has no such layout.
    """
    original_state = FAMILIES[model.family].original_state
    if original_state is None:
        raise ModelError(f"A {model.family} model has no original checkpoint layout; save it as a folder instead.")
    with replacing(path) as temporary:
        torch.save(original_state(model), temporary)
