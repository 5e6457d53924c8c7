"""How the masks of many images are written: a file or more per image, each whole or not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from segtune.core.errors import DataError
from segtune.core.files import replacing, write_text
from segtune.core.rle import RunLengths
from segtune.data.formats.coco import describe_mask
from segtune.data.formats.geojson import feature_of
from segtune.data.formats.regions import OBJECT
from segtune.data.formats.writing import as_grey, write_grey, write_mask
from segtune.data.formats.yolo import outline_line, write_classes
from segtune.segment.crops import MaskCrop, ProbabilityCrop

_MOST_NUMBERS = 2**16 - 1
"""Objects that a PNG can number: its grey has 16 bits."""

_LABEL_BYTES = 100
"""Of a class in a file's name, which file systems hold to 255 in all."""


@dataclass(frozen=True)
class Found:
    """One object that was segmented.

    Attributes:
        mask: at original size.
        label: its class.
        quality: predicted IoU, as people are told it.
        probability: how likely its pixels are, where the format writes that; None: all are certain.
    """

    mask: RunLengths
    label: str
    quality: float
    probability: ProbabilityCrop | None = field(default=None, compare=False)

    def describe(self) -> dict[str, Any]:
        """Return label, quality, area and box, for JSON."""
        return {"label": self.label, "quality": round(self.quality, 4), "area": self.mask.area, "box": self.mask.box}


@dataclass(frozen=True)
class Result:
    """What was found on one image.

    Attributes:
        name: the image's.
        stem: path, without extension, of its files below the output folder.
        size: (height, width).
        objects: in the order of what was asked.
        uncleaned: how many of them are too large to be cleaned, and are as they were found.
    """

    name: str
    stem: str
    size: tuple[int, int]
    objects: tuple[Found, ...]
    uncleaned: int = 0


@dataclass(frozen=True)
class Failed:
    """An image that could not be segmented: its name, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class OutputFormat:
    """One way of writing masks.

    Attributes:
        write: writes one image's, given the classes in the order of their numbers.
        finish: writes what is about all images, from the lines of the journal.
        keep: what the journal must hold of an object so that `finish` can be done without the masks.
        probability: what is written is `Found.probability`.
    """

    write: Callable[[Path, Result, Sequence[str]], None]
    finish: Callable[[Path, Iterator[Mapping[str, Any]], Sequence[str]], None] | None = None
    keep: Callable[[Found], dict[str, Any]] = Found.describe
    probability: bool = False


def _write_png(folder: Path, result: Result, _: Sequence[str]) -> None:
    """Files of 0 and 255."""
    for path, found in _files_of(folder, result):
        write_mask(path, found.mask)


def _write_probability(folder: Path, result: Result, _: Sequence[str]) -> None:
    """Files of probabilities, 0 to 255; above 1/2, from 128 on, is the object."""
    for path, found in _files_of(folder, result):
        write_grey(path, _beside_the_mask(found))


def _files_of(folder: Path, result: Result) -> list[tuple[Path, Found]]:
    """A file for a single object without a class; else one per object in a folder of the image's name, which is made.

    An image of which nothing was found has its empty folder, so that it is told from one not yet done.
    """
    if [found.label for found in result.objects] == [OBJECT]:
        return [(folder / f"{result.stem}.png", result.objects[0])]
    (folder / result.stem).mkdir(parents=True, exist_ok=True)
    named = ((f"{number:04d}.{_plain(found.label)}.png", found) for number, found in enumerate(result.objects))
    return [(folder / result.stem / name, found) for name, found in named]


def _beside_the_mask(found: Found) -> npt.NDArray[np.uint8]:
    """Return the probability in 255ths, uint8 [H, W], on the mask's side of 1/2.

    Rounding may cross over, and so does what a clean-up filled or removed: of that nobody is sure.
    """
    inside = found.mask.decode()
    likely = as_grey(found.mask) if found.probability is None else found.probability.full()
    return np.where(inside, np.maximum(likely, 128), np.minimum(likely, 127)).astype(np.uint8)


def _write_labelmap(folder: Path, result: Result, _: Sequence[str]) -> None:
    """One image of object numbers from 1, in the order of the journal; 0 is none; of two that overlap the smaller.

    Raises:
        DataError: there are more objects than numbers.
    """
    if len(result.objects) > _MOST_NUMBERS:
        raise DataError(
            f"An object map numbers at most {_MOST_NUMBERS:,} objects, but {result.name} has {len(result.objects):,}. "
            "Write it with --format rle, or find fewer."
        )
    kind = np.uint8 if len(result.objects) < 256 else np.uint16
    numbers = np.zeros(result.size, dtype=kind)
    for place in sorted(range(len(result.objects)), key=lambda place: -result.objects[place].mask.area):
        crop = MaskCrop.of_runs(result.objects[place].mask)
        numbers[crop.rows, crop.columns][crop.inside] = place + 1
    with replacing(folder / f"{result.stem}.png") as temporary:
        PIL.Image.fromarray(numbers).save(temporary, format="PNG")


def _write_rle(folder: Path, result: Result, _: Sequence[str]) -> None:
    """A JSON file of run lengths in SA-1B's layout."""
    height, width = result.size
    document = {
        "image": {"file_name": result.name, "height": height, "width": width},
        "annotations": [{"id": place, **_as_coco(found)} for place, found in enumerate(result.objects, 1)],
    }
    write_text(folder / f"{result.stem}.json", json.dumps(document))


