"""The tables that grow row by row while images are scored; they appear under their names when complete."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from segtune.core.files import replacing
from segtune.evaluation.contest import ImageScores
from segtune.evaluation.scores import metric_names
from segtune.evaluation.targets import SIZES

PER_IMAGE = "per_image.csv"
PER_OBJECT = "per_object.csv"

EMPTY = "empty"
"""Stands for the mode in the rows of images without objects; `false_mask` says whether the click gave a mask."""


def image_columns() -> tuple[str, ...]:
    """Return the columns of `per_image.csv`."""
    return ("image", "group", "objects", *SIZES, "model", "mode", *metric_names(), "quality", "false_mask")


def object_columns() -> tuple[str, ...]:
    """Return the columns of `per_object.csv`."""
    return ("image", "object", "share", "size", "model", "mode", *metric_names(), "quality")


class Tables:
    """Writers of `per_image.csv` and `per_object.csv`; metrics are means over an image's objects in the first."""

    def __init__(self, images: csv.DictWriter[str], objects: csv.DictWriter[str]) -> None:
        self._images = images
        self._objects = objects

    def write(self, image: ImageScores) -> None:
        """Append one image."""
        sizes = Counter(one.bucket for one in image.objects)
        common = {"image": image.name, "group": image.group or "", "objects": len(image.objects)}
        common |= {size: sizes[size] for size in SIZES}
        for model, false_mask in image.false_mask.items():
            self._images.writerow({**common, "model": model, "mode": EMPTY, "false_mask": int(false_mask)})
        for (model, mode), scores in image.scores.items():
            row: dict[str, Any] = {"model": model, "mode": mode}
            by_object = {**scores.by_object(), **scores.quality_by_object()}
            means = {name: _figure(float(values.mean())) for name, values in by_object.items()}
            self._images.writerow({**common, **row, **means})
            for place, one in enumerate(image.objects):
                figures = {name: _figure(values[place]) for name, values in by_object.items()}
                where = {"image": image.name, "object": one.index, "share": _figure(one.share), "size": one.bucket}
                self._objects.writerow({**where, **row, **figures})


@contextmanager
def open_tables(folder: Path) -> Iterator[Tables]:
    """Yield tables whose files replace those in `folder` when the context ends well, and vanish when it does not.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    with ExitStack() as stack:
        writers = []
        for name, columns in ((PER_IMAGE, image_columns()), (PER_OBJECT, object_columns())):
            # Entered first, left last: the file is closed before it gets its name.
            path = stack.enter_context(replacing(folder / name))
            file = stack.enter_context(path.open("w", newline="", encoding="utf-8"))
            writers.append(csv.DictWriter(file, columns))
            writers[-1].writeheader()
        yield Tables(*writers)


def _figure(value: float) -> str:
    return f"{value:.6f}"
