"""Small pictures by the ten thousand, kept in a file: only those being looked at are in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import IO, overload

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_IN_MEMORY = 2**21
"""Bytes that stay in memory; with more, all go to a file."""


class PictureFile:
    """N grey pictures of one side, read by rows as an array uint8 [N, side, side] would be; threads may share it.

    Mapped into memory the file would look the same with less code, but count as the process's own once looked at.

    Args:
        file: an open file.
        side: of a picture in pixels.
        starts: int64 [N], where in the file each picture begins.
        lock: held while the file is read; shared by all who read it.
    """

    def __init__(self, file: IO[bytes], side: int, starts: npt.NDArray[np.int64], lock: Lock | None = None) -> None:
        self._file = file
        self._side = side
        self._starts = starts
        self._lock = lock or Lock()

    @classmethod
    def gather(cls, pictures: Iterable[Pixels], side: int) -> PictureFile:
        """Keep pictures uint8 [side, side] in their order; beyond a few in a nameless file that goes when this goes."""
        file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed when nobody can read it any more
        count = 0
        for picture in pictures:
            file.write(np.ascontiguousarray(picture).data)
            count += 1
        return cls(file, side, np.arange(count) * side**2)

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Pixels]:
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, rows: int) -> Pixels: ...

    @overload
    def __getitem__(self, rows: slice) -> Pixels: ...

    def __getitem__(self, rows: int | slice) -> Pixels:
        """Read the picture of a row, [side, side], or those of a slice, [n, side, side]."""
        if not isinstance(rows, slice):
            return self._read(self._starts[rows])
        pictures = np.empty((len(self._starts[rows]), self._side, self._side), np.uint8)
        for picture, start in zip(pictures, self._starts[rows], strict=True):
            picture[:] = self._read(start)
        return pictures

    def subset(self, rows: Iterable[int]) -> PictureFile:
        """Return the pictures of these rows, in the order given; none is copied."""
        return PictureFile(self._file, self._side, self._starts[np.array(list(rows), dtype=np.intp)], self._lock)

    def _read(self, start: np.int64) -> Pixels:
        with self._lock:
            self._file.seek(int(start))
            content = self._file.read(self._side**2)
        return np.frombuffer(content, np.uint8).reshape(self._side, self._side)
