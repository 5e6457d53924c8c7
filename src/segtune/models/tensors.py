"""Weights from whatever files hold them: safetensors, whole or in shards, and pickles that hold nothing but tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from segtune.core.errors import ModelError
from segtune.core.files import read_json, replacing


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return all weights of a model folder: model.safetensors, its shards, or pytorch_model.bin.

    Raises:
        ModelError: there are none, or a file is damaged.
    """
    whole, index, pickled = (
        folder / name for name in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
    )
    if whole.exists():
        return read_safetensors(whole)
    if index.exists():
        shards = sorted(set(read_model_json(index, "weight_map")["weight_map"].values()))
        return {name: value for shard in shards for name, value in read_safetensors(folder / shard).items()}
    if pickled.exists():
        return read_pickle(pickled)
    raise ModelError(
        f"The model folder {folder} holds no weights: neither model.safetensors nor pytorch_model.bin is there. "
        "Copy or download the whole folder."
    )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        ModelError: the file is missing, cut short or damaged.
    """
    try:
        return load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise ModelError(f"{path} cannot be read as safetensors ({error}). Copy or download it again.") from error


def read_pickle(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.pth`, `.pt` or `.bin` file; code in it is never run.

    A training checkpoint that holds its weights under "model" or "state_dict" is opened there.

    Raises:
        ModelError: the file is damaged, or holds more than tensors.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)  # it may name a GPU that is not here
    except (OSError, MemoryError):
        raise
    # Bytes that are no pickle make its reader fail in any way: IndexError, KeyError, UnicodeDecodeError and others.
    except Exception as error:
        raise ModelError(
            f"{path} cannot be read as a file of weights: it is damaged, or holds code besides tensors, which is never "
            f"run. Download it again, or save the plain state dict. ({first_line(error)})"
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path} holds no state dict, which is a mapping from names to tensors. Save the model's.")
    return dict(content)


def read_model_json(path: Path, *needed: str) -> dict[str, Any]:
    """Return what a JSON file of a model says.

    Args:
        path: the file.
        needed: names that it must hold.

    Raises:
        ModelError: it is missing, cut short, no JSON object, or lacks a name.
    """
    try:
        told = read_json(path)
    except (FileNotFoundError, ValueError) as error:  # what is no UTF-8 is a ValueError too
        raise ModelError(f"{path} cannot be read as JSON ({error}). Copy or download it again.") from error
    lacking = [name for name in needed if not isinstance(told, dict) or name not in told]
    if lacking or not isinstance(told, dict):
        what = f"does not say '{lacking[0]}'" if lacking else "holds no JSON object"
        raise ModelError(f"{path} {what}, so it is not what its name says. Copy or download it again.")
    return told


def first_line(error: Exception) -> str:
    """Return what an error says in its first line; its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file durably; transformers asks for the note on its format."""
    # safetensors refuses views that are not contiguous.
    with replacing(path) as temporary:
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, {"format": "pt"})


def write_pickle(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a `.pth` or `.pt` file durably; the same weights give the same bytes, whatever the name."""
    # Given a path, torch would write the temporary file's name into it.
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(dict(tensors), file)
