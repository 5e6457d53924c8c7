"""Write a model so that it opens again: as a folder with our own record, or as an original checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from segtune.core.errors import ModelError
from segtune.core.files import read_json, write_json
from segtune.models import FAMILIES
from segtune.models.family import Attached, PromptableModel
from segtune.models.fingerprint import hash_weights
from segtune.models.tensors import write_pickle, write_tensors

RECORD: Final = "segtune.json"
"""The file beside the weights that says what transformers' files have no place for."""


THRESHOLDS: Final = "everything"
"""Its entry with the thresholds of everything mode."""

QUALITY: Final = "quality"
"""Its entry with the map from predicted to told quality."""

PHRASE: Final = "phrase"
"""Its entry with what a model that reads text looks for."""

ADAPTER: Final = "adapter"
"""Its entry with what an adapter is and which base it belongs to; the weights are in `ADAPTER_WEIGHTS`."""

ADAPTER_WEIGHTS: Final = "adapter.safetensors"

ADAPTER_LAYOUT: Final = "segtune's own layout of an adapter beside its base"

BASE: Final = "base"
"""The folder inside an adapter's that holds the base, where it does."""


BLEND: Final = "blend"
"""Its entry that says of what a blend was made."""


def save_model(
    model: PromptableModel,
    folder: Path,
    *,
    extra: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write config.json, weights, what else the family's layout has, and segtune.json into `folder`, each durably.

    `transformers.SamModel.from_pretrained(folder)` opens a SAM model written so. A model that transformers has no
    class for is written in its original layout; segtune.json says which it is. That file comes last: a folder that
    has it is whole.

    An adapter that plain weights can express is merged into them in what is written; the model stays as it is. One
    that they cannot is written beside the plain base: adapter.safetensors, segtune.json and, in base/, a folder as
    above. Nobody takes such a folder for the plain model, for it has no config.json of its own.

    Args:
        model: any promptable model.
        folder: made if need be; files of the same names are replaced.
        extra: further entries of segtune.json.
        half: keep the weights in half precision, in half the space.

    Raises:
        ResourceError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = _without_adapter(model)
    if model.attached is None or model.attached.mergeable:
        FAMILIES[model.family].write_folder(plain, folder, torch.float16 if half else torch.float32)
        _write_record(model, folder, extra)
        return
    save_model(plain, folder / BASE, half=half)
    # Halves differ from what was hashed; and what lies inside the folder is not taken for another.
    save_adapter(model, model.attached, folder, base={"sha256": None if half else hash_weights(plain)}, extra=extra)


def save_adapter(
    model: PromptableModel,
    adapter: Attached,
    folder: Path,
    *,
    base: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write an adapter alone: adapter.safetensors, and segtune.json with what it is and whose; each durably.

    Args:
        model: has the adapter, not merged.
        adapter: its adapter.
        folder: made if need be; files of the same names are replaced.
        base: "name" as `open_model` takes it, and "sha256" of its weights as they are opened, from `hash_weights`.
        extra: further entries of segtune.json.

    Raises:
        ResourceError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / ADAPTER_WEIGHTS, adapter.tensors(model))
    _write_record(model, folder, dict(extra or {}) | {ADAPTER: {"train": adapter.spec, BASE: dict(base)}})


def layout_of(model: PromptableModel) -> str:
    """Return the layout in which `save_model` writes a model, in words."""
    plain = model.attached is None or model.attached.mergeable
    return FAMILIES[model.family].layout if plain else ADAPTER_LAYOUT


def _without_adapter(model: PromptableModel) -> PromptableModel:
    if model.attached is None:
        return model
    plain = copy.deepcopy(model)
    if model.attached.mergeable:
        model.attached.merge(plain)
    else:
        model.attached.remove(plain)
    return plain


def _write_record(model: PromptableModel, folder: Path, extra: Mapping[str, Any] | None) -> None:
    layout = ADAPTER_LAYOUT if ADAPTER in (extra or {}) else FAMILIES[model.family].layout
    own = {"schema": 1, "family": model.family, "layout": layout, "preparation": model.preparation.to_json()}
    own |= {THRESHOLDS: dict(model.thresholds)} if model.thresholds else {}
    own |= {QUALITY: model.quality_map.to_json()} if model.quality_map else {}
    own |= {PHRASE: model.phrase} if model.phrase else {}
    write_json(folder / RECORD, dict(extra or {}) | own)  # ours win


def rewrite_entry(record: Path, name: str, value: object) -> None:
    """Write an entry of a saved model's segtune.json, or take it out where `value` is None."""
    rest = {key: entry for key, entry in read_json(record).items() if key != name}
    write_json(record, rest | ({} if value is None else {name: value}))


def save_original(model: PromptableModel, path: Path) -> None:
    """Write the weights as a state dict in the family's original layout (`.pth`), durably.

    Raises:
        ModelError: the family has no such layout.
    """
    original_state = FAMILIES[model.family].original_state
    if original_state is None:
        raise ModelError(f"A {model.family} model has no original checkpoint layout; save it as a folder instead.")
    if model.attached is not None:
        raise ModelError(
            f"The original checkpoint layout has no place for the adapter '{model.attached.spec}'; save the model as a "
            "folder instead."
        )
    write_pickle(path, original_state(model))
