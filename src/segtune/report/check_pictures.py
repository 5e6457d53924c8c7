"""Small pictures for the check page: images with the outlines of their masks, and files that are no samples."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from segtune.core.errors import DataError
from segtune.core.types import Image, Sample
from segtune.data.dataset import Dataset
from segtune.data.images import read_image

_FINE = 2
"""Outlines are drawn at this many times the size and reduced: smooth without drawing curves."""

_COLOUR = (64, 224, 255)
"""Rare in tissue, earth, plants and metal alike."""

_TINT = 0.1
_QUALITY = 82
_THREADS = 2


@dataclass(frozen=True)
class Thumbnail:
    """A picture ready for a page.

    Attributes:
        name: of the file.
        uri: JPEG as a data URI.
        size: (height, width) of the file in pixels.
    """

    name: str
    uri: str
    size: tuple[int, int]


def draw_thumbnails(dataset: Dataset, names: Iterable[str], side: int) -> dict[str, Thumbnail]:
    """Draw the files of these names, their longest side at `side`; those that cannot be read are left out.

    Samples are drawn with the outlines of their objects; other files below the data folder as they are.
    """
    # An image may be shown with several findings, and is drawn once.
    wanted = list(dict.fromkeys(names))
    index_of = {name: index for index, name in enumerate(dataset.names)}
    # Few threads: each has a whole image in memory, however large.
    with ThreadPoolExecutor(_THREADS) as pool:
        drawn = pool.map(lambda name: _thumbnail(dataset, index_of, name, side), wanted)
        return {one.name: one for one in drawn if one is not None}


def outlined(sample: Sample, image: Image, side: int) -> Image:
    """Return an image at `side` with its objects tinted and outlined; ignored pixels are hatched."""
    size = _shown_size(sample.size, side)
    fine = (size[0] * _FINE, size[1] * _FINE)
    pixels = np.asarray(cv2.resize(image, fine[::-1], interpolation=_way(sample.size, fine)), dtype=np.uint8).copy()
    ignore = sample.ignore_mask()
    if ignore is not None:
        _hatch(pixels, _shrink(ignore.astype(np.uint16), fine) > 0)
    # One map of numbers, not a mask each: there may be hundreds of objects.
    numbers = np.zeros(sample.size, dtype=np.uint16)
    # Small objects last, so that those that lie on others stay visible.
    order = sorted(range(len(sample.objects)), key=lambda index: -sample.objects[index].area)
    for number, index in enumerate(order, start=1):
        numbers[sample.objects[index].decode()] = number
    _outline(pixels, _shrink(numbers, fine))
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)


def data_uri(pixels: Image) -> str:
    """Return pixels as a JPEG in a data URI."""
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _thumbnail(dataset: Dataset, index_of: Mapping[str, int], name: str, side: int) -> Thumbnail | None:
    try:
        if name in index_of:
            sample = dataset[index_of[name]]
            return Thumbnail(name, data_uri(outlined(sample, sample.image, side)), sample.size)
        image = read_image(dataset.root / name)
    except DataError:
        return None
    height, width = image.shape[:2]
    shown = _shown_size((height, width), side)
    pixels = np.asarray(cv2.resize(image, shown[::-1], interpolation=_way((height, width), shown)), dtype=np.uint8)
    return Thumbnail(name, data_uri(pixels), (height, width))


def _outline(pixels: Image, numbers: npt.NDArray[np.uint16]) -> None:
    inside = numbers > 0
    pixels[inside] = ((1 - _TINT) * pixels[inside] + _TINT * np.array(_COLOUR)).astype(np.uint8)
    edge = np.zeros(inside.shape, dtype=np.uint8)
    # Where the number changes, so that objects that touch are told apart.
    edge[:, 1:] |= numbers[:, 1:] != numbers[:, :-1]
    edge[1:] |= numbers[1:] != numbers[:-1]
    # A darker band below the line, for grounds of the line's own colour.
    rim = cv2.dilate(edge, np.ones((9, 9), np.uint8)) > 0
    pixels[rim] = (0.6 * pixels[rim]).astype(np.uint8)
    pixels[cv2.dilate(edge, np.ones((4, 4), np.uint8)) > 0] = _COLOUR


def _hatch(pixels: Image, ignored: npt.NDArray[np.bool_]) -> None:
    rows, columns = np.indices(ignored.shape)
    pixels[ignored & ((rows + columns) % 10 < 3)] = 210


def _shrink(numbers: npt.NDArray[np.uint16], size: tuple[int, int]) -> npt.NDArray[np.uint16]:
    # Between two numbers lies a third object's: they cannot be averaged.
    return np.asarray(cv2.resize(numbers, size[::-1], interpolation=cv2.INTER_NEAREST), dtype=np.uint16)


def _shown_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _way(size: tuple[int, int], shown: tuple[int, int]) -> int:
    # Reduced by averages, as linear interpolation would skip pixels and alias.
    return cv2.INTER_AREA if shown[0] < size[0] else cv2.INTER_LINEAR