def _write_geojson(folder: Path, result: Result, _: Sequence[str]) -> None:
    """A file of outlines along pixel edges."""
    features = [
        feature_of(found.mask, {"label": found.label, "quality": round(found.quality, 4)})
        for found in result.objects
        if found.mask.area
    ]
    write_text(folder / f"{result.stem}.geojson", json.dumps({"type": "FeatureCollection", "features": features}))


def _write_yolo(folder: Path, result: Result, classes: Sequence[str]) -> None:
    """A text file of outlines, a line per object."""
    lines = [outline_line(classes.index(found.label), found.mask) for found in result.objects if found.mask.area]
    write_text(folder / "labels" / f"{result.stem}.txt", "".join(lines))


def _finish_yolo(folder: Path, _: Iterator[Mapping[str, Any]], classes: Sequence[str]) -> None:
    write_classes(folder, classes)


def _write_nothing(folder: Path, result: Result, classes: Sequence[str]) -> None:
    """COCO is one file for all, written at the end from the journal."""


def _finish_coco(folder: Path, lines: Iterator[Mapping[str, Any]], classes: Sequence[str]) -> None:
    """Write annotations.json piece by piece: the masks of a million images fit into no memory."""
    images: list[dict[str, Any]] = []
    number = 0
    with replacing(folder / "annotations.json") as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"annotations": [')
        for line in lines:
            height, width = line["size"]
            images.append({"id": len(images) + 1, "file_name": line["image"], "height": height, "width": width})
            for found in line["objects"]:
                number += 1
                category = classes.index(found.pop("label")) + 1
                head = {"id": number, "image_id": len(images), "category_id": category, "iscrowd": 0}
                file.write(("" if number == 1 else ",\n") + json.dumps(head | found))
        named = [{"id": place, "name": label} for place, label in enumerate(classes, 1)]
        file.write(f'],\n"images": {json.dumps(images)},\n"categories": {json.dumps(named)}}}\n')


def _as_coco(found: Found) -> dict[str, Any]:
    described = describe_mask(found.mask, outlines=False)
    return {**described, "predicted_iou": round(found.quality, 4), "label": found.label}


def _plain(label: str) -> str:
    """Return a class as part of a file's name."""
    plain = "".join(letter if letter.isalnum() or letter in " _-" else "_" for letter in label)
    return plain.encode()[:_LABEL_BYTES].decode(errors="ignore")


OUTPUTS: Mapping[str, OutputFormat] = {
    "png": OutputFormat(_write_png),
    "probability": OutputFormat(_write_probability, probability=True),
    "labelmap": OutputFormat(_write_labelmap),
    "coco": OutputFormat(_write_nothing, _finish_coco, _as_coco),
    "yolo": OutputFormat(_write_yolo, _finish_yolo),
    "geojson": OutputFormat(_write_geojson),
    "rle": OutputFormat(_write_rle),
}
