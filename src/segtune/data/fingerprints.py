"""Fingerprints: small pictures by which the same scene is known again, however it was cropped, lit or compressed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.errors import DataError
from segtune.core.files import replacing
from segtune.core.progress import SILENT, Progress
from segtune.core.types import Image
from segtune.data.dataset import Dataset

SIDE = 64
"""Side of a fingerprint. Enough to tell frames of one endoscopy apart; 10,000 of them take 40 MB."""

_BETWEEN = 256
"""Images are brought to this side before they turn grey, so that rounding to whole greys averages out."""

_MOST_GAIN = 8.0
"""Faint images are stretched at most this much: beyond it a fingerprint would show the noise."""

_THREADS = 2
_AHEAD = 4

_EARLIER = "earlier run: "

Fingerprint = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What is remembered of N images to know them again.

    Attributes:
        names: of the images.
        digests: SHA-256 of each image's size and decoded pixels.
        pictures: uint8 [N, 64, 64], the images' fingerprints.
    """

    names: tuple[str, ...]
    digests: tuple[str, ...]
    pictures: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def gather(cls, found: Iterable[tuple[str, str, Fingerprint]]) -> Fingerprints:
        """Return the fingerprints of (name, digest, fingerprint) triples."""
        names, digests, pixels = [], [], bytearray()
        for name, digest_of_it, picture in found:
            names.append(name)
            digests.append(digest_of_it)
            # Into one growing block: as arrays of their own they would be in memory twice when they are stacked.
            pixels += picture.tobytes()
        return cls(tuple(names), tuple(digests), np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE))

    def subset(self, names: Iterable[str]) -> Fingerprints:
        """Return those of `names`, in the order given; names that are not here are left out."""
        names = tuple(names)
        if names == self.names:
            return self
        row_of = {name: row for row, name in enumerate(self.names)}
        rows = [row_of[name] for name in names if name in row_of]
        kept = self.pictures[np.array(rows, dtype=np.intp)]
        return Fingerprints(tuple(self.names[row] for row in rows), tuple(self.digests[row] for row in rows), kept)

    def joined(self, others: Fingerprints) -> Fingerprints:
        """Return these and others, names assumed to differ."""
        if not len(others):
            return self
        pictures = np.concatenate([self.pictures, others.pictures])
        return Fingerprints((*self.names, *others.names), (*self.digests, *others.digests), pictures)

    def with_earlier(self, others: Fingerprints) -> Fingerprints:
        """Return these, then those of `others` with other pixels, under names that none of these has."""
        own, digests = set(self.names), set(self.digests)
        # The same pixels are known already, whatever they were called then.
        kept = [row for row, one in enumerate(others.digests) if one not in digests]
        names = tuple(f"{_EARLIER}{name}" if (name := others.names[row]) in own else name for row in kept)
        pictures = others.pictures[np.array(kept, dtype=np.intp)]
        return self.joined(Fingerprints(names, tuple(others.digests[row] for row in kept), pictures))

    def write(self, path: Path) -> None:
        """Write them into one safetensors file, durably: a later evaluation knows the training images by it."""
        from safetensors.numpy import save_file

        words = {"names": json.dumps(self.names), "digests": json.dumps(self.digests)}
        with replacing(path) as temporary:
            save_file({"pictures": np.ascontiguousarray(self.pictures)}, temporary, metadata=words)

    @classmethod
    def read(cls, path: Path) -> Fingerprints:
        """Read what `write` wrote.

        Raises:
            DataError: the file is not one of fingerprints.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                words, pictures = file.metadata() or {}, file.get_tensor("pictures")
            names, digests = tuple(json.loads(words["names"])), tuple(json.loads(words["digests"]))
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise DataError(
                f"{path} cannot be read as fingerprints of images ({error}). Make it anew from the images."
            ) from error
        return cls(names, digests, pictures)


def fingerprint(image: Image) -> Fingerprint:
    """Return the fingerprint of an image: grey, uint8 [64, 64], stretched to full contrast.

    The aspect is given up, so that a crop and its original differ by a scale and a shift per axis.

    Args:
        image: uint8 [H, W, 3] RGB.
    """
    between = cv2.resize(image, (_BETWEEN, _BETWEEN), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(between, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    # Not least and most: a glint or a few dead pixels would set the contrast.
    low, high = np.percentile(small, (0.5, 99.5))
    gain = min(_MOST_GAIN, 255.0 / max(float(high - low), 1.0))
    return np.asarray(np.clip(np.rint((small - low) * gain), 0, 255), dtype=np.uint8)


def digest(image: Image) -> str:
    """Return the SHA-256, in hex, of an image's size and pixels: equal for the same picture in any lossless file."""
    # The size too: the same bytes in rows of another length are another picture.
    state = hashlib.sha256(repr(image.shape).encode())
    state.update(np.ascontiguousarray(image).data)
    return state.hexdigest()


def fingerprints(dataset: Dataset, progress: Progress = SILENT) -> Fingerprints:
    """Return the fingerprints of all images of a data set that can be read; a few are in memory at a time."""
    with progress.stage("looking at images", len(dataset)) as advance:
        found = []
        for row in _in_parallel(dataset):
            if row is not None:
                found.append(row)
            advance()
    return Fingerprints.gather(found)


def _in_parallel(dataset: Dataset) -> Iterator[tuple[str, str, Fingerprint] | None]:
    remaining = iter(range(len(dataset)))
    with ThreadPoolExecutor(_THREADS) as pool:
        # Waited for in order: at most `_AHEAD` images are in memory, however slow one of them is.
        waiting = [pool.submit(_look, dataset, index) for index in islice(remaining, _AHEAD)]
        while waiting:
            yield waiting.pop(0).result()
            waiting.extend(pool.submit(_look, dataset, index) for index in islice(remaining, 1))


def _look(dataset: Dataset, index: int) -> tuple[str, str, Fingerprint] | None:
    try:
        image = dataset[index].image
    except DataError:
        return None
    return dataset.names[index], digest(image), fingerprint(image)
