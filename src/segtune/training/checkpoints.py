"""Checkpoints that survive kill -9: a folder of safetensors and JSON, whole and verified or not there at all."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from segtune.core.errors import ModelError
from segtune.core.files import hash_file, read_json, storage_errors, sync, write_json

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: groups of tensors by name ("weights", "optimizer") and plain values."""

    tensors: dict[str, dict[str, Tensor]]
    values: dict[str, Any]


class CheckpointFolder:
    """Named checkpoints below one folder ("last", "best"); of each name the newest is kept.

    A checkpoint is written into a temporary folder, synced, hashed into a manifest and renamed; then a small pointer
    file is replaced. Whenever the process dies, the pointer names a whole checkpoint, the old or the new.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, name: str, tensors: Mapping[str, Tensors], values: Mapping[str, Any]) -> None:
        """Write a checkpoint and make it the newest of its name.

        Raises:
            ResourceError: the disk is full; the checkpoint before stays in place.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{name}-{secrets.token_hex(6)}.tmp"
        with storage_errors(self.folder / name):
            try:
                temporary.mkdir()
                self._fill(temporary, tensors, values)
                # Always a new name: what the pointer names stays whole until the pointer has moved on.
                final = self.folder / f"{name}-{secrets.token_hex(6)}"
                temporary.rename(final)
                # Syncs this folder too, and with it the renaming above.
                write_json(self._pointer(name), {"folder": final.name})
            finally:
                shutil.rmtree(temporary, ignore_errors=True)  # after the renaming there is none
        self.clean()

    def has(self, name: str) -> bool:
        """Say whether there is a checkpoint of that name."""
        return self._pointer(name).is_file()

    def load(self, name: str) -> Checkpoint:
        """Return the newest checkpoint of that name, on the CPU, every file checked against its hash.

        Raises:
            ModelError: there is none, or a file is missing or differs from the manifest.
        """
        if not self.has(name):
            raise ModelError(f"{self.folder} holds no checkpoint '{name}', so there is nothing to resume from.")
        place = self.folder / str(read_json(self._pointer(name))["folder"])
        manifest = read_json(place / "manifest.json")
        for file, expected in manifest.items():
            if not (place / file).is_file() or hash_file(place / file) != expected:
                raise ModelError(
                    f"The checkpoint file {place / file} is missing or damaged (its hash differs from the manifest). "
                    "Restore it from a backup, or start the run again without --resume."
                )
        groups = {
            file.removesuffix(".safetensors"): load_file(place / file) for file in manifest if file != "values.json"
        }
        return Checkpoint(groups, read_json(place / "values.json"))

    def clean(self) -> None:
        """Remove what no pointer names: older checkpoints and what a killed process left half written."""
        # A pointer that a killed process left half written begins with a dot, which pathlib's plain * takes too.
        for half in self.folder.glob(".*.json"):
            half.unlink(missing_ok=True)
        named = {str(read_json(pointer)["folder"]) for pointer in self.folder.glob("[!.]*.json")}
        for place in self.folder.iterdir():
            if place.is_dir() and place.name not in named:
                shutil.rmtree(place, ignore_errors=True)

    def _pointer(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _fill(self, place: Path, tensors: Mapping[str, Tensors], values: Mapping[str, Any]) -> None:
        for group, entries in tensors.items():
            save_file({key: entry.contiguous() for key, entry in entries.items()}, place / f"{group}.safetensors")
        (place / "values.json").write_text(json.dumps(values), encoding="utf-8")
        # Before the manifest is a file here itself.
        manifest = {file.name: hash_file(file) for file in sorted(place.iterdir())}
        (place / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        for file in place.iterdir():
            sync(file)
        sync(place)
