"""What the data doctor measures of one image and its masks: all it keeps when both are out of memory again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from os import cpu_count

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.errors import DataError
from segtune.core.files import hash_text
from segtune.core.rle import BoolMask, RunLengths
from segtune.core.types import Image, Sample
from segtune.data.check_outline import outline_fits
from segtune.data.dataset import Dataset
from segtune.data.fingerprints import Fingerprint, digest, fingerprint

MAP_SIDE = 24
"""Cells along each side of the map of where objects lie."""

OBJECT = np.dtype(
    [
        ("area", np.int64), ("share", np.float32), ("width", np.int32), ("height", np.int32), ("x", np.float32),
        ("y", np.float32), ("parts", np.int32), ("specks", np.int32), ("holes", np.int32), ("sides", np.int8),
    ]
)  # fmt: skip
"""One object: pixels; share of the image; box; centre of the box, 0 to 1; connected parts without specks; specks; holes
filled with background; how many sides of the image it touches."""

_SPECK_OF_OBJECT = 0.01
_SPECK_OF_IMAGE = 0.0005
"""A part smaller than both shares, of the object and of the image, is a speck; a hole of that size counts as one."""

_GREY = 2.5
"""Mean difference between the channels below which an image counts as grey."""

_SMALL = 256
"""Side of the square on which colours, fingerprint and outlines are looked at. Its fingerprint is that of the image,
which is brought to the same size on its way."""

# Threads do: decoders and OpenCV let go of the interpreter's lock while they work.
_MOST_THREADS = 8


@dataclass(frozen=True, eq=False)
class Measured:
    """One image and its masks in figures.

    Attributes:
        name: of the image.
        size: (height, width) in pixels.
        error: why it could not be read, else "". Then nothing below is filled.
        objects: one row of `OBJECT` per object.
        labels: their classes.
        covered: share of the image that is object.
        ignored: share of the image that does not count.
        overlap: share of the covered pixels that more than one object claims.
        colour: mean red, green, blue, 0 to 255.
        contrast: standard deviation of the greys.
        grey: whether it has no colour.
        digest: of the pixels (`fingerprints.digest`).
        picture: its fingerprint.
        masks: hash of its masks, "" without objects.
        places: float32 [24, 24], share of each cell that is object.
        fit: how well the masks follow the image (`check_outline.outline_fits`) as they lie, and turned by 90°.
    """

    name: str
    size: tuple[int, int]
    error: str = ""
    objects: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, OBJECT))
    labels: tuple[str, ...] = ()
    covered: float = 0.0
    ignored: float = 0.0
    overlap: float = 0.0
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    contrast: float = 0.0
    grey: bool = False
    digest: str = ""
    picture: Fingerprint = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    masks: str = ""
    places: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((MAP_SIDE, MAP_SIDE), np.float32))
    fit: tuple[float, float] | None = None

    @property
    def mean_share(self) -> float:
        """Mean share of the image that an object covers; 0 without objects."""
        return float(self.objects["share"].mean()) if len(self.objects) else 0.0


def measure_all(dataset: Dataset) -> Iterator[Measured]:
    """Measure every sample in order, a few at a time in memory; one that cannot be read says why."""
    workers = max(2, min(_MOST_THREADS, cpu_count() or 1))
    remaining = iter(range(len(dataset)))
    with ThreadPoolExecutor(workers, "segtune-check") as pool:
        waiting: list[Future[Measured]] = []
        waiting.extend(pool.submit(_measure, dataset, index) for index in islice(remaining, 2 * workers))
        while waiting:
            yield waiting.pop(0).result()
            waiting.extend(pool.submit(_measure, dataset, index) for index in islice(remaining, 1))


def measure(sample: Sample) -> Measured:
    """Measure one sample.

    Raises:
        DataError: its image cannot be decoded.
    """
    image = sample.image
    if image.shape[:2] != sample.size:
        height, width = image.shape[:2]
        raise DataError(
            f"{sample.name} decodes to {width} × {height} pixels, but its header says {sample.size[1]} × "
            f"{sample.size[0]}. Save it again with a good program."
        )
    together, count = _together(sample)
    covered = int(np.count_nonzero(together))
    small = np.asarray(cv2.resize(image, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    greys = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    red, green, blue = (float(value) for value in small.mean(axis=(0, 1)))
    return Measured(
        sample.name, sample.size, "", np.array([_object(mask) for mask in sample.objects], OBJECT), sample.labels,
        covered / count.size, sample.ignore.area / count.size if sample.ignore is not None else 0.0,
        np.count_nonzero(count > 1) / (covered or 1), (red, green, blue), float(greys.std()), _is_grey(small),
        digest(image), fingerprint(small), _hash(sample.objects), _places(together), outline_fits(small, together),
    )  # fmt: skip


def _measure(dataset: Dataset, index: int) -> Measured:
    name = dataset.names[index]
    try:
        return measure(dataset[index])
    except DataError as error:
        # Returned, not raised: one broken file must not end the check.
        return Measured(name, (0, 0), str(error))


def _together(sample: Sample) -> tuple[BoolMask, npt.NDArray[np.uint16]]:
    # More objects may claim a pixel than a byte counts.
    count = np.zeros(sample.size, dtype=np.uint16)
    for mask in sample.objects:
        count += mask.decode()
    return count > 0, count


def _object(mask: RunLengths) -> tuple[float, ...]:
    height, width = mask.size
    box = mask.box
    if box is None:
        return (0,) * 10
    x0, y0, x1, y1 = box
    inside = mask.decode()[y0:y1, x0:x1]  # [h, w]: parts cost by the pixel
    small = min(_SPECK_OF_OBJECT * mask.area, _SPECK_OF_IMAGE * height * width)
    areas = _part_areas(inside, 8)
    # The only part is the object, however small.
    specks = int((areas < small).sum()) if len(areas) > 1 else 0
    sides = (x0 == 0) + (y0 == 0) + (x1 == width) + (y1 == height)
    x, y = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
    return (
        mask.area, mask.area / (height * width), x1 - x0, y1 - y0, x, y, len(areas) - specks, specks,
        int((_hole_areas(inside) < small).sum()), sides,
    )  # fmt: skip


def _part_areas(inside: BoolMask, connectivity: int) -> npt.NDArray[np.int32]:
    _, _, statistics, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=connectivity)
    return np.asarray(statistics[1:, cv2.CC_STAT_AREA], dtype=np.int32)  # without the background


def _hole_areas(inside: BoolMask) -> npt.NDArray[np.int32]:
    """Return the areas of background enclosed by an object; what reaches the rim of its box is outside."""
    # A rim joins all background that reaches the border of the box into one part.
    outside = np.pad(~inside, 1, constant_values=True)
    # By 4 where objects count by 8: else a hole would leak out where pixels touch at a corner.
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(outside.view(np.uint8), connectivity=4)
    # Label 0 is the object itself here, the corner's label what lies outside.
    areas = np.delete(statistics[:, cv2.CC_STAT_AREA], [0, labels[0, 0]])
    return np.asarray(areas, dtype=np.int32)


def _is_grey(small: Image) -> bool:
    channels = small.astype(np.int16)
    return float((channels.max(axis=2) - channels.min(axis=2)).mean()) < _GREY


def _hash(objects: tuple[RunLengths, ...]) -> str:
    return hash_text("".join(f"{mask.size}{mask.counts.tobytes().hex()}" for mask in objects)) if objects else ""


def _places(together: BoolMask) -> npt.NDArray[np.float32]:
    whole = cv2.resize(together.astype(np.float32), (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(whole, dtype=np.float32)
