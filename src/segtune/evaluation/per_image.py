"""`per_image.csv` as arrays: one IoU per image, model and mode, and nothing else kept."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segtune.core.errors import DataError

Scores1D = npt.NDArray[np.float32]

COLUMNS = ("image", "model", "mode", "iou")
"""What the table must have; further columns are let pass."""


@dataclass(frozen=True)
class Scores:
    """IoU by image.

    Attributes:
        images: names, in the order of the table.
        iou: (model, mode) → float32 [images], NaN where an image was not scored.
        groups: each image's patient, scene or video, None where there is none.
    """

    images: tuple[str, ...]
    iou: Mapping[tuple[str, str], Scores1D]
    groups: tuple[str | None, ...] = ()

    def of(self, model: str | None, mode: str) -> Scores1D:
        """Return the IoU of every image, NaN where there is none."""
        # NaN, not 0: what was not scored is not bad.
        missing = np.full(len(self.images), np.nan, np.float32)
        return missing if model is None else self.iou.get((model, mode), missing)

    def scored(self, model: str | None, mode: str) -> Scores1D:
        """Return the IoU of the images that were scored."""
        values = self.of(model, mode)
        return values[np.isfinite(values)]

    def paired(self, model: str | None, against: str | None, mode: str) -> npt.NDArray[np.int64]:
        """Return the indices of images that both models were scored on."""
        return np.flatnonzero(np.isfinite(self.of(model, mode)) & np.isfinite(self.of(against, mode)))


def read_scores(path: Path) -> Scores | None:
    """Read `per_image.csv` row by row; None where there is none.

    Raises:
        DataError: a needed column is missing, or an IoU is not a number.
    """
    if not path.exists():
        return None
    index: dict[str, int] = {}
    groups: dict[str, str | None] = {}
    values: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        _check_columns(path, reader.fieldnames or ())
        for row in reader:
            # The row of an image is the place at which it first appeared.
            image = index.setdefault(row["image"], len(index))
            groups[row["image"]] = row.get("group") or None
            values[row["model"], row["mode"]][image] = _number(path, reader.line_num, row["iou"])
    dense = {key: _dense(found, len(index)) for key, found in values.items()}
    return Scores(tuple(index), dense, tuple(groups.values()))


def _check_columns(path: Path, found: object) -> None:
    missing = [name for name in COLUMNS if name not in found]  # type: ignore[operator]
    if missing:
        raise DataError(
            f"{path} needs the columns {', '.join(COLUMNS)}, and lacks {', '.join(missing)}. "
            "Make it anew with 'segtune evaluate'."
        )


def _number(path: Path, line: int, text: str | None) -> float:
    try:
        # Blank for images without objects, whose rows tell of false masks only.
        return float(text) if text else math.nan
    except ValueError as error:
        raise DataError(
            f"{path} holds '{text}' as an IoU in line {line}, which is not a number. "
            "Make it anew with 'segtune evaluate'."
        ) from error


def _dense(found: Mapping[int, float], length: int) -> Scores1D:
    dense = np.full(length, np.nan, np.float32)
    dense[list(found)] = list(found.values())
    return dense
