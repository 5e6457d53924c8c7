"""Fingerprints: small pictures by which the same scene is known again, however it was cropped, lit or compressed."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from os import cpu_count
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.errors import DataError
from segtune.core.files import replacing
from segtune.core.progress import SILENT, Progress
from segtune.core.types import Image
from segtune.data.dataset import Dataset, SetAside
from segtune.data.picture_file import PictureFile

SIDE = 64
"""Side of a fingerprint. Enough to tell frames of one endoscopy apart; 10,000 of them take 40 MB of a file."""

_BETWEEN = 256
"""Images are brought to this side before they turn grey, so that rounding to whole greys averages out."""

_MOST_GAIN = 8.0
"""Faint images are stretched at most this much: beyond it a fingerprint would show the noise."""

_MOST_THREADS = 8

_EARLIER = "earlier run: "

Fingerprint = npt.NDArray[np.uint8]

Look = tuple[str, str, Fingerprint]
"""What is remembered of an image: its name, its digest, its fingerprint."""


@dataclass(frozen=True, eq=False)
class Seen:
    """An image that can be read.

    Attributes:
        look: what is remembered of it.
        has_object: whether its masks show one.
    """

    look: Look
    has_object: bool


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What is remembered of N images to know them again.

    Attributes:
        names: of the images.
        digests: SHA-256 of each image's size and decoded pixels.
        pictures: uint8 [N, 64, 64], the images' fingerprints, read by rows.
    """

    names: tuple[str, ...]
    digests: tuple[str, ...]
    pictures: PictureFile

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def gather(cls, found: Iterable[Look]) -> Fingerprints:
        """Return the fingerprints of (name, digest, fingerprint) triples."""
        names, digests = [], []

        def pictures() -> Iterator[Fingerprint]:
            for name, digest_of_it, picture in found:
                names.append(name)
                digests.append(digest_of_it)
                yield picture

        kept = PictureFile.gather(pictures(), SIDE)
        return cls(tuple(names), tuple(digests), kept)

    def subset(self, names: Iterable[str]) -> Fingerprints:
        """Return those of `names`, in the order given; names that are not here are left out."""
        names = tuple(names)
        if names == self.names:
            return self
        row_of = {name: row for row, name in enumerate(self.names)}
        rows = [row_of[name] for name in names if name in row_of]
        return self._rows(rows)

    def joined(self, others: Fingerprints) -> Fingerprints:
        """Return these and others, names assumed to differ."""
        if not len(others):
            return self
        pictures = PictureFile.gather(chain(self.pictures, others.pictures), SIDE)
        return Fingerprints((*self.names, *others.names), (*self.digests, *others.digests), pictures)

    def with_earlier(self, others: Fingerprints) -> Fingerprints:
        """Return these, then those of `others` with other pixels, under names that none of these has."""
        own, digests = set(self.names), set(self.digests)
        # The same pixels are known already, whatever they were called then.
        kept = [row for row, one in enumerate(others.digests) if one not in digests]
        names = tuple(f"{_EARLIER}{name}" if (name := others.names[row]) in own else name for row in kept)
        known = others._rows(kept)
        return self.joined(Fingerprints(names, known.digests, known.pictures))

    def _rows(self, rows: list[int]) -> Fingerprints:
        names, digests = tuple(self.names[row] for row in rows), tuple(self.digests[row] for row in rows)
        return Fingerprints(names, digests, self.pictures.subset(rows))

    def write(self, path: Path) -> None:
        """Write them into one safetensors file, durably: a later evaluation knows the training images by it."""
        words = {"names": json.dumps(self.names), "digests": json.dumps(self.digests)}
        shape = [len(self), SIDE, SIDE]
        entry = {"dtype": "U8", "shape": shape, "data_offsets": [0, math.prod(shape)]}
        header = json.dumps({"__metadata__": words, "pictures": entry}).encode()
        header += b" " * (-len(header) % 8)
        # The library's own writer wants all of them in memory.
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            for picture in self.pictures:
                file.write(picture.tobytes())

    @classmethod
    def read(cls, path: Path) -> Fingerprints:
        """Read what `write` wrote.

        Raises:
            DataError: the file is not one of fingerprints.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as checked:  # reads the header only, and holds it to the file
                words, shape = checked.metadata() or {}, checked.get_slice("pictures").get_shape()
            names, digests = tuple(json.loads(words["names"])), tuple(json.loads(words["digests"]))
            if shape != [len(names), SIDE, SIDE] or len(digests) != len(names):
                raise ValueError(f"pictures {shape} for {len(names)} names")
            file = path.open("rb")  # open as long as its pictures are looked at
            start = path.stat().st_size - math.prod(shape)  # they are all that the file holds behind its header
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise DataError(
                f"{path} cannot be read as fingerprints of images ({error}). Make it anew from the images."
            ) from error
        return cls(names, digests, PictureFile(file, SIDE, start + np.arange(len(names)) * SIDE**2))


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
    return Fingerprints.gather(one.look for one in look_at_images(dataset, progress) if isinstance(one, Seen))


def look_at_images(dataset: Dataset, progress: Progress = SILENT) -> Iterator[Seen | SetAside]:
    """Yield what was seen of each image in order, or why it, or its masks, cannot be read."""
    # Once: the data set makes them anew each time.
    names = dataset.names
    threads = max(2, min(_MOST_THREADS, cpu_count() or 1))
    remaining = iter(enumerate(names))
    with ThreadPoolExecutor(threads) as pool, progress.stage("looking at images", len(names)) as advance:
        # Waited for in order: so many images are in memory at most, however slow one of them is.
        waiting = [pool.submit(_look, dataset, *one) for one in islice(remaining, 2 * threads)]
        while waiting:
            yield waiting.pop(0).result()
            advance()
            waiting.extend(pool.submit(_look, dataset, *one) for one in islice(remaining, 1))


def _look(dataset: Dataset, index: int, name: str) -> Seen | SetAside:
    try:
        sample = dataset[index]
        image = sample.image
        if image.shape[:2] != sample.size:
            found, said = ("{1} × {0}".format(*size) for size in (image.shape[:2], sample.size))
            raise DataError(f"{name} decodes to {found} pixels, but its header says {said}")
    except DataError as error:
        return SetAside(name, str(error), "Repair the file or remove it.")
    return Seen((name, digest(image), fingerprint(image)), bool(sample.objects))
