"""Embeddings of a frozen image encoder, or what its frozen first stages make, on disk.

Shared by runs and processes, found by content, checked when read.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from segtune.core.files import hash_text, is_half_written, replacing
from segtune.models.family import PromptableModel
from segtune.models.fingerprint import fingerprint
from segtune.models.prefix import FrozenPrefix

_STALE_SECONDS = 600
"""A temporary file so old has lost its writer: writing an entry takes less than a second."""

_CLOCK_SLACK = 1.0
"""Seconds by which a file's time may lie before the clock's: file systems keep it in steps."""

_RESCAN_BYTES = 256 << 20
"""After so many bytes written the folder is measured again, because other processes write too."""

_HEADER_BYTES = 512
"""What a file holds beside its numbers: names, shapes, checksum."""

_UNLIMITED: Final = 1 << 62

WHOLE: Final = FrozenPrefix()
"""The image encoder as a whole."""


class EmbeddingCache:
    """A folder of embeddings, or of maps from inside the image encoder, one safetensors file each, in half precision.

    An entry's name is the SHA-256 of the image's bytes, the view of it, and all the encoder depends on, so a stale
    entry cannot be met: whatever changes makes another name. Files appear whole or not at all, whenever a process dies.

    At the limit the entries that were used the longest ago make room, but none that this run has used: when only such
    are left, new embeddings are not stored, so a run never evicts what it is about to need (no thrashing).

    Args:
        folder: made when first written to.
        encoder: fingerprint of what makes the entries: the frozen part of the encoder, and its preparation.
        bytes_per_view: size of one entry.
        limit_bytes: of all files together; None for none.
        prefix: what part of the encoder that is.
    """

    def __init__(
        self,
        folder: Path,
        encoder: str,
        *,
        bytes_per_view: int,
        limit_bytes: int | None = None,
        prefix: FrozenPrefix = WHOLE,
    ) -> None:
        self.folder = folder
        self.encoder = encoder
        self.prefix = prefix
        self.bytes_per_view = bytes_per_view
        self.limit_bytes = _UNLIMITED if limit_bytes is None else limit_bytes
        self._started = time.time() - _CLOCK_SLACK
        self._measured: int | None = None
        self._written = 0

    @classmethod
    def for_model(
        cls, model: PromptableModel, folder: Path, *, limit_bytes: int | None = None, prefix: FrozenPrefix = WHOLE
    ) -> EmbeddingCache:
        """Return the cache in `folder` of what `prefix` of `model` makes, freed of what killed processes left."""
        encoder, size = fingerprint(model, stages=prefix.stages), bytes_per_view(model, prefix)
        cache = cls(folder, encoder, bytes_per_view=size, limit_bytes=limit_bytes, prefix=prefix)
        cache.clean()
        return cache

    @property
    def size_bytes(self) -> int:
        """Bytes of all entries in the folder, those of other models too."""
        return sum(size for _, size, _ in self._entries())

    def key(self, image_hash: str, view: str = "") -> str:
        """Return the name of an image's embedding.

        Args:
            image_hash: SHA-256 of the image file's bytes.
            view: says the view's parameters; the image itself is "".
        """
        return hash_text("\n".join((self.encoder, image_hash, view)))

    def get(self, key: str) -> dict[str, Tensor] | None:
        """Return an entry's tensors by name, or None when there is none.

        An entry that is damaged is removed, so that it is made again.
        """
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                note = file.metadata() or {}
                maps = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (the file is no mapping)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):
            maps, note = {}, {}
        if not maps or note.get("sha256") != _checksum(maps):
            path.unlink(missing_ok=True)
            return None
        self._mark_used(path)
        return maps

    def put(self, key: str, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Store one image's maps under `key`, unless they are there.

        Args:
            key: from `key`.
            maps: by name, without the batch: of an embedding "features" [C, h, w] and whatever else the decoder needs.

        Returns:
            The maps as `get` will return them, rounded. Work with these, and it is the same whether an embedding was
            just made or read.

        Raises:
            ResourceError: the folder cannot be written or the disk is full.
        """
        rounded = {name: _rounded(value) for name, value in maps.items()}
        path = self._path(key)
        # Another process may write the same entry meanwhile. That is no harm: files are replaced whole.
        if not path.exists() and self._make_room(self.bytes_per_view):
            with replacing(path) as temporary:
                save_file(rounded, temporary, {"sha256": _checksum(rounded)})
            self._written += path.stat().st_size
        return rounded

    def clean(self) -> None:
        """Remove temporary files whose writer was killed."""
        for path in filter(is_half_written, self.folder.glob("??/.*")):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """Yield (time of last use, bytes, path) of every entry; another process may remove one meanwhile."""
        # pathlib's * takes a leading dot too, so files still being written count as well.
        for path in self.folder.glob("??/*.safetensors"):
            with suppress(FileNotFoundError):
                status = path.stat()
                yield status.st_mtime, status.st_size, path

    def _mark_used(self, path: Path) -> None:
        # Once a run is enough to keep an entry from being evicted during it. The time of change stands for that of use,
        # which many file systems do not keep.
        with suppress(OSError):
            if path.stat().st_mtime < self._started:
                path.touch()

    def _make_room(self, size: int) -> bool:
        """Evict what was used the longest ago until `size` more bytes fit; tell whether they do."""
        if self.limit_bytes == _UNLIMITED:
            return True
        if self._measured is None or self._written > _RESCAN_BYTES:
            self._measured, self._written = self.size_bytes, 0
        if self._measured + self._written + size <= self.limit_bytes:
            return True
        entries = sorted(self._entries())
        total = sum(entry[1] for entry in entries)
        for used, entry_size, path in entries:
            if total + size <= self.limit_bytes or used >= self._started:  # the rest was used since this run began
                break
            path.unlink(missing_ok=True)
            total -= entry_size
        self._measured, self._written = total, 0
        return total + size <= self.limit_bytes


def bytes_per_view(model: PromptableModel, prefix: FrozenPrefix = WHOLE) -> int:
    """Return how many bytes one image's embedding, or what `prefix` makes of it, takes on disk; nothing is run."""
    return sum(2 * math.prod(shape) for shape in prefix.shapes(model)) + _HEADER_BYTES  # two bytes: half precision


def _rounded(value: Tensor) -> Tensor:
    half = value.detach().to("cpu", torch.float16).contiguous()
    # A number too large for half precision keeps its tensor whole.
    return half if bool(half.isfinite().all()) else value.detach().to("cpu", torch.float32).contiguous()


def _checksum(maps: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(maps.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
