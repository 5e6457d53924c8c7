"""The training log: one JSON object a line, and the same curves for TensorBoard."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtune.core.files import plain, storage_errors


class TrainingLog:
    """Appends events to `log.jsonl` and scalars to TensorBoard files beside it.

    Args:
        folder: the run folder.
        keep: bytes of an existing log to keep; what a resumed run will write again is cut off.
        step: first step to come, for TensorBoard to drop what follows it.
    """

    def __init__(self, folder: Path, *, keep: int = 0, step: int = 0) -> None:
        # Imported here: it costs a quarter of a second and only a training run needs it.
        from tensorboardX import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.jsonl"
        with storage_errors(self.path):
            self._file = self.path.open("r+b" if self.path.exists() else "w+b")  # "wb" would empty what is kept
            # Of a log that was lost or cut since there is less, and half a line may be its last; a file grown to a
            # length would be filled with zeros.
            kept = self._file.read(keep)
            self._file.truncate(keep if len(kept) == keep else kept.rfind(b"\n") + 1)
            self._file.seek(0, os.SEEK_END)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    @property
    def position(self) -> int:
        """Bytes written so far; a checkpoint remembers it."""
        return self._file.tell()

    def write(self, event: str, **fields: Any) -> None:
        """Append one event; a figure that is no number is null."""
        with storage_errors(self.path):
            self._file.write(json.dumps(plain({"event": event, **fields}), allow_nan=False).encode() + b"\n")
            self._file.flush()  # a killed process loses no line; a crash of the machine may

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Give TensorBoard values at a step."""
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def sync(self) -> None:
        """Force what was written to the disk, before a checkpoint counts on it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Finish both files."""
        self._file.close()
        self._board.close()
